"""The double of CuPy refuses what CuPy refuses, and computes what NumPy computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import arrays, fakecupy

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


STRICTER = {"a host index", "an assignment to one place twice", "a kernel"}
"""What CuPy does, two of them in silence, and what the double cannot do."""


@pytest.mark.parametrize("make", ["zeros_like", "ones_like", "empty_like"])
def test_an_empty_shape_given_for_an_array_like_another_is_not_obeyed(make: str, device_xp: Any) -> None:
    """Unlike NumPy's: ``zeros_like(a, shape=())`` is no way to make a single number."""
    assert getattr(device_xp, make)(device_xp.zeros(3), shape=()).shape == (3,)
    assert getattr(device_xp, make)(device_xp.zeros(3), shape=(2,)).shape == (2,)


@pytest.mark.parametrize("what", REFUSED)
def test_it_refuses(what: str, device_xp: Any) -> None:
    if what in STRICTER and not hasattr(device_xp, "syncs"):
        pytest.skip("only the double refuses it")
    error, attempt = REFUSED[what]
    with pytest.raises(error):
        attempt(device_xp, device_xp.asarray(np.arange(6, dtype=np.float32).reshape(2, 3)))


# What is asked of NumPy, CuPy and the double with the same words: arrays a (2, 3), b (3, 2), whole numbers i, a mask m.
SAME: dict[str, Callable[[Any, Any, Any, Any, Any], Any]] = {
    "products": lambda xp, a, b, i, m: [a @ b, xp.matmul(a, b), xp.einsum("ij,jk->k", a, b), np.vdot(a, a)],
    "functions by numpy's names": lambda xp, a, b, i, m: [np.tanh(a), np.exp(a), np.where(m, a, 0 * a), np.sign(a)],
    "reductions": lambda xp, a, b, i, m: [a.sum(0), a.mean(), a.max(1), a.var(), np.sum(a), a.argmax(1), a.cumsum(0)],
    "layouts": lambda xp, a, b, i, m: [a.T, a.reshape(3, 2), a.ravel(), xp.ascontiguousarray(a.T), xp.stack([a, a], 1)],
    "reading at places": lambda xp, a, b, i, m: [a[i], a[:, i], a[..., 1], a[None], a[m], a[1:, ::2], xp.take(a, i, 0)],
    "joining": lambda xp, a, b, i, m: [xp.concatenate([a, a]), xp.concatenate([a, b], None), xp.tile(a, (2, 1))],
    "sorting": lambda xp, a, b, i, m: [xp.sort(a, 1), xp.argsort(i, kind="stable"), xp.searchsorted(xp.arange(9), i)],
    "making": lambda xp, a, b, i, m: [xp.zeros_like(a), xp.full_like(a, 2), xp.arange(4), xp.eye(2)],
    "comparing": lambda xp, a, b, i, m: [a > 0, a == a, xp.isfinite(a), xp.maximum(a, 0), xp.isclose(a, a)],
    "dtypes": lambda xp, a, b, i, m: [a.astype("float64"), i.astype("float32"), (a > 0).astype(int), i / 2, i * 0.5],
    "numbers with arrays": lambda xp, a, b, i, m: [a + 1, 1 / (a + 10), a**2, 2**a, -a, abs(a), a // 2, a % 2, i % 2],
}


def everything(xp: Any, what: str) -> list[Any]:
    a = xp.asarray(np.arange(6, dtype=np.float32).reshape(2, 3) / 4 - 0.5)
    b, i, m = xp.asarray(np.ones((3, 2), np.float32)), xp.asarray(np.array([1, 0, 1])), xp.asarray(np.eye(2, 3) > 0)
    return SAME[what](xp, a, b, i, m)


@pytest.mark.parametrize("what", SAME)
def test_results_have_the_values_dtypes_and_shapes_of_numpys(what: str, device_xp: Any) -> None:
    """Of the double always, and on a GPU of CuPy itself: so what runs on the double is known of CuPy."""
    for k, (ours, theirs) in enumerate(zip(everything(device_xp, what), everything(np, what), strict=True)):
        assert isinstance(ours, device_xp.ndarray), f"{what}: result {k} came to the host"
        assert (ours.dtype, ours.shape) == (np.asarray(theirs).dtype, np.shape(theirs)), f"{what}: result {k}"
        np.testing.assert_allclose(device_xp.asnumpy(ours), theirs, rtol=1e-6, err_msg=f"{what}: result {k}")


def test_writing_is_as_in_numpy(device_xp: Any) -> None:
    a, host = device_xp.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32)
    for x, xp in ((a, device_xp), (host, np)):
        x[1] = 2
        x[:, 2] += 1
        x[xp.asarray(np.array([0, 2]))] = 5
        x[x > 4] -= 1
        xp.add.at(x, xp.asarray(np.array([1, 1])), 1)
        xp.multiply(x, 2, out=x)
        xp.copyto(x, 7, where=x == 0)
        x.T[0] = 3
        x.reshape(-1)[5] = 9
        row = x[0]
        row += 1
    np.testing.assert_array_equal(device_xp.asnumpy(a), host)


@pytest.mark.gpu
def test_the_double_has_what_cupy_has_and_lacks_what_it_lacks() -> None:
    with arrays.module("cupy") as cupy:
        assert not [name for name in fakecupy.MISSING if hasattr(cupy, name)]
        array = cupy.ones((2, 3), np.float32)
        names = fakecupy.METHODS | fakecupy.METHODS_IN_PLACE | fakecupy.ATTRIBUTES
        assert not [name for name in names if not hasattr(array, name)]
        assert not [name for name in ("__array_namespace__", "__imatmul__", "__index__") if hasattr(type(array), name)]
        for name in fakecupy.AT:
            getattr(cupy, name).at(cupy.ones(2, np.int32), cupy.asarray([0]), 1)


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
