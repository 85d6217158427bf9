// The way back through time of a whole sequence in one launch: the cotangents dz of all sums, and those of h0, c0.
//
// A block owns the rows of w_hh of its units.  At every step it computes dz of its rows (a thread per unit and
// sample), then the part dz[its rows] @ w_hh[its rows] of the gradient of the earlier h, for all HIDDEN outputs, and
// sends each output to the block that owns the unit, which adds the parts in a fixed order.  So every step passes on
// one number per unit, sample and block, instead of four to everybody.
//
// The gradient that reaches the state that is multiplied, before a step, is the sum of these parts and of `d`: what
// does not go through the product (the GRU's z * dh), or everything, where the sample does not run at that step: its
// dz is zero then.

constexpr int TOGETHER = OUTPUTS < 4 ? 1 : 4;  // weights of a row that are read at once

// The weights of row g of unit j for k .. k + TOGETHER - 1; zero beyond the true size.
DEVICE void weights_of_row(const float* w_hh, int g, int j, int k, int H, float* found)
{
    const float* p = w_hh + (size_t)(g * H + j) * H + k;
    if (TOGETHER == 4 && H == HIDDEN && ((size_t)w_hh & 15) == 0) {
        const float4 four = load4(p);
        found[0] = four.x; found[1 % TOGETHER] = four.y; found[2 % TOGETHER] = four.z; found[3 % TOGETHER] = four.w;
        return;
    }
UNROLL
    for (int i = 0; i < TOGETHER; i++) found[i] = j < H && k + i < H ? p[i] : 0.f;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) CLUSTER
