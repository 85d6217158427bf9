"""Compiled and composed layers are one function: values, all gradients and second order, with every option, and masks.

Where Numba is not the subject, NumPy's text runs: it takes no time to compile.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.support.profiles import examples
from tinygrad_rnn import nn
from tinygrad_rnn.kernels.recurrent import dispatch

TOLERANCE = 1e-12
"""Of the largest number of a result: some hundred roundings of float64, products and masks in another order."""

STEPS, ROWS, SIZE, HIDDEN = 4, 3, 2, 4

SWITCHES: dict[str, st.SearchStrategy[Any]] = {
    "num_layers": st.integers(1, 2),
    "bidirectional": st.booleans(),
    "batch_first": st.booleans(),
    "bias": st.booleans(),
    "dropout": st.just(0.4),
    "locked_dropout": st.booleans(),
    "layer_norm": st.booleans(),
    "zoneout": st.sampled_from([0.3, 0.6, 1.0]),
    "recurrent_dropout": st.sampled_from([0.3, 1.0]),
    "weight_dropout": st.just(0.4),
    "return_gates": st.booleans(),
    "learn_state": st.booleans(),
    "skip": st.sampled_from(["residual", "highway", "dense"]),
    "checkpoint_segments": st.sampled_from([2, 3, "auto"]),
}
OF_KIND: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "RNN": {"nonlinearity": st.sampled_from(["tanh", "relu"])},
    "GRU": {"reset_after": st.booleans()},
    "LSTM": {
        "peepholes": st.booleans(),
        "return_cells": st.booleans(),
        "proj_size": st.just(3),
        "zoneout": st.sampled_from([0.3, (0.3, 0.6), (0.0, 0.5), (1.0, 0.2)]),
    },
}


@st.composite
def layers(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A kind of layer, and some of its options."""
    kind = draw(st.sampled_from(list(OF_KIND)))
    known = {**SWITCHES, **OF_KIND[kind]}
    names = draw(st.lists(st.sampled_from(list(known)), unique=True, max_size=6))
    options = {name: draw(known[name]) for name in names}
    if options.get("num_layers") != 2:
        options.pop("dropout", None)  # which warns
    return kind, options


def results(
    kind: str,
    options: dict[str, Any],
    impl: str,
    *,
    lengths: Any = None,
    given: bool = False,
    train: bool = True,
    second: bool = False,
    rows: int = ROWS,
) -> dict[str, np.ndarray]:
    """Every number of a layer, by name; the masks of a seed."""
    tg.manual_seed(0)
    layer = getattr(nn, kind)(SIZE, HIDDEN, dtype=tg.float64, impl=impl, **options).train(train)
    random = np.random.default_rng(1)
    for p in layer.parameters():
        p._data[...] = random.uniform(-0.8, 0.8, p.shape)
        p._touch()

    def tensor(*shape: int) -> tg.Tensor:
        return tg.tensor(random.standard_normal(shape), requires_grad=True)

    first = options.get("batch_first", False)
    x = tensor(rows, STEPS, SIZE) if first else tensor(STEPS, rows, SIZE)
    places = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    states = [tensor(places, rows, w) for w in layer._state_sizes()] if given else []
    data: Any = x
    if lengths is not None:
        data = nn.utils.rnn.pack_padded_sequence(x, lengths, first, enforce_sorted=False, allow_empty=True)
    tg.manual_seed(7)
    hx = None if not given else states[0] if len(states) == 1 else tuple(states)
    output, final, *more = layer(data, hx)
    found: dict[str, Any] = {"y": output}
    found |= {f"final {k}": s for k, s in enumerate(final if isinstance(final, tuple) else [final])}
    for one in more:
        found |= {f"gate {k}": g for k, g in one.items()} if isinstance(one, dict) else {"cells": one}
    found = {k: nn.utils.rnn.pad_packed_sequence(v)[0] if hasattr(v, "batch_sizes") else v for k, v in found.items()}
    names = ["x", *[f"state {k}" for k in range(len(states))], *[n for n, _ in layer.named_parameters()]]
    leaves = [x, *states, *layer.parameters()]
    loss = sum((v * tg.tensor(random.standard_normal(v.shape))).sum() for v in found.values())
    gradients = tg.autograd.grad(loss, leaves, create_graph=second, allow_unused=True, materialize_grads=True)
    found |= {f"gradient of {n}": g for n, g in zip(names, gradients, strict=True)}
    if second:
        again = sum(g.square().sum() for g in gradients if g.requires_grad)
        of = tg.autograd.grad(again, leaves, allow_unused=True, materialize_grads=True)
        found |= {f"second of {n}": g for n, g in zip(names, of, strict=True)}
    numbers = {k: v.detach().numpy() for k, v in found.items()}
    numbers["random"] = tg.default_generator.words(1)  # what is drawn next
    return numbers


