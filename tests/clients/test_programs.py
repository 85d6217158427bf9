"""Programs in the manner of PyTorch's tutorials print what they print with PyTorch, line by line."""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys

import pytest

from tests.clients.running import HERE, assert_same_lines, run

PROGRAMS = sorted(HERE.glob("programs/*.py"))
RTOL = 5e-5  # half a unit of the fourth digit, where that weighs most
ATOL = 1e-6  # an entry near 0 (of a sine wave) carries the rounding of those near 1


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_prints_what_pytorch_printed(program: pathlib.Path) -> None:
    log = (HERE / "logs" / f"{program.stem}.txt").read_text(encoding="utf-8").splitlines()
    assert assert_same_lines(run(program), log, RTOL, ATOL) >= 15


@pytest.mark.thorough
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="compares with PyTorch, which is not installed")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_prints_what_pytorch_prints_here(program: pathlib.Path) -> None:
    assert_same_lines(run(program), run(program, real=True), RTOL, ATOL)


def test_every_log_has_its_program() -> None:
    assert [log.stem for log in sorted(HERE.glob("logs/*.txt"))] == [program.stem for program in PROGRAMS]
    assert len(PROGRAMS) == 7


def test_lines_that_differ_are_told_apart() -> None:
    assert assert_same_lines(["step 3 loss 0.12345"], ["step 3 loss 0.12346"], 1e-4) == 2
    for other in ("step 4 loss 0.12345", "step 3 loss 0.1235", "step 3 cost 0.12345", "step 3 loss 0.12345 4"):
        with pytest.raises(AssertionError):
            assert_same_lines(["step 3 loss 0.12345"], [other], 1e-4)
    with pytest.raises(AssertionError):
        assert_same_lines(["a"], ["a", "b"], 1e-4)


def test_the_alias_gives_the_modules_of_this_package_and_no_others(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import torch, torch.nn.functional as F, torch.backends.cudnn as cudnn\n"
        "from torch.autograd import Variable\n"
        "from torch.nn.utils.rnn import pack_padded_sequence\n"
        "from torch.optim.lr_scheduler import StepLR\n"
        "import tinygrad_rnn\n"
        "print(torch is tinygrad_rnn, F is tinygrad_rnn.nn.functional, torch.nn.Linear.__module__)\n"
        "cudnn.benchmark = True\n"
        "try:\n    import torch.fx\nexcept ModuleNotFoundError as error:\n    print(error)\n"
        "try:\n    torch.jit\nexcept AttributeError as error:\n    print(error)\n"
    )
    first, second, third = run(script)
    assert first == "True True tinygrad_rnn.nn.linear"
    assert second == "No module named 'torch.fx'"
    assert third.startswith("module 'tinygrad_rnn' has no attribute 'jit': there is no compiler here")


def test_the_alias_refuses_to_come_after_pytorch() -> None:
    program = "import sys; sys.modules['torch'] = sys; from tests.clients.alias import install; install()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=HERE.parents[1])
    assert "RuntimeError: PyTorch is loaded already" in done.stderr
