// LSTM, one unit of one sample (the equations and their order are those of kernels/recurrent/numpy/lstm.py).
//
//     i, f, o = sigmoid(a_*)      g = tanh(a_g)      c' = f * c + i * g      h' = o * tanh(c')
//
// A unit has four slots, one per gate in the weights' order i, f, g, o.  Kept for backward: the four values, and c
// before the step; c after it is computed again by the same expression.
constexpr int ROWS = 4;               // rows of each weight per unit
constexpr int SLOTS = 4;              // values that a step of a unit is made from
constexpr bool HAS_C = true;
constexpr bool SEPARATE_INPUT = false;  // the products with x and with h have the same cotangents

DEVICE int block_of_x(int slot) { return slot; }  // which block of W x belongs to a slot, -1: none
DEVICE int block_of_h(int slot) { return slot; }  // the same of U h

// One function for all four: lanes that hold different gates then do the same work.
DEVICE real slot_value(int slot, real sum)
{
    const bool candidate = slot == 2;
    const real s = sigmoid(candidate ? 2 * sum : sum);
    return candidate ? 2 * s - 1 : s;  // tanh(x) = 2 sigmoid(2x) - 1
}

DEVICE real next_c(real i, real f, real g, real c) { return f * c + i * g; }

DEVICE void unit_forward(real (&v)[SLOTS], real& h, real& c)
{
    c = next_c(v[0], v[1], v[2], c);
    h = v[3] * hyperbolic_tangent(c);
}

// What backward needs of the saved values: slopes, known long before dh and dc are.
constexpr int SLOPES = 6;

DEVICE void unit_slopes(const real* v, real c, real (&s)[SLOPES])
{
    const real i = v[0], f = v[1], g = v[2], o = v[3];
    const real t = hyperbolic_tangent(next_c(i, f, g, c));
    s[0] = g * i * (1 - i);
    s[1] = c * f * (1 - f);
    s[2] = i * (1 - g * g);
    s[3] = t * o * (1 - o);
    s[4] = o * (1 - t * t);
    s[5] = f;
}

// From dh and dc after the step: da of the four sums, dc before the step, and what of dh goes past the product.
DEVICE void unit_backward(const real (&s)[SLOPES], real dh, real& dc, real (&da)[ROWS], real&, real& past)
{
    const real d = dc + dh * s[4];
    da[0] = d * s[0];
    da[1] = d * s[1];
    da[2] = d * s[2];
    da[3] = dh * s[3];
    dc = d * s[5];
    past = 0;
}
