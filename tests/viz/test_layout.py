"""The layout: every record once, loops as a reader of the program sees them."""

from __future__ import annotations

import json
import random
import time

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.taped_programs import (
    PROGRAMS,
    Program,
    a_function_in_a_loop,
    deep,
    epochs,
    first_state_not_recorded,
    layers_within_time,
    lengths_that_differ,
    no_loop,
    one_line_twice,
    one_step_layers,
    over_layers,
    packed,
    recursive,
    reduced,
    said_by_the_user,
    second_order,
    tanh_rnn,
    taped,
    there_and_back,
    weight,
    with_an_if,
)
from tinygrad_rnn.tape.observe.tape import Tape
from tinygrad_rnn.viz.layout import Band, Layout, layout


def loops(found: Layout) -> list[Band]:
    return [band for band in found.bands if band.kind == "loop"]


def labels(band: Band) -> list[str]:
    return [row.label for row in band.rows]


# what holds for all of them ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_record_stands_in_one_cell_and_in_one_column(program: Program) -> None:
    tape = taped(program)
    found = layout(tape)
    cells = [number for band in found.bands for row in band.cells for number in row if number >= 0]
    assert sorted(cells) == sorted(n for column in found.columns for n in column) == list(range(len(tape)))
    assert set(found.places()) == set(range(len(tape)))
    for number, (b, r, c) in found.places().items():
        row = found.bands[b].rows[r]
        assert found.bands[b].cells[r][c] == number and row.primitive == tape[number].name
        assert row.line == tape[number].line.number  # type: ignore[union-attr]
        assert found.bands[b].sweep == tape[number].sweep
    for band in found.bands:
        assert len(band.cells) == len(band.rows) > 0 or band.kind == "loop"
        assert all(len(row) == len(band.times) for row in band.cells)
        assert band.parent is None or band.parent < found.bands.index(band)
        assert band.title
    assert sorted(found.leaves) == list(range(len(tape.leaves)))


@pytest.mark.parametrize("program", PROGRAMS)
def test_columns_are_in_the_order_of_recording(program: Program) -> None:
    found = layout(taped(program))
    assert [n for column in found.columns for n in column] == sorted(n for column in found.columns for n in column)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_tape_that_was_read_from_json_has_the_same_layout(program: Program) -> None:
    tape = taped(program)
    found = layout(tape)
    assert layout(Tape.from_json(tape.to_json())) == found
    assert json.loads(json.dumps(found.plain())) == found.plain()


# what a reader of the program sees ------------------------------------------------------------------------------------


def test_a_loop_is_named_after_its_head_and_its_rows_after_variables() -> None:
    loop, rest = layout(taped(tanh_rnn)).bands
    assert loop.title == "for t in range(30)" and loop.kind == "loop" and loop.times == tuple(range(30))
    assert labels(loop) == ["W @ h", "U @ x[t]", "a = · + ·", "h = tanh(a)"]
    assert loop.cells[3][:3] == (3, 7, 11)
    assert rest.kind == "straight" and labels(rest) == ["h * h", "loss = sum(·)"] and rest.title.startswith("line ")


def test_a_body_of_one_line_is_told_apart_by_what_it_assigns() -> None:
    (loop,) = loops(layout(taped(one_line_twice)))
    assert labels(loop) == ["W @ h", "U @ x[t]", "· + ·", "h = tanh(·)"] and loop.cells[0] == (0, 4)


def test_a_sum_of_products_is_no_loop() -> None:
    assert [band.kind for band in layout(taped(no_loop)).bands] == ["straight"]


def test_the_first_pass_may_record_less() -> None:
    (loop,) = loops(layout(taped(first_state_not_recorded)))
    assert labels(loop) == ["a = h * h", "h = a * w"]
    assert loop.cells == ((-1, 1, 3, 5), (0, 2, 4, 6))


def test_an_if_leaves_cells_empty() -> None:
    (loop,) = loops(layout(taped(with_an_if)))
    assert len(loop.times) == 10 and labels(loop)[-2:] == ["sum(h)", "loss = loss + ·"]
    assert [c for c, n in enumerate(loop.cells[-1]) if n >= 0] == [1, 5, 9]


def test_loops_of_more_passes_lie_in_the_loop_around_them() -> None:
    found = layout(taped(epochs))
    outer, *inner = found.bands
    assert outer.title == "for _ in range(3)" and labels(outer) == ["h * h", "loss = sum(·)"]
    assert [band.title for band in inner] == ["for _ in range(20)", "for _ in range(20) (2)", "for _ in range(20) (3)"]
    assert {band.parent for band in inner} == {0} and {len(band.times) for band in inner} == {20}
    different = layout(taped(lengths_that_differ)).bands
    assert [len(band.times) for band in different] == [3, 5, 8, 11] and different[3].parent == 0


