"""What ``save`` writes, ``load`` gives back; whatever else stands in the file, ``load`` says so and nothing more."""

from __future__ import annotations

import json
import math
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, CheckpointError
from tinygrad_rnn.serialization import load, save, save_arrays
from tinygrad_rnn.serialization.safetensors_file import DTYPES

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
)
DTYPE = st.sampled_from([dtype.newbyteorder("=") for dtype in DTYPES.values()])
ARRAYS = hnp.arrays(DTYPE, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
KEYS = st.one_of(st.text(max_size=4), st.integers(), st.tuples(st.integers(0, 3), st.text(max_size=2)))
VALUES = st.recursive(
    st.one_of(SCALARS, ARRAYS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict),
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    """Equal in type, structure, dtype, and bits (so nan equals nan, and 0.0 does not equal -0.0)."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    return bool(a == b)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "value.safetensors"


@given(value=VALUES)
def test_load_gives_back_what_save_was_given(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.safetensors"
    save(value, path)
    assert same(load(path), value)


def test_tensors_keep_dtype_device_and_whether_they_require_grad(path: Path) -> None:
    leaf = tg.tensor([1.0, 2.0], requires_grad=True)
    save([leaf, leaf * 2, tg.tensor([True]), tg.float32, tg.device("cpu")], path)
    first, computed, flag, dtype, device = load(path)
    assert (first.tolist(), first.requires_grad, first.is_leaf) == ([1.0, 2.0], True, True)
    assert (computed.tolist(), computed.requires_grad, computed.is_leaf) == ([2.0, 4.0], True, True)  # no history
    assert (flag.dtype, flag.requires_grad) == (np.dtype(bool), False)
    assert (dtype, device) == (tg.float32, tg.device("cpu"))


def test_one_tensor_in_two_places_is_stored_once_and_loaded_as_one(path: Path) -> None:
    weight = tg.tensor(np.zeros(1000, np.float32))
    save({"encoder": weight, "decoder": weight}, path)
    assert path.stat().st_size < 2 * 4000
    loaded = load(path)
    assert loaded["encoder"] is loaded["decoder"]


def test_loaded_arrays_are_writable_and_independent(path: Path) -> None:
    save([np.zeros(3), np.zeros(3)], path)
    a, b = load(path)
    a += 1
    assert b.tolist() == [0, 0, 0]


def test_no_length_of_the_header_looks_like_another_kind_of_file(path: Path) -> None:
    first_bytes = set()
    for length in range(0, 260, 4):
        save("x" * length, path)
        first_bytes.add(path.read_bytes()[0])
        assert load(path) == "x" * length
    assert 0x80 in first_bytes  # with which a pickle begins


def test_arrays_are_named_by_the_path_that_leads_to_them(path: Path) -> None:
    save(
        {"model": {"rnn.weight": np.ones(2)}, "state": (np.zeros(1),), "a.b": np.ones(1), "a": {"b": np.zeros(1)}}, path
    )
    header = json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")])
    assert set(header) == {"__metadata__", "model.rnn.weight", "state.0", "a.b", "a.b~2"}


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [1, memoryview(b"")]}, "a.1 is a builtins.memoryview"),
        (object(), "the value is a builtins.object"),
        ({"f": print}, "f is a builtins.builtin_function_or_method"),
        ({"x": np.array([None])}, "array 'x' of dtype object"),
        ({"x": np.zeros(2, np.longdouble)}, "array 'x' of dtype float128|array 'x' of dtype longdouble"),
    ],
)
def test_what_cannot_be_saved_is_refused_with_its_place(path: Path, value: Any, where: str) -> None:
    save("old", path)
    with pytest.raises(ArgumentTypeError, match=where):
        save(value, path)
    assert load(path) == "old"


def test_a_value_that_contains_itself_is_refused(path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ArgumentError, match="contains itself"):
        save(loop, path)


SAMPLE = {"step": 3, "weights": [np.arange(5, dtype=np.float32), np.arange(3)], "names": ("a", None), "lr": 0.5}


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("intact") / "value.safetensors"
    save(SAMPLE, path)
    return path.read_bytes()


def assert_refused(path: Path, blob: bytes) -> None:
    path.unlink(missing_ok=True)  # ext4 waits for the disk where a file is written over
    path.write_bytes(blob)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_file_cut_short_anywhere_is_refused(path: Path, intact: bytes) -> None:
    for length in range(len(intact)):
        assert_refused(path, intact[:length])


def test_one_changed_bit_anywhere_is_refused(path: Path, intact: bytes) -> None:
    for position in range(len(intact)):
        for bit in range(8):
            damaged = bytearray(intact)
            damaged[position] ^= 1 << bit
            assert_refused(path, bytes(damaged))


@settings(max_examples=200)
@given(start=st.integers(0, 2000), junk=st.binary(min_size=1, max_size=40), insert=st.booleans())
def test_bytes_overwritten_or_inserted_are_refused(
    tmp_path_factory: pytest.TempPathFactory, intact: bytes, start: int, junk: bytes, insert: bool
) -> None:
    start %= len(intact)
    damaged = intact[:start] + junk + intact[start + (0 if insert else len(junk)) :]
    if damaged != intact:
        assert_refused(tmp_path_factory.getbasetemp() / "junk.safetensors", damaged)


@pytest.mark.parametrize("blob", [b"", b"\0" * 8, b"\0" * 100, b"PK\x03\x04" + b"x" * 100, pickle.dumps([1, 2] * 50)])
def test_a_file_of_another_kind_is_refused(path: Path, blob: bytes) -> None:
    assert_refused(path, blob)


def test_a_plain_safetensors_file_is_refused_as_such(path: Path) -> None:
    save_arrays({"w": np.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not one that tinygrad_rnn.save wrote"):
        load(path)


def test_another_version_of_the_format_is_named(path: Path) -> None:
    save_arrays({}, path, {"format": "tinygrad_rnn", "version": "7"})
    with pytest.raises(CheckpointError, match="has version 7 of the format; this tinygrad_rnn reads version 1 and"):
        load(path)


@pytest.mark.parametrize(
    "structure",
    [
        "",
        "{}",
        '{"dict": 3}',
        '{"array": "missing"}',
        '{"array": ["w"]}',
        '{"import": "os"}',
        '{"tuple": [1], "dict": {}}',
        '{"items": [[{"dict": {}}, 1]]}',
        '{"dtype": "no such type"}',
        '{"device": "tpu"}',
        '{"float": "much"}',
        '{"bytes": "xyz"}',
        "[" * 100_000,
        "null",  # leaves the array unused
    ],
)
def test_a_structure_that_does_not_fit_is_refused_even_with_a_right_checksum(
    path: Path, structure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_rnn.serialization.checkpoint._checksum", lambda chunks: "00000000")
    metadata = {"format": "tinygrad_rnn", "version": "1", "crc32": "00000000", "structure": structure}
    save_arrays({"w": np.zeros(2)}, path, metadata)
    with pytest.raises(CheckpointError, match="is damaged"):
        load(path)


def test_no_such_file_is_an_os_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(path)
