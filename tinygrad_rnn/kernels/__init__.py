"""Kernels: arrays in, arrays out; no tensor and no tape.  Recurrent layers, elementwise CUDA, addition at indices."""
