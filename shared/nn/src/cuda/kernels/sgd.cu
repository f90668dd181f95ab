// SGD with momentum (Nesterov's if asked for), weight decay and gradient clipping. Arrays are parameter, velocity and gradient.

// One step of all parameters. A loss that is not finite updates nothing. Rate and factor of the gradients (none if null) are read from
// memory, so that a captured launch has those of the step that it is replayed for.
extern "C" __global__ void sgd(const __grid_constant__ ParameterArrays all, int block_len, const float *loss, const float *rate,
                               const float *factor, float momentum, float decay, int nesterov) {
    if (!isfinite(*loss)) return;
    ArrayBlock<ParameterArray> block = block_of(all, block_len);
    float *parameter = block.array.value, *velocity = block.array.state;
    float step = *rate, scale = factor ? *factor : 1.0f;
    for (long long i = block.first + threadIdx.x; i < block.last; i += blockDim.x) {
        float p = parameter[i];
        float direction = block.array.other[i] * scale + decay * p;
        float v = momentum * velocity[i] + direction;
        velocity[i] = v;
        parameter[i] = p - step * (nesterov ? direction + momentum * v : v);
    }
}

// The sum of a block's numbers, in a fixed order; for the first thread.
__device__ double sum_of_block(double x) {
    __shared__ double sums[THREADS];
    sums[threadIdx.x] = x;
    for (unsigned int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    return sums[0];
}

// The squares of the gradients, added up for each block of the grid.
extern "C" __global__ void gradient_squares(const __grid_constant__ ParameterArrays all, int block_len, double *sums) {
    ArrayBlock<ParameterArray> block = block_of(all, block_len);
    double sum = 0.0;
    for (long long i = block.first + threadIdx.x; i < block.last; i += blockDim.x)
        sum += (double)block.array.other[i] * block.array.other[i];
    sum = sum_of_block(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// The factor that makes all gradients together no longer than `norm`, by one block.
extern "C" __global__ void clip_factor(const double *sums, int len, double norm, double eps, float *factor) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < len; i += blockDim.x) sum += sums[i];
    sum = sum_of_block(sum);
    if (threadIdx.x > 0) return;
    double ratio = norm / (sqrt(sum) + eps);
    *factor = ratio < 1.0 ? (float)ratio : ratio >= 1.0 ? 1.0f : __uint_as_float(0x7fc00000u);
}
