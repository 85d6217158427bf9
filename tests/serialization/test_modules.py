"""Whole modules go to a file and come back; classes that nobody allowed do not, and nothing in a file is called."""

from __future__ import annotations

import copy
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.serialization import some_classes
from tests.serialization.some_classes import Made, Pair, Settings, Slotted, Tagger, half
from tests.support.rows import together
from tinygrad_rnn import nn, serialization
from tinygrad_rnn.errors import ArgumentTypeError, CheckpointError, DeviceError

NAME = "tests.serialization.some_classes"


def through(value: Any, **options: Any) -> Any:
    """What comes back from a file that has ``value`` in it."""
    file = io.BytesIO()
    tg.save(value, file)
    file.seek(0)
    return tg.load(file, **options)


def forged(structure: Any, monkeypatch: pytest.MonkeyPatch, **arrays: Any) -> io.BytesIO:
    """A file with a right checksum and any structure at all."""
    monkeypatch.setattr("tinygrad_rnn.serialization.checkpoint._checksum", lambda chunks: "00000000")
    metadata = {"format": "tinygrad_rnn", "version": "1", "crc32": "00000000", "structure": json.dumps(structure)}
    header, buffers = serialization.safetensors_file.encode(arrays, metadata)
    return io.BytesIO(header + b"".join(map(bytes, buffers)))


EXAMPLES = {
    "Bilinear": (2, 3, 4), "CosineSimilarity": (), "Embedding": (4, 3, 0), "EmbeddingBag": (4, 3), "GRU": (3, 4, 2),
    "GRUCell": (3, 4), "LSTM": (3, 4), "LSTMCell": (3, 4), "RNN": (3, 4), "RNNCell": (3, 4), "LayerNorm": (4,),
    "Linear": (3, 4), "MDLSTM": (3, 4), "RMSNorm": (4,), "Threshold": (0.5, 1.0), "Unflatten": (1, (2, 3)),
    "RNNBase": ("GRU", 3, 4), "ModuleList": ([nn.Linear(2, 2), nn.ReLU()],), "Sequential": (nn.Linear(2, 2), nn.Tanh()),
    "ModuleDict": ({"a": nn.Linear(2, 2)},), "ParameterList": ([tg.ones(2), tg.zeros(1)],),
    "ParameterDict": ({"a": tg.ones(2)},), "RNNLayer": (nn.LSTMCell(3, 4),), "Softmax": (1,), "LogSoftmax": (1,),
    "Dense": (nn.Linear(2, 2), nn.GRU(4, 2)), "Highway": (nn.LSTM(3, 3), 3), "Residual": (nn.GRU(3, 3),),
    "DataParallel": (nn.LSTM(3, 4),), "Conv1d": (2, 3, 3),
    "MaxPool1d": (2,), "BatchNorm1d": (3,), "MultiheadAttention": (4, 2), "AvgPool1d": (2,),
    "AdaptiveLogSoftmaxWithLoss": (16, 20, [4, 10]),
}  # fmt: skip
ABSTRACT = {"LazyLinear", "RNNCellBase", "UninitializedParameter", "Parameter"}
LAYERS = [name for name in nn.__all__ if isinstance(getattr(nn, name), type) and name not in ABSTRACT]


@together
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_of_the_package_comes_back_as_it_was(name: str) -> None:
    layer = getattr(nn, name)(*EXAMPLES.get(name, ()))
    back = through(layer)
    assert type(back) is type(layer) and repr(back) == repr(layer)
    assert vars(back).keys() == vars(layer).keys()
    before, after = layer.state_dict(), back.state_dict()
    assert list(before) == list(after) and all(tg.equal(before[key], after[key]) for key in before)


def test_a_layer_with_options_keeps_them() -> None:
    layer = nn.LSTM(4, 4, 3, skip="residual", zoneout=0.1, peepholes=True, learn_state=True)
    back, x = through(layer).eval(), tg.randn(5, 2, 4)
    assert back.options == layer.options
    assert tg.equal(back(x)[0], layer.eval()(x)[0])


def test_a_module_of_the_users_own_class_needs_to_be_allowed() -> None:
    model = Tagger()
    with pytest.raises(CheckpointError, match=rf"^Weights only load failed.*{NAME}.Tagger.*safe_globals\(\[Tagger\]\)"):
        through(model)
    with serialization.safe_globals([Tagger]):
        back = through(model)
    with pytest.raises(CheckpointError, match="Weights only load failed"):
        through(model, weights_only=False)
    x = tg.tensor([[0, 1], [4, 2]])
    assert tg.equal(model(x), back(x))
    assert back.decoder.weight is back.embedding.weight and back.stack[0] is back.out
    assert back.act is tg.tanh
    assert not back.out.bias.requires_grad and back.out.weight.requires_grad
    assert "scale" in back.state_dict() and "scratch" not in back.state_dict() and back.scratch.shape == (3,)
    (back(x) ** 2).sum().backward()
    assert back.embedding.weight.grad.abs().sum() > 0


