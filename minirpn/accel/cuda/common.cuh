// What all kernels share. REAL, float or double, is an option of the compiler.
typedef REAL real;

// Which thread this is along x. Along y there are blocks alone, not threads: blockIdx.y.
__device__ inline int thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }

// Python's min and max: the first argument, unless the second is smaller or larger.
__device__ inline real least(real a, real b) { return b < a ? b : a; }
__device__ inline real most(real a, real b) { return b > a ? b : a; }
