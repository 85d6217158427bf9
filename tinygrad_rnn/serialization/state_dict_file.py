"""Plain safetensors files of state_dicts, which users of PyTorch read and write with ``safetensors.torch``.

    here                                          PyTorch
    save_file(model.state_dict(), path)           model.load_state_dict(safetensors.torch.load_file(path))
    model.load_state_dict(load_file(path))        safetensors.torch.save_file(model.state_dict(), path)

Names, shapes and gate order are PyTorch's, so nothing is converted.  A dictionary of NumPy arrays works too:
``Module.load_state_dict`` takes arrays, and :func:`to_arrays` gives them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import Device, to_device, to_numpy
from ..errors import ArgumentTypeError
from ..tape.tensor import Tensor, wrap
from .safetensors_file import load_arrays, save_arrays

__all__ = ["load_file", "save_file", "to_arrays"]


def save_file(
    tensors: Mapping[str, Any], filename: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors (or arrays) by name, such as a state_dict, as a safetensors file, atomically.

    Unlike ``safetensors.torch.save_file`` it takes tied weights: they are written once under each of their names.

    Raises:
        ArgumentTypeError: an entry is neither a tensor nor an array, or has a dtype that the format lacks.
        OSError: the file cannot be written; an older file of that name is untouched.

    >>> import tinygrad_rnn as tg
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> tg.serialization.save_file(dict(w=tg.ones(2)), folder / "model.safetensors")
    >>> tg.serialization.load_file(folder / "model.safetensors")["w"]
    tensor([1., 1.])
    """
    save_arrays(to_arrays(tensors), filename, metadata)


def load_file(filename: str | os.PathLike[str], device: Device | str = "cpu") -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, whichever library wrote it.

    Raises:
        CheckpointError: the file is not a well-formed safetensors file.
        OSError: the file cannot be read.

    >>> import os, tempfile, tinygrad_rnn as tg
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
    >>> a, b = tg.nn.LSTM(3, 4), tg.nn.LSTM(3, 4)
    >>> save_file(a.state_dict(), path)
    >>> b.load_state_dict(load_file(path))
    <All keys matched successfully>
    """
    return {name: wrap(to_device(array, device)) for name, array in load_arrays(filename).items()}


def to_arrays(tensors: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """NumPy arrays by name, copies of the values of a state_dict.

    Raises:
        ArgumentTypeError: an entry is neither a tensor nor an array.

    >>> import tinygrad_rnn as tg
    >>> {name: array.shape for name, array in to_arrays(tg.nn.Linear(3, 2).state_dict()).items()}
    {'weight': (2, 3), 'bias': (2,)}
    """
    arrays = {}
    for name, tensor in tensors.items():
        raw = tensor._data if isinstance(tensor, Tensor) else tensor
        if not hasattr(raw, "__array__") and not hasattr(raw, "__cuda_array_interface__"):
            raise ArgumentTypeError(f"entry {name!r} is a {type(tensor).__name__}, neither a tensor nor an array")
        arrays[name] = np.array(to_numpy(raw) if not isinstance(raw, np.ndarray) else raw)
    return arrays
