// Shared by all kernels. REAL, float or double, is an option of the compiler.
typedef REAL real;

// The number of the thread along x. Along y, blocks have one thread: use blockIdx.y.
__device__ inline int thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }

// As min and max of Python: the first argument, unless the second is smaller or larger.
__device__ inline real least(real a, real b) { return b < a ? b : a; }
__device__ inline real most(real a, real b) { return b > a ? b : a; }
