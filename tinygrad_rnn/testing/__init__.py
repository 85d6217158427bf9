"""Tools for testing gradients of any function: assertions, laws, and hypothesis strategies.

``assert_close``, ``gradcheck`` and the laws need NumPy alone.  Strategies (``tensors``, ``programs`` ...) and the
table of samples need hypothesis, which is imported at the first access to one of them::

    from tinygrad_rnn.testing import assert_close, gradcheck, tensors
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..autograd import GradcheckError, gradcheck, gradgradcheck
from .close import CheckFailed, assert_close
from .gradients import GradientReport, assert_gradients, assert_primitive
from .laws import (
    assert_adjoint,
    assert_batch_permutes,
    assert_deterministic,
    assert_gradient_of_sum,
    assert_laws,
    assert_no_nan,
    assert_tied_is_sum_of_untied,
    assert_unmutated,
    assert_vjp_linear,
)

if TYPE_CHECKING:
    from .random_programs.program import Program, Step, assert_program, programs
    from .recurrent import RecurrentCase, recurrent_layers
    from .sample_calls import Call, add_samples, inexact, samples
    from .strategies import Sequences, arrays, broadcastable_shapes, laid_out, layouts, sequences, shapes, tensors

__all__ = [
    "Call",
    "CheckFailed",
    "GradcheckError",
    "GradientReport",
    "Program",
    "RecurrentCase",
    "Sequences",
    "Step",
    "add_samples",
    "arrays",
    "assert_adjoint",
    "assert_batch_permutes",
    "assert_close",
    "assert_deterministic",
    "assert_gradient_of_sum",
    "assert_gradients",
    "assert_laws",
    "assert_no_nan",
    "assert_primitive",
    "assert_program",
    "assert_tied_is_sum_of_untied",
    "assert_unmutated",
    "assert_vjp_linear",
    "broadcastable_shapes",
    "gradcheck",
    "gradgradcheck",
    "inexact",
    "laid_out",
    "layouts",
    "programs",
    "recurrent_layers",
    "samples",
    "sequences",
    "shapes",
    "tensors",
]

_WITH_HYPOTHESIS = {
    "strategies": (
        "Sequences",
        "arrays",
        "broadcastable_shapes",
        "laid_out",
        "layouts",
        "sequences",
        "shapes",
        "tensors",
    ),
    "recurrent": ("RecurrentCase", "recurrent_layers"),
    "sample_calls": ("Call", "add_samples", "inexact", "samples"),
    "random_programs.program": ("Program", "Step", "assert_program", "programs"),
}


def __getattr__(name: str) -> Any:
    """Load a strategy, and hypothesis with it, at the first access."""
    for module, names in _WITH_HYPOTHESIS.items():
        if name in names or name == module:
            try:
                loaded = importlib.import_module(f"{__name__}.{module}")
            except ModuleNotFoundError as error:
                # Another missing module is a fault of ours, and no extra would mend it.
                if error.name != "hypothesis":
                    raise
                raise ImportError(
                    f"tinygrad_rnn.testing.{name} needs hypothesis: pip install 'tinygrad-rnn[test]'"
                ) from error
            return loaded if name == module and name not in names else getattr(loaded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
