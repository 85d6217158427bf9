"""Cells to compile: each makes its parameters, its step, and the widths of its states, for I inputs and H units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg
import tinygrad_rnn.nn.functional as F
from tinygrad_rnn import nn
from tinygrad_rnn.nn.functional.gaussian import erf
from tinygrad_rnn.ops.compiler.trace import Mask
from tinygrad_rnn.ops.linalg import linear
from tinygrad_rnn.ops.recurrent.cells import gru_cell, lstm_cell, rnn_cell
from tinygrad_rnn.tape.tensor import Tensor

__all__ = ["CELLS", "MASKED", "Cell", "weights"]


class Cell(NamedTuple):
    """A step ``(x, states, *masks) -> (*states, *emitted)``, with what it reads."""

    parameters: Mapping[str, Tensor]
    step: Callable[..., Any]
    widths: tuple[int, ...]
    emitted: tuple[int, ...] = ()  # the columns of each emitted value
    step_masks: tuple[Mask, ...] = ()
    sequence_masks: tuple[Mask, ...] = ()

    def masks(self, random: np.random.Generator, rows: int, sequences: int) -> tuple[list[Any], list[Any]]:
        """Masks of dropout, and of bools: (rows, K) of steps and (sequences, K)."""

        def draw(mask: Mask, rows: int) -> Any:
            kept = random.random((rows, mask.width)) < 0.6
            return kept if mask.boolean else kept / 0.6

        return [draw(m, rows) for m in self.step_masks], [draw(m, sequences) for m in self.sequence_masks]


Maker = Callable[[int, int], Cell]
CELLS: dict[str, Maker] = {}


def cell(make: Maker) -> Maker:
    CELLS[make.__name__] = make
    return make


def weights(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    random = np.random.default_rng(0)
    return {k: tg.tensor(random.uniform(-0.4, 0.4, shape), requires_grad=True) for k, shape in shapes.items()}


def gates(count: int, size: int, hidden: int, **more: tuple[int, ...]) -> dict[str, Tensor]:
    rows = count * hidden
    return weights(weight_ih=(rows, size), weight_hh=(rows, hidden), bias_ih=(rows,), bias_hh=(rows,), **more)


# our own equations ---------------------------------------------------------------------------------------------------


@cell
def lstm(size: int, hidden: int) -> Cell:
    p = gates(4, size, hidden)
    return Cell(p, lambda x, s: lstm_cell(x, *s, **p), (hidden, hidden))


@cell
def lstm_with_projection(size: int, hidden: int) -> Cell:
    rows, small = 4 * hidden, hidden // 2 + 1
    p = weights(weight_ih=(rows, size), weight_hh=(rows, small), weight_hr=(small, hidden))
    return Cell(p, lambda x, s: lstm_cell(x, *s, **p), (small, hidden))


@cell
def lstm_with_peepholes(size: int, hidden: int) -> Cell:
    p = gates(4, size, hidden, weight_peephole=(3 * hidden,))
    return Cell(p, lambda x, s: lstm_cell(x, *s, **p), (hidden, hidden))


@cell
def lstm_with_layer_norm(size: int, hidden: int) -> Cell:
    rows = 4 * hidden
    p = gates(4, size, hidden, norm_ih=(rows,), norm_hh=(rows,), norm_c=(hidden,), norm_c_bias=(hidden,))
    return Cell(p, lambda x, s: lstm_cell(x, *s, **p), (hidden, hidden))


@cell
def lstm_with_zoneout(size: int, hidden: int) -> Cell:
    p = gates(4, size, hidden)

    def step(x: Any, s: Any) -> Any:
        return tuple([before + 0.1 * (after - before) for before, after in zip(lstm_cell(x, *s, **p), s, strict=True)])

    return Cell(p, step, (hidden, hidden))


@cell
def lstm_of_a_function_of_x(size: int, hidden: int) -> Cell:
    """A computed operand whose cotangent nothing but that of x reads."""
    p = gates(4, size, hidden)
    return Cell(p, lambda x, s: lstm_cell(tg.tanh(x), *s, **p), (hidden, hidden))


@cell
def gru(size: int, hidden: int) -> Cell:
    p = gates(3, size, hidden)
    return Cell(p, lambda x, s: gru_cell(x, *s, **p), (hidden,))


@cell
def gru_with_the_reset_before_the_product(size: int, hidden: int) -> Cell:
    p = gates(3, size, hidden)
    return Cell(p, lambda x, s: gru_cell(x, *s, reset_after=False, **p), (hidden,))


@cell
def gru_with_layer_norm(size: int, hidden: int) -> Cell:
    p = gates(3, size, hidden, norm_ih=(3 * hidden,), norm_hh=(3 * hidden,))
    return Cell(p, lambda x, s: gru_cell(x, *s, **p), (hidden,))


@cell
def rnn(size: int, hidden: int) -> Cell:
    p = gates(1, size, hidden)
    return Cell(p, lambda x, s: rnn_cell(x, *s, **p), (hidden,))


@cell
def rnn_with_relu(size: int, hidden: int) -> Cell:
    p = gates(1, size, hidden)
    return Cell(p, lambda x, s: rnn_cell(x, *s, nonlinearity="relu", **p), (hidden,))


# cells of the literature ---------------------------------------------------------------------------------------------


@cell
def coupled_gates(size: int, hidden: int) -> Cell:
    p = weights(W=(3 * hidden, size), U=(3 * hidden, hidden), b=(3 * hidden,))

    def step(x: Any, s: Any) -> Any:
        h, c = s
        a = linear(x, p["W"], p["b"]) + linear(h, p["U"])
        f, g, o = tg.sigmoid(a[:, :hidden]), tg.tanh(a[:, hidden : 2 * hidden]), tg.sigmoid(a[:, 2 * hidden :])
        c = f * c + (1 - f) * g
        return o * tg.tanh(c), c

    return Cell(p, step, (hidden, hidden))


@cell
def recurrent_highway(size: int, hidden: int) -> Cell:
    p = weights(W=(2 * hidden, size), U1=(2 * hidden, hidden), U2=(2 * hidden, hidden), b=(2 * hidden,))

    def step(x: Any, s: Any) -> Any:
        (h,) = s
        for a in (lambda h: linear(x, p["W"]) + linear(h, p["U1"], p["b"]), lambda h: linear(h, p["U2"], p["b"])):
            both = a(h)
            t = tg.sigmoid(both[:, hidden:])
            h = t * tg.tanh(both[:, :hidden]) + (1 - t) * h
        return h

    return Cell(p, step, (hidden,))


@cell
def sru(size: int, hidden: int) -> Cell:
    p = weights(W=(3 * hidden, size), vf=(hidden,), vr=(hidden,), bf=(hidden,), br=(hidden,), S=(hidden, size))

    def step(x: Any, s: Any) -> Any:
        _, c = s
        a = linear(x, p["W"])
        f = tg.sigmoid(a[:, hidden : 2 * hidden] + p["vf"] * c + p["bf"])
        r = tg.sigmoid(a[:, 2 * hidden :] + p["vr"] * c + p["br"])
        c = f * c + (1 - f) * a[:, :hidden]
        return r * c + (1 - r) * linear(x, p["S"]), c

    return Cell(p, step, (hidden, hidden))


@cell
def min_gru(size: int, hidden: int) -> Cell:
    p = weights(W=(2 * hidden, size), b=(2 * hidden,))

    def step(x: Any, s: Any) -> Any:
        a = linear(x, p["W"], p["b"])
        z = tg.sigmoid(a[:, :hidden])
        return (1 - z) * s[0] + z * a[:, hidden:]

    return Cell(p, step, (hidden,))


@cell
def ind_rnn(size: int, hidden: int) -> Cell:
    p = weights(W=(hidden, size), u=(hidden,), b=(hidden,))
    return Cell(p, lambda x, s: tg.relu(linear(x, p["W"], p["b"]) + p["u"] * s[0]), (hidden,))


@cell
def antisymmetric(size: int, hidden: int) -> Cell:
    p = weights(W=(hidden, hidden), V=(hidden, size), b=(hidden,))

    def step(x: Any, s: Any) -> Any:
        return s[0] + 0.1 * tg.tanh(linear(s[0], p["W"] - p["W"].T) - 0.01 * s[0] + linear(x, p["V"], p["b"]))

    return Cell(p, step, (hidden,))


@cell
def softmax_over_units(size: int, hidden: int) -> Cell:
    p = weights(W=(hidden, size), U=(hidden, hidden))
    return Cell(p, lambda x, s: tg.softmax(linear(x, p["W"]) + linear(s[0], p["U"]), 1), (hidden,))


# equations as users write them ---------------------------------------------------------------------------------------


@cell
def states_of_two_widths(size: int, hidden: int) -> Cell:
    """Joined inputs, weights (in, out), functions of a parameter."""
    small = hidden // 2 + 1
    p = weights(W=(size + hidden, 2 * hidden), b=(2 * hidden,), V=(small, hidden), A=(small, small), B=(hidden, small))
    p |= weights(scale=(small,))

    def step(x: Any, s: Any) -> Any:
        h, m = s
        a = tg.cat([x, h], 1) @ p["W"] + p["b"]
        gate, candidate = a[:, :hidden].sigmoid(), tg.relu(a[:, hidden:])
        m = (m @ p["A"] + h @ p["B"]).tanh() * p["scale"].exp() + 0.5 * m
        h = gate * h + (1 - gate) * (candidate + m @ p["V"]).tanh()
        return h, m

    return Cell(p, step, (hidden, small))


@cell
def leaky_integrator(size: int, hidden: int) -> Cell:
    """x itself, unit by unit, and numbers that are parameters."""
    p = weights(rate=(), gain=(1,), shift=(1, size))
    step = lambda x, s: s[0] + tg.sigmoid(p["rate"]) * (p["gain"] * x + p["shift"] - s[0])  # noqa: E731
    return Cell(p, step, (size,))


@cell
def a_parameter_read_twice(size: int, hidden: int) -> Cell:
    """As it is, and through a function of it; a matrix too."""
    p = weights(W=(hidden, size), U=(hidden, hidden), v=(hidden,))
    p["W"].requires_grad = True

    def step(x: Any, s: Any) -> Any:
        a = linear(x, p["W"], p["v"]) + linear(s[0], p["U"]) + linear(s[0], tg.tanh(p["U"]).T)
        return tg.tanh(a * tg.exp(p["v"]) - p["v"])

    return Cell(p, step, (hidden,))


@cell
def frozen_parameters(size: int, hidden: int) -> Cell:
    p = gates(1, size, hidden)
    p["weight_hh"].requires_grad = p["bias_ih"].requires_grad = False
    return Cell(p, lambda x, s: rnn_cell(x, *s, **p), (hidden,))


@cell
def constants(size: int, hidden: int) -> Cell:
    p = weights(W=(hidden, size))
    fixed, number = tg.linspace(0.1, 0.9, hidden, dtype=tg.float64), tg.tensor(0.3, dtype=tg.float64)
    return Cell(p, lambda x, s: fixed * s[0] + number * linear(x, p["W"]) + tg.ones_like(s[0]) * 0.1, (hidden,))


@cell
def maxima_and_norms(size: int, hidden: int) -> Cell:
    p = weights(W=(hidden, size), U=(hidden, hidden))

    def step(x: Any, s: Any) -> Any:
        a = linear(x, p["W"]) + linear(s[0], p["U"])
        a = a / (1 + (a * a).sum(1, keepdim=True)) ** 0.5
        return a + 0.1 * a.amax(1, keepdim=True) - 0.2 * s[0].amin(1)[:, None] * s[0].mean(1)[:, None]

    return Cell(p, step, (hidden,))


@cell
def a_state_that_stays(size: int, hidden: int) -> Cell:
    p = weights(W=(hidden, size))
    return Cell(p, lambda x, s: (tg.tanh(linear(x, p["W"]) + s[1]), s[1], s[0]), (hidden, hidden, hidden))


@cell
def nothing_of_x(size: int, hidden: int) -> Cell:
    p = weights(U=(hidden, hidden))
    return Cell(p, lambda x, s: (1 + tg.tanh(s[0] @ p["U"])) * s[0].detach(), (hidden,))  # 1: it must not die out


class Rounded(tg.autograd.Function):
    """Of one digit, with the gradient of what it rounds."""

    @staticmethod
    def forward(ctx: Any, a: Any) -> Any:
        return tg.floor(a * 10) / 10

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * 0.9


@cell
def a_function_with_a_gradient_of_its_own(size: int, hidden: int) -> Cell:
    p = weights(W=(hidden, size), U=(hidden, hidden))
    return Cell(p, lambda x, s: tg.tanh(Rounded.apply(linear(x, p["W"])) + linear(s[0], p["U"])), (hidden,))


@cell
def a_gate_for_all_units(size: int, hidden: int) -> Cell:
    """A product with a vector: one number for each row."""
    p = weights(W=(hidden, size), v=(hidden,), u=(size,))

    def step(x: Any, s: Any) -> Any:
        gate = tg.sigmoid(s[0] @ p["v"] + x @ p["u"])[:, None]
        return gate * s[0] + (1 - gate) * linear(x, p["W"])

    return Cell(p, step, (hidden,))


@cell
def centred_in_part(size: int, hidden: int) -> Cell:
    """Means over rows in which one block is the same in every row, on the way back nought."""
    p = weights(W=(2 * hidden, size), v=(hidden,))

    def step(x: Any, s: Any) -> Any:
        a = linear(x, p["W"])
        a = a - a.mean(1, keepdim=True)
        b = tg.cat([a[:, :hidden], p["v"].expand(len(x), hidden)], 1)
        b = b - b.mean(1, keepdim=True) * b.amax(1, keepdim=True)
        return tg.tanh(b[:, :hidden] + s[0])

    return Cell(p, step, (hidden,))


@cell
def columns_that_are_read_twice(size: int, hidden: int) -> Cell:
    p = weights(W=(2 * hidden, size))

    def step(x: Any, s: Any) -> Any:
        a = linear(x, p["W"]) * tg.cat([s[0], s[0]], 1)
        return tg.tanh(a[:, :hidden] + a[:, :hidden] + a[:, hidden // 2 : hidden // 2 + hidden])

    return Cell(p, step, (hidden,))


@cell
def swapped_halves(size: int, hidden: int) -> Cell:
    p = weights(W=(2 * hidden, size), U=(2 * hidden, 2 * hidden))

    def step(x: Any, s: Any) -> Any:
        first, second = (linear(x, p["W"]) + linear(s[0], p["U"])).chunk(2, -1)
        return tg.tanh(tg.cat([second * first, first], -1))

    return Cell(p, step, (2 * hidden,))


@cell
def products_of_products(size: int, hidden: int) -> Cell:
    p = weights(W=(hidden, size), A=(hidden, 3), B=(3, hidden), C=(hidden, hidden))

    def step(x: Any, s: Any) -> Any:
        a = linear(x, p["W"])
        return tg.tanh(a @ p["C"] + (s[0] @ p["A"]).relu() @ p["B"] + (a * s[0]) @ p["C"])

    return Cell(p, step, (hidden,))


# masks and emitted values --------------------------------------------------------------------------------------------


def _with_recurrent_dropout(make: Maker) -> Maker:
    """The first state is masked, by one mask of each sequence."""

    def made(size: int, hidden: int) -> Cell:
        c = make(size, hidden)
        step = lambda x, s, mask: c.step(x, (s[0] * mask, *s[1:]))  # noqa: E731
        return c._replace(step=step, sequence_masks=(Mask(c.widths[0]),))

    return made


def _with_zoneout(make: Maker) -> Maker:
    """Each entry of each state is the old one where its mask of the step says so."""

    def made(size: int, hidden: int) -> Cell:
        c = make(size, hidden)

        def step(x: Any, s: Any, *keep: Any) -> Any:
            new = c.step(x, s)
            new = (new,) if isinstance(new, Tensor) else new
            return tuple([tg.where(k, old, value) for k, old, value in zip(keep, s, new, strict=True)])

        return c._replace(step=step, step_masks=tuple([Mask(w, True) for w in c.widths]))

    return made


MASKED: dict[str, Maker] = {}
for _name, _make in {"lstm": lstm, "gru": gru, "rnn": rnn, "lstm_with_peepholes": lstm_with_peepholes}.items():
    MASKED[f"{_name} with recurrent dropout"] = _with_recurrent_dropout(_make)
    MASKED[f"{_name} with zoneout"] = _with_zoneout(_make)


def masked(make: Maker) -> Maker:
    MASKED[make.__name__] = make
    return make


@masked
def lstm_with_gates(size: int, hidden: int) -> Cell:
    p = gates(4, size, hidden)
    return Cell(p, lambda x, s: lstm_cell(x, *s, gates=True, **p), (hidden, hidden), (hidden,) * 4)


@masked
def gru_with_gates(size: int, hidden: int) -> Cell:
    p = gates(3, size, hidden)
    return Cell(p, lambda x, s: gru_cell(x, *s, gates=True, **p), (hidden,), (hidden,) * 3)


@masked
def rnn_with_gates(size: int, hidden: int) -> Cell:
    """Of which the one gate is the state."""
    p = gates(1, size, hidden)
    return Cell(p, lambda x, s: rnn_cell(x, *s, gates=True, **p), (hidden,), (hidden,))


@masked
def lstm_that_emits_its_cells(size: int, hidden: int) -> Cell:
    """The new ones, those before the step, and their tanh, which is read by h' too."""
    p = gates(4, size, hidden)

    def step(x: Any, s: Any) -> Any:
        _, c, *_, o = lstm_cell(x, *s, gates=True, **p)
        t = tg.tanh(c)
        return o * t, c, c, s[1], t

    return Cell(p, step, (hidden, hidden), (hidden,) * 3)


