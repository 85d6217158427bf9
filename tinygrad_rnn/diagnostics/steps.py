"""Steps of a recurrent layer as linear maps of cotangents, with everything that ran forward held fixed.

Of a step ``s_t = F(x_t, s_(t-1))`` the way back is linear: the cotangent of s_t gives that of s_(t-1), and the share of
every weight.  With the gates known it takes a product with the recurrent weight and a few products of entries, for as
many cotangents at once as are wanted.

    RNN     dz = v (1 - h^2)                                                             v' = dz W
    LSTM    u += v o (1 - tanh(c)^2),  dz = (u g i(1-i), u c' f(1-f), u i (1-g^2), v tanh(c) o(1-o))
                                                                                         v' = dz W,   u' = u f
    GRU     p = v (1-z)(1-n^2),        dz = (p q r(1-r), v (h' - n) z(1-z), p r)         v' = dz W + v z

v and u are the cotangents of h and c, v', u', h' and c' belong to the step before, q = U_n h' + b_hn.  With a
projection, h = W_hr m, the LSTM's v is first v W_hr.  These are the equations of ``ops/recurrent/cells.py``, derived;
of any other cell the engine gives the same (:mod:`.recorded_steps`).

Gates are computed anew, in float64, from the states that the layer gave: one product over all steps, and for the cell
states of an LSTM a loop over units.

Legend: L visits, in the order in which the layer reads; M sequences, K cotangents of each, H hidden units, I inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import array_module, to_numpy
from ..typing import Array
from .cotangents import Cotangents, log_sum, logarithm

__all__ = ["Frozen", "GRUSteps", "LSTMSteps", "Outer", "RNNSteps", "Steps", "Visits"]


class Visits(NamedTuple):
    """Which rows of the input of a layer are read, in what order.

    Attributes:
        times: of each visit, the time step (L).
        rows: of each visit and sequence, the row of the input with sequences and steps in one axis (L, M).
        sizes: of each visit, how many sequences run, the first ones; the others keep their states.
    """

    times: tuple[int, ...]
    rows: Array
    sizes: tuple[int, ...]


class Outer(NamedTuple):
    """The share of a weight at one step: ``sum_m exp(log[m, k]) left[m, k] right[m]^T``, without right of a bias.

    Attributes:
        left: (M, K, R).
        right: (M, C), or None.
        log: (M, K).
    """

    left: Array
    right: Array | None
    log: Array

    def scaled(self, k: int = 0) -> tuple[float, Array]:
        """The logarithm of a factor, and the array that it multiplies, for cotangent k."""
        xp, log = array_module(self.left), self.log[:, k]
        largest = float(log.max(initial=-np.inf))
        largest = largest if np.isfinite(largest) else 0.0
        left = self.left[:, k] * xp.exp(log - largest)[:, None]
        return largest, left.sum(0) if self.right is None else left.T @ self.right

    def all(self) -> tuple[Array, Array]:
        """The logarithms of the factors (K,), and the arrays (K, R, C) or (K, R), of all cotangents."""
        xp = array_module(self.left)
        largest = self.log.max(0)
        left = self.left * xp.exp(self.log - largest)[:, :, None]
        if self.right is None:
            return largest, left.sum(0)
        m, k, r = left.shape
        return largest, (left.transpose(1, 2, 0).reshape(k * r, m) @ self.right).reshape(k, r, -1)

    def log_norm(self) -> float:
        """The logarithm of its Frobenius norm, for cotangent 0.

        By ``|sum_m l_m r_m^T|^2 = sum_mn (l_m . l_n)(r_m . r_n)`` where sequences are few; in full where these terms
        cancel.
        """
        if self.right is not None and len(self.left) < self.right.shape[1]:
            xp, log = array_module(self.left), self.log[:, 0]
            largest = float(log.max(initial=-np.inf))
            if not np.isfinite(largest):
                return -np.inf
            left = self.left[:, 0] * xp.exp(log - largest)[:, None]
            scale = float(abs(left).max(initial=0))
            if scale == 0:
                return -np.inf
            left /= scale
            terms = (left @ left.T) * (self.right @ self.right.T)
            square = float(terms.sum())
            if square > 0.01 * float(abs(terms).sum()) > 0:
                return 0.5 * float(np.log(square)) + float(np.log(scale)) + largest
        return log_norm(*self.scaled())


def log_norm(log: float, array: Array) -> float:
    """The logarithm of the Frobenius norm of ``exp(log) array``, which may be beyond any float."""
    return log + 0.5 * float(log_sum(2 * logarithm(abs(array).reshape(-1))))


class Steps:
    """Steps of some sequences of a layer, as maps of cotangents.

    Attributes:
        xp: the array module, in which everything is computed.
        visits: which rows are read, in what order.
        names, widths: of the states.
        before: for each state, what it was before each visit (L, M, W).
        gates: by name, the activated gates (L, M, H), of steps whose equations are known.
        slopes: by name, the derivatives of all activations of a step (L, M, H), likewise.
    """

    xp: Any
    visits: Visits
    names: tuple[str, ...]
    widths: tuple[int, ...]
    before: list[Array]
    gates: dict[str, Array]
    slopes: dict[str, Array]

    @property
    def length(self) -> int:
        """L."""
        return len(self.visits.times)

    @property
    def sequences(self) -> int:
        """M."""
        return int(self.visits.rows.shape[1])

    def cotangents(self, count: int) -> Cotangents:
        """K of every sequence, all 0."""
        return Cotangents(self.xp, self.sequences, count, self.widths)

    def pull(self, visit: int, g: Cotangents, weights: bool = False) -> list[Any]:
        """Turn cotangents of the states after a visit into those of the states before it, in place.

        Args:
            visit: its number.
            g: M sequences, of which those that do not run keep their cotangents.
            weights: give the shares of the weights too, valid until the next call.

        Returns:
            for each weight its :class:`Outer`, or whatever has ``scaled`` and ``log_norm``; None for one that is
            missing.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how a step is pulled back")


