r"""Two GRUs exist: the reset gate acts before the product with the state, as in the paper, or after it, as in cuDNN.

Lecture 7 of CS224N gives the GRU of the paper (Cho et al. 2014): update gate, reset gate, new content. The equations
hold, and this package computes both kinds. But a GRU whose weights come from elsewhere may be the other kind, with
weights of the same names and shapes; it gives no error and other numbers. With usual weights the states differ by a
third of their size. Most of that is the second bias of the content, which only one kind multiplies by the reset gate;
without it they differ by some per cent, and by more as the weights grow (picture).

| | reset gate |
|---|---|
| Cho et al. 2014, the lecture, ONNX with `linear_before_reset=0` (its default) | before the product |
| cuDNN, PyTorch, ONNX with `linear_before_reset=1`, `nn.GRU` here by default | after the product |

*After* lets one product with $h$ serve all three gates, which is why cuDNN has it. Here `reset_after=False` asks for
the other.

And the lecture's update gate is the other way round: it writes $h' = (1 - u) h + u \tilde h$, where the paper and
PyTorch have $z$ in the place of $1 - u$. That is no difference of the networks: $1 - s(a) = s(-a)$, so the sign of
the weights of $z$ turns one into the other.

## Mathematics
$$r = s(W_r x + U_r h), \quad z = s(W_z x + U_z h), \quad h' = (1 - z) \circ n + z \circ h$$
$$\text{before: } n = \tanh(W_n x + U_n (r \circ h)), \qquad \text{after: } n = \tanh(W_n x + r \circ (U_n h + b_n))$$
(biases left out where they make no difference). Both are one where $r$ is the same number for all units and $b_n =
0$.

## Try it
>>> import tinygrad_rnn as tg
>>> _ = tg.manual_seed(0)
>>> after = tg.nn.GRU(3, 8)
>>> before = tg.nn.GRU(3, 8, reset_after=False)
>>> _ = before.load_state_dict(after.state_dict())                  # the same weights
>>> x = tg.randn(20, 1, 3)
>>> bool(abs(after(x)[0] - before(x)[0]).max() > 0.01)
True

## It would be false if
the two kinds agreed with the same usual weights, or if one of them differed from its formula.

## Exercise
Find weights with $U_n \ne 0$ for which both kinds agree on all inputs and states. (There are some: look at $r$.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment

TORCH = {
    "h": [-0.1626066710935413, 0.8572207694376202],
    "dx": [-0.20305348529862519, -0.502929347362761, -0.5662696788743631],
    "norms": [0.7154731404198974, 0.8340898763528976, 0.12377445968629394, 0.6577586501504327, 0.22387769677403194],
}
"""PyTorch 2.13.0, float64: GRUCell(3, 2), every tensor ``filled`` by its number, E = h @ (1, 2).

"norms" are those of the gradients of h, weight_ih, weight_hh, bias_ih, bias_hh.
"""
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def filled(shape: tuple[int, ...], k: int) -> Any:
    """Numbers that every library makes alike."""
    return tg.tensor(np.sin(1.0 + k + 0.7 * np.arange(np.prod(shape))).reshape(shape))


def sigmoid(a: Any) -> Any:
    """Of numbers of NumPy."""
    return 1 / (1 + np.exp(-a))


def literal(x: Any, h: Any, weights: Any, reset_after: bool) -> Any:
    """The formulas, unit by unit, as the papers print them; rows r, z, n."""
    W, U, b, c = weights
    size = len(h)
    # lab: begin
    r, z, new = np.zeros(size), np.zeros(size), np.zeros(size)
    for j in range(size):
        r[j] = sigmoid(W[j] @ x + b[j] + U[j] @ h + c[j])
        z[j] = sigmoid(W[size + j] @ x + b[size + j] + U[size + j] @ h + c[size + j])
    for j in range(size):
        n = 2 * size + j
        if reset_after:
            content = np.tanh(W[n] @ x + b[n] + r[j] * (U[n] @ h + c[n]))
        else:
            content = np.tanh(W[n] @ x + b[n] + U[n] @ (r * h) + c[n])
        new[j] = (1 - z[j]) * content + z[j] * h[j]
    # lab: end
    return new


def against_torch(reset_after: bool) -> float:
    """The largest difference from PyTorch's numbers, of values and gradients."""
    cell = nn.GRUCell(3, 2, reset_after=reset_after)
    with tg.no_grad():
        for k, p in enumerate(cell.parameters()):
            p.copy_(filled(tuple(p.shape), k))
    x, h_0 = (filled((n,), 10 + k).requires_grad_() for k, n in enumerate((3, 2)))
    h = cell(x, h_0)
    (h * tg.tensor([1.0, 2.0])).sum().backward()
    gradients: list[Any] = [p.grad for p in (x, h_0, *cell.parameters())]
    found = {"h": h.detach().numpy(), "dx": gradients[0].numpy()}
    found["norms"] = np.array([g.norm().item() for g in gradients[1:]])
    return max(float(abs(found[name] - np.array(TORCH[name])).max()) for name in TORCH)


