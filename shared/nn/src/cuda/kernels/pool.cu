// Global average pooling of maps [images, positions, padded], whose first `channels` of `padded` channels count.

// y [images, channels] = the mean over the positions.
template <typename T>
__device__ void average_pool(const T *x, int positions, int padded, int channels, float *y, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    const T *at = x + i / channels * positions * padded + i % channels;
    float sum = 0.0f;
    for (int p = 0; p < positions; p++) sum += to_float(at[(long long)p * padded]);
    y[i] = sum / positions;
}

// The gradient of x from that of y.
template <typename T>
__device__ void average_pool_backward(const float *gradient, int positions, int padded, int channels, T *to,
                                      long long len) {
    long long i = thread_index();
    if (i >= len) return;
    int c = i % padded;
    long long image = i / ((long long)positions * padded);
    put(to + i, c < channels ? gradient[image * channels + c] / positions : 0.0f);
}

#define POOL(T, NAME)                                                                                      \
    extern "C" __global__ void average_pool_##NAME(const T *x, int positions, int padded, int channels,    \
                                                   float *y, long long len) {                              \
        average_pool(x, positions, padded, channels, y, len);                                              \
    }                                                                                                      \
    extern "C" __global__ void average_pool_backward_##NAME(const float *gradient, int positions,          \
                                                            int padded, int channels, T *to,               \
                                                            long long len) {                               \
        average_pool_backward(gradient, positions, padded, channels, to, len);                             \
    }
POOL(float, f32)
POOL(bf16, bf16)
