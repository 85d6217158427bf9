r"""The neural history compressor: what a level predicts it need not tell the next one.

Level 1 reads a sequence symbol by symbol and predicts each from those before.  Only the symbols that it did not
predict go up to level 2, each with the time that has passed since the last one; level 2 predicts these events, and
tells level 3 its own misses:

    event k of level n+1 = (item, gap):  the item at time t_k, predicted wrongly;  gap = t_k - t_(k-1),  t_0 = -1

Nothing is lost by it: whoever has the predictors, the events of the topmost level and the lengths can replay the
sequence, since an item for which there is no event is the one that was predicted.  That needs the gaps.  A dependence
over many predictable steps is one over few events, which is how the hierarchy shortens long lags; and what cannot be
predicted is not shortened.

``T`` steps, ``N`` sequences, ``K`` items in the alphabet of a level.

Source: J. Schmidhuber, "Learning complex, extended sequences using the principle of history compression", Neural
Computation 4 (1992), sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import tinygrad_rnn as tg

from ..errors import ArgumentError
from ..typing import Array

__all__ = ["Compressed", "Event", "HistoryCompressor", "Level", "Stream"]

Stream: TypeAlias = "Sequence[Hashable]"
"""One sequence of items: symbols, or events of the level below."""
Event: TypeAlias = "tuple[Hashable, int]"
"""An item that was not predicted, and the steps since the last one of its kind."""


class Level(tg.nn.Module):
    """One level: a recurrent net that predicts the next item of a stream.

        p(item t | items before t) = softmax(W h_t + b),    h_t = cell(item t-1 as one of K, h_(t-1))

    with zeros for the item before the first.  An item that is not in the alphabet is read as zeros and is never
    predicted, so that it always goes up, as it is.

    Args:
        alphabet: the items that can be predicted; the order is kept, repetitions are dropped.
        hidden_size: units of the recurrent layer.
        cell: its class: ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``.
        options: for the class, such as ``forget_bias``.

    Raises:
        ArgumentError: an empty alphabet.

    >>> level = Level("abc", 4)
    >>> level.codes(["cab", "x"]).tolist()                      # (T, N); -1: not in the alphabet, or past the end
    [[2, -1], [0, -1], [1, -1]]
    """

    def __init__(self, alphabet: Iterable[Hashable], hidden_size: int, cell: Any = None, **options: Any) -> None:
        super().__init__()
        self.alphabet = tuple(dict.fromkeys(alphabet))
        if not self.alphabet:
            raise ArgumentError("Level(): the alphabet is empty: there is nothing to predict")
        self.index = {item: k for k, item in enumerate(self.alphabet)}
        self.recurrent = (tg.nn.RNN if cell is None else cell)(len(self.alphabet), hidden_size, **options)
        self.readout = tg.nn.Linear(hidden_size, len(self.alphabet))

    def codes(self, streams: Sequence[Stream]) -> Array:
        """The numbers of the items, (T, N), T the longest length; -1 where there is none.

        Raises:
            ArgumentError: no streams.
        """
        if not streams:
            raise ArgumentError("Level: no streams")
        found = np.full((max(map(len, streams)), len(streams)), -1)
        for n, stream in enumerate(streams):
            found[: len(stream), n] = [self.index.get(item, -1) for item in stream]
        return found

    def read(self, codes: Array) -> tg.Tensor:
        """Items as the layer reads them: one of K; zeros for -1.

        Args:
            codes: (...), as of :meth:`codes`.

        Returns:
            (..., K).
        """
        one_of = codes[..., None] == np.arange(len(self.alphabet))
        found: tg.Tensor = tg.tensor(one_of).to(self.readout.weight)
        return found

    def forward(self, codes: Array, state: Any = None) -> tuple[tg.Tensor, Any]:
        """What comes after each of the items.

        Args:
            codes: (T, N).
            state: of the recurrent layer before them; None: zeros.

        Returns:
            logits (T, N, K), and the state after them.
        """
        h, state = self.recurrent(self.read(codes), state)
        return self.readout(h), state

    def loss(self, streams: Sequence[Stream]) -> tg.Tensor:
        """Mean cross entropy, in nats, of all items in the alphabet given those before them.

        Args:
            streams: sequences of any lengths.

        Returns:
            A scalar; of an untrained level about log K.

        Raises:
            ArgumentError: no streams.

        >>> level = Level("abcd", 8)
        >>> round(level.loss(["abcd" * 3, "dd"]).item(), 1)
        1.4
        """
        return self._loss(self.codes(streams))

    def _loss(self, codes: Array) -> tg.Tensor:
        logits, _ = self(np.concatenate([np.full_like(codes[:1], -1), codes[:-1]]))
        found: tg.Tensor = tg.nn.functional.cross_entropy(
            logits.reshape(-1, len(self.alphabet)), tg.tensor(codes.reshape(-1)), ignore_index=-1
        )
        return found

    def _stepped(self, lengths: Sequence[int], known: Any) -> None:
        """Predict step by step; ``known(t, predicted)`` gives the codes (N,) that were there.

        Compression and replay both go this way, by the same operations on arrays of the same shapes, so that a
        prediction is the same to the last bit in both.
        """
        state, before = None, np.full((1, len(lengths)), -1)
        with tg.no_grad():
            for t in range(max(lengths, default=0)):
                logits, state = self(before, state)
                before = known(t, logits[0].argmax(-1).numpy())[None]

    def compress(self, streams: Sequence[Stream]) -> list[list[Event]]:
        """What was not predicted, with its time: the streams of the next level.

        Args:
            streams: sequences of any lengths.

        Returns:
            Of each, its events (item, gap).

        Raises:
            ArgumentError: no streams.
        """
        codes, lengths = self.codes(streams), [len(stream) for stream in streams]
        events: list[list[Event]] = [[] for _ in streams]
        last = [-1] * len(streams)

        def known(t: int, predicted: Array) -> Array:
            for n in np.flatnonzero(predicted != codes[t]).tolist():
                if t < lengths[n]:
                    events[n].append((streams[n][t], t - last[n]))
                    last[n] = t
            there: Array = codes[t]
            return there

        self._stepped(lengths, known)
        return events

    def replay(self, events: Sequence[Sequence[Event]], lengths: Sequence[int]) -> list[list[Hashable]]:
        """The streams again, from their events: :meth:`compress` undone.

        Args:
            events: as :meth:`compress` gave them, of all of its streams: what is computed together rounds together.
            lengths: of the streams.

        Returns:
            The streams.

        Raises:
            ArgumentError: other numbers of events and lengths, or an event past the end of its stream.

        >>> level = Level("ab", 3)
        >>> streams = ["abba", "b"]
        >>> ["".join(s) for s in level.replay(level.compress(streams), [4, 1])]
        ['abba', 'b']
        """
        if len(events) != len(lengths):
            raise ArgumentError(f"replay(): {len(events)} lists of events, {len(lengths)} lengths")
        surprises: list[dict[int, Hashable]] = []
        for listed, length in zip(events, lengths, strict=True):
            gaps = [gap for _, gap in listed]
            times = np.cumsum(gaps) - 1
            if gaps and (min(gaps) < 1 or times[-1] >= length):
                raise ArgumentError(f"replay(): gaps {gaps} do not fit into a stream of {length} items")
            surprises.append({int(t): item for t, (item, _) in zip(times, listed, strict=True)})
        found: list[list[Hashable]] = [[] for _ in lengths]

        def known(t: int, predicted: Array) -> Array:
            codes = np.full(len(lengths), -1)
            for n, length in enumerate(lengths):
                if t < length:
                    item = surprises[n][t] if t in surprises[n] else self.alphabet[predicted[n]]
                    found[n].append(item)
                    codes[n] = self.index.get(item, -1)
            return codes

        self._stepped(lengths, known)
        return found


@dataclass(frozen=True)
class Compressed:
    """Streams, as the topmost level leaves them.

    Attributes:
        events: of each stream, what no level predicted; an item of level n+1 is an event of level n.
        lengths: of each level from the bottom up, the lengths of its streams.
    """

    events: list[list[Event]]
    lengths: list[list[int]]

    @property
    def sizes(self) -> list[int]:
        """Items in all streams together: what level 1 read, what went up to level 2, ..., what the topmost missed."""
        return [*[sum(lengths) for lengths in self.lengths], sum(map(len, self.events))]


class HistoryCompressor(tg.nn.Module):
    """Levels above each other, trained one by one from the bottom up, without a teacher.

    Args:
        hidden_sizes: units of each level, 1 or more levels.
        cell: class of the recurrent layers; None: ``nn.RNN``.
        options: for the class.

    Raises:
        ArgumentError: no levels.

    Source: Schmidhuber (1992), section 3.

    >>> _ = tg.manual_seed(0)
    >>> stack = HistoryCompressor([8, 8])
    >>> streams = ["abcabcabcxabcabc", "abcabcxabcabcabc"]
    >>> _ = stack.fit(streams, updates=60, lr=0.02)
    >>> compressed = stack.compress(streams)
    >>> compressed.sizes[0], compressed.sizes[1] < 8
    (32, True)
    >>> ["".join(s) for s in stack.replay(compressed)] == streams
    True
    """

    def __init__(self, hidden_sizes: Sequence[int], cell: Any = None, **options: Any) -> None:
        super().__init__()
        if not hidden_sizes:
            raise ArgumentError("HistoryCompressor(): needs the size of a level")
        self.hidden_sizes, self.cell, self.options = tuple(hidden_sizes), cell, options
        self.levels = tg.nn.ModuleList([])

    def fit(
        self, streams: Sequence[Stream], updates: int, *, lr: float = 0.01, max_norm: float = 1.0
    ) -> list[list[float]]:
        """Make and train the levels: each on the misses of the one below, which is then left as it is.

        The alphabet of a level is what occurs in its streams.  Levels above one that missed nothing are not made.

        Args:
            streams: sequences of any lengths, all in each update.
            updates: of each level, by Adam.
            lr: the learning rate.
            max_norm: gradients are clipped to.

        Returns:
            The loss before each update, by level.

        Raises:
            ArgumentError: no streams, or empty ones.
        """
        self.levels, losses = tg.nn.ModuleList([]), []
        for hidden_size in self.hidden_sizes:
            if self.levels and not any(streams):
                break
            level = Level([item for stream in streams for item in stream], hidden_size, self.cell, **self.options)
            losses.append(trained(level, streams, updates, lr=lr, max_norm=max_norm))
            self.levels.append(level)
            streams = level.compress(streams)
        return losses

    def compress(self, streams: Sequence[Stream]) -> Compressed:
        """Leave out what the levels predict.

        Args:
            streams: sequences of any lengths.

        Returns:
            :class:`Compressed`.

        Raises:
            ArgumentError: no streams, or levels that were not made yet.
        """
        if not self.levels:
            raise ArgumentError("HistoryCompressor: fit() makes the levels")
        lengths = []
        for level in self.levels:
            lengths.append([len(stream) for stream in streams])
            streams = level.compress(streams)
        return Compressed([list(stream) for stream in streams], lengths)  # type: ignore[arg-type]

    def replay(self, compressed: Compressed) -> list[list[Hashable]]:
        """The streams again, from the topmost level down.

        Args:
            compressed: what :meth:`compress` gave.

        Returns:
            The streams, without loss.

        Raises:
            ArgumentError: it does not fit to the levels.
        """
        if len(compressed.lengths) != len(self.levels):
            raise ArgumentError(f"replay(): of {len(compressed.lengths)} levels, but there are {len(self.levels)}")
        events: Any = compressed.events
        for level, lengths in zip(reversed(list(self.levels)), reversed(compressed.lengths), strict=True):
            events = level.replay(events, lengths)
        found: list[list[Hashable]] = events
        return found


def trained(level: Level, streams: Sequence[Stream], updates: int, *, lr: float, max_norm: float) -> list[float]:
    """Train a level to predict its streams, by Adam on all of them at once; the losses before each update."""
    optimizer, losses, codes = tg.optim.Adam(level.parameters(), lr=lr), [], level.codes(streams)
    for _ in range(updates):
        optimizer.zero_grad()
        loss = level._loss(codes)
        loss.backward()
        tg.nn.utils.clip_grad_norm_(level.parameters(), max_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses
