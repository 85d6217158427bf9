"""Connectionist temporal classification: the likelihood of a sequence of labels, over all its alignments in time.

A path names one label, or the blank, at each time step; it stands for what is left when repetitions are merged and
blanks taken out: ``-aa-ab-`` for ``aab``.  The probability of labels y, given those of each step, is the sum over all
paths that stand for y.  With the labels between blanks, ``l = (-, y_1, -, y_2, ..., -)`` of S = 2L + 1 places, it is a
recursion over time:

    alpha[t, s] = p[t, l_s] (alpha[t-1, s] + alpha[t-1, s-1] + alpha[t-1, s-2])

without the last term where s is the place of a blank, or l_s the same as l_{s-2}; it begins at s = 0 and 1, and ends
at S - 1 and S - 2.  All of it in logarithms.

Source: A. Graves, S. Fernandez, F. Gomez and J. Schmidhuber, "Connectionist temporal classification: labelling
unsegmented sequence data with recurrent neural networks" (2006), equations 5 to 8.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...backend import array_module, not_implemented, to_numpy
from ...errors import ArgumentRuntimeError, DtypeError, ShapeRuntimeError
from ...kernels.scatter_add import add_at
from ...ops import cat, clamp, full_like, logsumexp, stack, where
from ...ops.dtypes import in_single, single
from ...tape.formula import Formula
from ...tape.multi_output import fused
from ...tape.tensor import Tensor, wrap
from ...typing import Array
from .reduction import reduced, reduction_name

__all__ = ["ctc_loss"]


class _Labels(NamedTuple):
    """What is to be aligned, as arrays where the probabilities are.

    Attributes:
        places: (N, S), the labels between blanks.
        skips: (N, S), whether a path may come from two places before.
        steps: (N,), how many time steps are there.
        lengths: (N,), how many labels.
    """

    places: Array
    skips: Array
    steps: Array
    lengths: Array


def _log_of_sum(xp: Any, *terms: Array) -> Array:
    """log(sum of exp), where all terms may be -inf."""
    top = terms[0]
    for term in terms[1:]:
        top = xp.maximum(top, term)
    top = xp.where(top > -xp.inf, top, 0.0)
    total: Array = xp.exp(terms[0] - top)
    for term in terms[1:]:
        total = total + xp.exp(term - top)
    return xp.log(total) + top  # type: ignore[no-any-return]


def _three(xp: Any, alpha: Array, skips: Array) -> tuple[Array, Array, Array]:
    """What arrives at each place: from itself, from the one before, and from two before where that is allowed."""
    low = xp.full_like(alpha[:, :2], -xp.inf)
    before = xp.concatenate([low[:, :1], alpha[:, :-1]], 1)
    skipped = xp.concatenate([low, alpha[:, :-2]], 1)[:, : alpha.shape[1]]
    return alpha, before, xp.where(skips, skipped, -xp.inf)


def _emitted(xp: Any, log_p: Array, labels: _Labels) -> Array:
    """(T, N, S): the logarithm of the probability of each place's label."""
    return xp.take_along_axis(log_p, labels.places[None], 2)  # type: ignore[no-any-return]


def _begin(xp: Any, first: Array, labels: _Labels) -> Array:
    place = xp.arange(first.shape[1])
    reached = (place == 0) | ((place == 1) & (labels.lengths[:, None] > 0))
    return xp.where(reached, first, -xp.inf)  # type: ignore[no-any-return]


def _ends(xp: Any, labels: _Labels, size: int) -> tuple[Array, Array]:
    """(N, S) each: whether a place is the last one, and whether it is the last label."""
    place, last = xp.arange(size), 2 * labels.lengths[:, None]
    return place == last, (place == last - 1) & (last > 0)


def _forward(log_p: Array, labels: _Labels) -> tuple[tuple[Array], Any]:
    """(N,), minus the logarithm of the likelihood; what the backward pass reads: alpha of each step."""
    xp, dtype = array_module(log_p), log_p.dtype
    log_p = single(log_p)
    emitted = _emitted(xp, log_p, labels)
    alpha = _begin(xp, emitted[0], labels)
    alphas = [alpha]
    running = labels.steps[:, None]
    for t in range(1, len(log_p)):
        step = _log_of_sum(xp, *_three(xp, alpha, labels.skips)) + emitted[t]
        alpha = xp.where(t < running, step, alpha)
        alphas.append(alpha)
    # of sequences without any step, only those without a label are possible, and they are certain
    certain = xp.where(xp.arange(alpha.shape[1]) == 0, 0.0, -xp.inf).astype(log_p.dtype)
    alpha = alphas[-1] = xp.where(running > 0, alpha, certain)
    blank, label = _ends(xp, labels, alpha.shape[1])
    found = [xp.where(at, alpha, -xp.inf).max(1) for at in (blank, label)]
    log_likelihood = _log_of_sum(xp, *found)
    return ((-log_likelihood).astype(dtype, copy=False),), (alphas, log_likelihood)


