// A recurrent layer over a whole sequence in one launch; w_hh stays on the chip.
//
// At every step a lane multiplies its part of the rows of one unit with h in shared memory; the parts are summed
// over lanes so that of the first four lanes each ends with one slot of the unit (a gate, say), in parallel for the
// samples.  It applies the slot's function, the four exchange their values, and all of them compute the same new h.
// Lanes with the same h share out the blocks of the group to which it must go, and the arrays to which it is saved.
//
// h in shared memory is double-buffered: a step reads one half while others may already write the next.  With
// messages (SYNC 2) nothing else is needed: whoever has received all of step k knows that every warp of the group
// has finished step k, hence no longer reads what step k + 1 overwrites.
//
// Legend: S rows (all steps of all samples), N samples, H hidden size.

// The weights of row g of unit j for k .. k + 3; zero beyond the true size.
DEVICE float4 weights_at(const float* w_hh, int g, int j, int k, int H)
{
    float4 w = {0.f, 0.f, 0.f, 0.f};
    if (j >= H) return w;
    const float* p = w_hh + (size_t)(g * H + j) * H + k;
    if (H == HIDDEN && ((size_t)w_hh & 15) == 0) return load4(p);  // a view may begin anywhere
    if (k < H) w.x = p[0];
    if (k + 1 < H) w.y = p[1];
    if (k + 2 < H) w.z = p[2];
    if (k + 3 < H) w.w = p[3];
    return w;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) CLUSTER
