"""What type checkers see of the package: a user's program under ``mypy --strict``, with mistakes that it must find."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PROGRAM = """
import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, nn, optim
from tinygrad_rnn.nn import functional as F
from tinygrad_rnn.ops import cat, cumsum, mean, reshape, sum, tanh, where
from tinygrad_rnn.typing import Array, V, Value


def operators_give_tensors(x: Tensor) -> None:
    assert_type(x + 1, Tensor)
    assert_type(2.0 * x - x / 3, Tensor)
    assert_type(1 - x @ x, Tensor)
    assert_type(-x**2, Tensor)
    assert_type(abs(x[0, 1:]), Tensor)
    assert_type(x == 1, Tensor)
    assert_type(x != x, Tensor)
    assert_type((x < 1) & ~(x >= 0), Tensor)
    assert_type(len(x), int)


def operations_keep_the_kind(x: Tensor, a: npt.NDArray[np.float32], v: Value) -> None:
    assert_type(mean(x, 0), Tensor)
    assert_type(tanh(x), Tensor)
    assert_type(where(x > 0, x, 0), Tensor)
    assert_type(cat([x, x]), Tensor)
    assert_type(cumsum(mean(x, 0) * x, 1), Tensor)
    assert_type(mean(a, 0), npt.NDArray[np.float32])
    assert_type(mean(v), Value)


def a_vjp(g: V, y: V, a: V) -> V:
    return sum(g * (1 - y * y), 0) + reshape(2 * a, (-1,))[0]


def a_step(model: nn.Module, optimizer: optim.Optimizer, x: Tensor, target: Tensor) -> float:
    optimizer.zero_grad()
    loss = F.mse_loss(F.relu(x @ x.T), target) + tanh(mean(x))
    assert_type(loss, Tensor)
    loss.backward()
    optimizer.step()
    return float(loss)


def run() -> None:
    model = nn.LSTM(3, 4, num_layers=2, batch_first=True)
    with tg.no_grad():
        tg.manual_seed(0)
    a_step(model, optim.SGD(model.parameters(), lr=0.1), tg.randn(2, 3), tg.zeros(2, 2))


def mistakes(x: Tensor, a: Array, v: Value) -> None:
    mean("abc")  # E: type-var
    mean(None)  # E: type-var
    v.backward()  # E: attr-defined
    mean(a).backward()  # E: attr-defined
    F.relu(3)  # E: arg-type
    where(x > 0, x, "no")  # E: call-overload
    wrong: int = x == 1  # E: assignment
    number: float = mean(x)  # E: assignment
    nn.LSTM("3", 4)  # E: arg-type


def a_wrong_vjp(g: Value, y: Value) -> Value:
    if y.ndim:
        return y.shape  # E: return-value
    return None  # E: return-value
"""


def test_a_users_program_is_typed_and_its_mistakes_are_found(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    # with the options and the cache of `make lint`, so that the package itself is not checked a second time
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--no-pretty", str(program)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    found = re.findall(r"program\.py:(\d+): error: .*\[([a-z-]+)\]", done.stdout)
    lines = enumerate(PROGRAM.splitlines(), 1)
    expected = [(str(n), code) for n, line in lines for code in re.findall(r"# E: ([a-z-]+)", line)]
    assert found == expected, done.stdout + done.stderr
