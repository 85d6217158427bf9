"""``assert_gradients``: a sharper ``gradcheck`` for property tests, fast enough to run on thousands of examples.

It compares ``v J u`` for random ``u`` and ``v``, computed by the sweep and by complex steps or extrapolated differences
(see ``autograd.numeric``), which agree to about 1e-10 where a plain difference gives 1e-6: a factor of 1.001 in one
vjp among fifty operations is then ten thousand times too large to pass.  Errors are measured in units of
``sum |v J| |u|``, the size of the terms before they cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd.diagnosis import GradcheckError
from ..autograd.gradcheck import gradcheck, gradgradcheck
from ..autograd.localise import gradient_problem
from ..autograd.numeric import WIDER, Problem, choose, complex_step, extrapolated, to_host
from ..autograd.slopes import slopes
from ..backend import to_device
from ..errors import ArgumentError
from ..tape.backward import grad
from ..tape.primitive import REGISTRY
from ..tape.tensor import Tensor, wrap
from .close import CheckFailed

__all__ = ["GradientReport", "application", "assert_gradients", "assert_primitive"]

__tracebackhide__ = True  # pytest shows the line that called us, not ours

EPS = 1e-6
ROUNDING = 1e-11  # of <v, f> in a difference at the smallest step, 5e-4: 2e-16 / 5e-4, with room for sums
SMALLEST = 1e-3  # signals below it are reported as errors relative to this: what is left of them is rounding
NEGLIGIBLE = 1e-12  # of inputs and directions of size 1: where all terms cancel, only rounding is left


@dataclass(frozen=True)
class GradientReport:
    """What ``assert_gradients`` saw when all was well.

    Attributes:
        worst: the largest difference between analytical and numerical value, relative to ``sum |v J| |u|``.
        signal: the largest ``sum |v J| |u|``: if it is 0, nothing was tested.
        by_order: the largest difference in first derivatives, in second ones, and so on, as far as there are any.
    """

    worst: float
    signal: float
    by_order: tuple[float, ...] = ()


def assert_gradients(
    func: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    order: int = 1,
    rtol: float = 1e-7,
    min_signal: float = 0.0,
    projections: int = 1,
    seed: int = 0,
    method: str = "auto",
) -> GradientReport:
    """Assert that the gradients of ``func(*inputs)`` are right, up to ``order``.

    Args:
        func: gives a tensor or a tuple of tensors.
        inputs: float64 tensors, those to differentiate by requiring grad, and anything else.
        order: 1, or 2 to check the derivatives of the gradients too.
        rtol: the error allowed, in units of ``sum |v J| |u|``.
        min_signal: fail if no gradient is as large as this: the example tests nothing.
        projections: how many random directions.
        method: as for ``gradcheck``.

    Raises:
        GradcheckError: a gradient is wrong; the message is that of ``gradcheck``.
        CheckFailed: the inputs are at a kink, or the signal is too small.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> assert_gradients(tg.tanh, [x], order=2).worst < 1e-9
    True
    """
    problem = Problem(func, inputs)
    rng = np.random.default_rng(seed)
    signal = 0.0
    by_order: list[float] = []
    for level in range(1, order + 1):
        if level > 1:
            if not any(y.requires_grad for y in problem.outputs()):
                break
            problem = gradient_problem(problem, rng)
        chosen = choose(problem, method, EPS, rng)
        by_order.append(0.0)
        for _ in range(projections):
            for error, size in _project(problem, rng, rtol, chosen, level, (func, inputs)):
                by_order[-1], signal = max(by_order[-1], error), max(signal, size)
        if level == 1 and signal < min_signal:
            raise CheckFailed(
                f"no gradient is larger than {signal:.3g}, {min_signal:.3g} was asked for: nothing is tested"
            )
    return GradientReport(max(by_order, default=0.0), signal, tuple(by_order))


def _project(
    problem: Problem, rng: np.random.Generator, rtol: float, method: str, level: int, original: Any
) -> list[tuple[float, float]]:
    """For each input, the relative error of ``v J u`` and the size of its terms."""
    outputs = problem.outputs()
    live = [k for k, y in enumerate(outputs) if y.requires_grad]
    vs = [rng.standard_normal(y.shape) for y in outputs]
    leaves: list[Tensor] = [problem.inputs[k] for k in problem.wanted]
    if live:
        seeds = [wrap(to_device(np.asarray(vs[k], outputs[k].dtype), outputs[k].device)) for k in live]
        pulled = grad([outputs[k] for k in live], leaves, seeds, allow_unused=True)
    else:
        pulled = (None,) * len(leaves)
    results = []
    for order, (position, g) in enumerate(zip(problem.wanted, pulled, strict=True)):
        t = leaves[order]
        if g is not None and g.shape != t.shape:
            raise GradcheckError(f"Analytical gradient has incorrect size: {list(g.shape)} for {list(t.shape)}")
        if g is not None and g.dtype != t.dtype:
            raise GradcheckError(f"Gradient has dtype mismatch: {g.dtype} for an input of {t.dtype}")
        u = rng.standard_normal(t.shape)
        terms = np.zeros(t.shape) if g is None else to_host(g._data) * u
        numerical, change, weight = _numerical(problem, position, u, vs, method)
        analytical, size = float(terms.sum()), float(np.abs(terms).sum())
        size = max(size, abs(numerical))
        noise = ROUNDING * weight + NEGLIGIBLE
        gap = abs(analytical - numerical)
        if not gap <= rtol * size + 4 * change + noise or change > 1e-4 * size + 1e3 * noise:
            _fail(problem, position, u, vs, analytical, numerical, level, original)
        results.append((gap / max(size, SMALLEST), size))
    return results


def _numerical(problem: Problem, position: int, u: Any, vs: Sequence[Any], method: str) -> tuple[float, float, float]:
    """``<v, J u>``, how far it has settled, and the size of the values that were subtracted."""
    if method == "complex":
        exact = complex_step(problem.complex_line(position, u))
        if exact is not None:
            return float(sum((v * d).sum() for v, d in zip(vs, exact, strict=True))), 0.0, 0.0
    line = problem.line(position, u)

    def weighted(t: float) -> list[Any]:
        return [np.asarray(sum((v * y).sum() for v, y in zip(vs, line(t), strict=True)))]

    found, change = extrapolated(weighted, WIDER * EPS)
    weight = float(sum(np.abs(v * y).sum() for v, y in zip(vs, problem.values(), strict=True)))
    return float(found[0]), float(change[0]), weight


def _fail(
    problem: Problem,
    position: int,
    u: Any,
    vs: Sequence[Any],
    analytical: float,
    numerical: float,
    level: int,
    original: tuple[Callable[..., Any], Sequence[Any]],
) -> None:
    """Say what is wrong: with gradcheck's report where it finds the entry, else with the projection alone."""
    line = problem.line(position, u)
    beside = slopes(
        lambda t: float(sum((v * y).sum() for v, y in zip(vs, line(t), strict=True))),
        EPS,
        1e-5,
        1e-4,
        analytical=analytical,
        numerical=numerical,
    )
    if beside.verdict not in ("smooth", "curved"):
        raise CheckFailed(f"the inputs are at a kink or an edge, where gradients cannot be checked: {beside}")
    check = gradcheck if level == 1 else gradgradcheck
    check(*original, rtol=1e-6, atol=1e-9, method="extrapolated")
    raise GradcheckError(
        f"Jacobian mismatch with respect to input {position}, order {level}: along a random direction\n"
        f"numerical:{numerical!r}\nanalytical:{analytical!r}\n{beside}"
    )


