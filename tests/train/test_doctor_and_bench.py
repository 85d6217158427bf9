"""The two commands that look at a machine: doctor and bench."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_rnn.backend.blas import Blas, blas, wished_kernel
from tinygrad_rnn.bench.measure import Result, measure
from tinygrad_rnn.train.cli import main
from tinygrad_rnn.train.doctor import advice


def test_doctor_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("NumPy", "BLAS", "processor", "GPU"):
        assert word in out


def test_each_problem_comes_with_the_line_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_rnn.train.doctor.wished_kernel", lambda: "SkylakeX")
    found = dict(advice(Blas("OpenBLAS", "Haswell", 4096)))
    assert any("OPENBLAS_CORETYPE=SkylakeX" in remedy for remedy in found.values())
    assert any("OPENBLAS_NUM_THREADS=" in remedy for remedy in found.values())
    monkeypatch.setattr("tinygrad_rnn.train.doctor.wished_kernel", lambda: None)
    assert not any("OPENBLAS" in remedy for _, remedy in advice(Blas("OpenBLAS", "SkylakeX", 1)))


@pytest.mark.parametrize(
    ("cpuinfo", "wish"),
    [
        ("vendor_id : AuthenticAMD\nflags : avx2 avx512f avx512dq avx512vl sse\n", "SkylakeX"),
        ("vendor_id : AuthenticAMD\nflags : avx2 sse\n", None),
        ("vendor_id : GenuineIntel\nflags : avx2 avx512f avx512dq avx512vl sse\n", None),
    ],
)
def test_only_amd_processors_with_avx512_need_telling(
    cpuinfo: str, wish: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    assert wished_kernel(str(path)) == wish
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert wished_kernel(str(path)) is None


def test_blas_is_known_by_name() -> None:
    assert blas().name


def test_a_ratio_is_taken_within_rounds() -> None:
    result = Result("w", "ms", 1e3, {"tinygrad_rnn": [1.0, 4.0, 9.0], "peer": [2.0, 4.0, 6.0]})
    assert result.ratio("peer")[1] == 1.0  # the median of 0.5, 1 and 1.5
    assert result.median("peer") == 4000.0


def test_competitors_take_turns() -> None:
    order: list[str] = []
    jobs = {"tinygrad_rnn": lambda: order.append("a"), "peer": lambda: order.append("b")}
    result = measure("w", jobs, rounds=5, seconds=0)
    assert [len(times) for times in result.times.values()] == [5, 5]

    timed = "".join(order)
    assert timed.rindex("a") > timed.index("b") and timed.rindex("b") > timed.index("a")


@pytest.mark.parametrize("options", [["--only", "nothing"], ["--threads", "0"], ["--json", "no/such/folder/x.json"]])
def test_a_mistake_is_one_line_and_status_2(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *options]) == 2
    err = capsys.readouterr().err
    assert err.startswith("tinygrad-rnn: error: ") and err.count("\n") == 1


def test_bench_measures_and_writes(tmp_path: Path) -> None:
    target = tmp_path / "times.json"
    command = [sys.executable, "-m", "tinygrad_rnn.bench.program", "--only", "chain,loops", "--quick"]
    done = subprocess.run([*command, "--threads", "1", "--json", str(target)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "chain of" in done.stdout and "ratio" in done.stdout
    rows = json.loads(target.read_text())
    assert rows[0]["seconds"]["tinygrad_rnn"] and rows[0]["ratio"]["numpy"] > 0
