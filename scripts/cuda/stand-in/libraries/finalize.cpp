// Checks of cuDNN's descriptors when they are finalized: required attributes, layouts (packed NHWC of convolutions), sizes
// that fit together, and the combinations of types that the manual lists.

#include <algorithm>

#include "descriptor.h"

using namespace cudnn;
using namespace stand_in;

namespace {

const std::map<int, std::vector<int>> REQUIRED = {
    {TENSOR, {TENSOR_DATA_TYPE, TENSOR_DIMENSIONS, TENSOR_STRIDES, TENSOR_UNIQUE_ID, TENSOR_BYTE_ALIGNMENT}},
    {CONVOLUTION, {CONVOLUTION_COMP_TYPE, CONVOLUTION_CONV_MODE, CONVOLUTION_SPATIAL_DIMS, CONVOLUTION_DILATIONS, CONVOLUTION_FILTER_STRIDES,
                   CONVOLUTION_PRE_PADDINGS, CONVOLUTION_POST_PADDINGS}},
    {FORWARD, {FORWARD_X, FORWARD_W, FORWARD_Y, FORWARD_CONV_DESC, FORWARD_ALPHA, FORWARD_BETA}},
    {BACKWARD_DATA, {DATA_DX, DATA_W, DATA_DY, DATA_CONV_DESC, DATA_ALPHA, DATA_BETA}},
    {BACKWARD_FILTER, {FILTER_X, FILTER_DW, FILTER_DY, FILTER_CONV_DESC, FILTER_ALPHA, FILTER_BETA}},
    {ATTENTION, {ATTENTION_Q, ATTENTION_K, ATTENTION_V, ATTENTION_O, ATTENTION_SCALE, ATTENTION_STATS}},
    {POINTWISE, {POINTWISE_MODE, POINTWISE_MATH_PREC}},
    {POINTWISE_OPERATION, {POINTWISE_DESC, POINTWISE_X, POINTWISE_Y}},
    {MATMUL, {MATMUL_COMP_TYPE}},
    {MATMUL_OPERATION, {MATMUL_A, MATMUL_B, MATMUL_C, MATMUL_DESC}},
    {REDUCTION, {REDUCTION_OPERATOR, REDUCTION_COMP_TYPE}},
    {REDUCTION_OPERATION, {REDUCTION_X, REDUCTION_Y, REDUCTION_DESC}},
    {RESHAPE, {RESHAPE_X, RESHAPE_Y}},
    {OPERATIONGRAPH, {GRAPH_OPS}},
    {ENGINEHEUR, {ENGINEHEUR_OPERATION_GRAPH, ENGINEHEUR_MODE}},
    {ENGINE, {ENGINE_OPERATION_GRAPH, ENGINE_GLOBAL_INDEX}},
    {ENGINECFG, {ENGINECFG_ENGINE}},
    {EXECUTION_PLAN, {PLAN_ENGINE_CONFIG}},
    {VARIANT_PACK, {PACK_DATA_POINTERS, PACK_UNIQUE_IDS}},
    {DEVICEPROP, {}},
};

int tensor(const Descriptor &d) {
    const auto size = d.all<int64_t>(TENSOR_DIMENSIONS), stride = d.all<int64_t>(TENSOR_STRIDES);
    const int type = d.one<int>(TENSOR_DATA_TYPE);
    if (type != DATA_FLOAT && type != DATA_BFLOAT16) return refuse(NOT_SUPPORTED_DATA_TYPE, "a tensor of type " + std::to_string(type));
    if (std::any_of(size.begin(), size.end(), [](int64_t n) { return n < 1; })) return refuse(BAD_PARAM, "a tensor without elements");
    if (stride.size() != size.size()) return refuse(BAD_PARAM, "a tensor with more sizes than strides, or fewer");
    if (d.one<int64_t>(TENSOR_BYTE_ALIGNMENT) % 16) return refuse(NOT_SUPPORTED_LAYOUT, "a tensor that is not aligned to 16 bytes");
    return cudnn::SUCCESS;
}

// A map or filter of a convolution.
int nhwc(const Descriptor &d) {
    const auto size = d.all<int64_t>(TENSOR_DIMENSIONS), stride = d.all<int64_t>(TENSOR_STRIDES);
    const std::vector<int64_t> packed = {size[1] * size[2] * size[3], 1, size[3] * size[1], size[1]};
    if (stride != packed || d.has(TENSOR_IS_BY_VALUE)) return refuse(NOT_SUPPORTED_LAYOUT, "a tensor that is not packed as NHWC");
    // As tensor cores need them: the program pads channels.
    if (size[1] % 8) return refuse(NOT_SUPPORTED_LAYOUT, "a tensor whose channels are not a multiple of 8");
    return cudnn::SUCCESS;
}

// The tensors that attributes name, with names of their own.
int tensors_of(Descriptor &d, std::initializer_list<int> names, std::vector<const Descriptor *> &tensors) {
    for (const int name : names) {
        tensors.push_back(d.one<Descriptor *>(name));
        if (!exists(tensors.back()) || tensors.back()->kind != TENSOR) return refuse(BAD_PARAM_DESCRIPTOR_TYPE, "an operand that is no tensor");
        d.operation.ids.push_back(tensors.back()->one<int64_t>(TENSOR_UNIQUE_ID));
    }
    const std::set<int64_t> different(d.operation.ids.begin(), d.operation.ids.end());
    if (different.size() != tensors.size()) return refuse(BAD_PARAM, "two tensors of one name");
    return cudnn::SUCCESS;
}

int attention(Descriptor &d) {
    std::vector<const Descriptor *> tensors;
    if (const int status = tensors_of(d, {ATTENTION_Q, ATTENTION_K, ATTENTION_V, ATTENTION_O, ATTENTION_SCALE, ATTENTION_STATS}, tensors)) return status;
    auto &a = d.operation.attention;
    d.operation.what = Operation::ATTENTION;
    int64_t *const strides[] = {a.query, a.key, a.value, a.result};
    std::vector<int64_t> sizes[4];
    for (int i = 0; i < 4; i++) {
        sizes[i] = tensors[i]->all<int64_t>(TENSOR_DIMENSIONS);
        const auto stride = tensors[i]->all<int64_t>(TENSOR_STRIDES);
        if (tensors[i]->one<int>(TENSOR_DATA_TYPE) != DATA_BFLOAT16) return refuse(NOT_SUPPORTED_DATA_TYPE, "attention of another type than bf16");
        if (stride[3] != 1 || tensors[i]->has(TENSOR_IS_BY_VALUE)) return refuse(NOT_SUPPORTED_LAYOUT, "a head whose elements do not lie side by side");
        std::copy(stride.begin(), stride.begin() + 3, strides[i]);
    }
    const auto &scale = *tensors[4];
    if (!scale.has(TENSOR_IS_BY_VALUE) || scale.one<int>(TENSOR_DATA_TYPE) != DATA_FLOAT) return refuse(cudnn::NOT_SUPPORTED, "a scale that is no f32 of the host");
    const auto &query = sizes[0], &key = sizes[1];
    const std::vector<int64_t> one_each = {query[0], query[1], query[2], 1}, packed = {query[1] * query[2], query[2], 1, 1};
    if (tensors[5]->one<int>(TENSOR_DATA_TYPE) != DATA_FLOAT || tensors[5]->all<int64_t>(TENSOR_DIMENSIONS) != one_each ||
        tensors[5]->all<int64_t>(TENSOR_STRIDES) != packed)
        return refuse(BAD_PARAM_SHAPE_MISMATCH, "statistics that are not one f32 of each query");
    a.batch = query[0], a.heads = query[1], a.queries = query[2], a.keys = key[2], a.size = query[3];
    if (sizes[3] != query || sizes[2] != key || key[0] != a.batch || key[1] != a.heads || key[3] != a.size)
        return refuse(BAD_PARAM_SHAPE_MISMATCH, "queries, keys, values and result do not fit together");
    if (a.size % 8 || a.size > 256) return refuse(NOT_SUPPORTED_LAYOUT, "heads of a size that is no multiple of 8, or above 256");
    return cudnn::SUCCESS;
}

// Matrix products, functions and sums are f32 inside.
int in_f32(const Descriptor &d, int name) {
    return d.one<int>(name) == DATA_FLOAT ? cudnn::SUCCESS : refuse(NOT_SUPPORTED_DATA_TYPE, "an operation that is not computed in f32");
}

int convolution(const Descriptor &d) {
    if (d.one<int>(CONVOLUTION_COMP_TYPE) != DATA_FLOAT) return refuse(NOT_SUPPORTED_DATA_TYPE, "sums that are not f32");
    if (d.one<int>(CONVOLUTION_CONV_MODE) != 1) return refuse(cudnn::NOT_SUPPORTED, "a convolution that is not a cross-correlation");
    if (d.one<int64_t>(CONVOLUTION_SPATIAL_DIMS) != 2) return refuse(BAD_PARAM, "a convolution that is not over two dimensions");
    if (d.all<int64_t>(CONVOLUTION_PRE_PADDINGS) != d.all<int64_t>(CONVOLUTION_POST_PADDINGS))
        return refuse(cudnn::NOT_SUPPORTED, "padding that differs between the sides");
    return cudnn::SUCCESS;
}

GraphTensor graph_tensor(const Descriptor &t) {
    const bool is_virtual = t.has(TENSOR_IS_VIRTUAL) && t.one<char>(TENSOR_IS_VIRTUAL);
    GraphTensor tensor{t.one<int64_t>(TENSOR_UNIQUE_ID), is_virtual, t.has(TENSOR_IS_BY_VALUE),
                       t.one<int>(TENSOR_DATA_TYPE) == DATA_FLOAT ? Type::F32 : Type::Bf16, {}, {}};
    const auto size = t.all<int64_t>(TENSOR_DIMENSIONS), stride = t.all<int64_t>(TENSOR_STRIDES);
    std::copy(size.begin(), size.end(), tensor.size);
    std::copy(stride.begin(), stride.end(), tensor.stride);
    return tensor;
}

int operation(Descriptor &d, const int (&names)[6], Direction direction) {
    std::vector<const Descriptor *> tensors;
    if (const int status = tensors_of(d, {names[0], names[1], names[2]}, tensors)) return status;
    for (const Descriptor *tensor : tensors) {
        if (const int status = nhwc(*tensor)) return status;
    }
    const Descriptor *parameters = d.one<Descriptor *>(names[3]);
    if (!exists(parameters) || parameters->kind != CONVOLUTION) return refuse(BAD_PARAM_DESCRIPTOR_TYPE, "an operation without convolution");
    if (d.one<float>(names[4]) != 1.0f || d.one<float>(names[5]) != 0.0f) return refuse(cudnn::NOT_SUPPORTED, "a sum with what was there");
    const auto x = tensors[0]->all<int64_t>(TENSOR_DIMENSIONS), weight = tensors[1]->all<int64_t>(TENSOR_DIMENSIONS),
               y = tensors[2]->all<int64_t>(TENSOR_DIMENSIONS);
    auto &c = d.operation.convolution;
    const auto padding = parameters->all<int64_t>(CONVOLUTION_PRE_PADDINGS), stride = parameters->all<int64_t>(CONVOLUTION_FILTER_STRIDES),
               dilation = parameters->all<int64_t>(CONVOLUTION_DILATIONS);
    for (int i = 0; i < 2; i++) {
        c.padding[i] = (int)padding[i], c.stride[i] = (int)stride[i], c.dilation[i] = (int)dilation[i];
        if (stride[i] < 1 || dilation[i] < 1 || padding[i] < 0) return refuse(BAD_PARAM, "a stride, dilation or padding out of range");
        const int64_t out = (x[2 + i] + 2 * padding[i] - dilation[i] * (weight[2 + i] - 1) - 1) / stride[i] + 1;
        if (y[2 + i] != out) return refuse(BAD_PARAM_SHAPE_MISMATCH, "y has not the size that x and weight give");
    }
    if (y[0] != x[0] || y[1] != weight[0] || weight[1] != x[1]) return refuse(BAD_PARAM_SHAPE_MISMATCH, "images or channels do not fit");
    c.images = (int)x[0], c.channels = (int)x[1], c.height = (int)x[2], c.width = (int)x[3];
    c.out_channels = (int)y[1], c.out_height = (int)y[2], c.out_width = (int)y[3];
    c.kernel_height = (int)weight[2], c.kernel_width = (int)weight[3];
    FirstConvolution first{c, direction, {}};
    for (const Descriptor *tensor : tensors) first.tensors.push_back(graph_tensor(*tensor));
    first.convolution.type = c.type = first.tensors[direction == Direction::Forward ? 0 : 2].type;
    for (const GraphTensor &t : first.tensors) {
        const bool is_result = t.id == first.result().id;
        if (t.is_intermediate && !is_result) return refuse(BAD_PARAM, "a factor that is not in memory");
        if (!t.is_intermediate && t.type != c.type) return refuse(NOT_SUPPORTED_DATA_TYPE, "operands of different types");
    }
    d.operation.composed.first = first;
    d.operation.direction = direction;
    return cudnn::SUCCESS;
}

// The descriptor that an attribute names, if it is of a kind.
const Descriptor *named(const Descriptor &d, int name, std::initializer_list<int> kinds) {
    const Descriptor *found = d.one<Descriptor *>(name);
    return exists(found) && std::count(kinds.begin(), kinds.end(), found->kind) ? found : nullptr;
}

int made_from(Descriptor &d, int name, std::initializer_list<int> kinds) {
    const Descriptor *from = named(d, name, kinds);
    if (!from) return refuse(BAD_PARAM_DESCRIPTOR_TYPE, "a descriptor of kind " + std::to_string(d.kind) + " is made from what is gone or of another kind");
    d.operation = from->operation;
    d.engines = from->engines;
    return cudnn::SUCCESS;
}

// An operation of a composed graph.
int step(Descriptor &d, std::initializer_list<int> names, Step::Kind kind) {
    Step step{kind, 0, false, {}};
    for (const int name : names) {
        if (!d.has(name)) continue;
        const Descriptor *t = named(d, name, {TENSOR});
        if (!t) return refuse(BAD_PARAM_DESCRIPTOR_TYPE, "an operand that is no tensor");
        step.tensors.push_back(graph_tensor(*t));
    }
    if (kind == Step::Pointwise) {
        const Descriptor *function = named(d, POINTWISE_DESC, {POINTWISE});
        if (!function) return refuse(BAD_PARAM_DESCRIPTOR_TYPE, "an operation without function");
        step.function = function->one<int>(POINTWISE_MODE);
        step.keeps_nan = function->has(POINTWISE_NAN_PROPAGATION) && function->one<int>(POINTWISE_NAN_PROPAGATION) == 1;
        const bool has_two = step.function == ADD || step.function == MULTIPLY || step.function == SUBTRACT;
        if (step.tensors.size() != (has_two ? 3 : 2)) return refuse(BAD_PARAM, "a function with too many arguments, or too few");
    }
    if (kind == Step::Product && !named(d, MATMUL_DESC, {MATMUL})) return refuse(BAD_PARAM_DESCRIPTOR_TYPE, "a product without description");
    if (kind == Step::Sum && !named(d, REDUCTION_DESC, {REDUCTION})) return refuse(BAD_PARAM_DESCRIPTOR_TYPE, "a sum without description");
    if (const std::string reason = unfit(step); !reason.empty()) return refuse(BAD_PARAM_SHAPE_MISMATCH, reason);
    d.operation.composed.steps = {step};
    return cudnn::SUCCESS;
}

// A graph of several operations; what is between them is written before it is read.
int composed(Descriptor &d) {
    std::set<int64_t> written;
    d.operation.what = Operation::COMPOSED;
    for (const Descriptor *from : d.all<Descriptor *>(GRAPH_OPS)) {
        if (!exists(from)) return refuse(BAD_PARAM, "an operation that is gone");
        const auto &part = from->operation.composed;
        if (part.first && !d.operation.composed.first && d.operation.composed.steps.empty()) {
            d.operation.composed.first = part.first;
            written.insert(part.first->result().id);
            continue;
        }
        if (part.first || part.steps.size() != 1) return refuse(cudnn::NOT_SUPPORTED, "an operation that cannot be composed");
        const Step &step = from->operation.composed.steps[0];
        for (size_t i = 0; i + 1 < step.tensors.size(); i++)
            if (step.tensors[i].is_intermediate && !written.count(step.tensors[i].id)) return refuse(BAD_PARAM, "a tensor is read before it is written");
        if (!written.insert(step.tensors.back().id).second) return refuse(BAD_PARAM, "a tensor is written twice");
        d.operation.composed.steps.push_back(step);
    }
    const auto &all = d.operation.composed;
    if (all.first ? !all.is_fused_convolution() : !all.is_attention_gradient())
        return refuse(cudnn::NOT_SUPPORTED, "a graph that is neither a convolution with functions of its result nor the gradient of attention");
    for (const GraphTensor &t : d.operation.composed.operands()) d.operation.ids.push_back(t.id);
    return cudnn::SUCCESS;
}

int plan(Descriptor &d) {
    static long long calls = 0;
    if (d.has(PLAN_HANDLE) == d.has(PLAN_DEVICEPROP)) return refuse(BAD_PARAM, "a plan needs a handle or the properties of a device");
    if (const int status = made_from(d, PLAN_ENGINE_CONFIG, {ENGINECFG})) return status;
    if (fails("STAND_IN_FAIL_PLAN", calls)) return refuse_on_request("STAND_IN_FAIL_PLAN");
    count("plans");
    return cudnn::SUCCESS;
}

int pack(const Descriptor &d) {
    auto ids = d.all<int64_t>(PACK_UNIQUE_IDS);
    if (ids.size() != d.all<void *>(PACK_DATA_POINTERS).size()) return refuse(BAD_PARAM, "a pack with more names than addresses, or fewer");
    std::sort(ids.begin(), ids.end());
    if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) return refuse(BAD_PARAM, "a pack with a name twice");
    return cudnn::SUCCESS;
}

} // namespace

