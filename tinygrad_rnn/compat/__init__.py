"""Names for scripts written for PyTorch: old constructors, ``Variable``, the accelerator, switches of backends.

What exists for such scripts alone is defined in this folder, and ``ALIASES`` says under which names PyTorch has it:
``import tinygrad_rnn.backends.cudnn as cudnn`` and ``from tinygrad_rnn.autograd.variable import Variable`` work.  An
alias is the module itself, so that a switch set under one name is set under the other.

Source of the mechanism: the import system's meta path, https://docs.python.org/3/reference/import.html
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["ALIASES", "AliasFinder"]

PACKAGE = __name__.rpartition(".")[0]

ALIASES = {
    "accelerator": "compat.accelerator",
    "autograd.variable": "compat.legacy",
    "backends": "compat.backends",
    "backends.cudnn": "compat.backends.cudnn",
    "backends.mps": "compat.backends.mps",
    "backends.recurrent": "compat.backends.recurrent",
    "legacy": "compat.legacy",
    "nn.utils.parametrizations": "nn.utils.parametrize",
    "utils.checkpoint": "autograd.checkpoint",
    "version": "compat.version",
}
"""Name of a module in PyTorch's manner -> the module it is, both relative to the package."""


class AliasFinder:
    """Finds the modules of ``ALIASES``: a finder and loader of the import system in one."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The specification of an alias, None for any other name."""
        package, _, name = fullname.partition(".")
        if package != PACKAGE or name not in ALIASES:
            return None
        return ModuleSpec(fullname, self)  # type: ignore[arg-type]  # a Loader in all but its base class

    def create_module(self, spec: ModuleSpec) -> None:
        """None: the import system makes an empty module, which ``exec_module`` replaces."""

    def exec_module(self, module: ModuleType) -> None:
        """Replace the empty module by the real one; the import system returns what it finds in ``sys.modules``."""
        name = module.__name__.partition(".")[2]
        sys.modules[module.__name__] = import_module(f"{PACKAGE}.{ALIASES[name]}")


# First in the row: below a package that is itself an alias (``backends``), the path finder would find the same files
# and load them a second time.
sys.meta_path.insert(0, AliasFinder())
