"""Derivatives of functions of tensors: products with the Jacobian J and the Hessian H, and the matrices themselves.

Everything is made of one operation, the reverse sweep ``vjp: v -> v J``:

    jvp(v)   = J v        the sweep is linear in its cotangent u, so J v is the vjp of u -> u J
    jacobian              row i is the vjp of the i-th unit vector (or column j the jvp of the j-th)
    jacobian_of           the same between tensors that are there already
    hessian               the Jacobian of the gradient
    hvp(v)   = H v        the vjp of the gradient, H being symmetric

Inputs and outputs are a tensor or a tuple of tensors; a result has the structure of what it is taken of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..backend import array_module
from ..errors import ArgumentError, ArgumentTypeError, GraphError, ShapeRuntimeError
from ..ops import movedim, reshape, stack
from ..ops.shape import axis_of
from ..tape.grad import grad
from ..tape.modes import enable_grad
from ..tape.multi_output import alias
from ..tape.tensor import Tensor, wrap
from ..typing import Array

__all__ = ["hessian", "hvp", "jacobian", "jacobian_of", "jvp", "vhp", "vjp"]

Tensors = tuple[Tensor, ...]
LINEAR = (
    "While computing the hessian, found that the jacobian of the user-provided function with respect to input {} is "
    "independent of the input. This is not allowed in strict mode. You should ensure that your function is twice "
    "differentiable and that the jacobian depends on the inputs (this would be violated by a linear function for "
    "example)."
)

CONSTANT = (
    "The jacobian of the user-provided function is independent of input {}. This is not allowed in strict mode when "
    "create_graph=True."
)


# Also within no_grad(): PyTorch's functions switch recording on.
@enable_grad()
def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The function's outputs, and the product of ``v`` with its Jacobian: ``v J``, shaped as the inputs.

    Args:
        v: shaped as the outputs; may be left out for one output of one entry.
        create_graph: record, so that the results can be differentiated.
        strict: raise if an output does not depend on an input, instead of giving zeros.

    Raises:
        GraphError: ``v`` is missing, or ``strict`` found an independent output.
        ShapeRuntimeError: ``v`` has another shape than the outputs.

    >>> import tinygrad_rnn as tg
    >>> vjp(lambda x: x * x, tg.tensor([1.0, 2.0]), tg.tensor([1.0, 10.0]))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    given, single = _run_inputs(inputs, "vjp", create_graph)
    outputs, single_output = _run(func, given, "vjp", strict)
    if v is not None:
        seeds = _vectors(v, outputs, single_output, "vjp")
    elif len(outputs) == 1 and outputs[0]._data.size == 1:
        seeds = (_ones(outputs[0]),)
    else:
        raise GraphError(
            "The vector v can only be None if the user-provided function returns a single Tensor with a single element."
        )
    found = _pull(outputs, given, seeds, create_graph, strict)
    return _given(outputs, single_output, create_graph), _given(found, single, create_graph)


@enable_grad()
def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The function's outputs, and the product of its Jacobian with ``v``: ``J v``, shaped as the outputs.

    Args: as for :func:`vjp`, with ``v`` shaped as the inputs.

    Raises:
        GraphError, ShapeRuntimeError: as :func:`vjp`.

    >>> import tinygrad_rnn as tg
    >>> jvp(lambda x: x.sum() * x, tg.tensor([1.0, 2.0]), tg.tensor([1.0, 0.0]))
    (tensor([3., 6.]), tensor([4., 2.]))
    """
    given, single = _run_inputs(inputs, "jvp", create_graph)
    if v is not None:
        direction = _vectors(v, given, single, "jvp")
    elif len(given) == 1 and given[0]._data.size == 1:
        direction = (_ones(given[0]),)
    else:
        raise GraphError(
            "The vector v can only be None if the input to the user-provided function is a single Tensor with a "
            "single element."
        )
    outputs, single_output = _run(func, given, "jvp", strict)
    push = _pushforward(outputs, given, strict)  # there is no forward mode: two reverse sweeps do
    found = push(direction, create_graph)
    if strict and create_graph:  # an unrecorded result depends on nothing
        _must_depend(found, CONSTANT)
    return _given(outputs, single_output, create_graph), _given(found, single_output, create_graph)


