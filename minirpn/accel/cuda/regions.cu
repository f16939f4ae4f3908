// The operations on regions of interest: roi_pool, roi_align, and their gradients. Read beside them
// in loops.py.
#include "common.cuh"

// Whether one of the four coordinates of a box is not a number.
template <typename Number>
__device__ inline bool has_nan(const Number* box) {
    return box[0] != box[0] || box[1] != box[1] || box[2] != box[2] || box[3] != box[3];
}

// --- roi_pool ---

// In cells. A position farther out counts as this far.
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

// y and argmax (R,C,h,w) of features (C,Hf,Wf). The corners (R, 4) are those of the boxes in cells.
// They have been scaled in the boxes' own dtype, which may differ from that of the features.
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
        bool of_nan = has_nan(box);
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

// bounds (R,C,4): first row, first column, last row and last column of the cells that won a bin; if
// none did, the first are greater than the last. Threads: channels across, boxes down.
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

// dfeatures (C,Hf,Wf): each cell adds the gradients of the bins it won, in the order of the loops,
// so that the sums are equal bit by bit. With the bounds it skips boxes that are elsewhere.
// Threads: cells of a channel across, channels down.
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

// --- roi_align. Where the samples of a box are is computed once, for all channels and outputs ---

// Where the numbers of a sample are, along one axis: five for each sample.
enum { WEIGHTS = 0, SLOPE = 2, BY_CORNERS = 3, NUMBERS = 5 };

// cells (R, count, 2) and numbers (R, count, 5) of the samples of boxes (R, 4) along an axis, 0 for
// columns and 1 for rows, on a map of `size`. A sample more than a cell off the map has cells -1
// and no numbers. Threads: k across, boxes down.
extern "C" __global__ void roi_align_samples(
    const real* boxes, int* cells, real* numbers, int R, int axis, int count, int size,
    double scale, int aligned
) {
    int k = thread_number();
    if (k >= count) return;
    double t = (k + 0.5) / count;
    for (int r = blockIdx.y; r < R; r += gridDim.y) {
        real first = boxes[4 * r + axis], last = boxes[4 * r + axis + 2];
        real length = (last - first) * (real)scale;
        real by_first = scale * (1 - t), by_last = scale * t;
        if (!aligned && length < 1) {  // one cell, wherever the last corner is
            length = 1;
            by_first = scale;
            by_last = 0;
        }
        real position = first * (real)scale - (real)(aligned ? 0.5 : 0) + length * (real)t;
        int* here = cells + 2 * ((size_t)r * count + k);
        here[0] = here[1] = -1;
        if (!(-1 <= position && position <= size)) continue;  // true for a NaN, too
        bool moves = 0 < position && position < size - 1;
        position = least(most(position, 0), size - 1);
        int low = (int)position;
        real weight = position - low;
        here[0] = low;
        here[1] = min(low + 1, size - 1);
        real* known = numbers + NUMBERS * ((size_t)r * count + k);
        known[WEIGHTS] = 1 - weight;
        known[WEIGHTS + 1] = weight;
        known[SLOPE] = moves;
        known[BY_CORNERS] = by_first;
        known[BY_CORNERS + 1] = by_last;
    }
}

// y (R,C,h,w) of features (C,Hf,Wf). Threads: channels and bins (C,h,w) across, boxes down.
extern "C" __global__ void roi_align(
    const real* features, const real* boxes, const int* row_cells, const real* rows,
    const int* column_cells, const real* columns, real* y, int R, int C, int Hf, int Wf, int h,
    int w, int samples
) {
    int output = thread_number();
    if (output >= C * h * w) return;
    int c = output / (h * w), i = output / w % h, j = output % w;
    const real* map = features + (size_t)c * Hf * Wf;
    for (int r = blockIdx.y; r < R; r += gridDim.y) {
        const real* box = boxes + 4 * r;
        bool of_nan = has_nan(box);
        real sum = of_nan ? box[0] + box[1] + box[2] + box[3] : 0;  // a sum with a NaN is one
        for (int a = 0; a < samples; a++)
            for (int b = 0; b < samples; b++) {
                size_t row = ((size_t)r * h + i) * samples + a;
                size_t column = ((size_t)r * w + j) * samples + b;
                if (row_cells[2 * row] < 0 || column_cells[2 * column] < 0) continue;
                for (int p = 0; p < 2; p++)
                    for (int q = 0; q < 2; q++) {
                        real of_row = rows[NUMBERS * row + WEIGHTS + p];
                        real of_column = columns[NUMBERS * column + WEIGHTS + q];
                        int cell = row_cells[2 * row + p] * Wf + column_cells[2 * column + q];
                        sum += of_row * of_column * map[cell] / (samples * samples);
                    }
            }
        y[(size_t)r * C * h * w + output] = sum;
    }
}

