"""Distributions on the line that have a location and a scale, or two ends, or a rate."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..ops.special_functions import erf, erfinv
from ..tape.modes import no_grad
from ..tape.tensor import Tensor
from . import constraints
from .arrays import broadcast_all, limits
from .distribution import Distribution, ExponentialFamily

__all__ = ["Cauchy", "Exponential", "Laplace", "Normal", "Uniform", "standard_normal"]

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def standard_normal(shape: Any, like: Tensor) -> Tensor:
    """Draws of the standard normal distribution."""
    zeros = ops.zeros(tuple(shape), dtype=like.dtype, device=like.device)
    return ops.normal(zeros, 1.0)


class Normal(ExponentialFamily):
    r"""``log p(x) = -((x - loc) / scale)^2 / 2 - log(scale) - log(2 pi) / 2``.

    Shapes: loc and scale broadcast to the batch shape.

    Args:
        loc: the mean. scale: the standard deviation.

    Raises:
        ValueError: scale is not positive.

    >>> import tinygrad_rnn as tg
    >>> Normal(0.0, 2.0).log_prob(tg.tensor(1.0))
    tensor(-1.7371)
    """

    arg_constraints: Any = {"loc": constraints.real, "scale": constraints.positive}
    support: Any = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        """loc."""
        return self.loc

    @property
    def mode(self) -> Any:
        """loc."""
        return self.loc

    @property
    def stddev(self) -> Any:
        """scale."""
        return self.scale

    @property
    def variance(self) -> Any:
        """scale squared."""
        return self.scale**2

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        return self._expanded(Normal, _instance, batch_shape, "loc scale")

    def sample(self, sample_shape: Any = ()) -> Any:
        """The numbers that PyTorch draws."""
        shape = tuple(self._extended_shape(sample_shape))
        with no_grad():
            return ops.normal(self.loc.expand(shape), self.scale.expand(shape))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """loc + eps scale."""
        return self.loc + standard_normal(self._extended_shape(sample_shape), self.loc) * self.scale

    def log_prob(self, value: Any) -> Any:
        """See the class."""
        if self._validate_args:
            self._validate_sample(value)
        return -((value - self.loc) ** 2) / (2 * self.scale**2) - ops.log(self.scale) - HALF_LOG_2PI

    def cdf(self, value: Any) -> Any:
        """(1 + erf((x - loc) / (scale sqrt(2)))) / 2."""
        if self._validate_args:
            self._validate_sample(value)
        return 0.5 * (1 + erf((value - self.loc) / self.scale / math.sqrt(2)))

    def icdf(self, value: Any) -> Any:
        """loc + scale sqrt(2) erfinv(2 q - 1)."""
        return self.loc + self.scale * erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self) -> Any:
        """1/2 + log(2 pi) / 2 + log(scale)."""
        return 0.5 + HALF_LOG_2PI + ops.log(self.scale)


class Uniform(Distribution):
    """``p(x) = 1 / (high - low)`` for ``low <= x < high``.

    Raises:
        ValueError: low is not below high.

    >>> import tinygrad_rnn as tg
    >>> Uniform(0.0, 4.0).log_prob(tg.tensor(1.0))
    tensor(-1.3863)
    """

    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = broadcast_all(low, high)
        super().__init__(self.low.shape, validate_args=validate_args)

    @property
    def arg_constraints(self) -> Any:
        """low lies below high, and high above low."""
        return {"low": constraints.less_than(self.high), "high": constraints.greater_than(self.low)}

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        """[low, high]."""
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Any:
        """The middle."""
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Any:
        """There is none: nan."""
        return self.high * math.nan

    @property
    def stddev(self) -> Any:
        """(high - low) / sqrt(12)."""
        return (self.high - self.low) / 12**0.5

    @property
    def variance(self) -> Any:
        """(high - low)^2 / 12."""
        return (self.high - self.low) ** 2 / 12

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        return self._expanded(Uniform, _instance, batch_shape, "low high")

    def rsample(self, sample_shape: Any = ()) -> Any:
        """low + u (high - low)."""
        shape = tuple(self._extended_shape(sample_shape))
        return self.low + ops.rand(shape, dtype=self.low.dtype, device=self.low.device) * (self.high - self.low)

    def log_prob(self, value: Any) -> Any:
        """See the class; -inf outside."""
        if self._validate_args:
            self._validate_sample(value)
        inside = (self.low <= value) & (self.high > value)
        return ops.log(inside.to(self.low.dtype)) - ops.log(self.high - self.low)

    def cdf(self, value: Any) -> Any:
        """(x - low) / (high - low), within [0, 1]."""
        if self._validate_args:
            self._validate_sample(value)
        return ops.clamp((value - self.low) / (self.high - self.low), 0, 1)

    def icdf(self, value: Any) -> Any:
        """low + q (high - low)."""
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Any:
        """log(high - low)."""
        return ops.log(self.high - self.low)


class Exponential(ExponentialFamily):
    """``log p(x) = log(rate) - rate x`` for ``x >= 0``.

    Raises:
        ValueError: rate is not positive.

    >>> import tinygrad_rnn as tg
    >>> Exponential(tg.tensor(2.0)).cdf(tg.tensor(1.0))
    tensor(0.8647)
    """

    arg_constraints: Any = {"rate": constraints.positive}
    support: Any = constraints.nonnegative
    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        """1 / rate."""
        return ops.reciprocal(self.rate)

    @property
    def mode(self) -> Any:
        """0."""
        return ops.zeros_like(self.rate)

    @property
    def stddev(self) -> Any:
        """1 / rate."""
        return ops.reciprocal(self.rate)

    @property
    def variance(self) -> Any:
        """1 / rate^2."""
        return self.rate**-2

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        return self._expanded(Exponential, _instance, batch_shape, "rate")

    def rsample(self, sample_shape: Any = ()) -> Any:
        """-log(1 - u) / rate."""
        return self.rate.new_empty(tuple(self._extended_shape(sample_shape))).exponential_() / self.rate

    def log_prob(self, value: Any) -> Any:
        """See the class."""
        if self._validate_args:
            self._validate_sample(value)
        return ops.log(self.rate) - self.rate * value

    def cdf(self, value: Any) -> Any:
        """1 - exp(-rate x)."""
        if self._validate_args:
            self._validate_sample(value)
        return -ops.expm1(-self.rate * value)

    def icdf(self, value: Any) -> Any:
        """-log(1 - q) / rate."""
        return -ops.log1p(-value) / self.rate

    def entropy(self) -> Any:
        """1 - log(rate)."""
        return 1.0 - ops.log(self.rate)


class Laplace(Distribution):
    """``log p(x) = -|x - loc| / scale - log(2 scale)``.

    Raises:
        ValueError: scale is not positive.

    >>> import tinygrad_rnn as tg
    >>> Laplace(0.0, 1.0).icdf(tg.tensor(0.3))
    tensor(-0.5108)
    """

    arg_constraints: Any = {"loc": constraints.real, "scale": constraints.positive}
    support: Any = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        """loc."""
        return self.loc

    @property
    def mode(self) -> Any:
        """loc."""
        return self.loc

    @property
    def stddev(self) -> Any:
        """sqrt(2) scale."""
        return 2**0.5 * self.scale

    @property
    def variance(self) -> Any:
        """2 scale^2."""
        return 2 * self.scale**2

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        return self._expanded(Laplace, _instance, batch_shape, "loc scale")

    def rsample(self, sample_shape: Any = ()) -> Any:
        """loc - scale sign(u) log(1 - |u|), u uniform on (-1, 1)."""
        u = self.loc.new_empty(tuple(self._extended_shape(sample_shape)))
        u = u.uniform_(float(limits(self.loc.dtype).eps) - 1, 1)
        return self.loc - self.scale * ops.sign(u) * ops.log1p(-ops.abs(u))

    def log_prob(self, value: Any) -> Any:
        """See the class."""
        if self._validate_args:
            self._validate_sample(value)
        return -ops.log(2 * self.scale) - ops.abs(value - self.loc) / self.scale

    def cdf(self, value: Any) -> Any:
        """(1 - sign(x - loc) expm1(-|x - loc| / scale)) / 2."""
        if self._validate_args:
            self._validate_sample(value)
        away = value - self.loc
        return 0.5 - 0.5 * ops.sign(away) * ops.expm1(-ops.abs(away) / self.scale)

    def icdf(self, value: Any) -> Any:
        """loc - scale sign(q - 1/2) log(1 - 2 |q - 1/2|)."""
        away = value - 0.5
        return self.loc - self.scale * ops.sign(away) * ops.log1p(-2 * ops.abs(away))

    def entropy(self) -> Any:
        """1 + log(2 scale)."""
        return 1 + ops.log(2 * self.scale)


class Cauchy(Distribution):
    """``log p(x) = -log(pi) - log(scale) - log(1 + ((x - loc) / scale)^2)``; it has no mean.

    Raises:
        ValueError: scale is not positive.

    >>> import tinygrad_rnn as tg
    >>> Cauchy(0.0, 1.0).cdf(tg.tensor(1.0))
    tensor(0.7500)
    """

    arg_constraints: Any = {"loc": constraints.real, "scale": constraints.positive}
    support: Any = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        """nan."""
        return ops.full_like(self.loc, math.nan)

    @property
    def mode(self) -> Any:
        """loc."""
        return self.loc

    @property
    def variance(self) -> Any:
        """inf."""
        return ops.full_like(self.loc, math.inf)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        return self._expanded(Cauchy, _instance, batch_shape, "loc scale")

    def rsample(self, sample_shape: Any = ()) -> Any:
        """loc + scale tan(pi (u - 1/2)); not PyTorch's numbers, which come from another generator of its own."""
        shape = tuple(self._extended_shape(sample_shape))
        u = ops.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + self.scale * ops.tan(math.pi * (u - 0.5))

    def log_prob(self, value: Any) -> Any:
        """See the class."""
        if self._validate_args:
            self._validate_sample(value)
        return -math.log(math.pi) - ops.log(self.scale) - ops.log1p(((value - self.loc) / self.scale) ** 2)

    def cdf(self, value: Any) -> Any:
        """atan((x - loc) / scale) / pi + 1/2."""
        if self._validate_args:
            self._validate_sample(value)
        return ops.atan((value - self.loc) / self.scale) / math.pi + 0.5

    def icdf(self, value: Any) -> Any:
        """loc + scale tan(pi (q - 1/2))."""
        return ops.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self) -> Any:
        """log(4 pi) + log(scale)."""
        return math.log(4 * math.pi) + ops.log(self.scale)
