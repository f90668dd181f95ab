// The CUDA kernels, tested on the CPU: compiled as C++, with stand-ins for what CUDA adds to C++, and compared
// with naive loops in double. This tests arithmetic and indices, not that the kernels run on a GPU.
// `make check-cuda` builds and runs it.

#include <barrier>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

// ---- Stand-ins for CUDA. Blocks run one after another, so that their shared memory can be static. ----

#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__ static
#define __grid_constant__

struct Dim {
    unsigned x = 0, y = 0, z = 0;
};
static thread_local Dim threadIdx, blockIdx;
static Dim blockDim = {256, 1, 1};
static std::unique_ptr<std::barrier<>> barrier;
static void __syncthreads() { barrier->arrive_and_wait(); }
static float shuffled[256];
static std::unique_ptr<std::barrier<>> warp_barriers[8];
// All threads of a warp call it together.
static float __shfl_xor_sync(unsigned, float x, int mask) {
    std::barrier<> &warp = *warp_barriers[threadIdx.x / 32];
    shuffled[threadIdx.x] = x;
    warp.arrive_and_wait();
    float other = shuffled[threadIdx.x ^ mask];
    warp.arrive_and_wait();
    return other;
}

struct float4 {
    float x, y, z, w;
};
struct uint4 {
    unsigned x, y, z, w;
};
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
template <typename To, typename From> static To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
static float __uint_as_float(unsigned x) { return bits<float>(x); }
static unsigned __float_as_uint(float x) { return bits<unsigned>(x); }
static float __fadd_rn(float a, float b) { return a + b; }
static float __fsub_rn(float a, float b) { return a - b; }
static float __fmul_rn(float a, float b) { return a * b; }
static float __fdiv_rn(float a, float b) { return a / b; }
using std::isfinite;

#include "../src/cuda/kernels/common.cuh"
#include "../src/cuda/kernels/arrays.cuh"
#include "../src/cuda/kernels/convert.cu"
#include "../src/cuda/kernels/channels_last.cu"
#include "../src/cuda/kernels/im2col.cu"
#include "../src/cuda/kernels/epilogue.cu"
#include "../src/cuda/kernels/batch_norm.cu"
#include "../src/cuda/kernels/pool.cu"
#include "../src/cuda/kernels/loss.cu"
#include "../src/cuda/kernels/dropout.cu"
#include "../src/cuda/kernels/row_ops.cu"
#include "../src/cuda/kernels/sgd.cu"
#include "../src/cuda/kernels/average.cu"
#include "../src/cuda/kernels/crop.cu"

// Runs a kernel whose threads synchronize, in a grid of across x down blocks.
static void synchronized(unsigned across, unsigned down, const std::function<void()> &kernel) {
    for (unsigned y = 0; y < down; y++)
        for (unsigned x = 0; x < across; x++) {
            barrier = std::make_unique<std::barrier<>>(THREADS);
            for (auto &warp : warp_barriers) warp = std::make_unique<std::barrier<>>(32);
            std::vector<std::thread> threads;
            for (unsigned t = 0; t < THREADS; t++)
                threads.emplace_back([=, &kernel] {
                    blockIdx = {x, y, 0};
                    threadIdx = {t, 0, 0};
                    kernel();
                });
            for (auto &thread : threads) thread.join();
        }
}

// Runs a kernel whose threads do not synchronize.
static void independent(unsigned blocks, const std::function<void()> &kernel) {
    for (unsigned x = 0; x < blocks; x++)
        for (unsigned t = 0; t < THREADS; t++) {
            blockIdx = {x, 0, 0};
            threadIdx = {t, 0, 0};
            kernel();
        }
}

// Runs a kernel with one thread for each of `len` elements.
static void each(long long len, const std::function<void()> &kernel) {
    independent((len + THREADS - 1) / THREADS, kernel);
}

// ---- Tests. ----

static std::mt19937 random_bits(1);
static int failures = 0;

static void check(bool right, const std::string &what) {
    if (!right) {
        std::printf("wrong: %s\n", what.c_str());
        failures++;
    }
}

static void near(double found, double expected, double bound, const std::string &what) {
    bool is_near = std::abs(found - expected) <= bound * std::max(1.0, std::abs(expected));
    if (!is_near) std::printf("  found %.9g, expected %.9g\n", found, expected);
    check(is_near, what);
}

template <typename T> static T as(double x) {
    T y;
    put(&y, (float)x);
    return y;
}

