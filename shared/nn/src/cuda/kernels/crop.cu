// Crop and resize of images of bytes to floats in [0, 1]: a window of each image, resized to the whole image
// with bilinear interpolation and optionally mirrored. The operations and their order are the CPU's
// (ops/crop.rs), and none are fused, so that the results have the same bits.

#define SIDE 32

// A window of an image; pixels outside the image are 0.
struct Window {
    int top, left, height, width, mirrored;
};

struct Tap {
    int first, second;
    float weight;
};

__device__ Tap tap(int i, int length) {
    float ratio = __fdiv_rn((float)length, (float)SIDE);
    float center = __fsub_rn(__fmul_rn((float)i + 0.5f, ratio), 0.5f);
    center = center < 0.0f ? 0.0f : center;
    Tap t;
    t.first = (int)center;
    t.second = t.first + 1 < length ? t.first + 1 : length - 1;
    t.weight = __fsub_rn(center, (float)t.first);
    return t;
}

__device__ float blend(Tap t, float first, float second) {
    return __fadd_rn(first, __fmul_rn(t.weight, __fsub_rn(second, first)));
}

__device__ float byte_at(const unsigned char *plane, int row, int column) {
    bool inside = row >= 0 && row < SIDE && column >= 0 && column < SIDE;
    return inside ? (float)plane[row * SIDE + column] : 0.0f;
}

// store [N, 3, 32, 32] are the bytes of all images; image i of the result [B, 3, 32, 32] is windows[i] of image
// rows[i].
extern "C" __global__ void crop_resize(const unsigned char *store, const uint32 *rows, const Window *windows,
                                       float *to, long long len) {
    long long i = thread_index();
    if (i >= len) return;
    int column = i % SIDE, row = i / SIDE % SIDE;
    int channel = i / (SIDE * SIDE) % 3;
    long long image = i / (3 * SIDE * SIDE);
    Window window = windows[image];
    const unsigned char *plane = store + ((long long)rows[image] * 3 + channel) * SIDE * SIDE;
    Tap across = tap(window.mirrored ? SIDE - 1 - column : column, window.width);
    Tap down = tap(row, window.height);
    float ends[2];
    for (int k = 0; k < 2; k++) {
        int from = window.top + (k ? down.second : down.first);
        ends[k] = blend(across, byte_at(plane, from, window.left + across.first),
                        byte_at(plane, from, window.left + across.second));
    }
    to[i] = __fdiv_rn(blend(down, ends[0], ends[1]), 255.0f);
}
