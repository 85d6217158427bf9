"""Many small arrays in one .npz: one vector per dtype and an index, where a member per array would cost 250 bytes."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping

import numpy as np

__all__ = ["read", "write"]


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Store arrays by name; their dtype and shape come back as they were."""
    by_dtype: dict[str, list[np.ndarray]] = {}
    index, sizes = {}, {}
    for name, array in arrays.items():
        dtype = array.dtype.str[1:]
        start = sizes.get(dtype, 0)
        index[name] = [dtype, start, list(array.shape)]
        sizes[dtype] = start + array.size
        by_dtype.setdefault(dtype, []).append(array.reshape(-1))
    members = {dtype: np.concatenate(parts) for dtype, parts in by_dtype.items()}
    np.savez_compressed(path, index=np.array(json.dumps(index)), **members)


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """What :func:`write` stored."""
    with np.load(path) as file:
        members = {name: file[name] for name in file.files}
    out = {}
    for name, (dtype, start, shape) in json.loads(str(members["index"])).items():
        size = int(np.prod(shape))
        out[name] = members[dtype][start : start + size].reshape(shape)
    return out
