"""The checks that ``gradcheck`` makes, in the order in which they can fail.

First what would make the comparison meaningless (a function that writes into its inputs, or gives another value
each time), then the Jacobians, then cotangents with zeros, then what backward may have overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import array_module, to_device, to_numpy
from ..backend.quiet import seeded
from ..errors import ArgumentError, GraphError, ShapeRuntimeError, TinygradRnnError
from ..source_line import warn_user
from ..tape.grad import grad
from ..tape.tensor import Tensor, wrap
from .diagnosis import GradcheckError, Jacobians, explain
from .numeric import Problem, choose, differentiate, push_forward, to_host
from .obstacles import NOT_REENTRANT, distance, unsteady

__all__ = ["Check", "check_inputs"]

__tracebackhide__ = True  # pytest shows the line that called us, not ours

PROJECTIONS = 2  # in fast mode: a wrong Jacobian passes one random projection with probability about atol / its size


def check_inputs(problem: Problem) -> None:
    """Refuse inputs that finite differences cannot check, and warn of those that they check badly.

    Raises:
        ArgumentError: a complex input, or none that requires grad.
        ShapeRuntimeError: an input that repeats memory.
    """
    for position in problem.wanted:
        t: Tensor = problem.inputs[position]
        if t.dtype.kind == "c":
            name = problem.input_name(position)
            raise ArgumentError(f"gradcheck(): {name} is complex; complex functions are not checked")
        if t.dtype != np.float64:
            warn_user(
                f"Input #{position} requires gradient and is not a double precision floating point or complex. "
                "This check will likely fail if all the inputs are not of double precision floating point or complex. ",
            )
        repeats = any(stride == 0 and size > 1 for stride, size in zip(t._data.strides, t.shape, strict=True))
        if repeats and t._data.size > 0:
            raise ShapeRuntimeError(
                f"The {position}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                "non-overlapping to be able to compute the numerical gradients correctly. You should call .contiguous "
                "on the input before passing it to gradcheck."
            )
    if not problem.wanted:
        raise ArgumentError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )


class Check:
    """One run of gradcheck: its settings, and the checks in the order in which they can fail."""

    def __init__(
        self,
        problem: Problem,
        eps: float,
        atol: float,
        rtol: float,
        nondet_tol: float,
        check_grad_dtypes: bool,
        fast: bool,
        method: str,
    ) -> None:
        self.problem, self.eps, self.atol, self.rtol = problem, eps, atol, rtol
        self.nondet_tol, self.check_grad_dtypes, self.fast = nondet_tol, check_grad_dtypes, fast
        self.leaves: list[Tensor] = [problem.inputs[k] for k in problem.wanted]
        self.rng = seeded(0)  # the same projections in every run: a failure can be repeated
        self.method = method

    def run(self, undefined: bool, forward_ad: bool, backward_ad: bool) -> None:
        """Make every check that is asked for; the first that fails raises."""
        before = [to_host(t._data) for t in self.leaves]  # copies, to see at the end what was written into
        named = self.problem.named_outputs()
        self.names, outputs = [name for name, _ in named], [y for _, y in named]
        self._same(before, "func wrote into {}: it must not change what it is given")
        self._deterministic(outputs)
        self.method = choose(self.problem, self.method, self.eps, self.rng)
        live = [y for y in outputs if y.requires_grad]
        if len(live) < len(outputs):
            self._constant([not y.requires_grad for y in outputs])
        if not live:  # nothing is left to check: that no output depends on the inputs has been
            return
        if backward_ad:
            if self.fast:
                self._projections(outputs)
            else:
                self._jacobians(outputs)
            if undefined:
                self._undefined(outputs)
            self._zero_cotangents(live)
        if forward_ad:
            self._forward(outputs)
        self._same(before, "backward wrote into {}: a vjp must not change saved values")

    # before anything is differentiated -----------------------------------------------------------------------

    def _deterministic(self, outputs: Sequence[Tensor]) -> None:
        found = unsteady(self.problem, outputs, self.nondet_tol)
        if found:
            raise GradcheckError(found)

    def _constant(self, dead: Sequence[bool]) -> None:
        """Outputs that do not require grad must not depend on the inputs."""
        for position in self.problem.wanted:
            numerical = self._numerical(position)
            for output, (is_dead, jacobian) in enumerate(zip(dead, numerical, strict=True)):
                if is_dead and jacobian.size and np.abs(jacobian).max() > self.atol:
                    raise GradcheckError(
                        "Numerical gradient for function expected to be zero: "
                        f"{self.names[output]} does not require grad, yet it changes with "
                        f"{self.problem.input_name(position)} (by up to {np.abs(jacobian).max():.3g} per unit). "
                        "Was it computed under no_grad(), from detach(), or "
                        "outside the tape?"
                    )

    # derivatives -----------------------------------------------------------------------------------------------

    def _numerical(self, position: int) -> list[Any]:
        """The Jacobian of every output by one input, ``(input entries, output entries)``."""
        shape = self.problem.inputs[position].shape
        rows: list[list[Any]] = []
        for index in np.ndindex(*shape):
            direction = np.zeros(shape)
            direction[index] = 1.0
            rows.append(differentiate(self.problem, position, direction, self.method, self.eps))
        if not rows:  # an input without entries has a Jacobian, too
            return [np.zeros((0, y._data.size)) for y in self.problem.outputs()]
        return [np.stack([row[k].reshape(-1) for row in rows]) for k in range(len(rows[0]))]

    def _pull(self, y: Tensor, cotangent: Any) -> list[Any]:
        """``v J`` by every wanted input, twice: both times must agree, and what was given must not change."""
        seed = array_module(y._data).asarray(np.asarray(cotangent, y._data.dtype).reshape(y._data.shape))
        kept = to_host(seed)
        results: list[list[Any]] = []
        for _ in range(2):
            try:
                found = grad(y, self.leaves, wrap(seed), retain_graph=True, allow_unused=True)
            except (ShapeRuntimeError, GraphError) as error:
                raise GradcheckError(f"backward failed: {error}") from error
            results.append([self._gradient(g, t) for g, t in zip(found, self.leaves, strict=True)])
        if not np.array_equal(kept, to_host(seed), equal_nan=True):
            raise GradcheckError("backward wrote into the cotangent that it was given: a vjp must not change g")
        for first, second in zip(*results, strict=True):
            if distance(first, second) > self.nondet_tol:
                raise GradcheckError(f"{NOT_REENTRANT} The tolerance for nondeterminism was {self.nondet_tol}.")
        return results[0]

    def _gradient(self, g: Tensor | None, t: Tensor) -> Any:
        if g is None:  # the output does not depend on this input
            return np.zeros(t.shape)
        if g.shape != t.shape:
            raise GradcheckError(
                f"Analytical gradient has incorrect size: {list(g.shape)} for an input of shape {list(t.shape)}"
            )
        if self.check_grad_dtypes and g.dtype != t.dtype:
            raise GradcheckError(f"Gradient has dtype mismatch: {g.dtype} for an input of {t.dtype}")
        return to_host(g._data)

    def _analytical(self, y: Tensor) -> list[Any]:
        """The Jacobian of one output by every wanted input, ``(input entries, output entries)``."""
        size = y._data.size
        found = [np.zeros((t._data.size, size)) for t in self.leaves]
        if not y.requires_grad:
            return found
        for k, unit in enumerate(np.eye(size)):
            for jacobian, g in zip(found, self._pull(y, unit), strict=True):
                jacobian[:, k] = g.reshape(-1)
        return found

    def _jacobians(self, outputs: Sequence[Tensor]) -> None:
        analytical = [self._analytical(y) for y in outputs]
        numerical = [self._numerical(position) for position in self.problem.wanted]
        table = Jacobians(self.problem, outputs, analytical, numerical, self.atol, self.rtol, self.names)
        for output in range(len(outputs)):
            for order in range(len(self.problem.wanted)):
                if not table.agree(output, order):
                    raise explain(table, output, order, self.eps)

    def by_input(self, position: int, tolerance: float) -> None:
        """Compare the Jacobians of all outputs by one input.

        Args:
            tolerance: the relative error to look for in the operations on the tape.
        """
        named = self.problem.named_outputs()
        outputs = [y for _, y in named]
        order = self.problem.wanted.index(position)
        numerical: list[list[Any]] = [[] for _ in self.leaves]
        numerical[order] = self._numerical(position)
        analytical = [self._analytical(y) for y in outputs]
        table = Jacobians(
            self.problem, outputs, analytical, numerical, self.atol, self.rtol, [name for name, _ in named]
        )
        for output in range(len(outputs)):
            if not table.agree(output, order):
                raise explain(table, output, order, self.eps, tolerance)

    def _projections(self, outputs: Sequence[Tensor]) -> None:
        for _ in range(PROJECTIONS):
            us = [self.rng.standard_normal(t.shape) for t in self.leaves]
            moved = [
                differentiate(self.problem, k, u, self.method, self.eps)
                for k, u in zip(self.problem.wanted, us, strict=True)
            ]
            for output, y in enumerate(outputs):
                if not y.requires_grad:  # _constant has checked it
                    continue
                v = self.rng.standard_normal(y.shape)
                for order, (g, u) in enumerate(zip(self._pull(y, v), us, strict=True)):
                    analytical, numerical = float((g * u).sum()), float((v * moved[order][output]).sum())
                    # atol is meant per entry: the projection sums entries with the weights |u| and |v|
                    slack = self.atol * max(1.0, float(np.abs(u).sum() * np.abs(v).sum()) ** 0.5)
                    if not abs(analytical - numerical) <= slack + self.rtol * abs(numerical):
                        self._jacobians(outputs)  # the message needs to know which entry
                        raise GradcheckError(
                            f"Jacobian mismatch for {self.names[output]} with respect to "
                            f"{self.problem.input_name(self.problem.wanted[order])},\nnumerical:{numerical}\nanalytical:{analytical}\n"
                            "(random projections v J u differ, yet entry by entry all are within the tolerances)"
                        )

    def _forward(self, outputs: Sequence[Tensor]) -> None:
        live = [k for k, y in enumerate(outputs) if y.requires_grad]
        for order, position in enumerate(self.problem.wanted):
            numerical = self._numerical(position)
            rows = []
            for k in range(self.leaves[order]._data.size):
                tangents = [np.zeros(t.shape) for t in self.leaves]
                tangents[order].reshape(-1)[k] = 1.0
                rows.append(push_forward(self.problem, tangents))
            for place, output in enumerate(live):
                found = [row[place].reshape(-1) for row in rows]
                analytical = np.stack(found) if found else np.zeros_like(numerical[output])
                if not np.allclose(analytical, numerical[output], rtol=self.rtol, atol=self.atol):
                    raise GradcheckError(
                        f"Jacobian computed with forward mode mismatch for {self.names[output]} with "
                        f"respect to {self.problem.input_name(position)},\n"
                        f"numerical:{numerical[output]}\nanalytical:{analytical}\n"
                    )

    # special cotangents ------------------------------------------------------------------------------------------

    def _zero_cotangents(self, live: Sequence[Tensor]) -> None:
        zeros = [wrap(array_module(y._data).zeros_like(y._data)) for y in live]
        found = grad(live, self.leaves, zeros, allow_unused=True)  # the last sweep of this graph
        for g, t in zip(found, self.leaves, strict=True):
            if g is not None and not (to_numpy(g._data) == 0).all():  # nor is a nan, of 0 * inf in a vjp
                raise GradcheckError("backward not multiplied by grad_output: a zero cotangent gave a gradient not 0")
            if g is not None and g.device != t.device:
                raise GradcheckError(f"grad is incorrect device: {g.device} for an input on {t.device}")

    def _undefined(self, outputs: Sequence[Tensor]) -> None:
        """The gradient of one output alone equals that of all outputs with zeros for the others."""
        named = [(name, y) for name, y in zip(self.names, outputs, strict=True) if y.requires_grad]
        live = [y for _, y in named]
        # with one output there is no other to leave out
        for k, (name, y) in enumerate(named if len(named) > 1 else ()):
            v = to_device(self.rng.standard_normal(y.shape).astype(y.dtype), y.device)
            # by their places: two outputs may be one tensor, and only one of them gets the cotangent
            seeds = [wrap(v if j == k else array_module(v).zeros_like(other._data)) for j, other in enumerate(live)]
            try:
                alone = grad(y, self.leaves, wrap(v), retain_graph=True, allow_unused=True)
            except (TypeError, TinygradRnnError) as error:
                raise GradcheckError(
                    "Expected backward function to handle undefined output grads. "
                    f"With a gradient for {name} alone it failed: {error}"
                ) from error
            together = grad(live, self.leaves, seeds, retain_graph=True, allow_unused=True)
            for position, one, both in zip(self.problem.wanted, alone, together, strict=True):
                a, b = (np.zeros(()) if g is None else to_host(g._data) for g in (one, both))
                slack = 1e-12 + 1e-10 * float(np.abs(a).max(initial=0))  # sums in another order
                if not np.allclose(a, b, rtol=0, atol=slack, equal_nan=True):
                    raise GradcheckError(
                        "Expected all input grads to be undefined or zero when all output grads are undefined or "
                        f"zero: the gradient of {name} alone by {self.problem.input_name(position)} "
                        "differs from that with zeros for the others"
                    )

    def _same(self, before: Sequence[Any], sentence: str) -> None:
        for position, kept, t in zip(self.problem.wanted, before, self.leaves, strict=True):
            if not np.array_equal(kept, to_host(t._data), equal_nan=True):
                raise GradcheckError(sentence.format(self.problem.input_name(position)))
