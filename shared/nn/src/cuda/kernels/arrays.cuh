// Lists of arrays in a launch's own arguments, so that nothing is uploaded. A thread block works on one block of one of them.

template <typename A> struct ArrayList {
    A arrays[64];
    // The grid's index of each array's first block, ascending.
    int first_block[64];
    int len;
};

// A thread block's array, and the elements of it from `first` to before `last`.
template <typename A> struct ArrayBlock {
    A array;
    long long first, last;
};

template <typename A> __device__ __forceinline__ ArrayBlock<A> block_of(const ArrayList<A> &all, int block_len) {
    int at = 0;
    while (at + 1 < all.len && all.first_block[at + 1] <= (int)blockIdx.x) at++;
    A array = all.arrays[at];
    long long first = (long long)((int)blockIdx.x - all.first_block[at]) * block_len;
    return {array, first, first + block_len < array.len ? first + block_len : array.len};
}

// A parameter and what belongs to it.
struct ParameterArray {
    float *value, *state;
    const float *other;
    long long len;
};
typedef ArrayList<ParameterArray> ParameterArrays;

// A filter [out, in, area] and where it is packed as [padded_out, area, padded_in], of `len` elements.
struct FilterArray {
    const float *filter;
    void *packed;
    int out, in, area, padded_in;
    long long len;
};
typedef ArrayList<FilterArray> FilterArrays;

// What the launches pass, and what a launch of CUDA may pass at most.
static_assert(sizeof(ParameterArrays) == 2312 && sizeof(FilterArrays) == 2824 && sizeof(FilterArrays) < 4000, "the layout of arrays.rs");
