"""Run a program under the alias, alone or under explain, and note its gradients.

    python tests/explain/noting.py plain FOLDER program.py
    python tests/explain/noting.py FOLDER [options of explain] program.py

FOLDER gets ``gradients.npz``: of each call of ``backward`` its ``.grad`` of all parameters, in the order in which these
were made, and ``after`` that of the end; under explain also ``tape.json``, the tape that the page shows.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tests.clients import alias
from tinygrad_rnn.tape.observe.pictures import drawn_by
from tinygrad_rnn.train.cli import main

KEPT = 4
"""Of the calls of backward, so many first and the last are noted."""


def noted(folder: pathlib.Path) -> Any:
    """Take notes from now on; a function that writes them."""
    parameters: list[Any] = []
    notes: dict[str, Any] = {"count": 0}
    make, backward = tg.nn.Parameter.__init__, tg.Tensor.backward

    def new(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        parameters.append(self)

    def gradients() -> list[Any]:
        return [np.zeros(0) if p.grad is None else p.grad.numpy().copy() for p in parameters]

    def noting(self: Any, *args: Any, **kwargs: Any) -> None:
        before = gradients()
        backward(self, *args, **kwargs)
        notes["count"] += 1
        found = {"before": before, "after": gradients()}
        for number in [notes["count"], "last"][notes["count"] > KEPT :]:
            notes.update({f"{when}/{number}/{k}": g for when, each in found.items() for k, g in enumerate(each)})

    tg.nn.Parameter.__init__ = new  # type: ignore[method-assign]
    tg.Tensor.backward = noting  # type: ignore[method-assign]

    def write() -> None:
        notes.update({f"end/{k}": g for k, g in enumerate(gradients())})
        np.savez(folder / "gradients.npz", **notes)

    return write


def run(words: list[str]) -> int:
    """Do what the head of this file says."""
    plain = words[0] == "plain"
    folder = pathlib.Path(words[plain])
    arguments = words[1 + plain :]
    write = noted(folder)
    status = 0
    if plain:
        alias.main(arguments)
    else:
        drawing = drawn_by("debugger")
        debugger = drawing.debugger

        def keeping(tape: Any, **options: Any) -> Any:
            (folder / "tape.json").write_text(tape.to_json(sources=False), encoding="utf-8")
            return debugger(tape, **options)

        drawing.debugger = keeping
        status = main(["explain", "--out", str(folder / "page.html"), *arguments])
    write()
    return status


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
