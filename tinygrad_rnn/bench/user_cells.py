"""Cells that no library has kernels for: ours compiled, against ours step by step and PyTorch's loop over the steps.

Each is written once, for any library with the names that PyTorch's modules have: the same text is the cell of both.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from .agreement import agree
from .layers import two_of_ours, with_numpy_kernels
from .measure import COMPOSED, NUMPY_KERNELS, OURS, Goals, Job

__all__ = ["GRID", "USER_CELLS", "user_cell_goals", "user_cell_jobs"]

GRID = [(32, 8, 32), (64, 32, 64), (1000, 1, 32)]
"""(T, N, H): steps, batch, hidden units; the input has H features too."""

USER_CELLS: dict[str, Callable[[Any], Callable[[int, int], Any]]] = {}
"""By name: of a library, what makes the cell, a module with ``hidden_size``, for I features and H units."""


def user_cell_goals(T: int, N: int, H: int) -> Goals:
    """The upper bounds of the ratios that we aim at."""
    composed, eager = {(32, 8, 32): (0.10, 0.15), (64, 32, 64): (0.25, 0.35), (1000, 1, 32): (0.01, 0.02)}[T, N, H]
    return {OURS: {COMPOSED: composed, "torch": eager}}


def user_cell_jobs(name: str, T: int, N: int, H: int, *, torch: bool) -> dict[str, Job]:
    """A forward and backward pass over a sequence, checked to agree: the gradients of x, and of all weights.

    Raises:
        AssertionError: gradients differ by more than rounding explains.
    """
    x = np.random.default_rng(0).standard_normal((T, N, H)).astype(np.float32)
    tg.manual_seed(0)
    ours = USER_CELLS[name](tg)(H, H)
    jobs = {
        OURS: _layer_job(tg.nn.RNNLayer(ours, H, impl="compiled"), x),
        COMPOSED: _layer_job(tg.nn.RNNLayer(ours, H, impl="composed"), x),
    }
    if two_of_ours():
        jobs[NUMPY_KERNELS] = with_numpy_kernels(jobs[OURS])
    if torch:
        library: Any = importlib.import_module("torch")
        theirs = USER_CELLS[name](library)(H, H)
        theirs.load_state_dict({key: library.tensor(value.numpy()) for key, value in ours.state_dict().items()})
        jobs["torch"] = _loop_job(library, theirs, x)
    agree(name, jobs, 2e-3)
    return jobs


def _gradients(x: Any, cell: Any) -> Any:
    return np.concatenate([p.grad.numpy().ravel() for p in (x, *cell.parameters()) if p.grad is not None])


class _Result:
    """The gradients that a pass has left, as one array if that is asked for: to put them together is no part of it."""

    def __init__(self, x: Any, cell: Any) -> None:
        self.x, self.cell = x, cell

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(_gradients(self.x, self.cell), dtype)


def _layer_job(layer: Any, values: Any) -> Job:
    x = tg.tensor(values, requires_grad=True)

    def run() -> Any:
        layer.zero_grad()
        x.grad = None
        layer(x)[0].sum().backward()
        return _Result(x, layer)

    return run


def _loop_job(library: Any, cell: Any, values: Any) -> Job:
    x = library.tensor(values, requires_grad=True)
    widths = cell.hidden_size if isinstance(cell.hidden_size, tuple) else (cell.hidden_size,)
    rows = values.shape[1]

    def run() -> Any:
        cell.zero_grad()
        x.grad = None
        states = tuple([library.zeros(rows, width) for width in widths])
        state = states if len(states) > 1 else states[0]
        outputs = []
        for x_t in x:
            state = cell(x_t, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        library.stack(outputs).sum().backward()
        return _Result(x, cell)

    return run


def _cell(states: int = 1) -> Callable[[Callable[[Any], type]], Callable[[Any], type]]:
    """Enter a cell under its name in words; it has that many states of H units."""

    def enter(make: Callable[[Any], type]) -> Callable[[Any], type]:
        def made(library: Any) -> Any:
            kind = make(library)

            def cell(size: int, hidden: int) -> Any:
                found = kind(size, hidden)
                if not hasattr(found, "hidden_size"):
                    found.hidden_size = hidden if states == 1 else (hidden,) * states
                return found

            return cell

        USER_CELLS[make.__name__.strip("_").replace("_", " ")] = made
        return make

    return enter


def _vector(library: Any, size: int, value: float = 0.5) -> Any:
    return library.nn.Parameter(library.full((size,), value))


@_cell(2)
def _layer_norm_LSTM(lib: Any) -> type:
    """Ba, Kiros and Hinton, "Layer normalization" (2016), equations 20 to 22."""

    class Cell(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            self.x, self.h = (lib.nn.Linear(k, 4 * hidden, bias=False) for k in (size, hidden))
            self.norm_x, self.norm_h = (lib.nn.LayerNorm(4 * hidden) for _ in "xh")
            self.norm_c = lib.nn.LayerNorm(hidden)

        def forward(self, x: Any, state: Any) -> Any:
            h, c = state
            i, f, g, o = (self.norm_x(self.x(x)) + self.norm_h(self.h(h))).chunk(4, 1)
            c = lib.sigmoid(f) * c + lib.sigmoid(i) * lib.tanh(g)
            return lib.sigmoid(o) * lib.tanh(self.norm_c(c)), c

    return Cell


@_cell(2)
def _peephole_LSTM(lib: Any) -> type:
    """Gers and Schmidhuber, "Recurrent nets that time and count" (2000)."""

    class Cell(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            self.x, self.h = lib.nn.Linear(size, 4 * hidden), lib.nn.Linear(hidden, 4 * hidden, bias=False)
            self.p_i, self.p_f, self.p_o = (_vector(lib, hidden) for _ in "ifo")

        def forward(self, x: Any, state: Any) -> Any:
            h, c = state
            i, f, g, o = (self.x(x) + self.h(h)).chunk(4, 1)
            i, f = lib.sigmoid(i + self.p_i * c), lib.sigmoid(f + self.p_f * c)
            c = f * c + i * lib.tanh(g)
            return lib.sigmoid(o + self.p_o * c) * lib.tanh(c), c

    return Cell


@_cell(2)
def _coupled_gate_LSTM(lib: Any) -> type:
    """Greff et al., "LSTM: a search space odyssey" (2015): the input gate is 1 - f."""

    class Cell(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            self.x, self.h = lib.nn.Linear(size, 3 * hidden), lib.nn.Linear(hidden, 3 * hidden, bias=False)

        def forward(self, x: Any, state: Any) -> Any:
            h, c = state
            f, g, o = (self.x(x) + self.h(h)).chunk(3, 1)
            f = lib.sigmoid(f)
            c = f * c + (1 - f) * lib.tanh(g)
            return lib.sigmoid(o) * lib.tanh(c), c

    return Cell


@_cell(2)
def _LSTM_of_eight_Linears(lib: Any) -> type:
    """The LSTM as it is written by who writes it for the first time."""

    class Cell(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            for gate in "ifgo":
                setattr(self, f"x{gate}", lib.nn.Linear(size, hidden))
                setattr(self, f"h{gate}", lib.nn.Linear(hidden, hidden))

        def forward(self, x: Any, state: Any) -> Any:
            h, c = state
            i = lib.sigmoid(self.xi(x) + self.hi(h))
            f = lib.sigmoid(self.xf(x) + self.hf(h))
            g = lib.tanh(self.xg(x) + self.hg(h))
            o = lib.sigmoid(self.xo(x) + self.ho(h))
            c = f * c + i * g
            return o * lib.tanh(c), c

    return Cell


@_cell()
def _GRU_of_Cho_et_al(lib: Any) -> type:
    """Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014), equation 8."""

    class Cell(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            self.x, self.h = lib.nn.Linear(size, 3 * hidden), lib.nn.Linear(hidden, 2 * hidden, bias=False)
            self.n = lib.nn.Linear(hidden, hidden, bias=False)

        def forward(self, x: Any, h: Any) -> Any:
            r, z, n = self.x(x).chunk(3, 1)
            of_r, of_z = self.h(h).chunk(2, 1)
            r, z = lib.sigmoid(r + of_r), lib.sigmoid(z + of_z)
            return (1 - z) * lib.tanh(n + self.n(r * h)) + z * h

    return Cell


@_cell()
def _minimal_gated_unit(lib: Any) -> type:
    """Zhou et al., "Minimal gated unit for recurrent neural networks" (2016)."""

    class Cell(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            self.gate, self.candidate = (lib.nn.Linear(size + hidden, hidden) for _ in range(2))

        def forward(self, x: Any, h: Any) -> Any:
            f = lib.sigmoid(self.gate(lib.cat([x, h], 1)))
            return (1 - f) * h + f * lib.tanh(self.candidate(lib.cat([x, f * h], 1)))

    return Cell


@_cell()
def _highway_RNN(lib: Any) -> type:
    """Zilly et al., "Recurrent highway networks" (2017), of depth 2."""

    class Cell(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            self.x = lib.nn.Linear(size, 2 * hidden, bias=False)
            self.first, self.second = (lib.nn.Linear(hidden, 2 * hidden) for _ in range(2))

        def forward(self, x: Any, s: Any) -> Any:
            h, t = (self.x(x) + self.first(s)).chunk(2, 1)
            s = s + lib.sigmoid(t) * (lib.tanh(h) - s)
            h, t = self.second(s).chunk(2, 1)
            return s + lib.sigmoid(t) * (lib.tanh(h) - s)

    return Cell


@_cell(2)
def _SRU(lib: Any) -> type:
    """Lei et al., "Simple recurrent units for highly parallelizable recurrence" (2018); the states are h and c."""

    class Cell(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            self.x = lib.nn.Linear(size, 3 * hidden)
            self.v_f, self.v_r = (_vector(lib, hidden) for _ in "fr")

        def forward(self, x: Any, state: Any) -> Any:
            _, c = state
            u, f, r = self.x(x).chunk(3, 1)
            f, r = lib.sigmoid(f + self.v_f * c), lib.sigmoid(r + self.v_r * c)
            c = f * c + (1 - f) * u
            return r * c + (1 - r) * x, c

    return Cell


@_cell()
def _minGRU(lib: Any) -> type:
    """Feng et al., "Were RNNs all we needed?" (2024)."""

    class Cell(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            self.x = lib.nn.Linear(size, 2 * hidden)

        def forward(self, x: Any, h: Any) -> Any:
            z, n = self.x(x).chunk(2, 1)
            z = lib.sigmoid(z)
            return (1 - z) * h + z * n

    return Cell


@_cell()
def _indRNN(lib: Any) -> type:
    """Li et al., "Independently recurrent neural network (IndRNN)" (2018)."""

    class Cell(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            self.x, self.u = lib.nn.Linear(size, hidden), _vector(lib, hidden)

        def forward(self, x: Any, h: Any) -> Any:
            return lib.relu(self.x(x) + self.u * h)

    return Cell


@_cell()
def _antisymmetric_RNN(lib: Any) -> type:
    """Chang et al., "AntisymmetricRNN: a dynamical system view on recurrent neural networks" (2019), gated."""

    class Cell(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            self.x, self.gate = (lib.nn.Linear(size, hidden) for _ in range(2))
            self.w = lib.nn.Parameter(0.1 * lib.randn(hidden, hidden))

        def forward(self, x: Any, h: Any) -> Any:
            a = h @ (self.w - self.w.T).T - 0.01 * h
            return h + 0.1 * lib.sigmoid(a + self.gate(x)) * lib.tanh(a + self.x(x))

    return Cell


@_cell()
def _two_time_scales(lib: Any) -> type:
    """Mikolov et al., "Learning longer memory in recurrent neural networks" (2015): H units and a slow context."""

    class Cell(lib.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            self.hidden_size = (hidden, hidden // 2)
            self.context = lib.nn.Linear(size, hidden // 2, bias=False)
            self.hidden = lib.nn.Linear(size + hidden + hidden // 2, hidden)

        def forward(self, x: Any, state: Any) -> Any:
            h, s = state
            s = 0.05 * self.context(x) + 0.95 * s
            return lib.sigmoid(self.hidden(lib.cat([x, h, s], 1))), s

    return Cell
