// The ladders max_pool2d and max_pool2d_dx. Read beside the loops in max_pool2d.py. A plane is one
// channel of one image.
#include "common.cuh"

// y and winner (planes, Ho, Wo) of x (planes, H, W). Without need_winner, that one is not written.
// Threads: outputs of a plane across, planes down.
extern "C" __global__ void max_pool2d(
    const real* x, real* y, int* winner, int need_winner, int planes, int H, int W, int Ho, int Wo,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int padding_h, int padding_w
) {
    int output = thread_number();
    if (output >= Ho * Wo) return;
    int i = output / Wo, j = output % Wo;
    int top = i * stride_h - padding_h, left = j * stride_w - padding_w;
    for (int plane = blockIdx.y; plane < planes; plane += gridDim.y) {
        const real* image = x + (size_t)plane * H * W;
        real best = 0;  // of no meaning until the first tap
        int best_tap = -1;
        // Only pixels of the image compete, so padding never wins.
        for (int row = max(top, 0); row < min(top + kernel_h, H); row++)
            for (int column = max(left, 0); column < min(left + kernel_w, W); column++) {
                real value = image[row * W + column];
                if (value > best || value != value || best_tap < 0) {
                    best = value;
                    best_tap = (row - top) * kernel_w + column - left;
                }
            }
        size_t place = (size_t)plane * Ho * Wo + output;
        y[place] = best;
        if (need_winner) winner[place] = best_tap;
    }
}

// dx (planes, H, W): each pixel gathers from the outputs whose window it won, in their order, so
// that its sum is that of the loops, bit by bit. Threads: pixels of a plane across, planes down.
extern "C" __global__ void max_pool2d_dx(
    const real* dy, const int* winner, real* dx, int planes, int H, int W, int Ho, int Wo,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int padding_h, int padding_w
) {
    int pixel = thread_number();
    if (pixel >= H * W) return;
    int row = pixel / W, column = pixel % W;
    // Windows that begin after the pixel, or end before it, do not have it.
    int last_i = min((row + padding_h) / stride_h, Ho - 1);
    int last_j = min((column + padding_w) / stride_w, Wo - 1);
    int first_i = max(row + padding_h - kernel_h + stride_h, 0) / stride_h;
    int first_j = max(column + padding_w - kernel_w + stride_w, 0) / stride_w;
    for (int plane = blockIdx.y; plane < planes; plane += gridDim.y) {
        real sum = 0;
        for (int i = first_i; i <= last_i; i++)
            for (int j = first_j; j <= last_j; j++) {
                size_t output = ((size_t)plane * Ho + i) * Wo + j;
                int top = i * stride_h - padding_h, left = j * stride_w - padding_w;
                if (winner[output] == (row - top) * kernel_w + column - left) sum += dy[output];
            }
        dx[(size_t)plane * H * W + pixel] = sum;
    }
}
