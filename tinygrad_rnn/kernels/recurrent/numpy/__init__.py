"""Recurrent layers on NumPy alone: the kernels that run everywhere, and that the others are held against."""
