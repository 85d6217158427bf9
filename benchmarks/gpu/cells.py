"""Family ``cells``: compiled cells, against the kernels that are written by hand and against PyTorch's eager loop.

Generated and written kernels get the same arrays, without a tape: what differs is the kernels and their drivers.  The
loop is what a user of PyTorch writes for a cell that cuDNN does not have; ours is the whole of ``sequence``, with the
tape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.kernels.recurrent.interface import Cotangents, Needs, Options, Weights
from tinygrad_rnn.ops.compiler.cell import CompiledCell, compile_step
from tinygrad_rnn.ops.recurrent.cells import gru_cell, lstm_cell, rnn_cell
from tinygrad_rnn.ops.recurrent.unroll import unroll

from .clock import milliseconds
from .places import Places
from .reference import Work, distance, host
from .rows import Rows

__all__ = ["CELLS", "cells"]

WRITTEN: dict[str, Callable[..., Any]] = {"LSTM": lstm_cell, "GRU": gru_cell, "RNN": rnn_cell}
SAME = 1.05
"""The time of generated kernels over that of written ones that is meant to be reached."""


class Step(NamedTuple):
    """A cell in functions that both libraries have.

    Attributes:
        shapes: of its parameters, for H units and inputs.
        states: how many.
        step: ``step(lib, parameters, x, states) -> states``.
    """

    shapes: Callable[[int], Mapping[str, tuple[int, ...]]]
    states: int
    step: Callable[[Any, Mapping[str, Any], Any, tuple[Any, ...]], tuple[Any, ...]]


def _gated(lib: Any, a: Any, h: int, c: Any, norm: Callable[[Any], Any] = lambda c: c) -> tuple[Any, ...]:
    i, f, o = (lib.sigmoid(a[:, k * h : (k + 1) * h]) for k in (0, 1, 3))
    c = f * c + i * lib.tanh(a[:, 2 * h : 3 * h])
    return o * lib.tanh(norm(c)), c


def _layer_norm(lib: Any, p: Mapping[str, Any], x: Any, s: tuple[Any, ...]) -> tuple[Any, ...]:
    h = s[1].shape[1]
    normed = partial(lib.nn.functional.layer_norm)
    a = normed(x @ p["W"], (4 * h,), p["gain_x"]) + normed(s[0] @ p["U"], (4 * h,), p["gain_h"], p["b"])
    return _gated(lib, a, h, s[1], lambda c: normed(c, (h,), p["gain_c"]))


def _peepholes(lib: Any, p: Mapping[str, Any], x: Any, s: tuple[Any, ...]) -> tuple[Any, ...]:
    before, c = s
    h = c.shape[1]
    a = x @ p["W"] + before @ p["U"] + p["b"]
    i, f = lib.sigmoid(a[:, :h] + p["of_i"] * c), lib.sigmoid(a[:, h : 2 * h] + p["of_f"] * c)
    c = f * c + i * lib.tanh(a[:, 2 * h : 3 * h])
    return lib.sigmoid(a[:, 3 * h :] + p["of_o"] * c) * lib.tanh(c), c


def _coupled(lib: Any, p: Mapping[str, Any], x: Any, s: tuple[Any, ...]) -> tuple[Any, ...]:
    before, c = s
    h = c.shape[1]
    a = x @ p["W"] + before @ p["U"] + p["b"]
    f = lib.sigmoid(a[:, :h])
    c = f * c + (1 - f) * lib.tanh(a[:, h : 2 * h])
    return lib.sigmoid(a[:, 2 * h :]) * lib.tanh(c), c


def _reset_before(lib: Any, p: Mapping[str, Any], x: Any, s: tuple[Any, ...]) -> tuple[Any, ...]:
    (h,) = s
    n = h.shape[1]
    a, b = x @ p["W"] + p["b"], h @ p["U"]
    r, z = lib.sigmoid(a[:, :n] + b[:, :n]), lib.sigmoid(a[:, n : 2 * n] + b[:, n:])
    return (z * h + (1 - z) * lib.tanh(a[:, 2 * n :] + (r * h) @ p["V"]),)


def _sru(lib: Any, p: Mapping[str, Any], x: Any, s: tuple[Any, ...]) -> tuple[Any, ...]:
    _, c = s
    n = c.shape[1]
    a = x @ p["W"]
    f = lib.sigmoid(a[:, n : 2 * n] + p["of_f"] * c + p["b_f"])
    r = lib.sigmoid(a[:, 2 * n : 3 * n] + p["of_r"] * c + p["b_r"])
    c = f * c + (1 - f) * a[:, :n]
    return r * c + (1 - r) * a[:, 3 * n :], c


def _highway(lib: Any, p: Mapping[str, Any], x: Any, s: tuple[Any, ...]) -> tuple[Any, ...]:
    (h,) = s
    n = h.shape[1]
    a = x @ p["W"] + h @ p["U"] + p["b"]
    for _ in range(2):
        t = lib.sigmoid(a[:, n:])
        h = t * lib.tanh(a[:, :n]) + (1 - t) * h
        a = h @ p["V"] + p["b"]
    return (h,)


CELLS = {
    "layer-norm LSTM": Step(
        lambda h: {
            **{"W": (h, 4 * h), "U": (h, 4 * h), "b": (4 * h,)},
            **{"gain_x": (4 * h,), "gain_h": (4 * h,), "gain_c": (h,)},
        },
        2,
        _layer_norm,
    ),
    "peephole LSTM": Step(
        lambda h: {"W": (h, 4 * h), "U": (h, 4 * h), "b": (4 * h,), "of_i": (h,), "of_f": (h,), "of_o": (h,)},
        2,
        _peepholes,
    ),
    "coupled LSTM": Step(lambda h: {"W": (h, 3 * h), "U": (h, 3 * h), "b": (3 * h,)}, 2, _coupled),
    "GRU, reset before": Step(
        lambda h: {"W": (h, 3 * h), "U": (h, 2 * h), "V": (h, h), "b": (3 * h,)}, 1, _reset_before
    ),
    "SRU": Step(lambda h: {"W": (h, 4 * h), "of_f": (h,), "of_r": (h,), "b_f": (h,), "b_r": (h,)}, 2, _sru),
    "highway RNN": Step(lambda h: {"W": (h, 2 * h), "U": (h, 2 * h), "V": (h, 2 * h), "b": (2 * h,)}, 1, _highway),
}


def cells(rows: Rows, places: Places) -> None:
    """Both comparisons, each once its results are known to be right."""
    if places.ours == "cpu" and not dispatch.numba_installed():
        rows.add("cells", note="there are kernels of cells for GPUs, and with Numba")
        return
    sizes = places.sizes([(64, 32, 64), (256, 16, 64), (512, 16, 64)], [(256, 16, 64)], [(4, 2, 3)])
    for kind in WRITTEN:
        for size in sizes:
            work = Work(kind, *size)
            rows.attempt(f"generated {work.key}", partial(_written, rows, places, work))
    for name in CELLS:
        for H, N, T in sizes[:2]:  # a kernel takes seconds to compile
            key = f"{name} H={H} N={N} T={T}"
            rows.attempt(key, partial(_loop, rows, places, key, CELLS[name], (H, N, T)))


def _written(rows: Rows, places: Places, work: Work) -> None:
    """Generated kernels and written ones on the same arrays."""
    numbers = work.numbers()
    key = f"generated {work.key}"
    written = dispatch.CELLS[work.kind.lower()]
    names = [name for name in numbers if name[:6] in ("weight", "bias_i", "bias_h")]
    there = {name: tg.tensor(a).to(places.ours) for name, a in numbers.items()}
    p = {name[:-3]: there[name].requires_grad_() for name in names}
    step = WRITTEN[work.kind]
    made = compile_step(
        lambda x, s: step(x, *s, **p), work.H, (work.H,) * written.states, p, dtype=np.float32, name=work.kind
    )
    states = tuple([there[f"{s}0"][0]._data for s in "hc"[: written.states]])
    ends = tuple([there[f"d{s}n"][0]._data for s in "hc"[: written.states]])
    x, dy = there["x"]._data, there["dy"]._data
    weights = Weights(*[p[name]._data for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")])
    matrices, vectors = made.program.prelude.run(p)
    generated = tuple([t._data for t in (*matrices, *vectors)])

    def ways(cell: Any, given: tuple[Any, ...]) -> tuple[Callable[[], Any], Callable[[], Any]]:
        needs = Needs(True, (True,) * len(states), (True,) * 4)

        def run() -> Any:
            return dispatch.forward(cell, x, states, given, Options())

        def both() -> Any:
            result = run()
            left = dispatch.backward(x, states, given, Options(), result.residual, Cotangents((dy,), ends), needs)
            return [*result.series, *result.states, left.x, *left.states, *left.weights[:4]]

        return run, both

    ours, theirs = ways(made, generated), ways(written, weights)
    found, expected = ({str(k): host(tg.tensor(a)) for k, a in enumerate(both())} for _, both in (ours, theirs))
    error, _ = distance(found, expected)
    times = [milliseconds(tg, places.ours, job) for way in (ours, theirs) for job in way]
    row = dict(zip(("forward", "both", "by hand forward", "by hand both"), times, strict=True))
    ratio = row["both"] / row["by hand both"]
    rows.add(
        key, **row, ratio=ratio, **{"forward ratio": row["forward"] / row["by hand forward"]}, goal=SAME, error=error
    )


def _loop(rows: Rows, places: Places, key: str, cell: Step, size: tuple[int, int, int]) -> None:
    """A compiled cell, and PyTorch's loop over the same step."""
    H, N, T = size
    rng = np.random.default_rng([H, N, T])
    values = {k: (rng.standard_normal(shape) * H**-0.5).astype("f") for k, shape in cell.shapes(H).items()}
    x = rng.standard_normal((T, N, H)).astype("f")
    states = [(rng.standard_normal((N, H)) * 0.5).astype("f") for _ in range(cell.states)]
    dy, ends = rng.standard_normal((T, N, H)).astype("f"), [rng.standard_normal((N, H)).astype("f") for _ in states]
    mine = _job(places.ours, cell, values, x, states, (dy, *ends), compiled=True)
    job, made = mine
    expected = _job("cpu", cell, values, x, states, (dy, *ends), dtype="float64")[0]()
    names = [str(k) for k in range(len(expected))]
    error, where = distance(*[dict(zip(names, map(host, found), strict=True)) for found in (job(), expected)])
    rows.add(key, H=H, N=N, T=T, way=_way(places, made, x, states), error=error)
    if not error < 1e-3:
        rows.add(key, failed=f"wrong result in number {where}")
        return
    both = milliseconds(tg, places.ours, job)
    rows.add(key, both=both, **{"us per step": both * 1e3 / T})
    torch = places.torch()
    if torch is not None:
        loop = milliseconds(
            torch, places.theirs, _torch_job(torch, places.theirs, cell, values, x, states, (dy, *ends)), repetitions=5
        )
        rows.add(key, **{"torch both": loop, "ratio": both / loop, "goal": 0.5})


