"""What Python does in the page: run a program on the hundred-line engine, note what happens, try it on the mutants.

It runs in the browser, beside ``tinygrad_rnn/teaching/engine.py`` and ``mutants.py`` and nothing else of the package;
texts go in, JSON comes out.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from tinygrad_rnn.teaching import engine
from tinygrad_rnn.teaching.mutants import MUTANTS, gradients

__all__ = ["quiz", "run"]

PROGRAM = "<program>"
STEPS = 4000
"""So many steps of a sweep are noted; the page could not be stepped through more of them."""
VALUES = 400
"""So many values are drawn."""
OUTPUT = 20_000
"""So many characters of what a program prints are shown."""


class Notes:
    """What is noted of a run: its values, and the steps of its sweeps."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.sweeps: list[dict[str, Any]] = []
        self.steps = 0


class Printed(io.StringIO):
    """What a program prints, of which the beginning is kept."""

    def write(self, text: str) -> int:
        """Keep it, if there is room."""
        room = OUTPUT - self.tell()
        if room > 0:
            super().write(text[:room] + ("\n..." if len(text) > room else ""))
        return len(text)


def run(program: str) -> str:
    """Run a program; its values, the steps of its sweeps, what it printed and how it failed, as JSON."""
    notes, printed = Notes(), Printed()
    known: dict[str, Any] = {}
    with noted(notes) as names, contextlib.redirect_stdout(printed):
        known |= names
        error = failure(lambda: exec(compile(program, PROGRAM, "exec"), known))
    called: dict[int, list[str]] = {}
    for name, value in known.items():
        if name not in names and isinstance(value, engine.Value):
            called.setdefault(value.index, []).append(name)
    values = [
        {
            "index": v.index,
            "operation": v.operation,
            "parents": [p.index for p in v.parents],
            "line": v.line,
            "names": called.get(v.index, []),
            "data": short(v.first),
            "grad": short(v.grad),
        }
        for v in notes.values[:VALUES]
    ]
    return json.dumps(
        {
            "values": values,
            "hidden": max(0, len(notes.values) - VALUES),
            "sweeps": notes.sweeps,
            "cut": notes.steps > STEPS,
            "output": printed.getvalue(),
            "error": error,
        }
    )


@contextlib.contextmanager
def noted(notes: Notes) -> Iterator[dict[str, Any]]:
    """The names of the engine for a program, of which everything is noted."""
    plain = engine.Value

    class Value(plain):  # type: ignore[misc, valid-type]
        """A value that is noted."""

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.operation, self.first, self.line = "", self.data, line_of_program()
            notes.values.append(self)

    def named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def apply(*given: Any) -> Any:
            value = function(*given)
            value.operation = name
            return value

        return apply

    names: dict[str, Any] = {name: named(name, getattr(engine, name)) for name in engine.__all__}
    names |= {"Value": Value, "backward": lambda *a, **k: traced(notes, *a, **k), "__name__": "__main__"}
    engine.Value = Value  # type: ignore[misc, assignment]  # of which the operations make their results
    try:
        yield names
    finally:
        engine.Value = plain  # type: ignore[misc]


def traced(notes: Notes, y: Any, retain: bool = False) -> None:
    """The sweep, with every line of it noted: where it stands, what waits, what the leaves have."""
    steps: list[dict[str, Any]] = []
    notes.sweeps.append({"root": getattr(y, "index", None), "steps": steps})
    code, (begin, end) = engine.backward.__code__, of_a_contribution()
    leaves = [v for v in notes.values if not v.parents][:VALUES]

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        notes.steps += 1
        if notes.steps <= STEPS and event in ("line", "return"):
            here = frame.f_locals
            node, there = here.get("node"), begin <= frame.f_lineno < end
            parent = here.get("parent") if there else None
            steps.append(
                {
                    "line": frame.f_lineno if event == "line" else 0,
                    "node": None if node is None else node.index,
                    "g": short(here.get("g")),
                    "parent": None if parent is None else parent.index,
                    "contribution": short(here.get("contribution")) if there and frame.f_lineno > begin else None,
                    "totals": {index: short(total) for index, (_, total) in here.get("totals", {}).items()},
                    "grads": {v.index: short(v.grad) for v in leaves if v.grad is not None},
                }
            )
        return line

    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: line if frame.f_code is code else None)
    try:
        engine.backward(y, retain)
    finally:
        sys.settrace(before)


def of_a_contribution() -> tuple[int, int]:
    """The lines of the sweep that are about one parent: from the call of its vjp to before the next statement."""
    lines, first = inspect.getsourcelines(engine.backward)
    begin = next(k for k, line in enumerate(lines) if "vjp(g)" in line)
    end = next(k for k, line in enumerate(lines) if k > begin and line.strip().startswith("if not retain"))
    return first + begin, first + end


def quiz(program: str) -> str:
    """Run a program on the honest engine and on each mutant; what each finds, as JSON."""
    printed, found = Printed(), {}

    def honest() -> None:
        compile(program, PROGRAM, "exec")
        found.update(gradients(program))

    with contextlib.redirect_stdout(printed):
        error = failure(honest)
        if error is not None:
            return json.dumps({"error": error})
        if not any(grad is not None for grad in found.values()):
            text = "it finds no gradient: give a leaf a name, and call backward"
            return json.dumps({"error": {"line": None, "text": text}})
        engines = []
        for mutant in MUTANTS:
            mine: dict[str, Any] = {}
            stopped = failure(lambda m=mutant, into=mine: into.update(gradients(program, m.engine)))  # type: ignore[misc]
            if stopped is not None:
                mine = {"error": stopped["text"]}
            row = {"name": mutant.name, "mistake": mutant.mistake, "effect": mutant.effect}
            engines.append(row | {"same": same(mine, found), "found": shown(mine)})
    return json.dumps({"error": None, "honest": shown(found), "engines": engines})


def failure(action: Callable[[], object]) -> dict[str, Any] | None:
    """How an action fails: the line of the program, and the error in one line; None if it does not."""
    try:
        action()
    except SyntaxError as error:
        return {"line": error.lineno, "text": f"{type(error).__name__}: {error.msg}"}
    except SystemExit:
        return None
    except BaseException as error:
        line, place = None, error.__traceback__
        while place is not None:
            if place.tb_frame.f_code.co_filename in (PROGRAM, "<string>"):
                line = place.tb_lineno
            place = place.tb_next
        return {"line": line, "text": f"{type(error).__name__}: {error}"}
    return None


def line_of_program() -> int | None:
    """The line of the program that is running."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != PROGRAM:
        frame = frame.f_back
    return None if frame is None else frame.f_lineno


def same(a: Any, b: Any) -> bool:
    """Whether two engines have found the same, but for rounding."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) or (a != a and b != b)
    return bool(a == b)


def shown(found: dict[str, Any]) -> dict[str, str]:
    """Gradients as texts."""
    return {name: grad if name == "error" else short(grad) or "none" for name, grad in found.items()}


def short(data: Any) -> str | None:
    """A number, a vector or a matrix in a few characters; None of nothing."""
    if data is None:
        return None
    if isinstance(data, list):
        entries = [short(entry) or "" for entry in data[:4]]
        return f"[{', '.join(entries)}{', ...' if len(data) > 4 else ''}]"
    return f"{data:.5g}" if isinstance(data, (int, float)) else type(data).__name__
