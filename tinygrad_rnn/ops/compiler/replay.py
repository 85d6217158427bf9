"""Replay of a program in plain NumPy: its first backend, and the judge of all others.

The program of a step, run as it stands: for each step the products, then every expression on whole arrays, in any
order in which arguments come first.  Nothing is fast here.  It serves two purposes:

* :func:`check`, after every lowering, runs the program on the arrays of the probes and compares it with what the step
  itself gave, forward and in all gradients.  A step that did what the trace did not see is found here, and so is a
  wrong rule of the compiler.  The program's reference (:mod:`.reference`) is held to the same.
* :func:`forward` and :func:`backward` over a sequence are what the backends that generate code are compared with.

The equations, for t = 1 ... T, states s, masks m and operands A_p of the products:

    Z_p = A_p(x_t, s_{t-1}, m, Z) W_p     s_t, e_t = new_states, emitted(x_t, s_{t-1}, m, Z, vectors)

and back, with the cotangent ``g_t`` of s_t, which is that of the output plus what step t + 1 sent back, and
that of e_t:

    dZ_p = gradient_p(g_t, ..., dZ)       g_{t-1} += state_gradients       dW_p += A_p^T dZ_p       dv += sum dv_rows
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...tape.grad import grad
from ...tape.modes import quietly, unwatched, within
from ...tape.tensor import Tensor, wrap
from ...typing import Array
from .arrangement import Block, Group, Product
from .program import Program
from .trace import Refused, Trace
from .units import OPERATIONS, Expr, walk

__all__ = ["Kept", "backward", "check", "forward"]

Values = dict[int, Any]


@dataclass(frozen=True, eq=False)
class Kept:
    """What the forward pass leaves for the backward pass.

    Attributes:
        x: (T, N, I).
        states: for each state (T + 1, N, H_k), the initial one first.
        step_masks, sequence_masks: (T, N, K) and (N, K).
        kept: by step, the values of ``Program.kept`` by number.
        matrices, vectors: of the prelude.
    """

    x: Array
    states: tuple[Array, ...]
    step_masks: tuple[Array, ...]
    sequence_masks: tuple[Array, ...]
    kept: list[Values]
    matrices: list[Array]
    vectors: list[Array]

    def before(self, t: int) -> dict[str, Sequence[Array]]:
        """What leaves of the forward pass are entries of, at step t."""
        masks = [*[mask[t] for mask in self.step_masks], *self.sequence_masks]
        return {"input": [self.x[t]], "state": [s[t] for s in self.states], "mask": masks, "vector": self.vectors}


class _Step:
    """The values of one step, by number of their expression."""

    def __init__(self, leaf: Callable[[Expr], Any], known: Values) -> None:
        self.leaf, self.values = leaf, known

    def of(self, root: Expr) -> Any:
        values = self.values
        for e in walk([root], stop=lambda e: e.number in values):
            if e.number in values:
                continue
            args = [values[a.number] for a in e.args]
            if e.op == "number":
                values[e.number] = e.at[0]
            elif not e.args:
                values[e.number] = self.leaf(e)
            # a block may be the same in every row, and then has one axis
            elif e.op == "rowsum":
                values[e.number] = sum(a.sum(-1, keepdims=True) for a in args)
            elif e.op == "rowmax":
                values[e.number] = functools.reduce(np.maximum, [a.max(-1, keepdims=True) for a in args])
            elif e.op == "spread":
                values[e.number] = np.repeat(np.atleast_1d(args[0]), e.width, -1)
            else:
                values[e.number] = OPERATIONS[e.op](*args)
        return values[root.number]

    def columns(self, exprs: Sequence[Expr], blocks: Sequence[Block], like: Array) -> Array:
        """The blocks of a value side by side (N, width)."""
        out = np.empty((len(like), blocks[-1][1]), like.dtype)
        for e, (lo, hi) in zip(exprs, blocks, strict=True):
            out[:, lo:hi] = self.of(e)
        return out


def _weight(program: Program, p: Product, matrices: list[Array]) -> Array:
    """W (K, width): the part of the weight that meets the operand, its inner axis first."""
    (lo, hi), w = p.part, matrices[p.weight]
    part: Array = w[:, lo:hi].T if p.transposed else w[lo:hi]
    return part


def forward(
    program: Program,
    x: Array,
    states: Sequence[Array],
    parameters: Mapping[str, Any],
    *,
    step_masks: Sequence[Array] = (),
    sequence_masks: Sequence[Array] = (),
) -> tuple[tuple[Array, ...], Kept]:
    """All steps of a sequence.

    Args:
        program: of the cell.
        x: (T, N, I).
        states: (N, H_k) for each state, before the first step.
        parameters: tensors by name, as they were given to ``trace``.
        step_masks, sequence_masks: (T, N, K) and (N, K).

    Returns:
        The states after each step, then what is emitted, (T, N, K) each; and what :func:`backward` reads.
    """
    of_prelude = within(False, program.prelude.run, parameters)
    matrices, vectors = ([t._data for t in tensors] for tensors in of_prelude)
    steps, rows = x.shape[:2]
    tables = tuple([np.empty((steps + 1, rows, w), x.dtype) for w in program.widths])
    for table, s in zip(tables, states, strict=True):
        table[0] = s
    series = tuple([np.empty((steps, rows, blocks[-1][1]), x.dtype) for blocks in program.emitted_blocks])
    weights = [
        np.concatenate([_weight(program, program.products[p], matrices) for p in g.products], 1) for g in program.groups
    ]
    kept = Kept(x, tables, tuple(step_masks), tuple(sequence_masks), [], matrices, vectors)
    for t in range(steps):
        results: dict[int, Array] = {}
        before = kept.before(t)

        def leaf(e: Expr, before: Any = before, results: dict[int, Array] = results) -> Any:
            if e.op == "product":
                return results[e.at[0]][:, e.at[1] : e.at[1] + e.width]
            return _read(e, before)

        step = _Step(leaf, {})
        # groups in the order in which their operands can be computed
        for g, w in sorted(zip(program.groups, weights, strict=True), key=lambda pair: _place(program, pair[0])):
            p = program.products[g.products[0]]
            z = step.columns(g.operand, p.operand_blocks, x[t]) @ w
            at = 0
            for number in g.products:
                width = program.products[number].width
                results[number] = z[:, at : at + width]
                at += width
        for table, exprs, blocks in zip(tables, program.new_states, program.new_state_blocks, strict=True):
            table[t + 1] = step.columns(exprs, blocks, x[t])
        for given, exprs, blocks in zip(series, program.emitted, program.emitted_blocks, strict=True):
            given[t] = step.columns(exprs, blocks, x[t])
        kept.kept.append({e.number: step.of(e) for e in program.kept})
    return (*[table[1:] for table in tables], *series), kept


def _place(program: Program, g: Group) -> int:
    """Where a product stands among those of a step: what x and the states are multiplied by comes first."""
    computed = program.products[g.products[0]].source == "computed"
    return max(program.stages[e.number][0] for e in g.operand) + 1 if computed else 0


def _read(e: Expr, before: Mapping[str, Sequence[Array]]) -> Array:
    """A leaf that is there before the step, or before its backward pass."""
    *k, lo = e.at
    entries: Array = before[e.op][k[0] if k else 0][..., lo : lo + e.width]
    return entries


def backward(
    program: Program, kept: Kept, gs: Sequence[Array], parameters: Mapping[str, Tensor]
) -> tuple[Array, tuple[Array, ...], dict[str, Array]]:
    """The backward pass of :func:`forward`.

    Args:
        program: of the cell.
        kept: what the forward pass left.
        gs: cotangents of the states after each step, then of what is emitted, (T, N, K) each.
        parameters: as for the forward pass.

    Returns:
        The cotangents of x, of the initial states, and of the parameters by name.
    """
    x, tables = kept.x, kept.states
    dx = np.zeros_like(x)
    carried = [np.zeros_like(table[0]) for table in tables]
    of_matrices = [np.zeros_like(w) for w in kept.matrices]
    of_vectors = [np.zeros_like(v) for v in kept.vectors]
    for t in reversed(range(len(x))):
        after, before = [table[t + 1] for table in tables], kept.before(t)
        before["cotangent"] = [g[t] + c for g, c in zip(gs[: len(carried)], carried, strict=True)]
        before["emitted"] = [g[t] for g in gs[len(carried) :]]
        of_products: dict[int, Array] = {}
        step = _Step(None, dict(kept.kept[t]))  # type: ignore[arg-type]

        def gradient_of(
            number: int, step: _Step = step, of_products: dict[int, Array] = of_products, t: int = t
        ) -> Array:
            if number not in of_products:
                p = program.products[number]
                assert p.gradient is not None
                of_products[number] = step.columns(p.gradient, p.blocks, x[t])
            return of_products[number]

        def leaf(e: Expr, before: Any = before, of: Any = gradient_of) -> Any:
            if e.op == "adjoint":
                number, lo = e.at
                weight = _weight(program, program.products[number], kept.matrices)
                return (of(number) @ weight.T)[:, lo : lo + e.width]
            if e.op == "product":
                raise AssertionError(f"{e!r} is read by the backward pass, and was not kept")
            return _read(e, before)

        step.leaf = leaf
        for exprs, blocks, s in zip(program.new_states, program.new_state_blocks, after, strict=True):
            for e, (lo, hi) in zip(exprs, blocks, strict=True):
                if e.args:  # computed, and so read from the table of states
                    step.values[e.number] = s[:, lo:hi]
        for p in program.products:
            if p.gradient is not None:
                operand = step.columns(p.operand, p.operand_blocks, x[t])
                change, (lo, hi) = operand.T @ gradient_of(p.number), p.part
                if p.transposed:
                    of_matrices[p.weight][:, lo:hi] += change.T
                else:
                    of_matrices[p.weight][lo:hi] += change
        for v, total in zip(program.vectors, of_vectors, strict=True):
            if v.gradient is not None:
                total += step.columns(v.gradient, v.blocks, x[t]).sum(0)
        if program.input_gradient is not None:
            dx[t] = step.columns(program.input_gradient, program.input_blocks, x[t])
        for c, exprs_, blocks in zip(carried, program.state_gradients, program.state_gradient_blocks, strict=True):
            c[...] = 0 if exprs_ is None else step.columns(exprs_, blocks, x[t])
    return dx, tuple(carried), _of_parameters(program, of_matrices, of_vectors, parameters)


def _of_parameters(
    program: Program, of_matrices: list[Array], of_vectors: list[Array], parameters: Mapping[str, Tensor]
) -> dict[str, Array]:
    """The cotangents of the parameters, from those of what the prelude made of them: by the engine."""
    leaves = {name: wrap(parameters[name]._data) for name in program.prelude.parameters}
    for name, leaf in leaves.items():
        leaf.requires_grad = parameters[name].requires_grad
    matrices, vectors = within(True, program.prelude.run, leaves)
    pairs = zip([*matrices, *vectors], [*of_matrices, *of_vectors], strict=True)
    outputs = [(y, wrap(g)) for y, g in pairs if y.requires_grad]
    wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    if not outputs or not wanted:
        return {}
    tensors, gradients = zip(*outputs, strict=True)
    found = grad(tensors, tuple(wanted.values()), gradients, allow_unused=True)
    return {name: g._data for name, g in zip(wanted, found, strict=True) if g is not None}


# the check -----------------------------------------------------------------------------------------------------------


def check(program: Program, t: Trace) -> None:
    """Compare a program with the step that it was made of, on the arrays of a probe.

    Raises:
        Refused: it gives other values, or other gradients.
    """
    unwatched(quietly, _check, program, t)  # a Tape that the user keeps does not show it


def _check(program: Program, t: Trace) -> None:
    parameters = {}
    for name, v in t.parameters.items():
        parameters[name] = p = wrap(v.array)
        p.requires_grad = v.number in t.gradients
    after, kept = forward(
        program,
        t.x.array[None],
        [s.array for s in t.states],
        parameters,
        step_masks=[m.array[None] for m in t.masks[: t.step_masks]],
        sequence_masks=[m.array for m in t.masks[t.step_masks :]],
    )
    seeds = [g.array[None] for g in (*t.seeds, *t.emitted_seeds)]
    dx, of_states, of_parameters = backward(program, kept, seeds, parameters)
    _compare(t, "the compiled step", [a[0] for a in after], [dx[0], *of_states], of_parameters)
    try:
        within(True, _check_reference, program, t, parameters)
    except Refused:
        raise
    except Exception as error:  # of a custom Function, say, that is given what is no argument of it
        raise Refused(f"its operations cannot be applied again: {type(error).__name__}: {error}") from error


def _check_reference(program: Program, t: Trace, parameters: Mapping[str, Tensor]) -> None:
    x, *states = [wrap(v.array).requires_grad_() for v in (t.x, *t.states)]
    matrices, vectors = program.prelude.run(parameters)
    masks = tuple([wrap(m.array) for m in t.masks])
    after = program.reference.run(x, tuple(states), tuple(matrices), tuple(vectors), masks)
    seeds = (*t.seeds, *t.emitted_seeds)
    pairs = [(y, wrap(g.array)) for y, g in zip(after, seeds, strict=True) if y.requires_grad]
    leaves = [x, *states, *[p for p in parameters.values() if p.requires_grad]]
    found: tuple[Any, ...] = (None,) * len(leaves)
    if pairs:
        outputs, cotangents = zip(*pairs, strict=True)
        found = grad(outputs, tuple(leaves), cotangents, allow_unused=True)
    arrays = [None if g is None else g._data for g in found]
    of_inputs = [np.zeros_like(a._data) if g is None else g for a, g in zip(leaves, arrays, strict=True)]
    names = [name for name, p in parameters.items() if p.requires_grad]
    given = {name: g for name, g in zip(names, arrays[1 + len(states) :], strict=True) if g is not None}
    _compare(t, "the reference", [y._data for y in after], of_inputs[: 1 + len(states)], given)


def _compare(
    t: Trace, who: str, after: Sequence[Array], of_inputs: Sequence[Array], of_parameters: Mapping[str, Array]
) -> None:
    """Hold results and gradients, of x, of the states, and of the parameters by name, to those of the step itself."""
    results = [*[(f"state {k}", v) for k, v in enumerate(t.new_states)]]
    results += [(f"emitted value {k}", v) for k, v in enumerate(t.emitted)]
    for a, (what, v) in zip(after, results, strict=True):
        _same(f"{what} of {who}", a, v.array)
    for what, v, found in zip(
        ["x", *[f"state {k}" for k in range(len(t.states))], *t.parameters],
        [t.x, *t.states, *t.parameters.values()],
        [*of_inputs, *[of_parameters.get(name) for name in t.parameters]],
        strict=True,
    ):
        g, nought = t.gradients.get(v.number), np.zeros_like(v.array)
        _same(f"the gradient of {what} of {who}", nought if found is None else found, nought if g is None else g.array)


def _same(what: str, found: Array, expected: Array) -> None:
    # a few roundings of sums in another order
    tolerance = 1e4 * np.finfo(expected.dtype).eps
    scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0)))
    if not np.allclose(found, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
        raise Refused(
            f"{what} differs from that of the step itself: it does what no operation showed, "
            "such as writing to memory through NumPy"
        )