def assert_primitive(
    name: str, args: Sequence[Any], params: dict[str, Any] | None = None, **kwargs: Any
) -> GradientReport:
    """Assert that a registered primitive has right gradients at ``args``, up to second order by default.

    Args:
        name: its name in the registry.
        args: raw arrays (or None, or numbers); float64 arrays whose vjp is declared are differentiated by.
        params: its keyword parameters.

    Others as for :func:`assert_gradients`.

    >>> assert_primitive("mul", [np.array([1.0, 2.0]), np.array(3.0)]).worst < 1e-9
    True
    """
    kwargs.setdefault("order", 2)
    apply, inputs = application(name, args, params)
    return assert_gradients(apply, inputs, **kwargs)


def application(
    name: str, args: Sequence[Any], params: dict[str, Any] | None = None, function: Callable[..., Any] | None = None
) -> tuple[Callable[..., Any], list[Any]]:
    """A primitive with its parameters filled in, and its arguments as tensors, those with a vjp requiring grad.

    Args:
        function: what to call instead of the primitive itself.
    """
    if name not in REGISTRY:
        raise ArgumentError(f"assert_primitive(): primitive {name!r} is not registered")
    primitive = REGISTRY[name]
    inputs = []
    for position, a in enumerate(args):
        floating = getattr(a, "dtype", None) is not None and a.dtype.kind == "f"
        differentiable = primitive.joint is not None or (
            position < len(primitive.vjps) and primitive.vjps[position] is not None
        )
        inputs.append(wrap(a if _writable(a) else a.copy()).requires_grad_() if floating and differentiable else a)

    def call(*values: Any) -> Any:
        return (function or primitive.apply)(*values, **(params or {}))

    return call, inputs


def _writable(a: Any) -> bool:
    """Whether values can be moved in place: not a broadcast view, nor a constant."""
    flags = getattr(a, "flags", None)
    writable = bool(getattr(flags, "writeable", True))
    return writable and not any(stride == 0 and size > 1 for stride, size in zip(a.strides, a.shape, strict=True))
