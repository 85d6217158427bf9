"""Deliberately wrong vjps: the mistakes that one makes when writing them.

Each entry replaces the vjps (or the joint vjp) of one primitive.  The arguments are those of the engine: the cotangent
``g``, the output ``y``, the arguments, the parameters; a value that the right vjp does not read is not there.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg
from tests.support.wrong import mapped, times
from tinygrad_rnn.kernels.recurrent.numpy.schedule import Blocks, Trajectory
from tinygrad_rnn.ops.dtypes import cast
from tinygrad_rnn.ops.reduce import kept_shape, spread
from tinygrad_rnn.ops.shape import sum_to
from tinygrad_rnn.tape.primitive import REGISTRY, Primitive
from tinygrad_rnn.tape.tensor import Tensor

__all__ = ["MUTANTS", "Mutant", "raw_forms", "systematic"]

Vjp = Callable[..., Any]


class Mutant(NamedTuple):
    """One wrong declaration.

    Attributes:
        primitive: which one is changed.
        mistake: what is wrong about it.
        change: takes the primitive, gives the attributes to replace.
    """

    primitive: str
    mistake: str
    change: Callable[[Primitive], dict[str, Any]]


def only(position: int, wrong: Vjp) -> Callable[[Primitive], dict[str, Any]]:
    """Replace the vjp of one argument."""
    return lambda p: {"vjps": tuple(wrong if k == position else v for k, v in enumerate(p.vjps))}


def every(change: Callable[[Vjp], Vjp]) -> Callable[[Primitive], dict[str, Any]]:
    """Change the vjps of all arguments in one way."""
    return lambda p: {"vjps": tuple(v and change(v) for v in p.vjps)}


def swapped(p: Primitive) -> dict[str, Any]:
    """Each of two arguments gets the other's gradient (where shapes allow; else both are summed as they can be)."""
    first, second = p.vjps

    def fit(vjp: Vjp, which: int) -> Vjp:
        def wrong(g: Any, y: Any, *args: Any, **params: Any) -> Any:
            other = vjp(g, y, *args, **params)
            shape = args[which].shape
            return other if tuple(other.shape) == tuple(shape) else first_or_second(g, y, *args, **params)

        first_or_second = first if which == 0 else second
        return wrong

    return {"vjps": (fit(second, 0), fit(first, 1))}


def joint(change: Callable[[Vjp], Vjp]) -> Callable[[Primitive], dict[str, Any]]:
    """Change a joint vjp, where nothing is recorded and where it is."""
    return lambda p: {"vjp_all": change(p.vjp_all), "raw_vjp_all": change(p.raw_vjp_all)}  # type: ignore[arg-type]


def from_residual(kind: type, change: Callable[[Any], None], which: int = 0) -> Callable[[Primitive], dict[str, Any]]:
    """A fused vjp for which something else was kept than its forward pass saved.

    Args:
        kind: of what is changed: Blocks of gates, or the Trajectory of a state.
        change: changes a copy of it in place.
        which: of several, which one: of the trajectories of an LSTM, h, then c.
    """

    def changed(kept: tuple[Any, ...]) -> tuple[Any, ...]:
        place = [k for k, one in enumerate(kept) if isinstance(one, kind)][which]
        wrong = copy.copy(kept[place])
        change(wrong)
        return (*kept[:place], wrong, *kept[place + 1 :])

    def mutant(right: Vjp) -> Vjp:
        def wrong(gs: Any, residual: Any, *args: Any, **params: Any) -> Any:
            *which_kernel, (form, kept) = residual
            return right(gs, (*which_kernel, (form, changed(kept))), *args, **params)

        return wrong

    return lambda p: {"raw_vjp_all": mutant(p.raw_vjp_all)}  # type: ignore[arg-type]


def from_cell(replace: Callable[..., Any]) -> Callable[[Primitive], dict[str, Any]]:
    """The same for one step of a cell, which leaves a tuple."""

    def change(right: Vjp) -> Vjp:
        return lambda gs, residual, *args, **params: right(gs, replace(*residual), *args, **params)

    return lambda p: {"raw_vjp_all": change(p.raw_vjp_all)}  # type: ignore[arg-type]


