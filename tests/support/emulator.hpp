// The execution model of CUDA on one CPU thread, to run the kernels' own sources where there is no GPU.
//
// Every CUDA thread is a fiber.  A fiber runs until it waits for others (a barrier, a shuffle, an mbarrier); warps
// take turns in a random order and at random stand still for a while; `lag` lets single threads fall behind between
// two reads of memory.  Messages of st.async are delivered late, in random order.  So a kernel that misses a barrier
// or reuses a buffer too early computes something else under some seed.  Shared memory starts as nan and has exactly
// the size of the launch; a write beyond it, a misaligned message, a deadlock and a message that nobody waits for
// are errors.  What is not modelled: weak memory orders other than late messages, and time.
//
// Included before the sources, which leave out their PTX where EMULATED is defined; after them, a table
// EMULATED_KERNELS of names makes the kernels callable by name, with arguments as cuLaunchKernel takes them.
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#define EMULATED
#define DEVICE inline
#define CLUSTER
#define __global__
#define __restrict__
#define __launch_bounds__(...)
#define SHARED(name) float* const name = emu::blocks[emu::running->block].shared.data()
#define SPIN() emu::wait_a_turn()
#define PAUSE() emu::fall_behind()
#define ALIGNED(p) do { if ((size_t)(p) & 15) emu::fail("a misaligned load"); } while (0)

