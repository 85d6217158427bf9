r"""The LSTM of the lecture, of ONNX, of PyTorch and of this package are one set of equations in three orders.

Lecture 7 of CS224N and the notes S2 write an LSTM as three gates and a new content. It holds: the cell of this
package gives the numbers of the equations below, of the operator `LSTM` of ONNX, and of PyTorch's `LSTMCell` (stored
here, from PyTorch 2.13), and its gradient is that of finite differences. None of it depends on the order in which the
four blocks of rows are kept. Moving weights from one to the other does:

| | rows of the weights |
|---|---|
| PyTorch, cuDNN, this package | i, f, g, o |
| ONNX | i, o, f, c (its c is our g) |
| the lecture | f, i, o, content |

Who takes one order for the other gets no error, since all blocks have the same shape, but another network. The
picture is one step of a cell with one unit, with its numbers.

## Mathematics
$$f_t = s(W_f h_{t-1} + U_f x_t + b_f), \quad i_t = s(W_i h_{t-1} + U_i x_t + b_i), \quad
o_t = s(W_o h_{t-1} + U_o x_t + b_o)$$
$$g_t = \tanh(W_g h_{t-1} + U_g x_t + b_g), \qquad c_t = f_t \circ c_{t-1} + i_t \circ g_t, \qquad
h_t = o_t \circ \tanh c_t$$
The lecture's $\tilde c$ is $g$; the package has two biases that are added.

## Try it
>>> import tinygrad_rnn as tg
>>> cell = tg.nn.LSTMCell(1, 1)
>>> with tg.no_grad():
...     for parameter in cell.parameters():
...         _ = parameter.zero_()
...     _ = cell.bias_ih.copy_(tg.tensor([0.0, 100.0, 0.0, 100.0]))    # i, f, g, o: keep and show
>>> h, c = cell(tg.zeros(1), (tg.zeros(1), tg.tensor([0.5])))
>>> c.item(), h.item() == tg.tanh(c).item()
(0.5, True)

## It would be false if
the cell and ONNX's operator differed by more than rounding on any weights, input and states.

## Exercise
Write the permutation that takes weights of the lecture's order to ONNX's. Which of the six orders of i, f, o would
you *not* notice with all weights zero and `forget_bias=0`?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.result import COLOURS, GREY

from ..experiment import Check, Result, Size, experiment

TORCH = {
    "h": [0.11853937391845618, 0.29652292700533206],
    "c": [0.2068898647151226, 0.3324875406801373],
    "dx": [0.0413298504895485, -0.5588047319271804, -0.8961247173537618],
    "norms": [0.9639222872846965, 1.2248303761036965, 1.522423564836024, 0.6637574743901254, 1.200574778994288],
}
"""PyTorch 2.13.0, float64: LSTMCell(3, 2), every tensor ``filled`` by its number, E = h @ (1, 2) + 2 c @ (1, 2).

"norms" are those of the gradients of h, c, weight_ih, weight_hh, bias_ih.
"""


def filled(shape: tuple[int, ...], k: int) -> Any:
    """Numbers that every library makes alike."""
    return tg.tensor(np.sin(1.0 + k + 0.7 * np.arange(np.prod(shape))).reshape(shape))


def onnx_node(W: Any, R: Any, B: Any, X: Any, H: Any, C: Any, order: str) -> tuple[Any, Any]:
    """ONNX's operator LSTM, forward, as its text says, without batch: states after the last step.

    Args:
        order: of the blocks of rows; ONNX's is "iofc".
    """
    # lab: begin
    size = len(H)
    rows = {gate: slice(k * size, (k + 1) * size) for k, gate in enumerate(order)}
    Wb, Rb = B[: 4 * size], B[4 * size :]
    for x in X:
        a = {g: W[r] @ x + R[r] @ H + Wb[r] + Rb[r] for g, r in rows.items()}
        i, o, f = (1 / (1 + np.exp(-a[g])) for g in "iof")
        c = np.tanh(a["c"])
        C = f * C + i * c
        H = o * np.tanh(C)
    # lab: end
    return H, C


def against_torch(swapped: bool) -> float:
    """The largest difference from PyTorch's numbers, of values and gradients."""
    cell = nn.LSTMCell(3, 2)
    with tg.no_grad():
        for k, p in enumerate(cell.parameters()):
            p.copy_(filled(tuple(p.shape), k))
            if swapped:
                i, f = p[:2].clone(), p[2:4].clone()
                p[:2], p[2:4] = f, i
    x, h_0, c_0 = (filled((n,), 10 + k).requires_grad_() for k, n in enumerate((3, 2, 2)))
    h, c = cell(x, (h_0, c_0))
    weights = tg.tensor([1.0, 2.0])
    ((h * weights).sum() + 2 * (c * weights).sum()).backward()
    leaves: list[Any] = [h_0, c_0, cell.weight_ih, cell.weight_hh, cell.bias_ih]
    norms = [p.grad.norm().item() for p in leaves]
    found: dict[str, Any] = {"h": h.detach().numpy(), "c": c.detach().numpy(), "dx": x.grad, "norms": np.array(norms)}
    found["dx"] = found["dx"].numpy()
    return max(float(abs(found[name] - np.array(TORCH[name])).max()) for name in TORCH)


