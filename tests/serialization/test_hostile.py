"""Files that mean harm, with a right checksum: each gives CheckpointError, or a value and nothing but a value.

No file changes a class, a function's meaning, or the program's settings; none takes time or memory out of proportion
to its length; nothing but CheckpointError comes out of ``load``.
"""

from __future__ import annotations

import copy
import io
import json
import os
import random
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.serialization.some_classes import Color, Settings, Shy, SlotAndDict, Tagger
from tests.support.rows import together
from tinygrad_rnn import nn, optim, serialization
from tinygrad_rnn.backend.dtypes import DTYPES
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, CheckpointError
from tinygrad_rnn.serialization.safetensors_file import encode

HERE = "tests.serialization.some_classes"
LINEAR = "tinygrad_rnn.nn.Linear"
SGD = "tinygrad_rnn.optim.SGD"
STEP = "tinygrad_rnn.optim.lr_scheduler.StepLR"
ESCAPE = "\x1b[2J"
SWITCH = {"global": "tinygrad_rnn.set_default_dtype"}


def forged(structure: Any, arrays: dict[str, Any] | None = None, version: str = "2", **metadata: str) -> bytes:
    """A file with a right checksum and any structure at all: JSON data, or its text."""
    text = structure if isinstance(structure, str) else json.dumps(structure)
    head = {"format": "tinygrad_rnn", "version": version, "crc32": "00000000", "structure": text, **metadata}
    header, buffers = encode(arrays or {}, head)
    return repaired(header + b"".join(map(bytes, buffers)))


def repaired(blob: bytes) -> bytes:
    """``blob`` with the checksum that belongs to it."""
    start = blob.index(b'"crc32":"') + 9
    blank = blob[:start] + b"00000000" + blob[start + 8 :]
    return blank[:start] + f"{zlib.crc32(blank):08x}".encode() + blank[start + 8 :]


def read(blob: bytes) -> Any:
    return tg.load(io.BytesIO(blob))


def module(**parts: Any) -> Any:
    return {"module": {"class": LINEAR, **parts}}


def optimizer(**parts: Any) -> Any:
    return {"optimizer": {"class": SGD, **parts}}


def allowed(name: str, **state: Any) -> Any:
    return {"object": {"class": f"{HERE}.{name}", "state": state}}


def world() -> list[Any]:
    """Everything that a file must not change."""
    packages = (nn, optim, optim.lr_scheduler)
    classes = [value for package in packages for value in vars(package).values() if isinstance(value, type)]
    classes += [tg.Tensor, tg.Generator, tg.Size, Tagger, Settings, Color]
    settings = [tg.get_default_dtype(), tg.is_grad_enabled(), serialization.get_safe_globals()]
    settings += [np.geterr(), tg.default_generator.initial_seed(), len(DTYPES)]
    return [*settings, *[(kind, {name: id(value) for name, value in vars(kind).items()}) for kind in classes]]


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    before = world()
    yield
    assert world() == before


