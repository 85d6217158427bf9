"""Run a script that was written for PyTorch with this package under the name ``torch``.

    python tests/clients/alias.py [--real] [--seed N] script.py [its arguments ...]
    python tests/clients/alias.py [--real] [--seed N] -m module [its arguments ...]

``import torch``, ``import torch.nn.functional as F``, ``from torch.utils.data import DataLoader``: each name leads to
the module of the same path in ``tinygrad_rnn``.  A module that only ``standins/`` has (TensorBoard, say: out of this
package's scope) comes from there; a name that neither has raises ModuleNotFoundError, as for any module.

``--real`` leaves PyTorch itself under its name, for comparison; ``--seed`` seeds a script that does not do so itself.

Source of the mechanism: the import system's meta path, https://docs.python.org/3/reference/import.html
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import pathlib
import runpy
import sys
import types
from collections.abc import Sequence

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PACKAGE = "tinygrad_rnn"


class Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``torch`` and everything below it: here first, then among the stand-ins."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        top, _, rest = fullname.partition(".")
        if top != "torch":
            return None
        try:
            found = importlib.import_module(f"{PACKAGE}.{rest}" if rest else PACKAGE)
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith(PACKAGE):
                raise
            file = HERE.joinpath("standins", *rest.split("."))
            for candidate in (file / "__init__.py", file.with_suffix(".py")):
                if candidate.exists():
                    return importlib.machinery.ModuleSpec(
                        fullname,
                        importlib.machinery.SourceFileLoader(fullname, str(candidate)),
                        origin=str(candidate),
                        is_package=candidate.name == "__init__.py",
                    )
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, is_package=hasattr(found, "__path__"))
        spec.loader_state = found
        return spec

    def exec_module(self, module: types.ModuleType) -> None:
        """The import system takes what stands in ``sys.modules`` afterwards: our own module, untouched."""
        spec = module.__spec__
        assert spec is not None
        sys.modules[spec.name] = spec.loader_state


def install() -> None:
    """From here on ``import torch`` means this package."""
    loaded = [name for name in sys.modules if name == "torch" or name.startswith("torch.")]
    if loaded:
        raise RuntimeError(f"PyTorch is loaded already ({loaded[0]}): the alias must come first")
    sys.meta_path.insert(0, Alias())


def main(argv: list[str]) -> None:
    """Read our own options, put the names in place, run the script or the module."""
    real, seed, module = False, None, False
    while argv[0].startswith("-"):
        option = argv.pop(0)
        if option == "-m":
            module = True
        elif option == "--real":
            real = True
        elif option == "--seed":
            seed = int(argv.pop(0))
        else:
            raise SystemExit(f"{option}: the options are --real, --seed N and -m; see the top of {__file__}")
    sys.path[0] = str(REPOSITORY)  # in place of this folder
    if not real:
        install()
    torch = importlib.import_module("torch")
    for name in ("nn", "optim", "autograd", "utils.data", "nn.functional", "nn.utils.rnn", "nn.init"):
        importlib.import_module(f"torch.{name}")  # PyTorch loads these with itself
    if real:
        sys.modules["torch.utils.tensorboard"] = importlib.import_module("tests.clients.standins.utils.tensorboard")
    else:
        importlib.import_module("tests.clients.standins.additions").add(torch)
    if seed is not None:
        torch.manual_seed(seed)
    sys.argv = argv
    if module:
        sys.path[0] = ""
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(pathlib.Path(argv[0]).resolve().parent)
        runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
