"""Still pictures: what stands in the SVG is what is on the tape."""

from __future__ import annotations

import itertools
import math
import pathlib
import re
import time
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.taped_programs import (
    AWKWARD,
    PROGRAMS,
    Program,
    epochs,
    no_loop,
    packed,
    tanh_rnn,
    taped,
    underflow,
    weight,
)
from tinygrad_rnn.errors import ArgumentError, GraphError
from tinygrad_rnn.tape.observe.records import Step, Sweep
from tinygrad_rnn.tape.observe.tape import Tape
from tinygrad_rnn.viz import svg
from tinygrad_rnn.viz.sizes import Scale, Size, sizes_in, together

NS = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)


def texts(picture: ET.Element) -> list[str]:
    return ["".join(e.itertext()) for e in picture.iter(f"{NS}text")]


def times(picture: ET.Element) -> list[int]:
    """The labels of time steps."""
    return [int(e.text or "") for e in picture.iter(f"{NS}text") if e.get("class") == "t time"]


def cells(picture: ET.Element) -> dict[tuple[float, float], str]:
    """The class of the shaded rectangle at each place."""
    found = {}
    for path in picture.iter(f"{NS}path"):
        kind = path.get("class", "")
        if re.fullmatch(r"c\d|z|u|x|q", kind):
            for x, y in re.findall(r"M([\d.]+) ([\d.]+)h", path.get("d", "")):
                found[float(x), float(y)] = kind
    return found


def hovers(picture: ET.Element) -> dict[int, tuple[tuple[float, float], str]]:
    """By number of record where it is, and what is said when the mouse is over it."""
    found = {}
    for rect in picture.iter(f"{NS}rect"):
        title = rect.find(f"{NS}title")
        if title is not None and title.text and title.text.startswith("%"):
            number = int(re.match(r"%(\d+)", title.text)[1])  # type: ignore[index]
            found[number] = (float(rect.get("x", "")), float(rect.get("y", ""))), title.text
    return found


# every picture -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("values", ["all", 3, "shapes"])
def test_it_is_xml_that_stands_alone(program: Program, values: Any) -> None:
    text = taped(program, values=values).to_svg()
    picture = parsed(text)
    assert picture.get("role") == "img" and picture.find(f"{NS}title") is not None
    assert len(picture.find(f"{NS}desc").text or "") > 10  # type: ignore[union-attr]
    assert not list(picture.iter(f"{NS}script")) and not list(picture.iter(f"{NS}image"))
    assert set(re.findall(r"https?://[^\"' ]*", text)) == {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"url\((.)", text)) <= {"#"} and "@import" not in text and "href" not in text
    assert not any(key.startswith("on") for e in picture.iter() for key in e.attrib)


