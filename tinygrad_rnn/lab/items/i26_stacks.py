r"""Stacks of two to four recurrent layers are usual; deeper ones need skip connections.

S1 recommends several layers (2 to 4 in encoders, 4 in decoders of translation systems) and says that deeper RNNs need
skip or dense connections to be trained. The first half is a definition, and is checked as one: a layer with
`num_layers=3` is three layers of one, in values and in all gradients.

The second half is a hypothesis, and is measured with eight LSTM layers that learn to repeat what they read three steps
ago. At the start the lowest layer of the plain stack mostly gets less than a thousandth of the gradient of the top one,
that with `skip="residual"` somewhat more than the top one. After 60 updates with Adam the stack with skips is far
ahead. But *needs* is too much: given 600 updates (`--full`) the plain stack learns the task, too. Adam divides every
gradient by its size, so that a small one is no obstacle as long as it points the right way. What a stack without skips
needs is time.

## Mathematics
Layer $l$ reads $x^{(l)}_t = h^{(l-1)}_t$; with `skip="residual"`, $x^{(l+1)}_t = h^{(l)}_t + x^{(l)}_t$ from the second
layer on. The gradient of the lowest layer passes through products of the vertical Jacobians
$$\frac{\partial h^{(l)}_t}{\partial x^{(l)}_t} = \operatorname{diag}\big(\ldots\big)\, W_{ih}^{(l)},$$
small as they are drawn: gates are half open, and weights $U(-1/\sqrt H, 1/\sqrt H)$. A skip adds $I$ to each.

## Try it
>>> import tinygrad_rnn as tg
>>> _ = tg.manual_seed(0)
>>> def gradients(skip):
...     stack = tg.nn.LSTM(8, 8, num_layers=8, skip=skip)
...     (stack(tg.randn(5, 4, 8))[0] ** 2).sum().backward()
...     return stack.weight_ih_l0.grad.norm() / stack.weight_ih_l7.grad.norm()
>>> bool(gradients(None) < 0.01), bool(gradients("residual") > 0.1)
(True, True)

## It would be false if
(as corrected) the stack with skips were no faster, or the plain one did not learn in the long run.

## Exercise
Put `nn.Residual` around single LSTM layers, the first one included. What changes against `skip="residual"`, and why
does the option leave the first layer alone?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment

DEPTH, HIDDEN, STEPS, BACK = 8, 12, 8, 3


def stack_of_singles() -> float:
    """The largest difference of values and gradients between three layers in one and three layers of one."""
    # lab: begin
    whole = nn.LSTM(4, 5, num_layers=3)
    singles = [nn.LSTM(4 if k == 0 else 5, 5) for k in range(3)]
    pairs = []
    for k, single in enumerate(singles):
        for name, parameter in single.named_parameters():
            twin = getattr(whole, name.replace("_l0", f"_l{k}"))
            with tg.no_grad():
                parameter.copy_(twin)
            pairs.append((parameter, twin))
    x = tg.randn(6, 2, 4)
    y = x
    for single in singles:
        y, _ = single(y)
    (y**2).sum().backward()
    z, _ = whole(x)
    (z**2).sum().backward()
    differences = [y - z, *[a.grad - b.grad for a, b in pairs]]
    # lab: end
    return max(float(np.abs(d.detach().numpy()).max()) for d in differences)


def trained(skip: str | None, updates: int) -> tuple[float, Any]:
    """The ratio of gradients of the lowest and the top layer at the start, and the loss at each update."""
    read, stack, say = nn.Linear(1, HIDDEN), nn.LSTM(HIDDEN, HIDDEN, DEPTH, skip=skip), nn.Linear(HIDDEN, 1)
    parameters = [p for module in (read, stack, say) for p in module.parameters()]
    optimizer = tg.optim.Adam(parameters, lr=1e-2)
    losses, ratio = [], 0.0
    for update in range(updates):
        x = (tg.rand(STEPS, 16, 1) > 0.5).to(tg.float64) * 2 - 1
        optimizer.zero_grad()
        y = say(stack(read(x))[0])
        loss = ((y[BACK:] - x[:-BACK]) ** 2).mean()
        loss.backward()
        if update == 0:
            low, top = (getattr(stack, f"weight_ih_l{k}").grad.numpy() for k in (0, DEPTH - 1))
            ratio = float(np.linalg.norm(low) / np.linalg.norm(top))
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return ratio, np.array(losses)


def measured(size: Size, seed: int, forgotten: bool = False) -> Result:
    """Stacks in two ways; eight layers without and with skips."""
    updates, repeats = (60, 1) if size == "quick" else (600, 3)
    with tg.backends.recurrent.only("numpy"):  # layers this small wait for no compiler
        off = stack_of_singles()
        plain = [trained(None, updates) for _ in range(repeats)]
        skips = [trained(None if forgotten else "residual", updates) for _ in range(repeats)]
    ratio, ratio_skips = (float(np.exp(np.mean(np.log([r for r, _ in runs])))) for runs in (plain, skips))
    curves = {"plain": np.array([c for _, c in plain]), "residual": np.array([c for _, c in skips])}
    early, late = (
        {k: float(c[:, part].mean()) for k, c in curves.items()} for part in (slice(50, 60), slice(-20, None))
    )
    checks = [
        Check("one stack is three layers of one", off, "<", 1e-12, "rounding; 20 seeds: 0"),
        Check("plain: the lowest layer gets little", ratio, "<", 0.05, "20 seeds: at most 0.0043"),
        Check("skips: the lowest layer gets its share", ratio_skips, ">", 0.1, "20 seeds: at least 1.3"),
        Check(
            "skips are ahead after 60 updates", early["residual"] / early["plain"], "<", 0.9, "20 seeds: at most 0.68"
        ),
    ]
    if size == "full":
        checks.append(Check("plain learns in the end", late["plain"], "<", 0.3, "a guess has 1; 3 runs: at most 0.05"))
    numbers = {
        "gradient, lowest over top layer, plain": ratio,
        "the same with skips": ratio_skips,
        "loss after 60 updates, plain": early["plain"],
        "loss after 60 updates, skips": early["residual"],
        f"loss after {updates} updates, plain": late["plain"],
        f"loss after {updates} updates, skips": late["residual"],
    }
    because = (
        "the number of updates is small: the lowest of 8 plain layers gets "
        f"{ratio:.0e} of the top one's gradient, and after 60 updates the loss is {early['plain']:.2f} against "
        f"{early['residual']:.2f} with skips; after 600 (--full) the plain stack has learned, too"
    )
    return Result(checks, "holds if", because, numbers, curves, lambda figure: draw(figure, curves))


def draw(figure: Any, curves: dict[str, Any]) -> None:
    """Losses over updates, smoothed over ten, of each run."""
    ax = figure.subplots()
    for k, (name, label) in enumerate((("plain", "8 layers, plain"), ("residual", '8 layers, skip="residual"'))):
        for run_number, losses in enumerate(curves[name]):
            smooth = np.convolve(losses, np.full(10, 0.1), "valid")
            every = max(1, len(smooth) // 6)
            line = {"color": COLOURS[k], "marker": MARKERS[k], "markevery": every, "linestyle": ("-", "--")[k]}
            ax.plot(np.arange(10, 10 + len(smooth)), smooth, label=label if run_number == 0 else None, **line)
    ax.axhline(1, color=GREY, linestyle=":", label="a guess")
    if min(losses.min() for losses in curves.values()) < 0.05:
        ax.set_yscale("log")
    ax.set_xlabel("updates")
    ax.set_ylabel("squared error (mean of 10 updates)")
    ax.legend(fontsize=9)


@experiment(26, "Stacks and skips", source="CS224N 2019, lecture 7 (S1)", seconds=1.6, full_seconds=45)
def run(size: Size, seed: int) -> Result:
    """What a stack is, and how eight layers learn without and with skips."""
    return measured(size, seed)


@run.broken("the skip is forgotten", fails="skips: the lowest layer gets its share")
def forgotten(size: Size, seed: int) -> Result:
    """The option is not passed on: both stacks are plain."""
    return measured(size, seed, forgotten=True)


@run.smallest
def smallest() -> tg.Tape:
    """Two layers of one tanh unit over three steps, with a skip around the upper one."""
    w_1, w_2 = (tg.tensor(v, requires_grad=True) for v in (0.5, 0.8))
    x = [1.0, -1.0, 0.5]
    with tg.Tape() as tape:
        low, top = tg.tensor(0.0), tg.tensor(0.0)
        for t, x_t in enumerate(x):
            with tape.at(t=t):
                low = tg.tanh(x_t + w_1 * low)
                top = tg.tanh(low + w_2 * top)
                y = top + low
        y.backward()
    return tape
