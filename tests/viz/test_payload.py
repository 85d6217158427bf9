"""The payload of the debugger's page: everything that a tape has, and the page around it safe and small."""

from __future__ import annotations

import bz2
import html
import itertools
import json
import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.tape.observe.records import Reference
from tinygrad_rnn.tape.observe.values import Summary
from tinygrad_rnn.viz.payload import PIECE, Failure, encoded, expansions, formulas, packed, sources


class Unpacked:
    """What ``page/data.js`` does, in Python."""

    def __init__(self, payload: bytes) -> None:
        (length,) = struct.unpack("<I", payload[:4])
        self.plain = json.loads(payload[4 : 4 + length])
        self.arrays = self._arrays(payload[4 + length :])
        self.seen = 0
        self.tapes = [self._tape(plain) for plain in self.plain["tapes"]]

    def _arrays(self, buffer: bytes) -> list[Any]:
        table, dtypes = self.plain["arrays"], [np.dtype(name) for name in self.plain["dtypes"]]
        counts = [0] * len(dtypes)
        sizes = [kept if kept >= 0 else -1 - kept for kept in table["kept"]]
        for kind, size in zip(table["dtype"], sizes, strict=True):
            counts[kind] += size
        entries, at = [], 0
        for kind, count in zip(dtypes, counts, strict=True):
            piece = np.frombuffer(buffer, np.uint8, count * kind.itemsize, at)
            entries.append(piece.reshape(kind.itemsize, count).T.copy().view(kind).reshape(-1))
            at += count * kind.itemsize
        summaries = sum(kept < 0 for kept in table["kept"])
        rest = np.frombuffer(buffer, np.uint8, 24 * summaries, at).reshape(8, 3 * summaries)
        assert at + 24 * summaries == len(buffer)
        norms = iter(rest.T.copy().view(np.float64).reshape(-1, 3).tolist())
        found: list[Any] = []
        places = [0] * len(dtypes)
        for kind, shape, kept, size in zip(table["dtype"], table["shape"], table["kept"], sizes, strict=True):
            data = entries[kind][places[kind] : places[kind] + size]
            places[kind] += size
            shape = tuple(self.plain["shapes"][shape])
            found.append(data.reshape(shape) if kept >= 0 else (shape, data, tuple(next(norms))))
        return found

    def value(self, given: Any) -> Any:
        if given is None:
            return None
        if isinstance(given, list):
            return [self.value(item) for item in given]
        number = self.seen if given == 0 else self.seen - given
        self.seen += given == 0
        return self.arrays[number]

    def _params(self, given: Any) -> Any:
        if isinstance(given, list):
            return [self._params(item) for item in given]
        if not isinstance(given, dict):
            return given
        return {key: self.value(item) if key == "array" else self._params(item) for key, item in given.items()}

    def _tape(self, plain: dict[str, Any]) -> dict[str, Any]:
        tape: dict[str, Any] = {"leaves": [[self.value(v) for v in leaf["values"]] for leaf in plain["leaves"]]}
        tape["records"] = []
        for number in range(plain["count"]):
            row = {name: _at(column, number) for name, column in plain["records"].items()}
            row["value"] = self.value(row["value"])
            row["inputs"] = [_place(given, number) for given in row.get("inputs", [])]
            row["args"] = [given if isinstance(given, (str, dict)) else self.value(given) for given in row["args"]]
            row["more"] = {name: self.value(value) for name, value in (row.get("more") or {}).items()}
            row["params"] = {name: self._params(value) for name, value in (row.get("params") or {}).items()}
            tape["records"].append(row)
        tape["sweeps"] = []
        for sweep in plain["sweeps"]:
            steps, last = [], 0
            for k in range(sweep["count"]):
                target = _at(sweep["steps"]["target"], k)
                if isinstance(target, int):
                    last -= target
                    target = ["r", last, 0]
                cotangent = self.value(_at(sweep["steps"]["cotangent"], k))
                contributions = []
                for position, *rest in _at(sweep["steps"]["contributions"], k):
                    said = isinstance(rest[0], list) and isinstance(rest[0][0], str)
                    to = rest.pop(0) if said else tape["records"][target[1]]["inputs"][position]
                    contributions.append(
                        (tuple(to), position, self.value(rest[0]), self.value(rest[1]) if rest[1:] else None)
                    )
                steps.append((tuple(target), cotangent, contributions))
            tape["sweeps"].append(steps)
        tape["shares"] = {
            leaf: [(sweep, record, position, self.value(value), way) for sweep, record, position, value, way in shares]
            for leaf, shares in plain["shares"].items()
        }
        return tape


def _at(column: Any, k: int) -> Any:
    return column["all"] if isinstance(column, dict) else column[k]


def _place(given: Any, number: int) -> Any:
    if isinstance(given, int):
        return ("r", number - given, 0)
    if given and isinstance(given[0], int):
        return ("r", number - given[0], given[1])
    return given and tuple(given)


def _reference(r: Reference) -> Any:
    if r.kind == "constant":
        return None
    return (r.kind[0], r.number, r.version if r.kind == "leaf" else r.output)