def of_results(change: Callable[[list[Any]], list[Any]]) -> Callable[[Primitive], dict[str, Any]]:
    """A joint vjp whose results are changed."""
    return joint(lambda right: lambda *args, **params: change(list(right(*args, **params))))


def detached(vjp: Vjp) -> Vjp:
    """The right value, computed from numbers off the tape: wrong from the second order on."""

    def wrong(g: Any, y: Any, *args: Any, **params: Any) -> Any:
        values = [a.detach() if isinstance(a, Tensor) else a for a in (y, *args)]
        return vjp(g, *values, **params)

    return wrong


def repeated_rows_count_once(g: Any, y: Any, a: Any, index: Any, **params: Any) -> Any:
    """The adjoint of reading written as an assignment: of several reads of one place the last one wins."""
    if isinstance(g, Tensor):
        return g.sum() * tg.zeros(a.shape, dtype=a.dtype)
    total = np.zeros(a.shape, a.dtype)
    total[index] = g
    return total


def gates(change: Callable[[Any], Any]) -> Callable[[Primitive], dict[str, Any]]:
    """Saved gates, with the gate as first axis, are changed."""

    def wrong(blocks: Any) -> None:
        axis = 0 if blocks._plan.packed else 1
        blocks._memory = np.moveaxis(change(np.moveaxis(blocks._memory, axis, 0).copy()), 0, axis)

    return from_residual(Blocks, wrong)


def state(change: Callable[[Any], dict[str, Any]], which: int = 0) -> Callable[[Primitive], dict[str, Any]]:
    """The saved states before and after each visit, of which ``change`` gives other ones by name."""
    return from_residual(Trajectory, lambda trajectory: vars(trajectory).update(change(trajectory)), which)


def without_the_reset_product(blocks: Any) -> Any:
    blocks[2] = 0
    return blocks


def unnormalised(g: Any, y: Any, a: Any, axes: Any, keepdims: bool) -> Any:
    return tg.reshape(g, kept_shape(a.shape, axes)) * tg.exp(a)


def first_copy(g: Any, y: Any, a: Any, shape: Any) -> Any:
    """Of a broadcast value only the first of several new copies is counted."""
    new = g.ndim - len(a.shape)
    return sum_to(g[0] * 1.0, a.shape) if new == 1 and g.shape[0] > 1 else sum_to(g, a.shape)


def fortran_order(g: Any, y: Any, a: Any, shape: Any) -> Any:
    return tg.permute(g, tuple(range(g.ndim))[::-1]).reshape(a.shape)


def overwritten_keeps(right: Vjp) -> Vjp:
    def wrong(g: Any, y: Any, a: Any, v: Any, needs: Any, **params: Any) -> list[Any]:
        return [g if needs[0] else None, right(g, y, a, v, (False, needs[1]), **params)[1]]

    return wrong


def transposed_weight(g: Any, y: Any, x: Any, weight: Any, bias: Any) -> Any:
    rows_x, rows_g = (v.reshape(math.prod(v.shape[:-1]), v.shape[-1]) for v in (x, g))
    return (rows_x.swapaxes(0, 1) @ rows_g).reshape(weight.shape)


def without_mean(right: Vjp) -> Vjp:
    def wrong(gs: Any, residual: Any, x: Any, weight: Any, bias: Any, needs: Any, **params: Any) -> list[Any]:
        found = list(right(gs, residual, x, weight, bias, needs=needs, **params))
        return [found[0] + 0.1 * gs[0] if needs[0] else None, *found[1:]]

    return wrong


def missing(k: int) -> Callable[[list[Any]], list[Any]]:
    return lambda found: [x if n != k or x is None else x * 0 for n, x in enumerate(found)]


def one_bias_as_the_other(found: list[Any]) -> list[Any]:
    return found if found[4] is None or found[5] is None else [*found[:5], found[4]]


def scaled_by_place(found: list[Any]) -> list[Any]:
    return [x if x is None else x * (1 + 0.5 * k) for k, x in enumerate(found)]


def single_precision(g: Any, y: Any, a: Any) -> Any:
    return cast(cast(g, dtype=np.dtype(np.float32)), dtype=np.dtype(np.float64)) * (1 - y * y)


def added(vjp: Vjp) -> Vjp:
    return lambda *args, **params: mapped(vjp(*args, **params), lambda g: g + 1e-3)


