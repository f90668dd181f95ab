// Row-wise operations of Transformers on matrices: layer norm, softmax, GELU and residual with dropout, heads, sums
// over columns. Factors of products, and their results, are of type T, f32 or bf16; the rest is f32. A warp computes a
// row where a row has sums; elsewhere a thread computes an element. `key`, `threshold` and `kept` are a dropout mask;
// threshold 0 and kept 1 drop nothing.

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lane));
    return x;
}

// The row of this warp.
__device__ __forceinline__ long long own_row() { return (long long)blockIdx.x * (THREADS / 32) + threadIdx.x / 32; }

// Mean and 1 / sqrt(variance + eps) of a row.
__device__ void row_moments(const float *x, int width, float eps, float &mean, float &inverse) {
    float sum = 0.0f, squares = 0.0f;
    for (int i = threadIdx.x % 32; i < width; i += 32) sum += x[i];
    mean = warp_sum(sum) / width;
    for (int i = threadIdx.x % 32; i < width; i += 32) squares += (x[i] - mean) * (x[i] - mean);
    inverse = 1.0f / sqrtf(warp_sum(squares) / width + eps);
}

// y = (x - mean) * inverse * gamma + beta of each row of x [rows, width].
template <typename T>
__device__ void layer_norm(const float *x, const float *gamma, const float *beta, float eps, T *y, int width,
                           long long rows) {
    long long row = own_row();
    if (row >= rows) return;
    x += row * width;
    float mean, inverse;
    row_moments(x, width, eps, mean, inverse);
    for (int i = threadIdx.x % 32; i < width; i += 32)
        put(y + row * width + i, (x[i] - mean) * inverse * gamma[i] + beta[i]);
}

// The gradient of x from that of y; and normalized = (x - mean) * inverse.
template <typename T>
__device__ void layer_norm_backward(const float *x, const float *gamma, const T *gradient, float eps, float *grad_x,
                                    float *normalized, int width, long long rows) {
    long long row = own_row();
    if (row >= rows) return;
    x += row * width;
    gradient += row * width;
    float mean, inverse, sum = 0.0f, product = 0.0f;
    row_moments(x, width, eps, mean, inverse);
    for (int i = threadIdx.x % 32; i < width; i += 32) {
        float g = to_float(gradient[i]) * gamma[i];
        sum += g;
        product += g * (x[i] - mean) * inverse;
    }
    sum = warp_sum(sum) / width;
    product = warp_sum(product) / width;
    for (int i = threadIdx.x % 32; i < width; i += 32) {
        float n = (x[i] - mean) * inverse;
        normalized[row * width + i] = n;
        grad_x[row * width + i] = inverse * (to_float(gradient[i]) * gamma[i] - sum - n * product);
    }
}

// x = softmax(scale * x) of each row, in place.
template <typename T> __device__ void scaled_softmax(T *x, float scale, int width, long long rows) {
    long long row = own_row();
    if (row >= rows) return;
    x += row * width;
    float most = __uint_as_float(0xff800000u), sum = 0.0f; // -infinity
    for (int i = threadIdx.x % 32; i < width; i += 32) most = fmaxf(most, scale * to_float(x[i]));
    most = warp_max(most);
    for (int i = threadIdx.x % 32; i < width; i += 32) sum += expf(scale * to_float(x[i]) - most);
    sum = warp_sum(sum);
    for (int i = threadIdx.x % 32; i < width; i += 32) put(x + i, expf(scale * to_float(x[i]) - most) / sum);
}

// The gradient of softmax's argument from that of its result y, in place.
template <typename T>
__device__ void scaled_softmax_backward(const T *y, T *gradient, float scale, int width, long long rows) {
    long long row = own_row();
    if (row >= rows) return;
    y += row * width;
    gradient += row * width;
    float sum = 0.0f;
    for (int i = threadIdx.x % 32; i < width; i += 32) sum += to_float(y[i]) * to_float(gradient[i]);
    sum = warp_sum(sum);
    for (int i = threadIdx.x % 32; i < width; i += 32)
        put(gradient + i, scale * to_float(y[i]) * (to_float(gradient[i]) - sum));
}

