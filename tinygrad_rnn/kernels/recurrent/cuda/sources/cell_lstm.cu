// LSTM, one unit of one sample (the equations and their order are those of kernels/recurrent/numpy/lstm.py).
//
//     i, f, o = sigmoid(a_*)      g = tanh(a_g)      c' = f * c + i * g      h' = o * tanh(c')
//
// A unit has four slots, one per gate in the weights' order i, f, g, o.  Kept for backward: the four values, and c
// before the step; c after it is computed again by the same expression.
constexpr int ROWS = 4;               // rows of each weight per unit
constexpr int X_ROWS = 4;             // blocks of the product with x
constexpr int SLOTS = 4;              // values that a step of a unit is made from
constexpr int STATES = 2, SENT = 0;  // how many, and which is multiplied
constexpr int KEPT = 4;               // values of a unit that the way back reads
constexpr int WAS = 1;                // states of other steps that it reads
constexpr int PARAMETERS = 0, TOTALS = 0, MASKS = 0, STEP_MASKS = 0;  // none
constexpr bool SEPARATE_INPUT = false;  // the products with x and with h have the same cotangents

DEVICE int block_of_x(int slot) { return slot; }  // which block of W x belongs to a slot, -1: none
DEVICE int block_of_h(int slot) { return slot; }  // the same of U h

#define EACH_STATE(ARGUMENT, name) ARGUMENT(0, name) ARGUMENT(1, name)
#define EACH_VECTOR(ARGUMENT, name) ARGUMENT(0, name) ARGUMENT(1, name)  // b_ih, b_hh; null if there are none
#define EACH_MASK(ARGUMENT, name)
#define EACH_WAS(ARGUMENT, name) ARGUMENT(0, name)  // c before the step

DEVICE real slot_bias(int slot, const real* const* vectors, int j, int H)
{
    const int bx = block_of_x(slot), bh = block_of_h(slot);
    real bias = 0;
    if (vectors[0] && bx >= 0) bias += vectors[0][bx * H + j];
    if (vectors[1] && bh >= 0) bias += vectors[1][bh * H + j];
    return bias;
}

DEVICE void load_parameters(const real* const*, int, int, real (&)[PARAMETERS + 1]) {}

// One function for all four: lanes that hold different gates then do the same work.
DEVICE real slot_value(int slot, real sum)
{
    const bool candidate = slot == 2;
    const real s = sigmoid(candidate ? 2 * sum : sum);
    return candidate ? 2 * s - 1 : s;  // tanh(x) = 2 sigmoid(2x) - 1
}

DEVICE real next_c(real i, real f, real g, real c) { return f * c + i * g; }

// From the values of the slots and the states before the step: the states after it, and what is kept.
DEVICE void unit_forward(const real (&v)[SLOTS], const real*, const real*, real (&state)[STATES], real (&keep)[KEPT + 1])
{
    state[1] = next_c(v[0], v[1], v[2], state[1]);
    state[0] = v[3] * hyperbolic_tangent(state[1]);
UNROLL
    for (int i = 0; i < SLOTS; i++) keep[i] = v[i];
}

// The kept value of round `round` that the lane of a slot stores, which has the value `own`.
DEVICE real kept_value(int round, int slot, real own, const real (&keep)[KEPT + 1]) { return own; }

// What backward needs of the saved values: slopes, known long before dh and dc are.
constexpr int SLOPES = 6;

DEVICE void unit_slopes(const real* v, const real* was, const real*, const real*, real (&s)[SLOPES])
{
    const real c = was[0];
    const real i = v[0], f = v[1], g = v[2], o = v[3];
    const real t = hyperbolic_tangent(next_c(i, f, g, c));
    s[0] = g * i * (1 - i);
    s[1] = c * f * (1 - f);
    s[2] = i * (1 - g * g);
    s[3] = t * o * (1 - o);
    s[4] = o * (1 - t * t);
    s[5] = f;
}

// From the cotangents of the states after the step: da of the four sums, and what of those of the states before the
// step does not go through the product.
DEVICE void unit_backward(const real (&s)[SLOPES], const real*, const real*, bool, real (&states)[STATES],
                          real (&da)[ROWS + 1], real*, real*)
{
    const real dh = states[0], d = states[1] + dh * s[4];
    da[0] = d * s[0];
    da[1] = d * s[1];
    da[2] = d * s[2];
    da[3] = dh * s[3];
    states[1] = d * s[5];
    states[0] = 0;
}
