// The numbers that kernels compute with, and the functions of one number.
//
// REAL is float or double, given when the source is compiled.  Under the emulator of the tests (EMULATED), which
// runs these sources on a CPU, the few words of CUDA that are used here are ordinary C++.
#ifndef EMULATED
#define DEVICE __device__ __forceinline__
#define PAUSE()  // the emulator lets a thread fall behind here
#define ALIGNED(p)  // the emulator checks that four floats may be read at once
#define SHARED(name) extern __shared__ float4 shared_memory[]; float* const name = (float*)shared_memory
DEVICE float swap_lanes(float v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
DEVICE double swap_lanes(double v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
DEVICE float from_lane(float v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }
#endif
#define UNROLL _Pragma("unroll")

typedef REAL real;

DEVICE float exponential(float x) { return expf(x); }
DEVICE double exponential(double x) { return exp(x); }
DEVICE float hyperbolic_tangent(float x) { return tanhf(x); }
DEVICE double hyperbolic_tangent(double x) { return tanh(x); }

// For x far below zero the exponential is inf and its inverse the right 0.
DEVICE real sigmoid(real x) { return real(1) / (real(1) + exponential(-x)); }
