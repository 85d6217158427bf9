"""Threads of the recurrent kernels: ranges shared out, a helper beside the time loop, and a batch split in two.

Worker threads are Python's, and run code that releases Python's lock: compiled loops, and products.  They sleep between
two pieces of work, so they take nothing from others; to wake one and to hear of its end costs about 50 us, which is why
small pieces stay with their caller.  BLAS meanwhile uses one thread, that of its caller.

Three ways to use them:

* :func:`share`: each thread takes a range of sequences, or of rows, and waits for no other.
* :class:`Helper`: a thread that overlaps independent work with the sequential time loop.
* :class:`SplitBatch`: NumPy's kernels, with half of the batch in each of two threads.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from ...backend.cpu.threads import get_num_threads, one_blas_thread
from ...typing import Array
from .interface import Cotangents, Gradients, Needs, Options, Run

__all__ = ["Helper", "SplitBatch", "Task", "evenly", "helper_for", "lend", "share", "threads_for"]

# worker threads -------------------------------------------------------------------------------------------------------

WORTHWHILE = 10_000_000
"""Multiplications and additions that one thread does in about 120 us; with fewer, a second one hardly helps."""

Ends = SimpleQueue["BaseException | None"]
Work = tuple[Callable[..., object], tuple[Any, ...], Ends]

_workers: list[SimpleQueue[Work]] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.clear)  # a forked child has only the thread that forked


def threads_for(products: int) -> int:
    """How many threads to use for so many multiplications and additions."""
    worthwhile = products // WORTHWHILE
    return min(get_num_threads(), worthwhile) if worthwhile > 1 else 1


def evenly(count: int, parts: int) -> list[tuple[int, int]]:
    """``range(count)`` in ``parts`` ranges of about the same length, none of them empty.

    >>> evenly(5, 2)
    [(0, 2), (2, 5)]
    """
    cuts = [count * k // parts for k in range(parts + 1)]
    return [(low, high) for low, high in itertools.pairwise(cuts) if low < high]


def share(function: Callable[..., object], ranges: Sequence[tuple[int, ...]], *arguments: Any) -> None:
    """Call ``function(*range, *arguments)`` for every range, each in a thread of its own, the first in this one."""
    # one range is the caller's; BLAS's own threads stay out of it, or they would be woken at every product
    if len(ranges) <= 1:
        for only in ranges:
            with one_blas_thread:
                function(*only, *arguments)
        return
    ends: Ends = SimpleQueue()
    with one_blas_thread:
        lend([(function, (*numbers, *arguments), ends) for numbers in ranges[1:]])
        try:
            function(*ranges[0], *arguments)
        finally:
            # also after an error here: the workers still use the arguments
            errors = [ends.get() for _ in ranges[1:]]
    error = next(filter(None, errors), None)
    try:
        if error is not None:
            raise error
    finally:
        del error, errors  # which hold this frame


def lend(works: Sequence[Work]) -> None:
    """Have each of ``works`` done by a thread of its own: a function, its arguments, and who is told of its end."""
    while len(_workers) < len(works):
        _workers.append(_start())
    for worker, work in zip(_workers, works, strict=False):
        worker.put(work)


def _start() -> SimpleQueue[Work]:
    work: SimpleQueue[Work] = SimpleQueue()
    threading.Thread(target=_serve, args=(work,), name="tinygrad_rnn kernel", daemon=True).start()
    return work


def _serve(work: SimpleQueue[Work]) -> None:
    while True:
        function, arguments, ends = work.get()
        try:
            function(*arguments)
        except BaseException as error:
            ends.put(error)
        else:
            ends.put(None)
        del function, arguments, ends  # keep nothing alive while asleep


# a helper beside the time loop ----------------------------------------------------------------------------------------


class Task:
    """A piece of work, done once, by the helper or by its caller."""

    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._work: tuple[Callable[..., object], tuple[Any, ...]] | None = (function, arguments)
        self._unfinished = threading.Lock()
        # a lock held until the task is done is the cheapest event that can be waited for
        self._unfinished.acquire()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do it; an error is kept, and nothing else."""
        assert self._work is not None
        # dropped before the call: a task that is kept for its error must not keep arrays alive
        (function, arguments), self._work = self._work, None
        try:
            function(*arguments)
        except BaseException as error:
            self.error = error
        finally:
            self._unfinished.release()

    @property
    def unfinished(self) -> bool:
        """Whether it is yet to be done, or being done."""
        return self._unfinished.locked()

    def wait(self) -> None:
        """Return when it is done, and raise its error if there was one."""
        with self._unfinished:
            error, self.error = self.error, None  # which holds this frame and the task
        try:
            if error is not None:
                raise error
        finally:
            del error


