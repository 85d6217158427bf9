"""Distributions of coins, categories and counts."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..ops.special_functions import lgamma, xlogy
from ..tape.modes import no_grad
from ..tape.tensor import Tensor
from ..typing import Size
from . import constraints, random_streams
from .arrays import broadcast_all, lazy_property, limits, logits_to_probs, probs_to_logits, size
from .distribution import Distribution, ExponentialFamily

__all__ = ["Bernoulli", "Binomial", "Categorical", "Geometric", "Multinomial", "OneHotCategorical", "Poisson"]


def one_of(probs: Any, logits: Any) -> None:
    """Raise if not exactly one of the two is given."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


class _OfProbs(Distribution):
    """Distributions given by probabilities or by logits: each is computed from the other where it is asked for."""

    is_binary = True
    _param: Any

    def _take(self, probs: Any, logits: Any, *others: Any) -> tuple[Any, ...]:
        one_of(probs, logits)
        name = "probs" if logits is None else "logits"
        found, *rest = broadcast_all(probs if logits is None else logits, *others)
        setattr(self, name, found)
        self._param = found
        return tuple(rest)

    @lazy_property
    def logits(self) -> Any:
        """log(p / (1 - p)), or log(p) of categories."""
        return probs_to_logits(self.probs, self.is_binary)

    @lazy_property
    def probs(self) -> Any:
        """The probabilities."""
        return logits_to_probs(self.logits, self.is_binary)

    @property
    def param_shape(self) -> Size:
        """The shape of what was given."""
        return size(self._param.shape)

    def _expanded_probs(self, base: type, instance: Any, batch_shape: Any, more: str = "") -> Any:
        new = self._expanded(base, instance, batch_shape, f"probs logits {more}")
        new._param = new.__dict__["probs" if "probs" in new.__dict__ else "logits"]
        return new


def _coin_entropy(logits: Any, probs: Any) -> Any:
    """-p log(p) - (1 - p) log(1 - p) = log(1 + exp(l)) - p l."""
    return _softplus(logits) - logits * probs


def _softplus(x: Any) -> Any:
    return ops.clamp(x, min=0) + ops.log1p(ops.exp(-ops.abs(x)))


