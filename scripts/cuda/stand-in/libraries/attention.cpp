// Naive scaled dot-product attention: scores and softmax in f32, probabilities rounded to bf16 as the factor of a
// product of tensor cores.

#include "attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace stand_in {

namespace {

using Bf16 = uint16_t;

std::vector<float> row(const void *at, int64_t offset, int64_t size) {
    std::vector<float> values(size);
    widen((const Bf16 *)at + offset, Type::Bf16, values.data(), size);
    return values;
}

void attend(const Attention &a, const void *query, const void *key, const void *value, void *result, float scale,
            float *stats) {
    std::vector<float> scores(a.keys), mixed(a.size);
    for (int64_t image = 0; image < a.batch; image++)
        for (int64_t head = 0; head < a.heads; head++) {
            const auto at = [&](const int64_t (&stride)[3], int64_t token) {
                return image * stride[0] + head * stride[1] + token * stride[2];
            };
            std::vector<std::vector<float>> keys, values;
            for (int64_t token = 0; token < a.keys; token++) {
                keys.push_back(row(key, at(a.key, token), a.size));
                values.push_back(row(value, at(a.value, token), a.size));
            }
            for (int64_t token = 0; token < a.queries; token++) {
                const auto q = row(query, at(a.query, token), a.size);
                for (int64_t other = 0; other < a.keys; other++) {
                    float sum = 0.0f;
                    for (int64_t i = 0; i < a.size; i++) sum += q[i] * keys[other][i];
                    scores[other] = scale * sum;
                }
                const float most = *std::max_element(scores.begin(), scores.end());
                float sum = 0.0f;
                for (float &score : scores) sum += score = std::exp(score - most);
                stats[(image * a.heads + head) * a.queries + token] = most + std::log(sum);
                std::vector<Bf16> rounded(a.keys);
                for (float &score : scores) score /= sum;
                round_to(scores.data(), rounded.data(), Type::Bf16, a.keys);
                widen(rounded.data(), Type::Bf16, scores.data(), a.keys);
                std::fill(mixed.begin(), mixed.end(), 0.0f);
                for (int64_t other = 0; other < a.keys; other++)
                    for (int64_t i = 0; i < a.size; i++) mixed[i] += scores[other] * values[other][i];
                round_to(mixed.data(), (Bf16 *)result + at(a.result, token), Type::Bf16, a.size);
            }
        }
}

} // namespace

std::string enqueue_attention(void *stream, const Attention &a, const void *query, const void *key, const void *value,
                              void *result, float scale, void *stats) {
    struct Operand {
        const char *name;
        const void *at;
        size_t bytes;
    };
    const std::vector<Operand> operands = {{"queries", query, 2 * a.len(a.query, a.queries)},
                                           {"keys", key, 2 * a.len(a.key, a.keys)},
                                           {"values", value, 2 * a.len(a.value, a.keys)},
                                           {"the result of attention", result, 2 * a.len(a.result, a.queries)},
                                           {"statistics", stats, (size_t)(4 * a.batch * a.heads * a.queries)}};
    for (const Operand &operand : operands) {
        if ((uintptr_t)operand.at % 16) return std::string(operand.name) + ": not aligned to 16 bytes";
        if (!is_live(operand.at, operand.bytes, true))
            return std::string(operand.name) + ": " + std::to_string(operand.bytes) + " bytes are not in a live allocation";
    }
    count("attentions");
    enqueue(stream, [=] {
        for (const Operand &operand : operands)
            if (!require(operand.at, operand.bytes, operand.name)) return;
        if (executes()) attend(a, query, key, value, result, scale, (float *)stats);
    });
    return "";
}

} // namespace stand_in
