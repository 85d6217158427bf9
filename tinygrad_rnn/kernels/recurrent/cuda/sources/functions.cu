// Functions of one number that generated cells use, for float and double under one name.
#define FUNCTION(name, single, twice)              \
    DEVICE float name(float x) { return single(x); } \
    DEVICE double name(double x) { return twice(x); }
#define FUNCTION_OF_TWO(name, single, twice)                          \
    DEVICE float name(float x, float y) { return single(x, y); }      \
    DEVICE double name(double x, double y) { return twice(x, y); }

FUNCTION(absolute, fabsf, fabs)
FUNCTION(square_root, sqrtf, sqrt)
FUNCTION(exp2_of, exp2f, exp2)
FUNCTION(expm1_of, expm1f, expm1)
FUNCTION(log_of, logf, log)
FUNCTION(log1p_of, log1pf, log1p)
FUNCTION(log2_of, log2f, log2)
FUNCTION(log10_of, log10f, log10)
FUNCTION(sin_of, sinf, sin)
FUNCTION(cos_of, cosf, cos)
FUNCTION(tan_of, tanf, tan)
FUNCTION(sinh_of, sinhf, sinh)
FUNCTION(cosh_of, coshf, cosh)
FUNCTION(arcsin_of, asinf, asin)
FUNCTION(arccos_of, acosf, acos)
FUNCTION(arctan_of, atanf, atan)
FUNCTION(arcsinh_of, asinhf, asinh)
FUNCTION(arccosh_of, acoshf, acosh)
FUNCTION(arctanh_of, atanhf, atanh)
FUNCTION(floor_of, floorf, floor)
FUNCTION(ceil_of, ceilf, ceil)
FUNCTION(trunc_of, truncf, trunc)
FUNCTION(rint_of, rintf, rint)
FUNCTION(erf_of, erff, erf)
FUNCTION_OF_TWO(pow_of, powf, pow)
FUNCTION_OF_TWO(arctan2_of, atan2f, atan2)
FUNCTION_OF_TWO(hypot_of, hypotf, hypot)
FUNCTION_OF_TWO(copysign_of, copysignf, copysign)

// nan stays nan, whichever argument it is
DEVICE real larger(real a, real b) { return a >= b || a != a ? a : b; }
DEVICE real smaller(real a, real b) { return a <= b || a != a ? a : b; }
DEVICE bool is_nan(real a) { return a != a; }
DEVICE bool is_finite(real a) { return a - a == 0; }
DEVICE bool is_infinite(real a) { return a - a != 0 && a == a; }
