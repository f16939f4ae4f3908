// The ladder nms. nms_loops in nms.py asks of each box whether one that stayed covers it. Here all
// pairs of some boxes in a row (a tile) and those behind are compared at once, and the answers are
// bits, 64 boxes in a word; what is left to be done in order is a walk down the bits.
#include "common.cuh"
#include "pair_iou.cuh"

typedef unsigned long long word;

__device__ inline bool holds(word bits, int k) { return bits >> k & 1; }

// mask (words, rows): the boxes of a word that the tile's box `first + row` covers; they are
// behind it. Rows of boxes that are gone stay as they were. Threads: row across, words from the
// tile's first one on down.
extern "C" __global__ void nms_mask(
    const real* boxes, const word* gone, word* mask, int N, int words, int first, int rows,
    real iou_threshold
) {
    int row = thread_number();
    if (row >= rows) return;
    int better = first + row;
    if (holds(gone[better / 64], better % 64)) return;
    for (int w = first / 64 + blockIdx.y; w < words; w += gridDim.y) {
        word covered = 0;
        for (int k = 0; k < 64; k++) {
            int candidate = 64 * w + k;
            if (candidate <= better || candidate >= N) continue;
            if (pair_iou(boxes + 4 * better, boxes + 4 * candidate) > iou_threshold)
                covered |= (word)1 << k;
        }
        mask[(size_t)w * rows + row] = covered;
    }
}

// Walk down the tile: a box that is not gone stays, and those it covers are gone. `kept` and
// `count` go on where the tile before ended: count[0] is how many had stayed then, count[1] how
// many have stayed now. Threads: one.
extern "C" __global__ void nms_settle(
    const word* mask, word* gone, long long* kept, int* count, int first, int rows, int max_keep
) {
    if (thread_number() > 0) return;
    int stayed = count[1];
    count[0] = stayed;
    for (int row = 0; row < rows && stayed < max_keep; row++) {
        int candidate = first + row;
        if (holds(gone[candidate / 64], candidate % 64)) continue;
        kept[stayed++] = candidate;
        for (int w = candidate / 64; w <= (first + rows - 1) / 64; w++)
            gone[w] |= mask[(size_t)w * rows + row];
    }
    count[1] = stayed;
}

// What those of the tile that stayed cover behind it is gone. Threads: words behind it across.
extern "C" __global__ void nms_spread(
    const word* mask, word* gone, const long long* kept, const int* count, int words, int first,
    int rows
) {
    int w = (first + rows) / 64 + thread_number();
    if (w >= words) return;
    for (int k = count[0]; k < count[1]; k++)
        gone[w] |= mask[(size_t)w * rows + kept[k] - first];
}
