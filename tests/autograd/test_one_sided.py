"""What one-sided slopes say of a function at a point, at the very bounds between the verdicts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tinygrad_rnn.autograd.diagnosis import _pattern
from tinygrad_rnn.autograd.localise import input_names
from tinygrad_rnn.autograd.numeric import Problem
from tinygrad_rnn.autograd.one_sided import Slopes, slopes
from tinygrad_rnn.nn import Linear

EPS = 2.0**-20


def bent(left: float, right: float, middle: float = 0.0) -> Callable[[float], float]:
    return lambda t: middle + t * (right if t > 0 else left)


@pytest.mark.parametrize(
    ("power", "verdict"),
    [(2.0, "curved"), (1.4, "curved"), (1.2, "kink"), (1.0, "kink"), (0.68, "kink"), (0.6, "jump")],
)
def test_how_the_gap_grows_with_the_step_tells_curvature_from_kink_from_jump(power: float, verdict: str) -> None:
    """The gap of |t|^p goes with h^(p - 1): half of it or less at an eighth of the step, or twice of it and more."""
    found = slopes(lambda t: 1e9 * abs(t) ** power, EPS, 0.0, 0.0)
    assert found.verdict == verdict
    assert found.right == -found.left == pytest.approx(1e9 * EPS ** (power - 1), rel=1e-12)


@pytest.mark.parametrize(
    ("right", "options", "verdict"),
    [
        (1.11, {}, "smooth"),  # 0.01 + 0.1 * 1.11 = 0.121
        (1.13, {}, "kink"),  # 0.123
        (0.89, {}, "smooth"),  # 0.01 + 0.1 * 1
        (0.88, {}, "kink"),
        (1.4, {"analytical": 6.2, "numerical": 1.2}, "smooth"),  # a tenth of what is to be explained
        (1.6, {"analytical": 6.3, "numerical": 1.3}, "kink"),
        (1.4, {"analytical": 6.2}, "kink"),
        (1.4, {"numerical": 1.2}, "kink"),
        (1.0, {"analytical": 2.0, "numerical": 1.0}, "smooth"),
        (1.0, {"analytical": 0.95, "numerical": 1.95}, "near"),  # short steps side with the analytical value
        (1.0, {"analytical": 0.6, "numerical": 1.6}, "smooth"),  # and here with neither
        (1.0, {"analytical": 0.4, "numerical": 1.4}, "smooth"),
        (1.1, {"analytical": 2.05, "numerical": 1.05}, "smooth"),
    ],
)
def test_a_gap_within_the_tolerances_or_a_tenth_of_the_mismatch_is_none(
    right: float, options: dict[str, float], verdict: str
) -> None:
    found = slopes(bent(1.0, right), EPS, 0.01, 0.1, **options)
    assert found.verdict == verdict and (found.left, found.right) == (1.0, pytest.approx(right, rel=1e-12))


@pytest.mark.parametrize(("ulps", "verdict"), [(6, "smooth"), (8, "smooth"), (9, "kink")])
def test_a_gap_of_eight_roundings_of_a_large_value_is_none(ulps: int, verdict: str) -> None:
    gap = ulps * 2.0**-12  # one rounding of 2^20, over a step of 2^-20
    assert slopes(bent(1.0, 1.0 + gap, 2.0**20), EPS, 0.0, 0.0).verdict == verdict


@pytest.mark.parametrize("function", [lambda t: np.sqrt(t), lambda t: np.sqrt(-t), lambda t: np.float64(1) / t])
def test_the_edge_of_a_domain_is_told(function: Callable[[float], float]) -> None:
    assert slopes(lambda t: float(function(np.float64(t))), EPS, 1e-5, 1e-3).verdict == "edge"


@pytest.mark.parametrize(
    ("verdict", "meaning"),
    [
        ("smooth", "equal: the function is smooth here, so the analytical gradient is wrong"),
        ("curved", "they approach each other with shorter steps: smooth but strongly curved"),
        ("kink", "they stay apart however short the step: a kink"),
        ("jump", "they grow with shorter steps: a jump or an infinite slope"),
        ("near", "equal, but the numerical value says otherwise"),
        ("edge", "not finite on one side: the edge of the function's domain"),
    ],
)
def test_each_verdict_is_explained(verdict: str, meaning: str) -> None:
    assert str(Slopes(1 / 3, -2.0, verdict)).startswith(f"slopes: left 0.333333333, right -2; {meaning}")


N = np.array([1.0, -2.0, 4.0])


@pytest.mark.parametrize(
    ("analytical", "numerical", "said"),
    [
        (N * np.nan, N, "the analytical gradient is not finite"),
        (np.array([1.0, np.inf, 2.0]), N, "the analytical gradient is not finite"),
        (N * 0, N, "the analytical gradient is 0 wherever it is wrong: nothing flows back to this input there"),
        (N * 2, N, "analytical = 2 * numerical in all of them"),
        (N * 1.00009, N, "analytical = 1.0001 * numerical in all of them"),
        (N * -1, N, "analytical = -1 * numerical in all of them: a wrong sign"),
        (N * -1.00005, N, "analytical = -1.0001 * numerical in all of them: a wrong sign"),
        (N * -1.001, N, "analytical = -1.001 * numerical in all of them"),
        (N * [2, 2, 2.0001], N, "analytical = 2 * numerical in all of them"),  # within 1e-4 of the factor
        (N * [2, 2, 2.001], N, None),
        (np.array([8.0, -16.0, 1.0]), np.array([4.0, -8.0, 0.004]), "analytical = 2 * numerical in all of them"),
        (np.array([8.0, -16.0, 1.0]), np.array([4.0, -8.0, 0.04]), None),
        (np.array([2.0]), np.array([1.0]), None),
        (np.array([2.0, 0.5]), np.array([1.0, 0.0]), None),
        (np.array([2.0, 0.5]), np.array([0.0, 0.0]), None),
        (N * 2e-6, N * 1e-6, "analytical = 2 * numerical in all of them"),
    ],
)
def test_what_wrong_entries_have_in_common_is_said(analytical: np.ndarray, numerical: np.ndarray, said: str) -> None:
    assert _pattern(analytical, numerical) == said


def test_inputs_are_called_after_arguments_or_parameters() -> None:
    layer = Linear(2, 3)
    w, b, x = layer.weight, layer.bias, np.ones(2)

    def closing(x: object, y: object = None) -> object:
        return layer, x, y

    def open_ended(x: object, *rest: object, z: object = None) -> object:
        return x

    class Counts:
        def method(self, u: object, v: object) -> object:
            return u

    def names(func: Callable[..., object], inputs: list[object]) -> list[str | None]:
        return input_names(Problem(func, inputs))

    def before_its_time(x: object) -> object:
        return later, x

    assert names(before_its_time, [x]) == ["x"]  # ``later`` is a variable without a value yet
    later = layer
    assert names(before_its_time, [w]) == ["weight"]
    assert names(lambda first, second: None, [x, w]) == ["first", "second"]
    assert names(lambda first, second: None, [x]) == ["first"]
    assert names(open_ended, [x, w, b]) == ["x", None, None]
    assert names(Counts().method, [x, w]) == ["u", "v"]
    assert names(closing, [b, x]) == ["bias", "y"]
    assert names(layer, [x, w]) == ["input", "weight"] or names(layer, [x, w])[1] == "weight"
    assert names(layer.forward, [x, b])[1] == "bias"
    assert names(print, [x]) in ([None], ["args"]) and names(max, [x, x]) == [None, None]
