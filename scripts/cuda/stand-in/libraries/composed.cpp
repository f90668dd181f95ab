// Naive graphs: each matrix of each tensor (of a map: each channel of each image) as f32, rounded to its type where it is written.

#include "composed.h"

#include <cmath>
#include <functional>
#include <set>

namespace stand_in {

namespace {

struct Matrix {
    int64_t rows, columns;
    std::vector<float> values;

    // A matrix of one row or column is the same for all.
    float at(int64_t row, int64_t column) const {
        return values[(rows == 1 ? 0 : row) * columns + (columns == 1 ? 0 : column)];
    }
};

using Addresses = std::map<int64_t, void *>;

// Elements from the first to the last of a tensor in memory.
size_t span(const GraphTensor &t) {
    size_t last = 1;
    for (int i = 0; i < 4; i++) last += (t.size[i] - 1) * t.stride[i];
    return last;
}

char *element(const GraphTensor &t, void *memory, const int64_t (&matrix)[2], int64_t row, int64_t column) {
    int64_t offset = row * t.stride[2] + column * t.stride[3];
    for (int i = 0; i < 2; i++) offset += (t.size[i] == 1 ? 0 : matrix[i]) * t.stride[i];
    return (char *)memory + offset * bytes_of(t.type);
}

// The matrices of one image and head.
class Matrices {
  public:
    Matrices(const Addresses &addresses, const std::map<int64_t, float> &numbers, int64_t image, int64_t head)
        : addresses(addresses), numbers(numbers), matrix{image, head} {}

    Matrix read(const GraphTensor &t) const {
        if (t.is_intermediate) return kept.at(t.id);
        if (t.is_of_host) return {1, 1, {numbers.at(t.id)}};
        Matrix all{t.size[2], t.size[3], std::vector<float>(t.size[2] * t.size[3])};
        for (int64_t row = 0; row < all.rows; row++)
            for (int64_t column = 0; column < all.columns; column++)
                widen(element(t, addresses.at(t.id), matrix, row, column), t.type, &all.values[row * all.columns + column], 1);
        return all;
    }

    void write(const GraphTensor &t, Matrix all) {
        if (t.is_intermediate) {
            if (t.type == Type::Bf16)
                for (float &value : all.values) {
                    uint16_t rounded;
                    round_to(&value, &rounded, t.type, 1);
                    widen(&rounded, t.type, &value, 1);
                }
            kept[t.id] = std::move(all);
            return;
        }
        for (int64_t row = 0; row < all.rows; row++)
            for (int64_t column = 0; column < all.columns; column++)
                round_to(&all.values[row * all.columns + column], element(t, addresses.at(t.id), matrix, row, column), t.type, 1);
    }

    // Takes the part of a convolution's result [N,H,W,C], which is an intermediate tensor.
    void keep(const GraphTensor &t, const std::vector<float> &all) {
        Matrix part{t.size[2], t.size[3], std::vector<float>(t.size[2] * t.size[3])};
        for (int64_t i = 0; i < part.rows * part.columns; i++)
            part.values[i] = all[(matrix[0] * part.rows * part.columns + i) * t.size[1] + matrix[1]];
        write(t, std::move(part));
    }

    void run(const Step &step) {
        const GraphTensor &result = step.tensors.back();
        Matrix y{result.size[2], result.size[3], std::vector<float>(result.size[2] * result.size[3])};
        const Matrix x = read(step.tensors[0]);
        if (step.kind == Step::Product) {
            const Matrix b = read(step.tensors[1]);
            // cuDNN adds the parts of a product that is f32 in memory to what is there.
            if (!result.is_intermediate && result.type == Type::F32) y = read(result);
            for (int64_t i = 0; i < y.rows; i++)
                for (int64_t k = 0; k < x.columns; k++) {
                    const float factor = x.values[i * x.columns + k];
                    for (int64_t j = 0; j < y.columns; j++) y.values[i * y.columns + j] += factor * b.values[k * b.columns + j];
                }
        } else if (step.kind == Step::Reshape) {
            for (int64_t i = 0; i < y.rows; i++)
                for (int64_t j = 0; j < y.columns; j++) y.values[i * y.columns + j] = x.at(j, i);
        } else if (step.kind == Step::Sum) {
            for (int64_t i = 0; i < y.rows; i++)
                for (int64_t j = 0; j < x.columns; j++) y.values[i] += x.at(i, j);
        } else {
            const Matrix other = step.tensors.size() == 3 ? read(step.tensors[1]) : Matrix{1, 1, {0.0f}};
            for (int64_t i = 0; i < y.rows; i++)
                for (int64_t j = 0; j < y.columns; j++) {
                    const float a = x.at(i, j), b = other.at(i, j);
                    float &value = y.values[i * y.columns + j];
                    switch (step.function) {
                    case ADD: value = a + b; break;
                    case RELU: value = a > 0 || (step.keeps_nan && std::isnan(a)) ? a : 0; break;
                    case MULTIPLY: value = a * b; break;
                    case SUBTRACT: value = a - b; break;
                    case EXPONENTIAL: value = std::exp(a); break;
                    default: value = a;
                    }
                }
        }
        write(result, std::move(y));
    }

