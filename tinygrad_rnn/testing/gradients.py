"""``assert_gradients``: a sharper ``gradcheck`` for property tests, fast enough to run on thousands of examples.

It compares ``v J u`` for random ``u`` and ``v``, computed by the sweep and by complex steps or extrapolated differences
(see ``autograd.numeric``), which agree to about 1e-10 where a plain difference gives 1e-6.  A factor of 1.001 in one
vjp among fifty operations thus exceeds the tolerance ten thousand times.  Errors are measured in units of
``sum |v J| |u|``, the size of the terms before they cancel.

A property test calls it hundreds of times with failing examples, of which one is shown.  The diagnosis of a failure is
therefore computed lazily, when its message is read, and hypothesis' line tracer, which would make each call ten times
slower, is paused.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..autograd.checks import Check
from ..autograd.diagnosis import GradcheckError, Mismatch
from ..autograd.localise import first_wrong, gradient_problem
from ..autograd.numeric import Problem, Projection, as_tuple, choose, project, to_host
from ..autograd.obstacles import obstacle, pull
from ..autograd.one_sided import slopes
from ..backend import is_array, to_device
from ..errors import ArgumentError, DtypeError
from ..source_line import user_line
from ..tape.grad import grad
from ..tape.primitive import REGISTRY
from ..tape.tensor import Tensor, wrap
from .close import CheckFailed
from .untraced import untraced

__all__ = ["GradientFailure", "GradientReport", "application", "assert_gradients", "assert_primitive"]

__tracebackhide__ = True  # pytest shows the line that called us, not ours

EPS = 1e-6
BESIDE = 0.01  # farther than the points of the differences, 2e-3
SMALLEST = 1e-3  # errors are relative to at least this: a smaller signal consists of rounding


class GradientFailure(GradcheckError, CheckFailed):
    """The failure of ``assert_gradients``: one class, raised at one line, so that hypothesis sees one kind of failure.

    Attributes:
        mismatch: the findings of ``gradcheck``, or None where no single entry is wrong.
    """

    def __init__(self, sentence: str, look: Callable[[], tuple[str, Mismatch | None]] | None = None) -> None:
        super().__init__(sentence)
        self._look = look

    def _found(self) -> tuple[str, Mismatch | None]:
        if self._look is not None:
            look, self._look = self._look, None
            self.args, self._mismatch = (found := look())[:1], found[1]
        return self.args[0], self._mismatch

    @property
    def mismatch(self) -> Mismatch | None:
        """The wrong entry and its neighbourhood; None if no single entry is wrong."""
        return self._found()[1]

    @mismatch.setter
    def mismatch(self, found: Mismatch | None) -> None:
        self._mismatch = found

    def __str__(self) -> str:
        return self._found()[0]


@dataclass(frozen=True)
class GradientReport:
    """The result of ``assert_gradients`` where all gradients are right.

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
    inputs: Tensor | Sequence[Any],
    *,
    order: int = 1,
    rtol: float = 1e-7,
    min_signal: float | None = None,
    projections: int = 1,
    seed: int = 0,
    method: str = "auto",
) -> GradientReport:
    """Assert that the gradients of ``func(*inputs)`` are right, up to ``order``.

    Args:
        func: gives a tensor, or tensors in tuples, lists, dicts and dataclasses to any depth.
        inputs: float64 tensors, or containers of them: those to differentiate by requiring grad; and anything else,
            which is passed on (NumPy arrays are constants).
        order: 1, or 2 to check the derivatives of the gradients too.
        rtol: the error allowed, in units of ``sum |v J| |u|``.
        min_signal: fail if no gradient is as large as this, because the example then tests nothing.  By default a
            gradient may be 0 at an example, but not everywhere; ``min_signal=0`` allows that too.
        projections: how many random directions.
        method: as for ``gradcheck``.

    Returns:
        The largest error that was seen, and how large the gradients were.

    Raises:
        GradientFailure: a GradcheckError and a CheckFailed.  A gradient is wrong, with the report of ``gradcheck``; or
            the inputs are at a kink, the function is not deterministic, the signal is too small: as the message says.
        ArgumentError: no input requires grad.
        NotTensors: ``func`` gives something that is no tensor (an AttributeError).
        DtypeError: an input that requires grad is not float64.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> assert_gradients(tg.tanh, x, order=2).worst < 1e-9
    True
    """
    problem = Problem(func, as_tuple(inputs))
    _check_inputs(problem)
    with untraced():
        found = _checked(problem, order, rtol, min_signal, projections, seed, method)
        if isinstance(found, GradientFailure):
            raise found  # at this line only: for hypothesis a failure at another line is another failure
        return found


