"""A tape as JSON, and a tape from it: format version 1, which ``docs/tape-format.md`` describes.

Arrays stand in one table, each once, as the bytes of their entries (little-endian, last index fastest) in base64: so
every number comes back exactly, nan and infinities included, and a contribution that is also the cotangent of the next
step costs nothing.  A value elsewhere is a number in that table.
"""

from __future__ import annotations

import binascii
import json
import linecache
import math
from typing import Any

import numpy as np

from ...backend import dtype, is_array, to_numpy
from ...errors import ArgumentError, ArgumentTypeError
from ...source_line import Line
from ..primitive import Primitive
from ..tensor import Tensor
from .records import CONSTANT, Contribution, Record, Reference, Share, Step, Sweep, TapeLeaf
from .scopes import Scope
from .shares import shares_in
from .values import Keeper, Summary

__all__ = ["FORMAT", "Writer", "loaded", "reference", "shares_of_leaf", "written"]

FORMAT = "tinygrad_rnn tape"
VERSION = 1
EXACT = 1 << 53
"""Up to here JavaScript's numbers hold every integer."""
LETTERS = {"record": "r", "leaf": "l", "earlier": "e"}
KINDS = {letter: kind for kind, letter in LETTERS.items()}


class Opaque:
    """A parameter that was no plain data: what the text has of it."""

    def __init__(self, plain: dict[str, str]) -> None:
        self.plain = plain

    def __repr__(self) -> str:
        return next(iter(self.plain.values()))


class ReadLine(Line):
    """A line of source whose text came with the tape."""

    _text = ""

    @property
    def text(self) -> str:
        """The source itself."""
        return self._text


# writing -------------------------------------------------------------------------------------------------------------


