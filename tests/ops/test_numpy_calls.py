"""Calls of NumPy's functions with all their keywords: each gives NumPy's value, and its gradient or a refusal.

``numpy_calls.txt`` has a call a line, and says what is to become of it where the tensors require grad: ``grad``, the
gradient is right; ``plain``, NumPy's value, since no gradient could be wanted; ``refused``, in our words.
"""

from __future__ import annotations

import inspect
import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.fft
import numpy.testing.overrides as overridable
import pytest

import tinygrad_rnn as tg
from tests.support.rows import together
from tinygrad_rnn.autograd.gradcheck import gradcheck, gradgradcheck
from tinygrad_rnn.errors import TinygradRnnError
from tinygrad_rnn.ops import numpy_protocol

LINES = [
    tuple(line.split(": ", 1))
    for line in Path(__file__).with_name("numpy_calls.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
MASKS = {"m": np.array([[True, False, True], [False, True, True]]), "q": np.array([[True] * 3, [True, True, False]])}


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    values = {"a": rng.standard_normal(3), "b": rng.standard_normal((2, 3)), "c": rng.standard_normal((2, 4, 3))}
    values |= {"p": rng.uniform(0.5, 2.5, (2, 3)), "s": rng.standard_normal((3, 3)), "i": np.array([2, 0, 1])}
    return values


def written(function: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
    """What is in the target after a function that writes."""
    assert function(target, *args, **kwargs) is None
    return target


def evaluate(expression: str, values: dict[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return eval(expression, {"np": np, "io": io, "written": written, **MASKS, **values})


def leaves(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, (list, tuple)) else [value]


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected) or not isinstance(expected, tuple), "another container"
    ours, theirs = leaves(found), leaves(expected)
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs, strict=True):
        if not isinstance(y, (np.ndarray, np.generic)):
            assert x == y
            continue
        values = x.detach().numpy() if isinstance(x, tg.Tensor) else x
        assert values.dtype == y.dtype and values.shape == y.shape
        np.testing.assert_allclose(values, y, 1e-12, 1e-13)  # the same formulas, rounded in another order


@together
@pytest.mark.parametrize(("kind", "expression"), LINES, ids=[line[1] for line in LINES])
def test_a_call_gives_numpys_value_and_its_gradient_or_a_refusal(kind: str, expression: str) -> None:
    try:
        expected = evaluate(expression, arrays())
    except (AttributeError, TypeError):
        if np.lib.NumpyVersion(np.__version__) >= "2.4.0":
            raise
        pytest.skip("younger than this NumPy")
    plain = {name: tg.tensor(value) for name, value in arrays().items()}
    same(evaluate(expression, plain), expected)
    leafs = {name: tg.tensor(value, requires_grad=value.dtype.kind == "f") for name, value in arrays().items()}
    with tg.no_grad():
        same(evaluate(expression, leafs), expected)
    if kind == "refused":
        with pytest.raises(TinygradRnnError) as caught:
            evaluate(expression, leafs)
        assert re.search(re.escape(expression.split("(")[0]) + r"[ (.]", str(caught.value))
        return
    found = evaluate(expression, leafs)
    same(found, expected)
    floats = [x for x in leaves(found) if isinstance(x, tg.Tensor) and x.dtype.kind == "f" and x.requires_grad]
    assert bool(floats) == (kind == "grad"), "the history is lost" if kind == "grad" else "a history where none can be"
    if kind == "plain" or not sum(x._data.size for x in floats):
        return
    reached = [t for t in leafs.values() if t.requires_grad and any(g is not None for g in gradients(floats, t))]
    names = [name for name, t in leafs.items() if any(t is r for r in reached)]
    assert names

    def f(*inputs: tg.Tensor) -> Any:
        results = leaves(evaluate(expression, {**plain, **dict(zip(names, inputs, strict=True))}))
        kept = [x for x in results if isinstance(x, tg.Tensor) and x.dtype.kind == "f" and x.requires_grad]
        return tuple([tg.where(tg.isfinite(x), x, 0) for x in kept])

    assert gradcheck(f, [leafs[name] for name in names])


def gradients(outputs: list[tg.Tensor], leaf: tg.Tensor) -> Any:
    return tg.autograd.grad([x.sum() for x in outputs], [leaf], allow_unused=True, retain_graph=True)


SECOND = """
np.sinc(b)
np.sinc(0.0 * a)
np.cbrt(b)
np.quantile(b, [[0.2], [0.7]], axis=1, method="weibull")
np.nanstd(np.where(m, b, np.nan), axis=1, keepdims=True, ddof=0.5)
np.cov(b, fweights=np.array([1, 2, 3]), aweights=np.abs(a))
np.corrcoef(b)
np.interp(np.array([-5.0, 0.1, 0.6, 7.0]), np.cumsum(p[0]) - 1, a)
np.gradient(a, np.cumsum(p[0]))
np.trapezoid(b, x=np.cumsum(np.abs(a)), axis=-1)
np.geomspace(p, 5.0, num=4, endpoint=False, dtype=np.float64, axis=-1)
np.convolve(a, b[0])
np.kron(a, b)
np.cross(b, p)
np.linalg.matrix_power(s, n=5)
np.linalg.vector_norm(b, axis=(0, 1), keepdims=True, ord=3)
np.insert(a, 1, b[0])
np.logaddexp2(b, a)
np.float_power(p, b)
np.prod(c, axis=(0, 2), keepdims=True)
"""


@pytest.mark.parametrize("expression", SECOND.split("\n")[1:-1])
def test_second_derivatives_are_right_too(expression: str) -> None:
    assert ("grad", expression) in LINES
    leafs = {name: tg.tensor(value, requires_grad=value.dtype.kind == "f") for name, value in arrays().items()}
    floats = [x for x in leaves(evaluate(expression, leafs)) if x.dtype.kind == "f"]
    names = [k for k, t in leafs.items() if t.requires_grad and any(g is not None for g in gradients(floats, t))]

    def f(*inputs: tg.Tensor) -> Any:
        results = leaves(evaluate(expression, {**leafs, **dict(zip(names, inputs, strict=True))}))
        return tuple([x * x for x in results])  # so that what is linear has a second derivative

    assert gradgradcheck(f, [leafs[name] for name in names])


# all of them ------------------------------------------------------------------------------------------------------

ELSEWHERE = """
can_cast busday_count busday_offset is_busday datetime_as_string packbits unpackbits
fromfile fromstring genfromtxt loadtxt
"""
"""Of dtypes, dates, bits and files: no tensor is any of these."""
MODULES = {"numpy", "numpy.linalg", "numpy.lib.scimath", "numpy.lib.stride_tricks"}
UNUSED = {"like", "order", "subok", "device", "kwargs", "ndmax", "casting", "legacy", "prefix", "suffix", "formatter"}
UNUSED |= {"encoding", "einsum_call", "copy"}
"""Keywords that NumPy takes away before it asks us, or that say nothing of values."""


def test_every_function_and_every_keyword_of_numpys_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[str]] = {}

    def of_function(self: Any, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        try:
            names = set(inspect.signature(func).bind(*args, **kwargs).arguments)
        except ValueError:  # no signature in this version of NumPy
            names = set(kwargs)
        name = numpy_protocol.public_name(func)  # with like= it is another object of the same name
        seen[name] = seen.get(name, set()) | names
        return numpy_protocol.array_function(self, func, types, args, kwargs)

    def of_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        seen[numpy_protocol.public_name(ufunc)] = set()
        return numpy_protocol.array_ufunc(self, ufunc, method, *inputs, **kwargs)

    monkeypatch.setattr(tg.Tensor, "__array_function__", of_function)
    monkeypatch.setattr(tg.Tensor, "__array_ufunc__", of_ufunc)
    plain = {name: tg.tensor(value) for name, value in arrays().items()}
    if np.lib.NumpyVersion(np.__version__) < "2.4.0":
        pytest.skip("the lines are for NumPy 2.4's names")
    for _, expression in LINES:
        evaluate(expression, plain)
    functions = [
        f
        for f in overridable.get_overridable_numpy_array_functions()
        if f.__module__ in MODULES and f.__name__ not in ELSEWHERE.split()
    ]
    name_of = numpy_protocol.public_name
    assert sorted(name_of(f) for f in functions if name_of(f) not in seen) == []
    ufuncs = {f for f in overridable.get_overridable_numpy_ufuncs() if getattr(np, f.__name__, None) is f}
    known = {f for f in ufuncs if f in numpy_protocol.UFUNCS}
    assert sorted(name_of(f) for f in ufuncs - known if name_of(f) not in seen and f is not np.isnat) == []
    missing = {}
    for f in functions:
        try:
            parameters = inspect.signature(f).parameters.values()
        except ValueError:
            continue
        missing[name_of(f)] = {
            p.name for p in parameters if p.name not in seen[name_of(f)] | UNUSED and p.kind is not p.VAR_KEYWORD
        }
    assert {name: keywords for name, keywords in missing.items() if keywords} == {}
