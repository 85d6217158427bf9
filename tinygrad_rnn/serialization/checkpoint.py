"""Checkpoints: ``save`` and ``load`` of nested containers, plain values, arrays and tensors, as one safetensors file.

The arrays are ordinary entries of the file, under the path that leads to them, so that any safetensors reader finds
``model.rnn.weight_ih_l0``.  The nesting is JSON (see ``flatten``) in the metadata, with the name and the version of
this format, the element types that safetensors lacks (see ``extended_dtypes``), and a CRC-32 of the whole file,
computed with its own eight digits set to zeros.  A change anywhere, even of one bit, makes ``load`` raise
CheckpointError.  Nothing in a file is ever executed.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any, TypeAlias

import numpy as np

from ..backend import Device, to_device
from ..errors import ArgumentError, ArgumentRuntimeError, ArgumentTypeError, CheckpointError
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .atomic import atomic_write
from .extended_dtypes import restore, store
from .flatten import flatten
from .objects import damaged
from .safetensors_file import Reader, encode, opened, printable, stored_bytes
from .unflatten import unflatten

__all__ = ["FORMAT", "VERSION", "load", "save"]

FORMAT = "tinygrad_rnn"
VERSION = 2
VERSIONS = ("1", "2")  # that can be read; the first had fewer kinds of values
NO_CHECKSUM = "00000000"
File: TypeAlias = "str | os.PathLike[str] | IO[bytes]"


def save(
    obj: Any,
    f: File,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Write ``obj`` to the file ``f``.

    A path is written atomically: killed at any moment, the old file or the new one is there.

    Args:
        obj: None, bool, int, float, complex, str, bytes, dtype, Device, NumPy and CuPy arrays, Tensors, Modules,
            optimisers, schedules and Generators, and lists, tuples, dicts (also OrderedDict, defaultdict, Counter),
            sets and deques of such values; ranges, slices, paths, dates, times, Decimals, Fractions, Namespaces.
            Tensors are saved without their history, from any device.  Objects of your own classes, and your own
            functions, are saved by name; to be read they have to be allowed: see ``allow_list``.
        f: a path, or a file open for writing bytes.
        pickle_module: this and the others are accepted for PyTorch's signature: nothing is pickled.
        pickle_protocol: likewise.
        _use_new_zipfile_serialization: likewise.
        _disable_byteorder_record: likewise.

    Raises:
        ArgumentTypeError: something in ``obj`` is of another kind, or has hooks; the message says where it is.
        ArgumentError: ``obj`` contains itself, or is nested too deeply; there is too much in it that is no array.
        OSError: the file cannot be written; an older file of that name is untouched.

    >>> import tempfile, tinygrad_rnn as tg
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "state.safetensors"
    >>> save({"epoch": 3, "weight": tg.tensor([1.0, 2.0])}, path)
    >>> load(path)
    {'epoch': 3, 'weight': tensor([1., 2.])}
    >>> model = tg.nn.GRU(3, 4)
    >>> save({"model": model, "optimizer": tg.optim.Adam(model.parameters())}, path)
    >>> again = load(path)
    >>> again["optimizer"].param_groups[0]["params"][0] is again["model"].weight_ih_l0
    True
    """
    is_path = isinstance(f, (str, os.PathLike))
    if not is_path and not hasattr(f, "write"):
        raise ArgumentTypeError(f"save(): f must be a path or a file open for writing, not {type(f).__name__}")
    if isinstance(f, io.TextIOBase):
        raise ArgumentTypeError('save(): f is open for writing text: open it for bytes, with mode "wb"')
    try:
        data, arrays = flatten(obj)
        structure = json.dumps(data, separators=(",", ":"), allow_nan=False)
    except RecursionError as error:
        raise ArgumentError("save(): the value contains itself, or is nested too deeply") from error
    metadata = {"format": FORMAT, "version": str(VERSION), "crc32": NO_CHECKSUM, "structure": structure}
    stored = {name: store(array) for name, array in arrays.items()}
    if views := {name: was for name, (_, was) in stored.items() if was is not None}:
        metadata["views"] = json.dumps(views, separators=(",", ":"))
    header, buffers = encode({name: array for name, (array, _) in stored.items()}, metadata)
    checksum = _checksum([header, *buffers])
    chunks: list[Any] = [header.replace(_field(NO_CHECKSUM), _field(checksum), 1), *buffers]
    if is_path:
        atomic_write(f, chunks)  # type: ignore[arg-type]
        return
    for chunk in chunks:
        f.write(chunk)  # type: ignore[union-attr]