def measured(size: Size, seed: int, order: str = "iofc", swapped: bool = False) -> Result:
    """The cell against PyTorch's numbers, ONNX's operator, and finite differences."""
    rng = np.random.default_rng(seed)
    away = 0.0
    for _ in range(20 if size == "quick" else 500):
        inputs, units, T = (int(n) for n in rng.integers(1, 8, 3))
        layer = nn.LSTM(inputs, units)
        node = tg.serialization.to_onnx(layer)[0].inputs
        X, H, C = rng.standard_normal((T, inputs)), rng.standard_normal(units), rng.standard_normal(units)
        _, (h, c) = layer(tg.tensor(X), (tg.tensor(H[None]), tg.tensor(C[None])))
        H, C = onnx_node(node["W"][0], node["R"][0], node["B"][0], X, H, C, order)
        both = np.concatenate([h[0].detach().numpy() - H, c[0].detach().numpy() - C])
        away = max(away, float(abs(both).max()))
    cell = nn.LSTMCell(3, 2)
    leaves = [tg.randn(1, n, requires_grad=True) for n in (3, 2, 2)]
    agrees = tg.autograd.gradcheck(lambda x, h, c, *_: cell(x, (h, c)), (*leaves, *cell.parameters()))
    torch_away = against_torch(swapped)
    checks = [
        Check("difference from ONNX's operator", away, "<", 1e-14, "rounding of up to 7 steps; 2e-15 in 20 seeds"),
        Check("difference from PyTorch", torch_away, "<", 1e-14, "values, and gradients of all kinds; rounding"),
        Check("gradient is that of finite differences", agrees, "==", True, "gradcheck, float64, all arguments"),
    ]
    one = nn.LSTMCell(1, 1)
    with tg.no_grad():
        x, h_0, c_0 = (tg.tensor([v]) for v in (1.0, -0.4, 0.8))
        a = (one.weight_ih @ x + one.bias_ih + one.weight_hh @ h_0 + one.bias_hh).numpy()
        h, c = one(x, (h_0, c_0))
    gates = {g: float(1 / (1 + np.exp(-v))) for g, v in zip("ifo", a[[0, 1, 3]], strict=True)} | {
        "g": float(np.tanh(a[2]))
    }
    shown = gates | {"x": 1.0, "h_0": -0.4, "c_0": 0.8, "c": c.item(), "h": h.item()}
    numbers = {"difference from ONNX's operator": away, "difference from PyTorch": torch_away}
    because = (
        f"values differ from ONNX's operator by {away:.0e}, values and gradients from PyTorch's by {torch_away:.0e}"
    )
    return Result(checks, "holds", because, numbers, shown, lambda figure: draw(figure, shown))


