"""Examples for operations whose docstrings have none: a call on small tensors, and its result.

They run when the site is built.  An operation takes tensors in one of a few ways, so the first call of a list that it
accepts is a fair example of it.
"""

from __future__ import annotations

import inspect
import re
import warnings
from typing import Any

import tinygrad_rnn as tg

__all__ = ["example"]

VALUES = {
    "x": "tg.tensor([-1.0, 0.5, 2.0])",
    "p": "tg.tensor([0.25, 0.5, 0.75])",
    "y": "tg.tensor([3.0, 2.0, 1.0])",
    "A": "tg.tensor([[1.0, 2.0], [3.0, 4.0]])",
    "B": "tg.tensor([[0.0, 1.0], [1.0, 0.0]])",
    "T": "tg.tensor([[[1.0, 2.0], [3.0, 4.0]]])",
    "k": "tg.tensor([2, 0, 1])",
    "n": "tg.tensor([1, 3, 2])",
    "m": "tg.tensor([True, False, True])",
    "o": "tg.tensor([True, True, False])",
}
OPERANDS = (
    *(
        "x",
        "p",
        "x, y",
        "p, y",
        "A, B",
        "A",
        "k",
        "k, n",
        "m",
        "m, o",
        "A, 0",
        "A, 1",
        "x, 2",
        "A, y[:2]",
        "y[:2], A, A",
    ),
    *("x, y, y", "x, y, 0.5", "A, A, B", "x, m, 0.0", "x, m", "x, m, y", "x, k", "x, 0, k", "m, x, y", "x, 0, k, y"),
    *("x, 0, k, 0.0", "T, T", "A, T, T", "T, T, T", "y[:2], A, y[:2]", "[x, y]", "x, y, k", "3", "2, 3", "(2, 3)"),
    *(
        "(2, 3), 0.5",
        "0.0, 1.0, 3",
        "x, (3, 1)",
        "x, (2, 3)",
        "A, 0, 1",
        "x, 0, 1, 2",
        "x, 0, 1",
        "3, 3",
        "x, 1.0, 2.0",
    ),
    *("[1.0, 2.0]", "A, (1, 0)", "A, 0, (2, 1)", "x, 0.1, 0.5", "A, [0]", "(3, 1), (1, 2)", "p, 2", "x, x, y", "y, x"),
)
MODULES = ("tinygrad_rnn", "tinygrad_rnn.special", "tinygrad_rnn.nn.functional", "tinygrad_rnn.nn")
LAYERS = ("tinygrad_rnn.nn.activation", "tinygrad_rnn.nn.loss")
LEFT_OUT = re.compile(r"^(set_|get_|empty|from_|is_tensor|manual|seed|in_single|single|promote|fork)")
"""What changes or reads the state of the process, or has no value of its own."""


def example(path: str, value: Any) -> list[str]:
    """A call of an operation and its result, as lines of a doctest; empty where there is no such call."""
    module, _, name = path.rpartition(".")
    if module not in MODULES or LEFT_OUT.match(name):
        return []
    layer = inspect.isclass(value)
    if not (value.__module__ in LAYERS if layer else known(module, value)):
        return []
    written = path.replace("tinygrad_rnn", "tg", 1) + ("()" if layer else "")
    values = {letter: eval(text, {"tg": tg}) for letter, text in VALUES.items()}
    for operands in OPERANDS:
        call = f"{written}({operands})"
        tg.manual_seed(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found, again = [repr(eval(call, {"tg": tg, **values})) for _ in range(2)]
        except Exception:
            continue
        used = [letter for letter in VALUES if re.search(rf"\b{letter}\b", operands)]
        if found == "None" or "nan," in found or "nan]" in found or found.count("\n") > 8:
            continue
        given = [] if found == again else [">>> _ = tg.manual_seed(0)"]
        given += [f">>> {letter} = {VALUES[letter]}" for letter in used]
        return [
            ".. code-block:: pycon",
            "",
            *[f"   {line}" for line in [*given, f">>> {call}", *found.splitlines()]],
            "",
        ]
    return []


def known(module: str, value: Any) -> bool:
    """Whether a function computes something of its arguments, and does no more."""
    home = "tinygrad_rnn.tape.apply" if module == "tinygrad_rnn" else module
    return str(getattr(value, "__module__", "")).startswith(("tinygrad_rnn.ops.", home))