def agree(kind: str, options: dict[str, Any], kernel: str = "numpy", **how: Any) -> None:
    with dispatch.only(kernel):
        compiled = results(kind, options, "compiled", **how)
    composed = results(kind, options, "composed", **how)
    assert list(compiled) == list(composed)
    for name, expected in composed.items():
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(compiled[name], expected, rtol=0, atol=TOLERANCE * scale, err_msg=name)
    assert float(np.abs(composed["gradient of x"]).max()) > 1e-6 or kind != "LSTM" or "zoneout" in options


LENGTHS = st.none() | st.lists(st.integers(0, STEPS), min_size=ROWS, max_size=ROWS).filter(any)


@settings(max_examples=examples(40), deadline=None)
@given(layers(), LENGTHS, st.booleans(), st.booleans())
def test_layers_agree_in_every_configuration(case: tuple[str, Any], lengths: Any, given: bool, train: bool) -> None:
    agree(*case, lengths=lengths, given=given, train=train)


@settings(max_examples=examples(8, 100), deadline=None)
@given(layers(), LENGTHS, st.booleans())
def test_second_order_agrees(case: tuple[str, Any], lengths: Any, train: bool) -> None:
    kind, options = case
    agree(kind, options, lengths=lengths, train=train, second=True)


NUMBA: list[tuple[str, dict[str, Any]]] = [
    ("LSTM", {"peepholes": True, "zoneout": (0.3, 0.2), "recurrent_dropout": 0.3, "return_cells": True}),
    ("GRU", {"reset_after": False, "return_gates": True, "weight_dropout": 0.3}),
    ("RNN", {"zoneout": 0.5, "nonlinearity": "relu"}),
]


@pytest.mark.parametrize(("kind", "options"), NUMBA, ids=[k for k, _ in NUMBA])
def test_layers_of_numba_agree(kind: str, options: dict[str, Any]) -> None:
    pytest.importorskip("numba")
    agree(kind, {**options, "bidirectional": True}, "numba", given=True)
    agree(kind, {**options, "bidirectional": True}, "numba", lengths=[2, 4, 3], given=True)
    agree(kind, {**options, "num_layers": 2, "checkpoint_segments": 2}, "numba", second=True)


@pytest.mark.parametrize("rows", [1, 40])
def test_one_sequence_and_many_agree(rows: int) -> None:
    agree("LSTM", {"peepholes": True, "zoneout": 0.3, "return_cells": True}, rows=rows)


# users' cells --------------------------------------------------------------------------------------------------------


