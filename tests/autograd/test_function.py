"""Custom functions: the same laws, and the same sentences, as PyTorch's."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


def leaf(lib: Any, *values: float) -> Any:
    return lib.tensor(values, requires_grad=True)


def define(lib: Any, forward: Any, backward: Any) -> Any:
    """A Function called X."""
    return type("X", (lib.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


def double(lib: Any) -> Any:
    return define(lib, lambda ctx, a: a * 2, lambda ctx, g: g * 2)


def cube(lib: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**3

    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * 3 * x**2

    return define(lib, forward, backward)


def test_gradient_is_what_backward_returns(lib: Any) -> None:
    x = leaf(lib, 1.0, -2.0)
    y = cube(lib).apply(x)
    y.backward(lib.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [3.0, 120.0]
    assert type(y).__name__ == "Tensor" and y.grad_fn.name() == "XBackward"


def test_backward_in_differentiable_operations_has_every_order(lib: Any) -> None:
    x = leaf(lib, 2.0)
    (first,) = lib.autograd.grad(cube(lib).apply(x).sum(), x, create_graph=True)
    (second,) = lib.autograd.grad(first.sum(), x, create_graph=True)
    (third,) = lib.autograd.grad(second.sum(), x)
    assert [first.item(), second.item(), third.item()] == [12.0, 12.0, 6.0]


def test_a_saved_output_has_its_history_in_the_second_derivative(lib: Any) -> None:
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    x = leaf(lib, 0.5)
    y = define(lib, forward, lambda ctx, g: g * ctx.saved_tensors[0]).apply(x)
    (first,) = lib.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = lib.autograd.grad(first.sum(), x)
    assert second.item() == pytest.approx(float(np.exp(0.5)), rel=1e-6)  # float32


def test_an_output_set_as_attribute_has_its_history_too(lib: Any) -> None:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.y = x.exp()
        return ctx.y

    x = leaf(lib, 0.5)
    y = define(lib, forward, lambda ctx, g: g * ctx.y).apply(x)
    (first,) = lib.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = lib.autograd.grad(first.sum(), x)
    assert second.item() == pytest.approx(float(np.exp(0.5)), rel=1e-6)  # float32


def test_several_outputs_give_backward_a_gradient_each(lib: Any) -> None:
    seen: list[Any] = []

    def forward(ctx: Any, a: Any, b: Any) -> Any:
        ctx.save_for_backward(a, b)
        return a * b, "no tensor", a + b

    def backward(ctx: Any, gp: Any, nothing: Any, gs: Any) -> Any:
        seen.append((gp.tolist(), nothing, gs.tolist()))
        a, b = ctx.saved_tensors
        return gp * b + gs, gp * a + gs

    a, b = leaf(lib, 2.0), leaf(lib, 5.0)
    product, word, total = define(lib, forward, backward).apply(a, b)
    assert word == "no tensor" and product.grad_fn.name() == "XBackward"
    (product + 10 * total).sum().backward()
    assert seen == [([1.0], None, [10.0])]
    assert (a.grad.item(), b.grad.item()) == (15.0, 12.0)


def test_second_derivatives_pass_through_several_outputs(lib: Any) -> None:
    def forward(ctx: Any, a: Any) -> Any:
        y, z = a * a, a * a * a
        ctx.save_for_backward(a, z)
        return y, z

    def backward(ctx: Any, gy: Any, gz: Any) -> Any:
        a, z = ctx.saved_tensors
        return gy * 2 * a + gz * 3 * z / a

    a = leaf(lib, 2.0)
    y, z = define(lib, forward, backward).apply(a)
    (first,) = lib.autograd.grad((y * z).sum(), a, create_graph=True)  # a^5
    (second,) = lib.autograd.grad(first.sum(), a)
    assert (first.item(), second.item()) == (5 * 2.0**4, 20 * 2.0**3)


def test_an_output_without_gradient_arrives_as_zeros_or_as_none(lib: Any) -> None:
    for materialize, expected in ((True, [0.0, 0.0]), (False, None)):
        seen: list[Any] = []

        def forward(ctx: Any, a: Any, flag: bool = materialize) -> Any:
            ctx.set_materialize_grads(flag)
            return a * 2, a * 3

        def backward(ctx: Any, g: Any, h: Any, seen: list[Any] = seen) -> Any:
            seen.append(None if h is None else h.tolist())
            return g * 2

        define(lib, forward, backward).apply(leaf(lib, 1.0, 2.0))[0].sum().backward()
        assert seen == [expected]


def test_needs_input_grad_tells_which_gradients_are_wanted(lib: Any) -> None:
    seen: list[Any] = []

    def forward(ctx: Any, a: Any, b: Any, n: int) -> Any:
        seen.append(tuple(ctx.needs_input_grad))
        return a * b * n

    def backward(ctx: Any, g: Any) -> Any:
        seen.append(tuple(ctx.needs_input_grad))
        return g, None, None

    define(lib, forward, backward).apply(leaf(lib, 1.0), lib.tensor([2.0]), 3).sum().backward()
    assert seen == [(True, False, False)] * 2


def test_forward_without_ctx_and_setup_context(lib: Any) -> None:
    class Scale(lib.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(x: Any, factor: float = 4.0) -> Any:
            return x * factor

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.factor = inputs[1]
            ctx.shape = output.shape

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            assert ctx.shape == g.shape
            return g * ctx.factor, None

    x = leaf(lib, 1.0)
    Scale.apply(x).sum().backward()
    assert x.grad.item() == 4.0


def test_outputs_marked_non_differentiable_do_not_require_grad(lib: Any) -> None:
    def forward(ctx: Any, a: Any) -> Any:
        mask = (a > 0).to(a.dtype)
        ctx.mark_non_differentiable(mask)
        return a * mask, mask, (a > 0)

    y, mask, flags = define(lib, forward, lambda ctx, g, *rest: g).apply(leaf(lib, 1.0, -1.0))
    assert (y.requires_grad, mask.requires_grad, flags.requires_grad) == (True, False, False)


def test_an_input_written_in_place_keeps_its_identity_and_gets_the_new_history(lib: Any) -> None:
    def forward(ctx: Any, a: Any) -> Any:
        a.mul_(3)
        ctx.mark_dirty(a)
        return a

    x = leaf(lib, 1.0, 2.0)
    h = x * 1
    y = define(lib, forward, lambda ctx, g: g * 3).apply(h)
    assert y is h and h.tolist() == [3.0, 6.0] and h.grad_fn.name() == "XBackward"
    (y * y).sum().backward()
    assert x.grad.tolist() == [18.0, 36.0]


def test_a_saved_dirty_output_is_not_stale(lib: Any) -> None:
    def forward(ctx: Any, a: Any) -> Any:
        a.exp_()
        ctx.mark_dirty(a)
        ctx.save_for_backward(a)
        return a

    x = leaf(lib, 0.0, 1.0)
    define(lib, forward, lambda ctx, g: g * ctx.saved_tensors[0]).apply(x * 1).sum().backward()
    assert x.grad.tolist() == pytest.approx([1.0, np.e], rel=1e-6)  # float32


def test_returning_the_input_gives_another_tensor_with_the_functions_history(lib: Any) -> None:
    reverse = define(lib, lambda ctx, a: a, lambda ctx, g: -g)
    x = leaf(lib, 1.0)
    h = x * 1
    y = reverse.apply(h)
    assert y is not h and h.grad_fn.name() != "XBackward"
    (y * 2 + h).sum().backward()
    assert x.grad.item() == -1.0


def test_a_gradient_of_a_broadcast_shape_is_summed(lib: Any) -> None:
    x = leaf(lib, 1.0, 2.0)
    define(lib, lambda ctx, a: a * 2, lambda ctx, g: g.expand(3, 2)).apply(x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_trailing_nones_are_allowed(lib: Any) -> None:
    x = leaf(lib, 1.0)
    define(lib, lambda ctx, a: a * 2, lambda ctx, g: (g, None, None)).apply(x).sum().backward()
    assert x.grad.item() == 1.0


def test_a_function_that_saved_nothing_can_be_swept_twice(lib: Any) -> None:
    x = leaf(lib, 1.0)
    y = double(lib).apply(x)
    y.backward()
    y.backward()
    assert x.grad.item() == 4.0


def test_nothing_is_recorded_without_gradients(lib: Any) -> None:
    assert not double(lib).apply(lib.ones(2)).requires_grad
    with lib.no_grad():
        assert not double(lib).apply(leaf(lib, 1.0)).requires_grad


# errors ------------------------------------------------------------------------------------------------------------


def once(backward: Any, lib: Any) -> Any:
    return importlib.import_module(lib.__name__ + ".autograd.function").once_differentiable(backward)


ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "too many": (
        lambda lib, x: define(lib, lambda ctx, a: a * 2, lambda ctx, g: (g, g)).apply(x).sum().backward(),
        RuntimeError,
        r"function XBackward returned an incorrect number of gradients \(expected 1, got 2\)",
    ),
    "too few": (
        lambda lib, x: define(lib, lambda ctx, a, b: a * b, lambda ctx, g: g).apply(x, x).sum().backward(),
        RuntimeError,
        r"function XBackward returned an incorrect number of gradients \(expected 2, got 1\)",
    ),
    "shape": (
        lambda lib, x: define(lib, lambda ctx, a: a * 2, lambda ctx, g: lib.ones(1)).apply(x).sum().backward(),
        RuntimeError,
        r"Function XBackward returned an invalid gradient at index 0 - got \[1\] but expected shape compatible with "
        r"\[3\]",
    ),
    "no tensor": (
        lambda lib, x: define(lib, lambda ctx, a: a * 2, lambda ctx, g: 3).apply(x).sum().backward(),
        (RuntimeError, TypeError),  # PyTorch says RuntimeError
        r"expected Variable or None \(got int\)",
    ),
    "gradient of a number": (
        lambda lib, x: define(lib, lambda ctx, a, b: a * b, lambda ctx, g: (g, g)).apply(x, 2.0).sum().backward(),
        RuntimeError,
        "function XBackward returned a gradient different than None at position 2, but the corresponding forward input "
        "was not a Variable",
    ),
    "saving a number": (
        lambda lib, x: define(lib, lambda ctx, a: ctx.save_for_backward(3), None).apply(x),
        TypeError,
        "save_for_backward can only save variables, but argument 0 is of type int",
    ),
    "instance": (
        lambda lib, x: double(lib)()(x),
        RuntimeError,
        "Legacy autograd function with non-static forward method is deprecated",
    ),
    "no forward": (
        lambda lib, x: type("X", (lib.autograd.Function,), {}).apply(x),
        NotImplementedError,
        "You must implement the forward function for custom autograd.Function",
    ),
    "no backward": (
        lambda lib, x: (
            type("X", (lib.autograd.Function,), {"forward": staticmethod(lambda ctx, a: a * 2)})
            .apply(x)
            .sum()
            .backward()
        ),
        NotImplementedError,
        "You must implement either the backward or vjp method for your custom autograd.Function",
    ),
    "freed": (
        lambda lib, x: [y.sum().backward() for y in [cube(lib).apply(x)] * 2],
        RuntimeError,
        "Trying to backward through the graph a second time",
    ),
    "dirty leaf": (
        lambda lib, x: define(lib, lambda ctx, a: (ctx.mark_dirty(a), a.mul_(2))[1], None).apply(x),
        RuntimeError,
        "a leaf Variable that requires grad",
    ),
    "dirty, not returned": (
        lambda lib, x: define(lib, lambda ctx, a: (ctx.mark_dirty(a), a.mul_(2), a + 1)[2], None).apply(x * 1),
        RuntimeError,
        "Some elements marked as dirty during the forward method were not returned as output",
    ),
}


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("case", ERRORS)
def test_mistakes_are_named(lib: Any, case: str) -> None:
    run, kind, sentence = ERRORS[case]
    with pytest.raises(kind, match=sentence) as caught:
        run(lib, leaf(lib, 1.0, 1.0, 1.0))
    if lib is tg:
        assert isinstance(caught.value, tg.errors.TinygradRnnError)


def test_a_saved_value_that_was_overwritten_raises(lib: Any) -> None:
    h = leaf(lib, 1.0) * 1
    y = cube(lib).apply(h)
    h.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation.* is at version 1; expected version 0"):
        y.sum().backward()


def test_a_saved_value_that_was_overwritten_raises_in_the_second_derivative(lib: Any) -> None:
    h = leaf(lib, 2.0) * 1
    (first,) = lib.autograd.grad(cube(lib).apply(h).sum(), h, create_graph=True)
    h.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        first.sum().backward()


def test_returning_the_input_gives_memory_of_its_own() -> None:
    h = leaf(tg, 1.0) * 1
    y = define(tg, lambda ctx, a: a, lambda ctx, g: g).apply(h)
    y.mul_(5)
    assert (h.item(), y.item()) == (1.0, 5.0)  # in PyTorch this write raises


def test_differentiating_a_once_differentiable_backward_raises() -> None:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**2

    x = leaf(tg, 3.0)
    square = define(tg, forward, once(lambda ctx, g: g * 2 * ctx.saved_tensors[0], tg))
    assert tg.autograd.grad(square.apply(x).sum(), x)[0].item() == 6.0
    (first,) = tg.autograd.grad(square.apply(x).sum(), x, create_graph=True)
    assert first.item() == 6.0
    with pytest.raises(RuntimeError, match="trying to differentiate twice a function that was marked with @once"):
        first.sum().backward()  # PyTorch takes the saved value for a constant, and goes on


def test_needs_input_grad_in_backward_is_about_this_sweep() -> None:
    """So that backward can skip work; PyTorch says what was asked for in forward."""
    seen: list[Any] = []

    def backward(ctx: Any, g: Any) -> Any:
        seen.append(tuple(ctx.needs_input_grad))
        return g, g

    a, b = leaf(tg, 1.0), leaf(tg, 2.0)
    tg.autograd.grad(define(tg, lambda ctx, a, b: a + b, backward).apply(a, b), b)
    assert seen == [(False, True)]


def test_a_tensor_given_by_name_must_not_lose_its_gradient() -> None:
    with pytest.raises(TypeError, match="argument 'a' requires grad and was given by name"):
        double(tg).apply(a=leaf(tg, 1.0))


def test_writing_to_the_incoming_gradient_reaches_nobody_else() -> None:
    def backward(ctx: Any, g: Any) -> Any:
        g.mul_(100)
        return g

    x = leaf(tg, 1.0)
    h = x * 1
    seed = tg.tensor([1.0])
    (define(tg, lambda ctx, a: a * 1, backward).apply(h) + h).backward(seed)
    assert seed.item() == 1.0 and x.grad.item() == 101.0


def test_a_context_says_which_attribute_is_missing() -> None:
    y = define(tg, lambda ctx, a: a * 1, lambda ctx, g: ctx.missing).apply(leaf(tg, 1.0))
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        y.sum().backward()


def test_saved_tensors_of_the_node_until_the_sweep_frees_them() -> None:
    y = cube(tg).apply(leaf(tg, 2.0))
    assert y.grad_fn.saved_tensors[0].item() == 2.0
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        _ = y.grad_fn.saved_tensors


def test_a_rule_for_forward_mode_may_be_there_and_jvp_goes_through_backward(lib: Any) -> None:
    class Square(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            ctx.save_for_forward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 2 * ctx.saved_tensors[0] * g

        @staticmethod
        def jvp(ctx: Any, tangent: Any) -> Any:
            raise AssertionError("this is for forward mode")

    x, v = lib.tensor([1.0, 3.0]), lib.tensor([10.0, 1.0])
    value, found = lib.autograd.functional.jvp(Square.apply, x, v)
    assert value.tolist() == [1.0, 9.0] and found.tolist() == [20.0, 6.0]
    with pytest.raises(NotImplementedError, match="You must implement the jvp function for custom autograd.Function"):
        double(lib).jvp(None, v)


def test_the_message_about_a_stale_value_says_which_it_was() -> None:
    own: list[Any] = []

    def forward(ctx: Any, x: Any, k: Any) -> Any:
        y = x * 1
        own[:] = [x * 3]
        ctx.save_for_backward(x, k, y, own[0])
        return y

    def backward(ctx: Any, g: Any) -> Any:
        ctx.saved_tensors  # noqa: B018
        return g, None

    X = define(tg, forward, backward)
    for written, which in (
        (lambda x, k, y: x, "argument 0 of XBackward"),
        (lambda x, k, y: k, "argument 1 of XBackward"),
        (lambda x, k, y: y, "output 0 of XBackward"),
        (lambda x, k, y: own[0], "saved by it"),
    ):
        x, k = leaf(tg, 1.0), tg.ones(2)
        y = X.apply(x, k)
        with tg.no_grad():
            written(x, k, y).add_(1)
        with pytest.raises(
            RuntimeError, match=rf"\[torch.FloatTensor \[\d\]\], which is {which}, is at version 1; expe"
        ):
            y.sum().backward()


@pytest.mark.parametrize("touched", [False, True])
def test_an_output_keeps_the_memory_that_forward_gave_it_but_never_that_of_an_argument(touched: bool) -> None:
    inside: list[Any] = []

    def forward(ctx: Any, x: Any, other: Any) -> Any:
        inside[:] = [x * 2]
        return inside[0], x, other.reshape(1), x[:]

    X = define(tg, forward, lambda ctx, *gs: (gs[0] * 2 + gs[1] + gs[3], gs[2]))
    x, other = leaf(tg, 1.0), leaf(tg, 5.0)
    if touched:  # arguments whose writes are counted already
        _ = x._own_versions(), other._own_versions()
    results = X.apply(x, other)
    assert np.shares_memory(results[0]._data, inside[0]._data)
    for y in results:
        assert y is not x and not np.shares_memory(y._data, x._data) and not np.shares_memory(y._data, other._data)
    sum(results).backward()
    assert (x.grad.item(), other.grad.item()) == (4.0, 1.0)


def test_a_gradient_of_another_dtype_is_converted_to_that_of_its_argument(lib: Any) -> None:
    X = define(lib, lambda ctx, a, b: a.double() * b, lambda ctx, g: (g * 2, g * 3))
    a, b = leaf(lib, 1.0), lib.tensor([2.0], dtype=lib.float64, requires_grad=True)
    X.apply(a, b).sum().backward()
    assert a.grad.dtype == lib.float32 and b.grad.dtype == lib.float64
    assert (a.grad.item(), b.grad.item()) == (2.0, 3.0)


def test_a_write_to_a_dirty_argument_counts_as_one_and_reaches_its_views() -> None:
    X = define(tg, lambda ctx, a: (ctx.mark_dirty(a), a.mul_(10))[1], lambda ctx, g: g * 10)
    x = leaf(tg, 1.0, 2.0)
    y = x * 1
    square, view = (y * y).sum(), y[1:]
    assert X.apply(y) is y and y.tolist() == [10.0, 20.0]
    (y.sum() + view.sum()).backward(retain_graph=True)
    assert x.grad.tolist() == [10.0, 20.0]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        square.backward()


def test_what_is_given_by_name_reaches_forward_and_must_not_want_a_gradient() -> None:
    X = define(tg, lambda ctx, a, *, factor, shift: a * factor + shift, lambda ctx, g: g * 3)
    x = leaf(tg, 2.0)
    y = X.apply(x, factor=3.0, shift=tg.ones(1))
    y.backward()
    assert y.item() == 7.0 and x.grad.item() == 3.0
    with pytest.raises(TypeError, match="argument 'shift' requires grad and was given by name"):
        X.apply(x, factor=3.0, shift=x)


def test_first_derivatives_of_a_backward_that_leaves_the_tape_are_right_also_in_a_recorded_sweep(lib: Any) -> None:
    once = importlib.import_module(lib.__name__ + ".autograd.function").once_differentiable
    for backward, expected in (
        (lambda ctx, g: (g.detach() * 2, g.detach() * 3), (2.0, 3.0)),
        (lambda ctx, g: (g.detach() * 2, None), (2.0, None)),
    ):
        a, b = leaf(lib, 1.0), leaf(lib, 1.0)
        y = define(lib, lambda ctx, a, b: a * 2 + b * 3, once(backward)).apply(a, b)
        found = lib.autograd.grad(y.sum(), (a, b), create_graph=True, allow_unused=True)
        assert tuple([None if g is None else g.item() for g in found]) == expected
        if lib is tg:  # in PyTorch the gradient has no history where the cotangent has none
            with pytest.raises(RuntimeError, match="marked with @once_differentiable"):
                lib.autograd.grad(found[0].sum(), a)
    a = leaf(lib, 1.0)
    y = define(lib, lambda ctx, a: a * 2, once(lambda ctx, g: g * 2)).apply(a)
    assert lib.autograd.grad(y, a, create_graph=True)[0].item() == 2.0


def test_a_hook_sees_none_for_what_no_gradient_was_asked_of(lib: Any) -> None:
    seen: list[Any] = []
    a, b = leaf(lib, 2.0), leaf(lib, 3.0)
    y = define(lib, lambda ctx, a, b: a * b, lambda ctx, g: (g * 3, g * 2)).apply(a, b)
    y.grad_fn.register_hook(lambda gi, go: seen.append([None if g is None else g.item() for g in gi]))
    lib.autograd.grad(y, a, retain_graph=True)
    lib.autograd.grad(y, (a, b))
    assert seen[-1] == [3.0, 2.0] and (lib is not tg or seen[0] == [3.0, None])


def test_a_backward_that_leaves_the_tape_runs_unrecorded(lib: Any) -> None:
    once = importlib.import_module(lib.__name__ + ".autograd.function").once_differentiable
    seen: list[bool] = []
    X = define(lib, lambda ctx, a: a * 2, once(lambda ctx, g: (seen.append(lib.is_grad_enabled()), g * 2)[1]))
    a = leaf(lib, 1.0)
    for recorded in (False, True):
        lib.autograd.grad(X.apply(a), a, create_graph=recorded)
    assert seen == [False, False] and lib.is_grad_enabled()


def test_a_gradient_is_summed_over_the_axes_along_which_its_argument_was_broadcast(lib: Any) -> None:
    a, b = lib.ones(1, 3, requires_grad=True), lib.ones(3, requires_grad=True)
    X = define(lib, lambda ctx, a, b: a * lib.ones(2, 3) + b, lambda ctx, g: (g, g))
    X.apply(a, b).backward(lib.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]))
    assert a.grad.tolist() == [[11.0, 22.0, 33.0]] and b.grad.tolist() == [11.0, 22.0, 33.0]


def test_a_function_may_have_a_formula() -> None:
    class Double(tg.autograd.Function):
        formula = tg.autograd.Formula("2 x", x=r"2 \bar{y}")

        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return 2 * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 2 * g

    class Shifted(Double):
        formula = None

    y, z = Double.apply(tg.ones(1, requires_grad=True)), Shifted.apply(tg.ones(1, requires_grad=True))
    assert y._node.primitive.formula.vjps == {"x": r"\bar{x} = 2 \bar{y}"}
    assert z._node.primitive.formula is None


def test_a_part_of_an_output_that_was_saved_is_watched() -> None:
    def forward(ctx: Any, x: Any) -> Any:
        y = x * 2
        ctx.save_for_backward(y[:1])
        return y

    y = define(tg, forward, lambda ctx, g: g * ctx.saved_tensors[0]).apply(leaf(tg, 1.0, 2.0))
    y.add_(1)
    with pytest.raises(RuntimeError, match="which is saved by it, is at version 1; expected version 0"):
        y.sum().backward()
