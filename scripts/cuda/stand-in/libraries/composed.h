// Graphs of several operations, computed one after the other: of these cuDNN knows the gradient of attention.

#pragma once

#include <map>
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
enum Function { MULTIPLY = 1, SUBTRACT = 9, EXPONENTIAL = 13, IDENTITY = 21 };

// One operation: its result is the last tensor.
struct Step {
    enum Kind { Product, Pointwise, Sum, Reshape } kind;
    int function;
    std::vector<GraphTensor> tensors;
};

struct Composed {
    std::vector<Step> steps;

    // Whether cuDNN has an engine for it: the operations of the gradient of attention, in this order.
    bool is_attention_gradient() const;
    // The tensors that are in memory, each once.
    std::vector<GraphTensor> operands() const;
};

// Why tensors do not fit an operation; empty if they do.
std::string unfit(const Step &step);
// Enqueues all steps; numbers of the host are read now. Why the addresses cannot be those of the operands; empty if they can.
std::string enqueue_composed(void *stream, const Composed &composed, const std::map<int64_t, void *> &addresses);

} // namespace stand_in
