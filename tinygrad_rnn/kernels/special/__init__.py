"""Special functions of arrays, entry by entry: error functions, gamma functions, modified Bessel functions.

All compute in float64 and give the dtype that they were given.  They are written in NumPy's functions alone, with as
many steps for one entry as for another, so that the same code runs on CuPy's arrays without a look at any value.
"""
