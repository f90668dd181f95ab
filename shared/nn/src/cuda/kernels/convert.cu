// Between the layouts of candle's tensors and of cuDNN's: numbers of channels, kinds of numbers,
// and filters from [out, in, k, k] to [out, k, k, in].

// x [positions, from] becomes y [positions, to]: further channels are zeros, or are left out.
template <typename A, typename B>
__device__ void channels(const A *x, int from, B *y, int to, long long len) {
    long long i = place();
    if (i >= len) return;
    long long position = i / to;
    int channel = i % to;
    put(y + i, channel < from ? to_float(x[position * from + channel]) : 0.0f);
}

// w [out, in, area] becomes y [padded_out, area, padded_in], with zeros where w has nothing.
template <typename T>
__device__ void pack_filter(const float *w, int out, int in, int area, T *y, int padded_in, long long len) {
    long long i = place();
    if (i >= len) return;
    int c = i % padded_in;
    int tap = i / padded_in % area;
    int o = i / ((long long)padded_in * area);
    bool inside = o < out && c < in;
    put(y + i, inside ? w[((long long)o * in + c) * area + tap] : 0.0f);
}

// And back.
template <typename T>
__device__ void unpack_filter(const T *y, int in, int area, int padded_in, float *w, long long len) {
    long long i = place();
    if (i >= len) return;
    int tap = i % area;
    int c = i / area % in;
    int o = i / ((long long)area * in);
    w[i] = to_float(y[((long long)o * area + tap) * padded_in + c]);
}

#define CHANNELS(A, B, NAME)                                                                       \
    extern "C" __global__ void NAME(const A *x, int from, B *y, int to, long long len) {           \
        channels(x, from, y, to, len);                                                             \
    }
CHANNELS(float, float, channels_f32_f32)
CHANNELS(float, bf16, channels_f32_bf16)
CHANNELS(bf16, float, channels_bf16_f32)
CHANNELS(bf16, bf16, channels_bf16_bf16)

#define FILTERS(T, NAME)                                                                           \
    extern "C" __global__ void pack_filter_##NAME(const float *w, int out, int in, int area, T *y, \
                                                  int padded_in, long long len) {                  \
        pack_filter(w, out, in, area, y, padded_in, len);                                          \
    }                                                                                              \
    extern "C" __global__ void unpack_filter_##NAME(const T *y, int in, int area, int padded_in,   \
                                                    float *w, long long len) {                     \
        unpack_filter(y, in, area, padded_in, w, len);                                             \
    }
FILTERS(float, f32)
FILTERS(bf16, bf16)
