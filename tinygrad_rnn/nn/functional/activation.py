"""Elementwise activation functions, with PyTorch's subgradients at kinks.

``inplace=True`` turns the input tensor itself into the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...backend import not_implemented, only, scalar_name
from ...errors import ArgumentError, ArgumentRuntimeError, DtypeError, ShapeRuntimeError, UnsupportedDtype
from ...ops import exp, sigmoid, tanh, where
from ...ops.dtypes import in_single
from ...ops.elementwise import constant_in, zeros_of
from ...ops.inplace import applied
from ...ops.shape import sum_to
from ...tape.apply import primitive
from ...tape.formula import Formula
from ...tape.tensor import Tensor
from ...typing import Array, Value

__all__ = ["celu", "elu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu"]
__all__ += ["logsigmoid", "mish", "prelu", "relu", "relu6", "relu_", "selu", "sigmoid", "silu", "softplus"]
__all__ += ["softshrink", "softsign", "tanh", "tanhshrink", "threshold"]

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


@in_single
def _log_sigmoid(a: Array) -> Array:
    # No exp of a positive number: it cannot overflow on either side.
    return np.minimum(a, 0) - np.log1p(np.exp(-np.abs(a)))


def _hardtanh(a: Array, low: float, high: float) -> Array:
    kind = a.dtype.kind
    if kind == "f":
        return np.clip(a, low, high)
    if kind == "c":
        raise UnsupportedDtype("clamp is not supported for complex types")
    if kind == "b":
        raise DtypeError("Bool inputs not supported for hardtanh")
    if kind == "u" and low < 0:
        raise DtypeError("cannot do hardtanh on an unsigned type with negative limits")
    return np.clip(a, int(low), int(high))  # so whole numbers stay whole


@in_single
def _elu(a: Array, alpha: float, scale: float, rate: float) -> Array:
    # np.where computes both sides: without the minimum expm1 would overflow where the other one is taken.
    return np.where(a > 0, a * scale, np.expm1(np.minimum(a, 0) * rate) * (alpha * scale))


@in_single
def _elu_vjp(g: Value, y: Any, a: Value, alpha: float, scale: float, rate: float) -> Value:
    # The outer condition is PyTorch's choice at 0. The inner one keeps exp from overflow: one order up, its infinity
    # times the 0 of the other side would be nan.
    return where(a <= 0, g * (exp(where(a < 0, a, 0) * rate) * (rate * alpha * scale)), g * scale)


log_sigmoid = primitive(
    "log_sigmoid",
    only("f", "log_sigmoid_cpu", _log_sigmoid),
    in_single(lambda g, y, a: g * sigmoid(-a)),
    "a",
    formula=Formula(r"\log(\sigma(a))", a=r"\bar{y} \odot \sigma(-a)"),
    doc="log(sigmoid(a)), which is -softplus(-a) and never overflows.",
)
_elu_primitive = primitive(
    "elu",
    only("f", "elu_cpu", _elu),
    _elu_vjp,
    "a",
    formula=Formula(
        r"\begin{cases} \lambda a & a > 0 \\ \lambda \alpha (\exp(r a) - 1) & \text{otherwise} \end{cases}",
        a=r"\bar{y} \odot \begin{cases} \lambda & a > 0 \\ \lambda \alpha r \exp(r a) & \text{otherwise} \end{cases}",
    ),
)
_leaky_relu = primitive(
    "leaky_relu",
    only("f", "leaky_relu_cpu", in_single(lambda a, slope: np.where(a > 0, a, a * slope))),
    # The slope does not vary with a, but its record says that it may: a second derivative is then 0, as in PyTorch,
    # and not an input that was never used.
    in_single(lambda g, y, a, slope: constant_in(where(a > 0, g, g * slope), a)),
    "a",
    formula=Formula(
        r"\begin{cases} a & a > 0 \\ s a & \text{otherwise} \end{cases}",
        a=r"\begin{cases} \bar{y} & a > 0 \\ s \bar{y} & \text{otherwise} \end{cases}",
    ),
)


def _prelu_vjp(g: Value, y: Any, a: Value, slope: Value) -> Value:
    return where(a > 0, g, g * slope) + constant_in(zeros_of(g), a)  # a sum: what follows for g is not of a


_prelu = primitive(
    "prelu",
    lambda a, slope: np.where(a > 0, a, a * slope),
    (
        _prelu_vjp,
        lambda g, y, a, slope: sum_to(where(a > 0, 0, g * a), slope.shape),
    ),
    ("ab", "a"),
    formula=Formula(
        r"\begin{cases} a & a > 0 \\ s \odot a & \text{otherwise} \end{cases}",
        a=r"\begin{cases} \bar{y} & a > 0 \\ s \odot \bar{y} & \text{otherwise} \end{cases}",
        slope=r"\operatorname{sum}_{s}(\bar{y} \odot a \odot [a \le 0])",
    ),
)
_silu = primitive(
    "silu",
    only("fc", "silu_cpu", in_single(lambda a: a * sigmoid(a))),
    in_single(lambda g, y, a: g * (sigmoid(a) * (1 + a * (1 - sigmoid(a))))),
    "a",
    formula=Formula(r"a \odot \sigma(a)", a=r"\bar{y} \odot \sigma(a) \odot (1 + a \odot (1 - \sigma(a)))"),
)
_clip = primitive(
    "clip_open",
    _hardtanh,
    lambda g, y, a, low, high: constant_in(where((a <= low) | (a >= high), 0, g), a),
    "a",
    formula=Formula(r"\min(\max(a, l), u)", a=r"\bar{y} \odot [l < a < u]"),
    doc="a, kept within [low, high]; its derivative at the two bounds is 0.",
)
_threshold = primitive(
    "threshold",
    only("fiu", "threshold_cpu", lambda a, bound, value: np.where(a <= bound, a.dtype.type(value), a)),
    lambda g, y, a, bound, value: constant_in(where(a <= bound, 0, g), a),
    "a",
    formula=Formula(
        r"\begin{cases} v & a \le \theta \\ a & \text{otherwise} \end{cases}", a=r"\bar{y} \odot [a > \theta]"
    ),
)


def _shrink_vjp(g: Value, y: Any, a: Value, width: float) -> Value:
    return constant_in(where((a >= -width) & (a <= width), 0, g), a)


_hardshrink = primitive(
    "hardshrink",
    only("f", "hardshrink_cpu", lambda a, width: np.where((a >= -width) & (a <= width), 0, a)),
    _shrink_vjp,
    "a",
    formula=Formula(r"a \odot [|a| > w]", a=r"\bar{y} \odot [|a| > w]"),
)
_softshrink = primitive(
    "softshrink",
    only(
        "f",
        "softshrink_check",
        # a * 0 and not 0: no comparison holds for a nan, which comes here, and stays one.
        in_single(lambda a, width: np.where(a > width, a - width, np.where(a < -width, a + width, a * 0))),
    ),
    _shrink_vjp,
    "a",
    formula=Formula(r"\operatorname{sign}(a) \odot \max(|a| - w, 0)", a=r"\bar{y} \odot [|a| > w]"),
)
_hardsigmoid = primitive(
    "hardsigmoid",
    only("f", "hardsigmoid_cpu", in_single(lambda a: np.clip(a + 3, 0, 6) / 6)),
    lambda g, y, a: constant_in(where((a > -3) & (a < 3), g * (1 / 6), 0), a),
    "a",
    formula=Formula(r"\frac{1}{6} \min(\max(a + 3, 0), 6)", a=r"\frac{1}{6} \bar{y} \odot [-3 < a < 3]"),
)
_hardswish = primitive(
    "hardswish",
    # a * 0 and not 0: at -inf x relu6(x + 3) / 6 is nan.
    only("f", "hardswish_cpu", in_single(lambda a: np.where(a <= -3, a * 0, np.where(a >= 3, a, a * (a + 3) / 6)))),
    # The inner condition keeps infinities out of a product with 0, which would be nan one order up.
    in_single(lambda g, y, a: where(a <= -3, 0, where(a < 3, g * (where(abs(a) < 3, a, 0) / 3 + 0.5), g))),
    "a",
    formula=Formula(
        r"\frac{1}{6} a \odot \min(\max(a + 3, 0), 6)",
        a=r"\bar{y} \odot "
        r"\begin{cases} 0 & a \le -3 \\ \frac{1}{3} a + \frac{1}{2} & a < 3 \\ 1 & \text{otherwise} \end{cases}",
    ),
)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); the derivative at 0 is 0."""
    return applied("relu", ops.relu, input, inplace)


