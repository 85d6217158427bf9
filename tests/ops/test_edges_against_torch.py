"""The smallest and the oddest arguments of every operation: PyTorch's result, or an error that its handlers catch.

One expression in a line of ``edge_expressions.txt``; ``t`` is either library.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
from tests.support.rows import together

torch: Any = pytest.importorskip("torch")

EXPRESSIONS = Path(__file__).with_name("edge_expressions.txt").read_text(encoding="utf-8").splitlines()


def run(library: Any, expression: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(eval(expression, {"t": library}))
        except Exception as error:
            return error


def plain(x: Any) -> Any:
    """Tensors as arrays, containers as tuples, dtypes and sizes as what they print as."""
    if isinstance(x, (tg.Tensor, torch.Tensor)):
        return np.asarray(x.detach().numpy())
    if isinstance(x, (tg.Size, torch.Size)):
        return tuple(x)
    if isinstance(x, (tuple, list)):
        return tuple(plain(item) for item in x)
    return str(x).removeprefix("torch.") if isinstance(x, (np.dtype, tg.dtype, torch.dtype)) else x


def same(a: Any, b: Any) -> None:
    assert type(a) is type(b), f"{a!r}, PyTorch's {b!r}"
    if isinstance(a, tuple):
        assert len(a) == len(b), f"{a!r}, PyTorch's {b!r}"
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, np.ndarray):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{a!r}, PyTorch's {b!r}"
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)  # single precision
    else:
        assert a == b, f"{a!r}, PyTorch's {b!r}"


@together
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_result_or_the_refusal_is_pytorchs(expression: str) -> None:
    ours, theirs = run(tg, expression), run(torch, expression)
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), f"{ours!r}, where PyTorch raises {theirs!r}"
        kind = next(kind for kind in type(theirs).__mro__ if kind.__module__ == "builtins")
        assert isinstance(ours, kind), f"{ours!r}, where PyTorch raises {theirs!r}"
    else:
        assert not isinstance(ours, Exception), f"{ours!r}, where PyTorch gives {theirs!r}"
        same(ours, theirs)
