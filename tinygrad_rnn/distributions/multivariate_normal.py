"""The normal distribution of vectors.

The factor L of a covariance L L' and solutions of linear systems are records whose vjps are made of the same two, so
derivatives of every order follow.

Source: I. Murray, "Differentiation of the Cholesky decomposition" (2016), equation 9.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..autograd.function import Function
from ..errors import ArgumentRuntimeError
from ..tape.tensor import Tensor, wrap
from . import constraints
from .arrays import lazy_property, size
from .continuous import standard_normal
from .distribution import Distribution

__all__ = ["MultivariateNormal", "half_log_determinant", "squared_distance"]


class _Solution(Function):
    """X with A X = B."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        x = wrap(np.linalg.solve(a._data, b._data))
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        a, x = ctx.saved_tensors
        b = _Solution.apply(a.mT, grad)
        return -(b @ x.mT), b


class _Cholesky(Function):
    """The lower triangular L with L L' = A."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        try:
            factor = wrap(np.linalg.cholesky(a._data))
        except np.linalg.LinAlgError as error:
            raise ArgumentRuntimeError(
                "linalg.cholesky: The factorization could not be completed because the input is not positive-definite."
            ) from error
        ctx.save_for_backward(factor)
        return factor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (factor,) = ctx.saved_tensors
        inner = ops.tril(factor.mT @ grad)
        inner = inner - ops.diag_embed(ops.diagonal(inner, 0, -2, -1)) * 0.5  # half of the diagonal
        inner = (inner + inner.mT) * 0.5
        left = _Solution.apply(factor.mT, inner)
        found: Tensor = _Solution.apply(factor.mT, left.mT).mT
        return found


def _solved(factor: Tensor, b: Tensor) -> Any:
    """L^-1 B, broadcast."""
    factor = ops.tril(factor)  # no gradient above the diagonal
    shape = ops.broadcast_shapes(tuple(factor.shape[:-2]), tuple(b.shape[:-2]))
    return _Solution.apply(factor.expand((*shape, *factor.shape[-2:])), b.expand((*shape, *b.shape[-2:])))


class MultivariateNormal(Distribution):
    """``log p(x) = -(x - loc)' C^-1 (x - loc) / 2 - log det C / 2 - K log(2 pi) / 2``.

    Args:
        loc: (..., K). covariance_matrix: C, (..., K, K). precision_matrix: C^-1. scale_tril: L, lower triangular, with
            C = L L'. One of the three; L is the quickest.

    Raises:
        ValueError: none or several of the three are given, too few axes, or a matrix that is not positive definite.

    >>> import tinygrad_rnn as tg
    >>> d = MultivariateNormal(tg.zeros(2), tg.tensor([[2.0, 1.0], [1.0, 2.0]]))
    >>> d.log_prob(tg.zeros(2)), d.scale_tril
    (tensor(-2.3872), tensor([[1.4142, 0.0000],
            [0.7071, 1.2247]]))
    """

    arg_constraints: Any = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support: Any = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
        chosen = {name: matrix for name, matrix in given.items() if matrix is not None}
        if len(chosen) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        ((name, matrix),) = chosen.items()
        if matrix.ndim < 2:
            raise ValueError(
                f"{name} must be at least two-dimensional"
                + ", with optional leading batch dimensions" * (name == "scale_tril")
            )
        batch = ops.broadcast_shapes(tuple(matrix.shape[:-2]), tuple(loc.shape[:-1]))
        setattr(self, name, matrix.expand((*batch, *matrix.shape[-2:])))
        self.loc = loc.expand((*batch, loc.shape[-1]))
        super().__init__(batch, self.loc.shape[-1:], validate_args=validate_args)
        self._factor = _factor(name, matrix)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See Distribution.expand."""
        new = self._expanded(MultivariateNormal, _instance, batch_shape, "loc", ("loc",))
        for name in ("covariance_matrix", "scale_tril", "precision_matrix"):
            if name in self.__dict__:
                new.__dict__[name] = self.__dict__[name].expand((*size(batch_shape), *self._event_shape * 2))
        new._factor = self._factor
        return new

    def _whole(self, matrix: Any) -> Any:
        return matrix.expand((*self._batch_shape, *self._event_shape * 2))

    @lazy_property
    def scale_tril(self) -> Any:
        """L."""
        return self._whole(self._factor)

    @lazy_property
    def covariance_matrix(self) -> Any:
        """L L'."""
        return self._whole(self._factor @ self._factor.mT)

    @lazy_property
    def precision_matrix(self) -> Any:
        """The inverse of the covariance."""
        unit = ops.eye(self._event_shape[0], dtype=self.loc.dtype, device=self.loc.device)
        inverse = _solved(self._factor, unit)
        return self._whole(inverse.mT @ inverse)

    @property
    def mean(self) -> Any:
        """loc."""
        return self.loc

    @property
    def mode(self) -> Any:
        """loc."""
        return self.loc

    @property
    def variance(self) -> Any:
        """The diagonal of the covariance."""
        return (self._factor**2).sum(-1).expand((*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """loc + L eps."""
        eps = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + (self._factor @ ops.unsqueeze(eps, -1))[..., 0]

    def log_prob(self, value: Any) -> Any:
        """See the class."""
        if self._validate_args:
            self._validate_sample(value)
        distance = (_solved(self._factor, ops.unsqueeze(value - self.loc, -1)) ** 2).sum((-2, -1))
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - half_log_determinant(self)

    def entropy(self) -> Any:
        """K (1 + log(2 pi)) / 2 + log det C / 2."""
        found = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + half_log_determinant(self)
        return found.expand(tuple(self._batch_shape)) if self._batch_shape else found


def _factor(name: str, matrix: Tensor) -> Any:
    """L, of what was given."""
    if name == "scale_tril":
        return matrix
    if name == "covariance_matrix":
        return _Cholesky.apply(matrix)
    # with the axes turned around, the factor of the inverse is an upper one, whose inverse is lower again
    turned = ops.flip(_Cholesky.apply(ops.flip(matrix, -2, -1)), -2, -1).mT
    return _solved(turned, ops.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device))


def half_log_determinant(d: MultivariateNormal) -> Any:
    """log det C / 2: the sum of the logarithms of the diagonal of L."""
    return ops.log(ops.diagonal(d._factor, 0, -2, -1)).sum(-1)


def squared_distance(p: MultivariateNormal, q: MultivariateNormal) -> Any:
    """E_p[(x - m)' C^-1 (x - m)] with m and C of q: a trace, and the distance of the two means."""
    trace = (_solved(q._factor, p._factor) ** 2).sum((-2, -1))
    return trace + (_solved(q._factor, ops.unsqueeze(p.loc - q.loc, -1)) ** 2).sum((-2, -1))
