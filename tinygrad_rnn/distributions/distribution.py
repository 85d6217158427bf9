"""What a distribution is: batches of events, with samples, probabilities and moments.

A sample of a distribution has the shape ``sample_shape + batch_shape + event_shape``: so many draws of so many
distributions, each draw so large; ``log_prob`` of it has the shape without ``event_shape``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .. import ops
from ..source_line import warn_user
from ..tape.modes import no_grad
from ..tape.tensor import Tensor
from ..typing import Size
from . import constraints
from .arrays import lazy_property, size

__all__ = ["Distribution", "ExponentialFamily"]


class Distribution:
    """The base of all distributions.

    Args:
        batch_shape, event_shape: of the parameters, and of one event.
        validate_args: whether parameters and values are checked; None: as ``set_default_validate_args`` says.

    Raises:
        ValueError: a parameter is outside of its constraint.
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: Any
    _validate_args: ClassVar[bool] = __debug__
    _batch_shape = _event_shape = Size()

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check their arguments if nothing else is said.

        Raises:
            ValueError: neither True nor False.
        """
        if value not in (True, False):
            raise ValueError(f"expected True or False, got {value!r}")
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = size(batch_shape), size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args  # type: ignore[misc]  # of this one
        if not self._validate_args:
            return
        known = getattr(self, "arg_constraints", None)
        if known is None:
            known = {}
            warn_user(
                f"{type(self)} does not define `arg_constraints`. Please set `arg_constraints = {{}}` or initialize "
                "the distribution with `validate_args=False` to turn off validation."
            )
        for name, constraint in known.items():
            if constraints.is_dependent(constraint) or (
                name not in self.__dict__ and isinstance(getattr(type(self), name, None), lazy_property)
            ):
                continue  # what is made of other parameters is not checked
            self._check(getattr(self, name), constraint, f"parameter {name}", "to satisfy the constraint")

    def _check(self, value: Tensor, constraint: Any, what: str, must: str, after: str = "") -> None:
        if not bool(constraint.check(value.detach()).all()):
            kind, shown = type(value).__name__, value.detach()
            raise ValueError(
                f"Expected {what} ({kind} of shape {tuple(value.shape)}) "
                + (
                    f"of distribution {self!r} {must} {constraint!r}, "
                    if not after
                    else f"{must} ({constraint!r}) {after}, "
                )
                + f"but found invalid values:\n{shown.item() if shown.ndim == 0 else shown}"
            )

    def _validate_sample(self, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        start = len(value.shape) - len(self._event_shape)
        if start < 0 or tuple(value.shape[start:]) != tuple(self._event_shape):
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.shape} vs {self._event_shape}."
            )
        expected = size((*self._batch_shape, *self._event_shape))
        for i, j in zip(reversed(value.shape), reversed(expected), strict=False):
            if i != 1 and j != 1 and i != j:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {expected}."
                )
        try:
            support = self.support
        except NotImplementedError:
            return
        self._check(value, support, "value argument", "to be within the support", f"of the distribution {self!r}")

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        return size((*size(sample_shape), *self._batch_shape, *self._event_shape))

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        if _instance is None and type(self).__init__ is not cls.__init__:  # type: ignore[misc]
            raise NotImplementedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom __init__ method must also "
                "define a custom .expand() method."
            )
        return self.__new__(type(self)) if _instance is None else _instance

    def _expanded(self, base: type, instance: Any, batch_shape: Any, names: str, event: tuple[str, ...] = ()) -> Any:
        """A twin whose parameters have another batch shape; those named in ``event`` keep the axes of an event."""
        new = self._get_checked_instance(base, instance)
        batch = size(batch_shape)
        for name in names.split():
            if name in self.__dict__:
                tail = self._event_shape if name in event else ()
                new.__dict__[name] = self.__dict__[name].expand((*batch, *tail))
        Distribution.__init__(new, batch, self._event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The distribution with its parameters expanded to another batch shape."""
        raise NotImplementedError

    @property
    def batch_shape(self) -> Size:
        """The shape over which parameters are batched."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one event."""
        return self._event_shape

    @property
    def support(self) -> Any:
        """The constraint that values satisfy."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """The expectation."""
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        """The likeliest value."""
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The expectation of the squared distance from the mean."""
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """The square root of the variance."""
        root: Tensor = ops.sqrt(self.variance)
        return root

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws, without gradients."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draws through which gradients flow to the parameters."""
        raise NotImplementedError

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability, at a value."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of at most that value."""
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of ``cdf``."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution, along a new first axis."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The expectation of -log_prob."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """exp of the entropy."""
        found: Tensor = ops.exp(self.entropy())
        return found

    def _repr_text(self, name: str) -> str:
        value = self.__dict__[name]
        return f"{name}: {value.item() if value.numel() == 1 else value.shape}"

    def __repr__(self) -> str:
        names = [name for name in getattr(self, "arg_constraints", {}) if name in self.__dict__]
        return f"{type(self).__name__}({', '.join(map(self._repr_text, names))})"


class ExponentialFamily(Distribution):
    """Distributions with density exp(t(x) . theta - F(theta) + k(x))."""
