"""Numerical derivatives of functions of tensors: what gradients are checked against.

Every derivative is taken along a line: ``f(t) = func(x + t u)`` for one input ``x`` and a direction ``u``.  Inputs
are moved in place and put back bit by bit, so that a function that reads them from elsewhere (a module its own
parameters) is seen to move too.

* ``central``: ``(f(h) - f(-h)) / 2h``, error ``h^2 f'''/6`` and rounding ``ulp(f)/h``; with h = 1e-6 some 1e-10.
* ``extrapolated``: central differences at three steps, combined so that the ``h^2`` and ``h^4`` errors cancel
  (Richardson, Phil. Trans. A 226, 1927); some 1e-12 for well-scaled functions, at three times the cost.
* ``complex``: ``imag f(i h) / h`` with h = 1e-30: exact to rounding, since nothing is subtracted (Squire and Trapp,
  SIAM Review 40, 1998).  Only for functions that are analytic and take complex values, which is tested first.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import array_module, to_numpy
from ..backend.quiet import unreported
from ..errors import ArgumentError, TinygradRnnError
from ..tape.grad import grad
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .nested import leaves

__all__ = [
    "METHODS",
    "WIDER",
    "NotTensors",
    "Problem",
    "Projection",
    "as_tuple",
    "central",
    "choose",
    "complex_step",
    "differentiate",
    "extrapolated",
    "project",
    "push_forward",
    "to_host",
]

METHODS = ("central", "extrapolated", "complex", "auto")

COMPLEX_STEP = 1e-30
WIDER = 2000.0  # the first step of the extrapolation, in units of eps: rounding counts less, truncation cancels

ROUNDING = 1e-11  # of <v, f> in a difference at the smallest step, 5e-4: 2e-16 / 5e-4, with room for sums
NEGLIGIBLE = 1e-12  # of inputs and directions of size 1: where all terms cancel, only rounding is left

Line = Callable[[Any], list[Any]]


class NotTensors(TinygradRnnError, AttributeError):
    """A function gave something beside tensors, or none at all, where its gradients are to be checked."""


class Problem:
    """A function together with the inputs at which it is looked at.

    Attributes:
        func: takes ``args``; gives tensors, by themselves or in containers (see ``autograd.nested``).
        args: tensors, containers of tensors, and anything else.
        inputs: the arguments with the tensors of a container in place of the container.
        wanted: positions of the inputs that require grad.
    """

    def __init__(self, func: Callable[..., Any], args: Sequence[Any]) -> None:
        self.func = func
        self.args = tuple(args)
        flat = [
            (f"[{k}]{path}", leaf) for k, argument in enumerate(self.args) for path, leaf in _tensors_or_self(argument)
        ]
        self.inputs = tuple([leaf for _, leaf in flat])
        self.paths = tuple([path for path, _ in flat])
        # places, as one tensor may be given twice
        self.wanted = [k for k, t in enumerate(self.inputs) if isinstance(t, Tensor) and t.requires_grad]

    def outputs(self) -> tuple[Tensor, ...]:
        """The floating-point tensors that the function gives, whatever containers they are in.

        Raises:
            NotTensors: it gives something else than tensors, or nothing.
        """
        result = self.func(*self.args)
        found = [result] if isinstance(result, Tensor) else [y for _, y in _only_tensors(result)]
        return tuple([y for y in found if y._data.dtype.kind in "fc"])

    def named_outputs(self) -> list[tuple[str, Tensor]]:
        """``outputs()`` with what to call each: ``output 1``, or ``output[1][0]`` in a container."""
        return [(name, y) for name, y in self.named_tensors() if y._data.dtype.kind in "fc"]

    def named_tensors(self) -> list[tuple[str, Tensor]]:
        """All tensors that the function gives, integers too, with what to call each."""
        return [(place("output", path), y) for path, y in _only_tensors(self.func(*self.args))]

    def input_name(self, position: int) -> str:
        """What to call an input: ``input 1``, or ``input[1][0]`` in a container."""
        return place("input", self.paths[position])

    def values(self) -> list[Any]:
        """Copies of the outputs' values on the host: an output may be a view of an input that is about to move."""
        return [np.array(to_numpy(y._data)) for y in self.outputs()]

    def line(self, position: int, direction: Any) -> Line:
        """``t -> values at (input + t * direction)``; the input is put back afterwards, whatever happens."""
        t: Tensor = self.inputs[position]
        u = array_module(t._data).asarray(direction)

        def at(step: float) -> list[Any]:
            array = t._data
            before = array.copy()
            try:
                array[...] = before + step * u
                return self.values()
            finally:
                array[...] = before  # the bits: subtracting the step again would round

        return at

    def complex_line(self, position: int, direction: Any) -> Line:
        """As ``line`` for imaginary steps: all floating inputs are complex while the function runs."""
        floating = [t for t in self.inputs if isinstance(t, Tensor) and t._data.dtype.kind == "f"]
        moved: Tensor = self.inputs[position]

        def at(step: float) -> list[Any]:
            before = [t._data for t in floating]
            try:
                for t in floating:
                    # in the tensor itself: func may read it from elsewhere, as a module its weights
                    t._data = t._data.astype(np.complex128)
                moved._data = moved._data + 1j * step * array_module(moved._data).asarray(direction)
                with warnings.catch_warnings():
                    # an imaginary part that is cut off would give a derivative of 0
                    warnings.simplefilter("error", np.exceptions.ComplexWarning)
                    return self.values()
            finally:
                for t, array in zip(floating, before, strict=True):
                    t._data = array

        return at


