// Operations on boxes: iou, assign and label, candidates, nms. Read beside them in loops.py.
#include "common.cuh"

// IoU of two boxes (4,): the operations of `pair_iou` in loops.py, in the same order, each rounded
// by itself (see OPTIONS in _load.py), so that both give the same bits.
__device__ inline real pair_iou(const real* a, const real* b) {
    real width = least(a[2], b[2]) - most(a[0], b[0]);
    real height = least(a[3], b[3]) - most(a[1], b[1]);
    if (width <= 0 || height <= 0) return 0;
    real shared = width * height;
    if (shared == 0) return 0;  // two positive sides whose product is too small for the type
    real area_a = (a[2] - a[0]) * (a[3] - a[1]);
    real area_b = (b[2] - b[0]) * (b[3] - b[1]);
    real covered = area_a + area_b - shared;
    return covered > 0 ? shared / covered : 0;  // false for a NaN
}

// overlaps (N, M) of a (N, 4) and b (M, 4). Threads: m across, n down.
extern "C" __global__ void iou(const real* a, const real* b, real* overlaps, int N, int M) {
    int m = thread_number();
    if (m >= M) return;
    for (int n = blockIdx.y; n < N; n += gridDim.y)
        overlaps[(size_t)n * M + m] = pair_iou(a + 4 * n, b + 4 * m);
}

// --- assign and label: the two passes of `assign` in loops.py are two kernels each ---

// Replace *maximum by the number if that is larger. Both are at least 0, and the order of such
// numbers is that of their bits, read as whole numbers. The order of the threads makes no
// difference.
__device__ inline void raise_to(double* maximum, double number) {
    atomicMax((unsigned long long*)maximum, (unsigned long long)__double_as_longlong(number));
}

// The first pass for one anchor: its best overlap, and with which ground truth. If it is eligible,
// its overlaps count for the best one of each ground truth.
__device__ inline void compare_with_all(
    const real* anchor, const real* gt_boxes, bool eligible, double* max_iou, long long* matched_gt,
    double* gt_max_iou, int M
) {
    double best = 0;
    int match = -1;
    for (int m = 0; m < M; m++) {
        double overlap = pair_iou(anchor, gt_boxes + 4 * m);
        if (overlap > best || m == 0) {
            best = overlap;
            match = m;
        }
        if (eligible && overlap > 0) raise_to(gt_max_iou + m, overlap);
    }
    *max_iou = best;
    *matched_gt = match;
}

// The second pass for one eligible anchor that touches a ground truth.
__device__ inline bool is_best_of_one(
    const real* anchor, const real* gt_boxes, const double* gt_max_iou, int M, double tie_tolerance
) {
    for (int m = 0; m < M; m++) {
        double overlap = pair_iou(anchor, gt_boxes + 4 * m);
        if (overlap > 0 && overlap >= gt_max_iou[m] - tie_tolerance) return true;
    }
    return false;
}

// max_iou (K,), matched_gt (K,) and gt_max_iou (M,), which holds zeros before. Threads: k across.
extern "C" __global__ void assign_maxima(
    const real* anchors, const real* gt_boxes, const bool* eligible, double* max_iou,
    long long* matched_gt, double* gt_max_iou, int K, int M
) {
    int k = thread_number();
    if (k >= K) return;
    compare_with_all(
        anchors + 4 * k, gt_boxes, eligible[k], max_iou + k, matched_gt + k, gt_max_iou, M
    );
}

// is_best (K,), after the last maximum. Threads: k across.
extern "C" __global__ void assign_best(
    const real* anchors, const real* gt_boxes, const bool* eligible, const double* max_iou,
    const double* gt_max_iou, bool* is_best, int K, int M, double tie_tolerance
) {
    int k = thread_number();
    if (k >= K) return;
    is_best[k] = eligible[k] && max_iou[k] > 0 &&
        is_best_of_one(anchors + 4 * k, gt_boxes, gt_max_iou, M, tie_tolerance);
}

// Whether an anchor lies wholly inside the image.
__device__ inline bool is_inside(const real* box, int height, int width) {
    return box[0] >= 0 && box[1] >= 0 && box[2] <= width && box[3] <= height;
}

