// Tests of the row-wise kernels of Transformers; included by kernels_on_cpu.cpp, which has what they use.

static const uint64 KEY = 8;
static const uint32 THRESHOLD = 19661;
static const float KEPT = 65536.0f / (65536.0f - THRESHOLD);

// The factor of each element under the mask, by the kernel that is tested above.
static std::vector<float> mask_factors(int len) {
    std::vector<float> ones(len, 1.0f), factors(len);
    each(len, [&] { dropout_f32(ones.data(), KEY, THRESHOLD, KEPT, factors.data(), len); });
    return factors;
}

template <typename T> static void row_sums(int rows, int width) {
    const int len = rows * width, blocks = (rows + 7) / 8;
    const std::string size = " of " + std::to_string(rows) + " x " + std::to_string(width);
    const float eps = 1e-3f, factor = 0.4f;
    // Rounding of a result of type T.
    const double rounding = sizeof(T) == 2 ? 1e-2 : 0.0;
    Numbers<float> x(len, 3.0), gamma(width), beta(width), grad_x(len), normalized(len);
    Numbers<T> gradient(len), y(len);
    synchronized(blocks, 1, [&] { Kind<T>::layer_norm(x.at, gamma.at, beta.at, eps, y.at, width, rows); });
    synchronized(blocks, 1, [&] {
        Kind<T>::layer_norm_backward(x.at, gamma.at, gradient.at, eps, grad_x.at, normalized.at, width, rows);
    });
    Numbers<T> scores(len), of_scores(len);
    synchronized(blocks, 1, [&] { Kind<T>::softmax(scores.at, factor, width, rows); });
    synchronized(blocks, 1, [&] { Kind<T>::softmax_backward(scores.at, of_scores.at, factor, width, rows); });
    for (int row = 0; row < rows; row++) {
        const int at = row * width;
        double mean = 0.0, variance = 0.0, sum = 0.0, product = 0.0, all = 0.0, mixed = 0.0;
        for (int i = at; i < at + width; i++) mean += x[i] / width;
        for (int i = at; i < at + width; i++) variance += std::pow(x[i] - mean, 2) / width;
        const double inverse = 1.0 / std::sqrt(variance + eps);
        for (int i = at; i < at + width; i++) {
            const double g = gradient[i] * gamma[i - at];
            sum += g / width;
            product += g * (x[i] - mean) * inverse / width;
            all += std::exp(factor * scores.initial[i]);
        }
        for (int i = at; i < at + width; i++)
            mixed += std::exp(factor * scores.initial[i]) / all * of_scores.initial[i];
        for (int i = at; i < at + width; i++) {
            const double n = (x[i] - mean) * inverse, p = std::exp(factor * scores.initial[i]) / all;
            near(y[i], n * gamma[i - at] + beta[i - at], 1e-4 + rounding, "layer norm" + size);
            near(normalized[i], n, 1e-4, "normalized rows" + size);
            near(grad_x[i], inverse * (gradient[i] * gamma[i - at] - sum - n * product), 1e-3,
                 "gradient of layer norm" + size);
            near(scores[i], p, 1e-5 + rounding, "softmax" + size);
            near(of_scores[i], factor * p * (of_scores.initial[i] - mixed), 1e-5 + rounding,
                 "gradient of softmax" + size);
        }
    }

    const int rows_of_block = 16, sum_blocks = (rows + rows_of_block - 1) / rows_of_block;
    Numbers<float> partial(sum_blocks * 2 * width), sums(width), products(width);
    for (float *by : {(float *)nullptr, normalized.at}) {
        synchronized(sum_blocks, (width + 255) / 256, [&] {
            Kind<T>::sum_columns(gradient.at, by, rows_of_block, width, rows, partial.at);
        });
        synchronized((width + 7) / 8, 1, [&] {
            finish_columns(partial.at, sum_blocks, width, sums.at, by ? products.at : nullptr);
        });
        for (int column = 0; column < width; column++) {
            double sum = 0.0, product = 0.0;
            for (int i = column; i < len; i += width) {
                sum += gradient[i];
                product += gradient[i] * normalized[i];
            }
            near(sums[column], sum, 1e-4, "sum of a column" + size);
            if (by) near(products[column], product, 1e-4, "sum of a column's products" + size);
        }
    }
}

