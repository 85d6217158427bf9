"""The file format, against the functions of the ``safetensors`` package, and against every rule a header can break."""

from __future__ import annotations

import json
import random
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, CheckpointError
from tinygrad_rnn.serialization import load, load_arrays, save, save_arrays
from tinygrad_rnn.serialization.safetensors_file import CODES, DTYPES, fault_of

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
    path = tmp_path_factory.getbasetemp() / "ours.safetensors"
    save_arrays(arrays, path, {"by": "us"})
    assert_same(safetensors.numpy.load_file(path), arrays)


@given(arrays=TABLES)
def test_we_read_what_the_safetensors_package_writes(tmp_path_factory: pytest.TempPathFactory, arrays: Table) -> None:
    path = tmp_path_factory.getbasetemp() / "theirs.safetensors"
    safetensors.numpy.save_file(arrays, path, {"by": "them"})
    assert_same(load_arrays(path), arrays)


def test_a_checkpoint_is_an_ordinary_safetensors_file(tmp_path: Path) -> None:
    save({"model": {"w": np.arange(3.0)}, "update": 3}, tmp_path / "c.safetensors")
    assert_same(safetensors.numpy.load_file(tmp_path / "c.safetensors"), {"model.w": np.arange(3.0)})


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


def test_the_builders_of_broken_files_build_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(file({"a": entry(), "e": entry("F32", [0, 3], [4, 4])}, FOUR))
    arrays = load_arrays(tmp_path / "good")
    assert bytes(arrays["a"]) == FOUR and arrays["e"].shape == (0, 3)


@pytest.mark.parametrize("blob", BROKEN.values(), ids=BROKEN.keys())
def test_every_broken_rule_is_one_clear_line(tmp_path: Path, blob: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(blob)
    with pytest.raises(CheckpointError, match=r"broken\.safetensors is damaged: ") as caught:
        load_arrays(path)
    assert "\n" not in str(caught.value)


def test_nothing_is_read_that_the_package_refuses(tmp_path: Path) -> None:
    arrays = {"a": np.arange(3.0), "b": np.ones((2, 2), np.float32), "c": np.zeros((0, 5), np.int8)}
    whole, draw, found = safetensors.numpy.save(arrays), random.Random(0), set()
    header = 8 + int.from_bytes(whole[:8], "little")
    path = tmp_path / "a.safetensors"
    for _ in range(600):
        blob = bytearray(whole)
        for _ in range(draw.choice([1, 1, 2])):
            blob[draw.randrange(8, header)] = draw.choice(b'"{}[]:,0123456789-eabcFIU\\ ')
        path.unlink(missing_ok=True)  # ext4 waits for the disk where a file is written over
        path.write_bytes(blob)
        try:
            read = load_arrays(path)
        except CheckpointError:
            found.add("refused")
        else:
            found.add("read")
            assert_same(read, safetensors.numpy.load(bytes(blob)))
    assert found == {"read", "refused"}


def complaint(blob: bytes) -> str:
    """What the package says of a file, without the name of the array: of two in one place it takes either."""
    try:
        safetensors.deserialize(blob)
    except safetensors.SafetensorError as error:
        return re.sub("`.`", "", str(error).removeprefix("Error while deserializing: "))
    return ""


@pytest.mark.parametrize("blob", BROKEN.values(), ids=BROKEN.keys())
def test_a_header_is_judged_without_its_arrays(blob: bytes) -> None:
    fault = fault_of(blob[: 8 + int.from_bytes(blob[:8], "little")])
    if fault:
        assert re.sub("`.`", "", fault) == complaint(blob)
    else:
        assert complaint(blob) in ("", complaint(BROKEN["data cut"]))


def test_nothing_is_written_that_the_package_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save("old", path)
    monkeypatch.setitem(CODES, np.dtype("<f8"), "F32")  # a mistake of ours
    for write in (lambda: save(np.zeros(2), path), lambda: save_arrays({"w": np.zeros(2)}, path)):
        with pytest.raises(ArgumentError, match="could not read the file: invalid shape, data type, or offset"):
            write()
    assert load(path) == "old" and list(tmp_path.iterdir()) == [path]


NAMES = ["\ud800", "\\ud800", "\\\ud800", "a\udfff", "\U0001f600", "\ud7ff", '"\udc00"', "\ue000", "\\\\ud800"]


def test_a_name_may_have_half_of_a_surrogate_pair(tmp_path: Path) -> None:
    # Names of files that are not UTF-8 come so from the operating system.
    save_arrays({name: np.full(2, i) for i, name in enumerate(NAMES)}, tmp_path / "a.safetensors", {"\ud800": "\udfff"})
    loaded = load_arrays(tmp_path / "a.safetensors")
    assert {name: array.tolist() for name, array in loaded.items()} == {name: [i, i] for i, name in enumerate(NAMES)}


@pytest.mark.parametrize("reader", [load, load_arrays])
def test_loading_takes_the_memory_of_the_arrays_once(tmp_path: Path, reader: Any) -> None:
    array = np.ones(1 << 21)
    (save if reader is load else lambda value, path: save_arrays({"w": value}, path))(array, tmp_path / "file")
    reader(tmp_path / "file")  # once for what is loaded at the first use
    tracemalloc.start()
    try:
        read = reader(tmp_path / "file")
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert array.nbytes <= held and peak < 1.01 * array.nbytes
    assert np.array_equal(read if reader is load else read["w"], array)


def test_saving_takes_no_memory_for_the_arrays(tmp_path: Path) -> None:
    value = {"w": np.ones(1 << 21)}
    save(value, tmp_path / "file")
    with open(tmp_path / "other", "wb") as file:
        for target in (tmp_path / "file", file):
            tracemalloc.start()
            try:
                save(value, target)
                assert tracemalloc.get_traced_memory()[1] < 0.01 * value["w"].nbytes
            finally:
                tracemalloc.stop()
