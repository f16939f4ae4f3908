// The bias of a convolution, and its gradient: the operation conv2d_dbias. Read beside nn/conv.py. A
// thread that adds the bias has `EACH` numbers, as in relu.cu.
#include "common.cuh"

enum { EACH = 4, SUMMED = 64, AT_ONCE = 8 };

// Add to y in place the bias of its channel, and cut off what is negative if `relu`. y lies
// as rows of `across` numbers: with channels last a row is one of an image, (N H, W C), otherwise
// a channel of one, (N C, H W). Threads: a quarter of `across`, rows down.
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

// sums (parts, C) of x (rows, C): each of `SUMMED` rows in a row, in an order of its own that is
// always the same. So little for a thread, because there shall be very many of them. Threads:
// parts times channels across.
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
