// LSTM, one unit of one sample (the equations and their order are those of ops/kernels/lstm.py).
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

// From dh and dc after the step: da of the four sums, dc before the step, and what of dh goes past the product.
DEVICE void unit_backward(const real* v, real c, real dh, real& dc, real (&da)[ROWS], real&, real& past)
{
    const real i = v[0], f = v[1], g = v[2], o = v[3];
    const real t = hyperbolic_tangent(next_c(i, f, g, c));
    const real d = dc + dh * o * (1 - t * t);
    da[0] = d * g * i * (1 - i);
    da[1] = d * c * f * (1 - f);
    da[2] = d * i * (1 - g * g);
    da[3] = dh * t * o * (1 - o);
    dc = d * f;
    past = 0;
}
