r"""Rprop follows the sign of the gradient alone, so small gradients in front layers do not slow it.

The encyclopaedia (S3) names it among the cures for vanishing gradients: Behnke "relied only on the sign of the
gradient" (Rprop, Riedmiller and Braun 1993) when he trained his Neural Abstraction Pyramid. In one sense it is exactly
right: multiply the gradient of any weight by any positive number, and Rprop makes the same steps, bit for bit. A deep
sigmoid network, whose first layer gets a millionth of the last one's gradient, then learns where plain gradient descent
stands still (right picture).

Three things are left out. Rprop is not "a step by the sign": each weight has a step size of its own that grows by 1.2
while the sign stays and halves when it turns, without which it would jump to and fro across the minimum for ever (left
picture). It is a method for full batches: of mini-batches whose gradients are +1 nine times and -9 once the mean is 0,
and the signs walk away. And a sign needs a number: where a gradient underflows there is none, and earlier still the
product of two gradients does, by which the signs are compared: below about $10^{-23}$ in float32 the step sizes stay as
they are (PyTorch's do, too).

## Mathematics
For each weight, with its gradient $g_t$ and step size $d_t$,
$$d_t = \begin{cases} \min(1.2\, d_{t-1},\, 50) & g_t g_{t-1} > 0 \\ \max(0.5\, d_{t-1},\, 10^{-6}) & g_t g_{t-1} < 0 \\
d_{t-1} & \text{otherwise} \end{cases} \qquad \theta_{t+1} = \theta_t - \operatorname{sign}(g_t)\, d_t,$$
and after a change of sign the weight stays for one step, and $g_t$ counts as 0. No magnitude of $g$ occurs.

## Try it
>>> import tinygrad_rnn as tg
>>> def walk(scale):
...     w = tg.tensor([3.0], requires_grad=True)
...     optimizer = tg.optim.Rprop([w], lr=0.1)
...     for _ in range(20):
...         w.grad = (w.detach() - 1) * scale                             # of (w - 1)^2 / 2, times a factor
...         optimizer.step()
...     return w.item()
>>> walk(1.0) == walk(1e-6), abs(walk(1.0) - 1) < 0.05
(True, True)

## It would be false if
steps changed when gradients are multiplied by a positive number, or if the deep network learned no faster by its signs
than by its gradients.

## Exercise
Find a function of two weights on which Rprop is slower than gradient descent with a good learning rate. (A rotated
valley: what do the signs along its axis look like?)
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment

PYTORCH = """0.9 -1.9 0.78 -1.7799999999999998 0.636 -1.636 0.46320000000000006 -1.4631999999999998
0.25584000000000007 -1.2558399999999998 0.007008000000000125 -1.007008 -0.2915903999999998 -0.7084096
-0.2915903999999998 -0.35009152000000004 -0.14229119999999984 0.07989017599999987 -0.14229119999999984
0.07989017599999987 -0.21694079999999982 -0.1351006720000001 -0.21694079999999982 -0.1351006720000001
-0.17961599999999983 -0.02760524800000011 -0.13482623999999985 0.10138926079999985"""
"""The two weights after each of 14 steps, lr 0.1, from (1, -2), of PyTorch 2.13 in float64."""


class Signs(tg.optim.SGD):
    """The mistake: a step of one size by the sign."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.copy_(tg.sign(p.grad))
        return super().step(closure)


def valley(optimizer_class: Any, scale: float, steps: int, dtype: Any = tg.float64, lr: float = 0.1) -> Any:
    """The way through a curved valley, f(w) = w0^2 / 2 + 5 (w1 - w0^2)^2; gradients are multiplied by ``scale``."""
    # lab: begin
    w = tg.tensor([1.0, -2.0], dtype=dtype, requires_grad=True)
    optimizer, way = optimizer_class([w], lr=lr), []
    for _ in range(steps):
        optimizer.zero_grad()
        (w[0] ** 2 / 2 + 5 * (w[1] - w[0] ** 2) ** 2).backward()
        w.grad.mul_(scale)  # the sign is what it was
        optimizer.step()
        way.append(w.detach().numpy().copy())
    # lab: end
    return np.array(way)


def deep(optimizer: Any, lr: float, updates: int, seed: int) -> tuple[Any, float]:
    """Losses of a sigmoid network of eight layers, full batch; how much smaller its first layer's gradient is."""
    tg.manual_seed(seed)
    sizes = [2, *[8] * 7, 1]
    layers = [tg.nn.Linear(i, o) for i, o in pairwise(sizes)]
    net = tg.nn.Sequential(*[m for layer in layers for m in (layer, tg.nn.Sigmoid())][:-1])
    for layer in layers:
        tg.nn.init.xavier_normal_(layer.weight)
    x = tg.tensor([[a, b] for a in np.linspace(-1, 1, 6) for b in np.linspace(-1, 1, 6)])
    wanted = (x[:, :1] > 0).to(x) * 2 - 1
    opt, losses, ratio = optimizer(net.parameters(), lr=lr), [], 0.0
    for _ in range(updates):
        opt.zero_grad()
        loss = ((net(x) - wanted) ** 2).mean()
        loss.backward()
        first, last = (float(np.abs(layer.weight.grad.numpy()).mean()) for layer in (layers[0], layers[-1]))  # type: ignore[union-attr]
        ratio = ratio or first / last
        opt.step()
        losses.append(loss.item())
    return np.array(losses), ratio


