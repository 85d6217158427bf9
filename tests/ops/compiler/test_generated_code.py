"""Generated code: mistakes in it are found by the checks, and its loops over units are vectorised."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from llvmlite import binding

from tests.ops.compiler.cells import CELLS
from tests.ops.compiler.sequences import compare, numba_kernel
from tests.ops.compiler.test_program import compiled
from tinygrad_rnn.kernels.recurrent.interface import Cotangents, Needs, Options
from tinygrad_rnn.ops.compiler import generated_modules
from tinygrad_rnn.ops.compiler.numba_host import generate
from tinygrad_rnn.tape.modes import within

# mistakes ------------------------------------------------------------------------------------------------------------


def _first(pattern: str, replacement: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, replacement, text, count=1)


MISTAKES: dict[str, tuple[str, Callable[[str], str]]] = {
    "a sign": ("backward", _first(r"= one - (v\d+)", r"= one + \1")),
    "a factor that is missing": ("backward", _first(r"(v\d+ = v\d+) \* v\d+\n", r"\1\n")),
    "a wrong column": ("backward", _first(r"= z\[u\]", "= z[w0 + u]")),
    "a carry that is forgotten": ("backward", _first(r"\n *d1\[u\] = v\d+\n", "\n")),
    "a bias that is forgotten": ("forward", _first(r" \+ vectors\[u\]", "")),
    "a product that replaces another": ("forward", _first(r"initial \+ old(.*), True\)", r"initial + old\1, False)")),
    "the state of another step": (
        "backward",
        _first(r"s1\[\(before if n < old else initial\) \+ n\]", "s1[after + n]"),
    ),
    "a cotangent that is forgotten": ("backward", _first(r"d0\[u\] \+= dy_n\[u\]", "d0[u] = dy_n[u]")),
    "a sum over rows that is forgotten": ("backward", _first(r"total\[u\] \+= d\[u\]", "total[u] = d[u]")),
}
PACKED = Options(cells=True, sizes=(4, 2, 2, 1), reverse=True)
AT_ONCE = ("a sign", "a wrong column", "a carry that is forgotten")


@pytest.mark.parametrize(
    "mistake", [pytest.param(m, marks=() if m in AT_ONCE else pytest.mark.thorough) for m in MISTAKES]
)
def test_a_mistake_in_generated_code_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, change = MISTAKES[mistake]
    monkeypatch.setattr(generated_modules, "folder", lambda: None)  # a wrong text is for nobody's cache
    c = CELLS["coupled_gates"](5, 6)
    program = compiled(c, 5)
    generated = generate(program)
    forward, definition, backward = generated.text.partition("@compiled_apart\ndef backward")
    wrong = forward + definition + change(backward) if where == "backward" else change(forward) + definition + backward
    assert wrong != generated.text
    changed = generated._replace(text=wrong)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        compare(c, program, numba_kernel(program, changed), 5, PACKED)


# vectors -------------------------------------------------------------------------------------------------------------

SOME: list[Any] = ["lstm", "softmax_over_units"]
SOME += [
    pytest.param(name, marks=pytest.mark.thorough)
    for name in [
        "coupled_gates",
        "lstm with zoneout",
        "gru",
        "rnn",
        "lstm_with_peepholes",
        "lstm_with_gates",
        "sru",
        "min_gru",
        "gru with recurrent dropout",
    ]
    + ["LayerNorm", "lstm_with_layer_norm", "gru_with_the_reset_before_the_product"]
]
needs_vectors = pytest.mark.skipif(
    not binding.get_host_cpu_features().get("avx", False),
    reason="names of instructions are those of a processor with AVX",
)


def functions(name: str, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str]) -> tuple[Any, Any]:
    """The loops of a cell, forward and backward, after they have run."""
    # machine code from the disk has no text, nor has what other tests have loaded
    monkeypatch.setattr(generated_modules, "folder", lambda: None)
    monkeypatch.setattr(generated_modules, "_modules", {})
    c = CELLS[name](5, 6)
    program = compiled(c, 5)
    generated = generate(program)
    kernel = numba_kernel(program, generated._replace(text=change(generated.text)))
    weights = tuple([t._data.astype("f") for ts in within(False, program.prelude.run, c.parameters) for t in ts])
    x, states = np.ones((2, 3, 5), "f"), tuple([np.zeros((3, w), "f") for w in c.widths])
    masks = [[m if m.dtype == bool else m.astype("f") for m in ms] for ms in c.masks(np.random.default_rng(0), 6, 3)]
    options = Options(step_masks=tuple([m.reshape(2, 3, -1) for m in masks[0]]), sequence_masks=tuple(masks[1]))
    result = kernel.forward(x, states, weights, options)
    cotangents = Cotangents(tuple([np.ones_like(y) for y in result.series]), (None,) * len(states))
    needs = Needs(True, (True,) * len(states), (True,) * len(weights))
    kernel.backward(x, states, weights, options, result.residual, cotangents, needs)
    return kernel.module.forward, kernel.module.backward


def divisions(name: str, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str]) -> tuple[int, int]:
    """How many instructions of the machine code divide vectors of numbers, and how many single numbers."""
    found = functions(name, monkeypatch, change)
    text = "\n".join([asm for function in found for asm in function.inspect_asm().values()])
    return len(re.findall(r"\bv(?:div|rcp14)ps\b", text)), len(re.findall(r"\bv(?:div|rcp14)ss\b", text))


@needs_vectors
@pytest.mark.parametrize("name", SOME)
def test_loops_over_units_divide_vectors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every loop has a form for vectors, and one for what is left at its end; numbers of a row are single."""
    of_vectors, of_numbers = divisions(name, monkeypatch, lambda text: text)
    assert of_vectors >= 1
    rows = 14 if "norm" in name.lower() else 8 if "softmax" in name else 0
    assert of_numbers <= of_vectors + rows


@needs_vectors
def test_divisions_of_single_numbers_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that may end early, depending on what it has stored, is not vectorised."""
    ending = r"\1\n\2    if z[u] == 2:\n\2        break"
    found = divisions("coupled_gates", monkeypatch, lambda text: re.sub(r"(\n( *)for u in range\(w0\):)", ending, text))
    assert found[0] == 0 and found[1] >= 3


@pytest.mark.parametrize("apart", [True, False])
def test_loops_over_units_do_not_test_whether_arrays_overlap(apart: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(text: str) -> str:
        return text if apart else text.replace("import compiled_apart", "import compiled as compiled_apart")

    _, backward = functions("coupled_gates", monkeypatch, change)
    (text,) = backward.inspect_llvm().values()
    assert "vector.body" in text and ("vector.memcheck" not in text) == apart
