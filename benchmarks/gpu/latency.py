"""Family ``latency``: nanoseconds that the ways to signal between threads and blocks take, which bound a time step.

Each probe does one thing many times in one kernel: a barrier of a block; a barrier of all blocks through a counter in
global memory; a barrier of a cluster; and an exchange within a cluster in which every block sends 16 bytes to every
other and waits for all of them, by messages that count their own arrival (st.async with an mbarrier).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.backend.gpu import cupy_access
from tinygrad_rnn.backend.gpu.kernels import Launch, gpu, kernel

from .clock import milliseconds
from .places import Places
from .rows import Rows

__all__ = ["latency"]

ROUNDS = 20_000
THREADS = 256

SOURCE = r"""
extern "C" __global__ void block_barrier(int rounds)
{
    for (int i = 0; i < rounds; i++) __syncthreads();
}

extern "C" __global__ void grid_counter(unsigned* counter, int rounds)  // all blocks run at the same time
{
    for (int i = 1; i <= rounds; i++) {
        __syncthreads();
        if (threadIdx.x == 0) {
            asm volatile("red.release.gpu.global.add.u32 [%0], 1;" :: "l"(counter) : "memory");
            unsigned seen = 0;
            while (seen < (unsigned)i * gridDim.x)
                asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(counter) : "memory");
        }
        __syncthreads();
    }
}

#ifdef BLOCKS
#define MEET() \
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory")

extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1) cluster_barrier(int rounds)
{
    for (int i = 0; i < rounds; i++) MEET();
}

extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1) cluster_messages(float* out, int rounds)
{
    __shared__ alignas(16) float room[2][BLOCKS][4];
    __shared__ alignas(8) unsigned long long arrivals[2];
    const unsigned rank = blockIdx.x % BLOCKS, bytes = 16 * BLOCKS;
    const unsigned to = threadIdx.x < BLOCKS ? threadIdx.x : 0;
    const unsigned mine = (unsigned)__cvta_generic_to_shared(room), bell = (unsigned)__cvta_generic_to_shared(arrivals);
    unsigned theirs, their_bell;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(theirs) : "r"(mine), "r"(to));
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(their_bell) : "r"(bell), "r"(to));
    if (threadIdx.x == 0) {
        for (int k = 0; k < 2; k++)
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(bell + 8 * k) : "memory");
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        for (int k = 0; k < 2; k++)
            asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(bell + 8 * k), "r"(bytes)
                         : "memory");
    }
    __syncthreads();
    MEET();
    float value = rank;
    for (int i = 0; i < rounds; i++) {
        const unsigned half = i & 1, phase = (i >> 1) & 1;
        if (threadIdx.x < BLOCKS)
            asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %1, %1, %1}, [%2];"
                         :: "r"(theirs + 16 * (half * BLOCKS + rank)), "f"(value), "r"(their_bell + 8 * half)
                         : "memory");
        unsigned done = 0;
        while (!done)
            asm volatile("{\n\t.reg .pred p;\n\t"
                         "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}"
                         : "=r"(done) : "r"(bell + 8 * half), "r"(phase) : "memory");
        value = ((volatile float*)room)[4 * (half * BLOCKS + (rank + 1) % BLOCKS)] * 0.5f;
        __syncthreads();
        if (threadIdx.x == 0)
            asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(bell + 8 * half), "r"(bytes)
                         : "memory");
    }
    if (value == 12345.0f) out[0] = value;
    MEET();
}
#endif
"""


def latency(rows: Rows, places: Places) -> None:
    """Nanoseconds per round of each probe, for several numbers of blocks."""
    if places.ours == "cpu" or places.dry:
        rows.add("none", note="there is no GPU")
        return
    key, launch = "barrier of a block", Launch(threads=THREADS)
    rows.attempt(key, partial(_probe, rows, places, key, "block_barrier", (), launch, 132))
    for blocks in (2, 8, 16, 64, 128):
        key = f"counter in global memory, {blocks} blocks"
        launch = Launch(threads=THREADS, cooperative=True)
        rows.attempt(key, partial(_probe, rows, places, key, "grid_counter", (), launch, blocks))
    for blocks in (2, 4, 8, 16) if gpu().capability >= 90 else ():
        launch = Launch(threads=THREADS, cluster=blocks)
        grid = blocks if blocks > 8 else 128  # of larger clusters fewer fit
        for name, what in (("cluster_barrier", "barrier of a cluster"), ("cluster_messages", "messages in a cluster")):
            key = f"{what}, {blocks} blocks"
            rows.attempt(key, partial(_probe, rows, places, key, name, (f"-DBLOCKS={blocks}",), launch, grid))


def _probe(
    rows: Rows, places: Places, key: str, name: str, options: tuple[str, ...], launch: Launch, blocks: int
) -> None:
    run = kernel(SOURCE, name, options, launch)
    counter = cupy_access.require().zeros(64, np.uint32)
    first: tuple[Any, ...] = (counter,) if name in ("grid_counter", "cluster_messages") else ()

    def job() -> None:
        counter.fill(0)
        run(blocks, *first, np.int32(ROUNDS))

    time = milliseconds(tg, places.ours, job, repetitions=5)
    rows.add(key, **{"ns per round": time * 1e6 / ROUNDS})
