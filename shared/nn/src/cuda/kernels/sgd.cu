// SGD with momentum (Nesterov's if asked for) and weight decay, one step of all parameters in one launch: a table lists the arrays, and a
// thread block updates one block of one array. A loss that is not finite updates nothing.

struct Array {
    float *parameter, *velocity;
    const float *gradient;
    long long len;
};

struct Block {
    int array;
    int block;
};

extern "C" __global__ void sgd(const Array *arrays, const Block *blocks, int block_len, const float *loss,
                               float rate, float momentum, float decay, int nesterov) {
    if (!isfinite(*loss)) return;
    Block block = blocks[blockIdx.x];
    Array array = arrays[block.array];
    long long first = (long long)block.block * block_len;
    long long last = first + block_len < array.len ? first + block_len : array.len;
    for (long long i = first + threadIdx.x; i < last; i += blockDim.x) {
        float p = array.parameter[i];
        float direction = array.gradient[i] + decay * p;
        float v = momentum * array.velocity[i] + direction;
        array.velocity[i] = v;
        array.parameter[i] = p - rate * (nesterov ? direction + momentum * v : v);
    }
}
