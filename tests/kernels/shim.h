// Enough of CUDA for a CPU to run kernels that have no barriers, one thread after the other.
#include <cstddef>
#include <cstring>
#include <string>
#include <typeinfo>
#include <utility>

#define __device__

struct Index { unsigned x, y; };
static Index threadIdx, blockIdx, blockDim, gridDim;

static inline int min(int a, int b) { return b < a ? b : a; }
static inline int max(int a, int b) { return b > a ? b : a; }

static inline long long __double_as_longlong(double number) {
    long long bits;
    std::memcpy(&bits, &number, sizeof bits);
    return bits;
}

static inline unsigned long long atomicMax(unsigned long long* place, unsigned long long number) {
    unsigned long long before = *place;
    if (number > before) *place = number;
    return before;
}

// Run every thread of a grid, first to last or last to first. Arguments come as the driver takes
// them, as pointers to their values.
template <class... A, std::size_t... I>
void run(
    void (*kernel)(A...), const unsigned* grid, unsigned block, bool backwards, void** args,
    std::index_sequence<I...>
) {
    gridDim = {grid[0], grid[1]};
    blockDim = {block, 1};
    const long long count = (long long)grid[0] * grid[1] * block;
    for (long long n = 0; n < count; n++) {
        const long long at = backwards ? count - 1 - n : n;
        threadIdx = {unsigned(at % block), 0};
        blockIdx = {unsigned(at / block % grid[0]), unsigned(at / block / grid[0])};
        kernel(*static_cast<A*>(args[I])...);
    }
}

template <class... A>
void run(void (*kernel)(A...), const unsigned* grid, unsigned block, bool backwards, void** args) {
    run(kernel, grid, block, backwards, args, std::index_sequence_for<A...>());
}

// The types of a kernel's arguments in the compiler's letters, such as "PKf Pf i".
template <class... A>
const char* types_of(void (*)(A...)) {
    static std::string types;
    if (types.empty()) ((types += typeid(A).name(), types += ' '), ...);
    return types.c_str();
}
