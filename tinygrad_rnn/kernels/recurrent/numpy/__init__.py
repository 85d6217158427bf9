"""What kernels in calls of NumPy consist of, which run everywhere; their loops are generated (``ops/compiler/``)."""
