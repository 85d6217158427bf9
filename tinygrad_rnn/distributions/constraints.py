"""Constraints: sets that parameters and values of distributions lie in, and whether a tensor does.

>>> import tinygrad_rnn as tg
>>> tg.distributions.constraints.positive.check(tg.tensor([1.0, 0.0, -1.0]))
tensor([ True, False, False])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..tape.tensor import Tensor, wrap
from .arrays import all_over_last

__all__ = ["Constraint", "boolean", "cat", "corr_cholesky", "dependent", "dependent_property", "greater_than"]
__all__ += ["greater_than_eq", "half_open_interval", "independent", "integer_interval", "interval", "is_dependent"]
__all__ += ["less_than", "lower_cholesky", "lower_triangular", "multinomial", "nonnegative", "nonnegative_integer"]
__all__ += ["one_hot", "positive", "positive_definite", "positive_integer", "positive_semidefinite", "real"]
__all__ += ["real_vector", "simplex", "square", "stack", "symmetric", "unit_interval"]


class Constraint:
    """A set.

    Attributes:
        is_discrete: whether it has gaps.
        event_dim: how many of the last axes make one value.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.distributions import constraints
    >>> class Even(constraints.Constraint):
    ...     is_discrete = True
    ...     def check(self, value):
    ...         return value % 2 == 0
    >>> Even().check(tg.tensor([2.0, 3.0]))
    tensor([ True, False])
    """

    is_discrete = False
    event_dim = 0
    bounds: tuple[str, ...] = ()

    def check(self, value: Tensor) -> Tensor:
        """A bool for each value: whether it lies in the set."""
        raise NotImplementedError

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={_shown(getattr(self, name))}" for name in self.bounds)
        return f"{type(self).__name__.lstrip('_')}({said})"


def _shown(bound: Any) -> Any:
    return bound.item() if isinstance(bound, Tensor) and bound.numel() == 1 else bound


class _Dependent(Constraint):
    """What depends on other parameters."""

    def __init__(self, *, is_discrete: Any = False, event_dim: Any = 0) -> None:
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def check(self, value: Tensor) -> Tensor:
        raise ValueError("Cannot determine validity of dependent constraint")

    def __call__(self, *, is_discrete: Any = False, event_dim: Any = 0) -> _Dependent:
        """The same with other attributes."""
        return _Dependent(is_discrete=is_discrete, event_dim=event_dim)


class dependent_property(property, _Dependent):
    """A property of a distribution that is a constraint, and of the class the mark that it depends on an instance."""

    def __init__(self, fn: Any = None, *, is_discrete: Any = False, event_dim: Any = 0) -> None:
        property.__init__(self, fn)
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def __call__(self, fn: Any) -> dependent_property:  # type: ignore[override]
        """Decorate ``fn``."""
        return dependent_property(fn, is_discrete=self.is_discrete, event_dim=self.event_dim)


class _IndependentConstraint(Constraint):
    """A constraint over several axes: it holds where it holds in all of their entries.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.distributions import constraints
    >>> constraints.independent(constraints.positive, 1).check(tg.tensor([[1.0, 2.0], [1.0, -2.0]]))
    tensor([ True, False])
    """

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        self.base_constraint, self.reinterpreted_batch_ndims = base_constraint, reinterpreted_batch_ndims
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim + reinterpreted_batch_ndims

    def check(self, value: Tensor) -> Any:
        result = self.base_constraint.check(value)
        if result.ndim < self.reinterpreted_batch_ndims:
            raise ValueError(f"Expected value.dim() >= {self.event_dim} but got {value.ndim}")
        return all_over_last(result, self.reinterpreted_batch_ndims)

    def __repr__(self) -> str:
        return f"IndependentConstraint({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class _Bounded(Constraint):
    """Numbers for which ``holds(value, *bounds)``."""

    @staticmethod
    def _holds(value: Any, *bounds: Any) -> Any:
        raise NotImplementedError

    def __init__(self, *bounds: Any, **named: Any) -> None:
        for name, bound in zip(
            self.bounds, (*bounds, *[named[key] for key in self.bounds if key in named]), strict=True
        ):
            setattr(self, name, bound)

    def check(self, value: Tensor) -> Tensor:
        found: Tensor = self._holds(value, *[getattr(self, name) for name in self.bounds])
        return found


def _bounded(name: str, bounds: str, holds: Callable[..., Any], discrete: bool = False) -> Any:
    body = {"bounds": tuple(bounds.split()), "_holds": staticmethod(holds), "is_discrete": discrete}
    return type(name, (_Bounded,), {**body, "__doc__": f"Numbers with {bounds}.", "__module__": __name__})


def _whole(value: Any) -> Any:
    return value % 1 == 0


greater_than = _bounded("GreaterThan", "lower_bound", lambda x, low: low < x)
greater_than_eq = _bounded("GreaterThanEq", "lower_bound", lambda x, low: low <= x)
less_than = _bounded("LessThan", "upper_bound", lambda x, high: x < high)
interval = _bounded("Interval", "lower_bound upper_bound", lambda x, low, high: (low <= x) & (x <= high))
half_open_interval = _bounded(
    "HalfOpenInterval", "lower_bound upper_bound", lambda x, low, high: (low <= x) & (x < high)
)
integer_interval = _bounded(
    "IntegerInterval", "lower_bound upper_bound", lambda x, low, high: _whole(x) & (low <= x) & (x <= high), True
)
integer_greater_than = _bounded("IntegerGreaterThan", "lower_bound", lambda x, low: _whole(x) & (x >= low), True)


class _Of(Constraint):
    """A set that is given by its test."""

    def __init__(self, name: str, holds: Callable[[Any], Any], event_dim: int = 0, discrete: bool = False) -> None:
        self.name, self.holds, self.event_dim, self.is_discrete = name, holds, event_dim, discrete

    def check(self, value: Tensor) -> Tensor:
        found: Tensor = self.holds(value.detach())
        return found

    def __repr__(self) -> str:
        return f"{self.name}()"


def _simplex(x: Any) -> Any:
    return (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6)


def _one_hot(x: Any) -> Any:
    return ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1)


def _triangular(x: Any) -> Any:
    return (x == ops.tril(x)).reshape(*x.shape[:-2], -1).all(-1)


def _with_positive_diagonal(x: Any) -> Any:
    return _triangular(x) & (ops.diagonal(x, 0, -2, -1) > 0).all(-1)


def _of_correlations(x: Any) -> Any:
    tolerance = float(np.finfo(x.dtype).eps) * x.shape[-1] * 10
    return ((ops.norm(x, 2, -1) - 1).abs() < tolerance).all(-1) & _with_positive_diagonal(x)


def _is_square(x: Any) -> Any:
    return ops.full(tuple(x.shape[:-2]), x.shape[-2] == x.shape[-1], dtype=np.dtype(bool), device=x.device)


def _symmetric(x: Any) -> Any:
    squares = _is_square(x)
    if x.shape[-2] != x.shape[-1]:
        return squares
    return ops.isclose(x, x.mT, atol=1e-6).all(-2).all(-1)


def _definite(least: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def holds(x: Any) -> Any:
        symmetric = _symmetric(x)
        if not symmetric.all():
            return symmetric
        values = np.linalg.eigvalsh(x.cpu().numpy())
        return wrap(np.asarray(least(values).all(-1))).to(x.device)

    return holds


class _Joined(Constraint):
    """Constraints of parts of a value, side by side or stacked."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None) -> None:
        self.cseq, self.dim = list(cseq), dim
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        self.is_discrete = any(c.is_discrete for c in self.cseq)
        self.event_dim = max(c.event_dim for c in self.cseq)


