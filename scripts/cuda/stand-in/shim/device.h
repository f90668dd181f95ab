// What CUDA adds to C++, for kernels that are compiled for the host: indices, barriers, shuffles, atomics, and
// vector types. A block's threads take turns on one processor thread (`fibers.cpp`), so atomics are plain.

#pragma once

#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <math.h>
#include <stdint.h>
#include <type_traits>

struct Dim {
    unsigned x, y, z;
};
// Of the thread that runs; set by the fibers.
extern Dim threadIdx, blockIdx, blockDim, gridDim;
// Waits for the block's other threads.
void __syncthreads();
// Waits for the other threads of the warp.
void __syncwarp(unsigned = ~0u);

namespace stand_in {
// A slot for each thread of the warp, for shuffles; and the running thread's index in it.
uint64_t *warp_slots();
unsigned lane();
// The launch's dynamic shared memory.
void *dynamic_shared();
} // namespace stand_in

template <typename T> T __shfl_sync(unsigned, T value, int from, int = 32) {
    static_assert(sizeof(T) <= 8);
    uint64_t *slots = stand_in::warp_slots();
    std::memcpy(&slots[stand_in::lane()], &value, sizeof value);
    __syncwarp();
    std::memcpy(&value, &slots[from & 31], sizeof value);
    __syncwarp();
    return value;
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int lanes, int = 32) {
    return __shfl_sync(mask, value, stand_in::lane() ^ lanes);
}
template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int = 32) {
    const unsigned lane = stand_in::lane();
    return __shfl_sync(mask, value, lane + delta < 32 ? lane + delta : lane);
}

struct float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

template <typename To, typename From> To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
inline float __uint_as_float(unsigned x) { return bits_as<float>(x); }
inline unsigned __float_as_uint(float x) { return bits_as<unsigned>(x); }
inline float __int_as_float(int x) { return bits_as<float>(x); }
inline int __float_as_int(float x) { return bits_as<int>(x); }
inline double __longlong_as_double(long long x) { return bits_as<double>(x); }
inline long long __double_as_longlong(double x) { return bits_as<long long>(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
inline float __expf(float a) { return std::exp(a); }
inline float __logf(float a) { return std::log(a); }
inline float normcdff(float a) { return 0.5f * std::erfc(-a * 0.70710678f); }
inline double normcdf(double a) { return 0.5 * std::erfc(-a * 0.7071067811865476); }
using std::isfinite;
using std::isinf;
using std::isnan;
using std::signbit;

template <typename A, typename B> constexpr std::common_type_t<A, B> min(A a, B b) {
    using T = std::common_type_t<A, B>;
    return T(a) < T(b) ? T(a) : T(b);
}
template <typename A, typename B> constexpr std::common_type_t<A, B> max(A a, B b) {
    using T = std::common_type_t<A, B>;
    return T(a) > T(b) ? T(a) : T(b);
}

template <typename T, typename V> T atomicAdd(T *at, V value) {
    T old = *at;
    *at = old + T(value);
    return old;
}
template <typename T, typename V> T atomicMin(T *at, V value) {
    T old = *at;
    if (T(value) < old) *at = T(value);
    return old;
}
template <typename T, typename V> T atomicMax(T *at, V value) {
    T old = *at;
    if (T(value) > old) *at = T(value);
    return old;
}
template <typename T, typename V> T atomicCAS(T *at, T expected, V value) {
    T old = *at;
    if (old == expected) *at = T(value);
    return old;
}
template <typename T> T atomicExch(T *at, T value) {
    T old = *at;
    *at = value;
    return old;
}
inline void __threadfence() {}
template <typename T> T __ldg(const T *at) { return *at; }