// Normal random numbers around `center` in memory that is aligned as on the device, and their initial values.
template <typename T> struct Numbers {
    T *at;
    std::vector<double> initial;

    explicit Numbers(size_t len, double center = 0.0) : initial(len) {
        at = (T *)std::aligned_alloc(64, (len * sizeof(T) / 64 + 1) * 64);
        std::normal_distribution<double> draw(center, 1.0);
        for (size_t i = 0; i < len; i++) {
            at[i] = as<T>(draw(random_bits));
            initial[i] = to_float(at[i]);
        }
    }
    ~Numbers() { std::free(at); }
    Numbers(const Numbers &) = delete;
    double operator[](size_t i) const { return to_float(at[i]); }
};

template <typename T> struct Kind;

#define KIND(T, NAME, BOUND)                                                            \
    template <> struct Kind<T> {                                                        \
        static constexpr double bound = BOUND;                                          \
        static constexpr auto epilogue = epilogue_##NAME;                               \
        static constexpr auto gradient_epilogue = gradient_epilogue_##NAME;             \
        static constexpr auto pack = pack_filters_##NAME;                               \
        static constexpr auto unpack = unpack_filter_##NAME;                            \
        static constexpr auto im2col = im2col_nhwc_##NAME;                              \
        static constexpr auto col2im = col2im_nhwc_##NAME;                              \
        static constexpr auto average_pool = average_pool_##NAME;                       \
        static constexpr auto unpool = average_pool_backward_##NAME;                    \
        static constexpr auto add_bias = add_bias_##NAME;                               \
        static constexpr auto layer_norm = layer_norm_##NAME;                           \
        static constexpr auto layer_norm_backward = layer_norm_backward_##NAME;         \
        static constexpr auto softmax = scaled_softmax_##NAME;                          \
        static constexpr auto softmax_backward = scaled_softmax_backward_##NAME;        \
        static constexpr auto gelu_dropout = gelu_dropout_##NAME;                       \
        static constexpr auto gelu_dropout_backward = gelu_dropout_backward_##NAME;     \
        static constexpr auto residual_dropout = residual_dropout_##NAME;               \
        static constexpr auto split_heads = split_heads_##NAME;                         \
        static constexpr auto merge_heads = merge_heads_##NAME;                         \
        static constexpr auto sum_columns = sum_columns_##NAME;                         \
        static constexpr auto sum_moments = sum_moments_##NAME;                         \
        static constexpr auto finish_moments = finish_moments_##NAME;                   \
        static constexpr auto normalize = normalize_##NAME;                             \
        static constexpr auto sum_gradients = sum_gradients_##NAME;                     \
        static constexpr auto sum_channels = sum_channels_##NAME;                       \
        static constexpr auto input_gradient = input_gradient_##NAME;                   \
    };
KIND(float, f32, 2e-5)
KIND(bf16, bf16, 1e-2)

static void channels_come_last() {
    const int images = 3, channels = 3, area = 35, len = images * channels * area;
    Numbers<float> x(len), y(len), gradient(len), grad_x(len), mean(channels), std(channels, 5.0);
    for (bool normalized : {false, true}) {
        const float *m = normalized ? mean.at : nullptr, *s = normalized ? std.at : nullptr;
        each(len, [&] { pixels_to_input(x.at, channels, area, m, s, y.at, len); });
        each(len, [&] { pixels_to_input_backward(gradient.at, channels, area, s, grad_x.at, len); });
        for (int i = 0; i < len; i++) {
            const int p = i % area, c = i / area % channels, image = i / (area * channels);
            const int last = (image * area + p) * channels + c;
            near(y[last], normalized ? (x[i] - mean[c]) / std[c] : x[i], 1e-6, "pixel with its channel last");
            near(grad_x[i], normalized ? gradient[last] / std[c] : gradient[last], 1e-6, "gradient of a pixel");
        }
    }
}

static void converts() {
    check(as<bf16>(1.0) == 0x3f80 && as<bf16>(-2.5) == 0xc020, "bf16 of whole numbers");
    check(as<bf16>(1.0 + 1.0 / 256) == 0x3f80 && as<bf16>(1.0 + 3.0 / 256) == 0x3f82, "ties to even");
    check(std::isnan(to_float(as<bf16>(NAN))) && std::isinf(to_float(as<bf16>(INFINITY))), "bf16 of NaN and infinity");
    check(std::isinf(to_float(as<bf16>(3.4e38))), "bf16 overflow to infinity");

    const int positions = 37;
    Numbers<float> x(positions * 3), back(positions * 3);
    Numbers<bf16> wide(positions * 8);
    each(positions * 8, [&] { channels_f32_bf16(x.at, 3, wide.at, 8, positions * 8); });
    each(positions * 3, [&] { channels_bf16_f32(wide.at, 8, back.at, 3, positions * 3); });
    for (int p = 0; p < positions; p++)
        for (int c = 0; c < 8; c++) {
            near(wide[p * 8 + c], c < 3 ? x[p * 3 + c] : 0.0, 4e-3, "padded channels");
            if (c < 3) check(back[p * 3 + c] == wide[p * 8 + c], "dropped channels");
        }
}

