"""A script or module of the user's, run within this process as ``python script.py`` runs it.

It finds the same ``sys.argv``, ``sys.path[0]``, ``__name__``, ``__file__``, working directory, streams and signals; its
threads and what it registered with ``atexit`` end with this process as they would with its own.  What differs: NumPy
and this package are loaded before it begins, so that a variable such as ``OMP_NUM_THREADS`` has to be set outside.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import os
import pkgutil
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import ModuleType, TracebackType
from typing import NamedTuple

from ..errors import UsageError
from ..source_line import in_package
from ..terminal import describe_error

__all__ = ["Outcome", "Script"]


class Outcome(NamedTuple):
    """How a script ended.

    Attributes:
        status: its exit status.
        error: what ended it, if that was an error, an interrupt or a status other than 0; what is shown of its
            traceback begins in the script.
    """

    status: int
    error: BaseException | None = None


class Script:
    """What is to be run: a file or, with ``-m``, a module, and its arguments.

    Args:
        words: as they would follow ``python``: ``["script.py", "--epochs", "2"]``, ``["-m", "package.module"]``.

    Attributes:
        name: how to call it: the file without its ending, the last part of the module's name.

    Raises:
        UsageError: nothing that can be run.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.is_module = words[0] == "-m"
        self.arguments = self.words[1:] if self.is_module else self.words
        if self.is_module:
            self.name = self.arguments[0].removesuffix(".__main__").split(".")[-1]
            return
        path = Path(words[0])
        self.name = path.stem
        try:
            self._text = None if path.is_dir() else path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read the script: {describe_error(error)}") from error
        if self._text is None and not (path / "__main__.py").is_file():
            raise UsageError(f"{path} is a folder without __main__.py: name a script in it")

    def __str__(self) -> str:
        return " ".join(self.words)

    def run(self) -> Outcome:
        """Run it to its end; an error that ends it is shown as Python shows it.

        Raises:
            UsageError: no such module.
        """
        sys.argv = list(self.arguments)
        if not getattr(sys.flags, "safe_path", False):
            sys.path[0] = os.getcwd() if self.is_module else os.path.dirname(os.path.realpath(self.arguments[0]))
        try:
            if self.is_module:
                self._find_module()
            self._run()
        except SystemExit as end:
            return _exited(end)
        except KeyboardInterrupt as error:
            return _shown(error, 130)  # 128 + SIGINT
        except UsageError as error:
            if _traceback_of_user(error) is None:  # ours
                raise
            return _shown(error, 1)
        except BaseException as error:
            return _shown(error, 1)
        return Outcome(0)

    def _find_module(self) -> None:
        name = self.arguments[0]
        try:
            found = None if name.startswith(".") else importlib.util.find_spec(name)
            if found is not None and found.submodule_search_locations is not None:  # a package
                found = importlib.util.find_spec(f"{name}.__main__")
        except ModuleNotFoundError as error:
            if not f"{name}.".startswith(f"{error.name}."):  # a module that is imported on the way
                raise
            found = None
        except ValueError:  # the module has no spec
            found = None
        if found is None:
            raise UsageError(f"-m {name}: no such module, or a package without __main__")

    def _run(self) -> None:
        """Run it as the module ``__main__``, which it stays: classes of it are pickled by that name."""
        path = os.path.abspath(self.arguments[0])
        if self.is_module:
            runpy.run_module(self.arguments[0], run_name="__main__", alter_sys=True)
        elif self._text is None or self._text.startswith(MAGIC_NUMBER) or pkgutil.get_importer(path) is not None:
            if not getattr(sys.flags, "safe_path", False) and pkgutil.get_importer(path) is not None:
                del sys.path[0]  # a folder or an archive, which runpy puts there itself
            runpy.run_path(self.arguments[0], run_name="__main__")
        else:
            main = ModuleType("__main__")
            main.__dict__.update(__builtins__=builtins, __annotations__={}, __file__=path, __cached__=None)
            main.__loader__ = SourceFileLoader("__main__", path)
            sys.modules["__main__"] = main
            exec(compile(self._text, path, "exec", dont_inherit=True), main.__dict__)


def _exited(end: SystemExit) -> Outcome:
    """The outcome of ``sys.exit(...)``."""
    code = end.code
    if code is None or code == 0:
        return Outcome(0)
    if not isinstance(code, int):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a stream that is closed, or None
            print(code, file=sys.stderr)
        code = 1
    return Outcome(code, end.with_traceback(_traceback_of_user(end)))


def _shown(error: BaseException, status: int) -> Outcome:
    """The outcome of an error, which the program's own hook shows without the frames that are ours."""
    error = error.with_traceback(_traceback_of_user(error))
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except Exception:
        sys.__excepthook__(type(error), error, error.__traceback__)
    return Outcome(status, error)


def _traceback_of_user(error: BaseException) -> TracebackType | None:
    """The traceback from the first line of the script on."""
    found = error.__traceback__
    while found is not None and _is_ours(found):
        found = found.tb_next
    return found


def _is_ours(entry: TracebackType) -> bool:
    return in_package(entry.tb_frame) or entry.tb_frame.f_code.co_filename.startswith("<frozen ")
