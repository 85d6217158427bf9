"""Laws that the gradients of every function obey, as assertions.

Each takes a function of tensors and the tensors at which to test it, and raises :class:`CheckFailed` with the law and
the numbers that violate it.  None needs a numerical derivative: the laws follow from linearity and summation, and hold
to rounding.  ``assert_gradients`` adds the comparison with finite differences.

Inputs and results may be in containers, to any depth; a result that holds anything but tensors is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd.nested import leaves, mapped
from ..autograd.numeric import Problem, as_tuple, place, push_forward, to_host
from ..autograd.obstacles import obstacle
from ..backend import array_module, is_array, to_device, to_numpy
from ..errors import ArgumentError
from ..tape.grad import grad
from ..tape.tensor import Tensor, wrap
from .close import CheckFailed

__all__ = [
    "assert_adjoint",
    "assert_batch_permutes",
    "assert_deterministic",
    "assert_gradient_of_sum",
    "assert_laws",
    "assert_no_nan",
    "assert_tied_is_sum_of_untied",
    "assert_unmutated",
    "assert_vjp_linear",
]

__tracebackhide__ = True  # pytest shows the line that called us, not ours

Function = Callable[..., Any]
RTOL = 1e-10  # float64 sums of some hundred terms in another order: 1e-13, with room for cancellation
SCALES = (1e-200, 1e-100, 1e-10, 1e2, 1e3, 1e5, 1e10, 1e50, 1e100, 1e200)
ROUNDINGS = 1000  # RTOL for coarser types, in units of their eps: 1e-4 for float32
NO_INPUT = "no input requires grad, so that no law can be tested: x.requires_grad_() before it"


def assert_vjp_linear(func: Function, inputs: Sequence[Any], *, rtol: float = RTOL, seed: int = 0) -> None:
    """The vjp is linear: the cotangent ``2 u - 3 v`` pulls back to twice that of u less three times that of v.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> assert_vjp_linear(tg.tanh, [x])
    """
    rng = np.random.default_rng(seed)
    run = _Run(func, inputs).needing_leaves()
    u, v = run.cotangents(rng), run.cotangents(rng)
    mixed = run.pull([2 * a - 3 * b for a, b in zip(u, v, strict=True)])
    for k, (m, a, b) in enumerate(zip(mixed, run.pull(u), run.pull(v), strict=True)):
        # The size of the terms, not of their sum: they may cancel.
        size = np.abs(2 * a).max(initial=0) + np.abs(3 * b).max(initial=0)
        sentence = f"the vjp is not linear in its cotangent, for {run.name(k)}"
        run.close(m, 2 * a - 3 * b, run.rtol(rtol) * size, sentence)


def assert_adjoint(func: Function, inputs: Sequence[Any], *, rtol: float = RTOL, seed: int = 0) -> None:
    """vjp and jvp are adjoint: ``<v, J u> = <v J, u>``, with ``J u`` as the vjp of the vjp.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> assert_adjoint(lambda x: (x.exp(), x * x.sum()), [x])
    """
    rng = np.random.default_rng(seed)
    run = _Run(func, inputs).needing_leaves()
    v = run.cotangents(rng)
    u = [rng.standard_normal(t.shape) for t in run.leaves]
    pushed = push_forward(run.problem, u)
    pulled = run.pull(v)
    left = [float((a * b).sum()) for a, b in zip(v, pushed, strict=True)]
    right = [float((a * b).sum()) for a, b in zip(pulled, u, strict=True)]
    size = sum(float(np.abs(a * b).sum()) for a, b in zip(v, pushed, strict=True))
    size += sum(float(np.abs(a * b).sum()) for a, b in zip(pulled, u, strict=True))
    run.close(
        np.asarray(sum(left)),
        np.asarray(sum(right)),
        run.rtol(rtol) * size,
        "vjp and jvp are not adjoint: <v, J u> != <v J, u>",
    )


def assert_gradient_of_sum(functions: Sequence[Function], inputs: Sequence[Any], *, rtol: float = RTOL) -> None:
    """The gradient of a sum is the sum of the gradients, of functions of the same inputs.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> assert_gradient_of_sum([tg.tanh, tg.exp, lambda x: x[0]], [x])
    """

    def total(*args: Any) -> Any:
        terms = [y.sum() for f in functions for y in Problem(f, args).outputs()]
        result = terms[0]
        for term in terms[1:]:
            result = result + term
        return result

    whole = _Run(total, inputs).needing_leaves()
    together = whole.pull([np.ones(())])
    apart = [np.zeros(t.shape) for t in whole.leaves]
    size = 0.0
    for f in functions:
        run = _Run(f, inputs)
        for one, g in zip(apart, run.pull([np.ones(y.shape) for y in run.outputs]), strict=True):
            one += g
            size = max(size, float(np.abs(g).max(initial=0)))
    for k, (a, b) in enumerate(zip(together, apart, strict=True)):
        sentence = f"the gradient of a sum is not the sum of gradients, for {whole.name(k)}"
        whole.close(a, b, whole.rtol(rtol) * size, sentence)


def assert_tied_is_sum_of_untied(func: Function, tied: Tensor, uses: int, *rest: Any, rtol: float = RTOL) -> None:
    """The gradient of a tensor used many times is the sum of the gradients of its uses.

    Args:
        func: takes ``uses`` tensors of one shape, then ``rest``.
        tied: passed for all of them at once; then as copies, one for each use.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([[0.5, -1.0], [2.0, 0.3]], dtype=tg.float64, requires_grad=True)
    >>> x = tg.tensor([1.0, -1.0], dtype=tg.float64)
    >>> assert_tied_is_sum_of_untied(lambda w1, w2, w3, x: w3 @ tg.tanh(w2 @ tg.tanh(w1 @ x)), w, 3, x)
    """
    if not (isinstance(tied, Tensor) and tied.requires_grad):
        raise ArgumentError(NO_INPUT)
    one = _Run(lambda w, *others: func(*[w] * uses, *others), [tied, *rest]).needing_leaves()
    (together, *_) = one.pull([np.ones(y.shape) for y in one.outputs])
    copies = [wrap(tied._data.copy()).requires_grad_() for _ in range(uses)]
    many = _Run(func, [*copies, *rest])
    apart = many.pull([np.ones(y.shape) for y in many.outputs])[:uses]
    size = sum(float(np.abs(g).max(initial=0)) for g in apart)
    slack = one.rtol(rtol) * size
    one.close(together, sum(apart), slack, f"a tensor used {uses} times did not get the sum of its uses' gradients")


def assert_batch_permutes(
    func: Function,
    inputs: Sequence[Any],
    axes: Sequence[int | None],
    output_axes: Sequence[int | None],
    *,
    rtol: float = RTOL,
    seed: int = 0,
) -> None:
    """Permuting a batch permutes outputs and gradients, and leaves the gradients of shared inputs alone.

    Args:
        axes: for each input its batch axis, or None if the batch shares it (weights).
        output_axes: for each output its batch axis, or None.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([[0.1, -0.7], [2.0, 1.0], [0.0, 3.0]], dtype=tg.float64, requires_grad=True)
    >>> w = tg.tensor([[1.0, 2.0]], dtype=tg.float64, requires_grad=True)
    >>> assert_batch_permutes(lambda x, w: tg.tanh(x @ w.T), [x, w], axes=[0, None], output_axes=[0])
    """
    rng = np.random.default_rng(seed)
    run = _Run(func, inputs)
    rtol = run.rtol(rtol)
    places = _axes("axes", axes, [run.problem.input_name(k) for k in range(len(run.problem.inputs))])
    places_out = _axes("output_axes", output_axes, [name for name, _ in run.results])
    sizes = [t.shape[axis] for t, axis in zip(run.problem.inputs, places, strict=True) if axis is not None]
    if not sizes:
        raise ArgumentError("assert_batch_permutes(): no input has a batch axis, so that there is nothing to permute")
    order = rng.permutation(sizes[0])

    def moved(array: Any, axis: int | None) -> Any:
        return array if axis is None else np.take(array, order, axis)

    # By id, since one tensor may be several of the inputs.
    shuffle = {
        id(t): t if axis is None else _like(moved(to_host(t._data), axis), t)
        for t, axis in zip(run.problem.inputs, places, strict=True)
    }
    shuffled = _Run(func, mapped(run.problem.args, lambda t: shuffle.get(id(t), t)))
    for (name, a), (_, b), axis in zip(run.results, shuffled.results, places_out, strict=True):
        expected = moved(to_host(a._data), axis)
        slack = rtol * np.abs(expected).max(initial=0)
        run.close(to_host(b._data), expected, slack, f"{name} does not follow its batch")
    v = run.cotangents(rng)
    live = [axis for (_, y), axis in zip(run.results, places_out, strict=True) if y.requires_grad]
    pulled = shuffled.pull([moved(g, axis) for g, axis in zip(v, live, strict=True)])
    for k, (before, after) in enumerate(zip(run.pull(v), pulled, strict=True)):
        expected = moved(before, places[run.wanted[k]])
        slack = rtol * np.abs(expected).max(initial=0)
        run.close(after, expected, slack, f"the gradient of {run.name(k)} does not follow the batch")


def _axes(name: str, given: Any, wanted: Sequence[str]) -> list[int | None]:
    """Batch axes, flattened, one for each name."""
    flat: list[int | None] = []
    waiting = [given]
    while waiting:
        item = waiting.pop()
        # Reversed: a stack gives back its last item first.
        if isinstance(item, (tuple, list)):
            waiting += reversed(item)
        else:
            flat.append(item)
    if len(flat) != len(wanted):
        raise ArgumentError(
            f"assert_batch_permutes(): {name} must name the batch axis, or None, of each of {len(wanted)}, got {given}"
            f": of {', '.join(wanted)}"
        )
    return flat


def assert_unmutated(func: Function, inputs: Sequence[Any], *, seed: int = 0) -> None:
    """Neither forward nor backward writes into inputs or cotangents, and no gradient shares memory with them.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> assert_unmutated(lambda x: x.reshape(2, 1), [x])
    """
    given = [
        (place("input", path), leaf._data if isinstance(leaf, Tensor) else leaf)
        for path, leaf in leaves(as_tuple(inputs))
        if isinstance(leaf, Tensor) or is_array(leaf)
    ]
    kept = [to_host(array) for _, array in given]
    run = _Run(func, inputs)
    seeds = [_device_array(v, y) for v, y in zip(run.cotangents(np.random.default_rng(seed)), run.outputs, strict=True)]
    copies = [to_host(s) for s in seeds]
    found = grad(run.outputs, run.leaves, [wrap(s) for s in seeds], allow_unused=True) if run.outputs else ()
    for (name, array), before in zip(given, kept, strict=True):
        if not np.array_equal(to_host(array), before, equal_nan=before.dtype.kind in "fc"):
            raise CheckFailed(f"tensor {name} was written to")
    names = [name for name, y in run.results if y.requires_grad]
    for name, s, before in zip(names, seeds, copies, strict=True):
        if not np.array_equal(to_host(s), before, equal_nan=True):
            raise CheckFailed(f"the cotangent of {name} was written to")
    arrays = [*given, *((f"the cotangent of {name}", s) for name, s in zip(names, seeds, strict=True))]
    seen: set[int] = set()  # one tensor may be several inputs, and has one gradient
    for k, (t, g) in enumerate(zip(run.leaves, found, strict=False)):
        if g is None or id(t) in seen:
            continue
        seen.add(id(t))
        for name, array in arrays:  # the inputs, the cotangents, and the gradients before this one
            if _overlap(g._data, array):
                raise CheckFailed(f"the gradient of {run.name(k)} shares memory with {name}")
        arrays.append((f"the gradient of {run.name(k)}", g._data))


def assert_deterministic(func: Function, inputs: Sequence[Any], *, seed: int = 0) -> None:
    """Two runs give the same outputs and gradients, bit for bit.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> assert_deterministic(tg.tanh, [x])
    """
    first, second = _Run(func, inputs), _Run(func, inputs)
    v = first.cotangents(np.random.default_rng(seed))
    for (name, a), (_, b) in zip(first.found, second.found, strict=True):
        # By bytes: == takes -0.0 for 0.0, and nan for different from itself.
        if to_host(a._data).tobytes() != to_host(b._data).tobytes():
            raise CheckFailed(f"two runs gave different values of {name}: {_gap(a._data, b._data)}")
    for k, (a, b) in enumerate(zip(first.pull(v), second.pull(v), strict=True)):
        if a.tobytes() != b.tobytes():
            raise CheckFailed(f"two runs gave different gradients of {first.name(k)}: {_gap(a, b)}")


def assert_no_nan(func: Function, inputs: Sequence[Any], *, scales: Sequence[float] = SCALES, seed: int = 0) -> None:
    """No gradient is nan where the value is finite, however large or small the inputs.

    Examples of ordinary size do not show that ``x * x`` or ``exp(x) / exp(x)`` overflows.  The inputs that require grad
    are therefore multiplied by each of the scales, and by their negatives; where an output is not finite, the gradient
    may be anything.  Not part of :func:`assert_laws`, since a function may be meant for a smaller range.

    Args:
        scales: the factors of the inputs.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> assert_no_nan(tg.tanh, [x])
    >>> assert_no_nan(lambda x: x / (1 + (x * x).exp()), [x])
    Traceback (most recent call last):
    tinygrad_rnn.testing.close.CheckFailed: the gradient of input 0 is nan at (1,), where the inputs are ...
    """
    problem = _Run(func, inputs).needing_leaves().problem
    rng = np.random.default_rng(seed)
    for scale in (sign * scale for scale in scales for sign in (1.0, -1.0)):
        scaled = mapped(problem.args, lambda t, scale=scale: _scaled(t, scale))  # type: ignore[misc]
        with np.errstate(all="ignore"):
            run = _Run(func, scaled)
            # Where the value has overflowed, no gradient can be asked for.
            if not all(np.isfinite(to_host(y._data)).all() for _, y in run.results):
                continue
            pulled = run.pull(run.cotangents(rng))
        for k, g in enumerate(pulled):
            if np.isnan(g).any():
                where = tuple(int(n) for n in np.argwhere(np.isnan(g))[0])
                raise CheckFailed(
                    f"the gradient of {run.name(k)} is nan{f' at {where}' if where else ''}, where the inputs are "
                    f"multiplied by {scale:g} and the value is finite"
                )


def _scaled(t: Any, scale: float) -> Any:
    if not isinstance(t, Tensor) or not t.requires_grad:
        return t
    with np.errstate(all="ignore"):
        return _like(to_host(t._data) * scale, t)


def assert_laws(func: Function, inputs: Sequence[Any], *, seed: int = 0) -> None:
    """All the laws that hold for any deterministic function: linear, adjoint, unmutated, deterministic.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> assert_laws(lambda x: tg.softmax(x, 0), [x])
    """
    assert_unmutated(func, inputs, seed=seed)  # first: a written input would make the others fail too
    assert_deterministic(func, inputs, seed=seed)
    assert_vjp_linear(func, inputs, seed=seed)
    assert_adjoint(func, inputs, seed=seed)


class _Run:
    """One application of a function, through which cotangents are pulled back."""

    def __init__(self, func: Function, inputs: Any) -> None:
        self.problem = Problem(func, as_tuple(inputs))
        self.wanted = self.problem.wanted
        self.leaves: list[Tensor] = [self.problem.inputs[k] for k in self.wanted]
        self.found = self.problem.named_tensors()
        # Indices among the outputs have no gradient; that they are the same in two runs is checked by ``found``.
        self.results = [(name, y) for name, y in self.found if y._data.dtype.kind in "fc"]
        self.outputs = [y for _, y in self.results if y.requires_grad]
        compared = (*self.leaves, *[y for _, y in self.results])
        self.eps = max([float(np.finfo(t.dtype).eps) for t in compared], default=0.0)
        self.rounding = 16 * self.eps

    def needing_leaves(self) -> _Run:
        """Itself, if some input and some output require grad.

        Raises:
            ArgumentError: none does.
        """
        if not self.leaves:
            raise ArgumentError(NO_INPUT)
        if not self.outputs:
            raise ArgumentError("no output requires grad, so that no law can be tested: nothing reaches it on the tape")
        return self

    def name(self, number: int) -> str:
        """The name of the leaf of this number, for messages."""
        return self.problem.input_name(self.wanted[number])

    def close(self, actual: Any, expected: Any, slack: float, sentence: str) -> None:
        """Assert that two arrays are equal up to ``slack``; report an obstacle, such as a kink, instead of the law."""
        gap = np.abs(np.asarray(actual) - np.asarray(expected))
        slack = slack + self.rounding  # the rounding that remains of terms that cancel, as in the softmax of one entry
        if actual.shape == np.shape(expected) and bool((gap <= slack).all()):
            return
        if actual.shape == np.shape(expected):
            size = float(np.abs(expected).max(initial=0))
            reason = obstacle(self.problem, precision=float(gap.max(initial=0)) < 1e-5 * size)
            if reason is not None:
                raise CheckFailed(reason)
        worst = np.unravel_index(int(np.argmax(gap)), gap.shape) if gap.ndim and gap.size else ()
        where = f" at {tuple(int(k) for k in worst)}" if worst else ""
        got, wanted = np.asarray(actual)[worst], np.asarray(expected)[worst]
        raise CheckFailed(
            f"{sentence}: {float(got):.15g} != {float(wanted):.15g}{where} (up to {float(slack):.3g} allowed)"
        )

    def rtol(self, for_float64: float) -> float:
        """The relative tolerance: the given one, or a larger one where types coarser than float64 take part."""
        return max(for_float64, ROUNDINGS * self.eps)

    def cotangents(self, rng: np.random.Generator) -> list[Any]:
        return [rng.standard_normal(y.shape) for y in self.outputs]

    def pull(self, cotangents: Sequence[Any]) -> list[Any]:
        if not self.outputs or not self.leaves:  # without leaves an output may still require grad, by a parameter
            return [np.zeros(t.shape) for t in self.leaves]
        seeds = [wrap(_device_array(v, y)) for v, y in zip(cotangents, self.outputs, strict=True)]
        # Several cotangents are pulled through one recording.
        found = grad(self.outputs, self.leaves, seeds, retain_graph=True, allow_unused=True)
        for k, (g, t) in enumerate(zip(found, self.leaves, strict=True)):
            if g is not None and (g.shape, g.dtype) != (t.shape, t.dtype):
                raise CheckFailed(
                    f"the gradient of {self.name(k)} is {g.dtype.name}{list(g.shape)}, "
                    f"the input {t.dtype.name}{list(t.shape)}"
                )
        return [np.zeros(t.shape) if g is None else to_host(g._data) for g, t in zip(found, self.leaves, strict=True)]


def _device_array(values: Any, y: Tensor) -> Any:
    # A copy, so that a vjp that writes into its cotangent spoils no other law.
    return to_device(np.array(values, y.dtype), y.device)


def _like(values: Any, t: Tensor) -> Tensor:
    moved = wrap(to_device(np.ascontiguousarray(values, t.dtype).reshape(values.shape), t.device))
    return moved.requires_grad_() if t.requires_grad else moved


def _overlap(a: Any, b: Any) -> bool:
    module = array_module(a)
    # The bounds first: the exact test may take exponential time, and most pairs are far apart.
    return module is array_module(b) and bool(module.may_share_memory(a, b)) and bool(module.shares_memory(a, b))


def _gap(a: Any, b: Any) -> str:
    return f"they differ by up to {np.abs(to_numpy(a) - to_numpy(b)).max(initial=0):.3g}"
