// Running statistics of batch normalization: moved towards a batch's, in place, as PyTorch does with momentum 0.1.
// `unbias` is count / (count - 1), since the running variance is the unbiased one.

extern "C" __global__ void running_statistics(float *mean, float *variance, const float *batch_mean,
                                              const float *batch_variance, float unbias, long long channels) {
    long long c = thread_index();
    if (c >= channels) return;
    mean[c] = 0.9f * mean[c] + 0.1f * batch_mean[c];
    variance[c] = 0.9f * variance[c] + 0.1f * (unbias * batch_variance[c]);
}
