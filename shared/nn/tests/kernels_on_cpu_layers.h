// Tests of the kernels of batch norm, and of a classifier's end: average pooling, bias and loss; included by
// kernels_on_cpu.cpp, which has what they use.

// With `relu` the gradient is that of the normalization followed by a ReLU.
template <typename T> static void normalization(int positions, int channels, int rows, bool relu) {
    const int eights = channels / 8, len = positions * channels;
    const int wide = eights < THREADS ? eights : THREADS, blocks = (positions + rows - 1) / rows;
    const unsigned down = (eights + wide - 1) / wide, adding = (channels + 7) / 8;
    const std::string size = " of " + std::to_string(positions) + " x " + std::to_string(channels);
    const double eps = 1e-5, bound = Kind<T>::bound;
    Numbers<T> x(len, 5.0), residual(len), gradient(len, 0.5), y(len), cut(len), grad_x(len);
    Numbers<float> partial((size_t)blocks * 2 * channels), gamma(channels), beta(channels);
    Numbers<float> mean(channels), inverse(channels), running_mean(channels), running_variance(channels);
    const float *relu_beta = relu ? beta.at : nullptr;
    const int moved = channels - 3; // The last ones are padding.
    Numbers<float> grad_gamma(channels), grad_beta(channels), sums(channels);

    synchronized(blocks, down, [&] { Kind<T>::sum_moments(x.at, positions, rows, eights, wide, partial.at); });
    synchronized(adding, 1, [&] {
        Kind<T>::finish_moments(partial.at, blocks, x.at, positions, channels, eps, mean.at, inverse.at,
                                running_mean.at, running_variance.at, moved);
    });
    each(len / 8, [&] {
        Kind<T>::normalize(x.at, residual.at, mean.at, inverse.at, gamma.at, beta.at, 1, y.at, eights, len / 8);
    });
    each(len / 8, [&] {
        Kind<T>::normalize(x.at, nullptr, mean.at, inverse.at, gamma.at, beta.at, 1, cut.at, eights, len / 8);
    });
    synchronized(blocks, down, [&] {
        Kind<T>::sum_gradients(x.at, gradient.at, mean.at, inverse.at, gamma.at, relu_beta, positions, rows, eights,
                               wide, partial.at);
    });
    synchronized(adding, 1, [&] {
        finish_gradients(partial.at, blocks, channels, inverse.at, grad_gamma.at, grad_beta.at);
    });
    each(len / 8, [&] {
        Kind<T>::input_gradient(x.at, gradient.at, mean.at, inverse.at, gamma.at, relu_beta, grad_gamma.at,
                                grad_beta.at, (float)(1.0 / positions), grad_x.at, eights, len / 8);
    });
    synchronized(blocks, down, [&] {
        Kind<T>::sum_channels(gradient.at, positions, rows, eights, wide, partial.at);
    });
    synchronized(adding, 1, [&] { finish_channels(partial.at, blocks, channels, sums.at); });

    for (int c = 0; c < channels; c++) {
        double m = 0.0, v = 0.0, sg = 0.0, sb = 0.0, all = 0.0, size_of_sum = 0.0;
        auto before_relu = [&](int i) { return !relu || cut[i] > 0.0 ? gradient[i] : 0.0; };
        for (int p = 0; p < positions; p++) m += x[p * channels + c] / positions;
        for (int p = 0; p < positions; p++) v += std::pow(x[p * channels + c] - m, 2) / positions;
        const double n = 1.0 / std::sqrt(v + eps);
        for (int p = 0; p < positions; p++) {
            const double g = before_relu(p * channels + c);
            sg += g * (x[p * channels + c] - m) * n;
            sb += g;
            all += gradient[p * channels + c];
            size_of_sum += std::abs(gradient[p * channels + c]);
        }
        near(mean[c], m, 1e-5, "mean" + size);
        near(inverse[c], n, 1e-5 / std::pow(v + eps, 1.5), "1 / deviation" + size);
        const double unbiased = v * positions / std::max(positions - 1, 1);
        const double mean_to = 0.9 * running_mean.initial[c] + 0.1 * m;
        const double variance_to = 0.9 * running_variance.initial[c] + 0.1 * unbiased;
        near(running_mean[c], c < moved ? mean_to : running_mean.initial[c], 1e-5, "running mean" + size);
        near(running_variance[c], c < moved ? variance_to : running_variance.initial[c], 1e-5,
             "running variance" + size);
        near(grad_gamma[c] / size_of_sum, sg / size_of_sum, 1e-5, "gradient of gamma" + size);
        near(grad_beta[c] / size_of_sum, sb / size_of_sum, 1e-5, "gradient of beta" + size);
        near(sums[c] / size_of_sum, all / size_of_sum, 1e-5, "gradient of a bias" + size);
        for (int p = 0; p < positions; p++) {
            const int i = p * channels + c;
            const double normal = (x[i] - m) * n;
            const double sum = normal * gamma[c] + beta[c] + residual[i];
            near(y[i], sum > 0.0 ? sum : 0.0, bound, "normalized map" + size);
            const double expected = n * gamma[c] * (before_relu(i) - sb / positions - normal * sg / positions);
            near(grad_x[i], expected, positions > 1 ? bound : 1e-2, "gradient of the input" + size);
        }
    }
}

