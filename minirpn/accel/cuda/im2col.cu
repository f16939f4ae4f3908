// Columns for the operations conv2d, conv2d_dx and conv2d_dweight. A plane is one channel of one
// image.
#include "common.cuh"

// columns (planes, kh kw, rows Wo) of x (planes, H, W): the windows of `rows` output rows from
// `first` on. Threads: outputs of these rows across, planes down.
extern "C" __global__ void im2col(
    const real* x, real* columns, int planes, int H, int W, int first, int rows, int Wo,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int padding_h, int padding_w
) {
    int output = thread_number();
    if (output >= rows * Wo) return;
    int i = first + output / Wo, j = output % Wo;
    int top = i * stride_h - padding_h, left = j * stride_w - padding_w;
    for (int plane = blockIdx.y; plane < planes; plane += gridDim.y) {
        const real* image = x + (size_t)plane * H * W;
        for (int p = 0; p < kernel_h; p++)
            for (int q = 0; q < kernel_w; q++) {
                int row = top + p, column = left + q;
                bool inside = row >= 0 && row < H && column >= 0 && column < W;
                size_t tap = ((size_t)plane * kernel_h + p) * kernel_w + q;
                columns[tap * rows * Wo + output] = inside ? image[row * W + column] : 0;
            }
    }
}

// Add dcolumns (planes, kh kw, rows Wo) to the pixels of dx (planes, H, W) that the columns came
// from: `height` rows of pixels from `above` on. Each pixel adds what it gets, tap by tap. Threads:
// pixels of these rows across, planes down.
extern "C" __global__ void col2im(
    const real* dcolumns, real* dx, int planes, int H, int W, int above, int height, int first,
    int rows, int Wo, int kernel_h, int kernel_w, int stride_h, int stride_w, int padding_h,
    int padding_w
) {
    int pixel = thread_number();
    if (pixel >= height * W) return;
    int row = above + pixel / W, column = pixel % W;
    for (int plane = blockIdx.y; plane < planes; plane += gridDim.y) {
        size_t place = ((size_t)plane * H + row) * W + column;
        real sum = dx[place];
        for (int p = 0; p < kernel_h; p++) {
            // Row i of the output meets this pixel with tap p if i stride_h is this.
            int below = row + padding_h - p, i = below / stride_h - first;
            if (below < 0 || below % stride_h || i < 0 || i >= rows) continue;
            for (int q = 0; q < kernel_w; q++) {
                int behind = column + padding_w - q, j = behind / stride_w;
                if (behind < 0 || behind % stride_w || j >= Wo) continue;
                size_t tap = ((size_t)plane * kernel_h + p) * kernel_w + q;
                sum += dcolumns[tap * rows * Wo + i * Wo + j];
            }
        }
        dx[place] = sum;
    }
}
