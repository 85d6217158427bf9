"""Programs with loops of many kinds, on tapes: what pictures of tapes are tried with."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import tinygrad_rnn as tg
from tinygrad_rnn.tape.observe.tape import Tape

Program = Callable[[Tape], None]


def weight(*shape: int) -> tg.Tensor:
    return tg.randn(*shape).requires_grad_()


@functools.cache
def taped(program: Program, **options: object) -> Tape:
    """The tape of a program: one for all who look at it."""
    tg.manual_seed(0)
    with tg.Tape(**options) as tape:  # type: ignore[arg-type]
        program(tape)
    return tape


def tanh_rnn(tape: Tape) -> None:
    W, U, x, h = weight(3, 3), weight(3, 2), tg.randn(30, 2), tg.zeros(3)
    for t in range(30):
        a = W @ h + U @ x[t]
        h = tg.tanh(a)
    loss = (h * h).sum()
    loss.backward()


def one_line_twice(tape: Tape) -> None:
    W, U, x, h = weight(3, 3), weight(3, 2), tg.randn(30, 2), tg.zeros(3)
    for t in range(2):
        h = tg.tanh(W @ h + U @ x[t])
    h.sum().backward()


def no_loop(tape: Tape) -> None:
    a, b, c, d = (weight(1) for _ in range(4))
    y = a * b + c * d + a * c + b * d
    y.backward()


def first_state_not_recorded(tape: Tape) -> None:
    w, h = weight(3), tg.ones(3)
    for _ in range(4):
        a = h * h  # of constants, the first time: no record
        h = a * w


def with_an_if(tape: Tape) -> None:
    W, h, loss = weight(3, 3), tg.zeros(3), tg.tensor(0.0)
    for t in range(10):
        a = W @ h
        h = tg.tanh(a)
        if t % 4 == 1:
            loss = loss + h.sum()


def epochs(tape: Tape) -> None:
    W = weight(3, 3)
    for _ in range(3):
        h = tg.zeros(3)
        for _ in range(20):
            h = tg.tanh(W @ h)
        loss = (h * h).sum()
        loss.backward()


def lengths_that_differ(tape: Tape) -> None:
    W = weight(3, 3)
    for k in range(3):
        h = tg.zeros(3)
        for _ in range(5 + 3 * k):
            h = tg.tanh(W @ h)
        loss = (h * h).sum()
        loss.backward()


def deep(tape: Tape) -> None:
    Ws, Us, hs = [weight(3, 3) for _ in range(3)], [weight(3, 3) for _ in range(3)], [tg.zeros(3)] * 3
    for _ in range(5):
        x = tg.randn(3)
        for k in range(3):
            hs[k] = tg.tanh(Ws[k] @ hs[k] + Us[k] @ x)
            x = hs[k]


def over_layers(tape: Tape) -> None:
    h = tg.randn(3)
    for W in [weight(3, 3) for _ in range(4)]:
        a = W @ h
        h = a.relu()


def a_function_in_a_loop(tape: Tape) -> None:
    W, h = weight(3, 3), tg.zeros(3)

    def step(h: tg.Tensor) -> tg.Tensor:
        a = W @ h
        return a.tanh()

    for _ in range(6):
        h = step(h)


def reduced(tape: Tape) -> None:
    W, U = weight(3, 3), weight(3, 2)
    functools.reduce(lambda h, x: tg.tanh(W @ h + U @ x), tg.randn(7, 2), tg.zeros(3))


def recursive(tape: Tape) -> None:
    W = weight(3, 3)

    def after(n: int) -> tg.Tensor:
        return tg.tanh(W @ after(n - 1)) if n else tg.zeros(3)

    after(6)


def packed(tape: Tape) -> None:
    lstm = tg.nn.LSTM(2, 3, 2, bidirectional=True, impl="composed")
    x = tg.nn.utils.rnn.pack_padded_sequence(tg.randn(5, 3, 2), [5, 4, 2])
    out, _ = lstm(x)
    out.data.sum().backward()


def one_step_layers(tape: Tape) -> None:
    rnn = tg.nn.RNN(2, 3, 2, bidirectional=True, impl="composed")
    rnn(tg.randn(1, 1, 2))[0].sum().backward()


def said_by_the_user(tape: Tape) -> None:
    cell, head, x, h, loss = tg.nn.RNNCell(3, 3), tg.nn.Linear(3, 2), weight(6, 3), None, 0.0
    for t in range(6):
        x_t = x[t] * 2
        with tape.at(t=t):
            h = cell(x_t, h)
        loss = loss + head(h).sum()
    loss.backward()


def layers_within_time(tape: Tape) -> None:
    W, h = weight(3, 3), [tg.zeros(3), tg.zeros(3)]
    for t in range(4):
        x = tg.randn(3)
        for k in range(2):
            with tape.at(t=t, layer=k):
                h[k] = x = tg.tanh(W @ h[k] + x)


def there_and_back(tape: Tape) -> None:
    W, h, g = weight(3), tg.zeros(3), tg.zeros(3)
    for t in range(4):
        with tape.at(t=t):
            h = tg.tanh(W * h)
    for t in reversed(range(4)):
        with tape.at(t=t):
            g = tg.sigmoid(W * g)


def second_order(tape: Tape) -> None:
    W, h = weight(3, 3), tg.zeros(3)
    for _ in range(5):
        a = W @ h + 1.0
        h = tg.tanh(a)
    (g,) = tg.autograd.grad(h.sum(), W, create_graph=True)
    (g * g).sum().backward()


def fused(tape: Tape) -> None:
    rnn = tg.nn.LSTM(2, 3)
    rnn(tg.randn(5, 1, 2))[0].sum().backward()


def nothing(tape: Tape) -> None:
    pass


def one_record(tape: Tape) -> None:
    _ = weight(2) * 2


def sweep_that_fails(tape: Tape) -> None:
    w = h = weight(2)

    def bad(g: tg.Tensor) -> tg.Tensor:
        raise ValueError('<no> & "gradient" ' + "x" * 500)

    for k in range(6):
        h = tg.tanh(h * w)
        if k == 2:
            h.register_hook(bad)
    with contextlib.suppress(ValueError):
        h.sum().backward()


def underflow(tape: Tape) -> None:
    w = tg.ones(2, dtype=tg.float16).requires_grad_()
    h = w * 1
    for _ in range(24):
        a = h * 0.3
        h = a * w
    h.sum().backward()


def no_entries(tape: Tape) -> None:
    w = h = tg.zeros(0, 3).requires_grad_()
    for _ in range(3):
        h = tg.tanh(h * w)
    h.sum().backward()


def not_finite(tape: Tape) -> None:
    w = h = tg.tensor([0.0, -1.0, float("inf")], requires_grad=True)
    for _ in range(4):
        h = tg.log(h) * w
    h.sum().backward()


def indices(tape: Tape) -> None:
    embedding = tg.nn.Embedding(5, 3)
    for k in range(3):
        embedding(tg.tensor([k, 1])).sum().backward()


def returned_gradient(tape: Tape) -> None:
    w = weight(2)
    tg.autograd.grad((w * w * w).sum(), w)


def awkward_names(tape: Tape) -> None:
    w = h = weight(2)
    tape.name(**{AWKWARD: w})
    for _ in range(3):
        h = tg.tanh(h * w)
        tape.name(**{'a"b\\N]|{}<br>`*x*\n%%': h})
    h.sum().backward()


AWKWARD = "</svg><script>alert(1)</script>\"\\'&\x00;"
"""A name that would break a picture which does not escape it."""

PROGRAMS = [
    *(tanh_rnn, one_line_twice, no_loop, first_state_not_recorded, with_an_if, epochs, lengths_that_differ, deep),
    *(over_layers, a_function_in_a_loop, reduced, recursive, packed, one_step_layers, said_by_the_user),
    *(layers_within_time, there_and_back, second_order, fused, nothing, one_record, sweep_that_fails, underflow),
    *(no_entries, not_finite, indices, returned_gradient, awkward_names),
]