def as_tuple(inputs: Any) -> tuple[Any, ...]:
    """Arguments that were given as a tuple or list, or one that was given by itself."""
    return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)


def place(kind: str, path: str) -> str:
    """A name for what is at a path: by its number where there is no nesting."""
    number = path[1:-1] if path else "0"
    return f"{kind} {number}" if number.isdigit() else f"{kind}{path}"


def _tensors_or_self(argument: Any) -> list[tuple[str, Any]]:
    """The tensors in a container with their paths; an argument that holds none stands for itself."""
    return [(path, leaf) for path, leaf in leaves(argument) if isinstance(leaf, Tensor)] or [("", argument)]


def _only_tensors(result: Any) -> list[tuple[str, Tensor]]:
    """The tensors of a result with their paths: what else it holds would go unchecked without a word."""
    found = list(leaves(result))
    for path, leaf in found:
        if not isinstance(leaf, Tensor):
            kind = type(leaf).__name__
            raise NotTensors(
                f"'{kind}' object has no attribute 'requires_grad': func gave a {kind} as {place('output', path)}, and "
                "only tensors can be checked (by themselves, or in tuples, lists, dicts and dataclasses). Check a "
                "function that returns the tensors alone, such as lambda *args: func(*args)[0]"
            )
    if not found:
        raise NotTensors(
            f"'{type(result).__name__}' object has no attribute 'requires_grad': func gave {result!r}, in which there "
            "is no tensor to check"
        )
    return found


def central(f: Line, h: float) -> list[Any]:
    """The symmetric difference quotient of every output."""
    ahead, behind = f(h), f(-h)
    if [y.shape for y in ahead] != [y.shape for y in behind]:  # as where func selects entries by their sign
        raise ArgumentError(
            f"the function gives outputs of shapes {[y.shape for y in ahead]} on one side of the inputs and "
            f"{[y.shape for y in behind]} on the other, so no difference can be taken. Move the inputs away from there"
        )
    return _quotients(ahead, behind, h)


@unreported
def _quotients(ahead: list[Any], behind: list[Any], h: float) -> list[Any]:
    return [(y - z) / (2 * h) for y, z in zip(ahead, behind, strict=True)]


def extrapolated(f: Line, h: float) -> tuple[list[Any], list[Any]]:
    """Richardson's extrapolation from the steps h, h/2 and h/4, and how much the last refinement changed it.

    For a smooth function the second is near rounding; at a kink the refinements never settle.
    """
    return _refined(central(f, h), central(f, h / 2), central(f, h / 4))


@unreported
def _refined(*rows: list[Any]) -> tuple[list[Any], list[Any]]:
    best, change = [], []
    for coarse, middle, fine in zip(*rows, strict=True):
        first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
        best.append((16 * second - first) / 15)
        change.append(np.abs(best[-1] - second))
    return best, change


def complex_step(f: Line) -> list[Any] | None:
    """``imag f(ih) / h`` of every output, or None if the function does not take complex values."""
    try:
        values = f(COMPLEX_STEP)
    except (TinygradRnnError, TypeError, ValueError, NotImplementedError, np.exceptions.ComplexWarning):
        return None
    if any(y.dtype.kind != "c" for y in values):
        return None  # a step such as |x| left the complex numbers
    return [y.imag / COMPLEX_STEP for y in values]


def differentiate(problem: Problem, position: int, direction: Any, method: str, eps: float) -> list[Any]:
    """The derivative of every output along ``direction`` of one input, by a method settled with ``choose``."""
    if method == "complex":
        found = complex_step(problem.complex_line(position, direction))
        if found is not None:
            return found
        method = "extrapolated"  # a branch that other directions do not take
    f = problem.line(position, direction)
    return central(f, eps) if method == "central" else extrapolated(f, WIDER * eps)[0]


