// A classifier's input: pixels with their channels last, normalized as `(x - mean) / std`, rounded as on the CPU.

// x [images, channels, area] to y [images, area, channels]; mean and std are of the channels, or null.
extern "C" __global__ void pixels_to_input(const float *x, int channels, int area, const float *mean, const float *std, float *y,
                                         long long len) {
    long long i = thread_index();
    if (i >= len) return;
    int c = i % channels;
    long long position = i / channels, image = position / area;
    float value = x[(image * channels + c) * area + position % area];
    y[i] = mean ? __fdiv_rn(__fsub_rn(value, mean[c]), std[c]) : value;
}

// The gradient of x from that of y.
extern "C" __global__ void pixels_to_input_backward(const float *gradient, int channels, int area, const float *std, float *grad_x,
                                                  long long len) {
    long long i = thread_index();
    if (i >= len) return;
    int c = i / area % channels;
    long long image = i / ((long long)area * channels);
    float value = gradient[(image * area + i % area) * channels + c];
    grad_x[i] = std ? __fdiv_rn(value, std[c]) : value;
}