// y = x + bias of x [rows, width].
template <typename T> __device__ void add_bias(const T *x, const float *bias, float *y, int width, long long len) {
    long long i = thread_index();
    if (i < len) y[i] = to_float(x[i]) + bias[i % width];
}

// y = drop(gelu(x + bias)) of x [rows, width], with the exact GELU.
template <typename T>
__device__ void gelu_dropout(const T *x, const float *bias, uint64 key, uint32 threshold, float kept, T *y, int width,
                             long long len) {
    long long i = thread_index();
    if (i >= len) return;
    float a = to_float(x[i]) + bias[i % width];
    float gelu = 0.5f * a * (1.0f + erff(a * 0.70710678f));
    put(y + i, kept_factor(key, threshold, kept, i) * gelu);
}

// The gradient of x from that of y, in place.
template <typename T>
__device__ void gelu_dropout_backward(const T *x, const float *bias, uint64 key, uint32 threshold, float kept,
                                      T *gradient, int width, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    float a = to_float(x[i]) + bias[i % width];
    float slope = 0.5f * (1.0f + erff(a * 0.70710678f)) + a * 0.39894228f * expf(-0.5f * a * a);
    put(gradient + i, to_float(gradient[i]) * (kept_factor(key, threshold, kept, i) * slope));
}

// y = residual + drop(x + bias) of x [rows, width].
template <typename T>
__device__ void residual_dropout(const float *residual, const T *x, const float *bias, uint64 key, uint32 threshold,
                                 float kept, float *y, int width, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    y[i] = residual[i] + kept_factor(key, threshold, kept, i) * (to_float(x[i]) + bias[i % width]);
}

// y = drop(tokens + positions): first the class token, then x [batch, tokens, width], of each image.
extern "C" __global__ void embed(const float *x, const float *class_token, const float *positions, uint64 key,
                                 uint32 threshold, float kept, float *y, int width, int image_len, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    long long image = i / image_len;
    int at = i % image_len;
    float token = at < width ? class_token[at] : x[image * (image_len - width) + at - width];
    y[i] = kept_factor(key, threshold, kept, i) * (token + positions[at]);
}

// y [parts, batch, heads, tokens, size] = x [batch, tokens, parts, heads, size] + bias [parts, heads, size], which
// may be null.
template <typename T>
__device__ void split_heads(const T *x, const float *bias, T *y, int parts, int heads, int tokens, int size,
                            long long len) {
    long long i = thread_index();
    if (i >= len) return;
    int element = i % size;
    long long rest = i / size;
    int token = rest % tokens;
    rest /= tokens;
    int head = rest % heads;
    rest /= heads;
    long long batch = len / ((long long)parts * heads * tokens * size);
    long long image = rest % batch;
    int column = (int)(rest / batch) * heads * size + head * size + element;
    float value = to_float(x[(image * tokens + token) * parts * heads * size + column]);
    put(y + i, bias ? value + bias[column] : value);
}

// The inverse of split_heads without a bias.
template <typename T>
__device__ void merge_heads(const T *x, T *y, int parts, int heads, int tokens, int size, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    int column = i % (parts * heads * size);
    long long row = i / (parts * heads * size);
    int element = column % size, head = column / size % heads, part = column / (heads * size);
    long long batch = len / ((long long)parts * heads * tokens * size);
    long long image = row / tokens;
    int token = row % tokens;
    y[i] = x[((((long long)part * batch + image) * heads + head) * tokens + token) * size + element];
}

// Writes the sums of x and of x * factor (which may be null) over a block's rows to partial[block][kind][column].
template <typename T>
__device__ void sum_columns(const T *x, const float *factor, int rows_of_block, int width, long long rows,
                            float *partial) {
    int column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= width) return;
    long long first = (long long)blockIdx.x * rows_of_block;
    long long last = first + rows_of_block < rows ? first + rows_of_block : rows;
    float sum = 0.0f, product = 0.0f;
    for (long long row = first; row < last; row++) {
        float value = to_float(x[row * width + column]);
        sum += value;
        if (factor) product += value * factor[row * width + column];
    }
    partial[((long long)blockIdx.x * 2) * width + column] = sum;
    partial[((long long)blockIdx.x * 2 + 1) * width + column] = product;
}

