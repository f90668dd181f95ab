// One step of SGD with momentum on all parameters at once. Arrays are listed in a table; a block
// works on one piece of one array. Where the loss is no number nothing is updated.

struct Array {
    float *parameter, *velocity;
    const float *gradient;
    long long len;
};

struct Piece {
    int array;
    int piece;
};

extern "C" __global__ void momentum(const Array *arrays, const Piece *pieces, int piece_len, const float *loss,
                                    float rate, float momentum, float decay) {
    if (!isfinite(*loss)) return;
    Piece piece = pieces[blockIdx.x];
    Array array = arrays[piece.array];
    long long first = (long long)piece.piece * piece_len;
    long long last = first + piece_len < array.len ? first + piece_len : array.len;
    for (long long i = first + threadIdx.x; i < last; i += blockDim.x) {
        float p = array.parameter[i];
        float v = momentum * array.velocity[i] + (array.gradient[i] + decay * p);
        array.velocity[i] = v;
        array.parameter[i] = p - rate * v;
    }
}
