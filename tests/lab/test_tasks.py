"""The generators of lab.tasks against slow literal ones, a sequence at a time, written from the papers' words.

Each literal generator says one sequence and its answer.  Three things are compared: the answer that the definition
gives for every sequence that the fast generator draws, exactly; the distribution of what can be counted in a sequence,
by a two-sample chi-square; the baseline, with the loss of the answer that it is the loss of.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np
import pytest

from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.lab import tasks
from tinygrad_rnn.lab.tasks import Batch, Task
from tinygrad_rnn.lab.tasks.grammars import SYMBOLS
from tinygrad_rnn.lab.tasks.marked import ADDING

Rng = np.random.Generator
MANY = 2500


class Literal(NamedTuple):
    """A task, a literal generator of (sequence, answer), the answer by definition, and what is counted."""

    task: Task
    draw: Callable[[Rng], tuple[list[Any], Any]]
    answer: Callable[[list[Any]], Any]
    count: Callable[[list[Any], Any], dict[str, Hashable]]


def between(rng: Rng, first: int, last: int) -> int:
    """A whole number from first to last, both included."""
    return first + int(rng.random() * (last - first + 1))


def bucket(value: float) -> int:
    return math.floor(8 * value)


# ---- marked numbers


def adding_1997(length: int, product: bool) -> Callable[[Rng], tuple[list[Any], Any]]:
    def draw(rng: Rng) -> tuple[list[Any], Any]:
        steps = between(rng, length, length + length // 10)
        low = 0.0 if product else -1.0
        pairs = [[low + (1 - low) * rng.random(), 0.0] for _ in range(steps)]
        first = between(rng, 0, 9)
        pairs[first][1] = 1.0
        unmarked = [t for t in range(steps) if pairs[t][1] == 0.0][: length // 2 - 1]
        second = unmarked[between(rng, 0, len(unmarked) - 1)]
        pairs[second][1] = 1.0
        neutral = 1.0 if product else 0.0
        x = [neutral if t == 0 else pairs[t][0] for t in (first, second)]
        pairs[0][1] = pairs[-1][1] = -1.0
        return pairs, x[0] * x[1] if product else 0.5 + (x[0] + x[1]) / 4

    return draw


def halves(rng: Rng) -> tuple[list[Any], Any]:
    pairs = [[rng.random(), 0.0] for _ in range(30)]
    places = between(rng, 0, 14), between(rng, 15, 29)
    for t in places:
        pairs[t][1] = 1.0
    return pairs, sum(pairs[t][0] for t in places)


def anywhere(rng: Rng) -> tuple[list[Any], Any]:
    pairs = [[rng.random(), 0.0] for _ in range(30)]
    while sum(marker for _, marker in pairs) < 2:
        pairs[between(rng, 0, 29)][1] = 1.0
    return pairs, sum(x for x, marker in pairs if marker)


def pascanu(product: bool) -> Callable[[Rng], tuple[list[Any], Any]]:
    def draw(rng: Rng) -> tuple[list[Any], Any]:
        steps = 40 + between(rng, 0, 3)
        pairs = [[rng.random(), 0.0] for _ in range(steps)]
        places = between(rng, 0, steps // 10 - 1), steps // 10 + between(rng, 0, 4 * steps // 10 - 1)
        x = [pairs[t][0] for t in places]
        for t in places:
            pairs[t][1] = 1.0
        return pairs, x[0] * x[1] if product else (x[0] + x[1]) / 2

    return draw


def marked(low: float, combine: Callable[[list[float]], float], alone: bool = False) -> Callable[[list[Any]], float]:
    """The answer from the pairs: alone says that a marked first pair (its marker is -1) leaves one number."""

    def answer(pairs: list[Any]) -> float:
        assert all(low <= x <= 1 for x, _ in pairs)
        chosen = [x for x, marker in pairs if marker == 1.0]
        assert len(chosen) == 2 or (alone and len(chosen) == 1)
        return combine(chosen)

    return answer


def of_pairs(pairs: list[Any], answer: Any) -> dict[str, Hashable]:
    places = [t for t, (_, marker) in enumerate(pairs) if marker == 1.0]
    return {
        "length": len(pairs),
        "first": places[0],
        "last": places[-1],
        "marks": len(places),
        "ends": (pairs[0][1] == -1, pairs[-1][1] == -1),
        "number": bucket(pairs[7][0]),
        "answer": bucket(answer),
    }


def total(x: list[float]) -> float:
    return sum(x)


# ---- order


def order_1997(symbols: int) -> Callable[[Rng], tuple[list[Any], Any]]:
    def draw(rng: Rng) -> tuple[list[Any], Any]:
        steps = between(rng, 100, 110)
        said = ["E", *["abcd"[between(rng, 0, 3)] for _ in range(steps - 2)], "B"]
        places = ((10, 20), (50, 60)) if symbols == 2 else ((10, 20), (33, 43), (66, 76))
        for first, last in places:
            said[between(rng, first, last) - 1] = "XY"[between(rng, 0, 1)]
        return said, in_order(said)

    return draw


def in_order(said: list[Any]) -> int:
    """Q, R, S, U, or Q ... C, by the rules of section 5.6, as their place in its list."""
    rules = {2: "XX XY YX YY", 3: "XXX XXY XYX XYY YXX YXY YYX YYY"}
    kept = "".join(s for s in said if s in "XY")
    return rules[len(kept)].split().index(kept)


def order_2013(symbols: int) -> Callable[[Rng], tuple[list[Any], Any]]:
    def draw(rng: Rng) -> tuple[list[Any], Any]:
        said = ["cdef"[between(rng, 0, 3)] for _ in range(40)]
        for first in ((4, 20), (4, 12, 24))[symbols - 2]:
            said[first + between(rng, 0, 3)] = "AB"[between(rng, 0, 1)]
        return said, by_bits(said)

    return draw


def by_bits(said: list[Any]) -> int:
    kept = [s for s in said if s in "AB"]
    return sum(2**k for k, s in enumerate(kept) if s == "B")


def of_symbols(said: list[Any], answer: Any) -> dict[str, Hashable]:
    places = [t for t, s in enumerate(said) if s in "XYAB" and 0 < t < len(said) - 1]
    found: dict[str, Hashable] = {f"place {k}": t for k, t in enumerate(places)}
    return {**found, "length": len(said), "ends": (said[0], said[-1]), "fifth": said[4], "answer": answer}


# ---- memory, lags, blocks: sequences of numbers of symbols; the answer is a tuple


def copy(rng: Rng) -> tuple[list[Any], Any]:
    ten = [between(rng, 1, 8) for _ in range(10)]
    said = ten + [0] * 6 + [9] + [0] * 10
    return said, repeated(said)


def repeated(said: list[Any]) -> tuple[int, ...]:
    assert said[10:] == [0] * 6 + [9] + [0] * 10
    return (0,) * 17 + tuple(said[:10])


def remembered(rng: Rng) -> tuple[list[Any], Any]:
    said = [between(rng, 0, 1) for _ in range(3)] + [2] * 5 + [3] + [2] * 2
    return said, bits_again(said)


def bits_again(said: list[Any]) -> tuple[int, ...]:
    assert said[3:] == [2] * 5 + [3] + [2] * 2
    return (2,) * 8 + tuple(said[:3])


def lag(random: bool) -> Callable[[Rng], tuple[list[Any], Any]]:
    def draw(rng: Rng) -> tuple[list[Any], Any]:
        ends = between(rng, 5, 6)  # p = 6: a1 ... a5 are 0 ... 4, x is 5, y is 6
        middle = [between(rng, 0, 4) for _ in range(5)] if random else [0, 1, 2, 3, 4]
        return [ends, *middle], (*middle, ends)

    return draw


def first_again(said: list[Any]) -> tuple[int, ...]:
    return (*said[1:], said[0])


def distracted(rng: Rng) -> tuple[list[Any], Any]:
    which = between(rng, 0, 1)
    said = [5, 6 + which, *[between(rng, 0, 3) for _ in range(3)]]  # p = 4, q = 3: e is 4, b is 5, x is 6, y is 7
    while rng.random() < 0.9:
        said.append(between(rng, 0, 3))
    return [*said, 4], which


def second(said: list[Any]) -> int:
    assert said[0] == 5 and said[-1] == 4 and max(said[2:-1]) < 4
    return said[1] - 6


def block_stream(rng: Rng) -> tuple[list[Any], Any]:
    said: list[int] = []
    for _ in range(3):
        said += [between(rng, 0, 1), 2, 3, 4, 5]
    return said, labels(said)


def labels(said: list[Any]) -> tuple[float, ...]:
    assert [s for t, s in enumerate(said) if t % 5] == [2, 3, 4, 5] * 3
    return tuple([1.0 if said[t] == 0 else 0.0 for t in (0, 5, 10)])


def block_stream_next(rng: Rng) -> tuple[list[Any], Any]:
    said, _ = block_stream(rng)
    return said, following(said)


def following(said: list[Any]) -> tuple[int, ...]:
    return tuple(said[1:])


def of_numbers(said: list[Any], answer: Any) -> dict[str, Hashable]:
    last = answer[-1] if isinstance(answer, tuple) else answer
    return {"first": (said[0], said[1]), "third": said[2], "length": min(len(said), 30), "answer": last}


# ---- noise


def noisy(variant: str) -> Callable[[Rng], tuple[list[Any], Any]]:
    def draw(rng: Rng) -> tuple[list[Any], Any]:
        steps, one = between(rng, 40, 44), between(rng, 0, 1)
        x = [math.sqrt(0.2) * rng.standard_normal() for _ in range(steps)]
        for t in range(3):
            x[t] = (1.0 if one else -1.0) + (x[t] if variant == "b" else 0.0)
        if variant == "c":
            return x, (0.2 if one else 0.8) + math.sqrt(0.1) * rng.standard_normal()
        return x, float(one)

    return draw


def class_of(x: list[Any]) -> float:
    return float(x[0] > 0)


def held(variant: str) -> Callable[[Rng], tuple[list[Any], Any]]:
    def draw(rng: Rng) -> tuple[list[Any], Any]:
        steps, one = between(rng, 20, 24), between(rng, 0, 1)
        noise = [math.sqrt(0.2) * rng.standard_normal() for _ in range(steps - 1)]
        if variant == "II":
            return [1.0 if one else -1.0, *noise], 1.0 if one else -1.0
        first = [1.0, 0.0, 0.0] if one else [0.0, 1.0, 0.0]
        return [first, *[[0.0, 0.0, x] for x in noise]], 0.8 if one else -0.8

    return draw


def odd(noise: float) -> Callable[[Rng], tuple[list[Any], Any]]:
    def draw(rng: Rng) -> tuple[list[Any], Any]:
        x = [1.0 if between(rng, 0, 1) else -1.0 for _ in range(between(rng, 20, 24))]
        answer = float(x.count(1.0) % 2)
        return [v + noise * (2 * rng.random() - 1) for v in x], answer

    return draw


def parity_of(x: list[Any]) -> float:
    found = 0.0
    for value in x:
        assert 0.8 <= abs(value) <= 1.2
        found = 1 - found if value > 0 else found
    return found


def of_noise(x: list[Any], answer: Any) -> dict[str, Hashable]:
    flat = [v[2] if isinstance(v, list) else v for v in x]
    numbers = {"second": round(2 * flat[1]), "tenth": round(4 * flat[9]), "last": round(4 * flat[-1])}
    first = x[0][0] if isinstance(x[0], list) else x[0]
    both = (round(2 * first), answer > 0.5)
    return {**numbers, "length": len(x), "first and answer": both, "answer": round(4 * answer)}


# ---- grammars

REBER = {
    "start": {"B": "1"},
    "1": {"T": "2", "P": "3"},
    "2": {"S": "2", "X": "4"},
    "3": {"T": "3", "V": "5"},
    "4": {"X": "3", "S": "6"},
    "5": {"P": "4", "V": "6"},
    "6": {"E": "end"},
}
"""Figure 3 of the paper of 1997."""


def string(rng: Rng) -> str:
    node, said = "start", ""
    while node != "end":
        edges = sorted(REBER[node])
        symbol = edges[between(rng, 0, len(edges) - 1)]
        said, node = said + symbol, REBER[node][symbol]
    return said


def embedded(rng: Rng) -> str:
    same = "TP"[between(rng, 0, 1)]
    return f"B{same}{string(rng)}{same}E"


def stream(rng: Rng) -> str:
    said = ""
    while len(said) < 41:
        said += embedded(rng)
    return said[:41]


def possible(said: str) -> str:
    """The symbols that may follow the beginning of a Reber string."""
    node = "start"
    for symbol in said:
        node = REBER[node][symbol]
    return "".join(REBER[node]) if node != "end" else ""


def possible_embedded(said: str) -> str:
    if len(said) < 2:
        return ("B", "TP")[len(said)]
    inner = said[2:]
    if "E" not in inner:
        return possible(inner)
    return (said[1], "E", "B")[len(inner) - inner.index("E") - 1]


def as_literal(said: str) -> tuple[list[Any], Any]:
    return list(said[:-1]), tuple(said[1:])


def of_strings(said: list[Any], answer: Any) -> dict[str, Hashable]:
    word = "".join(said)
    return {"length": min(len(word), 30), "first": word[:5], "later": word[6:9], "end": (word[-3:], answer[-1])}


GRAMMARS = {
    "reber": (tasks.reber(), string, possible),
    "embedded reber": (tasks.embedded_reber(), embedded, possible_embedded),
    "continual reber": (tasks.continual_reber(40), stream, possible_embedded),
}

CASES = {
    "adding 1997": Literal(
        tasks.adding(40),
        adding_1997(40, False),
        marked(-1, lambda x: 0.5 + sum(x) / 4, alone=True),
        of_pairs,
    ),
    "adding 2013": Literal(tasks.adding(40, "pascanu2013"), pascanu(False), marked(0, lambda x: sum(x) / 2), of_pairs),
    "adding 2015": Literal(tasks.adding(30, "le2015"), halves, marked(0, total), of_pairs),
    "adding 2018": Literal(tasks.adding(30, "bai2018"), anywhere, marked(0, total), of_pairs),
    "multiplication 1997": Literal(
        tasks.multiplication(40), adding_1997(40, True), marked(0, math.prod, alone=True), of_pairs
    ),
    "multiplication 2013": Literal(
        tasks.multiplication(40, "pascanu2013"), pascanu(True), marked(0, math.prod), of_pairs
    ),
    "order 6a": Literal(tasks.temporal_order(), order_1997(2), in_order, of_symbols),
    "order 6b": Literal(tasks.temporal_order(symbols=3), order_1997(3), in_order, of_symbols),
    "order 2013": Literal(tasks.temporal_order(40, 2, "pascanu2013"), order_2013(2), by_bits, of_symbols),
    "order 2013, 3": Literal(tasks.temporal_order(40, 3, "pascanu2013"), order_2013(3), by_bits, of_symbols),
    "copy": Literal(tasks.copying(7), copy, repeated, of_numbers),
    "3-bit memory": Literal(tasks.memorisation(5), remembered, bits_again, of_numbers),
    "lag 2a": Literal(tasks.noise_free_lag(6), lag(False), first_again, of_numbers),
    "lag 2b": Literal(tasks.noise_free_lag(6, "b"), lag(True), first_again, of_numbers),
    "lag 2c": Literal(tasks.noise_free_lag(4, "c", q=3), distracted, second, of_numbers),
    "blocks": Literal(tasks.blocks(4, count=3), block_stream, labels, of_numbers),
    "blocks, next": Literal(tasks.blocks(4, count=3, goal="next"), block_stream_next, following, of_numbers),
    "2-sequence 3a": Literal(tasks.two_sequence(40), noisy("a"), class_of, of_noise),
    "2-sequence 3b": Literal(tasks.two_sequence(40, variant="b"), noisy("b"), class_of, of_noise),
    "2-sequence 3c": Literal(tasks.two_sequence(40, variant="c"), noisy("c"), class_of, of_noise),
    "latch I": Literal(tasks.latch(20, "I"), held("I"), lambda x: 0.8 * (x[0][0] - x[0][1]), of_noise),
    "latch II": Literal(tasks.latch(20), held("II"), lambda x: x[0], of_noise),
    "parity": Literal(tasks.parity(20), odd(0.0), parity_of, of_noise),
    "noisy parity": Literal(tasks.parity(20, noise=0.2), odd(0.2), parity_of, of_noise),
}
ALPHABETS = {"order 6": "EBabcdXY", "order 2": "ABcdef"}
each_case = pytest.mark.parametrize("name", CASES)
each_task = pytest.mark.parametrize("task", [*[c.task for c in CASES.values()], *[g[0] for g in GRAMMARS.values()]])


def drawn(name: str, task: Task, sequences: int, seed: int, batches: int = 20) -> list[tuple[list[Any], Any]]:
    """Sequences and answers of the fast generator in the form of the literal one; several draws, as lengths vary."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(batches):
        found += in_words(name, task, task.batch(rng, sequences // batches, np.float64))
    return found


def of_each(batch: Batch) -> list[np.ndarray]:
    """The judged places of each sequence, by step."""
    order = np.lexsort((batch.steps, batch.rows))
    return np.split(order, np.cumsum(np.bincount(batch.rows, minlength=len(batch.lengths)))[:-1])


def in_words(name: str, task: Task, batch: Batch) -> list[tuple[list[Any], Any]]:
    found = []
    symbols = name.split()[0].rstrip(",") in ("order", "copy", "3-bit", "lag", "blocks")
    numbers = batch.inputs.argmax(2)
    for n, (length, mine) in enumerate(zip(batch.lengths, of_each(batch), strict=True)):
        steps = batch.inputs[:length, n]
        assert not batch.inputs[length:, n].any(), "after its end a sequence is zeros"
        if symbols:
            assert (steps.sum(1) == 1).all() and ((steps == 0) | (steps == 1)).all()
            said: list[Any] = numbers[:length, n].tolist()
            said = [ALPHABETS[name[:7]][s] for s in said] if name[:7] in ALPHABETS else said
        else:
            said = steps[:, 0].tolist() if task.inputs == 1 else steps.tolist()
        values = batch.targets[mine].reshape(-1).tolist()
        asked = batch.steps[mine].tolist()
        if len(values) == 1:
            assert asked == [length - 1]
        elif name == "blocks":
            assert asked == [4, 9, 14]
        else:
            assert asked == list(range(len(said) - (name == "blocks, next")))
        found.append((said, values[0] if len(values) == 1 else tuple(values)))
    return found


def homogeneous(ours: Counter[Hashable], theirs: Counter[Hashable]) -> float:
    """Two-sample chi-square by its degrees of freedom, in standard deviations above its mean; rare cells as one."""
    keys = set(ours) | set(theirs)
    rare = {k for k in keys if ours[k] + theirs[k] < 20}
    cells = [(ours[k], theirs[k]) for k in keys - rare]
    cells += [(sum(ours[k] for k in rare), sum(theirs[k] for k in rare))] if rare else []
    free = len(cells) - 1
    if free == 0:
        return 0.0
    chi = sum((a - b) ** 2 / (a + b) for a, b in cells if a + b)
    return (chi - free) / math.sqrt(2 * free)


def compared(ours: list[dict[str, Hashable]], theirs: list[dict[str, Hashable]]) -> dict[str, float]:
    assert len(ours) == len(theirs)
    names = sorted(set().union(*ours, *theirs))
    return {n: homogeneous(Counter(c.get(n) for c in ours), Counter(c.get(n) for c in theirs)) for n in names}


HIDDEN = ("2-sequence 3b", "2-sequence 3c")
"""Noise hides the answer: of these the distribution alone is compared."""


@pytest.mark.parametrize("name", [n for n in CASES if n not in HIDDEN])
def test_answers_are_those_of_the_definition(name: str) -> None:
    case = CASES[name]
    for said, answer in drawn(name, case.task, 400, 1):
        assert case.answer(said) == pytest.approx(answer, abs=1e-12)


@each_case
def test_sequences_are_distributed_as_literal_ones(name: str) -> None:
    case, rng = CASES[name], np.random.default_rng(2)
    one_length = "2013" in name and "order" not in name  # for all sequences of a batch
    ours = [case.count(*pair) for pair in drawn(name, case.task, MANY, 3, MANY if one_length else 20)]
    theirs = [case.count(*case.draw(rng)) for _ in range(MANY)]
    # A chi-square of many degrees of freedom is within 5 standard deviations of its mean but once in a million; the
    # smallest mistake of the generators, a range that is one shorter, or a coin of 0.57, is 10 or more: see below.
    assert max(compared(ours, theirs).values()) < 5


@pytest.mark.parametrize("name", GRAMMARS)
def test_strings_are_the_grammars(name: str) -> None:
    task, draw, follows = GRAMMARS[name]
    rng, batch = np.random.default_rng(4), task.batch(np.random.default_rng(5), MANY)
    assert batch.truth is not None
    ours = []
    for n, mine in enumerate(of_each(batch)):
        word = [SYMBOLS[s] for s in batch.inputs[: batch.lengths[n], n].argmax(1)]
        after = batch.targets[mine]
        ours.append(of_strings(word, tuple([SYMBOLS[s] for s in after])))
        assert len(after) == batch.lengths[n] and word[1:] == [SYMBOLS[s] for s in after[:-1]]
        for t, k in enumerate(mine if n < 200 else []):
            said = "".join(word[: t + 1])
            if name == "continual reber":
                said = last_string(said)
            assert {SYMBOLS[s] for s in np.nonzero(batch.truth[k])[0]} == set(follows(said))
            assert batch.truth[k, batch.targets[k]]
    theirs = [of_strings(*as_literal(draw(rng))) for _ in range(MANY)]
    assert max(compared(ours, theirs).values()) < 5


def last_string(said: str) -> str:
    """The string of a stream that is not yet complete: of each, the second E ends it."""
    while said.count("E") >= 2:
        said = said[said.index("E", said.index("E") + 1) + 1 :]
    return said or ""


def test_distributions_that_differ_are_told_apart() -> None:
    """The comparison can fail: a range one shorter, another probability, a class that says the opposite."""
    rng = np.random.default_rng(6)
    base = Counter(rng.integers(0, 11, MANY).tolist())
    assert homogeneous(base, Counter(rng.integers(0, 11, MANY).tolist())) < 5
    assert homogeneous(base, Counter(rng.integers(0, 10, MANY).tolist())) > 20
    assert homogeneous(base, Counter(rng.integers(1, 12, MANY).tolist())) > 20
    coin = Counter((rng.random(MANY) < 0.5).tolist())
    assert homogeneous(coin, Counter((rng.random(MANY) < 0.57).tolist())) > 10


# ---- baselines


def mean_loss(task: Task, answers: np.ndarray, batch: Batch) -> float:
    """Of answers that are numbers, probabilities of classes, or of 1."""
    if task.loss == "squared error":
        return float(((answers - batch.targets) ** 2).mean())
    if task.loss == "cross entropy":
        return float(-np.log(answers[np.arange(len(answers)), batch.targets]).mean())
    return float(-np.log(np.where(batch.targets == 1, answers, 1 - answers)).mean())


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("latch I", "latch II")])
def test_the_baseline_is_the_loss_of_the_best_answer_without_memory(name: str) -> None:
    """Best without memory: by step the mean of the targets, which a large batch tells."""
    task = CASES[name].task
    batch = task.batch(np.random.default_rng(7), 20_000, np.float64)
    answers = np.empty((len(batch.targets), task.outputs))
    at_the_end = len(set(batch.rows.tolist())) == len(batch.rows)
    for step in [None] if at_the_end else sorted(set(batch.steps.tolist())):
        here = slice(None) if step is None else batch.steps == step
        wanted = batch.targets[here]
        classes = task.loss == "cross entropy"
        share = np.bincount(wanted, minlength=task.outputs) / len(wanted) if classes else wanted.mean(0)
        answers[here] = share
    # 20,000 sequences: a mean of squares is known to 2 %, an entropy much better
    assert mean_loss(task, answers, batch) == pytest.approx(task.baseline, rel=0.03)


