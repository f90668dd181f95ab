// Naive scaled dot-product attention of bf16, with the logarithm of the sum of each query's exponentials.

#pragma once

#include "convolution.h"

namespace stand_in {

// Sizes, and strides of images, heads and tokens; elements of a head lie side by side.
struct Attention {
    int64_t batch, heads, queries, keys, size;
    int64_t query[3], key[3], value[3], result[3];

    // Elements from the first to the last of a tensor of so many tokens.
    size_t len(const int64_t (&stride)[3], int64_t tokens) const {
        return (batch - 1) * stride[0] + (heads - 1) * stride[1] + (tokens - 1) * stride[2] + size;
    }
};

// Enqueues it; the operands are checked when it is called and when the queue executes. Why they cannot be its operands;
// empty if they can.
std::string enqueue_attention(void *stream, const Attention &attention, const void *query, const void *key,
                              const void *value, void *result, float scale, void *stats);

} // namespace stand_in
