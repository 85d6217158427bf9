"""The recipes of lab.papers: what may be printed as a paper's figure, the words of sameness, the command."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.lab import papers, tasks
from tinygrad_rnn.lab.experiment import Check, Size
from tinygrad_rnn.lab.papers import command, guessing, recipes, report
from tinygrad_rnn.lab.papers.cell_1997 import Cell1997, Net1997
from tinygrad_rnn.lab.papers.recipe import SAMENESS, Arm, Method, Published, Reached, Recipe
from tinygrad_rnn.lab.papers.training import Reader, trained
from tinygrad_rnn.train.cli import main

METHOD = Method("a net", "zeros", "none", "at once", "one")


def made(**changes: Any) -> Recipe:
    def train(size: Size, seed: int) -> Reached:
        tg.rand(3)
        curve = {"sequences": [0, 1, 2], "test loss": [1.0, 0.5, 0.1]}
        arm = Arm("", f"drew {tg.rand(1).item():.6f}", 2, 4, 0.5, changes.get("solved", True), curve)
        return Reached([arm], "", [Check("it is so", changes.get("value", 1.0), "==", 1.0, "always")], "A note.")

    published = changes.get("published", [Published("99 % after 7", "P", "table 3")])
    return Recipe(
        "made",
        "A made recipe",
        "nobody",
        "nothing",
        METHOD,
        {"quick": METHOD},
        published,
        {"quick": SAMENESS[1]},
        0,
        train,
    )


def shown(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, out: pathlib.Path, *options: str) -> int:
    """Run the command on a recipe alone."""
    monkeypatch.setattr(recipes, "RECIPES", (recipe,))
    monkeypatch.setattr(command, "RECIPES", (recipe,))
    return main(["lab", "papers", "--out", str(out), *options])


# ---- provenance


@pytest.mark.parametrize("mark", ["R", "?"])
def test_what_was_not_read_is_printed_nowhere(
    mark: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = made(published=[Published("4711 by hearsay", mark, "a guess"), Published("99 % after 7", "P", "table 3")])
    assert shown(recipe, monkeypatch, tmp_path) == 0
    texts = [capsys.readouterr().out, *[(tmp_path / f"papers.{kind}").read_text() for kind in ("json", "html")]]
    for text in texts:
        assert "4711" not in text and "99 % after 7" in text


def test_a_row_without_a_published_figure_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(made(published=[Published("4711", "?", "")]), monkeypatch, tmp_path) == 0
    assert capsys.readouterr().out.count(report.NO_FIGURE) == 2


def test_marks_and_words_are_the_ones_agreed() -> None:
    assert SAMENESS == ("same recipe", "same task, modern recipe", "smaller task", "not reached")
    with pytest.raises(ArgumentError, match="a mark is one of P, C, S, R"):
        Published("1", "Q", "")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="sameness is one of"):
        dataclasses.replace(made(), sameness={"quick": "reproduced"})


@pytest.mark.parametrize("recipe", papers.RECIPES, ids=lambda recipe: recipe.name)
def test_recipes_are_whole(recipe: Recipe) -> None:
    assert re.fullmatch(r"[a-z0-9-]+", recipe.name) and recipe.seconds < 90
    for size in ("quick", "full") if recipe.quick else ("full",):
        methods = [recipe.paper, recipe.method(size)]  # type: ignore[arg-type]
        assert all(getattr(m, f.name) for m in methods for f in dataclasses.fields(Method))
    for published in recipe.published:
        assert published.where and not re.search("reproduc", published.text)
    for size in recipe.here:
        assert recipe.words(size, False) == "not reached"
        assert not ("Adam" in recipe.method(size).optimiser and recipe.words(size, True) == "same recipe")


def test_names_are_found_and_others_are_told() -> None:
    names = [recipe.name for recipe in papers.RECIPES]
    assert len(set(names)) == len(names) == 18
    assert sum(recipe.seconds for recipe in papers.RECIPES if recipe.quick) < 240
    assert papers.find("latch").name == "latch"
    with pytest.raises(tg.errors.UsageError, match="is it 'latch'"):
        papers.find("lach")


# ---- reaching


def test_what_is_not_solved_is_not_reached_whatever_the_recipe() -> None:
    assert made().reach("quick", 0).words == "same task, modern recipe"
    assert made().reach("full", 0).words == "same task, modern recipe"
    assert made(solved=False).reach("quick", 0).words == "not reached"
    with pytest.raises(ArgumentError, match='"quick" or "full"'):
        made().reach("small", 0)  # type: ignore[arg-type]


def test_a_seed_says_what_is_reached_and_the_callers_streams_stay() -> None:
    tg.manual_seed(5)
    expected = tg.rand(2).tolist()
    tg.manual_seed(5)
    figures = [made().reach("quick", seed).arms[0].figure for seed in (1, 1, 2)]
    assert tg.rand(2).tolist() == expected and tg.get_default_dtype() == tg.float32
    assert figures[0] == figures[1] != figures[2]


def test_training_stops_by_its_rule_or_its_budget() -> None:
    task = tasks.temporal_order(10, 2, "pascanu2013")
    arms = []
    for solved in (True, False):
        tg.manual_seed(0)
        net = Reader(tg.nn.RNN(6, 8), 8, 4)
        before = [p.tolist() for p in net.parameters()]
        optimiser = tg.optim.SGD(net.parameters(), lr=0.1)
        arms.append(
            trained(net, task, optimiser, np.random.default_rng(0), sequences=5, updates=7, every=3,
                    stop=lambda loss, wrong, solved=solved: solved, tested=20)  # type: ignore[misc]
        )  # fmt: skip
        assert [p.tolist() for p in net.parameters()] != before
    assert (arms[0].solved, arms[0].updates, arms[0].sequences) == (True, 3, 15)
    assert (arms[1].solved, arms[1].updates, arms[1].sequences) == (False, 7, 35)
    assert arms[1].curve["sequences"] == [0, 15, 30, 35]
    assert arms[0].curve["test loss"] == arms[1].curve["test loss"][:2]


def test_gradients_of_a_reader_are_those_of_every_step() -> None:
    """Only judged places are read; the loss is the same as of all outputs with the others left out."""
    task = tasks.embedded_reber()
    batch = task.batch(np.random.default_rng(0), 4)
    net = Reader(tg.nn.LSTM(7, 5), 5, 7)
    h, _ = net.layer(tg.tensor(batch.inputs))
    everywhere = net.readout(h).detach().numpy()
    assert np.allclose(net(batch).detach().numpy(), batch.answers(everywhere), atol=1e-6)


# ---- the cell of 1997


def literal_1997(cell: Cell1997, x: np.ndarray) -> np.ndarray:
    """Unit by unit and step by step: outputs (T, cells) of inputs (T, I)."""

    def logistic(a: float) -> float:
        return 1 / (1 + np.exp(-a))

    w, bias = cell.weight.detach().numpy(), cell.bias.detach().numpy()
    b, n = cell.blocks, cell.block_size
    y, c, gates = np.zeros(b * n), np.zeros(b * n), np.zeros(2 * b)
    found = []
    for row in x:
        seen = [*row, *y, *gates]
        net = [sum(w[u, k] * seen[k] for k in range(len(seen))) for u in range(len(w))]
        net = [a + (bias[u] if u < len(bias) else 0.0) for u, a in enumerate(net)]
        gates = np.array([logistic(a) for a in net[: 2 * b]])
        for k in range(b * n):
            block = k % b
            c[k] += gates[block] * (4 * logistic(net[2 * b + k]) - 2)
            y[k] = gates[b + block] * (2 * logistic(c[k]) - 1)
        found.append(y.copy())
    return np.array(found)


@pytest.mark.parametrize(("blocks", "size", "biased"), [(4, 1, False), (3, 2, False), (2, 2, True)])
def test_the_cell_of_1997_is_the_papers(blocks: int, size: int, biased: bool) -> None:
    tg.manual_seed(1)
    cell = Cell1997(3, blocks, size, 0.9, tuple(np.arange(-1.0, -1 - blocks, -1)), biased_cells=biased)
    x = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    output, _ = tg.nn.RNNLayer(cell)(tg.tensor(x[:, None]))
    expected = literal_1997(cell, x)
    assert np.abs(expected).max() > 0.1 and np.allclose(output[:, 0].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "blocks", "size", "outputs", "biased", "weights"),
    [
        (7, 4, 1, 7, (False, False), 264),  # table 1
        (7, 3, 2, 7, (False, False), 276),
        (2, 2, 2, 1, (True, True), 93),  # table 7
        (8, 2, 2, 4, (True, True), 156),  # table 9
        (8, 3, 2, 8, (True, True), 308),
        (1, 3, 1, 1, (True, False), 102),  # table 4
    ],
)
def test_nets_of_1997_have_as_many_weights_as_the_paper_says(
    inputs: int, blocks: int, size: int, outputs: int, biased: tuple[bool, bool], weights: int
) -> None:
    net = Net1997(Cell1997(inputs, blocks, size, 0.1, biased_cells=biased[0]), outputs, 0.1, bias=biased[1])
    assert sum(p.numel() for p in net.parameters()) == weights


@pytest.mark.parametrize("impl", ["composed", "compiled"])
def test_a_truncated_gradient_goes_back_through_the_cell_alone(impl: str) -> None:
    """Held against the whole gradient of a net whose units read what they gave a step before as a constant."""
    tg.manual_seed(2)
    cell = Cell1997(3, 2, 2, 0.9).to(tg.float64)
    x = tg.tensor(np.random.default_rng(1).normal(size=(8, 2, 3)))
    gradients = {}
    for truncated in (True, False):
        cell.truncated = truncated
        cell.zero_grad()
        output, _ = tg.nn.RNNLayer(cell, impl=impl if truncated else "composed")(x)
        (output**2).sum().backward()
        gradients[truncated] = cell.weight.grad.numpy().copy()
    states = [tg.zeros(2, 4, dtype=tg.float64), tg.zeros(2, 4, dtype=tg.float64), tg.zeros(2, 4, dtype=tg.float64)]
    cell.truncated, total = False, 0.0
    given = [[s.clone() for s in states]]
    with tg.no_grad():
        for t in range(8):
            states = list(cell(x[t], tuple(states)))
            given.append(states)
    cell.zero_grad()
    c = given[0][1]
    for t in range(8):
        y, c, _ = cell(x[t], (given[t][0], c, given[t][2]))
        total = total + (y**2).sum()
    total.backward()  # type: ignore[attr-defined]
    assert np.allclose(gradients[True], cell.weight.grad.numpy(), rtol=1e-10)
    assert np.abs(gradients[True] - gradients[False]).max() > 1e-3 * np.abs(gradients[False]).max()


# ---- guessing


def test_nets_that_are_guessed_compute_what_is_said() -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(6, 3, 1)), rng.normal(size=(2, 7))
    states = guessing.latch_nets(weights[:, :3], x)
    outputs = guessing.parity_nets(weights, x)
    for m in range(2):
        for n in range(3):
            h = hidden = output = 0.0
            w = weights[m]
            for t in range(6):
                h = np.tanh(w[0] * h + w[1] * x[t, n, 0] + w[2])
                hidden = 1 / (1 + np.exp(-(w[0] * hidden + w[1] * output + w[2] * x[t, n, 0] + w[3])))
                output = 1 / (1 + np.exp(-(w[4] * hidden + w[5] * output + w[6] * x[t, n, 0])))
                assert states[t, m, n] == pytest.approx(h, rel=1e-12)
                assert outputs[t, m, n] == pytest.approx(output, rel=1e-12)


def test_a_search_ends_with_weights_that_have_all_right_or_with_none() -> None:
    task = tasks.latch(30)
    count, found = guessing.searched(guessing.latch_nets, 3, task, np.random.default_rng(1), 3000)
    assert found is not None and 0 < count < 3000
    fresh = task.batch(np.random.default_rng(2), 500, np.float64)
    ends = guessing.latch_nets(found[None], fresh.inputs)[fresh.steps, 0, fresh.rows][:, None]
    assert task.wrong(ends, fresh).mean() < 0.05
    assert guessing.searched(lambda w, x: 0 * guessing.latch_nets(w, x), 3, task, np.random.default_rng(1), 600) == (
        600,
        None,
    )


def test_filtering_by_ten_sequences_changes_no_trial() -> None:
    task, rng = tasks.latch(20), np.random.default_rng(3)
    count, _ = guessing.searched(guessing.latch_nets, 3, task, rng, 3000)
    rng = np.random.default_rng(3)
    batch = task.batch(rng, 100, np.float64)
    drawn = np.concatenate([rng.uniform(-100.0, 100.0, (256, 3)) for _ in range(0, count, 256)])
    for trial in range(count):
        ends = guessing.latch_nets(drawn[trial][None], batch.inputs)[batch.steps, 0, batch.rows][:, None]
        assert task.wrong(ends, batch).any() == (trial < count - 1)


# ---- rows that are quick enough


@pytest.mark.parametrize("name", ["cliff", "two-sequence", "embedded-reber"])
def test_quick_rows_pass_their_checks(name: str) -> None:
    reached = papers.find(name).reach("quick", 0)
    assert reached.passed and reached.words != "not reached" and all(arm.seconds >= 0 for arm in reached.arms)


# ---- the command


def test_the_command_prints_both_sides_and_leaves_table_page_and_picture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(made(), monkeypatch, tmp_path, "--seed", "3") == 0
    said = capsys.readouterr().out
    for word in ("99 % after 7 [P: table 3]", "drew 0.", "4 sequences, 2 updates, 0.5 s", "SAME TASK, MODERN RECIPE"):
        assert word in said, word
    assert "stopping rule  at once" in said and "reached here, seed 3" in said
    assert {path.name for path in tmp_path.iterdir()} == {"papers.json", "papers.html", "made-3.svg"}
    (row,) = json.loads((tmp_path / "papers.json").read_text())["rows"]
    assert (row["seed"], row["words"], row["passed"]) == (3, "same task, modern recipe", True)
    assert row["reached"][0]["sequences"] == 4 and row["published"][0]["read"] == "read in the paper"
    page = (tmp_path / "papers.html").read_text()
    assert "<svg" in page and "table 3" in page and not re.search(r'(?:src|href)="(?:https?:)?//', page)


def test_a_check_that_fails_is_told_and_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(made(value=2.0), monkeypatch, tmp_path) == 1
    assert "CHECK FAILED: it is so: 2 is not == 1" in capsys.readouterr().out
    assert "A check failed" in (tmp_path / "papers.html").read_text()


def test_full_runs_over_seeds_and_tells_them_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(made(), monkeypatch, tmp_path, "--full", "--seed", "2") == 0
    rows = json.loads((tmp_path / "papers.json").read_text())["rows"]
    assert [(row["size"], row["seed"]) for row in rows] == [("full", seed) for seed in range(2, 2 + command.SEEDS)]
    assert f"{command.SEEDS} of {command.SEEDS}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lach"], "is it 'latch'?"),
        (["cliff", "--jobs", "0"], "--jobs must be at least 1"),
        (["cliff", "--broken"], "--broken is for experiments"),
        (["cliff", "distractors"], "distractors: longer than a quick row; give --full"),
        (["cliff", "--out", __file__], "is not a folder"),
    ],
)
def test_mistakes_are_told_in_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "papers", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not captured.out


def test_the_list_has_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "papers", "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [r.name for r in papers.RECIPES]


def test_several_processes_reach_the_same(tmp_path: pathlib.Path) -> None:
    rows = []
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        assert main(["lab", "papers", "cliff", "two-sequence", "--jobs", jobs, "--out", str(out)]) == 0
        found = json.loads((out / "papers.json").read_text())["rows"]
        rows.append([[{**arm, "seconds": 0} for arm in row["reached"]] for row in found])
    assert rows[0] == rows[1] and len(rows[0]) == 2


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_leaves_what_is_done(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "tinygrad_rnn", "lab", "papers", "cliff", "clipping", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "papers.html").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (tmp_path / "papers.html").exists()
    time.sleep(0.5)  # the next row is under way, which takes long
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in errors and "interrupted" in errors, (said, errors)
    assert [row["name"] for row in json.loads((tmp_path / "papers.json").read_text())["rows"]] == ["cliff"]


def test_a_net_that_is_not_solved_has_its_own_words_beside_one_that_is() -> None:
    """Of nets that are compared, each ends in words of its own; those of the row are the first one's."""
    one, other = Arm("one", "7", 1, 2, 0.1, True), Arm("other", "8", 1, 2, 0.1, False)
    recipe = dataclasses.replace(made(), train=lambda size, seed: Reached([one, other], "", [], "A note."))
    reached = recipe.reach("quick", 0)
    row = report.row_of(recipe, "quick", 0, reached)
    assert reached.words == row["words"] == "same task, modern recipe"
    assert [arm["words"] for arm in row["reached"]] == ["same task, modern recipe", "not reached"]
    assert [line[-1] for line in report.summary([row])[1]] == ["same task, modern recipe", "not reached"]
