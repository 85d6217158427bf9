"""What gradcheck takes, what it passes on, and the report word by word."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.autograd import GradcheckError, gradcheck, gradgradcheck
from tinygrad_rnn.tape.multi_output import fused
from tinygrad_rnn.tape.primitive import REGISTRY

METHODS = ["central", "extrapolated", "complex", "auto"]


def leaf(*values: Any) -> tg.Tensor:
    return tg.tensor(np.array(values), dtype=tg.float64, requires_grad=True)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_floating_tensor_is_handed_in_and_out_untouched(method: str) -> None:
    index, seen = tg.tensor([1, 0, 1]), []

    def f(x: Any, index: Any, factor: float, word: str, nothing: None) -> Any:
        seen.append((type(factor), word, nothing, index.dtype))
        return x[index] * x[index] * factor, index, nothing

    assert gradcheck(f, (leaf(2.0, 3.0), index, 1.5, "word", None), method=method)
    assert set(seen) == {(float, "word", None, np.dtype(np.int64))} and index.tolist() == [1, 0, 1]


def test_a_function_that_leaves_the_complex_numbers_is_checked_without_a_warning() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert gradcheck(lambda x: x * x + x.to(tg.float64), leaf(2.0, 3.0), method="auto")
    assert not caught


@pytest.mark.parametrize("apart", [False, True])
def test_random_cotangents_of_the_second_order_can_be_had_apart_in_memory(
    apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    right = REGISTRY["tanh"].vjps[0]

    def vjp(g: Any, y: Any, a: Any) -> Any:
        if isinstance(g, tg.Tensor):
            seen.append(g._data.flags.c_contiguous)
        return right(g, y, a)  # type: ignore[misc]

    monkeypatch.setattr(REGISTRY["tanh"], "vjps", (vjp,))
    assert gradgradcheck(tg.tanh, leaf(0.1, 0.2), gen_non_contig_grad_outputs=apart)
    assert seen[0] is not apart
    assert gradgradcheck(lambda x: tg.tanh(x).sum(), leaf(0.1, 0.2), gen_non_contig_grad_outputs=apart)  # a number


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_outputs_without_a_gradient_count_as_zeros_exactly(scale: float) -> None:
    class Forgets(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, g: Any, h: Any) -> Any:
            first = 0.0 if g is None else 2 * g
            return first + (scale * 1e-3 * g if h is None else 3 * h)

    kind = "Expected all input grads to be undefined or zero" if scale < 1 else "Jacobian mismatch|Expected all input"
    with pytest.raises(GradcheckError, match=kind):
        gradcheck(Forgets.apply, leaf(1.0, 2.0))
    if scale < 1:
        assert gradcheck(Forgets.apply, leaf(1.0, 2.0), check_undefined_grad=False)


def test_the_whole_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REGISTRY["square"], "vjps", (lambda g, y, a: g * a * 3,))

    def f(x: Any) -> Any:
        return tg.square(x).sum()  # wrong by a half

    with pytest.raises(GradcheckError) as caught:
        gradcheck(f, leaf(1.0, 2.0))
    lines = str(caught.value).splitlines()
    first = f.__code__.co_firstlineno
    assert lines[0] == "Jacobian mismatch for output 0 with respect to input 0,"
    assert lines[-7:-4] == [
        "worst entry: output 0 by input 0 'x'[1]",
        "    numerical  " + lines[-6].split()[1],
        "    analytical 6",
    ]
    assert float(lines[-6].split()[1]) == pytest.approx(4.0, abs=1e-8)
    assert lines[-4] == "    error      2 absolute, 0.5 relative; 2 of 2 entries are wrong"
    assert lines[-3] == "    analytical = 1.5 * numerical in all of them"
    assert lines[-2].startswith("slopes: left 3.99999") and lines[-2].endswith("so the analytical gradient is wrong")
    where = f"test_gradcheck_details.py:{first + 1} `return tg.square(x).sum()  # wrong by a half`"
    said = (
        f"tape: the error first appears in record 0 of 2, square([2]) at {where}, which has a wrong vjp: for argument"
    )
    assert lines[-1].startswith(f"{said} 0, along a random direction, analytical ")


def test_a_memory_that_repeats_is_refused_and_axes_of_one_entry_are_not() -> None:
    x = tg.tensor(np.ones((1, 3))).requires_grad_()
    one = tg.from_numpy(np.lib.stride_tricks.as_strided(np.ones(3), (1, 3), (0, 8))).requires_grad_()
    assert gradcheck(lambda x: x * x, x) and gradcheck(lambda x: x * x, one)
    many = tg.from_numpy(np.lib.stride_tricks.as_strided(np.ones(3), (2, 3), (0, 8))).requires_grad_()
    with pytest.raises(RuntimeError, match="The 0th input has a dimension with stride 0"):
        gradcheck(lambda x: x * x, many)


def test_an_input_that_is_not_used_may_hold_anything() -> None:
    for mode in ({}, {"fast_mode": True}, {"check_forward_ad": True}):
        assert gradcheck(lambda x, w: x * x, (leaf(1.0, 2.0), leaf(float("nan"))), **mode)


def test_complex_steps_are_exact_where_the_other_methods_are_not() -> None:
    x, strict = leaf(0.3, 1.7, -2.0), {"rtol": 1e-14, "atol": 1e-15}
    assert gradcheck(lambda x: x.exp() * x.sin(), x, method="complex", **strict)
    assert gradcheck(lambda x: x.exp() * x.sin(), x, method="auto", **strict)
    assert not gradcheck(lambda x: x.exp() * x.sin(), x, method="extrapolated", raise_exception=False, **strict)


class Wrong(tg.autograd.Function):
    """Twice its argument, with a gradient of three."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * 3


