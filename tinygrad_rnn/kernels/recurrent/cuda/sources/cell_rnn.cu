// The plain RNN, one unit of one sample:  h' = act(W x + b_ih + U h + b_hh), act = tanh, or relu where RELU is set.
//
// One slot.  Kept for backward: nothing but h after the step, from which the slope follows.
constexpr int ROWS = 1;
constexpr int SLOTS = 1;
constexpr bool HAS_C = false;
constexpr bool SEPARATE_INPUT = false;

DEVICE int block_of_x(int) { return 0; }
DEVICE int block_of_h(int) { return 0; }

DEVICE real slot_value(int, real sum)
{
#if RELU
    return sum < 0 ? real(0) : sum;  // in this form nan stays nan
#else
    return hyperbolic_tangent(sum);
#endif
}

DEVICE void unit_forward(real (&v)[SLOTS], real& h, real&) { h = v[0]; }

constexpr int SLOPES = 1;

DEVICE void unit_slopes(const real*, real y, real (&s)[SLOPES])
{
#if RELU
    s[0] = y <= 0 ? real(0) : real(1);  // in this form the gradient passes nan
#else
    s[0] = 1 - y * y;
#endif
}

DEVICE void unit_backward(const real (&s)[SLOPES], real dh, real&, real (&da)[ROWS], real&, real& past)
{
#if RELU
    da[0] = s[0] == 0 ? real(0) : dh;  // and an infinite one is stopped
#else
    da[0] = dh * s[0];
#endif
    past = 0;
}
