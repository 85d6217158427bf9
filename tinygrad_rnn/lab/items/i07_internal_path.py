r"""Along the cell of an LSTM the derivative of one step is the forget gate, without a recurrent weight, if h is fixed.

The notes S0 and the answer S2 explain the LSTM by it: $\partial c_t/\partial c_{t-1} = \operatorname{diag}(f_t)$. So
what the cell carries is multiplied by a gate between 0 and 1, and the repeated matrix of the plain network is not
there.

It holds exactly for the *partial* derivative, with $h_{t-1}$ held fixed; nothing has to be detached for that, since
one step has $h_{t-1}$ and $c_{t-1}$ as separate inputs. It does not for the total derivative.
$h_{t-1} = o_{t-1} \tanh(c_{t-1})$ is made of the same cell, and goes through all four gates and their matrices into
$c_t$. From two steps on that is seen: a tenth to a quarter or more of the Jacobian lies beside the diagonal (right
picture, all steps; left, one step by its blocks). With the gates detached from $h$ it is diagonal again. The LSTM of
1997 trained with just that truncated gradient.

So the path exists and keeps a gradient alive; it is one path among many, and through the others the repeated matrix is
back, which is how an LSTM can explode too (item 8). S0's formula of the cell has two slips besides: $\tilde c_{t-1}$
where $c_{t-1}$ belongs, and an $h_t$ too many.

## Mathematics
$$c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad (i_t, f_t, g_t, o_t) = (s, s, \tanh, s)(U x_t + W h_{t-1} + b)$$
$$\frac{\partial c_t}{\partial c_{t-1}} = \operatorname{diag}(f_t), \qquad
\frac{\mathrm{d} c_t}{\mathrm{d} c_{t-1}} = \operatorname{diag}(f_t)
+ \frac{\partial c_t}{\partial h_{t-1}} \operatorname{diag}(o_{t-1} \odot (1 - \tanh^2 c_{t-1})) .$$

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn import diagnostics
>>> _ = tg.manual_seed(0)
>>> lstm, x = tg.nn.LSTM(4, 6, dtype=tg.float64), tg.randn(5, 1, 4, dtype=tg.float64)
>>> J = diagnostics.local(lstm, x, t=4)
>>> J.blocks["dc/dc"].round(2)[0].tolist()             # one row: f on the diagonal, else 0
[0.71, 0.0, 0.0, 0.0, 0.0, 0.0]
>>> bool(abs(J.blocks["dc/dh"]).min() > 0)             # and the way through the gates is there
True

## It would be false if
the derivative with $h_{t-1}$ fixed had an entry beside the diagonal, or if the total derivative over two steps had
none.

## Exercise
A GRU keeps one state, $h_t = (1 - z_t) \odot n_t + z_t \odot h_{t-1}$. Is there a partial derivative of it that is
$\operatorname{diag}(z_t)$? What would have to be held fixed, and can `diagnostics.local` show it?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics
from tinygrad_rnn.autograd.functional import jacobian_of
from tinygrad_rnn.diagnostics.result import COLOURS, GREY

from ..experiment import Check, Result, Size, experiment


def step(weights: Any, x: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
    """A step of an LSTM, written out: the new states, and the forget gate."""
    U, W, b = weights
    i, f, g, o = (U @ x + W @ h + b).chunk(4)
    i, f, g, o = tg.sigmoid(i), tg.sigmoid(f), tg.tanh(g), tg.sigmoid(o)
    c = f * c + i * g
    return o * tg.tanh(c), c, f


def beside(J: Any) -> float:
    """The part of the norm of a matrix that lies beside its diagonal."""
    return float(np.linalg.norm(J - np.diag(np.diag(J))) / np.linalg.norm(J))


def measured(size: Size, seed: int, h_not_fixed: bool = False) -> Result:
    """Derivatives of cells by earlier cells: partial, total, and total with detached gates."""
    T, H = (20, 8) if size == "quick" else (100, 32)
    lstm, x = tg.nn.LSTM(4, H), tg.randn(T, 1, 4)
    U, W, b_1, b_2 = [p.detach() for p in lstm.parameters()]
    weights = U, W, b_1 + b_2
    # lab: begin
    h, c = tg.randn(H), tg.randn(H, requires_grad=True)
    c_0, h_cut, c_cut = c, h, c
    product = np.ones(H)  # of the forget gates
    total, cut = [], []
    for x_t in x[:, 0]:
        h, c, f = step(weights, x_t, h, c)
        total.append(jacobian_of(c, c_0).numpy())
        h_cut, c_cut, f_cut = step(weights, x_t, h_cut.detach(), c_cut)
        product = product * f_cut.detach().numpy()
        cut.append(abs(jacobian_of(c_cut, c_0).numpy() - np.diag(product)).max())
    # lab: end
    h_1, c_1, _ = step(weights, x[0, 0], tg.randn(H), tg.randn(H, requires_grad=True))
    _, c_2, f_2 = step(weights, x[1, 0], h_1 if h_not_fixed else h_1.detach(), c_1)
    one = abs(jacobian_of(c_2, c_1).numpy() - np.diag(f_2.detach().numpy())).max()
    fused = diagnostics.local(lstm, x, t=T - 1, hx=(tg.zeros(1, 1, H), tg.zeros(1, 1, H)))
    h, c = tg.zeros(H), tg.zeros(H)
    for x_t in x[:, 0]:
        h, c, f = step(weights, x_t, h, c)
    layer = abs(fused.blocks["dc/dc"] - np.diag(f.numpy())).max()
    parts = np.array([beside(J) for J in total])
    grown = float(np.linalg.norm(total[-1]) / np.linalg.norm(product))
    checks = [
        Check("h fixed: one step is diag(f)", one, "<", 1e-15, "the same number; of 20 seeds all 0"),
        Check("so it is in a fused layer", layer, "<", 1e-14, "rounding; largest of 20 seeds 1.1e-16"),
        Check("the total derivative over two is not diagonal", parts[1], ">", 1e-3, "20 seeds: 0.107 to 0.278"),
        Check("gates detached: the product of all f", max(cut), "<", 1e-14, "rounding; largest of 20 seeds 5.6e-17"),
    ]
    numbers = {
        "beside the diagonal of dc_2/dc_0, part of its norm": parts[1],
        f"the same of dc_{T}/dc_0": parts[-1],
        f"|dc_{T}/dc_0| beside that of the product of all f": grown,
    }
    arrays = {"one step": fused.matrix, "beside the diagonal": parts, "detached": np.array(cut)}
    because = (
        f"h is held fixed; in the total derivative over two steps {100 * parts[1]:.0f} % of the norm lie beside the "
        f"diagonal, over {T} steps {100 * parts[-1]:.0f} %"
    )
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: Any) -> None:
    """One step by its blocks, and what lies beside the diagonal over more steps."""
    left, right = figure.subplots(1, 2)
    matrix, parts = arrays["one step"], arrays["beside the diagonal"]
    H, most = len(matrix) // 2, abs(matrix).max()
    image = left.imshow(matrix, cmap="PuOr", vmin=-most, vmax=most, interpolation="nearest")
    left.axhline(H - 0.5, color=GREY)
    left.axvline(H - 0.5, color=GREY)
    left.set_xticks([H / 2 - 0.5, 1.5 * H - 0.5], ["h before", "c before"])
    left.set_yticks([H / 2 - 0.5, 1.5 * H - 0.5], ["h after", "c after"])
    left.set_title("one step, by blocks", fontsize=10)
    figure.colorbar(image, ax=left, location="bottom", label="derivative")
    steps = np.arange(1, len(parts) + 1)
    right.plot(steps, 100 * parts, "o-", color=COLOURS[1], markersize=4, label="total derivative")
    right.plot(steps, 100 * arrays["detached"], "s--", color=COLOURS[0], markersize=3, label="gates detached from h")
    right.set_ylim(-4, 104)
    right.set_xlabel("steps n")
    right.set_ylabel("of |∂c_n/∂c_0| beside the diagonal (%)")
    right.legend(fontsize=8)


@experiment(
    7,
    "The internal path",
    source="notes S0; question and answer S2; Hochreiter and Schmidhuber 1997",
    seconds=0.3,
    full_seconds=20,
)
def run(size: Size, seed: int) -> Result:
    """Whether the derivative of a cell by the cell before is the forget gate."""
    return measured(size, seed)


@run.broken("h is not held fixed", fails="h fixed: one step is diag(f)")
def h_not_fixed(size: Size, seed: int) -> Result:
    """The total derivative, through h too, is taken for the partial one."""
    return measured(size, seed, h_not_fixed=True)


@run.smallest
def smallest() -> tg.Tape:
    """Two steps of one unit: the cell is read by the next cell, and by its gates through h."""
    w, x = tg.tensor([0.7, -0.4, 1.1, 0.5]), tg.tensor([0.3, 0.8, -0.6, 0.2])
    h, c = tg.tensor(0.1), tg.tensor(0.5, requires_grad=True)
    with tg.Tape(totals=True) as tape:
        for t in (1, 2):
            with tape.at(t=t):
                i, f, g, o = (w * h + x).unbind()
                c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
                h = tg.sigmoid(o) * tg.tanh(c)
        c.backward()
    return tape
