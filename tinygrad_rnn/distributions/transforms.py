"""Invertible functions, with the logarithm of their Jacobian: what TransformedDistribution is made of.

>>> import tinygrad_rnn as tg
>>> f = ComposeTransform([AffineTransform(1.0, 2.0), ExpTransform()])
>>> f(tg.tensor(0.0)), f.inv(f(tg.tensor(3.0)))
(tensor(2.7183), tensor(3.))
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..tape.tensor import Tensor
from . import constraints
from .arrays import broadcast_all, limits, sum_over_last

__all__ = ["AbsTransform", "AffineTransform", "ComposeTransform", "ExpTransform", "IndependentTransform"]
__all__ += ["PowerTransform", "ReshapeTransform", "SigmoidTransform", "SoftmaxTransform", "SoftplusTransform"]
__all__ += ["StickBreakingTransform", "TanhTransform", "Transform", "identity_transform"]


def _softplus(x: Any) -> Any:
    return ops.clamp(x, min=0) + ops.log1p(ops.exp(-ops.abs(x)))


class Transform:
    """A function with an inverse ``inv`` and ``log_abs_det_jacobian(x, y)``.

    Args:
        cache_size: 1 keeps the last x with its y, so that the inverse of a y that came out is the x that went in,
            without rounding; 0 keeps nothing.

    Raises:
        ValueError: another cache_size.
    """

    bijective = False
    domain: Any
    codomain: Any

    def __init__(self, cache_size: int = 0) -> None:
        if cache_size not in (0, 1):
            raise ValueError("cache_size must be 0 or 1")
        self._cache_size = cache_size
        self._inverse: Any = None
        self._cached: Any = (None, None)

    @property
    def event_dim(self) -> int:
        """How many axes one value has, if it has as many before and after.

        Raises:
            ValueError: it has not.
        """
        if self.domain.event_dim != self.codomain.event_dim:
            raise ValueError("Please use either .domain.event_dim or .codomain.event_dim")
        return int(self.domain.event_dim)

    @property
    def inv(self) -> Any:
        """The inverse, as a transform."""
        found = self._inverse() if self._inverse is not None else None
        if found is None:
            found = _InverseTransform(self)
            self._inverse = weakref.ref(found)
        return found

    @property
    def sign(self) -> Any:
        """1 if it rises everywhere, -1 if it falls.

        Raises:
            NotImplementedError: neither is known.
        """
        raise NotImplementedError

    def with_cache(self, cache_size: int = 1) -> Any:
        """The same with another cache_size."""
        if self._cache_size == cache_size:
            return self
        if type(self).__init__ is Transform.__init__:
            return type(self)(cache_size=cache_size)
        raise NotImplementedError(f"{type(self)}.with_cache is not implemented")

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return not self.__eq__(other)

    __hash__ = object.__hash__

    def __call__(self, x: Tensor) -> Any:
        if not self._cache_size:
            return self._call(x)
        before, y = self._cached
        if x is not before:
            y = self._call(x)
            self._cached = x, y
        return y

    def _inv_call(self, y: Tensor) -> Any:
        if not self._cache_size:
            return self._invert(y)
        x, before = self._cached
        if y is not before:
            x = self._invert(y)
            self._cached = x, y
        return x

    def _call(self, x: Any) -> Any:
        raise NotImplementedError

    def _invert(self, y: Any) -> Any:
        raise NotImplementedError

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """log |det dy/dx|, without the axes of a value."""
        raise NotImplementedError

    def forward_shape(self, shape: Any) -> Any:
        """The shape of y for that of x."""
        return shape

    def inverse_shape(self, shape: Any) -> Any:
        """The shape of x for that of y."""
        return shape

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _InverseTransform(Transform):
    """The inverse of a transform."""

    def __init__(self, transform: Transform) -> None:
        super().__init__(cache_size=transform._cache_size)
        self._inv = transform

    @property
    def domain(self) -> Any:
        return self._inv.codomain

    @property
    def codomain(self) -> Any:
        return self._inv.domain

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return self._inv.bijective

    @property
    def sign(self) -> Any:
        return self._inv.sign

    @property
    def inv(self) -> Transform:
        return self._inv

    def with_cache(self, cache_size: int = 1) -> Any:
        return self._inv.with_cache(cache_size).inv

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _InverseTransform) and self._inv == other._inv

    __hash__ = object.__hash__

    def __call__(self, x: Tensor) -> Any:
        return self._inv._inv_call(x)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -self._inv.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Any) -> Any:
        return self._inv.inverse_shape(shape)

    def inverse_shape(self, shape: Any) -> Any:
        return self._inv.forward_shape(shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inv!r})"


class ComposeTransform(Transform):
    """Several transforms, the first one applied first.

    >>> import tinygrad_rnn as tg
    >>> D = tg.distributions
    >>> D.ComposeTransform([D.AffineTransform(0.0, 2.0), D.ExpTransform()])(tg.tensor([0.0, 0.5]))
    tensor([1.0000, 2.7183])
    """

    def __init__(self, parts: Sequence[Any], cache_size: int = 0) -> None:
        if cache_size:
            parts = [part.with_cache(cache_size) for part in parts]
        super().__init__(cache_size=cache_size)
        self.parts = list(parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ComposeTransform) and self.parts == other.parts

    __hash__ = object.__hash__

    def _raised(self, parts: list[Any], ends: tuple[str, str]) -> Any:
        """The constraint at one end, with the axes that the parts further on need."""
        if not parts:
            return constraints.real
        first, last = ends
        found = getattr(parts[0], first)
        event_dim = getattr(parts[-1], last).event_dim
        for part in reversed(parts):
            event_dim += getattr(part, first).event_dim - getattr(part, last).event_dim
            event_dim = max(event_dim, getattr(part, first).event_dim)
        more = event_dim - found.event_dim
        return constraints.independent(found, more) if more > 0 else found

    @property
    def domain(self) -> Any:
        """Of the first part, with the axes that later ones need."""
        return self._raised(self.parts, ("domain", "codomain"))

    @property
    def codomain(self) -> Any:
        """Of the last part, with the axes that earlier ones need."""
        return self._raised(self.parts[::-1], ("codomain", "domain"))

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether all parts are."""
        return all(part.bijective for part in self.parts)

    @property
    def sign(self) -> Any:
        """The product of the parts' signs."""
        sign: Any = 1
        for part in self.parts:
            sign = sign * part.sign
        return sign

    @property
    def inv(self) -> Any:
        """The inverses in reverse order."""
        found = self._inverse() if self._inverse is not None else None
        if found is None:
            found = ComposeTransform([part.inv for part in reversed(self.parts)])
            self._inverse, found._inverse = weakref.ref(found), weakref.ref(self)
        return found

    def with_cache(self, cache_size: int = 1) -> Any:
        """The same with another cache_size."""
        return self if self._cache_size == cache_size else ComposeTransform(self.parts, cache_size=cache_size)

    def __call__(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return x

    def _inv_call(self, y: Any) -> Any:
        for part in reversed(self.parts):
            y = part.inv(y)
        return y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """The sum over the parts."""
        if not self.parts:
            return ops.zeros_like(x)
        values = [x]
        for part in self.parts[:-1]:
            values.append(part(values[-1]))
        values.append(y)
        event_dim = self.domain.event_dim
        total: Any = 0
        for part, before, after in zip(self.parts, values[:-1], values[1:], strict=True):
            slope = part.log_abs_det_jacobian(before, after)
            total = total + sum_over_last(slope, event_dim - part.domain.event_dim)
            event_dim += part.codomain.event_dim - part.domain.event_dim
        return total

    def forward_shape(self, shape: Any) -> Any:
        """Through all parts."""
        for part in self.parts:
            shape = part.forward_shape(shape)
        return shape

    def inverse_shape(self, shape: Any) -> Any:
        """Back through all parts."""
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return shape

    def __repr__(self) -> str:
        lines = ",\n    ".join(repr(part) for part in self.parts)
        return f"{type(self).__name__}(\n    {lines}\n)"


class IndependentTransform(Transform):
    """A transform whose last axes count as one value.

    >>> import tinygrad_rnn as tg
    >>> D = tg.distributions
    >>> rows = D.IndependentTransform(D.ExpTransform(), 1)  # a row is one event
    >>> x = tg.zeros(2, 3)
    >>> rows.log_abs_det_jacobian(x, rows(x)).shape
    torch.Size([2])
    """

    def __init__(self, base_transform: Any, reinterpreted_batch_ndims: int, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.base_transform = base_transform.with_cache(cache_size)
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    def with_cache(self, cache_size: int = 1) -> Any:
        """The same with another cache_size."""
        if self._cache_size == cache_size:
            return self
        return IndependentTransform(self.base_transform, self.reinterpreted_batch_ndims, cache_size)

    @property
    def domain(self) -> Any:
        """The base's, over more axes."""
        return constraints.independent(self.base_transform.domain, self.reinterpreted_batch_ndims)

    @property
    def codomain(self) -> Any:
        """The base's, over more axes."""
        return constraints.independent(self.base_transform.codomain, self.reinterpreted_batch_ndims)

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether the base is."""
        return bool(self.base_transform.bijective)

    @property
    def sign(self) -> Any:
        """The base's."""
        return self.base_transform.sign

    def _enough(self, x: Any, event_dim: int) -> None:
        if x.ndim < event_dim:
            raise ValueError("Too few dimensions on input")

    def _call(self, x: Any) -> Any:
        self._enough(x, self.domain.event_dim)
        return self.base_transform(x)

    def _invert(self, y: Any) -> Any:
        self._enough(y, self.codomain.event_dim)
        return self.base_transform.inv(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """The sum over these axes."""
        return sum_over_last(self.base_transform.log_abs_det_jacobian(x, y), self.reinterpreted_batch_ndims)

    def forward_shape(self, shape: Any) -> Any:
        """The base's."""
        return self.base_transform.forward_shape(shape)

    def inverse_shape(self, shape: Any) -> Any:
        """The base's."""
        return self.base_transform.inverse_shape(shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_transform!r}, {self.reinterpreted_batch_ndims})"


class ReshapeTransform(Transform):
    """The last axes in another shape.

    Raises:
        ValueError: the two have not as many entries.

    >>> import tinygrad_rnn as tg
    >>> tg.distributions.ReshapeTransform((4,), (2, 2))(tg.arange(4.0))
    tensor([[0., 1.],
            [2., 3.]])
    """

    bijective = True

    def __init__(self, in_shape: Any, out_shape: Any, cache_size: int = 0) -> None:
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            raise ValueError("in_shape, out_shape have different numbers of elements")
        super().__init__(cache_size=cache_size)

    @property
    def domain(self) -> Any:
        """All numbers."""
        return constraints.independent(constraints.real, len(self.in_shape))

    @property
    def codomain(self) -> Any:
        """All numbers."""
        return constraints.independent(constraints.real, len(self.out_shape))

    def with_cache(self, cache_size: int = 1) -> Any:
        """The same with another cache_size."""
        return self if self._cache_size == cache_size else ReshapeTransform(self.in_shape, self.out_shape, cache_size)

    def _call(self, x: Any) -> Any:
        return x.reshape((*x.shape[: x.ndim - len(self.in_shape)], *self.out_shape))

    def _invert(self, y: Any) -> Any:
        return y.reshape((*y.shape[: y.ndim - len(self.out_shape)], *self.in_shape))

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """0."""
        return ops.zeros(tuple(x.shape[: x.ndim - len(self.in_shape)]), dtype=x.dtype, device=x.device)

    def _exchanged(self, shape: Any, old: tuple[int, ...], new: tuple[int, ...]) -> Any:
        if len(shape) < len(old):
            raise ValueError("Too few dimensions on input")
        cut = len(shape) - len(old)
        if tuple(shape[cut:]) != old:
            raise ValueError(f"Shape mismatch: expected {shape[cut:]} but got {old}")
        return (*shape[:cut], *new)

    def forward_shape(self, shape: Any) -> Any:
        """With the last axes in their new shape."""
        return self._exchanged(shape, self.in_shape, self.out_shape)

    def inverse_shape(self, shape: Any) -> Any:
        """With the last axes in their old shape."""
        return self._exchanged(shape, self.out_shape, self.in_shape)


class ExpTransform(Transform):
    """exp(x).

    >>> import tinygrad_rnn as tg
    >>> tg.distributions.ExpTransform()(tg.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """

    domain, codomain = constraints.real, constraints.positive
    bijective, sign = True, 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExpTransform)

    __hash__ = object.__hash__

    def _call(self, x: Any) -> Any:
        return ops.exp(x)

    def _invert(self, y: Any) -> Any:
        return ops.log(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """x."""
        return x


class PowerTransform(Transform):
    """x to the power ``exponent``, for x > 0.

    >>> import tinygrad_rnn as tg
    >>> tg.distributions.PowerTransform(tg.tensor(2.0))(tg.tensor([3.0]))
    tensor([9.])
    """

    domain, codomain = constraints.positive, constraints.positive
    bijective = True

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        (self.exponent,) = broadcast_all(exponent)

    def with_cache(self, cache_size: int = 1) -> Any:
        """The same with another cache_size."""
        return self if self._cache_size == cache_size else PowerTransform(self.exponent, cache_size)

    @property
    def sign(self) -> Any:
        """That of the exponent."""
        return ops.sign(self.exponent)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PowerTransform) and bool((self.exponent == other.exponent).all())

    __hash__ = object.__hash__

    def _call(self, x: Any) -> Any:
        return x**self.exponent

    def _invert(self, y: Any) -> Any:
        return y ** (1 / self.exponent)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """log |exponent y / x|."""
        return ops.log(ops.abs(self.exponent * y / x))

    def forward_shape(self, shape: Any) -> Any:
        """Broadcast with the exponent."""
        return tuple(ops.broadcast_shapes(tuple(shape), tuple(self.exponent.shape)))

    inverse_shape = forward_shape


class SigmoidTransform(Transform):
    """1 / (1 + exp(-x)), kept off 0 and 1.

    >>> import tinygrad_rnn as tg
    >>> tg.distributions.SigmoidTransform()(tg.tensor([0.0]))
    tensor([0.5000])
    """

    domain, codomain = constraints.real, constraints.unit_interval
    bijective, sign = True, 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SigmoidTransform)

    __hash__ = object.__hash__

    def _kept(self, y: Any) -> Any:
        kind = limits(y.dtype)
        return ops.clamp(y, float(kind.tiny), 1.0 - float(kind.eps))

    def _call(self, x: Any) -> Any:
        return self._kept(ops.sigmoid(x))

    def _invert(self, y: Any) -> Any:
        y = self._kept(y)
        return ops.log(y) - ops.log1p(-y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """-log(1 + exp(-x)) - log(1 + exp(x))."""
        return -_softplus(-x) - _softplus(x)


class SoftplusTransform(Transform):
    """log(1 + exp(x)).

    >>> import tinygrad_rnn as tg
    >>> tg.distributions.SoftplusTransform()(tg.tensor([0.0]))
    tensor([0.6931])
    """

    domain, codomain = constraints.real, constraints.positive
    bijective, sign = True, 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SoftplusTransform)

    __hash__ = object.__hash__

    def _call(self, x: Any) -> Any:
        return _softplus(x)

    def _invert(self, y: Any) -> Any:
        return ops.log(-ops.expm1(-y)) + y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """-log(1 + exp(-x))."""
        return -_softplus(-x)