using std::max;
using std::min;
struct alignas(16) float4 { float x, y, z, w; };
struct Index { int x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;

namespace emu {

struct Barrier { int members = 0, arrived = 0; unsigned generation = 0; };
struct Mbarrier {
    long bytes = 0;  // announced and not yet come
    int pending = 1;
    unsigned phase = 0;
    void check() { if (!pending && !bytes) { phase ^= 1; pending = 1; } }
};
struct Block { std::vector<float> shared; Barrier barrier; Mbarrier arrivals[2]; };
struct Warp { Barrier barrier; double slots[32]; };
struct Message { unsigned block, place, which; float values[4]; int count; };
struct Fiber {
    ucontext_t context;
    jmp_buf where;
    std::vector<char> stack;
    int block, thread;
    bool started, done;
    const Barrier* barrier;  // that it waits for, at this generation
    unsigned generation;
    const Mbarrier* arrivals;  // that it waits for, at this phase
    unsigned phase;
};

static std::vector<Block> blocks;
static std::vector<Warp> warps;
static std::vector<Barrier> clusters;
static std::vector<Fiber> fibers;
static std::vector<Message> messages;
static Fiber* running;
static jmp_buf scheduler;
static std::mt19937 dice;
static int cluster_size, lag;
static std::string failure;
static void (*entry)();

static void wait_a_turn() { if (!_setjmp(running->where)) _longjmp(scheduler, 1); }

[[noreturn]] static void fail(const char* what) { failure = what; running->done = true; _longjmp(scheduler, 1); }

static void fall_behind() { if (lag && dice() % 4096 == 0) for (int k = dice() % lag; k--;) wait_a_turn(); }

static void meet(Barrier& b)
{
    const unsigned generation = b.generation;
    if (++b.arrived == b.members) { b.arrived = 0; b.generation++; return; }
    running->barrier = &b;
    running->generation = generation;
    while (b.generation == generation) wait_a_turn();
    running->barrier = nullptr;
}

static void put(unsigned block, unsigned place, float value)
{
    if (place >= blocks[block].shared.size()) fail("a store beyond shared memory");
    blocks[block].shared[place] = value;
}

static void deliver_one()
{
    std::swap(messages[dice() % messages.size()], messages.back());
    const Message m = messages.back();
    messages.pop_back();
    for (int i = 0; i < m.count; i++) blocks[m.block].shared[m.place + i] = m.values[i];
    Mbarrier& b = blocks[m.block].arrivals[m.which];
    b.bytes -= 4 * m.count;
    b.check();
}

template <class T> static T shuffle(T v, int lane)
{
    Warp& w = warps[(running->block * blockDim.x + running->thread) / 32];
    w.slots[running->thread % 32] = v;
    meet(w.barrier);
    const T found = (T)w.slots[lane];
    meet(w.barrier);
    return found;
}

}  // namespace emu

// The words of CUDA and of signals.cu --------------------------------------------------------------------------------

static void __syncthreads() { emu::meet(emu::blocks[emu::running->block].barrier); }
static void __threadfence() {}
template <class T> static T __ldcg(const T* p) { return *p; }
template <class T> static T swap_lanes(T v, int mask) { return emu::shuffle(v, (emu::running->thread % 32) ^ mask); }
static float from_lane(float v, int lane) { return emu::shuffle(v, lane); }
static unsigned load_acquire(const unsigned* p) { return *(volatile const unsigned*)p; }
static void add_release(unsigned* p) { ++*p; }
static void meet_cluster() { emu::meet(emu::clusters[emu::running->block / emu::cluster_size]); }
static unsigned remote_base(const float*, unsigned rank)
{
    return emu::running->block / emu::cluster_size * emu::cluster_size + rank;
}
static void store_remote(unsigned remote, unsigned place, float value) { emu::put(remote, place, value); }
static void send(unsigned remote, unsigned place, unsigned which, const float* v, int count)
{
    if (place % count) emu::fail("a misaligned message");
    if (place + count > emu::blocks[remote].shared.size()) emu::fail("a message beyond shared memory");
    emu::Message m = {remote, place, which, {}, count};
    std::copy(v, v + count, m.values);
    emu::messages.push_back(m);
}
static void prepare_arrivals(float*)
{
    for (auto& b : emu::blocks[emu::running->block].arrivals) b = emu::Mbarrier();
}
static void expect(float*, unsigned which, unsigned bytes)
{
    emu::Mbarrier& b = emu::blocks[emu::running->block].arrivals[which];
    b.bytes += bytes;
    b.pending--;
    b.check();
}
static void await(float*, unsigned which, unsigned parity)
{
    const emu::Mbarrier& b = emu::blocks[emu::running->block].arrivals[which];
    emu::running->arrivals = &b;
    emu::running->phase = parity;
    while (b.phase == parity) emu::wait_a_turn();
    emu::running->arrivals = nullptr;
}

// Launches -----------------------------------------------------------------------------------------------------------

namespace emu {

static void first_entry() { entry(); running->done = true; _longjmp(scheduler, 1); }

static void resume(Fiber& f)
{
    running = &f;
    threadIdx.x = f.thread;
    blockIdx.x = f.block;
    if (_setjmp(scheduler)) return;
    if (f.started) _longjmp(f.where, 1);
    f.started = true;
    setcontext(&f.context);
}

static bool blocked(const Fiber& f)
{
    if (f.barrier && f.barrier->generation == f.generation) return true;
    return f.done || (f.arrivals && f.arrivals->phase == f.phase);
}

static void prepare(int grid, int threads, int cluster, long shared_bytes, unsigned seed)
{
    gridDim = {grid, 1, 1};
    blockDim = {threads, 1, 1};
    cluster_size = cluster;
    dice.seed(seed);
    failure.clear();
    messages.clear();
    blocks.assign(grid, Block());
    clusters.assign((grid + cluster - 1) / cluster, Barrier());
    warps.assign((size_t)grid * threads / 32, Warp());
    for (auto& b : blocks) { b.shared.assign(shared_bytes / 4, NAN); b.barrier.members = threads; }
    for (auto& c : clusters) c.members = threads * cluster;
    for (auto& w : warps) w.barrier.members = 32;
    fibers.resize((size_t)grid * threads);
    for (size_t i = 0; i < fibers.size(); i++) {
        Fiber& f = fibers[i];
        f.block = i / threads;
        f.thread = i % threads;
        f.started = f.done = false;
        f.barrier = nullptr;
        f.arrivals = nullptr;
        f.stack.resize(65536);
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.data();
        f.context.uc_stack.ss_size = f.stack.size();
        f.context.uc_link = nullptr;
        makecontext(&f.context, first_entry, 0);
    }
}

static void run()
{
    std::vector<size_t> order(warps.size());
    for (size_t i = 0; i < order.size(); i++) order[i] = i;
    size_t left = fibers.size();
    for (long idle = 0; left;) {
        std::shuffle(order.begin(), order.end(), dice);
        const size_t before = left;
        bool moved = false;
        for (size_t w : order) {
            if (dice() % 4 == 0) continue;  // this warp stands still
            for (size_t i = w * 32; i < w * 32 + 32; i++) {
                if (blocked(fibers[i])) continue;
                moved = true;
                resume(fibers[i]);
                if (!failure.empty()) return;
                if (fibers[i].done) left--;
            }
            for (int k = dice() % 64; k-- && !messages.empty();) deliver_one();
        }
        idle = left < before || moved ? (left < before ? 0 : idle + 1) : idle + 100;
        if (idle > 2000000) { failure = "a deadlock"; return; }
    }
    if (!messages.empty()) failure = "messages that nobody waited for";
}

// Arguments behind pointers, as cuLaunchKernel takes them, and their types as letters.
static void** arguments;
template <class... A> struct Call {
    template <void (*F)(A...), size_t... I> static void with(std::index_sequence<I...>) { F(*(A*)arguments[I]...); }
};
template <auto F> struct Kernel;
template <class... A, void (*F)(A...)> struct Kernel<F> {
    static void call() { Call<A...>::template with<F>(std::index_sequence_for<A...>()); }
    static const char* letter(const float*) { return "f"; }
    static const char* letter(const double*) { return "d"; }
    static const char* letter(const int*) { return "i"; }
    static const char* letter(const unsigned*) { return "u"; }
    template <class T> static std::string type() {
        if constexpr (std::is_pointer_v<T>) return std::string(letter(T())) + "*";
        else { T value{}; return letter(&value); }
    }
    static std::string types() { std::string all; ((all += type<A>() + " "), ...); return all; }
};
struct Entry { const char* name; void (*call)(); std::string (*types)(); };

}  // namespace emu

#define EMULATED_KERNEL(f) emu::Entry{#f, emu::Kernel<f>::call, emu::Kernel<f>::types},