persistent_forward(const float* __restrict__ projected,  // (S, X_ROWS * H): x times its weights
                   const float* __restrict__ w_hh,       // (ROWS * H, H)
                   VECTOR_ARGUMENTS                      // vectors
                   MASK_ARGUMENTS                        // masks, of steps (S, H), then of sequences (N, H)
                   INITIAL_ARGUMENTS                     // (N, H) each: the states at first
                   SERIES_ARGUMENTS                      // (S, H) each: state 0 after each step, or all of them
                   FINAL_ARGUMENTS                       // (N, H) each: the states in the end
                   EARLIER_ARGUMENTS                     // (S, H) each or null: the states before each step
                   float* __restrict__ kept,             // (S, KEPT * H); null: save nothing
                   float* exchange,                      // SYNC 0: (2, groups, SAMPLES, HIDDEN)
                   unsigned* counters,                   // SYNC 0: (groups, 32), zero
                   const int* __restrict__ starts,       // (T + 1) or null: see Visits
                   const int* __restrict__ lengths,      // (N) or null
                   int T, int N, int H, int reverse, int first_group, int groups)
{
    LIST_VECTORS; LIST_MASKS; LIST_INITIAL; LIST_SERIES; LIST_FINAL; LIST_EARLIER;
    SHARED(base);
    float* const hidden = base + HEADER;                          // (2, SAMPLES, HIDDEN)
    float4* const rest = (float4*)(hidden + 2 * SAMPLES * HIDDEN);  // weights that registers do not hold
    const int tid = threadIdx.x, lane = tid % 32;
    const int rank = blockIdx.x % CTAS, group = blockIdx.x / CTAS;
    const int n0 = (first_group + group) * SAMPLES;
    const int q = tid % LANES, j = rank * UNITS + tid / LANES;
    const bool inside = j < H;
    const Visits visits(starts, lengths, T, N, n0, reverse);

    float4 w[ROWS][HELD_CHUNKS > 0 ? HELD_CHUNKS : 1];
UNROLL
    for (int c = 0; c < CHUNKS; c++)
UNROLL
        for (int g = 0; g < ROWS; g++) {
            const float4 found = weights_at(w_hh, g, j, (c * LANES + q) * 4, H);
            if (c < HELD_CHUNKS) w[g][c] = found;
            else rest[((c - HELD_CHUNKS) * ROWS + g) * THREADS + tid] = found;
        }
    for (int i = tid; i < SAMPLES * HIDDEN; i += THREADS) {
        const int n = n0 + i / HIDDEN, k = i % HIDDEN;
        hidden[i] = n < N && k < H ? initial[SENT][(size_t)n * H + k] : 0.f;
    }

    // What this lane has after the sums: one slot of unit j, for MINE samples from `sample` on.
    const int slot = SLOTS == 4 ? (q & 1) * 2 + (q >> 1 & 1) : 0;
    const int bx = block_of_x(slot);
    int sample = 0;
    bool primary = true;
    scatter_place<SAMPLES, SLOTS, LANES>(q, sample, primary);
    const float bias = inside ? slot_bias(slot, vectors, j, H) : 0.f;
    float parameters[PARAMETERS + 1];
    if (inside) load_parameters(vectors, j, H, parameters);

    // This lane's tables to fill, and which of the kept values; every SLOTS-th is its own.
    constexpr int TABLES = STATES + SERIES, ROUNDS = (TABLES + SLOTS - 1) / SLOTS;
    constexpr int KEPT_ROUNDS = (KEPT + SLOTS - 1) / SLOTS;
    float* tables[ROUNDS];
UNROLL
    for (int r = 0; r < ROUNDS; r++) {
        tables[r] = nullptr;
UNROLL
        for (int i = 0; i < TABLES; i++)  // state 0 after the step, all states before it, the others after it
            if (i == r * SLOTS + slot)
                tables[r] = i == 0 ? series[0] : i <= STATES ? earlier[i - 1] : series[i - STATES];
    }
    // (row * BLOCKS + block) * H + j is (row * H + j) * BLOCKS and something that does not change.
    const int x_shift = bx * H - (X_ROWS - 1) * j, kept_shift = slot * H - (KEPT - 1) * j;

    Visit now = visits.at(0), next = visits.at(1);
    float state[STATES][MINE], x[MINE], x_next[MINE], masks_now[MINE][MASKS + 1];
UNROLL
    for (int s = 0; s < MINE; s++) {
        const int n = n0 + sample + s;
        const bool real_one = inside && n < N;
UNROLL
        for (int i = 0; i < STATES; i++) state[i][s] = real_one ? initial[i][(size_t)n * H + j] : 0.f;
UNROLL
        for (int i = STEP_MASKS; i < MASKS; i++) masks_now[s][i] = real_one ? masks[i][(size_t)n * H + j] : 0.f;
        const bool there = inside && bx >= 0 && n < now.count;
        x[s] = bias + (there ? projected[((size_t)(now.first + n) * H + j) * X_ROWS + x_shift] : 0.f);
    }

    // To which blocks this lane sends: from number `turn` on, every SENDERS-th.
    const int first_unit = (lane / LANES) & ~(VECTOR - 1);        // of this lane's message, within the warp
    const int replica = q % SLOTS + SLOTS * (q / (SLOTS * SPLIT));
    const int turn = (lane / LANES - first_unit) * REPLICAS + replica;
    unsigned remote[MESSAGES];
UNROLL
    for (int m = 0; m < MESSAGES; m++) remote[m] = ASYNC ? remote_base(base, min(turn + m * SENDERS, CTAS - 1)) : 0;
    if (ASYNC && tid == 0) {
        prepare_arrivals(base);
        expect(base, 0, BYTES);
        expect(base, 1, BYTES);
    }
    if (SYNC >= 1) meet_cluster();
    __syncthreads();

    for (int k = 0; k < visits.steps; k++) {
        float* const current = hidden + (k & 1) * SAMPLES * HIDDEN;
        const int upcoming = ((k + 1) & 1) * SAMPLES * HIDDEN;    // the half that this step writes
        if (ASYNC && k > 0) {
            await(base, k & 1, (k - 1) >> 1 & 1);
            if (tid == 0) expect(base, k & 1, BYTES);
        }
        if (SYNC == 0 && CTAS > 1 && k > 0) {
            const float* from = exchange + ((size_t)(k & 1) * groups + group) * SAMPLES * HIDDEN;
            for (int i = tid * 4; i < SAMPLES * HIDDEN; i += THREADS * 4)
                *(float4*)(current + i) = __ldcg((const float4*)(from + i));  // past the first-level cache
            __syncthreads();
        }
        const Visit after_next = visits.at(k + 2);
UNROLL
        for (int s = 0; s < MINE; s++) {                          // on its way while the products are computed
            const int n = n0 + sample + s;
            const bool there = inside && bx >= 0 && n < next.count;
            x_next[s] = there ? projected[((size_t)(next.first + n) * H + j) * X_ROWS + x_shift] : 0.f;
            const bool runs = inside && n < now.count;
UNROLL
            for (int i = 0; i < STEP_MASKS; i++)
                masks_now[s][i] = runs ? masks[i][(size_t)(now.first + n) * H + j] : 0.f;
        }

        float sums[SAMPLES][SLOTS];
UNROLL
        for (int n = 0; n < SAMPLES; n++)
UNROLL
            for (int g = 0; g < SLOTS; g++) sums[n][g] = 0.f;
UNROLL
        for (int i = 0; i < CHUNKS; i++) {
            float4 wi[ROWS];
UNROLL
            for (int g = 0; g < ROWS; g++) {
                if (i < HELD_CHUNKS) wi[g] = w[g][i];
                else wi[g] = rest[((i - HELD_CHUNKS) * ROWS + g) * THREADS + tid];
            }
UNROLL
            for (int n = 0; n < SAMPLES; n++) {
                const float4 hn = load4(current + n * HIDDEN + (i * LANES + q) * 4);
UNROLL
                for (int g = 0; g < ROWS; g++) {
                    sums[n][g] = fmaf(hn.x, wi[g].x, sums[n][g]);
                    sums[n][g] = fmaf(hn.y, wi[g].y, sums[n][g]);
                    sums[n][g] = fmaf(hn.z, wi[g].z, sums[n][g]);
                    sums[n][g] = fmaf(hn.w, wi[g].w, sums[n][g]);
                }
            }
        }
        float mine[SAMPLES];
UNROLL
        for (int n = 0; n < SAMPLES; n++) {
            scatter_sum<SLOTS, 1, SLOTS>(sums[n], q);
            mine[n] = sums[n][0];
        }
        scatter_sum<SAMPLES, SLOTS, LANES>(mine, q);

UNROLL
        for (int s = 0; s < MINE; s++) {
            const int n = sample + s;
            const bool runs = inside && n0 + n < now.count;       // what is padded stays zero
            const float value = slot_value(slot, mine[s] + x[s]);
            float v[SLOTS];
UNROLL
            for (int i = 0; i < SLOTS; i++)
                v[i] = SLOTS == 4 ? from_lane(value, (lane & ~3) + (i & 1) * 2 + (i >> 1)) : value;
            float before[STATES], after[STATES], keep[KEPT + 1];
UNROLL
            for (int i = 0; i < STATES; i++) before[i] = after[i] = state[i][s];
            unit_forward(v, parameters, masks_now[s], after, keep);
UNROLL
            for (int i = 0; i < STATES; i++)
                state[i][s] = runs ? after[i] : before[i];        // a sample that does not run keeps its state
            const float sent = state[SENT][s];

            if (CTAS == 1) {
                if (primary && slot == 0) hidden[upcoming + n * HIDDEN + j] = sent;
            } else if (ASYNC) {
                float line[VECTOR];                               // the same sample of neighbouring units
UNROLL
                for (int i = 0; i < VECTOR; i++)
                    line[i] = VECTOR > 1 ? from_lane(sent, (first_unit + i) * LANES + q) : sent;
                const int place = HEADER + upcoming + n * HIDDEN + j - (lane / LANES - first_unit);
                if (k + 1 < visits.steps)                         // the last step has no readers
UNROLL
                    for (int m = 0; m < MESSAGES; m++)
                        if (turn + m * SENDERS < CTAS) send(remote[m], place, (k + 1) & 1, line, VECTOR);
            } else if (SYNC == 1) {
                for (int to = replica; to < CTAS; to += REPLICAS)
                    store_remote(remote_base(base, to), HEADER + upcoming + n * HIDDEN + j, sent);
            } else if (primary && slot == 0) {
                exchange[((size_t)((k + 1) & 1) * groups + group) * SAMPLES * HIDDEN + n * HIDDEN + j] = sent;
            }

            if (runs && primary) {                                // the lanes of a unit share out the arrays
                const size_t place = (size_t)(now.first + n0 + n) * H + j;
UNROLL
                for (int r = 0; r < ROUNDS; r++) {
                    float own = 0.f;
UNROLL
                    for (int i = r * SLOTS; i < min(r * SLOTS + SLOTS, TABLES); i++)
                        if (SLOTS == 1 || i % SLOTS == slot)
                            own = i == 0 ? after[0] : i <= STATES ? before[i - 1] : after[i - STATES];
                    if (tables[r]) tables[r][place] = own;
                }
                if (KEPT > 0 && kept)
UNROLL
                    for (int r = 0; r < KEPT_ROUNDS; r++) {
                        const float own = kept_value(r, slot, value, keep);
                        if (KEPT % SLOTS == 0 || r * SLOTS + slot < KEPT)
                            kept[place * KEPT + (kept_shift + r * SLOTS * H)] = own;
                    }
            }
            x[s] = x_next[s] + bias;
        }
        now = next;
        next = after_next;
        if (!ASYNC) end_step(counters, group, k + 1);
    }

UNROLL
    for (int s = 0; s < MINE; s++) {
        const int n = n0 + sample + s;
        if (primary && inside && n < N)
UNROLL
            for (int i = 0; i < STATES; i++)
                if (slot == i % SLOTS) final[i][(size_t)n * H + j] = state[i][s];
    }
}
