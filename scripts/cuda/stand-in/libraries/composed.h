// Graphs of several operations, computed one after the other: of these cuDNN knows the gradient of attention, and convolutions
// with element-wise functions of their result.

#pragma once

#include <map>
#include <optional>
#include <vector>

#include "convolution.h"

namespace stand_in {

// A tensor of a graph; two dimensions of matrices, and the matrices.
struct GraphTensor {
    int64_t id;
    bool is_intermediate, is_of_host;
    Type type;
    int64_t size[4], stride[4];
};

// Numbers of cuDNN's pointwise functions.
enum Function { ADD = 0, MULTIPLY = 1, SUBTRACT = 9, EXPONENTIAL = 13, IDENTITY = 21, RELU = 100 };

// One operation: its result is the last tensor.
struct Step {
    enum Kind { Product, Pointwise, Sum, Reshape } kind;
    int function;
    // Whether a ReLU leaves a NaN as it is.
    bool keeps_nan;
    std::vector<GraphTensor> tensors;
};

// A convolution whose result is a tensor of the graph.
struct FirstConvolution {
    Convolution convolution;
    Direction direction;
    // x, weight and y; one of them is the result.
    std::vector<GraphTensor> tensors;

    const GraphTensor &result() const { return tensors[direction == Direction::Forward ? 2 : direction == Direction::InputGradient ? 0 : 1]; }
};

struct Composed {
    std::optional<FirstConvolution> first;
    std::vector<Step> steps;

    // Whether cuDNN has an engine for it: the operations of the gradient of attention, in this order.
    bool is_attention_gradient() const;
    // The same: a forward convolution, then sums with a map and with a number of each channel, then a ReLU; in this order.
    bool is_fused_convolution() const;
    // The tensors that are in memory, each once.
    std::vector<GraphTensor> operands() const;
};

// Why tensors do not fit an operation; empty if they do.
std::string unfit(const Step &step);
// Enqueues all steps; numbers of the host are read now. Why the addresses cannot be those of the operands; empty if they can.
std::string enqueue_composed(void *stream, const Composed &composed, const std::map<int64_t, void *> &addresses);

} // namespace stand_in
