"""Options of recurrent layers that PyTorch does not have; every default is PyTorch's behaviour.

The options and their sources:

* ``skip``: how layers above the first see past the one below.  ``"residual"``: output + input (K. He et al. 2016);
  ``"highway"``: t * output + (1 - t) * input with t = sigmoid(W input + b) (R. Srivastava et al. 2015);
  ``"dense"``: every layer reads the stack's input and all outputs below it, side by side (G. Huang et al. 2017).
* ``zoneout``: while training each entry of a state keeps its old value with this probability; in evaluation the
  states are the expected mixture (D. Krueger et al. 2016).
* ``recurrent_dropout``: while training h is masked before every step, by one mask per sequence (Y. Gal and
  Z. Ghahramani 2016).
* ``locked_dropout``: the dropout between layers uses one mask for all steps of a sequence (same source).
* ``learn_state``: the initial states are parameters (zeros at first), used where none are given.
* ``checkpoint_segments``: cut the steps into this many segments (``"auto"``: about sqrt(T)), keep the states at the
  cuts, and compute the rest again in the backward pass.  Of a layer's memory, K states of the N sequences and the
  values of T / K steps are left, besides input, output and their gradients; the cost is a second run forward
  (T. Chen et al. 2016).  Gradients are the same but for the order of sums; see ``kernels/recurrent/checkpointing.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import NamedTuple, TypedDict

from ...backend import array_module
from ...backend.random.inplace import dropout_like
from ...errors import ArgumentError
from ...kernels.recurrent.checkpointing import check_segments
from ...ops import where
from ...tape.tensor import Tensor, wrap
from ...typing import Array

__all__ = ["LayerKeywords", "Masking", "StackKeywords", "StackOptions", "drawn_masks", "locked_mask", "with_masks"]
__all__ += ["with_recurrent_dropout", "with_zoneout"]

Sizes = tuple[int, ...] | None
States = tuple[Tensor, ...]
Step = Callable[..., States]
SKIPS = ("residual", "highway", "dense")


class StackKeywords(TypedDict, total=False):
    """The keywords of :class:`StackOptions`, for signatures."""

    skip: str | None
    zoneout: float | tuple[float, ...]
    recurrent_dropout: float
    locked_dropout: bool
    learn_state: bool
    checkpoint_segments: int | str | None


class LayerKeywords(StackKeywords, total=False):
    """The keywords that RNN, LSTM and GRU pass on to RNNBase."""

    weight_dropout: float
    layer_norm: bool
    return_gates: bool


@dataclass(frozen=True)
class StackOptions:
    """The options of this file, checked.

    Raises:
        ArgumentError: an unknown skip, a probability outside [0, 1], or no number of segments.
    """

    skip: str | None = None
    zoneout: float | tuple[float, ...] = 0.0
    recurrent_dropout: float = 0.0
    locked_dropout: bool = False
    learn_state: bool = False
    checkpoint_segments: int | str | None = None

    def __post_init__(self) -> None:
        if self.skip is not None and self.skip not in SKIPS:
            raise ArgumentError(f"skip must be None or one of {', '.join(SKIPS)}, got {self.skip!r}")
        zoneout = self.zoneout if isinstance(self.zoneout, tuple) else (self.zoneout,)
        for name, p in (*(("zoneout", p) for p in zoneout), ("recurrent_dropout", self.recurrent_dropout)):
            if not 0 <= p <= 1:
                raise ArgumentError(f"{name} is a probability and must lie in [0, 1], got {p}")
        check_segments(self.checkpoint_segments)

    def zoneouts(self, states: int) -> tuple[float, ...]:
        """The probability for each state.

        Raises:
            ArgumentError: not one for each.
        """
        if not isinstance(self.zoneout, tuple):
            return (self.zoneout,) * states
        if len(self.zoneout) != states:
            raise ArgumentError(f"zoneout needs one probability for each of {states} states, got {self.zoneout}")
        return self.zoneout

    # Works although the dataclass is frozen: the value goes into ``__dict__``, not through __setattr__.
    @cached_property
    def changes_steps(self) -> bool:
        """Whether what happens at a step differs from the cell's equations: fused kernels cannot do that."""
        zoneout = self.zoneout if isinstance(self.zoneout, tuple) else (self.zoneout,)
        return any(zoneout) or self.recurrent_dropout > 0

    def changed(self) -> list[str]:
        """``name=value`` for each option that is not at its default."""
        return [f"{f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != f.default]


class Masking(NamedTuple):
    """What the options do to a step: of a layer that trains, or of one that does not.

    Attributes:
        zoneouts: the probability for each state.
        recurrent_dropout: the probability; 0 in evaluation.
        training: whether zoneout draws, or mixes as is expected.
    """

    zoneouts: tuple[float, ...]
    recurrent_dropout: float
    training: bool

    @classmethod
    def of(cls, options: StackOptions, states: int, training: bool) -> Masking:
        """That of a layer of so many states; the same in training and evaluation, where it does nothing."""
        zoneouts = options.zoneouts(states)
        return cls(zoneouts, options.recurrent_dropout if training else 0.0, training and any(zoneouts))

    @property
    def kind(self) -> Masking:
        """The same without probabilities that are drawn by: what a step with masks depends on."""
        zoneouts = tuple([float(p > 0) for p in self.zoneouts]) if self.training else self.zoneouts
        return Masking(zoneouts, float(self.recurrent_dropout > 0), self.training)

    @property
    def drawn(self) -> int:
        """How many states have a mask of zoneout at every step."""
        return sum(p > 0 for p in self.zoneouts) if self.training else 0


@lru_cache(maxsize=16)
def unmasked(states: int) -> Masking:
    """That of a layer of so many states that has none of these options."""
    return Masking.of(StackOptions(), states, False)


def locked_mask(like: Tensor, rows: int, p: float) -> Tensor:
    """A dropout mask (rows, K) for values ``like`` (..., K): 0 with probability p, else 1 / (1 - p)."""
    ones = array_module(like._data).ones((rows, like.shape[-1]), like.dtype)
    return wrap(dropout_like(ones, p))


def with_zoneout(step: Step, probabilities: tuple[float, ...], training: bool) -> Step:
    """``step``, but each entry of state k keeps its old value with ``probabilities[k]``.

    If not training, it is the expected value.  What ``step`` gives besides the states is passed on.
    """

    def zoned(x: Tensor, states: States) -> States:
        new = step(x, states)
        keeps = [wrap(dropout_like(a._data, 1 - p) != 0) for a, p in _zoned(new, probabilities, training)]
        return _mixed(states, new, probabilities, keeps)

    return zoned


def _zoned(states: States, probabilities: tuple[float, ...], training: bool) -> list[tuple[Tensor, float]]:
    """The states for which a mask is drawn at every step, with their probabilities."""
    return [(a, p) for a, p in zip(states, probabilities, strict=False) if p > 0 and training]


def _mixed(old: States, new: States, probabilities: tuple[float, ...], keeps: Sequence[Tensor]) -> States:
    """Zoneout: old and new values mixed, by masks of what is kept; without masks, as is expected of them."""
    given = iter(keeps)

    def mixed(old: Tensor, new: Tensor, p: float) -> Tensor:
        if p == 0:
            return new
        return where(next(given), old, new) if keeps else new + p * (old - new)

    count = len(old)
    return (*[mixed(*triple) for triple in zip(old, new[:count], probabilities, strict=True)], *new[count:])


def with_recurrent_dropout(step: Step, h: Tensor, p: float) -> Step:
    """``step``, but it sees the first state times one mask per sequence; ``h`` (N, R) is the initial one."""
    mask = locked_mask(h, h.shape[0], p)

    def dropped(x: Tensor, states: States) -> States:
        # Packed, the batch shrinks: the first rows are those that go on.
        rows = len(states[0])
        return step(x, (states[0] * (mask if rows == len(mask) else mask[:rows]), *states[1:]))

    return dropped


# masks that are drawn before a sequence -------------------------------------------------------------------------------


def with_masks(step: Step, options: Masking) -> Step:
    """``step`` with zoneout and recurrent dropout, as a function of its masks: ``masked(x, states, *masks)``.

    Args:
        step: as for :func:`with_zoneout`.
        options: which masks there are: those of :func:`drawn_masks`, in their order.
    """

    def masked(x: Tensor, states: States, *masks: Tensor) -> States:
        given = (states[0] * masks[-1], *states[1:]) if options.recurrent_dropout else states
        new = step(x, given)
        if not any(options.zoneouts):
            return new
        return _mixed(states, new, options.zoneouts, masks[: options.drawn])

    return masked


def drawn_masks(
    options: Masking, x: Tensor, states: States, sizes: Sizes, reverse: bool
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The masks of a whole sequence: the numbers that the composed form would draw step by step, in its order.

    Returns:
        Those of zoneout, bools arranged as x, (T, N, K) or (S, K), for each state that has one; that of recurrent
        dropout, numbers (N, R), if there is one.
    """
    h = states[0]
    dropped = (locked_mask(h, h.shape[0], options.recurrent_dropout)._data,) if options.recurrent_dropout else ()
    if not options.drawn:
        return (), dropped
    xp, pairs = array_module(h._data), _zoned(states, options.zoneouts, True)
    rows = (h.shape[0],) * x.shape[0] if sizes is None else sizes
    widths, starts = [a.shape[-1] for a, _ in pairs], [0, *accumulate(rows)]
    order = range(len(rows))[:: -1 if reverse else 1]

    def drawn(count: int, p: float) -> Array:
        kept: Array = dropout_like(xp.ones(count, h.dtype), 1 - p) != 0
        return kept

    at_once = len({p for _, p in pairs}) == 1  # all numbers in one draw
    every = drawn(starts[-1] * sum(widths), pairs[0][1]) if at_once else None
    if every is not None and sizes is None:
        steps = every.reshape(x.shape[0], h.shape[0] * sum(widths))[:: -1 if reverse else 1]
        ends = [h.shape[0] * n for n in accumulate(widths)]
        found = [
            xp.ascontiguousarray(steps[:, end - h.shape[0] * n : end]) for end, n in zip(ends, widths, strict=True)
        ]
        return tuple([a.reshape(*x.shape[:2], n) for a, n in zip(found, widths, strict=True)]), dropped
    tables, at = [xp.empty((starts[-1], width), bool) for width in widths], 0
    for t in order:
        for table, width, (_, p) in zip(tables, widths, pairs, strict=True):
            count = rows[t] * width
            mask = drawn(count, p) if every is None else every[at : at + count]
            table[starts[t] : starts[t + 1]] = mask.reshape(rows[t], width)
            at += count
    shape = x.shape[:-1]
    return tuple([t.reshape(*shape, n) for t, n in zip(tables, widths, strict=True)]), dropped