ATTRIBUTES = {
    "forward": SWITCH,
    "parameters": {"global": "tinygrad_rnn.tanh"},
    "train": {"global": "tinygrad_rnn.nn.functional.relu"},
    "state_dict": {"global": LINEAR},
    "extra_repr": None,
    "__class__": {"type": "int"},
    "__dict__": {"dict": {}},
    "__call__": {"global": "tinygrad_rnn.tanh"},
    "__anything__": 1,
    "_call_impl": {"global": "tinygrad_rnn.tanh"},
    "_parameters": {"dict": {}},
    "_forward_hooks": {"ordered": []},
    "training": 3,
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_no_attribute_that_a_module_class_defines_comes_from_a_file(name: str) -> None:
    if name == "_call_impl" and not hasattr(nn.Linear, name):
        name = "__init_subclass__"
    with pytest.raises(CheckpointError):
        read(forged(module(state={name: ATTRIBUTES.get(name)})))


@pytest.mark.parametrize("kind", ["LSTM", "Sequential", "ReLU", "MSELoss", "Embedding", "LSTMCell", "ParameterList"])
def test_no_method_of_any_layer_can_be_replaced(kind: str) -> None:
    for name, value in {**vars(nn.Module), **vars(getattr(nn, kind))}.items():
        if callable(value) or hasattr(value, "__get__"):
            blob = forged({"module": {"class": f"tinygrad_rnn.nn.{kind}", "state": {name: {"global": LINEAR}}}})
            with pytest.raises(CheckpointError, match="in the file (replaces|has the name)|cannot come from a file"):
                read(blob)


def test_a_default_of_a_class_may_be_replaced_by_plain_data_alone() -> None:
    gru = {"class": "tinygrad_rnn.nn.GRU"}
    assert read(forged({"module": {**gru, "state": {"reset_after": False}}})).reset_after is False
    with pytest.raises(CheckpointError, match="'reset_after' in the file replaces"):
        read(forged({"module": {**gru, "state": {"reset_after": {"global": "tinygrad_rnn.tanh"}}}}))


@pytest.mark.parametrize(
    "name",
    ["set_default_dtype", "manual_seed", "zeros", "rand", "from_numpy", "tensor", "get_default_dtype", "save", "load"]
    + ["no_grad", "nn.init.zeros_", "nn.functional.absent", "nn.functional.__builtins__", "serialization.load", ""],
)
def test_only_functions_that_layers_hold_may_be_named(name: str) -> None:
    with pytest.raises(CheckpointError, match="Weights only load failed"):
        read(forged({"global": f"tinygrad_rnn.{name}"}))
    assert read(forged({"global": "tinygrad_rnn.tanh"})) is tg.tanh


W = {"w": np.ones(2, np.float32)}
HOSTILE: dict[str, tuple[Any, dict[str, Any]]] = {
    "two kinds": ({"tuple": [1], "dict": {}}, {}),
    "no kind": ({}, {}),
    "kind of another version": ({"pickle": "gASVAAA="}, {}),
    "kind with an escape sequence": ({ESCAPE: 1}, {}),
    "class with an escape sequence": (module() | {"module": {"class": ESCAPE}}, {}),
    "class that is a number": ({"module": {"class": 3}}, {}),
    "class that is a list": ({"object": {"class": []}}, {}),
    "module that is a list": ({"module": [LINEAR]}, {}),
    "module of a function": ({"module": {"class": "tinygrad_rnn.tanh"}}, {}),
    "optimiser as an object": ({"object": {"class": SGD}}, {}),
    "parameter as an object": ({"object": {"class": "tinygrad_rnn.nn.Parameter"}}, {}),
    "module as an object": ({"object": {"class": LINEAR}}, {}),
    "module with a list of parameters": (module(parameters=[1]), {}),
    "module with a tensor as its parameter": (module(parameters={"weight": {"tensor": "w"}}), W),
    "module with a parameter as its module": (module(modules={"a": {"parameter": "w"}}), W),
    "module in itself": (module(modules={"a": {"same": 0}}), {}),
    "module in itself, deeper": (module(modules={"a": module(modules={"b": {"same": 0}})}), {}),
    "module with a strange not_saved": (module(not_saved="abc"), {}),
    "module without the buffer that is not saved": (module(not_saved={"a": True}), {}),
    "module with a strange state": (module(state=[["a", 1]]), {}),
    "object before it begins": ([{"same": 1}, module()], {}),
    "object counted from the end": ([module(), {"same": -1}], {}),
    "object number true": ([module(), {"same": True}], {}),
    "object number a list": ([module(), {"same": [0]}], {}),
    "optimiser without groups": (optimizer(), {}),
    "optimiser with a strange group": (optimizer(groups=[{"dict": {"params": [1]}}]), {}),
    "optimiser without options": (optimizer(defaults={"lr": 1}, groups=[{"dict": {"params": []}}]), {}),
    "optimiser with a step": (optimizer(groups=[], state={"step": {"global": "tinygrad_rnn.tanh"}}), {}),
    "optimiser with hooks": (optimizer(groups=[], state={"_step_pre_hooks": {"dict": {"0": SWITCH}}}), {}),
    "optimiser with a strange entry": (optimizer(groups=[], entries={"0": 3}), {}),
    "optimiser with an entry of nobody": (optimizer(groups=[], entries={"0": {"tuple": [1, {"dict": {}}]}}), {}),
    "schedule without an optimiser": ({"object": {"class": STEP, "state": {"optimizer": 3}}}, {}),
    "schedule with a step": ({"object": {"class": STEP, "state": {"step": SWITCH}}}, {}),
    "generator of a wrong size": ({"generator": {"array": "w"}}, {"w": np.zeros(7, np.uint8)}),
    "generator of zeros": ({"generator": {"array": "w"}}, {"w": np.zeros(5056, np.uint8)}),
    "generator of a number": ({"generator": 3}, {}),
    "packed sequence as an object": ({"object": {"class": "tinygrad_rnn.nn.utils.rnn.PackedSequence"}}, {}),
    "packed sequence of one part": (
        {"named": {"class": "tinygrad_rnn.nn.utils.rnn.PackedSequence", "items": [1]}},
        {},
    ),
    "named tuple of a list": ({"named": [1]}, {}),
    "scalar too large": ({"scalar": ["int8", 10**30]}, {}),
    "scalar negative": ({"scalar": ["uint8", -1]}, {}),
    "scalar of text": ({"scalar": ["float32", "1"]}, {}),
    "scalar of an object": ({"scalar": ["object", 1]}, {}),
    "scalar of a record": ({"scalar": ["i4,i4", 1]}, {}),
    "scalar of three": ({"scalar": ["int8", 1, 1]}, {}),
    "scalar of none": ({"scalar": None}, {}),
    "string scalar of a huge type": ({"scalar": ["<U2000000000", 1]}, {}),
    "dtype of a record": ({"dtype": "i4,i4"}, {}),
    "dtype with an escape sequence": ({"dtype": ESCAPE}, {}),
    "dtype a number": ({"dtype": 3}, {}),
    "device with an escape sequence": ({"device": "cuda" + ESCAPE}, {}),
    "device with a strange digit": ({"device": "cuda:²"}, {}),
    "type of the interpreter": ({"type": "object"}, {}),
    "size of text": ({"size": ["a"]}, {}),
    "float of text": ({"float": "1e5"}, {}),
    "float of a list": ({"float": ["nan"]}, {}),
    "int of another base": ({"int": "zz"}, {}),
    "int of a float": ({"int": 3.5}, {}),
    "bytes that are none": ({"bytes": "xyz"}, {}),
    "bytes of floats": ({"bytes": {"array": "w"}}, W),
    "text that is none": ({"text": "w"}, {"w": np.full(3, 255, np.uint8)}),
    "complex of text": ({"complex": ["1", "2"]}, {}),
    "complex of one": ({"complex": [1]}, {}),
    "range of floats": ({"range": [0.5, 1, 1]}, {}),
    "range without a step": ({"range": [0, 1, 0]}, {}),
    "date that is none": ({"date": [2020, 13, 1]}, {}),
    "date beyond all": ({"date": [10**30, 1, 1]}, {}),
    "date of a pickled state": ({"date": [{"bytes": "07e40101"}]}, {}),
    "datetime of a pickled state": ({"datetime": [{"bytes": "07e40101000000000000"}, 0, None]}, {}),
    "time with a strange zone": ({"time": [1, 1, 1, 1, 0, {"dict": {}}]}, {}),
    "timedelta beyond all": ({"timedelta": [10**30, 0, 0]}, {}),
    "timezone of a number": ({"timezone": [3]}, {}),
    "fraction of zero": ({"fraction": [1, 0]}, {}),
    "fraction of long numbers": ({"fraction": [{"int": "f" * 10_000}, {"int": "e" * 10_000}]}, {}),
    "decimal that is none": ({"decimal": ["many"]}, {}),
    "path of a number": ({"path": [3]}, {}),
    "deque of a number": ({"deque": [3, None]}, {}),
    "deque of a negative length": ({"deque": [[], -1]}, {}),
    "deque beyond all": ({"deque": [[], 2**80]}, {}),
    "set of lists": ({"set": [[1]]}, {}),
    "set of a number": ({"set": 3}, {}),
    "dict with a dict as key": ({"items": [[{"dict": {}}, 1]]}, {}),
    "dict with triples": ({"items": [[1, 2, 3]]}, {}),
    "dict of text": ({"items": "ab"}, {}),
    "table that is a list": ({"dict": [["a", 1]]}, {}),
    "ordered of a number": ({"ordered": 3}, {}),
    "counter of a list": ({"counter": [1]}, {}),
    "defaultdict of a number": ({"defaultdict": [3, []]}, {}),
    "defaultdict of one": ({"defaultdict": [None]}, {}),
    "state_dict with strange versions": ({"state_dict": [[], {"ordered": [["", 3]]}]}, {}),
    "array that is missing": ({"array": "v"}, W),
    "array that is a list": ({"array": ["w"]}, W),
    "tensor of three": ({"tensor": ["w", 1, 2]}, W),
    "tensor number a float": ({"tensor": ["w", 0.5]}, W),
    "tensor named by a table": ({"tensor": {"w": 1}}, W),
    "leaf of integers": ({"leaf": "w"}, {"w": np.arange(2)}),
    "parameter of bools": ({"parameter": "w"}, {"w": np.ones(2, bool)}),
    "array that nobody refers to": (None, {ESCAPE: np.ones(2)}),
    "object of the standard library": ({"object": {"class": "subprocess.Popen", "state": {"args": "true"}}}, {}),
    "namespace with a special name": ({"object": {"class": "argparse.Namespace", "state": {"__class__": 1}}}, {}),
    "namespace with a method": ({"object": {"class": "argparse.Namespace", "state": {"_get_kwargs": 1}}}, {}),
    "enumeration that is no class": ({"enum": ["tinygrad_rnn.tanh", "a"]}, {}),
    "enumeration of one": ({"enum": ["a"]}, {}),
    "integer with more digits than Python reads": ('{"items": [[%s, 1]]}' % ("9" * 5000), {}),
    "nested too deeply": ("[" * 100_000, {}),
    "nested too deeply, closed": ("[" * 100_000 + "]" * 100_000, {}),
    "dicts nested too deeply": ('{"dict":{"a":' * 50_000, {}),
    "nan": ("NaN", {}),
    "infinity": ("[-Infinity]", {}),
    "nothing": ("", {}),
    "more after the end": ("1 2", {}),
}


@together
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_structure_is_refused_in_our_words(name: str) -> None:
    structure, arrays = HOSTILE[name]
    with pytest.raises(
        CheckpointError, match=r"damaged|Weights only load failed|in the file|is allowed, but"
    ) as caught:
        read(forged(structure, arrays))
    said = str(caught.value)
    assert said.isprintable() and len(said) < 500


@pytest.mark.parametrize(
    "views",
    ['{"w": "complex128"}', '{"w": "U2"}', '{"w": "object"}', '{"w": "U0"}', '{"v": "U2"}', '{"w": 3}', "[]", "3", "{"]
    + ['{"w": "datetime64[ns]"}', '{"w": "i4,i4"}', '{"w": "V8"}', '{"w": "U99999999999"}'],
)
def test_a_view_that_does_not_fit_is_refused(views: str) -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        read(forged({"array": "w"}, W, views=views))
    with pytest.raises(CheckpointError, match="damaged"):
        read(forged({"array": "w"}, {"w": np.full((2, 3), 2**32 - 1, np.uint32)}, views='{"w": "U3"}'))


def test_a_dtype_that_a_file_names_is_not_kept() -> None:
    assert read(forged([{"dtype": "U17"}, {"dtype": "float32"}])) == [np.dtype("U17"), tg.float32]


@pytest.mark.parametrize("part", ["format", "version", "crc32", "structure"])
def test_metadata_with_escape_sequences_are_shown_escaped(part: str) -> None:
    head = {"format": "tinygrad_rnn", "version": "2", "crc32": "00000000", "structure": "1", part: ESCAPE}
    header, _ = encode({}, head)
    with pytest.raises(CheckpointError) as caught:
        read(header)
    assert str(caught.value).isprintable()


KEYS: dict[str, Callable[[int], Any]] = {
    "integers": lambda k: k * (2**61 - 1),
    "floats": lambda k: {"tuple": [k * (2**61 - 1)]},
    "long tuples": lambda k: {"tuple": [*[0] * 100, k * (2**61 - 1)]},
    "scalars": lambda k: {"scalar": ["int64", 0]} if k == 0 else (k % 3 + 1) * (2**61 - 1) * (k + 1),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("container", ["items", "ordered", "set", "frozenset", "counter", "defaultdict"])
def test_keys_with_one_hash_are_counted_before_they_are_compared(kind: str, container: str) -> None:
    keys = [KEYS[kind](k) for k in range(4000)]
    entries: Any = keys if "set" in container else [[key, 0] for key in keys]
    blob = forged({container: [None, entries] if container == "defaultdict" else entries})
    with pytest.raises(CheckpointError, match="too many keys have the same hash"):
        read(blob)


def test_keys_that_are_compared_often_are_refused_in_many_small_dicts_and_when_saving() -> None:
    with pytest.raises(CheckpointError, match="too many keys have the same hash"):
        read(forged([{"items": [[k * (2**61 - 1), 0] for k in range(500)]}] * 20))
    with pytest.raises(ArgumentError, match="too many keys of a have the same hash"):
        tg.save({"a": {k * (2**61 - 1): 0 for k in range(2000)}}, io.BytesIO())
    for value in (
        {2.0**k: k for k in range(-1074, 1024)},
        {k: k for k in range(-2000, 2000)},
        {2**k for k in range(3000)},
    ):
        file = io.BytesIO()
        tg.save(value, file)
        file.seek(0)
        assert tg.load(file) == value


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs POSIX")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in ("/dev/zero", "/dev/null", tmp_path / "pipe", tmp_path / "link"):
        for reader in (tg.load, serialization.load_file, serialization.load_arrays):
            with pytest.raises(CheckpointError, match="is no regular file"):
                reader(path)  # type: ignore[operator]
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        tg.load(tmp_path)


class Counting(io.BytesIO):
    """Counts what is read of it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        chunk = super().read(size)
        self.count += len(chunk)
        return chunk


def test_only_the_start_is_read_of_a_file_of_another_kind() -> None:
    for start in (b"PK\3\4", b"\x80\x02", b"\0" * 8, b"GIF89a..", (2**40).to_bytes(8, "little") + b"{"):
        file = Counting(start + b" " * 100_000)
        with pytest.raises(CheckpointError):
            tg.load(file)
        assert file.count < 100


def test_no_memory_is_taken_for_arrays_that_a_file_does_not_have(tmp_path: Path) -> None:
    table = {"a": {"dtype": "F64", "shape": [2**50], "data_offsets": [0, 2**53]}}
    text = json.dumps({"__metadata__": {"format": "tinygrad_rnn", "version": "2"}, **table}).encode()
    blob = len(text).to_bytes(8, "little") + text + b"12345678"
    (tmp_path / "file").write_bytes(blob)
    for file in (io.BytesIO(blob), tmp_path / "file"):
        with pytest.raises(CheckpointError, match="is damaged: it is cut short: array 'a'"):
            tg.load(file)


def test_the_entry_of_an_array_is_cut_before_it_becomes_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Long(list[Any]):
        def __repr__(self) -> str:
            raise AssertionError("made into text as a whole")

    monkeypatch.setattr(json, "loads", lambda *args, **options: {"a" * 1000: [Long() for _ in range(9)]})
    monkeypatch.setattr("reprlib.repr", lambda entry: f"{len(entry)} entries")
    with pytest.raises(CheckpointError, match=r"the entry of array 'a{200}\.\.\.' is malformed .*: 9 entries"):
        read((2).to_bytes(8, "little") + b"{}")


def test_a_file_open_for_reading_text_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match='open it for reading bytes, with mode "rb"'):
        tg.load(io.StringIO("x" * 100))  # type: ignore[arg-type]


def test_errors_of_map_location_are_those_of_the_caller() -> None:
    file = io.BytesIO()
    tg.save([tg.ones(2)], file)
    file.seek(0)

    def broken(tensor: Any, place: str) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tg.load(file, map_location=broken)


# what the program allows ----------------------------------------------------------------------------------------


def test_an_allowed_class_keeps_its_methods_and_properties() -> None:
    with serialization.safe_globals([Settings, Shy, Color]):
        for state in ({"__eq__": 1}, {"__post_init__": 1}, {"__class__": {"type": "int"}}):
            with pytest.raises(CheckpointError, match="in the file (replaces|has the name)"):
                read(forged(allowed("Settings", **state)))
        for name in ("method", "value", "count_of"):
            with pytest.raises(CheckpointError, match="in the file replaces what the class Shy defines"):
                read(forged(allowed("Shy", **{name: 1})))
        assert read(forged(allowed("Shy", other=1))).other == 1
        with serialization.safe_globals([SlotAndDict]), pytest.raises(CheckpointError, match="not run, or slots"):
            read(forged(allowed("SlotAndDict", other=1)))
        with pytest.raises(CheckpointError, match="has no member"):
            read(forged({"enum": [f"{HERE}.Color", "__class__"]}))
        assert read(forged({"enum": [f"{HERE}.Color", "RED"]})) is Color.RED


def test_a_block_allows_its_own_thread_alone_and_blocks_may_overlap() -> None:
    blob = forged(allowed("Settings", width=1, names=[]))
    inside, outside = threading.Barrier(2), threading.Barrier(2)
    found: dict[str, Any] = {}

    def work(kind: type, name: str) -> None:
        with serialization.safe_globals([kind]):
            inside.wait()
            found[name] = serialization.get_safe_globals()
            outside.wait()

    threads = [threading.Thread(target=work, args=pair) for pair in ((Settings, "one"), (Tagger, "two"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"one": [Settings], "two": [Tagger]}
    assert serialization.get_safe_globals() == []
    first, second = serialization.safe_globals([Settings]), serialization.safe_globals([Tagger])
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert serialization.get_safe_globals() == [Tagger]
    second.__exit__()
    assert serialization.get_safe_globals() == []
    with pytest.raises(CheckpointError, match="Weights only load failed"):
        read(blob)
    serialization.add_safe_globals([Settings])
    try:
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(read(blob)))
        thread.start()
        thread.join()
        assert results == [Settings(1, [])]
    finally:
        serialization.clear_safe_globals()


# mutations of real files ----------------------------------------------------------------------------------------


def real() -> bytes:
    """What a training script would save."""
    model = nn.Sequential(nn.LSTM(2, 3), nn.Linear(3, 1))
    model.act = tg.tanh
    adam = optim.Adam(model.parameters(), lr=0.1)
    model[1](tg.ones(1, 3)).sum().backward()
    adam.step()
    schedule = optim.lr_scheduler.StepLR(adam, 3)
    plain = [{1, 2}, (0.5, None), np.float32(1), b"x", range(3), {1: "a", (2, "b"): float("inf")}, tg.float32]
    value = {"model": model, "state": model.state_dict(), "adam": adam, "schedule": schedule, "plain": plain}
    file = io.BytesIO()
    tg.save({**value, "generator": tg.Generator(), "words": np.array(["a", "bc"]), "1j": np.array([1j])}, file)
    return file.getvalue()


def outcome(blob: bytes) -> str:
    """Gives "value" or "refused"; anything else is the test's failure."""
    try:
        value = read(blob)
    except CheckpointError as error:
        assert str(error).isprintable() and len(str(error)) < 3000
        return "refused"
    for part in value.values() if isinstance(value, dict) else ():
        if isinstance(part, nn.Module):
            assert all(isinstance(p, nn.Parameter) for p in part.parameters())
    return "value"


def test_bytes_changed_under_a_right_checksum_give_a_value_or_a_checkpoint_error() -> None:
    blob, draw = real(), random.Random(0)
    assert outcome(blob) == "value"
    found = set()
    for _ in range(400):
        damaged = bytearray(blob)
        for _ in range(draw.choice([1, 1, 3, 20])):
            damaged[draw.randrange(8, len(damaged))] = draw.choice([draw.randrange(256), *b'"{}[]:,0123456789-e.'])
        if b'"crc32":"' in damaged:
            found.add(outcome(repaired(bytes(damaged))))
    assert found == {"value", "refused"}


def nodes(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, item in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from nodes(item, (*path, key))


ATOMS = [None, True, -1, 0, 2**70, 0.5, "", "forward", "nan", ESCAPE, [], {}, {"dict": {}}, SWITCH, {"same": 0}]
ATOMS += [{"tuple": []}, {"float": "nan"}, {"global": LINEAR}, {"type": "float"}, {"items": [[{"same": 0}, 1]]}]


def edited(data: Any, draw: random.Random) -> Any:
    """``data`` with one part replaced, removed, renamed or moved."""
    data = copy.deepcopy(data)
    places = list(nodes(data))
    if len(places) == 1:
        return copy.deepcopy(draw.choice(ATOMS))
    *above, key = draw.choice(places[1:])
    holder = data
    for step in above:
        holder = holder[step]
    kind = draw.randrange(4)
    if kind == 0:
        holder[key] = copy.deepcopy(draw.choice(ATOMS))
    elif kind == 1:
        del holder[key]
    elif kind == 2 and isinstance(holder, dict):
        names = [place[-1] for place in places[1:] if isinstance(place[-1], str)]
        holder[draw.choice(names)] = holder.pop(key)
    else:
        other = data
        for step in draw.choice(places):
            other = other[step]
        holder[key] = copy.deepcopy(other)
    return data


def test_edits_of_the_structure_give_a_value_or_a_checkpoint_error() -> None:
    blob, draw = real(), random.Random(1)
    length = int.from_bytes(blob[:8], "little")
    table, data = json.loads(blob[8 : 8 + length]), blob[8 + length :]
    structure, found = json.loads(table["__metadata__"]["structure"]), set()
    for _ in range(400):
        changed = structure
        for _ in range(draw.choice([1, 1, 2])):
            changed = edited(changed, draw)
        table["__metadata__"]["structure"] = json.dumps(changed)
        text = json.dumps(table, separators=(",", ":")).encode()
        found.add(outcome(repaired(len(text).to_bytes(8, "little") + text + data)))
    assert found == {"value", "refused"}
