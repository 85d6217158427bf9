"""Initialisation: the numbers that PyTorch gives for the same seed, stored and live; and the laws behind them."""

from __future__ import annotations

import pathlib
import warnings

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.golden import init_cases as cases
from tests.golden import packed
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError

GOLDEN = packed.read(pathlib.Path(__file__).parents[1] / "golden" / "inits.npz")


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    for name, value in ours.items():
        expected = theirs[name]
        assert (value.dtype, value.shape) == (expected.dtype, expected.shape), name
        if "~" in name:  # QR: the two LAPACKs round differently; entries of size 1, tens of operations each
            np.testing.assert_allclose(value, expected, rtol=0, atol=50 * np.finfo(value.dtype).eps, err_msg=name)
        else:
            assert (value == expected).all(), name


def test_every_fill_gives_the_stored_numbers_of_pytorch_bit_for_bit() -> None:
    assert_same(cases.initialised(tg), GOLDEN)


def test_layers_draw_the_stored_numbers_of_pytorch_in_order_of_registration() -> None:
    assert_same(cases.layers(tg), GOLDEN)


def test_fills_and_layers_equal_pytorch_live() -> None:
    torch = pytest.importorskip("torch")
    assert_same(cases.initialised(tg), cases.initialised(torch))
    assert_same(cases.layers(tg), cases.layers(torch))


def test_a_view_is_filled_in_the_order_of_its_memory() -> None:
    w = tg.zeros(4, 3)
    tg.manual_seed(1)
    nn.init.uniform_(w.T)
    tg.manual_seed(1)
    assert (nn.init.uniform_(tg.zeros(4, 3))._data == w._data).all()


def test_filling_returns_the_tensor_and_counts_as_a_write() -> None:
    w = nn.Parameter(tg.zeros(3, 3))
    for fill in (nn.init.normal_, nn.init.zeros_, nn.init.eye_, nn.init.orthogonal_, nn.init.xavier_uniform_):
        before = w._version
        assert fill(w) is w and w._version > before and w.requires_grad and w.is_leaf


def test_a_generator_of_ones_own_leaves_the_default_stream_alone() -> None:
    before = np.asarray(tg.get_rng_state())
    a = nn.init.normal_(tg.empty(20), generator=tg.Generator().manual_seed(3))
    b = nn.init.normal_(tg.empty(20), generator=tg.Generator().manual_seed(3))
    assert (a._data == b._data).all() and (np.asarray(tg.get_rng_state()) == before).all()


def test_orthogonal_rows_or_columns_are_orthonormal() -> None:
    for shape in ((3, 7), (7, 3), (4, 2, 3)):
        w = nn.init.orthogonal_(tg.empty(*shape, dtype="float64"), gain=2.0).reshape(shape[0], -1).numpy()
        small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-14)
    assert nn.init.orthogonal_(tg.empty(0, 3)).shape == (0, 3)


def test_truncated_normal_has_the_truncated_distribution() -> None:
    """Against the distribution function, within the 99.9 % band of Kolmogorov's test: 1.95 / sqrt n."""
    from statistics import NormalDist

    tg.manual_seed(0)
    n = 20_000
    for low, high in ((-1.0, 2.0), (1.5, 3.0)):
        x = np.sort(nn.init.trunc_normal_(tg.empty(n, dtype="float64"), 0.0, 1.0, low, high).numpy())
        below = [NormalDist().cdf(v) for v in (low, high)]
        expected = (np.array([NormalDist().cdf(v) for v in x]) - below[0]) / (below[1] - below[0])
        assert np.abs(expected - np.arange(n) / n).max() < 1.95 / np.sqrt(n)


def test_mistakes_are_refused_in_pytorchs_words() -> None:
    for call, words in (
        (lambda: nn.init.eye_(tg.zeros(3)), "Only tensors with 2 dimensions are supported"),
        (lambda: nn.init.sparse_(tg.zeros(3), 0.1), "Only tensors with 2 dimensions are supported"),
        (lambda: nn.init.orthogonal_(tg.zeros(3)), "Only tensors with 2 or more dimensions are supported"),
        (lambda: nn.init.dirac_(tg.zeros(3)), "Only tensors with 3, 4, or 5 dimensions are supported"),
        (lambda: nn.init.dirac_(tg.zeros(3, 1, 1), 2), "dim 0 must be divisible by groups"),
        (lambda: nn.init.xavier_normal_(tg.zeros(3)), "Fan in and fan out can not be computed for tensor with fewer"),
        (lambda: nn.init.kaiming_normal_(tg.zeros(3, 3), mode="fan"), "Mode fan not supported, please use one of"),
        (lambda: nn.init.calculate_gain("cosh"), "Unsupported nonlinearity cosh"),
        (lambda: nn.init.calculate_gain("conv9d"), "Unsupported nonlinearity conv9d"),
        (lambda: nn.init.calculate_gain("leaky_relu", True), "negative_slope True not a valid number"),
    ):
        with pytest.raises(ArgumentError, match=words):
            call()


def test_old_names_warn_and_work_and_empty_tensors_are_left_alone() -> None:
    for name in ("uniform", "normal", "xavier_uniform", "kaiming_normal", "orthogonal", "eye"):
        with pytest.warns(FutureWarning, match=f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`"):
            assert getattr(nn.init, name)(tg.zeros(2, 2))._data.any()
    with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
        nn.init.kaiming_uniform_(tg.zeros(0, 3))
    with pytest.warns(UserWarning, match="mean is more than 2 std from"), warnings.catch_warnings():
        nn.init.trunc_normal_(tg.zeros(2), 9.0)
