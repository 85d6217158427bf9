// GRU, one unit of one sample (the equations and their order are those of kernels/recurrent/numpy/gru.py).
//
//     r, z = sigmoid(a_*)      q = U_n h + b_hn      n = tanh(W_n x + b_in + r * q)      h' = n + z * (h - n)
//
// A unit has four slots: the sums of r and z, then q, which has no part of x, and the part of x in n, which has no
// product with h.  Kept for backward: r, z, q, n, and h before the step.
constexpr int ROWS = 3;  // rows of each weight per unit: r, z, n
constexpr int X_ROWS = 3;
constexpr int SLOTS = 4;
constexpr int STATES = 1, SENT = 0;  // how many, and which is multiplied
constexpr int KEPT = 4;               // values of a unit that the way back reads
constexpr int WAS = 1;                // states of other steps that it reads
constexpr int PARAMETERS = 0, TOTALS = 0, MASKS = 0, STEP_MASKS = 0;  // none
constexpr bool SEPARATE_INPUT = true;  // the third cotangent is dq for the product with h, dn for that with x

DEVICE int block_of_x(int slot) { return slot < 2 ? slot : slot == 3 ? 2 : -1; }
DEVICE int block_of_h(int slot) { return slot < 3 ? slot : -1; }

#define EACH_STATE(ARGUMENT, name) ARGUMENT(0, name)
#define EACH_VECTOR(ARGUMENT, name) ARGUMENT(0, name) ARGUMENT(1, name)  // b_ih, b_hh; null if there are none
#define EACH_MASK(ARGUMENT, name)
#define EACH_WAS(ARGUMENT, name) ARGUMENT(0, name)  // h before the step

DEVICE real slot_bias(int slot, const real* const* vectors, int j, int H)
{
    const int bx = block_of_x(slot), bh = block_of_h(slot);
    real bias = 0;
    if (vectors[0] && bx >= 0) bias += vectors[0][bx * H + j];
    if (vectors[1] && bh >= 0) bias += vectors[1][bh * H + j];
    return bias;
}

DEVICE void load_parameters(const real* const*, int, int, real (&)[PARAMETERS + 1]) {}

DEVICE real slot_value(int slot, real sum)
{
    const real s = sigmoid(sum);
    return slot < 2 ? s : sum;
}

// The last slot is the part of x; n is kept in its place.
DEVICE void unit_forward(const real (&v)[SLOTS], const real*, const real*, real (&state)[STATES], real (&keep)[KEPT + 1])
{
    const real n = hyperbolic_tangent(v[3] + v[0] * v[2]);
    state[0] = n + v[1] * (state[0] - n);
UNROLL
    for (int i = 0; i < 3; i++) keep[i] = v[i];
    keep[3] = n;
}

DEVICE real kept_value(int round, int slot, real own, const real (&keep)[KEPT + 1]) { return slot == 3 ? keep[3] : own; }

// What backward needs of the saved values: slopes, known long before dh is.
constexpr int SLOPES = 5;

DEVICE void unit_slopes(const real* v, const real* was, const real*, const real*, real (&s)[SLOPES])
{
    const real r = v[0], z = v[1], q = v[2], n = v[3], h = was[0];
    s[0] = (1 - z) * (1 - n * n);
    s[1] = q * r * (1 - r);
    s[2] = (h - n) * z * (1 - z);
    s[3] = r;
    s[4] = z;
}

// From dh after the step: da of r, z, q; those of the sums of x; and what of dh goes past the product.
DEVICE void unit_backward(const real (&s)[SLOPES], const real*, const real*, bool, real (&states)[STATES],
                          real (&da)[ROWS + 1], real (&dx)[X_ROWS + 1], real*)
{
    const real dh = states[0], dn = dh * s[0];
    da[0] = dn * s[1];
    da[1] = dh * s[2];
    da[2] = dn * s[3];
    dx[0] = da[0];
    dx[1] = da[1];
    dx[2] = dn;
    states[0] = dh * s[4];
}
