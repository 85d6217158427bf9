"""What a GPU computes with: CuPy, compiled kernels, cuBLAS, clusters of blocks, copies to the device."""
