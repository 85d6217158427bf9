// GRU, one unit of one sample (the equations and their order are those of kernels/recurrent/numpy/gru.py).
//
//     r, z = sigmoid(a_*)      q = U_n h + b_hn      n = tanh(W_n x + b_in + r * q)      h' = n + z * (h - n)
//
// A unit has four slots: the sums of r and z, then q, which has no part of x, and the part of x in n, which has no
// product with h.  Kept for backward: r, z, q, n, and h before the step.
constexpr int ROWS = 3;  // rows of each weight per unit: r, z, n
constexpr int SLOTS = 4;
constexpr bool HAS_C = false;
constexpr bool SEPARATE_INPUT = true;  // the third cotangent is dq for the product with h, dn for that with x

DEVICE int block_of_x(int slot) { return slot < 2 ? slot : slot == 3 ? 2 : -1; }
DEVICE int block_of_h(int slot) { return slot < 3 ? slot : -1; }

DEVICE real slot_value(int slot, real sum)
{
    const real s = sigmoid(sum);
    return slot < 2 ? s : sum;
}

// The last slot comes in as the part of x and leaves as n.
DEVICE void unit_forward(real (&v)[SLOTS], real& h, real&)
{
    v[3] = hyperbolic_tangent(v[3] + v[0] * v[2]);
    h = v[3] + v[1] * (h - v[3]);
}

// What backward needs of the saved values: slopes, known long before dh is.
constexpr int SLOPES = 5;

DEVICE void unit_slopes(const real* v, real h, real (&s)[SLOPES])
{
    const real r = v[0], z = v[1], q = v[2], n = v[3];
    s[0] = (1 - z) * (1 - n * n);
    s[1] = q * r * (1 - r);
    s[2] = (h - n) * z * (1 - z);
    s[3] = r;
    s[4] = z;
}

// From dh after the step: da of r, z, q; dn; and what of dh goes past the product.
DEVICE void unit_backward(const real (&s)[SLOPES], real dh, real&, real (&da)[ROWS], real& dn, real& past)
{
    dn = dh * s[0];
    da[0] = dn * s[1];
    da[1] = dh * s[2];
    da[2] = dn * s[3];
    past = dh * s[4];
}