def load(
    f: File,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    encoding: str = "utf-8",
    errors: str = "strict",
    fix_imports: bool = True,
) -> Any:
    """What :func:`save` wrote to ``f``.

    Args:
        f: the path of a regular file, or a file open for reading bytes, which is read to its end.
        map_location: where the tensors go: a device or its name, a dict such as ``{"cpu": "cuda"}``, or a function of
            the tensor and the place ``"cpu"`` that gives the tensor to be taken.  None: the CPU, wherever they were.
        pickle_module: accepted for PyTorch's signature: nothing is unpickled.
        weights_only: PyTorch's switch.  Nothing in a file is ever executed, so both values mean the same: classes
            other than this package's are built only if they are allowed (:func:`add_safe_globals`).
        mmap: accepted for PyTorch's signature, for a path: every array is read into memory of its own.
        encoding: this and the next two are options of pickle, accepted likewise.
        errors: likewise.
        fix_imports: likewise.

    Raises:
        CheckpointError: the file is damaged, was not written by :func:`save`, has another version, or names a class
            that is not allowed.
        DeviceError: ``map_location`` names a device that is not there.
        ArgumentError, ArgumentRuntimeError: ``mmap`` with an open file, ``pickle_module`` with ``weights_only``.
        OSError: the file cannot be read.
    """
    if weights_only and pickle_module is not None:
        raise ArgumentRuntimeError(
            "Can not safely load weights when explicit pickle_module is specified. Leave it out: nothing is unpickled"
        )
    if isinstance(f, (str, os.PathLike)):
        with opened(f) as reader:
            return _load(reader, map_location)
    if mmap:
        raise ArgumentError("f must be a file path in order to use the mmap argument")
    if not hasattr(f, "read"):
        raise ArgumentTypeError(f"load(): f must be a path or a file open for reading, not {type(f).__name__}")
    return _load(Reader(f, str(getattr(f, "name", "the file"))), map_location)


def _load(reader: Reader, map_location: Any) -> Any:
    source = printable(reader.source)
    # The first byte alone does not tell: a header of 128 bytes, or of 384, begins with that of a pickle.
    if not reader.looks_alike() and (reader.start[:4] == b"PK\3\4" or reader.start[:1] == b"\x80"):
        raise CheckpointError(
            f"{source} is a pickle, as torch.save writes it, and pickles are never read here. In PyTorch: "
            "safetensors.torch.save_file(model.state_dict(), path); here: serialization.load_file(path)"
        )
    # A wrong map_location is reported before gigabytes are read.
    place = _placer(map_location)
    table, metadata = reader.header()
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{source} is a safetensors file, but not one that tinygrad_rnn.save wrote: use serialization.load_file"
        )
    if metadata.get("version") not in VERSIONS:
        raise CheckpointError(
            f"{source} has version {printable(metadata.get('version', 'none'), 40)} of the format; this tinygrad_rnn "
            f"reads version {' and version '.join(VERSIONS)}"
        )
    checksum = metadata.get("crc32", "")
    header = reader.start.replace(_field(checksum), _field(NO_CHECKSUM), 1)
    arrays = reader.arrays(table)
    # Before anything in the structure is interpreted: damage is then reported as damage, not as its first symptom.
    if checksum != _checksum([header, *map(stored_bytes, arrays.values())]):
        raise CheckpointError(f"{source} is damaged: its checksum does not match its contents")
    try:
        data = _parsed(metadata.get("structure", ""))
        _restore(arrays, _parsed(metadata.get("views", "{}")))
        return unflatten(data, arrays, place)
    except CheckpointError as error:
        raise CheckpointError(f"{error} (in {source})") from error.__cause__


def _parsed(text: str) -> Any:
    try:
        # Python's parser takes NaN and Infinity, which JSON does not have and ``save`` never writes.
        return json.loads(text, parse_constant=damaged)
    # The parser recurses, so that a file of nothing but opening brackets ends here.
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"the file is damaged: its structure is not valid JSON ({type(error).__name__})"
        ) from error


def _restore(arrays: dict[str, Any], views: Any) -> None:
    """Give arrays the element types that the format lacks."""
    if type(views) is not dict or not views.keys() <= arrays.keys():
        damaged("it has views of arrays that are not there")
    for name, dtype in views.items():
        try:
            arrays[name] = restore(arrays[name], dtype)
        except Exception as error:
            raise CheckpointError(f"the file is damaged: array {printable(repr(name), 200)} is no view") from error


def _placer(map_location: Any) -> Callable[[Array], Array]:
    """``map_location`` as a function of the array of a tensor, which comes from the file and is on the CPU."""
    if isinstance(map_location, Mapping):
        map_location = map_location.get("cpu")
    if map_location is None:
        return lambda array: array
    if callable(map_location):
        return lambda array: _array_of(map_location(wrap(array), "cpu"), array)
    device = Device(map_location)
    if device.type == "cuda":
        to_device(np.zeros(0), device)  # a device that is not there is no fault of the file's
    return lambda array: to_device(array, device)


def _array_of(mapped: Any, array: Array) -> Array:
    # A function that returns None leaves the tensor where it is, as in PyTorch.
    return mapped._data if isinstance(mapped, Tensor) else array


def _field(checksum: str) -> bytes:
    # Quotes inside JSON strings are escaped, so this is found nowhere else in a header.
    return f'"crc32":"{checksum}"'.encode()


def _checksum(chunks: Iterable[Any]) -> str:
    crc = 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
    return f"{crc:08x}"
