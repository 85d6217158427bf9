"""Losses for classes: negative log-likelihood and cross entropy.

Classes lie along axis 1 of the input, ``(N, C)`` or ``(N, C, d1, ...)``, or axis 0 of one sample ``(C,)``.  Targets
are class numbers ``(N, d1, ...)``, or, for cross entropy, probabilities of the input's shape.

With weights w_c and target class y, a sample's loss is -w_y log p_y; the mean divides by the sum of the w_y.
Samples whose target is ``ignore_index`` are left out: 0 with "none", nan for a mean over no samples.

The usual case is one fused primitive: log-softmax and indexing in one pass, gradient (p - onehot) c per sample.  On a
GPU it is a kernel, if the input is (N, C) and classes have no weights.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...backend import array_module, not_implemented, on_gpu, scalar_name
from ...errors import (
    ArgumentError,
    ArgumentRuntimeError,
    ArgumentTypeError,
    DtypeError,
    IndexOutOfRange,
    ShapeRuntimeError,
)
from ...kernels.cuda_elementwise.cross_entropy import Likelihood, likelihood
from ...ops import log_softmax, where
from ...ops import sum as total
from ...ops.dtypes import in_single, single
from ...ops.index import picks
from ...tape.formula import Formula
from ...tape.multi_output import fused
from ...tape.observe.leaks import note_loss
from ...tape.tensor import Tensor, wrap
from ...typing import Array, V, Value
from .reduction import reduction_name

__all__ = ["cross_entropy", "nll_loss"]


class _Case(NamedTuple):
    """A checked target: for each sample its class and its coefficient, and the divisor of the mean."""

    classes: Array  # (N, d...) int64, 0 where ignored
    scale: Array | None  # (N, d...), w_y, 0 where ignored; None: 1 for each
    divisor: Array | int  # the sum of scale
    axis: int  # of the classes in the input
    kept: Array | None  # (N, d...) bool, False where ignored; None: none is


def _check_shapes(input: Tensor, target: Tensor) -> None:
    """PyTorch's checks of shapes, in its order."""
    if input.ndim == 2 and input.shape[:1] == target.shape:
        return
    expected, got = list(input.shape), list(target.shape)
    if input.ndim < 1:
        raise ArgumentError("Expected 1 or more dimensions (got 0)")
    if input.ndim > 1 and (target.ndim == 0 or expected[0] != got[0]):
        count = got[0] if got else "a single number"
        raise ArgumentError(f"Expected input batch_size ({expected[0]}) to match target batch_size ({count}).")
    if input.ndim <= 2:
        if target.ndim > 1:
            raise ShapeRuntimeError(
                f"0D or 1D target tensor expected, multi-target not supported: input {expected}, target {got}"
            )
        if input.ndim == 1 and target.ndim == 1 and got[0] != 1:
            raise ArgumentError(f"For 1D input, 1D target must have size 1, but got target size: {got[0]}")
    elif input.ndim == 4 and target.ndim != 3:
        raise ShapeRuntimeError(
            f"only batches of spatial targets supported (3D tensors) but got targets of dimension: {target.ndim}"
        )
    elif got[1:] != expected[2:]:
        if input.ndim == 4:
            raise ShapeRuntimeError(f"size mismatch (got input: {expected} , target: {got}")
        raise ShapeRuntimeError(f"Expected target size {[expected[0], *expected[2:]]}, got {got}")


def _check_weight(op: str, weight: Tensor | None, input: Tensor, classes: int) -> None:
    if weight is None:
        return
    if weight.shape != (classes,):
        raise ShapeRuntimeError(
            f"{op}weight tensor should be defined either for all {classes} classes or no classes but got weight "
            f"tensor of shape: {list(weight.shape)}"
        )
    if weight._data.dtype != input._data.dtype:
        raise DtypeError(
            f"expected scalar type {scalar_name(input.dtype)} but found {scalar_name(weight.dtype)}. "
            f"Convert weight to {input.dtype}"
        )


def _check_classes(op: str, input: Tensor, target: Tensor) -> None:
    if not isinstance(target, Tensor):
        raise ArgumentTypeError(f"{op}(): argument 'target' (position 2) must be Tensor, not {type(target).__name__}")
    _check_shapes(input, target)
    if target._data.dtype not in (np.int64, np.uint8):
        raise DtypeError(
            f"expected target dtype to be Long or Byte, but got {scalar_name(target.dtype)}. "
            "Convert the target: target.long()"
        )


