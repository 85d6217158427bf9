"""What diagnostics must give, found by the engine alone: layers unrolled with a copy of every weight for every step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn.recurrent.options import Masking, with_zoneout
from tinygrad_rnn.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class Unrolled:
    """One layer in one direction: states behind nodes of their own, so that each can be held fixed or moved alone.

    Attributes:
        states: by number of the state, then by visit: (L + 1) tensors (N, W), the first being the initial one.
        copies: by visit, the weights that this step used, by name in the layer.
        times: of the visits.
    """

    def __init__(self) -> None:
        self.states: list[list[tg.Tensor]] = []
        self.copies: list[dict[str, tg.Tensor]] = []
        self.times: list[int] = []
        self.sizes: list[int] = []


@contextlib.contextmanager
def unrolled(layer: Any) -> Iterator[dict[tuple[int, int], Unrolled]]:
    """Within, a stack of recurrent layers runs step by step, as simply as can be."""
    found: dict[tuple[int, int], Unrolled] = {}

    def direction(number: int, reverse: int, x: tg.Tensor, states: Any, sizes: Any) -> Any:
        seen = found[number, reverse] = Unrolled()
        lengths = [x.shape[1]] * x.shape[0] if sizes is None else list(sizes)
        starts = np.cumsum([0, *lengths])
        states = tuple([(s if s.requires_grad else s.clone().requires_grad_()) * 1.0 for s in states])
        seen.states = [[s] for s in states]
        outputs: dict[int, tg.Tensor] = {}
        for t in range(len(lengths))[:: -1 if reverse else 1]:
            n = lengths[t]
            rows = x[t] if sizes is None else x[int(starts[t]) : int(starts[t + 1])]
            with copied(layer) as copies:
                step = layer._work(number, reverse).step
                step = with_zoneout(step, Masking.of(layer.options, len(states), False).zoneouts, False)
                new = step(rows, tuple([s[:n] for s in states]))[: len(states)]
            states = tuple([tg.cat([a, s[n:]]) * 1.0 for a, s in zip(new, states, strict=True)])
            for series, s in zip(seen.states, states, strict=True):
                series.append(s)
            seen.copies.append(copies)
            seen.times.append(t)
            seen.sizes.append(n)
            outputs[t] = states[0][:n]
        ordered = [outputs[t] for t in range(len(lengths))]
        return ((tg.stack(ordered) if sizes is None else tg.cat(ordered)),), states

    layer._direction = direction
    try:
        yield found
    finally:
        del layer._direction


@contextlib.contextmanager
def copied(layer: Any) -> Iterator[dict[str, tg.Tensor]]:
    """Within, every parameter of a module is a copy, a leaf of its own."""
    places = [(name, m, key) for name, m in layer.named_modules() for key, p in m._parameters.items() if p is not None]
    before = [m._parameters[key] for _, m, key in places]
    copies = {}
    for (name, m, key), p in zip(places, before, strict=True):
        copy = nn.Parameter(p.detach().clone())
        m._parameters[key] = copies[f"{name}.{key}" if name else key] = copy
    try:
        yield copies
    finally:
        for (_, m, key), p in zip(places, before, strict=True):
            m._parameters[key] = p


# layers at random ----------------------------------------------------------------------------------------------------


class Leaky(nn.Module):
    """A user's cell with two states of different widths and a product in between."""

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, (3, 2)
        self.read = nn.Linear(input_size + 3, 5)
        self.mix = nn.Linear(2, 3, bias=False)

    def forward(self, x: tg.Tensor, state: Any) -> Any:
        h, slow = state
        a = self.read(tg.cat([x, h], 1))
        slow = 0.9 * slow + 0.1 * tg.tanh(a[:, 3:])
        return tg.sigmoid(a[:, :3]) * tg.tanh(self.mix(slow)) + 0.5 * h, slow


class Case(NamedTuple):
    """A layer, its input and states, and what it is in words."""

    layer: Any
    x: Any
    hx: Any
    words: str

    def output(self, result: Any) -> tg.Tensor:
        """The output as (T, N, R), padded."""
        y = result[0]
        if isinstance(y, PackedSequence):
            return pad_packed_sequence(y)[0]
        return y.transpose(0, 1) if getattr(self.layer, "batch_first", False) else y

    def finals(self, result: Any) -> list[tg.Tensor]:
        return list(result[1]) if isinstance(result[1], tuple) else [result[1]]


def case(seed: int) -> Case:
    """A recurrent configuration drawn at random, in float64."""
    rng = np.random.default_rng(seed)

    def one(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    kind = one("RNN", "LSTM", "GRU", "LSTM", "GRU", "RNN", "LSTM", "GRU", "Leaky")
    n, t, i = int(rng.integers(1, 4)), int(rng.integers(1, 7)), int(rng.integers(1, 4))
    size = int(rng.integers(2, 5))
    options: dict[str, Any] = {"num_layers": one(1, 1, 2, 3), "bidirectional": one(True, False)}
    options |= {"batch_first": one(True, False), "skip": one(None, None, "residual", "highway", "dense")}
    options |= {"learn_state": one(False, False, True), "impl": one("auto", "auto", "auto", "composed", "compiled")}
    options["zoneout"] = one(0.0, 0.0, 0.0, 0.0, 0.2)
    tg.manual_seed(seed)
    if kind == "Leaky":
        layer: Any = nn.RNNLayer(Leaky, i, **options)
    else:
        options |= {"bias": one(True, True, False), "layer_norm": one(False, False, False, False, True)}
        if options["layer_norm"]:  # two units, normalised, are -1 and 1 whatever comes: their derivatives are roundings
            size = 5
        if kind == "RNN":
            options["nonlinearity"] = one("tanh", "tanh", "relu")
        if kind == "LSTM":
            options |= {"peepholes": one(False, False, False, True), "proj_size": one(0, 0, size - 1)}
        if kind == "GRU":
            options["reset_after"] = one(True, True, True, False)
        layer = getattr(nn, kind)(i, size, **options)
    layer = layer.double().eval()
    for p in layer.parameters():
        p._data[...] = rng.uniform(-1, 1, p.shape)
        p._touch()
    x = tg.tensor(rng.standard_normal((t, n, i)))
    count = layer.num_layers * layer._directions
    states = [tg.tensor(rng.uniform(-1, 1, (count, n, w))) for w in layer._state_sizes()]
    hx = one(None, tuple(states) if len(states) > 1 else states[0])
    fed: Any = x.transpose(0, 1) if options["batch_first"] else x
    packed = one(True, False)
    if packed:
        lengths = rng.integers(1, t + 1, n)
        fed = pack_padded_sequence(fed, lengths.tolist(), options["batch_first"], enforce_sorted=False)
    words = f"{seed}: {kind}, T={t}, N={n}, I={i}, H={size}, {options}{', packed' if packed else ''}"
    return Case(layer, fed, hx, words)


def loss_of(c: Case, seed: int) -> Callable[[Any], tg.Tensor]:
    """A loss of outputs and final states with random weights."""

    def loss(result: Any) -> tg.Tensor:
        rng = np.random.default_rng(seed)
        total: Any = 0.0
        for values in (c.output(result), *c.finals(result)):
            total = total + (values * tg.tensor(rng.standard_normal(values.shape)) + values**2).sum()
        return total

    return loss


def losses_of(c: Case, seed: int) -> Callable[[Any], tg.Tensor]:
    """A loss for each step."""

    def losses(result: Any) -> tg.Tensor:
        y = c.output(result)
        return (y * tg.tensor(np.random.default_rng(seed).standard_normal(y.shape)) + y**2).sum((1, 2))

    return losses
