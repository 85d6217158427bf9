"""Expressions that mean the same in PyTorch and here, with the inputs to try them on: ``t`` is either library.

A case is one line.  Inputs are called x, y, z, w in their order; real ones get gradients.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Make = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Case:
    """``expression`` of inputs made by ``makes``; ``orders`` of derivatives to compare (0: the value alone)."""

    expression: str
    makes: tuple[Make, ...]
    orders: int

    def inputs(self) -> list[np.ndarray]:
        rng = np.random.default_rng(zlib.crc32(self.expression.encode()))
        return [make(rng) for make in self.makes]

    def __str__(self) -> str:
        return self.expression.replace(" ", "")


CASES: list[Case] = []


def case(expression: str, *makes: Make, orders: int = 2) -> None:
    CASES.append(Case(expression, makes, orders))


def real(*shape: int) -> Make:
    return lambda rng: rng.uniform(-2, 2, shape)


def positive(*shape: int) -> Make:
    return lambda rng: rng.uniform(0.3, 3, shape)


def unit(*shape: int) -> Make:
    return lambda rng: rng.uniform(-0.9, 0.9, shape)


def off_zero(*shape: int) -> Make:
    return lambda rng: rng.uniform(0.3, 2, shape) * rng.choice([-1, 1], shape)


def few(*shape: int) -> Make:
    """Values with many ties."""
    return lambda rng: rng.integers(-2, 3, shape) / 2


def whole(*shape: int, low: int = 0, high: int = 3) -> Make:
    return lambda rng: rng.integers(low, high, shape)


def mask(*shape: int) -> Make:
    return lambda rng: rng.integers(0, 2, shape).astype(bool)


def fixed(values: Any) -> Make:
    return lambda rng: np.array(values, dtype=float)


SHAPES = [(), (1,), (0,), (3,), (2, 3), (2, 1, 3), (0, 3)]

# one argument ------------------------------------------------------------------------------------------------------

for shape in SHAPES:
    for name in "exp tanh sigmoid square neg sin cos sinh cosh atan asinh expm1 exp2 clone softplus positive".split():
        prefix = "t.nn.functional." if name == "softplus" else "t."
        case(f"{prefix}{name}(x)", real(*shape))
    for name in "log sqrt rsqrt log2 log10 log1p reciprocal".split():
        case(f"t.{name}(x)", positive(*shape))
    for name in "asin acos atanh tan".split():
        case(f"t.{name}(x)", unit(*shape))
    for name in "abs relu sign floor ceil round trunc frac".split():
        case(f"t.{name}(x)", off_zero(*shape))
case("t.acosh(x)", lambda rng: rng.uniform(1.2, 3, (2, 3)))
case("t.softplus(x, 2., 1.) if hasattr(t, 'softplus') else t.nn.functional.softplus(x, 2., 1.)", real(7))
case("t.round(x, decimals=2)", real(5))
case("x ** 2", real(3))
case("x ** 3", real(3))
case("x ** 2.5", positive(3))
case("x ** -1", off_zero(3))
case("x ** 0", real(3))
case("x ** 1", real(3))
case("x ** 0.5", positive(3))
case("2 ** x", real(3))
case("t.clamp(x, -0.5, 1)", real(2, 5))
case("t.clamp(x, min=0)", real(5))
case("t.clip(x, max=0.5)", real(5))
case("x.clamp(y, z)", real(2, 3), unit(3), positive(2, 1))
case("x.clamp(min=y)", real(2, 3), unit(3))

# two arguments -----------------------------------------------------------------------------------------------------

for one, two in [((), ()), ((3,), ()), ((2, 3), (3,)), ((2, 1), (1, 3)), ((0,), (1,)), ((2, 3), (2, 3)), ((), (0, 2))]:
    for expression in ["x + y", "x - y", "x * y", "t.maximum(x, y)", "t.minimum(x, y)", "t.logaddexp(x, y)"]:
        case(expression, real(*one), real(*two))
    for expression in ["x / y", "t.atan2(x, y)", "t.hypot(x, y)", "t.fmod(x, y)", "x % y"]:
        case(expression, real(*one), off_zero(*two))
    case("x ** y", positive(*one), real(*two))
    case("t.where(z, x, y)", real(*one), real(*two), mask(3 if 0 not in one + two else 1))
case("x // y", off_zero(3), off_zero(3), orders=0)
case("t.div(x, y, rounding_mode='floor')", off_zero(3), off_zero(3))
case("t.div(x, y, rounding_mode='trunc')", off_zero(3), off_zero(3))
case("t.add(x, y, alpha=2)", real(3), real(3))
case("x.sub(y, alpha=0.5)", real(3), real(3))
case("t.rsub(x, y, alpha=0.5)", real(3), real(3))
case("1 - x", real(3))
case("2 / x", off_zero(3))
case("3 % x", off_zero(3), orders=0)
case("x % 0.7", off_zero(3))
case("t.lerp(x, y, 0.3)", real(3), real(3))
case("t.lerp(x, y, z)", real(3), real(3), unit(3))
case("t.addcmul(x, y, z, value=2)", real(3), real(3), real(3))
case("t.addcdiv(x, y, z, value=2)", real(3), real(3), positive(3))
case("x.where(z, y)", real(3), real(3), mask(3))
case("t.maximum(x, y)", few(40), few(40))
case("t.minimum(x, y)", few(40), few(40))
case("t.where(y, x, 0.5)", real(3), mask(3))
case("t.where(y, 1, x)", real(3), mask(2, 3))

# reductions --------------------------------------------------------------------------------------------------------

for shape in [(), (4,), (2, 3), (2, 3, 2), (1, 1)]:
    for name in "sum mean amax amin max min prod var std norm median".split():
        enough = shape not in ((), (1, 1)) or name not in ("var", "std")
        if enough:
            case(f"t.{name}(x)", real(*shape), orders=1 if name in ("max", "min") else 2)
for dim in ["0", "-1", "(0, 2)", "()", "1"]:
    for name in "sum mean amax amin logsumexp".split():
        if (name, dim) != ("logsumexp", "()"):
            case(f"t.{name}(x, {dim})", real(2, 3, 4))
            case(f"t.{name}(x, {dim}, keepdim=True)", real(2, 3, 4))
case("t.logsumexp(x, 0)", real())
for dim in ["0", "-1", "1"]:
    for name in "prod var std".split():
        case(f"t.{name}(x, {dim})", real(2, 3, 4))
        case(f"t.{name}(x, {dim}, keepdim=True)", real(2, 3, 4))
    for name in "softmax log_softmax cumsum cumprod".split():
        case(f"t.{name}(x, {dim})", real(2, 3, 4))
    for name in "max min median cummax cummin sort kthvalue".split():
        rest = ", 2" if name == "kthvalue" else ""
        case(f"t.{name}(x{rest}, {dim})", real(2, 3, 4))
case("t.var(x, (0, 1), correction=0)", real(2, 3, 4))
case("t.var(x, unbiased=False)", real(2, 3))
case("t.std(x, False)", real(2, 3))
case("x.std(1, False, True)", real(2, 3))
case("t.var_mean(x, 1)", real(2, 3))
case("t.std_mean(x, 1, keepdim=True)", real(2, 3))
case("t.var(x, 1, correction=3)", real(2, 5))
case("t.amax(x)", few(20), orders=1)
case("t.amin(x, 1)", few(3, 20), orders=1)
case("t.max(x)", few(20), orders=1)
case("t.min(x)", few(20), orders=1)
case("t.median(x)", few(21), orders=1)
case("t.aminmax(x, dim=1)", real(2, 3))
case("t.max(x, y)", real(2, 3), real(3))
case("t.norm(x, 1)", off_zero(2, 3))
case("t.norm(x, 3, 1)", off_zero(2, 3))
case("t.norm(x, 1.5, (0, 2), True)", off_zero(2, 3, 2))
case("t.norm(x, float('inf'), 1)", off_zero(2, 3))
case("t.norm(x, -float('inf'), 1)", off_zero(2, 3))
case("t.norm(x, -2., 1)", off_zero(2, 3))
case("t.norm(x, 0)", few(2, 6), orders=1)
case("t.norm(x, 0.5, 1)", off_zero(2, 3))
case("t.norm(x)", fixed([0, 0, 0]), orders=1)
case("t.norm(x, 3, 1)", fixed([[0, 0, 0], [0, 1, 2]]), orders=1)
case("t.norm(x, 1.5, 1)", fixed([[0, 0, 0], [0, 1, 2]]), orders=1)
case("t.std(x, 1)", fixed([[2, 2, 2], [0, 1, 2]]), orders=1)
case("t.dist(x, y)", real(3), real(3))
case("t.dist(x, y, 3)", real(3), real(3))
case("t.prod(x)", fixed([2, 0, 3]))
case("t.prod(x)", fixed([2, 0, 0]))
case("t.prod(x, 1)", fixed([[2, 0, 3], [0, 0, 1], [1, 2, 3]]))
case("t.cumprod(x, 0)", fixed([2, 0, 3, 0, 5]))
case("t.cumprod(x, 1)", fixed([[2, 0, 3], [0, 0, 1], [1, 2, 3]]))
case("t.cummax(x, 0)", few(30), orders=1)
case("t.cummin(x, 0)", few(30), orders=1)
case("t.nansum(x, 0)", fixed([1, np.nan, 2]), orders=1)
case("t.sum(x, 0)", real(0, 3))
case("t.mean(x, 0)", real(0, 3))
case("t.prod(x, 0)", real(0, 3))
case("t.sum(x)", real(0))
case("t.logsumexp(x, 0)", real(0, 2), orders=1)
case("t.softmax(x, 0)", real(0))
case("t.softmax(x, 0)", real())
case("t.log_softmax(x, 0)", real())
case("t.cumsum(x, 0)", real())
case("t.cumprod(x, 0)", real())
case("t.cummax(x, 0)", real())
case("t.sort(x)", real())
case("t.max(x, 0)", real())
case("t.softmax(x, 1)", real(2, 0))
case("t.diff(x)", real(2, 4))
case("t.diff(x, n=2, dim=0)", real(4, 2))

# order -------------------------------------------------------------------------------------------------------------

case("t.sort(x, descending=True)", real(3, 5))
case("t.sort(x, dim=0, stable=True)", few(20, 2), orders=1)
case("t.sort(x, descending=True, stable=True)", few(20), orders=1)
case("t.topk(x, 2)", real(3, 5))
case("t.topk(x, 3, 0, largest=False)", real(5, 2))
case("t.topk(x, 0)", real(5))
case("t.msort(x)", real(5, 2))
case("t.argsort(x, 1)", real(3, 4), orders=0)
case("t.argmax(x)", few(20), orders=0)
case("t.argmax(x, 1, keepdim=True)", few(3, 9), orders=0)
case("t.argmin(x, 0)", few(9, 3), orders=0)
case("t.unique(x, return_inverse=True, return_counts=True)", few(12), orders=0)
case("t.unique(x, return_inverse=True, return_counts=True)", few(3, 4), orders=0)
case("t.unique(x, dim=0)", few(9, 1), orders=0)
case("t.nonzero(x)", few(3, 4), orders=0)
case("t.nonzero(x, as_tuple=True)", few(3, 4), orders=0)
case("t.where(x > 0)", real(3, 4), orders=0)
case("t.nonzero(x)", real(), orders=0)
case("t.argwhere(x)", few(3, 4), orders=0)
case("t.count_nonzero(x, 1)", few(3, 4), orders=0)
for name in "all any".split():
    case(f"t.{name}(x)", mask(2, 3), orders=0)
    case(f"t.{name}(x, 1)", whole(2, 3), orders=0)
    case(f"t.{name}(x, 0, keepdim=True)", real(0, 2), orders=0)

# shapes ------------------------------------------------------------------------------------------------------------

for expression in """
x.reshape(3, 8)|x.reshape(-1, 2)|x.view(4, 6)|x.flatten()|x.flatten(1)|x.flatten(0, 1)|x.ravel()|x.unsqueeze(1)
x.unsqueeze(-1)|x.permute(2, 0, 1)|x.permute((1, 0, 2))|x.transpose(0, 2)|x.swapaxes(0, 1)|x.mT|x.movedim(0, 2)
t.movedim(x, (0, 1), (2, 0))|x.moveaxis(2, 0)|x.expand(5, 2, 3, 4)|x.expand(-1, -1, 4)|x.repeat(2, 1, 3)
x.repeat(2, 1, 1, 1)|x.tile(2)|x.tile((2, 2, 1, 1))|x.tile(())|x.roll(1)|x.roll(-5, 2)|x.roll((1, 2), (0, 1))
x.flip(0)|x.flip((0, 2))|t.flip(x, [1])|x.fliplr()|x.flipud()|t.rot90(x)|t.rot90(x, 2, (0, 2))|t.rot90(x, 3)
x.unfold(2, 3, 1)|x.unfold(1, 2, 2)|x.unfold(0, 1, 1)|x.squeeze()|x.squeeze(0)|x.diagonal()|x.diagonal(1, 1, 2)
x.diagonal(-1, 2, 0)|x.tril()|x.triu(1)|x.tril(-1)|x.triu(-1)|t.diag_embed(x)|t.diag_embed(x, 1, 0, 2)
t.diag_embed(x, -2)|x.unflatten(2, (2, 2))|x.unflatten(2, (2, -1))|x.swapdims(0, 1)|x.split(2, 2)|x.split([1, 3], 2)
x.split(3, 1)|x.chunk(3, 2)|x.chunk(2)|x.tensor_split(3, 2)|x.tensor_split((1, 2), 2)|x.unbind()|x.unbind(2)
x.narrow(2, 1, 2)|x.narrow(1, -2, 2)|x.select(1, -1)|x.select(2, 0)|tuple(x)|x.contiguous()|x.clone()
x.repeat_interleave(2)|x.repeat_interleave(2, 1)|t.repeat_interleave(x, t.tensor([1, 0, 2]), 1)|x.T|x.reshape(24)[3]
x[0]|x[-1]|x[:, 1]|x[..., 2]|x[0, 1, 2]|x[:, None]|x[None]|x[1:, ::2]|x[[0, 1, 0]]|x[:, [0, 0, 2]]
x[t.tensor([1, 0])]|x[t.tensor([[0, 1], [1, 1]])]|x[[0, 1], [1, 2]]|x[[0, 1], :, [1, 2]]|x[x > 0]
x[t.tensor([True, False])]|x[..., t.tensor(1)]|x[:, t.tensor([True, False, True])]|x[0, t.tensor([0, 0])]|x[1:1]
x[:, 0:0]|x.view_as(x)|x.expand_as(x)|x.reshape_as(x)|t.stack([x, x])|t.stack([x, x * 2], 1)|t.stack([x, x], -1)
t.cat([x, x])|t.cat([x, x * 2, x], 1)|t.cat((x, x[:1]), dim=0)|t.concat([x, x], -1)|t.hstack([x, x])
t.vstack([x, x])|t.dstack([x, x])|t.broadcast_to(x, (2, 2, 3, 4))
""".replace("\n", "|").split("|"):
    if expression:
        case(expression, real(2, 3, 4))
for expression in """
x.t()|x.T|x.diag()|x.diag(1)|x.diag(-1)|x.trace()|x.tril()|t.column_stack([x, x])|x.fliplr()
""".strip().split("|"):
    case(expression, real(3, 4))
for expression in """
x.t()|x.diag()|x.diag(2)|t.hstack([x, x])|t.vstack([x, x])|t.column_stack([x, x])|t.dstack([x, x])
""".strip().split("|"):
    case(expression, real(3))
for expression in """
x.reshape(1)|x.unsqueeze(0)|x.expand(2, 3)|x.repeat(2)|x.flatten()|x.squeeze()|x.t()|x[None]|x[...]
""".strip().split("|"):
    case(expression, real())
case("x.squeeze((0, 2))", real(1, 2, 1))
case("x.squeeze(-1)", real(2, 1))
case("t.cat([x, y], 1)", real(2, 0), real(2, 3))
case("t.cat([x, y])", real(0), real(2, 3))
case("t.broadcast_tensors(x, y)", real(2, 1), real(3))
case("t.meshgrid(x, y, indexing='ij')", real(2), real(3))
case("t.meshgrid(x, y, indexing='xy')", real(2), real(3))
case("x.unfold(0, 2, 3)", real(7))

# places ------------------------------------------------------------------------------------------------------------

case("t.gather(x, 1, y)", real(2, 3), whole(2, 5))
case("t.gather(x, 0, y)", real(3, 4), whole(2, 2))
case("x.gather(-1, y)", real(2, 2, 3), whole(1, 2, 4))
case("t.gather(x, 0, y)", real(), whole(1, high=1))
case("t.take(x, y)", real(2, 3), whole(2, 2, low=-6, high=6))
case("t.take_along_dim(x, y, 1)", real(2, 3), whole(2, 2))
case("t.take_along_dim(x, y, 1)", real(2, 3), whole(1, 2))
case("t.take_along_dim(x, y)", real(2, 3), whole(4, high=6))
case("t.index_select(x, 1, y)", real(2, 3), whole(5))
case("t.masked_select(x, y)", real(2, 3), mask(3))
case("t.masked_fill(x, y, 0.5)", real(2, 3), mask(3))
case("x.masked_fill(y, z)", real(2, 3), mask(2, 3), real())
case("t.masked_scatter(x, y, z)", real(2, 3), mask(2, 3), real(7))
case("t.scatter(x, 1, y, z)", real(2, 3), lambda rng: np.array([[0, 2], [1, 0]]), real(2, 2))
case("x.scatter(0, y, z)", real(3, 2), lambda rng: np.array([[2, 1]]), real(4, 5), orders=0)
case("x.scatter(1, y, 1.5)", real(2, 3), whole(2, 2))
case("x.scatter(1, y, z, reduce='add')", real(2, 3), whole(2, 2), real(2, 2), orders=0)
case("x.scatter_add(1, y, z)", real(2, 3), whole(2, 5), real(2, 5))
case("x.scatter_add(1, y, z)", real(2, 3), whole(2, 4), real(2, 6), orders=0)
case("x.scatter_add(0, y, z)", real(), whole(1, high=1), real(1))
case("x.index_add(1, y, z)", real(2, 3), whole(4), real(2, 4))
case("x.index_add(0, y, z, alpha=-2)", real(3, 2), whole(4), real(4, 2))
case("x.index_copy(1, y, z)", real(2, 3), lambda rng: np.array([2, 0]), real(2, 2))
case("x.index_put((y,), z)", real(3, 2), lambda rng: np.array([2, 0]), real(2, 2))
case("t.index_put(x, (y,), z, accumulate=True)", real(3, 2), lambda rng: np.array([2, 0, 2]), real(3, 2))
case("t.addr(x, y, z, beta=2, alpha=-3)", real(2, 3), real(2), real(3))
case("x.index_fill(1, y, 2.5)", real(2, 3), whole(2))
case("t.nn.functional.embedding(y, x)", real(3, 2), whole(2, 4))
case("t.nn.functional.one_hot(x, 5)", whole(2, 3), orders=0)

# products ----------------------------------------------------------------------------------------------------------

for one, two in [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((0, 3), (3, 2)),
    ((2, 0), (0, 3)), ((0,), (0,)), ((1, 2, 3), (5, 3, 4)),
]:  # fmt: skip
    case("x @ y", real(*one), real(*two))
case("t.dot(x, y)", real(3), real(3))
case("t.inner(x, y)", real(2, 3), real(4, 3))
case("t.mv(x, y)", real(2, 3), real(3))
case("t.mm(x, y)", real(2, 3), real(3, 4))
case("t.bmm(x, y)", real(2, 3, 4), real(2, 4, 5))
case("t.outer(x, y)", real(2), real(3))
case("t.addmm(x, y, z, beta=0.5, alpha=2)", real(4), real(2, 3), real(3, 4))
case("t.addmv(x, y, z)", real(2), real(2, 3), real(3))
case("t.baddbmm(x, y, z)", real(2, 3, 5), real(2, 3, 4), real(2, 4, 5))
case("t.baddbmm(x, y, z, beta=0.5, alpha=2)", real(3, 5), real(2, 3, 4), real(2, 4, 5))
case("t.addbmm(x, y, z)", real(3, 5), real(2, 3, 4), real(2, 4, 5))
case("t.tensordot(x, y)", real(2, 3, 4), real(3, 4, 5))
case("t.tensordot(x, y, 1)", real(2, 3), real(3, 4))
case("t.tensordot(x, y, 0)", real(2), real(3))
case("t.tensordot(x, y, ([0, 2], [1, 0]))", real(2, 3, 4), real(4, 2, 5))
for equation in "ij,jk->ik ij,jk->ki ij,jk ij,kl->ijkl ij,jk-> ij,jk->j ...j,jk->...k".split():
    case(f"t.einsum('{equation}', x, y)", real(2, 3), real(3, 3))
for equation in "ij,kj->ik ij,ij-> ij,ij->ij ij,ij->j".split():
    case(f"t.einsum('{equation}', x, y)", real(2, 3), real(2, 3))
case("t.einsum('bij,bjk->bik', x, y)", real(2, 3, 4), real(2, 4, 5))
case("t.einsum('bij,bkj->ikb', x, y)", real(2, 3, 4), real(2, 5, 4))
case("t.einsum('...ij,...jk->...ik', x, y)", real(2, 1, 3, 4), real(5, 4, 2))
case("t.einsum('ij,jk,kl->il', x, y, z)", real(2, 3), real(3, 4), real(4, 2))
case("t.einsum('i,j,k->ijk', x, y, z)", real(2), real(3), real(2))
case("t.einsum('bn,anm,bm->ba', x, y, z)", real(2, 3), real(5, 3, 4), real(2, 4))
case("t.einsum('ii->i', x)", real(3, 3))
case("t.einsum('ii', x)", real(3, 3))
case("t.einsum('iij->j', x)", real(3, 3, 2))
case("t.einsum('ijk->kj', x)", real(2, 3, 4))
case("t.einsum('ij->', x)", real(2, 3))
case("t.einsum('ii,ij->j', x, y)", real(3, 3), real(3, 2))
case("t.einsum('ij,jk->ik', x, y)", real(2, 1), real(3, 4))
case("t.einsum(x, [0, 1], y, [1, 2], [0, 2])", real(2, 3), real(3, 4))
case("t.einsum('i...,j...->ij...', x, y)", real(2, 4), real(3, 4))
case("t.einsum('b...->...', x)", real(2, 3, 4))


def evaluate(library: Any, case: Case, tensors: list[Any]) -> Any:
    names = dict(zip("xyzw", tensors, strict=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of x.T and of empty variances
        return eval(case.expression, {"t": library, **names})


def flat(result: Any) -> list[Any]:
    if isinstance(result, (tuple, list)):
        return [leaf for item in result for leaf in flat(item)]
    return [result]