def test_loops_of_fewer_passes_are_rows() -> None:
    (loop,) = loops(layout(taped(deep)))
    assert loop.title == "for _ in range(5)" and len(loop.rows) == 12 and len(loop.times) == 5
    assert labels(loop)[0] == "Ws[0] @ x" or labels(loop)[0].startswith("Ws[0] @")


class Decoder(tg.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.out = tg.nn.Linear(3, 3), tg.nn.Linear(3, 3)

    def forward(self, h: tg.Tensor) -> tg.Tensor:
        for _ in range(4):
            h = self.out(tg.tanh(self.attention(h)))
        return h


def test_weights_of_a_loop_in_a_module_are_named_from_there() -> None:
    decoder = Decoder()
    with tg.Tape() as tape:
        decoder(tg.randn(1, 3)).sum().backward()
    (loop,) = loops(layout(tape))
    assert loop.title == "decoder, for _ in range(4)" and loop.module == "decoder"
    assert labels(loop)[0] == "linear(h, attention.weight, attention.bias)"
    assert labels(loop)[-1] == "h = linear(·, out.weight, out.bias)"
    assert "attention.weight.grad" in tape.tree() and "attention.weight.grad" in tape.to_svg()


def test_loops_of_fewer_passes_are_rows_among_others() -> None:
    W, h = weight(3, 3), [tg.zeros(3)] * 3
    with tg.Tape() as tape:
        for _ in range(5):
            x = W[0] * 2
            for k in range(3):
                x = h[k] = tg.tanh(W @ h[k] + x)
    (loop,) = loops(layout(tape))
    assert loop.title == "for _ in range(5)" and len(loop.rows) == 2 + 3 * 3 and len(loop.times) == 5


def test_the_first_state_may_have_a_name_of_its_own() -> None:
    W, h_0 = weight(3, 3), weight(3)
    with tg.Tape() as tape:
        h = h_0
        for _ in range(4):
            a = W @ h
            h = tg.tanh(a)
    (loop,) = loops(layout(tape))
    assert labels(loop) == ["a = W @ h", "h = tanh(a)"]


def test_rows_are_told_apart_by_leaves_and_variables() -> None:
    """The first pass lacks the first of two products that stand on one line."""
    w, u, h = weight(3), tg.ones(3), tg.ones(3)
    with tg.Tape() as tape:
        for _ in range(4):
            h = u * h + w * u
    (loop,) = loops(layout(tape))
    cells = dict(zip(labels(loop), loop.cells, strict=True))
    assert -1 not in cells["w * u"] and cells["u * h"][0] == -1 and -1 not in cells["h = · + ·"]


def test_a_loop_over_weights_is_a_loop() -> None:
    (loop,) = loops(layout(taped(over_layers)))
    assert labels(loop) == ["a = · @ h", "h = relu(a)"] and len(loop.times) == 4


def test_loops_without_a_statement_of_their_own_are_found_by_repetition() -> None:
    for program, passes, rows in ((a_function_in_a_loop, 6, 2), (reduced, 7, 4), (recursive, 6, 2)):
        (loop,) = loops(layout(taped(program)))
        assert len(loop.times) == passes and len(loop.rows) == rows, program


def test_without_a_source_a_loop_is_found_by_repetition() -> None:
    W, h = weight(3, 3), tg.zeros(3)
    text = "for t in range(8):\n    a = W @ h\n    h = tg.tanh(a)\nloss = h.sum()\n"
    with tg.Tape() as tape:
        exec(compile(text, "no such file", "exec"), {"W": W, "h": h, "tg": tg})
    (loop,) = loops(layout(tape))
    assert labels(loop) == ["a = W @ h", "h = tanh(a)"] and len(loop.times) == 8 and loop.title == "lines 2 to 3"


def test_composed_layers_are_bands_by_direction_and_time_is_the_layers() -> None:
    found = loops(layout(taped(packed)))
    titles = ["lstm, layer 0", "lstm, layer 0, backwards", "lstm, layer 1", "lstm, layer 1, backwards"]
    assert [band.title for band in found] == titles
    assert [band.times for band in found] == [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0)] * 2
    assert "c = · + ·" in labels(found[0])
    assert "linear(·, weight_hh_l0_reverse, bias_hh_l0_reverse)" in labels(found[1])


def test_the_rows_of_a_batch_that_shrinks_are_those_of_the_equations() -> None:
    """Packed sequences slice states and put finished ones aside, which some steps do and others do not."""
    found = loops(layout(taped(packed)))
    for band in found:
        for row, cells in zip(band.rows, band.cells, strict=True):
            if row.primitive in ("linear", "sigmoid", "tanh") or row.label.startswith("a["):
                assert -1 not in cells, (band.title, row)
        assert next(row.label for row in band.rows if row.label.startswith("a[")) == 'a["i"] = ·[..., 0:3]'


