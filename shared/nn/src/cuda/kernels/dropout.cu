// Dropout with a counter-based mask, a function of the key and the position alone; the same mask as on the CPU
// (dropout.rs of the crate kernels): 16 random words of 64 bits decide for 64 positions, 16 bits each.

typedef unsigned long long uint64;

__device__ __forceinline__ uint64 mix(uint64 z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

__device__ __forceinline__ uint64 bits_at(uint64 key, uint64 index) {
    return mix(key + 0x9E3779B97F4A7C15ull * (index + 1));
}

// The factor of element i under a mask: 0, or `kept`.
__device__ __forceinline__ float kept_factor(uint64 key, uint32 threshold, float kept, long long i) {
    int within = i % 64;
    uint64 word = bits_at(key, (uint64)(i / 64) * 16 + within % 16);
    uint32 decision = (uint32)(word >> (16 * (within / 16))) & 0xffffu;
    return decision < threshold ? 0.0f : kept;
}

extern "C" __global__ void dropout_f32(const float *x, uint64 key, uint32 threshold, float kept, float *y,
                                       long long len) {
    long long i = thread_index();
    if (i < len) y[i] = kept_factor(key, threshold, kept, i) * x[i];
}