def _way(places: Places, made: CompiledCell | None, x: Any, states: list[Any]) -> str:
    """How a GPU runs it."""
    if made is None or places.ours == "cpu":
        return "on the CPU"
    kernel: Any = made.kernel("cuda")
    found = kernel.explain(
        tg.tensor(x).to(places.ours)._data, tuple([tg.tensor(s).to(places.ours)._data for s in states])
    )
    return str(found).partition(",")[0].partition(":")[0]


def _job(
    device: str,
    cell: Step,
    values: Mapping[str, Any],
    x: Any,
    states: list[Any],
    cotangents: tuple[Any, ...],
    *,
    dtype: str = "float32",
    compiled: bool = False,
) -> tuple[Callable[[], list[Any]], CompiledCell | None]:
    """Forward and backward of ours, compiled or step by step: the outputs, then all gradients."""

    def there(a: Any) -> Any:
        return tg.tensor(a.astype(dtype)).to(device)

    p = {name: there(a).requires_grad_() for name, a in values.items()}
    of_x, first = there(x).requires_grad_(), tuple([there(s).requires_grad_() for s in states])
    gs = [there(g) for g in cotangents]

    def step(x_t: Any, now: Any) -> Any:
        return cell.step(tg, p, x_t, now)

    widths = tuple([s.shape[1] for s in states])
    made = compile_step(step, x.shape[2], widths, p, dtype=dtype) if compiled else None

    def both() -> list[Any]:
        (y,), finals = unroll(step, of_x, first) if made is None else made.sequence(of_x, first, p)
        inputs = [of_x, *first, *p.values()]  # of which SRU does not read the first state
        return [y, *finals, *tg.autograd.grad([y, *finals], inputs, gs, allow_unused=True, materialize_grads=True)]

    return both, made


def _torch_job(
    torch: Any,
    device: str,
    cell: Step,
    values: Mapping[str, Any],
    x: Any,
    states: list[Any],
    cotangents: tuple[Any, ...],
) -> Callable[[], Any]:
    """The loop in PyTorch, forward and backward."""
    p = {name: torch.tensor(a).to(device).requires_grad_() for name, a in values.items()}
    of_x = torch.tensor(x).to(device).requires_grad_()
    first = tuple([torch.tensor(s).to(device).requires_grad_() for s in states])
    gs = [torch.tensor(g).to(device) for g in cotangents]

    def both() -> Any:
        now: Any = first
        outputs = []
        for x_t in of_x.unbind(0):
            now = cell.step(torch, p, x_t, now)
            outputs.append(now[0])
        return torch.autograd.grad([torch.stack(outputs), *now], [of_x, *first, *p.values()], gs, allow_unused=True)

    return both