def shares(g: Any, y: Any, a: Any, axes: Any, keepdims: bool) -> Any:
    return spread(g, a.shape, axes)


MUTANTS: list[Mutant] = [
    # derivatives of functions of one argument
    Mutant("tanh", "the square is forgotten", only(0, lambda g, y, a: g * (1 - y))),
    Mutant("tanh", "a sign inside", only(0, lambda g, y, a: g * (1 + y * y))),
    Mutant("sigmoid", "1 - y is forgotten", only(0, lambda g, y, a: g * y)),
    Mutant("sigmoid", "1 + y", only(0, lambda g, y, a: g * (y * (1 + y)))),
    Mutant("exp", "the factor y is forgotten", only(0, lambda g, y, a: g)),
    Mutant("log", "times a instead of divided by it", only(0, lambda g, y, a: g * a)),
    Mutant("sqrt", "the 2 is forgotten", only(0, lambda g, y, a: g / y)),
    Mutant("sqrt", "inverted", only(0, lambda g, y, a: g * 2 * y)),
    Mutant("rsqrt", "another power", only(0, lambda g, y, a: g * (-0.5 * y**2))),
    Mutant("reciprocal", "the sign is forgotten", only(0, lambda g, y, a: g * (y * y))),
    Mutant("reciprocal", "the square is forgotten", only(0, lambda g, y, a: -g * y)),
    Mutant("square", "the 2 is forgotten", only(0, lambda g, y, a: g * a)),
    Mutant("abs", "the sign is forgotten", only(0, lambda g, y, a: g)),
    Mutant("relu", "also where the output is 0", only(0, lambda g, y, a: tg.where(y >= 0, g, 0))),
    Mutant("neg", "the sign is forgotten", only(0, lambda g, y, a: g)),
    Mutant("sin", "the function itself", only(0, lambda g, y, a: g * tg.sin(a))),
    Mutant("cos", "the sign is forgotten", only(0, lambda g, y, a: g * tg.sin(a))),
    Mutant("expm1", "the 1 is forgotten", only(0, lambda g, y, a: g * y)),
    Mutant("log1p", "the 1 is forgotten", only(0, lambda g, y, a: g / a)),
    Mutant("log2", "the factor log 2 is forgotten", only(0, lambda g, y, a: g / a)),
    Mutant("clamp_number", "also outside", only(0, lambda g, y, a, low, high: g)),
    Mutant("pow_number", "the exponent is not lowered", only(0, lambda g, y, a, exponent: g * exponent * a**exponent)),
    Mutant("pow_number", "the factor is forgotten", only(0, lambda g, y, a, exponent: g * a ** (exponent - 1.0))),
    # two arguments, broadcasting
    Mutant("add", "no sum over broadcast axes", only(0, lambda g, y, a, b: g)),
    Mutant("add", "no sum over broadcast axes, second argument", only(1, lambda g, y, a, b: g)),
    Mutant("sub", "the sign of the second argument", only(1, lambda g, y, a, b: sum_to(g, b.shape))),
    Mutant("mul", "swapped arguments", swapped),
    Mutant("mul", "no sum over broadcast axes", only(0, lambda g, y, a, b: g * b)),
    Mutant("mul", "no sum over broadcast axes, second argument", only(1, lambda g, y, a, b: g * a)),
    Mutant("div", "swapped arguments", swapped),
    Mutant("div", "the square of the divisor", only(1, lambda g, y, a, b: sum_to(-g * a / b, b.shape))),
    Mutant("div", "the sign of the second argument", only(1, lambda g, y, a, b: sum_to(g * a / b / b, b.shape))),
    Mutant("pow", "the logarithm is forgotten", only(1, lambda g, y, a, b: sum_to(g * y, b.shape))),
    Mutant("pow", "the factor b is forgotten", only(0, lambda g, y, a, b: sum_to(g * a ** (b - 1), a.shape))),
    Mutant("maximum", "the smaller one gets the gradient", swapped),
    Mutant("minimum", "both get the gradient", only(0, lambda g, y, a, b: sum_to(g, a.shape))),
    Mutant("where", "the other branch", only(1, lambda g, y, c, a, b: sum_to(tg.where(c, 0, g), a.shape))),
    Mutant("where", "both branches", only(2, lambda g, y, c, a, b: sum_to(g, b.shape))),
    Mutant("atan2", "swapped arguments", swapped),
    Mutant("hypot", "divided once too often", only(0, lambda g, y, a, b: sum_to(g * (a / (y * y)), a.shape))),
    Mutant("logaddexp", "swapped arguments", swapped),
    # reductions
    Mutant("sum", "half of it", every(lambda vjp: times(vjp, 0.5))),
    Mutant("mean", "not divided", only(0, shares)),
    Mutant("amax", "spread over all entries", only(0, shares)),
    Mutant("softmax", "the sum is forgotten", only(0, lambda g, y, a, dim: g * y)),
    Mutant("softmax", "only the diagonal", only(0, lambda g, y, a, dim: g * y * (1 - y))),
    Mutant("log_softmax", "y for exp(y)", only(0, lambda g, y, a, dim: g - y * tg.sum(g, dim, keepdim=True))),
    Mutant("log_softmax", "the sum is forgotten", only(0, lambda g, y, a, dim: g)),
    Mutant("logsumexp", "not normalised", only(0, unnormalised)),
    Mutant("cumsum", "in the forward direction", only(0, lambda g, y, a, dim, reverse: tg.cumsum(g, dim))),
    Mutant("linear_recurrence", "the gradient of the coefficients", lambda p: {"vjps": (p.vjps[0], p.vjps[0])}),
    # moves
    Mutant("broadcast_to", "the first copy only", only(0, first_copy)),
    Mutant("reshape", "another order of entries", only(0, fortran_order)),
    Mutant("permute", "not the inverse", only(0, lambda g, y, a, dims: tg.permute(g, dims).reshape(a.shape))),
    Mutant("transpose", "not transposed back", only(0, lambda g, y, a, axis1, axis2: g.reshape(a.shape))),
    Mutant("flip", "not flipped back", only(0, lambda g, y, a, dims: g)),
    Mutant("roll", "further instead of back", only(0, lambda g, y, a, shifts, dims: tg.roll(g, shifts, dims))),
    Mutant("cat", "pieces weighted by their place", of_results(scaled_by_place)),
    Mutant("stack", "the last piece for all", of_results(lambda found: [found[-1] for _ in found])),
    # indexing
    Mutant("getitem", "repeated places count once", only(0, repeated_rows_count_once)),
    Mutant("gather", "repeated places count once", only(0, repeated_rows_count_once)),
    Mutant("embedding", "repeated rows count once", only(0, repeated_rows_count_once)),
    Mutant("scatter_add", "the source gets nothing", only(1, lambda g, y, a, source, index: g[index] * 0)),
    Mutant("setitem", "the overwritten place keeps its gradient", joint(overwritten_keeps)),
    # products
    Mutant("matmul", "swapped arguments", swapped),
    Mutant("linear", "the weight's gradient transposed", only(1, transposed_weight)),
    Mutant("linear", "the bias counts once", only(2, lambda g, y, x, w, b: tg.sum(g.reshape(-1, *b.shape)[:1], 0))),
    Mutant("contract", "swapped arguments", swapped),
    # right, but of the first order only: computed from values off the tape
    *[
        Mutant(name, "its derivative is wrong: values off the tape", every(detached))
        for name in ("tanh", "exp", "sigmoid", "mul", "div", "softmax", "matmul", "sqrt", "linear", "log_softmax")
    ],
    # recurrent kernels: wrong gates, stale values
    Mutant("lstm", "wrong gate: shifted by one", gates(lambda g: g[[3, 0, 1, 2]])),
    Mutant("lstm", "wrong gate: i and f swapped", gates(lambda g: g[[1, 0, 2, 3]])),
    Mutant("lstm", "stale: c after the step for c before", state(lambda c: {"earlier": c.values}, which=1)),
    Mutant("lstm", "stale: c before the step for c after", state(lambda c: {"values": c.earlier}, which=1)),
    Mutant("lstm", "stale: no earlier h", state(lambda h: {"earlier": h.earlier * 0})),
    Mutant("lstm", "c0 gets no gradient", of_results(missing(2))),
    Mutant("gru", "wrong gate: r and z swapped", gates(lambda g: g[[1, 0, 2, 3]])),
    Mutant("gru", "wrong gate: shifted by one", gates(lambda g: g[[3, 0, 1, 2]])),
    Mutant("gru", "stale: what r multiplies", gates(without_the_reset_product)),
    Mutant("gru", "stale: h of another row", state(lambda h: {"earlier": np.roll(h.earlier, 1, axis=0)})),
    Mutant("gru", "h0 gets no gradient", of_results(missing(1))),
    Mutant("rnn", "stale: no earlier h", state(lambda h: {"earlier": h.earlier * 0})),
    Mutant("rnn", "the recurrent weight gets no gradient", of_results(missing(3))),
    # cells
    Mutant("rnn_cell", "the recurrent weight gets no gradient", of_results(missing(3))),
    Mutant("lstm_cell", "c gets no gradient", of_results(missing(2))),
    Mutant("lstm_cell", "stale: tanh(c') of nothing", from_cell(lambda gates, t: (gates, t * 0))),
    Mutant("gru_cell", "the bias inside of the reset is as the other", of_results(one_bias_as_the_other)),
    Mutant("gru_cell", "stale: what r multiplies", from_cell(lambda rz, n, q: (rz, n, q * 0))),
    # layers and losses
    Mutant("layer_norm", "the mean's share is wrong", joint(without_mean)),
    Mutant("cross_entropy", "not divided by the number of samples", of_results(lambda found: [x * 3 for x in found])),
    Mutant("nll_loss", "not divided by the number of samples", of_results(lambda found: [x * 3 for x in found])),
    Mutant("gelu", "an approximation", only(0, lambda g, y, a: g * tg.sigmoid(1.702 * a))),
    Mutant("elu", "the exponential is forgotten", only(0, lambda g, y, a, alpha, scale, rate: g * scale)),
    Mutant("leaky_relu", "the slope is forgotten", only(0, lambda g, y, a, slope: tg.where(a > 0, g, 0))),
    Mutant("constant_in", "nothing flows on", only(0, lambda h, y, g, a: 0 * h)),
    Mutant("prelu", "the slope's share where x > 0", only(1, lambda g, y, a, slope: sum_to(g * a, slope.shape))),
    Mutant("huber", "not cut off", only(0, lambda g, y, d, delta: g * d)),
    Mutant("clamp", "the lower bound gets nothing", only(1, lambda g, y, a, low, high: 0 * low)),
    Mutant("dropout", "the mask is forgotten", only(0, lambda g, y, a, mask: g)),
    # manners
    Mutant("mul", "adds a constant: not linear", every(added)),
    Mutant("exp", "depends on the sign of the cotangent", only(0, lambda g, y, a: tg.abs(g) * y)),
    Mutant("tanh", "in single precision", only(0, single_precision)),
]
"""By hand: mistakes that have been made."""


