r"""Four rules for recurrent networks: clip gradients, use an LSTM, read both ways, stack and skip.

S1 ends with rules of practice. Each is right under a condition, which is the part that is forgotten. Here is each with
its condition, the smallest experiment that shows both (run by this page), and the items that show it at length
(`--full` runs them).

| rule | condition | items |
|---|---|---|
| Clip gradients; it keeps NaN away. | They are finite: clipping cannot mend one that is infinite already. | 8, 14, 15 |
| Use an LSTM, not a plain RNN. | Its forget gate is open at the start (`forget_bias=1` or more). | 9, 20, 36 |
| Read both ways. | The whole sequence is there when an output is needed: never for a language model. | 24, 25 |
| Stack two to four layers, with skips if more. | Time is short: deep stacks without skips learn late. | 21, 26 |

In code, all at once:

>>> import tinygrad_rnn as tg
>>> tagger = tg.nn.LSTM(8, 8, num_layers=6, bidirectional=True, skip="residual", forget_bias=1.0)
>>> (tagger(tg.zeros(5, 2, 8))[0] ** 2).sum().backward()
>>> norm = tg.nn.utils.clip_grad_norm_(tagger.parameters(), 1.0, error_if_nonfinite=True)

## Mathematics
Clipping multiplies all gradients by $\min(1, c / \lVert g \rVert)$. If an entry is infinite, $c / \infty = 0$ and
$0 \cdot \infty$ is NaN. That is why `error_if_nonfinite=True` belongs to the rule. Of an LSTM,
$\partial c_t / \partial c_{t-1} = f_t$ along the cell, so that $b$ steps keep about $f^b$. A layer that reads forward
has $\partial h_0 / \partial x_t = 0$ for $t > 0$. A skip adds the identity to the Jacobian of a layer.

## Try it
>>> w = tg.tensor([1.0, 2.0], requires_grad=True)
>>> w.grad = tg.tensor([float("inf"), 1.0])
>>> norm = tg.nn.utils.clip_grad_norm_([w], 1.0)
>>> w.grad                                                       # clipped, and not mended
tensor([nan, 0.])

## It would be false if
a rule failed where its condition holds, or if one of the items that show it did not pass.

## Exercise
Make a fifth rule of something that you have seen work, and find its condition: the smallest change at which it fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics, nn
from tinygrad_rnn.diagnostics.result import COLOURS, MARKERS

from .. import catalogue
from ..experiment import Check, Result, Size, experiment

RULES: dict[str, tuple[int, ...]] = {"clip": (8, 14, 15), "LSTM": (9, 20, 36), "both ways": (24, 25), "stack": (21, 26)}


def training(seed: int, clip: bool, too_late: bool = False) -> Any:
    """Losses of a ReLU network that explodes in 50 steps; training ends where the loss is not finite."""
    tg.manual_seed(seed)
    rnn, say, x = nn.RNN(1, 16, nonlinearity="relu"), nn.Linear(16, 1), tg.randn(50, 8, 1)
    with tg.no_grad():
        rnn.weight_hh_l0.copy_(1.1 * tg.eye(16))
    parameters = [*rnn.parameters(), *say.parameters()]
    # lab: begin
    optimizer = tg.optim.SGD(parameters, lr=0.03)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = ((say(rnn(x)[0][-1]) - x.mean(0)) ** 2).mean()
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            break
        loss.backward()
        if clip and not too_late:
            nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if too_late:
            nn.utils.clip_grad_norm_(parameters, 1.0)
    # lab: end
    return np.array(losses)


def reach(forget_bias: float | None) -> Any:
    """Logarithms of |dc_T/dc_k| of an LSTM, by the number of steps back."""
    flow = diagnostics.flow(nn.LSTM(4, 16, forget_bias=forget_bias), tg.randn(51, 1, 4), of="c")
    return np.asarray(flow.log_norm)[::-1]


def back_to(bidirectional: bool) -> Any:
    """|dE_0/dx_t| for the output at step 0."""
    rnn, x = nn.RNN(2, 8, bidirectional=bidirectional), tg.randn(12, 1, 2, requires_grad=True)
    (rnn(x)[0][0] ** 2).sum().backward()
    return np.linalg.norm(np.asarray(x.grad)[:, 0], axis=-1)


def by_layer(skip: str | None) -> Any:
    """Gradients of the eight layers of a stack, over that of the top one."""
    stack = nn.LSTM(12, 12, 8, skip=skip)
    (stack(tg.randn(8, 4, 12))[0] ** 2).sum().backward()
    norms = [float(np.linalg.norm(getattr(stack, f"weight_ih_l{k}").grad.numpy())) for k in range(8)]
    return np.array(norms) / norms[-1]


def measured(size: Size, seed: int, too_late: bool = False) -> Result:
    """Each rule where its condition holds, and where it does not."""
    with tg.backends.recurrent.only("numpy"):  # layers this small wait for no compiler
        found = {"clipped": training(seed, True, too_late), "not clipped": training(seed, False)}
        found |= {"forget bias 3": reach(3.0), "no forget bias": reach(None)}
        found |= {"forward": back_to(False), "both ways": back_to(True)}
        found |= {"plain": by_layer(None), "skips": by_layer("residual")}
    broken = tg.zeros(2, requires_grad=True)
    broken.grad = tg.tensor([np.inf, 1.0])
    nn.utils.clip_grad_norm_([broken], 1.0)
    mended = bool(np.isfinite(np.asarray(broken.grad)).all())
    checks = [
        Check("clipped: all losses are finite", np.isfinite(found["clipped"]).all(), "==", True, "20 of 20 seeds"),
        Check(
            "not clipped: soon not finite",
            np.isfinite(found["not clipped"]).all(),
            "==",
            False,
            "after 1 to 3 updates in 20 of 20 seeds",
        ),
        Check("clipped: and it learns", found["clipped"][-1] / found["clipped"][0], "<", 0.5, "20 seeds: at most 0.2"),
        Check("clipping does not mend infinity", mended, "==", False, "0 times infinity is nan"),
        Check(
            "LSTM: reaches far with an open gate",
            found["forget bias 3"][50],
            ">",
            np.log(0.01),
            "of 16 units, 4 times 0.95^50 is 0.3; 20 seeds: at least 0.48",
        ),
        Check(
            "LSTM: does not with a half open one",
            found["no forget bias"][50],
            "<",
            np.log(1e-6),
            "0.5^50 is 1e-15; 20 seeds: at most 6e-9",
        ),
        Check("forward: nothing from later inputs", found["forward"][1:].max(), "==", 0, "there is no path"),
        Check("both ways: later inputs count", found["both ways"][1], ">", 1e-3, "20 seeds: at least 0.06"),
        Check("8 layers: skips keep the gradient", found["skips"][0], ">", 0.1, "20 seeds: at least 0.78"),
        Check("8 layers: lost without", found["plain"][0], "<", 0.05, "20 seeds: at most 1.5e-4"),
    ]
    there = sorted({number for numbers in RULES.values() for number in numbers} & set(catalogue.files()))
    shown = all(set(numbers) & set(there) for numbers in RULES.values())
    checks.append(Check("each rule has an item", shown, "==", True, "the catalogue has their files"))
    if size == "full":
        passed = [catalogue.run(number, "quick", seed).passed for number in there]
        checks.append(Check("all items that show a rule pass", all(passed), "==", True, f"items {there}"))
    numbers: dict[str, Any] = {
        f"items for the rule: {rule}": ", ".join(map(str, numbers)) for rule, numbers in RULES.items()
    }
    numbers |= {
        "updates until the loss is not finite, not clipped": len(found["not clipped"]) - 1,
        "|dc_50/dc_0|, forget bias 3": float(np.exp(found["forget bias 3"][50])),
        "|dc_50/dc_0|, no forget bias": float(np.exp(found["no forget bias"][50])),
        "gradient of the lowest of 8 layers over the top one's, skips": found["skips"][0],
        "the same, plain": found["plain"][0],
    }
    because = (
        "its condition is met: an infinite gradient stays broken when clipped; finite ones that are not clipped end "
        f"training at update {len(found['not clipped']) - 1} of 30, clipped ones never do"
    )
    return Result(checks, "holds if", because, numbers, found, lambda figure: draw(figure, found))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """A card for each rule."""
    cards = (
        ("clipped", "not clipped", "update", "loss"),
        ("forget bias 3", "no forget bias", "steps back", r"$|\partial c_T/\partial c_k|$"),
        ("both ways", "forward", "input at step", r"$|\partial E_0/\partial x_t|$"),
        ("skips", "plain", "layer", "gradient, top is 1"),
    )
    for ax, (good, bad, x, y) in zip(figure.subplots(2, 2).flat, cards, strict=True):
        for k, name in enumerate((good, bad)):
            values = arrays[name]
            values = np.exp(values) if "bias" in name else values
            values = np.where(values > 0, np.fmin(values, 1e9), np.nan)  # off the scale; 0 has no logarithm
            every = max(1, len(values) // 8)
            ax.plot(values, ("-", "--")[k], color=COLOURS[k], marker=MARKERS[k], markevery=every, ms=4, label=name)
        ax.set_yscale("log")
        ax.set_xlabel(x, fontsize=9)
        ax.set_ylabel(y, fontsize=9)
        ax.tick_params(labelsize=8)
        ax.legend(fontsize=8)


@experiment(27, "Rules of practice", source="CS224N 2019, lecture 7 (S1)", seconds=0.5, full_seconds=12)
def run(size: Size, seed: int) -> Result:
    """The rules of S1, each with its condition."""
    return measured(size, seed)


@run.broken("clipped after the update", fails="clipped: all losses are finite")
def too_late(size: Size, seed: int) -> Result:
    """Two lines in the wrong order: the weights have moved by the whole gradient when it is clipped."""
    return measured(size, seed, too_late=True)


@run.smallest
def smallest() -> tg.Tape:
    """Three layers of one unit, each with a skip: the cotangent of x is a sum over eight paths."""
    x, w = tg.tensor(0.5, requires_grad=True), tg.tensor(0.8, requires_grad=True)
    with tg.Tape() as tape:
        h = x
        for layer in range(3):
            with tape.at(layer=layer):
                h = h + tg.tanh(w * h)
        h.backward()
    return tape
