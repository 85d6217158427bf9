"""Public scripts, written for PyTorch by others, run under the alias and print what they print with PyTorch.

Their text is not in this repository.  The tests take it from the folder that ``TINYGRAD_RNN_CLIENTS`` names, with

    word_language_model/    of github.com/pytorch/examples
    makemore/               github.com/karpathy/makemore
    PyTorchZeroToAll/       github.com/hunkim/PyTorchZeroToAll
    tutorials/              .py files of github.com/pytorch/tutorials (beginner_source/nlp)
    teenygrad/, micrograd/  github.com/tinygrad/teenygrad, github.com/karpathy/micrograd

in it, and are skipped for what is not there.  Where PyTorch is installed the lines are compared with its own.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import random
import re
from typing import Any

import pytest

from tests.clients.running import assert_same_lines, run

FOLDER = os.environ.get("TINYGRAD_RNN_CLIENTS", "")
HAS_TORCH = importlib.util.find_spec("torch") is not None
TIMES = re.compile(
    r"ms/batch +[\d.]+|time: +[\d.]+s|step time .*|\d+m \d+s|[\d.]+(s|ms)\b|grad_fn=<\w+>| at 0x\w+| #\d+"
)
GRAPH = re.compile(r"<\w+Backward\d+[^>]*>")

pytestmark = pytest.mark.skipif(not FOLDER, reason="TINYGRAD_RNN_CLIENTS names no folder with public scripts")


def place(*parts: str) -> pathlib.Path:
    """A file or folder of the public scripts."""
    found = pathlib.Path(FOLDER, *parts)
    if not found.exists():
        pytest.skip(f"{found} is not there")
    return found


def lines(*arguments: Any, **options: Any) -> list[str]:
    """What a script prints, without times, and without the names of operations, which are ours."""
    return [GRAPH.sub("<op>", TIMES.sub("", line)) for line in run(*arguments, **options)]


def both(script: pathlib.Path, *arguments: str, rtol: float, atol: float, seed: int = 3) -> list[str]:
    """Run it under the alias and, where that is installed, with PyTorch; compare; give our lines."""
    options: dict[str, Any] = {"seed": seed, "cwd": script.parent}
    ours = lines(script, *arguments, **options)
    if HAS_TORCH:
        assert_same_lines(ours, lines(script, *arguments, real=True, **options), rtol, atol)
    return ours


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a small corpus, as word_language_model reads it."""
    folder, draw = tmp_path_factory.mktemp("text"), random.Random(5)
    nouns, verbs = "ship captain storm harbour gull mate anchor sail".split(), "meets fears watches leaves".split()
    for name, count in (("train", 900), ("valid", 120), ("test", 120)):
        rows = [f"the {draw.choice(nouns)} {draw.choice(verbs)} a {draw.choice(nouns)}" for _ in range(count)]
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    return str(folder)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("model", ["LSTM", "GRU", "RNN_TANH", "RNN_RELU"])
def test_word_language_model(model: str, tied: bool, text: str, tmp_path: pathlib.Path) -> None:
    """Training, saving the whole model, loading it from an allow-list, and writing text with generate.py."""
    folder, checkpoint, written = place("word_language_model"), tmp_path / "model.pt", {}
    sizes = ["--emsize", "24", "--nhid", "24", "--epochs", "3", "--lr", "1", "--log-interval", "10", "--bptt", "10"]
    for real in (False, True) if HAS_TORCH else (False,):
        arguments = ["--data", text, "--model", model, *sizes, *(["--tied"] if tied else []), "--save", str(checkpoint)]
        log = lines(folder / "main.py", *arguments, real=real, cwd=folder)
        outf = tmp_path / f"written-{real}.txt"
        arguments = ["--data", text, "--checkpoint", str(checkpoint), "--outf", str(outf), "--words", "60"]
        run(folder / "generate.py", *arguments, real=real, cwd=folder)
        written[real] = log, outf.read_text()
    assert written[False][0][-2].startswith("| End of training")
    assert len(written[False][1].split()) == 60
    if HAS_TORCH:
        assert_same_lines(written[False][0], written[True][0], rtol=1e-3)  # it prints losses with two decimals
        assert written[False][1] == written[True][1]


@pytest.mark.parametrize("kind", ["rnn", "gru"])
def test_makemore(kind: str, tmp_path: pathlib.Path) -> None:
    """Losses of 201 updates, and the ten words that are sampled then, letter by letter."""
    script = place("makemore", "makemore.py")
    sizes = ["--max-steps", "202", "--n-embd", "16", "--n-embd2", "24", "-n", "0", "-o", str(tmp_path)]
    ours = both(script, "--type", kind, *sizes, rtol=2e-4, atol=0)
    assert sum(line.startswith("step ") for line in ours) == 21


LESSONS = ["12_1_rnn_basics", "12_2_hello_rnn", "12_4_hello_rnn_emb", "13_1_rnn_classification_basics", "13_4_pack_pad"]


@pytest.mark.parametrize("lesson", LESSONS)
def test_pytorch_zero_to_all(lesson: str) -> None:
    # 12_4: Adam with a rate of 0.1 multiplies rounding: 6e-8 after 7 updates, 6e-4 after 30
    tolerances = {"rtol": 5e-3, "atol": 2e-3} if lesson.startswith("12_4") else {"rtol": 1e-3, "atol": 1e-4}
    assert len(both(place("PyTorchZeroToAll", f"{lesson}.py"), **tolerances)) >= 8


TUTORIALS = ["sequence_models_tutorial", "advanced_tutorial", "word_embeddings_tutorial", "pytorch_tutorial"]


@pytest.mark.parametrize("tutorial", [*TUTORIALS, "deep_learning_tutorial"])
def test_tutorials(tutorial: str) -> None:
    assert len(both(place("tutorials", f"{tutorial}.py"), rtol=1e-3, atol=2e-4)) >= 4


def test_micrograd() -> None:
    folder = place("micrograd")
    ours = run("pytest", "-q", "-p", "no:cacheprovider", "test/test_engine.py", cwd=folder, path=".", module=True)
    assert any(line.startswith("2 passed") for line in ours)


def test_teenygrad() -> None:
    """Its operations and optimisers are compared with ours, but for convolutions, pooling and attention."""
    folder, scope = place("teenygrad"), "not conv and not pool and not scaled_product_attention"
    files = ["test/test_ops.py", "test/test_optim.py"]
    ours = run("pytest", "-q", "-p", "no:cacheprovider", *files, "-k", scope, cwd=folder, path=".", module=True)
    (passed,) = [int(found) for line in ours for found in re.findall(r"^(\d+) passed", line)]
    assert passed >= 170
