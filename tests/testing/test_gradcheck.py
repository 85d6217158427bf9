"""gradcheck: accepts right gradients, refuses wrong ones, and says what is wrong with them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.wrong import times
from tinygrad_rnn.autograd import GradcheckError, gradcheck, gradgradcheck
from tinygrad_rnn.errors import ArgumentError, TinygradRnnError
from tinygrad_rnn.tape.apply import primitive
from tinygrad_rnn.tape.primitive import REGISTRY, Primitive

METHODS = ["central", "extrapolated", "complex", "auto"]


def leaf(*values: Any) -> tg.Tensor:
    return tg.tensor(np.array(values), dtype=tg.float64, requires_grad=True)


W = np.array([[0.5, -1.2], [0.3, 0.8], [-0.7, 0.2]])


def two_outputs(x: tg.Tensor, w: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
    h = tg.tanh(x @ w.T)
    e = h.exp()  # softmax itself refuses complex numbers, as PyTorch's does
    return (h * h).sum(), e / e.sum(0)


def inputs() -> list[tg.Tensor]:
    return [leaf(0.1, -0.7), tg.tensor(W, dtype=tg.float64, requires_grad=True)]


@pytest.fixture
def scrap() -> Any:
    """Primitives declared in a test leave the registry with it."""
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


# right gradients pass ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_right_gradients_pass(method: str, fast_mode: bool) -> None:
    assert gradcheck(two_outputs, inputs(), method=method, fast_mode=fast_mode, check_forward_ad=True)
    assert gradgradcheck(two_outputs, inputs(), method=method, fast_mode=fast_mode)


@pytest.mark.parametrize("method", ["extrapolated", "complex", "auto"])
def test_the_finer_methods_hold_at_tolerances_that_plain_differences_cannot_reach(method: str) -> None:
    assert gradcheck(two_outputs, inputs(), method=method, rtol=1e-9, atol=1e-11)
    assert not gradcheck(two_outputs, inputs(), method="central", rtol=1e-12, atol=1e-13, raise_exception=False)


def test_inputs_are_put_back_bit_by_bit_even_after_a_failure() -> None:
    x = leaf(0.1, 1e-300, -0.0)
    before = x.numpy(force=True).tobytes()
    assert gradcheck(lambda x: x * x, x)
    assert not gradcheck(lambda x: x.detach() * x, x, raise_exception=False)
    with pytest.raises(ZeroDivisionError):
        gradcheck(lambda x: (x * x, 1 / 0)[0], x)
    assert x.numpy(force=True).tobytes() == before


def test_parameters_reached_through_a_closure_are_moved() -> None:
    w = leaf(0.3, 0.4)
    assert gradcheck(lambda *_: tg.tanh(w * w), w)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 0), (2, 3)])
def test_every_shape_passes(shape: tuple[int, ...]) -> None:
    x = tg.tensor(np.linspace(-1, 1, int(np.prod(shape))).reshape(shape), dtype=tg.float64, requires_grad=True)
    assert gradcheck(lambda x: x * x, x) and gradgradcheck(lambda x: x * x * x, x)


def test_non_contiguous_inputs_and_cotangents_pass() -> None:
    x = leaf(*np.arange(12.0).reshape(3, 4) / 7)
    view = tg.tensor(np.arange(12.0).reshape(3, 4) / 7, dtype=tg.float64).T.requires_grad_()
    assert gradcheck(lambda x: tg.tanh(x).sum(0), view)
    assert gradgradcheck(tg.tanh, x, gen_non_contig_grad_outputs=True)


def test_given_cotangents_are_used() -> None:
    assert gradgradcheck(tg.tanh, leaf(0.1, 0.2), leaf(1.0, -2.0))
    assert gradgradcheck(two_outputs, inputs(), [leaf(1.0)[0].detach().requires_grad_(), leaf(1.0, -2.0, 0.5)])


def test_inputs_that_are_no_tensors_are_passed_on() -> None:
    assert gradcheck(lambda x, factor, name: x * factor, [leaf(1.0), 3, "a name"])


# PyTorch's checks, with PyTorch's sentences ------------------------------------------------------------------------


def test_no_input_requires_grad() -> None:
    with pytest.raises(ValueError, match="gradcheck expects at least one input tensor to require gradient"):
        gradcheck(tg.tanh, tg.tensor([1.0], dtype=tg.float64))


def test_single_precision_is_warned_about() -> None:
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double precision floating point"):
        gradcheck(tg.tanh, tg.tensor([1.0], requires_grad=True), eps=1e-2, atol=1e-2)


def test_overlapping_memory_is_refused() -> None:
    x = tg.tensor([1.0], dtype=tg.float64).expand(3).requires_grad_()
    with pytest.raises(RuntimeError, match="The 0th input has a dimension with stride 0"):
        gradcheck(tg.tanh, x)


def test_an_output_off_the_tape_must_not_depend_on_the_inputs() -> None:
    with pytest.raises(GradcheckError, match="Numerical gradient for function expected to be zero"):
        gradcheck(lambda x: x.detach() * 2, leaf(1.0))
    assert gradcheck(lambda x: (x * 2, x.detach() * 0), leaf(1.0))


def test_a_vjp_that_ignores_its_cotangent(scrap: Any) -> None:
    bad = primitive("ignores_g", lambda a: a * 2.0, lambda g, y, a: g * 0 + 2)
    x = leaf(1.0)
    with pytest.raises(GradcheckError, match="backward not multiplied by grad_output"):
        gradcheck(bad, x)


def test_a_vjp_that_gives_another_result_each_time(scrap: Any) -> None:
    calls = iter(range(1000))
    bad = primitive("drifts", lambda a: a * 2.0, lambda g, y, a: g * (2 + 1e-9 * next(calls)))
    with pytest.raises(GradcheckError, match="Backward is not reentrant"):
        gradcheck(bad, leaf(1.0))
    assert gradcheck(bad, leaf(1.0), nondet_tol=1e-6)


def test_a_function_that_draws_random_numbers() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match=r"func is not deterministic: called twice .* output 0 differs by up to"):
        gradcheck(lambda x: x * float(rng.random()), leaf(1.0))


def test_a_function_whose_outputs_are_others_on_both_sides() -> None:
    with pytest.raises(ArgumentError, match=r"shapes \[\(1,\)\] on one side .* and \[\(0,\)\] on the other"):
        gradcheck(lambda x: x[x > 0] * 2, leaf(0.0))
    with pytest.raises(ArgumentError, match=r"shapes \[\(1,\), \(1,\)\] on one side .* and \[\(1,\)\] on the other"):
        gradcheck(lambda x: (x, x * 2) if x.item() > 0 else x, leaf(0.0))


def test_a_gradient_of_the_wrong_shape(scrap: Any) -> None:
    bad = primitive("wrong_shape", lambda a: a * 2.0, lambda g, y, a: (g * 2)[None])
    with pytest.raises(GradcheckError, match="incorrect size|incorrect shape|shape"):
        gradcheck(bad, leaf(1.0))


def test_a_gradient_of_the_wrong_dtype(scrap: Any) -> None:
    bad = primitive("wrong_dtype", lambda a: a * 2.0, lambda g, y, a: (g * 2).astype(np.float32))
    with pytest.raises(GradcheckError, match="dtype mismatch: torch.float32 for an input of torch.float64"):
        gradcheck(bad, leaf(1.0), check_grad_dtypes=True)


def test_a_function_that_writes_into_its_input() -> None:
    def writes(x: tg.Tensor) -> tg.Tensor:
        x._data[0] += 1.0
        return x * 2

    with pytest.raises(GradcheckError, match="func wrote into input 0"):
        gradcheck(writes, leaf(1.0, 2.0))


def test_a_vjp_that_writes_into_its_cotangent(scrap: Any) -> None:
    def greedy(g: Any, y: Any, a: Any) -> Any:
        g *= 2.0
        return g

    bad = primitive("greedy", lambda a: a * 2.0, greedy)
    with pytest.raises(GradcheckError, match="backward wrote into the cotangent"):
        gradcheck(bad, leaf(1.0))


def test_outputs_without_a_gradient_count_as_zeros(scrap: Any) -> None:
    def joint(gs: Any, residual: Any, a: Any, needs: Any) -> Any:
        return [(1.0 if gs[0] is None else 2 * gs[0]) + (0 if gs[1] is None else 3 * gs[1])]

    from tinygrad_rnn.tape.multi_output import fused

    bad = fused("forgets_none", lambda a: ((a * 2, a * 3), None), joint, lambda a: (a * 2, a * 3))
    with pytest.raises(GradcheckError, match="Expected all input grads to be undefined or zero|Jacobian mismatch"):
        gradcheck(bad, leaf(1.0))


def test_failures_can_be_had_as_false() -> None:
    assert gradcheck(lambda x: x.detach() + x, leaf(1.0), raise_exception=False) is False


def test_batched_gradients_are_refused() -> None:
    with pytest.raises(ValueError, match="vmap"):
        gradcheck(tg.tanh, leaf(1.0), check_batched_grad=True)


def test_complex_steps_are_refused_for_functions_that_do_not_allow_them() -> None:
    with pytest.raises(ValueError, match=r"method='complex' needs a function that is analytic .* for input 0"):
        gradcheck(tg.abs, leaf(1.0, -2.0), method="complex")
    assert gradcheck(tg.abs, leaf(1.0, -2.0), method="auto")
    with pytest.raises(ValueError, match="method must be one of"):
        gradcheck(tg.abs, leaf(1.0), method="exact")


def test_the_error_belongs_to_both_trees() -> None:
    assert issubclass(GradcheckError, RuntimeError) and issubclass(GradcheckError, TinygradRnnError)


# the report --------------------------------------------------------------------------------------------------------


def failure(func: Any, *args: Any, check: Any = gradcheck, **kwargs: Any) -> GradcheckError:
    with pytest.raises(GradcheckError) as caught:
        check(func, args, **kwargs)
    return caught.value


@pytest.mark.parametrize("fast_mode", [False, True])
def test_the_worst_entry_is_named_with_both_values(fast_mode: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def vjp(g: Any, y: Any, a: Any) -> Any:
        return g * np.array([1.0, 1.0, 1.5]) * (1 - y * y)

    monkeypatch.setattr(REGISTRY["tanh"], "vjps", (vjp,))
    x = leaf(0.2, 0.4, 0.3)
    error = failure(lambda x: tg.tanh(x) * 2, x, fast_mode=fast_mode)
    m = error.mismatch
    assert m is not None and (m.output, m.input, m.output_index, m.input_index) == (0, 0, (2,), (2,))
    slope = 2 * (1 - np.tanh(0.3) ** 2)
    assert m.numerical == pytest.approx(slope, abs=1e-8) and m.analytical == pytest.approx(1.5 * slope)
    assert m.absolute == pytest.approx(0.5 * slope, abs=1e-8) and m.relative == pytest.approx(0.5)
    assert (m.wrong, m.entries, m.input_name) == (1, 9, "x")
    text = str(error)
    assert text.startswith("Jacobian mismatch for output 0 with respect to input 0,\nnumerical:tensor(")
    assert "worst entry: output 0[2] by input 0 'x'[2]" in text and "1 of 9 entries are wrong" in text


def test_the_first_wrong_operation_is_named_with_the_users_line(monkeypatch: pytest.MonkeyPatch) -> None:
    right = REGISTRY["exp"].vjps[0]
    monkeypatch.setattr(REGISTRY["exp"], "vjps", (times(right, 1.01),))  # type: ignore[arg-type]

    def chain(x: tg.Tensor) -> tg.Tensor:
        a = tg.tanh(x)
        b = tg.exp(a * a)  # the culprit
        return tg.exp(b).sum()

    error = failure(chain, leaf(0.2, 0.4))
    suspect = error.mismatch.suspect  # type: ignore[union-attr]
    assert (suspect.name, suspect.number, suspect.total, suspect.trial.order) == ("exp", 2, 5, 1)
    assert suspect.line.text.endswith("# the culprit") and suspect.shapes == ((2,),)
    assert suspect.trial.analytical == pytest.approx(1.01 * suspect.trial.numerical)
    assert "the error first appears in record 2 of 5, exp([2]) at test_gradcheck.py:" in str(error)


def test_a_wrong_sign_and_a_constant_factor_are_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    right = REGISTRY["tanh"].vjps[0]
    monkeypatch.setattr(REGISTRY["tanh"], "vjps", (times(right, -1.0),))  # type: ignore[arg-type]
    assert "analytical = -1 * numerical in all of them: a wrong sign" in str(failure(tg.tanh, leaf(0.2, 0.4)))
    monkeypatch.setattr(REGISTRY["tanh"], "vjps", (times(right, 0.5),))  # type: ignore[arg-type]
    assert "analytical = 0.5 * numerical in all of them" in str(failure(tg.tanh, leaf(0.2, 0.4)))


def test_a_kink_is_told_from_a_wrong_gradient() -> None:
    error = failure(lambda x: tg.relu(x * 2), leaf(0.0, 1.0))
    m = error.mismatch
    assert m is not None and m.slopes.verdict == "kink" and (m.slopes.left, m.slopes.right) == (0.0, 2.0)
    assert m.suspect is not None and m.suspect.trial.rough and m.suspect.name == "relu"
    assert "has a kink at the values that it got" in str(error)


@pytest.mark.parametrize(
    ("func", "x", "verdict"),
    [
        (lambda x: tg.where(x > 0, x + 1, x), 0.0, "jump"),
        (tg.sqrt, 0.0, "edge"),
        (lambda x: tg.abs(x) + x.detach(), 0.0, "kink"),
        (lambda x: x * x.detach(), 0.5, "smooth"),
        (lambda x: tg.exp(x * 2000.0), 0.0, "curved"),
    ],
)
def test_slopes_beside_the_worst_entry_tell_its_kind(func: Any, x: float, verdict: str) -> None:
    error = failure(func, leaf(x), rtol=1e-7, atol=1e-9)
    assert error.mismatch is not None and error.mismatch.slopes.verdict == verdict


def test_a_kink_within_reach_of_longer_steps_is_told_from_a_wrong_gradient() -> None:
    x = leaf(1e-4)
    assert gradcheck(tg.relu, x)
    error = failure(tg.relu, x, method="extrapolated")
    assert error.mismatch is not None and error.mismatch.slopes.verdict == "near"


def test_a_gradient_cut_off_is_told_from_a_wrong_vjp() -> None:
    error = failure(lambda x: x * 2 + x.detach() * x.detach(), leaf(0.5, 1.0))
    assert error.mismatch is not None and error.mismatch.suspect is None
    assert "every recorded operation is right by itself, so values left the tape" in str(error)
    error = failure(lambda x: (x * 0, x.detach())[0] + x.detach(), leaf(0.5))
    assert "nothing flows back to this input there" in str(error)


def test_a_vjp_that_cannot_be_differentiated_is_found_by_the_second_order_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A right gradient computed with values off the tape: order 1 passes, order 2 fails and names the operation."""

    def vjp(g: Any, y: Any, a: Any) -> Any:
        y = y.detach() if isinstance(y, tg.Tensor) else y
        return g * (1 - y * y)

    monkeypatch.setattr(REGISTRY["tanh"], "vjps", (vjp,))
    func = lambda x: tg.tanh(x * x).sum()  # noqa: E731
    assert gradcheck(func, leaf(0.3, 0.4))
    error = failure(func, leaf(0.3, 0.4), check=gradgradcheck)
    suspect = error.mismatch.suspect  # type: ignore[union-attr]
    assert (suspect.name, suspect.trial.order) == ("tanh", 2)
    assert "has a right vjp with a wrong derivative" in str(error)