def systematic(names: Sequence[str], factor: float) -> list[Mutant]:
    """For every argument of every primitive: its vjp times a factor."""
    found = []
    for name in names:
        for k, vjp in enumerate(REGISTRY[name].vjps):
            if vjp is not None:
                found.append(Mutant(name, f"argument {k} times {factor}", only(k, times(vjp, factor))))
    return found


def raw_forms(names: Sequence[str], factor: float) -> list[Mutant]:
    """For every vjp that has a raw form: that form times a factor, where the declared vjp stays right."""

    def one(position: int) -> Callable[[Primitive], dict[str, Any]]:
        return lambda p: {
            "raw_vjps": tuple(times(v, factor) if k == position and v else v for k, v in enumerate(p.raw_vjps))
        }

    def all_at_once(p: Primitive) -> dict[str, Any]:
        right = p.raw_vjp_all
        assert right is not None
        return {
            "raw_vjp_all": lambda *args, **params: [mapped(c, lambda g: g * factor) for c in right(*args, **params)]
        }

    found = []
    for name in names:
        p = REGISTRY[name]
        for k, (raw, vjp) in enumerate(zip(p.raw_vjps, p.vjps, strict=True)):
            if raw is not vjp:
                found.append(Mutant(name, f"raw form of argument {k} times {factor}", one(k)))
        if p.raw_vjp_all is not p.vjp_all:
            found.append(Mutant(name, f"raw form of all arguments times {factor}", all_at_once))
    return found
