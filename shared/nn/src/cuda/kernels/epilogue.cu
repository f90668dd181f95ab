// Epilogues of a convolution, forward and backward: shift, residual and ReLU. Every thread has eight channels
// of a position; `len` counts eights; whatever may be missing is a null pointer.

// y = relu(y + shift + residual), in place.
template <typename T>
__device__ void epilogue(T *y, const float *shift, const T *residual, int relu, int eights, long long len) {
    long long i = place();
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
        // A NaN stays one, so that it is seen in the loss.
        for (int k = 0; k < 8; k++) e.v[k] = e.v[k] < 0.0f ? 0.0f : e.v[k];
    }
    store8(y + 8 * i, e);
}

// to = gradient + residual where gate > 0, else 0; `to` may be `gradient`.
template <typename T>
__device__ void gradient_epilogue(const T *gradient, const T *residual, const T *gate, T *to, long long len) {
    long long i = place();
    if (i >= len) return;
    Eight e = load8(gradient + 8 * i);
    if (residual) {
        Eight r = load8(residual + 8 * i);
#pragma unroll
        for (int k = 0; k < 8; k++) e.v[k] += r.v[k];
    }
    if (gate) {
        Eight g = load8(gate + 8 * i);
#pragma unroll
        for (int k = 0; k < 8; k++) e.v[k] = g.v[k] > 0.0f ? e.v[k] : 0.0f;
    }
    store8(to + 8 * i, e);
}

#define EPILOGUES(T, NAME)                                                                         \
    extern "C" __global__ void epilogue_##NAME(T *y, const float *shift, const T *residual,          \
                                             int relu, int eights, long long len) {                \
        epilogue(y, shift, residual, relu, eights, len);                                             \
    }                                                                                              \
    extern "C" __global__ void gradient_epilogue_##NAME(const T *gradient, const T *residual, const T *gate,     \
                                          T *to, long long len) {                                  \
        gradient_epilogue(gradient, residual, gate, to, len);                                                    \
    }
EPILOGUES(float, f32)
EPILOGUES(bf16, bf16)