@enable_grad()
def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """All first derivatives: for each output and input a tensor of shape ``output.shape + input.shape``.

    Args:
        vectorize: accepted as in PyTorch; the sweeps are made one after the other.
        strategy: "reverse-mode" makes one sweep per entry of the outputs, "forward-mode" two per entry of the
            inputs: better for functions with many more outputs than inputs.

    Returns:
        The tensor; a tuple over the inputs, if they were given as a tuple, in a tuple over the outputs, if those are.

    >>> import tinygrad_rnn as tg
    >>> jacobian(lambda x: x * x, tg.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise ArgumentError(
            f'Expected strategy to be either "forward-mode" or "reverse-mode", got {strategy!r}. Hint: If your '
            'function has more outputs than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to '
            'use "reverse-mode".'
        )
    given, single = _run_inputs(inputs, "jacobian", create_graph)
    outputs, single_output = _run(func, given, "jacobian", strict)
    by = _columns if strategy == "forward-mode" else _rows
    table = by(outputs, given, create_graph, strict)
    if strict and create_graph:
        for row in table:
            _must_depend(row, CONSTANT)
    return _given([_given(row, single, create_graph) for row in table], single_output, True)


def jacobian_of(
    y: Tensor,
    x: Any,
    *,
    batched: bool | tuple[int, int] = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """The Jacobian between two tensors that are there already: ``J[p, q] = dy[p] / dx[q]``.

    ``x`` is whatever ``y`` was computed from, a leaf or not.  A row is a sweep from ``y`` to ``x``; the graph is kept.

    In a batch, sample n of ``y`` depends on sample n of ``x`` alone.  Then a sweep gives one row for every sample, and
    the zeros between samples are neither computed nor stored.

    Args:
        x: a tensor, or a tuple of tensors, for which the same sweeps do.
        batched: the first axis of both counts the samples; or which axis of ``y`` and which of ``x`` does, as in
            ``batched=(0, 1)`` for a state (N, H) and the input (T, N, I) of a layer.
        create_graph: record the sweeps, so that the result can be differentiated.
        allow_unused: zeros for an ``x`` that ``y`` does not depend on, instead of an error.

    Returns:
        A tensor of the dtype of ``x``, or a tuple of them if ``x`` was one.

    Shapes:
        ``y.shape + x.shape``, by ``y.numel()`` sweeps.  In a batch ``(N, ...)``, then the other axes of ``y``, then
        those of ``x``, by ``y.numel() / N`` sweeps, and one that checks.

    Raises:
        GraphError: one of the two does not require grad, or ``y`` does not depend on ``x``.
        ShapeRuntimeError: in a batch, the numbers of samples differ, or a tensor has no axes.
        ArgumentError: in a batch, samples depend on each other, as after a normalisation over them.  One sweep with
            random cotangents of all rows shows it, unless the influence is less than the square root of the machine
            epsilon times the largest derivative.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> h = 2 * x
    >>> y = (h * h).sum(1)
    >>> jacobian_of(y, h, batched=True)
    tensor([[ 4.,  8.],
            [12., 16.]])
    >>> jacobian_of(y, h).shape
    torch.Size([2, 2, 2])
    """
    _, single_output = _tensors(y, "y", "jacobian_of")
    if not single_output:
        raise ArgumentTypeError("jacobian_of(): y must be one tensor. Call it for each, or cat() them")
    inputs, single = _tensors(x, "x", "jacobian_of")
    unused: dict[str, bool] = {"allow_unused": True, "materialize_grads": True} if allow_unused else {}

    def pull(seed: Array, record: bool) -> Sequence[Any]:
        return grad(y, inputs, wrap(seed), retain_graph=True, create_graph=record, **unused)

    axes = None if batched is False else _sample_axes(y, inputs, (0, 0) if batched is True else batched)
    seeds = _row_seeds(y, axes)
    found = _recorded_rows(y, inputs, axes, seeds, pull) if create_graph else _rows_of(y, inputs, axes, seeds, pull)
    if axes is not None:
        _check_samples(y, found, axes, pull)
    return found[0] if single else tuple(found)


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """All second derivatives of a function with one value: for each pair of inputs, of both shapes in turn.

    Raises:
        GraphError: the function does not return a single tensor with a single entry.

    >>> import tinygrad_rnn as tg
    >>> hessian(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    single = isinstance(inputs, Tensor)

    def gradient(*xs: Tensor) -> Any:
        value = _one_value(func(*xs), "hessian")
        if strict and value._node is None:
            raise GraphError(_independent(0))
        # recorded always: jacobian() differentiates it once more
        found = _pull((value,), xs, (_ones(value),), True, strict)
        if strict:
            _must_depend(found, LINEAR)
        return found[0] if single else found

    # strict=False: gradient has checked, and spoke of the Hessian
    return jacobian(gradient, inputs, create_graph, False, vectorize, outer_jacobian_strategy)


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The function's value and ``v H``: the vjp of its gradient.  See :func:`hvp`.

    >>> import tinygrad_rnn as tg
    >>> x, v = tg.tensor([1.0, 2.0]), tg.tensor([1.0, 0.0])
    >>> value, product = vhp(lambda x: (x**3).sum(), x, v)
    >>> product
    tensor([6., 0.])
    """
    return _hessian_product(func, inputs, v, create_graph, strict, "vhp")


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The function's value, and the product of its Hessian with ``v``: ``H v``, shaped as the inputs.

    H is symmetric wherever the second derivatives are continuous, so this is ``v H``, one sweep of the gradient.

    >>> import tinygrad_rnn as tg
    >>> hvp(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]), tg.tensor([1.0, 1.0]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    return _hessian_product(func, inputs, v, create_graph, strict, "hvp")


@enable_grad()
def _hessian_product(func: Callable[..., Any], inputs: Any, v: Any, create_graph: bool, strict: bool, name: str) -> Any:
    given, single = _run_inputs(inputs, name, create_graph)
    if v is not None:
        direction = _vectors(v, given, single, name)
    elif len(given) == 1 and given[0]._data.size == 1:
        direction = (_ones(given[0]),)
    else:
        raise GraphError(
            "The vector v can only be None if the input to the user-provided function is a single Tensor with a "
            "single element."
        )
    outputs, _ = _run(func, given, name, strict)
    # a tuple of several is refused as what it is
    value = _one_value(outputs[0] if len(outputs) == 1 else outputs, name)
    gradient = _pull((value,), given, (_ones(value),), True, strict)
    if strict:
        _must_depend(gradient, LINEAR)
    found = _pull(gradient, given, direction, create_graph, strict)
    return _given((value,), True, create_graph), _given(found, single, create_graph)


# parts -------------------------------------------------------------------------------------------------------------


def _tensors(value: Any, what: str, name: str) -> tuple[Tensors, bool]:
    """A tuple of tensors, and whether it was a single one."""
    single = not isinstance(value, tuple)
    items = (value,) if single else value
    for position, item in enumerate(items):
        if not isinstance(item, Tensor):
            found = f"given {what} has type" if single else f"value at index {position} has type"
            raise ArgumentTypeError(
                f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but the {found} "
                f"{type(item)}."
            )
    return items, single


def _run_inputs(inputs: Any, name: str, create_graph: bool) -> tuple[Tensors, bool]:
    """The inputs as tensors that this computation differentiates by, alone, with their history if that is wanted."""
    given, single = _tensors(inputs, "inputs", name)
    # an alias, so that only this use of x is differentiated by
    fresh = [alias(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in given]
    return tuple(fresh), single


def _run(func: Callable[..., Any], given: Tensors, name: str, strict: bool) -> tuple[Tensors, bool]:
    outputs, single = _tensors(func(*given), "outputs of the user-provided function", name)
    if strict:
        for position, y in enumerate(outputs):
            if y._node is None:
                raise GraphError(_independent(position))
    return outputs, single


def _independent(position: int) -> str:
    return (
        f"Output {position} of the user-provided function does not require gradients. The outputs must be computed in "
        "a differentiable manner from the input when running in strict mode."
    )


def _vectors(v: Any, like: Sequence[Tensor], single: bool, name: str) -> Tensors:
    """``v`` as a tuple of tensors shaped as ``like``."""
    given, _ = _tensors(v, "v", name)
    if len(given) != len(like):
        if single:
            raise GraphError(f"The given v should contain a single Tensor, got {len(given)}.")
        raise GraphError(f"v is a tuple of invalid length: should be {len(like)} but got {len(given)}.")
    for position, (item, x) in enumerate(zip(given, like, strict=True)):
        if item.shape != x.shape:
            entry = "" if single else f"Entry {position} in "
            raise ShapeRuntimeError(f"{entry}v has invalid size: should be {x.shape} but got {item.shape}.")
    return given


def _pull(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], seeds: Sequence[Tensor], record: bool, strict: bool
) -> Tensors:
    """``seeds J``: zeros for an input that nothing depends on, or with ``strict`` an error."""
    live = [(y, g) for y, g in zip(outputs, seeds, strict=True) if y._node is not None]
    found: Sequence[Tensor | None] = [None] * len(inputs)
    if live:
        ys, gs = zip(*live, strict=True)
        # retain_graph: many rows are pulled through one graph
        found = grad(ys, tuple(inputs), gs, retain_graph=True, create_graph=record, allow_unused=True)
    for position, item in enumerate(found):
        if item is None and strict:
            raise GraphError(
                f"The output of the user-provided function is independent of input {position}. This is not allowed in "
                "strict mode."
            )
    return tuple([_zeros(x) if item is None else item for x, item in zip(inputs, found, strict=True)])


def _pushforward(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], strict: bool
) -> Callable[[Sequence[Tensor], bool], Tensors]:
    """The function ``v -> J v``, by differentiating the sweep with respect to its cotangent."""
    cotangents = tuple([_zeros(y).requires_grad_() for y in outputs])  # zeros will do: the sweep is linear in them
    pulled = _pull(outputs, inputs, cotangents, True, strict)
    # strict has been decided by the line above
    return lambda direction, record: _pull(pulled, cotangents, direction, record, False)


def _rows(outputs: Tensors, inputs: Tensors, record: bool, strict: bool) -> list[Tensors]:
    """The Jacobian by rows: one sweep for each entry of each output."""
    table = []
    for y in outputs:
        # not one sweep for all outputs: their rows would add up
        rows = [_pull((y,), inputs, (unit,), record, strict) for unit in _units(y)]
        blocks = [
            # no rows: an output without entries
            reshape(stack([row[k] for row in rows]), (*y.shape, *x.shape)) if rows else _block(y, x)
            for k, x in enumerate(inputs)
        ]
        table.append(tuple(blocks))
    return table


Axes = tuple[int, tuple[int, ...]]
"""Which axis counts the samples: of y, and of each x."""
Pull = Callable[[Array, bool], Sequence[Any]]


def _sample_axes(y: Tensor, inputs: Tensors, given: tuple[int, int]) -> Axes:
    """The axes of the samples, counted from the front."""
    of_y, of_x = given
    for t in (y, *inputs):
        if t.ndim == 0:
            raise ShapeRuntimeError("jacobian_of(): a tensor without axes is no batch. Leave out batched=")
    axes = axis_of(of_y, y.ndim), tuple([axis_of(of_x, x.ndim) for x in inputs])
    for x, axis in zip(inputs, axes[1], strict=True):
        if x.shape[axis] != y.shape[axes[0]]:
            raise ShapeRuntimeError(
                f"jacobian_of(): y has {y.shape[axes[0]]} samples along axis {axes[0]} of {list(y.shape)}, and x "
                f"{x.shape[axis]} along axis {axis} of {list(x.shape)}. Say which axes count them: batched=(0, 1)"
            )
    return axes


def _row_seeds(y: Tensor, axes: Axes | None) -> Iterator[Array]:
    """The cotangent of each row in turn: a unit vector, or one for every sample."""
    xp = array_module(y._data)
    before = () if axes is None else (slice(None),)
    rest = y._data.shape if axes is None else tuple(np.delete(y._data.shape, axes[0]).tolist())
    for index in np.ndindex(*rest):
        # new each time: hooks and records may hold on to it
        seed = xp.zeros(y._data.shape, y._data.dtype)
        (seed if axes is None else xp.moveaxis(seed, axes[0], 0))[(*before, *index)] = 1
        yield seed


def _full_shape(y: Tensor, x: Tensor, axes: Axes | None, position: int) -> tuple[int, ...]:
    """The shape of a Jacobian: that of y and that of x, after the samples if they are in a batch."""
    if axes is None:
        return (*y._data.shape, *x._data.shape)
    of_y, of_x = np.delete(y._data.shape, axes[0]), np.delete(x._data.shape, axes[1][position])
    return (y._data.shape[axes[0]], *of_y.tolist(), *of_x.tolist())


def _rows_of(y: Tensor, inputs: Tensors, axes: Axes | None, seeds: Iterator[Array], pull: Pull) -> list[Tensor]:
    """The Jacobians, each written row by row into one array."""
    tables, by_row = [], []
    for k, x in enumerate(inputs):
        table = array_module(x._data).zeros(_full_shape(y, x, axes, k), x._data.dtype)
        rest = x.ndim if axes is None else x.ndim - 1
        first = () if axes is None else table.shape[:1]
        tables.append(table)
        # a view, without a copy of what is contiguous
        by_row.append(table.reshape(*first, -1, *table.shape[table.ndim - rest :]) if table.size else None)
    for number, seed in enumerate(seeds):
        for k, row in enumerate(pull(seed, False)):
            rows = by_row[k]
            if rows is not None and axes is None:
                rows[number] = row._data
            elif rows is not None and axes is not None:
                rows[:, number] = array_module(rows).moveaxis(row._data, axes[1][k], 0)
    return [wrap(table) for table in tables]


def _recorded_rows(y: Tensor, inputs: Tensors, axes: Axes | None, seeds: Iterator[Array], pull: Pull) -> list[Tensor]:
    """The Jacobians, as functions of what they were computed from."""
    rows = [pull(seed, True) for seed in seeds]
    if not rows:
        return _rows_of(y, inputs, axes, iter(()), pull)
    found = []
    for k, x in enumerate(inputs):
        column = [row[k] for row in rows]
        if axes is not None:
            column = [movedim(row, axes[1][k], 0) for row in column]
        found.append(reshape(stack(column, 0 if axes is None else 1), _full_shape(y, x, axes, k)))
    return found


def _check_samples(y: Tensor, found: Sequence[Tensor], axes: Axes, pull: Pull) -> None:
    """Compare ``v J`` for random v with the vjp of v, in which samples that depend on each other meet.

    Raises:
        ArgumentError: they differ.
    """
    if y._data.size == 0 or y._data.shape[axes[0]] == 1:
        return
    xp = array_module(y._data)
    v = xp.asarray(np.random.default_rng(0).standard_normal(y._data.shape), y._data.dtype)
    samples = xp.moveaxis(v, axes[0], 0).reshape(y._data.shape[axes[0]], -1)
    for k, (jacobian_, pulled) in enumerate(zip(found, pull(v, False), strict=True)):
        if pulled._data.size == 0:
            continue
        together = xp.moveaxis(pulled._data, axes[1][k], 0)
        rows = jacobian_._data.reshape(*samples.shape, *together.shape[1:])
        apart = xp.einsum("nm,nm...->n...", samples, rows)
        bound = np.finfo(rows.dtype).eps ** 0.5 * float(xp.einsum("nm,nm...->n...", abs(samples), abs(rows)).max())
        if float(abs(together - apart).max()) > bound:
            raise ArgumentError(
                f"jacobian_of(): batched={axes[0], axes[1][k]}, but samples of y depend on other samples of x, as "
                "after a normalisation over the batch. Leave out batched=, for all derivatives between samples"
            )


def _columns(outputs: Tensors, inputs: Tensors, record: bool, strict: bool) -> list[Tensors]:
    """The Jacobian by columns: one product with each unit vector of each input."""
    push = _pushforward(outputs, inputs, strict)
    by_input = []
    for k, x in enumerate(inputs):
        rest = [_zeros(other) for other in inputs]
        columns = [push([*rest[:k], unit, *rest[k + 1 :]], record) for unit in _units(x)]
        by_input.append(
            [
                reshape(stack([column[j] for column in columns], -1), (*y.shape, *x.shape)) if columns else _block(y, x)
                for j, y in enumerate(outputs)
            ]
        )
    return [tuple([blocks[j] for blocks in by_input]) for j in range(len(outputs))]


def _units(t: Tensor) -> list[Tensor]:
    """The unit vectors of the space of ``t``."""
    units = []
    for position in range(t._data.size):
        unit = array_module(t._data).zeros(t._data.size, t._data.dtype)
        unit[position] = 1
        units.append(wrap(unit.reshape(t._data.shape)))
    return units


def _zeros(t: Tensor) -> Tensor:
    return wrap(array_module(t._data).zeros(t._data.shape, t._data.dtype))


def _ones(t: Tensor) -> Tensor:
    return wrap(array_module(t._data).ones(t._data.shape, t._data.dtype))


def _block(y: Tensor, x: Tensor) -> Tensor:
    return wrap(array_module(x._data).zeros((*y._data.shape, *x._data.shape), y._data.dtype))


def _one_value(value: Any, name: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise GraphError(f"The function given to {name} should return a single Tensor, and it returned {type(value)}")
    if value._data.size != 1:
        raise GraphError(
            f"The Tensor returned by the function given to {name} should contain a single element, and its shape is "
            f"{value.shape}"
        )
    return value


def _must_depend(found: Sequence[Tensor], sentence: str) -> None:
    for position, t in enumerate(found):
        if t._node is None:
            raise GraphError(sentence.format(position))


def _given(items: Sequence[Any], single: bool, recorded: bool) -> Any:
    """What is returned: one item or a tuple, with history only if that was wanted."""
    # a row of a Jacobian is a tuple, and has been here before
    plain = tuple([item if recorded or isinstance(item, tuple) else item.detach() for item in items])
    return plain[0] if single else plain
