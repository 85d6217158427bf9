"""tinygrad_rnn: a tape-based autodiff engine on NumPy and CuPy, with recurrent layers, to see, trust and run.

>>> import tinygrad_rnn as tg
>>> W = tg.tensor(0.5, requires_grad=True)
>>> h = tg.tensor(1.0)
>>> for x in (1.0, -1.0, 2.0):
...     h = tg.tanh(W * h + x)                  # one weight, used three times
>>> h.backward()
>>> W.grad                                      # the sum of the gradients of its three uses
tensor(-0.0142)
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if sys.orig_argv[1:3] == ["-m", __name__] or (sys.orig_argv[1:2] and sys.orig_argv[1].endswith("/tinygrad-rnn")):
    from . import terminal  # we are the program, not a library: what follows takes a moment

    terminal.ctrl_c_ends()

import numpy as np

from . import compat, errors, ops
from .backend import Device as device
from .backend import determinism, dtype, get_default_device, set_default_device
from .backend.determinism import *  # noqa: F403
from .compat.version import __version__ as __version__
from .ops import *  # noqa: F403
from .ops import arguments
from .tape.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from .tape.observe import pictures
from .tape.tensor import Tensor
from .typing import Size

if TYPE_CHECKING:
    from . import (
        autograd,
        cuda,
        diagnostics,
        distributions,
        nn,
        optim,
        serialization,
        special,
        teaching,
        testing,
        utils,
        viz,
    )
    from .backend.cpu.threads import get_num_threads, set_num_threads
    from .backend.random.generator import (
        Generator,
        default_generator,
        get_rng_state,
        initial_seed,
        manual_seed,
        seed,
        set_rng_state,
    )
    from .compat import accelerator, backends
    from .compat.legacy import (
        BoolTensor,
        ByteTensor,
        CharTensor,
        DoubleTensor,
        FloatTensor,
        HalfTensor,
        IntTensor,
        LongTensor,
        ShortTensor,
    )
    from .nn.functional import cosine_similarity
    from .ops.tensor_text import set_printoptions
    from .serialization import load, save
    from .tape.observe.tape import Tape

__all__ = ["Generator", "Size", "Tape", "Tensor", "autograd", "default_generator", "device", "diagnostics"]
__all__ += ["enable_grad", "errors"]
__all__ += ["get_default_device", "set_default_device"]
__all__ += ["get_rng_state", "inference_mode", "initial_seed", "is_grad_enabled", "manual_seed", "nn", "no_grad"]
__all__ += ["optim", "seed", "serialization", "set_grad_enabled", "set_rng_state", "teaching", "testing"]
__all__ += ["utils", "viz"]
__all__ += ["bool", "cdouble", "cfloat", "complex64", "complex128", "double", "float", "float16", "float32", "float64"]
__all__ += ["half", "int", "int8", "int16", "int32", "int64", "long", "short", "uint8", "uint16", "uint32", "uint64"]
__all__ += ["cosine_similarity", "e", "inf", "nan", "newaxis", "pi"]
__all__ += ["accelerator", "backends", "cuda", "dtype", "get_num_threads", "load", "save"]
__all__ += ["set_num_threads", "set_printoptions"]
__all__ += ["BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor"]
__all__ += ["IntTensor", "LongTensor", "ShortTensor"]
__all__ += determinism.__all__ + ops.__all__ + [*ops.LATER]
__all__ += ["distributions", "special"]

globals().update(arguments.guarded({name: globals()[name] for name in ops.__all__}))

float16 = half = dtype("float16")
float32 = float = dtype("float32")  # as `tg.float`, `tg.int` and `tg.bool` are named in PyTorch
float64 = double = dtype("float64")
complex64 = cfloat = dtype("complex64")
complex128 = cdouble = dtype("complex128")
uint8, uint16, uint32, uint64 = dtype("uint8"), dtype("uint16"), dtype("uint32"), dtype("uint64")
int8 = dtype("int8")
int16 = short = dtype("int16")
int32 = int = dtype("int32")
int64 = long = dtype("int64")
bool = dtype("bool")
inf, nan, pi, e, newaxis = np.inf, np.nan, np.pi, np.e, None

_SUBPACKAGES: tuple[str, ...] = ("autograd", "backend", "cuda", "diagnostics", "distributions", "lab", "nn")
_SUBPACKAGES += ("optim", "serialization", "special", "teaching", "testing", "train", "utils", "viz")
_SUBPACKAGES += tuple([name for name in compat.ALIASES if "." not in name])
_LAZY = {"Tape": "tape.observe.tape", "load": "serialization", "save": "serialization"}
_LAZY |= {"cosine_similarity": "nn.functional", "set_printoptions": "ops.tensor_text"}
_LAZY |= {"get_num_threads": "backend.cpu.threads", "set_num_threads": "backend.cpu.threads"}
_LAZY |= dict.fromkeys(["Generator", "default_generator", "initial_seed", "manual_seed"], "backend.random.generator")
_LAZY |= dict.fromkeys(["get_rng_state", "seed", "set_rng_state"], "backend.random.generator")
_LAZY |= dict.fromkeys(["BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor"], "compat.legacy")
_LAZY |= dict.fromkeys(["HalfTensor", "IntTensor", "LongTensor", "ShortTensor"], "compat.legacy")


pictures.draw_with(lambda name: importlib.import_module(f"{__name__}.viz.{name}"))


def __getattr__(name: str) -> Any:
    """Load a subpackage when it is first named; else say what exists instead."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in ops.LATER:
        return globals().setdefault(name, ops.later.function(name))
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    from .unknown_names import AbsentName

    raise AbsentName(__name__, name, __all__)


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext tinygrad_rnn``: a cell that begins with ``%%tape`` runs under a Tape, and shows what it saw."""
    importlib.import_module(f"{__name__}.viz.magic").load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext tinygrad_rnn``."""
    importlib.import_module(f"{__name__}.viz.magic").unload(shell)


def __dir__() -> list[str]:
    """What there is, loaded or not."""
    return sorted({*globals(), *__all__})