// Tell whether one of the samples of a bin lies between this cell and a neighbour.
__device__ inline bool reaches(const int* cells, int samples, int cell) {
    for (int k = 0; k < 2 * samples; k++)
        if (cells[k] == cell) return true;
    return false;
}

// dfeatures (C,Hf,Wf): each cell adds the gradients of the samples next to it, in the order of the
// loops, so that the sums are equal bit by bit. Threads: cells of a channel across, channels down.
extern "C" __global__ void roi_align_dfeatures(
    const real* dy, const int* row_cells, const real* rows, const int* column_cells,
    const real* columns, real* dfeatures, int R, int C, int Hf, int Wf, int h, int w, int samples
) {
    int cell = thread_number();
    if (cell >= Hf * Wf) return;
    for (int c = blockIdx.y; c < C; c += gridDim.y) {
        real sum = 0;
        for (int r = 0; r < R; r++)
            for (int i = 0; i < h; i++) {
                size_t first_row = ((size_t)r * h + i) * samples;
                if (!reaches(row_cells + 2 * first_row, samples, cell / Wf)) continue;
                for (int j = 0; j < w; j++) {
                    size_t first_column = ((size_t)r * w + j) * samples;
                    if (!reaches(column_cells + 2 * first_column, samples, cell % Wf)) continue;
                    size_t output = (((size_t)r * C + c) * h + i) * w + j;
                    real given = dy[output] / (samples * samples);
                    for (int a = 0; a < samples; a++)
                        for (int b = 0; b < samples; b++)
                            for (int p = 0; p < 2; p++)
                                for (int q = 0; q < 2; q++) {
                                    size_t row = first_row + a, column = first_column + b;
                                    if (row_cells[2 * row + p] != cell / Wf) continue;
                                    if (column_cells[2 * column + q] != cell % Wf) continue;
                                    real of_row = rows[NUMBERS * row + WEIGHTS + p];
                                    sum += given * of_row * columns[NUMBERS * column + WEIGHTS + q];
                                }
                }
            }
        dfeatures[(size_t)c * Hf * Wf + cell] = sum;
    }
}

// parts (R,C,4): what each channel adds to the gradient by a box. Threads: channels across, boxes
// down.
extern "C" __global__ void roi_align_dboxes_parts(
    const real* dy, const real* features, const int* row_cells, const real* rows,
    const int* column_cells, const real* columns, real* parts, int R, int C, int Hf, int Wf, int h,
    int w, int samples
) {
    int c = thread_number();
    if (c >= C) return;
    const real* map = features + (size_t)c * Hf * Wf;
    for (int r = blockIdx.y; r < R; r += gridDim.y) {
        real sums[4] = {0, 0, 0, 0};
        for (int place = 0; place < h * w * samples * samples; place++) {
            int b = place % samples, a = place / samples % samples;
            int j = place / (samples * samples) % w, i = place / (samples * samples) / w;
            size_t row = ((size_t)r * h + i) * samples + a;
            size_t column = ((size_t)r * w + j) * samples + b;
            if (row_cells[2 * row] < 0 || column_cells[2 * column] < 0) continue;
            const real *of_row = rows + NUMBERS * row, *of_column = columns + NUMBERS * column;
            real given = dy[(((size_t)r * C + c) * h + i) * w + j] / (samples * samples);
            real by_row = 0, by_column = 0;  // of this sample, by its position
            // The second cell of each pair gains what the first one loses.
            for (int p = 0; p < 2; p++)
                for (int q = 0; q < 2; q++) {
                    real value = map[row_cells[2 * row + p] * Wf + column_cells[2 * column + q]];
                    by_row += (2 * p - 1) * of_row[SLOPE] * of_column[WEIGHTS + q] * value;
                    by_column += of_row[WEIGHTS + p] * (2 * q - 1) * of_column[SLOPE] * value;
                }
            for (int corner = 0; corner < 2; corner++) {
                sums[2 * corner] += given * by_column * of_column[BY_CORNERS + corner];
                sums[2 * corner + 1] += given * by_row * of_row[BY_CORNERS + corner];
            }
        }
        for (int k = 0; k < 4; k++) parts[4 * ((size_t)r * C + c) + k] = sums[k];
    }
}

// dboxes (R, 4): the sum of the parts, channel by channel. The last bits differ from the loops,
// which add all channels of one sample before the next. Threads: coordinates of all boxes across.
extern "C" __global__ void roi_align_dboxes(const real* parts, real* dboxes, int R, int C) {
    int side = thread_number();
    if (side >= 4 * R) return;
    real sum = 0;
    for (int c = 0; c < C; c++) sum += parts[4 * ((size_t)(side / 4) * C + c) + side % 4];
    dboxes[side] = sum;
}
