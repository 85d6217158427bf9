"""Spectra: Lyapunov exponents of a recurrent layer, and what a recurrent matrix says about gradients, and does not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import is_array
from ..backend.quiet import unreported
from ..errors import ArgumentError, ArgumentTypeError
from ..tape.tensor import Tensor
from ..typing import Array
from .cotangents import logarithm
from .flow import mean_of_blocks
from .recurrence import chosen, ran
from .result import COLOURS, GREY, Result
from .steps import host

__all__ = ["Lyapunov", "WeightReport", "lyapunov", "weights"]


@dataclass(frozen=True, eq=False)
class Lyapunov(Result):
    """Lyapunov exponents: the mean growth of directions of the state, in nats per step.

    Attributes:
        place: of the layer.
        exponents: falling, as many as were asked for.
        errors: their standard errors.
        steps: over how many steps.
    """

    place: str
    exponents: Array
    errors: Array
    steps: int

    def head(self) -> str:
        return f"{self.place}: {len(self.exponents)} Lyapunov exponents over {self.steps} steps (nats per step)"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        rows = [
            (k + 1, float(a), float(e), -1 / float(a) if a < 0 else math.inf)
            for k, (a, e) in enumerate(zip(self.exponents, self.errors, strict=True))
        ]
        return ("number", "exponent", "error", "time constant (steps)"), rows

    def draw(self, ax: Any) -> None:
        numbers = np.arange(1, len(self.exponents) + 1)
        ax.errorbar(numbers, self.exponents, self.errors, fmt="o", color=COLOURS[0], markersize=4, capsize=3)
        ax.axhline(0, color=GREY, linewidth=0.8)
        ax.set_xlabel("number of the exponent")
        ax.set_ylabel("exponent (nats per step)")
        ax.set_title(self.place)


@unreported
def lyapunov(
    model: Any,
    x: Any,
    count: int = 8,
    skip: int = 20,
    hx: Any = None,
    *,
    sequence: int = 0,
    seed: int = 0,
    layer: int | str | None = None,
) -> Lyapunov:
    """The largest Lyapunov exponents of a layer on an input: how fast gradients fall or grow along their directions.

        lambda_i = lim 1/T log sigma_i(d s_T / d s_0)

    ``count`` orthonormal cotangents of the whole state (h and c) are pulled back step by step, and made orthonormal
    again by QR, whose diagonal has the growth of each.  The largest exponent is the slope of :func:`flow`; one above 0
    is chaos, and gradients that explode.

    Args:
        model, x, hx, sequence, layer: as for :func:`flow`.
        count: how many exponents; no more than the state has units.
        skip: so many steps at the end of the sequence are pulled back first, uncounted, until the cotangents have
            turned into the directions that grow most.
        seed: of the cotangents.

    Returns:
        :class:`Lyapunov`, with standard errors from means of blocks of steps.

    Raises:
        ArgumentError: ``count`` or ``skip`` do not fit the layer and the sequence.

    Source: G. Benettin et al. (1980); R. Vogt et al., "On Lyapunov exponents for RNNs" (2022).

    >>> import tinygrad_rnn as tg
    >>> net = tg.nn.RNN(1, 2, bias=False)
    >>> with tg.no_grad():
    ...     _ = net.weight_hh_l0.copy_(tg.tensor([[0.5, 0.3], [0.0, 0.8]]))
    >>> found = lyapunov(net, tg.zeros(200, 1, 1), count=2)
    >>> [round(float(e), 3) for e in found.exponents]                 # log 0.8, log 0.5
    [-0.223, -0.693]
    """
    recurrence = chosen(ran(model, x, hx), layer)
    steps = recurrence.steps([sequence])
    size = sum(steps.widths)
    if not isinstance(count, int) or not 1 <= count <= size:
        raise ArgumentError(f"lyapunov(): count must be 1 to {size}, the units of the state; got {count!r}")
    if not isinstance(skip, int) or not 0 <= skip <= steps.length - 2:
        raise ArgumentError(
            f"lyapunov(): skip must leave two steps of the {steps.length} of the sequence; got {skip!r}"
        )
    bounds = np.cumsum([0, *steps.widths])
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, count)))[0].T
    grown = np.zeros((steps.length, count))
    g = steps.cotangents(count)
    for number, visit in enumerate(range(steps.length - 1, -1, -1)):
        for values, lo, hi in zip(g.values, bounds[:-1], bounds[1:], strict=True):
            values[0] = steps.xp.asarray(q[:, lo:hi])
        steps.pull(visit, g)
        pulled = np.concatenate([host(values[0]) for values in g.values], 1)
        q, r = np.linalg.qr(pulled.T)
        q = q.T
        grown[number] = logarithm(abs(np.diag(r)))
    counted = grown[skip:]
    exponents, errors = mean_of_blocks(counted)
    order = np.argsort(-exponents, kind="stable")  # of few steps those of QR need not fall
    return Lyapunov(recurrence.place, exponents[order], errors[order], len(counted))


# a matrix ------------------------------------------------------------------------------------------------------------

GAMMAS = {"tanh": 1.0, "relu": 1.0, "sigmoid": 0.25}
"""The largest derivative of an activation."""

POWERS = 200


@dataclass(frozen=True, eq=False)
class WeightReport(Result):
    """What a recurrent matrix W says about gradients.

    Attributes:
        size: H.
        spectral_radius: the largest |eigenvalue|, no more than ``min_k |W^k|^(1/k)``, which bounds it where eigenvalues
            are ill-conditioned.
        sigma_max, sigma_min: the largest and the smallest singular value.
        numerical_radius: max |z* W z| over |z| = 1.
        departure: from normality, sqrt(|W|_F^2 - sum |lambda|^2) / |W|_F (Henrici): 0 is normal, 1 nilpotent.
        eigenvector_condition: of the matrix of eigenvectors; inf if there is no basis of them.
        log_powers: log |W^k|_2 for k = 0, 1, ...
        vanishes: the activations for which gradients vanish for certain, ``gamma sigma_max < 1``.
        bounds: by activation, gamma sigma_max, the most that a step can multiply a gradient by.
    """

    size: int
    spectral_radius: float
    sigma_max: float
    sigma_min: float
    numerical_radius: float
    departure: float
    eigenvector_condition: float
    log_powers: Array
    vanishes: tuple[str, ...]
    bounds: Mapping[str, float]

    @property
    def transient(self) -> tuple[float, int]:
        """``max_k |W^k|`` and the k of it: how much a linear net grows before its radius decides."""
        k = int(np.argmax(self.log_powers))
        return float(np.exp(self.log_powers[k])), k

    @property
    def conclusions(self) -> tuple[str, ...]:
        """What follows, and what does not, in sentences."""
        said = []
        for name, bound in self.bounds.items():
            gamma = f"gamma sigma_max = {bound:.4g}"
            if bound < 1:
                said.append(f"{name}: gradients vanish for certain, |dh_T/dh_k| <= {bound:.4g}^(T-k) ({gamma} < 1)")
            else:
                said.append(
                    f"{name}: nothing is certain; a step can multiply a gradient by up to {bound:.4g} ({gamma})"
                )
        grown, k = self.transient
        if self.spectral_radius < 1:
            text = "falls in the end" if grown <= 1 + 1e-12 else f"first grows to {grown:.4g} at k = {k}, then falls"
            linear = f"W^k {text}: that is the gradient of a linear net, and of no other"
        elif self.spectral_radius > 1:
            linear = "W^k grows without end: so does the gradient of a linear net; tanh and sigmoid may still damp it"
        else:
            linear = "the radius is 1: W^k decides by more than eigenvalues"
        said.append(f"spectral radius {self.spectral_radius:.4g}: {linear}")
        if self.sigma_max >= 1 > self.spectral_radius:
            said.append(
                "a radius below 1 says nothing of a nonlinear net: its steps are W diag(s'), and products of these can "
                "grow at every step"
            )
        return tuple(said)

    def head(self) -> str:
        return "\n".join([f"a recurrent matrix of {self.size} units", *self.conclusions])

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        grown, k = self.transient
        rows = [
            ("spectral radius", self.spectral_radius),
            ("largest singular value", self.sigma_max),
            ("smallest singular value", self.sigma_min),
            ("numerical radius", self.numerical_radius),
            ("departure from normality", self.departure),
            ("condition of the eigenvectors", self.eigenvector_condition),
            (f"largest |W^k|, at k = {k}", grown),
        ]
        return ("quantity", "value"), [(name, f"{value:.6g}") for name, value in rows]

    def draw(self, ax: Any) -> None:
        shown = max(3, int(np.isfinite(self.log_powers).sum()) + 1)  # W^k may be 0 from some k on
        k = np.arange(len(self.log_powers))[:shown]
        ax.plot(k, self.log_powers[:shown], "o-", markersize=2.5, color=COLOURS[0], label="log |W^k|")
        ax.plot(k, k * float(logarithm(self.sigma_max)), "--", color=COLOURS[3], label="k log sigma_max")
        if self.spectral_radius > 0:
            ax.plot(k, k * math.log(self.spectral_radius), ":", color=COLOURS[2], label="k log radius")
        ax.set_xlabel("power k")
        ax.set_ylabel("log norm (nats)")
        finite = self.log_powers[np.isfinite(self.log_powers)]
        low, high = min(finite.min(), 0.0), max(finite.max(), 0.5)
        ax.set_ylim(low - 0.1 * (high - low), high + 0.6 * (high - low))
        ax.legend()


@unreported
def weights(W: Any) -> WeightReport:
    """What a recurrent matrix says about gradients through time, and what it does not.

        h_t = s(W h_(t-1) + ...):   |dh_T/dh_k| <= prod |W| |diag(s')| <= (gamma sigma_max)^(T-k)

    So gradients vanish if ``sigma_max < 1/gamma``, and explode only if ``sigma_max > 1/gamma``; gamma is 1 for tanh
    and relu, 1/4 for sigmoid.  The spectral radius decides for linear nets alone, and only in the end.

    Args:
        W: (H, H), an array or a Tensor; of a layer with gates one block of it, ``weight_hh_l0[:H]``.

    Returns:
        :class:`WeightReport`.

    Raises:
        ArgumentTypeError: W is no array.
        ArgumentError: W is not square, empty, or holds what is no finite number.

    Source: R. Pascanu et al. (2013), section 2.1; L. N. Trefethen and M. Embree, "Spectra and pseudospectra" (2005);
    P. Henrici (1962).

    >>> report = weights([[2.0, -2.0], [2.0, -2.0]])        # W W = 0, and yet a tanh net explodes with it
    >>> report.spectral_radius, report.sigma_max, report.vanishes
    (0.0, 4.0, ())
    """
    raw = W._data if isinstance(W, Tensor) else W
    if not isinstance(raw, (list, tuple)) and not is_array(raw):
        raise ArgumentTypeError(f"weights(): expected a matrix, got {type(W).__name__}")
    matrix = host(raw) if is_array(raw) else np.asarray(raw, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ArgumentError(
            f"weights(): expected a square matrix, got {matrix.shape}; of a layer with gates take one block, W[:H]"
        )
    if not np.isfinite(matrix).all():
        raise ArgumentError("weights(): the matrix holds what is no finite number")
    sigma = np.linalg.svd(matrix, compute_uv=False)
    values, vectors = np.linalg.eig(matrix)
    logs = _log_powers(matrix)
    roots = logs[1:] / np.arange(1, len(logs))
    radius = min(float(abs(values).max()), float(np.exp(roots.min(initial=np.inf))))
    frobenius = float(np.linalg.norm(matrix))
    rest = max(0.0, frobenius**2 - float((abs(values) ** 2).sum()))
    sigma_max = float(sigma[0])
    bounds = {name: gamma * sigma_max for name, gamma in GAMMAS.items()}
    condition = float(np.linalg.cond(vectors))
    return WeightReport(
        len(matrix),
        radius,
        sigma_max,
        float(sigma[-1]),
        _numerical_radius(matrix),
        math.sqrt(rest) / frobenius if frobenius else 0.0,
        condition if condition < 1 / np.finfo(np.float64).eps ** 0.5 else math.inf,
        logs,
        tuple([name for name, bound in bounds.items() if bound < 1]),
        bounds,
    )


def _log_powers(matrix: Array) -> Array:
    """log |W^k|_2 for k = 0 ... POWERS, however large or small."""
    logs, power, scale = [0.0], np.eye(len(matrix)), 0.0
    for _ in range(POWERS):
        power = matrix @ power
        norm = float(np.linalg.norm(power, 2))
        if norm == 0:
            logs += [-np.inf] * (POWERS + 1 - len(logs))
            break
        scale += math.log(norm)
        power /= norm
        logs.append(scale)
    return np.array(logs)


def _numerical_radius(matrix: Array) -> float:
    """The largest eigenvalue of the Hermitian part of ``e^(i a) W`` over all angles a, by a grid that is refined."""

    def at(angle: float) -> float:
        turned = np.exp(1j * angle) * matrix
        return float(np.linalg.eigvalsh((turned + turned.conj().T) / 2)[-1])

    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    best = float(angles[np.argmax([at(a) for a in angles])])
    step = float(angles[1])
    for _ in range(25):
        best = max((best - step, best - step / 2, best, best + step / 2, best + step), key=at)
        step /= 2
    return at(best)
