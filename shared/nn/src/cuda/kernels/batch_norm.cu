// Batch normalization of [positions, channels], forward and backward, with `eights` groups of eight channels. A
// sum over the positions takes two kernels: each block of the first adds up `rows` positions in a fixed order
// and writes two partial sums per channel; the second adds the blocks' partial sums in f64, in order. So the
// results do not depend on how blocks are scheduled.
//
// Blocks have 256 threads. In the first kernels `wide` threads cover adjacent groups of a row, and the next
// threads the next rows; in the second 32 threads add up the blocks' sums of each of 8 channels.

#define THREADS 256
#define SUM_THREADS 32

// Writes the sums of both kinds of terms over a block's rows to partial[block][kind][channel].
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
    // A thread adds up one column of the shared sums at a time, in the order of the rows.
    for (int column = threadIdx.x; column < 16 * wide; column += THREADS) {
        int k = column % 16, group = column / 16, channels = blockIdx.y * wide + group;
        if (channels >= eights) break;
        float sum = 0.0f;
        for (int other = 0; other < high; other++) sum += all[other * wide + group][k];
        partial[((long long)blockIdx.x * 2 + k / 8) * eights * 8 + channels * 8 + k % 8] = sum;
    }
}

// Adds up the blocks' partial sums of a channel; true in the one thread of 32 that has the totals.
__device__ bool sum_blocks(const float *partial, int blocks, int channels, int channel, double *totals) {
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

// The channel of this thread in the second kernels.
__device__ int own_channel() { return blockIdx.x * (THREADS / SUM_THREADS) + threadIdx.x / SUM_THREADS; }

// Differences to the first row, and their squares: so that sums do not cancel where the mean is far from 0.
template <typename T> struct Deviations {
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

// Second kernel: mean and 1 / sqrt(biased variance + eps) of each channel. The running statistics of the first
// `moved` channels, those without padding, move towards the batch's, in place, as PyTorch's do with momentum 0.1:
// their variance is the unbiased one.
template <typename T>
__device__ void finish_moments(const float *partial, int blocks, const T *x, int positions, int channels,
                               double eps, float *mean, float *inverse, float *running_mean,
                               float *running_variance, int moved) {
    double totals[2];
    int c = own_channel();
    if (!sum_blocks(partial, blocks, channels, c, totals)) return;
    double offset = totals[0] / positions;
    double biased = totals[1] / positions - offset * offset;
    biased = biased > 0.0 || biased != biased ? biased : 0.0;
    mean[c] = (float)(to_float(x[c]) + offset);
    inverse[c] = (float)(1.0 / sqrt(biased + eps));
    if (c >= moved) return;
    double unbiased = biased * positions / (positions > 1 ? positions - 1 : 1);
    running_mean[c] = 0.9f * running_mean[c] + 0.1f * mean[c];
    running_variance[c] = 0.9f * running_variance[c] + 0.1f * (float)unbiased;
}

// (x - mean) * inverse * gamma + beta, rounded after every operation, so that the forward and the backward pass
// agree on its sign.
__device__ float normalized(float x, float mean, float inverse, float gamma, float beta) {
    return __fadd_rn(__fmul_rn(__fsub_rn(x, mean), __fmul_rn(inverse, gamma)), beta);
}

// y = relu(normalized + residual); residual and ReLU are optional.
template <typename T>
__device__ void normalize(const T *x, const T *residual, const float *mean, const float *inverse,
                          const float *gamma, const float *beta, int relu, T *y, int eights, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    int c = 8 * (i % eights);
    Eight e = load8(x + 8 * i), m = load8(mean + c), n = load8(inverse + c);
    Eight g = load8(gamma + c), b = load8(beta + c);
#pragma unroll
    for (int k = 0; k < 8; k++) e.v[k] = normalized(e.v[k], m.v[k], n.v[k], g.v[k], b.v[k]);
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

// The gradient of what `normalize` computed of `x` before its ReLU, if it had one (and no residual) and `beta`
// is not null: whether it was positive is computed anew, which takes less time than reading it.
template <typename T>
__device__ Eight gradient_before_relu(const T *gradient, Eight x, int channel, const float *mean, const float *inverse,
                                      const float *gamma, const float *beta) {
    Eight e = load8(gradient);
    if (!beta) return e;
    Eight m = load8(mean + channel), n = load8(inverse + channel);
    Eight g = load8(gamma + channel), b = load8(beta + channel);
#pragma unroll
    for (int k = 0; k < 8; k++)
        e.v[k] = normalized(x.v[k], m.v[k], n.v[k], g.v[k], b.v[k]) > 0.0f ? e.v[k] : 0.0f;
    return e;
}

// Terms of the gradients of gamma and beta: gradient * (x - mean), and the gradient.
template <typename T> struct GradientTerms {
    const T *x, *gradient;
    const float *mean, *inverse, *gamma, *beta;
    __device__ void of(long long at, int channel, Eight &a, Eight &b) const {
        Eight x8 = load8(x + at), m = load8(mean + channel);
        b = gradient_before_relu(gradient + at, x8, channel, mean, inverse, gamma, beta);
#pragma unroll
        for (int k = 0; k < 8; k++) a.v[k] = (x8.v[k] - m.v[k]) * b.v[k];
    }
};

// Terms of the gradient of a bias: the gradient, twice.
template <typename T> struct SumTerms {
    const T *gradient;
    __device__ void of(long long at, int, Eight &a, Eight &b) const {
        a = load8(gradient + at);
        b = a;
    }
};

// Second kernel: the gradients of gamma and beta.
extern "C" __global__ void finish_gradients(const float *partial, int blocks, int channels, const float *inverse,
                                            float *grad_gamma, float *grad_beta) {
    double totals[2];
    int c = own_channel();
    if (!sum_blocks(partial, blocks, channels, c, totals)) return;
    grad_gamma[c] = (float)(totals[0] * inverse[c]);
    grad_beta[c] = (float)totals[1];
}

// Second kernel: the gradient of a bias.
extern "C" __global__ void finish_channels(const float *partial, int blocks, int channels, float *grad_bias) {
    double totals[2];
    int c = own_channel();
    if (!sum_blocks(partial, blocks, channels, c, totals)) return;
    grad_bias[c] = (float)totals[0];
}

// The gradient of x, through its mean and variance, too; `share` is 1 / positions:
// (gradient - grad_beta * share - (x - mean) * inverse * grad_gamma * share) * inverse * gamma.
template <typename T>
__device__ void input_gradient(const T *x, const T *gradient, const float *mean, const float *inverse,
                               const float *gamma, const float *beta, const float *grad_gamma,
                               const float *grad_beta, float share, T *to, int eights, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    int c = 8 * (i % eights);
    Eight x8 = load8(x + 8 * i), e = gradient_before_relu(gradient + 8 * i, x8, c, mean, inverse, gamma, beta);
    Eight m = load8(mean + c), n = load8(inverse + c), g = load8(gamma + c);
    Eight sg = load8(grad_gamma + c), sb = load8(grad_beta + c);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        float constant = sb.v[k] * share + (x8.v[k] - m.v[k]) * (n.v[k] * sg.v[k] * share);
        e.v[k] = (e.v[k] - constant) * (n.v[k] * g.v[k]);
    }
    store8(to + 8 * i, e);
}

#define BATCH_NORM(T, NAME)                                                                               \
    extern "C" __global__ void sum_moments_##NAME(const T *x, int positions, int rows, int eights,        \
                                                  int wide, float *partial) {                             \
        Deviations<T> terms = {x};                                                                        \
        sum_rows(terms, positions, rows, eights, wide, partial);                                          \
    }                                                                                                     \
    extern "C" __global__ void finish_moments_##NAME(                                                     \
        const float *partial, int blocks, const T *x, int positions, int channels, double eps,            \
        float *mean, float *inverse, float *running_mean, float *running_variance, int moved) {           \
        finish_moments(partial, blocks, x, positions, channels, eps, mean, inverse, running_mean,         \
                       running_variance, moved);                                                          \
    }                                                                                                     \
    extern "C" __global__ void normalize_##NAME(                                                          \
        const T *x, const T *residual, const float *mean, const float *inverse,                           \
        const float *gamma, const float *beta, int relu, T *y, int eights, long long len) {               \
        normalize(x, residual, mean, inverse, gamma, beta, relu, y, eights, len);                         \
    }                                                                                                     \
    extern "C" __global__ void sum_gradients_##NAME(                                                      \
        const T *x, const T *gradient, const float *mean, const float *inverse, const float *gamma,       \
        const float *beta, int positions, int rows, int eights, int wide, float *partial) {               \
        GradientTerms<T> terms = {x, gradient, mean, inverse, gamma, beta};                               \
        sum_rows(terms, positions, rows, eights, wide, partial);                                          \
    }                                                                                                     \
    extern "C" __global__ void sum_channels_##NAME(const T *gradient, int positions, int rows,            \
                                                   int eights, int wide, float *partial) {                \
        SumTerms<T> terms = {gradient};                                                                   \
        sum_rows(terms, positions, rows, eights, wide, partial);                                          \
    }                                                                                                     \
    extern "C" __global__ void input_gradient_##NAME(                                                     \
        const T *x, const T *gradient, const float *mean, const float *inverse, const float *gamma,       \
        const float *beta, const float *grad_gamma, const float *grad_beta, float share, T *to,           \
        int eights, long long len) {                                                                      \
        input_gradient(x, gradient, mean, inverse, gamma, beta, grad_gamma, grad_beta, share, to, eights, \
                       len);                                                                              \
    }
BATCH_NORM(float, f32)
BATCH_NORM(bf16, bf16)
