// The operation candidates: what an anchor proposes, and how sure it is. Read beside
// `candidates` in loops.py.
#include "common.cuh"

// boxes (K, 4), scores (K,) and large (K,) of anchors and deltas (K, 4) and objectness (K, values),
// one value or two. exp is that of double, wrong by a last bit at most: CUDA's exp of a float has
// an approximation in it. Threads: k across.
extern "C" __global__ void candidates(
    const real* anchors, const real* objectness, const real* deltas, real* boxes, real* scores,
    bool* large, int K, int values, int height, int width, real min_side
) {
    int k = thread_number();
    if (k >= K) return;
    real shortest = 0;
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
        real length = corners[1] - corners[0];
        shortest = axis ? least(shortest, length) : length;
    }
    large[k] = shortest >= min_side;
    real logit = values == 2 ? objectness[2 * k + 1] - objectness[2 * k] : objectness[k];
    real small = (real)exp((double)(logit < 0 ? logit : -logit));
    scores[k] = (logit >= 0 ? 1 : small) / (1 + small);
}
