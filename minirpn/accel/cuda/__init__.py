"""Kernels in CUDA C, the implementations ``cuda``: for arrays of CuPy, float32 and float64.

One ``.cu`` file an operation, with the names of variables that its loops have, and beside it the
module of the same name that launches it. No two threads write to the same place (but for the
maximum of whole numbers, in which order does not matter), and what is summed is summed in a fixed
order: so results are the same from run to run. No thread waits for another, but in NMS and in sums
of squares those of one block meet at barriers. So a CPU can run the kernels, thread after thread,
or thread after thread up to the next barrier, to prove them equal to the loops.
"""