class Bernoulli(_OfProbs, ExponentialFamily):
    """``p(1) = probs``, ``p(0) = 1 - probs``.

    Args:
        probs, logits: one of the two; ``logits = log(probs / (1 - probs))``.

    Raises:
        ValueError: both or none is given, or probs is outside of [0, 1].

    >>> import tinygrad_rnn as tg
    >>> Bernoulli(logits=tg.tensor(0.0)).log_prob(tg.tensor(1.0))
    tensor(-0.6931)
    """

    arg_constraints: Any = {"probs": constraints.unit_interval, "logits": constraints.real}
    support: Any = constraints.boolean
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._take(probs, logits)
        super().__init__(self._param.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        """probs."""
        return self.probs

    @property
    def mode(self) -> Any:
        """1 where probs is above 1/2; nan at 1/2."""
        mode = (self.probs >= 0.5).to(self.probs.dtype)
        return ops.where(self.probs == 0.5, math.nan, mode)

    @property
    def variance(self) -> Any:
        """p (1 - p)."""
        return self.probs * (1 - self.probs)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        return self._expanded_probs(Bernoulli, _instance, batch_shape)

    def sample(self, sample_shape: Any = ()) -> Any:
        """The numbers that PyTorch draws."""
        with no_grad():
            return ops.bernoulli(self.probs.expand(tuple(self._extended_shape(sample_shape))))

    def log_prob(self, value: Any) -> Any:
        """x l - log(1 + exp(l))."""
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        # (1 - x) l + log(1 + exp(-l)), in which nothing is lost for large l
        return -((1 - value) * logits + ops.clamp(-logits, min=0) + ops.log1p(ops.exp(-ops.abs(logits))))

    def entropy(self) -> Any:
        """-p log(p) - (1 - p) log(1 - p)."""
        return _coin_entropy(self.logits, self.probs)

    def enumerate_support(self, expand: bool = True) -> Any:
        """0 and 1."""
        return _along_first(self, ops.arange(2, dtype=self._param.dtype, device=self._param.device), expand)


def _along_first(d: Distribution, values: Any, expand: bool) -> Any:
    values = values.reshape(-1, *(1,) * len(d._batch_shape))
    return values.expand((-1, *d._batch_shape)) if expand else values


class Geometric(_OfProbs):
    """``p(k) = (1 - probs)^k probs``: how often a coin fails before it succeeds, k = 0, 1, 2, ...

    Raises:
        ValueError: both or none of probs and logits is given, or probs is not in (0, 1].

    >>> import tinygrad_rnn as tg
    >>> Geometric(tg.tensor(0.3)).log_prob(tg.tensor(2.0))
    tensor(-1.9173)
    """

    arg_constraints: Any = {"probs": constraints.unit_interval, "logits": constraints.real}
    support: Any = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._take(probs, logits)
        super().__init__(self._param.shape, validate_args=validate_args)
        if self._validate_args and probs is not None:
            self._check(self.probs, constraints.greater_than(0.0), "parameter probs", "to be positive but")

    @property
    def mean(self) -> Any:
        """1 / p - 1."""
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Any:
        """0."""
        return ops.zeros_like(self.probs)

    @property
    def variance(self) -> Any:
        """(1 / p - 1) / p."""
        return (1.0 / self.probs - 1.0) / self.probs

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        return self._expanded_probs(Geometric, _instance, batch_shape)

    def sample(self, sample_shape: Any = ()) -> Any:
        """floor(log(u) / log(1 - p))."""
        shape = tuple(self._extended_shape(sample_shape))
        with no_grad():
            u = self.probs.new_empty(shape).uniform_(float(limits(self.probs.dtype).tiny), 1)
            return ops.floor(ops.log(u) / ops.log1p(-self.probs.expand(shape)))

    def log_prob(self, value: Any) -> Any:
        """k log(1 - p) + log(p)."""
        if self._validate_args:
            self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        probs = ops.where((probs == 1) & (value == 0), 0, probs)  # 0 log(0) counts as 0
        return value * ops.log1p(-probs) + ops.log(self.probs)

    def entropy(self) -> Any:
        """That of the coin, over p."""
        return _coin_entropy(self.logits, self.probs) / self.probs


class Categorical(_OfProbs):
    """``p(k) = probs[k]``: one of K categories, whose probabilities stand along the last axis.

    Args:
        probs: not negative, divided by its sum. logits: as of a softmax. One of the two.

    Raises:
        ValueError: both or none is given, it has no axis, or no probabilities can be made of it.

    REINFORCE: the gradient of an expected reward is that of ``log_prob(action) * reward``.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> logits = tg.zeros(3, requires_grad=True)
    >>> optimizer = tg.optim.SGD([logits], lr=0.5)
    >>> reward = tg.tensor([0.0, 1.0, 0.2])
    >>> for _ in range(100):
    ...     policy = tg.distributions.Categorical(logits=logits)
    ...     action = policy.sample((16,))
    ...     optimizer.zero_grad()
    ...     (-policy.log_prob(action) * (reward[action] - 0.4)).mean().backward()
    ...     optimizer.step()
    >>> policy.probs.argmax(), bool(policy.probs.max() > 0.95)
    (tensor(1), True)

    Source: R. J. Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning"
    (1992), theorem 1.
    """

    arg_constraints: Any = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True
    is_binary = False

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        one_of(probs, logits)
        name = "probs" if logits is None else "logits"
        given = probs if logits is None else logits
        if given.ndim < 1:
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        if logits is None:
            self._param = self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            self._param = self.logits = logits - ops.logsumexp(logits, -1, keepdim=True)
        self._num_events = given.shape[-1]
        super().__init__(given.shape[:-1], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """0 ... K - 1."""
        return constraints.integer_interval(0, self._num_events - 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        new = self._get_checked_instance(Categorical, _instance)
        batch = size(batch_shape)
        for name in ("probs", "logits"):
            if name in self.__dict__:
                new.__dict__[name] = self.__dict__[name].expand((*batch, self._num_events))
        new._param = new.__dict__["probs" if self._param is self.__dict__.get("probs") else "logits"]
        new._num_events = self._num_events
        Distribution.__init__(new, batch, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Any:
        """There is none: nan."""
        return ops.full(tuple(self._extended_shape()), math.nan, dtype=self.probs.dtype, device=self.probs.device)

    variance = mean

    @property
    def mode(self) -> Any:
        """The likeliest category."""
        return ops.argmax(self.probs, -1)

    def sample(self, sample_shape: Any = ()) -> Any:
        """The numbers that PyTorch draws."""
        shape = size(sample_shape)
        with no_grad():
            rows = self.probs.reshape(-1, self._num_events)
            drawn = ops.multinomial(rows, math.prod(shape), True)
            return drawn.t().reshape(tuple(self._extended_shape(shape)))

    def log_prob(self, value: Any) -> Any:
        """log probs[value]."""
        if self._validate_args:
            self._validate_sample(value)
        value = ops.unsqueeze(value.long(), -1)
        value, logits = ops.broadcast_tensors(value, self.logits)
        return ops.gather(logits, -1, value[..., :1])[..., 0]

    def entropy(self) -> Any:
        """-sum p log(p)."""
        least = float(limits(self.logits.dtype).min)
        return -(ops.clamp(self.logits, min=least) * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Any:
        """0 ... K - 1."""
        return _along_first(self, ops.arange(self._num_events, device=self._param.device), expand)


class _OverCategories(Distribution):
    """What has the probabilities of a Categorical, ``_categorical``."""

    _categorical: Categorical

    @property
    def probs(self) -> Any:
        """The probabilities."""
        return self._categorical.probs

    @property
    def logits(self) -> Any:
        """Their logarithms."""
        return self._categorical.logits

    @property
    def param_shape(self) -> Any:
        """The shape of probs."""
        return self._categorical.param_shape


class OneHotCategorical(_OverCategories):
    """A category as a vector of zeros and a one; see Categorical.

    >>> import tinygrad_rnn as tg
    >>> OneHotCategorical(tg.tensor([0.25, 0.75])).log_prob(tg.tensor([0.0, 1.0]))
    tensor(-0.2877)
    """

    arg_constraints: Any = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support: Any = constraints.one_hot
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._categorical = Categorical(probs, logits)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        new = self._expanded(OneHotCategorical, _instance, batch_shape, "")
        new._categorical = self._categorical.expand(size(batch_shape))
        return new

    @property
    def mean(self) -> Any:
        """probs."""
        return self._categorical.probs

    @property
    def mode(self) -> Any:
        """The likeliest category."""
        return _one_hot(self._categorical.mode, self.probs)

    @property
    def variance(self) -> Any:
        """p (1 - p)."""
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        """The numbers that PyTorch draws."""
        return _one_hot(self._categorical.sample(sample_shape), self.probs)

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the probability of the one."""
        if self._validate_args:
            self._validate_sample(value)
        return self._categorical.log_prob(ops.argmax(value, -1))

    def entropy(self) -> Any:
        """-sum p log(p)."""
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Any:
        """The rows of the unit matrix."""
        n = self.event_shape[0]
        values = ops.eye(n, dtype=self.probs.dtype, device=self.probs.device)
        values = values.reshape(n, *(1,) * len(self.batch_shape), n)
        return values.expand((n, *self.batch_shape, n)) if expand else values


def _one_hot(chosen: Tensor, like: Any) -> Any:
    places = ops.arange(like.shape[-1], device=like.device)
    return (ops.unsqueeze(chosen, -1) == places).to(like.dtype)


class Binomial(_OfProbs):
    """``p(k) = C(n, k) probs^k (1 - probs)^(n - k)``: how many of n coins fall on one side.

    Args:
        total_count: n.

    Raises:
        ValueError: both or none of probs and logits is given, or a parameter is outside of its range.

    >>> import tinygrad_rnn as tg
    >>> Binomial(3, tg.tensor(0.5)).log_prob(tg.tensor(1.0))
    tensor(-0.9808)
    """

    arg_constraints: Any = {
        "total_count": constraints.nonnegative_integer, "probs": constraints.unit_interval, "logits": constraints.real,
    }  # fmt: skip
    has_enumerate_support = True

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        (count,) = self._take(probs, logits, total_count)
        self.total_count = count.to(self._param.dtype)
        super().__init__(self._param.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        return self._expanded_probs(Binomial, _instance, batch_shape, "total_count")

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """0 ... n."""
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Any:
        """n p."""
        return self.total_count * self.probs

    @property
    def mode(self) -> Any:
        """floor((n + 1) p), at most n."""
        return ops.minimum(ops.floor((self.total_count + 1) * self.probs), self.total_count)

    @property
    def variance(self) -> Any:
        """n p (1 - p)."""
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        """The numbers that PyTorch draws."""
        shape = tuple(self._extended_shape(sample_shape))
        with no_grad():
            return random_streams.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Any) -> Any:
        """log C(n, k) + k log(p) + (n - k) log(1 - p)."""
        if self._validate_args:
            self._validate_sample(value)
        n, logits = self.total_count, self.logits
        choices = lgamma(n + 1) - lgamma(value + 1) - lgamma(n - value + 1)
        # n log(1 - p) = -n log(1 + exp(l))
        return choices + value * logits - n * _softplus(logits)

    def entropy(self) -> Any:
        """The sum over all k, for one n.

        Raises:
            NotImplementedError: n differs.
        """
        n = int(self.total_count.max())
        if not bool(self.total_count.min() == n):
            raise NotImplementedError("Inhomogeneous total count not supported by `entropy`.")
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(ops.exp(log_prob) * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Any:
        """0 ... n, for one n.

        Raises:
            NotImplementedError: n differs.
        """
        n = int(self.total_count.max())
        if not bool(self.total_count.min() == n):
            raise NotImplementedError("Inhomogeneous total count not supported by `enumerate_support`.")
        return _along_first(self, ops.arange(1 + n, dtype=self._param.dtype, device=self._param.device), expand)


class Multinomial(_OverCategories):
    """``p(x) = n! prod_k probs[k]^x[k] / x[k]!``: how often each of K categories comes in n draws.

    Args:
        total_count: n, a whole number. probs, logits: as of Categorical.

    Raises:
        NotImplementedError: n is no int. ValueError: as of Categorical.

    >>> import tinygrad_rnn as tg
    >>> Multinomial(3, tg.tensor([1.0, 1.0])).log_prob(tg.tensor([1.0, 2.0]))
    tensor(-0.9808)
    """

    arg_constraints: Any = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self, total_count: int = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs, logits)
        self._binomial = Binomial(total_count, self.probs)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        new = self._expanded(Multinomial, _instance, batch_shape, "")
        new.total_count = self.total_count
        new._categorical = self._categorical.expand(size(batch_shape))
        new._binomial = self._binomial.expand((*size(batch_shape), *self._event_shape))
        return new

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        """Counts that sum to at most n."""
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Any:
        """n p."""
        return self.probs * self.total_count

    @property
    def variance(self) -> Any:
        """n p (1 - p)."""
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        """The numbers that PyTorch draws."""
        drawn = self._categorical.sample((self.total_count, *size(sample_shape)))
        return _one_hot(drawn, self.probs).sum(0)

    def log_prob(self, value: Any) -> Any:
        """See the class."""
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        logits = ops.where((value == 0) & (logits == -math.inf), 0, logits)
        return lgamma(value.sum(-1) + 1) - lgamma(value + 1).sum(-1) + (logits * value).sum(-1)

    def entropy(self) -> Any:
        """n H(p) - log(n!) + sum over categories and counts of their probability times log(count!)."""
        n = self.total_count
        counts = self._binomial.enumerate_support(False)[1:]
        weights = ops.exp(self._binomial.log_prob(counts))
        total = lgamma(ops.full((), float(n + 1), dtype=self.probs.dtype))
        return n * self._categorical.entropy() - total + (weights * lgamma(counts + 1)).sum(0).sum(-1)


class Poisson(ExponentialFamily):
    """``log p(k) = k log(rate) - rate - log(k!)``.

    Raises:
        ValueError: rate is negative.

    >>> import tinygrad_rnn as tg
    >>> Poisson(tg.tensor(4.0)).log_prob(tg.tensor(2.0))
    tensor(-1.9206)
    """

    arg_constraints: Any = {"rate": constraints.nonnegative}
    support: Any = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        """rate."""
        return self.rate

    @property
    def mode(self) -> Any:
        """floor(rate)."""
        return ops.floor(self.rate)

    @property
    def variance(self) -> Any:
        """rate."""
        return self.rate

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        return self._expanded(Poisson, _instance, batch_shape, "rate")

    def sample(self, sample_shape: Any = ()) -> Any:
        """The numbers that PyTorch draws."""
        with no_grad():
            return random_streams.poisson(self.rate.expand(tuple(self._extended_shape(sample_shape))))

    def log_prob(self, value: Any) -> Any:
        """See the class."""
        if self._validate_args:
            self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        return xlogy(value, rate) - rate - lgamma(value + 1)