@functools.cache
def pair() -> Any:
    """A fused primitive with two outputs, of another shape each."""

    def pull(gs: Any, residual: Any, a: Any, b: Any, needs: Any) -> list[Any]:
        total, difference = (np.zeros(2) if g is None else g for g in gs)
        return [total + difference.sum(), total - difference.sum()]

    return fused(
        "total_and_difference_of_tests",
        lambda a, b: ((a + b, (a - b).sum(keepdims=True)), None),
        pull,
        lambda a, b: (a + b, (a - b).sum(0, keepdim=True)),
    )


@pytest.mark.parametrize(
    ("func", "said"),
    [
        (lambda x: Wrong.apply(x).sum(), "record 0 of 2, Wrong([2])"),
        (lambda x: Wrong.apply(x.exp()).sum(), "record 1 of 3, Wrong([2])"),
        (lambda x: Wrong.apply(x.exp() + 0 * pair()(x, x)[0]).sum(), "record 4 of 6, Wrong([2])"),
        (lambda x: Wrong.apply(pair()(x, x.detach())[0]).sum(), "record 1 of 3, Wrong([2])"),
        (lambda x: Wrong.apply(pair()(x * 3, x)[1]).sum(), "record 2 of 4, Wrong([1])"),
    ],
)
def test_an_operation_is_found_wrong_wherever_its_argument_came_from(func: Any, said: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        gradcheck(func, leaf(0.5, 0.25))
    assert f"tape: the error first appears in {said} at test_gradcheck_details.py:" in str(caught.value)


def linear(numerical: Any, analytical: Any) -> Any:
    """A function with these slopes, and these gradients."""

    class Linear(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * tg.tensor(numerical, dtype=tg.float64)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * tg.tensor(analytical, dtype=tg.float64)

    return Linear.apply


def mismatch_of(numerical: Any, analytical: Any, x: Any = (0.0, 0.0), **options: Any) -> Any:
    with pytest.raises(GradcheckError) as caught:
        gradcheck(linear(numerical, analytical), leaf(*x) if isinstance(x, tuple) else leaf_number(x), **options)
    return caught.value.mismatch


def leaf_number(x: float) -> tg.Tensor:
    return tg.tensor(x, dtype=tg.float64, requires_grad=True)


def test_the_worst_entry_is_that_which_exceeds_its_own_tolerance_by_most() -> None:
    found = mismatch_of([100.0, 1000.0], [101.0, 1001.5])  # an error of 1 where 0.1 is allowed, and of 1.5 of 1
    assert found.input_index == found.output_index == (0,) and found.wrong == 2 and found.entries == 4
    assert found.absolute == pytest.approx(1, abs=1e-6) and found.relative == pytest.approx(0.01, abs=1e-6)
    assert mismatch_of([100.0, 1000.0], [100.5, 1002.5]).input_index == (1,)
    assert mismatch_of([100.0, 1000.0], [float("nan"), 2000.0]).input_index == (0,)  # nothing is worse than a nan


def test_an_error_relative_to_nothing_is_infinite_and_a_number_has_no_index() -> None:
    found = mismatch_of(0.0, 1.0, 0.0)
    assert (found.relative, found.absolute, found.numerical, found.analytical) == (float("inf"), 1.0, 0.0, 1.0)
    assert found.input_index == found.output_index == () and (found.wrong, found.entries) == (1, 1)
    assert "worst entry: output 0 by input 0 'x'\n" in str(found) and "1 absolute, inf relative" in str(found)
    assert found.slopes.left == found.slopes.right == 0.0


@pytest.mark.parametrize("numerical", [0.0, 4.0])
def test_what_is_just_within_the_tolerances_passes(numerical: float) -> None:
    x, allowed = leaf(0.0, 0.0), 2.0**-10 + 2.0**-8 * numerical
    options = {"atol": 2.0**-10, "rtol": 2.0**-8, "eps": 2.0**-20}
    assert gradcheck(linear([numerical] * 2, [numerical, numerical + allowed]), x, **options)
    beyond = linear([numerical] * 2, [numerical, numerical + allowed * (1 + 1e-9)])
    assert not gradcheck(beyond, x, raise_exception=False, **options)


def test_random_projections_allow_what_entries_allow() -> None:
    """Each of a hundred errors is within atol; a projection sums them."""
    n, atol = 100, 1e-3
    off = linear([1.0] * n, [1.0 + 0.9 * atol] * n)
    assert gradcheck(off, leaf(*[0.0] * n), fast_mode=True, atol=atol, rtol=0.0)


def test_complex_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"gradcheck\(\): input 1 is complex; complex functions are not checked"):
        gradcheck(lambda x, z: x * 2, (leaf(1.0), leaf(1.0).to(tg.complex128)))


@pytest.mark.parametrize("fast_mode", [False, True])
def test_an_output_without_a_gradient_hides_none_of_those_behind_it(fast_mode: bool) -> None:
    wrong = linear([1.0, 2.0], [1.0, 3.0])
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 1 with respect to input 0"):
        gradcheck(lambda x: (x.detach() * 0, wrong(x)), leaf(0.0, 0.0), fast_mode=fast_mode)


def test_forward_products_are_checked_where_that_is_asked_for() -> None:
    class Cut(tg.autograd.Function):
        """Right gradients, which do not depend on the cotangent as far as the tape knows."""

        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g.detach() * 2 + 0 * g

    assert gradcheck(Cut.apply, leaf(1.0, 2.0))
    with pytest.raises(GradcheckError, match="forward mode mismatch for output 0 with respect to input 0"):
        gradcheck(Cut.apply, leaf(1.0, 2.0), check_forward_ad=True)
    assert gradcheck(Cut.apply, leaf(), check_forward_ad=True)  # nothing to be wrong in


def test_a_backward_pass_that_writes_to_an_input_is_found() -> None:
    x = leaf(1.0, 2.0)

    class Writes(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x.numpy(force=True)[0] += 1e-9
            return g * 2

    with pytest.raises(GradcheckError, match="backward wrote into input 0: a vjp must not change saved values"):
        gradcheck(Writes.apply, x, nondet_tol=1e-3)
