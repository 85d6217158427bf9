"""Kernels: arrays in, arrays out, NumPy or CuPy; no tape.  Each recurrent cell has a file of its own."""
