"""Cliffs: loss and gradient over a grid of parameters; and what clipping did about them in a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..backend.quiet import unreported
from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..tape.grad import grad
from ..tape.modes import within
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .cotangents import log_sum, logarithm
from .result import COLOURS, GREY, Result, colour_bar

__all__ = ["Cliff", "ClipReport", "cliff", "clip_report"]


@dataclass(frozen=True, eq=False)
class Cliff(Result):
    """Loss and gradient over a grid.

    Attributes:
        names: of the parameters, one or two.
        axes: the values of each.
        loss: at each point of the grid, (n,) or (n, m): rows by the first parameter.
        log_gradient: log |gradient with respect to the parameters| there.
    """

    names: tuple[str, ...]
    axes: tuple[Array, ...]
    loss: Array
    log_gradient: Array

    @property
    def steepest(self) -> dict[str, float]:
        """Where the gradient is largest."""
        shown = np.where(np.isfinite(self.log_gradient), self.log_gradient, -np.inf)
        at = np.unravel_index(int(np.argmax(shown)), shown.shape)
        return {name: float(axis[k]) for name, axis, k in zip(self.names, self.axes, at, strict=True)}

    def head(self) -> str:
        where = ", ".join([f"{name} = {value:.4g}" for name, value in self.steepest.items()])
        finite = self.log_gradient[np.isfinite(self.log_gradient)]
        most = float(finite.max(initial=-np.inf))
        return f"{self.loss.size} points; the steepest at {where}: log |gradient| {most:.4g}"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        grids = np.meshgrid(*self.axes, indexing="ij")
        flat = [*[g.reshape(-1) for g in grids], self.loss.reshape(-1), self.log_gradient.reshape(-1)]
        return (*self.names, "loss", "log |gradient|"), [tuple(map(float, row)) for row in zip(*flat, strict=True)]

    def draw(self, ax: Any) -> None:
        if len(self.axes) == 1:
            ax.plot(self.axes[0], self.loss, color=COLOURS[0], label="loss")
            ax.plot(self.axes[0], self.log_gradient, "--", color=COLOURS[1], label="log |gradient| (nats)")
            ax.set_xlabel(self.names[0])
            ax.set_ylabel("loss, and log |gradient|")
            ax.legend()
            return
        x, y = self.axes
        shown = np.ma.masked_invalid(self.log_gradient.T)
        image = ax.pcolormesh(x, y, shown, cmap="cividis", shading="auto")
        colour_bar(ax, image, "log |gradient| (nats)")
        if np.isfinite(self.loss).all() and float(np.ptp(self.loss)) > 0 and min(self.loss.shape) > 1:
            ax.contour(x, y, self.loss.T, 8, colors=GREY, linewidths=0.7)
        ax.set_xlabel(self.names[0])
        ax.set_ylabel(f"{self.names[1]} (lines: loss)")


@unreported
def cliff(fn: Callable[..., Tensor], ranges: Mapping[str, Any]) -> Cliff:
    """Loss and gradient norm over a grid of one or two parameters, in one batched run.

    Args:
        fn: ``fn(**parameters)``: every parameter is a Tensor (G,) of all points of the grid; gives the losses (G,), one
            for each point, which may not depend on other points.
        ranges: by name of a parameter, its values, or ``(first, last, count)``.

    Returns:
        :class:`Cliff`, in float64.

    Raises:
        ArgumentError: no parameter, or more than two; a range without values.
        ShapeError, ArgumentTypeError: fn gives something else.

    Source: R. Pascanu et al. (2013), figure 6: one unit, 50 steps, loss (sigmoid(x_50) - 0.7)^2.

    >>> import tinygrad_rnn as tg
    >>> def loss(w, b):
    ...     x = 0.5 * tg.ones_like(w)
    ...     for _ in range(50):
    ...         x = w * tg.sigmoid(x) + b
    ...     return (tg.sigmoid(x) - 0.7) ** 2
    >>> found = cliff(loss, {"w": (4.0, 7.0, 61), "b": (-3.5, -2.0, 61)})
    >>> bool(found.log_gradient.max() > 3), bool(np.median(found.log_gradient) < 0)
    (True, True)
    """
    if not 1 <= len(ranges) <= 2:
        raise ArgumentError(f"cliff(): one or two parameters can be drawn, got {len(ranges)}")
    axes = []
    for name, given in ranges.items():
        if isinstance(given, tuple) and len(given) == 3 and isinstance(given[2], int) and given[2] > 0:
            values = np.linspace(float(given[0]), float(given[1]), given[2])
        else:
            values = np.asarray(to_numpy(given._data) if isinstance(given, Tensor) else given, np.float64).reshape(-1)
        if not values.size:
            raise ArgumentError(f"cliff(): {name} has no values")
        axes.append(values)
    grid = [g.reshape(-1) for g in np.meshgrid(*axes, indexing="ij")]
    leaves = {name: wrap(g.copy()).requires_grad_() for name, g in zip(ranges, grid, strict=True)}
    losses = within(True, fn, **leaves)
    if not isinstance(losses, Tensor):
        raise ArgumentTypeError(f"cliff(): fn must give a Tensor of losses, got {type(losses).__name__}")
    if losses.shape != (grid[0].size,):
        raise ShapeError(f"cliff(): fn must give a loss for each of {grid[0].size} points, got {list(losses.shape)}")
    found: Sequence[Any] = [None] * len(leaves)
    if losses._node is not None:
        found = grad(losses, tuple(leaves.values()), wrap(np.ones(losses.shape)), allow_unused=True)
    squares = [2 * logarithm(abs(to_numpy(g._data))) for g in found if g is not None]
    shape = tuple([len(a) for a in axes])
    with np.errstate(all="ignore"):
        logs = 0.5 * log_sum(np.stack(squares), 0) if squares else np.full(grid[0].size, -np.inf)
    loss = np.asarray(to_numpy(losses._data), np.float64)
    return Cliff(tuple(ranges), tuple(axes), loss.reshape(shape), logs.reshape(shape))


@dataclass(frozen=True, eq=False)
class ClipReport(Result):
    """How often and how hard clipping acted.

    Attributes:
        max_norm: the threshold.
        log_norms: of the gradients before clipping, as given.
        clipped: the share of updates that were clipped.
        factor: by what these were multiplied, geometric mean; 1 if there are none.
        hardest: the smallest such factor.
        longest: the longest run of updates that were all clipped.
        non_finite: how many norms were inf or nan: clipping leaves nothing of use of them.
    """

    max_norm: float
    log_norms: Array
    clipped: float
    factor: float
    hardest: float
    longest: int
    non_finite: int

    def head(self) -> str:
        return f"{len(self.log_norms)} updates, {100 * self.clipped:.3g} % clipped at {self.max_norm:g}" + (
            f"; {self.non_finite} gradients were not finite" if self.non_finite else ""
        )

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        finite = self.log_norms[np.isfinite(self.log_norms)]
        quantiles = np.exp(np.quantile(finite, [0.05, 0.5, 0.95, 1.0])) if len(finite) else [np.nan] * 4
        rows = [
            ("share of updates clipped", self.clipped),
            ("mean factor of these", self.factor),
            ("smallest factor", self.hardest),
            ("longest run of clipped updates", float(self.longest)),
            ("norms not finite", float(self.non_finite)),
            *[
                (f"{q} of the norms", float(v))
                for q, v in zip(("5 %", "median", "95 %", "largest"), quantiles, strict=True)
            ],
        ]
        return ("quantity", "value"), [(name, f"{value:.6g}") for name, value in rows]

    def draw(self, ax: Any) -> None:
        ax.plot(self.log_norms, color=COLOURS[0], linewidth=0.9, label="log of the norm")
        ax.axhline(math.log(self.max_norm), linestyle="--", color=COLOURS[3], label="clipped above")
        ax.set_xlabel("update")
        ax.set_ylabel("log gradient norm (nats)")
        ax.legend()


@unreported
def clip_report(norms: Iterable[Any], max_norm: float) -> ClipReport:
    """How often and how hard clipping by norm acted in a run.

        clipped gradient = g min(1, max_norm / |g|)

    Args:
        norms: of the gradients before clipping, as ``clip_grad_norm_`` returns them, one for each update.
        max_norm: the threshold.

    Returns:
        :class:`ClipReport`.

    Raises:
        ArgumentError: a threshold that is not above 0, no norms, or a negative one.

    Source: R. Pascanu et al. (2013), section 3.2.

    >>> report = clip_report([0.5, 2.0, 4.0, 0.1], max_norm=1.0)
    >>> report.clipped, report.hardest, report.longest
    (0.5, 0.25, 2)
    """
    if not (isinstance(max_norm, (int, float)) and max_norm > 0):
        raise ArgumentError(f"clip_report(): max_norm must be above 0, got {max_norm!r}")
    values = np.array([float(to_numpy(n._data)) if isinstance(n, Tensor) else float(n) for n in norms], np.float64)
    if not len(values) or (values < 0).any():
        raise ArgumentError("clip_report(): norms must be numbers of 0 or more, at least one")
    finite = np.isfinite(values)
    over = np.where(finite, values > max_norm, True)
    factors = max_norm / values[finite & over]
    longest = run = 0
    for clipped in over:
        run = run + 1 if clipped else 0
        longest = max(longest, run)
    return ClipReport(
        float(max_norm),
        logarithm(values),
        float(over.mean()),
        float(np.exp(np.log(factors).mean())) if len(factors) else 1.0,
        float(factors.min(initial=1.0)),
        longest,
        int((~finite).sum()),
    )
