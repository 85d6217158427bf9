"""Single functions beside PyTorch's: values, derivatives of two orders, dtypes, refusals."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.profiles import examples
from tests.support.rows import together

torch: Any = pytest.importorskip("torch")

Draw = Callable[[np.random.Generator], list[np.ndarray]]


def real(*shapes: Any) -> Draw:
    return lambda rng: [rng.normal(size=shape) for shape in shapes]


def sized(axes: int, least: int = 1, count: int = 1) -> Draw:
    """So many arrays of one shape, of ``axes`` axes."""

    def draw(rng: np.random.Generator) -> list[np.ndarray]:
        shape = tuple(rng.integers(least, 5, axes))
        return [rng.normal(size=shape) for _ in range(count)]

    return draw


def tied(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.integers(-1, 2, tuple(rng.integers(1, 6, 2))).astype(float)]


TABLE: dict[str, Draw] = {
    "t.atleast_1d(x)": sized(0), "t.atleast_2d(x)": sized(1), "t.atleast_3d(x)": sized(2),
    "t.atleast_3d(x, x[0])[1]": sized(2),
    "t.block_diag(x, y[0], y[0, 0])": sized(2, count=2),
    "t.kron(x, y)": real((2, 3), (3, 1, 2)), "t.kron(x, x)": sized(1),
    "t.cross(x, y, dim=-1)": real((2, 3), (1, 3)), "t.cross(x, y)": real((3, 2), (3, 2)),
    "t.diagflat(x, 1)": sized(2),
    "t.hsplit(x, 2)[1]": real((3, 4)), "t.vsplit(x, [1])[1]": real((3, 4)), "t.dsplit(x, 2)[0]": real((2, 3, 4)),
    "x.hsplit([1, 2])[1]": real((4,)),
    "t.copysign(x, y)": sized(2, count=2), "x.copysign(-2.0)": sized(1),
    "t.fmax(x, y)": sized(2, count=2), "x.fmin(y)": sized(2, count=2), "t.fmax(x, x * 1.0)": sized(1),
    "t.float_power(x.abs(), y)": sized(1, count=2), "x.float_power(2)": sized(1),
    "t.logaddexp2(x, y)": sized(2, count=2),
    "t.deg2rad(x)": sized(2), "x.rad2deg()": sized(1),
    "t.nanmean(t.where(x > 0, x, t.nan))": real((4, 5)), "x.nanmean(1, keepdim=True)": sized(2),
    "t.quantile(x, 0.3)": sized(2), "t.quantile(x, 0.7, dim=0)": sized(2),
    "x.quantile(t.tensor([0.1, 0.5]).double(), 1)": sized(2),
    "t.quantile(x, t.tensor([0.25, 1.0]).double(), dim=1, keepdim=True)": sized(3),
    "t.quantile(x, 0.6, keepdim=True)": sized(2),
    "t.quantile(x, 0.3, interpolation='lower')": sized(2), "t.quantile(x, 0.3, interpolation='higher')": sized(2),
    "t.quantile(x, 0.3, interpolation='nearest')": sized(2), "t.quantile(x, 0.3, interpolation='midpoint')": sized(2),
    "t.quantile(t.where(x > 1, t.nan, x), 0.3, dim=1)": real((4, 5)),
    "t.nanquantile(t.where(x > 0, t.nan, x), 0.3, dim=1)": real((4, 3)),
    "t.mode(x, 0)[0]": tied, "x.mode(keepdim=True).values": tied,
    "t.cdist(x, y)": real((2, 4, 3), (5, 3)), "t.cdist(x, y, p=1.0)": real((4, 3), (5, 3)),
    "t.cdist(x, y, 3.0)": real((4, 3), (2, 3)),
    "t.cov(x)": sized(2, 2), "x.cov(correction=0)": sized(2), "t.cov(x)  # of a vector": sized(1, 2),
    "t.cov(x, fweights=t.tensor([1, 2, 3]))": real((2, 3)),
    "t.cov(x, aweights=t.tensor([.1, 2., 3.]).double())": real((2, 3)),
    "t.cov(x, fweights=t.tensor([1, 2, 3]), aweights=t.tensor([.1, 2., 3.]).double())": real((2, 3)),
    "t.corrcoef(x)": real((3, 6)), "x.corrcoef()": real((5,)),
    "t.trapezoid(x)": sized(2, 2), "t.trapz(y, x, dim=0)": sized(2, 2, 2), "t.trapezoid(x, dx=0.5, dim=0)": sized(2, 2),
    "t.trapezoid(y, x[0], dim=1)": sized(2, 2, 2),
    "t.cosine_similarity(x, y, dim=1)": sized(2, 2, 2),
}  # fmt: skip


@pytest.mark.parametrize("expression", TABLE)
def test_values_and_derivatives_are_pytorchs(expression: str) -> None:
    rng = np.random.default_rng(0)
    for trial in range(examples(25, 200)):
        arrays = TABLE[expression](rng)
        ours, theirs = [derivatives(t, expression, arrays, trial) for t in (tg, torch)]
        for a, b in zip(ours, theirs, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def derivatives(t: Any, expression: str, arrays: list[np.ndarray], seed: int) -> list[Any]:
    leaves = [t.tensor(a, requires_grad=True) for a in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = eval(expression, {"t": t, **dict(zip("xyz", leaves, strict=False))})
    rng = np.random.default_rng(seed)
    found = [y]
    for _ in range(1 if "cdist" in expression else 2):  # of which PyTorch has no second derivative
        total = sum(
            (v * t.tensor(rng.normal(size=tuple(v.shape)))).sum() for v in found[-len(leaves) :] if v.requires_grad
        )
        if not isinstance(total, (tg.Tensor, torch.Tensor)):
            total = leaves[0].sum() * 0
        slopes = t.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
        found += [t.zeros_like(x) if g is None else g for g, x in zip(slopes, leaves, strict=True)]
        if len(found) == 1 + len(leaves):
            found = [y, *found[1:]]
    return [v.detach().numpy() for v in found]


EXPRESSIONS = """
t.bincount(t.tensor([1, 3, 1]))
t.bincount(t.tensor([1, 3, 1]), minlength=6)
t.bincount(t.tensor([1, 3, 1]), t.tensor([.5, 1., 2.]))
t.bincount(t.tensor([1, 3, 1]), t.tensor([1, 2, 3]))
t.tensor([], dtype=t.int64).bincount()
t.bincount(t.tensor([-1]))
t.bincount(t.ones(2))
t.bincount(t.ones(2, 2, dtype=t.int64))
t.bincount(t.tensor([1]), t.ones(2))
t.bincount(t.tensor([1]), minlength=-1)
t.histc(t.tensor([1., 2., 1.]), bins=4, min=0, max=3)
t.tensor([1., 2., 1., 5.]).histc(3)
t.histc(t.ones(3), 2)
t.histc(t.tensor([1., 2.]), bins=0)
t.histc(t.tensor([1., 2.]), min=3, max=1)
t.histc(t.tensor([1., t.inf]))
t.histc(t.tensor([1, 2]))
t.isin(t.tensor([[1, 2], [3, 4]]), t.tensor([2, 3]))
t.isin(t.tensor([1, 2]), 2, invert=True)
t.isin(1, t.tensor([1, 2]))
t.searchsorted(t.tensor([1, 3, 5]), t.tensor([0, 1, 2, 5, 6]))
t.searchsorted(t.tensor([1, 3, 5]), t.tensor([0, 1, 2, 5, 6]), right=True)
t.searchsorted(t.tensor([1, 3, 5]), t.tensor([1, 5]), side='right', out_int32=True)
t.searchsorted(t.tensor([1., 3.]), 2.)
t.searchsorted(t.tensor([[1., 3.], [0., 9.]]), t.tensor([[2., 3.], [2., 10.]]))
t.searchsorted(t.tensor([5, 1, 3]), t.tensor([2, 4]), sorter=t.tensor([1, 2, 0]))
t.searchsorted(t.tensor([1, 3]), t.tensor([1]), side='left', right=True)
t.searchsorted(t.tensor([1, 3]), t.tensor([1]), side='up')
t.searchsorted(t.ones(2, 2), t.ones(3, 2))
t.bucketize(t.tensor([[1, 4], [2, 9]]), t.tensor([1, 4, 7]))
t.bucketize(2.5, t.tensor([1., 4.]), right=True)
t.bucketize(t.ones(2), t.ones(2, 2))
t.unique_consecutive(t.tensor([1, 1, 2, 2, 1]))
t.unique_consecutive(t.tensor([[1, 1], [2, 1]]), return_inverse=True, return_counts=True)
t.tensor([[1, 1], [1, 1], [2, 1]]).unique_consecutive(dim=0, return_counts=True)
t.unique_consecutive(t.tensor([[1, 1, 2], [1, 1, 3]]), dim=1, return_inverse=True)
t.unique_consecutive(t.ones(0))
t.mode(t.tensor([[1, 2, 2], [3, 1, 3]]))
t.mode(t.tensor(3.))
t.mode(t.ones(0, 2), 0)
t.nextafter(t.tensor([1., 0.]), t.tensor([2., -1.]))
t.nextafter(t.tensor([1]), t.tensor([2]))
t.copysign(t.tensor([1, -2]), t.tensor([-1, 1]))
t.copysign(t.tensor([1., 2.]), t.tensor([-0., 0.]))
t.heaviside(t.tensor([-1., 0., 2.]), t.tensor([.5]))
t.heaviside(t.tensor([-1., 0., 2.]), t.tensor([1]))
t.fmax(t.tensor([1., t.nan, t.nan]), t.tensor([t.nan, 2., t.nan]))
t.fmin(t.tensor([1., t.nan]), t.tensor([0., 2.]))
t.float_power(t.tensor([1, 2]), 2)
t.float_power(2, t.tensor([1., 2.]))
t.deg2rad(t.tensor([180, 90]))
t.quantile(t.tensor([1., 2., 3.]), .5)
t.quantile(t.tensor([1, 2]), .5)
t.quantile(t.tensor([1.]), 1.5)
t.quantile(t.ones(0), .5)
t.quantile(t.ones(2), .5, interpolation='cubic')
t.quantile(t.ones(2), t.ones(1, 1))
t.quantile(t.ones(2), t.ones(1).double())
t.quantile(t.ones(2, dtype=t.float16), .5)
t.nanquantile(t.tensor([t.nan, t.nan]), .5)
t.nanquantile(t.tensor([[t.nan, 1., 3.], [2., 4., 6.]]), t.tensor([.5, 1.]), dim=1)
t.nanmean(t.tensor([1, 2]))
t.nanmean(t.tensor([t.nan]))
t.cov(t.tensor([[1, 2, 4], [4, 3, 0]]))
t.cov(t.ones(2, 2, 2))
t.cov(t.ones(2, 2), fweights=t.ones(2))
t.cov(t.ones(2, 2), aweights=t.tensor([-1., 1.]))
t.cov(t.tensor([True, False]))
t.corrcoef(t.tensor([[1., 2., 4.], [4., 3., 0.]]))
t.cdist(t.ones(2), t.ones(2, 2))
t.cdist(t.ones(2, 3), t.ones(2, 2))
t.cross(t.ones(2, 3), t.ones(2, 3), dim=0)
t.cross(t.ones(2, 2), t.ones(2, 2))
t.hsplit(t.ones(3), 2)
t.hsplit(t.tensor(1.), 1)
t.vsplit(t.ones(3), 3)
t.dsplit(t.ones(3, 3), 3)
t.atleast_1d(t.tensor(1)), t.atleast_2d([t.tensor(1), t.ones(2)])[1], t.atleast_3d(t.tensor(1))
t.block_diag(t.ones(1, 1, 1))
t.block_diag(t.tensor([1]), t.tensor([[2.]]))
t.range(1, 4)
t.range(0, 1, .25)
t.range(1, 4, dtype=t.int64)
t.range(1, 4, 0)
t.range(1, 4, -1)
t.scalar_tensor(3)
t.scalar_tensor(3, dtype=t.int64)
t.typename(t.ones(1)) == 'torch.FloatTensor', t.typename([]), t.typename(t.ones(1).long()) == 'torch.LongTensor'
t.trapezoid(t.tensor([1, 2, 3]))
t.trapezoid(t.tensor([1., 2., 3.]), t.tensor([0., 1., 4.]))
t.asarray([1., 2.]), t.asarray(3), t.asarray(t.ones(2), dtype=t.float64), t.asarray(t.ones(1), copy=True)
t.asarray([1.], copy=False)
t.asarray(t.ones(1), requires_grad=True).requires_grad, t.asarray(t.ones(1, requires_grad=True)).requires_grad
t.ones(2)[t.newaxis].shape
t.ones(2).is_cpu, t.ones(2).is_sparse, repr(t.ones(2).layout), repr(t.preserve_format)
t.ones(2).layout == t.strided, isinstance(t.strided, t.layout), isinstance(t.channels_last, t.memory_format)
t.zeros_like(t.ones(2), memory_format=t.preserve_format)
t.ones(2).clone(memory_format=t.contiguous_format)
""".strip().splitlines()


@together
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_results_and_refusals_are_pytorchs(expression: str) -> None:
    ours, theirs = [outcome(t, expression) for t in (tg, torch)]
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), f"{ours!r}, PyTorch: {theirs!r}"
        return
    assert not isinstance(ours, Exception), f"{ours!r}, PyTorch: {theirs!r}"
    for a, b in zip(*[x if isinstance(x, tuple) else (x,) for x in (ours, theirs)], strict=True):
        if isinstance(b, torch.Tensor):
            assert str(a.dtype) == str(b.dtype) and tuple(a.shape) == tuple(b.shape), (a, b)
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-6, atol=1e-7)
        else:
            assert a == b


def outcome(t: Any, expression: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return eval(expression, {"t": t})
        except Exception as error:
            return error


def test_a_quantile_between_infinite_entries_is_infinite() -> None:
    """PyTorch's is nan."""
    assert tg.quantile(tg.tensor([1.0, tg.inf, tg.inf]), 0.5).item() == np.inf


def test_places_in_sorted_values_are_numpys() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows, x = np.sort(rng.integers(0, 9, (3, 7)), -1), rng.integers(-1, 10, (3, 5))
        for right in (False, True):
            found = tg.searchsorted(tg.tensor(rows), tg.tensor(x), right=right)
            expected = [np.searchsorted(r, v, "right" if right else "left") for r, v in zip(rows, x, strict=True)]
            assert found.tolist() == np.array(expected).tolist()