persistent_backward(const float* __restrict__ w_hh,   // (ROWS * H, H)
                    const float* __restrict__ kept,   // (S, KEPT * H)
                    VECTOR_ARGUMENTS                  // vectors
                    MASK_ARGUMENTS                    // masks, of steps (S, H), then of sequences (N, H)
                    WAS_ARGUMENTS                     // (S, H) each: states before or after the steps; see the cells
                    SERIES_COTANGENTS                 // (S, H) each or null: of the series of the way forward
                    FINAL_COTANGENTS                  // (N, H) each or null
                    INITIAL_COTANGENTS                // (N, H) each: results
                    float* __restrict__ dz,           // (S, ROWS * H), for the product with h
                    float* __restrict__ dz_input,     // (S, X_ROWS * H), for that with x, where it differs
                    float* __restrict__ totals,       // (N, TOTALS * H): sums over the steps for vectors
                    float* exchange,                  // SYNC 0: (2, groups, CTAS to, CTAS from, UNITS, SAMPLES)
                    unsigned* counters,               // SYNC 0: (groups, 32), zero
                    const int* __restrict__ starts,   // (T + 1) or null: see Visits
                    const int* __restrict__ lengths,  // (N) or null
                    int T, int N, int H, int reverse, int first_group, int groups)
{
    LIST_VECTORS; LIST_MASKS; LIST_WAS; LIST_D_SERIES; LIST_D_FINAL; LIST_D_INITIAL;
    SHARED(base);
    float* const parts = base + HEADER;                      // (2, CTAS from, UNITS, SAMPLES)
    float* const dz_lines = parts + 2 * SAMPLES * HIDDEN;    // (2, SAMPLES, LINE)
    float4* const rest = (float4*)(dz_lines + 2 * SAMPLES * LINE);
    const int tid = threadIdx.x;
    const int rank = blockIdx.x % CTAS, group = blockIdx.x / CTAS;
    const int n0 = (first_group + group) * SAMPLES;
    const int team = tid / TEAM, member = tid % TEAM;
    const Visits visits(starts, lengths, T, N, n0, reverse);
    const int steps = visits.steps;

    float w[OUTPUTS][HELD_BACKWARD > 0 ? HELD_BACKWARD : 1];
UNROLL
    for (int c = 0; c < ROW_CHUNKS; c++)
UNROLL
        for (int first = 0; first < OUTPUTS; first += TOGETHER) {
            float found[4][TOGETHER];
UNROLL
            for (int e = 0; e < 4; e++) {
                const int r = (c * TEAM + member) * 4 + e;   // of this block: gate r / UNITS, unit r % UNITS
                weights_of_row(w_hh, r / UNITS, rank * UNITS + r % UNITS, team * OUTPUTS + first, H, found[e]);
            }
UNROLL
            for (int i = 0; i < TOGETHER; i++) {
                const int o = first + i;
                if (c < HELD_ROW_CHUNKS) {
UNROLL
                    for (int e = 0; e < 4; e++) w[o][(c < HELD_ROW_CHUNKS ? c : 0) * 4 + e] = found[e][i];
                } else {
                    const float4 four = {found[0][i], found[1][i], found[2][i], found[3][i]};
                    rest[((c - HELD_ROW_CHUNKS) * OUTPUTS + o) * THREADS + tid] = four;
                }
            }
        }
    int output = 0;
    bool primary = true;
    scatter_place<OUTPUTS, 1, TEAM>(member, output, primary);
    output += team * OUTPUTS;                                // the first of FINISHED outputs, all of one owner
    const int owner = output / UNITS;

    // An item is one unit of one sample; a thread has ITEMS of them, or none.  Of the step to come it holds what was
    // saved of it, of all others together what goes past the products.
    float d[ITEMS][STATES], v[ITEMS][KEPT + 1], before_it[ITEMS][WAS + 1], dy[ITEMS][SERIES];
    float parameters[ITEMS][PARAMETERS + 1], masks_now[ITEMS][MASKS + 1], sums_of[ITEMS][TOTALS + 1];
    auto load_saved = [&](int i, Visit visit) {
        const int item = tid + i * THREADS, n = n0 + item % SAMPLES, j = rank * UNITS + item / SAMPLES;
        const bool runs = item < SAMPLES * UNITS && n < visit.count && j < H;
        const size_t place = (size_t)(visit.first + n) * H + j;
UNROLL
        for (int g = 0; g < WAS; g++) before_it[i][g] = runs ? was[g][place] : 0.f;
UNROLL
        for (int g = 0; g < SERIES; g++) dy[i][g] = runs && d_series[g] ? d_series[g][place] : 0.f;
UNROLL
        for (int g = 0; g < STEP_MASKS; g++) masks_now[i][g] = runs ? masks[g][place] : 0.f;
UNROLL
        for (int g = 0; g < KEPT; g++)  // (row * KEPT + g) * H + j
            v[i][g] = runs ? kept[place * KEPT + (g * H - (KEPT - 1) * j)] : 0.f;
    };
    Visit now = visits.at(steps - 1), before = visits.at(steps - 2);
UNROLL
    for (int i = 0; i < ITEMS; i++) {
        const int item = tid + i * THREADS, n = n0 + item % SAMPLES, j = rank * UNITS + item / SAMPLES;
        const bool given = item < SAMPLES * UNITS && n < N && j < H;
UNROLL
        for (int g = 0; g < STATES; g++) d[i][g] = given && d_final[g] ? d_final[g][(size_t)n * H + j] : 0.f;
UNROLL
        for (int g = STEP_MASKS; g < MASKS; g++) masks_now[i][g] = given ? masks[g][(size_t)n * H + j] : 0.f;
UNROLL
        for (int g = 0; g < TOTALS; g++) sums_of[i][g] = 0.f;
        if (given) load_parameters(vectors, j, H, parameters[i]);
        load_saved(i, now);
    }
    const unsigned remote = SYNC >= 1 && CTAS > 1 ? remote_base(base, owner) : 0;
    if (ASYNC && tid == 0) {
        prepare_arrivals(base);
        expect(base, 0, BYTES);
        expect(base, 1, BYTES);
    }
    if (SYNC >= 1) meet_cluster();
    __syncthreads();

    // The parts that step k - 1 of this way has sent to one item of this block, added up.
    auto arrived = [&](int k, int n, int u) {
        float sum = 0.f;
UNROLL
        for (int from = 0; from < CTAS; from++) {
            if (SYNC >= 1 || CTAS == 1) {
                sum += parts[(((k & 1) * CTAS + from) * UNITS + u) * SAMPLES + n];
            } else {
                const size_t mine = (((size_t)(k & 1) * groups + group) * CTAS + rank) * CTAS + from;
                sum += __ldcg(exchange + (mine * UNITS + u) * SAMPLES + n);
            }
        }
        return sum;
    };

    for (int k = 0; k < steps; k++) {
        float* const line = dz_lines + (k & 1) * SAMPLES * LINE;
        const int upcoming = (k + 1) & 1;                    // the half of `parts` that this step writes
        float slopes[ITEMS][SLOPES];
UNROLL
        for (int i = 0; i < ITEMS; i++)                      // before the parts arrive
            if (tid + i * THREADS < SAMPLES * UNITS)
                unit_slopes(v[i], before_it[i], parameters[i], masks_now[i], slopes[i]);
        if (ASYNC && k > 0) {
            await(base, k & 1, (k - 1) >> 1 & 1);
            if (tid == 0) expect(base, k & 1, BYTES);
        }
        const Visit long_before = visits.at(steps - 3 - k);
UNROLL
        for (int i = 0; i < ITEMS; i++) {
            const int item = tid + i * THREADS;
            if (item >= SAMPLES * UNITS) continue;
            const int n = item % SAMPLES, u = item / SAMPLES, j = rank * UNITS + u;
            const bool runs = j < H && n0 + n < now.count;
            PAUSE();
            const float from_parts = k > 0 ? arrived(k, n, u) : 0.f;
            float da[ROWS + 1], dx[X_ROWS + 1], after[STATES], beside[STATES];
UNROLL
            for (int g = 0; g < STATES; g++) {
                after[g] = d[i][g];
                if (g < SERIES) after[g] += dy[i][min(g, SERIES - 1)];
                if (g == SENT) after[g] += from_parts;
                beside[g] = after[g];
            }
            unit_backward(slopes[i], parameters[i], masks_now[i], runs, beside, da, dx, sums_of[i]);
UNROLL
            for (int g = 0; g < STATES; g++) d[i][g] = runs ? beside[g] : after[g];
UNROLL
            for (int g = 0; g < ROWS; g++) line[n * LINE + g * UNITS + u] = runs ? da[g] : 0.f;
            if (runs) {
                const size_t place = (size_t)(now.first + n0 + n) * H + j;
UNROLL
                for (int g = 0; g < ROWS; g++)               // (row * ROWS + g) * H + j
                    dz[place * ROWS + (g * H - (ROWS - 1) * j)] = da[g];
                if (SEPARATE_INPUT)
UNROLL
                    for (int g = 0; g < X_ROWS; g++)
                        dz_input[place * X_ROWS + (g * H - (X_ROWS - 1) * j)] = dx[g];
            }
            load_saved(i, before);                           // on its way while the products are computed
        }
        now = before;
        before = long_before;
        __syncthreads();

        // A pair of samples per pass over the weights; passes are not unrolled, or weights that lie in shared memory
        // would be kept from pass to pass in registers that are not there.
#pragma unroll 1
        for (int first = 0; first < SAMPLES; first += PAIR) {
            float sums[PAIR][OUTPUTS];
UNROLL
            for (int n = 0; n < PAIR; n++)
UNROLL
                for (int o = 0; o < OUTPUTS; o++) sums[n][o] = 0.f;
UNROLL
            for (int c = 0; c < ROW_CHUNKS; c++) {
                float4 d[PAIR];
UNROLL
                for (int n = 0; n < PAIR; n++) d[n] = load4(line + (first + n) * LINE + (c * TEAM + member) * 4);
UNROLL
                for (int o = 0; o < OUTPUTS; o++) {
                    float4 wo;
                    if (c < HELD_ROW_CHUNKS) {
                        const int e = (c < HELD_ROW_CHUNKS ? c : 0) * 4;
                        wo.x = w[o][e]; wo.y = w[o][e + 1]; wo.z = w[o][e + 2]; wo.w = w[o][e + 3];
                    } else {
                        wo = rest[((c - HELD_ROW_CHUNKS) * OUTPUTS + o) * THREADS + tid];
                    }
UNROLL
                    for (int n = 0; n < PAIR; n++) {
                        sums[n][o] = fmaf(d[n].x, wo.x, sums[n][o]);
                        sums[n][o] = fmaf(d[n].y, wo.y, sums[n][o]);
                        sums[n][o] = fmaf(d[n].z, wo.z, sums[n][o]);
                        sums[n][o] = fmaf(d[n].w, wo.w, sums[n][o]);
                    }
                }
            }
UNROLL
            for (int n = 0; n < PAIR; n++) scatter_sum<OUTPUTS, 1, TEAM>(sums[n], member);
            if (primary) {
UNROLL
                for (int i = 0; i < FINISHED; i++) {
                    const int u = (output + i) % UNITS;
                    const int place = ((upcoming * CTAS + rank) * UNITS + u) * SAMPLES + first;  // in the owner's parts
                    const size_t far = ((((size_t)upcoming * groups + group) * CTAS + owner) * CTAS + rank) * UNITS + u;
                    float pair[PAIR];
UNROLL
                    for (int n = 0; n < PAIR; n++) pair[n] = sums[n][i];
                    if (ASYNC) {
                        send(remote, HEADER + place, upcoming, pair, PAIR);
                    } else {
UNROLL
                        for (int n = 0; n < PAIR; n++) {
                            if (CTAS == 1) parts[place + n] = pair[n];
                            else if (SYNC == 1) store_remote(remote, HEADER + place + n, pair[n]);
                            else exchange[far * SAMPLES + first + n] = pair[n];
                        }
                    }
                }
            }
        }
        if (!ASYNC) end_step(counters, group, k + 1);
    }
    if (ASYNC && steps > 0) await(base, steps & 1, (steps - 1) >> 1 & 1);

UNROLL
    for (int i = 0; i < ITEMS; i++) {
        const int item = tid + i * THREADS;
        if (item < SAMPLES * UNITS) {
            const int n = item % SAMPLES, u = item / SAMPLES, j = rank * UNITS + u;
            const float from_parts = steps > 0 ? arrived(steps, n, u) : 0.f;
            if (n0 + n < N && j < H) {
                const size_t place = (size_t)(n0 + n) * H + j;
UNROLL
                for (int g = 0; g < STATES; g++) d_initial[g][place] = d[i][g] + (g == SENT ? from_parts : 0.f);
UNROLL
                for (int g = 0; g < TOTALS; g++)             // ((n0 + n) * TOTALS + g) * H + j
                    totals[place * TOTALS + (g * H - (TOTALS - 1) * j)] = sums_of[i][g];
            }
        }
    }
}
