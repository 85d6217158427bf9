"""Shapes, axes and indices drawn at random: value and gradient are PyTorch's."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.support.profiles import examples

torch: Any = pytest.importorskip("torch")

sides = st.integers(0, 4)
shapes = st.lists(sides, max_size=4).map(tuple)
filled = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 2**32 - 1)


def agree(f: Callable[..., Any], *arrays: np.ndarray) -> None:
    """``f(library, *tensors)`` has one value and one gradient in both libraries."""
    found = []
    for t in (tg, torch):
        inputs = [t.tensor(a, requires_grad=True) for a in arrays]
        y = f(t, *inputs)
        c = t.tensor(np.random.default_rng(1).uniform(0.5, 1.5, tuple(y.shape)))
        grads = t.autograd.grad((y * c).sum(), inputs)
        found.append([a.detach().numpy() for a in (y, *grads)])
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, 1e-12, 1e-12)  # the same sums in another order, of terms of order 1


def array(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


@settings(max_examples=examples(150))
@given(shapes, st.data(), seeds)
def test_reductions(shape: tuple[int, ...], data: st.DataObject, seed: int) -> None:
    name = data.draw(st.sampled_from(["sum", "mean", "amax", "amin", "var", "std", "logsumexp"]))
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True)) if shape else []
    signed = tuple(k - len(shape) if data.draw(st.booleans()) else k for k in axes)
    reduced = np.prod([shape[k] for k in axes] if axes else shape, dtype=int)
    undefined = {"amax": reduced == 0, "amin": reduced == 0, "logsumexp": not axes}
    few = reduced < 2 or 0 in shape or not axes  # PyTorch warns; over () its gradient is inf
    undefined |= dict.fromkeys(("var", "std"), few)
    if undefined.get(name):
        return
    keepdim = data.draw(st.booleans())
    agree(lambda t, x: getattr(t, name)(x, signed, keepdim=keepdim), array(shape, seed))


@st.composite
def broadcasting(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    full = draw(shapes)
    return tuple(
        tuple(1 if draw(st.booleans()) else n for n in full[draw(st.integers(0, len(full))) :]) for _ in range(2)
    )


@settings(max_examples=examples(150))
@given(broadcasting(), st.sampled_from(["+", "-", "*", "/", "**", "maximum", "where"]), seeds)
def test_broadcasting(two: tuple[tuple[int, ...], tuple[int, ...]], op: str, seed: int) -> None:
    x, y = array(two[0], seed), array(two[1], seed + 1)
    if op in ("/", "**"):
        x, y = np.abs(x) + 0.5, np.abs(y) + 0.5
    f: Callable[..., Any] = {
        "maximum": lambda t, a, b: t.maximum(a, b),
        "where": lambda t, a, b: t.where(a.detach() > 0, a, b),
    }.get(op, lambda t, a, b: eval(f"a {op} b"))
    agree(f, x, y)


@st.composite
def index_items(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """An index that means the same in NumPy and PyTorch: no number beside index arrays, and those side by side."""
    items: list[Any] = []
    arrays = draw(st.integers(0, len(shape)))
    start = draw(st.integers(0, len(shape) - arrays))
    common = draw(st.lists(st.integers(1, 3), max_size=2).map(tuple))
    for axis, n in enumerate(shape):
        if start <= axis < start + arrays:
            items.append(("array", draw(seeds), common, n))
        elif arrays or draw(st.booleans()):
            low, high = sorted([draw(st.integers(0, n)), draw(st.integers(0, n))])
            items.append(slice(low, high, draw(st.sampled_from([None, 1, 2]))))
        else:
            items.append(draw(st.integers(-n, n - 1)))
    if not arrays and draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), None)
    return tuple(items)


def spelled(t: Any, items: tuple[Any, ...]) -> tuple[Any, ...]:
    found: list[Any] = []
    for item in items:
        if isinstance(item, tuple):
            _, seed, common, n = item
            item = t.tensor(np.random.default_rng(seed).integers(-n, n, common))
        found.append(item)
    return tuple(found)


@settings(max_examples=examples(200))
@given(filled, st.data(), seeds)
def test_indexing(shape: tuple[int, ...], data: st.DataObject, seed: int) -> None:
    items = data.draw(index_items(shape))
    agree(lambda t, x: x[spelled(t, items)], array(shape, seed))


@settings(max_examples=examples(60))
@given(filled, st.data(), seeds)
def test_masks(shape: tuple[int, ...], data: st.DataObject, seed: int) -> None:
    start = data.draw(st.integers(0, len(shape) - 1))
    stop = data.draw(st.integers(start + 1, len(shape)))
    mask = np.random.default_rng(seed).integers(0, 2, shape[start:stop]).astype(bool)
    agree(lambda t, x: x[(slice(None),) * start + (t.tensor(mask),)], array(shape, seed))


@settings(max_examples=examples(150))
@given(filled, st.data(), seeds)
def test_picking_and_adding_along_an_axis(shape: tuple[int, ...], data: st.DataObject, seed: int) -> None:
    dim = data.draw(st.integers(0, len(shape) - 1))
    length = data.draw(st.integers(0, 5))
    size = tuple(data.draw(st.integers(0, n)) if k != dim else length for k, n in enumerate(shape))
    places = np.random.default_rng(seed).integers(0, shape[dim], size)
    agree(lambda t, x: t.gather(x, dim, t.tensor(places)), array(shape, seed))
    agree(lambda t, x, y: x.scatter_add(dim, t.tensor(places), y), array(shape, seed), array(size, seed + 1))
    rows = np.random.default_rng(seed).integers(0, shape[dim], length)
    source = (*shape[:dim], length, *shape[dim + 1 :])
    agree(lambda t, x, y: x.index_add(dim, t.tensor(rows), y), array(shape, seed), array(source, seed + 1))
    agree(lambda t, x: x.index_select(dim, t.tensor(rows)), array(shape, seed))
    distinct = np.random.default_rng(seed).permutation(shape[dim])[: min(length, shape[dim])]
    source = (*shape[:dim], len(distinct), *shape[dim + 1 :])
    agree(lambda t, x, y: x.index_copy(dim, t.tensor(distinct), y), array(shape, seed), array(source, seed + 1))


@settings(max_examples=examples(150))
@given(filled, st.data(), seeds)
def test_moving_repeating_and_cutting(shape: tuple[int, ...], data: st.DataObject, seed: int) -> None:
    ndim = len(shape)
    dim = data.draw(st.integers(0, ndim - 1))
    order = data.draw(st.permutations(range(ndim)))
    counts = data.draw(st.lists(st.integers(1, 3), min_size=ndim, max_size=ndim + 1))
    shifts = data.draw(st.lists(st.integers(-5, 5), min_size=ndim, max_size=ndim))
    size = data.draw(st.integers(1, shape[dim]))
    step = data.draw(st.integers(1, 3))
    offset = data.draw(st.integers(-2, 2))
    x = array(shape, seed)
    agree(lambda t, a: a.permute(order), x)
    agree(lambda t, a: a.movedim(dim, order[0]), x)
    agree(lambda t, a: a.repeat(*counts), x)
    agree(lambda t, a: a.tile(counts[:2]), x)
    agree(lambda t, a: a.roll(shifts, tuple(range(ndim))), x)
    agree(lambda t, a: a.flip(order[: ndim // 2 + 1]), x)
    agree(lambda t, a: a.unfold(dim, size, step), x)
    agree(lambda t, a: t.cat([piece * (k + 1) for k, piece in enumerate(a.split(size, dim))], dim), x)
    agree(lambda t, a: t.cat([piece * (k + 1) for k, piece in enumerate(a.chunk(step, dim))], dim), x)
    agree(lambda t, a: t.stack([piece * (k + 1) for k, piece in enumerate(a.unbind(dim))], order[-1]), x)
    agree(lambda t, a: a.repeat_interleave(t.tensor(np.arange(shape[dim]) % 3), dim), x)
    if ndim > 1:
        agree(lambda t, a: a.diagonal(offset, order[0], order[1]), x)
        agree(lambda t, a: a.tril(offset) + a.triu(1 - offset) * 2, x)
    agree(lambda t, a: t.diag_embed(a, offset), x)


@settings(max_examples=examples(100))
@given(filled, st.data(), seeds)
def test_order_and_running_values(shape: tuple[int, ...], data: st.DataObject, seed: int) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    k = data.draw(st.integers(1, shape[dim]))
    largest = data.draw(st.booleans())
    x = array(shape, seed)
    zeroed = np.where(np.random.default_rng(seed).uniform(size=shape) < 0.2, 0.0, x)
    agree(lambda t, a: t.sort(a, dim, descending=largest)[0], x)
    agree(lambda t, a: t.topk(a, k, dim, largest=largest)[0], x)
    agree(lambda t, a: t.kthvalue(a, k, dim)[0], x)
    agree(lambda t, a: t.median(a, dim)[0], x)
    agree(lambda t, a: t.cummax(a, dim)[0] + t.cummin(a, dim)[0], x)
    agree(lambda t, a: t.cumsum(a, dim), x)
    agree(lambda t, a: t.cumprod(a, dim), zeroed)
    agree(lambda t, a: t.prod(a, dim), zeroed)
    agree(lambda t, a: t.softmax(a, dim) * t.log_softmax(a, dim), x)


@settings(max_examples=examples(150))
@given(st.data(), seeds)
def test_einsum(data: st.DataObject, seed: int) -> None:
    letters = string.ascii_lowercase[:5]
    size = {x: data.draw(st.integers(1, 3)) for x in letters}
    terms = data.draw(st.lists(st.lists(st.sampled_from(letters), min_size=1, max_size=3), min_size=1, max_size=3))
    present = sorted({x for term in terms for x in term})
    out = data.draw(st.permutations(data.draw(st.lists(st.sampled_from(present), unique=True))))
    equation = ",".join("".join(term) for term in terms) + "->" + "".join(out)
    arrays = [array(tuple(size[x] for x in term), seed + k) for k, term in enumerate(terms)]
    agree(lambda t, *operands: t.einsum(equation, *operands), *arrays)
