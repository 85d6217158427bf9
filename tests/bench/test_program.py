"""The program from the outside: what it prints, writes and refuses, and how it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinygrad_rnn.backend.cpu import environment
from tinygrad_rnn.bench import gpu, program
from tinygrad_rnn.bench.cases import BENCHMARKS, CUDA_BENCHMARKS
from tinygrad_rnn.bench.machine import cores, machine
from tinygrad_rnn.train.cli import main

COMMAND = [sys.executable, "-m", "tinygrad_rnn", "bench", "--quick", "--threads", "1"]
HERE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.parametrize(
    "options",
    [["--only", "nothing"], ["--threads", "0"], ["--threads", "99999"], ["--json", "no/such/folder/x.json"]],
)
def test_a_mistake_is_one_line_and_status_2(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *options]) == 2
    err = capsys.readouterr().err
    assert err.startswith("tinygrad-rnn: error: ") and err.count("\n") == 1


def test_without_a_gpu_the_reason_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "unavailable", lambda: "CuPy is installed, but no GPU answers")
    assert main(["bench", "--device", "cuda"]) == 2
    err = capsys.readouterr().err
    assert err == "tinygrad-rnn: error: --device cuda: CuPy is installed, but no GPU answers\n"


@pytest.mark.parametrize(("device", "works"), [("cpu", BENCHMARKS), ("cuda", CUDA_BENCHMARKS)])
def test_the_works_can_be_listed(device: str, works: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list", "--device", device]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(works)
    assert all(len(line.split()) > 5 for line in lines)


def test_it_measures_and_writes(tmp_path: Path) -> None:
    target = tmp_path / "times.json"
    command = [*COMMAND, "--only", "imports,loops", "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, env=HERE)
    assert done.returncode == 0, done.stderr
    assert "1 thread(s) for everybody" in done.stdout and "quartiles" in done.stdout
    assert done.stderr == ""  # progress is shown on terminals alone
    found = json.loads(target.read_text())
    assert found["complete"] is True
    assert found["machine"]["environment"]["OPENBLAS_NUM_THREADS"] == "1" and found["machine"]["packages"]["numpy"]
    works = [result["work"] for result in found["results"]]
    assert works[0] == "import in a new interpreter" and len(works) == 3
    assert found["results"][1]["seconds"]["numpy"] and found["results"][1]["ratios"]


@pytest.mark.skipif(os.name != "posix", reason="signals of a process group")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_what_was_measured(tmp_path: Path, number: signal.Signals) -> None:
    target = tmp_path / "times.json"
    command = [*COMMAND, "--only", "imports,loops,layers,optimisers", "--json", str(target)]  # far from its end
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=HERE, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("loops"):
            break
    time.sleep(0.1)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)  # as `kill` does: the process that measures is another one
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number and errors == ""
    assert "interrupted; what was measured until then:" in output and "import in a new interpreter" in output
    assert json.loads(target.read_text())["complete"] is False


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_streams_that_nobody_reads_end_no_measuring_that_is_written(tmp_path: Path) -> None:
    command = " ".join([*COMMAND, "--only", "imports", "--quick"])
    lines = {"--json a 2>&- | head -c 1; exit ${PIPESTATUS[0]}": 0, "--json b > /dev/full 2>&1": 0, "> /dev/full": 2}
    for line, status in lines.items():
        done = subprocess.run(
            ["bash", "-c", f"{command} {line}"], cwd=tmp_path, env=HERE, capture_output=True, text=True
        )
        assert done.returncode == status and "Traceback" not in done.stderr, (line, done.stderr)
    assert all(json.loads((tmp_path / name).read_text())["complete"] for name in "ab")


def test_everybody_gets_the_same_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "faster_kernel", lambda: "SkylakeX")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    chosen = program._environment(2)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        assert chosen[name] == "2"
    assert chosen["OPENBLAS_CORETYPE"] == "SkylakeX" and chosen["JAX_PLATFORMS"] == "cpu"
    monkeypatch.setattr(environment, "faster_kernel", lambda: None)
    assert "OPENBLAS_CORETYPE" not in program._environment(2)
    monkeypatch.delenv("OPENBLAS_THREAD_TIMEOUT", raising=False)
    assert program._environment(2)["OPENBLAS_THREAD_TIMEOUT"] == "18"
    assert "OPENBLAS_THREAD_TIMEOUT" not in program._environment(1)
    monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", "26")
    assert "OPENBLAS_THREAD_TIMEOUT" not in program._environment(2)
    assert "multi_thread_eigen=false" in program._environment(1)["XLA_FLAGS"]


def test_the_facts_say_what_times_depend_on() -> None:
    facts = machine(2)
    assert facts["threads"] == 2 and facts["cores"] == cores() and facts["blas"]["name"]
    assert facts["packages"]["numpy"] and facts["date"].endswith("+00:00")


def test_works_of_the_gpu_run_on_any_array_module(double: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_torch", lambda: None)
    for jobs in (gpu.cuda_layer_jobs("GRU", 3, 2, 4), gpu.cell_jobs(3, 2, 4)):
        assert list(jobs) == ["tinygrad_rnn"]
    gpu.waiting()()
