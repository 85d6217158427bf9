"""Products with the Jacobian and the Hessian, and the matrices: values known by hand, in PyTorch's structures."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


@pytest.fixture
def fn(lib: Any) -> Any:
    return importlib.import_module(lib.__name__ + ".autograd.functional")


def values(x: Any) -> Any:
    return tuple(values(item) for item in x) if isinstance(x, tuple) else x.tolist()


def test_vjp_and_jvp_of_a_square(lib: Any, fn: Any) -> None:
    x, v = lib.tensor([1.0, 2.0, 3.0]), lib.tensor([1.0, 10.0, 100.0])
    assert values(fn.vjp(lambda x: x * x, x, v)) == ([1.0, 4.0, 9.0], [2.0, 40.0, 600.0])
    assert values(fn.jvp(lambda x: x * x, x, v)) == ([1.0, 4.0, 9.0], [2.0, 40.0, 600.0])


def test_structures_follow_inputs_and_outputs(lib: Any, fn: Any) -> None:
    a, b = lib.tensor([1.0, 2.0]), lib.tensor(3.0)
    f = lambda a, b: (a * b, (a * a).sum())  # noqa: E731
    assert values(fn.vjp(f, (a, b), (lib.ones(2), lib.tensor(1.0)))[1]) == ([5.0, 7.0], 3.0)
    assert values(fn.jvp(f, (a, b), (lib.ones(2), lib.tensor(1.0)))[1]) == ([4.0, 5.0], 6.0)
    assert values(fn.jacobian(f, (a, b))) == (([[3.0, 0.0], [0.0, 3.0]], [1.0, 2.0]), ([2.0, 4.0], 0.0))
    assert values(fn.jacobian(lambda a: (a * 2,), (a,))) == (([[2.0, 0.0], [0.0, 2.0]],),)
    g = lambda a, b: (a * a).sum() * b  # noqa: E731
    assert values(fn.hessian(g, (a, b))) == (([[6.0, 0.0], [0.0, 6.0]], [2.0, 4.0]), ([2.0, 4.0], 0.0))
    assert values(fn.hvp(g, (a, b), (lib.ones(2), lib.tensor(1.0)))) == (15.0, ([8.0, 10.0], 6.0))
    assert values(fn.vhp(g, (a, b), (lib.ones(2), lib.tensor(1.0)))) == (15.0, ([8.0, 10.0], 6.0))


def test_jacobian_has_the_shapes_of_output_and_input(lib: Any, fn: Any) -> None:
    x = lib.ones(2, 3)
    assert tuple(fn.jacobian(lambda x: x.sum(0), x).shape) == (3, 2, 3)
    assert tuple(fn.hessian(lambda x: (x * x).sum(), x).shape) == (2, 3, 2, 3)


def test_results_have_no_history_unless_it_is_asked_for(lib: Any, fn: Any) -> None:
    x = lib.tensor([1.0, 2.0], requires_grad=True)
    v = lib.ones(2)
    cube = lambda x: x**3  # noqa: E731
    total = lambda x: (x**3).sum()  # noqa: E731
    for create in (False, True):
        results = [
            *fn.vjp(cube, x, v, create_graph=create),
            *fn.jvp(cube, x, v, create_graph=create),
            fn.jacobian(cube, x, create_graph=create),
            fn.hessian(total, x, create_graph=create),
            *fn.hvp(total, x, v, create_graph=create),
            *fn.vhp(total, x, v, create_graph=create),
        ]
        assert [r.requires_grad for r in results] == [create] * len(results)


def test_results_with_history_differentiate_by_the_original_inputs(lib: Any, fn: Any) -> None:
    x = lib.tensor([2.0], requires_grad=True)
    hessian = fn.hessian(lambda x: (x**4).sum(), x, create_graph=True)  # 12 x^2
    assert lib.autograd.grad(hessian.sum(), x)[0].item() == 48.0


def test_independent_outputs_give_zeros(lib: Any, fn: Any) -> None:
    x, v = lib.tensor([1.0, 2.0]), lib.ones(2)
    constant = lambda x: lib.ones(2)  # noqa: E731
    assert values(fn.vjp(constant, x, v)[1]) == values(fn.jvp(constant, x, v)[1]) == [0.0, 0.0]
    assert values(fn.jacobian(constant, x)) == [[0.0, 0.0], [0.0, 0.0]]
    assert values(fn.hessian(lambda x: x.sum(), x)) == [[0.0, 0.0], [0.0, 0.0]]


def test_the_inputs_are_left_alone(lib: Any, fn: Any) -> None:
    x = lib.tensor([1.0], requires_grad=True)
    fn.jacobian(lambda x: x * x, x)
    assert x.grad is None


ERRORS: dict[str, tuple[Any, Any, str]] = {
    "vjp without v": (
        lambda lib, fn, x: fn.vjp(lambda x: x * x, x),
        RuntimeError,
        "The vector v can only be None if the user-provided function returns a single Tensor with a single element",
    ),
    "jvp without v": (
        lambda lib, fn, x: fn.jvp(lambda x: x * x, x),
        RuntimeError,
        "The vector v can only be None if the input to the user-provided function is a single Tensor with a single",
    ),
    "hvp without v": (
        lambda lib, fn, x: fn.hvp(lambda x: x.sum(), x),
        RuntimeError,
        "The vector v can only be None if the input to the user-provided function is a single Tensor with a single",
    ),
    "size of v": (
        lambda lib, fn, x: fn.vjp(lambda x: x * x, x, lib.ones(2)),
        RuntimeError,
        r"v has invalid size: should be torch.Size\(\[3\]\) but got torch.Size\(\[2\]\)",
    ),
    "size of an entry of v": (
        lambda lib, fn, x: fn.jvp(lambda x, y: x * y, (x, x), (x, lib.ones(2))),
        RuntimeError,
        r"Entry 1 in v has invalid size: should be torch.Size\(\[3\]\) but got torch.Size\(\[2\]\)",
    ),
    "two for one": (
        lambda lib, fn, x: fn.vjp(lambda x: x * x, x, (x, x)),
        RuntimeError,
        "The given v should contain a single Tensor",
    ),
    "length of v": (
        lambda lib, fn, x: fn.jvp(lambda x, y: x * y, (x, x), (x,)),
        RuntimeError,
        "v is a tuple of invalid length: should be 2 but got 1",
    ),
    "input": (
        lambda lib, fn, x: fn.vjp(lambda x: x, 3.0),
        TypeError,
        "The inputs given to vjp must be either a Tensor or a tuple of Tensors but the given inputs has type "
        "<class 'float'>",
    ),
    "one of the inputs": (
        lambda lib, fn, x: fn.jacobian(lambda x, y: x, (x, 3.0)),
        TypeError,
        "The inputs given to jacobian must be either a Tensor or a tuple of Tensors but the value at index 1 has type",
    ),
    "output": (
        lambda lib, fn, x: fn.jvp(lambda x: 3, x, x),
        TypeError,
        "The outputs of the user-provided function given to jvp must be either a Tensor or a tuple of Tensors but the "
        "given outputs of the user-provided function has type <class 'int'>",
    ),
    "hessian of a vector": (
        lambda lib, fn, x: fn.hessian(lambda x: x * x, x),
        RuntimeError,
        "The Tensor returned by the function given to hessian should contain a single element",
    ),
    "hessian of a tuple": (
        lambda lib, fn, x: fn.hessian(lambda x: (x.sum(), x.sum()), x),
        RuntimeError,
        "The function given to hessian should return a single Tensor",
    ),
    "strict, constant": (
        lambda lib, fn, x: fn.jacobian(lambda x: lib.ones(2), x, strict=True),
        RuntimeError,
        "Output 0 of the user-provided function does not require gradients",
    ),
    "strict, unused input": (
        lambda lib, fn, x: fn.vjp(lambda x, y: x * 1, (x, x), x, strict=True),
        RuntimeError,
        "The output of the user-provided function is independent of input 1. This is not allowed in strict mode",
    ),
    "strict, linear": (
        lambda lib, fn, x: fn.jvp(lambda x: x * 2, x, x, strict=True, create_graph=True),
        RuntimeError,
        "The jacobian of the user-provided function is independent of input 0",
    ),
    "strict, linear hessian": (
        lambda lib, fn, x: fn.hessian(lambda x: x.sum(), x, strict=True),
        RuntimeError,
        "found that the jacobian of the user-provided function with respect to input 0 is independent of the input",
    ),
    "strict, linear product": (
        lambda lib, fn, x: fn.hvp(lambda x: x.sum(), x, x, strict=True),
        RuntimeError,
        "found that the jacobian of the user-provided function with respect to input 0 is independent of the input",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_mistakes_are_named(lib: Any, fn: Any, case: str) -> None:
    run, kind, sentence = ERRORS[case]
    with pytest.raises(kind, match=sentence):
        run(lib, fn, lib.tensor([1.0, 2.0, 3.0]))


# ours alone --------------------------------------------------------------------------------------------------------


def layer(x: Any, w: Any) -> Any:
    h = tg.zeros(w.shape[0], dtype=x.dtype)
    for t in range(x.shape[0]):
        h = tg.tanh(w @ h + x[t])
    return h


def test_rows_and_columns_give_one_jacobian() -> None:
    tg.manual_seed(0)
    x, w = tg.tensor(np.linspace(-1, 1, 6).reshape(3, 2)), tg.tensor([[0.5, -0.3], [0.2, 0.9]], dtype=tg.float64)
    rows = tg.autograd.functional.jacobian(layer, (x, w))
    columns = tg.autograd.functional.jacobian(layer, (x, w), strategy="forward-mode")
    for row, column in zip(rows, columns, strict=True):
        assert abs(row.numpy()).max() > 0.1
        np.testing.assert_allclose(row.numpy(), column.numpy(), rtol=1e-12, atol=1e-15)  # other order of sums


def test_jvp_and_vjp_are_adjoint_through_a_fused_layer() -> None:
    tg.manual_seed(0)
    lstm = tg.nn.LSTM(2, 3, dtype=tg.float64)
    rng = np.random.default_rng(0)
    x, u, v = (tg.tensor(rng.standard_normal(shape)) for shape in ((4, 1, 2), (4, 1, 2), (4, 1, 3)))
    f = lambda x: lstm(x)[0]  # noqa: E731
    left = (v * tg.autograd.functional.jvp(f, x, u)[1]).sum().item()
    right = (u * tg.autograd.functional.vjp(f, x, v)[1]).sum().item()
    assert abs(left) > 1e-3
    assert left == pytest.approx(right, rel=1e-12)  # float64, some hundred roundings


def test_hvp_is_the_product_with_the_hessian() -> None:
    rng = np.random.default_rng(0)
    x, v = tg.tensor(rng.standard_normal(4)), tg.tensor(rng.standard_normal(4))
    f = lambda x: (tg.tanh(x).cumsum(0) * x.exp()).sum()  # noqa: E731
    product = tg.autograd.functional.hvp(f, x, v)[1].numpy()
    np.testing.assert_allclose(product, tg.autograd.functional.hessian(f, x).numpy() @ v.numpy(), rtol=1e-12)
    np.testing.assert_allclose(product, tg.autograd.functional.vhp(f, x, v)[1].numpy(), rtol=0)


def test_empty_inputs_and_outputs() -> None:
    x = tg.zeros(0)
    assert tg.autograd.functional.jacobian(lambda x: x * 2, x).shape == (0, 0)
    assert tg.autograd.functional.jacobian(lambda x: x.sum().reshape(1), x).shape == (1, 0)
    assert tg.autograd.functional.jacobian(lambda x: x.sum().reshape(1), x, strategy="forward-mode").shape == (1, 0)


def test_a_strategy_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="Expected strategy to be either"):
        tg.autograd.functional.jacobian(lambda x: x, tg.ones(1), strategy="sideways")


@pytest.mark.parametrize("name", ["vjp", "jvp", "jacobian", "hvp", "vhp"])
def test_messages_name_the_function_that_was_called(name: str) -> None:
    f, x = getattr(tg.autograd.functional, name), tg.ones(2)
    options = {} if name == "jacobian" else {"v": x}
    for call, what, found in (
        (lambda: f(lambda x: x, 3.0, **options), "inputs", "given inputs has type <class 'float'>"),
        (lambda: f(lambda x: "s", x, **options), "outputs of the user-provided function", "given outputs of the"),
        (lambda: f(lambda x: (x, 1), x, **options), "outputs of the user-provided function", "value at index 1 has"),
        (lambda: f(lambda x: x.sum(), x, v="v"), "v", "given v has type <class 'str'>"),
    ):
        if what == "v" and name == "jacobian":
            continue
        with pytest.raises(TypeError) as caught:
            call()
        said = f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but the {found}"
        assert str(caught.value).startswith(said)


def test_a_direction_may_be_left_out_for_one_entry_and_for_nothing_else(lib: Any, fn: Any) -> None:
    one, two = lib.tensor([3.0]), lib.tensor([1.0, 2.0])
    assert values(fn.vjp(lambda x: (x * x).sum(), two)) == (5.0, [2.0, 4.0])
    assert values(fn.jvp(lambda x: x * x, one)) == ([9.0], [6.0])
    assert values(fn.hvp(lambda x: (x**3).sum(), one)) == values(fn.vhp(lambda x: (x**3).sum(), one)) == (27.0, [18.0])
    for call in (
        lambda: fn.vjp(lambda x: (x.sum(), x.sum()), one),
        lambda: fn.vjp(lambda x: x, two),
        lambda: fn.jvp(lambda x, y: x * y, (one, one)),
        lambda: fn.hvp(lambda x, y: (x * y).sum(), (one, one)),
        lambda: fn.vhp(lambda x: x.sum(), two),
    ):
        with pytest.raises(RuntimeError, match="The vector v can only be None if the"):
            call()


def test_by_default_results_have_no_history_and_what_is_independent_gives_zeros(lib: Any, fn: Any) -> None:
    x, v = lib.tensor([1.0, 2.0], requires_grad=True), lib.ones(2)
    linear, constant = lambda x: x.sum(), lambda x: lib.ones(2)
    found = [fn.vjp(lambda x: x * 2, x, v)[1], fn.jvp(lambda x: x * 2, x, v)[1], fn.jacobian(lambda x: x * 2, x)]
    zeros = [fn.hessian(linear, x), fn.hvp(linear, x, v)[1], fn.vhp(linear, x, v)[1]]
    zeros += [fn.vjp(constant, x, v)[1], fn.jvp(constant, x, v)[1], fn.jacobian(constant, x)]
    assert not any(item.requires_grad for item in found + zeros)
    assert [bool((item != 0).any()) for item in found + zeros] == [True] * 3 + [False] * 6


def test_strict_alone_asks_for_dependence_of_the_outputs_not_of_the_jacobian(lib: Any, fn: Any) -> None:
    x = lib.tensor([1.0, 2.0])
    assert values(fn.jvp(lambda x: x * 2, x, x, strict=True)[1]) == [2.0, 4.0]
    assert values(fn.jacobian(lambda x: x * 2, x, strict=True)) == [[2.0, 0.0], [0.0, 2.0]]


@pytest.mark.parametrize(("strategy", "least", "most"), [("reverse-mode", 20, 20), ("forward-mode", 1, 3)])
def test_a_strategy_sweeps_once_for_each_output_or_input(strategy: str, least: int, most: int) -> None:
    sweeps: list[int] = []

    class Spread(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * tg.ones(20)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            sweeps.append(1)
            return g.sum().reshape(1)

    found = tg.autograd.functional.jacobian(Spread.apply, tg.ones(1), strategy=strategy)
    assert found.tolist() == [[1.0]] * 20 and least <= len(sweeps) <= most