def relu_(input: Tensor) -> Tensor:
    """``relu`` in place."""
    return relu(input, inplace=True)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else slope x; the derivative at 0 is the slope."""
    return applied("leaky_relu", _leaky_relu, input, inplace, slope=negative_slope)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else w x, with one learned w in all or one per channel (axis 1).

    Raises:
        DtypeError: the two have different types.
        ArgumentRuntimeError: neither 1 nor as many weights as channels.
    """
    if input._data.dtype != weight._data.dtype:
        raise DtypeError(
            f"prelu: Type promoting not supported. Got {scalar_name(input.dtype)} and {scalar_name(weight.dtype)}"
        )
    if weight.numel() != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if weight.numel() != channels:
            raise ArgumentRuntimeError(
                "Mismatch of parameter numbers and input channel size. "
                f"Found parameter numbers = {weight.numel()} and channel size = {channels}."
            )
        weight = weight.reshape((1, -1) + (1,) * (input.ndim - 2))
    result: Tensor = _prelu(input, weight)
    return result


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha (e**x - 1)."""
    return applied("elu", _elu_primitive, input, inplace, alpha=alpha, scale=1.0, rate=1.0)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha (e**(x/alpha) - 1).

    Raises:
        ArgumentRuntimeError: alpha = 0.
    """
    if alpha == 0:
        raise ArgumentRuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return applied("celu", _elu_primitive, input, inplace, alpha=alpha, scale=1.0, rate=1.0 / alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu with the two constants for which activations keep mean 0 and variance 1.

    Source: G. Klambauer et al., "Self-normalizing neural networks" (2017), equation 2.
    """
    return applied("selu", _elu_primitive, input, inplace, alpha=SELU_ALPHA, scale=SELU_SCALE, rate=1.0)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x), also called swish."""
    return applied("silu", _silu, input, inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x))."""
    # Checked here, because the operations that it is composed of take more types than PyTorch's kernel.
    if input.dtype.kind != "f":
        raise not_implemented("mish_cpu", input.dtype)
    return applied("mish", in_single(lambda x: x * tanh(softplus(x))), input, inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e**(beta x)) / beta, and x itself where beta x > threshold.

    >>> import tinygrad_rnn as tg
    >>> softplus(tg.tensor([-800.0, 0.0, 800.0]))
    tensor([0.0000e+00, 6.9315e-01, 8.0000e+02])
    """
    result: Tensor = ops.softplus(input, beta, threshold)
    return result


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)) without overflow.

    >>> import tinygrad_rnn as tg
    >>> logsigmoid(tg.tensor([-800.0, 800.0]))
    tensor([-800.,    0.])
    """
    result: Tensor = log_sigmoid(input)
    return result


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    result: Tensor = in_single(lambda x: x / (1 + abs(x)))(input)
    return result


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    result: Tensor = in_single(lambda x: x - tanh(x))(input)
    return result


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x kept within [min_val, max_val]; the derivative at the two bounds is 0.

    Raises:
        ArgumentError: min_val > max_val.
    """
    if min_val > max_val:
        raise ArgumentError(f"min_val cannot be greater than max_val: {min_val} > {max_val}")
    return applied("hardtanh", _clip, input, inplace, low=min_val, high=max_val)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """x kept within [0, 6]."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """x/6 + 1/2, kept within [0, 1]."""
    return applied("hardsigmoid", _hardsigmoid, input, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x hardsigmoid(x); the derivative is 0 at -3 and 1 at 3."""
    return applied("hardswish", _hardswish, input, inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """``value`` where x <= threshold, else x; nan stays nan."""
    return applied("threshold", _threshold, input, inplace, bound=threshold, value=value)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0."""
    result: Tensor = _hardshrink(input, width=lambd)
    return result


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, and 0 if it would get there.

    Raises:
        ArgumentRuntimeError: lambd < 0.
    """
    if lambd < 0:
        raise ArgumentRuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    result: Tensor = _softshrink(input, width=lambd)
    return result


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b), where a and b are the halves of the input along ``dim``.

    Raises:
        ShapeRuntimeError: the axis has odd length, or there is none.

    Source: Y. Dauphin et al., "Language modeling with gated convolutional networks" (2016), equation 1.
    """
    if input.ndim == 0:
        raise ShapeRuntimeError("glu does not support scalars because halving size must be even")
    # As for mish: its parts would take more types.
    if input.dtype.kind != "f":
        raise not_implemented("glu_cpu", input.dtype)
    axis = dim % input.ndim
    size = input.shape[axis]
    if size % 2:
        raise ShapeRuntimeError(f"Halving dimension must be even, but dimension {axis} is size {size}")
    result: Tensor = _gated(input, axis, size // 2)
    return result


@in_single
def _gated(a: Tensor, axis: int, size: int) -> Tensor:
    before = (slice(None),) * axis
    return a[before + (slice(0, size),)] * sigmoid(a[before + (slice(size, 2 * size),)])
