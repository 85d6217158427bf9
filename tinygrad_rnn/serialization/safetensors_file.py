"""The safetensors file format: named arrays, readable by most frameworks, with nothing in it to execute.

    8 bytes    N, the length of the header, an unsigned little-endian integer
    N bytes    JSON in UTF-8, padded with spaces:
               {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
                "__metadata__": {"any key": "any string"}}
    the rest   the arrays: little-endian, C order, at [begin, end) counted from the end of the header

The ``safetensors`` package is the authority on the format: it parses the header of every file that is written or read,
and checks that the arrays fill the file, each with the bytes of its shape, without a hole or an overlap
(:func:`fault_of`).  Also refused are a name that occurs twice, of which the package takes the last, and element
types that NumPy lacks: bfloat16, and floats of 8 bits and fewer.

The bytes of the arrays go between the file and NumPy's memory without the package, because its functions

* need twice the memory of the arrays: ``serialize`` and ``deserialize`` hold the file too, ``safe_open`` gives views of
  buffers, which have to be copied to become arrays that own their memory;
* write ``__metadata__`` in another order each time, so that two runs with one seed would give different files;
* replace the file that ``atomic`` has opened by another one with other permissions (``serialize_file``), which is left
  behind under a random name if the process is killed in between.

Source: https://huggingface.co/docs/safetensors, section Format.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
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

__all__ = ["Reader", "encode", "load_arrays", "opened", "printable", "save_arrays", "stored_bytes"]

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
DTYPES = {code: np.dtype(name).newbyteorder("<") for name, code in NAMES.items()}
CODES = {dtype: code for code, dtype in DTYPES.items()}  # a dtype is hashed in a tenth of the time for its name
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

    >>> import numpy as np
    >>> import tinygrad_rnn as tg
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> tg.serialization.save_arrays(dict(w=np.ones(2)), folder / "arrays.safetensors")
    >>> tg.serialization.load_file(folder / "arrays.safetensors")["w"].dtype
    torch.float64
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
        array, end = host[name], begin + host[name].nbytes
        table[name] = {"dtype": CODES[array.dtype], "shape": array.shape, "data_offsets": (begin, end)}
        buffers.append(array.reshape(-1).view(np.uint8))
        begin = end
    header = json.dumps(table, separators=(",", ":"), allow_nan=False).encode()
    # Less the padding, which counts too.
    if len(header) > LONGEST_HEADER - ALIGNMENT:
        raise ArgumentError(
            f"save(): all that is no array takes {len(header):,} bytes, and a safetensors file may have "
            f"{LONGEST_HEADER:,}. Put long lists of numbers or words into arrays"
        )
    header += b" " * (-len(header) % ALIGNMENT)
    start = len(header).to_bytes(8, "little") + header
    if fault := fault_of(start):
        raise ArgumentError(f"save(): the safetensors package could not read the file: {printable(fault)}")
    return start, buffers


class Reader:
    """Reads the bytes of a file once, from front to end, and no more of them than the file says it has.

    Args:
        file: open for reading bytes.
        source: its name, for errors.
        size: how long it is, if it is a file on the disk; then no memory is taken for arrays that it cannot hold.
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
        if fault := fault_of(self.start):
            self._refuse(f"its header is not that of a safetensors file ({fault})")
        try:
            table = json.loads(self.start[8:], object_pairs_hook=_no_repeats)
        except (ValueError, RecursionError) as error:
            self._refuse(f"its header is not valid JSON ({error})", error)
        metadata = table.pop(METADATA, {})
        if not isinstance(metadata, dict):
            self._refuse(f"{METADATA} is not a table of strings")
        for name, entry in table.items():
            if not _is_entry(entry):  # cut before it is made into text: it may be as long as the file
                shown = reprlib.repr(entry)
                self._refuse(f"the entry of array {_name(name)} is malformed or has an unknown dtype: {shown}")
        # The header's order is arbitrary, but the file is read once, from front to end.
        table = dict(sorted(table.items(), key=lambda item: item[1]["data_offsets"]))
        end = len(self.start)
        for name, entry in table.items():
            end = len(self.start) + entry["data_offsets"][1]
            if self._lacks(end):
                self._refuse(f"it is cut short: array {_name(name)} ends at byte {end}, the file before")
        if self.size is not None and self.size != end:
            self._refuse(f"{self.size - end} bytes follow the last array")
        return table, metadata

    def arrays(self, table: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
        """The arrays of the table that ``header`` gave, in its order, each one writable and on its own.

        Raises:
            CheckpointError: the file ends before they do, or after them.
        """
        arrays = {}
        for name, entry in table.items():
            dtype, (begin, end) = DTYPES[entry["dtype"]], entry["data_offsets"]
            # Of an unknown size, the file may have less than its header promises: no memory is taken for that.
            there = None if self.size is not None else self._take(end - begin)
            if there is not None and len(there) != end - begin:
                self._refuse(f"it is cut short: array {_name(name)} has {len(there)} bytes of {end - begin}")
            try:
                array = np.empty(entry["shape"], dtype)
            except (ValueError, OverflowError) as error:  # more axes than NumPy has, or one longer than it can count
                self._refuse(f"array {_name(name)} has an impossible shape {reprlib.repr(entry['shape'])}", error)
            if not self._fill(array.reshape(-1).view(np.uint8), there):
                self._refuse(f"it is cut short: the file ends in array {_name(name)}")
            arrays[name] = array.astype(dtype.newbyteorder("="), copy=False)
        # Where the size is unknown, only reading on tells whether the file ends here.
        if self._read(1):
            self._refuse("bytes follow the last array")
        return arrays

    def _lacks(self, end: int) -> bool:
        return self.size is not None and end > self.size

    def _fill(self, memory: npt.NDArray[np.uint8], there: bytes | None) -> bool:
        """Put the next bytes of the file, or those that are ``there``, into memory; whether there are enough."""
        if there is not None:
            memory[...] = np.frombuffer(there, np.uint8)
            return True
        filled = 0
        # A raw read may give less than it was asked for: on Linux never more than 2 GiB.
        while filled < memory.size:
            count = self.file.readinto(memory[filled : filled + CHUNK])
            if not count:
                return False
            filled += count
        return True

    def _take(self, count: int) -> bytes:
        chunks, missing = [], count
        # In chunks: memory grows with the bytes that are there, not with the number that a header claims.
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
    """A file on the disk, to be read: a regular file, since a device or a pipe may give bytes without end, or none.

    Raises:
        CheckpointError: it is something else.
        OSError: it cannot be read.
    """
    source = str(os.fspath(path))
    _check_regular(os.stat(path), source)  # before it is opened: to open some devices is to act on them
    with open(path, "rb", buffering=0, opener=_without_waiting) as file:
        # Once more, since the path may name another file by now.
        found = os.fstat(file.fileno())
        _check_regular(found, source)
        yield Reader(file, source, found.st_size)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # opening a pipe would wait for its writer


def _check_regular(found: os.stat_result, source: str) -> None:
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # to open a folder is an OSError
        raise CheckpointError(f"{printable(source)} is no regular file, but a device, a pipe or a socket: not read")


def printable(text: str, longest: int = 1000) -> str:
    r"""``text`` without control characters, which could command a terminal, and not too long.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    cut = text if len(text) <= longest else text[: longest - 3] + "..."
    return "".join([c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut])


def stored_bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The bytes of an array as they are in a file."""
    return _little_endian(array).reshape(-1).view(np.uint8)


def _little_endian(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def fault_of(start: bytes) -> str | None:
    """What is wrong with the header of a file, in the words of the ``safetensors`` package; None if nothing is.

    Args:
        start: the length of the header, and the header.  The arrays are not needed: the package complains of their
            absence last, when there is nothing else to complain of.

    >>> fault_of((2).to_bytes(8, "little") + b"{}")
    >>> fault_of((2).to_bytes(8, "little") + b"{]")
    'invalid JSON in header: ...'
    """
    if b"\\ud" in start:
        # JSON made by Python may have half of a surrogate pair in a name.  The package, whose strings are UTF-8,
        # refuses that, so it is shown a character of the private use area in its place.
        start = re.sub(rb"\\ud(?=[89a-f])", rb"\\ue", start)
    said = _complaint(start)
    return None if said in (None, _of_absent_arrays()) else said


def _complaint(start: bytes) -> str | None:
    from safetensors import SafetensorError, deserialize

    try:
        deserialize(start)
    except SafetensorError as error:
        return str(error).removeprefix("Error while deserializing: ")
    return None


@functools.cache
def _of_absent_arrays() -> str | None:
    """The complaint about a file that has a right header and nothing else, whatever this version calls it."""
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    return _complaint(len(header).to_bytes(8, "little") + header)


def _is_entry(entry: Any) -> bool:
    """Whether an entry that the package takes has the form in its documentation, and a dtype that NumPy has."""
    return (
        isinstance(entry, dict)
        and entry.keys() == {"dtype", "shape", "data_offsets"}
        and isinstance(entry["dtype"], str)
        and entry["dtype"] in DTYPES
    )


def _storable(name: str, array: Array) -> npt.NDArray[Any]:
    host: npt.NDArray[Any] = to_numpy(array)
    if name == METADATA or host.dtype.newbyteorder("<") not in CODES:
        raise ArgumentTypeError(
            f"save(): array {name!r} of dtype {host.dtype} cannot be stored in a safetensors file. "
            f"Convert it to one of {', '.join(NAMES)}"
        )
    return _little_endian(host)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key occurs twice")
    return table


def _name(name: str) -> str:
    return repr(name if len(name) <= 200 else name[:200] + "...")
