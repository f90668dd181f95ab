// cuDNN's backend API: descriptors and their attributes, whose types and counts are checked when they are set,
// and execution.

#include <algorithm>

#include "descriptor.h"

using namespace cudnn;
using namespace stand_in;

namespace {

struct Attribute {
    int kind, name, type;
    int64_t least, most;
};

// What may be set.
constexpr Attribute ATTRIBUTES[] = {
    {TENSOR, TENSOR_DATA_TYPE, TYPE_DATA_TYPE, 1, 1}, {TENSOR, TENSOR_DIMENSIONS, TYPE_INT64, 4, 4},
    {TENSOR, TENSOR_STRIDES, TYPE_INT64, 4, 4}, {TENSOR, TENSOR_UNIQUE_ID, TYPE_INT64, 1, 1},
    {TENSOR, TENSOR_BYTE_ALIGNMENT, TYPE_INT64, 1, 1}, {TENSOR, TENSOR_IS_VIRTUAL, TYPE_BOOLEAN, 1, 1},
    {TENSOR, TENSOR_IS_BY_VALUE, TYPE_BOOLEAN, 1, 1},
    {CONVOLUTION, CONVOLUTION_COMP_TYPE, TYPE_DATA_TYPE, 1, 1}, {CONVOLUTION, CONVOLUTION_CONV_MODE, TYPE_CONVOLUTION_MODE, 1, 1},
    {CONVOLUTION, CONVOLUTION_SPATIAL_DIMS, TYPE_INT64, 1, 1}, {CONVOLUTION, CONVOLUTION_DILATIONS, TYPE_INT64, 2, 2},
    {CONVOLUTION, CONVOLUTION_FILTER_STRIDES, TYPE_INT64, 2, 2}, {CONVOLUTION, CONVOLUTION_PRE_PADDINGS, TYPE_INT64, 2, 2},
    {CONVOLUTION, CONVOLUTION_POST_PADDINGS, TYPE_INT64, 2, 2},
    {FORWARD, FORWARD_X, TYPE_DESCRIPTOR, 1, 1}, {FORWARD, FORWARD_W, TYPE_DESCRIPTOR, 1, 1}, {FORWARD, FORWARD_Y, TYPE_DESCRIPTOR, 1, 1},
    {FORWARD, FORWARD_CONV_DESC, TYPE_DESCRIPTOR, 1, 1}, {FORWARD, FORWARD_ALPHA, TYPE_FLOAT, 1, 1}, {FORWARD, FORWARD_BETA, TYPE_FLOAT, 1, 1},
    {BACKWARD_DATA, DATA_DX, TYPE_DESCRIPTOR, 1, 1}, {BACKWARD_DATA, DATA_W, TYPE_DESCRIPTOR, 1, 1}, {BACKWARD_DATA, DATA_DY, TYPE_DESCRIPTOR, 1, 1},
    {BACKWARD_DATA, DATA_CONV_DESC, TYPE_DESCRIPTOR, 1, 1}, {BACKWARD_DATA, DATA_ALPHA, TYPE_FLOAT, 1, 1}, {BACKWARD_DATA, DATA_BETA, TYPE_FLOAT, 1, 1},
    {BACKWARD_FILTER, FILTER_X, TYPE_DESCRIPTOR, 1, 1}, {BACKWARD_FILTER, FILTER_DW, TYPE_DESCRIPTOR, 1, 1}, {BACKWARD_FILTER, FILTER_DY, TYPE_DESCRIPTOR, 1, 1},
    {BACKWARD_FILTER, FILTER_CONV_DESC, TYPE_DESCRIPTOR, 1, 1}, {BACKWARD_FILTER, FILTER_ALPHA, TYPE_FLOAT, 1, 1},
    {BACKWARD_FILTER, FILTER_BETA, TYPE_FLOAT, 1, 1},
    {ATTENTION, ATTENTION_Q, TYPE_DESCRIPTOR, 1, 1}, {ATTENTION, ATTENTION_K, TYPE_DESCRIPTOR, 1, 1}, {ATTENTION, ATTENTION_V, TYPE_DESCRIPTOR, 1, 1},
    {ATTENTION, ATTENTION_O, TYPE_DESCRIPTOR, 1, 1}, {ATTENTION, ATTENTION_SCALE, TYPE_DESCRIPTOR, 1, 1}, {ATTENTION, ATTENTION_STATS, TYPE_DESCRIPTOR, 1, 1},
    {POINTWISE, POINTWISE_MODE, TYPE_POINTWISE_MODE, 1, 1}, {POINTWISE, POINTWISE_MATH_PREC, TYPE_DATA_TYPE, 1, 1},
    {POINTWISE, POINTWISE_NAN_PROPAGATION, TYPE_NAN_PROPAGATION, 1, 1},
    {POINTWISE_OPERATION, POINTWISE_DESC, TYPE_DESCRIPTOR, 1, 1}, {POINTWISE_OPERATION, POINTWISE_X, TYPE_DESCRIPTOR, 1, 1},
    {POINTWISE_OPERATION, POINTWISE_B, TYPE_DESCRIPTOR, 1, 1}, {POINTWISE_OPERATION, POINTWISE_Y, TYPE_DESCRIPTOR, 1, 1},
    {MATMUL, MATMUL_COMP_TYPE, TYPE_DATA_TYPE, 1, 1}, {MATMUL_OPERATION, MATMUL_A, TYPE_DESCRIPTOR, 1, 1}, {MATMUL_OPERATION, MATMUL_B, TYPE_DESCRIPTOR, 1, 1},
    {MATMUL_OPERATION, MATMUL_C, TYPE_DESCRIPTOR, 1, 1}, {MATMUL_OPERATION, MATMUL_DESC, TYPE_DESCRIPTOR, 1, 1},
    {REDUCTION, REDUCTION_OPERATOR, TYPE_REDUCTION_OPERATOR, 1, 1}, {REDUCTION, REDUCTION_COMP_TYPE, TYPE_DATA_TYPE, 1, 1},
    {REDUCTION_OPERATION, REDUCTION_X, TYPE_DESCRIPTOR, 1, 1}, {REDUCTION_OPERATION, REDUCTION_Y, TYPE_DESCRIPTOR, 1, 1},
    {REDUCTION_OPERATION, REDUCTION_DESC, TYPE_DESCRIPTOR, 1, 1},
    {RESHAPE, RESHAPE_X, TYPE_DESCRIPTOR, 1, 1}, {RESHAPE, RESHAPE_Y, TYPE_DESCRIPTOR, 1, 1},
    {OPERATIONGRAPH, GRAPH_OPS, TYPE_DESCRIPTOR, 1, 64}, {OPERATIONGRAPH, GRAPH_HANDLE, TYPE_HANDLE, 1, 1},
    {ENGINEHEUR, ENGINEHEUR_OPERATION_GRAPH, TYPE_DESCRIPTOR, 1, 1}, {ENGINEHEUR, ENGINEHEUR_MODE, TYPE_HEUR_MODE, 1, 1},
    {ENGINEHEUR, ENGINEHEUR_DEVICEPROP, TYPE_DESCRIPTOR, 1, 1}, {ENGINEHEUR, ENGINEHEUR_SM_COUNT_TARGET, TYPE_INT32, 1, 1},
    {ENGINE, ENGINE_OPERATION_GRAPH, TYPE_DESCRIPTOR, 1, 1}, {ENGINE, ENGINE_GLOBAL_INDEX, TYPE_INT64, 1, 1},
    {ENGINECFG, ENGINECFG_ENGINE, TYPE_DESCRIPTOR, 1, 1},
    {EXECUTION_PLAN, PLAN_ENGINE_CONFIG, TYPE_DESCRIPTOR, 1, 1}, {EXECUTION_PLAN, PLAN_HANDLE, TYPE_HANDLE, 1, 1},
    {EXECUTION_PLAN, PLAN_DEVICEPROP, TYPE_DESCRIPTOR, 1, 1},
    {VARIANT_PACK, PACK_DATA_POINTERS, TYPE_VOID_PTR, 1, 64}, {VARIANT_PACK, PACK_UNIQUE_IDS, TYPE_INT64, 1, 64},
    {VARIANT_PACK, PACK_WORKSPACE, TYPE_VOID_PTR, 1, 1},
    {DEVICEPROP, DEVICEPROP_DEVICE_ID, TYPE_INT32, 1, 1}, {DEVICEPROP, DEVICEPROP_HANDLE, TYPE_HANDLE, 1, 1},
    {DEVICEPROP, DEVICEPROP_JSON, TYPE_CHAR, 1, 1 << 20},
};

size_t bytes_of_type(int type) {
    switch (type) {
    case TYPE_BOOLEAN: case TYPE_CHAR: return 1;
    case TYPE_DATA_TYPE: case TYPE_FLOAT: case TYPE_CONVOLUTION_MODE: case TYPE_HEUR_MODE: case TYPE_INT32:
    case TYPE_NUMERICAL_NOTE: case TYPE_BEHAVIOR_NOTE: case TYPE_POINTWISE_MODE: case TYPE_REDUCTION_OPERATOR:
    case TYPE_NAN_PROPAGATION: return 4;
    default: return 8;
    }
}

std::set<const Descriptor *> &descriptors() {
    static auto *all = new std::set<const Descriptor *>;
    return *all;
}

std::string named(const Descriptor &descriptor, int name) {
    return "attribute " + std::to_string(name) + " of a descriptor of kind " + std::to_string(descriptor.kind);
}

// Writes values into the caller's array, and how many there are.
template <typename T> int give(const std::vector<T> &values, int64_t requested, int64_t *count, void *to) {
    if (count) *count = (int64_t)values.size();
    if (to) std::memcpy(to, values.data(), std::min<size_t>(requested, values.size()) * sizeof(T));
    return cudnn::SUCCESS;
}

// Fills descriptors of the caller with what one of ours knows.
int fill(const Descriptor &from, int kind, int64_t requested, int64_t *count, Descriptor **to) {
    if (count) *count = (int64_t)from.engines.size();
    for (int64_t i = 0; to && i < std::min<int64_t>(requested, (int64_t)from.engines.size()); i++) {
        if (!exists(to[i]) || to[i]->kind != kind) return refuse(BAD_PARAM_DESCRIPTOR_TYPE, "a result needs a descriptor of kind " + std::to_string(kind));
        to[i]->operation = from.operation;
        to[i]->engines = {from.engines[i]};
        to[i]->is_finalized = true;
    }
    return cudnn::SUCCESS;
}

} // namespace

