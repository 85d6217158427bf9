"""How far a derivative can be differentiated: which results of each order require grad, as in PyTorch.

A derivative that is 0 because the function is a polynomial, or linear in pieces, is a tensor of zeros that still
belongs to the graph, and may be differentiated again; one that PyTorch finds constant does not.  One expression in a
line of ``connections.txt``, and a word for the result and for each order up to the fourth, a letter for each result or
input: ``g`` requires grad, ``0`` does not, ``-`` is None (unused); ``!`` where the derivative is not implemented.

Left out: hardsigmoid and floor division, of which PyTorch has no derivative of the second and of any order.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
from tests.support.rows import together

TABLE = Path(__file__).with_name("connections.txt")
ROWS = [row.split(" => ") for row in TABLE.read_text(encoding="utf-8").splitlines()]
rows = pytest.mark.parametrize(("expression", "expected"), ROWS, ids=[row[0] for row in ROWS])

ORDERS = 4
VALUES = {
    "x": [0.3, -0.7, 0.9],
    "y": [0.5, 0.8, 0.4],
    "m": [[0.5, -1.0, 2.0], [1.5, 0.25, -0.5], [0.125, 1.0, -2.0]],
}


def letter(found: Any) -> str:
    return "-" if found is None else "g" if found.requires_grad else "0"


def connections(t: Any, expression: str) -> str:
    used = [name for name in VALUES if re.search(rf"\b{name}\b", expression)]
    inputs = [t.tensor(VALUES[name], dtype=t.float64, requires_grad=True) for name in used]
    words = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = eval(expression, {"t": t, "F": t.nn.functional, **dict(zip(used, inputs, strict=True))})
    found = list(results) if isinstance(results, tuple) else [results]
    for _ in range(ORDERS):
        words.append("".join(map(letter, found)))
        found = [y for y in found if y is not None and y.requires_grad]
        if not found:
            return " ".join(words)
        try:
            seeds = [t.ones_like(y) for y in found]
            found = list(t.autograd.grad(found, inputs, seeds, create_graph=True, allow_unused=True))
        except RuntimeError as error:
            assert "not implemented" in str(error)
            return " ".join([*words, "!"])
    return " ".join([*words, "".join(map(letter, found))])


@together
@rows
def test_derivatives_stay_connected_so(expression: str, expected: str) -> None:
    assert connections(tg, expression) == expected


@together
@rows
def test_pytorchs_stay_connected_so(expression: str, expected: str) -> None:
    torch = pytest.importorskip("torch")
    assert connections(torch, expression) == expected


def test_the_laplacian_of_a_piecewise_linear_network_is_0() -> None:
    tg.manual_seed(0)
    net = tg.nn.Sequential(tg.nn.Linear(2, 8), tg.nn.ReLU(), tg.nn.Linear(8, 1))
    x = tg.randn(5, 2, requires_grad=True)
    (slope,) = tg.autograd.grad(net(x).sum(), x, create_graph=True)
    assert slope.abs().sum() > 0.1
    for k in range(2):
        (second,) = tg.autograd.grad(slope[:, k].sum(), x, create_graph=True)
        assert second.requires_grad and not second.any()


def test_the_first_derivative_records_nothing_for_it() -> None:
    """What a derivative is recorded with, for the next, is in the recorded sweep alone."""
    x = tg.ones(3, requires_grad=True)
    for f in (tg.relu, tg.square, lambda x: x**2, tg.nn.functional.leaky_relu):
        with tg.Tape() as tape:
            f(x).sum().backward()
        assert [record.name for record in tape][1:] == ["sum"]
