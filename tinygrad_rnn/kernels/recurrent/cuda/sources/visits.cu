// The steps of a sequence, in the order in which a thread visits them; included by the kernels of whole sequences.

// The rows of one step: first .. first + count - 1 belong to samples 0 .. count - 1.
struct Visit { int first, count; };

// The steps that one group visits, in order.  With packed input (longest sequence first) starts[t] is the first row
// of step t, and the length of a group's first sample is that of the group.
struct Visits {
    const int* starts;  // (T + 1) or null: all N samples run T steps
    int steps, N;
    bool reverse;

    DEVICE Visits(const int* starts_, const int* lengths, int T, int N_, int first_sample, int reverse_)
        : starts(starts_), steps(lengths ? lengths[first_sample] : T), N(N_), reverse(reverse_ != 0) {}

    // Visit number k; beyond the last there is one of no rows.
    DEVICE Visit at(int k) const
    {
        Visit v = {0, 0};
        if (k < 0 || k >= steps) return v;
        const int t = reverse ? steps - 1 - k : k;
        v.first = starts ? starts[t] : t * N;
        v.count = starts ? starts[t + 1] - v.first : N;
        return v;
    }
};
