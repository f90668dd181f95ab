// A naive convolution: plain loops over positions, in which the innermost one is over channels. Sums are f32, a
// weight's gradient is added over images in f64.

#include "convolution.h"

#include <cstring>
#include <vector>

#include "../shim/narrow.h"

namespace stand_in {

size_t bytes_of(Type type) { return type == Type::F64 ? 8 : type == Type::F32 ? 4 : 2; }

void widen(const void *from, Type type, float *to, size_t len) {
    for (size_t i = 0; i < len; i++) switch (type) {
        case Type::F32: to[i] = ((const float *)from)[i]; break;
        case Type::F64: to[i] = (float)((const double *)from)[i]; break;
        case Type::F16: to[i] = ((const __half *)from)[i]; break;
        case Type::Bf16: to[i] = ((const __nv_bfloat16 *)from)[i]; break;
        }
}

void round_to(const float *from, void *to, Type type, size_t len) {
    for (size_t i = 0; i < len; i++) switch (type) {
        case Type::F32: ((float *)to)[i] = from[i]; break;
        case Type::F64: ((double *)to)[i] = from[i]; break;
        case Type::F16: ((__half *)to)[i] = from[i]; break;
        case Type::Bf16: ((__nv_bfloat16 *)to)[i] = from[i]; break;
        }
}

namespace {

// Calls `f` with offsets (in elements) of x's and y's channels and of the kernel position, for each pair that
// meets in an image.
template <typename F> void each_pair(const Convolution &c, int image, F f) {
    for (int oh = 0; oh < c.out_height; oh++)
        for (int ow = 0; ow < c.out_width; ow++)
            for (int kh = 0; kh < c.kernel_height; kh++)
                for (int kw = 0; kw < c.kernel_width; kw++) {
                    const int h = oh * c.stride[0] - c.padding[0] + kh * c.dilation[0];
                    const int w = ow * c.stride[1] - c.padding[1] + kw * c.dilation[1];
                    if (h < 0 || h >= c.height || w < 0 || w >= c.width) continue;
                    const size_t x = (((size_t)image * c.height + h) * c.width + w) * c.channels;
                    const size_t y = (((size_t)image * c.out_height + oh) * c.out_width + ow) * c.out_channels;
                    f(x, y, kh * c.kernel_width + kw);
                }
}

// An operand as f32.
std::vector<float> factors(const Convolution &c, const void *from, size_t len) {
    std::vector<float> to(len);
    widen(from, c.type, to.data(), len);
    if (c.is_tf32 && c.type == Type::F32)
        for (float &x : to)
            if (isfinite(x)) x = bits_as<float>((bits_as<uint32_t>(x) + 0xfff + (bits_as<uint32_t>(x) >> 13 & 1)) & ~0x1fffu);
    return to;
}

} // namespace

void convolve(const Convolution &c, Direction direction, void *x_at, void *weight_at, void *y_at) {
    const int in = c.channels, out = c.out_channels, taps = c.kernel_height * c.kernel_width;
    if (direction == Direction::Forward) {
        const auto x = factors(c, x_at, c.x_len()), weight = factors(c, weight_at, c.weight_len());
        // [k,k,I,O], so that the innermost loop is over consecutive outputs.
        std::vector<float> turned(c.weight_len()), y(c.y_len(), 0.0f);
        for (int o = 0; o < out; o++)
            for (int j = 0; j < taps * in; j++) turned[(size_t)j * out + o] = weight[(size_t)o * taps * in + j];
        for (int image = 0; image < c.images; image++)
            each_pair(c, image, [&](size_t from, size_t to, int tap) {
                float *sums = &y[to];
                for (int i = 0; i < in; i++) {
                    const float factor = x[from + i];
                    const float *row = &turned[((size_t)tap * in + i) * out];
                    for (int o = 0; o < out; o++) sums[o] += factor * row[o];
                }
            });
        round_to(y.data(), y_at, c.type, y.size());
    } else if (direction == Direction::InputGradient) {
        const auto y = factors(c, y_at, c.y_len()), weight = factors(c, weight_at, c.weight_len());
        std::vector<float> x(c.x_len(), 0.0f);
        for (int image = 0; image < c.images; image++)
            each_pair(c, image, [&](size_t to, size_t from, int tap) {
                float *sums = &x[to];
                for (int o = 0; o < out; o++) {
                    const float factor = y[from + o];
                    const float *row = &weight[((size_t)o * taps + tap) * in];
                    for (int i = 0; i < in; i++) sums[i] += factor * row[i];
                }
            });
        round_to(x.data(), x_at, c.type, x.size());
    } else {
        const auto x = factors(c, x_at, c.x_len()), y = factors(c, y_at, c.y_len());
        std::vector<double> all(c.weight_len(), 0.0);
        std::vector<float> weight(c.weight_len());
        for (int image = 0; image < c.images; image++) {
            std::fill(weight.begin(), weight.end(), 0.0f);
            each_pair(c, image, [&](size_t from, size_t at, int tap) {
                for (int o = 0; o < out; o++) {
                    const float factor = y[at + o];
                    float *row = &weight[((size_t)o * taps + tap) * in];
                    for (int i = 0; i < in; i++) row[i] += factor * x[from + i];
                }
            });
            for (size_t i = 0; i < all.size(); i++) all[i] += weight[i];
        }
        for (size_t i = 0; i < all.size(); i++) weight[i] = (float)all[i];
        round_to(weight.data(), weight_at, c.type, weight.size());
    }
}

std::string unfit(const Convolution &c, const void *x, const void *weight, const void *y) {
    const struct {
        const char *name;
        const void *at;
        size_t len;
    } operands[] = {{"x", x, c.x_len()}, {"weight", weight, c.weight_len()}, {"y", y, c.y_len()}};
    for (const auto &operand : operands) {
        if ((uintptr_t)operand.at % 16) return std::string(operand.name) + " is not aligned to 16 bytes";
        if (!is_live(operand.at, operand.len * bytes_of(c.type), true))
            return std::string(operand.name) + " of " + std::to_string(operand.len * bytes_of(c.type)) +
                   " bytes is not in a live allocation";
    }
    return "";
}

void enqueue_convolution(void *stream, const Convolution &c, Direction direction, void *x, void *weight, void *y,
                         void *workspace, size_t workspace_bytes) {
    count("convolutions");
    enqueue(stream, [=] {
        const size_t bytes = bytes_of(c.type);
        if (!require(x, c.x_len() * bytes, "x of a convolution") || !require(weight, c.weight_len() * bytes, "its weight") ||
            !require(y, c.y_len() * bytes, "its y"))
            return;
        if (workspace_bytes && !require(workspace, workspace_bytes, "its workspace")) return;
        if (!executes()) return;
        if (workspace_bytes) {
            // It holds nothing that outlives a call.
            std::memset(workspace, 0xfe, workspace_bytes);
        }
        convolve(c, direction, x, weight, y);
    });
}

} // namespace stand_in
