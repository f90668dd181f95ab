// Descriptors of cuDNN's backend API, and what is known once they are finalized.

#pragma once

#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "attention.h"
#include "composed.h"
#include "cudnn.h"

namespace cudnn {

enum Kind {
    POINTWISE = 0, CONVOLUTION = 1, ENGINE = 2, ENGINECFG = 3, ENGINEHEUR = 4, EXECUTION_PLAN = 5, FORWARD = 10, BACKWARD_FILTER = 11,
    BACKWARD_DATA = 12, POINTWISE_OPERATION = 13, OPERATIONGRAPH = 15, VARIANT_PACK = 16, TENSOR = 17, MATMUL = 18, MATMUL_OPERATION = 19,
    REDUCTION = 21, REDUCTION_OPERATION = 22, RESHAPE = 31, DEVICEPROP = 38, ATTENTION = 41,
};

enum Name {
    POINTWISE_MODE = 0, POINTWISE_MATH_PREC, POINTWISE_NAN_PROPAGATION,
    CONVOLUTION_COMP_TYPE = 100, CONVOLUTION_CONV_MODE, CONVOLUTION_DILATIONS, CONVOLUTION_FILTER_STRIDES,
    CONVOLUTION_POST_PADDINGS, CONVOLUTION_PRE_PADDINGS, CONVOLUTION_SPATIAL_DIMS,
    ENGINEHEUR_MODE = 200, ENGINEHEUR_OPERATION_GRAPH, ENGINEHEUR_RESULTS, ENGINEHEUR_SM_COUNT_TARGET, ENGINEHEUR_DEVICEPROP,
    ENGINECFG_ENGINE = 300,
    PLAN_HANDLE = 400, PLAN_ENGINE_CONFIG, PLAN_WORKSPACE_SIZE, PLAN_DEVICEPROP = 407,
    FORWARD_ALPHA = 700, FORWARD_BETA, FORWARD_CONV_DESC, FORWARD_W, FORWARD_X, FORWARD_Y,
    DATA_ALPHA, DATA_BETA, DATA_CONV_DESC, DATA_W, DATA_DX, DATA_DY,
    FILTER_ALPHA, FILTER_BETA, FILTER_CONV_DESC, FILTER_DW, FILTER_X, FILTER_DY,
    POINTWISE_DESC = 750, POINTWISE_X, POINTWISE_B, POINTWISE_Y,
    GRAPH_HANDLE = 800, GRAPH_OPS,
    TENSOR_BYTE_ALIGNMENT = 900, TENSOR_DATA_TYPE, TENSOR_DIMENSIONS, TENSOR_STRIDES, TENSOR_UNIQUE_ID = 906, TENSOR_IS_VIRTUAL,
    TENSOR_IS_BY_VALUE,
    PACK_UNIQUE_IDS = 1000, PACK_DATA_POINTERS, PACK_INTERMEDIATES, PACK_WORKSPACE,
    ENGINE_OPERATION_GRAPH = 1300, ENGINE_GLOBAL_INDEX, ENGINE_KNOB_INFO, ENGINE_NUMERICAL_NOTE, ENGINE_LAYOUT_INFO, ENGINE_BEHAVIOR_NOTE,
    MATMUL_COMP_TYPE = 1500, MATMUL_A = 1520, MATMUL_B, MATMUL_C, MATMUL_DESC,
    REDUCTION_OPERATOR = 1600, REDUCTION_COMP_TYPE, REDUCTION_X = 1610, REDUCTION_Y, REDUCTION_DESC,
    RESHAPE_X = 2200, RESHAPE_Y,
    DEVICEPROP_DEVICE_ID = 2700, DEVICEPROP_HANDLE, DEVICEPROP_JSON,
    ATTENTION_Q = 2800, ATTENTION_K, ATTENTION_V, ATTENTION_O, ATTENTION_STATS, ATTENTION_SCALE,
};

enum AttributeType {
    TYPE_HANDLE = 0, TYPE_DATA_TYPE = 1, TYPE_BOOLEAN = 2, TYPE_INT64 = 3, TYPE_FLOAT = 4, TYPE_VOID_PTR = 6, TYPE_CONVOLUTION_MODE = 7,
    TYPE_HEUR_MODE = 8, TYPE_NUMERICAL_NOTE = 11, TYPE_POINTWISE_MODE = 14, TYPE_DESCRIPTOR = 15, TYPE_REDUCTION_OPERATOR = 18, TYPE_NAN_PROPAGATION = 10, TYPE_BEHAVIOR_NOTE = 19, TYPE_INT32 = 23, TYPE_CHAR = 24,
};

enum Note { TENSOR_CORE = 0, DOWN_CONVERT_INPUTS = 1, NONDETERMINISTIC = 4 };

// An engine with its settings.
struct Engine {
    int64_t index;
    std::vector<int> notes;
    int64_t workspace;
    // Whether kernels are compiled when a plan is made.
    bool is_compiled = false;
};

// A graph's one operation, or what it is composed of.
struct Operation {
    enum { CONVOLUTION, ATTENTION, COMPOSED } what;
    stand_in::Convolution convolution;
    stand_in::Direction direction;
    stand_in::Attention attention;
    stand_in::Composed composed;
    // Of x, weight and y; of queries, keys, values, result, scale and statistics; or of all operands of a composed graph.
    std::vector<int64_t> ids;
};

struct Descriptor {
    int kind;
    bool is_finalized = false;
    std::map<int, std::vector<char>> attributes;
    // Of a graph and what is made from it.
    Operation operation{};
    std::vector<Engine> engines;

    template <typename T> std::vector<T> all(int name) const {
        const auto found = attributes.find(name);
        if (found == attributes.end()) return {};
        std::vector<T> values(found->second.size() / sizeof(T));
        std::memcpy(values.data(), found->second.data(), values.size() * sizeof(T));
        return values;
    }
    template <typename T> T one(int name) const { return all<T>(name).at(0); }
    bool has(int name) const { return attributes.count(name); }
};

// Whether a descriptor has been created and not been destroyed.
bool exists(const Descriptor *descriptor);
// Checks the attributes and fills what is known from them.
int finalize(Descriptor &descriptor);
// The engines that heuristics propose for an operation.
std::vector<Engine> engines(const Operation &operation, int mode);

} // namespace cudnn
