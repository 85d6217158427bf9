"""``save`` and ``load``: any nesting of containers, plain values, arrays and tensors, as one safetensors file.

The arrays are ordinary entries of the file, under the path that leads to them, so that any safetensors reader finds
``model.rnn.weight_ih_l0``.  The nesting is JSON (see ``structure``) in the metadata, with the name and the version of
this format, and a CRC-32 of the whole file, computed with its own eight digits set to zeros.  A change anywhere,
even of one bit, makes ``load`` raise CheckpointError.  Nothing in a file is ever executed.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from ..backend import Device, to_device
from ..errors import ArgumentError, ArgumentTypeError, CheckpointError, TinygradRnnError
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .atomic import atomic_write
from .safetensors import decode, encode, parse_header
from .structure import flatten, unflatten

__all__ = ["FORMAT", "VERSION", "load", "save"]

FORMAT = "tinygrad_rnn"
VERSION = 1
NO_CHECKSUM = "00000000"
File: TypeAlias = "str | os.PathLike[str] | IO[bytes]"


def save(obj: Any, f: File) -> None:
    """Write ``obj`` to the file ``f``.

    A path is written atomically: killed at any moment, the old file or the new one is there.

    Args:
        obj: None, bool, int, float, complex, str, bytes, dtype, Device, NumPy and CuPy arrays, Tensors, Modules, and
            lists, tuples, dicts and OrderedDicts of such values.  Tensors are saved without their history, from any
            device.  Objects of your own classes, and your own functions, where they are allowed: see ``allowed``.
        f: a path, or a file open for writing bytes.

    Raises:
        ArgumentTypeError: something in ``obj`` is of another kind, or has hooks; the message says where it sits.
        ArgumentError: ``obj`` contains itself, or is nested too deeply.
        OSError: the file cannot be written; an older file of that name is untouched.

    >>> import tempfile, tinygrad_rnn as tg
    >>> path = Path(tempfile.mkdtemp()) / "state.safetensors"
    >>> save({"epoch": 3, "weight": tg.tensor([1.0, 2.0])}, path)
    >>> load(path)
    {'epoch': 3, 'weight': tensor([1., 2.])}
    >>> save(tg.nn.GRU(3, 4), path)
    >>> load(path)
    GRU(3, 4)
    """
    try:
        data, arrays = flatten(obj)
        structure = json.dumps(data, separators=(",", ":"), allow_nan=False)
    except RecursionError as error:
        raise ArgumentError("save(): the value contains itself, or is nested too deeply") from error
    metadata = {"format": FORMAT, "version": str(VERSION), "crc32": NO_CHECKSUM, "structure": structure}
    header, buffers = encode(arrays, metadata)
    checksum = _checksum([header, *buffers])
    chunks: list[Any] = [header.replace(_field(NO_CHECKSUM), _field(checksum), 1), *buffers]
    if isinstance(f, (str, os.PathLike)):
        atomic_write(f, chunks)
        return
    if not hasattr(f, "write"):
        raise ArgumentTypeError(f"save(): f must be a path or a file open for writing, not {type(f).__name__}")
    for chunk in chunks:
        f.write(chunk)


def load(f: File, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """What :func:`save` wrote to ``f``.

    Args:
        f: a path, or a file open for reading bytes, which is read to its end.
        map_location: where the tensors go: a device or its name, a dict such as ``{"cpu": "cuda"}``, or a function of
            the tensor and the place ``"cpu"`` that gives the tensor to be taken.  None: the CPU, wherever they were.
        weights_only: PyTorch's switch.  Nothing in a file is ever executed, so both values mean the same: classes
            other than this package's are built only if they are allowed (:func:`add_safe_globals`).

    Raises:
        CheckpointError: the file is damaged, was not written by :func:`save`, has another version, or names a class
            that is not allowed.
        DeviceError: ``map_location`` names a device that is not there.
        OSError: the file cannot be read.
    """
    if isinstance(f, (str, os.PathLike)):
        blob, source = Path(f).read_bytes(), str(f)
    elif hasattr(f, "read"):
        blob, source = f.read(), str(getattr(f, "name", "the file"))
    else:
        raise ArgumentTypeError(f"load(): f must be a path or a file open for reading, not {type(f).__name__}")
    # The first byte alone does not tell: a header of 128 bytes, or of 384, begins with that of a pickle.
    if blob[8:9] != b"{" and (blob[:4] == b"PK\3\4" or blob[:1] == b"\x80"):
        raise CheckpointError(
            f"{source} is a pickle, as torch.save writes it, and pickles are never read here. In PyTorch: "
            "safetensors.torch.save_file(model.state_dict(), path); here: serialization.load_file(path)"
        )
    place = _placer(map_location)
    _, metadata, _ = parse_header(blob, source)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{source} is a safetensors file, but not one that tinygrad_rnn.save wrote: use serialization.load_file"
        )
    if metadata.get("version") != str(VERSION):
        raise CheckpointError(
            f"{source} has version {metadata.get('version')} of the format; this tinygrad_rnn reads version {VERSION}"
        )
    checksum = metadata.get("crc32", "")
    if checksum != _checksum([blob.replace(_field(checksum), _field(NO_CHECKSUM), 1)]):
        raise CheckpointError(f"{source} is damaged: its checksum does not match its contents")
    arrays, _ = decode(blob, source)
    try:
        return unflatten(json.loads(metadata["structure"]), arrays, place)
    except CheckpointError as error:
        raise CheckpointError(f"{error} (in {source})") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, TinygradRnnError) as error:
        raise CheckpointError(f"{source} is damaged: its structure does not fit its arrays ({error})") from error


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
    return mapped._data if isinstance(mapped, Tensor) else array


def _field(checksum: str) -> bytes:
    # Quotes inside JSON strings are escaped, so this is found nowhere else in a header.
    return f'"crc32":"{checksum}"'.encode()


def _checksum(chunks: Iterable[Any]) -> str:
    crc = 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
    return f"{crc:08x}"
