"""Depth: gradients by layer of a deep net, and the paths through a residual one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..autograd.functional import jacobian_of
from ..backend import is_array, to_numpy
from ..backend.quiet import unreported
from ..backend.random.generator import draws_undone
from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..nn.module import Module
from ..tape.grad import grad
from ..tape.modes import within
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .cotangents import log_sum, logarithm
from .resolution import log_norm_of
from .result import COLOURS, Result
from .shares import loss_of_batch
from .steps import host

__all__ = ["Depth", "Paths", "depth", "paths"]


@dataclass(frozen=True, eq=False)
class Depth(Result):
    """Gradients layer by layer, in the order in which the layers ran.

    Attributes:
        layers: the names of the modules that have parameters of their own.
        log_gradient: log |dE / d parameters| of each.
        log_of_output: log |dE / d output| of each.
        log_weight: log |parameters|.
        log_ratio: log(lr |gradient| / |parameters|): how much one step of SGD changes them; about log 1e-3 is healthy.
        spread: the standard deviation of the entries of its output.
    """

    layers: tuple[str, ...]
    log_gradient: Array
    log_of_output: Array
    log_weight: Array
    log_ratio: Array
    spread: Array

    @property
    def log_first_over_last(self) -> float:
        """log(|dE / d output of the first layer| / that of the last but one), or of the last if there are no more."""
        last = -2 if len(self.layers) > 2 else -1
        first, last_ = float(self.log_of_output[0]), float(self.log_of_output[last])
        return first - last_

    def head(self) -> str:
        return f"{len(self.layers)} layers; log of first over last gradient: {self.log_first_over_last:.4g} nats"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        numbers = (self.log_gradient, self.log_of_output, self.log_weight, self.log_ratio, self.spread)
        rows = [(name, *[float(a[k]) for a in numbers]) for k, name in enumerate(self.layers)]
        return ("layer", "log |dE/dW|", "log |dE/dy|", "log |W|", "log |update|/|W|", "spread of y"), rows

    def draw(self, ax: Any) -> None:
        numbers = np.arange(len(self.layers))
        ax.plot(numbers, self.log_gradient, "o-", color=COLOURS[0], markersize=4, label="log |dE/dW|")
        ax.plot(numbers, self.log_of_output, "s--", color=COLOURS[1], markersize=4, label="log |dE/dy|")
        ax.plot(numbers, self.log_ratio, "^:", color=COLOURS[2], markersize=4, label="log |update| / |W|")
        ax.set_xlabel("layer, in the order of the run")
        ax.set_ylabel("log (nats)")
        if len(self.layers) <= 12:
            ax.set_xticks(numbers, self.layers, rotation=30, ha="right", fontsize="small")
        ax.legend()


@unreported
def depth(model: Module, loss_fn: Callable[..., Tensor], batch: Any, *, lr: float = 1e-3) -> Depth:
    """Gradient, weights and outputs of each layer of a model, in the order in which they ran.

    Args:
        model: any module; its layers are the modules in it that have parameters of their own.
        loss_fn, batch: as for :func:`shares`.
        lr: the learning rate of the step of SGD whose size is compared with the weights.

    Returns:
        :class:`Depth`.  ``.grad`` is left as it is.

    Raises:
        ArgumentTypeError: model is no module.
        ArgumentError: no layer with parameters ran.

    Source: X. Glorot and Y. Bengio (2010); the ratio of update and weight: A. Karpathy, CS231n (2015).

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> blocks = [m for _ in range(8) for m in (tg.nn.Linear(16, 16), tg.nn.Sigmoid())]
    >>> found = depth(tg.nn.Sequential(*blocks), lambda y: (y**2).sum(), tg.randn(4, 16))
    >>> len(found.layers), found.log_first_over_last < -10            # it has vanished on the way to the first layer
    (8, True)
    """
    if not isinstance(model, Module):
        raise ArgumentTypeError(f"depth(): expected a module, got {type(model).__name__}")
    outputs: dict[str, list[Tensor]] = {}
    handles = []
    for path, module in model.named_modules():
        if any(p is not None for p in module._parameters.values()):
            name = path or type(module).__name__

            def note(_: Any, __: Any, output: Any, name: str = name) -> None:
                first = output[0] if isinstance(output, tuple) else output
                outputs.setdefault(name, []).append(first)

            handles.append(module.register_forward_hook(note))
    try:
        with draws_undone():
            loss: Tensor = within(True, loss_of_batch(model, loss_fn, batch))
    finally:
        for handle in handles:
            handle.remove()
    if not outputs:
        raise ArgumentError(f"depth(): no layer with parameters ran in {type(model).__name__}")
    modules = {path or type(m).__name__: m for path, m in model.named_modules()}
    parameters = {name: [p for p in modules[name]._parameters.values() if p is not None] for name in outputs}
    every = [t for name, ys in outputs.items() for t in (*parameters[name], *ys)]
    wanted = list({id(t): t for t in every if isinstance(t, Tensor) and t._node is not None}.values())
    found = grad(loss, wanted, None, True, allow_unused=True) if loss._node is not None and wanted else ()
    logs = {
        id(t): -np.inf if g is None else log_norm_of(to_numpy(g._data)) for t, g in zip(wanted, found, strict=False)
    }

    def together(values: Iterable[float]) -> float:
        return 0.5 * float(log_sum(2 * np.array(list(values), np.float64)))

    columns: list[list[float]] = []
    for name, ys in outputs.items():
        gradient = together(logs.get(id(p), -np.inf) for p in parameters[name])
        weight = together(log_norm_of(to_numpy(p._data)) for p in parameters[name])
        of_output = together(logs.get(id(y), -np.inf) for y in ys)
        values = [host(y._data).reshape(-1) for y in ys if isinstance(y, Tensor)]
        spread = float(np.concatenate(values).std()) if values else math.nan
        ratio = math.log(lr) + gradient - weight if weight > -math.inf else math.nan
        columns.append([gradient, of_output, weight, ratio, spread])
    gradients, of_outputs, of_weights, ratios, spreads = np.array(columns, np.float64).T
    return Depth(tuple(outputs), gradients, of_outputs, of_weights, ratios, spreads)


# residual nets --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Paths(Result):
    """The derivative of a residual net as a sum over paths, by their length.

    Attributes:
        lengths: 0 ... n: through how many of the n branches a path leads.
        counts: how many paths there are of each length, n over k.
        log_mass: log of the sum of the norms of the derivatives of paths of each length.
        log_mass_error: standard error of that; 0 where all paths were taken.
        log_sum: log of the norm of the sum of these derivatives; paths cancel, so it is no more than the mass.
        log_total: log of the norm of the derivative of the net.
        exact: whether all paths were taken.
    """

    lengths: Array
    counts: Array
    log_mass: Array
    log_mass_error: Array
    log_sum: Array
    log_total: float
    exact: bool

    @property
    def mean_length(self) -> float:
        """The mean length of a path, weighted by mass."""
        weights = np.exp(self.log_mass - self.log_mass.max())
        return float((weights * self.lengths).sum() / weights.sum())

    def head(self) -> str:
        how = "all taken" if self.exact else "sampled"
        total = int(self.counts.sum())
        return f"{total} paths, {how}; mean length by mass {self.mean_length:.3g} of {len(self.lengths) - 1}"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        rows = [
            (int(k), int(c), float(m), float(e), float(s))
            for k, c, m, e, s in zip(
                self.lengths, self.counts, self.log_mass, self.log_mass_error, self.log_sum, strict=True
            )
        ]
        return ("length", "paths", "log mass", "error", "log |sum|"), rows

    def draw(self, ax: Any) -> None:
        ax.errorbar(
            self.lengths, self.log_mass, self.log_mass_error, fmt="o-", color=COLOURS[0], markersize=4, label="mass"
        )
        ax.plot(self.lengths, self.log_sum, "s--", color=COLOURS[1], markersize=4, label="norm of the sum")
        ax.set_xlabel("length of the path (branches)")
        ax.set_ylabel("log (nats)")
        ax.legend()


@unreported
def paths(
    net: Iterable[Callable[[Tensor], Tensor]],
    x: Any,
    *,
    branches: bool = False,
    most: int = 2**12,
    samples: int = 200,
    seed: int = 0,
) -> Paths:
    """The gradient mass of a residual net by path length.

        dy/dx = (I + J_n) ... (I + J_1) = sum over subsets S of {1 ... n} of prod_(i in S) J_i

    The mass of a length is the sum of the Frobenius norms of its paths.  Paths cancel, so masses add up to more than
    the norm of the whole.

    Args:
        net: the blocks ``x + F(x)`` in order, as in an ``nn.Sequential``; each keeps the shape.
        x: (D,) or (1, D), one sample.
        branches: what is given are the branches F, and not the blocks.
        most: up to so many paths are taken all; of more, ``samples`` of each length are drawn.
        samples, seed: how many, and of which stream.

    Returns:
        :class:`Paths`.  The norms of sums are exact in any case, by a recursion over blocks.

    Raises:
        ArgumentError: no blocks.
        ShapeError: x is no single sample, or a block changes the shape.

    Source: A. Veit, M. Wilber and S. Belongie, "Residual networks behave like ensembles of relatively shallow networks"
    (2016).

    >>> import tinygrad_rnn as tg
    >>> half = lambda x: 0.5 * x
    >>> found = paths([half] * 4, tg.ones(1), branches=True)          # (1 + 1/2)^4
    >>> [round(float(m), 4) for m in np.exp(found.log_mass)]
    [1.0, 2.0, 1.5, 0.5, 0.0625]
    """
    blocks = list(net)
    if not blocks:
        raise ArgumentError("paths(): there are no blocks")
    given = wrap(x) if is_array(x) else x
    if not isinstance(given, Tensor) or not (given.ndim == 1 or (given.ndim == 2 and given.shape[0] == 1)):
        raise ShapeError("paths(): x must be one sample, (D,) or (1, D)")
    with draws_undone():
        jacobians = within(True, _branch_jacobians, blocks, given, branches)
    size, n = jacobians[0].shape[0], len(jacobians)
    sums = [np.eye(size)] + [np.zeros((size, size)) for _ in range(n)]
    for j in jacobians:  # of a path that goes through this branch, and of one that does not
        sums = [sums[0], *[a + j @ b for b, a in pairwise(sums)]]
    counts = np.array([math.comb(n, k) for k in range(n + 1)], np.float64)
    exact = 2**n <= most
    masses, errors = _masses(jacobians) if exact else _sampled(jacobians, counts, samples, seed)
    logs = np.array([log_norm_of(s) for s in sums])
    total = log_norm_of(np.sum(sums, 0))
    return Paths(np.arange(n + 1, dtype=np.float64), counts, logarithm(masses), errors, logs, total, exact)


def _branch_jacobians(blocks: Sequence[Callable[[Tensor], Tensor]], x: Tensor, branches: bool) -> list[Array]:
    """The Jacobian of each branch at what it gets (D, D)."""
    found, size = [], x._data.size
    for number, block in enumerate(blocks):
        leaf = x.detach().requires_grad_()
        y = block(leaf)
        if y.shape != leaf.shape:
            raise ShapeError(f"paths(): block {number} turns {list(leaf.shape)} into {list(y.shape)}")
        j = np.zeros((size, size))
        if y._node is not None:
            j = host(jacobian_of(y, leaf, allow_unused=True)._data).reshape(size, size)
        found.append(j if branches else j - np.eye(size))
        x = y + leaf if branches else y
    return found


def _masses(jacobians: Sequence[Array]) -> tuple[Array, Array]:
    """The sum of norms by length, over all paths: a tree of products."""
    level: list[tuple[int, Array]] = [(0, np.eye(len(jacobians[0])))]
    for j in jacobians:
        level += [(length + 1, j @ product) for length, product in level]
    masses = np.zeros(len(jacobians) + 1)
    for length, product in level:
        masses[length] += np.linalg.norm(product)
    return masses, np.zeros(len(masses))


def _sampled(jacobians: Sequence[Array], counts: Array, samples: int, seed: int) -> tuple[Array, Array]:
    """Estimates of the same, and the standard errors of their logarithms."""
    random, n = np.random.default_rng(seed), len(jacobians)
    masses, errors = np.zeros(n + 1), np.zeros(n + 1)
    for k in range(n + 1):
        norms = []
        for _ in range(samples if 0 < k < n else 1):
            product = np.eye(len(jacobians[0]))
            for i in np.sort(random.permutation(n)[:k]):
                product = jacobians[i] @ product
            norms.append(float(np.linalg.norm(product)))
        masses[k] = counts[k] * np.mean(norms)
        if len(norms) > 1 and masses[k] > 0:
            errors[k] = counts[k] * np.std(norms, ddof=1) / math.sqrt(len(norms)) / masses[k]
    return masses, errors
