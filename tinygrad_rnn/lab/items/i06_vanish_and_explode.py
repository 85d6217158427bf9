r"""Vanishing loses only the distant terms of a gradient, while one term that explodes spoils the whole sum.

The notes S0 put it as $g + 0 = g$ and $g + \infty = \infty$: what has vanished is missing from the sum, which is
otherwise right; what has exploded takes the rest with it. Both hold, and both are statements about numbers of a
computer.

The first holds to the bit. In a tanh network of 200 steps in float32, the sum of the shares no longer changes after
some 35 steps back: adding the others is as if they were not there, since they are less than half a unit of the last
place. `diagnostics.resolution` says from which step on. They are *not 0*, though: the share of the second step, 198
steps back, has a norm near $10^{-54}$, which float32 cannot store and float64 can. And what looks like a proof that
they are 0 often is not: `numpy.linalg.norm` squares entries, and says 0 from about 80 steps back on, as many steps too
early.

In the second, infinity is a finite number that has overflowed, as the network of item 5 makes it within 130 steps. And
the sum is as often nan as infinite, since infinity minus infinity and infinity times 0 are nan. Clipping does not mend
it: a gradient that is not finite has no direction. It can say so, and name the parameter.

## Mathematics
With the shares $s_k$ of steps $k$ back, added from the last step on, and the unit roundoff $u = 2^{-24}$ of float32
$$S_k = \mathrm{fl}(S_{k-1} + s_k) = S_{k-1} \quad\text{if}\quad |s_k| < u\,|S_{k-1}| \text{ in each entry},$$
$$|s_k| \approx c\,\lambda^k \quad\Rightarrow\quad k \gtrsim \frac{\log u}{\log \lambda} .$$
So the steps that count are proportional to the digits: in float64 there are two to three times as many.

## Try it
>>> import numpy as np
>>> near, far = np.float32(1.0), np.float32(1e-9)
>>> bool(near + far == near), bool(far == 0)
(True, False)
>>> np.inf - np.inf, np.inf * 0
(nan, nan)

## It would be false if
dropping the shares of 60 and more steps back changed a bit of the gradient, or if the gradient with an overflow were
finite.

## Exercise
An LSTM with `forget_bias=3` instead: how many steps back change a bit of its gradient? Predict it from
`diagnostics.flow(lstm, x).half_life`, then measure it by `diagnostics.shares(...).resolution("weight_hh_l0")`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics
from tinygrad_rnn.diagnostics.resolution import LABELS, shade
from tinygrad_rnn.diagnostics.result import COLOURS, GREY

from ..experiment import Check, Result, Size, experiment

DROPPED = 60
"""Shares of so many steps back are dropped."""


def gradients(net: Any, x: Any, keep: int) -> list[Any]:
    """Of W, U and b, from the last ``keep`` steps alone."""
    # lab: begin
    W, U, b = [tg.tensor(p, requires_grad=True) for p in net]
    h = tg.zeros(len(W), dtype=tg.float32)
    for k, x_k in enumerate(x):
        if k == len(x) - keep:
            h = h.detach()  # no gradient reaches the steps before
        h = tg.tanh(W @ h + U @ x_k + b)
    (h * h).sum().backward()
    return [W.grad.numpy(), U.grad.numpy(), b.grad.numpy()]
    # lab: end


def overflowing(T: int) -> tuple[Any, Any]:
    """The shares of W in the net of item 5, whose gradient doubles at each step, in float32; and W."""
    star = np.float32(0.999)
    for _ in range(200):
        star = np.tanh(np.float32(8) - np.float32(2) * star)  # the state that stays where it is
    W = tg.tensor([[2.0, -2.0], [2.0, -2.0]], dtype=tg.float32, requires_grad=True)
    b, h = tg.tensor([2 * star, 8.0], dtype=tg.float32), tg.tensor([0.0, star], dtype=tg.float32)
    with tg.Tape() as tape:
        for _ in range(T):
            h = tg.tanh(W @ h + b)
        h[0].backward()
    return np.array([share.value for share in tape.shares(W)]), W


def measured(size: Size, seed: int, keep: int = DROPPED) -> Result:
    """What of a gradient in float32 is left if the distant terms are dropped, and if one overflows."""
    T, H = (200, 32) if size == "quick" else (1000, 32)
    layer, x = tg.nn.RNN(8, H, dtype=tg.float32), tg.randn(T, 1, 8, dtype=tg.float32)
    found = diagnostics.shares(layer, lambda out: (out[0][-1] ** 2).sum(), x)
    resolution = found.resolution("weight_hh_l0")
    counts = resolution.labels.count("carries")
    one = found["weight_hh_l0"]
    true, naive = one.log_norm[::-1] / np.log(10), resolution.naive_norm  # by lag
    U, W, b_1, b_2 = [p.detach() for p in layer.parameters()]
    net, inputs = [p.numpy() for p in (W, U, b_1 + b_2)], x[:, 0]
    whole, part = gradients(net, inputs, T), gradients(net, inputs, keep)
    same = all(np.array_equal(a, b) for a, b in zip(whole, part, strict=True))
    shares, parameter = overflowing(150)
    finite = int(np.isfinite(shares).all((1, 2)).sum())
    said = ""
    try:
        tg.nn.utils.clip_grad_norm_([parameter], 1.0, error_if_nonfinite=True)
    except RuntimeError as error:
        said = str(error)
    tg.nn.utils.clip_grad_norm_([parameter], 1.0)
    assert parameter.grad is not None
    left = int(np.isfinite(parameter.grad.numpy()).sum())
    checks = [
        Check(
            f"without lags over {DROPPED} no bit changes", same, "==", True, "the last that counts: 20 seeds, 33 to 45"
        ),
        Check("resolution() says how many count", counts, "between", (25, 55), "20 seeds: 34 to 44"),
        Check("the share at lag 198 is not 0", true[198], ">", -80, "log10 of its norm; 20 seeds: -60 to -45"),
        Check("terms that overflowed", 150 - finite, "between", (1, 30), "2^k beyond 3.4e38: from 129 steps back on"),
        Check("one is enough: no entry is finite", left, "==", 0, "nan and infinity stay in a sum"),
        Check("clipping names the parameter", "parameters[0]" in said, "==", True, "error_if_nonfinite=True"),
    ]
    early = int(np.argmax(naive == 0))
    numbers = {
        "steps back that change a bit of the sum": counts,
        "lag from which linalg.norm says 0": early,
        "lag from which a share is stored as 0": resolution.first("zero: underflow"),
        "log10 of the norm of the share at lag 198": true[198],
        "shares that overflowed, of 150": 150 - finite,
    }
    with np.errstate(divide="ignore"):
        arrays = {"share": true, "by linalg.norm": np.log10(naive), "exploding": np.log10(abs(shares).max((1, 2)))}
    arrays["zones"] = np.array([LABELS.index(label) for label in resolution.labels])
    because = (
        f"{counts} of {T} terms change a bit of the sum, and it is right without the others; with {150 - finite} of "
        "150 terms overflowed, no entry of the sum is finite"
    )
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: Any) -> None:
    """Vanishing terms with their zones to the left, exploding ones to the right."""
    left, right = figure.subplots(1, 2)
    naive = arrays["by linalg.norm"]
    left.plot(arrays["share"][:-1], color=COLOURS[0], linewidth=1.5, label="norm of the share")
    left.plot(naive[np.isfinite(naive)], "--", color=COLOURS[1], label="by numpy.linalg.norm, then 0")
    shade(left, range(len(naive)), [LABELS[k] for k in arrays["zones"]])
    left.set_title("vanishing, in float32", fontsize=10)
    left.legend(fontsize=7)
    exploding, lags = arrays["exploding"], np.arange(len(arrays["exploding"]))
    finite = np.isfinite(exploding)
    right.plot(lags[finite], exploding[finite], color=COLOURS[3], label="largest entry of the share")
    lost = lags[~finite]
    right.plot(lost, np.full(len(lost), 38.5), "x", color=COLOURS[4], markersize=4, label="infinite or nan")
    right.axhline(np.log10(3.4e38), color=GREY, linestyle=":", label="largest float32")
    right.set_title("exploding, in float32", fontsize=10)
    right.legend(fontsize=7)
    for ax in (left, right):
        ax.set_xlabel("lag (steps back)")
        ax.set_ylabel("log₁₀ of the size of the share")


@experiment(
    6,
    "Vanishing and exploding terms",
    source="notes S0, g + 0 = g and g + inf = inf",
    seconds=0.3,
    full_seconds=3,
)
def run(size: Size, seed: int) -> Result:
    """What of a gradient is left if its distant terms vanish, and if one of them explodes."""
    return measured(size, seed)


@run.broken("dropping lags over 20 too", fails=f"without lags over {DROPPED} no bit changes")
def too_soon(size: Size, seed: int) -> Result:
    """Terms that are small, but within the digits of the sum, are called vanished."""
    return measured(size, seed, keep=20)


@run.smallest
def smallest() -> tg.Tape:
    """Two uses of a weight in float32, of which the far one changes no bit of the sum."""
    w = tg.tensor([1.0], dtype=tg.float32, requires_grad=True)
    far, near = tg.tensor([1e-9], dtype=tg.float32), tg.tensor([1.0], dtype=tg.float32)
    with tg.Tape(totals=True) as tape:
        loss = w * far + w * near
        loss.backward()
    return tape
