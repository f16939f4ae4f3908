// The losses of eq. 1 and their gradients. Read beside those in loops.py. Python's numbers come in
// as NumPy would round them in a formula with an array of `real`.
#include "common.cuh"

// Return the target of row k from numbers of one byte, or of eight.
__device__ inline long long target_of(const signed char* targets, int bytes, int k) {
    return bytes == 1 ? targets[k] : ((const long long*)targets)[k];
}

// row_losses[k] = weights[k] (-log softmax(logits[k])[targets[k]]), 0 where the target is no class,
// and probabilities[k] = softmax(logits[k]). logits, probabilities (K,L), the rest (K,). Threads:
// rows. exp and log are those of double, wrong by a last bit at most: CUDA's exp of a float has an
// approximation in it.
extern "C" __global__ void softmax_cross_entropy(
    const real* logits, const signed char* targets, int bytes, const real* weights,
    real* row_losses, real* probabilities, int K, int L
) {
    int k = thread_number();
    if (k >= K) return;
    const real* row = logits + (size_t)k * L;
    real* own = probabilities + (size_t)k * L;
    real largest = 0, total = 0, log_loss = 0;
    for (int l = 0; l < L; l++) largest = l ? most(largest, row[l]) : row[l];
    for (int l = 0; l < L; l++) {
        own[l] = (real)exp((double)(row[l] - largest));
        total += own[l];
    }
    for (int l = 0; l < L; l++) own[l] /= total;
    long long target = target_of(targets, bytes, k);
    if (0 <= target && target < L)
        log_loss = (real)log((double)total) - (row[target] - largest);
    row_losses[k] = weights[k] * log_loss;
}

// dlogits[k, l] = (probabilities[k, l] - [l is targets[k]]) dloss weights[k]. Threads: K L.
extern "C" __global__ void softmax_cross_entropy_dx(
    const real* probabilities, const signed char* targets, int bytes, const real* weights,
    real* dlogits, int K, int L, real dloss
) {
    int place = thread_number();
    if (place >= K * L) return;
    int k = place / L, l = place % L;
    int wanted = l == target_of(targets, bytes, k);
    dlogits[place] = (probabilities[place] - wanted) * (dloss * weights[k]);
}

// y = half x^2 where |x| < turn, |x| - rest elsewhere; both (P,). Threads: P.
extern "C" __global__ void smooth_l1(
    const real* x, real* y, int P, real half, real turn, real rest
) {
    int place = thread_number();
    if (place >= P) return;
    real number = x[place], size = number < 0 ? -number : number;
    y[place] = size < turn ? half * number * number : size - rest;
}

// dx = dy times the slope, `steep` x limited to -1 and 1. x, dx (P,); dy (P / each,), a number for
// each `each` numbers of x. Threads: P.
extern "C" __global__ void smooth_l1_dx(
    const real* dy, const real* x, real* dx, int P, int each, real steep
) {
    int place = thread_number();
    if (place >= P) return;
    real slope = steep * x[place];
    dx[place] = dy[place / each] * (slope < -1 ? -1 : slope > 1 ? 1 : slope);
}
