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

import contextlib
import io
import json
import math
import os
import reprlib
import stat
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ..backend import to_numpy
from ..errors import ArgumentError, ArgumentTypeError, CheckpointError
from ..typing import Array
from .atomic import atomic_write

__all__ = ["Reader", "decode", "encode", "load_arrays", "opened", "printable", "save_arrays", "stored_bytes"]

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
CHUNK = 1 << 24  # bytes read at a time


def save_arrays(
    arrays: Mapping[str, Array], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays (NumPy or CuPy) and string metadata as a safetensors file, atomically.

    Raises:
        ArgumentTypeError: an array whose dtype the format does not have.
        ArgumentError: more names and metadata than the format allows.
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
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "weights.safetensors"
    >>> save_arrays({"w": np.eye(2, dtype=np.float32)}, path)
    >>> load_arrays(path)
    {'w': array([[1., 0.],
           [0., 1.]], dtype=float32)}
    """
    with opened(path) as reader:
        table, _ = reader.header()
        return reader.arrays(table)


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
        buffers.append(stored_bytes(array))
        begin = end
    header = json.dumps(table, separators=(",", ":"), allow_nan=False).encode()
    if len(header) > LONGEST_HEADER - ALIGNMENT:
        raise ArgumentError(
            f"save(): all that is no array takes {len(header):,} bytes, and a safetensors file may have "
            f"{LONGEST_HEADER:,}. Put long lists of numbers or words into arrays"
        )
    header += b" " * (-len(header) % ALIGNMENT)
    return len(header).to_bytes(8, "little") + header, buffers


class Reader:
    """Reads the bytes of a file once, from front to end, and no more of them than the file says it has.

    Args:
        file: open for reading bytes.
        source: its name, for errors.
        size: how long it is, if that is known; then nothing is read, or made, for arrays that it cannot hold.
    """

    def __init__(self, file: Any, source: str, size: int | None = None) -> None:
        self.file = file
        self.source = source
        self.size = size
        self.start = b""  # the length of the header, and the header
        self.length = 0

    def looks_alike(self) -> bool:
        """Whether the first nine bytes are those of a safetensors file."""
        self.start = self._take(9)
        self.length = int.from_bytes(self.start[:8], "little")
        return self.start[8:] == b"{" and self.length <= LONGEST_HEADER

    def header(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The table of arrays, by their place in the file, and the metadata; every rule of the format is checked.

        Raises:
            CheckpointError: a rule is broken.
        """
        if not self.start:
            self.looks_alike()
        if len(self.start) < 9 or self.length > LONGEST_HEADER or self._lacks(8 + self.length):
            self._refuse(f"it is cut short or not a safetensors file (header of {self.length} bytes)")
        if self.start[8:] != b"{":
            self._refuse("its header does not start with '{'")
        self.start += self._take(self.length - 1)
        if len(self.start) != 8 + self.length:
            self._refuse(f"it is cut short: of the header of {self.length} bytes there are {len(self.start) - 8}")
        try:
            text = self.start[8:].rstrip(b" ").decode()
            table = json.loads(text, object_pairs_hook=_no_repeats, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            self._refuse(f"its header is not valid JSON ({error})", error)
        metadata = table.pop(METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            self._refuse(f"{METADATA} is not a table of strings")
        for name, entry in table.items():
            if not _is_entry(entry):  # cut before it is made into text: it may be as long as the file
                shown = reprlib.repr(entry)
                self._refuse(f"the entry of array {_name(name)} is malformed or has an unknown dtype: {shown}")
        table = dict(sorted(table.items(), key=lambda item: item[1]["data_offsets"]))
        expected = 0
        for name, entry in table.items():
            (begin, end), count = entry["data_offsets"], math.prod(entry["shape"])
            size = count * DTYPES[entry["dtype"]].itemsize
            if begin != expected:
                self._refuse(f"array {_name(name)} begins at byte {begin} of the data, not at {expected}")
            if end - begin != size:
                self._refuse(f"array {_name(name)} has {end - begin} bytes, not those of its shape")
            if self._lacks(len(self.start) + end):
                self._refuse(f"it is cut short: array {_name(name)} ends at byte {end} of the data, the file before")
            expected = end
        if self.size is not None and self.size != len(self.start) + expected:
            self._refuse(f"{self.size - len(self.start) - expected} bytes follow the last array")
        return table, metadata

    def arrays(self, table: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
        """The arrays of the table that ``header`` gave, in its order, each one writable and on its own.

        Raises:
            CheckpointError: the file ends before they do, or after them.
        """
        arrays = {}
        for name, entry in table.items():
            dtype, (begin, end) = DTYPES[entry["dtype"]], entry["data_offsets"]
            there = None if self.size is not None else self._take(end - begin)  # nobody knows whether it has as many
            if there is not None and len(there) != end - begin:
                self._refuse(f"it is cut short: array {_name(name)} has {len(there)} bytes of {end - begin}")
            try:
                array = np.empty(entry["shape"], dtype)
            except ValueError as error:  # an empty array with an axis longer than NumPy can count
                self._refuse(f"array {_name(name)} has an impossible shape {entry['shape']}", error)
            if not self._fill(array.reshape(-1).view(np.uint8), there):
                self._refuse(f"it is cut short: the file ends in array {_name(name)}")
            arrays[name] = array.astype(dtype.newbyteorder("="), copy=False)
        if self._read(1):
            self._refuse("bytes follow the last array")
        return arrays

    def _lacks(self, end: int) -> bool:
        return self.size is not None and end > self.size

    def _fill(self, memory: npt.NDArray[np.uint8], there: bytes | None) -> bool:
        """Put the next bytes of the file, or those that are ``there``, into memory; whether there are enough."""
        filled = 0
        while filled < memory.size:
            chunk = self._read(min(memory.size - filled, CHUNK)) if there is None else there
            if not chunk:
                return False
            memory[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
            filled += len(chunk)
        return True

    def _take(self, count: int) -> bytes:
        chunks, missing = [], count
        while missing > 0 and (chunk := self._read(min(missing, CHUNK))):
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    def _read(self, count: int) -> bytes:
        chunk = self.file.read(count)
        if not isinstance(chunk, (bytes, bytearray, memoryview)):
            raise ArgumentTypeError(
                f"{printable(self.source)} gives {type(chunk).__name__} when it is read: open it for reading bytes, "
                'with mode "rb"'
            )
        return bytes(chunk)

    def _refuse(self, reason: str, cause: BaseException | None = None) -> NoReturn:
        raise CheckpointError(f"{printable(self.source)} is damaged: {printable(reason)}") from cause


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Reader]:
    """A file on the disk, to be read: a regular file, since a device or a pipe may give bytes for ever, or none.

    Raises:
        CheckpointError: it is something else.
        OSError: it cannot be read.
    """
    source = str(os.fspath(path))
    _check_regular(os.stat(path), source)  # before it is opened: to open some devices is to act on them
    with open(path, "rb", buffering=0, opener=_without_waiting) as file:
        found = os.fstat(file.fileno())
        _check_regular(found, source)
        yield Reader(file, source, found.st_size)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe that came meanwhile waits for its writer


def _check_regular(found: os.stat_result, source: str) -> None:
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # to open a folder is an OSError
        raise CheckpointError(f"{printable(source)} is no regular file, but a device, a pipe or a socket: not read")


def decode(blob: bytes, source: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """The arrays and the metadata of the bytes of a file; ``source`` names it in errors."""
    reader = Reader(io.BytesIO(blob), source, len(blob))
    table, metadata = reader.header()
    return reader.arrays(table), metadata


def printable(text: str, longest: int = 1000) -> str:
    """``text`` without control characters, which could command a terminal, and not too long.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    cut = text if len(text) <= longest else text[: longest - 3] + "..."
    return "".join([c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut])


def stored_bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The bytes of an array as they stand in a file."""
    stored = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return stored.reshape(-1).view(np.uint8)


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
    host: npt.NDArray[Any] = to_numpy(array)
    if name == METADATA or host.dtype.name not in NAMES:
        raise ArgumentTypeError(
            f"save(): array {name!r} of dtype {host.dtype} cannot be stored in a safetensors file. "
            f"Convert it to one of {', '.join(NAMES)}"
        )
    return host


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key occurs twice")
    return table


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _name(name: str) -> str:
    return repr(name if len(name) <= 200 else name[:200] + "...")