  private:
    const Addresses &addresses;
    const std::map<int64_t, float> &numbers;
    const int64_t matrix[2];
    std::map<int64_t, Matrix> kept;
};

bool has_size(const GraphTensor &t, const GraphTensor &of, int64_t rows, int64_t columns) {
    return t.size[0] == of.size[0] && t.size[1] == of.size[1] && t.size[2] == rows && t.size[3] == columns;
}

} // namespace

bool Composed::is_attention_gradient() const {
    using enum Step::Kind;
    const std::vector<std::pair<Step::Kind, int>> known = {
        {Pointwise, MULTIPLY}, {Sum, 0}, {Pointwise, MULTIPLY},
        {Product, 0}, {Pointwise, MULTIPLY}, {Pointwise, SUBTRACT}, {Pointwise, EXPONENTIAL}, {Reshape, 0}, {Product, 0},
        {Product, 0}, {Pointwise, SUBTRACT}, {Pointwise, MULTIPLY}, {Pointwise, MULTIPLY}, {Reshape, 0}, {Product, 0},
        {Reshape, 0}, {Product, 0}, {Pointwise, IDENTITY},
    };
    std::vector<std::pair<Step::Kind, int>> found;
    for (const Step &step : steps) found.push_back({step.kind, step.function});
    return found == known;
}

bool Composed::is_fused_convolution() const {
    if (!first || first->direction != Direction::Forward || steps.empty()) return false;
    int64_t computed = first->result().id;
    int last = -1;
    for (const Step &step : steps) {
        if (step.kind != Step::Pointwise || step.tensors[0].id != computed) return false;
        const bool is_map = step.function == ADD && step.tensors[1].size[0] == step.tensors[0].size[0];
        const int place = is_map ? 0 : step.function == ADD ? 1 : step.function == RELU ? 2 : -1;
        if (place <= last) return false;
        last = place;
        computed = step.tensors.back().id;
    }
    return last > 0 && first->result().is_intermediate && !steps.back().tensors.back().is_intermediate;
}

std::vector<GraphTensor> Composed::operands() const {
    std::vector<GraphTensor> all;
    std::set<int64_t> known;
    const auto add = [&](const std::vector<GraphTensor> &tensors) {
        for (const GraphTensor &t : tensors)
            if (!t.is_intermediate && known.insert(t.id).second) all.push_back(t);
    };
    if (first) add(first->tensors);
    for (const Step &step : steps) add(step.tensors);
    return all;
}

std::string unfit(const Step &step) {
    const GraphTensor &x = step.tensors[0], &y = step.tensors.back();
    bool fits = true;
    switch (step.kind) {
    case Step::Product: {
        const GraphTensor &b = step.tensors[1];
        fits = has_size(b, x, x.size[3], b.size[3]) && has_size(y, x, x.size[2], b.size[3]);
        // A factor that the tensor cores of bf16 take; another is rounded on its way there.
        fits &= b.type == Type::Bf16;
        break;
    }
    case Step::Reshape: fits = has_size(y, x, x.size[3], x.size[2]); break;
    case Step::Sum: fits = has_size(y, x, x.size[2], 1); break;
    case Step::Pointwise:
        fits = has_size(y, x, x.size[2], x.size[3]);
        if (step.tensors.size() == 3)
            for (int i = 0; i < 4; i++) fits &= step.tensors[1].size[i] == 1 || step.tensors[1].size[i] == x.size[i];
    }
    return fits ? "" : "sizes of an operation's tensors do not fit together";
}

std::string enqueue_composed(void *stream, const Composed &composed, const Addresses &addresses) {
    std::map<int64_t, float> numbers;
    std::vector<std::pair<const void *, size_t>> memory;
    for (const GraphTensor &t : composed.operands()) {
        void *const at = addresses.at(t.id);
        if (t.is_of_host) {
            numbers[t.id] = *(const float *)at;
            continue;
        }
        const size_t bytes = span(t) * bytes_of(t.type);
        if ((uintptr_t)at % 16) return "operand " + std::to_string(t.id) + ": not aligned to 16 bytes";
        if (!is_live(at, bytes, true)) return "operand " + std::to_string(t.id) + ": " + std::to_string(bytes) + " bytes are not in a live allocation";
        memory.push_back({at, bytes});
    }
    count(composed.first ? "fused_convolutions" : "attention_gradients");
    enqueue(stream, [=] {
        for (const auto &[at, bytes] : memory)
            if (!require(at, bytes, "an operand of a graph")) return;
        if (!executes()) return;
        std::vector<float> convolved;
        if (const auto &first = composed.first) {
            convolved.resize(first->convolution.y_len());
            convolve(first->convolution, Direction::Forward, addresses.at(first->tensors[0].id), addresses.at(first->tensors[1].id), convolved.data());
        }
        const GraphTensor &outer = composed.first ? composed.first->result() : composed.steps[0].tensors[0];
        for (int64_t image = 0; image < outer.size[0]; image++)
            for (int64_t head = 0; head < outer.size[1]; head++) {
                Matrices matrices(addresses, numbers, image, head);
                if (composed.first) matrices.keep(outer, convolved);
                for (const Step &step : composed.steps) matrices.run(step);
            }
    });
    return "";
}

} // namespace stand_in
