r"""An LSTM with one weight on the joined vector of state and input is the LSTM with two weights and two biases.

The question S2 writes its many-to-many LSTM in the notation of a well-known course: every gate is
$\sigma(W [a_{t-1}, x_t] + b)$, with one matrix on the joined vector and one bias. The layer of this package (and
PyTorch's, and cuDNN's) has two matrices, $W_{hh}$ and $W_{ih}$, and two biases, $b_{hh}$ and $b_{ih}$, with the gates
in another order. They are the same function: cut $W$ into two blocks of columns, and let $b = b_{ih} + b_{hh}$. Their
gradients are the same, too, block by block (left picture).

But they do not train alike. The gradient of $b$ is that of $b_{ih}$ and again that of $b_{hh}$, so each of the two
moves by a whole step, and their sum by two: with plain gradient descent the bias of the split form learns at twice the
rate (right picture). The same is true with Adam, and of an initial value: a forget bias of 1 is 2 if it is written into
both.

## Mathematics
$$\Gamma = \sigma\bigl(W [a_{t-1}, x_t] + b\bigr) = \sigma(W_{hh} a_{t-1} + W_{ih} x_t + b_{hh} + b_{ih}), \qquad
W = [W_{hh} \mid W_{ih}]$$
for each of forget, update and output gate, $\tilde{c}$ with $\tanh$; $c_t = \Gamma_f c_{t-1} + \Gamma_u \tilde{c}_t$,
$a_t = \Gamma_o \tanh c_t$, $\hat{y}_t = \operatorname{softmax}(W_y a_t + b_y)$. And
$$\frac{\partial L}{\partial b_{ih}} = \frac{\partial L}{\partial b_{hh}} = \frac{\partial L}{\partial b} = g
\quad\Longrightarrow\quad \Delta (b_{ih} + b_{hh}) = -2 \eta g, \qquad \Delta b = -\eta g.$$

## Try it
>>> import tinygrad_rnn as tg
>>> lstm, x = tg.nn.LSTM(3, 2), tg.randn(5, 1, 3)
>>> (lstm(x)[0] ** 2).sum().backward()
>>> tg.equal(lstm.bias_ih_l0.grad, lstm.bias_hh_l0.grad)                 # each of the two gets all of it
True

## It would be false if
outputs or gradients of the two forms differed by more than rounding; and the remark on training, if both had the same
bias after the same update.

## Exercise
Give the split form a learning rate for its biases with which it trains exactly as the joined one by gradient descent.
Is there one for Adam with weight decay?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS, colour_bar

from ..experiment import Check, Result, Size, experiment

NAMES = ("forget", "update", "candidate", "output")
PLACE = (1, 0, 2, 3)
"""Of these gates among the rows of the layer, whose order is i, f, g, o."""


def by_hand(W: tg.Tensor, b: tg.Tensor, x: tg.Tensor, input_first: bool = False) -> tg.Tensor:
    """The states a_t (T, N, H) in the notation of S2; W (4H, H + I), x (T, N, I)."""
    H = len(b) // 4
    # lab: begin
    a = c = tg.zeros(x.shape[1], H)
    states = []
    for x_t in x:
        joined = tg.cat([x_t, a] if input_first else [a, x_t], dim=1)  # (N, H + I)
        forget, update, candidate, output = (joined @ W.T + b).chunk(4, dim=1)
        c = tg.sigmoid(forget) * c + tg.sigmoid(update) * tg.tanh(candidate)
        a = tg.sigmoid(output) * tg.tanh(c)
        states.append(a)
    # lab: end
    found: tg.Tensor = tg.stack(states)
    return found


def ordered(rows: tg.Tensor) -> tg.Tensor:
    """Rows of gates i, f, g, o of a layer in the order of S2."""
    gates = rows.chunk(4)
    found: tg.Tensor = tg.cat([gates[k] for k in PLACE])
    return found


def joined_weights(lstm: tg.nn.LSTM, both: bool = False) -> tuple[tg.Tensor, tg.Tensor]:
    """W (4H, H + I) and b (4H) of a layer, with the gates in the order of S2."""
    W = tg.cat([lstm.weight_hh_l0, lstm.weight_ih_l0], 1).detach()
    b = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach() * (2 if both else 1)
    return ordered(W).requires_grad_(), ordered(b).requires_grad_()


def loss_of(states: tg.Tensor, readout: tg.nn.Linear, wanted: tg.Tensor) -> tg.Tensor:
    """Cross entropy of the outputs of all steps."""
    found: tg.Tensor = tg.nn.functional.cross_entropy(readout(states).flatten(0, 1), wanted.flatten())
    return found


def measured(size: Size, seed: int, both: bool = False, input_first: bool = False) -> Result:
    """Both forms on one sequence: outputs, gradients, and the biases after some updates."""
    T, N, D, H, K = (20, 3, 4, 6, 5) if size == "quick" else (200, 32, 16, 64, 20)
    lstm, readout = tg.nn.LSTM(D, H, forget_bias=1.0), tg.nn.Linear(H, K)
    x, wanted = tg.randn(T, N, D), tg.randint(K, (T, N))
    W, b = joined_weights(lstm, both)
    split, one = lstm(x)[0], by_hand(W, b, x, input_first)
    outputs = abs(split - one).max().item()
    for states in (split, one):
        loss_of(states, readout, wanted).backward()
    assert W.grad is not None and b.grad is not None
    pairs = zip(joined_gradients(lstm), (W.grad, b.grad), strict=True)
    away = max((abs(of_split - own).max() / abs(own).max()).item() for of_split, own in pairs)
    equal = tg.equal(lstm.bias_ih_l0.grad, lstm.bias_hh_l0.grad)
    picture = W.grad.numpy().copy()
    start, ways = b.detach().clone(), []
    W, b = joined_weights(lstm)
    for parameters, run in (
        ([W, b], lambda: by_hand(W, b, x)),
        (list(lstm.parameters()), lambda: lstm(x)[0]),
    ):
        optimizer, way = tg.optim.SGD(parameters, lr=0.1), []
        for _ in range(20):
            optimizer.zero_grad()
            loss_of(run(), readout, wanted).backward()
            optimizer.step()
            now = b if parameters[0] is W else joined_weights(lstm)[1]
            way.append(((now - start) ** 2).sum().sqrt().item())
        ways.append(np.array([0.0, *way]))
    checks = [
        Check("outputs are the same", outputs, "<", 1e-14, "rounding; of 20 seeds the largest is 3e-16"),
        Check(
            "gradients are the same, block by block",
            away,
            "<",
            1e-14,
            "relative to the largest entry; of 20 seeds 1.3e-15",
        ),
        Check("both biases get the whole gradient", equal, "==", True, "the sum passes it on to each"),
        Check(
            "the split bias moves twice as far",
            ways[1][1] / ways[0][1],
            "between",
            (2 - 1e-9, 2 + 1e-9),
            "gradients are equal",
        ),
    ]
    numbers = {
        "largest difference of outputs": outputs,
        "largest difference of gradients, relative": away,
        "way of the bias, 1 update: split / joined": ways[1][1] / ways[0][1],
        "way of the bias, 20 updates: split / joined": ways[1][-1] / ways[0][-1],
    }
    because = (
        f"functions and gradients are meant (equal to {max(outputs, away):.0e}); in training, the split form moves its "
        f"bias {ways[1][1] / ways[0][1]:.3g} times as far in the first update"
    )
    arrays = {"gradient of W": picture, "joined": ways[0], "split": ways[1], "H": np.array(H)}
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def joined_gradients(lstm: tg.nn.LSTM) -> tuple[tg.Tensor, tg.Tensor]:
    """The gradients of the layer's blocks, in the places that W and b have."""
    blocks = [lstm.weight_hh_l0.grad, lstm.weight_ih_l0.grad]
    return ordered(tg.cat(blocks, 1)), ordered(lstm.bias_ih_l0.grad)


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """The gradient of W with its blocks to the left, ways of the bias to the right."""
    left, right = figure.subplots(1, 2)
    G, H = arrays["gradient of W"], int(arrays["H"])
    most = np.abs(G).max()
    image = left.imshow(G, cmap="RdBu", vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    colour_bar(left, image, "gradient")
    left.axvline(H - 0.5, color=GREY, linewidth=1.5)
    for k in range(1, 4):
        left.axhline(k * H - 0.5, color=GREY, linewidth=0.8)
    left.set_yticks([(k + 0.5) * H - 0.5 for k in range(4)], NAMES)
    left.set_xticks([(H - 1) / 2, (H + G.shape[1] - 1) / 2], ["columns of $W_{hh}$", "of $W_{ih}$"])
    left.set_xlabel("unit of the joined vector")
    left.set_title("gradient of $W$: two blocks of columns", fontsize=10)
    for k, name in enumerate(("joined", "split")):
        label = ("one bias $b$", "$b_{ih} + b_{hh}$")[k]
        right.plot(arrays[name], "-" + MARKERS[k], color=COLOURS[3 * k], markersize=4, label=label)
    right.set_xlabel("update")
    right.set_ylabel("distance of the bias from its start")
    right.set_title("two biases learn twice as fast", fontsize=10)
    right.legend(fontsize=8)


@experiment(33, "An LSTM by hand", source="question S2, in the notation of a course", seconds=0.2, full_seconds=7)
def run(size: Size, seed: int) -> Result:
    """Whether one weight on the joined vector and two weights are the same layer."""
    return measured(size, seed)


@run.broken("the bias is counted twice", fails="outputs are the same")
def bias_twice(size: Size, seed: int) -> Result:
    """The sum of both biases is written into each of them."""
    return measured(size, seed, both=True)


@run.broken("the input stands first in the joined vector", fails="outputs are the same")
def input_first(size: Size, seed: int) -> Result:
    """The columns of W are those of the state first, but the vector begins with the input."""
    return measured(size, seed, input_first=True)


@run.smallest
def smallest() -> tg.Tape:
    """Two steps of an LSTM with one unit, written as in S2."""
    W, b = tg.full((4, 2), 0.5, requires_grad=True), tg.zeros(4, requires_grad=True)
    x = tg.tensor([[[1.0]], [[-1.0]]])
    with tg.Tape() as tape:
        by_hand(W, b, x)[-1].sum().backward()
    return tape
