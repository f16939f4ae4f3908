// Enough of CUDA for a CPU to run kernels, one thread after the other, and those that have barriers
// one thread after the other up to the next barrier.
#include <ucontext.h>

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#define __device__

// Blocks run one after the other, so what the threads of one share can be at one place for all.
// Where memory is watched a section of its own would hide where an array in it ends.
#ifdef __SANITIZE_ADDRESS__
#define __shared__ static
static void forget_what_is_shared() {}
#else
#define __shared__ static __attribute__((section("shared")))
#define LINKERS_OWN __attribute__((weak, visibility("hidden")))
extern char __start_shared LINKERS_OWN, __stop_shared LINKERS_OWN;  // where the section lies
// A block finds no numbers there, but bits that are all set.
static void forget_what_is_shared() {
    if (&__start_shared) std::memset(&__start_shared, 255, &__stop_shared - &__start_shared);
}
#endif

struct Index { unsigned x, y; };
static Index threadIdx, blockIdx, blockDim, gridDim;

static inline int min(int a, int b) { return b < a ? b : a; }
static inline int max(int a, int b) { return b > a ? b : a; }

static inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }

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

// The threads of one block, each with a stack of its own, so that one can be left at a barrier.
class Block {
public:
    Block(unsigned count) : threads(count), stacks(new char[count * STACK]) {}
    ~Block() { delete[] stacks; }

    // Run `body` in every thread. False where a barrier was reached by some threads alone.
    bool run(const std::function<void()>& body, bool backwards) {
        this->body = &body;
        for (unsigned n = 0; n < threads.size(); n++) {
            ucontext_t& thread = threads[n];
            getcontext(&thread);
            thread.uc_stack.ss_sp = stacks + n * STACK;
            thread.uc_stack.ss_size = STACK;
            thread.uc_link = &turns;
            makecontext(&thread, start, 0);
        }
        forget_what_is_shared();
        running = this;
        ended = 0;
        while (ended == 0)
            for (unsigned n = 0; n < threads.size(); n++) {
                at = backwards ? threads.size() - 1 - n : n;
                threadIdx = {at, 0};
                swapcontext(&turns, &threads[at]);
            }
        running = nullptr;
        return ended == threads.size();
    }

    static void wait() {
        if (!running) {
            std::fputs("a barrier in a kernel that was said to have none\n", stderr);
            std::abort();
        }
        swapcontext(&running->threads[running->at], &running->turns);
    }

private:
    static constexpr std::size_t STACK = 1 << 16;
    static inline Block* running = nullptr;
    std::vector<ucontext_t> threads;
    char* stacks;
    ucontext_t turns;
    const std::function<void()>* body;
    unsigned at, ended;

    static void start() {
        (*running->body)();
        running->ended++;
    }
};

static inline void __syncthreads() { Block::wait(); }

// Run every thread of a grid, first to last or last to first. Arguments come as the driver takes
// them, as pointers to their values. False where a barrier parted the threads of a block.
template <class... A, std::size_t... I>
bool run(
    void (*kernel)(A...), bool barriers, const unsigned* grid, unsigned block, bool backwards,
    void** args, std::index_sequence<I...>
) {
    gridDim = {grid[0], grid[1]};
    blockDim = {block, 1};
    const auto thread = [&] { kernel(*static_cast<A*>(args[I])...); };
    const long long blocks = (long long)grid[0] * grid[1];
    Block together(barriers ? block : 0);
    for (long long n = 0; n < blocks; n++) {
        const long long at = backwards ? blocks - 1 - n : n;
        blockIdx = {unsigned(at % grid[0]), unsigned(at / grid[0])};
        if (barriers) {
            if (!together.run(thread, backwards)) return false;
        } else {
            for (unsigned k = 0; k < block; k++) {
                threadIdx = {backwards ? block - 1 - k : k, 0};
                thread();
            }
        }
    }
    return true;
}

template <class... A>
bool run(
    void (*kernel)(A...), bool barriers, const unsigned* grid, unsigned block, bool backwards,
    void** args
) {
    return run(kernel, barriers, grid, block, backwards, args, std::index_sequence_for<A...>());
}

// The types of a kernel's arguments in the compiler's letters, such as "PKf Pf i".
template <class... A>
const char* types_of(void (*)(A...)) {
    static std::string types;
    if (types.empty()) ((types += typeid(A).name(), types += ' '), ...);
    return types.c_str();
}