template <typename T> static void filters() {
    const int out = 5, in = 3, area = 9, padded_out = 8, padded_in = 8;
    Numbers<float> w(out * in * area), back(out * in * area);
    Numbers<T> packed(padded_out * area * padded_in), other(64);
    const long long len = padded_out * area * padded_in, piece = 300;
    const FilterArrays arrays = {{{w.at, other.at, 1, 1, 1, 8, 64}, {w.at, packed.at, out, in, area, padded_in, len}}, {0, 1}, 2};
    independent(3, [&] { Kind<T>::pack(arrays, piece); });
    for (int i = 0; i < 64; i++) near(other[i], i == 0 ? w[0] : 0.0, Kind<T>::bound, "the first of two filters");
    for (int o = 0; o < padded_out; o++)
        for (int tap = 0; tap < area; tap++)
            for (int c = 0; c < padded_in; c++) {
                double expected = o < out && c < in ? w[(o * in + c) * area + tap] : 0.0;
                near(packed[(o * area + tap) * padded_in + c], expected, Kind<T>::bound, "packed filter");
            }
    each(out * in * area, [&] { Kind<T>::unpack(packed.at, in, area, padded_in, back.at, out * in * area); });
    for (int i = 0; i < out * in * area; i++) near(back[i], w[i], Kind<T>::bound, "unpacked filter");
}

// im2col and col2im of a convolution [images, height, width, eights * 8], against loops over the output.
template <typename T> static void window_matrices(int images, int height, int width, int eights, int kernel, int stride, int padding) {
    const int channels = eights * 8, taps = kernel * kernel;
    const int out_height = (height + 2 * padding - kernel) / stride + 1;
    const int out_width = (width + 2 * padding - kernel) / stride + 1;
    const int windows = images * out_height * out_width, len = images * height * width * channels;
    const std::string size = " of " + std::to_string(kernel) + ", stride " + std::to_string(stride);
    Numbers<T> x(len), matrix((size_t)windows * taps * channels), back(len);
    Numbers<float> terms((size_t)windows * taps * channels);
    std::vector<double> sums(len), count(len);
    each((long long)windows * taps * eights, [&] {
        Kind<T>::im2col(x.at, height, width, out_height, out_width, kernel, stride, padding, eights, matrix.at,
                        (long long)windows * taps * eights);
    });
    each(len / 8, [&] {
        Kind<T>::col2im(terms.at, height, width, out_height, out_width, kernel, stride, padding, eights, back.at,
                        len / 8);
    });
    size_t at = 0;
    for (int w = 0; w < windows; w++)
        for (int tap = 0; tap < taps; tap++)
            for (int c = 0; c < channels; c++, at++) {
                const int row = w / out_width % out_height * stride + tap / kernel - padding;
                const int column = w % out_width * stride + tap % kernel - padding;
                const bool inside = row >= 0 && row < height && column >= 0 && column < width;
                const int image = w / (out_height * out_width);
                const size_t from = (((size_t)image * height + row) * width + column) * channels + c;
                check(matrix[at] == (inside ? x[from] : 0.0), "im2col" + size);
                if (inside) sums[from] += terms[at], count[from] += std::abs(terms[at]);
            }
    for (int i = 0; i < len; i++) near(back[i] / (1 + count[i]), sums[i] / (1 + count[i]), Kind<T>::bound, "col2im" + size);
}

template <typename T> static void convolutions() {
    window_matrices<T>(2, 7, 5, 2, 3, 1, 1);
    window_matrices<T>(3, 8, 8, 1, 3, 2, 1);
    window_matrices<T>(2, 8, 6, 1, 2, 2, 0);
    window_matrices<T>(1, 5, 5, 3, 1, 2, 0);
    window_matrices<T>(2, 4, 4, 1, 1, 1, 0);
}

