"""Recurrent layers and cells in many configurations, run by PyTorch or by this package through the same code.

``run(lib, case, dtype)`` is given either library, builds the layer from a seed, feeds it, pulls a weighted sum of all
outputs back, and gives every number by name.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

__all__ = ["CELLS", "LAYERS", "CellCase", "LayerCase", "random_layer_case", "run_cell", "run_layer"]


@dataclass(frozen=True)
class LayerCase:
    """One layer and its input.

    Attributes:
        kind: RNN, LSTM or GRU.
        options: constructor's keywords.
        sizes: T, N, I, H.
        form: batched, unbatched, packed (longest first) or unsorted (packed in any order).
        states: whether initial states are given.
        train: the mode; in training dropout draws.
        seed: of the parameters and of everything random.
    """

    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[int, int, int, int] = (4, 3, 2, 3)
    form: str = "batched"
    states: bool = True
    train: bool = True
    seed: int = 0


@dataclass(frozen=True)
class CellCase:
    """One cell, applied three times."""

    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    batched: bool = True
    states: bool = True
    seed: int = 0


LAYERS: dict[str, LayerCase] = {
    "rnn": LayerCase("RNN"),
    "rnn relu, two layers, both ways": LayerCase(
        "RNN", {"nonlinearity": "relu", "num_layers": 2, "bidirectional": True}, seed=1
    ),
    "rnn no bias, batch first": LayerCase("RNN", {"bias": False, "batch_first": True}, states=False, seed=2),
    "rnn packed": LayerCase("RNN", {"bidirectional": True}, form="packed", seed=3),
    "rnn dropout": LayerCase("RNN", {"num_layers": 3, "dropout": 0.4}, seed=4),
    "lstm": LayerCase("LSTM", seed=5),
    "lstm zeros": LayerCase("LSTM", states=False, seed=6),
    "lstm two layers, both ways, batch first": LayerCase(
        "LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True}, seed=7
    ),
    "lstm projected": LayerCase("LSTM", {"proj_size": 2, "num_layers": 2, "bidirectional": True}, seed=8),
    "lstm no bias": LayerCase("LSTM", {"bias": False}, seed=9),
    "lstm unbatched": LayerCase("LSTM", {"bidirectional": True}, form="unbatched", seed=10),
    "lstm packed": LayerCase("LSTM", {"bidirectional": True}, form="packed", seed=11),
    "lstm unsorted": LayerCase("LSTM", {"bidirectional": True, "batch_first": True}, form="unsorted", seed=12),
    "lstm dropout": LayerCase("LSTM", {"num_layers": 2, "dropout": 0.5, "bidirectional": True}, seed=13),
    "lstm dropout off": LayerCase("LSTM", {"num_layers": 2, "dropout": 0.5}, train=False, seed=14),
    "gru": LayerCase("GRU", seed=15),
    "gru two layers, both ways": LayerCase("GRU", {"num_layers": 2, "bidirectional": True}, seed=16),
    "gru no bias, batch first": LayerCase("GRU", {"bias": False, "batch_first": True}, seed=17),
    "gru unbatched": LayerCase("GRU", form="unbatched", states=False, seed=18),
    "gru unsorted": LayerCase("GRU", {"bidirectional": True}, form="unsorted", seed=19),
    "gru dropout, packed": LayerCase("GRU", {"num_layers": 2, "dropout": 0.3}, form="packed", seed=20),
    "gru one step": LayerCase("GRU", sizes=(1, 2, 2, 3), seed=21),
    "lstm one of everything": LayerCase("LSTM", sizes=(1, 1, 1, 1), seed=22),
}

CELLS: dict[str, CellCase] = {
    "rnn": CellCase("RNNCell"),
    "rnn relu": CellCase("RNNCell", {"nonlinearity": "relu"}, seed=1),
    "lstm": CellCase("LSTMCell", seed=2),
    "lstm unbatched": CellCase("LSTMCell", {"bias": False}, batched=False, seed=3),
    "gru": CellCase("GRUCell", seed=4),
    "gru zeros": CellCase("GRUCell", states=False, seed=5),
}


def random_layer_case(random: Random) -> LayerCase:
    """Any configuration: cell, layers, directions, projection, dropout, form, states, sizes."""
    kind = random.choice(["RNN", "LSTM", "GRU"])
    hidden = random.randint(2, 7)
    options: dict[str, Any] = {
        "num_layers": random.randint(1, 3),
        "bidirectional": random.random() < 0.5,
        "batch_first": random.random() < 0.5,
        "bias": random.random() < 0.8,
    }
    if options["num_layers"] > 1:
        options["dropout"] = random.choice([0.0, 0.3, 0.9, 1.0])
    if kind == "LSTM" and random.random() < 0.4:
        options["proj_size"] = random.randint(1, hidden - 1)
    if kind == "RNN":
        options["nonlinearity"] = random.choice(["tanh", "relu"])
    return LayerCase(
        kind,
        options,
        (random.randint(1, 7), random.randint(1, 5), random.randint(1, 5), hidden),
        random.choice(["batched", "unbatched", "packed", "unsorted"]),
        random.random() < 0.6,
        random.random() < 0.7,
        random.randrange(10**6),
    )


def _tensor(lib: Any, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    return lib.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)


def _array(t: Any) -> np.ndarray:
    return np.array(t.detach().numpy())


def _named(prefix: str, tensors: list[Any]) -> dict[str, np.ndarray]:
    return {f"{prefix}{k}": _array(t) for k, t in enumerate(tensors)}


def _pull_back(lib: Any, rng: np.random.Generator, outputs: list[Any], dtype: str) -> None:
    weights = [lib.tensor(rng.standard_normal(tuple(y.shape)).astype(dtype)) for y in outputs]
    sum((y * w).sum() for y, w in zip(outputs, weights, strict=True)).backward()


def run_layer(lib: Any, case: LayerCase, dtype: str, *, seeded: bool = True, **more: Any) -> dict[str, np.ndarray]:
    """Everything that the layer gives: parameters, output, states and all gradients.

    Args:
        seeded: parameters as the constructor draws them; else from NumPy (in float32 the constructors' draws may
            differ in the last bit).
        more: further options for the constructor.
    """
    steps, batch, size, hidden = case.sizes
    rng = np.random.default_rng(case.seed)
    lib.manual_seed(case.seed)
    layer = getattr(lib.nn, case.kind)(size, hidden, dtype=getattr(lib, dtype), **case.options, **more)
    layer.train(case.train)
    if not seeded:
        values = {n: rng.uniform(-0.7, 0.7, tuple(p.shape)).astype(dtype) for n, p in layer.named_parameters()}
        layer.load_state_dict({name: lib.tensor(value) for name, value in values.items()})
    out = {f"parameter {name}": _array(p) for name, p in layer.named_parameters()}

    batch_first = case.options.get("batch_first", False)
    unbatched = case.form == "unbatched"
    shape = (steps, size) if unbatched else (batch, steps, size) if batch_first else (steps, batch, size)
    x = given = _tensor(lib, rng, shape, dtype)
    if case.form in ("packed", "unsorted"):
        lengths = rng.integers(1, steps + 1, batch).tolist()
        if case.form == "packed":
            lengths.sort(reverse=True)
        given = lib.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first, enforce_sorted=case.form == "packed")
    count = case.options.get("num_layers", 1) * (2 if case.options.get("bidirectional") else 1)
    widths = [case.options.get("proj_size") or hidden, *([hidden] if case.kind == "LSTM" else [])]
    rows = () if unbatched else (batch,)
    states = [_tensor(lib, rng, (count, *rows, width), dtype) for width in widths]
    hx = (tuple(states) if case.kind == "LSTM" else states[0]) if case.states else None

    lib.manual_seed(case.seed + 1)  # for dropout
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says which implementation it chose
        output, final = layer(given, hx)
    finals = list(final) if case.kind == "LSTM" else [final]
    if case.form in ("packed", "unsorted"):
        output, lengths_back = lib.nn.utils.rnn.pad_packed_sequence(output, batch_first, total_length=steps)
        out["lengths"] = _array(lengths_back)
    _pull_back(lib, rng, [output, *finals], dtype)
    out |= {"output": _array(output), **_named("final ", finals), "gradient x": _array(x.grad)}
    if case.states:
        out |= _named("gradient state ", [state.grad for state in states])
    return out | {f"gradient {name}": _array(p.grad) for name, p in layer.named_parameters()}


def run_cell(lib: Any, case: CellCase, dtype: str) -> dict[str, np.ndarray]:
    """Parameters, states after three steps, and all gradients."""
    batch, size, hidden = 3, 2, 4
    rng = np.random.default_rng(case.seed)
    lib.manual_seed(case.seed)
    cell = getattr(lib.nn, case.kind)(size, hidden, dtype=getattr(lib, dtype), **case.options)
    rows = (batch,) if case.batched else ()
    count = 2 if case.kind == "LSTMCell" else 1
    states = [_tensor(lib, rng, (*rows, hidden), dtype) for _ in range(count)]
    inputs = [_tensor(lib, rng, (*rows, size), dtype) for _ in range(3)]
    hx: Any = (tuple(states) if count == 2 else states[0]) if case.states else None
    for x in inputs:
        hx = cell(x, hx)
    finals = list(hx) if count == 2 else [hx]
    _pull_back(lib, rng, finals, dtype)
    out = {f"parameter {name}": _array(p) for name, p in cell.named_parameters()}
    out |= {**_named("final ", finals), **_named("gradient x ", [x.grad for x in inputs])}
    if case.states:
        out |= _named("gradient state ", [state.grad for state in states])
    return out | {f"gradient {name}": _array(p.grad) for name, p in cell.named_parameters()}
