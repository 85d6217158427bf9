"""Laws of the operations that no comparison with another library shows."""

from __future__ import annotations

import builtins
import copy
import importlib
import pkgutil
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.ops.methods import METHODS
from tinygrad_rnn.tape.apply import primitive
from tinygrad_rnn.tape.primitive import REGISTRY


def zeroed(f: Any) -> int:
    """How many bytes of zeros a function asks for: what the adjoint of reading starts from."""
    asked = 0

    def counting(make: Any) -> Any:
        def zeros(*args: Any, **kwargs: Any) -> Any:
            nonlocal asked
            out = make(*args, **kwargs)
            asked += out.nbytes
            return out

        return zeros

    with pytest.MonkeyPatch.context() as patch:
        for name in ("zeros", "zeros_like"):
            patch.setattr(np, name, counting(getattr(np, name)))
        f()
    return asked


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: tg.unbind(x), lambda x: list(x), lambda x: tg.split(x, 1), lambda x: tg.chunk(x, len(x)),
        lambda x: [x[t] for t in range(len(x))], lambda x: [x.select(0, t) for t in range(len(x))],
        lambda x: [x.narrow(0, t, 1) for t in range(len(x))], lambda x: tg.tensor_split(x, len(x)),
    ],
)  # fmt: skip
def test_cutting_into_steps_costs_the_steps_and_not_their_square(cut: Any) -> None:
    x = tg.zeros(200, 8, requires_grad=True)
    total = sum((piece * piece * piece).sum() for piece in cut(x))
    assert 0 < zeroed(lambda: total.backward(retain_graph=True)) <= x.nbytes, "x was filled for every piece of it"
    (g,) = tg.autograd.grad(total, x, create_graph=True)
    recorded = zeroed(lambda: tg.autograd.grad(total, x, create_graph=True))
    assert recorded <= x.nbytes, "a recorded backward pass fills the whole of x for every piece of it"
    assert 0 < zeroed(lambda: (g * g).sum().backward()) <= 2 * x.nbytes
    np.testing.assert_array_equal(x.grad.numpy(), 0)


def test_recorded_parts_and_whole_contributions_sum_up_whatever_their_order() -> None:
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        x = tg.tensor([2.0, 3.0, 5.0], dtype=tg.float64, requires_grad=True)
        terms = [lambda x: x[0] ** 3, lambda x: (x**3).sum(), lambda x: (x[[1, 1]] ** 3).sum()]
        total = sum(terms[k](x) for k in order)
        (g,) = tg.autograd.grad(total, x, create_graph=True)
        assert g.tolist() == [2 * 12, 3 * 27, 75]
        (h,) = tg.autograd.grad(g.sum(), x)
        assert h.tolist() == [2 * 12, 3 * 18, 30]


def test_infinities_and_nan_are_results_without_warnings_in_every_thread() -> None:
    def compute() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            big = tg.tensor([3e38, -3e38, 0.0], requires_grad=True)
            y = (big * 10).exp() + big.log() + 1 / big + big.sqrt() + (big - big) / (big - big) + big**-2
            y.sum().backward()
            (big.detach() == tg.tensor(np.nan)) | (big.detach().to(tg.int32) > 0)
            tg.softmax(big * np.inf, 0), tg.var(big), tg.mean(big[:0]), tg.cumprod(big * 1e10, 0), tg.norm(big)
        errors.append(None)

    errors: list[Any] = []
    for thread in [threading.Thread(target=compute) for _ in range(2)]:
        thread.start()
        thread.join()
    compute()
    assert len(errors) == 3, "a thread was warned"


def test_the_users_way_to_treat_floating_point_errors_is_left_alone() -> None:
    with np.errstate(all="raise"):
        assert tg.tensor([3e38]).mul(10).item() == np.inf
        with pytest.raises(FloatingPointError):
            np.float32(3e38) * np.float32(10)


def test_an_operation_inside_a_forward_is_quiet_too() -> None:
    twice = primitive("applies_operations_itself", lambda a: (tg.from_numpy(a) * 2)._data * 1e300, lambda g, y, a: g)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert twice(tg.tensor([1e300], dtype=tg.float64)).item() == np.inf
    finally:
        del REGISTRY["applies_operations_itself"]


def test_two_primitives_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="there is a primitive 'tanh' already"):
        primitive("tanh", np.tanh, lambda g, y, a: g)


