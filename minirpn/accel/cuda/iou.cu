// The operation iou. Read beside `iou` in minirpn/loops.py.
#include "common.cuh"
#include "pair_iou.cuh"

// overlaps (N, M) of a (N, 4) and b (M, 4). Threads: m across, n down.
extern "C" __global__ void iou(const real* a, const real* b, real* overlaps, int N, int M) {
    int m = thread_number();
    if (m >= M) return;
    for (int n = blockIdx.y; n < N; n += gridDim.y)
        overlaps[(size_t)n * M + m] = pair_iou(a + 4 * n, b + 4 * m);
}