def test_bodies_that_all_differ_are_aligned_in_bounded_time() -> None:
    draw, w = random.Random(0), tg.ones(2, requires_grad=True)
    names = ["tanh", "sin", "cos", "sigmoid", "exp", "square"]
    with tg.Tape(values="shapes") as tape:
        for k in range(200):
            h = w * 1.0
            for name in draw.choices(names, k=60 + k % 30):
                h = getattr(tg, name)(h)
    start = time.process_time()
    found = layout(tape)
    assert len(found.bands[0].times) == 200 and time.process_time() - start < 10  # 1.2 s where this was written


def test_layers_of_one_step_are_told_apart() -> None:
    found = loops(layout(taped(one_step_layers)))
    assert [band.title for band in found] == [f"rnn, layer {k}{b}" for k in (0, 1) for b in ("", ", backwards")]
    assert {band.times for band in found} == {(0,)}


def test_what_stands_before_and_after_at_belongs_to_the_same_pass() -> None:
    (loop,) = layout(taped(said_by_the_user)).bands
    assert loop.title == "for t in range(6)" and len(loop.times) == 6
    assert all(-1 not in row for row in loop.cells[:-1])
    assert labels(loop)[0].startswith("x[") and labels(loop)[-1] == "loss = loss + ·"


def test_layers_within_time_steps_are_bands_beside_each_other() -> None:
    found = loops(layout(taped(layers_within_time)))
    assert [band.title for band in found] == [f"for k in range(2), layer {k}" for k in (0, 1)]
    assert {band.times for band in found} == {(0, 1, 2, 3)}


def test_a_loop_back_begins_at_the_step_where_the_other_ended() -> None:
    forth, back = layout(taped(there_and_back)).bands
    assert forth.times == (0, 1, 2, 3) and back.times == (3, 2, 1, 0)
    assert labels(forth) == ["W * h", "h = tanh(·)"] and labels(back) == ["W * g", "g = sigmoid(·)"]


def test_records_of_a_recorded_sweep_are_bands_of_their_own() -> None:
    tape = taped(second_order)
    found = layout(tape)
    recorded = [band for band in found.bands if band.sweep is not None]
    assert recorded and all(band.title.startswith("sweep 0, recorded") for band in recorded)
    assert any(band.kind == "loop" and len(band.times) >= 4 for band in recorded)


def test_leaves_that_loops_use_come_first() -> None:
    with tg.Tape() as tape:
        b, W, h = weight(3), weight(3), tg.ones(3)
        first = b * 2
        for _ in range(4):
            h = tg.tanh(W * h)
        _ = first + h
    assert [tape.leaves[n].name for n in layout(tape).leaves] == ["W", "b"]


# size ----------------------------------------------------------------------------------------------------------------


def test_the_time_it_takes_grows_with_the_number_of_records() -> None:
    """Not with its square: programs of several thousands of loops, and without any."""

    def many_loops(n: int) -> Tape:
        w = tg.ones(2, requires_grad=True)
        with tg.Tape(values="shapes") as tape:
            for k in range(n):
                h = tg.zeros(2)
                for _ in range(k % 7 + 3):
                    h = tg.tanh(w * h)
        return tape

    def no_order(n: int) -> Tape:
        w = v = tg.ones(2, requires_grad=True)
        draw = random.Random(0)
        names = {"v": v, "w": w, "tg": tg}
        lines = [f"v = tg.{draw.choice(['tanh', 'sin', 'cos', 'sigmoid'])}(v) * w" for _ in range(4 * n)]
        with tg.Tape(values="shapes") as tape:
            exec("\n".join(lines), names)
        return tape

    for make in (many_loops, no_order):
        times = []
        for tape in (make(150), make(600)):
            start = time.process_time()
            layout(tape)
            times.append(time.process_time() - start)
        assert times[1] < 12 * max(times[0], 0.01)  # 4 times the records; 16 times would be the square


@pytest.mark.thorough
def test_a_tape_of_a_hundred_thousand_records_takes_a_second() -> None:
    w = h = tg.ones(2, requires_grad=True)
    with tg.Tape(values="shapes") as tape:
        for _ in range(25_000):
            a = w * h + 1.0
            h = tg.tanh(a)
            v = h * w
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        found = layout(tape)
        best = min(best, time.process_time() - start)
    assert len(found.bands) == 1 and v.shape == (2,)
    assert best < 2  # 0.8 s on the machine where this was written
