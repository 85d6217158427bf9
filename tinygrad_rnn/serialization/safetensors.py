"""The safetensors file format: named arrays, readable by most frameworks, with nothing in it to execute.

    8 bytes    N, the length of the header, an unsigned little-endian integer
    N bytes    JSON in UTF-8, padded with spaces:
               {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
                "__metadata__": {"any key": "any string"}}
    the rest   the arrays: little-endian, C order, at [begin, end) counted from the end of the header

Reading trusts nothing: every byte of the data must belong to exactly one array (no hole, no overlap, nothing
beyond the end), every length must follow from dtype and shape, and no key may occur twice.  Source: the format
section of the safetensors documentation, https://huggingface.co/docs/safetensors (bfloat16 and the 8-bit floats
are refused: NumPy has no such types).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ..backend import to_numpy
from ..errors import ArgumentTypeError, CheckpointError
from ..typing import Array
from .atomic import atomic_write

__all__ = ["decode", "encode", "load_arrays", "parse_header", "save_arrays"]

NAMES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "float16": "F16",
    "uint32": "U32",
    "int32": "I32",
    "float32": "F32",
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "complex64": "C64",
}
DTYPES = {name: np.dtype(numpy_name).newbyteorder("<") for numpy_name, name in NAMES.items()}
LONGEST_HEADER = 100_000_000  # the format's own limit
ALIGNMENT = 8  # the data starts at a multiple of this, so that arrays can be mapped in place
METADATA = "__metadata__"


def save_arrays(
    arrays: Mapping[str, Array], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays (NumPy or CuPy) and string metadata as a safetensors file, atomically.

    Raises:
        ArgumentTypeError: an array whose dtype the format does not have.
        OSError: the file cannot be written; an older file of that name is untouched.
    """
    header, buffers = encode(arrays, metadata or {})
    atomic_write(path, [header, *buffers])


def load_arrays(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a safetensors file by name, in the order of the file, each one writable and on its own.

    Raises:
        CheckpointError: the file is not a well-formed safetensors file.
        OSError: the file cannot be read.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "weights.safetensors"
    >>> save_arrays({"w": np.eye(2, dtype=np.float32)}, path)
    >>> load_arrays(path)
    {'w': array([[1., 0.],
           [0., 1.]], dtype=float32)}
    """
    return decode(Path(path).read_bytes(), str(path))[0]


def encode(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> tuple[bytes, list[npt.NDArray[np.uint8]]]:
    """The header (with its length in front) and the data of a file: bytes, and one flat uint8 array per array."""
    table: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    buffers, begin = [], 0
    host = {name: _storable(name, array) for name, array in arrays.items()}
    # Widest elements first: then every array is aligned to its own element size, without holes.
    for name in sorted(host, key=lambda name: (-host[name].itemsize, name)):
        array = host[name]
        end = begin + array.nbytes
        table[name] = {"dtype": NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": [begin, end]}
        buffers.append(array.reshape(-1).view(np.uint8))
        begin = end
    header = json.dumps(table, separators=(",", ":"), allow_nan=False).encode()
    header += b" " * (-len(header) % ALIGNMENT)
    return len(header).to_bytes(8, "little") + header, buffers


def decode(blob: bytes, source: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """The arrays and the metadata of the bytes of a file; ``source`` names it in errors."""
    table, metadata, start = parse_header(blob, source)
    arrays, expected = {}, 0
    for name, entry in sorted(table.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, (begin, end) = DTYPES[entry["dtype"]], entry["data_offsets"]
        if begin != expected:
            _refuse(source, f"array {name!r} begins at byte {begin} of the data, not at {expected}")
        count = math.prod(entry["shape"])
        if end - begin != count * dtype.itemsize:
            _refuse(source, f"array {name!r} has {end - begin} bytes, not the {count * dtype.itemsize} of its shape")
        if start + end > len(blob):
            _refuse(source, f"it is cut short: array {name!r} ends at byte {start + end}, the file at {len(blob)}")
        try:
            flat = np.frombuffer(blob, dtype, count, offset=start + begin) if count else np.empty(0, dtype)
            arrays[name] = flat.reshape(entry["shape"]).astype(dtype.newbyteorder("="))
        except ValueError as error:  # an empty array with an axis longer than NumPy can count
            _refuse(source, f"array {name!r} has an impossible shape {entry['shape']}", error)
        expected = end
    if start + expected != len(blob):
        _refuse(source, f"{len(blob) - start - expected} bytes follow the last array")
    return arrays, metadata


def parse_header(blob: bytes, source: str) -> tuple[dict[str, Any], dict[str, str], int]:
    """The table of arrays, the metadata, and where the data starts; each entry checked on its own."""
    length = int.from_bytes(blob[:8], "little")
    if len(blob) < 8 or length > len(blob) - 8 or length > LONGEST_HEADER:
        _refuse(source, f"it is cut short or not a safetensors file ({len(blob)} bytes, header of {length})")
    text = blob[8 : 8 + length]
    if not text.startswith(b"{"):
        _refuse(source, "its header does not start with '{'")
    try:
        table = json.loads(text.rstrip(b" ").decode(), object_pairs_hook=_no_repeats, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        _refuse(source, f"its header is not valid JSON ({error})", error)
    metadata = table.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse(source, f"{METADATA} is not a table of strings")
    for name, entry in table.items():
        if not _is_entry(entry):
            _refuse(source, f"the entry of array {name!r} is malformed or has an unknown dtype: {str(entry)[:200]}")
    return table, metadata, 8 + length


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"dtype", "shape", "data_offsets"}
        and isinstance(entry["dtype"], str)
        and entry["dtype"] in DTYPES
        and _are_sizes(entry["shape"])
        and _are_sizes(entry["data_offsets"])
        and len(entry["data_offsets"]) == 2
        and len(entry["shape"]) <= 64  # NumPy's limit
    )


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**62 for n in value)


def _storable(name: str, array: Array) -> npt.NDArray[Any]:
    host = to_numpy(array)
    if name == METADATA or host.dtype.name not in NAMES:
        raise ArgumentTypeError(
            f"save(): array {name!r} of dtype {host.dtype} cannot be stored in a safetensors file. "
            f"Convert it to one of {', '.join(NAMES)}"
        )
    stored: npt.NDArray[Any] = host.astype(host.dtype.newbyteorder("<"), order="C", copy=False)
    return stored


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key occurs twice")
    return table


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse(source: str, reason: str, cause: BaseException | None = None) -> NoReturn:
    raise CheckpointError(f"{source} is damaged: {reason}") from cause