template <typename T> static void epilogues() {
    const int positions = 91, channels = 24, len = positions * channels;
    for (int with = 0; with < 8; with++) {
        Numbers<T> y(len), residual(len), relu_output(len), to(len);
        Numbers<float> shift(channels);
        bool shifted = with & 1, added = with & 2, relu = with & 4;
        T *added_residual = added ? residual.at : nullptr;
        std::vector<double> x = y.initial;
        each(len / 8, [&] {
            Kind<T>::gradient_epilogue(y.at, added_residual, relu ? relu_output.at : nullptr, to.at, len / 8);
        });
        each(len / 8, [&] {
            Kind<T>::epilogue(y.at, shifted ? shift.at : nullptr, added_residual, relu, channels / 8, len / 8);
        });
        for (int i = 0; i < len; i++) {
            double sum = x[i] + (added ? residual[i] : 0.0);
            double shifted_sum = sum + (shifted ? shift[i % channels] : 0.0);
            near(y[i], relu && shifted_sum < 0.0 ? 0.0 : shifted_sum, Kind<T>::bound, "an epilogue");
            near(to[i], relu && !(relu_output[i] > 0.0) ? 0.0 : sum, Kind<T>::bound, "a gradient epilogue");
        }
    }
    Numbers<T> nan(8);
    nan.at[0] = as<T>(NAN);
    each(1, [&] { Kind<T>::epilogue(nan.at, nullptr, nullptr, 1, 1, 1); });
    check(std::isnan(nan[0]), "NaN through ReLU");
}

#include "kernels_on_cpu_layers.h"

static void dropout() {
    // The first decisions for rate 0.3 and key 8, the same as in the test of the CPU's mask.
    const char *kept =
        "0111011011111011100011111101111011011100111110111111011101111011"
        "1111111001111110010111101111111101111101000011100011101110001110";
    const int len = 128;
    Numbers<float> x(len, 3.0), y(len);
    const unsigned threshold = 19661;
    const float factor = 65536.0f / (65536.0f - threshold);
    each(len, [&] { dropout_f32(x.at, 8, threshold, factor, y.at, len); });
    for (int i = 0; i < len; i++)
        check((float)y[i] == (kept[i] == '1' ? factor * (float)x[i] : 0.0f), "dropout at " + std::to_string(i));
}

#include "kernels_on_cpu_row_ops.h"

static void sgd_step() {
    const int lens[2] = {1000, 3}, piece = 300;
    const std::pair<float, int> cases[] = {{1, 0}, {1, 1}, {NAN, 0}, {INFINITY, 1}};
    for (const auto &[loss, nesterov] : cases) {
        Numbers<float> p0(lens[0]), v0(lens[0]), g0(lens[0]), p1(lens[1]), v1(lens[1]), g1(lens[1]);
        const ParameterArrays arrays = {{{p0.at, v0.at, g0.at, lens[0]}, {p1.at, v1.at, g1.at, lens[1]}}, {0, 4}, 2};
        // Nesterov's steps have their gradients clipped.
        std::vector<double> sums(5);
        synchronized(5, 1, [&] { gradient_squares(arrays, piece, sums.data()); });
        const float rate = 0.1f;
        float factor;
        double length = 0.0;
        for (const auto *gradient : {&g0, &g1})
            for (size_t i = 0; i < gradient->initial.size(); i++) length += (*gradient)[i] * (*gradient)[i];
        length = std::sqrt(length);
        for (const double norm : {2 * length, 0.5 * length}) {
            synchronized(1, 1, [&] { clip_factor(sums.data(), 5, norm, 1e-6, &factor); });
            near(factor, norm < length ? norm / (length + 1e-6) : 1.0, 1e-6, "factor of clipped gradients");
        }
        const double scale = nesterov ? factor : 1.0;
        independent(5, [&, loss = loss, nesterov = nesterov] {
            sgd(arrays, piece, &loss, &rate, nesterov ? &factor : nullptr, 0.9f, 5e-4f, nesterov);
        });
        const bool moves = std::isfinite(loss);
        for (int i = 0; i < lens[0] + lens[1]; i++) {
            const bool first = i < lens[0];
            const int at = first ? i : i - lens[0];
            const auto &[p, v, g] = first ? std::tie(p0, v0, g0) : std::tie(p1, v1, g1);
            const double direction = scale * g[at] + 5e-4 * p.initial[at], velocity = 0.9 * v.initial[at] + direction;
            const double step = 0.1 * (nesterov ? direction + 0.9 * velocity : velocity);
            near(v[at], moves ? velocity : v.initial[at], 1e-6, "velocity");
            near(p[at], moves ? p.initial[at] - step : p.initial[at], 1e-6, "parameter");
        }
    }
}

