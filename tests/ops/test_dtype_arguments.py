"""Only numbers and bool are let in: as a dtype, as the type of an array, and as what ``type`` names."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
import tinygrad_rnn.optim
from tests.support.rows import together
from tinygrad_rnn import errors, nn

WRONG = [object, str, bytes, list, np.void, np.longdouble, np.clongdouble, "nothing", "datetime64[s]", ">f4"]
WRONG += [np.dtype("V4"), tg.Tensor, tg.FloatTensor, 3, np.ones(2), tg.ones(2)]
F = nn.functional
x = tg.ones(2, 2)

TAKE_A_DTYPE: dict[str, Callable[[Any], Any]] = {
    "zeros": lambda d: tg.zeros(2, dtype=d),
    "ones": lambda d: tg.ones(2, dtype=d),
    "empty": lambda d: tg.empty(2, dtype=d),
    "zeros_like": lambda d: tg.zeros_like(x, dtype=d),
    "empty_like": lambda d: tg.empty_like(x, dtype=d),
    "tensor": lambda d: tg.tensor([1], dtype=d),
    "tensor of an array": lambda d: tg.tensor(np.ones(2), dtype=d),
    "as_tensor": lambda d: tg.as_tensor([1], dtype=d),
    "asarray": lambda d: tg.asarray(np.ones(2), dtype=d),
    "full": lambda d: tg.full((2,), 1, dtype=d),
    "full_like": lambda d: tg.full_like(x, 1, dtype=d),
    "arange": lambda d: tg.arange(3, dtype=d),
    "linspace": lambda d: tg.linspace(0, 1, 3, dtype=d),
    "logspace": lambda d: tg.logspace(0, 1, 3, dtype=d),
    "eye": lambda d: tg.eye(3, dtype=d),
    "to": lambda d: x.to(dtype=d),
    "new_zeros": lambda d: x.new_zeros(2, dtype=d),
    "new_tensor": lambda d: x.new_tensor([1], dtype=d),
    "new_full": lambda d: x.new_full((2,), 1, dtype=d),
    "sum": lambda d: x.sum(dtype=d),
    "mean": lambda d: x.mean(dtype=d),
    "prod": lambda d: x.prod(dtype=d),
    "nansum": lambda d: x.nansum(dtype=d),
    "cumsum": lambda d: x.cumsum(0, dtype=d),
    "cumprod": lambda d: x.cumprod(0, dtype=d),
    "norm": lambda d: x.norm(dtype=d),
    "softmax": lambda d: x.softmax(0, dtype=d),
    "log_softmax": lambda d: F.log_softmax(x, 0, dtype=d),
    "softmin": lambda d: F.softmin(x, 0, dtype=d),
    "rand": lambda d: tg.rand(2, dtype=d),
    "randn_like": lambda d: tg.randn_like(x, dtype=d),
    "randint": lambda d: tg.randint(3, (2,), dtype=d),
    "randint_like": lambda d: tg.randint_like(x, 3, dtype=d),
    "randperm": lambda d: tg.randperm(3, dtype=d),
    "normal": lambda d: tg.normal(0.0, 1.0, (2,), dtype=d),
    "tril_indices": lambda d: tg.tril_indices(2, 2, dtype=d),
    "triu_indices": lambda d: tg.triu_indices(2, 2, dtype=d),
    "Linear": lambda d: nn.Linear(1, 1, dtype=d),
    "LSTM": lambda d: nn.LSTM(1, 1, dtype=d),
    "GRUCell": lambda d: nn.GRUCell(1, 1, dtype=d),
    "Embedding": lambda d: nn.Embedding(1, 1, dtype=d),
    "LayerNorm": lambda d: nn.LayerNorm(1, dtype=d),
    "Module.to": lambda d: nn.Linear(1, 1).to(dtype=d),
    "set_default_dtype": tg.set_default_dtype,
    "promote_types": lambda d: tg.promote_types(tg.int8, d),
    "can_cast": lambda d: tg.can_cast(d, tg.int8),
}


@pytest.fixture(autouse=True)
def loud() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@together
@pytest.mark.parametrize("wrong", WRONG, ids=str)
@pytest.mark.parametrize("name", TAKE_A_DTYPE)
def test_what_is_no_type_of_numbers_is_no_dtype(name: str, wrong: Any) -> None:
    said = "argument '(dtype|from_|type2)'( .position ..)? must be torch.dtype, not |invalid combination of"
    with pytest.raises(errors.ArgumentTypeError, match=said):
        TAKE_A_DTYPE[name](wrong)


@together
@pytest.mark.parametrize("name", TAKE_A_DTYPE)
def test_what_is_one_is_taken(name: str) -> None:
    """So the test above fails on the dtype, not on the call; by each of the names that a dtype has."""
    if name != "set_default_dtype":
        for right in (tg.float64, np.float64, np.dtype("float64"), "float64", float):
            if name in ("randint", "randperm", "randint_like", "tril_indices", "triu_indices"):
                right = "int64"
            TAKE_A_DTYPE[name](right)


def test_a_refused_dtype_names_the_function() -> None:
    said = r"zeros\(\): argument 'dtype' must be torch.dtype, not type: got object. Use float32"
    with pytest.raises(TypeError, match=said):
        tg.zeros(2, dtype=object)
    with pytest.raises(TypeError, match=r"to\(\): argument 'dtype' must be torch.dtype, not type: got Tensor"):
        tg.ones(2).to(tg.Tensor)


@pytest.mark.parametrize(
    ("python", "expected"), [(float, tg.float64), (int, tg.int64), (bool, tg.bool), (complex, tg.complex128)]
)
def test_pythons_types_are_dtypes(python: type, expected: Any) -> None:
    assert tg.tensor(1, dtype=python).dtype is tg.zeros(2).to(python).dtype is expected


ODD = ["O", "S3", "U3", "g", "G", "M8[s]", "m8[s]", "V4", [("a", "f4")]]
BORDERS: dict[str, Callable[[Any], Any]] = {
    "from_numpy": tg.from_numpy,
    "tensor": tg.tensor,
    "as_tensor": tg.as_tensor,
    "asarray": tg.asarray,
    "Tensor": tg.Tensor,
    "FloatTensor": tg.FloatTensor,
    "Parameter": nn.Parameter,
    "new_tensor": lambda a: x.new_tensor(a),
    "from_dlpack": tg.from_dlpack,
    "backward": lambda a: (x.clone().requires_grad_() * 1)[0].backward(a),
}
MIXTURES: dict[str, Callable[[Any], Any]] = {
    "a list": lambda a: tg.tensor([a, a]),
    "+": lambda a: x + a,
    "np.add": lambda a: np.add(x, a),
    "where": lambda a: tg.where(x > 0, x, a),
    "cat": lambda a: tg.cat([x[0], a]),
    "maximum": lambda a: tg.maximum(x, a),
    "copy_": lambda a: x.clone().copy_(a),
}


@together
@pytest.mark.parametrize("odd", ODD, ids=str)
@pytest.mark.parametrize("name", BORDERS | MIXTURES)
def test_an_array_of_anything_but_numbers_stays_outside(name: str, odd: Any) -> None:
    with pytest.raises(errors.ArgumentTypeError, match="can't (convert|assign a) n(p|umpy).nd|invalid data type '"):
        (BORDERS | MIXTURES)[name](np.ones(2, odd))


@pytest.mark.parametrize("name", BORDERS)
def test_another_byte_order_is_refused_where_memory_is_taken(name: str) -> None:
    with pytest.raises(errors.ArgumentError, match="byte order different from the native byte order"):
        BORDERS[name](np.ones(2, ">f4"))


@pytest.mark.parametrize("name", MIXTURES)
def test_and_converted_where_it_is_a_value(name: str) -> None:
    found = MIXTURES[name](np.ones(2, ">f4"))
    assert found is None or (found._data.dtype.isnative and found.dtype is tg.float32)


@pytest.mark.parametrize("name", ["uint16", "uint32", "uint64"])
def test_unsigned_numbers_come_in_as_they_are(name: str) -> None:
    a = np.array([1, 2**16 - 1], name)
    made = [tg.from_numpy(a), tg.tensor(a), tg.as_tensor(a), tg.tensor([a])[0], tg.zeros(2, dtype=name) + tg.tensor(a)]
    assert all(t.dtype is getattr(tg, name) and t.tolist() == [1, 2**16 - 1] for t in made)


def test_a_state_dict_holds_numbers() -> None:
    layer = nn.Linear(2, 1)
    with pytest.raises(RuntimeError, match='parameter named "weight", expected numbers, but the array holds object'):
        layer.load_state_dict({"weight": np.ones((1, 2), object), "bias": np.zeros(1)})
    layer.load_state_dict({"weight": np.ones((1, 2), ">f8"), "bias": np.zeros(1)})
    assert layer.weight.tolist() == [[1, 1]] and layer.weight._data.dtype == np.float32


@pytest.mark.parametrize("scalar", [np.str_("a"), np.datetime64("2020", "ns"), np.bytes_(b"a")], ids=repr)
def test_a_scalar_of_numpy_that_is_no_number_is_no_operand(scalar: Any) -> None:
    with pytest.raises(TypeError):
        _ = x * scalar
    with pytest.raises(TypeError):
        tg.maximum(x, scalar)
    assert (x * np.longdouble(2)).dtype is (x * np.float64(2)).dtype is tg.float32


# type() ------------------------------------------------------------------------------------------------------------


def test_type_takes_a_tensor_type() -> None:
    n = tg.tensor([1, 2])
    assert tg.from_numpy(np.arange(3.0)).type(tg.Tensor).dtype is n.type(tg.Tensor).dtype is tg.float32
    assert n.type("torch.DoubleTensor").dtype is n.type(tg.DoubleTensor).dtype is n.type(tg.float64).dtype is tg.float64
    assert n.type("torch.Tensor").dtype is tg.float32 and n.type("torch.ComplexFloatTensor").dtype is tg.complex64
    assert n.type("torch.UInt16Tensor").dtype is tg.uint16 and n.type(tg.int64) is n
    assert tg.ones(1).type() == "torch.FloatTensor" and tg.ones(1, dtype=tg.uint16).type() == "torch.UInt16Tensor"
    tg.set_default_dtype(tg.float64)
    try:
        assert n.type(tg.Tensor).dtype is tg.float64
    finally:
        tg.set_default_dtype(tg.float32)


def test_a_module_takes_it_too() -> None:
    assert nn.Linear(2, 2).double().type(tg.Tensor).weight.dtype is tg.float32
    assert nn.Linear(2, 2).type("torch.HalfTensor").weight.dtype is nn.Linear(2, 2).type(tg.float16).bias.dtype
    layer = nn.Linear(1, 1)
    with pytest.raises(RuntimeError, match="data set to a tensor that requires gradients must be floating point"):
        layer.type(tg.int32)
    with pytest.raises(TypeError, match=r"to\(\): argument 'dtype' must be torch.dtype, not type: got Tensor"):
        layer.to(tg.Tensor)
    with pytest.raises(TypeError, match="only accepts floating point or complex dtypes, but got desired dtype=torch"):
        layer.to(tg.int32)


@pytest.mark.parametrize("wrong", [str, object, list, float, "FloatTensor", "torch.FlatTensor", "torch.x.FloatTensor"])
def test_type_refuses_other_classes_and_names(wrong: Any) -> None:
    for thing in (tg.ones(2), nn.Linear(1, 1)):
        with pytest.raises(ValueError, match="invalid type: '"):
            thing.type(wrong)


def test_type_refuses_other_values() -> None:
    with pytest.raises(TypeError, match="dtype must be a type, str, or dtype object"):
        tg.ones(2).type(3)


def test_what_numpy_makes_of_other_types_stays_with_numpy() -> None:
    assert type(np.cumsum(x, dtype=np.longdouble)) is type(np.add(x, x, dtype=object)) is np.ndarray
    with pytest.raises(TypeError):
        np.cumsum(x.clone().requires_grad_(), dtype=np.longdouble)


TOO_LARGE = {
    "t.tensor([1.0, 1e40])": [1, math.inf], "t.tensor(-1e40)": -math.inf, "t.as_tensor([1e300])": [math.inf],
    "t.tensor(np.array([1e300]), dtype=t.float32)": [math.inf],
    "t.tensor([1e5], dtype=t.float16)": [math.inf],
    "t.Tensor([1e300])": [math.inf], "t.HalfTensor([1e5])": [math.inf], "x.new_tensor([1e300])": [math.inf],
    "t.tensor([2**63 - 1], dtype=t.float16)": [math.inf], "t.arange(0, 1e40, 5e39)": [0, math.inf],
    "x < t.tensor(1e300, dtype=t.float64)": [True, True], "x == np.float64(1e300)": [False, False],
    "x * np.float64(1e300)": [math.inf, math.inf], "1e300 ** x": [math.inf, math.inf],
    "70000 ** x.half()": [math.inf, math.inf], "t.where(x > 1, x.half(), 1e5)": [math.inf, 2],
    "x.copy_(t.tensor([1e300, 1.0], dtype=t.float64))": [math.inf, 1],
}  # fmt: skip


@pytest.mark.parametrize("expression", TOO_LARGE)
def test_numbers_that_are_too_large_become_infinite_without_a_warning(expression: str) -> None:
    found = eval(expression, {"t": tg, "np": np, "x": tg.tensor([1.0, 2.0])})
    assert found.tolist() == TOO_LARGE[expression]


def test_weights_and_draws_that_are_too_large_become_infinite_without_a_warning() -> None:
    layer = tg.nn.Linear(1, 1).half()
    layer.load_state_dict({"weight": tg.full((1, 1), 1e20), "bias": tg.zeros(1)})
    assert layer.weight.item() == math.inf
    assert tg.empty(1000).normal_(0, 1e39).isinf().any() and tg.empty(1000).exponential_(1e-39).isinf().any()
    huge = tg.tensor([0.0, 3e38, 3e38])
    assert set(tg.multinomial(huge, 2).tolist()) == {1, 2} and tg.multinomial(huge, 50, replacement=True).min() >= 1


@pytest.mark.parametrize(
    "expression",
    [
        *("t.full((2,), 1e40)", "t.where(x > 1, x, 1e40)", "t.where(x > 1, 1e40, x)", "t.linspace(0, 1e39, 5)"),
        *("t.linspace(0, 1e30, 5, dtype=t.int64)", "t.linspace(-1e5, 0, 5, dtype=t.float16)"),
    ],
)
def test_a_single_number_that_is_too_large_is_refused_where_pytorch_refuses_it(expression: str) -> None:
    with pytest.raises(RuntimeError, match="value cannot be converted to type .* without overflow"):
        eval(expression, {"t": tg, "x": tg.tensor([1.0, 2.0])})


def test_complex_numbers_are_no_entries_of_other_types() -> None:
    with pytest.raises(TypeError, match="^must be real number, not complex"):
        tg.tensor([1 + 1j], dtype=tg.float32)
    with pytest.raises(TypeError, match="^'complex' object cannot be interpreted as an integer"):
        tg.tensor(1j, dtype=tg.int64)
    assert tg.tensor([0j, 1j], dtype=tg.bool).tolist() == [False, True]


@pytest.mark.parametrize("place", [tg.float32, tg.ones(1), "float32"], ids=["dtype", "tensor", "name"])
def test_to_takes_non_blocking_and_copy_by_position(place: Any) -> None:
    """As PyTorch's: the third argument is ``copy``."""
    y = tg.ones(2)
    assert y.to(place) is y and y.to(place, True) is y and y.to(place, True, False) is y
    copied = y.to(place, False, True)
    assert copied is not y and copied.data_ptr() != y.data_ptr() and copied.tolist() == [1.0, 1.0]
    assert y.to("cpu", tg.float32, False, True) is not y and y.to("cpu", tg.float32, False) is y
