// SGD with momentum (Nesterov's if asked for) and weight decay, one step of many parameters in one launch: the arrays are listed in the
// launch's own arguments, so that nothing is uploaded, and a thread block updates one block of one array. A loss that is not finite
// updates nothing. The rate is read from memory, so that a captured launch has the rate of the step that it is replayed for.

struct SgdArray {
    float *parameter, *velocity;
    const float *gradient;
    long long len;
};

struct SgdArrays {
    SgdArray arrays[64];
    // The grid's index of each array's first block, ascending.
    int first_block[64];
    int len;
};
// What the launch passes, and what a launch of CUDA may pass at most.
static_assert(sizeof(SgdArrays) == 2312 && sizeof(SgdArrays) < 4000, "the layout of sgd.rs");

extern "C" __global__ void sgd(const __grid_constant__ SgdArrays all, int block_len, const float *loss, const float *rate, float momentum,
                               float decay, int nesterov) {
    if (!isfinite(*loss)) return;
    int at = 0;
    while (at + 1 < all.len && all.first_block[at + 1] <= (int)blockIdx.x) at++;
    float *parameter = all.arrays[at].parameter, *velocity = all.arrays[at].velocity;
    const float *gradient = all.arrays[at].gradient;
    long long len = all.arrays[at].len;
    long long first = (long long)((int)blockIdx.x - all.first_block[at]) * block_len;
    long long last = first + block_len < len ? first + block_len : len;
    float step = *rate;
    for (long long i = first + threadIdx.x; i < last; i += blockDim.x) {
        float p = parameter[i];
        float direction = gradient[i] + decay * p;
        float v = momentum * velocity[i] + direction;
        velocity[i] = v;
        parameter[i] = p - step * (nesterov ? direction + momentum * v : v);
    }
}
