"""A plan gives views, in the order of the visits, and trajectories that join up."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.kernels.recurrent.numpy.schedule import Blocks, Part, Plan, Trajectory


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    steps = draw(st.integers(1, 6))
    batch = draw(st.integers(0, 4))
    sizes = None
    if draw(st.booleans()):
        sizes = sorted(draw(st.lists(st.integers(0, batch), min_size=steps, max_size=steps)), reverse=True)
    return Plan(steps, batch, sizes, draw(st.booleans()))


@given(plans())
def test_split_gives_every_row_once_as_a_view_in_visiting_order(plan: Plan) -> None:
    table = np.arange(2 * plan.rows, dtype=float).reshape(plan.rows, 2)
    views = plan.split(table)
    assert [len(view) for view in views] == plan.sizes
    assert all(view.size == 0 or np.shares_memory(view, table) for view in views)
    in_time = views[::-1] if plan.reverse else views
    np.testing.assert_array_equal(np.concatenate(in_time), table)


@given(plans(), st.integers(1, 9))
def test_parts_cover_the_visits_in_order_and_their_rows_once(plan: Plan, most_rows: int) -> None:
    parts = plan.parts(most_rows)
    assert [part.first for part in parts] + [plan.steps] == [0] + [part.last for part in parts]
    assert sorted(row for part in parts for row in range(plan.rows)[part.rows]) == list(range(plan.rows))
    assert all(part.size <= most_rows or part.last - part.first == 1 for part in parts)
    table = np.arange(plan.rows, dtype=float)[:, None]
    visited = [view for part in parts for view in plan.split_part(table[part.rows], part)]
    for got, expected in zip(visited, plan.split(table), strict=True):
        np.testing.assert_array_equal(got, expected)


@given(plans(), st.sampled_from(["a table", "one row", "one number"]))
def test_every_visit_adds_its_rows_of_a_gradient(plan: Plan, kind: str) -> None:
    row = np.ones(2) if kind == "one number" else np.arange(2.0)
    given = np.broadcast_to(row[:1] if kind == "one number" else row, (plan.rows, 2))
    if kind == "a table":
        given = np.random.default_rng(0).standard_normal((plan.rows, 2))
    shaped = given if plan.packed else given.reshape(plan.steps, plan.batch, 2)
    for got, expected in zip(plan.terms(shaped), plan.split(given), strict=True):
        assert got is not None and (kind == "a table" or got.strides[-1] or not got.size)
        np.testing.assert_array_equal(got, expected)
    assert plan.terms(None) == [None] * plan.steps


@given(plans(), st.sampled_from(["both", "after", "last"]), st.integers(1, 9))
def test_a_trail_carries_each_sequence_through_its_own_steps(plan: Plan, keep: str, most_rows: int) -> None:
    """Counting steps: row n ends at its initial value plus the number of steps at which it runs."""
    initial = 100.0 * np.arange(plan.batch)[:, None]
    trajectory = Trajectory(plan, initial, keep)
    for part in plan.parts(most_rows):
        for n, visits in plan.runs(part, trajectory.views(part), (trajectory,)):
            for before, after in visits:
                assert len(before) == len(after) == n
                np.add(before, 1, out=after)
    lengths = np.array([sum(size > n for size in plan.sizes) for n in range(plan.batch)], dtype=float)
    np.testing.assert_array_equal(trajectory.final(), initial + lengths[:, None])
    assert not np.shares_memory(trajectory.final(), initial)
    if keep == "both":
        np.testing.assert_array_equal(trajectory.values, trajectory.earlier + 1)


@given(plans(), st.integers(1, 9))
def test_runs_backwards_are_runs_from_the_last_visit(plan: Plan, most_rows: int) -> None:
    rows = np.arange(2.0 * plan.rows).reshape(plan.rows, 2)
    for part in plan.parts(most_rows):
        views = plan.split_part(rows[part.rows], part)
        there, back = (
            [(n, *visit) for n, visits in plan.runs(part, [views], back=way) for visit in visits]
            for way in (False, True)
        )
        assert [n for n, _ in there] == plan.sizes_of(part)
        for (n, a), (m, b) in zip(there, reversed(back), strict=True):
            assert n == m == len(a) and a is b
        assert [len(list(visits)) for _, visits in plan.runs(part, [])] == [
            len(list(visits)) for _, visits in plan.runs(part, [views])
        ]


@given(plans(), st.integers(1, 9))
def test_a_trajectory_is_filled_with_what_a_run_gave(plan: Plan, most_rows: int) -> None:
    initial = np.arange(2.0 * plan.batch).reshape(plan.batch, 2)
    run, filled = Trajectory(plan, initial), Trajectory(plan, initial)
    for part in plan.parts(most_rows):
        for _, visits in plan.runs(part, run.views(part), (run,)):
            for before, after in visits:
                np.multiply(before, 3, out=after)
    filled.fill(run.values)
    for one, other in ((run.earlier, filled.earlier), (run.final(), filled.final())):
        np.testing.assert_array_equal(one, other)


@given(plans(), st.integers(1, 9))
def test_what_is_the_same_at_every_step_meets_the_rows_of_a_part(plan: Plan, most_rows: int) -> None:
    mask = np.arange(2.0 * plan.batch).reshape(plan.batch, 2)
    rows = np.zeros((plan.rows, 2))
    for view, n in zip(plan.split(rows), plan.sizes, strict=True):
        view[...] = mask[:n]
    for part in plan.parts(most_rows):
        table = plan.by_step(rows[part.rows], part)
        np.testing.assert_array_equal(np.broadcast_to(plan.of_sequences(mask, part), table.shape), table)


@given(plans(), st.integers(1, 9))
def test_blocks_written_visit_by_visit_are_read_as_a_table_of_rows(plan: Plan, most_rows: int) -> None:
    state = np.zeros((plan.batch, 2))
    blocks = Blocks(plan, 3, 2, state)
    rows = np.arange(2.0 * plan.rows).reshape(plan.rows, 2)
    for part in plan.parts(most_rows):
        sources = plan.split_part(rows[part.rows], part)
        for source, view, second in zip(sources, blocks.views(part), blocks.views(part, 1), strict=True):
            view[...] = source + 1000 * np.arange(3)[:, None, None]
            assert view.flags.c_contiguous or plan.packed
            assert view.size == 0 or np.shares_memory(view, second)
        table = blocks.table(part)
        for gate in range(3):
            np.testing.assert_array_equal(table[gate], plan.by_step(rows[part.rows] + 1000 * gate, part))


@given(plans())
def test_blocks_that_are_not_kept_share_one_visits_memory(plan: Plan) -> None:
    room = Blocks(plan, 3, 2, np.zeros(0), keep=False)
    views = room.views(Part(0, plan.steps, slice(0, plan.rows)))
    assert [view.shape for view in views] == [(3, size, 2) for size in plan.sizes]
    assert all(view.flags.c_contiguous for view in views)
    full = [view for view in views if view.size]
    assert all(np.shares_memory(full[0], view) for view in full)
