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

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TypedDict

from ...backend import array_module
from ...backend.random.inplace import dropout_like
from ...errors import ArgumentError
from ...kernels.recurrent.checkpointing import check_segments
from ...ops import where
from ...tape.tensor import Tensor, wrap

__all__ = ["LayerKeywords", "StackKeywords", "StackOptions", "locked_mask", "with_recurrent_dropout", "with_zoneout"]

Sizes = tuple[int, ...] | None
States = tuple[Tensor, ...]
Step = Callable[[Tensor, States], States]
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


def locked_mask(like: Tensor, rows: int, p: float) -> Tensor:
    """A dropout mask (rows, K) for values ``like`` (..., K): 0 with probability p, else 1 / (1 - p)."""
    ones = array_module(like._data).ones((rows, like.shape[-1]), like.dtype)
    return wrap(dropout_like(ones, p))


def with_zoneout(step: Step, probabilities: tuple[float, ...], training: bool) -> Step:
    """``step``, but each entry of state k keeps its old value with ``probabilities[k]``.

    If not training, it is the expected value.  What ``step`` gives besides the states is passed on.
    """

    def mixed(old: Tensor, new: Tensor, p: float) -> Tensor:
        if p == 0:
            return new
        # in evaluation: the expected value of the mixture
        if not training:
            return new + p * (old - new)
        keep = dropout_like(new._data, 1 - p) != 0
        return where(wrap(keep), old, new)

    def zoned(x: Tensor, states: States) -> States:
        new = step(x, states)
        count = len(states)
        kept = [mixed(*triple) for triple in zip(states, new[:count], probabilities, strict=True)]
        return (*kept, *new[count:])

    return zoned


def with_recurrent_dropout(step: Step, h: Tensor, p: float) -> Step:
    """``step``, but it sees the first state times one mask per sequence; ``h`` (N, R) is the initial one."""
    mask = locked_mask(h, h.shape[0], p)

    def dropped(x: Tensor, states: States) -> States:
        # Packed, the batch shrinks: the first rows are those that go on.
        rows = len(states[0])
        return step(x, (states[0] * (mask if rows == len(mask) else mask[:rows]), *states[1:]))

    return dropped
