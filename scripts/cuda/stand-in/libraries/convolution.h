// A naive convolution of NHWC maps in its three directions.

#pragma once

#include "../stand-in.h"

namespace stand_in {

enum class Type { F32, F64, F16, Bf16 };
size_t bytes_of(Type type);
// Numbers of a type as f32, and f32 rounded to it.
void widen(const void *from, Type type, float *to, size_t len);
void round_to(const float *from, void *to, Type type, size_t len);

enum class Direction { Forward, InputGradient, WeightGradient };

struct Convolution {
    int images, height, width, channels;
    int out_height, out_width, out_channels;
    int kernel_height, kernel_width;
    int padding[2], stride[2], dilation[2];
    Type type;
    // Factors of f32 are rounded to the 11 bits of TF32, as tensor cores take them.
    bool is_tf32;

    size_t x_len() const { return (size_t)images * height * width * channels; }
    size_t weight_len() const { return (size_t)out_channels * kernel_height * kernel_width * channels; }
    size_t y_len() const { return (size_t)images * out_height * out_width * out_channels; }
};

// Writes the direction's result. x is [B,H,W,I], weight [O,k,k,I], y [B,H',W',O].
void convolve(const Convolution &convolution, Direction direction, void *x, void *weight, void *y);
// Why operands cannot be those of a convolution: sizes or alignment; empty if they can.
std::string unfit(const Convolution &convolution, const void *x, const void *weight, const void *y);
// Enqueues it; operands and workspace are checked again when the queue executes.
void enqueue_convolution(void *stream, const Convolution &convolution, Direction direction, void *x, void *weight,
                         void *y, void *workspace, size_t workspace_bytes);

} // namespace stand_in