std::vector<Engine> cudnn::engines(const Operation &operation, int mode) {
    constexpr int FALLBACK = 2;
    // As cuDNN 9.19 for an H100; those of bf16 maps, and of attention, are compiled, and these have none to fall back to.
    constexpr bool COMPILED = true;
    if (operation.what == Operation::COMPOSED && operation.composed.first) {
        if (operation.composed.first->convolution.type == Type::Bf16) return {{7, {TENSOR_CORE}, 0, COMPILED}};
        return mode == FALLBACK ? std::vector<Engine>{{0, {}, 0}} : std::vector<Engine>{{33, {TENSOR_CORE}, 4096}, {15, {}, 0}};
    }
    if (operation.what != Operation::CONVOLUTION && mode == FALLBACK) return {};
    if (operation.what == Operation::COMPOSED) return {{6, {TENSOR_CORE}, 16, COMPILED}, {7, {TENSOR_CORE}, 4096, COMPILED}};
    if (operation.what == Operation::ATTENTION) return {{9, {TENSOR_CORE}, 16, COMPILED}, {8, {TENSOR_CORE}, 0, COMPILED}};
    if (mode == FALLBACK) return {{0, {}, 0}};
    const auto &c = operation.convolution;
    const auto copies = (int64_t)((c.x_len() + c.y_len()) * bytes_of(c.type) + 15) / 16 * 16;
    if (c.type == Type::Bf16) return {{62, {TENSOR_CORE}, 0}, {67, {TENSOR_CORE, NONDETERMINISTIC}, 4096}, {73, {TENSOR_CORE}, copies}};
    return {{76, {TENSOR_CORE}, 0}, {71, {TENSOR_CORE, DOWN_CONVERT_INPUTS}, 0}, {74, {NONDETERMINISTIC}, 4096}, {1, {}, copies}, {28, {}, 0}};
}

