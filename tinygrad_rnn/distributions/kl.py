"""The divergence of Kullback and Leibler, KL(p, q) = E_p[log p(x) - log q(x)], by formulas for pairs of distributions.

Source: S. Kullback and R. Leibler, "On information and sufficiency" (1951); for exponential families F. Nielsen and
R. Nock, "Entropies and cross-entropies of exponential families" (2010).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import ops
from ..ops.special_functions import digamma, lgamma, xlogy
from .arrays import sum_over_last
from .combined import Independent, TransformedDistribution
from .continuous import Cauchy, Exponential, Laplace, Normal, Uniform
from .discrete import Bernoulli, Binomial, Categorical, Geometric, OneHotCategorical, Poisson
from .distribution import Distribution
from .gamma_family import Beta, Dirichlet, Gamma
from .multivariate_normal import MultivariateNormal, half_log_determinant, squared_distance

__all__ = ["kl_divergence", "register_kl"]

KL: dict[tuple[type, type], Callable[[Any, Any], Any]] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Any], Any]:
    """Decorator: the function computes ``kl_divergence(p, q)`` for these two classes, and for classes made of them.

    Raises:
        TypeError: one is no class of distributions.

    >>> @register_kl(Normal, Cauchy)
    ... def of_nothing_in_particular(p, q):
    ...     return p.loc - q.loc
    >>> kl_divergence(Normal(3.0, 1.0), Cauchy(1.0, 1.0))
    tensor(2.)
    >>> del KL[Normal, Cauchy]
    """
    for name, given in (("type_p", type_p), ("type_q", type_q)):
        if not isinstance(given, type) or not issubclass(given, Distribution):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {given}")

    def register(function: Any) -> Any:
        KL[type_p, type_q] = function
        return function

    return register


def _found(p: type, q: type) -> Callable[[Any, Any], Any] | None:
    """The function of the closest classes that these are made of."""
    pairs = [pair for pair in KL if issubclass(p, pair[0]) and issubclass(q, pair[1])]
    if not pairs:
        return None
    return KL[min(pairs, key=lambda pair: (p.__mro__.index(pair[0]), q.__mro__.index(pair[1])))]


def kl_divergence(p: Distribution, q: Distribution) -> Any:
    """KL(p, q), of the batch shape.

    Raises:
        NotImplementedError: there is no formula for the two.

    >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 2.0))
    tensor(0.4431)
    """
    formula = _found(type(p), type(q))
    if formula is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
        )
    return formula(p, q)


@register_kl(Normal, Normal)
def _normals(p: Any, q: Any) -> Any:
    ratio = (p.scale / q.scale) ** 2
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ops.log(ratio))


@register_kl(Uniform, Uniform)
def _uniforms(p: Any, q: Any) -> Any:
    found = ops.log((q.high - q.low) / (p.high - p.low))
    return ops.where((q.low > p.low) | (q.high < p.high), math.inf, found)


@register_kl(Exponential, Exponential)
def _exponentials(p: Any, q: Any) -> Any:
    ratio = q.rate / p.rate
    return -ops.log(ratio) + ratio - 1


@register_kl(Laplace, Laplace)
def _laplaces(p: Any, q: Any) -> Any:
    ratio, away = p.scale / q.scale, ops.abs(p.loc - q.loc)
    return -ops.log(ratio) + away / q.scale + ratio * ops.exp(-away / p.scale) - 1


@register_kl(Cauchy, Cauchy)
def _cauchys(p: Any, q: Any) -> Any:
    above = (p.scale + q.scale) ** 2 + (p.loc - q.loc) ** 2
    return ops.log(above) - ops.log(4 * p.scale * q.scale)


@register_kl(Gamma, Gamma)
def _gammas(p: Any, q: Any) -> Any:
    a, b = p.concentration, q.concentration
    found = b * ops.log(p.rate / q.rate) + lgamma(b) - lgamma(a) + (a - b) * digamma(a)
    return found + (q.rate - p.rate) * (a / p.rate)


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Any, q: Any) -> Any:
    ratio, a = q.rate / p.rate, q.concentration
    return -a * ops.log(ratio) + ratio + lgamma(a) + a * EULER - (1 + EULER)


EULER = 0.57721566490153286060


@register_kl(Beta, Beta)
def _betas(p: Any, q: Any) -> Any:
    return _dirichlets(p._dirichlet, q._dirichlet)


@register_kl(Dirichlet, Dirichlet)
def _dirichlets(p: Any, q: Any) -> Any:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    found = lgamma(total) - lgamma(b.sum(-1)) - (lgamma(a) - lgamma(b)).sum(-1)
    return found + ((a - b) * (digamma(a) - ops.unsqueeze(digamma(total), -1))).sum(-1)


def _coins(p: Any, q: Any) -> Any:
    """p log(p / q) + (1 - p) log((1 - p) / (1 - q)); infinite where q excludes what p does not."""
    one, other = 1 - p, 1 - q
    found = xlogy(p, p) - xlogy(p, q) + xlogy(one, one) - xlogy(one, other)
    return ops.where(((q == 0) & (p > 0)) | ((q == 1) & (p < 1)), math.inf, found)


@register_kl(Bernoulli, Bernoulli)
def _bernoullis(p: Any, q: Any) -> Any:
    return _coins(p.probs, q.probs)


@register_kl(Binomial, Binomial)
def _binomials(p: Any, q: Any) -> Any:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    found = p.total_count * _coins(p.probs, q.probs)
    return ops.where(p.total_count > q.total_count, math.inf, found)


@register_kl(Geometric, Geometric)
def _geometrics(p: Any, q: Any) -> Any:
    return -p.entropy() - ops.log1p(-q.probs) / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poissons(p: Any, q: Any) -> Any:
    return p.rate * (ops.log(p.rate) - ops.log(q.rate)) - (p.rate - q.rate)


@register_kl(Categorical, Categorical)
def _categoricals(p: Any, q: Any) -> Any:
    terms = p.probs * (p.logits - q.logits)
    terms = ops.where((q.probs == 0).expand(terms.shape), math.inf, terms)
    return ops.where((p.probs == 0).expand(terms.shape), 0, terms).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hots(p: Any, q: Any) -> Any:
    return _categoricals(p._categorical, q._categorical)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normals(p: Any, q: Any) -> Any:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be computed"
        )
    return squared_distance(p, q) * 0.5 + half_log_determinant(q) - half_log_determinant(p) - p.event_shape[0] * 0.5


@register_kl(Independent, Independent)
def _independents(p: Any, q: Any) -> Any:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_over_last(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> Any:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)


# of two of different kinds -------------------------------------------------------------------------------------------


def _to_normal(p: Any, q: Any) -> Any:
    """From the first two moments of p."""
    square = p.variance + (p.mean - q.loc) ** 2
    return -p.entropy() + ops.log(q.scale) + HALF_LOG_2PI + square / (2 * q.scale**2)


def _to_exponential(p: Any, q: Any) -> Any:
    """From the mean of p, whose values are positive."""
    return -p.entropy() - ops.log(q.rate) + q.rate * p.mean


HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _outside(p: Any, q: Any) -> Any:
    """Infinite: p has values that q excludes."""
    return ops.full(tuple(p.batch_shape), math.inf, dtype=p.mean.dtype, device=p.mean.device)


OUTSIDE: tuple[tuple[Any, Any], ...] = (
    *((p, q) for p in (Normal, Laplace, Cauchy) for q in (Exponential, Gamma, Beta, Uniform)),
    *((p, q) for p in (Exponential, Gamma) for q in (Beta, Uniform)),
    *((Poisson, q) for q in (Bernoulli, Binomial)),
)
KL.update(dict.fromkeys(OUTSIDE, _outside))
KL.update(dict.fromkeys([(p, Normal) for p in (Beta, Exponential, Gamma, Laplace, Uniform)], _to_normal))
KL.update(dict.fromkeys([(p, Exponential) for p in (Beta, Gamma)], _to_exponential))
