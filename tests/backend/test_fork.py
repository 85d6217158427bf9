"""A process that forks while another of its threads computes: the child has nothing of what that thread was at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORKS = 20

PROGRAM = """
import os, signal, sys, threading, time
import tinygrad_rnn as tg
from tinygrad_rnn.backend.cpu.threads import one_blas_thread

work, forks = sys.argv[1], int(sys.argv[2])
tg.set_num_threads(2)
layer, x = tg.nn.LSTM(64, 64), tg.ones(12, 64, 64)
mine = tg.Generator().manual_seed(1)
w = tg.ones(8, 8, requires_grad=True)
if work == "cells":
    from tinygrad_rnn.ops.compiler.cell import compile_step
if work == "compiler":
    from numba.core.compiler_lock import global_compiler_lock as compiling
    layer(x)                              # has Numba's part of this package loaded

def run():
    if work == "layer":
        layer(x)[0].sum().backward()
    elif work == "lock":
        with one_blas_thread:
            pass
    elif work == "cells":
        cell = compile_step(lambda x, s: tg.tanh(x @ w + s[0]), 8, (8,), {"w": w}, dtype="float32")
        cell.explain()
        with tg.backends.recurrent.only("numpy"):
            for _ in range(5):
                cell.sequence(tg.ones(2, 1, 8), (tg.zeros(1, 8),), {"w": w})
    elif work == "compiler":
        with compiling:                   # what compiles holds this, for seconds
            time.sleep(0.01)
    else:
        tg.rand(100_000), tg.rand(100_000, generator=mine)

def loop():
    while going:
        run()

def in_child():
    signal.alarm(20)                      # a child that hangs dies
    if tg.get_num_threads() != 2:
        return 3
    run()
    if work == "compiler":
        tg.nn.GRU(64, 64)(x)              # the first of its kind, so that it is compiled or loaded
    tg.set_num_threads(3)
    if tg.get_num_threads() != 3 or one_blas_thread.inside:
        return 4
    return 0

run()
going, ends = True, []
others = [threading.Thread(target=loop, daemon=True) for _ in range(2)]
for other in others:
    other.start()
for _ in range(forks):
    child = os.fork()
    if not child:
        code = 5
        try:
            code = in_child()
        finally:
            os._exit(code)
    ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if ends[-1]:
        break
going = False
for other in others:
    other.join()
print(*ends)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("work", ["layer", "lock", "draws", "compiler", "cells"])
def test_a_child_of_a_process_whose_threads_compute_is_whole(work: str) -> None:
    if work == "compiler":
        pytest.importorskip("numba")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, work, str(FORKS)]
    done = subprocess.run(command, env=environment, cwd=ROOT, timeout=120, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["0"] * FORKS), done.stderr