def _check_inputs(problem: Problem) -> None:
    for position in problem.wanted:
        dtype = problem.inputs[position].dtype
        if dtype != np.float64:
            raise DtypeError(
                f"assert_gradients(): float64 is needed, and {problem.input_name(position)} is {dtype.name}, of whose "
                "derivatives differences leave few digits or none. Convert it: x.detach().double().requires_grad_()"
            )
    if not problem.wanted:
        arrays = [problem.input_name(k) for k, x in enumerate(problem.inputs) if is_array(x)]
        remedy = f"{arrays[0]} is an array: tg.tensor(x, requires_grad=True)" if arrays else "x.requires_grad_()"
        raise ArgumentError(
            "assert_gradients expects at least one input tensor to require gradient, but none of them have "
            f"requires_grad=True, so that nothing would be tested. {remedy}"
        )


def _checked(
    problem: Problem, order: int, rtol: float, min_signal: float | None, projections: int, seed: int, method: str
) -> GradientReport | GradientFailure:
    """All orders, until one fails."""
    rng = np.random.default_rng(seed)
    before = _kept(problem)
    signal, reached = 0.0, False
    by_order: list[float] = []
    original = problem
    for level in range(1, order + 1):
        if level > 1:
            if not any(y.requires_grad for y in problem.outputs()):
                break  # no output depends on the inputs: there is no gradient to differentiate
            problem = gradient_problem(problem, rng)
        chosen = choose(problem, method, EPS, rng)
        by_order.append(0.0)
        for _ in range(projections):
            attempt = _Attempt(problem, level, rtol, chosen, rng, original, before)
            failure = attempt.run()
            if failure is not None:
                return failure
            by_order[-1] = max([by_order[-1], *attempt.errors])
            if level == 1:
                # Of first derivatives alone: the second ones of many functions are 0.
                signal = max([signal, *attempt.sizes])
                reached = reached or attempt.reached
        if level == 1:
            message = _nothing_tested(problem, signal, reached, min_signal, seed)
            if message is not None:
                return GradientFailure(message)
    return GradientReport(max(by_order, default=0.0), signal, tuple(by_order))


def _kept(problem: Problem) -> list[tuple[str, Any, Any]]:
    """The tensors among the inputs, with copies of their values."""
    found = [(problem.input_name(k), t) for k, t in enumerate(problem.inputs) if isinstance(t, Tensor)]
    return [(name, t._data, t._data.copy()) for name, t in found]