def test_nothing_of_a_class_runs_when_a_file_is_read() -> None:
    file = io.BytesIO()
    tg.save(Tagger(), file)
    file.seek(0)
    some_classes.calls.clear()
    with serialization.safe_globals([Tagger]):
        assert isinstance(tg.load(file), Tagger)
    assert some_classes.calls == []


def test_objects_named_tuples_and_functions_are_read_only_if_allowed() -> None:
    values = [Settings(3, ["a"]), half, Settings]
    for value in values:
        with pytest.raises(CheckpointError, match=r"Weights only load failed.*safe_globals\(\[(Settings|half)\]\)"):
            through(value)
    assert through(Pair(1, 2)) == (1, 2) and type(through(Pair(1, 2))) is tuple
    with serialization.safe_globals([Settings, half, Pair, Tagger]):
        settings, function, kind = through(values)
        assert (settings, function, kind) == (values[0], half, Settings) and settings is not values[0]
        assert type(through(Pair(1, 2))) is Pair
        model = Tagger(settings=settings)
        assert through([model, settings])[0].settings == settings
        both = through([settings, settings])
        assert both[0] is both[1]


@pytest.mark.parametrize("value", [Slotted(), Made()])
def test_objects_that_need_their_constructor_are_refused_even_if_allowed(value: Any) -> None:
    with serialization.safe_globals([Slotted, Made]), pytest.raises(ArgumentTypeError, match="cannot be saved"):
        through(value)


def test_hooks_classes_of_functions_and_lazy_layers_are_refused_when_saving() -> None:
    class Local(nn.Module):
        pass

    hooked = nn.Sequential(nn.Linear(2, 2))
    hooked[0].register_forward_hook(lambda *args: None)
    with pytest.raises(ArgumentTypeError, match=r"hooks \(_forward_hooks\), which are code"):
        through(hooked)
    with pytest.raises(ArgumentTypeError, match="a class made inside a function"):
        through(Local())
    with pytest.raises(ArgumentTypeError):
        through(nn.LazyLinear(3))
    with serialization.safe_globals([(Local, "mine.Local")]):
        assert type(through(Local())) is Local


def test_the_list_of_what_is_allowed() -> None:
    assert serialization.get_safe_globals() == []
    serialization.add_safe_globals([Tagger])
    try:
        with serialization.safe_globals([half]):
            assert serialization.get_safe_globals() == [Tagger, half]
        assert serialization.get_safe_globals() == [Tagger]
    finally:
        serialization.clear_safe_globals()
    assert serialization.get_safe_globals() == []
    with pytest.raises(ArgumentTypeError, match="takes classes and functions"):
        serialization.add_safe_globals(["os.system"])  # type: ignore[list-item]


LINEAR = "tinygrad_rnn.nn.Linear"


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({"global": "os.system"}, "Weights only load failed"),
        ({"module": {"class": "os.system"}}, "Weights only load failed"),
        ({"object": {"class": "subprocess.Popen", "state": {"args": "true"}}}, "Weights only load failed"),
        ({"named": {"class": LINEAR, "items": []}}, "is no tuple"),
        ({"module": {"class": "tinygrad_rnn.tanh"}}, "is no Module"),
        ({"module": {"class": LINEAR, "parameters": {"weight": 3}}}, "are not all of that kind"),
        ({"module": {"class": LINEAR, "modules": {"a": {"global": LINEAR}}}}, "are not all of that kind"),
        ({"module": {"class": LINEAR, "state": {"_forward_hooks": {"dict": {}}}}}, "cannot come from a file"),
        ({"object": {"class": "tinygrad_rnn.nn.utils.rnn.PackedSequence"}}, "constructor of its own"),
        ({"module": {}}, "is damaged"),
        ({"same": 0}, "is damaged"),
        ({"scalar": ["object", 1]}, "is damaged"),
        ({"size": [{"dict": {}}]}, "is damaged"),
    ],
)
def test_a_forged_file_is_refused(structure: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match=message):
        tg.load(forged(structure, monkeypatch))


def test_packed_sequences_sizes_and_scalars() -> None:
    packed = nn.utils.rnn.pack_sequence([tg.tensor([1.0, 2.0, 3.0]), tg.tensor([4.0])])
    back = through({"packed": packed, "size": packed.data.shape, "scalar": np.float32(0.1), "flag": np.bool_(True)})
    assert type(back["packed"]) is type(packed) and tg.equal(back["packed"].data, packed.data)
    assert type(back["size"]) is tg.Size and back["size"] == (4,)
    assert type(back["scalar"]) is np.float32 and back["scalar"] == np.float32(0.1)
    assert back["flag"] is np.bool_(True) or bool(back["flag"]) is True


