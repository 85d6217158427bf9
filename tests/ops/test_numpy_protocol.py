"""NumPy's functions of Tensors record, or refuse; they never leave the tape silently."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.rows import together
from tinygrad_rnn.errors import GraphError, TinygradRnnError
from tinygrad_rnn.ops.numpy_protocol import UFUNCS, public_name

X = np.array([[0.3, -0.4, 0.7], [0.9, 0.2, -0.6]])
A = np.array([0.5, 2.0, 1.5])
MASK = np.array([[True, False, True], [False, True, True]])

ARGUMENTS: dict[Any, list[tuple[Any, ...]]] = {
    np.reshape: [((3, 2),), (-1,)],
    np.transpose: [(), ((1, 0),)],
    np.swapaxes: [(0, 1)],
    np.moveaxis: [(0, 1)],
    np.expand_dims: [(0,), (-1,)],
    np.broadcast_to: [((2, 2, 3),)],
    np.flip: [(), (1,)],
    np.roll: [(1,), (2, 1)],
    np.tile: [(2,), ((2, 1),)],
    np.repeat: [(2,), (2, 1)],
    np.split: [(3, 1), ([1], 1)],
    np.array_split: [(2, 1)],
    np.clip: [(-0.1, 0.5), (None, 0.5)],
    np.round: [(), (1,)],
    np.take: [([0, 2, 2],), ([0, 2], 1)],
    np.take_along_axis: [(np.array([[0], [2]]), 1)],
    np.dot: [(A,), (X.T,)],
    np.inner: [(A,), (X,)],
    np.outer: [(A,)],
    np.tensordot: [(X.T, 1), (X, ([0, 1], [0, 1]))],
    np.full_like: [(2,)],
    np.isclose: [(X,)],
    np.allclose: [(X,)],
    np.array_equal: [(X,)],
    np.sort: [(), (0,), (None,)],
    np.argsort: [(), (0,)],
    np.cumsum: [(), (1,)],
    np.cumprod: [(), (1,)],
    np.diff: [(), (1, 0)],
    np.size: [(), (1,)],
    np.linalg.norm: [(), (None, 1), (1, 0)],
    np.diagonal: [(), (1,)],
    np.diag: [(), (1,)],
    np.tril: [(), (1,)],
    np.triu: [(), (-1,)],
}
REDUCING = "sum mean all any nansum max min prod var std argmax argmin count_nonzero"
ARGUMENTS |= {getattr(np, name): [(), (0,), (1,)] for name in REDUCING.split()}
IN_LISTS = [np.concatenate, np.stack, np.hstack, np.vstack, np.dstack, np.column_stack]
OF_ONE = "ravel squeeze fliplr flipud rot90 trace nonzero argwhere zeros_like ones_like empty_like copy shape ndim"
FUNCTIONS = [*ARGUMENTS, *IN_LISTS, *[getattr(np, name) for name in OF_ONE.split()]]


def raw(result: Any) -> Any:
    if isinstance(result, (list, tuple)):
        return [raw(item) for item in result]
    return result.detach().numpy() if isinstance(result, tg.Tensor) else result


def same(ours: Any, theirs: Any, what: str) -> None:
    if isinstance(theirs, (list, tuple)) and not isinstance(ours, tg.Tensor):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b, what)
        return
    if isinstance(theirs, np.ndarray):
        assert isinstance(ours, tg.Tensor), f"{what} left the tape: it gave {type(ours).__name__}"
    a, b = np.asarray(raw(ours)), np.asarray(theirs)
    assert a.shape == b.shape, what
    np.testing.assert_allclose(a, b, 1e-14, 1e-14, err_msg=what)  # the same formula, summed in another order


@together
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_functions_give_numpys_values_and_keep_the_history(function: Any) -> None:
    for args in ARGUMENTS.get(function, [()]):
        t = tg.tensor(X, requires_grad=True)
        first, expected = ([t, X * 2], [X, X * 2]) if function in IN_LISTS else (t, X)
        ours, theirs = function(first, *args), function(expected, *args)
        if function is np.empty_like:  # whatever the memory held before
            ours, theirs = tg.zeros_like(ours), np.zeros_like(theirs)
        same(ours, theirs, f"np.{function.__name__}{args}")
        for result in ours if isinstance(ours, (list, tuple)) else [ours]:
            if isinstance(result, tg.Tensor) and result.dtype.kind == "f" and "_like" not in function.__name__:
                assert result.requires_grad, f"np.{function.__name__} left the tape"


@pytest.mark.parametrize("name", ["mean", "sum", "max", "min", "std", "var", "prod", "all", "argmax"])
def test_keepdims_and_ddof_mean_what_they_mean_in_numpy(name: str) -> None:
    options = {"keepdims": True, **({"ddof": 1} if name in ("std", "var") else {})}
    for axis in (None, 0, 1):
        ours = getattr(np, name)(tg.tensor(X), axis=axis, **options)
        np.testing.assert_allclose(ours.numpy(), getattr(np, name)(X, axis=axis, **options), 1e-14)


@together
@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
def test_ufuncs_of_tensors_arrays_and_numbers_agree_with_numpy(ufunc: Any) -> None:
    bits = ufunc in (np.left_shift, np.right_shift, np.invert, np.bitwise_and, np.bitwise_or, np.bitwise_xor)
    x = np.array([[1, 2, 3], [4, 5, 6]]) if bits else np.abs(X) + 1 if ufunc in (np.arccosh,) else np.abs(X)
    y = np.array([1, 2, 3]) if bits else A
    if ufunc is np.vecmat:
        x, y = A, X.T
    if ufunc is np.ldexp:
        y = np.array([1, -2, 3])
    t, u = [tg.tensor(z, requires_grad=z.dtype.kind == "f") for z in (x, y)]
    pairs = [((t,), (x,))] if ufunc.nin == 1 else [((t, u), (x, y)), ((t, y), (x, y)), ((x, u), (x, y))]
    for ours, theirs in pairs:
        result = ufunc(*ours)
        same(result, ufunc(*theirs), ufunc.__name__)
        for part in result if isinstance(result, tuple) else (result,):
            if part.dtype.kind == "f" and any(isinstance(z, tg.Tensor) and z.requires_grad for z in ours):
                assert part.requires_grad


@pytest.mark.parametrize(
    "f",
    [
        lambda a, t: a + t, lambda a, t: a - t, lambda a, t: a * t, lambda a, t: a / t, lambda a, t: a**t,
        lambda a, t: a @ t.T, lambda a, t: a % t, lambda a, t: np.float64(2) * t, lambda a, t: a[0] / t,
        lambda a, t: np.where(a > 1, t, a), lambda a, t: np.einsum("j,ij->i", a, t), lambda a, t: a < t,
    ],
)  # fmt: skip
def test_an_array_on_the_left_records_too(f: Callable[[Any, Any], Any]) -> None:
    t = tg.tensor(np.abs(X), requires_grad=True)
    result = f(A, t)
    assert isinstance(result, tg.Tensor)
    np.testing.assert_allclose(result.detach().numpy(), f(A, np.abs(X)), 1e-14)
    assert result.requires_grad or result.dtype == bool


def test_gradients_flow_through_numpys_functions() -> None:
    x, y = (tg.tensor(X, requires_grad=True) for _ in range(2))
    np.sum(np.tanh(A * x) @ np.concatenate([A, A])[:3]).backward()
    (tg.tanh(tg.tensor(A) * y) @ tg.tensor(A)).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.grad.numpy())


def test_methods_of_ufuncs_record() -> None:
    t = tg.tensor(X, requires_grad=True)
    for ours, theirs in [
        (np.add.reduce(t), np.add.reduce(X)), (np.add.reduce(t, axis=None), np.add.reduce(X, axis=None)),
        (np.multiply.reduce(t, axis=1), np.multiply.reduce(X, axis=1)), (np.maximum.reduce(t), np.maximum.reduce(X)),
        (np.add.accumulate(t, axis=1), np.add.accumulate(X, axis=1)),
        (np.multiply.outer(t, A), np.multiply.outer(X, A)),
        (np.add.reduce(t, axis=1, keepdims=True), np.add.reduce(X, axis=1, keepdims=True)),
    ]:  # fmt: skip
        same(ours, theirs, "a method of a ufunc")
        assert ours.requires_grad


@pytest.mark.parametrize(
    "f",
    [
        lambda t: np.fft.fft(t), lambda t: np.i0(t), lambda t: np.spacing(t), lambda t: np.add.reduceat(t, [0, 1]),
        lambda t: np.asarray(t), lambda t: np.array(t), lambda t: np.add(t, 1, where=t.detach().numpy() > 0),
        lambda t: np.nextafter(t, 0), lambda t: np.linalg.inv(t[:, :2]), lambda t: np.roots(t[0]),
        lambda t: np.mean(t, out=np.zeros(())), lambda t: np.add(t, 1, out=np.zeros((2, 3))),
    ],
)  # fmt: skip
def test_what_cannot_be_recorded_is_refused_where_a_gradient_is_wanted(f: Callable[[Any], Any]) -> None:
    with pytest.raises(TinygradRnnError, match="Can't call numpy\\(\\) on Tensor that requires grad"):
        f(tg.tensor(X, requires_grad=True))


def test_without_history_numpy_computes_what_we_have_no_operation_for() -> None:
    t = tg.tensor(X)
    np.testing.assert_array_equal(np.median(t), np.median(X))
    np.testing.assert_array_equal(np.cbrt(t), np.cbrt(X))
    np.testing.assert_array_equal(np.asarray(t), X)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.add(x, x, where=MASK, out=np.zeros((2, 3))), lambda x: np.sum(x, where=MASK, initial=2.0),
        lambda x: np.sum(x, 1, where=MASK), lambda x: np.add.reduce(x, axis=None, where=MASK),
        lambda x: np.multiply.reduce(x, initial=2.0), lambda x: np.max(x, 0, initial=0.5),
        lambda x: np.sum(x, out=None), lambda x: np.mean(x, 1, where=MASK),
        lambda x: np.add(x, 1, where=True, dtype=np.float32), lambda x: np.add.reduce(x, out=np.zeros(3)),
    ],
)  # fmt: skip
def test_a_mask_and_a_start_count_as_in_numpy_and_are_refused_where_a_gradient_is_wanted(f: Any) -> None:
    found, expected = np.asarray(f(tg.tensor(X))), f(X)
    np.testing.assert_allclose(found, expected, 1e-15)
    assert found.dtype == expected.dtype
    t = tg.tensor(X, requires_grad=True)
    try:
        assert f(t).requires_grad
    except TinygradRnnError as error:
        assert "Can't call numpy() on Tensor that requires grad" in str(error)


def test_numpy_is_not_let_write_into_a_tensor() -> None:
    t = tg.zeros(2)
    for f in (lambda: np.add(np.ones(2), np.ones(2), out=t), lambda: np.sum(np.ones((2, 2)), 0, out=t)):
        with pytest.raises(TypeError, match="cannot write into a Tensor"):
            f()


def test_an_array_takes_a_tensor_without_history_in_place() -> None:
    array = np.ones(2)
    array += tg.tensor([1.0, 2.0], dtype=tg.float64)
    np.testing.assert_array_equal(array, [2, 3])
    with pytest.raises(RuntimeError, match="requires grad"):
        array += tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)


def test_an_array_is_added_to_at_places_by_tensors_without_history() -> None:
    x, places = tg.tensor([2.0, 3.0, 4.0], dtype=tg.float64), tg.tensor([0, 0, 1])
    for index, values in ((places, x), ([0, 0, 1], x), (places, np.array([2.0, 3.0, 4.0]))):
        total = np.zeros(2)
        assert np.add.at(total, index, values) is None and total.tolist() == [5.0, 4.0]
    np.negative.at(total, places[2:])
    assert total.tolist() == [5.0, -4.0]
    x.requires_grad_()
    with pytest.raises(GraphError, match=r"np\.add\.at would write a result with a history into an array"):
        np.add.at(total, places, x)
    with tg.no_grad():
        np.add.at(total, places, x)
    assert total.tolist() == [10.0, 0.0]
    with pytest.raises(TypeError, match="NumPy cannot write into a Tensor"):
        np.add.at(x.detach(), [0], 1.0)
    with pytest.raises(IndexError, match=r"np\.add\.at\(\)"):
        np.add.at(total, tg.tensor([7]), 1.0)


def test_a_later_write_to_the_users_array_does_not_change_a_gradient() -> None:
    factor, chosen = np.array([2.0, 3.0]), np.array([True, False])
    x = tg.tensor([1.0, 1.0], dtype=tg.float64, requires_grad=True)
    total = (x * factor).sum() + (factor * x).sum() + tg.where(chosen, x, 0).sum() + np.multiply(factor, x).sum()
    factor[:], chosen[:] = 100, False
    total.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [7, 9])


def test_an_index_array_is_kept_by_value() -> None:
    rows = np.array([0, 0, 1])
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x[rows].sum() + tg.gather(x, 0, tg.from_numpy(rows)).sum()
    rows[:] = 1
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4, 2])


EXPRESSIONS = Path(__file__).with_name("numpy_expressions.txt").read_text(encoding="utf-8").splitlines()


@together
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_arguments_mean_what_they_mean_in_numpy(expression: str) -> None:
    rng = np.random.default_rng(0)
    arrays = {"a": rng.standard_normal(3), "b": rng.standard_normal((2, 3)), "c": rng.standard_normal((2, 4, 3))}
    tensors = {name: tg.tensor(array) for name, array in arrays.items()}
    found, expected = eval(expression, {"np": np, **tensors}), eval(expression, {"np": np, **arrays})
    if not isinstance(expected, np.ndarray):
        assert found == expected if isinstance(found, (int, bool, tuple)) else isinstance(found, tg.Tensor)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-12)
    assert np.asarray(found).dtype == np.asarray(expected).dtype


def test_the_layout_in_memory_counts_where_numpy_says_so() -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    for grad in (False, True):
        t = tg.from_numpy(array).requires_grad_(grad)
        same(np.ravel(t, "K"), np.ravel(array, "K"), "ravel")
        same(np.ravel(t, "A"), np.ravel(array, "A"), "ravel")
        same(np.reshape(t, (3, 2), "A"), np.reshape(array, (3, 2), "A"), "reshape")
        same(np.reshape(t, (3, 2)), np.reshape(array, (3, 2)), "reshape")


def test_a_nan_bound_makes_a_nan_as_in_numpy_and_in_pytorch() -> None:
    x, bound = tg.tensor([1.0, 2.0]), tg.tensor([np.nan, 0.0])
    np.testing.assert_array_equal(tg.clamp(x, min=bound).numpy(), [np.nan, 2])
    np.testing.assert_array_equal(tg.clamp(x, max=bound).numpy(), [np.nan, 0])
    np.testing.assert_array_equal(np.clip(x.requires_grad_(), bound, 5.0).detach().numpy(), [np.nan, 2])


def test_complex_numbers_are_computed_and_never_taken_for_their_real_part() -> None:
    values = np.array([1 + 2j, 3 - 1j])
    for f in (np.real, np.imag, np.angle, np.conjugate, np.real_if_close, np.sum, np.mean, np.var, np.linalg.norm):
        same(f(tg.tensor(values)), np.asarray(f(values)), f.__name__)
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    for f in (np.real, np.imag, np.angle, np.conjugate):
        with pytest.raises(TinygradRnnError, match=rf"np\.{f.__name__} .* complex numbers"):
            f(w + 1j)


def test_a_result_over_the_memory_of_a_tensor_is_known_to_be() -> None:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    w = tg.tensor([2.0, 3.0], requires_grad=True)
    for view in (np.real, np.squeeze, np.atleast_2d, np.transpose, np.asarray, np.rollaxis):
        seen = view(x, like=x) if view is np.asarray else view(x, 1) if view is np.rollaxis else view(x)
        y = (w * x).sum()
        seen.mul_(1.0)
        with pytest.raises(tg.errors.InplaceError):
            y.backward()


@pytest.mark.parametrize("name", ["copyto", "fill_diagonal", "nan_to_num"])
def test_numpys_writes_to_a_tensor_are_counted(name: str) -> None:
    x, w = tg.ones(2, 2), tg.tensor([2.0, 3.0], requires_grad=True)
    y = (w * x).sum()
    np.nan_to_num(x, copy=False) if name == "nan_to_num" else getattr(np, name)(x, 5.0)
    with pytest.raises(tg.errors.InplaceError, match="modified by an inplace operation"):
        y.backward()


def test_what_numpy_computes_from_a_list_of_floats_is_not_rounded() -> None:
    t = tg.tensor([0.5], dtype=tg.float64)
    for grad in (False, True):
        t = t.detach().requires_grad_(grad)
        assert np.concatenate([t, [0.1]]).tolist() == [0.5, 0.1]
        assert np.maximum(t, [0.7]).tolist() == [0.7]


def test_an_array_of_tensors_is_refused_with_what_to_do() -> None:
    w = tg.tensor(2.0, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"use tg\.stack\(\[x, y\]\)"):
        np.array([w, w])
    stacked = np.array([[w, 1.0], [2.0, w * w]], like=w)
    assert stacked.tolist() == [[2, 1], [2, 4]]
    np.sum(stacked).backward()
    assert w.grad.item() == 5


@pytest.mark.parametrize("q", [0.5, [0.1, 0.5, 0.8]])
def test_what_has_a_gradient_has_the_dtype_of_what_has_none(q: Any) -> None:
    x = np.array([0.3, -0.2, 0.9, 0.1], np.float32)
    for f in (
        lambda t: np.quantile(t, q), np.cov, np.vander, lambda t: np.geomspace(np.abs(t), 5.0, 3), np.median,
        lambda t: np.gradient(t, np.array([0.0, 1.0, 1.5, 4.0])), lambda t: np.emath.power(np.abs(t), 1.5), np.sinc,
        lambda t: np.dot(t, 2.0), lambda t: np.setdiff1d(t, np.array([9.0])), lambda t: np.copysign(t, 1.0),
    ):  # fmt: skip
        expected = np.asarray(f(x))
        found = f(tg.tensor(x, requires_grad=True))
        assert found.requires_grad and found.dtype == expected.dtype == f(tg.tensor(x)).dtype
        np.testing.assert_allclose(found.detach().numpy(), expected, 1e-5)


@pytest.mark.parametrize(
    "f",
    [
        lambda t: np.add(t, None), lambda t: np.multiply("a", t), lambda t: np.add(t, {}), lambda t: np.kron(t, "a"),
        lambda t: np.sum(t, axis="x"), lambda t: np.sort(t, kind="bogus"), lambda t: np.linspace(t, 1.0, -1),
        lambda t: np.where(t, 1.0), lambda t: np.tile(t, None), lambda t: np.concatenate([t, None]),
        lambda t: np.split(t, 5), lambda t: np.reshape(t, (4,)), lambda t: np.take(t, 100), lambda t: np.pad(t, -1),
        lambda t: np.gradient(t, edge_order=3), lambda t: np.quantile(t, 2.0), lambda t: np.einsum("ij->k", t),
        lambda t: np.clip(t, "a", 3), lambda t: np.insert(t, 0, "a"), lambda t: np.cov(t, ddof=0.5),
    ],
)  # fmt: skip
def test_what_is_no_legal_call_is_refused_in_our_classes_with_and_without_gradient(f: Callable[[Any], Any]) -> None:
    for grad in (True, False):
        with pytest.raises(TinygradRnnError) as caught:
            f(tg.tensor(X, requires_grad=grad))
        assert "lambda" not in str(caught.value)


def test_what_has_an_answer_of_its_own_to_ufuncs_is_let_give_it() -> None:
    class Polite:
        def __array_ufunc__(self, *args: Any, **kwargs: Any) -> str:
            return "mine"

    class Convertible:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.array([1.0, 2.0])

    t = tg.tensor([1.0, 2.0], requires_grad=True)
    assert np.add(t, Polite()) == "mine"
    assert np.add(t, Convertible()).tolist() == [2, 4] and np.add(t, Convertible()).requires_grad


def test_numpys_names_are_given_in_full() -> None:
    for function, name in [
        (np.linalg.svd, "np.linalg.svd"), (np.fft.rfft, "np.fft.rfft"), (np.add, "np.add"), (np.amax, "np.amax"),
        (np.emath.sqrt, "np.emath.sqrt"), (np.lib.stride_tricks.sliding_window_view,
        "np.lib.stride_tricks.sliding_window_view"),
    ]:  # fmt: skip
        assert public_name(function) == name


MASKED = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])
MATRIX: Any = np.array([[1.0, 2.0, 3.0]]).view(np.matrix)


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t * MASKED,
        lambda t: t.add(MASKED),
        lambda t: tg.mul(t, MASKED),
        lambda t: t @ MASKED,
        lambda t: np.add(t, MASKED),
        lambda t: np.add(MASKED, t),
        lambda t: MASKED @ t,
        lambda t: t > MASKED,
        lambda t: t * MATRIX,  # a product of matrices, in NumPy
        lambda t: MATRIX * t,
        lambda t: np.multiply(MATRIX, t),
    ],
)
def test_an_array_whose_operators_mean_something_else_is_no_operand(f: Any) -> None:
    """Taken for an array it would lose its mask, and a matrix its product."""
    for t in (tg.tensor([3.0, 4.0, 5.0], requires_grad=True), tg.tensor([3.0, 4.0, 5.0])):
        with pytest.raises(TypeError, match=r"must be Tensor, not (MaskedArray|matrix)"):
            f(t)


@pytest.mark.parametrize(
    "f",
    [
        lambda t: MASKED * t,
        lambda t: MASKED - t,
        lambda t: np.ma.add(t, t),
        lambda t: np.ma.exp(t),
        lambda t: np.ma.array([0.0, 0.0, 0.0]).__iadd__(t),
        lambda t: np.ma.array([0.0, 0.0, 0.0]).__setitem__(slice(None), t),
        lambda t: np.ma.concatenate([t, t]),
        lambda t: np.ma.where(MASKED > 1, t, 0),
    ],
)
def test_masked_arrays_do_not_take_values_off_the_tape(f: Any) -> None:
    """NumPy's masked arrays ask no protocol: they look at what an operand has in ``_data`` and ``_mask``."""
    with pytest.raises(GraphError, match="Can't call numpy\\(\\) on Tensor that requires grad"):
        f(tg.tensor([3.0, 4.0, 5.0], requires_grad=True))
    f(tg.tensor([3.0, 4.0, 5.0]))
    with tg.no_grad():
        f(tg.tensor([3.0, 4.0, 5.0], requires_grad=True))
    assert (MASKED * tg.tensor([3.0, 4.0, 5.0])).tolist() == [3.0, None, 15.0]


def test_an_array_that_is_one_in_all_but_its_class_is_an_operand() -> None:
    class Named(np.ndarray):
        pass

    t = tg.tensor([3.0, 4.0], dtype=tg.float64, requires_grad=True)
    for x in (np.array([1.0, 2.0]).view(Named), np.array([1.0, 2.0]).view(np.recarray)):
        for y in (t * x, x * t, np.multiply(x, t)):
            assert type(y) is tg.Tensor and y.tolist() == [3.0, 8.0] and y.requires_grad
