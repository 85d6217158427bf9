"""The restart of a training run with OpenBLAS's settings: one thread for matrix products, and the fastest kernels.

The products of a recurrent layer are small (32 x 256 by 256 x 1024 in the default model).  A second thread gains
little, and when anything else runs on the machine the threads of OpenBLAS wait for each other in a busy loop, which
was measured to make an update ten to a hundred times slower.  One thread also makes the last bits of a run
independent of the number of cores.  A variable that the user has set is left as it is.
"""

from __future__ import annotations

import os
import sys

from ..backend.cpu.environment import described, settings

__all__ = ["restart_with_settings", "what_was_set"]

NOTE = "TINYGRAD_RNN_WAS_SET"
"""The environment variable that lists, for the restarted program, the variables that were set."""


def restart_with_settings() -> None:
    """Restart this program, by ``exec``, with the variables of :func:`settings`, if there are any."""
    wanted = settings(threads=1)
    # On Windows ``exec`` starts a second process and ends this one: the shell would not wait for the run.
    if os.name != "posix" or not wanted:
        return
    os.environ.update(wanted)
    os.environ[NOTE] = " ".join(wanted)
    # orig_argv, not argv: it has the options of the interpreter, such as -X and -m.
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def what_was_set() -> str | None:
    """One line that describes the settings of the restart; None if there was none."""
    names = os.environ.get(NOTE, "").split()
    return described({name: os.environ.get(name, "") for name in names}) if names else None