def test_tied_weights_stay_tied_in_a_state_dict() -> None:
    back = through(Tagger().state_dict())
    assert back["embedding.weight"] is not back["decoder.weight"]
    back["embedding.weight"].fill_(7)
    assert (back["decoder.weight"] == 7).all()


def test_parameters_come_back_as_parameters() -> None:
    first, second = through([nn.Parameter(tg.ones(2)), nn.Parameter(tg.ones(2), requires_grad=False)])
    assert type(first) is type(second) is nn.Parameter
    assert (first.requires_grad, first.is_leaf, second.requires_grad) == (True, True, False)


def test_an_optimiser_goes_on_where_it_stopped() -> None:
    def steps(model: Any, optimizer: Any, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            (model(tg.ones(3, 2)) ** 2).mean().backward()
            optimizer.step()

    model = nn.Linear(2, 2)
    optimizer = tg.optim.Adam(model.parameters(), lr=0.1)
    steps(model, optimizer, 3)
    back = through({"model": model, "optimizer": optimizer.state_dict()})
    again = tg.optim.Adam(back["model"].parameters())
    again.load_state_dict(back["optimizer"])
    steps(model, optimizer, 3)
    steps(back["model"], again, 3)
    assert tg.equal(model.weight, back["model"].weight)


@pytest.mark.parametrize("location", ["cpu", tg.device("cpu"), {"cuda:0": "cpu"}, lambda tensor, place: tensor])
def test_map_location_in_all_its_forms(location: Any) -> None:
    assert tg.equal(through({"w": tg.ones(2)}, map_location=location)["w"], tg.ones(2))


def test_map_location_is_asked_for_every_tensor_and_refused_where_there_is_no_device() -> None:
    seen = []

    def twice(tensor: Any, place: str) -> Any:
        seen.append(place)
        return tensor * 2

    assert through([tg.ones(2), np.ones(2)], map_location=twice)[0].tolist() == [2, 2]
    assert seen == ["cpu"]
    if not tg.cuda.is_available():
        with pytest.raises(DeviceError, match="'cuda' is not available"):
            through([tg.ones(2)], map_location="cuda")


def test_files_and_paths_hold_the_same_bytes(tmp_path: Path) -> None:
    value, path, file = {"w": tg.ones(2)}, tmp_path / "a", io.BytesIO()
    tg.save(value, file)
    tg.save(value, str(path))
    assert path.read_bytes() == file.getvalue()
    with open(path, "rb") as opened:
        assert tg.equal(tg.load(opened)["w"], value["w"])
    for wrong in (3, None):
        with pytest.raises(ArgumentTypeError, match="must be a path or a file"):
            tg.save(value, wrong)  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match="must be a path or a file"):
            tg.load(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("blob", [b"PK\x03\x04" + b"x" * 100, b"\x80\x02}q\x00."])
def test_a_pickle_is_refused_with_what_to_do_instead(blob: bytes) -> None:
    with pytest.raises(CheckpointError, match="pickles are never read here.*save_file.*load_file"):
        tg.load(io.BytesIO(blob))


def test_pickle_keeps_values_classes_and_who_requires_grad() -> None:
    """For a queue between processes; files are written by save()."""
    model = tg.nn.LSTM(2, 3)
    w = tg.ones(2, requires_grad=True)
    given = [w, w * 2, tg.arange(6).view(2, 3).T, w.detach(), model.weight_ih_l0, tg.tensor(True)]
    found = pickle.loads(pickle.dumps(given))
    assert [type(t) for t in found] == [type(t) for t in given]
    assert [(t.tolist(), t.dtype, t.requires_grad) for t in found] == [
        (t.tolist(), t.dtype, t.requires_grad) for t in given
    ]
    assert all(t.is_leaf and t.grad is None for t in found)
    again = pickle.loads(pickle.dumps(model))
    x = tg.ones(4, 1, 2)
    assert again(x)[0].tolist() == model(x)[0].tolist()
    again(x)[0].sum().backward()
    assert again.weight_hh_l0.grad is not None and model.weight_hh_l0.grad is None


def test_a_shallow_copy_shares_memory_and_its_clock() -> None:
    w = tg.ones(2, requires_grad=True)
    twin = copy.copy(w)
    assert twin is not w and twin.is_leaf and twin.requires_grad
    assert type(copy.copy(tg.nn.Parameter(w))) is tg.nn.Parameter
    loss = (w * w).sum()
    with tg.no_grad():
        twin.zero_()
    with pytest.raises(tg.errors.InplaceError):
        loss.backward()
