// Operations on maps (N,C,H,W): relu, the bias of a convolution, max_pool2d, and their gradients.
// Read beside them in loops.py.
//
// Maps lie as rows in memory. With channels last a row is one of an image, (N H, W C); otherwise it
// is a channel, (N C, H W). Either way, neighbouring threads have neighbouring numbers.
#include "common.cuh"

// --- relu and bias ---

// A thread has `EACH` numbers of a row, far apart, so that neighbouring threads read neighbouring
// numbers. It reads all of them before it writes one: a device is faster when it waits for many
// numbers at a time.
enum { EACH = 4 };
// For the sum of rows: how many a thread adds, and how many sums it has at the same time.
enum { SUMMED = 64, AT_ONCE = 8 };

// y = max(x, 0), a NaN stays one; both (rows, across). Threads: a quarter of `across`, rows down.
extern "C" __global__ void relu(const real* x, real* y, int rows, int across) {
    int quarter = (across + EACH - 1) / EACH, first = thread_number();
    if (first >= quarter) return;
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        const real* own = x + (size_t)row * across;
        real values[EACH];
        for (int k = 0; k < EACH; k++) {
            int place = first + k * quarter;
            if (place < across) values[k] = own[place];
        }
        for (int k = 0; k < EACH; k++) {
            int place = first + k * quarter;
            if (place < across) y[(size_t)row * across + place] = values[k] < 0 ? 0 : values[k];
        }
    }
}

// dx = dy where y is positive, and 0 elsewhere; all (rows, across). Threads: as above.
extern "C" __global__ void relu_dx(
    const real* dy, const real* y, real* dx, int rows, int across
) {
    int quarter = (across + EACH - 1) / EACH, first = thread_number();
    if (first >= quarter) return;
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        size_t start = (size_t)row * across;
        real values[EACH], outputs[EACH];
        for (int k = 0; k < EACH; k++) {
            int place = first + k * quarter;
            if (place >= across) continue;
            values[k] = dy[start + place];
            outputs[k] = y[start + place];
        }
        for (int k = 0; k < EACH; k++) {
            int place = first + k * quarter;
            if (place < across) dx[start + place] = outputs[k] > 0 ? values[k] : 0;
        }
    }
}

// Add to y (rows, across), in place, the bias of its channel; then replace negative numbers by 0 if
// `relu`. Threads: a quarter of `across`, rows down.
extern "C" __global__ void add_bias(
    real* y, const real* bias, int rows, int across, int channels, int channels_last, int relu
) {
    int quarter = (across + EACH - 1) / EACH, first = thread_number();
    if (first >= quarter) return;
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        real* own = y + (size_t)row * across;
        real values[EACH];
        for (int k = 0; k < EACH; k++) {
            int place = first + k * quarter;
            if (place < across) values[k] = own[place];
        }
        for (int k = 0; k < EACH; k++) {
            int place = first + k * quarter;
            if (place >= across) continue;
            real value = values[k] + bias[channels_last ? place % channels : row % channels];
            own[place] = relu && value < 0 ? 0 : value;
        }
    }
}

// sums (parts, C) of x (rows, C): each of `SUMMED` consecutive rows, always added in the same
// order. They are few rows, so that there are very many threads. Threads: parts times channels
// across.
extern "C" __global__ void sums_of_rows(const real* x, real* sums, int rows, int C) {
    int place = thread_number(), parts = max(1, (rows + SUMMED - 1) / SUMMED);
    if (place >= parts * C) return;
    int first = place / C * SUMMED, end = min(first + SUMMED, rows);
    const real* own = x + place % C;
    real several[AT_ONCE] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int row = first; row < end; row += AT_ONCE)
        for (int k = 0; k < AT_ONCE; k++)
            if (row + k < end) several[k] += own[(size_t)(row + k) * C];
    real sum = 0;
    for (int k = 0; k < AT_ONCE; k++) sum += several[k];
    sums[place] = sum;
}

// --- max pooling ---

// The place of a thread in its row of (N,C,H,W): row and column of its pixel; the step from pixel
// to pixel of a channel in memory; and where that channel starts in maps of `pixels` pixels.
struct Place { int i, j, step; size_t start; };

__device__ inline Place place_of(
    int row, int across, int channels, int H, int W, int pixels, int channels_last
) {
    Place at;
    if (channels_last) {
        at.i = row % H;
        at.j = across / channels;
        at.step = channels;
        at.start = (size_t)(row / H) * pixels * channels + across % channels;
    } else {
        at.i = across / W;
        at.j = across % W;
        at.step = 1;
        at.start = (size_t)row * pixels;
    }
    return at;
}

// y and winner of x (N,C,H,W); the latter only if need_winner. Threads: numbers of a row of y
// across, its rows down.
extern "C" __global__ void max_pool2d(
    const real* x, real* y, int* winner, int need_winner, int out_rows, int out_across,
    int channels, int channels_last, int H, int W, int Ho, int Wo, int kernel_h, int kernel_w, int stride_h,
    int stride_w, int padding_h, int padding_w
) {
    int across = thread_number();
    if (across >= out_across) return;
    for (int out_row = blockIdx.y; out_row < out_rows; out_row += gridDim.y) {
        Place at = place_of(out_row, across, channels, Ho, Wo, H * W, channels_last);
        const real* image = x + at.start;
        int top = at.i * stride_h - padding_h, left = at.j * stride_w - padding_w;
        real best = 0;  // means nothing before the first tap
        int best_tap = -1;
        // Only pixels of the image compete, so padding never wins.
        for (int row = max(top, 0); row < min(top + kernel_h, H); row++)
            for (int column = max(left, 0); column < min(left + kernel_w, W); column++) {
                real value = image[((size_t)row * W + column) * at.step];
                if (value > best || value != value || best_tap < 0) {
                    best = value;
                    best_tap = (row - top) * kernel_w + column - left;
                }
            }
        size_t place = (size_t)out_row * out_across + across;
        y[place] = best;
        if (need_winner) winner[place] = best_tap;
    }
}

// dx (N,C,H,W): each pixel adds the gradients of the outputs whose window it won, in the order of
// the loops, so that the sums are equal bit by bit. Threads: numbers of a row of dx across, its
// rows down.
extern "C" __global__ void max_pool2d_dx(
    const real* dy, const int* winner, real* dx, int in_rows, int in_across, int channels,
    int channels_last, int H, int W, int Ho, int Wo, int kernel_h, int kernel_w, int stride_h,
    int stride_w, int padding_h, int padding_w
) {
    int across = thread_number();
    if (across >= in_across) return;
    for (int in_row = blockIdx.y; in_row < in_rows; in_row += gridDim.y) {
        Place at = place_of(in_row, across, channels, H, W, Ho * Wo, channels_last);
        // Windows that begin after the pixel, or end before it, do not contain it.
        int last_i = min((at.i + padding_h) / stride_h, Ho - 1);
        int last_j = min((at.j + padding_w) / stride_w, Wo - 1);
        int first_i = max(at.i + padding_h - kernel_h + stride_h, 0) / stride_h;
        int first_j = max(at.j + padding_w - kernel_w + stride_w, 0) / stride_w;
        real sum = 0;
        for (int i = first_i; i <= last_i; i++)
            for (int j = first_j; j <= last_j; j++) {
                size_t output = at.start + ((size_t)i * Wo + j) * at.step;
                int top = i * stride_h - padding_h, left = j * stride_w - padding_w;
                if (winner[output] == (at.i - top) * kernel_w + at.j - left) sum += dy[output];
            }
        dx[(size_t)in_row * in_across + across] = sum;
    }
}
