"""``tinygrad-rnn bench``: run benchmarks, print a table, write JSON.

    python -m tinygrad_rnn.bench.program [--only loops,layers,...] [--threads 2] [--json FILE]

The BLAS reads its number of threads and its choice of kernels when NumPy is imported, so the program starts itself in a
new process with the environment set.  All competitors get the same number of threads: by the variables that they read,
and by binding the process to as many cores, which XLA, having no variable, obeys.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from ..backend.cpu.environment import THREADS, described, fast
from ..errors import UsageError
from ..terminal import TolerantStream, describe_error, flush_or_silence, tolerant_streams
from .cases import BENCHMARKS, CUDA_BENCHMARKS, PEERS, Session, present
from .gpu import unavailable, waiting
from .machine import cores, machine, processor
from .measure import Result, describe, summary, write_json

__all__ = ["add_arguments", "main", "run"]

MARK = "TINYGRAD_RNN_BENCH_CHILD"
STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the program, for its own parser and for the command line's."""
    parser.add_argument("--only", help=f"which works, of {','.join(BENCHMARKS)} (default: all)", metavar="WORK,...")
    parser.add_argument("--threads", type=int, default=cores(), help="threads of everybody (default: all)", metavar="N")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, less time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number to FILE")
    parser.add_argument("--list", action="store_true", help="say what the works are, and leave")


def run(only: str | None, threads: int, device: str, quick: bool, json: Path | None, list: bool) -> int:
    """Run the benchmarks named in ``only`` in a new process with ``threads`` threads for each competitor.

    Returns:
        the exit status; 130, 143 or 129 if the run was interrupted.

    Raises:
        UsageError: an unknown work, no threads, a file that cannot be written, or no GPU.
    """
    benchmarks = BENCHMARKS if device == "cpu" else CUDA_BENCHMARKS
    if list:
        for name, benchmark in benchmarks.items():
            print(f"{name:<12}{(benchmark.__doc__ or '').splitlines()[0]}")
        return 0
    names = [*benchmarks] if only is None else only.split(",")
    unknown = [name for name in names if name not in benchmarks]
    if unknown:
        raise UsageError(f"--only: there is no work {unknown[0]!r}; choose from {', '.join(benchmarks)}")
    if not 1 <= threads <= cores():
        raise UsageError(f"--threads must be from 1 to {cores()}, the cores of this process, got {threads}")
    # Now: after an hour of measurements it would be too late.
    if json is not None and not json.absolute().parent.is_dir():
        raise UsageError(f"--json: no such folder: {json.parent}")
    reason = unavailable() if device == "cuda" else None
    if reason is not None:
        raise UsageError(f"--device cuda: {reason}")
    command = [sys.executable, "-m", f"{__package__}.program", "--only", ",".join(names), "--threads", str(threads)]
    command += ["--device", device, *["--quick"] * quick, *(["--json", str(json)] if json else [])]
    return _wait(subprocess.Popen(command, env=os.environ | _environment(threads)))


def _environment(threads: int) -> dict[str, str]:
    """The environment: equal threads for all, the fastest kernels, and JAX on the CPU without a second pool."""
    chosen = fast(several=threads > 1)
    xla = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"} if threads == 1 else {}
    numbers = dict.fromkeys((*THREADS, "NUMBA_NUM_THREADS"), str(threads))
    return numbers | chosen | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "0", MARK: " ".join(chosen) or "1"} | xla


