"""The file format, against the ``safetensors`` package both ways, and against every rule a header can break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_rnn.errors import ArgumentTypeError, CheckpointError
from tinygrad_rnn.serialization import load_arrays, save, save_arrays
from tinygrad_rnn.serialization.safetensors import DTYPES, decode

Table = dict[str, Any]
TempFolders = pytest.TempPathFactory

DTYPE = st.sampled_from([dtype.newbyteorder("=") for dtype in DTYPES.values()])
TABLES = st.dictionaries(
    st.text(max_size=6).filter(lambda name: name != "__metadata__"),
    hnp.arrays(DTYPE, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)),
    max_size=4,
)


def assert_same(got: Table, expected: Table) -> None:
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)
        assert got[name].tobytes() == array.tobytes()  # bits, so that nan equals itself


@given(arrays=TABLES)
def test_the_safetensors_package_reads_what_we_write(tmp_path_factory: pytest.TempPathFactory, arrays: Table) -> None:
    oracle = pytest.importorskip("safetensors.numpy")
    path = tmp_path_factory.getbasetemp() / "ours.safetensors"
    save_arrays(arrays, path, {"by": "us"})
    assert_same(oracle.load_file(path), arrays)


@given(arrays=TABLES)
def test_we_read_what_the_safetensors_package_writes(tmp_path_factory: pytest.TempPathFactory, arrays: Table) -> None:
    oracle = pytest.importorskip("safetensors.numpy")
    path = tmp_path_factory.getbasetemp() / "theirs.safetensors"
    oracle.save_file(arrays, path, {"by": "them"})
    assert_same(load_arrays(path), arrays)


def test_a_checkpoint_is_an_ordinary_safetensors_file(tmp_path: Path) -> None:
    oracle = pytest.importorskip("safetensors.numpy")
    save({"model": {"w": np.arange(3.0)}, "update": 3}, tmp_path / "c.safetensors")
    assert_same(oracle.load_file(tmp_path / "c.safetensors"), {"model.w": np.arange(3.0)})


@pytest.mark.parametrize("array", [np.arange(12.0).reshape(3, 4).T, np.arange(12)[::-2], np.arange(3, dtype=">i4")])
def test_layout_and_byte_order_are_those_of_the_format(tmp_path: Path, array: Any) -> None:
    save_arrays({"a": array}, tmp_path / "a.safetensors")
    loaded = load_arrays(tmp_path / "a.safetensors")["a"]
    assert loaded.tolist() == array.tolist() and loaded.flags.c_contiguous and loaded.dtype.isnative


def test_arrays_are_aligned_to_their_element_size(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_arrays({"a": np.ones(3, np.int8), "b": np.ones(1, np.float64), "c": np.ones(5, np.float16)}, path)
    blob = path.read_bytes()
    length = int.from_bytes(blob[:8], "little")
    assert length % 8 == 0
    for entry in json.loads(blob[8 : 8 + length]).values():
        assert entry["data_offsets"][0] % DTYPES[entry["dtype"]].itemsize == 0


def test_a_dtype_without_a_name_in_the_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="dtype <U2"):
        save_arrays({"names": np.array(["ab"])}, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def file(header: str | Table, data: bytes = b"", length: int | None = None) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode("latin-1")
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: Any = "U8", shape: Any = (4,), offsets: Any = (0, 4)) -> Table:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


FOUR = b"abcd"
BROKEN = {
    "length beyond the file": file({"a": entry()}, FOUR, length=1000),
    "length of 2**63": file({"a": entry()}, FOUR, length=2**63),
    "header is a list": file("[]"),
    "header starts with a space": file(' {"a": 1}'),
    "header is cut": file('{"a"'),
    "header has text after it": file("{} x"),
    "header is not UTF-8": file('{"\xff": 1}'),
    "header holds nan": file('{"a": NaN}'),
    "header is nested without end": file('{"a":' * 100_000),
    "key twice": file('{"a":%s,"a":%s}' % ((json.dumps(entry()),) * 2), FOUR),
    "metadata not strings": file({"__metadata__": {"a": 1}}),
    "metadata a list": file({"__metadata__": []}),
    "entry not a table": file({"a": [1]}),
    "entry lacks offsets": file({"a": {"dtype": "U8", "shape": []}}, FOUR),
    "entry has more": file({"a": {**entry(), "x": 1}}, FOUR),
    "unknown dtype": file({"a": entry("BF16", [2])}, FOUR),
    "dtype a list": file({"a": entry(["U8"])}, FOUR),
    "shape a number": file({"a": entry(shape=4)}, FOUR),
    "negative size": file({"a": entry(shape=[-4])}, FOUR),
    "fractional size": file({"a": entry(shape=[4.0])}, FOUR),
    "size true": file({"a": entry(shape=[4, True])}, FOUR),
    "huge size": file({"a": entry(shape=[2**64])}, FOUR),
    "product overflows": file({"a": entry(shape=[2**32, 2**32])}, FOUR),
    "impossible empty array": file({"a": entry(shape=[0, 2**61, 2**61], offsets=[0, 0])}),
    "too many axes": file({"a": entry(shape=[1] * 65, offsets=[0, 1])}, b"a"),
    "one offset": file({"a": entry(offsets=[0])}, FOUR),
    "offsets reversed": file({"a": entry(offsets=[4, 0])}, FOUR),
    "offsets too far": file({"a": entry(shape=[5], offsets=[0, 5])}, FOUR),
    "size does not fit offsets": file({"a": entry("F32", [2])}, FOUR),
    "hole at the start": file({"a": entry(shape=[3], offsets=[1, 4])}, FOUR),
    "hole between": file({"a": entry(shape=[1], offsets=[0, 1]), "b": entry(shape=[1], offsets=[3, 4])}, FOUR),
    "overlap": file({"a": entry(shape=[3], offsets=[0, 3]), "b": entry(shape=[2], offsets=[2, 4])}, FOUR),
    "two arrays in one place": file({"a": entry(), "b": entry()}, FOUR),
    "data cut": file({"a": entry()}, b"abc"),
    "data too long": file({"a": entry()}, b"abcde"),
    "data of nobody": file({}, b"a"),
}


def test_the_builders_of_broken_files_build_a_good_one() -> None:
    arrays, _ = decode(file({"a": entry(), "e": entry("F32", [0, 3], [4, 4])}, FOUR), "good")
    assert bytes(arrays["a"]) == FOUR and arrays["e"].shape == (0, 3)


@pytest.mark.parametrize("blob", BROKEN.values(), ids=BROKEN.keys())
def test_every_broken_rule_is_one_clear_line(tmp_path: Path, blob: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(blob)
    with pytest.raises(CheckpointError, match=r"broken\.safetensors is damaged: ") as caught:
        load_arrays(path)
    assert "\n" not in str(caught.value)