bool cudnn::exists(const Descriptor *descriptor) { return descriptors().count(descriptor); }

extern "C" {

int cudnnBackendCreateDescriptor(int kind, Descriptor **descriptor) {
    std::lock_guard lock(mutex());
    bool is_known = false;
    for (const Attribute &attribute : ATTRIBUTES) is_known |= attribute.kind == kind;
    if (!is_known) return refuse(cudnn::NOT_SUPPORTED, "descriptors of kind " + std::to_string(kind) + " are not there");
    *descriptor = new Descriptor{kind};
    descriptors().insert(*descriptor);
    return cudnn::SUCCESS;
}

int cudnnBackendDestroyDescriptor(Descriptor *descriptor) {
    std::lock_guard lock(mutex());
    if (!descriptors().erase(descriptor)) return refuse(BAD_PARAM, "a descriptor was destroyed that is not there");
    delete descriptor;
    return cudnn::SUCCESS;
}

int cudnnBackendSetAttribute(Descriptor *descriptor, int name, int type, int64_t count, const void *values) {
    std::lock_guard lock(mutex());
    if (!exists(descriptor) || !values) return refuse(BAD_PARAM_NULL_POINTER, "an attribute without descriptor or values");
    if (descriptor->is_finalized) return refuse(BAD_PARAM, named(*descriptor, name) + " is set after it was finalized");
    for (const Attribute &known : ATTRIBUTES) {
        if (known.kind != descriptor->kind || known.name != name) continue;
        if (known.type != type) return refuse(BAD_PARAM_ATTRIBUTE_TYPE, named(*descriptor, name) + " has type " + std::to_string(known.type));
        if (count < known.least || count > known.most) return refuse(BAD_PARAM, named(*descriptor, name) + " has another number of values");
        const auto *first = (const char *)values;
        for (int64_t i = 0; type == TYPE_DESCRIPTOR && i < count; i++) {
            const auto *value = ((Descriptor *const *)values)[i];
            if (!exists(value)) return refuse(BAD_PARAM, named(*descriptor, name) + " is no descriptor");
            if (!value->is_finalized) return refuse(BAD_PARAM_NOT_FINALIZED, named(*descriptor, name) + " is not finalized");
        }
        descriptor->attributes[name].assign(first, first + count * bytes_of_type(type));
        return cudnn::SUCCESS;
    }
    return refuse(BAD_PARAM, named(*descriptor, name) + " cannot be set");
}

int cudnnBackendFinalize(Descriptor *descriptor) {
    std::lock_guard lock(mutex());
    if (!exists(descriptor)) return refuse(BAD_PARAM_NULL_POINTER, "no descriptor");
    const int status = finalize(*descriptor);
    descriptor->is_finalized = status == cudnn::SUCCESS;
    return status;
}

int cudnnBackendGetAttribute(Descriptor *descriptor, int name, int type, int64_t requested, int64_t *count, void *values) {
    std::lock_guard lock(mutex());
    if (!exists(descriptor)) return refuse(BAD_PARAM_NULL_POINTER, "no descriptor");
    if (!descriptor->is_finalized) return refuse(BAD_PARAM_NOT_FINALIZED, named(*descriptor, name) + " is read before it is finalized");
    const auto &engines = descriptor->engines;
    const struct { int kind, name, type; } wanted = {descriptor->kind, name, type};
    const auto is = [&](int kind, int attribute, int of) { return wanted.kind == kind && wanted.name == attribute && wanted.type == of; };
    if (is(ENGINEHEUR, ENGINEHEUR_RESULTS, TYPE_DESCRIPTOR)) return fill(*descriptor, ENGINECFG, requested, count, (Descriptor **)values);
    if (is(ENGINECFG, ENGINECFG_ENGINE, TYPE_DESCRIPTOR)) return fill(*descriptor, ENGINE, requested, count, (Descriptor **)values);
    if (is(ENGINE, ENGINE_GLOBAL_INDEX, TYPE_INT64)) return give<int64_t>({engines.at(0).index}, requested, count, values);
    if (is(ENGINE, ENGINE_NUMERICAL_NOTE, TYPE_NUMERICAL_NOTE)) return give<int>(engines.at(0).notes, requested, count, values);
    if (is(ENGINE, ENGINE_BEHAVIOR_NOTE, TYPE_BEHAVIOR_NOTE)) {
        constexpr int RUNTIME_COMPILATION = 0;
        return give<int>(engines.at(0).is_compiled ? std::vector<int>{RUNTIME_COMPILATION} : std::vector<int>{}, requested, count, values);
    }
    if (is(EXECUTION_PLAN, PLAN_WORKSPACE_SIZE, TYPE_INT64)) return give<int64_t>({engines.at(0).workspace}, requested, count, values);
    return refuse(BAD_PARAM, named(*descriptor, name) + " cannot be read so");
}

int cudnnBackendExecute(Handle *handle, Descriptor *plan, Descriptor *pack) {
    std::lock_guard lock(mutex());
    static long long calls = 0;
    if (error()) return EXECUTION_FAILED;
    if (!handle || !exists(plan) || !exists(pack)) return refuse(BAD_PARAM_NULL_POINTER, "an execution without handle, plan or pack");
    if (plan->kind != EXECUTION_PLAN || pack->kind != VARIANT_PACK) return refuse(BAD_PARAM_DESCRIPTOR_TYPE, "no plan or no pack");
    if (!plan->is_finalized || !pack->is_finalized) return refuse(BAD_PARAM_NOT_FINALIZED, "a plan or pack is not finalized");
    if (fails("STAND_IN_FAIL_EXECUTION", calls)) return refuse_on_request("STAND_IN_FAIL_EXECUTION");
    const auto &[what, convolution, direction, attention, composed, ids] = plan->operation;
    const auto names = pack->all<int64_t>(PACK_UNIQUE_IDS);
    const auto addresses = pack->all<void *>(PACK_DATA_POINTERS);
    std::vector<void *> operands;
    for (const int64_t id : ids)
        for (size_t i = 0; i < names.size(); i++)
            if (names[i] == id && addresses[i]) operands.push_back(addresses[i]);
    if (operands.size() != ids.size()) return refuse(BAD_PARAM_NULL_POINTER, "a tensor of the graph is not in the pack");
    const int64_t needed = plan->engines.at(0).workspace;
    void *workspace = pack->has(PACK_WORKSPACE) ? pack->one<void *>(PACK_WORKSPACE) : nullptr;
    if (needed && (!is_live(workspace, needed, true) || (uintptr_t)workspace % 16))
        return refuse(BAD_PARAM_SIZE_INSUFFICIENT, "the workspace has not the plan's " + std::to_string(needed) + " bytes");
    const auto &notes = plan->engines.at(0).notes;
    const bool uses_tensor_cores = std::count(notes.begin(), notes.end(), TENSOR_CORE);
    if (what != Operation::CONVOLUTION) {
        std::map<int64_t, void *> named;
        for (size_t i = 0; i < ids.size(); i++) named[ids[i]] = operands[i];
        auto graph = composed;
        if (graph.first) graph.first->convolution.is_tf32 = uses_tensor_cores;
        // Numbers of the host are read now.
        const std::string reason = what == Operation::COMPOSED
                                       ? enqueue_composed(handle->stream, graph, named)
                                       : enqueue_attention(handle->stream, attention, operands[0], operands[1], operands[2], operands[3],
                                                           *(const float *)operands[4], operands[5]);
        if (reason.empty()) return count("plan_executions"), cudnn::SUCCESS;
        return refuse(BAD_PARAM_MISALIGNED_POINTER, reason);
    }
    void *const x = operands[0], *const weight = operands[1], *const y = operands[2];
    const std::string reason = unfit(convolution, x, weight, y);
    if (!reason.empty()) return refuse(BAD_PARAM_MISALIGNED_POINTER, reason);
    auto computed = convolution;
    computed.is_tf32 = uses_tensor_cores;
    stand_in::count("plan_executions");
    enqueue_convolution(handle->stream, computed, direction, x, weight, y, workspace, needed);
    return cudnn::SUCCESS;
}
}
