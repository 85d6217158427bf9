// Arguments of the kernels of whole sequences of which a cell has several, as lists: its text defines EACH_STATE,
// EACH_VECTOR, EACH_MASK and EACH_WAS, which apply a macro to the numbers 0, 1, ...  Loops over such a list are
// unrolled, so that it is not there when the kernel runs.
#define READ(k, name) const real* __restrict__ name##k,
#define WRITTEN(k, name) real* __restrict__ name##k,
#define NAME(k, name) name##k,

#ifdef ALL_SERIES
#define EACH_SERIES EACH_STATE
constexpr int SERIES = STATES;
#else  // state 0 after each step is the layer's output, the others are seldom asked for
#define EACH_SERIES(ARGUMENT, name) ARGUMENT(0, name)
constexpr int SERIES = 1;
#endif

#define VECTOR_ARGUMENTS EACH_VECTOR(READ, vector_)
#define MASK_ARGUMENTS EACH_MASK(READ, mask_)
#define INITIAL_ARGUMENTS EACH_STATE(READ, initial_)
#define SERIES_ARGUMENTS EACH_SERIES(WRITTEN, series_)
#define FINAL_ARGUMENTS EACH_STATE(WRITTEN, final_)
#define EARLIER_ARGUMENTS EACH_STATE(WRITTEN, earlier_)
#define WAS_ARGUMENTS EACH_WAS(READ, was_)
#define SERIES_COTANGENTS EACH_SERIES(READ, d_series_)
#define FINAL_COTANGENTS EACH_STATE(READ, d_final_)
#define INITIAL_COTANGENTS EACH_STATE(WRITTEN, d_initial_)

#define LIST_VECTORS const real* const vectors[] = {EACH_VECTOR(NAME, vector_) nullptr}
#define LIST_MASKS const real* const masks[] = {EACH_MASK(NAME, mask_) nullptr}
#define LIST_INITIAL const real* const initial[] = {EACH_STATE(NAME, initial_)}
#define LIST_SERIES real* const series[] = {EACH_SERIES(NAME, series_)}
#define LIST_FINAL real* const final[] = {EACH_STATE(NAME, final_)}
#define LIST_EARLIER real* const earlier[] = {EACH_STATE(NAME, earlier_)}
#define LIST_WAS const real* const was[] = {EACH_WAS(NAME, was_) nullptr}
#define LIST_D_SERIES const real* const d_series[] = {EACH_SERIES(NAME, d_series_)}
#define LIST_D_FINAL const real* const d_final[] = {EACH_STATE(NAME, d_final_)}
#define LIST_D_INITIAL real* const d_initial[] = {EACH_STATE(NAME, d_initial_)}
