"""Compilation: from the step of a cell to its program, and from the program to kernels, one for each backend.

:func:`compile_program` traces a step twice, lowers the trace and checks the program on the arrays of both probes.  The
arrays are not kept.  What follows from the program alone is a :class:`Compiled`: the text of its kernels, and these.

Two cells that do the same, as the layers of a stack or its two directions, have the same trace up to the numbers in it,
and share a :class:`Compiled`.  Cells of other sizes have a program of their own, but as a rule the same text, and by
this the same machine code (:mod:`.generated_modules`).

Any thread may compile; one does at a time.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from ...kernels.recurrent.interface import Kernel, KernelUnavailable
from ...kernels.recurrent.numba import stamp
from ...tape.tensor import Tensor
from ...typing import Array
from . import generated_modules
from .program import Program, lower
from .replay import check
from .trace import Mask, Step, Trace, Traced, trace
from .units import Unknown

__all__ = ["Compiled", "compile_program"]

GENERATORS = {
    "numba": ("numba_host", "text_kernel"),
    "numpy": ("numpy_host", "text_kernel"),
    "cuda": ("cuda_kernel", "cuda_kernel"),
}
"""By backend, the module whose ``generate(program)`` gives the text, as ``.text`` of its result, and the module whose
``CellKernel(program, generated)`` is the kernel.  They are imported when they are first asked for."""

_lock = threading.RLock()  # reentrant: a signal handler may fork while its thread holds it
if hasattr(os, "register_at_fork"):  # a child of a process that compiles in another thread would wait for ever
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_known: WeakValueDictionary[bytes, Compiled] = WeakValueDictionary()


class Compiled:
    """What follows from the program of a step: texts and kernels.

    Attributes:
        program: the step over units.
        refusals: by backend that was asked for, why there is no kernel; None if there is one.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.refusals: dict[str, str | None] = {}
        self._generated: dict[str, Any] = {}
        self._kernels: dict[str, Kernel[Any]] = {}

    def _of(self, backend: str) -> Any:
        """What the generator of a backend gives; or the reason, a string, why it gives nothing."""
        with _lock:
            if backend not in self._generated:
                if backend in GENERATORS:
                    text = importlib.import_module(f".{GENERATORS[backend][0]}", __package__)
                    try:
                        self._generated[backend] = text.generate(self.program)
                    except Unknown as error:
                        self._generated[backend] = str(error)
                else:
                    self._generated[backend] = f"kernels of cells are not generated for {backend}"
            found = self._generated[backend]
            self.refusals[backend] = found if isinstance(found, str) else None
            return found

    def refusal(self, backend: str) -> str | None:
        """Why there is no kernel of a backend; None if there is one."""
        if backend not in self.refusals:
            self._of(backend)
        return self.refusals[backend]

    def remark(self, backend: str) -> str:
        """What is to be said of how a backend runs it; nothing if there is nothing to choose from."""
        return str(getattr(self._of(backend), "remark", ""))

    def text(self, backend: str) -> str:
        """The generated text of the kernel of a backend.

        Raises:
            KernelUnavailable: there is none.
        """
        found = self._of(backend)
        if isinstance(found, str):
            raise KernelUnavailable(found)
        text: str = found.text
        return text

    def kernel(self, backend: str) -> Kernel[Any]:
        """The kernel of a backend.

        Raises:
            KernelUnavailable: there is none, or it cannot be made.
        """
        found = self._kernels.get(backend)
        if found is None:
            with _lock:
                self.text(backend)  # or the reason
                module = importlib.import_module(f".{GENERATORS[backend][1]}", __package__)
                found = self._kernels.setdefault(backend, module.CellKernel(self.program, self._of(backend)))
        return found

    def compiled_already(self, backend: str, dtype: Any, backward: bool = True) -> bool:
        """Whether the kernel of a backend would run at once: compiled by this process, or by another, to the disk.

        Without ``backward``, whether it would run forward: a process that only infers never compiles the way back.

        What Numba keeps on the disk is looked for by the name of its file, the version of Python, the sources of this
        package and the dtype.  That it is of this processor, too, and of this version of Numba, shows when it is
        loaded.  Of CUDA's kernels only those of this process are known; NumPy's are text, which is not compiled.
        """
        if self.refusal(backend) is not None:
            return False
        if backend != "numba":
            return backend == "numpy" or backend in self._kernels
        where = generated_modules.file_of(self.text(backend))
        if where is None or os.environ.get("NUMBA_CACHE_DIR"):
            return False
        version = f"py{sys.version_info.major}{sys.version_info.minor}"
        marks = [stamp().encode(), f"array({np.dtype(dtype).name}".encode()]
        return all(
            any(_holds(file, marks) for file in where.parent.glob(f"__pycache__/{where.stem}.{name}-*.{version}*.nbi"))
            for name in (("forward", "backward") if backward else ("forward",))
        )


def _holds(file: Path, marks: Sequence[bytes]) -> bool:
    try:
        content = file.read_bytes()
    except OSError:
        return False
    return all(mark in content for mark in marks)


def compile_program(
    step: Step,
    input_size: int,
    widths: Sequence[int],
    parameters: Mapping[str, Tensor],
    *,
    dtype: Any,
    emitted: int = 0,
    step_masks: Sequence[Mask | int] = (),
    sequence_masks: Sequence[Mask | int] = (),
) -> Compiled:
    """Trace a step, lower the trace, and check the program; arguments as of :func:`.trace.trace`.

    Raises:
        Refused: the step does what cannot be compiled.
    """
    with _lock:
        probes = trace(
            step,
            input_size,
            widths,
            parameters,
            dtype,
            emitted=emitted,
            step_masks=step_masks,
            sequence_masks=sequence_masks,
        )
        key = _structure(probes[0])
        found = _known.get(key)
        if found is None:
            found = Compiled(lower(probes[0]))
        for probe in probes:  # for this step, whose operations alone need not be all that it does
            check(found.program, probe)
        _known[key] = found
        return found


# what two traces have in common ---------------------------------------------------------------------------------------


def _structure(t: Trace) -> bytes:
    """A digest of all that a program is made of: equal for traces that differ in numbers only."""
    inputs = [t.x, t.states, t.masks, t.seeds, t.emitted_seeds, t.new_states, t.emitted, t.step_masks, t.forward]
    gradients = [(n, None if g is None else g.number) for n, g in t.gradients.items()]
    functions = [(n, function, _plain(args)) for n, (function, args) in t.functions.items()]
    digest = hashlib.blake2b(repr((t.rows, _plain(inputs), gradients, functions)).encode(), digest_size=32)
    for v in t.values:
        array = v.array if v.operation == "constant" else (v.shape, v.array.dtype.str)
        described = (v.operation, v.name, _plain(v.args), _plain(list(v.params.items())), v.function, _plain(array))
        digest.update(repr(described).encode())
    return digest.digest()


def _plain(value: Any) -> Any:
    """Something with a ``repr`` that says all of it."""
    if isinstance(value, Traced):
        return f"%{value.number}"
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, Tensor):
        value = value._data
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, _bytes(value)
    return value


def _bytes(a: Array) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(a).tobytes()).digest()
