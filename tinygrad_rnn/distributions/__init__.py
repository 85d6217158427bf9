"""Probability distributions: draws, likelihoods, entropies, divergences, with gradients through all of them.

Draws are PyTorch's for the same seed, but for Cauchy.  ``log_prob(action) * reward`` is the score function estimator:
see Categorical.

>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn.distributions import Normal, kl_divergence
>>> posterior = Normal(tg.tensor(0.5, requires_grad=True), 0.8)
>>> kl_divergence(posterior, Normal(0.0, 1.0)).backward()
>>> posterior.loc.grad                                          # d/dm of m^2 / 2
tensor(0.5000)
"""

from __future__ import annotations

from ..unknown_names import absent
from . import constraints, kl, transforms
from .combined import Independent, LogNormal, MixtureSameFamily, TransformedDistribution
from .constraint_registry import biject_to, transform_to
from .continuous import Cauchy, Exponential, Laplace, Normal, Uniform
from .discrete import Bernoulli, Binomial, Categorical, Geometric, Multinomial, OneHotCategorical, Poisson
from .distribution import Distribution, ExponentialFamily
from .gamma_family import Beta, Chi2, Dirichlet, Gamma
from .kl import kl_divergence, register_kl
from .multivariate_normal import MultivariateNormal
from .transforms import (
    AbsTransform,
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    IndependentTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)

__all__ = ["Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "Dirichlet", "Distribution", "Exponential"]
__all__ += ["ExponentialFamily", "Gamma", "Geometric", "Independent", "Laplace", "LogNormal", "MixtureSameFamily"]
__all__ += ["Multinomial", "MultivariateNormal", "Normal", "OneHotCategorical", "Poisson", "TransformedDistribution"]
__all__ += ["Uniform", "biject_to", "constraints", "kl", "kl_divergence", "register_kl", "transform_to", "transforms"]
__all__ += ["AbsTransform", "AffineTransform", "ComposeTransform", "ExpTransform", "IndependentTransform"]
__all__ += ["PowerTransform", "ReshapeTransform", "SigmoidTransform", "SoftmaxTransform", "SoftplusTransform"]
__all__ += ["StickBreakingTransform", "TanhTransform", "Transform", "identity_transform"]

__getattr__ = absent(__name__, __all__)