def test_inputs_of_the_second_order_check_have_names() -> None:
    error = failure(lambda weight: weight * weight.detach() + weight * weight, leaf(0.3), check=gradgradcheck)
    assert error.mismatch is not None and error.mismatch.input_name == "weight"


def test_parameters_of_a_module_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Layer:
        def __init__(self) -> None:
            self.weight, self.bias = leaf(0.5, 0.25), leaf(0.1, 0.2)

        def named_parameters(self) -> list[tuple[str, tg.Tensor]]:
            return [("inner.weight", self.weight), ("inner.bias", self.bias)]

        def __call__(self, x: tg.Tensor, *_: tg.Tensor) -> tg.Tensor:
            return tg.tanh(x * self.weight) + self.bias

    layer = Layer()
    monkeypatch.setattr(REGISTRY["mul"], "vjps", (REGISTRY["mul"].vjps[0], times(REGISTRY["mul"].vjps[1], 2.0)))  # type: ignore[arg-type]
    error = failure(layer, leaf(1.0, 2.0), layer.weight, layer.bias)
    assert error.mismatch is not None and error.mismatch.input_name == "inner.weight"
    error = failure(layer.__call__, leaf(1.0, 2.0), layer.weight, layer.bias)
    assert error.mismatch is not None and error.mismatch.input_name == "inner.weight"
    error = failure(lambda *args: layer(*args), leaf(1.0, 2.0), layer.weight, layer.bias)
    assert error.mismatch is not None and error.mismatch.input_name == "inner.weight"


