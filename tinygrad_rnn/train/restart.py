"""The settings of a training run, made before NumPy is loaded: one thread for matrix products, and fast kernels.

The products of a recurrent layer are small (32 x 256 by 256 x 1024 in the default model): a second thread gains
little, and when anything else runs on the machine the threads of OpenBLAS wait for each other in a busy loop, which
was measured to make an update ten to a hundred times slower.  One thread also makes the last bits of a run
independent of the number of cores.  Who sets one of the variables is obeyed.
"""

from __future__ import annotations

import os
import sys

from ..backend.cpu.environment import described, settings

__all__ = ["restart_with_settings", "what_was_set"]

NOTE = "TINYGRAD_RNN_WAS_SET"
"""A variable that tells the program that is started which others were set for it."""


def restart_with_settings() -> None:
    """Start this program anew in the same process with what :func:`settings` gives, if that is anything."""
    wanted = settings(threads=1)
    if os.name != "posix" or not wanted:
        return
    os.environ.update(wanted)
    os.environ[NOTE] = " ".join(wanted)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def what_was_set() -> str | None:
    """One line on the settings that this program was started anew with; None if it was not."""
    names = os.environ.get(NOTE, "").split()
    return described({name: os.environ.get(name, "") for name in names}) if names else None