@pytest.mark.parametrize("name", GRAMMARS)
def test_the_losses_of_grammars_are_those_of_long_samples(name: str) -> None:
    task, _, _ = GRAMMARS[name]
    task = tasks.continual_reber(400) if name == "continual reber" else task
    batch = task.batch(np.random.default_rng(8), 300 if name == "continual reber" else 5_000)
    assert batch.truth is not None
    knowing = batch.truth / batch.truth.sum(1, keepdims=True)
    assert mean_loss(task, knowing, batch) == pytest.approx(task.best, rel=0.02)
    if name == "reber":  # the best prediction from the last symbol alone
        last = batch.answers(batch.inputs).argmax(1)
        table = np.zeros((7, 7))
        np.add.at(table, (last, batch.targets), 1)
        blind = (table / np.maximum(table.sum(1, keepdims=True), 1))[last]
    else:  # the grammar is known, the second symbol forgotten: T or P where it comes again
        before_the_end = np.zeros(len(batch.targets), bool)
        numbers = batch.inputs.argmax(2)
        for n, mine in enumerate(of_each(batch)):
            ends = 0  # of the inner string, and of the outer
            for k in mine:
                end = SYMBOLS[numbers[batch.steps[k], n]] == "E"
                ends = (ends + end) % 2
                before_the_end[k] = end and ends == 1
        blind = np.where(before_the_end[:, None], np.array([0, 0.5, 0.5, 0, 0, 0, 0]), knowing)
    assert mean_loss(task, blind, batch) == pytest.approx(task.baseline, rel=0.03)