def test_looking_for_the_culprit_leaves_the_engine_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    keeps = {name: p._keeps for name, p in REGISTRY.items()}
    failure(lambda x: x * 2 + x.detach(), leaf(0.5))
    assert all(p._keeps is keeps[name] for name, p in REGISTRY.items())


def test_records_that_cannot_be_replayed_do_not_hide_the_mismatch(scrap: Any) -> None:
    def once(a: Any, state: list[int]) -> Any:
        if len(state) > 40:
            raise ValueError("no more")
        state.append(1)
        return a * 2.0

    bad = primitive("tires", once, (lambda g, y, a, state: g * 3,), ("",))
    state: list[int] = []
    with pytest.raises((GradcheckError, ValueError)):
        gradcheck(lambda x: bad(x, state=state), leaf(1.0))


def test_a_primitive_without_a_function_is_passed_over(scrap: Any) -> None:
    assert not hasattr(Primitive("nameless", np.negative, (None,), ("",)), "apply")


# beside PyTorch ----------------------------------------------------------------------------------------------------


def test_verdicts_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")

    def cases(lib: Any) -> list[Any]:
        return [
            lambda x: x * x,
            lambda x: lib.relu(x),
            lambda x: lib.abs(x),
            lambda x: lib.sqrt(x),
            lambda x: lib.maximum(x, x * 0),
            lambda x: x.detach() * x,
            lambda x: lib.where(x > 0, x, x * 2),
            lambda x: (x * 2, x.detach() * 0),
        ]

    for number, (ours, theirs) in enumerate(zip(cases(tg), cases(torch), strict=True)):
        for values in ([0.5, 2.0], [0.0, 1.0]):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = torch.autograd.gradcheck(
                    theirs, torch.tensor(values, dtype=torch.float64, requires_grad=True), raise_exception=False
                )
            assert gradcheck(ours, leaf(*values), raise_exception=False) == expected, (number, values)


def test_a_wrong_custom_function_is_named_with_the_users_line() -> None:
    class Doubled(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, factor: float, y: Any) -> Any:
            ctx.factor = factor
            return x * factor + y.tanh()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.factor, None, g

    def func(x: Any, y: Any) -> Any:
        h = tg.exp(x)
        return Doubled.apply(h, 2.0, y).sum()

    sentence = r"the error first appears in record 1 of 3, Doubled\(.* at .*Doubled.apply"
    with pytest.raises(GradcheckError, match=sentence):
        gradcheck(func, (leaf(0.5, 0.7), leaf(0.1, 0.2)))
