"""Loops compiled by numba for the CPU, and matrix products, with the work shared by threads."""
