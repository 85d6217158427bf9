"""What a tensor is: its shape as an object, the legacy constructor, conversions to plain Python."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentTypeError, ShapeRuntimeError
from tinygrad_rnn.tape.modes import defaults


def test_a_shape_is_a_tuple_that_counts() -> None:
    shape = tg.zeros(2, 3, 4).shape
    assert shape == (2, 3, 4) and isinstance(shape, tuple) and repr(shape) == "torch.Size([2, 3, 4])"
    assert shape.numel() == 24 and tg.Size(()).numel() == 1 and tg.zeros(3, 0).shape.numel() == 0
    assert isinstance(shape.numel(), int)


def test_the_legacy_constructor_takes_sizes_values_or_an_array() -> None:
    assert tg.Tensor(2, 3).shape == (2, 3) and tg.Tensor().shape == (0,)
    assert tg.Tensor(tg.zeros(4, 1).shape).shape == (4, 1)
    assert tg.Tensor([1, 2]).tolist() == [1.0, 2.0] and tg.Tensor([1, 2]).dtype == tg.float32
    array = np.ones(2, np.float32)
    shared = tg.Tensor(array)
    array[0] = 5.0
    assert shared.tolist() == [5.0, 1.0]
    assert tg.Tensor(np.ones(2)).dtype == tg.float32
    with pytest.raises(ArgumentTypeError, match=r"Tensor\(\): expected sizes, a sequence of values, or one array"):
        tg.Tensor([1.0], [2.0])


def test_one_entry_converts_to_python_numbers() -> None:
    for t in (tg.tensor(2.5), tg.tensor([2.5]), tg.tensor([[2.5]])):
        assert (t.item(), float(t), int(t), complex(t), bool(t)) == (2.5, 2.5, 2, 2.5 + 0j, True)
    assert operator.index(tg.tensor(3)) == 3 and [10, 20, 30][tg.tensor(1)] == 20 and bool(tg.tensor([False])) is False
    for wrong in (tg.tensor(1.5), tg.tensor([1, 2])):
        with pytest.raises(TypeError, match="only integer tensors of a single element can be converted to an index"):
            operator.index(wrong)


@pytest.mark.parametrize("convert", [float, lambda t: np.zeros(1).__setitem__(0, t)])
def test_a_number_made_of_a_tensor_that_requires_grad_warns_once_that_it_has_no_history(
    convert: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "warned_of_float", False)
    x = tg.tensor(2.0, requires_grad=True)
    convert(x.detach())
    with pytest.warns(UserWarning, match="Converting a tensor with requires_grad=True to a scalar") as caught:
        convert(x)
    assert caught[0].filename == __file__
    convert(x)
    assert type(defaults).warned_of_float is False  # in a new process nobody was told


@pytest.mark.parametrize("values", [[], [1.0, 2.0]])
def test_several_entries_or_none_convert_to_nothing(values: list[float]) -> None:
    t = tg.tensor(values)
    with pytest.raises(ShapeRuntimeError, match=f"a Tensor with {len(values)} elements cannot be converted to Scalar"):
        t.item()
    with pytest.raises(RuntimeError, match="is ambiguous"):
        bool(t)


def test_length_and_nested_lists() -> None:
    t = tg.tensor([[1, 2], [3, 4], [5, 6]])
    assert len(t) == 3 and t.tolist() == [[1, 2], [3, 4], [5, 6]] and tg.tensor(7).tolist() == 7
    with pytest.raises(TypeError, match=r"len\(\) of a 0-d tensor"):
        len(tg.tensor(7))
    assert (t.nbytes, t.itemsize, t.ndim) == (48, 8, 2)


def test_numpy_shares_memory_and_copies_only_when_asked() -> None:
    t = tg.tensor([1.0, 2.0])
    t.numpy()[0] = 9.0
    assert t.tolist() == [9.0, 2.0]
    assert np.shares_memory(np.asarray(t), t.numpy()) and not np.shares_memory(np.array(t, copy=True), t.numpy())
    assert np.asarray(t, np.float64).dtype == np.float64
    assert t.__array__(np.float64).dtype == np.float64  # NumPy would convert what it is given
    assert np.shares_memory(t.__array__(np.float32), t.numpy())


def test_an_array_in_another_dtype_is_a_copy_that_can_be_forbidden() -> None:
    t = tg.tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(t, copy=False), t.numpy())
    assert not np.shares_memory(np.asarray(t, copy=True), t.numpy())
    assert not np.shares_memory(np.asarray(t, np.float32, copy=True), t.numpy())
    with pytest.raises(ValueError, match="Unable to avoid copy while creating an array as requested"):
        np.asarray(t, np.float64, copy=False)


@pytest.mark.parametrize("mode", [tg.no_grad, tg.inference_mode, lambda: tg.set_grad_enabled(False)])
def test_where_nothing_is_recorded_a_tensor_that_requires_grad_gives_its_array(mode: Any) -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    y = w * 2
    for f in (lambda t: t.numpy(), np.asarray, np.array, lambda t: np.asarray(t, np.float64)):
        for t, values in ((w, [1.0, 2.0]), (y, [2.0, 4.0])):
            with pytest.raises(RuntimeError, match=r"Can't call numpy\(\) on Tensor that requires grad"):
                f(t)
            with mode():
                assert type(f(t)) is np.ndarray and f(t).tolist() == values
                with tg.enable_grad(), pytest.raises(RuntimeError, match="requires grad"):
                    f(t)
    with mode():
        assert np.shares_memory(w.numpy(), w.numpy(force=True)) and not np.shares_memory(np.array(w), w.numpy())


def test_switching_gradients_on_and_off() -> None:
    x = tg.tensor([1.0])
    assert x.requires_grad_() is x and x.requires_grad and x.is_leaf and x.grad_fn is None and x.grad is None
    y = x * 2
    assert not y.is_leaf and y.grad_fn is not None and y.grad_fn.name() == "MulBackward0"
    x.requires_grad = False
    assert not x.requires_grad
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        y.requires_grad_(False)
    assert y.requires_grad_() is y and y.requires_grad
    for value, end in ((True, r"variables\.$"), (False, r"use var_no_grad = var.detach\(\)\.$")):
        with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf .*" + end):
            y.requires_grad = value
    for t in (x, y):
        with pytest.raises(RuntimeError, match="requires_grad must be a bool"):
            t.requires_grad = 1  # type: ignore[assignment]
    for whole in (tg.tensor([1]), tg.tensor([True])):
        with pytest.raises(RuntimeError, match="only Tensors of floating point .* can require gradients"):
            whole.requires_grad_()


def test_detached_tensors_share_memory_and_nothing_else() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for other in (x.detach(), x.data):
        assert not other.requires_grad
        other.numpy()[0] += 1.0
    assert x.tolist() == [3.0, 2.0]
    y = x * 2
    assert y.detach_() is y and not y.requires_grad


def test_gradients_that_are_assigned_must_fit() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    x.grad = tg.tensor([3.0, 4.0])
    (x * 2).sum().backward()
    assert x.grad.tolist() == [5.0, 6.0]
    x.grad = None
    assert x.grad is None
    for wrong, error in (
        (tg.ones(3), "attempting to assign a gradient of size"),
        (tg.ones(2, dtype=tg.float64), "type"),
    ):
        with pytest.raises(RuntimeError, match=error):
            x.grad = wrong
    with pytest.raises(TypeError, match="assigned grad expected to be a Tensor or None but got"):
        x.grad = [1.0, 2.0]  # type: ignore[assignment]


@pytest.mark.parametrize("name", ["exp", "neg", "abs", "sum", "prod", "mean", "sqrt", "isnan", "cumsum", "clone"])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_tensor_holds_an_array_also_where_numpy_gives_a_number(name: str, recorded: bool) -> None:
    x = tg.tensor(4.0, requires_grad=recorded)
    y = getattr(x, name)(*([0] if name == "cumsum" else []))
    assert type(y._data) is np.ndarray and y.shape == ()
    for z in (x + x, x * 2.0, 3.0 / x, x > 1, x.reshape(1) @ x.reshape(1), tg.where(x > 1, x, 0.0), x.reshape(1)[0]):
        assert type(z._data) is np.ndarray and z.shape == ()


def test_a_tensor_of_a_subclass_of_arrays_holds_a_plain_one() -> None:
    """Its sums may mean something else: those of np.matrix keep two axes, those of np.ma leave entries out."""
    memory = np.ones((2, 2), np.float32)
    for x in (memory.view(np.matrix), np.ma.masked_array(memory, mask=[[True, False], [False, False]])):
        made = [tg.Tensor(x), tg.tensor(x), tg.as_tensor(x), tg.from_numpy(x), tg.as_tensor(x, tg.float64)]
        with pytest.raises(TypeError, match="its operators mean something else"):  # made one on purpose, or not at all
            tg.Tensor(memory) * x
        for t in (*made, tg.tensor([x[0], x[1]])):
            assert type(t._data) is np.ndarray
            assert t.reshape(2, 2).sum(0).tolist() == [2.0, 2.0]
        assert np.shares_memory(made[2]._data, memory) and np.shares_memory(made[3]._data, memory)
