// One step of a recurrent layer around a product that someone else computes: any GPU, any size, float or double.
//
// A thread per unit and sample.  Rows first .. first + count - 1 of the tables belong to this step; with packed
// input the first `count` samples still run and the others rest.  Legend: S rows, N batch, H hidden size.

// After product = h @ w_hh^T: the states after the step.  `earlier` and what follows are null if nothing is saved.
extern "C" __global__ void step_forward(const real* __restrict__ projected,  // (S, ROWS * H): x @ w_ih^T
                                        const real* __restrict__ product,    // (N, ROWS * H)
                                        const real* __restrict__ b_ih,       // (ROWS * H) or null
                                        const real* __restrict__ b_hh,       // (ROWS * H) or null
                                        real* __restrict__ h,                // (N, H), before and after
                                        real* __restrict__ c,                // (N, H), the same; LSTM only
                                        real* __restrict__ y,                // (S, H)
                                        real* __restrict__ earlier,          // (S, H): h before the step
                                        real* __restrict__ earlier_c,        // (S, H): c before the step; LSTM only
                                        real* __restrict__ gates,            // (S, SLOTS * H), if there are gates
                                        int first, int count, int H)
{
    const int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= count * H) return;
    const int n = place / H, j = place % H;
    const size_t row = (size_t)first + n;
    real v[SLOTS];
UNROLL
    for (int s = 0; s < SLOTS; s++) {
        const int bx = block_of_x(s), bh = block_of_h(s);
        real sum = 0;
        if (bx >= 0) sum += projected[(row * ROWS + bx) * H + j] + (b_ih ? b_ih[bx * H + j] : real(0));
        if (bh >= 0) sum += product[((size_t)n * ROWS + bh) * H + j] + (b_hh ? b_hh[bh * H + j] : real(0));
        v[s] = slot_value(s, sum);
    }
    real states[STATES], keep[KEPT + 1];
    states[0] = h[place];
    if (STATES > 1) states[STATES - 1] = c[place];
    if (earlier) {
        earlier[row * H + j] = states[0];
        if (STATES > 1) earlier_c[row * H + j] = states[STATES - 1];
    }
    unit_forward(v, nullptr, nullptr, states, keep);
    h[place] = states[0];
    if (STATES > 1) c[place] = states[STATES - 1];
    y[row * H + j] = states[0];
    if (earlier)
UNROLL
        for (int s = 0; s < KEPT; s++) gates[(row * KEPT + s) * H + j] = keep[s];
}

// Before product = dz @ w_hh: the cotangents dz of this step's sums.  What comes back to h is `product` of the step
// before plus `past`, which does not go through the product; for a sample that begins here both are as they were
// given.
extern "C" __global__ void step_backward(const real* __restrict__ gates,    // (S, SLOTS * H)
                                         const real* __restrict__ kept,     // (S, H): see the cells
                                         const real* __restrict__ dy,       // (S, H) or null
                                         const real* __restrict__ product,  // (N, H)
                                         real* __restrict__ past,           // (N, H), before and after
                                         real* __restrict__ dc,             // (N, H), the same; LSTM only
                                         real* __restrict__ dz,             // (S, ROWS * H), for the product with h
                                         real* __restrict__ dz_input,       // the same for x, where it differs
                                         int first, int count, int H)
{
    const int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= count * H) return;
    const int n = place / H, j = place % H;
    const size_t row = (size_t)first + n;
    real v[KEPT + 1], slopes[SLOPES], da[ROWS + 1], dx[X_ROWS + 1], states[STATES];
UNROLL
    for (int s = 0; s < KEPT; s++) v[s] = gates[(row * KEPT + s) * H + j];
    states[0] = past[place] + product[place] + (dy ? dy[row * H + j] : real(0));
    if (STATES > 1) states[STATES - 1] = dc[place];
    unit_slopes(v, kept + row * H + j, nullptr, nullptr, slopes);
    unit_backward(slopes, nullptr, nullptr, true, states, da, dx, nullptr);
    past[place] = states[0];
    if (STATES > 1) dc[place] = states[STATES - 1];
UNROLL
    for (int g = 0; g < ROWS; g++) {
        dz[(row * ROWS + g) * H + j] = da[g];
        if (SEPARATE_INPUT) dz_input[(row * ROWS + g) * H + j] = dx[g];
    }
}