@masked
def lstm_with_projection_that_emits(size: int, hidden: int) -> Cell:
    """What it projects, too, and a value of another width; with masks of every kind."""
    rows, small = 4 * hidden, hidden // 2 + 1
    p = weights(weight_ih=(rows, size), weight_hh=(rows, small), weight_hr=(small, hidden), v=(hidden,))

    def step(x: Any, s: Any, keep: Any, noise: Any, mask: Any) -> Any:
        _, c, *_, o = lstm_cell(x * noise, s[0] * mask, s[1], p["weight_ih"], p["weight_hh"], gates=True)
        inner = o * tg.tanh(c)
        h = tg.where(keep, s[0], linear(inner, p["weight_hr"]))
        return h, c, inner, tg.cat([h, inner * p["v"], x], 1), (c * p["v"]).sum(1, keepdim=True)

    emitted = (hidden, small + hidden + size, 1)
    return Cell(p, step, (small, hidden), emitted, (Mask(small, True), Mask(size)), (Mask(small),))


@masked
def masks_in_products_and_sums(size: int, hidden: int) -> Cell:
    """A mask that is multiplied by a matrix, one number for each row, and masks of masks."""
    p = weights(W=(hidden, size), U=(hidden, hidden), v=(hidden,))

    def step(x: Any, s: Any, drop: Any, keep: Any, row: Any, noise: Any) -> Any:
        a = linear(x, p["W"]) + linear(s[0] * drop, p["U"], p["v"]) + linear(drop, p["U"]) * 0.1
        a = a * row + noise.sum(1, keepdim=True) * noise[:, :1] * p["v"]
        return tg.where(keep & (a > -0.5), tg.tanh(a), s[0]), drop * s[0], p["v"].expand(len(x), hidden)

    return Cell(p, step, (hidden,), (hidden, hidden), (Mask(hidden), Mask(hidden, True)), (Mask(1), Mask(hidden)))


