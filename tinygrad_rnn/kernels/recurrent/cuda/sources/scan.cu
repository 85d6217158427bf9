// A cell whose units know nothing of each other, over a whole sequence in one launch: a thread for each unit of each
// sample, which holds its states.  What x brings to a step is read one step ahead.
//
// Legend: S rows (all steps of all samples), N samples, H hidden size.

extern "C" __global__ void scan_forward(const real* __restrict__ projected,  // (S, X_ROWS * H): x times its weights
                                        VECTOR_ARGUMENTS                     // vectors
                                        MASK_ARGUMENTS     // masks, of steps (S, H), then of sequences (N, H)
                                        INITIAL_ARGUMENTS  // (N, H) each: the states at first
                                        SERIES_ARGUMENTS   // (S, H) each: state 0 after each step, or all of them
                                        FINAL_ARGUMENTS    // (N, H) each: the states in the end
                                        EARLIER_ARGUMENTS  // (S, H) each or null: the states before each step
                                        real* __restrict__ kept,          // (S, KEPT * H); null: save nothing
                                        const int* __restrict__ starts,   // (T + 1) or null: see Visits
                                        const int* __restrict__ lengths,  // (N) or null
                                        int T, int N, int H, int reverse)
{
    LIST_VECTORS; LIST_MASKS; LIST_INITIAL; LIST_SERIES; LIST_FINAL; LIST_EARLIER;
    const int own = blockIdx.x * blockDim.x + threadIdx.x;
    if (own >= N * H) return;
    const int n = own / H, j = own % H;
    const Visits visits(starts, lengths, T, N, n, reverse);
    real parameters[PARAMETERS + 1], bias[SLOTS], state[STATES], mask[MASKS + 1], x[SLOTS], keep[KEPT + 1];
    load_parameters(vectors, j, H, parameters);
    auto load = [&](int k) {
        const Visit visit = visits.at(k);
UNROLL
        for (int s = 0; s < SLOTS; s++) {
            const int bx = block_of_x(s);
            const bool there = bx >= 0 && visit.count > 0;
            x[s] = there ? projected[((size_t)(visit.first + n) * X_ROWS + bx) * H + j] : real(0);
        }
    };
UNROLL
    for (int s = 0; s < SLOTS; s++) bias[s] = slot_bias(s, vectors, j, H);
UNROLL
    for (int i = 0; i < STATES; i++) state[i] = initial[i][own];
UNROLL
    for (int i = STEP_MASKS; i < MASKS; i++) mask[i] = masks[i][own];
    load(0);
    for (int k = 0; k < visits.steps; k++) {
        const size_t place = (size_t)(visits.at(k).first + n) * H + j;
        real v[SLOTS];
UNROLL
        for (int s = 0; s < SLOTS; s++) v[s] = slot_value(s, x[s] + bias[s]);
UNROLL
        for (int i = 0; i < STEP_MASKS; i++) mask[i] = masks[i][place];
        load(k + 1);
UNROLL
        for (int i = 0; i < STATES; i++)
            if (earlier[i]) earlier[i][place] = state[i];
        unit_forward(v, parameters, mask, state, keep);
UNROLL
        for (int i = 0; i < SERIES; i++) series[i][place] = state[i];
        if (KEPT > 0 && kept)
UNROLL
            for (int i = 0; i < KEPT; i++) kept[place * KEPT + (i * H - (KEPT - 1) * j)] = keep[i];
    }
UNROLL
    for (int i = 0; i < STATES; i++) final[i][own] = state[i];
}

extern "C" __global__ void scan_backward(const real* __restrict__ kept,  // (S, KEPT * H)
                                         VECTOR_ARGUMENTS                // vectors
                                         MASK_ARGUMENTS  // masks, of steps (S, H), then of sequences (N, H)
                                         WAS_ARGUMENTS   // (S, H) each: states before or after the steps
                                         SERIES_COTANGENTS   // (S, H) each or null: of the series of the way forward
                                         FINAL_COTANGENTS    // (N, H) each or null
                                         INITIAL_COTANGENTS  // (N, H) each: results
                                         real* __restrict__ dz_input,      // (S, X_ROWS * H)
                                         real* __restrict__ totals,        // (N, TOTALS * H)
                                         const int* __restrict__ starts,   // (T + 1) or null: see Visits
                                         const int* __restrict__ lengths,  // (N) or null
                                         int T, int N, int H, int reverse)
{
    LIST_VECTORS; LIST_MASKS; LIST_WAS; LIST_D_SERIES; LIST_D_FINAL; LIST_D_INITIAL;
    const int own = blockIdx.x * blockDim.x + threadIdx.x;
    if (own >= N * H) return;
    const int n = own / H, j = own % H;
    const Visits visits(starts, lengths, T, N, n, reverse);
    real parameters[PARAMETERS + 1], mask[MASKS + 1], d[STATES], v[KEPT + 1], states[WAS + 1], dy[SERIES];
    real sums[TOTALS + 1], da[ROWS + 1], dx[X_ROWS + 1], slopes[SLOPES];
    load_parameters(vectors, j, H, parameters);
    auto load = [&](int k) {
        const Visit visit = visits.at(k);
        const bool there = visit.count > 0;
        const size_t place = (size_t)(visit.first + n) * H + j;
UNROLL
        for (int i = 0; i < WAS; i++) states[i] = there ? was[i][place] : real(0);
UNROLL
        for (int i = 0; i < SERIES; i++) dy[i] = there && d_series[i] ? d_series[i][place] : real(0);
UNROLL
        for (int i = 0; i < STEP_MASKS; i++) mask[i] = there ? masks[i][place] : real(0);
UNROLL
        for (int i = 0; i < KEPT; i++) v[i] = there ? kept[place * KEPT + (i * H - (KEPT - 1) * j)] : real(0);
    };
UNROLL
    for (int i = 0; i < STATES; i++) d[i] = d_final[i] ? d_final[i][own] : real(0);
UNROLL
    for (int i = STEP_MASKS; i < MASKS; i++) mask[i] = masks[i][own];
UNROLL
    for (int i = 0; i < TOTALS; i++) sums[i] = 0;
    load(visits.steps - 1);
    for (int k = visits.steps - 1; k >= 0; k--) {
        const size_t place = (size_t)(visits.at(k).first + n) * H + j;
        unit_slopes(v, states, parameters, mask, slopes);
UNROLL
        for (int i = 0; i < SERIES; i++) d[i] += dy[i];
        unit_backward(slopes, parameters, mask, true, d, da, dx, sums);
UNROLL
        for (int i = 0; i < X_ROWS; i++)
            if (SEPARATE_INPUT) dz_input[place * X_ROWS + (i * H - (X_ROWS - 1) * j)] = dx[i];
        load(k - 1);
    }
UNROLL
    for (int i = 0; i < STATES; i++) d_initial[i][own] = d[i];
UNROLL
    for (int i = 0; i < TOTALS; i++) totals[(size_t)own * TOTALS + (i * H - (TOTALS - 1) * j)] = sums[i];
}
