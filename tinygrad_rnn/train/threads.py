"""One thread for matrix products, decided before NumPy is loaded.

The products of a recurrent layer are small (32 x 256 by 256 x 1024 in the default model): a second thread gains
little, and when anything else runs on the machine the threads of OpenBLAS wait for each other in a busy loop, which
was measured to make an update ten to a hundred times slower.  One thread also makes the last bits of a run
independent of the number of cores.  Who sets one of the variables below is obeyed.
"""

from __future__ import annotations

import os
import sys

__all__ = ["VARIABLES", "restart_with_one_thread"]

VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def restart_with_one_thread() -> None:
    """Start this program anew in the same process with one thread, unless the environment says how many.

    NumPy reads the variables when it is loaded, and it is loaded before any code of this package runs.
    """
    if os.name != "posix" or any(name in os.environ for name in VARIABLES):
        return
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
