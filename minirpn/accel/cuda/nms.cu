// The operation nms. `nms` in loops.py asks of each box whether one that stayed covers it. Here the
// boxes of a run are compared with all behind them at once, and the answers are bits, 64 boxes in a
// word. What has to be done in order is a walk down the run's words, by one block. All runs are
// queued at once; those after the last box that stays return as soon as they begin.
#include "common.cuh"
#include "pair_iou.cuh"

typedef unsigned long long word;
enum { WORD = 64 };   // boxes in a word
enum { BATCH = 16 };  // words that a thread asks the memory for before it waits for the first

// mask (rows, width), width being the words from the run's first one on: the boxes of a word that
// box `first + row` covers; they are behind it. What lies before a row's own word stays as it was,
// and so do rows of boxes that are gone. Threads: row across, words down.
extern "C" __global__ void nms_mask(
    const real* boxes, const word* gone, const int* stayed, word* mask, int N, int words, int first,
    int rows, int max_keep, real iou_threshold
) {
    int row = thread_number(), width = words - first / WORD;
    if (row >= rows || *stayed >= max_keep) return;
    int better = first + row;
    if (gone[better / WORD] >> better % WORD & 1) return;
    const real* box = boxes + 4 * (size_t)better;
    for (int column = blockIdx.y; column < width; column += gridDim.y) {
        int w = first / WORD + column;
        if (w < better / WORD) continue;
        const real* candidates = boxes + 4 * (size_t)WORD * w;
        int count = min(WORD, N - WORD * w);
        word covered = 0;
        for (int k = max(0, better + 1 - WORD * w); k < count; k++)
            if (pair_iou(box, candidates + 4 * k) > iou_threshold) covered |= (word)1 << k;
        mask[(size_t)row * width + column] = covered;
    }
}

// Walk down a run: a box that is not gone stays, and those it covers are gone. `kept` and `stayed`
// go on where the run before ended. Word by word one thread finds which boxes stay, from shared
// memory, and all threads gather what these cover behind it. Threads: one block, at least WORD.
extern "C" __global__ void nms_settle(
    const word* mask, word* gone, long long* kept, int* stayed, int words, int first, int rows,
    int max_keep
) {
    __shared__ word covers[WORD];     // what each box of the word covers in that word
    __shared__ word stays;            // which boxes of the word stay
    __shared__ size_t stay_at[WORD];  // where the rows of these begin in the mask
    int t = threadIdx.x, width = words - first / WORD, count = *stayed;
    if (count >= max_keep) return;
    word gone_next = gone[first / WORD];  // in thread 0
    word covers_next = t < WORD && t < rows ? mask[(size_t)t * width] : 0;
    for (int row = 0, column = 0; row < rows && count < max_keep; row += WORD, column++) {
        if (t < WORD) covers[t] = covers_next;
        __syncthreads();
        // Asked for now, so that the memory has answered when the next turn needs it.
        int later = row + WORD + t;
        covers_next = t < WORD && later < rows ? mask[(size_t)later * width + column + 1] : 0;
        if (t == 0) {
            word gone_here = gone_next;
            if (rows - row < WORD) gone_here |= ~(word)0 << (rows - row);  // beyond the last box
#pragma unroll
            for (int k = 0; k < WORD; k++)
                if (!(gone_here >> k & 1)) gone_here |= covers[k];
            stays = ~gone_here;
        }
        __syncthreads();
        int staying = __popcll(stays);
        if (t < WORD && stays >> t & 1) {
            int before = __popcll(stays & (((word)1 << t) - 1));
            stay_at[before] = (size_t)(row + t) * width;
            if (before < max_keep - count) kept[count + before] = first + row + t;
        }
        __syncthreads();
        count += staying;
        for (int behind = column + 1 + t; behind < width; behind += blockDim.x) {
            word covered = gone[first / WORD + behind];
            for (int n = 0; n < staying; n += BATCH)
                // A batch that is not full has the last row again and again, which adds nothing.
#pragma unroll
                for (int k = n; k < n + BATCH; k++)
                    covered |= mask[stay_at[min(k, staying - 1)] + behind];
            gone[first / WORD + behind] = covered;
            if (behind == column + 1) gone_next = covered;
        }
    }
    if (t == 0) *stayed = min(count, max_keep);
}
