// cuBLAS: matrix products in the stream's queue, added in f32 (f64 for f64). Every other call is an error.

#include "../stand-in.h"

#include <cstdio>
#include <vector>

#include "convolution.h"

using namespace stand_in;

namespace {

enum { NOT_INITIALIZED = 1, BAD_VALUE = 7, EXECUTION_FAILED = 13, UNSUPPORTED = 15 };
struct Handle {
    void *stream = nullptr;
    int math = 0;
};

bool type_of(int number, Type &type) {
    switch (number) {
    case 0: type = Type::F32; return true;
    case 1: type = Type::F64; return true;
    case 2: type = Type::F16; return true;
    case 14: type = Type::Bf16; return true;
    }
    return false;
}

struct Matrix {
    char *at;
    Type type;
    long long leading, stride;
    int rows, columns;

    // Bytes from the first to the last element of all matrices.
    size_t bytes(int batches) const {
        return ((batches - 1) * stride + (columns - 1) * leading + rows) * bytes_of(type);
    }
};

// A matrix of f32 or f64 from one of the batch.
template <typename T> std::vector<T> read(const Matrix &matrix, int batch) {
    std::vector<T> to((size_t)matrix.rows * matrix.columns);
    std::vector<float> column(matrix.rows);
    for (int j = 0; j < matrix.columns; j++) {
        const char *from = matrix.at + (batch * matrix.stride + j * matrix.leading) * bytes_of(matrix.type);
        if constexpr (sizeof(T) == 8) {
            for (int i = 0; i < matrix.rows; i++) to[(size_t)j * matrix.rows + i] = ((const double *)from)[i];
        } else {
            widen(from, matrix.type, column.data(), matrix.rows);
            for (int i = 0; i < matrix.rows; i++) to[(size_t)j * matrix.rows + i] = column[i];
        }
    }
    return to;
}

template <typename T> void multiply(bool turn_a, bool turn_b, int m, int n, int k, T alpha, const Matrix &a, const Matrix &b, T beta,
                                    const Matrix &c, int batches) {
    for (int batch = 0; batch < batches; batch++) {
        const auto left = read<T>(a, batch), right = read<T>(b, batch);
        // [k][m], so that the innermost loop is over consecutive rows.
        std::vector<T> turned(left);
        if (turn_a)
            for (int i = 0; i < m; i++)
                for (int l = 0; l < k; l++) turned[(size_t)l * m + i] = left[(size_t)i * k + l];
        std::vector<T> sums(m);
        for (int j = 0; j < n; j++) {
            std::fill(sums.begin(), sums.end(), T(0));
            for (int l = 0; l < k; l++) {
                const T factor = turn_b ? right[(size_t)l * n + j] : right[(size_t)j * k + l];
                const T *column = &turned[(size_t)l * m];
                for (int i = 0; i < m; i++) sums[i] += factor * column[i];
            }
            char *to = c.at + (batch * c.stride + j * c.leading) * bytes_of(c.type);
            for (int i = 0; i < m; i++) {
                float before = 0;
                if (beta != T(0)) widen(to + i * bytes_of(c.type), c.type, &before, 1);
                sums[i] = alpha * sums[i] + (beta != T(0) ? beta * (T)before : T(0));
            }
            if constexpr (sizeof(T) == 8)
                for (int i = 0; i < m; i++) ((double *)to)[i] = sums[i];
            else
                round_to(sums.data(), to, c.type, m);
        }
    }
}

int gemm(Handle *handle, int turn_a, int turn_b, int m, int n, int k, double alpha, const void *a, int a_type, int lda,
         long long stride_a, const void *b, int b_type, int ldb, long long stride_b, double beta, void *c, int c_type,
         int ldc, long long stride_c, int batches) {
    std::lock_guard lock(mutex());
    if (error()) return EXECUTION_FAILED;
    if (!handle) return NOT_INITIALIZED;
    Type types[3];
    if (!type_of(a_type, types[0]) || !type_of(b_type, types[1]) || !type_of(c_type, types[2])) return UNSUPPORTED;
    if (m < 0 || n < 0 || k < 0 || batches < 0 || turn_a > 1 || turn_b > 1) return BAD_VALUE;
    if (m == 0 || n == 0 || batches == 0) return SUCCESS;
    const Matrix left = {(char *)a, types[0], lda, stride_a, turn_a ? k : m, turn_a ? m : k};
    const Matrix right = {(char *)b, types[1], ldb, stride_b, turn_b ? n : k, turn_b ? k : n};
    const Matrix result = {(char *)c, types[2], ldc, stride_c, m, n};
    for (const Matrix *matrix : {&left, &right, &result}) {
        if (matrix->leading < std::max(1, matrix->rows)) return BAD_VALUE;
        if (!is_live(matrix->at, matrix->bytes(batches), true)) {
            fault("a matrix product of " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) +
                  ": an operand is not in a live allocation");
            return EXECUTION_FAILED;
        }
    }
    const bool is_f64 = types[0] == Type::F64;
    if (is_f64 != (types[1] == Type::F64) || is_f64 != (types[2] == Type::F64)) return UNSUPPORTED;
    count("products");
    enqueue(handle->stream, [=] {
        for (const Matrix *matrix : {&left, &right, &result})
            if (!require(matrix->at, matrix->bytes(batches), "a matrix product")) return;
        if (!executes()) return;
        if (is_f64)
            multiply<double>(turn_a, turn_b, m, n, k, alpha, left, right, beta, result, batches);
        else
            multiply<float>(turn_a, turn_b, m, n, k, (float)alpha, left, right, (float)beta, result, batches);
    });
    return SUCCESS;
}

