// im2col: the windows of a convolution as rows of a matrix, so that it becomes a matrix product; and col2im, the
// transpose, as a gather: each element of the map adds its own terms, in one order, without atomics.

// A convolution of square kernels on maps [images, height, width, channels].
struct Windows {
    int height, width, out_height, out_width;
    int kernel, stride, padding;
    // Groups of eight channels.
    int eights;
};

// Row (image, oy, ox) of y holds the kernel * kernel input positions of an output position, with zeros for
// those beyond the edge: y [images * out_height * out_width, kernel, kernel, channels]. A thread copies
// eight channels; len counts them.
template <typename T>
__device__ void im2col(const T *x, Windows s, T *y, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    int eight = i % s.eights;
    long long rest = i / s.eights;
    int kx = rest % s.kernel;
    rest /= s.kernel;
    int ky = rest % s.kernel;
    rest /= s.kernel;
    int ox = rest % s.out_width;
    rest /= s.out_width;
    int oy = rest % s.out_height;
    long long image = rest / s.out_height;
    int row = oy * s.stride + ky - s.padding, column = ox * s.stride + kx - s.padding;
    bool inside = row >= 0 && row < s.height && column >= 0 && column < s.width;
    Eight values = {{0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f}};
    if (inside) values = load8(x + (((image * s.height + row) * s.width + column) * s.eights + eight) * 8);
    store8(y + i * 8, values);
}

// The transpose of im2col, of f32 rows: x [images, height, width, channels]. A thread adds up eight channels of a
// position; len counts them.
template <typename T>
__device__ void col2im(const float *y, Windows s, T *x, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    int eight = i % s.eights;
    long long rest = i / s.eights;
    int column = rest % s.width;
    rest /= s.width;
    int row = rest % s.height;
    long long image = rest / s.height;
    Eight sum = {{0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f}};
    for (int ky = 0; ky < s.kernel; ky++) {
        int down = row + s.padding - ky;
        if (down < 0 || down % s.stride != 0 || down / s.stride >= s.out_height) continue;
        for (int kx = 0; kx < s.kernel; kx++) {
            int across = column + s.padding - kx;
            if (across < 0 || across % s.stride != 0 || across / s.stride >= s.out_width) continue;
            long long window = (image * s.out_height + down / s.stride) * s.out_width + across / s.stride;
            Eight term = load8(y + (((window * s.kernel + ky) * s.kernel + kx) * s.eights + eight) * 8);
#pragma unroll
            for (int k = 0; k < 8; k++) sum.v[k] += term.v[k];
        }
    }
    store8(x + i * 8, sum);
}

// Candle's modules have kernels of the names without "nhwc".
#define IM2COL(T, NAME)                                                                                   \
    extern "C" __global__ void im2col_nhwc_##NAME(const T *x, int height, int width, int out_height,      \
                                                  int out_width, int kernel, int stride, int padding,     \
                                                  int eights, T *y, long long len) {                      \
        Windows s = {height, width, out_height, out_width, kernel, stride, padding, eights};              \
        im2col(x, s, y, len);                                                                             \
    }                                                                                                     \
    extern "C" __global__ void col2im_nhwc_##NAME(const float *y, int height, int width, int out_height,  \
                                                  int out_width, int kernel, int stride, int padding,     \
                                                  int eights, T *x, long long len) {                      \
        Windows s = {height, width, out_height, out_width, kernel, stride, padding, eights};              \
        col2im(y, s, x, len);                                                                             \
    }
IM2COL(float, f32)
IM2COL(bf16, bf16)