// Adds up the blocks' partial sums in f64, in order; products may be null.
extern "C" __global__ void finish_columns(const float *partial, int blocks, int width, float *sums, float *products) {
    double totals[2];
    int column = own_channel();
    if (!sum_blocks(partial, blocks, width, column, totals)) return;
    sums[column] = (float)totals[0];
    if (products) products[column] = (float)totals[1];
}

#define ROW_OPS(T, NAME)                                                                                           \
    extern "C" __global__ void layer_norm_##NAME(                                                                  \
        const float *x, const float *gamma, const float *beta, float eps, T *y, int width, long long rows) {       \
        layer_norm(x, gamma, beta, eps, y, width, rows);                                                           \
    }                                                                                                              \
    extern "C" __global__ void layer_norm_backward_##NAME(                                                         \
        const float *x, const float *gamma, const T *gradient, float eps, float *grad_x, float *normalized,        \
        int width, long long rows) {                                                                               \
        layer_norm_backward(x, gamma, gradient, eps, grad_x, normalized, width, rows);                             \
    }                                                                                                              \
    extern "C" __global__ void scaled_softmax_##NAME(T *x, float scale, int width, long long rows) {               \
        scaled_softmax(x, scale, width, rows);                                                                     \
    }                                                                                                              \
    extern "C" __global__ void scaled_softmax_backward_##NAME(                                                     \
        const T *y, T *gradient, float scale, int width, long long rows) {                                         \
        scaled_softmax_backward(y, gradient, scale, width, rows);                                                  \
    }                                                                                                              \
    extern "C" __global__ void add_bias_##NAME(                                                                    \
        const T *x, const float *bias, float *y, int width, long long len) {                                       \
        add_bias(x, bias, y, width, len);                                                                          \
    }                                                                                                              \
    extern "C" __global__ void gelu_dropout_##NAME(                                                                \
        const T *x, const float *bias, uint64 key, uint32 threshold, float kept, T *y, int width, long long len) { \
        gelu_dropout(x, bias, key, threshold, kept, y, width, len);                                                \
    }                                                                                                              \
    extern "C" __global__ void gelu_dropout_backward_##NAME(                                                       \
        const T *x, const float *bias, uint64 key, uint32 threshold, float kept, T *gradient, int width,           \
        long long len) {                                                                                           \
        gelu_dropout_backward(x, bias, key, threshold, kept, gradient, width, len);                                \
    }                                                                                                              \
    extern "C" __global__ void residual_dropout_##NAME(                                                            \
        const float *residual, const T *x, const float *bias, uint64 key, uint32 threshold, float kept,            \
        float *y, int width, long long len) {                                                                      \
        residual_dropout(residual, x, bias, key, threshold, kept, y, width, len);                                  \
    }                                                                                                              \
    extern "C" __global__ void split_heads_##NAME(                                                                 \
        const T *x, const float *bias, T *y, int parts, int heads, int tokens, int size, long long len) {          \
        split_heads(x, bias, y, parts, heads, tokens, size, len);                                                  \
    }                                                                                                              \
    extern "C" __global__ void merge_heads_##NAME(                                                                 \
        const T *x, T *y, int parts, int heads, int tokens, int size, long long len) {                             \
        merge_heads(x, y, parts, heads, tokens, size, len);                                                        \
    }                                                                                                              \
    extern "C" __global__ void sum_columns_##NAME(                                                                 \
        const T *x, const float *factor, int rows_of_block, int width, long long rows, float *partial) {           \
        sum_columns(x, factor, rows_of_block, width, rows, partial);                                               \
    }
ROW_OPS(float, f32)
ROW_OPS(bf16, bf16)