CELLS |= MASKED

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "leaky_relu": F.leaky_relu,
    "silu": F.silu,
    "elu": F.elu,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "gelu_tanh": lambda a: F.gelu(a, approximate="tanh"),
    "log_sigmoid": F.logsigmoid,
    "hardtanh": F.hardtanh,
    "hardsigmoid": F.hardsigmoid,
    "softsign": F.softsign,
    "clamp": lambda a: a.clamp(-0.3, 0.3),
    "where": lambda a: tg.where(a > 0.1, a**2, a.abs()),
    "mask": lambda a: a * ((a > 0) & (a < 0.5)).double(),
    "powers": lambda a: a**3 + (a * a + 1) ** 0.5 - (a * a + 0.5) ** -1.5,
    "division": lambda a: a / (1 + a.abs()) + 1 / (2 + a),
    "maximum": lambda a: tg.maximum(a, 0.5 * a) + tg.minimum(a, -a),
    "log_softmax": lambda a: tg.log_softmax(a, 1),
    "sin": lambda a: tg.sin(a) * tg.cos(a) + tg.exp(-a * a) - tg.log1p(a * a) + tg.rsqrt(a * a + 1),
    "erf": erf,
    "norms": lambda a: F.normalize(a, dim=1) + a / (1 + a.norm(1, 1, True)) + a.std(1, unbiased=False, keepdim=True),
    "variance": lambda a: (a - a.mean(1, keepdim=True)) / (a.var(1, unbiased=False, keepdim=True) + 0.1).sqrt(),
    "logsumexp": lambda a: a - tg.logsumexp(a, 1, keepdim=True),
    "columns": lambda a: tg.stack(a.unbind(1)[::-1], 1) * a[:, :1] + a[:, -1:],
    "clamp by tensors": lambda a: tg.clamp(a, min=0.5 * a - 0.1, max=a * a) + tg.clamp(a, max=-a),
    "many activations": lambda a: F.mish(a) + F.selu(a) + F.celu(a) + F.hardshrink(a) + F.softshrink(a) + F.relu6(a),
    "square": lambda a: tg.square(a) - tg.sqrt(a * a + 1) + tg.sign(a) * 0.1,
}


