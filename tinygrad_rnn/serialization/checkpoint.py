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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, CheckpointError, TinygradRnnError
from .atomic import atomic_write
from .safetensors import decode, encode, parse_header
from .structure import flatten, unflatten

__all__ = ["FORMAT", "VERSION", "load", "save"]

FORMAT = "tinygrad_rnn"
VERSION = 1
NO_CHECKSUM = "00000000"


def save(value: Any, path: str | os.PathLike[str]) -> None:
    """Write ``value`` to the file ``path``, atomically: killed at any moment, the old file or the new one is there.

    Args:
        value: None, bool, int, float, complex, str, bytes, dtype, Device, NumPy and CuPy arrays, Tensors, and lists,
            tuples, dicts and OrderedDicts of such values.  Tensors are saved without their history, from any device.

    Raises:
        ArgumentTypeError: something in ``value`` is of another kind; the message says where it sits.
        ArgumentError: ``value`` contains itself, or is nested too deeply.
        OSError: the file cannot be written; an older file of that name is untouched.

    >>> import tempfile, tinygrad_rnn as tg
    >>> path = Path(tempfile.mkdtemp()) / "state.safetensors"
    >>> save({"epoch": 3, "weight": tg.tensor([1.0, 2.0])}, path)
    >>> load(path)
    {'epoch': 3, 'weight': tensor([1., 2.])}
    """
    try:
        data, arrays = flatten(value)
        structure = json.dumps(data, separators=(",", ":"), allow_nan=False)
    except RecursionError as error:
        raise ArgumentError("save(): the value contains itself, or is nested too deeply") from error
    metadata = {"format": FORMAT, "version": str(VERSION), "crc32": NO_CHECKSUM, "structure": structure}
    header, buffers = encode(arrays, metadata)
    checksum = _checksum([header, *buffers])
    atomic_write(path, [header.replace(_field(NO_CHECKSUM), _field(checksum), 1), *buffers])


def load(path: str | os.PathLike[str]) -> Any:
    """What :func:`save` wrote to ``path``, with every array and tensor on the CPU.

    Raises:
        CheckpointError: the file is damaged, was not written by :func:`save`, or has another version.
        OSError: the file cannot be read.
    """
    blob, source = Path(path).read_bytes(), str(path)
    _, metadata, _ = parse_header(blob, source)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{source} is a safetensors file, but not one that tinygrad_rnn.save wrote")
    if metadata.get("version") != str(VERSION):
        raise CheckpointError(
            f"{source} has version {metadata.get('version')} of the format; this tinygrad_rnn reads version {VERSION}"
        )
    checksum = metadata.get("crc32", "")
    if checksum != _checksum([blob.replace(_field(checksum), _field(NO_CHECKSUM), 1)]):
        raise CheckpointError(f"{source} is damaged: its checksum does not match its contents")
    arrays, _ = decode(blob, source)
    try:
        return unflatten(json.loads(metadata["structure"]), arrays)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, TinygradRnnError) as error:
        raise CheckpointError(f"{source} is damaged: its structure does not fit its arrays ({error})") from error


def _field(checksum: str) -> bytes:
    # Quotes inside JSON strings are escaped, so this is found nowhere else in a header.
    return f'"crc32":"{checksum}"'.encode()


def _checksum(chunks: Iterable[Any]) -> str:
    crc = 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
    return f"{crc:08x}"