int cudnn::finalize(Descriptor &d) {
    if (d.is_finalized) return refuse(BAD_PARAM, "a descriptor is finalized twice");
    for (const int name : REQUIRED.at(d.kind))
        if (!d.has(name)) return refuse(BAD_PARAM, "attribute " + std::to_string(name) + " of a descriptor of kind " + std::to_string(d.kind) + " is not set");
    switch (d.kind) {
    case TENSOR: return tensor(d);
    case CONVOLUTION: return convolution(d);
    case POINTWISE: return in_f32(d, POINTWISE_MATH_PREC);
    case MATMUL: return in_f32(d, MATMUL_COMP_TYPE);
    case REDUCTION:
        if (d.one<int>(REDUCTION_OPERATOR) != 0) return refuse(cudnn::NOT_SUPPORTED, "a reduction that is no sum");
        return in_f32(d, REDUCTION_COMP_TYPE);
    case FORWARD: return operation(d, {FORWARD_X, FORWARD_W, FORWARD_Y, FORWARD_CONV_DESC, FORWARD_ALPHA, FORWARD_BETA}, Direction::Forward);
    case BACKWARD_DATA: return operation(d, {DATA_DX, DATA_W, DATA_DY, DATA_CONV_DESC, DATA_ALPHA, DATA_BETA}, Direction::InputGradient);
    case BACKWARD_FILTER:
        return operation(d, {FILTER_X, FILTER_DW, FILTER_DY, FILTER_CONV_DESC, FILTER_ALPHA, FILTER_BETA}, Direction::WeightGradient);
    case ATTENTION: return attention(d);
    case POINTWISE_OPERATION: return step(d, {POINTWISE_X, POINTWISE_B, POINTWISE_Y}, Step::Pointwise);
    case MATMUL_OPERATION: return step(d, {MATMUL_A, MATMUL_B, MATMUL_C}, Step::Product);
    case REDUCTION_OPERATION: return step(d, {REDUCTION_X, REDUCTION_Y}, Step::Sum);
    case RESHAPE: return step(d, {RESHAPE_X, RESHAPE_Y}, Step::Reshape);
    case OPERATIONGRAPH:
        if (d.all<Descriptor *>(GRAPH_OPS).size() > 1) return composed(d);
        if (const int status = made_from(d, GRAPH_OPS, {FORWARD, BACKWARD_DATA, BACKWARD_FILTER, ATTENTION})) return status;
        if (d.operation.composed.first && d.operation.composed.first->result().is_intermediate)
            return refuse(BAD_PARAM, "a graph whose result is not in memory");
        return cudnn::SUCCESS;
    case ENGINEHEUR:
        if (const int status = made_from(d, ENGINEHEUR_OPERATION_GRAPH, {OPERATIONGRAPH})) return status;
        d.engines = engines(d.operation, d.one<int>(ENGINEHEUR_MODE));
        return cudnn::SUCCESS;
    case ENGINE: {
        if (const int status = made_from(d, ENGINE_OPERATION_GRAPH, {OPERATIONGRAPH})) return status;
        for (const int mode : {3, 2})
            for (const Engine &engine : engines(d.operation, mode))
                if (engine.index == d.one<int64_t>(ENGINE_GLOBAL_INDEX)) return d.engines = {engine}, cudnn::SUCCESS;
        return refuse(cudnn::NOT_SUPPORTED, "there is no such engine");
    }
    case ENGINECFG: return made_from(d, ENGINECFG_ENGINE, {ENGINE});
    case EXECUTION_PLAN: return plan(d);
    case VARIANT_PACK: return pack(d);
    default: return cudnn::SUCCESS;
    }
}