NAMES = """abs all any allclose amax amin argmax argmin argsort baddbmm bernoulli bmm chunk clamp clip clone
contiguous cos cummax cumprod cumsum diag diagonal dot equal exp expand expm1 flatten flip floor
ceil round trunc gather index_add index_select isfinite isnan log log1p log2 log10 logaddexp
logsumexp masked_fill masked_select masked_scatter matmul max maximum mean median min minimum mm
movedim multinomial mv narrow nonzero norm numel outer permute pow prod reciprocal relu repeat
repeat_interleave reshape roll rsqrt scatter scatter_add select sigmoid sign sin sinh cosh size
softmax sort split sqrt square squeeze std sub sum swapaxes t T take take_along_dim tan tanh tile to
tolist topk transpose tril triu type unbind unfold unique unsqueeze var view view_as where item
numpy new_zeros new_ones new_full new_empty new_tensor""".split()
FUNCTIONS = """arange cat einsum empty eye full linspace ones rand randint randn randperm softplus stack tensordot
zeros zeros_like ones_like full_like empty_like rand_like randn_like randint_like""".split()


def test_every_name_is_a_method_or_a_function() -> None:
    assert [name for name in NAMES if not hasattr(tg.Tensor, name)] == []
    assert [name for name in FUNCTIONS if not hasattr(tg, name)] == []
    only_methods = set("contiguous size T to tolist type view view_as item numpy".split())
    assert [n for n in NAMES if not hasattr(tg, n) and n not in only_methods and not n.startswith("new_")] == []


def test_every_function_says_what_it_does() -> None:
    silent = [name for name in tg.ops.__all__ if callable(getattr(tg, name)) and not getattr(tg, name).__doc__]
    assert silent == []
    assert [name for name, f in METHODS.items() if not name.startswith("__") and callable(f) and not f.__name__] == []


def test_the_package_does_not_shadow_what_it_did_not_mean_to() -> None:
    assert not {"np", "Any", "annotations", "Value", "methods", "plain", "kernels"} & set(tg.ops.__all__)


