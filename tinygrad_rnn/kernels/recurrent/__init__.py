"""Forward and backward passes of whole recurrent layers: on NumPy, compiled by Numba, and in CUDA."""
