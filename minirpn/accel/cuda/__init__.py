"""Kernels in CUDA C, the implementations ``cuda``: for arrays of CuPy, float32 and float64.

Operations that belong together are one ``.cu`` file, with the variable names of the loops; the
module of the same name launches its kernels. No two threads write to the same place, and sums are
added in a fixed order, so results are the same from run to run. (An atomic maximum of whole numbers
is the exception; its order does not matter.) Threads do not wait for each other, except those of a
block at the barriers of NMS and of sums of squares. So a CPU can run the kernels, one thread after
the other or from barrier to barrier, and tests can check that they equal the loops.
"""