def extent(e: ET.Element) -> tuple[float, float, float, float]:
    """About where a text stands: left, right, top and bottom, in DejaVu."""
    kinds = e.get("class", "").split()
    wide = 6.63 if "m" in kinds else 5.6 if "t" in kinds else 7.6 if "h" in kinds else 6.2
    long = wide * len("".join(e.itertext()))
    left = float(e.get("x", "")) - {"middle": long / 2, "end": long}.get(e.get("text-anchor", ""), 0)
    y = float(e.get("y", ""))
    return left, left + long, y - 8, y + 1


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("step", [None, 0, 5])
def test_texts_stay_inside_and_apart(program: Program, step: int | None) -> None:
    tape = taped(program)
    if step is not None and step >= len(tape.steps):
        return
    picture = parsed(tape.to_svg(step))
    places = [(extent(e), "".join(e.itertext())) for e in picture.iter(f"{NS}text")]
    for (left, right, top, bottom), text in places:
        assert left >= -1 and right <= float(picture.get("width", "")) + 1, text
        assert top > 0 and bottom < float(picture.get("height", "")), text
    for k, (a, text) in enumerate(places):
        for b, other in places[:k]:
            apart = a[1] <= b[0] + 2 or b[1] <= a[0] + 2 or a[3] <= b[2] or b[3] <= a[2]
            assert apart, f"{text!r} lies on {other!r}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_tape_that_was_read_from_json_has_the_same_picture(program: Program) -> None:
    tape = taped(program)
    again = Tape.from_json(tape.to_json())
    assert again.to_svg() == tape.to_svg()
    if tape.steps:
        assert again.to_svg(step=len(tape.steps) // 2) == tape.to_svg(step=len(tape.steps) // 2)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_record_of_a_small_tape_is_there_with_the_norm_of_its_cotangent(program: Program) -> None:
    tape = taped(program)
    if len(tape) > 300:
        pytest.skip("of larger tapes cells say nothing")
    said = hovers(parsed(tape.to_svg()))
    sizes = sizes_in(tape.sweeps[-1]) if tape.sweeps else {}
    untouched = {
        record.number for record in tape if tape.sweeps and sizes and record.number not in sizes
    }  # a whole loop that the sweep did not come to is one line
    assert set(said) | untouched == set(range(len(tape)))
    for number, (_, text) in said.items():
        if not tape.sweeps:
            continue
        steps = [step for step in tape.steps if step.record is tape[number]]
        if not steps:
            assert "cotangent: none" in text or "no gradient" in text or "cotangent" not in text
            continue
        given = steps[0].cotangent
        arrays = [np.asarray(g, np.float64) for g in (given if isinstance(given, list) else [given]) if g is not None]
        norm = math.sqrt(sum(float((a * a).sum()) for a in arrays))
        found = re.search(r"cotangent: norm (\S+)", text)
        if found and math.isfinite(norm) and norm > 1e-150:
            assert float(found[1]) == pytest.approx(norm, rel=6e-3)


# shades --------------------------------------------------------------------------------------------------------------


def test_shades_are_the_decades_of_the_norms() -> None:
    """Against the formula itself, from the arrays of the tape."""
    tape = taped(tanh_rnn)
    picture = parsed(tape.to_svg())
    at, said = cells(picture), hovers(picture)
    norms = {
        step.record.number: float(np.linalg.norm(step.cotangent.astype(np.float64)))
        for step in tape.steps
        if step.record
    }
    scale = Scale.of([Size(norm, "number") for norm in norms.values()])
    assert scale.count > 3
    shades = {n: math.floor((math.log10(norm) - scale.low) / scale.decades) for n, norm in norms.items()}
    kinds = {n: at[place] for n, (place, _) in said.items() if place in at}
    assert len(kinds) == len(tape)
    order = sorted(set(shades.values()))
    by_shade = {shade: {kinds[n] for n in shades if shades[n] == shade} for shade in order}
    assert all(len(found) == 1 for found in by_shade.values())  # one class for each decade
    classes = [int(by_shade[shade].pop()[1:]) for shade in order]
    assert classes == sorted(set(classes)) and classes[-1] == 8


def test_what_has_no_place_on_the_scale_is_told_apart() -> None:
    picture = parsed(taped(underflow).to_svg())
    kinds = set(cells(picture).values())
    assert {"z", "u"} <= kinds
    assert "exactly zero" in texts(picture) and "below the smallest normal number" in texts(picture)
    sizes = sizes_in(taped(underflow).sweeps[-1])
    at, said = cells(picture), hovers(picture)
    for number, size in sizes.items():
        assert at[said[number][0]] == {"zero": "z", "tiny": "u"}.get(size.kind, at[said[number][0]]), number
        assert (at[said[number][0]][0] == "c") == (size.kind == "number")
    assert {size.kind for size in sizes.values()} == {"number", "tiny", "zero"}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.array([3.0, 4.0]), "number"),
        (np.array([3, 4]), "number"),
        (np.array([3j, 4.0]), "number"),
        (np.array([1e-40], np.float32), "tiny"),
        (np.array([1e-6], np.float16), "tiny"),
        (np.array([1e-300, 0]), "number"),
        (np.array([0.0, -0.0]), "zero"),
        (np.array([False]), "zero"),
        (np.array([np.nan, 1.0]), "not finite"),
        (np.array([np.inf]), "not finite"),
        (np.zeros((0, 3)), "empty"),
        (None, "unknown"),
        ([np.zeros(2), None, np.ones(2)], "number"),
    ],
)
def test_kinds_of_sizes(value: Any, kind: str) -> None:
    size = Size.of(value)
    assert size.kind == kind
    if kind == "number" and not isinstance(value, list):
        assert size.norm == pytest.approx(float(np.linalg.norm(value.astype(np.complex128))))


def test_the_cotangent_of_a_record_is_that_of_the_outer_sweep() -> None:
    """A sweep within a vjp, as of a checkpoint, may come to the same record."""
    tape = taped(tanh_rnn)
    outer = next(step for step in tape.steps if step.record is tape[5])
    inner = Step(outer.name, outer.target, outer.record, 100 * outer.cotangent, None, depth=1)
    for steps in ([outer, inner], [inner, outer]):
        sweep = Sweep(0, "backward")
        sweep.steps = steps
        assert sizes_in(sweep) == {5: Size.of(outer.cotangent)}


def test_sizes_together() -> None:
    assert together([Size(3.0, "number"), Size(4.0, "number")]) == Size(5.0, "number")
    assert together([Size(0.0, "zero"), Size(1e-40, "tiny")]).kind == "tiny"
    assert together([Size(3.0, "number"), Size(math.nan, "not finite")]).kind == "not finite"


