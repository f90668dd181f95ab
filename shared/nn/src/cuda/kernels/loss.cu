// Mean cross entropy of logits [rows, classes] with labels of which `smoothing` is spread evenly over all classes, and
// its gradient.

// The largest of a row's logits, and the logarithm of the sum of exp(logit - largest).
__device__ void log_sum_exp(const float *row, uint32 classes, float &largest, float &log_sum) {
    largest = row[0];
    for (uint32 c = 1; c < classes; c++) largest = row[c] > largest ? row[c] : largest;
    float sum = 0.0f;
    for (uint32 c = 0; c < classes; c++) sum += expf(row[c] - largest);
    log_sum = logf(sum);
}

// One block of 256 threads, which adds up the rows in a fixed order. A label that is no class makes the loss NaN.
extern "C" __global__ void cross_entropy(const float *logits, const uint32 *labels, int rows, uint32 classes,
                                         float smoothing, float *loss) {
    __shared__ double sums[THREADS];
    double sum = 0.0;
    for (int i = threadIdx.x; i < rows; i += THREADS) {
        const float *row = logits + (long long)i * classes;
        float largest, log_sum, all = 0.0f;
        log_sum_exp(row, classes, largest, log_sum);
        float of_label = labels[i] < classes ? row[labels[i]] - largest - log_sum : __uint_as_float(0x7fc00000u);
        sum += (1.0f - smoothing) * of_label;
        if (smoothing == 0.0f) continue; // Another class's -infinity times 0 would be NaN.
        for (uint32 c = 0; c < classes; c++) all += row[c] - largest - log_sum;
        sum += smoothing * (all / classes);
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (int other = 1; other < THREADS; other++) sum += sums[other];
    *loss = (float)(-sum / rows);
}

// A thread for each row: grad = (softmax - smoothed label) * gradient / rows.
extern "C" __global__ void cross_entropy_backward(const float *logits, const uint32 *labels, int rows, uint32 classes,
                                                  float smoothing, const float *gradient, float *grad) {
    long long i = thread_index();
    if (i >= rows) return;
    const float *row = logits + i * classes;
    float largest, log_sum;
    log_sum_exp(row, classes, largest, log_sum);
    for (uint32 c = 0; c < classes; c++) {
        float target = smoothing / classes + (c == labels[i] ? 1.0f - smoothing : 0.0f);
        grad[i * classes + c] = (expf(row[c] - largest - log_sum) - target) * (*gradient / rows);
    }
}