class TanhTransform(Transform):
    """tanh(x): cached, or given by ``inv`` of numbers near 1 or -1, x is better asked for than computed.

    >>> import tinygrad_rnn as tg
    >>> tg.distributions.TanhTransform()(tg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """

    domain, codomain = constraints.real, constraints.interval(-1.0, 1.0)
    bijective, sign = True, 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TanhTransform)

    __hash__ = object.__hash__

    def _call(self, x: Any) -> Any:
        return ops.tanh(x)

    def _invert(self, y: Any) -> Any:
        return ops.atanh(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """2 (log(2) - x - log(1 + exp(-2 x))), which is log(1 - tanh(x)^2)."""
        return 2.0 * (math.log(2.0) - x - _softplus(-2.0 * x))


class AbsTransform(Transform):
    """|x|; its inverse is the positive one of two.

    >>> import tinygrad_rnn as tg
    >>> tg.distributions.AbsTransform()(tg.tensor([-2.0]))
    tensor([2.])
    """

    domain, codomain = constraints.real, constraints.positive

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AbsTransform)

    __hash__ = object.__hash__

    def _call(self, x: Any) -> Any:
        return ops.abs(x)

    def _invert(self, y: Any) -> Any:
        return y


class AffineTransform(Transform):
    """loc + scale x.

    Args:
        event_dim: how many axes make one value.

    >>> import tinygrad_rnn as tg
    >>> tg.distributions.AffineTransform(1.0, 2.0)(tg.tensor([0.0, 1.0]))
    tensor([1., 3.])
    """

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.loc, self.scale, self._event_dim = loc, scale, event_dim

    @property
    def event_dim(self) -> int:
        """How many axes make one value."""
        return self._event_dim

    def with_cache(self, cache_size: int = 1) -> Any:
        """The same with another cache_size."""
        return (
            self
            if self._cache_size == cache_size
            else AffineTransform(self.loc, self.scale, self._event_dim, cache_size)
        )

    @property
    def domain(self) -> Any:
        """All numbers."""
        return constraints.independent(constraints.real, self._event_dim) if self._event_dim else constraints.real

    codomain = domain

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AffineTransform):
            return False
        pairs = ((self.loc, other.loc), (self.scale, other.scale))
        return all(bool((a == b).all()) if isinstance(a == b, Tensor) else a == b for a, b in pairs)

    __hash__ = object.__hash__

    @property
    def sign(self) -> Any:
        """That of the scale."""
        if isinstance(self.scale, Tensor):
            return ops.sign(self.scale)
        return 1 if self.scale > 0 else -1 if self.scale < 0 else 0

    def _call(self, x: Any) -> Any:
        return self.loc + self.scale * x

    def _invert(self, y: Any) -> Any:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """log |scale|."""
        if isinstance(self.scale, Tensor):
            slope: Any = ops.log(ops.abs(self.scale))
            if self._event_dim:
                slope = slope.reshape((*slope.shape[: max(slope.ndim - self._event_dim, 0)], -1)).sum(-1)
                return slope.expand(tuple(x.shape[: x.ndim - self._event_dim]))
            return slope.expand(tuple(x.shape))
        slope = ops.full_like(x, math.log(abs(self.scale)))
        return sum_over_last(slope, self._event_dim)

    def forward_shape(self, shape: Any) -> Any:
        """Broadcast with loc and scale."""
        return tuple(
            ops.broadcast_shapes(tuple(shape), *[tuple(getattr(v, "shape", ())) for v in (self.loc, self.scale)])
        )

    inverse_shape = forward_shape


