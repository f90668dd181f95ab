// cuDNN's legacy calls of convolutions, with two algorithms for each direction: a deterministic one that needs
// no workspace, and one that repeats not to the bit and does.

#include "cudnn.h"

using namespace cudnn;
using namespace stand_in;

namespace {

enum { NHWC = 1, TENSOR_OP_MATH = 1 };
constexpr size_t WORKSPACE = 4096;

// Sizes of a tensor (images, channels, height, width) or of a filter (outputs, inputs, height, width).
struct Sizes {
    int type = -1, size[4] = {};
};
struct Parameters {
    int padding[2], stride[2], dilation[2], math = 0;
};
// cuDNN's report on an algorithm.
struct Row {
    int algorithm, status;
    float time;
    size_t memory;
    int determinism, math, reserved[3];
};

int set(Sizes *sizes, int format, int type, int a, int b, int c, int d) {
    if (format != NHWC) return refuse(NOT_SUPPORTED_LAYOUT, "a tensor that is not NHWC");
    if (type != DATA_FLOAT && type != DATA_BFLOAT16) return refuse(NOT_SUPPORTED_DATA_TYPE, "a tensor of type " + std::to_string(type));
    if (a < 1 || b < 1 || c < 1 || d < 1) return refuse(BAD_PARAM, "a tensor without elements");
    *sizes = {type, {a, b, c, d}};
    return cudnn::SUCCESS;
}

int make(const Sizes *x, const Sizes *weight, const Parameters *p, const Sizes *y, Convolution &c) {
    if (x->type != weight->type || x->type != y->type) return refuse(NOT_SUPPORTED_DATA_TYPE, "operands of different types");
    const int *in = x->size, *k = weight->size, *out = y->size;
    for (int i = 0; i < 2; i++)
        if (out[2 + i] != (in[2 + i] + 2 * p->padding[i] - p->dilation[i] * (k[2 + i] - 1) - 1) / p->stride[i] + 1)
            return refuse(BAD_PARAM_SHAPE_MISMATCH, "y has not the size that x and weight give");
    if (in[0] != out[0] || in[1] != k[1] || out[1] != k[0]) return refuse(BAD_PARAM_SHAPE_MISMATCH, "images or channels do not fit");
    c = {in[0], in[2], in[3], in[1], out[2], out[3], out[1], k[2], k[3],
         {p->padding[0], p->padding[1]}, {p->stride[0], p->stride[1]}, {p->dilation[0], p->dilation[1]},
         x->type == DATA_FLOAT ? Type::F32 : Type::Bf16, p->math == TENSOR_OP_MATH};
    return cudnn::SUCCESS;
}

int list(const Parameters *parameters, int requested, int *count, Row *rows) {
    const Row known[2] = {{1, 0, 1.0f, 0, 1, parameters->math, {}}, {0, 0, 2.0f, WORKSPACE, 0, parameters->math, {}}};
    *count = std::min(requested, 2);
    for (int i = 0; i < *count; i++) rows[i] = known[i];
    return cudnn::SUCCESS;
}

int run(Handle *handle, const Convolution &convolution, Direction direction, int algorithm, const void *alpha, const void *beta,
        const void *x, const void *weight, const void *y, void *workspace, size_t bytes) {
    static long long calls = 0;
    std::lock_guard lock(mutex());
    if (error()) return EXECUTION_FAILED;
    if (algorithm != 0 && algorithm != 1) return refuse(cudnn::NOT_SUPPORTED, "an algorithm that was not listed");
    if (*(const float *)alpha != 1.0f || *(const float *)beta != 0.0f) return refuse(cudnn::NOT_SUPPORTED, "a sum with what was there");
    if (fails("STAND_IN_FAIL_EXECUTION", calls)) return refuse_on_request("STAND_IN_FAIL_EXECUTION");
    const std::string reason = unfit(convolution, x, weight, y);
    if (!reason.empty()) return refuse(BAD_PARAM_MISALIGNED_POINTER, reason);
    const size_t needed = algorithm == 0 ? WORKSPACE : 0;
    if (needed && (bytes < needed || !is_live(workspace, needed, true))) return refuse(BAD_PARAM_SIZE_INSUFFICIENT, "the workspace is too small");
    enqueue_convolution(handle->stream, convolution, direction, (void *)x, (void *)weight, (void *)y, workspace, needed);
    return cudnn::SUCCESS;
}

} // namespace