# ---- criteria


@each_task
def test_the_right_answer_is_right_and_others_are_wrong(task: Task) -> None:
    batch = task.batch(np.random.default_rng(9), 50)
    if batch.truth is not None:
        right = batch.truth.astype(np.float64)
    elif task.loss == "cross entropy":
        right = np.eye(task.outputs)[batch.targets]
    else:
        right = batch.targets.astype(np.float64)
    assert not task.wrong(right, batch).any()
    wrong = right.copy()
    last = np.nonzero(batch.rows == 7)[0][-1]
    opposite = task.loss == "binary cross entropy" or batch.truth is not None
    wrong[last] = 1 - right[last] if opposite else right[last] - 2 * np.sign(right[last] - 0.25)
    assert np.nonzero(task.wrong(wrong, batch))[0].tolist() == [7]
    assert task.wrong(np.full_like(right, np.nan), batch).all(), "what is not a number is wrong"


@pytest.mark.parametrize(
    ("task", "off", "wrong"),
    [
        (tasks.adding(100), 0.039, False),
        (tasks.adding(100), 0.041, True),
        (tasks.adding(100, "pascanu2013"), 0.19, False),
        (tasks.adding(100, "pascanu2013"), 0.21, True),
        (tasks.multiplication(100), 0.041, True),
        (tasks.temporal_order(), 0.29, False),
        (tasks.temporal_order(), 0.31, True),
        (tasks.noise_free_lag(10), 0.24, False),
        (tasks.noise_free_lag(10), 0.26, True),
        (tasks.noise_free_lag(10, "c"), 0.19, False),
        (tasks.noise_free_lag(10, "c"), 0.21, True),
        (tasks.two_sequence(100), 0.19, False),
        (tasks.two_sequence(100), 0.21, True),
        (tasks.two_sequence(100, variant="c"), 0.09, False),
        (tasks.two_sequence(100, variant="c"), 0.11, True),
        (tasks.latch(50), 0.09, False),
        (tasks.latch(50), 0.11, True),
        (tasks.parity(50), 0.09, False),
        (tasks.parity(50), 0.11, True),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_criteria_are_the_papers(task: Task, off: float, wrong: bool) -> None:
    batch = task.batch(np.random.default_rng(10), 5)
    if batch.truth is not None:
        right = batch.truth.astype(np.float64)
    else:
        right = np.eye(task.outputs)[batch.targets] if task.loss == "cross entropy" else batch.targets
    assert task.wrong(right + off, batch).all() == wrong == task.wrong(right - off, batch).any()


def test_logits_become_answers() -> None:
    three = np.array([[0.0, np.log(3.0)]])
    assert np.allclose(tasks.temporal_order().linked(three), [[0.25, 0.75]])
    assert np.allclose(tasks.parity(50).linked(three), [[0.5, 0.75]])
    assert np.allclose(tasks.adding(50).linked(three), three)
    assert np.isfinite(tasks.parity(50).linked(np.array([[-1e9, 1e9]]))).all()


# ---- all


@each_task
def test_the_same_seed_draws_the_same_and_another_does_not(task: Task) -> None:
    one, same, other = [task.batch(np.random.default_rng(seed), 40) for seed in (1, 1, 2)]
    assert np.array_equal(one.inputs, same.inputs) and np.array_equal(one.targets, same.targets)
    assert one.targets.shape != other.targets.shape or not np.array_equal(one.targets, other.targets)


@each_task
def test_shapes_and_kinds_are_what_is_said(task: Task) -> None:
    batch = task.batch(np.random.default_rng(3), 6)
    steps, sequences, features = batch.inputs.shape
    assert (sequences, features) == (6, task.inputs) and steps == batch.lengths.max()
    assert batch.inputs.dtype == np.float32 and batch.lengths.shape == (6,)
    classes = task.loss == "cross entropy"
    assert batch.targets.dtype == (np.int64 if classes else np.float32)
    assert batch.targets.shape == (len(batch.steps),) + (() if classes else (task.outputs,))
    assert (batch.steps < batch.lengths[batch.rows]).all() and set(batch.rows.tolist()) == set(range(6))
    assert task.best <= task.baseline and task.criterion and task.source
    assert (task.best == task.baseline) == ("next" in task.name), "no symbol of a stream of blocks needs memory"
    assert task.batch(np.random.default_rng(3), 1, np.float64).inputs.dtype == np.float64
    outputs = np.zeros((steps, 6, task.outputs))
    assert batch.answers(outputs).shape == (len(batch.steps), task.outputs)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tasks.adding(19),
        lambda: tasks.adding(100, "adding"),
        lambda: tasks.multiplication(100, "le2015"),
        lambda: tasks.temporal_order(100, 4),
        lambda: tasks.temporal_order(9, 2, "pascanu2013"),
        lambda: tasks.copying(0),
        lambda: tasks.memorisation(3, values=1),
        lambda: tasks.noise_free_lag(1),
        lambda: tasks.noise_free_lag(3, "d"),
        lambda: tasks.noise_free_lag(3, "c", q=0),
        lambda: tasks.blocks(0),
        lambda: tasks.blocks(3, goal="both"),
        lambda: tasks.two_sequence(3),
        lambda: tasks.two_sequence(variant="d"),
        lambda: tasks.latch(50, "III"),
        lambda: tasks.latch(50, longest=49),
        lambda: tasks.parity(50, noise=-1.0),
        lambda: tasks.continual_reber(1),
        lambda: tasks.reber().batch(np.random.default_rng(0), 0),
        lambda: tasks.reber().batch(np.random.default_rng(0), 2.5),  # type: ignore[arg-type]
    ],
)
def test_impossible_sizes_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ArgumentError):
        make()


def test_all_variants_of_adding_are_there() -> None:
    assert len({tasks.adding(40, variant).source for variant in ADDING}) == len(ADDING) == 4
