"""What the debugger's page must show after each step of a sweep, from tapes alone.

The sums are those that the engine formed (a tape with ``totals=True``), not ones that are added here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.errors import GraphError
from tinygrad_rnn.tape.observe.records import Reference, Step, Sweep
from tinygrad_rnn.tape.observe.values import Summary, size_of_norm

WHOLE = 64
"""Arrays of more entries are shown in short."""


def same(shown: list[str], array: Any) -> bool:
    """Whether these texts are the entries of an array, to the last bit: the page writes the double that they are."""
    wanted = array.reshape(-1).tolist() if array.dtype.kind in "biu" else list(map(float, array.reshape(-1)))
    if len(shown) != len(wanted):
        return False
    kind = {"b": str, "i": str, "u": str}.get(array.dtype.kind)
    return all(a == kind(b) if kind else repr(float(a)) == repr(b) for a, b in zip(shown, wanted, strict=True))


def outputs(of: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The arrays of a value, each with what the page calls it."""
    if isinstance(value, (list, tuple)):
        for k, item in enumerate(value):
            if item is not None:
                yield (f"{of}.{k}" if len(value) > 1 else of), item
    elif value is not None:
        yield of, value if hasattr(value, "shape") else np.asarray(value)


def key_of(tape: tg.Tape, r: Reference) -> str:
    """How the page calls the target of a contribution."""
    if r.kind == "record":
        return f"r{r.number}" + (f".{r.output}" if isinstance(tape.records[r.number].value, tuple) else "")
    return f"{r.kind[0]}{r.number}" + (f".{r.output}" if r.kind == "earlier" and r.output else "")


def step_arrays(step: Step) -> dict[str, Any]:
    """What is shown of a step: value, arguments, cotangent, contributions with the sums before and after."""
    found = dict(outputs("cotangent", step.cotangent))
    record = step.record
    if record is not None:
        kept = record.saved
        found.update(outputs("saved:y" if "y" in kept else "value", record.value))
        for name, value in zip(record.argument_names, record.arguments, strict=False):
            found.update(outputs(f"saved:{name}" if name in kept else f"argument:{name}", value))
    for k, c in enumerate(step.contributions):
        found[f"contribution:{k}"] = c.value
        if c.before is not None:
            found[f"before:{k}"], found[f"after:{k}"] = c.before, c.after
    return found


class Sums:
    """The sums of a sweep, step by step.

    Attributes:
        waiting: by key, the cotangents that wait, with the sum so far.
        gradients: by name of a leaf, the sum of what has come to it.
        shares: by name of a leaf, the norms of the shares that have come, in order.
    """

    def __init__(self, tape: tg.Tape, sweep: Sweep) -> None:
        self.tape, self.sweep, self.at = tape, sweep, 0
        self.waiting: dict[str, Any] = {}
        self.gradients: dict[str, Any] = {}
        self.shares: dict[str, list[float]] = {}
        first: dict[str, Any] = {}
        for step in sweep.steps:
            for key, cotangent in self._taken(step):
                if key not in first:
                    self.waiting[key] = cotangent
                elif first[key] is not None:
                    self.waiting[key] = first[key]
            for c in step.contributions:
                first.setdefault(key_of(tape, c.target), c.before)
        self._coming = {leaf.name: self._shares(leaf.name) for leaf in tape.leaves}

    def _taken(self, step: Step) -> Iterator[tuple[str, Any]]:
        """The sums that a step takes, one for each output that something came to."""
        if isinstance(step.cotangent, list) and len(step.cotangent) > 1:
            for k, cotangent in enumerate(step.cotangent):
                if cotangent is not None:
                    yield key_of(self.tape, step.target._replace(output=k)), cotangent
        else:
            yield from ((key_of(self.tape, step.target), array) for _, array in outputs("", step.cotangent))

    def _shares(self, name: str) -> list[tuple[int, float]]:
        """Pairs of the step that gives a share, and its norm."""
        place = {id(step.record): k for k, step in enumerate(self.sweep.steps) if step.record is not None}
        try:
            found = [
                (place[id(share.record)], size_of_norm(share.value)) for share in self.tape.shares(name, self.sweep)
            ]
        except GraphError:  # the sweep has not come to it
            return []
        return sorted(found, key=lambda share: share[0])

    def go_on(self) -> Step:
        """The next step; what it gives."""
        step = self.sweep.steps[self.at]
        for key, cotangent in self._taken(step):
            self.waiting.pop(key, None)
            if step.is_leaf:
                self.gradients[self.tape.leaves[step.target.number].name] = cotangent
        for c in step.contributions:
            self.waiting[key_of(self.tape, c.target)] = c.after
            if c.target.kind == "leaf":
                self.gradients[self.tape.leaves[c.target.number].name] = c.after
        for name, coming in self._coming.items():
            self.shares.setdefault(name, []).extend(size for at, size in coming if at == self.at)
        self.at += 1
        return step


def is_in_short(array: Any) -> bool:
    """Whether the page shows sizes in place of entries."""
    return isinstance(array, Summary) or array.size > WHOLE
