"""A second thread beside a loop: it does what the loop can go on without, and whoever is free does the rest.

The steps of a recurrent layer wait for each other; two thirds of its products do not.  x can be projected a part ahead
of the steps that read it, and what a part of the steps leaves for the gradients of the weights and of the input can be
multiplied while the loop is at the next part.  BLAS's own threads are of less use for that: they stand idle during the
loop, and a product after it begins with waking them.

Rules:

* Work is given in pieces of a few hundred microseconds that are one or two calls into NumPy.  The threads share
  Python's lock, and to pass it on takes tens of microseconds when one of them sleeps.
* What is computed does not depend on who computes it, nor does the order of the terms of a sum.
* There is no help where other threads compute already, such as the halves of a batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from ....backend.cpu.threads import one_blas_thread
from ....typing import Array
from ..numba.threads import lend, threads_for

__all__ = ["Beside", "Task"]


class Task:
    """A piece of work, done once by whoever takes it."""

    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._work: tuple[Callable[..., object], tuple[Any, ...]] | None = (function, arguments)
        self._unfinished = threading.Lock()
        self._unfinished.acquire()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do it; an error is kept, and nothing else."""
        assert self._work is not None
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


class Beside:
    """``with Beside(...) as beside``: within, ``give`` work; what was given is done when the block is left.

    Args:
        multiplications: how many there will be beside the loop; a few stay with the caller.
        like: an array of those that are worked on.

    Attributes:
        helps: whether there is a second thread.  If not, what is given is done at once.
    """

    def __init__(self, multiplications: int, like: Array) -> None:
        self.helps = type(like) is np.ndarray and threads_for(multiplications) > 1 and not one_blas_thread.inside
        if self.helps:
            self._tasks: SimpleQueue[Task | None] = SimpleQueue()
            self._end: SimpleQueue[BaseException | None] = SimpleQueue()
            self._given: list[Task] = []

    def __enter__(self) -> Beside:
        if self.helps:
            one_blas_thread.__enter__()
            lend([(self._serve, (np.geterr(),), self._end)])
        return self

    def give(self, function: Callable[..., object], *arguments: Any) -> Task | None:
        """Have ``function(*arguments)`` done, before anything that is given later is begun; None: it is done."""
        if not self.helps:
            function(*arguments)
            return None
        task = Task(function, arguments)
        self._given.append(task)
        self._tasks.put(task)
        return task

    def wait(self, task: Task | None) -> None:
        """Return when ``task`` is done; until then, lend a hand."""
        if task is not None:
            while task.unfinished and (other := self._next()) is not None:
                other.run()
            task.wait()

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if not self.helps:
            return
        try:
            while (task := self._next()) is not None:
                if kind is None:
                    task.run()
        finally:
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
