// Batch normalization over [positions, channels], `eights` eights of channels wide. A block sums over
// its rows in a fixed order and leaves two numbers per channel; a second kernel adds up the blocks'
// numbers in f64 and in order. So results do not depend on how blocks are scheduled.
//
// Blocks have 256 threads. In the first kernels `wide` of them stand side by side along the eights of
// a row and the others take the next rows; in the second 32 add up the blocks for 8 channels.

#define THREADS 256
#define SUM_THREADS 32

// Sums the two kinds of terms of a block's rows and leaves them at partial[block][kind][channel].
template <typename Terms>
__device__ void sum_rows(Terms terms, int positions, int rows, int eights, int wide, float *partial) {
    __shared__ float all[THREADS][17];
    int across = threadIdx.x % wide, down = threadIdx.x / wide, high = THREADS / wide;
    int eight = blockIdx.y * wide + across;
    bool works = down < high && eight < eights;
    float sums[2][8] = {};
    if (works) {
        int first = blockIdx.x * rows;
        int last = first + rows < positions ? first + rows : positions;
        for (int row = first + down; row < last; row += high) {
            Eight a, b;
            terms.of(((long long)row * eights + eight) * 8, eight * 8, a, b);
#pragma unroll
            for (int k = 0; k < 8; k++) {
                sums[0][k] += a.v[k];
                sums[1][k] += b.v[k];
            }
        }
    }
#pragma unroll
    for (int k = 0; k < 8; k++) {
        all[threadIdx.x][k] = sums[0][k];
        all[threadIdx.x][8 + k] = sums[1][k];
    }
    __syncthreads();
    if (!works || down > 0) return;
    for (int k = 0; k < 16; k++) {
        float sum = 0.0f;
        for (int other = 0; other < high; other++) sum += all[other * wide + across][k];
        partial[((long long)blockIdx.x * 2 + k / 8) * eights * 8 + eight * 8 + k % 8] = sum;
    }
}

// Adds up the blocks' two numbers of this thread's channel; thread 0 of 32 has the totals.
__device__ bool add_up(const float *partial, int blocks, int channels, int channel, double *totals) {
    __shared__ double all[2][8][SUM_THREADS];
    int adder = threadIdx.x % SUM_THREADS, slot = threadIdx.x / SUM_THREADS;
    double sums[2] = {0.0, 0.0};
    if (channel < channels)
        for (int block = adder; block < blocks; block += SUM_THREADS)
            for (int kind = 0; kind < 2; kind++)
                sums[kind] += partial[((long long)block * 2 + kind) * channels + channel];
    all[0][slot][adder] = sums[0];
    all[1][slot][adder] = sums[1];
    __syncthreads();
    if (adder > 0 || channel >= channels) return false;
    for (int kind = 0; kind < 2; kind++) {
        totals[kind] = 0.0;
        for (int other = 0; other < SUM_THREADS; other++) totals[kind] += all[kind][slot][other];
    }
    return true;
}

// The channel that this thread adds up.
__device__ int own_channel() { return blockIdx.x * (THREADS / SUM_THREADS) + threadIdx.x / SUM_THREADS; }

// Distances to the first row, and their squares: nothing cancels however far from zero x is.
template <typename T> struct Distances {
    const T *x;
    __device__ void of(long long at, int channel, Eight &a, Eight &b) const {
        Eight x8 = load8(x + at), pivot = load8(x + channel);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            a.v[k] = x8.v[k] - pivot.v[k];
            b.v[k] = a.v[k] * a.v[k];
        }
    }
};

// Mean, biased variance and 1 / sqrt(variance + eps) of each channel.
template <typename T>
__device__ void finish_moments(const float *partial, int blocks, const T *x, int positions, int channels,
                               double eps, float *mean, float *variance, float *inverse) {
    double totals[2];
    int c = own_channel();
    if (!add_up(partial, blocks, channels, c, totals)) return;
    double off = totals[0] / positions;
    double spread = totals[1] / positions - off * off;
    spread = spread > 0.0 || spread != spread ? spread : 0.0;
    mean[c] = (float)(to_float(x[c]) + off);
    variance[c] = (float)spread;
    inverse[c] = (float)(1.0 / sqrt(spread + eps));
}

// y = relu((x - mean) * inverse * gamma + beta + residual).
template <typename T>
__device__ void normalize(const T *x, const T *residual, const float *mean, const float *inverse,
                          const float *gamma, const float *beta, int relu, T *y, int eights, long long len) {
    long long i = place();
    if (i >= len) return;
    int c = 8 * (i % eights);
    Eight e = load8(x + 8 * i), m = load8(mean + c), n = load8(inverse + c);
    Eight g = load8(gamma + c), b = load8(beta + c);
#pragma unroll
    for (int k = 0; k < 8; k++) e.v[k] = (e.v[k] - m.v[k]) * (n.v[k] * g.v[k]) + b.v[k];
    if (residual) {
        Eight r = load8(residual + 8 * i);
#pragma unroll
        for (int k = 0; k < 8; k++) e.v[k] += r.v[k];
    }
    if (relu) {
#pragma unroll
        for (int k = 0; k < 8; k++) e.v[k] = e.v[k] < 0.0f ? 0.0f : e.v[k];
    }
    store8(y + 8 * i, e);
}