extern "C" {

int cudnnCreateTensorDescriptor(Sizes **to) { return *to = new Sizes, cudnn::SUCCESS; }
int cudnnCreateFilterDescriptor(Sizes **to) { return *to = new Sizes, cudnn::SUCCESS; }
int cudnnCreateConvolutionDescriptor(Parameters **to) { return *to = new Parameters{}, cudnn::SUCCESS; }
int cudnnDestroyTensorDescriptor(Sizes *sizes) { return delete sizes, cudnn::SUCCESS; }
int cudnnDestroyFilterDescriptor(Sizes *sizes) { return delete sizes, cudnn::SUCCESS; }
int cudnnDestroyConvolutionDescriptor(Parameters *parameters) { return delete parameters, cudnn::SUCCESS; }

int cudnnSetTensor4dDescriptor(Sizes *to, int format, int type, int n, int c, int h, int w) { return set(to, format, type, n, c, h, w); }
int cudnnSetFilter4dDescriptor(Sizes *to, int type, int format, int k, int c, int h, int w) { return set(to, format, type, k, c, h, w); }
int cudnnSetConvolution2dDescriptor(Parameters *to, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
                                    int mode, int type) {
    if (mode != 1 || type != DATA_FLOAT) return refuse(cudnn::NOT_SUPPORTED, "a convolution that is no cross-correlation with sums of f32");
    *to = {{pad_h, pad_w}, {stride_h, stride_w}, {dilation_h, dilation_w}};
    return cudnn::SUCCESS;
}
int cudnnSetConvolutionMathType(Parameters *to, int math) { return to->math = math, cudnn::SUCCESS; }

int cudnnGetConvolutionForwardAlgorithm_v7(Handle *, Sizes *, Sizes *, Parameters *p, Sizes *, int requested, int *count, Row *rows) {
    return list(p, requested, count, rows);
}
int cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle *, Sizes *, Sizes *, Parameters *p, Sizes *, int requested, int *count, Row *rows) {
    return list(p, requested, count, rows);
}
int cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle *, Sizes *, Sizes *, Parameters *p, Sizes *, int requested, int *count, Row *rows) {
    return list(p, requested, count, rows);
}
int cudnnFindConvolutionForwardAlgorithmEx(Handle *, Sizes *, const void *, Sizes *, const void *, Parameters *p, Sizes *, void *,
                                           int requested, int *count, Row *rows, void *, size_t) {
    return list(p, requested, count, rows);
}
int cudnnFindConvolutionBackwardDataAlgorithmEx(Handle *, Sizes *, const void *, Sizes *, const void *, Parameters *p, Sizes *, void *,
                                                int requested, int *count, Row *rows, void *, size_t) {
    return list(p, requested, count, rows);
}
int cudnnFindConvolutionBackwardFilterAlgorithmEx(Handle *, Sizes *, const void *, Sizes *, const void *, Parameters *p, Sizes *, void *,
                                                  int requested, int *count, Row *rows, void *, size_t) {
    return list(p, requested, count, rows);
}

int cudnnConvolutionForward(Handle *handle, const void *alpha, Sizes *x, const void *x_at, Sizes *weight, const void *weight_at,
                            Parameters *p, int algorithm, void *workspace, size_t bytes, const void *beta, Sizes *y, void *y_at) {
    Convolution c;
    if (const int status = make(x, weight, p, y, c)) return status;
    return run(handle, c, Direction::Forward, algorithm, alpha, beta, x_at, weight_at, y_at, workspace, bytes);
}
int cudnnConvolutionBackwardData(Handle *handle, const void *alpha, Sizes *weight, const void *weight_at, Sizes *y, const void *y_at,
                                 Parameters *p, int algorithm, void *workspace, size_t bytes, const void *beta, Sizes *x, void *x_at) {
    Convolution c;
    if (const int status = make(x, weight, p, y, c)) return status;
    return run(handle, c, Direction::InputGradient, algorithm, alpha, beta, x_at, weight_at, y_at, workspace, bytes);
}
int cudnnConvolutionBackwardFilter(Handle *handle, const void *alpha, Sizes *x, const void *x_at, Sizes *y, const void *y_at,
                                   Parameters *p, int algorithm, void *workspace, size_t bytes, const void *beta, Sizes *weight,
                                   void *weight_at) {
    Convolution c;
    if (const int status = make(x, weight, p, y, c)) return status;
    return run(handle, c, Direction::WeightGradient, algorithm, alpha, beta, x_at, weight_at, y_at, workspace, bytes);
}
}