class _Attempt:
    """One comparison along random directions, for every input.

    Attributes:
        errors, sizes: for each input, the relative error of ``v J u`` and the size of its terms.
        reached: whether the sweep reached any input.
    """

    def __init__(
        self,
        problem: Problem,
        level: int,
        rtol: float,
        method: str,
        rng: np.random.Generator,
        original: Problem,
        before: list[tuple[str, Any, Any]],
    ) -> None:
        self.problem, self.level, self.rtol, self.method, self.rng = problem, level, rtol, method, rng
        self.original, self.before = original, before
        self.errors: list[float] = []
        self.sizes: list[float] = []
        self.reached = False

    def run(self) -> GradientFailure | None:
        """Record errors and sizes; return the failure, if there is one."""
        outputs = self.problem.outputs()
        vs = [self.rng.standard_normal(y.shape) for y in outputs]
        leaves: list[Tensor] = [self.problem.inputs[k] for k in self.problem.wanted]
        live = [k for k, y in enumerate(outputs) if y.requires_grad]
        pulled: Sequence[Tensor | None] = (None,) * len(leaves)
        # Checked and restored at once: backward and the numerical derivative would see what was written.
        written = self._written("func")
        if live and written is None:
            seeds = [wrap(_cotangent(vs[k], outputs[k], self.before)) for k in live]
            pulled = grad([outputs[k] for k in live], leaves, seeds, allow_unused=True)
            written = self._written("backward")
        if written is not None:
            return GradientFailure(written)
        for position, t, g in zip(self.problem.wanted, leaves, pulled, strict=True):
            if g is not None and g.shape != t.shape:
                # Before anything is projected: shapes that broadcast would give a number, and perhaps the right one.
                return GradientFailure(f"Analytical gradient has incorrect size: {list(g.shape)} for {list(t.shape)}")
            if g is not None and g.dtype != t.dtype:
                return GradientFailure(f"Gradient has dtype mismatch: {g.dtype} for an input of {t.dtype}")
            u = self.rng.standard_normal(t.shape)
            raw = None if g is None else to_host(g._data)
            seen = project(self.problem, position, raw, u, vs, self.method, EPS)
            if not (seen.agrees(self.rtol) and seen.settled):
                return self._failure(position, u, vs, seen)
            self.reached = self.reached or g is not None
            self.errors.append(seen.gap / max(seen.size, SMALLEST))
            self.sizes.append(seen.size)
        return None

    def _written(self, who: str) -> str | None:
        """The message for an input that was written to, whose values are restored; None if there is none."""
        message = None
        for name, array, kept in self.before:
            if not _equal(array, kept):
                message = f"{who} wrote into {name}: it must not change what it is given"
                array[...] = kept
        return message

    def _failure(self, position: int, u: Any, vs: Sequence[Any], seen: Projection) -> GradientFailure:
        """A failure whose diagnosis is computed when its message is read."""
        sentence = (
            f"Jacobian mismatch with respect to {self.problem.input_name(position)}, order {self.level}: along a "
            f"random direction\nnumerical:{seen.numerical!r}\nanalytical:{seen.analytical!r}"
        )

        # Now, while the caller's frames are there.
        here = user_line()

        def look() -> tuple[str, Mismatch | None]:
            # The message may be read long after, when a test has changed its inputs: the diagnosis needs those of the
            # failure.
            now = [array.copy() for _, array, _ in self.before]
            try:
                for _, array, kept in self.before:
                    array[...] = kept
                with untraced():
                    text, mismatch = self._diagnosis(position, u, vs, seen, sentence)
                suspect = mismatch.suspect if mismatch is not None else None
                if suspect is None or mismatch is None or suspect.line != user_line():
                    return text, mismatch
                # The suspect is func itself: its line is that of the caller, not the one that reads the message now.
                rightly = replace(suspect, line=here)
                return text.replace(str(suspect), str(rightly)), replace(mismatch, suspect=rightly)
            finally:
                for (_, array, _), values in zip(self.before, now, strict=True):
                    array[...] = values

        return GradientFailure(sentence, look)

    def _diagnosis(
        self, position: int, u: Any, vs: Sequence[Any], seen: Projection, sentence: str
    ) -> tuple[str, Mismatch | None]:
        """The diagnosis: gradcheck's report where it finds the wrong entry, else the projection alone."""
        # A gradient in float32 is right to 1e-7, too coarse for differences of it at the next order.
        reason = obstacle(self.original, precision=self.level > 1 or seen.gap < 1e-5 * seen.size)
        if reason is not None:
            return reason, None
        plain = pull(self.problem, vs)[self.problem.wanted.index(position)]  # with contiguous cotangents
        # The same pull with contiguous cotangents: if it gives another number, the memory layout is what is wrong.
        if not abs(float((plain * u).sum()) - seen.analytical) <= 0.1 * seen.gap and np.isfinite(seen.gap):
            return (
                f"{sentence}\nbackward depends on how its cotangent lies in memory: for a strided one it is wrong",
                None,
            )
        line = self.problem.line(position, u)
        beside = slopes(
            lambda t: float(sum((v * y).sum() for v, y in zip(vs, line(t), strict=True))),
            EPS,
            1e-5,
            1e-4,
            analytical=seen.analytical,
            numerical=seen.numerical,
            weight=seen.weight,
        )
        if seen.agrees(self.rtol) or beside.verdict not in ("smooth", "curved"):
            wrong = self._beside() if self.level > 1 else None
            if wrong is not None:
                return str(wrong), wrong.mismatch
            return f"the inputs are at a kink or an edge, where gradients cannot be checked: {beside}", None
        # A lower bound on the largest wrong entry: |<v, E u>| <= max |E| sum |u| sum |v|
        spread = float(np.abs(u).sum()) * sum(float(np.abs(v).sum()) for v in vs)
        atol = 0.3 * seen.gap / max(spread, 1e-300) if np.isfinite(seen.gap) else self.rtol * max(seen.size, SMALLEST)
        check = Check(self.problem, EPS, atol, 0.0, 0.0, False, False, "extrapolated")
        relative = seen.gap / seen.size if np.isfinite(seen.gap) and seen.size else 1.0
        tolerance = min(1e-5, max(0.03 * relative, 1e-9))
        try:
            check.by_input(position, tolerance)
        except GradcheckError as error:
            return str(error), error.mismatch
        # With one-hot cotangents every entry is right: the vjp is wrong for dense ones.
        suspect = first_wrong(self.problem, tolerance)
        # A vjp is linear: nothing comes of nothing.
        if any(np.any(g) for g in pull(self.problem, [0 * v for v in vs])):
            sentence = f"backward not multiplied by grad_output: a zero cotangent gave a gradient not 0\n{sentence}"
        return "\n".join([sentence, str(beside), *([str(suspect)] if suspect else [])]), None

    def _beside(self) -> GradientFailure | None:
        """A failure of the first derivatives close by: a gradient that jumps may be wrong on one side only."""
        problem = self.original
        leaves = [problem.inputs[k] for k in problem.wanted]
        here = [t._data.copy() for t in leaves]
        for sign in (1.0, -1.0):
            for t, values in zip(leaves, here, strict=True):
                t._data[...] = values + sign * BESIDE
            try:
                # Without a minimum signal: beside the point a gradient may be 0.
                found = _checked(problem, 1, self.rtol, 0.0, 1, 0, "auto")
                if isinstance(found, GradientFailure) and found.mismatch is not None:
                    return found
            finally:
                for t, values in zip(leaves, here, strict=True):
                    t._data[...] = values
        return None


