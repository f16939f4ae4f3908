// The operation sgd, one launch for all parameters. Read beside `move` in nn/optim.py: the same
// operations in the same order, each rounded by itself.
#include "common.cuh"
#include "chunks.cuh"

// The words of a row; addresses are those of the first element.
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