static void averages() {
    const int lens[2] = {1000, 3}, piece = 300;
    Numbers<float> a0(lens[0]), w0(lens[0]), a1(lens[1]), w1(lens[1]);
    const ParameterArrays arrays = {{{a0.at, nullptr, w0.at, lens[0]}, {a1.at, nullptr, w1.at, lens[1]}}, {0, 4}, 2};
    independent(5, [&] { average(arrays, piece, 0.75f, 0.25f); });
    for (int i = 0; i < lens[0]; i++) near(a0[i], 0.75 * a0.initial[i] + 0.25 * w0[i], 1e-6, "average");
    for (int i = 0; i < lens[1]; i++) near(a1[i], 0.75 * a1.initial[i] + 0.25 * w1[i], 1e-6, "average");
}

static void crop_windows() {
    std::vector<unsigned char> store(3 * 3 * SIDE * SIDE);
    for (auto &byte : store) byte = random_bits() % 256;
    const std::vector<Window> windows = {{0, 0, 32, 32, 0}, {0, 0, 32, 32, 1}, {-3, 4, 32, 32, 0},
                                       {4, -4, 32, 32, 1}, {7, 20, 2, 3, 0},  {5, 1, 20, 31, 1},
                                       {31, 0, 1, 32, 0}};
    const std::vector<uint32> rows = {0, 2, 1, 2, 0, 1, 2};
    const long long len = (long long)windows.size() * 3 * SIDE * SIDE;
    std::vector<float> to(len);
    each(len, [&] { crop_resize(store.data(), rows.data(), windows.data(), to.data(), len); });
    for (long long i = 0; i < len; i++) {
        const int column = i % SIDE, row = i / SIDE % SIDE, plane = i / (SIDE * SIDE) % 3;
        const Window w = windows[i / (3 * SIDE * SIDE)];
        auto byte = [&](int r, int c) {
            r += w.top, c += w.left;
            const bool inside = r >= 0 && r < SIDE && c >= 0 && c < SIDE;
            return inside ? (double)store[((rows[i / (3 * SIDE * SIDE)] * 3 + plane) * SIDE + r) * SIDE + c] : 0.0;
        };
        const double x = std::max(0.0, ((w.mirrored ? SIDE - 1 - column : column) + 0.5) * w.width / SIDE - 0.5);
        const double y = std::max(0.0, (row + 0.5) * w.height / SIDE - 0.5);
        const int c0 = (int)x, r0 = (int)y, c1 = std::min(c0 + 1, w.width - 1), r1 = std::min(r0 + 1, w.height - 1);
        const double across = x - c0, down = y - r0;
        const double above = byte(r0, c0) * (1 - across) + byte(r0, c1) * across;
        const double below = byte(r1, c0) * (1 - across) + byte(r1, c1) * across;
        near(to[i], (above * (1 - down) + below * down) / 255, 1e-6, "cropped pixel");
    }
}

int main() {
    channels_come_last();
    converts();
    filters<float>();
    filters<bf16>();
    convolutions<float>();
    convolutions<bf16>();
    epilogues<float>();
    epilogues<bf16>();
    // Few and many positions, one and several blocks, more groups of channels than a block has threads.
    for (auto [positions, channels, rows] : {std::tuple{1, 8, 16}, {7, 24, 16}, {1000, 64, 256}, {40, 2064, 16}})
        for (bool relu : {false, true}) {
            normalization<float>(positions, channels, rows, relu);
            normalization<bf16>(positions, channels, rows, relu);
        }
    head<float>(5, 16, 24, 24);
    head<bf16>(5, 16, 24, 21);
    // Fewer and more rows than a block's threads.
    for (auto [rows, classes] : {std::pair{1, 2}, {7, 10}, {600, 100}})
        for (float smoothing : {0.0f, 0.1f}) losses(rows, classes, smoothing);
    dropout();
    // Less and more than a warp's 32 threads and a block's 256, and rows that fill no block.
    for (auto [rows, width] : {std::pair{1, 1}, {13, 24}, {50, 33}, {9, 513}}) {
        row_sums<float>(rows, width);
        row_sums<bf16>(rows, width);
    }
    row_elements<float>();
    row_elements<bf16>();
    tokens_and_heads<float>();
    tokens_and_heads<bf16>();
    sgd_step();
    averages();
    crop_windows();
    std::printf(failures ? "%d checks of the kernels failed\n" : "all checks of the kernels passed\n", failures);
    return failures ? 1 : 0;
}
