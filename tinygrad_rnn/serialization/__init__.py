"""Checkpoint files: nested values with arrays, in the safetensors format, written atomically, read without pickle.

* :func:`save` and :func:`load`: containers, plain values, arrays, tensors and modules, nested (``checkpoint``);
* :class:`safe_globals` and related functions: which of your classes a file may name (``allow_list``);
* :func:`save_file` and :func:`load_file`: state_dicts to and from PyTorch as safetensors files (``state_dict_file``);
* :func:`from_onnx` and :func:`to_onnx`: weights in ONNX's gate order (``onnx_order``);
* :func:`save_arrays` and :func:`load_arrays`: safetensors files of arrays (``safetensors_file``);
* :func:`atomic_write`: a file that is either the old one or the new one, whatever happens meanwhile (``atomic``).
"""

from __future__ import annotations

from ..unknown_names import absent
from .allow_list import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from .atomic import atomic_file, atomic_write, is_leftover, remove_leftovers
from .checkpoint import FORMAT, VERSION, load, save
from .onnx_order import OnnxLayer, from_onnx, to_onnx
from .safetensors_file import load_arrays, save_arrays
from .state_dict_file import load_file, save_file, to_arrays

__all__ = [
    "FORMAT",
    "VERSION",
    "OnnxLayer",
    "add_safe_globals",
    "atomic_file",
    "atomic_write",
    "clear_safe_globals",
    "from_onnx",
    "get_safe_globals",
    "is_leftover",
    "load",
    "load_arrays",
    "load_file",
    "remove_leftovers",
    "safe_globals",
    "save",
    "save_arrays",
    "save_file",
    "to_arrays",
    "to_onnx",
]

__getattr__ = absent(__name__, __all__)