class Helper:
    """Helper thread that overlaps independent work with the sequential time loop: ``with Helper(...) as helper``.

    The steps of a recurrent layer wait for each other; two thirds of its products do not.  x can be projected a part
    ahead of the steps that read it, and what a part of the steps leaves for the gradients of the weights and of the
    input can be multiplied while the loop is at the next part.  BLAS's own threads are of less use for that: they are
    idle during the loop, and a product after it begins with waking them.

    Rules:

    * Work is given in pieces of a few hundred microseconds that are one or two calls into NumPy.  The threads share
      Python's lock, and to pass it on takes tens of microseconds when one of them sleeps.
    * What is computed does not depend on which thread computes it, nor does the order of the terms of a sum.
    * All that was given is done when the block is left.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._end: SimpleQueue[BaseException | None] = SimpleQueue()
        self._given: list[Task] = []

    def __enter__(self) -> Helper:
        one_blas_thread.__enter__()
        # errstate is thread-local: pass it on
        lend([(self._serve, (np.geterr(),), self._end)])
        return self

    def give(self, function: Callable[..., object], *arguments: Any) -> Task:
        """Have ``function(*arguments)`` done; it is begun before anything that is given later."""
        task = Task(function, arguments)
        self._given.append(task)
        self._tasks.put(task)
        return task

    def wait(self, task: Task) -> None:
        """Return when ``task`` is done; until then, do what is not yet begun."""
        # the helper may be busy with an earlier task: the caller takes the next one instead of sleeping
        while task.unfinished and (other := self._next()) is not None:
            other.run()
        task.wait()

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            while (task := self._next()) is not None:
                # after an error of the loop what is not begun is dropped
                if kind is None:
                    task.run()
        finally:
            # ends the helper's loop; its thread goes back to the workers
            self._tasks.put(None)
            self._end.get()
            one_blas_thread.__exit__()
        for task in self._given:
            if kind is None:
                task.wait()
            task.error = None

    def _next(self) -> Task | None:
        try:
            return self._tasks.get_nowait()
        except Empty:
            return None

    def _serve(self, quiet: Any) -> None:
        with np.errstate(**quiet):  # which a thread does not take over from its caller
            while (task := self._tasks.get()) is not None:
                task.run()


def helper_for(multiplications: int, like: Array) -> Helper | None:
    """A helper for so many multiplications beside the loop, on arrays such as ``like``; None where it would not pay.

    There is none where other threads compute already, such as the halves of a batch.
    """
    pays = type(like) is np.ndarray and threads_for(multiplications) > 1 and not one_blas_thread.inside
    return Helper() if pays else None


# a batch in two halves ------------------------------------------------------------------------------------------------

STEPS, ROWS, WORK = 8, 8, 1_000_000
"""The fewest steps, rows of a half, and multiplications of a gate at a step of a half."""

TWO = [(0, 1), (1, 2)]


class Halves(NamedTuple):
    """The residuals of two halves of a batch."""

    first: Any
    second: Any


class SplitBatch:
    """``kernel``, one of NumPy's, with each half of the batch in a thread of its own where that pays.

    The product of a step has too few rows for BLAS's own threads: they have to be woken at every step, and to pack the
    weight.  The halves are independent; what they compute for a weight is added at the end.  They share
    Python's lock, so this pays only where a step consists of large products.  The time against one half that is the
    whole batch, on two cores of a Zen 4, float32, T = 64, forward and backward:

        N, H      32, 512   32, 256   64, 192   16, 256   32, 192   64, 128   32, 128   8, 512   8, 256
        RNN         0.80      0.92      0.89                                                       1.08
        GRU         0.80      0.83                0.94      1.06                         1.02      1.14
        LSTM        0.75      0.81                                    0.94      1.08

    Packed sequences stay whole: a half of them is not a range of rows.
    """

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def forward(self, x: Array, states: tuple[Array, ...], weights: tuple[Any, ...], options: Options) -> Run:
        """That of the kernel."""
        if not _worthwhile(x, states, options):
            return self.kernel.forward(x, states, weights, options)  # type: ignore[no-any-return]
        run = self.kernel.forward
        first, second = self._both(
            lambda half: run(x[:, half], _cut(states, half), weights, _of(half, options)), x.shape[1]
        )
        left = Halves(first.residual, second.residual) if options.save else None
        return Run(_whole(first.series, second.series, 1), _whole(first.states, second.states, 0), left)

    def restore(self, x: Array, states: tuple[Array, ...], weights: tuple[Any, ...], options: Options, y: Array) -> Any:
        """That of the kernel, if it has one."""
        make = self.kernel.restore
        if not _worthwhile(x, states, options):
            return make(x, states, weights, options, y)
        halves = self._both(
            lambda half: make(x[:, half], _cut(states, half), weights, _of(half, options), y[:, half]), x.shape[1]
        )
        return Halves(*halves)

    def backward(
        self,
        x: Array,
        states: tuple[Array, ...],
        weights: tuple[Any, ...],
        options: Options,
        residual: Any,
        cotangents: Cotangents,
        needs: Needs,
    ) -> Gradients:
        """That of the kernel, for a residual that is one or for a pair of them."""
        if not isinstance(residual, Halves):
            found: Gradients = self.kernel.backward(x, states, weights, options, residual, cotangents, needs)
            return found

        def run(half: slice) -> Gradients:
            series = tuple([None if g is None else g[:, half] for g in cotangents.series])
            given = Cotangents(series, _cut(cotangents.states, half))
            left = residual[half.start > 0]
            here = x[:, half], _cut(states, half), weights, _of(half, options)
            done: Gradients = self.kernel.backward(*here, left, given, needs)
            return done

        first, second = self._both(run, x.shape[1])
        # each half has summed over its own sequences
        sums = [None if a is None else np.add(a, b, out=a) for a, b in zip(first.weights, second.weights, strict=True)]
        (dx,) = _whole((first.x,), (second.x,), 1)
        return Gradients(dx, _whole(first.states, second.states, 0), tuple(sums))

    def _both(self, run: Callable[[slice], Any], batch: int) -> list[Any]:
        halves = [slice(0, batch // 2), slice(batch // 2, batch)]
        results: list[Any] = [None, None]
        quiet = np.geterr()  # errstate is thread-local: pass it on

        def work(k: int, _: int) -> None:
            with np.errstate(**quiet):
                results[k] = run(halves[k])

        share(work, TWO)
        return results


def _cut(states: tuple[Array | None, ...], half: slice) -> tuple[Array | None, ...]:
    """Those of half of the sequences."""
    return tuple([None if state is None else state[half] for state in states])


def _of(half: slice, options: Options) -> Options:
    """The options of half of the sequences."""
    if not options.step_masks and not options.sequence_masks:
        return options
    of_steps = tuple([mask[:, half] for mask in options.step_masks])
    of_sequences = tuple([mask[half] for mask in options.sequence_masks])
    return options._replace(step_masks=of_steps, sequence_masks=of_sequences)


def _whole(first: tuple[Any, ...], second: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    """What the two halves gave, as arrays of the whole batch; None where they gave None."""
    pairs = zip(first, second, strict=True)
    return tuple([None if a is None else np.concatenate([a, b], axis=axis) for a, b in pairs])


def _worthwhile(x: Array, states: tuple[Array, ...], options: Options) -> bool:
    rows, size = states[-1].shape[0] // 2, states[-1].shape[1]  # the cheap tests first: most layers are small
    if rows < ROWS or rows * size * size < WORK or x.shape[0] < STEPS or options.sizes is not None:
        return False
    return type(x) is np.ndarray and get_num_threads() > 1
