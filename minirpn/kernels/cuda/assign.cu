// The ladder assign. Read beside assign_loops in assign.py, whose two walks are two kernels here.
#include "common.cuh"
#include "pair_iou.cuh"

// Replace *maximum by a number that is larger. Both are at least 0, and such numbers are in the
// order of their bits, read as whole numbers; so the threads' order makes no difference.
__device__ inline void raise_to(double* maximum, double number) {
    atomicMax((unsigned long long*)maximum, (unsigned long long)__double_as_longlong(number));
}

// The first walk: max_iou (K,), matched_gt (K,) and gt_max_iou (M,), which holds zeros before.
// Threads: k across.
extern "C" __global__ void assign_maxima(
    const real* anchors, const real* gt_boxes, const bool* eligible, double* max_iou,
    long long* matched_gt, double* gt_max_iou, int K, int M
) {
    int k = thread_number();
    if (k >= K) return;
    double best = 0;
    int match = -1;
    for (int m = 0; m < M; m++) {
        double overlap = pair_iou(anchors + 4 * k, gt_boxes + 4 * m);
        if (overlap > best || m == 0) {
            best = overlap;
            match = m;
        }
        if (eligible[k] && overlap > 0) raise_to(gt_max_iou + m, overlap);
    }
    max_iou[k] = best;
    matched_gt[k] = match;
}

// The second walk: is_best (K,). Threads: k across.
extern "C" __global__ void assign_best(
    const real* anchors, const real* gt_boxes, const bool* eligible, const double* max_iou,
    const double* gt_max_iou, bool* is_best, int K, int M, double tie_tolerance
) {
    int k = thread_number();
    if (k >= K) return;
    is_best[k] = false;
    if (!eligible[k] || max_iou[k] == 0) return;
    for (int m = 0; m < M; m++) {
        double overlap = pair_iou(anchors + 4 * k, gt_boxes + 4 * m);
        if (overlap > 0 && overlap >= gt_max_iou[m] - tie_tolerance) {
            is_best[k] = true;
            break;
        }
    }
}
