// The numbers that kernels compute with, and the functions of one number.
//
// REAL is float or double, given when the source is compiled.  Under the emulator of the tests (EMULATED), which
// runs these sources on a CPU, the few words of CUDA that are used here are ordinary C++.
#ifndef EMULATED
#define DEVICE __device__ __forceinline__
#define PAUSE()  // the emulator lets a thread fall behind here
#define ALIGNED(p)  // the emulator checks that four floats may be read at once
#endif
#define UNROLL _Pragma("unroll")

typedef REAL real;

DEVICE float exponential(float x) { return expf(x); }
DEVICE double exponential(double x) { return exp(x); }
DEVICE float hyperbolic_tangent(float x) { return tanhf(x); }
DEVICE double hyperbolic_tangent(double x) { return tanh(x); }

// For x far below zero the exponential is inf and its inverse the right 0.
DEVICE real sigmoid(real x) { return real(1) / (real(1) + exponential(-x)); }
