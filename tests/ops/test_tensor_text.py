"""A tensor prints as PyTorch prints it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_rnn as tg
from tinygrad_rnn.ops.tensor_text import set_printoptions

FLOATS = [np.float16, np.float32, np.float64]
OTHERS = [np.int64, np.int32, np.uint8, np.bool_, np.complex64, np.complex128]
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=13)


def entries(dtype: type) -> st.SearchStrategy[object] | None:
    if np.dtype(dtype).kind != "f":
        return None
    width = np.dtype(dtype).itemsize * 8
    steps = st.integers(-40, 40).map(lambda k: float(np.dtype(dtype).type(k / 4)))
    scaled = st.floats(-1000, 1000, width=width)
    return st.one_of(steps, scaled, st.floats(width=width), st.integers(-30, 30).map(float))


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = draw(st.sampled_from(FLOATS + OTHERS))
    return draw(hnp.arrays(dtype, shapes, elements=entries(dtype)))


@settings(max_examples=300, deadline=None)
@given(arrays())
def test_every_tensor_prints_as_in_pytorch(x: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    assert repr(tg.tensor(x)) == repr(torch.tensor(x))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, 5, 6, 7, 8, 40, 1200]), min_size=1, max_size=3),
    st.sampled_from([1, 1e-5, 1e5]),
    st.integers(0, 3),
)
def test_long_tensors_are_summarised_as_in_pytorch(shape: list[int], scale: float, decimals: int) -> None:
    torch = pytest.importorskip("torch")
    shape = shape if np.prod(shape) < 1e6 else shape[:1]
    x = (np.random.default_rng(0).standard_normal(shape) * scale).round(decimals)
    assert repr(tg.tensor(x)) == repr(torch.tensor(x))


@pytest.mark.parametrize(
    "options",
    [{"precision": 2}, {"edgeitems": 1, "threshold": 5}, {"linewidth": 30}, {"sci_mode": True}, {"sci_mode": False}]
    + [{"profile": "short"}, {"profile": "full"}, {"edgeitems": 0, "threshold": 5}],
)
def test_print_options_act_as_in_pytorch(options: dict[str, object]) -> None:
    torch = pytest.importorskip("torch")
    x = np.linspace(-30, 4000, 72).reshape(2, 4, 9)
    try:
        set_printoptions(**options)
        torch.set_printoptions(**options)
        for y in (x, x.round(), x[0, 0] * 0, x[:, :1] * np.inf, x[:0]):
            assert repr(tg.tensor(y)) == repr(torch.tensor(y))
    finally:
        set_printoptions(profile="default")
        torch.set_printoptions(profile="default")


def test_the_largest_numbers_print_without_a_warning() -> None:
    torch = pytest.importorskip("torch")
    x = np.array([1.7e305, 1.7e308])
    assert repr(tg.tensor(x)) == repr(torch.tensor(x))


def test_history_and_dtype_are_told_after_the_entries() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    assert repr(w) == "tensor([1., 2.], requires_grad=True)"
    assert repr(tg.tanh(w * 0.5)) == "tensor([0.4621, 0.7616], grad_fn=<TanhBackward0>)"
    assert repr(tg.tensor([1.0], dtype="float64")) == "tensor([1.], dtype=torch.float64)"
    assert str(tg.zeros(0, 3)) == "tensor([], size=(0, 3))"


def test_suffixes_go_to_a_new_line_at_the_right_margin() -> None:
    torch = pytest.importorskip("torch")
    for n in range(1, 30):
        x = np.arange(n) / 2
        ours, theirs = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize(
    "values",
    [[1.5, 1500.0], [1.5, 1501.0], [1e8, 1.5e8], [1e8 + 0.5], [1e-4, 1.5e-4], [0.99e-4], [1e8], [2e8, 3e8]]
    + [[1.0, 1000.0], [1.0, 1001.0], [3.0, np.inf], [0.5, np.nan], [np.nan, np.nan], [-0.0, 2.0]],
)
def test_the_bounds_between_formats_are_pytorchs(values: list[float]) -> None:
    torch = pytest.importorskip("torch")
    x = np.array(values)
    assert repr(tg.tensor(x)) == repr(torch.tensor(x))
    z = x.astype(complex)
    z.imag = x[::-1]
    assert repr(tg.tensor(z)) == repr(torch.tensor(z))


@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.tensor([0.5], dtype=lib.float64).requires_grad_(),
        lambda lib: (lib.arange(11) / 2).requires_grad_(),
        lambda lib: lib.tensor([0.5 + 1j, -3 - 10j, 0.25j] * 4),
        lambda lib: lib.tensor([[True, False] * 5] * 2),
    ],
)
def test_lines_break_at_the_very_column_where_pytorchs_do(make: Any) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = make(tg), make(torch)
    try:
        for width in range(10, 100):
            set_printoptions(linewidth=width)
            torch.set_printoptions(linewidth=width)
            assert repr(ours) == repr(theirs)
    finally:
        set_printoptions(profile="default")
        torch.set_printoptions(profile="default")


@pytest.mark.parametrize("edge", [0, 1, 2, 3])
def test_tensors_are_summarised_from_the_very_entry_on_where_pytorchs_are(edge: int) -> None:
    torch = pytest.importorskip("torch")
    try:
        for threshold in (5, 6, 11, 12):
            set_printoptions(threshold=threshold, edgeitems=edge)
            torch.set_printoptions(threshold=threshold, edgeitems=edge)
            for shape in ((6,), (2, 3), (2, 6), (5, 1), (3, 2, 2), (1, 12), (7,), (0,)):
                x = np.arange(np.prod(shape)).reshape(shape) / 2
                assert repr(tg.tensor(x)) == repr(torch.tensor(x))
    finally:
        set_printoptions(profile="default")
        torch.set_printoptions(profile="default")


def test_a_0d_tensor_formats_as_its_number() -> None:
    assert f"{tg.tensor(3.14159):.2f} {tg.tensor(7):03d} {tg.tensor(2.5)}" == "3.14 007 2.5"
    assert f"{tg.tensor([1.0])}" == "tensor([1.])"


def test_a_format_for_a_tensor_with_axes_is_refused() -> None:
    with pytest.raises(TypeError, match=r"unsupported format string passed to Tensor.__format__"):
        f"{tg.tensor([1.0, 2.0]):.2f}"


def test_a_tensor_on_a_device_says_so(double: Any) -> None:
    x = tg.as_tensor(double.asarray([1.0, 2.5]))
    assert repr(x) == "tensor([1.0000, 2.5000], device='cuda:0', dtype=torch.float64)"