class Two(nn.Module):
    """Two states of different widths; modules, a slice, a join, a buffer."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.hidden_size = (4, 3)
        self.read, self.norm = nn.Linear(size + 4, 7, dtype=tg.float64), nn.LayerNorm(7, dtype=tg.float64)
        self.cell = nn.GRUCell(7, 3, dtype=tg.float64)
        self.register_buffer("scale", tg.tensor([0.5, 1.0, 2.0, -1.0], dtype=tg.float64))

    def forward(self, x: tg.Tensor, states: tuple[tg.Tensor, ...]) -> tuple[tg.Tensor, ...]:
        h, c = states
        a = self.norm(self.read(tg.cat([x, h], -1)))
        c = self.cell(a, c)
        return tg.tanh(a[:, :4] + h * self.scale) * c[:, 1:2], c


@settings(max_examples=examples(12, 100), deadline=None)
@given(st.data())
def test_a_users_cell_agrees(data: st.DataObject) -> None:
    options = {
        "num_layers": data.draw(st.integers(1, 2)),
        "bidirectional": data.draw(st.booleans()),
        "zoneout": data.draw(st.sampled_from([0.0, 0.4, (0.2, 0.7)])),
        "recurrent_dropout": data.draw(st.sampled_from([0.0, 0.5])),
        "learn_state": data.draw(st.booleans()),
        "checkpoint_segments": data.draw(st.sampled_from([None, 2])),
    }
    lengths, train, second = data.draw(LENGTHS), data.draw(st.booleans()), data.draw(st.booleans())
    tg.manual_seed(0)
    layer = nn.RNNLayer(Two, SIZE, **options).train(train)
    layer.double()
    x = tg.randn(STEPS, ROWS, SIZE, dtype=tg.float64, requires_grad=True)
    given_x = (
        x if lengths is None else nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False, allow_empty=True)
    )
    found = []
    for impl, kernel in (("compiled", "numpy"), ("composed", "auto")):
        layer.impl = impl
        tg.manual_seed(3)
        with dispatch.only(kernel):
            y, (h, c) = layer(given_x)
            y = y.data if lengths is not None else y
            leaves = [x, *layer.parameters()]
            loss = (y * y).sum() + (h * c[..., :1]).sum()
            one = tg.autograd.grad(loss, leaves, create_graph=second)
            two = tg.autograd.grad(sum(g.square().sum() for g in one), leaves, allow_unused=True) if second else ()
        found.append([t.detach().numpy() for t in (y, h, c, *one, *[g for g in two if g is not None])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * max(1.0, float(np.abs(b).max())))
    assert np.abs(found[1][0]).max() > 1e-3 and np.abs(found[1][3]).max() > 1e-3  # y, and the gradient of x


@pytest.mark.parametrize("recording", [True, False])
def test_without_recording_the_values_are_the_same(recording: bool) -> None:
    layer = nn.LSTM(SIZE, HIDDEN, peepholes=True, impl="compiled", dtype=tg.float64)
    x = tg.randn(STEPS, ROWS, SIZE, dtype=tg.float64)
    with dispatch.only("numpy"), contextlib.nullcontext() if recording else tg.no_grad():
        y, _ = layer(x)
    assert y.requires_grad == recording
    layer.impl = "composed"
    np.testing.assert_allclose(y.detach().numpy(), layer(x)[0].detach().numpy(), rtol=0, atol=TOLERANCE)


# edges ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "shape", "options"),
    [
        ("LSTM", (5, 0, 2), {"peepholes": True, "zoneout": 0.3}),
        ("LSTM", (1, 3, 2), {"peepholes": True, "zoneout": 0.3}),
        ("GRU", (4, 1, 1), {"reset_after": False, "zoneout": 0.3}),
        ("RNN", (4, 2), {"layer_norm": True, "recurrent_dropout": 0.3}),
    ],
)
@pytest.mark.parametrize("hidden", [1, 4])
def test_edges_agree(kind: str, shape: tuple[int, ...], options: dict[str, Any], hidden: int) -> None:
    found = []
    for impl in ("compiled", "composed"):
        tg.manual_seed(0)
        layer = getattr(nn, kind)(shape[-1], hidden, impl=impl, dtype=tg.float64, **options)
        x = tg.randn(*shape, dtype=tg.float64, requires_grad=True)
        states = [tg.randn(layer._state_sizes()[0], 2 * max(shape[1], 1), dtype=tg.float64) for _ in "hc"]
        wide = [s.t()[None, ::2][:, : shape[1]] if len(shape) == 3 else s.t()[:1] for s in states]  # not contiguous
        with dispatch.only("numpy" if impl == "compiled" else "auto"):
            y, final = layer(x, tuple(wide) if kind == "LSTM" else wide[0])
        ends = final if isinstance(final, tuple) else (final,)
        leaves = [x, *layer.parameters()]
        gradients = tg.autograd.grad(sum((t * t).sum() for t in (y, *ends)), leaves)
        found.append([t.detach().numpy() for t in (y, *ends, *gradients)])
    for a, b in zip(*found, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * max(1.0, float(np.abs(b).max(initial=0))))


@pytest.mark.parametrize("ours", [True, False])
def test_parametrised_weights_have_their_gradients(ours: bool) -> None:
    tg.manual_seed(0)
    layer: Any = nn.LSTM(SIZE, HIDDEN, peepholes=True) if ours else nn.RNNLayer(nn.GRUCell(SIZE, HIDDEN))
    nn.utils.parametrizations.weight_norm(layer if ours else layer.cell_l0, "weight_hh_l0" if ours else "weight_hh")
    layer.double()
    x, found = tg.randn(STEPS, ROWS, SIZE, dtype=tg.float64), []
    for impl in ("compiled", "composed"):
        layer.impl = impl
        with dispatch.only("numpy" if impl == "compiled" else "auto"):
            found.append(tg.autograd.grad(layer(x)[0].square().sum(), list(layer.parameters())))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=TOLERANCE * max(1.0, float(b.abs().max())))
