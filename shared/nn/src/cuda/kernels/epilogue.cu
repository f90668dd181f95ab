// Convolution epilogues, forward and backward: shift, residual and ReLU. A thread computes one group of eight
// channels of a position. `len` is the number of groups, `eights` that of a position. `shift`, `residual`
// and `relu_output` may be null.

// y = relu(y + shift + residual), in place.
template <typename T>
__device__ void epilogue(T *y, const float *shift, const T *residual, int relu, int eights, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    Eight e = load8(y + 8 * i);
    if (shift) {
        Eight s = load8(shift + 8 * (i % eights));
#pragma unroll
        for (int k = 0; k < 8; k++) e.v[k] += s.v[k];
    }
    if (residual) {
        Eight r = load8(residual + 8 * i);
#pragma unroll
        for (int k = 0; k < 8; k++) e.v[k] += r.v[k];
    }
    if (relu) {
#pragma unroll
        // NaN stays NaN, so that the loss shows it.
        for (int k = 0; k < 8; k++) e.v[k] = e.v[k] < 0.0f ? 0.0f : e.v[k];
    }
    store8(y + 8 * i, e);
}

// to = gradient + residual where relu_output > 0, else 0; `to` may be `gradient`.
template <typename T>
__device__ void gradient_epilogue(const T *gradient, const T *residual, const T *relu_output, T *to, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    Eight e = load8(gradient + 8 * i);
    if (residual) {
        Eight r = load8(residual + 8 * i);
#pragma unroll
        for (int k = 0; k < 8; k++) e.v[k] += r.v[k];
    }
    if (relu_output) {
        Eight g = load8(relu_output + 8 * i);
#pragma unroll
        for (int k = 0; k < 8; k++) e.v[k] = g.v[k] > 0.0f ? e.v[k] : 0.0f;
    }
    store8(to + 8 * i, e);
}

#define EPILOGUES(T, NAME)                                                                                          \
    extern "C" __global__ void epilogue_##NAME(T *y, const float *shift, const T *residual,                         \
                                             int relu, int eights, long long len) {                                 \
        epilogue(y, shift, residual, relu, eights, len);                                                            \
    }                                                                                                               \
    extern "C" __global__ void gradient_epilogue_##NAME(const T *gradient, const T *residual, const T *relu_output, \
                                          T *to, long long len) {                                                   \
        gradient_epilogue(gradient, residual, relu_output, to, len);                                                \
    }
EPILOGUES(float, f32)
EPILOGUES(bf16, bf16)