// As assign_maxima; the anchors inside the image are eligible, or all anchors. Threads: k across.
extern "C" __global__ void label_maxima(
    const real* anchors, const real* gt_boxes, double* max_iou, long long* matched_gt,
    double* gt_max_iou, int K, int M, int height, int width, int inside_only
) {
    int k = thread_number();
    if (k >= K) return;
    const real* anchor = anchors + 4 * k;
    bool eligible = !inside_only || is_inside(anchor, height, width);
    compare_with_all(anchor, gt_boxes, eligible, max_iou + k, matched_gt + k, gt_max_iou, M);
}

// labels (K,) and is_best (K,), after the last maximum. Threads: k across.
extern "C" __global__ void label_best(
    const real* anchors, const real* gt_boxes, const double* max_iou, const double* gt_max_iou,
    signed char* labels, bool* is_best, int K, int M, int height, int width, int inside_only,
    double positive_iou, double negative_iou, double tie_tolerance
) {
    int k = thread_number();
    if (k >= K) return;
    const real* anchor = anchors + 4 * k;
    bool eligible = !inside_only || is_inside(anchor, height, width);
    bool best = eligible && max_iou[k] > 0 &&
        is_best_of_one(anchor, gt_boxes, gt_max_iou, M, tie_tolerance);
    is_best[k] = best;
    labels[k] = -1;
    if (eligible && (best || max_iou[k] >= positive_iou)) labels[k] = 1;
    else if (eligible && max_iou[k] < negative_iou) labels[k] = 0;
}

// --- candidates: the box and the score of every anchor ---

// boxes (K, 4), scores (K,) and large (K,) of anchors and deltas (K, 4) and objectness (K, values),
// one value or two. exp is that of double, whose error is a last bit at most: CUDA's exp of a float
// is an approximation. Threads: k across.
extern "C" __global__ void candidates(
    const real* anchors, const real* objectness, const real* deltas, real* boxes, real* scores,
    bool* large, int K, int values, int height, int width, real min_side
) {
    int k = thread_number();
    if (k >= K) return;
    bool large_enough = true;
    for (int axis = 0; axis < 2; axis++) {
        real first = anchors[4 * k + axis], side = anchors[4 * k + axis + 2] - first;
        real center = deltas[4 * k + axis] * side + (first + (real)0.5 * side);
        real half = (real)0.5 * side * (real)exp((double)deltas[4 * k + axis + 2]);
        real far = axis ? height : width, corners[2] = {center - half, center + half};
        for (int corner = 0; corner < 2; corner++) {
            real place = corners[corner];
            place = place < 0 ? 0 : place;
            corners[corner] = place > far ? far : place;
            boxes[4 * k + axis + 2 * corner] = corners[corner];
        }
        large_enough = large_enough && corners[1] - corners[0] >= min_side;  // false for a NaN
    }
    large[k] = large_enough;
    real logit = values == 2 ? objectness[2 * k + 1] - objectness[2 * k] : objectness[k];
    real small = (real)exp((double)(logit < 0 ? logit : -logit));
    scores[k] = (logit >= 0 ? 1 : small) / (1 + small);
}

// --- nms ---
//
// The loops ask of each box whether one that stayed covers it. Here each box of a run is compared
// with all boxes after it in parallel, and the answers are bits, 64 boxes in a word. Only deciding
// which boxes stay has to go in order, word by word, and one block does it. All runs are queued
// together; those after the last box that stays return immediately.

typedef unsigned long long word;
enum { WORD = 64 };   // boxes in a word
enum { BATCH = 16 };  // words that a thread reads from memory before it waits for the first

// mask (rows, width), where width counts the words from the run's first one on: the later boxes, as
// bits of each word, that box `first + row` covers. Words before a row's own one are not written,
// nor are rows of boxes that are gone. Threads: row across, words down.
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

// Decide which boxes of a run stay: a box that is not gone stays, and the boxes it covers are gone.
// `kept` and `stayed` continue those of the run before. Word by word, one thread finds which boxes
// stay, from shared memory, and all threads collect the later boxes that these cover. Threads: one
// block, at least WORD.
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
        // Read now, so that the number has come from memory when the next turn needs it.
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
                // A batch that is not full repeats the last row, which adds nothing.
#pragma unroll
                for (int k = n; k < n + BATCH; k++)
                    covered |= mask[stay_at[min(k, staying - 1)] + behind];
            gone[first / WORD + behind] = covered;
            if (behind == column + 1) gone_next = covered;
        }
    }
    if (t == 0) *stayed = min(count, max_keep);
}
