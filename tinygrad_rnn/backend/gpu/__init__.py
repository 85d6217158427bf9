"""The GPU: access to CuPy, compiled kernels, cuBLAS, thread block clusters, copies on the device."""
