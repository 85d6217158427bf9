"""The pytest plugin: a failed gradcheck ends with a report that one can read."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.autograd import GradcheckError, gradcheck
from tinygrad_rnn.testing.plugin import picture

FAILING = """
import tinygrad_rnn as tg
from tinygrad_rnn.testing import assert_close, gradcheck

def test_gradient():
    x = tg.tensor([0.5, 0.25], dtype=tg.float64, requires_grad=True)
    assert gradcheck(lambda weight: weight * 2 + weight.detach(), x)  # the user's own line

def test_values():
    assert_close(tg.ones(2), tg.zeros(2))
"""


def test_a_failure_is_reported_below_the_users_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "test_failing.py").write_text(FAILING)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tinygrad_rnn.testing.plugin", "-p", "no:cacheprovider"]
    root = pathlib.Path(tg.__file__).parents[1]
    environment = {"PYTHONPATH": str(root), "HOME": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [*command, str(tmp_path / "test_failing.py")], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    text = done.stdout
    assert done.returncode == 1 and "2 failed" in text, text + done.stderr
    assert "- gradcheck -" in text
    assert "worst entry: output 0[0] by input 0 'weight'[0]" in text
    assert "values left the tape on the way" in text
    assert "    x.\n    .x" in text
    assert ">       assert gradcheck(lambda weight" in text and "in explain" not in text and "checks.py" not in text
    assert ">       assert_close(tg.ones(2), tg.zeros(2))" in text and "close.py" not in text


def test_the_map_marks_what_is_wrong_and_how() -> None:
    def func(x: tg.Tensor) -> tg.Tensor:
        return tg.stack([x[0] * 2, x[1].detach() * 2 + x[0], x[2] - 2 * x[2].detach() + x[1] * x[1].detach()])

    x = tg.tensor([0.5, 0.25, 2.0], dtype=tg.float64, requires_grad=True)
    with pytest.raises(GradcheckError) as caught:
        gradcheck(func, x)
    assert caught.value.mismatch is not None
    header, *rows = picture(caught.value.mismatch).splitlines()
    assert "0 missing" in header
    assert rows == ["    ...", "    .0x", "    ..-"]


def test_large_jacobians_are_not_drawn() -> None:
    x = tg.tensor(np.linspace(0, 1, 50), dtype=tg.float64, requires_grad=True)
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x: x + x.detach(), x)
    assert caught.value.mismatch is not None
    assert picture(caught.value.mismatch) == "(a Jacobian of 50 by 50 is too large to draw)"
