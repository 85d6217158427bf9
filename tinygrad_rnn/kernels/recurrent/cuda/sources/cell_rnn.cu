// The plain RNN, one unit of one sample:  h' = act(W x + b_ih + U h + b_hh), act = tanh, or relu where RELU is set.
//
// One slot.  Kept for backward: nothing but h after the step, from which the slope follows.
constexpr int ROWS = 1;
constexpr int X_ROWS = 1;
constexpr int SLOTS = 1;
constexpr int STATES = 1, SENT = 0;  // how many, and which is multiplied
constexpr int KEPT = 0;               // values of a unit that the way back reads
constexpr int WAS = 1;                // states of other steps that it reads
constexpr int PARAMETERS = 0, TOTALS = 0, MASKS = 0, STEP_MASKS = 0;  // none
constexpr bool SEPARATE_INPUT = false;

DEVICE int block_of_x(int) { return 0; }
DEVICE int block_of_h(int) { return 0; }

#define EACH_STATE(ARGUMENT, name) ARGUMENT(0, name)
#define EACH_VECTOR(ARGUMENT, name) ARGUMENT(0, name) ARGUMENT(1, name)  // b_ih, b_hh; null if there are none
#define EACH_MASK(ARGUMENT, name)
#define EACH_WAS(ARGUMENT, name) ARGUMENT(0, name)  // h after the step

DEVICE real slot_bias(int slot, const real* const* vectors, int j, int H)
{
    const int bx = block_of_x(slot), bh = block_of_h(slot);
    real bias = 0;
    if (vectors[0] && bx >= 0) bias += vectors[0][bx * H + j];
    if (vectors[1] && bh >= 0) bias += vectors[1][bh * H + j];
    return bias;
}

DEVICE void load_parameters(const real* const*, int, int, real (&)[PARAMETERS + 1]) {}

DEVICE real slot_value(int, real sum)
{
#if RELU
    return sum < 0 ? real(0) : sum;  // in this form nan stays nan
#else
    return hyperbolic_tangent(sum);
#endif
}

DEVICE void unit_forward(const real (&v)[SLOTS], const real*, const real*, real (&state)[STATES], real (&)[KEPT + 1])
{
    state[0] = v[0];
}

DEVICE real kept_value(int, int, real own, const real (&)[KEPT + 1]) { return own; }

constexpr int SLOPES = 1;

DEVICE void unit_slopes(const real*, const real* was, const real*, const real*, real (&s)[SLOPES])
{
    const real y = was[0];
#if RELU
    s[0] = y <= 0 ? real(0) : real(1);  // in this form the gradient passes nan
#else
    s[0] = 1 - y * y;
#endif
}

DEVICE void unit_backward(const real (&s)[SLOPES], const real*, const real*, bool, real (&states)[STATES],
                          real (&da)[ROWS + 1], real*, real*)
{
    const real dh = states[0];
#if RELU
    da[0] = s[0] == 0 ? real(0) : dh;  // and an infinite one is stopped
#else
    da[0] = dh * s[0];
#endif
    states[0] = 0;
}
