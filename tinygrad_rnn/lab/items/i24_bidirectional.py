r"""A bidirectional RNN is two RNNs side by side: one knows what is left of a word, the other what is right of it.

CS224N (2019), lecture 7, takes the word *terribly*: in "the movie was terribly exciting!" it is praise, but what comes
before it does not tell. A second RNN reads the sentence from the end, with weights of its own, and at each word the
states of both are concatenated.

The two maps show which words an output depends on, by the norms of its derivatives; where they are empty, the
derivative is exactly 0. The curve at the right shows what that is good for: sentences are made in which the sentiment
of a word such as *terribly* is that of the adjective after it. Of the two nets that are trained on them, the one that
reads forwards alone must guess at these words, and is right in half of the cases.

## Mathematics
$$\overrightarrow{h}_t = \operatorname{RNN}_F(\overrightarrow{h}_{t-1}, x_t), \qquad
\overleftarrow{h}_t = \operatorname{RNN}_B(\overleftarrow{h}_{t+1}, x_t), \qquad
y_t = [\overrightarrow{h}_t; \overleftarrow{h}_t]$$
so $\partial \overrightarrow{h}_t / \partial x_s = 0$ for $s > t$, and $\partial \overleftarrow{h}_t / \partial x_s = 0$
for $s < t$. The layout is fixed: of the $2H$ numbers of $y_t$ the first $H$ are the forward state. The final state of
the backward net is at $t = 0$, not at the end.

## Try it
>>> import tinygrad_rnn as tg
>>> _ = tg.manual_seed(0)
>>> x = tg.randn(3, 1, 2, requires_grad=True)
>>> output, _ = tg.nn.GRU(2, 4, bidirectional=True)(x)
>>> forward, backward = (tg.autograd.grad(half.sum(), x, retain_graph=True)[0] for half in output[1].split(4, -1))
>>> (forward.abs().sum((1, 2)) > 0).tolist(), (backward.abs().sum((1, 2)) > 0).tolist()
([True, True, False], [False, True, True])

## It would be false if
a derivative of the forward half by a later word were not 0, or if the forward net were right about *terribly* in more
than half of the cases.

## Exercise
A sentence is classified by the last row of the output, `output[-1]`. Which words does the backward half of that row
know? Where is the state that has read them all?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment
from ..fitting import fit
from ..tasks.language import SENTIMENT_WORDS, sentiment

H = 8


def side_by_side(both: tg.nn.GRU, x: tg.Tensor, swapped: bool, turned: bool) -> Any:
    """What a bidirectional layer is, put together of two that read one way."""
    # lab: begin
    forward, backward = tg.nn.GRU(both.input_size, H), tg.nn.GRU(both.input_size, H)
    weights = both.state_dict()
    forward.load_state_dict({k: v for k, v in weights.items() if not k.endswith("_reverse")})
    backward.load_state_dict({k[: -len("_reverse")]: v for k, v in weights.items() if k.endswith("_reverse")})
    left_to_right, _ = forward(x)
    right_to_left, _ = backward(x.flip(0))  # it reads from the end,
    if turned:
        right_to_left = right_to_left.flip(0)  # and its states are put back to their words
    halves = (right_to_left, left_to_right) if swapped else (left_to_right, right_to_left)
    return tg.cat(halves, -1)
    # lab: end


def read(bidirectional: bool, seed: int, updates: int) -> tuple[float, Any]:
    """The share of modifiers whose sentiment a trained net tells, and how positive it finds each word of a sentence."""
    tg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    embedding = tg.nn.Embedding(len(SENTIMENT_WORDS), 8)
    rnn = tg.nn.GRU(8, H, bidirectional=bidirectional)
    output = tg.nn.Linear(2 * H if bidirectional else H, 3)

    def logits(words: Any) -> Any:
        return output(rnn(embedding(tg.tensor(words)))[0])

    def loss() -> Any:
        batch = sentiment(rng, 32, 9)
        return tg.nn.functional.cross_entropy(logits(batch.words).reshape(-1, 3), tg.tensor(batch.labels.reshape(-1)))

    fit([embedding, rnn, output], loss, updates, lr=2e-2)
    fresh = sentiment(rng, 1000, 9)
    with tg.no_grad():
        said = logits(fresh.words).numpy().argmax(-1)
        text = np.array([SENTIMENT_WORDS.index(word) for word in SENTENCE.split()])[:, None]
        positive = tg.softmax(logits(text), -1).numpy()[:, 0, 2]
    return float(np.mean((said == fresh.labels)[fresh.modifiers])), positive


SENTENCE = "the terribly exciting plot is awfully insanely boring"


def measured(size: Size, seed: int, swapped: bool = False, turned: bool = True) -> Result:
    """Which words each half of the output reads; what a net is worth that reads one way or both."""
    both = tg.nn.GRU(3, H, bidirectional=True)
    x = tg.randn(12, 2, 3)
    away = (side_by_side(both, x, swapped, turned) - both(x)[0]).abs().max().item()
    maps = [
        diagnostics.causality(lambda s: both(s)[0][..., :H], x).log_norm,
        diagnostics.causality(lambda s: both(s)[0][..., H:], x).log_norm,
    ]
    later = np.triu(np.ones((12, 12), bool), 1)
    updates = 150 if size == "quick" else 1000
    one_way, one = read(False, seed, updates)
    two_ways, two = read(True, seed, updates)
    checks = [
        Check("two layers side by side", away, "<", 1e-12, "the same sums in the same order, up to rounding"),
        Check(
            "largest d forward_t / d x_s, s > t",
            np.exp(maps[0][later]).max(),
            "==",
            0.0,
            "nothing was computed from it",
        ),
        Check("largest d backward_t / d x_s, s < t", np.exp(maps[1][later.T]).max(), "==", 0.0, "the same"),
        Check(
            "all words are read by one of the two", np.maximum(*maps).min(), ">", -30.0, "log; the least of 20 seeds -8"
        ),
        Check("both ways tell terribly", two_ways, ">", 0.9, "the least of 20 seeds 1"),
        Check("forwards alone guesses", one_way, "<", 0.6, "1/2 in theory; the largest of 20 seeds 0.52"),
    ]
    numbers = {"right about modifiers, forwards alone": one_way, "right about modifiers, both ways": two_ways}
    because = (
        f"the sentiment of terribly is told in {two_ways:.0%} of the cases, "
        f"and in {one_way:.0%} by reading forwards alone"
    )
    arrays = {"forward": maps[0], "backward": maps[1], "one way": one, "both ways": two}
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """Which words each half reads, and a sentence as both nets understand it."""
    first, second, third = figure.subplots(1, 3, width_ratios=[1, 1, 1.5])
    for ax, name in ((first, "forward"), (second, "backward")):
        image = ax.imshow(
            np.ma.masked_invalid(arrays[name]), cmap="cividis", origin="lower", vmin=-8, vmax=0, aspect="auto"
        )
        ax.set_title(f"{name} half", fontsize=10)
        ax.set_xlabel("word s")
        ax.set_ylabel("output t")
    bar = figure.colorbar(image, ax=[first, second], location="bottom", label="log |∂y_t / ∂x_s|; empty: exactly 0")
    bar.ax.tick_params(colors=GREY)
    for k, name in enumerate(("one way", "both ways")):
        places = np.arange(len(arrays[name]))
        third.plot(arrays[name], places, "-" if k else "--", color=COLOURS[k], marker=MARKERS[k], label=name)
    third.axvline(0.5, color=GREY, linestyle=":", linewidth=1)
    third.set_yticks(range(len(SENTENCE.split())), SENTENCE.split())
    third.invert_yaxis()
    third.set_xlabel("probability of: positive")
    third.legend(fontsize=8)


@experiment(
    24,
    "Bidirectional RNNs",
    source="CS224N 2019, lecture 7; Schuster and Paliwal 1997",
    seconds=0.5,
    full_seconds=4,
)
def run(size: Size, seed: int) -> Result:
    """Which words the halves of the output depend on, and what a word needs to its right."""
    return measured(size, seed)


@run.broken("directions swapped", fails="two layers side by side")
def directions_swapped(size: Size, seed: int) -> Result:
    """The backward half is put first."""
    return measured(size, seed, swapped=True)


@run.broken("the backward states are not turned round", fails="two layers side by side")
def not_turned(size: Size, seed: int) -> Result:
    """Each word gets the backward state of the word opposite."""
    return measured(size, seed, turned=False)


@run.smallest
def smallest() -> tg.Tape:
    """Three words, one unit each way."""
    x = tg.tensor([0.5, -1.0, 2.0], requires_grad=True)
    w_f, w_b = tg.tensor(0.8, requires_grad=True), tg.tensor(-0.6, requires_grad=True)
    with tg.Tape() as tape:
        forward = backward = tg.tensor(0.0)
        for t in range(3):
            with tape.at(t=t):
                forward = tg.tanh(w_f * forward + x[t])
                if t == 1:
                    state = forward
        for t in (2, 1):
            with tape.at(t=t):
                backward = tg.tanh(w_b * backward + x[t])
        tg.stack([state, backward]).sum().backward()
    return tape