def draw(figure: Any, v: dict[str, float]) -> None:
    """One step of a cell, with its numbers."""
    ax = figure.subplots()
    ax.set_xlim(0, 10)
    ax.set_ylim(0, 6)
    boxes = {"f": (2.2, 1.6, 3), "i": (4.0, 1.6, 0), "g": (5.6, 1.6, 2), "o": (7.4, 1.6, 1)}
    names = {"f": "forget f", "i": "input i", "g": "content g", "o": "output o"}
    for gate, (x, y, colour) in boxes.items():
        kind = "tanh" if gate == "g" else "s"
        box = {"boxstyle": "round", "facecolor": "none", "edgecolor": COLOURS[colour], "linewidth": 1.5}
        ax.text(
            x, y, f"{names[gate]} ({kind})\n{v[gate]:.3f}", color=COLOURS[colour], ha="center", va="center", bbox=box
        )
        arrow(ax, (x, 0.75), (x, y - 0.45))
    products = {"f": (2.2, 5.0, f"* = {v['f'] * v['c_0']:.3f}"), "i": (4.8, 3.4, f"* = {v['i'] * v['g']:.3f}")}
    products |= {"+": (4.8, 5.0, f"+ = {v['c']:.3f}"), "o": (7.4, 3.4, f"* = {v['h']:.3f}")}
    for x, y, text in products.values():
        box = {"boxstyle": "circle,pad=0.15", "facecolor": "none", "edgecolor": GREY}
        ax.text(x, y, text[0], color=GREY, ha="center", va="center", bbox=box)
        ax.text(x + 0.3, y + 0.25, text[2:], color=GREY, fontsize=9)
    ways = [((0.9, 5.0), (1.9, 5.0)), ((2.2, 2.1), (2.2, 4.7)), ((2.5, 5.0), (4.5, 5.0)), ((4.0, 2.1), (4.6, 3.2))]
    ways += [((5.6, 2.1), (5.0, 3.2)), ((4.8, 3.7), (4.8, 4.7)), ((5.1, 5.0), (9.0, 5.0)), ((7.4, 2.1), (7.4, 3.1))]
    ways += [((7.4, 4.9), (7.4, 3.7)), ((7.7, 3.4), (9.0, 3.4)), ((0.9, 0.75), (7.4, 0.75))]
    for start, end in ways:
        arrow(ax, start, end)
    ax.text(7.55, 4.3, f"tanh c' = {np.tanh(v['c']):.3f}", color=GREY, fontsize=9)
    ends = {(0.85, 5.0): f"c = {v['c_0']:.1f}", (0.85, 0.75): f"h = {v['h_0']:.1f}\nx = {v['x']:.1f}"}
    for (x, y), text in ends.items():
        ax.text(x, y, text, color=COLOURS[4], ha="right", va="center")
    ax.text(9.05, 5.0, f"c' = {v['c']:.3f}", color=COLOURS[4], va="center")
    ax.text(9.05, 3.4, f"h' = {v['h']:.3f}", color=COLOURS[4], va="center")
    ax.set_axis_off()


def arrow(ax: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one place to another."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 0})


@experiment(
    16,
    "LSTM equations",
    source="CS224N 2019, lecture 7; notes S2; ONNX operator LSTM; Hochreiter and Schmidhuber 1997, Gers et al. 2000",
    seconds=0.2,
    full_seconds=3,
)
def run(size: Size, seed: int) -> Result:
    """Whether all those LSTMs are one."""
    return measured(size, seed)


@run.broken("ONNX's rows read as i, f, o, c", fails="difference from ONNX's operator")
def order_of_rows(size: Size, seed: int) -> Result:
    """The blocks of the output and the forget gate change places."""
    return measured(size, seed, order="ifoc")


@run.broken("gates i and f swapped", fails="difference from PyTorch")
def input_for_forget(size: Size, seed: int) -> Result:
    """The rows of the input gate stand where those of the forget gate should."""
    return measured(size, seed, swapped=True)


@run.smallest
def smallest() -> tg.Tape:
    """One step of one unit, every operation."""
    U, b = tg.tensor([0.5, -0.3, 0.8, 0.2], requires_grad=True), tg.tensor([0.0, 1.0, 0.0, 0.0], requires_grad=True)
    h_0, c_0 = tg.tensor(-0.4, requires_grad=True), tg.tensor(0.8, requires_grad=True)
    with tg.Tape() as tape:
        a = U * h_0 + b
        i, f, g, o = a[0].sigmoid(), a[1].sigmoid(), a[2].tanh(), a[3].sigmoid()
        c = f * c_0 + i * g
        h = o * c.tanh()
        h.backward()
    return tape