// The gradient times the distance to the mean, and the gradient.
template <typename T> struct GradientTerms {
    const T *x, *gradient;
    const float *mean;
    __device__ void of(long long at, int channel, Eight &a, Eight &b) const {
        Eight x8 = load8(x + at), m = load8(mean + channel);
        b = load8(gradient + at);
#pragma unroll
        for (int k = 0; k < 8; k++) a.v[k] = (x8.v[k] - m.v[k]) * b.v[k];
    }
};

// The gradient alone, for the gradient of a bias.
template <typename T> struct SumTerms {
    const T *gradient;
    __device__ void of(long long at, int, Eight &a, Eight &b) const {
        a = load8(gradient + at);
        b = a;
    }
};

// The gradients of gamma and beta.
extern "C" __global__ void finish_gradients(const float *partial, int blocks, int channels, const float *inverse,
                                         float *grad_gamma, float *grad_beta) {
    double totals[2];
    int c = own_channel();
    if (!add_up(partial, blocks, channels, c, totals)) return;
    grad_gamma[c] = (float)(totals[0] * inverse[c]);
    grad_beta[c] = (float)totals[1];
}

// A bias's gradient.
extern "C" __global__ void finish_channels(const float *partial, int blocks, int channels, float *grad_bias) {
    double totals[2];
    int c = own_channel();
    if (!add_up(partial, blocks, channels, c, totals)) return;
    grad_bias[c] = (float)totals[0];
}

// The gradient of x, whose mean and variance are functions of it:
// (gradient - beta' / n - (x - mean) * inverse * gamma' / n) * inverse * gamma.
template <typename T>
__device__ void input_gradient(const T *x, const T *gradient, const float *mean, const float *inverse, const float *gamma,
                       const float *grad_gamma, const float *grad_beta, float share, T *to, int eights,
                       long long len) {
    long long i = place();
    if (i >= len) return;
    int c = 8 * (i % eights);
    Eight x8 = load8(x + 8 * i), e = load8(gradient + 8 * i);
    Eight m = load8(mean + c), n = load8(inverse + c), g = load8(gamma + c);
    Eight sg = load8(grad_gamma + c), sb = load8(grad_beta + c);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        float constant = sb.v[k] * share + (x8.v[k] - m.v[k]) * (n.v[k] * sg.v[k] * share);
        e.v[k] = (e.v[k] - constant) * (n.v[k] * g.v[k]);
    }
    store8(to + 8 * i, e);
}

#define BATCH_NORM(T, NAME)                                                                     \
    extern "C" __global__ void sum_moments_##NAME(const T *x, int positions, int rows, int eights, \
                                                  int wide, float *partial) {                      \
        Distances<T> terms = {x};                                                                  \
        sum_rows(terms, positions, rows, eights, wide, partial);                                   \
    }                                                                                              \
    extern "C" __global__ void finish_moments_##NAME(                                              \
        const float *partial, int blocks, const T *x, int positions, int channels, double eps,     \
        float *mean, float *variance, float *inverse) {                                            \
        finish_moments(partial, blocks, x, positions, channels, eps, mean, variance, inverse);     \
    }                                                                                              \
    extern "C" __global__ void normalize_##NAME(                                                   \
        const T *x, const T *residual, const float *mean, const float *inverse,                    \
        const float *gamma, const float *beta, int relu, T *y, int eights, long long len) {        \
        normalize(x, residual, mean, inverse, gamma, beta, relu, y, eights, len);                  \
    }                                                                                              \
    extern "C" __global__ void sum_gradients_##NAME(const T *x, const T *gradient, const float *mean, \
                                                 int positions, int rows, int eights, int wide,    \
                                                 float *partial) {                                 \
        GradientTerms<T> terms = {x, gradient, mean};                                                     \
        sum_rows(terms, positions, rows, eights, wide, partial);                                   \
    }                                                                                              \
    extern "C" __global__ void sum_channels_##NAME(const T *gradient, int positions, int rows,     \
                                                   int eights, int wide, float *partial) {         \
        SumTerms<T> terms = {gradient};                                                               \
        sum_rows(terms, positions, rows, eights, wide, partial);                                   \
    }                                                                                              \
    extern "C" __global__ void input_gradient_##NAME(                                                      \
        const T *x, const T *gradient, const float *mean, const float *inverse,                    \
        const float *gamma, const float *grad_gamma, const float *grad_beta, float share, T *to,       \
        int eights, long long len) {                                                               \
        input_gradient(x, gradient, mean, inverse, gamma, grad_gamma, grad_beta, share, to, eights, len);      \
    }
BATCH_NORM(float, f32)
BATCH_NORM(bf16, bf16)
