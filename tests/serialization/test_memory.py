"""What is saved, loaded, built, copied and iterated over is freed when it is let go of, without the collector."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.serialization.test_hostile import forged
from tinygrad_rnn import nn, optim, serialization
from tinygrad_rnn.utils import data

MODEL = nn.Sequential(nn.LSTM(3, 4, 2), nn.Linear(4, 2))
ADAM = optim.Adam(MODEL.parameters())
ROWS = data.TensorDataset(tg.ones(10, 2), tg.arange(10))


def written() -> bytes:
    file = io.BytesIO()
    plain = [{1, 2}, {1: "a", (2,): None}, np.float32(1), range(3), np.array(["a"]), tg.Generator()]
    tg.save({"model": MODEL, "adam": ADAM, "state": MODEL.state_dict(), "plain": plain}, file)
    return file.getvalue()


BLOB = written()


def read(blob: bytes) -> Any:
    return tg.load(io.BytesIO(blob))


def refused(action: Callable[..., Any], *args: Any) -> Callable[[], None]:
    def attempt() -> None:
        with pytest.raises((RuntimeError, TypeError, ValueError, AttributeError)):
            action(*args)

    return attempt


def iterated(**options: Any) -> None:
    for _ in data.DataLoader(ROWS, batch_size=3, **options):
        pass


def left_early() -> None:
    for _ in data.DataLoader(ROWS, batch_size=3):
        break


def hooked() -> None:
    layer = nn.GRU(2, 3)
    handle = layer.register_forward_hook(lambda *args: None)
    layer.register_full_backward_hook(lambda *args: None)
    layer(tg.ones(4, 1, 2, requires_grad=True))[0].sum().backward()
    handle.remove()


def scheduled() -> None:
    optimizer = optim.SGD(MODEL.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.StepLR(optimizer, 3)
    optimizer.step()
    schedule.step()
    schedule.load_state_dict(copy.deepcopy(schedule.state_dict()))
    optimizer.load_state_dict(optimizer.state_dict())


def in_segments() -> None:
    layer = nn.LSTM(2, 3, checkpoint_segments=2)
    layer(tg.ones(6, 1, 2))[0].sum().backward()


ACTIONS: dict[str, Callable[[], Any]] = {
    "load": lambda: read(BLOB),
    "load refused: data": refused(read, BLOB[:-1] + b"?"),
    "load refused: cut": refused(read, BLOB[:-1]),
    "load refused: structure": refused(read, forged({"set": [[1]]})),
    "load refused: scalar": refused(read, forged({"scalar": ["int8", 10**30]})),
    "load refused: class": refused(read, forged({"module": {"class": "os.system"}})),
    "load refused: depth": refused(read, forged("[" * 100_000)),
    "save": written,
    "save refused": refused(tg.save, {"a": [object()]}, io.BytesIO()),
    "state_dict": lambda: MODEL.state_dict(),
    "load_state_dict": lambda: MODEL.load_state_dict(MODEL.state_dict()),
    "load_state_dict refused": refused(MODEL.load_state_dict, {"a": tg.ones(1)}),
    "deepcopy of a module": lambda: copy.deepcopy(MODEL),
    "deepcopy of an optimiser": lambda: copy.deepcopy(ADAM),
    "pickle": lambda: pickle.loads(pickle.dumps(MODEL)),
    "LSTM": lambda: nn.LSTM(3, 4, 2, bidirectional=True),
    "GRU with options": lambda: nn.GRU(4, 4, 2, skip="residual", learn_state=True, layer_norm=True),
    "cells": lambda: [nn.LSTMCell(3, 4), nn.GRUCell(3, 4), nn.RNNCell(3, 4), nn.RNNLayer(nn.LSTMCell(3, 4))],
    "containers": lambda: [nn.ModuleDict({"a": nn.ReLU()}), nn.ParameterList([tg.ones(2)]), nn.ModuleList([nn.Tanh()])],
    "lazy layer": lambda: nn.LazyLinear(3)(tg.ones(2, 2)),
    "conversion": lambda: copy.deepcopy(MODEL).double().eval().requires_grad_(False).apply(lambda module: None),
    "text of a module": lambda: repr(MODEL),
    "an attribute that is not there": refused(getattr, MODEL, "nonsense"),
    "optimisers": scheduled,
    "DataLoader": iterated,
    "DataLoader, shuffled": lambda: iterated(shuffle=True),
    "DataLoader, left early": left_early,
    "DataLoader refused": refused(lambda: list(data.DataLoader([tg.ones(2), tg.ones(3)], batch_size=2))),  # type: ignore[arg-type]
    "samplers": lambda: list(data.BatchSampler(data.RandomSampler(ROWS), 3, False)),
    "random_split": lambda: data.random_split(ROWS, [5, 5]),
    "packing": lambda: nn.utils.rnn.pad_packed_sequence(nn.utils.rnn.pack_sequence([tg.ones(3), tg.ones(2)])),
    "clipping": lambda: nn.utils.clip_grad_norm_(MODEL.parameters(), 1.0),
    "vectors": lambda: nn.utils.vector_to_parameters(
        nn.utils.parameters_to_vector(MODEL.parameters()), MODEL.parameters()
    ),
    "hooks": hooked,
    "segments": in_segments,
    "ONNX": lambda: serialization.from_onnx(nn.GRU(2, 3), serialization.to_onnx(nn.GRU(2, 3))),
}


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.freeze()  # what is there already need not be looked through again, here and later
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("name", ACTIONS)
def test_nothing_is_left_in_a_cycle(name: str, without_collector: None) -> None:
    ACTIONS[name]()  # once for what is made at the first use and kept
    gc.collect()
    for _ in range(3):
        ACTIONS[name]()
    assert gc.collect() == 0


def test_a_loaded_checkpoint_is_freed_when_it_is_let_go_of(without_collector: None, tmp_path: Path) -> None:
    tg.save({"model": MODEL, "array": np.zeros(1000)}, tmp_path / "file")
    for _ in range(3):
        value = tg.load(tmp_path / "file")
        held = [weakref.ref(value["model"]), weakref.ref(value["model"][1].weight), weakref.ref(value["array"])]
        del value
        assert [ref() for ref in held] == [None] * 3


def test_a_parametrised_module_is_freed_though_its_class_waits_for_the_collector(without_collector: None) -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    layer(tg.ones(1, 2)).sum().backward()
    held = [weakref.ref(layer), weakref.ref(layer.bias)]
    del layer
    assert [ref() for ref in held] == [None] * 2


def test_loaded_arrays_own_their_memory(tmp_path: Path) -> None:
    tg.save([np.arange(6), np.arange(4, dtype=np.int8)], tmp_path / "file")
    with open(tmp_path / "file", "rb") as file:
        for array in [*tg.load(file), *tg.load(tmp_path / "file")]:
            assert array.flags.owndata and array.flags.writeable
            array.resize(3, refcheck=False)
            assert array.tolist() == [0, 1, 2]
