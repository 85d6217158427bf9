r"""A hierarchy of predictors passes up surprises alone, and so turns a long time lag into a short one.

The encyclopaedia (S3) begins its list of cures for vanishing gradients with Schmidhuber's (1992) hierarchy of recurrent
networks, trained level by level without a teacher: level 1 learns to predict the next symbol, and only what it did not
predict goes up to level 2. The sequence on top is short, and a gradient has a short way.

It holds, if two things are so. The sequence must be predictable: of random symbols nearly everything goes up. And with
each surprise its *time* must go up. Here an event happens early or late in a stretch of thirty predictable steps, and
at the end the question is which. Level 2 reads one event instead of thirty symbols. With its time the answer is at
hand, and the whole sequence can be replayed without loss; without it nothing is left to tell the two apart, and what is
replayed is another sequence. (In the picture, events without a cross are some that level 1 had learned to expect: where
none came before, it must come now.)

A single network reads all thirty symbols, and the gradient that comes back from the answer to the event has shrunk to
what the table shows before anything is learned; at level 2 the event is the last input. That a small gradient cannot
be followed does not follow: with Adam and as many updates the single network often learns these thirty steps, too (left
bar), and at longer lags less and less. Schmidhuber's table is from plain gradient descent, one sequence at a time.

## Mathematics
Level $n$ predicts $\hat{x}_t = \arg\max p(x_t \mid x_{<t})$. Its misses are at the times $t_1 < t_2 < \dots$, and level
$n + 1$ reads
$$(x_{t_1}, t_1 - t_0), \; (x_{t_2}, t_2 - t_1), \; \dots \qquad t_0 = -1 .$$
From these, from the length and from the weights of level $n$, all $x_t$ follow by induction: $x_t$ is the item of the
event at $t$ if there is one, else $\hat{x}_t$, which depends on earlier symbols alone.

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn.lab.compressor import HistoryCompressor
>>> _ = tg.manual_seed(0)
>>> stack = HistoryCompressor([12])
>>> streams = ["abcdefgh" * 3 + "xabcdefg", "abcdxefg" + "habcdefg" * 3]
>>> _ = stack.fit(streams, updates=80, lr=0.03)
>>> compressed = stack.compress(streams)
>>> compressed.sizes[1] < 0.3 * compressed.sizes[0], ["".join(s) for s in stack.replay(compressed)] == streams
(True, True)

## It would be false if
replay lost a symbol, if level 2 solved the task without times, or if random symbols were shortened as much.

## Exercise
Let the answer depend on the order of two different events as well. How many events does level 2 have to remember, and
does a third level help?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics
from tinygrad_rnn.diagnostics.result import COLOURS, GREY

from ..compressor import HistoryCompressor, Level
from ..experiment import Check, Result, Size, experiment

T = 30
ALPHABET = [f"b{k}" for k in range(T)] + ["x"]


def episodes(rng: np.random.Generator, count: int) -> tuple[list[list[str]], Any]:
    """Symbols b0 to b29, one of which is replaced by x: early, at 1 to 5, or late, at 9 to 18; and which it is."""
    late = rng.integers(0, 2, count)
    found = []
    for place in np.where(late == 1, rng.integers(9, 19, count), rng.integers(1, 6, count)):
        found.append([*ALPHABET[:place], "x", *ALPHABET[place + 1 : T]])
    return found, late.astype(float)


def accuracy(read: Any, seed: int, hidden: int, updates: int) -> float:
    """Train a recurrent network to say early or late after its last input; its accuracy on 200 fresh episodes."""
    rng = np.random.default_rng(seed)
    (some, late), (others, answers) = episodes(rng, 64), episodes(rng, 200)
    x, wanted, fresh = read(some), tg.tensor(late), read(others)
    net, readout = tg.nn.RNN(x.shape[2], hidden), tg.nn.Linear(hidden, 1)
    optimizer = tg.optim.Adam([*net.parameters(), *readout.parameters()], lr=0.01)
    for _ in range(updates):
        optimizer.zero_grad()
        logits = readout(net(x)[0][-1]).squeeze(-1)
        tg.nn.functional.binary_cross_entropy_with_logits(logits, wanted).backward()
        tg.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    with tg.no_grad():
        said = readout(net(fresh)[0][-1]).squeeze(-1).numpy() > 0
    return float((said == (answers > 0.5)).mean())


# lab: begin
def as_level_2_reads(level_1: Level, streams: Any, timed: bool = True) -> tg.Tensor:
    """Events: one of the items, and the time since the last event as a share of T; the last events stand at the end."""
    events = level_1.compress(streams)
    x = np.zeros((max(map(len, events)), len(events), len(ALPHABET) + 1))
    for n, listed in enumerate(events):
        for k, (item, gap) in enumerate(listed, len(x) - len(listed)):
            x[k, n, ALPHABET.index(str(item))] = 1
            x[k, n, -1] = gap / T if timed else 0
    found: tg.Tensor = tg.tensor(x)
    return found
    # lab: end


def measured(size: Size, seed: int, timed: bool = True) -> Result:
    """What goes up, whether it can be replayed, and who can tell early from late."""
    hidden, updates = (16, 150) if size == "quick" else (32, 1500)
    rng = np.random.default_rng(seed)
    streams, _ = episodes(rng, 32)
    stack = HistoryCompressor([hidden])
    stack.fit(streams, updates, lr=0.02)
    level = stack.levels[0]
    fresh, _ = episodes(rng, 100)
    events = level.compress(fresh)
    given = events if timed else [[(item, 1) for item, _ in listed] for listed in events]
    replayed = level.replay(given, [T] * len(fresh))
    lost = int(sum(a != b for one, other in zip(fresh, replayed, strict=True) for a, b in zip(one, other, strict=True)))
    share = sum(map(len, events)) / (T * len(fresh))
    noise = [[ALPHABET[k] for k in rng.integers(len(ALPHABET), size=T)] for _ in range(20)]
    noisy = HistoryCompressor([hidden])
    noisy.fit(noise[:10], 20, lr=0.02)
    noise_share = noisy.compress(noise[10:]).sizes[1] / (10 * T)
    alone = accuracy(lambda some: level.read(level.codes(some)), seed, hidden, updates)
    flow = diagnostics.flow(tg.nn.RNN(len(ALPHABET), hidden), level.read(level.codes(fresh[:1])))
    shrunk = float(flow.log_norm[19] - flow.log_norm[-1]) / np.log(10)  # from the end to step 18, the latest event
    above = accuracy(lambda some: as_level_2_reads(level, some, timed), seed, hidden, updates)
    untimed = accuracy(lambda some: as_level_2_reads(level, some, False), seed, hidden, updates)
    checks = [
        Check("replay loses nothing", lost, "==", 0, "the same predictions, in the same order"),
        Check("level 2 reads less than 7 %", share, "<", 0.07, "one event of 30 is 3.3 %; of 20 seeds 5.5 % at most"),
        Check("level 2 tells early from late", above, ">", 0.95, "of 20 seeds all are 1"),
        Check("without times it cannot", untimed, "<", 0.85, "chance is 0.5; of 20 seeds 0.76 at most"),
        Check(
            "one network: the gradient to the event shrinks",
            shrunk,
            "<",
            -1,
            "log10, 11 steps; of 20 seeds -2.2 at most",
        ),
        Check("noise is not shortened", noise_share, ">", 0.8, "of 20 seeds 0.94 at least"),
    ]
    numbers = {
        "share of symbols that go up": share,
        "the same for random symbols": noise_share,
        "symbols lost in replay": lost,
        "log10 of the gradient's norm, one network, from the end to the event": shrunk,
        "accuracy: level 2": above,
        "accuracy: level 2 without times": untimed,
        "accuracy: one network on all symbols": alone,
    }
    because = (
        f"the sequence is predictable and times go up: {100 * share:.1f} % of its symbols do (of noise "
        f"{100 * noise_share:.0f} %), replayed without loss; level 2 is right in {100 * above:.0f} "
        f"% of the cases, without times in {100 * untimed:.0f} %"
    )
    times = [(n, t) for n, one in enumerate(events[:12]) for t in np.cumsum([gap for _, gap in one]) - 1]
    arrays = {
        "symbols": np.array([[ALPHABET.index(item) for item in stream] for stream in fresh[:12]], float),
        "events": np.array(times),
        "accuracy": np.array([alone, untimed, above]),
    }
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """What level 1 reads, with what goes up, to the left; accuracies to the right."""
    left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
    symbols = np.ma.masked_equal(arrays["symbols"], len(ALPHABET) - 1)
    left.imshow(symbols, cmap="cividis", aspect="auto", interpolation="nearest")
    rows, steps = arrays["events"].T
    left.plot(steps, rows, "x", color=COLOURS[3], markersize=8, markeredgewidth=2, label="goes up to level 2")
    left.set_xlabel("step (colour: the symbol)")
    left.set_ylabel("sequence")
    left.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    names = ("one network,\nall symbols", "level 2,\nno times", "level 2,\nwith times")
    for k, (height, hatch) in enumerate(zip(arrays["accuracy"], ("", "//", ".."), strict=True)):
        right.bar(k, height, 0.6, color=COLOURS[k], hatch=hatch, edgecolor=GREY)
    right.axhline(0.5, linestyle="--", color=GREY, linewidth=1)
    right.set_xticks(range(3), names, fontsize=8)
    right.set_xlabel("who answers (dashed: chance)")
    right.set_ylabel("share right of 200 fresh sequences")
    right.set_ylim(0, 1.05)


@experiment(
    40, "History compressor", source="encyclopaedia S3; Schmidhuber 1992, sections 2 and 3", seconds=2, full_seconds=30
)
def run(size: Size, seed: int) -> Result:
    """What a hierarchy of predictors passes up, and what can be done with it."""
    return measured(size, seed)


@run.broken("times do not go up", fails="level 2 tells early from late")
def without_times(size: Size, seed: int) -> Result:
    """An event is passed up as an item alone."""
    return measured(size, seed, timed=False)


@run.broken("events are replayed without their times", fails="replay loses nothing")
def replayed_without_times(size: Size, seed: int) -> Result:
    """Events follow each other at once in replay, since nothing says when they were."""
    return measured(size, seed, timed=False)