template <typename T> static void row_elements() {
    const int rows = 19, width = 12, len = rows * width;
    const std::vector<float> mask = mask_factors(len);
    const double bound = sizeof(T) == 2 ? 1e-2 : 1e-5;
    Numbers<float> bias(width), residual(len), z(len);
    Numbers<T> x(len), y(len), gradient(len), plain(len);
    each(len, [&] { Kind<T>::gelu_dropout(x.at, bias.at, KEY, THRESHOLD, KEPT, y.at, width, len); });
    each(len, [&] { Kind<T>::gelu_dropout(x.at, bias.at, 0, 0, 1.0f, plain.at, width, len); });
    each(len, [&] { Kind<T>::gelu_dropout_backward(x.at, bias.at, KEY, THRESHOLD, KEPT, gradient.at, width, len); });
    each(len, [&] { Kind<T>::residual_dropout(residual.at, x.at, bias.at, KEY, THRESHOLD, KEPT, z.at, width, len); });
    for (int i = 0; i < len; i++) {
        const double a = x[i] + bias[i % width], half = 0.5 * (1.0 + std::erf(a / std::sqrt(2.0)));
        const double slope = half + a * std::exp(-a * a / 2) / std::sqrt(2 * std::acos(-1.0));
        near(y[i], mask[i] * a * half, bound, "GELU with dropout");
        near(plain[i], a * half, bound, "GELU");
        near(gradient[i], mask[i] * slope * gradient.initial[i], bound, "gradient of GELU");
        near(z[i], residual[i] + mask[i] * a, 1e-5, "residual with dropout");
    }
}

template <typename T> static void tokens_and_heads() {
    const int batch = 3, tokens = 5, parts = 2, heads = 4, size = 3, columns = parts * heads * size;
    const int len = batch * tokens * columns;
    const double bound = sizeof(T) == 2 ? 1e-2 : 1e-6;
    Numbers<float> bias(columns);
    Numbers<T> x(len), split(len), merged(len);
    each(len, [&] { Kind<T>::split_heads(x.at, bias.at, split.at, parts, heads, tokens, size, len); });
    each(len, [&] { Kind<T>::merge_heads(split.at, merged.at, parts, heads, tokens, size, len); });
    int at = 0;
    for (int part = 0; part < parts; part++)
        for (int image = 0; image < batch; image++)
            for (int head = 0; head < heads; head++)
                for (int token = 0; token < tokens; token++)
                    for (int i = 0; i < size; i++, at++) {
                        const int column = (part * heads + head) * size + i;
                        const int from = (image * tokens + token) * columns + column;
                        near(split[at], x[from] + bias[column], bound, "split heads");
                    }
    for (int i = 0; i < len; i++) near(merged[i], x[i] + bias[i % columns], bound, "merged heads");
    each(len, [&] { Kind<T>::split_heads(x.at, nullptr, split.at, parts, heads, tokens, size, len); });
    check(split[0] == x[0], "split heads without a bias");

    const int width = 4, image_len = (tokens + 1) * width, all = batch * image_len;
    const std::vector<float> mask = mask_factors(all);
    Numbers<float> maps(batch * tokens * width), first(width), positions(image_len), embedded(all);
    each(all, [&] {
        embed(maps.at, first.at, positions.at, KEY, THRESHOLD, KEPT, embedded.at, width, image_len, all);
    });
    for (int i = 0; i < all; i++) {
        const int image = i / image_len, within = i % image_len;
        const double token = within < width ? first[within] : maps[image * tokens * width + within - width];
        near(embedded[i], mask[i] * (token + positions[within]), 1e-6, "embedded tokens");
    }
}

