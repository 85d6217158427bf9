"""The double of CuPy refuses what CuPy refuses, and computes what NumPy computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

HOST = np.ones((2, 3), np.float32)

REFUSED: dict[str, tuple[type[Exception], Callable[[Any, Any], Any]]] = {
    "device + host": (TypeError, lambda cp, a: a + HOST),
    "host + device": (TypeError, lambda cp, a: HOST + a),
    "a ufunc of both": (TypeError, lambda cp, a: np.add(HOST, a)),
    "cupy's ufunc of both": (TypeError, lambda cp, a: cp.add(a, HOST)),
    "a list of both": (TypeError, lambda cp, a: cp.concatenate([a, HOST])),
    "numpy's function of both": (TypeError, lambda cp, a: np.concatenate([a, HOST])),
    "a method": (TypeError, lambda cp, a: a.dot(HOST.T)),
    "in place": (TypeError, lambda cp, a: a.__iadd__(HOST)),
    "assignment": (ValueError, lambda cp, a: a.__setitem__(slice(None), HOST)),
    "conversion": (TypeError, lambda cp, a: np.asarray(a)),
    "a size from the device": (TypeError, lambda cp, a: range(cp.asarray(3))),
    "a host index": (TypeError, lambda cp, a: a[np.array([0])]),
    "an assignment to one place twice": (RuntimeError, lambda cp, a: a.__setitem__(cp.asarray([0, 0]), 1.0)),
    "a function that cupy lacks": (AttributeError, lambda cp, a: cp.vecdot),
    "a ufunc method that cupy lacks": (NotImplementedError, lambda cp, a: cp.logaddexp.reduce(a)),
    "a kernel": (NotImplementedError, lambda cp, a: cp.RawKernel("", "f")),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_refuses(what: str, double: Any) -> None:
    error, attempt = REFUSED[what]
    with pytest.raises(error):
        attempt(double, double.asarray(np.arange(6, dtype=np.float32).reshape(2, 3)))


def test_reductions_stay_on_the_device_and_transfers_are_counted(double: Any) -> None:
    a = double.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    before = double.syncs
    total = np.sum((a - a.mean(axis=0, keepdims=True)) / 2 + a)
    assert isinstance(total, double.ndarray) and total.shape == () and double.syncs == before
    assert float(total) == 15.0 and double.syncs == before + 1


def test_it_computes_what_numpy_computes(double: Any) -> None:
    host = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
    a = double.asarray(host)
    # The same code on memory aligned otherwise: float32 products of three terms may round differently.
    np.testing.assert_allclose((np.tanh(a) @ a.T).get(), np.tanh(host) @ host.T, rtol=1e-6)
    out = double.empty_like(a)
    double.tanh(a, out=out)
    np.testing.assert_allclose(out.get(), np.tanh(host), rtol=1e-6)
    counts = double.zeros(3)
    double.add.at(counts, double.asarray([0, 0, 2]), 1.0)
    assert counts.get().tolist() == [2, 0, 1]
    assert bool(double.any(a)) and bool(double.all(a == a))  # whose names are also Python's
    assert double.get_array_module(a) is double and double.get_array_module(host) is np
