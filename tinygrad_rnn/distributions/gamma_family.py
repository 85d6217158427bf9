"""Gamma numbers and what is made of them: Gamma, Chi2, Beta, Dirichlet, with gradients through their draws.

A draw x moves with a parameter a so that the probability below it stays: dx/da = -(dF/da)(x) / p(x).  That is how
gradients pass through draws for which no formula in parameters and noise is known ("implicit reparameterisation").
PyTorch approximates this quotient, for gamma numbers to three digits in places; here it has twelve.

Source: M. Figurnov, S. Mohamed and A. Mnih, "Implicit reparameterization gradients" (2018), equations 4 and 5;
M. Jankowiak and F. Obermeyer, "Pathwise derivatives beyond the reparameterization trick" (2018), section 5.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..autograd.function import Function
from ..backend.quiet import unreported
from ..kernels.special import gamma_functions
from ..ops.special_functions import digamma, igamma, lgamma, xlogy
from ..tape.tensor import Tensor, wrap
from . import constraints, random_streams
from .arrays import broadcast_all, limits, size
from .distribution import ExponentialFamily

__all__ = ["Beta", "Chi2", "Dirichlet", "Gamma"]


class _StandardGamma(Function):
    """Draws of Gamma(concentration, 1)."""

    @staticmethod
    def forward(ctx: Any, concentration: Tensor) -> Any:
        drawn = random_streams.gamma(concentration)
        ctx.save_for_backward(concentration, drawn)
        return drawn

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        concentration, drawn = ctx.saved_tensors
        return grad * wrap(gamma_functions.gamma_gradient(concentration._data, drawn._data))


class _StandardDirichlet(Function):
    """Draws of Dirichlet(concentration)."""

    @staticmethod
    def forward(ctx: Any, concentration: Tensor) -> Any:
        drawn = random_streams.gamma(concentration.double())
        kind = limits(concentration.dtype)
        x = (drawn / drawn.sum(-1, keepdim=True)).to(concentration.dtype)
        x = x.clamp(float(kind.tiny), 1 - float(kind.eps))
        ctx.save_for_backward(x, concentration)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, concentration = ctx.saved_tensors
        total = concentration.sum(-1, keepdim=True).expand(concentration.shape)
        slope = wrap(beta_gradient(concentration._data, (total - concentration)._data, x._data))
        # as one share grows, the others shrink in proportion
        found: Tensor = slope / (1 - x) * (grad - (x * grad).sum(-1, keepdim=True))
        return found


STEP, REACH = 1 / 32, 112
"""The trapezoidal rule of the integral in u, |u| <= STEP REACH."""


@unreported
def beta_gradient(a: Any, b: Any, x: Any) -> Any:
    r"""d x / d a of a draw x of Beta(a, b): -(dF/da) / p.

    With E = digamma(a) - digamma(a + b) and p the density, int_0^x (E - log t) p(t) / p(x) dt, or the same over the
    rest with the other sign, on the side that has less of the distribution.  In s = |logit(t) - logit(x)| the integrand
    falls like an exponential; s = exp(pi/2 sinh(u)) makes it fall doubly so on both sides, whatever its scale is.

    Source: H. Takahasi and M. Mori, "Double exponential formulas for numerical integration" (1974).
    """
    dtype = a.dtype
    a, b, x = (v.astype(np.float64) for v in (a, b, x))
    centre = gamma_functions.digamma(a) - gamma_functions.digamma(a + b)
    below = x <= a / (a + b)
    sign = np.where(below, -1.0, 1.0)
    logit = np.log(x) - np.log1p(-x)
    # of t in the logit z: p(t) dt = t^a (1 - t)^b dz
    log_x, log_rest = np.log(x), np.log1p(-x)
    total = np.zeros_like(x)
    for k in range(-REACH, REACH + 1):
        u = k * STEP
        s = math.exp(math.pi / 2 * math.sinh(u))
        weight = STEP * s * math.pi / 2 * math.cosh(u)
        z = logit + sign * s
        log_t, log_other = -np.logaddexp(0, -z), -np.logaddexp(0, z)
        height = np.exp(a * (log_t - log_x) + b * (log_other - log_rest))
        part = weight * (log_t - centre) * sign * height
        total = total + np.where(height == 0, 0.0, part)
    return (total * x * (1 - x)).astype(dtype)


class Gamma(ExponentialFamily):
    """``log p(x) = a log(r) + (a - 1) log(x) - r x - log Gamma(a)`` for the concentration a and the rate r.

    Raises:
        ValueError: a parameter is not positive.

    >>> import tinygrad_rnn as tg
    >>> Gamma(1.0, 1.0).cdf(tg.tensor(2.0))
    tensor(0.8647)
    """

    arg_constraints: Any = {"concentration": constraints.positive, "rate": constraints.positive}
    support: Any = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        """a / r."""
        return self.concentration / self.rate

    @property
    def mode(self) -> Any:
        """(a - 1) / r, at least 0."""
        return ops.clamp((self.concentration - 1) / self.rate, min=0)

    @property
    def variance(self) -> Any:
        """a / r^2."""
        return self.concentration / self.rate**2

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        return self._expanded(Gamma, _instance, batch_shape, "concentration rate")

    def rsample(self, sample_shape: Any = ()) -> Any:
        """The numbers that PyTorch draws."""
        shape = tuple(self._extended_shape(sample_shape))
        value = _StandardGamma.apply(self.concentration.expand(shape)) / self.rate.expand(shape)
        value.detach().clamp_(min=float(limits(value.dtype).tiny))  # of a draw that became 0 no logarithm would be left
        return value

    def log_prob(self, value: Any) -> Any:
        """See the class."""
        if self._validate_args:
            self._validate_sample(value)
        a, rate = self.concentration, self.rate
        return xlogy(a, rate) + xlogy(a - 1, value) - rate * value - lgamma(a)

    def cdf(self, value: Any) -> Any:
        """P(a, r x)."""
        if self._validate_args:
            self._validate_sample(value)
        return igamma(self.concentration, self.rate * value)

    def entropy(self) -> Any:
        """a - log(r) + log Gamma(a) + (1 - a) digamma(a)."""
        a = self.concentration
        return a - ops.log(self.rate) + lgamma(a) + (1 - a) * digamma(a)


class Chi2(Gamma):
    """The sum of ``df`` squared standard normal numbers: Gamma(df / 2, 1 / 2).

    >>> import tinygrad_rnn as tg
    >>> Chi2(3.0).mean
    tensor(3.)
    """

    arg_constraints: Any = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        (df,) = broadcast_all(df)
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        return super().expand(batch_shape, self._get_checked_instance(Chi2, _instance))

    @property
    def df(self) -> Any:
        """The degrees of freedom."""
        return self.concentration * 2


class Dirichlet(ExponentialFamily):
    """``log p(x) = sum (a - 1) log(x) + log Gamma(sum a) - sum log Gamma(a)`` for shares x that sum to 1.

    Args:
        concentration: a, over the last axis.

    Raises:
        ValueError: concentration has no axis, or is not positive.

    >>> import tinygrad_rnn as tg
    >>> Dirichlet(tg.tensor([1.0, 1.0, 1.0])).log_prob(tg.tensor([0.2, 0.3, 0.5]))
    tensor(0.6931)
    """

    arg_constraints: Any = {"concentration": constraints.independent(constraints.positive, 1)}
    support: Any = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Any:
        """a / sum a."""
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Any:
        """(a - 1) / sum (a - 1), of those above 1; if none is, the corner of the largest."""
        above = ops.clamp(self.concentration - 1, min=0.0)
        mode = above / above.sum(-1, keepdim=True)
        mask = (self.concentration < 1).all(-1)
        if not mask.any():
            return mode
        places = np.arange(mode.shape[-1])
        largest = np.expand_dims(ops.argmax(mode, -1)._data, -1)
        corner = wrap(np.asarray(places == largest).astype(mode.dtype))
        return ops.where(ops.unsqueeze(mask, -1), corner, mode)

    @property
    def variance(self) -> Any:
        """a (s - a) / (s^2 (s + 1)) with s = sum a."""
        total = self.concentration.sum(-1, keepdim=True)
        return self.concentration * (total - self.concentration) / (total**2 * (total + 1))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        return self._expanded(Dirichlet, _instance, batch_shape, "concentration", ("concentration",))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """The numbers that PyTorch draws."""
        return _StandardDirichlet.apply(self.concentration.expand(tuple(self._extended_shape(sample_shape))))

    def log_prob(self, value: Any) -> Any:
        """See the class."""
        if self._validate_args:
            self._validate_sample(value)
        a = self.concentration
        return xlogy(a - 1.0, value).sum(-1) + lgamma(a.sum(-1)) - lgamma(a).sum(-1)

    def entropy(self) -> Any:
        """log B(a) + (s - K) digamma(s) - sum (a - 1) digamma(a), with s = sum a of K."""
        a = self.concentration
        total, count = a.sum(-1), a.shape[-1]
        found = lgamma(a).sum(-1) - lgamma(total) - (count - total) * digamma(total)
        return found - ((a - 1.0) * digamma(a)).sum(-1)


class Beta(ExponentialFamily):
    """``log p(x) = (a - 1) log(x) + (b - 1) log(1 - x) - log B(a, b)``, a ``concentration1``, b ``concentration0``.

    Raises:
        ValueError: a parameter is not positive.

    >>> import tinygrad_rnn as tg
    >>> Beta(2.0, 3.0).mean
    tensor(0.4000)
    """

    arg_constraints: Any = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support: Any = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        pair = ops.stack(broadcast_all(concentration1, concentration0), -1)
        self._dirichlet = Dirichlet(pair, validate_args=validate_args)
        super().__init__(self._dirichlet._batch_shape, validate_args=validate_args)

    @property
    def concentration1(self) -> Any:
        """a."""
        return self._dirichlet.concentration[..., 0]

    @property
    def concentration0(self) -> Any:
        """b."""
        return self._dirichlet.concentration[..., 1]

    @property
    def mean(self) -> Any:
        """a / (a + b)."""
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Any:
        """(a - 1) / (a + b - 2), where both are above 1."""
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self) -> Any:
        """a b / ((a + b)^2 (a + b + 1))."""
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total**2 * (total + 1))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        new = self._expanded(Beta, _instance, batch_shape, "")
        new._dirichlet = self._dirichlet.expand(size(batch_shape))
        return new

    def rsample(self, sample_shape: Any = ()) -> Any:
        """The numbers that PyTorch draws."""
        return self._dirichlet.rsample(sample_shape)[..., 0]

    def log_prob(self, value: Any) -> Any:
        """See the class."""
        if self._validate_args:
            self._validate_sample(value)
        return self._dirichlet.log_prob(ops.stack([value, 1.0 - value], -1))

    def entropy(self) -> Any:
        """That of the Dirichlet distribution of (x, 1 - x)."""
        return self._dirichlet.entropy()