def _wait(child: subprocess.Popen[bytes]) -> int:
    """The exit status of the child.  Ctrl-C reaches the child too, which then prints what it has measured."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)  # `kill` has sent it to this process alone

    before = {number: signal.getsignal(number) for number in STOPPING[1:]}
    with contextlib.suppress(ValueError):  # in a thread, which cannot set handlers
        for number, handler in before.items():
            signal.signal(number, handler if handler is signal.SIG_IGN else pass_on)
    try:
        while True:
            try:
                status = child.wait()
            except KeyboardInterrupt:
                # The child got it too, and is printing what it has.
                continue
            # Negative: ended by the signal of that number; a shell would report this sum.
            return status if status >= 0 else 128 - status
    finally:
        with contextlib.suppress(ValueError):
            for number, handler in before.items():
                signal.signal(number, handler)


class Progress:
    """The progress line on a terminal; nothing is printed elsewhere.

    Attributes:
        interrupted: the number of a signal to stop (Ctrl-C, ``kill``, a closed terminal); 0 if none.  A library may
            swallow the exception that it raises, so the next progress message raises it again.
    """

    def __init__(self) -> None:
        self._width = 0
        self._stream: Any = TolerantStream(sys.stderr)
        self.interrupted = 0

    def interrupt(self, number: int, *_: Any) -> NoReturn:
        """The handler of the signals."""
        self.interrupted = number
        raise KeyboardInterrupt

    def __call__(self, text: str) -> None:
        """Show ``text`` in place of what was shown before; an empty one removes it."""
        if text and self.interrupted:
            raise KeyboardInterrupt
        if self._stream.isatty():
            # Leaves the cursor at the beginning of the line, for what is printed next.
            print(f"\r{text[:100]:<{self._width}}" + "\r" * (not text), end="", file=self._stream, flush=True)
            self._width = len(text[:100])


def _child(only: str, threads: int, device: str, quick: bool, json: Path | None) -> int:
    if hasattr(os, "sched_setaffinity"):
        # Before torch or JAX is loaded: they count the cores once, for their pools of threads.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if present("torch"):
        importlib.import_module("torch").set_num_threads(threads)
    # After the process was bound to its cores, which this reports.
    facts = machine(threads)
    progress = Progress()
    for number in STOPPING:
        # Under nohup SIGHUP is ignored, and stays so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, progress.interrupt)
    print(_introduction(facts), flush=True)
    session = Session(quick, progress, waiting() if device == "cuda" else None)
    benchmarks = BENCHMARKS if device == "cpu" else CUDA_BENCHMARKS
    results: list[Result] = []
    status = 0
    try:
        for name in only.split(","):
            print(f"\n{name}: {(benchmarks[name].__doc__ or '').splitlines()[0]}", flush=True)
            for result in benchmarks[name](session):
                results.append(result)
                progress("")
                print(describe(result), flush=True)
    except KeyboardInterrupt:
        status = 128 + (progress.interrupted or signal.SIGINT)
        progress("")
        print("\ninterrupted; what was measured until then:")
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)  # printing the table takes milliseconds
    if results:
        print("\nRatios (ours / theirs: median and quartiles over rounds; goal where there is one)")
        print(summary(results))
    if json is not None:
        write_json(json, facts, results, complete=status == 0)
        print(f"\nwritten: {json}")
    return status


def _introduction(facts: dict[str, Any]) -> str:
    absent = [name for name in PEERS if name not in present(*PEERS)]
    blas = facts["blas"]
    lines = [
        f"{processor()}, {facts['threads']} thread(s) for everybody, on as many cores; Python {facts['python']}",
        f"BLAS: {blas['name']}, kernels for {blas['kernels'] or 'unknown'}",
        "packages: " + ", ".join(f"{name} {found}" for name, found in facts["packages"].items()),
    ]
    chosen = {name: os.environ[name] for name in os.environ.get(MARK, "").split() if name in os.environ}
    lines += [described(chosen)] if chosen else []
    lines += [f"not installed: {', '.join(absent)}"] if absent else []
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The program by itself: ``python -m tinygrad_rnn.bench.program``."""
    parser = argparse.ArgumentParser(prog="tinygrad-rnn bench", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    if MARK in os.environ:
        try:
            # With a file to write, a closed standard output is no reason to stop.
            with tolerant_streams() if options.json is not None else contextlib.nullcontext():
                return _child(options.only, options.threads, options.device, options.quick, options.json)
        except KeyboardInterrupt:  # before anything was measured
            return 128 + signal.SIGINT
        except BrokenPipeError:
            flush_or_silence(sys.stdout)
            return 141
        except OSError as error:
            flush_or_silence(sys.stdout)
            print(f"tinygrad-rnn bench: error: {describe_error(error)}", file=TolerantStream(sys.stderr))
            return 2
    try:
        return run(**vars(options))
    except UsageError as error:
        print(f"tinygrad-rnn bench: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
