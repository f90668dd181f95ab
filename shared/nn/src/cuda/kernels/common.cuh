// Loads and stores of f32 and bf16, as f32 and in groups of eight. Feature maps are [positions, channels]
// with channels a multiple of eight, so that a group of eight channels is one or two 16-byte words. No
// header is included: the kernels are compiled by NVRTC where the programs run, where there are no headers.

typedef unsigned short bf16;
typedef unsigned int uint32;

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float((uint32)x << 16); }

__device__ __forceinline__ void put(float *to, float x) { *to = x; }
__device__ __forceinline__ void put(bf16 *to, float x) {
    uint32 bits = __float_as_uint(x);
    // Round to nearest, ties to even; NaN stays NaN.
    uint32 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    *to = (bits & 0x7fffffffu) > 0x7f800000u ? (bf16)0x7fc0u : (bf16)rounded;
}

struct Eight {
    float v[8];
};

__device__ __forceinline__ Eight load8(const float *from) {
    const float4 *words = (const float4 *)from;
    float4 a = words[0], b = words[1];
    Eight e = {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
    return e;
}

__device__ __forceinline__ Eight load8(const bf16 *from) {
    uint4 w = *(const uint4 *)from;
    uint32 words[4] = {w.x, w.y, w.z, w.w};
    Eight e;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        e.v[2 * i] = __uint_as_float(words[i] << 16);
        e.v[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
    return e;
}

__device__ __forceinline__ void store8(float *to, Eight e) {
    float4 *words = (float4 *)to;
    words[0] = make_float4(e.v[0], e.v[1], e.v[2], e.v[3]);
    words[1] = make_float4(e.v[4], e.v[5], e.v[6], e.v[7]);
}

__device__ __forceinline__ void store8(bf16 *to, Eight e) {
    uint32 words[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        bf16 low, high;
        put(&low, e.v[2 * i]);
        put(&high, e.v[2 * i + 1]);
        words[i] = (uint32)low | ((uint32)high << 16);
    }
    *(uint4 *)to = make_uint4(words[0], words[1], words[2], words[3]);
}

// Index of this thread in a one-dimensional grid.
__device__ __forceinline__ long long thread_index() {
    return (long long)blockIdx.x * blockDim.x + threadIdx.x;
}