template <typename T> static void head(int images, int positions, int padded, int channels) {
    Numbers<T> x(images * positions * padded), grad_x(images * positions * padded), rows(images * channels);
    Numbers<float> y(images * channels), gradient(images * channels), bias(channels), sums(images * channels);
    each(images * channels, [&] { Kind<T>::average_pool(x.at, positions, padded, channels, y.at, images * channels); });
    each(images * positions * padded, [&] {
        Kind<T>::unpool(gradient.at, positions, padded, channels, grad_x.at, images * positions * padded);
    });
    each(images * channels, [&] { Kind<T>::add_bias(rows.at, bias.at, sums.at, channels, images * channels); });
    for (int image = 0; image < images; image++)
        for (int c = 0; c < padded; c++) {
            double mean = 0.0;
            for (int p = 0; p < positions; p++) {
                const int i = (image * positions + p) * padded + c;
                mean += x[i] / positions;
                const double share = c < channels ? gradient[image * channels + c] / positions : 0.0;
                near(grad_x[i], share, Kind<T>::bound, "gradient of average pooling");
            }
            if (c >= channels) continue;
            near(y[image * channels + c], mean, 1e-6, "average pooling");
            near(sums[image * channels + c], rows[image * channels + c] + bias[c], 1e-6, "a bias");
        }
}

static void losses(int rows, int classes, float smoothing) {
    const std::string size = " of " + std::to_string(rows) + " x " + std::to_string(classes);
    Numbers<float> logits((size_t)rows * classes, 3.0), grad((size_t)rows * classes), loss(1), gradient(1, 2.0);
    std::vector<unsigned> labels(rows);
    for (auto &label : labels) label = random_bits() % classes;
    synchronized(1, 1, [&] { cross_entropy(logits.at, labels.data(), rows, classes, smoothing, loss.at); });
    each(rows, [&] {
        cross_entropy_backward(logits.at, labels.data(), rows, classes, smoothing, gradient.at, grad.at);
    });
    double expected = 0.0;
    for (int i = 0; i < rows; i++) {
        double sum = 0.0;
        for (int c = 0; c < classes; c++) sum += std::exp(logits[i * classes + c]);
        for (int c = 0; c < classes; c++) {
            const double target = smoothing / classes + (c == (int)labels[i] ? 1.0 - smoothing : 0.0);
            const double probability = std::exp(logits[i * classes + c]) / sum;
            expected -= target * std::log(probability) / rows;
            near(grad[i * classes + c] * rows, (probability - target) * gradient[0], 1e-6,
                 "gradient of the cross entropy" + size);
        }
    }
    near(loss[0], expected, 1e-6, "cross entropy" + size);
    logits.at[labels[0] == 0] = -INFINITY;
    synchronized(1, 1, [&] { cross_entropy(logits.at, labels.data(), rows, classes, smoothing, loss.at); });
    check(smoothing > 0.0f ? std::isinf(loss[0]) : std::isfinite(loss[0]), "cross entropy of -infinity" + size);
    labels[rows - 1] = classes;
    synchronized(1, 1, [&] { cross_entropy(logits.at, labels.data(), rows, classes, smoothing, loss.at); });
    check(std::isnan(loss[0]), "cross entropy of a label that is no class" + size);
}
