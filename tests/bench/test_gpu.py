"""The program that measures a GPU runs through, on the strict double of CuPy and PyTorch's CPU, in small sizes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from benchmarks.gpu import bounds, cells, check, clock, families, latency, program, reference, sanitize, tables, tilings
from benchmarks.gpu.places import Places
from benchmarks.gpu.rows import Rows
from tests.support import arrays, emulated, emulator, nvrtc
from tinygrad_rnn.backend.gpu import kernels
from tinygrad_rnn.errors import UsageError

ON_DOUBLE = Places(ours="cuda", theirs="cpu", dry=True)


@pytest.fixture
def torch() -> Iterator[Any]:
    found = pytest.importorskip("torch")
    with found.random.fork_rng():
        yield found


@pytest.mark.parametrize("name", [name for name in families.FAMILIES if name not in ("tilings", "cells")])
def test_every_family_runs_on_device_arrays(name: str, torch: Any) -> None:
    rows = Rows()
    if name == "micro" and emulated.COMPILER is None:
        pytest.skip("g++ is not installed")
    with emulated.device() if name == "micro" else arrays.module("double"):
        families.FAMILIES[name].run(rows, ON_DOUBLE)
    assert rows.found and not [key for key, row in rows.found.items() if "failed" in row]
    for key, row in rows.found.items():
        assert row.get("right", True) and row.get("error", 0.0) < 1e-5, key
        assert not any(isinstance(value, float) and not np.isfinite(value) for value in row.values()), key
    if name in ("lstm", "gru", "rnn", "job", "loops", "optimisers"):
        assert all("ratio" in row for row in rows.found.values())
    if name == "job":
        apart = [row[f"curve from {whose}"] for row in rows.found.values() for whose in ("torch's", "the CPU's")]
        assert max(apart) < 1e-4


def test_without_pytorch_the_reference_is_our_own(monkeypatch: pytest.MonkeyPatch, double: Any) -> None:
    monkeypatch.setattr(Places, "torch", lambda self: None)
    for name in ("check-gru", "lstm", "loops", "optimisers"):
        rows = Rows()
        families.FAMILIES[name].run(rows, ON_DOUBLE)
        assert rows.found and not [key for key, row in rows.found.items() if "failed" in row or "ratio" in row]


@pytest.mark.skipif(emulator.COMPILER is None, reason="g++ is not installed")
def test_tilings_are_measured(double: Any, monkeypatch: pytest.MonkeyPatch, torch: Any) -> None:
    emulator.Emulator().install(monkeypatch)
    rows = Rows()
    work = reference.Work("LSTM", 20, 2, 3)
    numbers = work.numbers()
    places = Places(ours="cuda", theirs="cpu", dry=True)
    found = tilings.candidates(tilings.CELLS["lstm"], 20, kernels.gpu())
    assert found
    tilings._attempt(rows, places, work, numbers, reference.reference(places, work, numbers), found[0])
    (row,) = rows.found.values()
    assert row["error"] < 1e-6 and row["us per step"] > 0 and "failed" not in row


@pytest.mark.skipif(emulator.COMPILER is None, reason="g++ is not installed")
def test_compiled_cells_are_measured(double: Any, monkeypatch: pytest.MonkeyPatch, torch: Any) -> None:
    emulator.Emulator().install(monkeypatch)
    rows = Rows()
    cells.cells(rows, ON_DOUBLE)
    assert len(rows.found) == 3 + len(cells.CELLS)
    for key, row in rows.found.items():
        assert "failed" not in row and row["error"] < 1e-5 and row["ratio"] > 0, (key, row)
    ways = {key.partition(" H=")[0]: row["way"] for key, row in rows.found.items() if "way" in row}
    assert ways["SRU"] == "scan" and ways["peephole LSTM"] == ways["coupled LSTM"] == "persistent"
    assert ways["layer-norm LSTM"] == ways["GRU, reset before"] == ways["highway RNN"] == "stepwise"


@nvrtc.needs_nvrtc
@pytest.mark.parametrize(
    ("architecture", "options", "count"), [(75, [], 2), (90, ["-DBLOCKS=2"], 4), (90, ["-DBLOCKS=16"], 4)]
)
def test_the_compiler_takes_the_probes(architecture: int, options: list[str], count: int) -> None:
    assert len(nvrtc.compile_cuda(latency.SOURCE, options, architecture)) == count


def test_probes_get_the_arguments_of_their_kernels(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = []

    def kernel(source: str, name: str, options: tuple[str, ...], launch: Any) -> Any:
        return lambda blocks, *given: launched.append((name, blocks % launch.cluster, len(given)))

    monkeypatch.setattr(latency, "kernel", kernel)
    monkeypatch.setattr(latency, "gpu", lambda: kernels.Gpu(0, 90, 132, 0))
    rows = Rows()
    latency.latency(rows, Places(ours="cuda"))
    assert len(rows.found) == 1 + 5 + 8 and not [key for key, row in rows.found.items() if "failed" in row]
    heads = re.findall(r"(\w+)\(([^()]*)\)\s*(?://.*)?\n{", latency.SOURCE)
    counts = {name: parameters.count(",") + 1 for name, parameters in heads}
    assert {(name, 0, counts[name]) for name in counts} == set(launched)


def test_a_wrong_result_and_one_that_moves_are_told(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "torch", lambda self: None)
    inner, calls = reference.prepared.results, []

    def spoilt(self: Any) -> dict[str, Any]:
        found = inner(self)
        if self.x.dtype == tg.float32:
            calls.append(1)
            found["weight_hh_l0"] = found["weight_hh_l0"] * (1.01 if len(calls) % 2 else 1.0)
        return found

    monkeypatch.setattr(reference.prepared, "results", spoilt)
    rows = Rows()
    check._one(rows, ON_DOUBLE, reference.Work("GRU", 4, 2, 3), "float32")
    (row,) = rows.found.values()
    assert row["right"] is False and row["worst"] == "weight_hh_l0" and 0.009 < row["error"] < 0.011
    assert row["moves"] == "weight_hh_l0"


def test_the_distance_sees_nan() -> None:
    error, where = reference.distance({"a": np.ones(2), "b": np.array([1, np.nan])}, {"a": np.ones(2), "b": np.ones(2)})
    assert np.isnan(error) and where == "b"
    assert reference.distance({"a": np.array([0.5])}, {"a": np.zeros(1)}) == (0.5, "a")  # of nothing: as it is


def test_packed_lengths_are_mixed_and_reach_the_end() -> None:
    sizes = reference.uneven(64, 16)
    assert max(sizes) == 64 and min(sizes) == 16 and len(sizes) == 16 and list(sizes) != sorted(sizes, reverse=True)


def test_what_fails_is_a_row_and_rows_are_saved_as_they_come(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "some.json")
    rows.add("first", time=1.5)
    rows.attempt("second", lambda: 1 / 0)
    saved = json.loads((tmp_path / "some.json").read_text())
    assert saved == {"first": {"time": 1.5}, "second": {"failed": "ZeroDivisionError: division by zero"}}


def test_a_clock_waits_and_takes_the_median(double: Any) -> None:
    assert clock.milliseconds(tg, "cuda", lambda: None, repetitions=3) < 5
    assert 1.9 < clock.milliseconds(tg, "cpu", lambda: time.sleep(0.002), repetitions=3) < 20


def test_the_program_leaves_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--dry-run", "--only", "tilings,loops", "--out", str(tmp_path / "new")]) == 0
    text = (tmp_path / "new" / "gpu.md").read_text()
    assert "| loops | done" in text and "composed loop H=4 N=2 T=3" in text
    found = json.loads((tmp_path / "new" / "gpu.json").read_text())
    assert set(found["rows"]) == {"loops", "tilings"} and "0 of 2 rows are wrong or failed" in capsys.readouterr().out


def test_checks_run_together_and_times_alone() -> None:
    groups = program._groups(list(families.FAMILIES))
    assert groups[0] == ["check-rnn", "check-gru", "check-lstm"] and all(len(group) == 1 for group in groups[1:])
    assert program._groups(["lstm"]) == [["lstm"]]


def test_what_is_run_under_the_sanitizer_runs(double: Any) -> None:
    sanitize.main()


def test_a_family_that_hangs_is_stopped_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "DRY_SECONDS", 0)
    assert program.run(tmp_path, "loops", False, True, 100.0) == 1
    assert "| loops | stopped after 0 s" in (tmp_path / "gpu.md").read_text()


def test_mistakes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="no family 'lsmt'"):
        program.run(tmp_path, "lsmt", False, True, 10.0)
    if not tg.cuda.is_available():
        assert program.main(["--out", str(tmp_path)]) == 2
        assert "there is nothing to measure: " in capsys.readouterr().err


def test_tables_count_what_is_right_and_what_meets_its_goal() -> None:
    lstm = {"kind": "LSTM", "H": 256, "N": 16, "T": 64, "forward": 0.064, "both": 0.2}
    found = {
        "micro": {"device": {"name": "X", "multiprocessors": 132, "clock in MHz": 1980}},
        "check": {"a": {"error": 1e-7, "right": True}, "b": {"error": 0.1, "right": False}, "c": {"failed": "Boom"}},
        "lstm": {"LSTM H=256": {**lstm, "ratio": 0.4, "goal": 0.5}, "LSTM 2": {**lstm, "ratio": 0.6, "goal": 0.5}},
    }
    text = tables.markdown(found, {"check": "done"})
    assert "1 of 3 works are right; the largest relative error of these is 1.0e-07" in text
    assert "| b | 0.1 | NO |  |" in text and "| c |  |  | Boom |" in text
    assert "1 of 2 ratios meet their goal" in text
    assert "| LSTM H=256 | 1 | 0.1254 | 0.1907 | 0.0381 | 7.97" in text


def test_bounds_are_those_of_an_h200() -> None:
    least = bounds.bounds(bounds.Machine(), "LSTM", 512, 64)
    assert {name: round(us, 2) for name, us in least.items()} == {"arithmetic": 2.01, "weights": 0.76, "memory": 0.3}