def _equal(a: Any, b: Any) -> bool:
    """Equality of every entry, where nan equals nan."""
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _cotangent(values: Any, y: Tensor, before: list[tuple[str, Any, Any]]) -> Any:
    """A cotangent on y's device.  Its memory layout varies from example to example."""
    values = np.asarray(values, y.dtype)
    # Strided for half of the examples, chosen by the inputs so that a failure can be reproduced.
    if values.ndim and sum(zlib.crc32(to_host(kept).tobytes()) for _, _, kept in before) % 2:
        wider = np.zeros((*values.shape[:-1], 2 * values.shape[-1]), values.dtype)
        wider[..., ::2] = values
        values = wider[..., ::2]
    return to_device(values, y.device)


def _nothing_tested(problem: Problem, signal: float, reached: bool, min_signal: float | None, seed: int) -> str | None:
    """The message for gradients so small that the example tests nothing; else None."""
    if min_signal is not None:
        if signal < min_signal:
            return f"no gradient is larger than {signal:.3g}, {min_signal:.3g} was asked for: nothing is tested"
        return None
    leaves = [problem.inputs[k] for k in problem.wanted]
    if signal > 0 or not any(t.numel() for t in leaves) or not any(y.numel() for _, y in problem.named_tensors()):
        return None
    if not reached:
        return (
            "nothing is tested: no output depends on an input that requires grad, and none changes with one. If that "
            "is meant, say min_signal=0"
        )
    constant = True
    values = problem.values()
    rng = np.random.default_rng(seed)
    # From near to far: past a flat spot, past the flat side of a relu, and out of the range of a clamp.
    for far in (0.01, 1.0, 1.0, 4.0, 4.0, None, None, None):
        slope, there = _elsewhere(problem, rng, far)
        # nan too, of a function that fails at that point: we do not accuse it.
        if slope != 0:
            return None
        constant = constant and all(np.array_equal(a, b) for a, b in zip(values, there, strict=False))
    if constant and any(min(t.shape, default=1) == 1 for t in leaves):
        return None  # softmax or deviation from the mean over one entry: constant by nature
    return (
        "nothing is tested: every gradient is 0, here and at 8 other points. If the function is flat, as sign() is, "
        "say min_signal=0"
    )


def _elsewhere(problem: Problem, rng: np.random.Generator, far: float | None) -> tuple[float, list[Any]]:
    """The size of the gradients at other inputs, and the values there; nan if the function fails.

    Args:
        far: how far from the inputs, in units of their size; None for numbers around 1 in their place.
    """
    leaves = [problem.inputs[k] for k in problem.wanted]
    before = [t._data.copy() for t in leaves]
    try:
        for t, kept in zip(leaves, before, strict=True):
            u = rng.uniform(0.5, 2.0, t.shape) * rng.choice([-1.0, 1.0], t.shape)
            moved = u if far is None else to_host(kept) + far * np.maximum(1.0, np.abs(to_host(kept))) * u
            t._data[...] = to_device(np.asarray(moved), t.device)
        with np.errstate(all="ignore"):
            live = [y for y in problem.outputs() if y.requires_grad]
            # Random, not ones: the entries of a softmax sum to 1, and the gradient of their sum is 0.
            ones = [wrap(to_device(rng.standard_normal(y.shape), y.device)) for y in live]
            found = grad(live, leaves, ones, allow_unused=True) if live else ()
            return sum(float(np.abs(to_host(g._data)).sum()) for g in found if g is not None), problem.values()
    except Exception:  # the function rejects these inputs, which says nothing about its slopes
        return float("nan"), []
    finally:
        for t, kept in zip(leaves, before, strict=True):
            t._data[...] = kept


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
        differentiable = primitive.vjp_all is not None or (
            position < len(primitive.vjps) and primitive.vjps[position] is not None
        )
        # Copied where entries share memory, because inputs are moved one at a time.
        inputs.append(wrap(a if _writable(a) else a.copy()).requires_grad_() if floating and differentiable else a)

    def call(*values: Any) -> Any:
        return (function or primitive.apply)(*values, **(params or {}))

    return call, inputs


def _writable(a: Any) -> bool:
    """Whether values can be moved in place: not a broadcast view, nor a constant."""
    flags = getattr(a, "flags", None)
    writable = bool(getattr(flags, "writeable", True))
    return writable and not any(stride == 0 and size > 1 for stride, size in zip(a.strides, a.shape, strict=True))