def test_scales_hold_what_they_are_made_for() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        logs = rng.uniform(-320, 300, 2) if rng.random() < 0.3 else rng.uniform(-9, 3, 2)
        sizes = [Size(10**power, "number") for power in logs]
        scale = Scale.of(sizes)
        assert 1 <= scale.count <= 9
        for size in sizes:
            edges = scale.edges()
            shade = scale.shade(size)
            assert edges[shade] - 1e-9 <= math.log10(size.norm) <= edges[shade + 1] + 1e-9
            assert 0 <= scale.part(size) <= 1


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_shades_differ_in_lightness_alone_so_that_colours_are_not_needed() -> None:
    light, dark = [luminance(c) for c in svg.LIGHT], [luminance(c) for c in svg.DARK]
    assert light == sorted(light, reverse=True) and dark == sorted(dark)
    for scale in (light, dark):
        steps = [(max(a, b) + 0.05) / (min(a, b) + 0.05) for a, b in itertools.pairwise(scale)]
        assert min(steps) > 1.12, steps


def test_colours_follow_the_reader_and_text_has_contrast() -> None:
    text = taped(tanh_rnn).to_svg()
    assert "prefers-color-scheme:dark" in text
    for k in (0, 1):
        ground = luminance(svg._COLOURS["bg"][k])
        for name in ("ink", "soft", "ring"):
            other = luminance(svg._COLOURS[name][k])
            assert (max(ground, other) + 0.05) / (min(ground, other) + 0.05) >= 4.5, name  # AA of WCAG 2


# what is drawn -------------------------------------------------------------------------------------------------------


def test_a_loop_has_its_rows_times_weights_and_what_it_hands_on() -> None:
    picture = parsed(taped(tanh_rnn).to_svg())
    words = texts(picture)
    for word in (
        "for t in range(30)",
        "W @ h",
        "a = · + ·",
        "h = tanh(a)",
        "W.grad",
        "U.grad",
        "30 shares",
        "next step",
    ):
        assert word in words, word
    assert times(picture) == list(range(30))
    arcs = [path for path in picture.iter(f"{NS}path") if path.get("class") == "arc"]
    assert len(arcs) == 1  # h alone
    bars = {
        kind: "".join(p.get("d", "") for p in picture.iter(f"{NS}path") if p.get("class") == kind)
        for kind in ("bar", "lost")
    }
    assert bars["bar"].count("M") + bars["lost"].count("M") >= 59  # of 30 steps, two weights; one share is zero


def test_bars_below_the_rounding_of_the_sum_are_those_that_change_no_bit() -> None:
    W, U, x, h = (weight(3, 3) * 0.3).detach().requires_grad_(), weight(3, 2), tg.randn(30, 2), tg.zeros(3)
    with tg.Tape() as tape:
        for t in range(30):
            a = W @ h + U @ x[t]
            h = tg.tanh(a)
        h.sum().backward()
    lost = 0
    for name in ("W", "U"):
        total: Any = 0
        for share in tape.shares(name):
            after = share.value if isinstance(total, int) else total + share.value
            lost += not isinstance(total, int) and np.array_equal(after, total) and bool(share.value.any())
            total = after
    assert lost > 5
    picture = parsed(tape.to_svg())
    drawn = "".join(p.get("d", "") for p in picture.iter(f"{NS}path") if p.get("class") == "lost")
    assert drawn.count("M") - 1 == lost  # and one in the legend


def test_directions_stand_under_the_same_time_steps() -> None:
    tape = taped(packed)
    assert times(parsed(tape.to_svg())) == [0, 1, 2, 3, 4] * 4


def test_a_program_without_a_loop_is_a_graph() -> None:
    tape = taped(no_loop)
    picture = parsed(tape.to_svg())
    words = texts(picture)
    assert {"a", "b", "c", "d", "a * b"} <= set(words)
    arrows = [path for path in picture.iter(f"{NS}path") if path.get("class") == "arc"]
    assert len(arrows) == sum(len({tuple(r) for r in record.references}) for record in tape)
    boxes = [(x, y) for (x, y), _ in hovers(picture).values()]
    assert len(set(boxes)) == len(tape)
    for k, (x, y) in enumerate(boxes):  # none lies on another
        assert all(abs(x - u) >= 164 or abs(y - v) >= 50 for u, v in boxes[:k])


def test_what_uses_a_value_stands_below_it() -> None:
    tape = taped(no_loop)
    said = hovers(parsed(tape.to_svg()))
    for record in tape:
        for reference in record.references:
            if reference.kind == "record":
                assert said[reference.number][0][1] < said[record.number][0][1]


def test_loops_that_the_sweep_did_not_come_to_are_one_line() -> None:
    tape = taped(epochs)
    words = texts(parsed(tape.to_svg()))
    assert sum("no gradient came here" in word and "20 steps" in word for word in words) == 2
    assert words.count("h = tanh(·)") == 1
    first = texts(parsed(tape.to_svg(sweep=0)))
    assert any("sweep 0 (backward, the tape has 3" in word for word in first)


