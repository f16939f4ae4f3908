// The operations relu and relu_dx. Read beside them in loops.py. A thread has `EACH` numbers of a
// row of memory, far apart, so that neighbouring threads read neighbouring numbers; it reads them
// all before it writes one, for a device is quicker the more is on its way.
#include "common.cuh"

enum { EACH = 4 };

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
