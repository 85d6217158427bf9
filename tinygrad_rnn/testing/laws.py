"""Laws that hold for the gradients of every function, as assertions.

Each takes a function of tensors and the tensors at which to test it, and raises :class:`CheckFailed` with the law's
sentence and the numbers that break it.  None needs a numerical derivative: they are consequences of linearity and
of summation, and hold to rounding.  ``assert_gradients`` adds the comparison with finite differences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd.numeric import Problem, push_forward, to_host
from ..backend import array_module, to_device, to_numpy
from ..errors import ArgumentError
from ..tape.backward import grad
from ..tape.tensor import Tensor, wrap
from .close import CheckFailed

__all__ = [
    "assert_adjoint",
    "assert_batch_permutes",
    "assert_deterministic",
    "assert_gradient_of_sum",
    "assert_laws",
    "assert_tied_is_sum_of_untied",
    "assert_unmutated",
    "assert_vjp_linear",
]

__tracebackhide__ = True  # pytest shows the line that called us, not ours

Function = Callable[..., Any]
RTOL = 1e-10  # float64 sums of some hundred terms in another order: 1e-13, with room for cancellation
ROUNDINGS = 1000  # the same for coarser types: 1e-4 for float32


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
        size = np.abs(2 * a).max(initial=0) + np.abs(3 * b).max(initial=0)
        sentence = f"the vjp is not linear in its cotangent, for input {run.wanted[k]}"
        _close(m, 2 * a - 3 * b, run.rtol(rtol) * size, sentence)


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
    left = [float((a * b).sum()) for a, b in zip(v, pushed, strict=True)]
    right = [float((a * b).sum()) for a, b in zip(run.pull(v), u, strict=True)]
    size = sum(float(np.abs(a * b).sum()) for a, b in zip(v, pushed, strict=True))
    size += sum(float(np.abs(a * b).sum()) for a, b in zip(run.pull(v), u, strict=True))
    _close(
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

    whole = _Run(total, inputs)
    together = whole.pull([np.ones(())])
    apart = [np.zeros(t.shape) for t in whole.leaves]
    size = 0.0
    for f in functions:
        run = _Run(f, inputs)
        for one, g in zip(apart, run.pull([np.ones(y.shape) for y in run.outputs]), strict=True):
            one += g
            size = max(size, float(np.abs(g).max(initial=0)))
    for k, (a, b) in enumerate(zip(together, apart, strict=True)):
        sentence = f"the gradient of a sum is not the sum of gradients, for input {whole.wanted[k]}"
        _close(a, b, whole.rtol(rtol) * size, sentence)


def assert_tied_is_sum_of_untied(func: Function, tied: Tensor, uses: int, *rest: Any, rtol: float = RTOL) -> None:
    """The gradient of a tensor used many times is the sum of the gradients of its uses.

    Args:
        func: takes ``uses`` tensors of one shape, then ``rest``.
        tied: given for all of them at once; then copies of it, one for each use.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([[0.5, -1.0], [2.0, 0.3]], dtype=tg.float64, requires_grad=True)
    >>> x = tg.tensor([1.0, -1.0], dtype=tg.float64)
    >>> assert_tied_is_sum_of_untied(lambda w1, w2, w3, x: w3 @ tg.tanh(w2 @ tg.tanh(w1 @ x)), w, 3, x)
    """
    one = _Run(lambda w, *others: func(*[w] * uses, *others), [tied, *rest])
    (together, *_) = one.pull([np.ones(y.shape) for y in one.outputs])
    copies = [wrap(tied._data.copy()).requires_grad_() for _ in range(uses)]
    many = _Run(func, [*copies, *rest])
    apart = many.pull([np.ones(y.shape) for y in many.outputs])[:uses]
    size = sum(float(np.abs(g).max(initial=0)) for g in apart)
    slack = one.rtol(rtol) * size
    _close(together, sum(apart), slack, f"a tensor used {uses} times did not get the sum of its uses' gradients")


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
    for name, given, wanted in (("axes", axes, len(inputs)), ("output_axes", output_axes, len(run.problem.outputs()))):
        if len(given) != wanted:
            raise ArgumentError(
                f"assert_batch_permutes(): {name} must name the batch axis, or None, of each of {wanted}, got {given}"
            )
    if all(axis is None for axis in axes):
        raise ArgumentError("assert_batch_permutes(): no input has a batch axis, so that there is nothing to permute")
    batch = next(t.shape[axis] for t, axis in zip(inputs, axes, strict=True) if axis is not None)
    order = rng.permutation(batch)

    def moved(array: Any, axis: int | None) -> Any:
        return array if axis is None else np.take(array, order, axis)

    others = [
        t if axis is None else _like(moved(to_host(t._data), axis), t) for t, axis in zip(inputs, axes, strict=True)
    ]
    shuffled = _Run(func, others)
    v = run.cotangents(rng)
    for k, (a, b, axis) in enumerate(zip(run.outputs, shuffled.outputs, output_axes, strict=True)):
        expected = moved(to_host(a._data), axis)
        _close(
            to_host(b._data), expected, rtol * np.abs(expected).max(initial=0), f"output {k} does not follow its batch"
        )
    pulled = shuffled.pull([moved(g, axis) for g, axis in zip(v, output_axes, strict=True)])
    for position, before, after in zip(run.wanted, run.pull(v), pulled, strict=True):
        expected = moved(before, axes[position])
        size = rtol * np.abs(expected).max(initial=0)
        _close(after, expected, size, f"the gradient of input {position} does not follow the batch")


def assert_unmutated(func: Function, inputs: Sequence[Any], *, seed: int = 0) -> None:
    """Neither forward nor backward writes into inputs or cotangents, and no gradient shares memory with them.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> assert_unmutated(lambda x: x.reshape(2, 1), [x])
    """
    given = [t for t in inputs if isinstance(t, Tensor)]
    kept = [to_host(t._data) for t in given]
    run = _Run(func, inputs)
    seeds = [_device_array(v, y) for v, y in zip(run.cotangents(np.random.default_rng(seed)), run.outputs, strict=True)]
    copies = [to_host(s) for s in seeds]
    found = grad(run.outputs, run.leaves, [wrap(s) for s in seeds], allow_unused=True) if run.outputs else ()
    for position, (t, before) in enumerate(zip(given, kept, strict=True)):
        if not np.array_equal(to_host(t._data), before, equal_nan=before.dtype.kind == "f"):
            raise CheckFailed(f"tensor input {position} was written to")
    for number, (s, before) in enumerate(zip(seeds, copies, strict=True)):
        if not np.array_equal(to_host(s), before, equal_nan=True):
            raise CheckFailed(f"the cotangent of output {number} was written to")
    arrays = [
        *(("input", k, t._data) for k, t in enumerate(given)),
        *(("cotangent", k, s) for k, s in enumerate(seeds)),
    ]
    for position, g in zip(run.wanted, found, strict=False):
        for kind, number, array in arrays if g is not None else ():
            if _overlap(g._data, array):  # type: ignore[union-attr]
                raise CheckFailed(f"the gradient of input {position} shares memory with {kind} {number}")
        if g is not None:
            arrays.append(("the gradient of input", position, g._data))


def assert_deterministic(func: Function, inputs: Sequence[Any], *, seed: int = 0) -> None:
    """Two runs give the same outputs and gradients, bit for bit.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> assert_deterministic(tg.tanh, [x])
    """
    first, second = _Run(func, inputs), _Run(func, inputs)
    v = first.cotangents(np.random.default_rng(seed))
    for k, (a, b) in enumerate(zip(first.outputs, second.outputs, strict=True)):
        if to_host(a._data).tobytes() != to_host(b._data).tobytes():
            raise CheckFailed(f"two runs gave different values of output {k}: {_gap(a._data, b._data)}")
    for position, a, b in zip(first.wanted, first.pull(v), second.pull(v), strict=True):
        if a.tobytes() != b.tobytes():
            raise CheckFailed(f"two runs gave different gradients of input {position}: {_gap(a, b)}")


def assert_laws(func: Function, inputs: Sequence[Any], *, seed: int = 0) -> None:
    """All the laws that hold for any deterministic function: linear, adjoint, unmutated, deterministic.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> assert_laws(lambda x: tg.softmax(x, 0), [x])
    """
    assert_vjp_linear(func, inputs, seed=seed)
    assert_unmutated(func, inputs, seed=seed)
    assert_deterministic(func, inputs, seed=seed)
    assert_adjoint(func, inputs, seed=seed)


class _Run:
    """One application of a function, and pulling cotangents back through it."""

    def __init__(self, func: Function, inputs: Sequence[Any]) -> None:
        self.problem = Problem(func, inputs)
        self.wanted = self.problem.wanted
        self.leaves: list[Tensor] = [self.problem.inputs[k] for k in self.wanted]
        self.outputs = [y for y in self.problem.outputs() if y.requires_grad]

    def needing_leaves(self) -> _Run:
        """Itself, where there is something to differentiate by."""
        if not self.leaves:
            raise ArgumentError("no input requires grad, so that no law can be tested: x.requires_grad_() before it")
        return self

    def rtol(self, wished: float) -> float:
        """The relative tolerance: the wished one, unless there are coarser types than float64."""
        return max(wished, *[ROUNDINGS * float(np.finfo(t.dtype).eps) for t in (*self.leaves, *self.outputs)])

    def cotangents(self, rng: np.random.Generator) -> list[Any]:
        return [rng.standard_normal(y.shape) for y in self.outputs]

    def pull(self, cotangents: Sequence[Any]) -> list[Any]:
        if not self.outputs:
            return [np.zeros(t.shape) for t in self.leaves]
        seeds = [wrap(_device_array(v, y)) for v, y in zip(cotangents, self.outputs, strict=True)]
        found = grad(self.outputs, self.leaves, seeds, retain_graph=True, allow_unused=True)
        for position, g, t in zip(self.wanted, found, self.leaves, strict=True):
            if g is not None and (g.shape, g.dtype) != (t.shape, t.dtype):
                raise CheckFailed(
                    f"the gradient of input {position} is {g.dtype.name}{list(g.shape)}, "
                    f"the input {t.dtype.name}{list(t.shape)}"
                )
        return [np.zeros(t.shape) if g is None else to_host(g._data) for g, t in zip(found, self.leaves, strict=True)]


def _device_array(values: Any, y: Tensor) -> Any:
    return to_device(np.array(values, y.dtype), y.device)


def _like(values: Any, t: Tensor) -> Tensor:
    moved = wrap(to_device(np.ascontiguousarray(values, t.dtype).reshape(values.shape), t.device))
    return moved.requires_grad_() if t.requires_grad else moved


def _overlap(a: Any, b: Any) -> bool:
    module = array_module(a)
    return module is array_module(b) and bool(module.may_share_memory(a, b)) and bool(module.shares_memory(a, b))


def _gap(a: Any, b: Any) -> str:
    return f"they differ by up to {np.abs(to_numpy(a) - to_numpy(b)).max(initial=0):.3g}"


def _close(actual: Any, expected: Any, slack: float, sentence: str) -> None:
    gap = np.abs(np.asarray(actual) - np.asarray(expected))
    if actual.shape == np.shape(expected) and bool((gap <= slack + 1e-300).all()):
        return
    worst = np.unravel_index(int(np.argmax(gap)), gap.shape) if gap.ndim and gap.size else ()
    place = f" at {tuple(int(k) for k in worst)}" if worst else ""
    got, wanted = np.asarray(actual)[worst], np.asarray(expected)[worst]
    raise CheckFailed(
        f"{sentence}: {float(got):.15g} != {float(wanted):.15g}{place} (up to {float(slack):.3g} allowed)"
    )
