// How the blocks of a group talk to each other: the words of PTX, each in a function of its own.
//
// SYNC tells which words are used:
//     2  a thread-block cluster; results are sent into the others' shared memory by st.async, and their arrival is
//        the signal (compute capability 9.0).  The loops then contain no fence, and a fence is what costs: anything
//        that releases at cluster scope also waits for the step's stores to global memory.
//     1  a thread-block cluster with plain remote stores and the cluster's barrier.
//     0  global memory and a counter per group: any GPU, but all blocks of a group must run at the same time.
//
// Every block has two mbarriers at the start of its shared memory, one per half of its double buffer.  A phase of
// such a barrier ends when its one arrival has been made and all announced bytes have come.
#define HEADER 4  // floats that the two mbarriers take
#ifndef EMULATED
#define SPIN()
#if SYNC >= 1 && CTAS > 1
#define CLUSTER __cluster_dims__(CTAS, 1, 1)

// The address at which this thread sees the shared memory of another block of its cluster.
DEVICE unsigned remote_base(const float* base, unsigned rank)
{
    const unsigned mine = (unsigned)__cvta_generic_to_shared(base);
    unsigned theirs;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(theirs) : "r"(mine), "r"(rank));
    return theirs;
}

DEVICE void store_remote(unsigned remote, unsigned place, float value)
{
    asm volatile("st.shared::cluster.f32 [%0], %1;" :: "r"(remote + place * 4), "f"(value) : "memory");
}

// Send `count` (1, 2 or 4) floats to place .. of another block; their arrival counts for its mbarrier `which`.
DEVICE void send(unsigned remote, unsigned place, unsigned which, const float* v, int count)
{
    const unsigned a = remote + place * 4, m = remote + which * 8;
    if (count == 4)
        asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];"
                     :: "r"(a), "f"(v[0]), "f"(v[1]), "f"(v[2]), "f"(v[3]), "r"(m) : "memory");
    else if (count == 2)
        asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];"
                     :: "r"(a), "f"(v[0]), "f"(v[1]), "r"(m) : "memory");
    else
        asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.f32 [%0], %1, [%2];"
                     :: "r"(a), "f"(v[0]), "r"(m) : "memory");
}

// By one thread, before the cluster first meets.
DEVICE void prepare_arrivals(float* base)
{
    const unsigned a = (unsigned)__cvta_generic_to_shared(base);
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(a) : "memory");
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(a + 8) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// By one thread: announce the bytes of the phase that begins.
DEVICE void expect(float* base, unsigned which, unsigned bytes)
{
    const unsigned a = (unsigned)__cvta_generic_to_shared(base) + which * 8;
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(a), "r"(bytes) : "memory");
}

// By every thread: wait for the end of the phase of this parity.
DEVICE void await(float* base, unsigned which, unsigned parity)
{
    const unsigned a = (unsigned)__cvta_generic_to_shared(base) + which * 8;
    unsigned done;
    do {
        asm volatile("{\n.reg .pred p;\n"
#ifdef ACQUIRE_CLUSTER  // the memory model's letter: adds an invalidation of the first-level cache to every step
                     "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n"
#else
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
#endif
                     "selp.u32 %0, 1, 0, p;\n}" : "=r"(done) : "r"(a), "r"(parity) : "memory");
    } while (!done);
}

DEVICE void meet_cluster()
{
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
#else
#define CLUSTER
DEVICE unsigned remote_base(const float*, unsigned) { return 0; }
DEVICE void store_remote(unsigned, unsigned, float) {}
DEVICE void send(unsigned, unsigned, unsigned, const float*, int) {}
DEVICE void prepare_arrivals(float*) {}
DEVICE void expect(float*, unsigned, unsigned) {}
DEVICE void await(float*, unsigned, unsigned) {}
DEVICE void meet_cluster() { __syncthreads(); }
#endif

DEVICE unsigned load_acquire(const unsigned* p)
{
    unsigned value;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(p) : "memory");
    return value;
}

DEVICE void add_release(unsigned* p)
{
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" :: "l"(p) : "memory");
}
#endif

// A meeting of the CTAS blocks of one group through a counter in global memory (SYNC 0).
DEVICE void meet_group(unsigned* counter, unsigned target)
{
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        add_release(counter);
        while (load_acquire(counter) < target) { SPIN(); }
    }
    __syncthreads();
}

// The end of step number `step`, counted from 1, where arrivals are not the signal.  Counters lie a cache line apart.
DEVICE void end_step(unsigned* counters, int group, unsigned step)
{
    if (CTAS == 1) __syncthreads();
    else if (SYNC == 1) meet_cluster();
    else if (SYNC == 0) meet_group(counters + group * 32, step * CTAS);
}