class cat(_Joined):
    """Constraints of slices of the lengths given along an axis.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.distributions import constraints
    >>> both = constraints.cat([constraints.positive, constraints.unit_interval], lengths=[1, 2])
    >>> both.check(tg.tensor([3.0, 0.5, 2.0]))
    tensor([ True,  True, False])
    """

    def check(self, value: Tensor) -> Tensor:
        parts = ops.split(value, self.lengths, self.dim)
        return ops.cat([c.check(part) for c, part in zip(self.cseq, parts, strict=True)], self.dim)


class stack(_Joined):
    """Constraints of the entries along an axis.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.distributions import constraints
    >>> constraints.stack([constraints.positive, constraints.real]).check(tg.tensor([-1.0, -1.0]))
    tensor([False,  True])
    """

    def check(self, value: Tensor) -> Tensor:
        parts = ops.unbind(value, self.dim)
        return ops.stack([c.check(part) for c, part in zip(self.cseq, parts, strict=True)], self.dim)


class multinomial(Constraint):
    """Counts of categories that sum to at most ``upper_bound``.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.distributions import constraints
    >>> constraints.multinomial(3).check(tg.tensor([[1.0, 2.0], [1.0, 1.0]]))
    tensor([True, True])
    """

    is_discrete, event_dim = True, 1

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, x: Tensor) -> Tensor:
        found: Tensor = (x >= 0).all(-1) & (x.sum(-1) <= self.upper_bound)
        return found

    def __repr__(self) -> str:
        return "Multinomial()"


def is_dependent(constraint: Any) -> bool:
    """Whether a constraint depends on other parameters.

    >>> from tinygrad_rnn.distributions import constraints
    >>> constraints.is_dependent(constraints.positive), constraints.is_dependent(constraints.dependent)
    (False, True)
    """
    return isinstance(constraint, _Dependent)


dependent = _Dependent()
dependent.__class__.__name__ = "Dependent"
independent = _IndependentConstraint
boolean = _Of("Boolean", lambda x: (x == 0) | (x == 1), discrete=True)
one_hot = _Of("OneHot", _one_hot, 1, True)
nonnegative_integer, positive_integer = integer_greater_than(0), integer_greater_than(1)
real = _Of("Real", lambda x: x == x)
real_vector = independent(real, 1)
positive, nonnegative, unit_interval = greater_than(0.0), greater_than_eq(0.0), interval(0.0, 1.0)
simplex = _Of("Simplex", _simplex, 1)
lower_triangular = _Of("LowerTriangular", _triangular, 2)
lower_cholesky = _Of("LowerCholesky", _with_positive_diagonal, 2)
corr_cholesky = _Of("CorrCholesky", _of_correlations, 2)
square, symmetric = _Of("Square", _is_square, 2), _Of("Symmetric", _symmetric, 2)
positive_semidefinite = _Of("PositiveSemidefinite", _definite(lambda values: values > -1e-6), 2)
positive_definite = _Of("PositiveDefinite", _definite(lambda values: values > 0), 2)
