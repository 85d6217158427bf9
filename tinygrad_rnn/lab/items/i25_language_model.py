r"""A bidirectional RNN is no language model: it has read the word that it is asked for, and its loss does not tell.

CS224N (2019), lecture 7: bidirectional RNNs "are only applicable if you have access to the entire input sequence. They
are not applicable to language modeling, because in LM you only have left context." Nothing stops one from training such
a model, though, and its loss is excellent. The same happens when the target is not shifted by one step, a mistake that
is made more often.

Here the text is letters drawn at random, so nobody can predict the next one: no honest model has a loss below $\ln V$
(dotted line). Two of the three models fall far below it. What gives them away is not the loss but the derivatives of
their predictions: `diagnostics.causality(...).check()` raises when a prediction depends on the letter it is compared
with, or on a later one.

## Mathematics
With $z_0 \dots z_T$ the text as one-hot vectors, $p_t$ the prediction and $y_t$ its target, a language model has
$$y_t = z_{t+1} \qquad \text{and} \qquad \frac{\partial p_t}{\partial z_s} = 0 \text{ exactly, for all } s \ge t + 1 .$$
Bidirectional: $\partial p_t / \partial z_s \ne 0$ for all $s$. Not shifted: $y_t = z_t$, and
$\partial p_t / \partial z_t \ne 0$. A derivative that is not 0 shows a way from the answer to the prediction.

## Try it
>>> import tinygrad_rnn as tg
>>> _ = tg.manual_seed(0)
>>> lm = tg.nn.GRU(4, 8)
>>> text = tg.nn.functional.one_hot(tg.tensor([[0], [2], [1], [3], [2]]), 4).to(tg.float32)
>>> tg.diagnostics.causality(lambda z: (lm(z[:-1])[0], z[1:]), text).check().leaks
[]
>>> tg.diagnostics.causality(lambda z: (lm(z)[0], z), text).leaks
[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]

## It would be false if
a bidirectional model of random letters stayed at $\ln V$, or if its predictions did not depend on later letters.

## Exercise
Layer normalisation over the time axis, `y - y.mean(0)`, also leaks. How many of the $T^2$ derivatives does it make
nonzero? Which normalisations are safe?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS
from tinygrad_rnn.errors import LeakError

from ..experiment import Check, Result, Size, experiment
from ..fitting import fit

V, H = 4, 12
HONEST, BOTH, UNSHIFTED = "language model", "bidirectional", "target not shifted"


class Model:
    """A GRU that predicts letters, and what it is compared with."""

    def __init__(self, kind: str) -> None:
        self.rnn = tg.nn.GRU(V, H, bidirectional=kind == BOTH)
        self.output = tg.nn.Linear(2 * H if kind == BOTH else H, V)
        self.shift = 0 if kind == UNSHIFTED else 1

    # lab: begin
    def __call__(self, text: tg.Tensor) -> tuple[Any, Any]:
        """Predictions and targets, both computed from a text of one-hot vectors (T + 1, N, V)."""
        inputs, targets = text[:-1], text[self.shift : len(text) - 1 + self.shift]
        states, _ = self.rnn(inputs)
        return self.output(states), targets

    # lab: end

    def caught(self, text: tg.Tensor) -> tuple[bool, Any]:
        """Whether the check raises, and the map of derivatives."""
        found = diagnostics.causality(self, text)
        try:
            found.check()
        except LeakError:
            return True, found
        return False, found

    def trained(self, seed: int, updates: int) -> Any:
        """Its losses while it is trained on random letters."""
        rng = np.random.default_rng(seed)

        def loss() -> Any:
            predictions, targets = self(letters(rng, 32))
            return -(tg.log_softmax(predictions, -1) * targets).sum(-1).mean()

        return fit([self.rnn, self.output], loss, updates, lr=2e-2)


def letters(rng: np.random.Generator, count: int, length: int = 13) -> Any:
    """Random texts as one-hot vectors (T + 1, N, V)."""
    return tg.tensor(np.eye(V)[rng.integers(0, V, (length, count))])


def measured(size: Size, seed: int, honest: str = HONEST) -> Result:
    """Three models of random letters: which is caught, and what its loss looks like."""
    text = letters(np.random.default_rng(seed), 2)
    updates = 120 if size == "quick" else 1500
    models = {name: Model(kind) for name, kind in ((HONEST, honest), (BOTH, BOTH), (UNSHIFTED, UNSHIFTED))}
    caught, losses, maps = {}, {}, {}
    for name, model in models.items():
        caught[name], maps[name] = model.caught(text)
        losses[name] = model.trained(seed, updates)
    last = {name: values[-20:].mean() for name, values in losses.items()}
    checks = [
        Check(
            "the language model passes", caught[HONEST], "==", False, "it reads letters up to t, its target is t + 1"
        ),
        Check("the bidirectional one is caught", caught[BOTH], "==", True, "it reads all letters"),
        Check("a target that is not shifted is caught", caught[UNSHIFTED], "==", True, "it is the input"),
        Check("gradients that leak, bidirectional", len(maps[BOTH].leaks), "==", 66, "12 * 11 / 2 pairs s > t"),
        Check(
            "nobody predicts random letters",
            last[HONEST] / np.log(V),
            ">",
            0.97,
            "1 in theory; the least of 20 seeds 1.000",
        ),
        Check("the bidirectional one seems to", last[BOTH] / np.log(V), "<", 0.5, "the largest of 20 seeds 0.09"),
    ]
    numbers = {f"loss / ln {V}, {name}": value / np.log(V) for name, value in last.items()}
    because = (
        f"of random letters the bidirectional model has {last[BOTH] / np.log(V):.0%} of the least possible loss, "
        f"since {len(maps[BOTH].leaks)} of its gradients leak"
    )
    arrays = {**losses, "map of the language model": maps[HONEST].log_norm, "map of both ways": maps[BOTH].log_norm}
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """The maps of derivatives of two models, and the losses of all three."""
    first, second, third = figure.subplots(1, 3, width_ratios=[1, 1, 1.5])
    for ax, name, title in (
        (first, "map of the language model", HONEST),
        (second, "map of both ways", BOTH),
    ):
        logs = arrays[name]
        image = ax.imshow(np.ma.masked_invalid(logs), cmap="cividis", origin="lower", vmin=-8, vmax=0, aspect="auto")
        answer = np.arange(1, len(logs) + 1)
        ax.step(np.append(answer, answer[-1] + 1) - 0.5, np.arange(len(logs) + 1) - 0.5, color=COLOURS[3], linewidth=2)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("letter s")
        ax.set_ylabel("prediction t")
    label = "log |∂p_t / ∂z_s|; empty: exactly 0\nright of the line: the answer"
    bar = figure.colorbar(image, ax=[first, second], location="bottom", label=label)
    bar.ax.tick_params(colors=GREY)
    for k, name in enumerate((HONEST, BOTH, UNSHIFTED)):
        losses = arrays[name]
        every = max(1, len(losses) // 8)
        style = ("-", "--", "-.")[k]
        third.plot(losses, style, color=COLOURS[k], marker=MARKERS[k], markevery=every, markersize=5, label=name)
    third.axhline(np.log(V), color=GREY, linestyle=":", linewidth=1.5, label="ln 4, the least possible")
    third.set_xlabel("update")
    third.set_ylabel("loss (nats)")
    third.set_ylim(0, 1.7)
    third.legend(fontsize=8, loc="center right")


@experiment(
    25,
    "No language model reads both ways",
    source="CS224N 2019, lecture 7",
    seconds=0.5,
    full_seconds=6,
)
def run(size: Size, seed: int) -> Result:
    """Whether a prediction has seen its answer, told by its derivatives."""
    return measured(size, seed)


@run.broken("target not shifted", fails="the language model passes")
def target_not_shifted(size: Size, seed: int) -> Result:
    """Prediction t is compared with letter t, which is its input."""
    return measured(size, seed, honest=UNSHIFTED)


@run.broken('"reading both ways makes a better language model"', fails="nobody predicts random letters")
def both_ways(size: Size, seed: int) -> Result:
    """The language model is bidirectional."""
    return measured(size, seed, honest=BOTH)


@run.smallest
def smallest() -> tg.Tape:
    """Prediction 1 of a net that reads both ways, and the way from letter 2 into it."""
    z = tg.tensor([0.5, -1.0, 2.0], requires_grad=True)
    w_f, w_b = tg.tensor(0.8, requires_grad=True), tg.tensor(-0.6, requires_grad=True)
    with tg.Tape() as tape:
        forward = tg.tanh(w_f * tg.tanh(z[0]) + z[1])
        backward = tg.tanh(w_b * tg.tanh(z[2]) + z[1])
        (forward + backward).backward()
    return tape