def pair(inputs: int, units: int, scale: float) -> tuple[nn.GRU, nn.GRU]:
    """Both kinds with the same weights: after, before."""
    after, before = nn.GRU(inputs, units), nn.GRU(inputs, units, reset_after=False)
    with tg.no_grad():
        for p in after.parameters():
            p.mul_(scale)
    before.load_state_dict(after.state_dict())
    return after, before


def distance(x: Any, units: int, scale: float, biased: bool) -> Any:
    """|h after - h before| / |h after| at each step; ``biased``: with the bias b_n inside of the product."""
    after, before = pair(x.shape[2], units, scale)
    with tg.no_grad():
        for net in (after, before):
            net.bias_hh_l0[2 * units :] *= float(biased)
        a, b = after(x)[0].numpy(), before(x)[0].numpy()
    return np.linalg.norm(a - b, axis=(1, 2)) / np.linalg.norm(a, axis=(1, 2))


def measured(size: Size, seed: int, mistaken: bool = False) -> Result:
    """Both kinds against their formulas and PyTorch's numbers, and against each other."""
    rng = np.random.default_rng(seed)
    away = {True: 0.0, False: 0.0}
    for _ in range(10 if size == "quick" else 200):
        inputs, units, T = (int(n) for n in rng.integers(2, 7, 3))
        x = rng.standard_normal((T, inputs))
        for kind, net in zip((True, False), pair(inputs, units, 1.0), strict=True):
            weights = [p.detach().numpy() for p in net.parameters()]
            h = np.zeros(units)
            for x_t in x:
                h = literal(x_t, h, weights, kind)
            away[kind] = max(away[kind], float(abs(net(tg.tensor(x))[1].detach().numpy()[0] - h).max()))
    T, units = (50, 32) if size == "quick" else (200, 256)
    x = tg.randn(T, 8, 4)
    curves, unbiased = (np.array([distance(x, units, scale, biased) for scale in SCALES]) for biased in (True, False))
    after, turned = nn.GRUCell(4, 8), nn.GRUCell(4, 8)
    with tg.no_grad():
        for p, q in zip(after.parameters(), turned.parameters(), strict=True):
            q.copy_(p)
            q[8:16].neg_()  # the rows of z: u = 1 - z
        x_1, h_1 = tg.randn(5, 4), tg.randn(5, 8)
        a = tg.nn.functional.linear(x_1, turned.weight_ih, turned.bias_ih)
        a = a + tg.nn.functional.linear(h_1, turned.weight_hh, turned.bias_hh)
        u = tg.sigmoid(a[:, 8:16])
        z = 1 - u
        from_lecture = abs(after(x_1, h_1) - ((1 - u) * h_1 + u * content(after, x_1, h_1))).max().item()
        sign = abs(z - tg.sigmoid(-a[:, 8:16])).max().item()
    torch_away = against_torch(not mistaken)
    usual, plain = (float(c[SCALES.index(1.0)].max()) for c in (curves, unbiased))
    checks = [
        Check("reset after: difference from the formula", away[True], "<", 1e-14, "rounding; 3e-16 in 20 seeds"),
        Check("reset before: difference from the formula", away[False], "<", 1e-14, "rounding; 3e-16 in 20 seeds"),
        Check("reset after is PyTorch's", torch_away, "<", 1e-14, "stored numbers, values and gradients"),
        Check("the two differ", usual, ">", 0.1, "of the state's norm, usual weights; 0.30 the least of 20 seeds"),
        Check("and without b_n", plain, ">", 0.01, "0.033 the least of 20 seeds"),
        Check("u of the lecture is 1 - z", max(from_lecture, sign), "<", 1e-14, "rounding of 1 - s"),
    ]
    numbers = {
        f"largest relative difference, weights x {s:g}": float(c.max()) for s, c in zip(SCALES, curves, strict=True)
    }
    numbers["the same, weights x 1, b_n = 0"] = plain
    numbers["difference from PyTorch"] = torch_away
    arrays = {"scales": np.array(SCALES), "differences": curves, "without b_n": unbiased}
    because = (
        f"it is said which of two GRUs is meant: with the same usual weights they differ by up to {usual:.0%} of the "
        f"state, without the bias b_n by {plain:.0%}"
    )
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def content(cell: nn.GRUCell, x: Any, h: Any) -> Any:
    """The new content n of a cell, reset after the product."""
    size = cell.hidden_size
    a = nn.functional.linear(x, cell.weight_ih, cell.bias_ih)
    b = nn.functional.linear(h, cell.weight_hh, cell.bias_hh)
    return tg.tanh(a[:, 2 * size :] + tg.sigmoid(a[:, :size] + b[:, :size]) * b[:, 2 * size :])


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """How far both kinds are apart, over time and by the size of the weights."""
    left, right = figure.subplots(1, 2, sharey=True)
    for k, scale in enumerate(SCALES):
        every = max(1, arrays["differences"].shape[1] // 8)
        style = {"color": COLOURS[k], "marker": MARKERS[k], "markevery": every, "markersize": 5}
        left.plot(arrays["differences"][k], label=f"{scale:g}", **style)
    left.set_xlabel("time step")
    left.set_ylabel("|h after - h before| / |h after|")
    left.set_yscale("log")
    left.set_ylim(bottom=0.001)
    left.legend(title="weights, times the usual", title_fontsize=8, fontsize=8, ncols=3, loc="lower right")
    left.get_legend().get_title().set_color(GREY)
    for k, (name, label) in enumerate((("differences", "with both biases"), ("without b_n", "b_n = 0"))):
        style = {"color": COLOURS[(0, 3)[k]], "marker": "oD"[k], "linestyle": ("-", "--")[k]}
        right.plot(arrays["scales"], arrays[name].max(1), label=label, **style)
    right.set_title("largest over time", fontsize=10)
    right.set_xscale("log", base=2)
    right.set_xlabel("weights, times the usual")
    right.legend(fontsize=8)


@experiment(
    18,
    "Two GRUs",
    source="CS224N 2019, lecture 7; Cho et al. 2014, equations 5 to 8; cuDNN and PyTorch documentation",
    seconds=0.2,
    full_seconds=3,
)
def run(size: Size, seed: int) -> Result:
    """What a GRU is, and how far the two kinds are apart."""
    return measured(size, seed)


@run.broken("reset before the product taken for PyTorch's", fails="reset after is PyTorch's")
def before_for_after(size: Size, seed: int) -> Result:
    """Weights from PyTorch are loaded into the paper's kind."""
    return measured(size, seed, mistaken=True)


@run.smallest
def smallest() -> tg.Tape:
    """One step of each kind, of two units with the same weights."""
    U, h = tg.tensor([[0.9, -0.4], [0.3, 0.8]], requires_grad=True), tg.tensor([0.5, -0.2], requires_grad=True)
    r = tg.tensor([0.1, 0.9])
    with tg.Tape() as tape:
        before = tg.tanh(U @ (r * h))
        after = tg.tanh(r * (U @ h))
        (after - before).sum().backward()
    return tape