class SoftmaxTransform(Transform):
    """softmax over the last axis; its inverse is log(y), of which all have one that differ by a constant.

    >>> import tinygrad_rnn as tg
    >>> tg.distributions.SoftmaxTransform()(tg.tensor([0.0, 0.0]))
    tensor([0.5000, 0.5000])
    """

    domain, codomain = constraints.real_vector, constraints.simplex

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SoftmaxTransform)

    __hash__ = object.__hash__

    def _call(self, x: Any) -> Any:
        return ops.softmax(x, -1)

    def _invert(self, y: Any) -> Any:
        return ops.log(y)

    def forward_shape(self, shape: Any) -> Any:
        """The same."""
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        return shape

    inverse_shape = forward_shape


class StickBreakingTransform(Transform):
    """K numbers as K + 1 shares: each breaks off a part of what is left of a stick.

    Source: Stan Development Team, "Stan reference manual", section 10.7, unit simplex.

    >>> import tinygrad_rnn as tg
    >>> tg.distributions.StickBreakingTransform()(tg.tensor([0.0, 0.0]))
    tensor([0.3333, 0.3333, 0.3333])
    """

    domain, codomain = constraints.real_vector, constraints.simplex
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StickBreakingTransform)

    __hash__ = object.__hash__

    def _offset(self, x: Any) -> Any:
        n = x.shape[-1]
        return ops.log(ops.arange(n, 0, -1, dtype=x.dtype, device=x.device))

    def _call(self, x: Any) -> Any:
        z = ops.sigmoid(x - self._offset(x))
        left = ops.cumprod(1 - z, -1)
        one = ops.ones((*x.shape[:-1], 1), dtype=x.dtype, device=x.device)
        return ops.cat([z, one], -1) * ops.cat([one, left], -1)

    def _invert(self, y: Any) -> Any:
        part = y[..., :-1]
        left = ops.clamp(1 - ops.cumsum(part, -1), min=float(limits(y.dtype).tiny))
        return ops.log(part) - ops.log(left) + self._offset(part)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """sum log(y) of the first K, and log(1 - z)."""
        x = x - self._offset(x)
        return (-x - _softplus(-x) + ops.log(y[..., :-1])).sum(-1)

    def forward_shape(self, shape: Any) -> Any:
        """One more."""
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        return (*shape[:-1], shape[-1] + 1)

    def inverse_shape(self, shape: Any) -> Any:
        """One less."""
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        return (*shape[:-1], shape[-1] - 1)


identity_transform = ComposeTransform([])