def _case(op: str, input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> _Case:
    """Check a class target and compute the coefficients.

    Raises:
        IndexOutOfRange: a class out of range (and not ``ignore_index``); on the host only, as the check would
            synchronise a GPU.
    """
    _check_classes(op, input, target)
    _check_weight("", weight, input, input.shape[0 if input.ndim == 1 else 1])
    return _coefficients(op, input, target._data, weight, ignore_index)


def _coefficients(op: str, input: Value, classes: Array, weight: Tensor | None, ignore_index: int) -> _Case:
    axis = 0 if input.ndim == 1 else 1
    count = input.shape[axis]
    xp = array_module(classes)
    # Of one sample: PyTorch takes a target of shape (1,) for ().
    if input.ndim == 1:
        classes = classes.reshape(())
    if xp is np and weight is None and _all_there(classes, count, ignore_index):
        return _Case(classes.astype(np.int64), None, classes.size, axis, None)
    kept = classes != ignore_index
    if xp is np and (wrong := kept & ((classes < 0) | (classes >= count))).any():
        raise IndexOutOfRange(
            f"Target {classes[wrong].reshape(-1)[0]} is out of bounds. {op}(): there are {count} classes, "
            f"0 to {count - 1}"
        )
    # Ignored samples pick class 0, since they must pick one; their loss is not used.
    classes = xp.where(kept, classes, 0).astype(np.int64)
    scale = kept if weight is None else weight._data[classes] * kept
    scale = scale.astype(np.float32 if input.dtype.itemsize == 2 else input.dtype)  # the sum may be beyond 65504
    return _Case(classes, scale, scale.sum(), axis, kept)


def _all_there(classes: Array, count: int, ignore_index: int) -> bool:
    """Whether all are classes and none is ignored, in one pass: read as unsigned, negative ones are very large."""
    if not classes.size or (classes.view(np.uint64) if classes.dtype == np.int64 else classes).max() >= count:
        return False
    return not (0 <= ignore_index < count and (classes == ignore_index).any())


# the fused case ---------------------------------------------------------------------------------------------


class _Target:
    """A target on a GPU, whose coefficients are computed only if no kernel accepts it."""

    def __init__(self, classes: Array, ignored: int) -> None:
        self.classes, self.ignored = classes, ignored
        self._case: _Case | None = None

    def case(self, a: Value) -> _Case:
        """The coefficients, computed once, so that later writes to the target change nothing."""
        if self._case is None:
            self._case = _coefficients("cross_entropy", a, self.classes, None, self.ignored)
        return self._case


def _forward(a: Array, case: _Case | _Target, reduction: str) -> tuple[tuple[Array], Any]:
    if isinstance(case, _Target):
        found = likelihood(a, case.classes, case.ignored, reduction)
        if found is not None:
            # The kernel's copy: later writes to the target do not change the gradient.
            case.classes = found[1].classes
            return (found[0],), found[1]
        case = case.case(a)
    dtype = a.dtype
    if dtype.itemsize == 2:
        a = single(a)
    shifted = a - a.max(axis=case.axis, keepdims=True)
    e = np.exp(shifted)
    z = e.sum(axis=case.axis)
    loss = _collected(np.log(z) - shifted[picks(case.classes, 1)], case, reduction)
    return (loss if loss.dtype == dtype else loss.astype(dtype),), (e, z, case)


def _backward(gs: Any, residual: Any, a: Array, needs: Any, case: Any, reduction: str) -> list[Array]:
    """dL/da = (softmax(a) - onehot) times the coefficient of each sample."""
    if isinstance(residual, Likelihood):
        return [residual.gradient(gs[0], a)]
    e, z, case = residual
    g = gs[0]
    c = _coefficient(single(g) if g.itemsize == 2 else g, case, reduction)
    factor = c / z
    grad: Array = e * factor.reshape(*factor.shape[: case.axis], 1, *factor.shape[case.axis :])
    # Each sample picks one entry, so that none is met twice, and plain indexing adds all.
    grad[picks(case.classes, 1)] -= c
    return [grad if grad.dtype == a.dtype else grad.astype(a.dtype)]


def _coefficient(g: Array, case: _Case, reduction: str) -> Array:
    """The factor of the gradient of each sample."""
    if reduction == "mean":
        g = g / case.divisor
    return g if case.scale is None else case.scale * g


def _collected(loss: V, case: _Case, reduction: str) -> V:
    """The weighted losses of the samples, or their sum or mean."""
    if case.scale is not None and case.kept is not None:
        # Selected, not multiplied by 0: an ignored sample may have an infinite loss, and inf * 0 is nan.
        loss = where(case.kept, loss * case.scale, 0)
    return loss if reduction == "none" else loss.sum() / case.divisor if reduction == "mean" else loss.sum()


def _reference(a: V, case: _Case | _Target, reduction: str) -> tuple[V]:
    if isinstance(case, _Target):
        case = case.case(a)
    return (_from_logits(a, case, reduction),)


@in_single
def _from_logits(a: V, case: _Case, reduction: str) -> V:
    return _likelihood(log_softmax(a, case.axis), case, reduction)


@in_single
def _likelihood(log_p: V, case: _Case, reduction: str) -> V:
    """The loss as a composition of operations, from log-probabilities."""
    return _collected(-log_p[picks(case.classes, 1)], case, reduction)


def _picked(log_p: Array, case: _Case, reduction: str) -> tuple[tuple[Array], None]:
    return (_likelihood(log_p, case, reduction),), None


def _to_picked(gs: Any, residual: Any, log_p: Array, needs: Any, case: _Case, reduction: str) -> list[Array]:
    grad = np.zeros_like(log_p)
    grad[picks(case.classes, 1)] = -_coefficient(single(gs[0]), case, reduction)
    return [grad]


# j is a sample, t_j its class; q_j its coefficient: w_t for "sum" and "none", which has no sum over j, and w_t over the
# sum of those of all samples for "mean".  w_t is 1 without weights, and 0 if the sample is ignored.
_cross_entropy = fused(
    "cross_entropy",
    _forward,
    _backward,
    _reference,
    formula=Formula(
        r"\sum_{j} q_{j} (\log(\sum_{k} \exp(a_{jk})) - a_{j,t_{j}})",
        a=r"\bar{a}_{jk} = \bar{y} q_{j} (\frac{\exp(a_{jk})}{\sum_{l} \exp(a_{jl})} - [k = t_{j}])",
    ),
    gives_new=True,
    kept=False,
)
_nll = fused(
    "nll_loss",
    _picked,
    _to_picked,
    lambda a, case, reduction: (_likelihood(a**1, case, reduction),),  # a**1: then d/da is recorded as one of a
    formula=Formula(r"-\sum_{j} q_{j} a_{j,t_{j}}", log_p=r"\bar{a}_{jk} = -\bar{y} q_{j} [k = t_{j}]"),
    gives_new=True,
    kept=False,
)


# public -----------------------------------------------------------------------------------------------------


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-w_y x_y, where x are log-probabilities and y is the target class.

    Shapes:
        input ``(N, C, d...)`` or ``(C,)``, target ``(N, d...)`` or ``()``; result ``()``, or the target's with "none".

    Args:
        weight: ``(C,)``, one factor for each class.
        ignore_index: a target that is left out.
        reduction: "mean", "sum" or "none".

    Raises:
        IndexOutOfRange: a class outside 0 .. C-1.
        ArgumentError: the batch sizes differ, or an unknown reduction.
        ShapeRuntimeError: other sizes do not fit.
        DtypeError: the target is neither int64 nor uint8.

    >>> import tinygrad_rnn as tg
    >>> nll_loss(tg.tensor([[-1.0, -2.0], [-3.0, -4.0]]), tg.tensor([0, 1])).item()
    2.5
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if input._data.dtype.kind != "f":
        raise not_implemented("nll_loss_out_frame", input.dtype, "convert it, x.float()")
    case = _case("nll_loss", input, target, weight, ignore_index)
    result: Tensor
    (result,) = _nll(input, case=case, reduction=reduction)
    # For the warning about losses that are collected and never swept.
    note_loss(result._node)
    return result


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-w_y log softmax(x)_y for a class y, or -sum_c w_c p_c log softmax(x)_c for probabilities p.

    Shapes:
        input ``(N, C, d...)`` or ``(C,)``; target classes ``(N, d...)`` or ``()``, or probabilities of the input's
        shape; result ``()``, or ``(N, d...)`` with "none".

    Args:
        weight: ``(C,)``, one factor for each class.
        ignore_index: a target class that is left out; not for probabilities.
        reduction: "mean" (over the weights of the targets; for probabilities over the samples), "sum" or "none".
        label_smoothing: eps in [0, 1]; the target becomes (1 - eps) target + eps / C.

    Raises:
        IndexOutOfRange: a class outside 0 .. C-1.
        ArgumentError: the batch sizes differ, or an unknown reduction.
        ShapeRuntimeError: other sizes do not fit.
        DtypeError: the target is neither int64 nor uint8, or the probabilities are not floating.
        ArgumentRuntimeError: ``label_smoothing`` outside [0, 1], or ``ignore_index`` with probabilities.

    Source for smoothing: C. Szegedy et al., "Rethinking the Inception architecture" (2015), section 7.

    >>> import tinygrad_rnn as tg
    >>> logits = tg.tensor([[0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    >>> loss = cross_entropy(logits, tg.tensor([0, -100]))
    >>> loss.backward()
    >>> round(loss.item(), 4), logits.grad.tolist()
    (0.6931, [[-0.5, 0.5], [0.0, 0.0]])
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if not isinstance(target, Tensor):
        raise ArgumentTypeError(
            f"cross_entropy_loss(): argument 'target' (position 2) must be Tensor, not {type(target).__name__}"
        )
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentRuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if input.dtype.kind != "f":
        raise not_implemented("cross_entropy", input.dtype, "convert it, x.float()")
    if input.shape == target.shape:
        if target.dtype.kind != "f":
            raise DtypeError(
                f"Expected floating point type for target with class probabilities, got "
                f"{scalar_name(target.dtype)}. "
                "A target of the input's shape holds probabilities; class numbers have no class axis"
            )
        # PyTorch's default is negative, and no negative number names a class.
        if ignore_index >= 0:
            raise ArgumentRuntimeError("ignore_index is not supported for floating point target")
        return _soft(input, target, weight, reduction, label_smoothing)
    case: _Case | _Target
    if weight is None and label_smoothing == 0 and on_gpu(input._data):
        _check_classes("cross_entropy", input, target)
        case = _Target(target._data, ignore_index)
    else:
        case = _case("cross_entropy", input, target, weight, ignore_index)
        if label_smoothing > 0:
            return _smoothed(input, case, weight, reduction, label_smoothing)
    result: Tensor
    (result,) = _cross_entropy(input, case=case, reduction=reduction)
    note_loss(result._node)
    return result


def _per_class(weight: Tensor | None, ndim: int, axis: int) -> Any:
    """The weights reshaped to broadcast along the class axis."""
    return 1 if weight is None else weight.reshape([-1 if k == axis else 1 for k in range(ndim)])


@in_single
def _smoothed(input: Tensor, case: _Case, weight: Tensor | None, reduction: str, eps: float) -> Tensor:
    log_p = log_softmax(input, case.axis)
    spread = -total(log_p * _per_class(weight, input.ndim, case.axis), case.axis)
    if case.kept is not None:
        spread = where(wrap(case.kept), spread, 0)
    if reduction != "none":
        spread = total(spread) / case.divisor if reduction == "mean" else total(spread)
    result: Tensor = (1 - eps) * _likelihood(log_p, case, reduction) + spread * (eps / input.shape[case.axis])
    return result


@in_single
def _soft(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, eps: float) -> Tensor:
    if input.ndim == 0:
        raise ArgumentError("Expected 1 or more dimensions (got 0)")
    axis = 0 if input.ndim == 1 else 1
    classes = input.shape[axis]
    _check_weight("cross_entropy: ", weight, input, classes)
    if eps > 0:
        target = target * (1 - eps) + eps / classes
    loss = -(log_softmax(input, axis) * target * _per_class(weight, input.ndim, axis))
    samples = math.prod(n for k, n in enumerate(input.shape) if k != axis)
    result: Tensor = total(loss, axis) if reduction == "none" else total(loss)
    # Over no samples the mean is nan, as in PyTorch.
    return result / (samples or math.nan) if reduction == "mean" else result
