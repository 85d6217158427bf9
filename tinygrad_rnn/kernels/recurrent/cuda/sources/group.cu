// How a persistent kernel divides its work, and what both directions share.
//
// A *group* of CTAS blocks holds one copy of w_hh for the whole sequence, in registers and, where those do not
// suffice, in shared memory.  It runs SAMPLES samples from their first step to their last; groups know nothing of
// each other.  A block owns UNITS units: the rows of w_hh of those units.
//
// Compiled for: HIDDEN (the size, padded to 32, 64, 128, 256 or 512), CTAS, SAMPLES (a power of two), THREADS, SYNC,
// and HELD_FORWARD, HELD_BACKWARD: how many of a lane's k (forward) and rows (backward) stay in registers.
//
// The true size H <= HIDDEN is an argument.  Global arrays have the true size; what lies beyond it is zero inside
// and stays zero.

// Forward: LANES neighbouring lanes compute the ROWS products of one unit; each takes K_EACH of the HIDDEN k.
constexpr int UNITS = HIDDEN / CTAS;
constexpr int LANES = THREADS / UNITS;
constexpr int K_EACH = HIDDEN / LANES;
constexpr int CHUNKS = K_EACH / 4, HELD_CHUNKS = HELD_FORWARD / 4;   // of four k
constexpr int SPLIT = SAMPLES < LANES / SLOTS ? SAMPLES : LANES / SLOTS;  // over how many lanes samples are shared
constexpr int MINE = SAMPLES / SPLIT;                                // samples that one lane finishes
constexpr int REPLICAS = LANES / SPLIT;                              // lanes that then hold the same h
constexpr int WARP_UNITS = 32 / LANES;
constexpr int VECTOR = WARP_UNITS < 4 ? WARP_UNITS : 4;              // units per message
constexpr int SENDERS = VECTOR * REPLICAS;                           // lanes that share out the destinations
constexpr int MESSAGES = (CTAS + SENDERS - 1) / SENDERS;             // per lane and sample

// Backward: TEAM neighbouring lanes compute OUTPUTS sums over this block's rows; each takes ROWS_EACH of them.
constexpr int BLOCK_ROWS = ROWS * UNITS;
constexpr int TEAM = BLOCK_ROWS % 32 == 0 ? 8 : 4;
constexpr int TEAMS = THREADS / TEAM;
constexpr int OUTPUTS = HIDDEN / TEAMS;
constexpr int ROWS_EACH = BLOCK_ROWS / TEAM;
constexpr int ROW_CHUNKS = ROWS_EACH / 4, HELD_ROW_CHUNKS = HELD_BACKWARD / 4;
constexpr int ITEMS = (SAMPLES * UNITS + THREADS - 1) / THREADS;     // units times samples per thread
constexpr int FINISHED = OUTPUTS >= TEAM ? OUTPUTS / TEAM : 1;       // outputs that one lane finishes
constexpr int LINE = BLOCK_ROWS + 8;                                 // a padded row of dz in shared memory
constexpr int PAIR = SAMPLES < 2 ? SAMPLES : 2;                      // samples per pass and per message

constexpr bool ASYNC = SYNC == 2 && CTAS > 1;
constexpr unsigned BYTES = SAMPLES * HIDDEN * 4;                     // that a block receives in one step

static_assert(UNITS * LANES == THREADS && LANES >= SLOTS && LANES <= 32, "forward: lanes of a unit");
static_assert(K_EACH % 4 == 0 && HELD_FORWARD % 4 == 0 && HELD_CHUNKS <= CHUNKS, "forward: chunks of four");
static_assert(TEAMS * OUTPUTS == HIDDEN && OUTPUTS >= 1 && UNITS % FINISHED == 0, "backward: outputs of a team");
static_assert(ROWS_EACH * TEAM == BLOCK_ROWS && ROWS_EACH % 4 == 0 && HELD_ROW_CHUNKS <= ROW_CHUNKS, "backward: rows");
static_assert((SAMPLES & (SAMPLES - 1)) == 0, "a power of two");

DEVICE float4 load4(const float* p)
{
    PAUSE();
    ALIGNED(p);
    return *(const float4*)p;
}

// The sum over lanes of COUNT values each, left scattered: of the lanes FIRST, 2 FIRST, ... < LIMIT every one keeps
// half of the values and gives the other half away, so every lane ends with COUNT / lanes sums at the front of v.
template <int COUNT, int FIRST, int LIMIT> DEVICE void scatter_sum(float* v, int lane)
{
    if constexpr (FIRST < LIMIT) {
        if constexpr (COUNT > 1) {
            constexpr int HALF = COUNT / 2;
            const bool upper = (lane & FIRST) != 0;
UNROLL
            for (int i = 0; i < HALF; i++) {
                const float kept = upper ? v[i + HALF] : v[i], given = upper ? v[i] : v[i + HALF];
                v[i] = kept + swap_lanes(given, FIRST);
            }
            scatter_sum<HALF, FIRST * 2, LIMIT>(v, lane);
        } else {
            v[0] += swap_lanes(v[0], FIRST);
            scatter_sum<1, FIRST * 2, LIMIT>(v, lane);
        }
    }
}

// Which value comes first in a lane after scatter_sum, and whether it is the first of the lanes that have it.
template <int COUNT, int FIRST, int LIMIT> DEVICE void scatter_place(int lane, int& place, bool& primary)
{
    if constexpr (FIRST < LIMIT) {
        if constexpr (COUNT > 1) {
            if (lane & FIRST) place += COUNT / 2;
            scatter_place<COUNT / 2, FIRST * 2, LIMIT>(lane, place, primary);
        } else {
            if (lane & FIRST) primary = false;
            scatter_place<1, FIRST * 2, LIMIT>(lane, place, primary);
        }
    }
}
