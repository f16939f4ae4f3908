// The operations roi_pool and roi_pool_dx. Read beside them in loops.py.
#include "common.cuh"

// Cells. What lies farther out counts as lying here.
const double FAR = 1 << 30;

// The nearest whole number, halves away from zero.
__device__ inline long long rounded(double position) {
    double size = position < 0 ? -position : position;
    if (size > FAR) size = FAR;
    long long whole = (long long)size;
    if (size - whole >= 0.5) whole += 1;
    return position >= 0 ? whole : -whole;
}

__device__ inline int clipped(long long cell, int size) {
    return cell < 0 ? 0 : cell > size ? size : (int)cell;
}

// The cells from *start up to *stop of bin k of count, on a map of `size`.
__device__ inline void bin_cells(
    double from, double to, int k, int count, int size, int* start, int* stop
) {
    long long first = rounded(from), last = rounded(to);
    long long length = last - first + 1 > 1 ? last - first + 1 : 1;
    *start = clipped(first + k * length / count, size);
    *stop = clipped(first + ((k + 1) * length + count - 1) / count, size);  // rounded up
}

// y and argmax (R,C,h,w) of features (C,Hf,Wf). The corners (R, 4) are those of the boxes in
// cells, multiplied already: in the boxes' own dtype, which need not be that of the features.
// Threads: channels and bins (C,h,w) across, boxes down.
extern "C" __global__ void roi_pool(
    const real* features, const double* corners, real* y, int* argmax, int R, int C, int Hf, int Wf,
    int h, int w
) {
    int output = thread_number();
    if (output >= C * h * w) return;
    int c = output / (h * w), i = output / w % h, j = output % w;
    for (int r = blockIdx.y; r < R; r += gridDim.y) {
        const double* box = corners + 4 * r;
        double sum = box[0] + box[1] + box[2] + box[3];
        bool of_nan = box[0] != box[0] || box[1] != box[1] || box[2] != box[2] || box[3] != box[3];
        int top = 0, bottom = 0, left = 0, right = 0;
        if (!of_nan) {
            bin_cells(box[1], box[3], i, h, Hf, &top, &bottom);
            bin_cells(box[0], box[2], j, w, Wf, &left, &right);
        }
        real best = of_nan ? (real)sum : 0;  // a sum with a NaN is one
        int winner = -1;
        for (int row = top; row < bottom; row++)
            for (int column = left; column < right; column++) {
                real value = features[((size_t)c * Hf + row) * Wf + column];
                if (value > best || value != value || winner < 0) {
                    best = value;
                    winner = row * Wf + column;
                }
            }
        size_t place = (size_t)r * C * h * w + output;
        y[place] = best;
        argmax[place] = winner;
    }
}

// bounds (R,C,4): first row, first column, last row and last column of the cells that won a bin;
// the first are behind the last where none did. Threads: channels across, boxes down.
extern "C" __global__ void roi_pool_bounds(
    const int* argmax, int* bounds, int R, int C, int Hf, int Wf, int h, int w
) {
    int c = thread_number();
    if (c >= C) return;
    for (int r = blockIdx.y; r < R; r += gridDim.y) {
        const int* winners = argmax + ((size_t)r * C + c) * h * w;
        int top = Hf, left = Wf, bottom = -1, right = -1;
        for (int bin = 0; bin < h * w; bin++) {
            if (winners[bin] < 0) continue;
            int row = winners[bin] / Wf, column = winners[bin] % Wf;
            top = min(top, row);
            left = min(left, column);
            bottom = max(bottom, row);
            right = max(right, column);
        }
        int* here = bounds + 4 * ((size_t)r * C + c);
        here[0] = top;
        here[1] = left;
        here[2] = bottom;
        here[3] = right;
    }
}

// dfeatures (C,Hf,Wf): each cell gathers from the bins it won, in the order of the loops, whose
// sum it has bit by bit. The bounds keep it from asking boxes that are elsewhere. Threads: cells
// of a channel across, channels down.
extern "C" __global__ void roi_pool_dx(
    const real* dy, const int* argmax, const int* bounds, real* dfeatures, int R, int C, int Hf,
    int Wf, int h, int w
) {
    int cell = thread_number();
    if (cell >= Hf * Wf) return;
    int row = cell / Wf, column = cell % Wf;
    for (int c = blockIdx.y; c < C; c += gridDim.y) {
        real sum = 0;
        for (int r = 0; r < R; r++) {
            size_t map = (size_t)r * C + c;
            const int* here = bounds + 4 * map;
            if (row < here[0] || column < here[1] || row > here[2] || column > here[3]) continue;
            for (int bin = 0; bin < h * w; bin++)
                if (argmax[map * h * w + bin] == cell) sum += dy[map * h * w + bin];
        }
        dfeatures[(size_t)c * Hf * Wf + cell] = sum;
    }
}