def measured(size: Size, seed: int, rprop: Any = tg.optim.Rprop) -> Result:
    """Steps against PyTorch's and under scaling; a deep sigmoid network; mini-batches; what underflows."""
    way, updates = valley(rprop, 1.0, 14), 300 if size == "quick" else 3000
    invariant = [np.array_equal(way, valley(rprop, s, 14)) for s in (1e-6, 1e-30, 1e12)]
    single = [valley(rprop, s, 14, tg.float32) for s in (1.0, 1e-30)]
    fast, ratio = deep(rprop, 0.01, updates, seed)
    slow = min((deep(tg.optim.SGD, lr, updates, seed)[0] for lr in (0.03, 0.3)), key=lambda losses: losses[-1])
    w = tg.zeros(1, requires_grad=True)
    optimizer = rprop([w], lr=0.01)
    for k in range(1000):
        w.grad = tg.tensor([-9.0 if k % 10 == 9 else 1.0])
        optimizer.step()
    away = float(abs(way - np.array(PYTORCH.split(), np.float64).reshape(14, 2)).max())
    checks = [
        Check("steps are PyTorch's", away, "<", 1e-14, "stored numbers of PyTorch 2.13; rounding of 14 steps"),
        Check("gradients times 1e-6, 1e-30, 1e12: the same bits", all(invariant), "==", True, "signs alone count"),
        Check("learns where the gradient is small", fast[-1], "<", 1e-6, "of 20 seeds the largest is 5e-10"),
        Check(
            "gradient descent does not",
            slow[-1],
            ">",
            0.9,
            "1 is the variance of the target; of 20 seeds the least is 0.9999",
        ),
        Check(
            "mini-batches of mean 0 drive it away", abs(w.item()), ">", 100, "steps grow by 1.2^8 / 2 in ten updates"
        ),
        Check(
            "float32, times 1e-30: steps differ", bool((single[0] != single[1]).any()), "==", True, "1e-60 is 0 there"
        ),
    ]
    numbers = {
        "first layer's gradient / last layer's, 8 sigmoid layers": ratio,
        f"loss after {updates} updates, Rprop": fast[-1],
        f"loss after {updates} updates, gradient descent (better of 2 rates)": slow[-1],
        "where 1,000 mini-batches of mean gradient 0 lead": w.item(),
    }
    because = (
        f"the gradient is that of a full batch and does not underflow: then a first layer with {ratio:.0e} of the last "
        f"one's gradient learns to a loss of {fast[-1]:.0e}, where gradient descent stays at {slow[-1]:.2f}"
    )
    arrays = {"Rprop": way, "steps of one size by the sign": valley(Signs, 1.0, 14), "fast": fast, "slow": slow}
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """The valley to the left, losses of the deep network to the right."""
    left, right = figure.subplots(1, 2)
    x, y = np.meshgrid(np.linspace(-0.7, 1.1, 80), np.linspace(-2.2, 0.8, 80))
    left.contour(x, y, x**2 / 2 + 5 * (y - x**2) ** 2, [0.05, 0.3, 1, 4, 10, 20], colors=GREY, linewidths=0.6)
    for k, name in enumerate(("Rprop", "steps of one size by the sign")):
        way = np.vstack([[1.0, -2.0], arrays[name]])
        left.plot(*way.T, "-" + MARKERS[k], color=COLOURS[k], markersize=4, linewidth=1.2, label=name)
    left.set_xlabel("first weight")
    left.set_ylabel("second weight")
    left.set_ylim(-2.8, 0.8)  # the legend stands below the lines
    left.set_title("14 steps in a valley (lines of equal loss)", fontsize=10)
    left.legend(fontsize=8, loc="lower left")
    for k, (name, label) in enumerate((("fast", "Rprop"), ("slow", "gradient descent"))):
        every = max(1, len(arrays[name]) // 10)
        right.semilogy(arrays[name], color=COLOURS[3 * k], marker=MARKERS[k], markevery=every, label=label)
    right.set_xlabel("update")
    right.set_ylabel("mean squared error")
    right.set_title("eight sigmoid layers, full batch", fontsize=10)
    right.legend(fontsize=8, loc="center right")


@experiment(
    46,
    "Rprop",
    source="encyclopaedia S3; Riedmiller and Braun 1993; Behnke, LNCS 2766 (2003)",
    seconds=0.8,
    full_seconds=10,
)
def run(size: Size, seed: int) -> Result:
    """Whether the sign alone is enough, and what it cannot do."""
    return measured(size, seed)


@run.broken("steps of one size by the sign", fails="steps are PyTorch's")
def sign_alone(size: Size, seed: int) -> Result:
    """The step sizes do not follow the changes of sign."""
    return measured(size, seed, Signs)


@run.broken(
    '"Adam divides by the magnitude, so it does the same"', fails="gradients times 1e-6, 1e-30, 1e12: the same bits"
)
def adam(size: Size, seed: int) -> Result:
    """Adam adds 1e-8 to the divisor, which small gradients do not exceed."""
    return measured(size, seed, tg.optim.Adam)


@run.smallest
def smallest() -> tg.Tape:
    """A chain of four sigmoids, whose first weight gets a small gradient with a clear sign."""
    W = [tg.tensor(0.5, requires_grad=True) for _ in range(4)]
    with tg.Tape() as tape:
        h = tg.tensor(1.0)
        for w in W:
            h = tg.sigmoid(w * h)
        h.backward()
    return tape
