"""Files: nested values with arrays in them, in the safetensors format, written atomically, read without pickle.

* :func:`save` and :func:`load`: any nesting of containers, plain values, arrays and tensors (``checkpoint``);
* :func:`save_arrays` and :func:`load_arrays`: plain safetensors files, as other frameworks write them;
* :func:`atomic_write`: a file that is either the old one or the new one, whatever happens meanwhile.
"""

from __future__ import annotations

from .atomic import atomic_write, remove_leftovers
from .checkpoint import FORMAT, VERSION, load, save
from .safetensors import load_arrays, save_arrays

__all__ = [
    "FORMAT",
    "VERSION",
    "atomic_write",
    "load",
    "load_arrays",
    "remove_leftovers",
    "save",
    "save_arrays",
]