# one step ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [tanh_rnn, no_loop, epochs])
def test_a_step_shows_where_the_sweep_is_and_what_waits(program: Program) -> None:
    tape = taped(program)
    steps = tape.steps
    for n in range(0, len(steps), max(1, len(steps) // 7)):
        picture = parsed(tape.to_svg(step=n))
        kinds = [e.get("class") for e in picture.iter(f"{NS}rect")]
        if steps[n].record is not None:
            assert kinds.count("ring") == 1
        seen = {step.record.number for step in steps[: n + 1] if step.record is not None}
        given = {c.target.number for step in steps[: n + 1] for c in step.contributions if c.target.kind == "record"}
        waiting = kinds.count("wait")
        if program is no_loop:
            leaves = {c.target.number for step in steps[: n + 1] for c in step.contributions if c.target.kind == "leaf"}
            leaves -= {step.target.number for step in steps[: n + 1] if step.is_leaf}
            assert waiting == len(given - seen) + len(leaves)
        else:
            assert waiting == len(given - seen)
            targets = {c.target.number for c in steps[n].contributions if c.target.kind == "record"}
            assert sum(e.get("class") == "go" for e in picture.iter(f"{NS}path")) == len(targets)
        shaded = {number for number, (place, _) in hovers(picture).items() if place in cells(picture)}
        if program is not no_loop:
            assert shaded == seen


def test_steps_count_from_the_end_too_and_others_are_refused() -> None:
    tape = taped(tanh_rnn)
    assert tape.to_svg(step=-1) == tape.to_svg(step=len(tape.steps) - 1)
    for step in (len(tape.steps), -len(tape.steps) - 1, 1.5, True, "3"):
        with pytest.raises(ArgumentError, match="step must be"):
            tape.to_svg(step=step)  # type: ignore[arg-type]
    for sweep in (1, -2, "0", True):
        with pytest.raises(ArgumentError, match="sweep must be"):
            tape.to_svg(sweep=sweep)  # type: ignore[arg-type]
    for width in (0, 10, "960", True, math.inf, math.nan):
        with pytest.raises(ArgumentError, match="width must be"):
            tape.to_svg(width=width)  # type: ignore[arg-type]
    with tg.Tape() as empty:
        pass
    with pytest.raises(GraphError, match="no backward pass"):
        empty.to_svg(step=0)


# names and sizes -----------------------------------------------------------------------------------------------------


def test_names_are_shown_and_do_nothing() -> None:
    w = tg.ones(2, requires_grad=True)
    with tg.Tape() as tape:
        tape.name(**{AWKWARD: w})
        h = w
        for _ in range(3):
            h = tg.tanh(h * w)
        h.sum().backward()
    text = tape.to_svg(title=AWKWARD * 500)
    picture = parsed(text)
    assert not list(picture.iter(f"{NS}script")) and "<script" not in text
    assert any("</svg><script>" in word for word in texts(picture))


def test_a_long_tape_has_a_picture_of_bounded_size() -> None:
    w, h = tg.ones(2, requires_grad=True), tg.zeros(2)
    with tg.Tape() as tape:
        for _ in range(3000):
            a = w * h + 1.0
            h = tg.tanh(a)
        h.sum().backward()
    text = tape.to_svg()
    assert len(text) < 60_000
    assert any("steps a column" in word for word in texts(parsed(text)))


def test_a_long_program_without_a_loop_is_cut_in_the_middle() -> None:
    names = {"v": tg.ones(2, requires_grad=True), "tg": tg}
    with tg.Tape() as tape:
        exec("\n".join(["v = tg.tanh(v)"] * 300), names)
    text = tape.to_svg()
    assert len(text) < 40_000 and any("276 more records" in word for word in texts(parsed(text)))


def test_many_loops_are_counted(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "program.py"  # whose source can be read
    loop = "for t in range(3):\n    a = h * w\n    h = tg.sin(a)\nh = h + 1\n"
    file.write_text("h = w\n" + loop * 40)
    with tg.Tape() as tape:
        exec(compile(file.read_text(), str(file), "exec"), {"w": tg.ones(2, requires_grad=True), "tg": tg})
    text = tape.to_svg()
    assert len(text) < 80_000 and any("more loops and stretches" in word for word in texts(parsed(text)))


@pytest.mark.thorough
def test_a_hundred_thousand_records_are_drawn_in_seconds() -> None:
    w, h = tg.ones(2, requires_grad=True), tg.zeros(2)
    with tg.Tape() as tape:
        for _ in range(33_000):
            a = w * h + 1.0
            h = tg.tanh(a)
        h.sum().backward()
    start = time.process_time()
    text = tape.to_svg()
    assert time.process_time() - start < 15 and len(text) < 60_000  # 5 s where this was written
