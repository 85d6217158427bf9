"""What ``make gpu`` puts together: the parts of the tests, what their logs tell, the summary."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests import gpu
from tests.support import arrays, shard


def test_the_parts_are_all_tests_once_the_important_first() -> None:
    names = [f"tests/ops/test_{k}" for k in range(20)] + ["tests/kernels/cuda/test_a", "tests/cuda/test_b"]
    parts = [shard.part(names, f"{k}/3") for k in (1, 2, 3)]
    assert sorted(itertools.chain(*parts)) == list(range(22))
    assert parts[0][0] == 20 and parts[1][0] == 21


def test_a_log_tells_what_failed_and_what_did_not_end() -> None:
    log = (
        "tests/a.py::test_one PASSED    [ 10%]\ntests/a.py::test_two[cupy] FAILED [ 20%]\n"
        "tests/a.py::test_three SKIPPED (no GPU) [ 30%]\ntests/a.py::test_four "
    )
    ends, failed = gpu.tests_told(log)
    assert ends == {"passed": 1, "failed": 1, "skipped": 1, "not ended": 1}
    assert failed == ["tests/a.py::test_two[cupy]"]


def test_without_a_gpu_it_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if arrays.no_gpu_reason() is None:
        pytest.skip("there is a GPU")
    assert gpu.main(["--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("make gpu: there is no GPU to test: CuPy ") and said.count("\n") == 1


def test_the_limits_stay_under_eight_minutes() -> None:
    assert sum(gpu.LIMITS.values()) + 20 < 480


def test_the_summary_holds_all_parts(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "1.log").write_text("tests/a.py::test_one PASSED\ntests/a.py::test_two FAILED\n")
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "gpu.md").write_text("# Measured\n")
    (tmp_path / "sanitizer.txt").write_text("memcheck: exit status 0\n")
    text = gpu._summary(tmp_path)
    assert "1 failed, 1 passed" in text and "- tests/a.py::test_two" in text and "memcheck: exit status 0" in text
    assert "# Measured" in text and "(times: nothing was written)" in text