def _backward(gs: Any, residual: Any, log_p: Array, needs: Any, labels: _Labels) -> list[Array]:
    """The way back through the recursion: each sum gives to its terms in proportion to their size."""
    xp = array_module(log_p)
    g, (alphas, log_likelihood) = single(gs[0]), residual
    alpha = alphas[-1]
    blank, label = _ends(xp, labels, alpha.shape[1])
    share = xp.exp(alpha - log_likelihood[:, None])
    # without any alignment the gradient is nan, as in PyTorch, but for those that nobody asks for
    lost = (log_likelihood == -xp.inf)[:, None]
    d = xp.where(blank | label, xp.where(lost, xp.nan, -share) * g[:, None], 0.0)
    d = xp.where(lost & (g == 0)[:, None], 0.0, d)
    running = labels.steps[:, None]
    grad = xp.zeros(log_p.shape, alpha.dtype)
    rows = xp.arange(log_p.shape[1])[:, None]
    for t in range(len(log_p) - 1, -1, -1):
        here = t < running
        add_at(grad, (t, rows, labels.places), xp.where(here, d, 0.0).astype(grad.dtype, copy=False))
        if t == 0:
            break
        terms = _three(xp, alphas[t - 1], labels.skips)
        total = _log_of_sum(xp, *terms)
        total = xp.where(total > -xp.inf, total, 0.0)
        same, before, skipped = (d * xp.exp(term - total) for term in terms)
        came = same
        came[:, :-1] += before[:, 1:]
        came[:, :-2] += skipped[:, 2:]
        d = xp.where(here, came, d)
    return [grad.astype(log_p.dtype, copy=False)]


LOW = -1e30
"""The logarithm of what is impossible, finite: differences of it are 0 and not nan, and it loses against all others."""


def _reference(log_p: Any, labels: _Labels) -> tuple[Any]:
    return (_composed(log_p, labels),)


@in_single
def _composed(log_p: Any, labels: _Labels) -> Any:
    """The recursion in recorded operations."""
    xp = array_module(labels.places)
    count, size = labels.places.shape
    place, steps = xp.arange(size), labels.steps[:, None]
    rows = xp.arange(count)[:, None]
    low = full_like(log_p.detach()[0, :, :1], LOW).expand(count, 2)
    certain = wrap(xp.where(place == 0, 0.0, LOW).astype(low._data.dtype))
    reached = wrap((place == 0) | ((place == 1) & (labels.lengths[:, None] > 0)))
    alpha = where(reached, log_p[0][rows, labels.places], LOW)
    for t in range(1, len(log_p)):
        before = cat([low[:, :1], alpha[:, :-1]], 1)
        skipped = cat([low, alpha[:, :-2]], 1)[:, :size] if size > 1 else before
        terms = stack([alpha, before, where(wrap(labels.skips), skipped, LOW)])
        alpha = where(wrap(t < steps), logsumexp(terms, 0) + log_p[t][rows, labels.places], alpha)
    alpha = where(wrap(steps > 0), alpha, certain)
    blank, label = _ends(xp, labels, size)
    found = logsumexp(where(wrap(blank | label), alpha, LOW), 1)
    return -where(found > LOW / 2, found, -float("inf"))


