"""Loops compiled by numba for the CPU, and products of matrices shared among threads."""
