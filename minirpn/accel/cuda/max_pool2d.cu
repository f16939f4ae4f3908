// The operations max_pool2d and max_pool2d_dx. Read beside them in loops.py. Maps lie as
// rows of memory: with channels last a row is one of an image, (N H, W C), otherwise a channel of
// one, (N C, H W). Neighbouring threads have neighbouring numbers, either way.
#include "common.cuh"

// Where a thread is in its row of (N,C,H,W): the row and the column of its pixel, how far the pixels
// of its map are apart in memory, and where the first lies in maps that are `pixels` large.
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

// y and winner of x (N,C,H,W). Without need_winner, that one is not written. Threads: numbers of
// a row of y across, its rows down.
extern "C" __global__ void max_pool2d(
    const real* x, real* y, int* winner, int need_winner, int out_rows, int out_across, int channels,
    int channels_last, int H, int W, int Ho, int Wo, int kernel_h, int kernel_w, int stride_h,
    int stride_w, int padding_h, int padding_w
) {
    int across = thread_number();
    if (across >= out_across) return;
    for (int out_row = blockIdx.y; out_row < out_rows; out_row += gridDim.y) {
        Place at = place_of(out_row, across, channels, Ho, Wo, H * W, channels_last);
        const real* image = x + at.start;
        int top = at.i * stride_h - padding_h, left = at.j * stride_w - padding_w;
        real best = 0;  // of no meaning until the first tap
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

// dx (N,C,H,W): each pixel gathers from the outputs whose window it won, in their order, so that
// its sum is that of the loops, bit by bit. Threads: numbers of a row of dx across, its rows down.
extern "C" __global__ void max_pool2d_dx(
    const real* dy, const int* winner, real* dx, int in_rows, int in_across, int channels,
    int channels_last, int H, int W, int Ho, int Wo, int kernel_h, int kernel_w, int stride_h,
    int stride_w, int padding_h, int padding_w
) {
    int across = thread_number();
    if (across >= in_across) return;
    for (int in_row = blockIdx.y; in_row < in_rows; in_row += gridDim.y) {
        Place at = place_of(in_row, across, channels, H, W, Ho * Wo, channels_last);
        // Windows that begin after the pixel, or end before it, do not have it.
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
