"""What ``import tinygrad_rnn`` loads, and that the rest comes when it is first asked for: each in a new interpreter.

Time itself is for ``python -m tinygrad_rnn bench --only imports``; what it depends on is counted here.
"""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import tinygrad_rnn as tg

NAME = tg.__name__
PLACES = [str(pathlib.Path(module.__file__).parents[1]) for module in (tg, np)]

LATER = """
autograd backend.gpu.kernels backend.random compat.accelerator compat.backends compat.legacy cuda diagnostics
distributions kernels.cuda_elementwise.activation_gradients nn ops.numpy_calculus ops.numpy_functions ops.numpy_moves
kernels.special ops.numpy_operands ops.numpy_products ops.numpy_protocol ops.numpy_statistics ops.numpy_ufuncs
ops.single_functions ops.special_functions ops.tensor_text optim special
serialization tape.observe.tape tape.observe.watcher testing train unknown_names utils viz
""".split()
"""What no program needs that makes tensors and computes with them."""

LIGHT = {"__future__", "bisect", "_bisect", "contextvars", "_contextvars", "copy", "heapq", "_heapq"}
"""Of the standard library, what is loaded though not every NumPy loads it."""

FIRST_USES = {
    "backward": "w = tg.tensor(3.0, requires_grad=True); (w * w).backward(); assert w.grad.item() == 6",
    "text": "assert repr(tg.tensor([1.0])) == 'tensor([1.])' and f'{tg.tensor(0.25):.1f}' == '0.2'",
    "printing": "tg.set_printoptions(precision=1); assert str(tg.tensor([0.25])) == 'tensor([0.2])'",
    "ufunc": "assert type(np.float32([1]) * tg.ones(1)) is type(np.exp(tg.ones(1))) is tg.Tensor",
    "function": "assert np.sum(tg.ones(2)).item() == 2 and type(np.concatenate([tg.ones(1)])) is tg.Tensor",
    "draws": "tg.manual_seed(0); assert round(tg.rand(1).item(), 4) == 0.4963",
    "filling": "assert tg.ones(2).uniform_(2, 3).min() >= 2 and type(tg.default_generator) is tg.Generator",
    "tape": "with tg.Tape() as tape: tg.ones(1, requires_grad=True) * 2\nassert len(tape) == 1",
    "alias": "import tinygrad_rnn.backends.cudnn as cudnn; cudnn.benchmark = True\n"
    "assert tg.backends.cudnn is cudnn is sys.modules['tinygrad_rnn.compat.backends.cudnn']",
    "alias below a package": "from tinygrad_rnn.autograd.variable import Variable\n"
    "assert Variable is tg.autograd.Variable is tg.autograd.variable.Variable",
    "legacy": "assert isinstance(tg.tensor([1]), tg.LongTensor)",
    "pieces": "x = tg.ones(2, requires_grad=True); sum(x.unbind()).backward(); assert x.grad.tolist() == [1, 1]",
    "results": "assert repr(tg.tensor([1, 3]).max(0)) == "
    "'torch.return_types.max(\\nvalues=tensor(3),\\nindices=tensor(1))'",
    "writing": "x = tg.ones(1, requires_grad=True).clone(); y = x * x; x[0] = 2\ntry: y.backward()\n"
    "except tg.errors.InplaceError: pass\nelse: raise AssertionError",
    "copying": "import copy; x = tg.ones(1, requires_grad=True); x.sum().backward()\n"
    "assert copy.deepcopy(x).grad.tolist() == [1]",
    "saving": "import io; file = io.BytesIO(); assert 'safetensors' not in sys.modules; tg.save(tg.ones(1), file)\n"
    "assert 'safetensors' in sys.modules; file.seek(0); assert tg.load(file).tolist() == [1]",
    "star": "from tinygrad_rnn import *\nassert set(tg.__all__) <= set(globals()) and set(tg.__all__) <= set(dir(tg))",
    "typo": "try: tg.tnesor\nexcept AttributeError as error: assert 'did you mean' in str(error)\n"
    "else: raise AssertionError",
}
"""Programs whose first step after the import is the one that loads something."""


def run(program: str) -> str:
    """What a program prints in a new interpreter that has loaded nothing of its own accord."""
    start = f"import sys; sys.path[:0] = {PLACES!r}\n"
    done = subprocess.run([sys.executable, "-S", "-c", start + program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_loads_nothing_of_the_standard_library_that_numpy_does_not_load() -> None:
    said = run(f"import numpy; before = set(sys.modules); import {NAME}; print(*set(sys.modules) - before)")
    loaded = set(said.split())
    assert f"{NAME}.tape.tensor" in loaded
    assert sorted(name for name in loaded - LIGHT if name.split(".")[0] != NAME) == []


def test_importing_leaves_out_what_is_loaded_when_it_is_used() -> None:
    loaded = set(run(f"import {NAME}; print(*sys.modules)").split())
    assert [name for name in LATER if importlib.util.find_spec(f"{NAME}.{name}") is None] == []
    later = tuple(f"{NAME}.{name}." for name in LATER)
    assert sorted(name for name in loaded if f"{name}.".startswith(later)) == []


@pytest.mark.parametrize("use", FIRST_USES)
def test_what_was_left_out_comes_at_its_first_use(use: str) -> None:
    run(f"import numpy as np, {NAME} as tg\n{FIRST_USES[use]}")


def test_saving_does_not_load_masked_arrays() -> None:
    """They take 8 ms, and where they are not loaded no array is one."""
    run(f"import io, sys, {NAME} as tg\ntg.save(tg.ones(2), io.BytesIO())\nassert 'numpy.ma' not in sys.modules")
