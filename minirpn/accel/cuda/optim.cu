// The operations sgd, adamw and square_sums, which work on many arrays in one launch.
#include "common.cuh"

// A table of 64-bit words says where the arrays are; `table_of` in optim.py makes it. A row is
// about one array, and begins with the number of the first block that works on it, and with its
// number of elements. A block works on one chunk of one array.
typedef unsigned long long word;

// Which row this block works on: the last one that begins at its number or before.
__device__ inline int row_of_block(const word* table, int rows, int words) {
    int low = 0, high = rows;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (table[(size_t)middle * words] <= blockIdx.x) low = middle;
        else high = middle;
    }
    return low;
}

// --- sgd: the operations of `move` in nn/optim.py in the same order, each rounded by itself ---

// The words of a row; an address is that of the first element.
struct Parameter {
    word first_block, count;
    const real* value;
    real* moved;  // the new value
    real* velocity;
    const real* grad;
    double rate, decay;
};

// Threads of a block: elements of a chunk, side by side.
extern "C" __global__ void sgd(
    const word* table, int rows, int chunk, double momentum, int caffe
) {
    const int words = sizeof(Parameter) / sizeof(word);
    int row = row_of_block(table, rows, words);
    const Parameter& of = ((const Parameter*)table)[row];
    // Array code rounds a number of Python's to the dtype of the array it is multiplied with.
    const real rate = (real)of.rate, decay = (real)of.decay, kept = (real)momentum;
    const real* value = of.value;
    const real* grad = of.grad;
    real* velocity = of.velocity;
    real* moved = of.moved;
    word begin = (blockIdx.x - of.first_block) * chunk, count = of.count;
    word end = begin + chunk < count ? begin + chunk : count;
    for (word k = begin + threadIdx.x; k < end; k += blockDim.x) {
        real change = value[k] * decay + grad[k];
        real step = velocity[k] * kept;
        if (caffe) {
            step += change * rate;
            moved[k] = value[k] - step;
        } else {
            step += change;
            moved[k] = value[k] - step * rate;
        }
        velocity[k] = step;
    }
}

// --- adamw: the operations of `move_by_adam` in nn/adam.py, likewise ---

// The words of a row, as above.
struct AveragedParameter {
    word first_block, count;
    const real* value;
    real* moved;  // the new value
    real* mean;
    real* square;
    const real* grad;
    double rate, decay;
};

// The factors of both averages, what is left of 1 after them, and how much of the averages is not
// the zeros that they started from. Threads of a block: elements of a chunk, side by side.
extern "C" __global__ void adamw(
    const word* table, int rows, int chunk, double kept_mean, double kept_square,
    double added_mean, double added_square, double share_mean, double share_square, double epsilon
) {
    const int words = sizeof(AveragedParameter) / sizeof(word);
    const AveragedParameter& of =
        ((const AveragedParameter*)table)[row_of_block(table, rows, words)];
    const real rate = (real)of.rate, decay = (real)of.decay, least = (real)epsilon;
    const real kept = (real)kept_mean, added = (real)added_mean, share = (real)share_mean;
    const real kept_squared = (real)kept_square, added_squared = (real)added_square;
    const real share_squared = (real)share_square;
    const real* value = of.value;
    const real* grad = of.grad;
    real* mean = of.mean;
    real* square = of.square;
    real* moved = of.moved;
    word begin = (blockIdx.x - of.first_block) * chunk, count = of.count;
    word end = begin + chunk < count ? begin + chunk : count;
    for (word k = begin + threadIdx.x; k < end; k += blockDim.x) {
        real m = mean[k] * kept + grad[k] * added;
        real s = square[k] * kept_squared + grad[k] * grad[k] * added_squared;
        real root = sqrt(s / share_squared);
        real direction = m / share / (root + least);
        moved[k] = value[k] - (direction + value[k] * decay) * rate;
        mean[k] = m;
        square[k] = s;
    }
}

// --- square_sums, in two launches: a sum of each block, then those together ---
//
// Sums are double, so that the square of any float fits. Their order depends on the sizes of the
// arrays alone: the same numbers have the same sum every time.

// The words of a row, as above.
struct Summand {
    word first_block, count;
    const real* array;
};

enum { MOST_THREADS = 256 };  // in a block; their number is a power of two

// The sum of the numbers of a block's threads: of pairs, then of pairs of pairs, and so on.
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

// sums (rows), or (1) of all together. Blocks: sums; threads of a block: numbers to add.
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