# n is a sequence, t and u time steps, m a path, one of all C^T; q_{nm} is 1 if the path stands for the labels of the
# sequence, else 0, and s_{tn} is 1 if step t is one of the sequence's.
_aligned = fused(
    "ctc_loss",
    _forward,
    _backward,
    _reference,
    formula=Formula(
        r"y_{n} = -\log(\sum_{m} q_{nm} \exp(\sum_{t} s_{tn} a_{t,n,\pi_{mt}}))",
        log_p=r"\bar{a}_{tnk} = -\bar{y}_{n} s_{tn} \exp(y_{n}) "
        r"\sum_{m} q_{nm} [\pi_{mt} = k] \exp(\sum_{u} s_{un} a_{u,n,\pi_{mu}})",
    ),
    gives_new=True,
)


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the logarithm of the probability of the targets, summed over all alignments with time.

    Shapes:
        log_probs ``(T, N, C)`` or ``(T, C)``; targets ``(N, S)``, or one after the other ``(sum of target_lengths,)``;
        lengths ``(N,)`` or ``()``; result ``()``, or ``(N,)`` with "none".

    Args:
        log_probs: logarithms of probabilities, as ``log_softmax`` gives them.
        targets: numbers of labels, none of which should be the blank.
        input_lengths: time steps of each sequence: a tensor, or a tuple of numbers.
        target_lengths: labels of each sequence.
        blank: the number of the blank.
        reduction: "mean" divides each loss by its number of labels (at least 1) and takes the mean over the batch.
        zero_infinity: make 0 of the loss, and of the gradient, of a sequence that has more labels than its steps have
            room for; otherwise the loss is infinite and its gradient nan.

    Raises:
        ShapeRuntimeError: shapes do not fit.
        ArgumentRuntimeError: lengths outside of what is there, a label that is none, a blank that is no label.
        DtypeError: lengths are no whole numbers.
        UnsupportedDtype: log_probs are not floating.

    The gradient is that of the formula, -P(label k at time t | targets) for log_probs[t, k], of every order.  PyTorch's
    has exp(log_probs) added to it, which only is the same behind ``log_softmax``: there both are softmax - P.

    Source: A. Graves et al., "Connectionist temporal classification" (2006), equations 5 to 8 and 16.

    >>> import tinygrad_rnn as tg
    >>> log_probs = tg.zeros(3, 1, 2).log_softmax(2)  # a label and the blank, each 1/2; a, -a, a-, aa, ...
    >>> loss = ctc_loss(log_probs, tg.tensor([[1]]), (3,), (1,), reduction="sum")
    >>> round((-loss).exp().item(), 4)  # of 8 paths 6 stand for it: all but --- and a-a
    0.75
    """
    reduction = reduction_name(reduction)
    if log_probs._data.dtype.kind != "f":
        raise not_implemented("ctc_loss", log_probs.dtype, "convert it, x.float()")
    if log_probs.ndim not in (2, 3):
        raise ShapeRuntimeError(f"log_probs must be (T, N, C) or (T, C), got {list(log_probs.shape)}")
    batched = log_probs.ndim == 3
    log_p = log_probs if batched else log_probs.unsqueeze(1)
    T, N, C = log_p.shape
    if log_p._data.size == 0:
        raise ArgumentRuntimeError("log_probs tensor must not be empty")
    if not 0 <= blank < C:
        raise ArgumentRuntimeError(f"blank must be in label range, 0 .. {C - 1}, got {blank}")
    steps, lengths = (
        _lengths(given, N, name)
        for given, name in ((input_lengths, "input_lengths"), (target_lengths, "target_lengths"))
    )
    if steps.size and steps.max() > T:
        raise ArgumentRuntimeError(
            f"Expected input_lengths to have value at most {T}, but got value {steps.max()} (while checking arguments "
            "for ctc_loss)"
        )
    labels = _labels(log_p._data, _padded(targets, lengths, batched), steps, lengths, blank)
    (loss,) = _aligned(log_p, labels=labels)
    if zero_infinity:
        loss = where(loss == float("inf"), 0.0, loss)
    if reduction == "mean":
        loss = loss / clamp(wrap(labels.lengths.astype(loss._data.dtype)), min=1)
    return reduced(loss if batched or reduction != "none" else loss[0], reduction)


def _lengths(given: Any, count: int, name: str) -> Any:
    """Lengths as an array on the host: what a path may be is decided there."""
    values = np.asarray(to_numpy(given._data) if isinstance(given, Tensor) else given)
    if values.dtype.kind not in "iu" and values.size:
        raise DtypeError(f"{name} must be integral")
    values = values.reshape(-1).astype(np.int64)
    if values.shape != (count,):
        raise ShapeRuntimeError(f"{name} must be of size batch_size: expected {count}, got {values.size}")
    if values.size and values.min() < 0:
        raise ArgumentRuntimeError(f"Expected {name} to have value at least 0, but got value {values.min()}")
    return values


def _padded(targets: Tensor, lengths: Any, batched: bool) -> Any:
    """(N, L) on the host, 0 behind the end of each sequence."""
    values = to_numpy(targets._data).astype(np.int64)
    longest = int(lengths.max(initial=0))
    padded = np.zeros((len(lengths), longest), np.int64)
    there = np.arange(longest) < lengths[:, None]
    if values.ndim == 1:
        if len(values) < lengths.sum() or (batched and len(values) != lengths.sum()):
            raise ShapeRuntimeError(
                f"Expected tensor to have size {lengths.sum()} at dimension 0, the sum of target_lengths, but got "
                f"targets of size {len(values)}"
            )
        padded[there] = values[: lengths.sum()]
        return padded
    if values.ndim != 2 or len(values) != len(lengths) or values.shape[1] < longest:
        raise ShapeRuntimeError(
            f"Expected targets of size [{len(lengths)}, {longest} or more] or [{lengths.sum()}], got "
            f"{list(targets.shape)}"
        )
    padded[there] = values[:, :longest][there]
    return padded


def _labels(log_p: Array, targets: Any, steps: Any, lengths: Any, blank: int) -> _Labels:
    """The labels between blanks.

    Raises:
        ArgumentRuntimeError: a number is no label.
    """
    count, longest = targets.shape
    there = np.arange(longest) < lengths[:, None]
    wrong = ((targets < 0) | (targets >= log_p.shape[2])) & there
    if wrong.any():
        raise ArgumentRuntimeError(f"targets have a label {targets[wrong][0]}: labels are 0 .. {log_p.shape[2] - 1}")
    places = np.full((count, 2 * longest + 1), blank, np.int64)
    places[:, 1::2] = np.where(there, targets, blank)
    skips = np.zeros(places.shape, bool)
    skips[:, 3::2] = places[:, 3::2] != places[:, 1:-2:2]
    xp = array_module(log_p)
    return _Labels(*(xp.asarray(each) for each in (places, skips, steps, lengths)))