@pytest.mark.parametrize("shape", [(1,), (0,), (1, 3)])
def test_a_variance_without_degrees_of_freedom_is_nan_and_warns(shape: tuple[int, ...]) -> None:
    with pytest.warns(UserWarning, match=r"^var\(\): degrees of freedom is <= 0"):
        assert tg.var(tg.ones(shape), 0).isnan().all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_mean_over_nothing_is_nan_without_a_warning(dtype: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tg.zeros(0, dtype=dtype).mean().isnan().all()


def test_a_mean_of_float16_is_finite_where_their_sum_is_not() -> None:
    assert tg.full((4,), 60000.0, dtype="float16").mean().item() == 60000


def test_a_copy_of_a_leaf_is_a_leaf_of_its_own() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    twin = copy.deepcopy({"w": w, "again": w})
    assert twin["w"] is twin["again"] and twin["w"].requires_grad and twin["w"].is_leaf
    assert twin["w"].grad.tolist() == [2, 4] and twin["w"].grad is not w.grad
    (twin["w"] * 3).sum().backward()
    assert w.grad.tolist() == [2, 4] and twin["w"].grad.tolist() == [5, 7]


def test_view_shares_memory_or_refuses() -> None:
    x = tg.zeros(2, 3)
    x.view(6)[0] = 5
    assert x[0, 0].item() == 5
    x.t().reshape(6)[1] = 7  # a copy
    assert x[1, 0].item() == 0


def test_numbers_of_an_index_are_taken_first_in_reading_and_in_writing() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for t in (tg, torch):
        x, v = t.ones(2, 3, 4, requires_grad=True), t.arange(6.0).reshape(3, 2).requires_grad_()
        y = x * 1
        y[0, :, [2, 1]] = v
        assert y[0, :, [2, 1]].tolist() == v.tolist()
        (y * t.arange(24.0).reshape(2, 3, 4)).sum().backward()
        found.append((y.tolist(), x.grad.tolist(), v.grad.tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize("f", [lambda x: x.clone(), lambda x: x.flip(0), lambda x: x.roll(0), lambda x: x.repeat(1, 1)])
def test_copies_are_copies(f: Any) -> None:
    x = tg.zeros(2, 3)
    y = f(x)
    y[0, 0] = 1
    assert x[0, 0].item() == 0


def test_a_scatter_of_two_values_to_one_place_gives_the_gradient_to_the_one_that_stays() -> None:
    source = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = tg.zeros(2).scatter(0, tg.tensor([0, 0, 1]), source)
    (y * tg.tensor([10.0, 100.0])).sum().backward()
    assert y.tolist() == [2, 3] and source.grad.tolist() == [0, 10, 100]


@pytest.mark.parametrize("product", [lambda x: tg.cumprod(x, 0)[-1], lambda x: tg.prod(x)])
def test_higher_derivatives_of_products_are_accurate_beside_zeros(product: Callable[[tg.Tensor], tg.Tensor]) -> None:
    """From ``y / a`` they would be differences of terms as large as ``y / a^2``: here 1e9 and more."""
    a, b, c = 1 / 3, 1.1e-9, 0.7
    hessian = tg.autograd.functional.hessian(product, tg.tensor([a, b, c], dtype=tg.float64))
    np.testing.assert_allclose(hessian.numpy(), [[0, c, b], [c, 0, a], [b, a, 0]], rtol=1e-14, atol=1e-20)


def test_third_derivatives_of_products_with_zeros_are_exact() -> None:
    x = tg.tensor([2.0, 0.0, 0.0, 5.0], dtype=tg.float64, requires_grad=True)
    y = tg.cumprod(x, 0)[3]  # a b c d
    for k, expected in ((1, 0.0), (2, 10.0)):  # d/db is a c d = 0, then d/dc of that is a d
        (g,) = tg.autograd.grad(y, x, create_graph=True)
        y = g[k]
        assert y.item() == expected
    (g,) = tg.autograd.grad(y, x)
    assert g.tolist() == [5, 0, 0, 2]


def test_a_size_printed_in_a_named_tuple_reads_as_in_pytorch() -> None:
    result = tg.max(tg.tensor([[1.0, 3.0]]), 1)
    assert repr(result) == "torch.return_types.max(\nvalues=tensor([3.]),\nindices=tensor([1]))"
    values, indices = result
    assert values is result.values and indices is result[1]


def test_random_tensors_are_pytorchs_and_take_a_generator() -> None:
    torch = pytest.importorskip("torch")
    for expression in [
        "rand(2, 3)", "randn(20)", "randn((3,))", "randint(10, (5,))", "randint(-3, 4, (2, 2))", "randperm(6)",
        "rand_like(t.zeros(2))", "randn_like(t.zeros(3))", "randint_like(t.zeros(3), 5)", "normal(0., 2., (3,))",
        "normal(t.zeros(3), t.ones(3))", "normal(t.ones(3), 0.5)", "bernoulli(t.full((4,), 0.5))",
        "multinomial(t.tensor([0.1, 0.2, 0.7]), 2)", "zeros(4).bernoulli_(0.5)", "ones(3).multinomial(2)",
    ]:  # fmt: skip
        found = []
        for t in (tg, torch):
            t.manual_seed(3)
            found.append(eval(f"t.{expression}", {"t": t}))
        assert str(found[0].dtype) == str(found[1].dtype)
        np.testing.assert_allclose(found[0].numpy(), found[1].numpy(), 1e-6, err_msg=expression)
    g = tg.Generator().manual_seed(5)
    assert tg.rand(3, generator=g).tolist() != tg.rand(3, generator=g).tolist()
    assert tg.rand(3, generator=g.manual_seed(5)).tolist() == tg.rand(3, generator=g.manual_seed(5)).tolist()


def test_within_the_files_of_ops_the_names_of_builtins_are_the_builtins() -> None:
    """PyTorch's ``sum``, ``abs``, ``all`` ... are given by the package alone, and as methods."""
    files = [
        importlib.import_module(f"{tg.ops.__name__}.{found.name}") for found in pkgutil.iter_modules(tg.ops.__path__)
    ]
    hidden = [
        f"{file.__name__}.{name}"
        for file in files
        for name, value in vars(file).items()
        if not name.startswith("__") and hasattr(builtins, name) and value is not getattr(builtins, name)
    ]
    assert len(files) > 30 and hidden == []
    for name in ("abs", "all", "any", "max", "min", "pow", "round", "sum"):
        assert name in tg.ops.__all__ and name in METHODS and getattr(tg, name).__name__ == name
