// The operation square_sums in two launches for all arrays: a sum a block, then those together.
// Sums are double, of which no float is too large to be squared, and in an order that the sizes of
// the arrays give: the same numbers have the same sum, every time.
#include "common.cuh"
#include "chunks.cuh"

// The words of a row; the address is that of the first element.
struct Summand {
    word first_block, count;
    const real* array;
};

enum { MOST_THREADS = 256 };  // in a block; their number is a power of two

// The sum of what the threads of a block have put side by side, in pairs, then pairs of pairs.
__device__ inline double sum_of_block(double* of_threads) {
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half) of_threads[threadIdx.x] += of_threads[threadIdx.x + half];
        __syncthreads();
    }
    return of_threads[0];
}

// of_blocks (blocks). Threads of a block: elements of a chunk, side by side.
extern "C" __global__ void square_sums_of_chunks(
    const word* table, int rows, int chunk, double* of_blocks
) {
    __shared__ double of_threads[MOST_THREADS];
    const int words = sizeof(Summand) / sizeof(word);
    const Summand& of = ((const Summand*)table)[row_of_block(table, rows, words)];
    word begin = (blockIdx.x - of.first_block) * chunk;
    word end = begin + chunk < of.count ? begin + chunk : of.count;
    double sum = 0;
    for (word k = begin + threadIdx.x; k < end; k += blockDim.x) {
        double number = of.array[k];
        sum += number * number;
    }
    of_threads[threadIdx.x] = sum;
    __syncthreads();
    sum = sum_of_block(of_threads);
    if (threadIdx.x == 0) of_blocks[blockIdx.x] = sum;
}

// sums (rows), or (1) of all together. Blocks: sums; threads of a block: what is to be added.
extern "C" __global__ void square_sums_of_arrays(
    const word* table, int rows, int blocks, int together, const double* of_blocks, real* sums
) {
    __shared__ double of_threads[MOST_THREADS];
    const Summand* of = (const Summand*)table + blockIdx.x;
    int begin = together ? 0 : of->first_block;
    int end = together || (int)blockIdx.x + 1 == rows ? blocks : of[1].first_block;
    double sum = 0;
    for (int k = begin + threadIdx.x; k < end; k += blockDim.x) sum += of_blocks[k];
    of_threads[threadIdx.x] = sum;
    __syncthreads();
    sum = sum_of_block(of_threads);
    if (threadIdx.x == 0) sums[blockIdx.x] = (real)sum;
}