// A factor in the type that a product is computed in.
double factor(const void *at, int compute_type) {
    if (compute_type == 70 || compute_type == 71) return *(const double *)at;
    float value;
    const bool is_f16 = compute_type == 64 || compute_type == 65;
    widen(at, is_f16 ? Type::F16 : Type::F32, &value, 1);
    return value;
}

} // namespace

extern "C" {

int cublasCreate_v2(Handle **handle) { return *handle = new Handle, SUCCESS; }
int cublasDestroy_v2(Handle *handle) {
    delete handle;
    return SUCCESS;
}
int cublasSetStream_v2(Handle *handle, void *stream) { return handle->stream = stream, SUCCESS; }
int cublasGetStream_v2(Handle *handle, void **stream) { return *stream = handle->stream, SUCCESS; }
int cublasSetMathMode(Handle *handle, int math) { return handle->math = math, SUCCESS; }
int cublasSetPointerMode_v2(Handle *, int mode) { return mode ? +UNSUPPORTED : +SUCCESS; }
int cublasSetWorkspace_v2(Handle *, void *, size_t) { return SUCCESS; }
int cublasGetVersion_v2(Handle *, int *version) { return *version = 130100, SUCCESS; }

int cublasGemmStridedBatchedEx(Handle *handle, int turn_a, int turn_b, int m, int n, int k, const void *alpha, const void *a,
                               int a_type, int lda, long long stride_a, const void *b, int b_type, int ldb,
                               long long stride_b, const void *beta, void *c, int c_type, int ldc, long long stride_c,
                               int batches, int compute_type, int) {
    return gemm(handle, turn_a, turn_b, m, n, k, factor(alpha, compute_type), a, a_type, lda, stride_a, b, b_type, ldb,
                stride_b, factor(beta, compute_type), c, c_type, ldc, stride_c, batches);
}
int cublasGemmEx(Handle *handle, int turn_a, int turn_b, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda,
                 const void *b, int b_type, int ldb, const void *beta, void *c, int c_type, int ldc, int compute_type, int) {
    return gemm(handle, turn_a, turn_b, m, n, k, factor(alpha, compute_type), a, a_type, lda, 0, b, b_type, ldb, 0,
                factor(beta, compute_type), c, c_type, ldc, 0, 1);
}
int cublasSgemmStridedBatched(Handle *handle, int turn_a, int turn_b, int m, int n, int k, const float *alpha, const float *a, int lda,
                              long long stride_a, const float *b, int ldb, long long stride_b, const float *beta, float *c,
                              int ldc, long long stride_c, int batches) {
    return gemm(handle, turn_a, turn_b, m, n, k, *alpha, a, 0, lda, stride_a, b, 0, ldb, stride_b, *beta, c, 0, ldc, stride_c, batches);
}
int cublasDgemmStridedBatched(Handle *handle, int turn_a, int turn_b, int m, int n, int k, const double *alpha, const double *a,
                              int lda, long long stride_a, const double *b, int ldb, long long stride_b, const double *beta,
                              double *c, int ldc, long long stride_c, int batches) {
    return gemm(handle, turn_a, turn_b, m, n, k, *alpha, a, 1, lda, stride_a, b, 1, ldb, stride_b, *beta, c, 1, ldc, stride_c, batches);
}
int cublasSgemm_v2(Handle *handle, int turn_a, int turn_b, int m, int n, int k, const float *alpha, const float *a, int lda,
                   const float *b, int ldb, const float *beta, float *c, int ldc) {
    return gemm(handle, turn_a, turn_b, m, n, k, *alpha, a, 0, lda, 0, b, 0, ldb, 0, *beta, c, 0, ldc, 0, 1);
}
int cublasDgemm_v2(Handle *handle, int turn_a, int turn_b, int m, int n, int k, const double *alpha, const double *a, int lda,
                   const double *b, int ldb, const double *beta, double *c, int ldc) {
    return gemm(handle, turn_a, turn_b, m, n, k, *alpha, a, 1, lda, 0, b, 1, ldb, 0, *beta, c, 1, ldc, 0, 1);
}
}