def choose(problem: Problem, method: str, eps: float, rng: np.random.Generator) -> str:
    """The method to use for ``method``: ``auto`` is ``complex`` where it agrees with differences.

    Raises:
        ArgumentError: no such method, or ``complex`` for a function that does not allow it.
    """
    if method not in METHODS:
        raise ArgumentError(f"gradcheck(): method must be one of {', '.join(METHODS)}, got {method!r}")
    if method in ("central", "extrapolated"):
        return method
    for position in problem.wanted:
        u = rng.standard_normal(problem.inputs[position].shape)
        exact = complex_step(problem.complex_line(position, u))
        if exact is None and method == "auto":
            return "extrapolated"
        near, change = extrapolated(problem.line(position, u), WIDER * eps)
        if exact is None or not all(
            np.allclose(e, n, rtol=1e-6, atol=1e-8 + 2 * c.max(initial=0))  # a kink shows in c, and then in the check
            for e, n, c in zip(exact, near, change, strict=True)
        ):
            if method == "auto":
                return "extrapolated"
            raise ArgumentError(
                f"gradcheck(): method='complex' needs a function that is analytic and computes with complex values; "
                f"for {problem.input_name(position)} it is not or does not. Use method='extrapolated', or 'auto'"
            )
    return "complex"


class Projection(NamedTuple):
    """``<v, J u>`` by one input, computed in two ways.

    Attributes:
        analytical: ``<v J, u>`` with the gradient.
        numerical: from differences or complex steps.
        size: ``sum |v J| |u|``, the size of the terms before they cancel; errors are measured in it.
        change: how much the last refinement of the differences changed them.
        noise: what rounding may have done to them.
        weight: ``sum |v y|``, the size of the values that were subtracted.
    """

    analytical: float
    numerical: float
    size: float
    change: float
    noise: float
    weight: float

    @property
    def gap(self) -> float:
        """How far the two values are apart."""
        return abs(self.analytical - self.numerical)

    def agrees(self, rtol: float) -> bool:
        """Whether both are equal, as far as the differences can tell.  A nan never is."""
        return self.gap <= rtol * self.size + 4 * self.change + self.noise

    @property
    def settled(self) -> bool:
        """Whether the differences have converged: at a kink within their reach they do not."""
        return self.change <= 1e-4 * self.size + 1e3 * self.noise


def project(
    problem: Problem, position: int, g: Any, u: Any, vs: Sequence[Any], method: str, eps: float = 1e-6
) -> Projection:
    """Compare a gradient with the numerical derivative along one direction.

    Args:
        g: the gradient of ``sum <v, y>`` by the input, or None for zeros.
        u: the direction, of the input's shape.
        vs: for each output its cotangent, of its shape.
        method: settled with ``choose``.
        eps: the unit of the steps.
    """
    terms = np.zeros(np.shape(u)) if g is None else g * u
    numerical, change, weight = _along(problem, position, u, vs, method, eps)
    analytical, size = float(terms.sum()), float(np.abs(terms).sum())
    size = max(size, abs(numerical))  # also where the gradient is missing, and its terms are 0
    return Projection(analytical, numerical, size, change, ROUNDING * weight + NEGLIGIBLE, weight)


def _along(
    problem: Problem, position: int, u: Any, vs: Sequence[Any], method: str, eps: float
) -> tuple[float, float, float]:
    """``<v, J u>``, how far it has settled, and the size of the values that were subtracted."""
    if method == "complex":
        exact = complex_step(problem.complex_line(position, u))
        if exact is not None:
            return float(sum((v * d).sum() for v, d in zip(vs, exact, strict=True))), 0.0, 0.0
    line = problem.line(position, u)

    def weighted(t: float) -> list[Any]:
        return [np.asarray(sum((v * y).sum() for v, y in zip(vs, line(t), strict=True)))]

    found, change = extrapolated(weighted, WIDER * eps)
    weight = float(sum(np.abs(v * y).sum() for v, y in zip(vs, problem.values(), strict=True)))
    return float(found[0]), float(change[0]), weight


def push_forward(problem: Problem, tangents: Sequence[Any]) -> list[Any]:
    """``J u`` of every output, by two reverse sweeps: the vjp ``v -> v J`` is linear in v, and its own vjp is J.

    Shapes:
        one tangent per wanted input, of its shape; the result has one array per differentiable output.
    """
    inputs = [problem.inputs[k] for k in problem.wanted]
    outputs = [y for y in problem.outputs() if y.requires_grad]
    # zeros will do: v -> v J is linear
    seeds = [wrap(array_module(y._data).zeros_like(y._data)).requires_grad_() for y in outputs]
    pulled = grad(outputs, inputs, seeds, create_graph=True, allow_unused=True)
    # an input that no output depends on contributes nothing
    pairs = [(g, u) for g, u in zip(pulled, tangents, strict=True) if g is not None and g.requires_grad]
    if not pairs:
        return [np.zeros(y.shape) for y in outputs]
    directions = [wrap(array_module(g._data).asarray(u, dtype=g._data.dtype)) for g, u in pairs]
    found = grad([g for g, _ in pairs], seeds, directions, allow_unused=True)
    return [np.zeros(y.shape) if d is None else to_host(d._data) for y, d in zip(outputs, found, strict=True)]


def to_host(array: Array) -> Any:
    """A private copy in host memory."""
    return np.array(to_numpy(array))
