"""A softmax over many classes that costs little for the frequent ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import ArgumentError, ArgumentRuntimeError, ShapeRuntimeError
from ..ops import argmax, cat, gather, log_softmax, where
from ..tape.tensor import Tensor
from .containers import ModuleList, Sequential
from .linear import Linear
from .module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _ASMoutput(NamedTuple):
    """What ``AdaptiveLogSoftmaxWithLoss`` gives: the log-probability of each target, and minus their mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """log P(class | x) for classes sorted by frequency: the frequent ones by themselves, the others in clusters.

    The head is a softmax over the first ``cutoffs[0]`` classes and one entry for each cluster; cluster i has a softmax
    of its own, over fewer features:

        log P(y) = log head(y)                                          for y < cutoffs[0]
        log P(y) = log head(cluster i) + log tail_i(y - cutoffs[i])     for cutoffs[i] <= y < cutoffs[i+1]

    Shapes:
        input ``(N, in_features)`` or ``(in_features,)``, target ``(N,)`` or ``()``; result ``(output, loss)``, the
        log-probabilities ``(N,)`` or ``()``, and minus their mean.

    Args:
        in_features: of the input.
        n_classes: how many classes, numbered from the most to the least frequent.
        cutoffs: where the clusters begin, in increasing order.
        div_value: cluster i has ``in_features // div_value**(i + 1)`` features.
        head_bias: whether the head has a bias.
        device, dtype: of the weights.

    Raises:
        ArgumentError: cutoffs are not increasing numbers from 1 to n_classes - 1.

    Source: E. Grave et al., "Efficient softmax approximation for GPUs" (2017), section 4.3.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> layer = tg.nn.AdaptiveLogSoftmaxWithLoss(16, 100, cutoffs=[10, 40])
    >>> x, target = tg.randn(4, 16), tg.tensor([3, 12, 99, 0])
    >>> output, loss = layer(x, target)
    >>> output.shape, bool(tg.isclose(loss, -output.mean()))
    (torch.Size([4]), True)
    >>> tg.allclose(layer.log_prob(x).exp().sum(1), tg.ones(4))
    True
    >>> layer.predict(x).shape
    torch.Size([4])
    """

    head: Linear
    tail: ModuleList

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ArgumentError("cutoffs should be a sequence of length larger than 0")
        increasing = all(a < b for a, b in itertools.pairwise([0, *cutoffs, n_classes]))
        if not increasing or any(int(c) != c for c in cutoffs):
            raise ArgumentError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(itertools.pairwise(self.cutoffs)):
            width = int(in_features // div_value ** (i + 1))
            inner = Linear(in_features, width, bias=False, device=device, dtype=dtype)
            self.tail.append(Sequential(inner, Linear(width, high - low, bias=False, device=device, dtype=dtype)))

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for inner, outer in self.tail:
            inner.reset_parameters()
            outer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """The log-probabilities of the targets, and minus their mean.

        Raises:
            ShapeRuntimeError: shapes do not fit.
            ArgumentRuntimeError: a target is no class.
        """
        _check(input_, target_)
        batched = target_.ndim > 0
        input, target = (input_, target_) if batched else (input_.unsqueeze(0), target_.unsqueeze(0))
        outside = (target < 0) | (target >= self.n_classes)
        if bool(outside.any()):
            raise ArgumentRuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range [{target.min().item()}, "
                f"{target.max().item()}] were found. "
            )
        entries, rows, found = target, [], []
        for i, (low, high) in enumerate(itertools.pairwise(self.cutoffs)):
            inside = (target >= low) & (target < high)
            entries = where(inside, self.shortlist_size + i, entries)
            where_inside = inside.nonzero()[:, 0]
            if len(where_inside):
                log_p = log_softmax(self.tail[i](input[where_inside]), 1)
                rows.append(where_inside)
                found.append(gather(log_p, 1, (target[where_inside] - low).unsqueeze(1)).squeeze(1))
        output = gather(log_softmax(self.head(input), 1), 1, entries.unsqueeze(1)).squeeze(1)
        if rows:
            output = output.index_add(0, cat(rows), cat(found))
        loss = (-output).mean()
        return _ASMoutput(output if batched else output[0], loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """(N, n_classes): the log-probabilities of all classes."""
        head = log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            place = self.shortlist_size + i
            parts.append(log_softmax(cluster(input), 1) + head[:, place : place + 1])
        result: Tensor = cat(parts, 1)
        return result

    def predict(self, input: Tensor) -> Tensor:
        """(N,): the most probable class.

        As in PyTorch, a class of the shortlist that is ahead of all clusters is taken without a look into these.
        """
        head = self.head(input)
        best: Tensor = argmax(head, 1)
        hidden = (best >= self.shortlist_size).nonzero()[:, 0]
        if len(hidden):
            best = best.index_copy(0, hidden, argmax(self.log_prob(input[hidden]), 1))
        return best


def _check(input: Tensor, target: Tensor) -> None:
    """That a target of one axis, or of none, has an input of one more.

    Raises:
        ShapeRuntimeError: they do not fit.
    """
    if target.ndim > 1:
        raise ShapeRuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if target.ndim == 1 and len(input) != len(target):
        raise ShapeRuntimeError("Input and target should have the same size in the batch dimension.")
    if input.ndim != target.ndim + 1:
        raise ShapeRuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with size "
            f"{input.shape}"
        )
