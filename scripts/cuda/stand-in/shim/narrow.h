// Numbers of 16 bits, as candle's kernels use them: each operation rounds to the nearest.

#pragma once

#include "device.h"

struct HalfFormat {
    static float widen(uint16_t bits) { return bits_as<_Float16>(bits); }
    static uint16_t narrow(float x) { return bits_as<uint16_t>((_Float16)x); }
};
struct Bf16Format {
    static float widen(uint16_t bits) { return bits_as<float>((uint32_t)bits << 16); }
    static uint16_t narrow(float x) {
        const uint32_t bits = bits_as<uint32_t>(x);
        if (x != x) return 0x7fff;
        return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    }
};

template <typename Format> struct Narrow {
    uint16_t bits;

    Narrow() = default;
    template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>>
    Narrow(T x) : bits(Format::narrow((float)x)) {}
    operator float() const { return Format::widen(bits); }

    friend Narrow operator+(Narrow a, Narrow b) { return float(a) + float(b); }
    friend Narrow operator-(Narrow a, Narrow b) { return float(a) - float(b); }
    friend Narrow operator*(Narrow a, Narrow b) { return float(a) * float(b); }
    friend Narrow operator/(Narrow a, Narrow b) { return float(a) / float(b); }
    friend Narrow operator-(Narrow a) { return -float(a); }
    friend bool operator<(Narrow a, Narrow b) { return float(a) < float(b); }
    friend bool operator>(Narrow a, Narrow b) { return float(a) > float(b); }
    friend bool operator<=(Narrow a, Narrow b) { return float(a) <= float(b); }
    friend bool operator>=(Narrow a, Narrow b) { return float(a) >= float(b); }
    friend bool operator==(Narrow a, Narrow b) { return float(a) == float(b); }
    friend bool operator!=(Narrow a, Narrow b) { return float(a) != float(b); }
    Narrow &operator+=(Narrow b) { return *this = *this + b; }
    Narrow &operator-=(Narrow b) { return *this = *this - b; }
    Narrow &operator*=(Narrow b) { return *this = *this * b; }
    Narrow &operator/=(Narrow b) { return *this = *this / b; }

    friend bool __hisnan(Narrow a) { return isnan(float(a)); }
    friend Narrow hsqrt(Narrow a) { return std::sqrt(float(a)); }
    friend Narrow hcos(Narrow a) { return std::cos(float(a)); }
    friend Narrow hsin(Narrow a) { return std::sin(float(a)); }
    friend Narrow hlog(Narrow a) { return std::log(float(a)); }
    friend Narrow hexp(Narrow a) { return std::exp(float(a)); }
    friend Narrow __habs(Narrow a) { return std::abs(float(a)); }
    friend Narrow __hmax_nan(Narrow a, Narrow b) { return __hisnan(a) || float(a) > float(b) ? a : b; }
    friend Narrow __hmin_nan(Narrow a, Narrow b) { return __hisnan(a) || float(a) < float(b) ? a : b; }
};

using __half = Narrow<HalfFormat>;
using half = __half;
using __nv_bfloat16 = Narrow<Bf16Format>;

inline float __half2float(__half x) { return x; }
inline __half __float2half(float x) { return x; }
inline uint16_t __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(uint16_t bits) { return bits_as<__half>(bits); }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
template <typename T> struct Pair {
    T x, y;
};
using __half2 = Pair<__half>;
using __nv_bfloat162 = Pair<__nv_bfloat16>;
template <typename T> Pair<T> __hadd2(Pair<T> a, Pair<T> b) { return {a.x + b.x, a.y + b.y}; }
template <typename T> Pair<T> __hsub2(Pair<T> a, Pair<T> b) { return {a.x - b.x, a.y - b.y}; }
template <typename T> Pair<T> __hmul2(Pair<T> a, Pair<T> b) { return {a.x * b.x, a.y * b.y}; }

// Nothing here launches kernels of 8 bits: they compile, and end the program if they run.
struct __nv_fp8_e4m3 {
    uint8_t __x;
    __nv_fp8_e4m3() = default;
    template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>> __nv_fp8_e4m3(T) { __builtin_trap(); }
};
enum { __NV_E4M3 };
inline __half __nv_cvt_fp8_to_halfraw(uint8_t, int) { __builtin_trap(); }
