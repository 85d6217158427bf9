"""History compressors lose nothing, and shorten what can be predicted."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.lab.compressor import Compressed, HistoryCompressor, Level


def random_streams(rng: random.Random, alphabet: str, count: int) -> list[str]:
    return ["".join(rng.choices(alphabet, k=rng.randrange(0, 30))) for _ in range(count)]


@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_whatever_a_level_predicts(cell: Any, seed: int) -> None:
    """Untrained levels predict at random; streams have symbols that they do not know, and lengths of 0."""
    tg.manual_seed(seed)
    rng = random.Random(seed)
    level = Level("abc", 5, cell)
    streams = [*random_streams(rng, "abcx", 6), ""]
    events = level.compress(streams)
    assert ["".join(map(str, s)) for s in level.replay(events, list(map(len, streams)))] == streams
    assert 0 < sum(map(len, events)) < sum(map(len, streams))
    for stream, listed in zip(streams, events, strict=True):
        times = np.cumsum([gap for _, gap in listed]) - 1
        assert [stream[t] for t in times] == [item for item, _ in listed]
        assert {t for t, item in enumerate(stream) if item == "x"} <= set(times.tolist())


def test_events_are_what_a_literal_loop_finds() -> None:
    tg.manual_seed(0)
    level, stream = Level("abc", 4), "abcabbca"
    expected, last, h = [], -1, tg.zeros(1, 4)
    cell, before = level.recurrent, tg.zeros(3)
    for t, item in enumerate(stream):
        h = tg.tanh(before @ cell.weight_ih_l0.T + cell.bias_ih_l0 + h @ cell.weight_hh_l0.T + cell.bias_hh_l0)
        if "abc"[int(level.readout(h).argmax())] != item:
            expected.append((item, t - last))
            last = t
        before = tg.tensor([float(c == item) for c in "abc"])
    assert level.compress([stream]) == [expected] and 0 < len(expected) < 8


def test_the_loss_is_that_of_items_given_those_before() -> None:
    tg.manual_seed(0)
    level, streams = Level("ab", 4), ["abb", "b", "xa"]
    terms = []
    for stream in streams:
        state = None
        before = np.array([[-1]])
        for item in stream:
            logits, state = level(before, state)
            if item in "ab":
                terms.append(-tg.log_softmax(logits[0, 0], -1)["ab".index(item)].item())
            before = np.array([[level.index.get(item, -1)]])
    assert level.loss(streams).item() == pytest.approx(np.mean(terms), rel=1e-6) and len(terms) == 5


def test_hierarchies_shorten_what_can_be_predicted_and_lose_nothing() -> None:
    """Blocks of 12 with one surprise each: what goes up is the surprise."""
    tg.manual_seed(0)
    rng = random.Random(0)
    streams = ["".join(rng.choice("xy") + "abcdefghijk" for _ in range(6)) for _ in range(8)]
    stack = HistoryCompressor([16, 8])
    losses = stack.fit(streams, 150, lr=0.02)
    compressed = stack.compress(streams)
    total, up, top = compressed.sizes
    assert total == 8 * 72 and 0 < up <= 8 * 6 and top <= up  # at most one of twelve
    assert len(losses) == 2 and all(one[-1] < one[0] for one in losses)
    assert ["".join(map(str, s)) for s in stack.replay(compressed)] == streams
    other = ["".join(rng.choice("xyz") + "abcdefghijk" for _ in range(4)) for _ in range(3)]  # z was never seen
    assert ["".join(map(str, s)) for s in stack.replay(stack.compress(other))] == other
    assert all(item != "z" for level in stack.levels for item in level.alphabet)


def test_noise_is_not_shortened() -> None:
    tg.manual_seed(0)
    rng = random.Random(1)
    streams = ["".join(rng.choices("abcd", k=60)) for _ in range(10)]
    stack = HistoryCompressor([4])
    stack.fit(streams, 50)
    assert stack.compress(streams).sizes[1] > 0.6 * 600  # chance: 3 of 4 are missed


def test_levels_above_one_that_misses_nothing_are_not_made() -> None:
    tg.manual_seed(0)
    stack = HistoryCompressor([6, 6])
    losses = stack.fit(["aaaaaa", "aaa"], 5)
    assert len(stack.levels) == len(losses) == 1 and stack.compress(["aaaa"]).sizes == [4, 0]
    assert stack.replay(stack.compress(["aaaa"])) == [list("aaaa")]


def test_upper_levels_leave_the_lower_ones_as_they_are() -> None:
    def weights(sizes: list[int]) -> list[bytes]:
        tg.manual_seed(3)
        stack = HistoryCompressor(sizes)
        stack.fit(["abcabxab", "babxabca"], 10)
        return [p.detach().numpy().tobytes() for p in stack.levels[0].parameters()]

    assert weights([4]) == weights([4, 5])


def test_wrong_arguments() -> None:
    level = Level("ab", 2)
    with pytest.raises(ArgumentError, match="the alphabet is empty"):
        Level("", 2)
    with pytest.raises(ArgumentError, match="no streams"):
        level.compress([])
    with pytest.raises(ArgumentError, match="1 lists of events, 2 lengths"):
        level.replay([[]], [1, 2])
    for gaps in ([5], [0], [3, -1], [2, 3]):
        with pytest.raises(ArgumentError, match="do not fit into a stream of 4 items"):
            level.replay([[("a", gap) for gap in gaps]], [4])
    with pytest.raises(ArgumentError, match="needs the size of a level"):
        HistoryCompressor([])
    stack = HistoryCompressor([2])
    with pytest.raises(ArgumentError, match=r"fit\(\) makes the levels"):
        stack.compress(["a"])
    stack.fit(["ab"], 1)
    with pytest.raises(ArgumentError, match="of 2 levels, but there are 1"):
        stack.replay(Compressed([[]], [[1], [1]]))
