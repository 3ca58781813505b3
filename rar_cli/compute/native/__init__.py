"""Kernels of training for CPUs that a C++ compiler makes at first use; without one everything runs by torch alone."""