class Frozen(Steps):
    """Steps by the equations at the top of this file.

    Args:
        visits: which rows are read.
        x: the input, one row for each step and sequence (S, I).
        y: the output, likewise (S, R).
        states: the initial ones, (M, W) each.
        weights: W_ih, W_hh, b_ih, b_hh (and W_hr), as the layer has them, or None.
    """

    def __init__(
        self, visits: Visits, x: Array, y: Array, states: Sequence[Array], weights: Sequence[Array | None]
    ) -> None:
        self.xp = xp = array_module(x)
        self.visits = visits
        self.widths = tuple([s.shape[-1] for s in states])
        self.weights = [None if w is None else xp.asarray(w, np.float64) for w in weights]
        rows = xp.asarray(visits.rows)
        self.x = xp.asarray(x, np.float64)[rows]  # (L, M, I)
        self.after = xp.asarray(y, np.float64)[rows]
        self.active = self._active()
        h = xp.asarray(states[0], np.float64)
        first = xp.empty_like(self.after)
        if len(first):
            first[0] = h
            first[1:] = self.after[:-1]
            if self.active is not None:  # a sequence that does not run at the visit before begins here
                first[1:] = xp.where(self.active[:-1], first[1:], h)
        self.before = [first]
        self._work: dict[tuple[int, ...], list[Array]] = {}
        self._freeze(states)

    def _active(self) -> Any:
        """Which sequences run at which visit (L, M, 1); None if all do."""
        m = self.sequences
        if all(size == m for size in self.visits.sizes):
            return None
        return self.xp.asarray(np.asarray(self.visits.sizes)[:, None, None] > np.arange(m)[None, :, None])

    def _freeze(self, states: Sequence[Array]) -> None:
        """Compute what the way back reads."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it keeps")

    def _products(self) -> tuple[Array, Array]:
        """``W_ih x + b_ih`` and ``W_hh h + b_hh`` at all visits."""
        w_ih, w_hh, b_ih, b_hh = self.weights[:4]
        assert w_ih is not None and w_hh is not None
        of_x, of_h = _of_rows(self.x, w_ih.T), _of_rows(self.before[0], w_hh.T)
        if b_ih is not None:
            of_x += b_ih
        if b_hh is not None:
            of_h += b_hh
        return of_x, of_h

    def _buffers(self, *shapes: tuple[int, ...]) -> list[Array]:
        key = tuple([n for shape in shapes for n in shape])
        found = self._work.get(key)
        if found is None:
            self._work.clear()
            found = self._work[key] = [self.xp.empty(shape) for shape in shapes]
        return found

    def _of_gates(self, visit: int, dz: Array, dz_h: Array, n: int, log: Array) -> list[Any]:
        """The shares of the four weights of a plain layer."""
        b_ih, b_hh = self.weights[2:4]
        return [
            Outer(dz, self.x[visit, :n], log),
            Outer(dz_h, self.before[0][visit, :n], log),
            None if b_ih is None else Outer(dz, None, log),
            None if b_hh is None else Outer(dz_h, None, log),
        ]


def _of_rows(a: Array, weight: Array) -> Array:
    """``a @ weight`` for a (L, M, A), as one product."""
    found: Array = a.reshape(-1, a.shape[-1]) @ weight
    return found.reshape(*a.shape[:-1], weight.shape[1])


def _times(rows: Array, weight: Array, out: Array) -> None:
    """``rows @ weight`` for rows (M, K, A), as one product."""
    array_module(rows).matmul(rows.reshape(-1, rows.shape[-1]), weight, out=out.reshape(-1, out.shape[-1]))


def _sigmoid(xp: Any, a: Array) -> Array:
    """Without overflow, and without cancellation where it is near 0."""
    e = xp.exp(-abs(a))
    found: Array = xp.where(a >= 0, 1, e) / (1 + e)
    return found


class RNNSteps(Frozen):
    """Those of a plain RNN; ``nonlinearity`` is "tanh" or "relu"."""

    names = ("h",)

    def __init__(self, nonlinearity: str, *given: Any) -> None:
        self.nonlinearity = nonlinearity
        super().__init__(*given)

    def _freeze(self, states: Sequence[Array]) -> None:
        h = self.after
        factor = 1 - h * h if self.nonlinearity == "tanh" else (h > 0).astype(np.float64)
        self.factor = factor[:, :, None]
        self.gates, self.slopes = {}, {self.nonlinearity: factor}

    def pull(self, visit: int, g: Cotangents, weights: bool = False) -> list[Any]:
        n = self.visits.sizes[visit]
        v, w = g.values[0][:n], self.weights[1]
        assert w is not None
        (dz,) = self._buffers(v.shape)
        self.xp.multiply(v, self.factor[visit, :n], out=dz)
        _times(dz, w, v)
        return self._of_gates(visit, dz, dz, n, g.log[:n]) if weights else []


class LSTMSteps(Frozen):
    """Those of an LSTM, with or without a projection."""

    names = ("h", "c")

    def _freeze(self, states: Sequence[Array]) -> None:
        xp = self.xp
        of_x, of_h = self._products()
        size = self.widths[1]
        a = of_x + of_h
        i, f, o = (_sigmoid(xp, a[..., k * size : (k + 1) * size]) for k in (0, 1, 3))
        g = xp.tanh(a[..., 2 * size : 3 * size])
        before, c = xp.empty_like(i), xp.empty_like(i)
        state = xp.asarray(states[1], np.float64)
        for visit in range(self.length):
            before[visit] = state
            new = f[visit] * state + i[visit] * g[visit]
            if self.active is not None:
                new = xp.where(self.active[visit], new, state)
            c[visit] = state = new
        self.before.append(before)
        t = xp.tanh(c)
        self.gates = {"i": i, "f": f, "g": g, "o": o}
        self.inner = o * t  # of which a projection is made
        self.of_h = (o * (1 - t * t))[:, :, None]
        self.slopes = {"i": i * (1 - i), "f": f * (1 - f), "g": 1 - g * g, "o": o * (1 - o), "tanh(c)": 1 - t * t}
        factors = (g * i * (1 - i), before * f * (1 - f), i * (1 - g * g), t * o * (1 - o))
        self.factors = [factor[:, :, None] for factor in factors]
        self.forget = f[:, :, None]

    def pull(self, visit: int, g: Cotangents, weights: bool = False) -> list[Any]:
        xp, n, size = self.xp, self.visits.sizes[visit], self.widths[1]
        v, u = g.values[0][:n], g.values[1][:n]
        w, w_hr = self.weights[1], self.weights[4]
        assert w is not None
        m, k = u.shape[:2]
        dz, scratch, inner, kept = self._buffers((m, k, 4 * size), u.shape, u.shape, v.shape)
        of_inner = v
        if w_hr is not None:
            if weights:
                kept[...] = v
            _times(v, w_hr, inner)
            of_inner = inner
        xp.multiply(of_inner, self.of_h[visit, :n], out=scratch)
        u += scratch
        for number, factor in enumerate(self.factors):
            block = dz[..., number * size : (number + 1) * size]
            xp.multiply(of_inner if number == 3 else u, factor[visit, :n], out=block)
        u *= self.forget[visit, :n]
        _times(dz, w, v)
        if not weights:
            return []
        shares = self._of_gates(visit, dz, dz, n, g.log[:n])
        return [*shares, None if w_hr is None else Outer(kept, self.inner[visit, :n], g.log[:n])]


class GRUSteps(Frozen):
    """Those of a GRU whose reset gate acts after the product, as in PyTorch."""

    names = ("h",)

    def _freeze(self, states: Sequence[Array]) -> None:
        xp, (h,) = self.xp, self.before
        of_x, of_h = self._products()
        size = self.widths[0]
        r, z = (_sigmoid(xp, (of_x + of_h)[..., k * size : (k + 1) * size]) for k in (0, 1))
        q = of_h[..., 2 * size :]
        n = xp.tanh(of_x[..., 2 * size :] + r * q)
        self.gates = {"r": r, "z": z, "n": n}
        self.slopes = {"r": r * (1 - r), "z": z * (1 - z), "n": 1 - n * n}
        factors = ((1 - z) * (1 - n * n), (h - n) * z * (1 - z), q * r * (1 - r), r, z)
        self.factors = [factor[:, :, None] for factor in factors]

    def pull(self, visit: int, g: Cotangents, weights: bool = False) -> list[Any]:
        xp, count, size = self.xp, self.visits.sizes[visit], self.widths[0]
        v, w = g.values[0][:count], self.weights[1]
        assert w is not None
        of_n, of_z, of_r, r, z = [factor[visit, :count] for factor in self.factors]
        m, k = v.shape[:2]
        dz, p, carried = self._buffers((m, k, 3 * size), v.shape, v.shape)
        xp.multiply(v, of_n, out=p)
        xp.multiply(p, of_r, out=dz[..., :size])
        xp.multiply(v, of_z, out=dz[..., size : 2 * size])
        xp.multiply(p, r, out=dz[..., 2 * size :])
        xp.multiply(v, z, out=carried)
        _times(dz, w, v)
        v += carried
        if not weights:
            return []
        of_x = dz.copy()
        of_x[..., 2 * size :] = p
        return self._of_gates(visit, of_x, dz, count, g.log[:count])


def host(values: Any) -> Array:
    """An array of the layer's as a float64 array of NumPy's."""
    return np.asarray(to_numpy(values), np.float64)
