r"""An RNN that predicts the next element can also write text and forecast a series: it feeds on its own predictions.

The lecture notes (S1) link three tasks: text generation, forecasting of time series, and RNNs on FPGAs. The first two
are the same program. A model of $p(x_{t+1} \mid x_1 \dots x_t)$ is trained; then an element is drawn from its
prediction and given to it as the next input, and so on. The third is a matter of hardware, and out of this package's
scope.

Two things are easily got wrong. A sampler that draws from the stream of random numbers of the training changes the
training by being looked at, and gives another text at each call: it needs a stream of its own, and then the same seed
gives the same text. And a forecast must be compared with *persistence*, "tomorrow is as today", which is hard to beat
if steps are small; a net whose target is today's value, a slip of one index, is exactly as good as that, and its loss
is excellent.

The left picture is the forecast of a noisy sine over many steps, of which only the dots were given. The right one tells
errors: one step ahead, of persistence, of the net, and of the net whose target is not shifted. The text is below the
numbers.

## Mathematics
$$x_{t+1} \sim \operatorname{softmax}(W h_t + b), \quad h_{t+1} = \operatorname{GRU}(h_t, x_{t+1}); \qquad
\hat x_{t+1} = w \cdot h_t, \quad h_{t+1} = \operatorname{GRU}(h_t, \hat x_{t+1}) .$$
A sine of period $P$ sampled at whole steps moves by $2 \sin(\pi / P)$ times a cosine, so persistence has the mean
squared error $2 \sin^2(\pi / P)$; noise of variance $\sigma^2$ adds $\sigma^2$ to any forecast, and $2 \sigma^2$ to
this one.

## Try it
>>> import numpy as np
>>> t = np.arange(2000)
>>> sine = np.sin(2 * np.pi * t / 20)
>>> round(float(np.mean(np.diff(sine) ** 2)), 4), round(2 * float(np.sin(np.pi / 20)) ** 2, 4)
(0.0489, 0.0489)

## It would be false if
two samples with one seed differed, or if a net that was trained to forecast were no better than persistence.

## Exercise
Generate with temperature 0, the likeliest letter each time. Why does the text repeat itself after a while, whatever the
model?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment
from ..fitting import fit
from ..tasks.language import AGREEMENT_WORDS, agreement, sentence

PERIOD, NOISE, STEPS = 20, 0.05, 40
LETTERS = " " + "".join(sorted({letter for word in AGREEMENT_WORDS for letter in word}))


class Predictor:
    """A GRU and a linear output: of letters logits, of a series the next number."""

    def __init__(self, features: int, hidden: int) -> None:
        self.rnn, self.output = tg.nn.GRU(features, hidden), tg.nn.Linear(hidden, features)

    def __call__(self, x: tg.Tensor, state: Any = None) -> tuple[tg.Tensor, Any]:
        h, state = self.rnn(x, state)
        return self.output(h), state


# lab: begin
def written(model: Predictor, length: int, draws: np.random.Generator) -> str:
    """A text: draw a letter of the prediction, feed it back, repeat."""
    text, state = " ", None
    with tg.no_grad():
        for _ in range(length):
            x = np.eye(len(LETTERS))[LETTERS.index(text[-1])]
            logits, state = model(tg.tensor(x.reshape(1, 1, -1)), state)
            p = tg.softmax(logits[0, 0], -1).numpy()
            text += LETTERS[draws.choice(len(LETTERS), p=p / p.sum())]
    return text[1:]


# lab: end


def series(rng: np.random.Generator, count: int) -> Any:
    """Noisy sines from a random place on (T + 1, N, 1)."""
    t = np.arange(STEPS + 1)[:, None, None] + rng.uniform(0, PERIOD, (count, 1))
    return np.sin(2 * np.pi * t / PERIOD) + NOISE * rng.standard_normal(t.shape)


def forecaster(seed: int, updates: int, shift: int) -> tuple[float, float, dict[str, Any]]:
    """The squared errors of a trained net and of persistence, one step ahead, and a forecast of many steps."""
    rng, model = np.random.default_rng(seed), Predictor(1, 12)

    def loss() -> Any:
        x = series(rng, 16)
        predicted, _ = model(tg.tensor(x[:-1]))
        return ((predicted - tg.tensor(x[shift : STEPS + shift])) ** 2).mean()

    fit([model.rnn, model.output], loss, updates, lr=2e-2)
    x = series(rng, 200)
    with tg.no_grad():
        predicted = model(tg.tensor(x[:-1]))[0].numpy()
        ahead, state = model(tg.tensor(x[: STEPS // 2, :1]))
        found = [ahead[-1:]]
        while len(found) < STEPS // 2 + 1:
            one, state = model(found[-1], state)
            found.append(one)
    given = slice(10, None)  # after it has seen half a period
    errors = [float(np.mean((y - x[1:])[given] ** 2)) for y in (predicted, x[:-1])]
    return errors[0], errors[1], {"series": x[:, 0, 0], "forecast": tg.cat(found).numpy()[:, 0, 0]}


def writer(seed: int, updates: int) -> Predictor:
    """A model of the letters of sentences."""
    rng, model = np.random.default_rng(seed), Predictor(len(LETTERS), 32)

    def loss() -> Any:
        words = agreement(rng, 16, 4).words
        text = [(" " + sentence(w, AGREEMENT_WORDS))[:30].ljust(30) for w in words.T]
        z = np.array([[LETTERS.index(letter) for letter in line] for line in text]).T
        logits, _ = model(tg.tensor(np.eye(len(LETTERS))[z[:-1]]))
        return tg.nn.functional.cross_entropy(logits.reshape(-1, len(LETTERS)), tg.tensor(z[1:].reshape(-1)))

    fit([model.rnn, model.output], loss, updates, lr=2e-2)
    return model


def measured(size: Size, seed: int, own_stream: bool = True, shift: int = 1) -> Result:
    """A sampler, and a forecaster beside persistence."""
    updates = 100 if size == "quick" else 800
    model = writer(seed, updates)
    stream = np.random.default_rng(seed)
    texts = [written(model, 60, np.random.default_rng(seed + 1) if own_stream else stream) for _ in range(2)]
    other = written(model, 60, np.random.default_rng(seed + 2))
    words = [word for word in written(model, 200, np.random.default_rng(seed)).split(" ")[:-1] if word]
    known = float(np.mean([word in AGREEMENT_WORDS for word in words]))
    net, persistence, arrays = forecaster(seed, 2 * updates, shift)
    not_shifted, _, _ = forecaster(seed, 2 * updates, 0)
    arrays["errors"] = np.array([persistence, not_shifted, net])
    checks = [
        Check("same seed, same text", texts[0] == texts[1], "==", True, "the sampler has a stream of its own"),
        Check("another seed, another text", texts[0] == other, "==", False, "60 letters drawn anew"),
        Check("words that there are", known, ">", 0.6, "the least of 20 seeds 0.86"),
        Check("forecast against persistence", net / persistence, "<", 0.3, "the largest of 20 seeds 0.11"),
        Check("forecast against the noise", net / NOISE**2, ">", 0.9, "no forecast beats the noise"),
    ]
    numbers = {
        "squared error of persistence": persistence,
        "in theory": 2 * np.sin(np.pi / PERIOD) ** 2 + 2 * NOISE**2,
        "squared error of the net": net,
        "of the net whose target is not shifted": not_shifted,
        "a text": texts[0],
    }
    because = f"one seed gives one text, and the net's forecast has {net / persistence:.0%} of the error of persistence"
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """A forecast that feeds on itself, and errors one step ahead."""
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    half, x = STEPS // 2, arrays["series"]
    left.plot(x, "--", color=GREY, linewidth=1, label="what came")
    left.plot(
        np.arange(half), x[:half], linestyle="none", color=COLOURS[0], marker=MARKERS[0], markersize=4, label="given"
    )
    places = np.arange(half, half + len(arrays["forecast"]))
    left.plot(places, arrays["forecast"], color=COLOURS[3], marker=MARKERS[1], markersize=3, label="forecast")
    left.set_xlabel("step")
    left.set_ylabel("value")
    left.set_ylim(-1.4, 1.8)
    left.legend(fontsize=8, loc="upper center", ncols=3, columnspacing=1)
    names = ("persis-\ntence", "target not\nshifted", "net")
    right.bar(names, arrays["errors"], color=[COLOURS[k] for k in (6, 1, 2)], hatch=["", "//", ".."])
    right.axhline(NOISE**2, color=GREY, linestyle=":", label="noise: the least possible")
    right.set_yscale("log")
    right.set_ylim(1e-3, 0.3)
    right.set_ylabel("squared error, one step ahead")
    right.legend(fontsize=8)
    right.tick_params(axis="x", labelsize=8)


@experiment(32, "Linked tasks", source="CS224N 2019, lecture notes 7 (S1), links", seconds=0.7, full_seconds=6)
def run(size: Size, seed: int) -> Result:
    """A text written by a model of letters, and a forecast of a noisy sine."""
    return measured(size, seed)


@run.broken("the sampler shares a stream of random numbers", fails="same seed, same text")
def shared_stream(size: Size, seed: int) -> Result:
    """Both samples draw from one stream, so the second text depends on the first."""
    return measured(size, seed, own_stream=False)


@run.broken("the target is today's value", fails="forecast against persistence")
def not_shifted(size: Size, seed: int) -> Result:
    """The net is trained to give back its input, which is persistence."""
    return measured(size, seed, shift=0)


@run.smallest
def smallest() -> tg.Tape:
    """A forecast of three steps that feeds on itself, compared with the last of them."""
    w, v = tg.tensor(0.9, requires_grad=True), tg.tensor(1.2, requires_grad=True)
    with tg.Tape() as tape:
        x, h = tg.tensor(0.5), tg.tensor(0.0)
        for t in range(3):
            with tape.at(t=t):
                h = tg.tanh(w * h + x)
                x = v * h
        ((x - 1.0) ** 2).backward()
    return tape
