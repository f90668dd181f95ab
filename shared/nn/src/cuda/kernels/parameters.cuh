// Parameters and what belongs to them, listed in a launch's own arguments, so that nothing is uploaded. A thread block works on one
// block of one of them.

struct ParameterArray {
    float *value, *state;
    const float *other;
    long long len;
};

struct ParameterArrays {
    ParameterArray arrays[64];
    // The grid's index of each array's first block, ascending.
    int first_block[64];
    int len;
};
// What the launch passes, and what a launch of CUDA may pass at most.
static_assert(sizeof(ParameterArrays) == 2312 && sizeof(ParameterArrays) < 4000, "the layout of parameters.rs");

// A thread block's array, and the elements of it from `first` to before `last`.
struct ParameterBlock {
    ParameterArray array;
    long long first, last;
};

__device__ __forceinline__ ParameterBlock block_of(const ParameterArrays &all, int block_len) {
    int at = 0;
    while (at + 1 < all.len && all.first_block[at + 1] <= (int)blockIdx.x) at++;
    ParameterArray array = all.arrays[at];
    long long first = (long long)((int)blockIdx.x - all.first_block[at]) * block_len;
    return {array, first, first + block_len < array.len ? first + block_len : array.len};
}
