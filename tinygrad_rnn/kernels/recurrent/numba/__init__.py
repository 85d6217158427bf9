"""Recurrent layers compiled by Numba (extra ``fast``), for arrays on the CPU.

Numba is imported, and the loops compiled or taken from the disk, when a layer first runs here.
"""