def _same(a: Any, b: Any) -> None:
    if isinstance(b, (list, tuple)) and not isinstance(a, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            _same(x, y)
    elif isinstance(b, Summary):
        shape, head, (norm, low, high) = a
        assert shape == b.shape
        np.testing.assert_array_equal(head, b.head)
        for x, y in ((norm, b.norm), (low, b.minimum), (high, b.maximum)):
            assert (y is None and x != x) or x == y or (x != x and y != y)
    elif b is None:
        assert a is None
    else:
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.tobytes() == np.asarray(b).tobytes()


def _pack(tape: tg.Tape, **options: Any) -> Unpacked:
    inner = expansions(tape) if options.pop("expand", False) else None
    return Unpacked(packed(tape, tg.viz.layout, **({"title": "t", "failure": None, "inner": inner} | options)))


def _rnn(steps: int, **options: Any) -> tg.Tape:
    tg.manual_seed(0)
    W, U = tg.randn(3, 3, requires_grad=True), tg.randn(3, 2, requires_grad=True)
    x, h = tg.randn(steps, 2), tg.zeros(3)
    with tg.Tape(**options) as tape:
        for t in range(steps):
            h = tg.tanh(W @ h + U @ x[t])
        (h * h).sum().backward()
    return tape


def _twice() -> tg.Tape:
    w = tg.tensor([1.0, -2.0, 0.5], requires_grad=True)
    with tg.Tape(totals=True) as tape:
        y = (w * w).exp()
        y.sum().backward(retain_graph=True)
        with tg.no_grad():
            w.mul_(2.0)
        (g,) = tg.autograd.grad((w * w * 3).sum(), [w], create_graph=True)
        g.sum().backward()
    return tape


def _layers() -> tg.Tape:
    tg.manual_seed(0)
    layer = tg.nn.LSTM(2, 3, bidirectional=True)
    with tg.Tape() as tape:
        out, (_, c) = layer(tg.randn(4, 2, 2))
        ((out * 2).sum() + c.sum()).backward()
    return tape


def _odd() -> tg.Tape:
    a = tg.tensor([1.0, float("nan"), float("inf"), -0.0], dtype=tg.float16, requires_grad=True)
    e = tg.zeros(0, 3, requires_grad=True)
    index = tg.tensor([0, 2, 2])
    with tg.Tape() as tape:
        b = a[index] * tg.tensor([2.0, 1.0, 1.0], dtype=tg.float16)
        (b.sum().float() + e.sum()).backward()
    return tape


@pytest.mark.parametrize(
    "make", [lambda: _rnn(7), lambda: _rnn(7, values=4), lambda: _rnn(7, values="shapes"), _twice, _layers, _odd]
)
def test_payload_has_every_number_and_place_of_the_tape(make: Any) -> None:
    tape = make()
    (plain,) = _pack(tape).tapes
    for leaf, values in zip(tape.leaves, plain["leaves"], strict=True):
        _same(values, leaf.values)
    assert tape.records
    for record, row in zip(tape.records, plain["records"], strict=True):
        assert row["name"] == record.name
        _same(row["value"], record.value)
        assert row["inputs"] == [_reference(r) for r in record.references]
        for given, value, r in zip(row["args"], record.arguments, record.references, strict=True):
            if isinstance(given, str):
                assert tape._known(r) is value
            elif isinstance(given, dict):
                assert given["number"] == value
            else:
                _same(given, value)
    assert any(sweep.steps for sweep in tape.sweeps)
    for sweep, steps in zip(tape.sweeps, plain["sweeps"], strict=True):
        for step, (target, cotangent, contributions) in zip(sweep.steps, steps, strict=True):
            assert target[:2] == _reference(step.target)[:2]
            _same(cotangent, step.cotangent)
            for c, (to, position, value, sums) in zip(step.contributions, contributions, strict=True):
                expected = _reference(c.target)
                assert to[:2] == expected[:2] and position == c.position
                assert to[0] == "l" or to[2] == expected[2]
                _same(value, c.value)
                if sums is not None:
                    _same(sums[0], c.before)
                    _same(sums[1], c.after)
    for leaf in tape.leaves:
        if plain["shares"][str(leaf.number)]:
            for share, (_, number, position, value, _) in zip(
                [s for sweep in tape.sweeps for s in _shares(tape, leaf, sweep)],
                plain["shares"][str(leaf.number)],
                strict=True,
            ):
                assert (number, position) == (share.record and share.record.number, share.position)
                _same(value, share.value)


def _shares(tape: tg.Tape, leaf: Any, sweep: Any) -> list[Any]:
    try:
        return list(tape.shares(leaf.name, sweep))
    except tg.errors.GraphError:
        return []


def test_a_tape_that_was_read_from_json_gives_the_same_payload() -> None:
    tape = _rnn(5)
    again = tg.Tape.from_json(tape.to_json())
    assert packed(again, tg.viz.layout, title="t", failure=None, inner=expansions(again)) == packed(
        tape, tg.viz.layout, title="t", failure=None, inner=expansions(tape)
    )


def test_fused_records_come_with_their_expansion() -> None:
    tape = _layers()
    unpacked = _pack(tape, expand=True)
    number = next(record.number for record in tape if record.name == "lstm")
    assert unpacked.plain["expansions"][str(number)] == 1
    inner = tape.expand(number)
    assert len(unpacked.tapes[1]["records"]) == len(inner) > 20
    _same(unpacked.tapes[1]["records"][-1]["value"], inner[-1].value)


def test_formulas_have_places_for_the_names_of_a_program() -> None:
    w = tg.tensor([2.0], requires_grad=True)
    with tg.Tape() as tape:
        tg.tanh(w)[0] * w**3
    found = formulas(tape)
    assert "\ue000" in found["tanh/1"]["value"][0] and "\ue001" in found["tanh/1"]["vjps"][0][0]
    assert "tanh" in found["tanh/1"]["value"][0]
    assert "\ue100" not in json.dumps(found["getitem/1"], ensure_ascii=False)  # an index is a number only by chance
    power = next(value for key, value in found.items() if key.startswith("pow"))
    assert "\ue100" in power["value"][0]


def test_source_of_long_files_is_what_is_near_the_lines() -> None:
    text = "\n".join(f"line {n}" for n in range(1, 1001)) + "\n" + "x" * 10_000
    found = sources([["a.py", 500, "f", ""], ["a.py", 1001, "f", ""]], lambda file: text)
    (first, lines), (second, rest) = found["a.py"]
    assert lines[500 - first] == "line 500" and len(lines) < 50
    assert rest[1001 - second].endswith("…") and len(rest[-1]) < 2000


def _decoded(text: str) -> bytes:
    """As loader.js reads it: 13 bits in two letters, low bits first."""
    values = [ord(letter) - 35 - (letter > "<") for letter in text]
    words = [low + 91 * high for low, high in itertools.zip_longest(values[::2], values[1::2], fillvalue=0)]
    bits = "".join(f"{word:013b}" for word in reversed(words))
    size = len(text) * 13 // 16
    return zlib.decompress(int("0" + bits, 2).to_bytes(len(bits) // 8 + 1, "little")[:size])


def _content(page: Any) -> bytes:
    text = re.search(r'id="content">([^<]*)</script>', page.html)
    assert text is not None
    return _decoded(text[1])


def test_encoded_text_says_the_same_and_cannot_end_a_script() -> None:
    rng = np.random.default_rng(0)
    lengths = set()
    for size in (*range(40), 10_000, PIECE + 5):
        data = rng.bytes(size)
        text = encoded(data)
        assert _decoded(text) == data
        assert text.isascii() and text.isprintable() and not set(text) & set('<" !')
        lengths.add(len(text) % 16)
    assert len(lengths) > 10  # the last letter alone, and in a pair


def test_page_escapes_titles_names_and_text() -> None:
    nasty = '</script><img src=x onerror=alert(1)> & "quotes"'
    w = tg.tensor(2.0, requires_grad=True)
    with tg.Tape() as tape:
        tape.name(**{nasty: w})
        (w * w).backward()
    page = tg.viz.debugger(tape, title=nasty, error=ValueError(nasty))
    assert "<img" not in page.html
    assert page.html.count("<script") == page.html.count("</script>") == 2
    assert html.escape(nasty) in page.html
    assert nasty.encode() not in page.html.encode()
    assert nasty in json.dumps(json.loads(_code_and_payload(page)[1]), ensure_ascii=False).replace('\\"', '"')
    assert html.escape(page.html, quote=True) in page._repr_html_()


def _code_and_payload(page: Any) -> tuple[str, str]:
    unpack, rest = _content(page).split(b"\0", 1)
    (length,) = struct.unpack("<I", rest[:4])
    code, rest = bz2.decompress(rest[4 : 4 + length]), rest[4 + length :]
    (length,) = struct.unpack("<I", rest[:4])
    return (unpack + code).decode(), rest[4 : 4 + length].decode()


def test_page_asks_for_nothing() -> None:
    page = tg.viz.debugger(_rnn(3))
    whole = page.html + _code_and_payload(page)[0]
    for address in re.findall(r"https?://[^\s\"'<>)]*", whole):
        assert address.startswith("http://www.w3.org/")
    assert not re.search(r"\b(fetch|XMLHttpRequest|import\s*\(|eval|Function\s*\()", whole)


def test_failure_names_the_last_line_of_the_program() -> None:
    def inner() -> None:
        tg.ones(2, requires_grad=True) @ tg.ones(3)

    with pytest.raises(tg.errors.TinygradRnnError) as caught:
        inner()
    failure = Failure.of(caught.value, {__file__})
    assert failure.line is not None and failure.line.function == "inner"
    assert failure.line.text == "tg.ones(2, requires_grad=True) @ tg.ones(3)"
    assert Failure.of("gone").text == "gone"


def test_without_scripts_the_page_shows_records_and_steps() -> None:
    page = tg.viz.debugger(_rnn(3), title="three")
    shown = re.search(r"<noscript>.*?</noscript>", page.html, re.DOTALL)
    assert shown is not None
    text = html.unescape(shown[0])
    assert "tanh(%" in text and "cotangent" in text and "sweep 0 (backward)" in text