class Writer:
    """Plain data from what a tape holds; arrays and lines go into tables."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []
        self.lines: list[Any] = []
        self._places: dict[Any, int] = {}
        self._line_places: dict[Line, int] = {}

    def array(self, value: Any) -> int:
        """The number of an array in the table."""
        host = to_numpy(value)
        data = host.astype(host.dtype.newbyteorder("<"), order="C", copy=False).tobytes()
        key = (host.dtype.name, host.shape, data)
        number = self._places.get(key)
        if number is None:
            number = self._places[key] = len(self.arrays)
            text = binascii.b2a_base64(data, newline=False).decode("ascii")
            self.arrays.append([host.dtype.name, list(host.shape), text])
        return number

    def value(self, value: Any) -> Any:
        """What is kept of one array, or of several."""
        if value is None:
            return None
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        if isinstance(value, Summary):
            summary = {"shape": list(value.shape), "dtype": value.dtype.name, "head": self.array(value.head)}
            sizes = {"norm": value.norm, "minimum": value.minimum, "maximum": value.maximum}
            return summary | {name: number(size) for name, size in sizes.items() if size is not None}
        return self.array(value)

    def argument(self, value: Any) -> Any:
        """A value, or a number."""
        return {"number": number(value)} if isinstance(value, (bool, int, float, complex)) else self.value(value)

    def parameter(self, value: Any) -> Any:
        """A keyword of an operation: plain data as far as possible."""
        if value is None or isinstance(value, (str, bool)):
            return value
        if isinstance(value, (int, float, complex)) and not isinstance(value, np.generic):
            return number(value)
        if isinstance(value, tuple):
            if type(value) is tuple:
                return {"tuple": [self.parameter(item) for item in value]}
            if hasattr(value, "_asdict"):  # a named tuple: the options of a layer, the classes of a loss
                return self.parameter(value._asdict())
        if isinstance(value, list):
            return [self.parameter(item) for item in value]
        if isinstance(value, slice):
            return {"slice": [self.parameter(item) for item in (value.start, value.stop, value.step)]}
        if value is Ellipsis:
            return {"ellipsis": True}
        if isinstance(value, (np.dtype, dtype)):
            return {"dtype": str(value.name)}
        if isinstance(value, Primitive):
            return {"primitive": value.name}
        if isinstance(value, Opaque):
            return value.plain
        data = (
            value._data if isinstance(value, Tensor) else np.asarray(value) if isinstance(value, np.generic) else value
        )
        if is_array(data) and data.dtype.kind in "biufc":
            return {"array": self.array(data)}
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {"dict": {key: self.parameter(item) for key, item in value.items()}}
        return {"repr": repr(value)}

    def line(self, line: Line) -> int:
        """The number of a line of source in the table."""
        place = self._line_places.get(line)
        if place is None:
            place = self._line_places[line] = len(self.lines)
            self.lines.append([line.file, line.number, line.function, line.text])
        return place

    def record(self, record: Record) -> dict[str, Any]:
        """One record."""
        several = isinstance(record.value, tuple)
        full = {
            "name": record.name,
            "shape": list(record.shape),
            "dtype": record.dtype.name,
            "value": self.value(record.value),
            "inputs": [reference(r) for r in record.references],
            "arguments": [self.argument(value) for value in record.arguments],
            "argument_names": list(record.argument_names),
            "saved": list(record._kept_names),
            "saved_otherwise": {name: self.value(value) for name, value in record._more.items()},
            "saved_bytes": record.saved_bytes,
            "params": {name: self.parameter(value) for name, value in record.params.items()},
            "variables": record.variables if several or record.variable else [],
            "module": record.scope.module,
            "layer": record.scope.layer,
            "direction": record.scope.direction,
            "time": record.scope.time,
            "sweep": record.sweep,
            "line": None if record.line is None else self.line(record.line),
            "stack": [self.line(line) for line in record.stack],
        }
        needed = ("name", "shape", "dtype", "value", "inputs", "saved_bytes")
        return {key: value for key, value in full.items() if key in needed or value not in (None, [], {})}

    def step(self, step: Step) -> dict[str, Any]:
        """One step of a sweep."""
        contributions = [
            [reference(c.target), c.position, self.value(c.value)]
            + ([self.value(c.before), self.value(c.after)] if c.after is not None else [])
            for c in step.contributions
        ]
        plain = {"target": reference(step.target), "cotangent": self.value(step.cotangent)}
        return plain | ({"depth": step.depth} if step.depth else {}) | {"contributions": contributions}

    def share(self, share: Share) -> list[Any]:
        """One share: sweep, record, position, value, views."""
        number = None if share.record is None else share.record.number
        return [share.sweep, number, share.position, self.value(share.value), list(share.through)]


def number(value: Any) -> Any:
    """A Python number as JSON has it: ``nan`` and infinities, complex numbers and large integers as text."""
    if isinstance(value, complex):
        return {"complex": [number(value.real), number(value.imag)]}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    return value if isinstance(value, bool) or abs(value) <= EXACT else {"int": str(value)}


def reference(r: Reference) -> list[Any] | None:
    """Letter, number, and the output of a record or the version of a leaf; None for a constant."""
    if r.kind == "constant":
        return None
    return [LETTERS[r.kind], r.number, r.version if r.kind == "leaf" else r.output]


def written(tape: Any, version: int, sources: bool) -> str:
    """The JSON of a tape."""
    if version != VERSION:
        raise ArgumentError(f"Tape.to_json(): there is version {VERSION} of the format, and no version {version!r}")
    w = Writer()
    shares = {leaf.number: shares_of_leaf(tape, leaf) for leaf in tape.leaves}
    plain: dict[str, Any] = {
        "format": FORMAT,
        "version": version,
        "values": tape.values,
        "leaves": [
            {"name": leaf.name, "shape": list(leaf.shape), "dtype": leaf.dtype.name}
            | {"values": [w.value(value) for value in leaf.values]}
            for leaf in tape.leaves
        ],
        "records": [w.record(record) for record in tape.records],
        "sweeps": [
            {"kind": sweep.kind, "error": sweep.error, "steps": [w.step(step) for step in sweep.steps]}
            | {"seeds": [[reference(target), w.value(cotangent)] for target, cotangent in sweep.seeds]}
            for sweep in tape.sweeps
        ],
        "shares": {str(number): [w.share(share) for share in found] for number, found in shares.items() if found},
        "earlier": {str(index): list(what) for index, what in tape._earlier.items()},
        "lines": w.lines,
        "arrays": w.arrays,
    }
    if sources:
        files = sorted({line[0] for line in w.lines})
        plain["sources"] = tape._sources or {
            file: text for file in files if (text := "".join(linecache.getlines(file)))
        }
    return json.dumps(plain, separators=(",", ":"), allow_nan=False)


def shares_of_leaf(tape: Any, leaf: TapeLeaf) -> list[Share]:
    """The shares of a leaf in all sweeps, of a live tape or of one that was read."""
    if tape._read is not None:
        return list(tape._read.get(leaf.number, []))
    assert leaf.node is not None
    return [share for sweep in tape.sweeps for share in shares_in(sweep, leaf.node)]


# reading -------------------------------------------------------------------------------------------------------------


class Reader:
    """What a tape holds from plain data."""

    def __init__(self, plain: dict[str, Any]) -> None:
        self.arrays = [_array(*entry) for entry in plain["arrays"]]
        self.lines = [_line(*entry) for entry in plain["lines"]]

    def value(self, value: Any, several: type = list) -> Any:
        """What was kept of one array, or of several."""
        if value is None:
            return None
        if isinstance(value, list):
            return several([self.value(item) for item in value])
        if isinstance(value, dict):
            sizes = [number_from(value.get(name)) for name in ("norm", "minimum", "maximum")]
            kind = dtype(np.dtype(value["dtype"]))
            return Summary(tuple(value["shape"]), kind, self.arrays[value["head"]], *sizes)
        return self.arrays[value]

    def argument(self, value: Any) -> Any:
        """A value, or a number."""
        if isinstance(value, dict) and "number" in value:
            return number_from(value["number"])
        return self.value(value)

    def parameter(self, value: Any) -> Any:
        """A keyword of an operation."""
        if isinstance(value, list):
            return [self.parameter(item) for item in value]
        if not isinstance(value, dict):
            return value
        ((kind, held),) = value.items()
        made: dict[str, Any] = {
            "tuple": lambda: tuple([self.parameter(item) for item in held]),
            "slice": lambda: slice(*map(self.parameter, held)),
            "ellipsis": lambda: Ellipsis,
            "dtype": lambda: np.dtype(held),
            "array": lambda: self.arrays[held],
            "dict": lambda: {key: self.parameter(item) for key, item in held.items()},
            "repr": lambda: Opaque(value),
            "primitive": lambda: Opaque(value),
        }
        return made[kind]() if kind in made else number_from(value)

    def record(self, n: int, plain: dict[str, Any]) -> Record:
        """One record, without the labels of its inputs."""
        line = plain.get("line")
        record = Record(
            n,
            plain["name"],
            tuple(plain["shape"]),
            dtype(np.dtype(plain["dtype"])),
            self.value(plain["value"], tuple),
            references=tuple(map(reference_from, plain["inputs"])),
            arguments=tuple(map(self.argument, plain.get("arguments", ()))),
            argument_names=tuple(plain.get("argument_names", ())),
            kept_names=tuple(plain.get("saved", ())),
            more={name: self.value(value) for name, value in plain.get("saved_otherwise", {}).items()},
            params={name: self.parameter(value) for name, value in plain.get("params", {}).items()},
            variables=plain.get("variables", ()),
            saved_bytes=plain["saved_bytes"],
            scope=Scope(plain.get("module"), plain.get("layer"), plain.get("direction"), plain.get("time")),
            sweep=plain.get("sweep"),
            stack=tuple([self.lines[k] for k in plain.get("stack", ())]),
        )
        record.line = None if line is None else self.lines[line]
        return record

    def share(self, records: list[Record], entry: list[Any]) -> Share:
        """One share."""
        sweep, n, position, value, through = entry
        return Share(None if n is None else records[n], position, self.value(value), sweep, tuple(through))


def number_from(value: Any) -> Any:
    """A number that :func:`number` wrote."""
    if not isinstance(value, dict):
        return value
    ((kind, text),) = value.items()
    if kind == "complex":
        return complex(*map(number_from, text))
    return {"float": float, "int": int}[kind](text)


def reference_from(plain: list[Any] | None) -> Reference:
    """A reference that :func:`reference` wrote."""
    if plain is None:
        return CONSTANT
    letter, n, place = plain
    return Reference(KINDS[letter], n, 0, place) if letter == "l" else Reference(KINDS[letter], n, place)


def _array(name: str, shape: list[int], text: str) -> Any:
    kind = np.dtype(name)
    if kind.kind not in "biufc":
        raise ValueError(f"an array of {name}")
    entries = np.frombuffer(binascii.a2b_base64(text), kind.newbyteorder("<"))
    return entries.astype(kind).reshape(shape)


def _line(file: str, n: int, function: str, text: str) -> Line:
    line = ReadLine(file, n, function)
    line._text = text
    return line


def loaded(tape: Any, text: str) -> None:
    """Fill an empty tape with what stands in a JSON text."""
    if not isinstance(text, str):
        raise ArgumentTypeError(f"Tape.from_json(): expected the text that to_json() gave, not {type(text).__name__}")
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise ArgumentError(f"Tape.from_json(): this is no JSON: {error}") from None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise ArgumentError(f"Tape.from_json(): this is JSON, but no tape: its format is not {FORMAT!r}")
    if plain.get("version") != VERSION:
        raise ArgumentError(
            f"Tape.from_json(): a tape of version {plain.get('version')!r}; this release reads version {VERSION}"
        )
    try:
        _fill(tape, plain)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(f"Tape.from_json(): a damaged tape: {type(error).__name__}: {error}") from error


def _fill(tape: Any, plain: dict[str, Any]) -> None:
    reader = Reader(plain)
    tape._keep = Keeper(plain["values"])
    tape._sources = dict(plain.get("sources", {}))
    tape._earlier = {int(index): (name, several) for index, (name, several) in plain["earlier"].items()}
    for entry in plain["leaves"]:
        kind = dtype(np.dtype(entry["dtype"]))
        leaf = TapeLeaf(len(tape.leaves), entry["name"], tuple(entry["shape"]), kind)
        leaf.values = [reader.value(value) for value in entry["values"]]
        tape.leaves.append(leaf)
    records = tape.records
    for entry in plain["records"]:
        records.append(reader.record(len(records), entry))
    for entry in plain["sweeps"]:
        sweep = Sweep(len(tape.sweeps), entry["kind"])
        sweep.error = entry["error"]
        sweep.seeds = [(reference_from(target), reader.value(value)) for target, value in entry.get("seeds", ())]
        for part in entry["steps"]:
            target = reference_from(part["target"])
            record = records[target.number] if target.kind == "record" else None
            step = Step("", target, record, reader.value(part["cotangent"]), None, part.get("depth", 0))
            for to, position, *values in part["contributions"]:
                step.contributions.append(
                    Contribution(
                        "", reference_from(to), position, reader.value(values[0]), None, *map(reader.value, values[1:])
                    )
                )
            sweep.steps.append(step)
        tape.sweeps.append(sweep)
    tape._read = {int(n): [reader.share(records, share) for share in found] for n, found in plain["shares"].items()}
    tape._rename()
