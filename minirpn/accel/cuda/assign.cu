// The operations assign and label. Read beside `assign` in loops.py, whose two walks are
// two kernels here, and `label` there, which is told by the same two what it asks of each.
#include "common.cuh"
#include "pair_iou.cuh"

// Replace *maximum by a number that is larger. Both are at least 0, and such numbers are in the
// order of their bits, read as whole numbers; so the threads' order makes no difference.
__device__ inline void raise_to(double* maximum, double number) {
    atomicMax((unsigned long long*)maximum, (unsigned long long)__double_as_longlong(number));
}

// The first walk for one anchor: its best overlap, and which ground truth that is with. Where it is
// eligible, it may be the best of each ground truth.
__device__ inline void meet_all(
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

// The second walk for one eligible anchor that touches something.
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
    meet_all(
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

// As assign_maxima; eligible are the anchors inside of the image, or all. Threads: k across.
extern "C" __global__ void label_maxima(
    const real* anchors, const real* gt_boxes, double* max_iou, long long* matched_gt,
    double* gt_max_iou, int K, int M, int height, int width, int inside_only
) {
    int k = thread_number();
    if (k >= K) return;
    const real* anchor = anchors + 4 * k;
    bool eligible = !inside_only || is_inside(anchor, height, width);
    meet_all(anchor, gt_boxes, eligible, max_iou + k, matched_gt + k, gt_max_iou, M);
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
