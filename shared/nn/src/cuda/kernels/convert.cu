// Conversions between candle's and cuDNN's tensors: channel padding, element types, and filters between
// [out, in, k, k] and [out, k, k, in].

// Copies x [positions, from] to y [positions, to]: pads with zero channels, or drops the last ones.
template <typename A, typename B>
__device__ void channels(const A *x, int from, B *y, int to, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    long long position = i / to;
    int channel = i % to;
    put(y + i, channel < from ? to_float(x[position * from + channel]) : 0.0f);
}

// Packs filters [out, in, area] as [padded_out, area, padded_in], padded with zeros; area is k * k.
template <typename T>
__device__ void pack_filters(const FilterArrays &all, int block_len) {
    ArrayBlock<FilterArray> block = block_of(all, block_len);
    FilterArray f = block.array;
    for (long long i = block.first + threadIdx.x; i < block.last; i += blockDim.x) {
        int c = i % f.padded_in;
        int tap = i / f.padded_in % f.area;
        int o = i / ((long long)f.padded_in * f.area);
        bool inside = o < f.out && c < f.in;
        put((T *)f.packed + i, inside ? f.filter[((long long)o * f.in + c) * f.area + tap] : 0.0f);
    }
}

// The inverse for one filter.
template <typename T>
__device__ void unpack_filter(const T *y, int in, int area, int padded_in, float *w, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    int tap = i % area;
    int c = i / area % in;
    int o = i / ((long long)area * in);
    w[i] = to_float(y[((long long)o * area + tap) * padded_in + c]);
}

#define CHANNELS(A, B, NAME)                                                             \
    extern "C" __global__ void NAME(const A *x, int from, B *y, int to, long long len) { \
        channels(x, from, y, to, len);                                                   \
    }
CHANNELS(float, float, channels_f32_f32)
CHANNELS(float, bf16, channels_f32_bf16)
CHANNELS(bf16, float, channels_bf16_f32)
CHANNELS(bf16, bf16, channels_bf16_bf16)

#define FILTERS(T, NAME)                                                                                      \
    extern "C" __global__ void pack_filters_##NAME(const __grid_constant__ FilterArrays all, int block_len) { \
        pack_filters<T>(all, block_len);                                                                      \
    }                                                                                                         \
    extern "C" __global__ void unpack_filter_##NAME(const T *y, int in, int area, int padded_in,              \
                                                    float *w, long long len) {                                \
        unpack_filter(y, in, area, padded_in, w, len);                                                        \
    }
FILTERS(float, f32)
FILTERS(bf16, bf16)