def _of(function: Callable[[Any], Any]) -> Maker:
    def make(size: int, hidden: int) -> Cell:
        p = weights(W=(hidden, size), U=(hidden, hidden))
        return Cell(p, lambda x, s: function(linear(x, p["W"]) + linear(s[0], p["U"])), (hidden,))

    return make


CELLS |= {f"rnn with {name}": _of(function) for name, function in FUNCTIONS.items()}


# modules -------------------------------------------------------------------------------------------------------------


class EightLinears(nn.Module):
    """An LSTM as a newcomer writes it."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        for g in "ifgo":
            setattr(self, "x" + g, nn.Linear(size, hidden))
            setattr(self, "h" + g, nn.Linear(hidden, hidden, bias=False))

    def forward(self, x: Any, s: Any) -> Any:
        h, c = s
        i, f, o = (tg.sigmoid(getattr(self, "x" + g)(x) + getattr(self, "h" + g)(h)) for g in "ifo")
        c = f * c + i * tg.tanh(self.xg(x) + self.hg(h))
        return o * tg.tanh(c), c


class Normed(nn.Module):
    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.x, self.h, self.norm = nn.Linear(size, hidden), nn.Linear(hidden, hidden), nn.LayerNorm(hidden)

    def forward(self, x: Any, s: Any) -> Any:
        return tg.tanh(self.norm(self.x(x) + self.h(s[0])))


class Deep(nn.Module):
    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(size + hidden, 2 * hidden), nn.Tanh(), nn.Linear(2 * hidden, hidden))

    def forward(self, x: Any, s: Any) -> Any:
        return s[0] + 0.1 * self.net(tg.cat([x, s[0]], -1))


def _module(make: Callable[[int, int], Any], states: int = 1) -> Maker:
    def made(size: int, hidden: int) -> Cell:
        tg.manual_seed(0)
        module = make(size, hidden).double()
        step = (lambda x, s: module(x, s[0])) if isinstance(module, (nn.GRUCell, nn.RNNCell)) else module
        return Cell(dict(module.named_parameters()), step, (hidden,) * states)

    return made


CELLS |= {
    "eight Linears": _module(EightLinears, 2),
    "LayerNorm": _module(Normed),
    "Sequential of joined inputs": _module(Deep),
    "LSTMCell": _module(nn.LSTMCell, 2),
    "GRUCell": _module(nn.GRUCell),
    "RNNCell": _module(nn.RNNCell),
}
