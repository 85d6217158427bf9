"""Every solution of the course against the package's own engine, or where it has no part in it, another computation.

The solutions are NumPy by hand; here the same mathematics is written forwards only, and automatic differentiation goes
back.  So a slip in a derivation cannot stand in a solution and in what it is compared with.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.autograd.functional import jacobian
from tinygrad_rnn.teaching import engine
from tinygrad_rnn.teaching.course.catalogue import exercises
from tinygrad_rnn.teaching.course.exercise import Exercise

F = tg.nn.functional
TRUTHS: dict[str, Callable[..., Any]] = {}
"""By the name of an exercise: of a case, its results."""


def truth(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter how the results of an exercise are found otherwise."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        assert name not in TRUTHS
        TRUTHS[name] = function
        return function

    return enter


@pytest.mark.parametrize("exercise", exercises(), ids=lambda e: e.name)
def test_the_solution_is_what_automatic_differentiation_finds(exercise: Exercise) -> None:
    for number, case in enumerate(exercise.drawn(), 1):
        with np.errstate(divide="ignore"):
            found, expected = exercise.tried(exercise.solution, case), TRUTHS[exercise.name](*case)
        several = len(exercise.returns) > 1
        pairs = zip(found, expected, strict=True) if several else [(found, expected)]
        for label, (mine, theirs) in zip(exercise.returns, pairs, strict=True):
            mine, theirs = np.asarray(mine, float), np.asarray(theirs, float)
            assert mine.shape == theirs.shape, (number, label)
            scale = max(1.0, np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0))
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12 * scale, err_msg=f"case {number}, {label}")


def test_all_of_them_are_raced() -> None:
    assert list(TRUTHS) == [e.name for e in exercises()]


# the engine ----------------------------------------------------------------------------------------------------------


def leaf(values: Any) -> Any:
    """A leaf with these numbers."""
    return tg.tensor(np.array(values, np.float64), requires_grad=True)


def constant(values: Any) -> Any:
    """No leaf, but numbers."""
    return tg.tensor(np.array(values, np.float64))


def logit(s: Any) -> Any:
    """What a sigmoid makes s of."""
    return np.log(s / (1 - s))


def pulled(result: Any, g: Any, *leaves: Any) -> list[Any]:
    """What the engine gives to leaves for a cotangent of the result."""
    found = tg.autograd.grad(result, leaves, constant(g), allow_unused=True)
    return [np.zeros(x.shape) if d is None else d.numpy() for x, d in zip(leaves, found, strict=True)]


# unit 1 --------------------------------------------------------------------------------------------------------------


@truth("chain-rule")
def _(x: Any) -> Any:
    a = leaf(x)
    y = a * tg.sin(a * a)
    return y.detach().numpy(), pulled(y, np.ones_like(x), a)[0]


@truth("add-mul")
def _(g: Any, a: Any, b: Any, c: Any) -> Any:
    a, b, c = map(leaf, (a, b, c))
    return pulled(a * b + c, g, a, b, c)


@truth("tanh")
def _(g: Any, x: Any) -> Any:
    x = leaf(x)
    return pulled(tg.tanh(x), g, x)[0]


@truth("relu")
def _(g: Any, x: Any) -> Any:
    x = leaf(x)
    return pulled(tg.relu(x), g, x)[0]


@truth("sum")
def _(g: Any, x: Any, axis: Any) -> Any:
    x = leaf(x)
    return pulled(x.sum() if axis is None else x.sum(axis), g, x)[0]


@truth("broadcast")
def _(g: Any, shape: Any) -> Any:
    x = leaf(np.zeros(shape))
    return pulled(x.expand(g.shape), g, x)[0]


@truth("matmul")
def _(G: Any, A: Any, B: Any) -> Any:
    A, B = leaf(A), leaf(B)
    return pulled(A @ B, G, A, B)


@truth("softmax")
def _(g: Any, x: Any) -> Any:
    x = leaf(x)
    return pulled(F.softmax(x, -1), g, x)[0]


@truth("cross-entropy")
def _(x: Any, target: Any) -> Any:
    x = leaf(x)
    return pulled(F.cross_entropy(x, tg.tensor(target)), 1.0, x)[0]


# unit 2: the same programs, run by the other engine ------------------------------------------------------------------


def replayed(program: str) -> tuple[dict[str, Any], list[Any], Any]:
    """A program run on tensors: its names, its leaves, and which value was computed from which."""
    leaves, values, parents = [], [], []

    def made(value: Any, *of: Any) -> Any:
        values.append(value)
        parents.append([next(k for k, v in enumerate(values) if v is each) for each in of])
        return value

    def new(value: float) -> Any:
        leaves.append(made(leaf(value)))
        return leaves[-1]

    names: dict[str, Any] = {
        "Value": new,
        "add": lambda a, b: made(a + b, a, b),
        "mul": lambda a, b: made(a * b, a, b),
        "tanh": lambda a: made(tg.tanh(a), a),
    }
    assert names.keys() <= {*engine.__all__}
    exec(program, names)
    edges = np.zeros((len(values), len(values)), int)
    for k, of in enumerate(parents):
        for p in of:
            edges[k, p] += 1
    names["reached"] = reached = np.zeros(len(values), bool)
    reached[next(k for k, v in enumerate(values) if v is names["y"])] = True
    for k in reversed(range(len(values))):
        if reached[k]:
            reached |= edges[k] > 0
    return names, leaves, edges


def gradients(leaves: Sequence[Any]) -> Any:
    """Those of the leaves; nan for none."""
    return np.array([np.nan if x.grad is None else x.grad.item() for x in leaves])


@truth("order")
def _(program: str) -> Any:
    names, _, _ = replayed(program)
    return np.flatnonzero(names["reached"])[::-1]


@truth("accumulate")
def _(program: str) -> Any:
    names, leaves, _ = replayed(program)
    if "z" in names:
        names["z"].backward(retain_graph=True)
    names["y"].backward()
    return gradients(leaves)


@truth("sweep")
def _(program: str, times: int) -> Any:
    names, leaves, edges = replayed(program)
    for _ in range(times):
        names["y"].backward(retain_graph=True)
    return gradients(leaves), edges[names["reached"]].sum() * times


@truth("free")
def _(program: str, retains: Any) -> Any:
    names, leaves, edges = replayed(program)
    refused = []
    for retain in retains:
        try:
            names["y"].backward(retain_graph=retain)
            refused.append(False)
        except RuntimeError:
            refused.append(True)
    inner = names["reached"] & (edges.sum(1) > 0)
    return gradients(leaves), inner & (not all(retains)), refused


# unit 3 --------------------------------------------------------------------------------------------------------------


@truth("shares")
def _(w: Any, xs: Any, h0: Any) -> Any:
    copies, h = [leaf(w) for _ in xs], constant(h0)
    for copy, x in zip(copies, xs, strict=True):
        h = tg.tanh(copy * h + x)
    return np.array(pulled(h, 1.0, *copies))


@truth("tied-matrix")
def _(W: Any, h0: Any, c: Any, T: int) -> Any:
    W, start = leaf(W), leaf(h0)
    h = start
    for _ in range(T):
        h = W @ h
    return pulled(h, c, W, start)


@truth("embedding")
def _(g: Any, idx: Any, V: int) -> Any:
    E = leaf(np.zeros((V, g.shape[1])))
    return pulled(F.embedding(tg.tensor(idx), E), g, E)[0]


# unit 4 --------------------------------------------------------------------------------------------------------------


@truth("rnn-step")
def _(g: Any, h: Any, x: Any, h_prev: Any, W: Any, U: Any) -> Any:
    b = leaf(np.arctanh(h) - x @ W.T - h_prev @ U.T)  # in every row the same, but for rounding
    x, h_prev, W, U = map(leaf, (x, h_prev, W, U))
    *found, db = pulled(tg.tanh(x @ W.T + h_prev @ U.T + b), g, x, h_prev, W, U, b)
    return *found, db.sum(0)


def bias_of(hs: Any, xs: Any, h0: Any, W: Any, U: Any) -> Any:
    """The bias with which an RNN made its first state."""
    return (np.arctanh(hs[0]) - xs[0] @ W.T - h0 @ U.T)[0]


@truth("rnn-bptt")
def _(gs: Any, hs: Any, xs: Any, h0: Any, W: Any, U: Any) -> Any:
    b = bias_of(hs, xs, h0, W, U)
    layer = tg.nn.RNN(W.shape[1], len(W), dtype=tg.float64)
    leaves = [leaf(xs), leaf(h0[None])]
    for parameter, values in zip(layer.parameters(), (W, U, b, 0 * b), strict=True):
        parameter.data.copy_(constant(values))
    output, _ = layer(*leaves)
    dxs, dh0, dW, dU, db, _ = pulled(output, gs, *leaves, *layer.parameters())
    return dxs, dh0[0], dW, dU, db


@truth("lstm-step")
def _(dh: Any, dc: Any, i: Any, f: Any, g: Any, o: Any, c: Any, c_prev: Any) -> Any:
    a_i, a_f, a_o = (leaf(logit(s)) for s in (i, f, o))
    a_g, before = leaf(np.arctanh(g)), leaf(c_prev)
    cell = tg.sigmoid(a_f) * before + tg.sigmoid(a_i) * tg.tanh(a_g)
    h = tg.sigmoid(a_o) * tg.tanh(cell)
    return pulled(tg.stack([h, cell]), [dh, dc], a_i, a_f, a_g, a_o, before)


@truth("lstm-bptt")
def _(gs: Any, gc: Any, gates: Any, cs: Any, hs: Any, xs: Any, h0: Any, c0: Any, W: Any, U: Any) -> Any:
    i, f, g, o = np.split(gates[0], 4, 1)
    b = (np.concatenate([logit(i), logit(f), np.arctanh(g), logit(o)], 1) - xs[0] @ W.T - h0 @ U.T)[0]
    layer = tg.nn.LSTM(W.shape[1], U.shape[1], dtype=tg.float64)
    for parameter, values in zip(layer.parameters(), (W, U, b, 0 * b), strict=True):
        parameter.data.copy_(constant(values))
    x, h, c = leaf(xs), leaf(h0[None]), leaf(c0[None])
    output, (_, last) = layer(x, (h, c))
    loss = (output * constant(gs)).sum() + (last * constant(gc)).sum()
    dxs, dh0, dc0, dW, dU, db, _ = pulled(loss, 1.0, x, h, c, *layer.parameters())
    return dxs, dh0[0], dc0[0], dW, dU, db


@truth("gru-step")
def _(g: Any, r: Any, z: Any, n: Any, q_n: Any, x: Any, h_prev: Any, W: Any, U: Any) -> Any:
    k = n.shape[1]
    # biases for every row alone, such that the values are those of the case
    q_rz = h_prev @ U[: 2 * k].T
    b = np.concatenate([logit(r), logit(z), np.arctanh(n) - r * q_n], 1) - x @ W.T
    b[:, : 2 * k] -= q_rz
    d = np.concatenate([0 * r, 0 * z, q_n - h_prev @ U[2 * k :].T], 1)
    x, h_prev, W, U, b, d = map(leaf, (x, h_prev, W, U, b, d))
    p, q = (x @ W.T + b).chunk(3, 1), (h_prev @ U.T + d).chunk(3, 1)
    reset, kept = tg.sigmoid(p[0] + q[0]), tg.sigmoid(p[1] + q[1])
    new = (1 - kept) * tg.tanh(p[2] + reset * q[2]) + kept * h_prev
    *found, db, dd = pulled(new, g, x, h_prev, W, U, b, d)
    return *found, db.sum(0), dd.sum(0)


@truth("gru-bptt")
def _(gs: Any, xs: Any, h0: Any, W: Any, U: Any, b: Any, d: Any) -> Any:
    layer = tg.nn.GRU(W.shape[1], U.shape[1], dtype=tg.float64)
    for parameter, values in zip(layer.parameters(), (W, U, b, d), strict=True):
        parameter.data.copy_(constant(values))
    x, h = leaf(xs), leaf(h0[None])
    output, _ = layer(x, h)
    dxs, dh0, *weights = pulled(output, gs, x, h, *layer.parameters())
    return output.detach().numpy(), dxs, dh0[0], *weights


# unit 5: the prediction against what many steps do --------------------------------------------------------------------


@truth("slope")
def _(W: Any) -> Any:
    # log |W^T| / T at T = 2^59, by squaring; sizes are kept aside as logarithms (Gelfand's formula)
    power, log_size = W, 0.0
    for _ in range(60):
        size = np.linalg.norm(power)
        if size == 0:
            return -np.inf
        log_size += np.log(size)
        power, last = power / size, log_size
        power, log_size = power @ power, 2 * log_size
    return last / 2.0**59


@truth("half-life")
def _(f: Any) -> Any:
    def left(gate: float) -> float:
        if gate in (0.0, 1.0):
            return np.inf if gate else 0.0
        low, high = 0.0, 1e6  # bisection of gate**k = 1/2
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if gate**middle > 0.5 else (low, middle)
        return low

    return np.vectorize(left)(f)


@truth("forget-bias")
def _(T: Any) -> Any:
    def set_to(steps: float) -> float:
        low, high = -20.0, 20.0  # bisection of sigmoid(2 b)**T = 1/2
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if steps * np.logaddexp(0, -2 * middle) > np.log(2) else (low, middle)
        return low

    return np.vectorize(set_to)(T)


# unit 6 --------------------------------------------------------------------------------------------------------------


@truth("jacobian-factor")
def _(W: Any, hs: Any) -> Any:
    W = constant(W)
    came = [constant(after) - W @ tg.tanh(constant(before)) for before, after in itertools.pairwise(hs)]

    def last(h: Any) -> Any:
        for x in came:
            h = W @ tg.tanh(h) + x
        return h * 1.0

    return jacobian(last, constant(hs[0])).numpy()


@truth("two-layers-tied")
def _(g: Any, x: Any, W1: Any, W2: Any) -> Any:
    W1, W2 = leaf(W1), leaf(W2)
    return pulled(tg.tanh(W1 @ tg.tanh(W2 @ constant(x))), g, W1, W2)


@truth("lstm-equations")
def _(a_i: Any, a_f: Any, a_g: Any, a_o: Any, h_prev: Any, c_prev: Any, g_prev: Any) -> Any:
    k = a_i.shape[1]
    cell = tg.nn.LSTMCell(4 * k, k, dtype=tg.float64)
    for parameter in cell.parameters():
        parameter.data.zero_()
    cell.weight_ih.data.copy_(tg.eye(4 * k, dtype=tg.float64))
    with tg.no_grad():
        h, c = cell(constant(np.concatenate([a_i, a_f, a_g, a_o], 1)), (constant(h_prev), constant(c_prev)))
    return h.numpy(), c.numpy()


@truth("lstm-output-weight")
def _(dh: Any, o: Any, c: Any, h_prev: Any, x: Any) -> Any:
    s = np.concatenate([h_prev, x], 1)
    W, b = leaf(np.zeros((o.shape[1], s.shape[1]))), leaf(logit(o))
    h = tg.sigmoid(constant(s) @ W.T + b) * tg.tanh(constant(c))
    dW, db = pulled(h, dh, W, b)
    return dW, db.sum(0)


@truth("distance-bound")
def _(n: Any, W: Any, last: float, gamma: float) -> Any:
    # reached by gamma times a network that stretches one direction as W can, and turns to it again at every step
    _, sizes, _ = np.linalg.svd(W)
    step = constant(np.eye(len(W)) * gamma * sizes[0])
    found = []
    for distance in n:
        first = leaf(np.zeros(len(W)))
        h = first
        for _ in range(distance):
            h = step @ h
        g = np.eye(len(W))[0] * last
        found.append(np.linalg.norm(pulled(h * 1.0, g, first)[0]))
    return found
