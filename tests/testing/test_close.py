"""assert_close: PyTorch's verdicts, in PyTorch's words."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.rows import together
from tinygrad_rnn.errors import TinygradRnnError
from tinygrad_rnn.testing import CheckFailed, assert_close


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def f64(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


NAN, INF = float("nan"), float("inf")
CASES: list[tuple[Any, Any, dict[str, Any]]] = [
    (f32(1, 2), f32(1, 2), {}),
    (f32(1, 2, 3), f32(1, 2, 4), {}),
    (f32(1, 2), f32(1, 2.000001), {}),
    (f64(1, 2), f64(1, 2.1), {}),
    (f32(1, 2), f64(1, 2), {}),
    (f32(1, 2), f64(1, 2), {"check_dtype": False}),
    (f32(1, 2), f32(1, 2, 3), {}),
    (f32(1)[0:1].reshape(()), f32(2).reshape(()), {}),
    (f32(1, 0), f32(1, 0.5), {"rtol": 1e-3, "atol": 1e-2}),
    (f32(0, 1), f32(0, 1.5), {"rtol": 0, "atol": 0}),
    (f32(0, 1), f32(0, 1.5), {"rtol": 0}),
    (f32(0, 1), f32(0, 1.5), {"atol": 0.1}),
    (f32(INF, 1), f32(0, 1), {}),
    (f32(INF, 1), f32(INF, 1), {}),
    (f32(NAN, 1), f32(NAN, 1), {}),
    (f32(NAN, 1), f32(NAN, 1), {"equal_nan": True}),
    (i64(1, 2), i64(1, 2), {}),
    (np.array([True, False]), np.array([True, True]), {}),
    (f32(1, 2).reshape(1, 2), f32(1, 3).reshape(1, 2), {}),
    (f32(), f32(), {}),
    (f32(1), f32(3), {"msg": "mine"}),
    ([f32(1)], [f32(3)], {"msg": lambda text: "mine: " + text}),
    ([1.0, f32(1)], [1.0, f32(2)], {}),
    ([1], [1, 2], {}),
    ({"a": 1.0, "b": 2.0}, {"a": 1.0, "c": 3.0}, {}),
    ({"a": {"x": f32(1, 2)}}, {"a": {"x": f32(1, 3)}}, {}),
    ((1.0, [2.0, {"k": 3}]), (1.0, [2.0, {"k": 3}]), {}),
    (1.0, 2.0, {}),
    (1.0, 1.0 + 1e-9, {}),
    (1, 2, {}),
    (1, 2.0, {}),
    (NAN, 1.0, {}),
    (NAN, NAN, {"equal_nan": True}),
    (0.0, 1.0, {"rtol": 0.5, "atol": 0.25}),
    (1 + 2j, 1 + 2.5j, {}),
    (True, False, {}),
    (None, None, {}),
    (None, 1, {}),
    ("a", "a", {}),
]


def tree(value: Any, convert: Any) -> Any:
    if isinstance(value, np.ndarray):
        return convert(value)
    if isinstance(value, dict):
        return {key: tree(item, convert) for key, item in value.items()}
    return type(value)(tree(item, convert) for item in value) if isinstance(value, (list, tuple)) else value


def outcome(check: Any, actual: Any, expected: Any, options: dict[str, Any]) -> tuple[str, str]:
    try:
        check(actual, expected, **options)
    except (AssertionError, ValueError, TypeError) as error:
        kind = next(k for k in (AssertionError, ValueError, TypeError) if isinstance(error, k))
        return kind.__name__, str(error)
    return "passes", ""


@together
@pytest.mark.parametrize(("actual", "expected", "options"), CASES)
def test_verdict_and_words_are_those_of_pytorch(actual: Any, expected: Any, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    theirs = outcome(torch.testing.assert_close, tree(actual, torch.tensor), tree(expected, torch.tensor), options)
    ours = outcome(assert_close, tree(actual, tg.tensor), tree(expected, tg.tensor), options)
    assert ours == theirs


def test_a_mismatch_is_described() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_close({"w": tg.tensor([1.0, 2.0])}, {"w": tg.tensor([1.0, 2.5])})
    assert str(caught.value) == (
        "Tensor-likes are not close!\n\n"
        "Mismatched elements: 1 / 2 (50.0%)\n"
        "Greatest absolute difference: 0.5 at index (1,) (up to 1e-05 allowed)\n"
        "Greatest relative difference: 0.20000000298023224 at index (1,) (up to 1.3e-06 allowed)\n\n"
        "The failure occurred for item ['w']"
    )
    assert isinstance(caught.value, CheckFailed) and isinstance(caught.value, TinygradRnnError)


def test_tolerances_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="Both 'rtol' and 'atol' must be either specified or omitted, but got no atol"):
        assert_close(tg.tensor(1.0), tg.tensor(1.0), rtol=1e-3)


def test_strides_are_compared_if_asked_for() -> None:
    a, b = tg.ones(2, 3), tg.ones(3, 2).T
    assert_close(a, b)
    with pytest.raises(AssertionError, match=r"attribute 'stride\(\)' do not match: \(3, 1\) != \(1, 2\)"):
        assert_close(a, b, check_stride=True)


def test_devices_must_agree_unless_told_otherwise(double: Any) -> None:
    here, there = tg.tensor([1.0]), tg.tensor([1.0]).to("cuda")
    with pytest.raises(AssertionError, match="attribute 'device' do not match: cpu != cuda:0"):
        assert_close(here, there)
    assert_close(here, there, check_device=False)


def test_arrays_and_tensors_do_not_mix() -> None:
    with pytest.raises(TypeError, match="No comparison pair was able to handle inputs of type"):
        assert_close(np.ones(2), tg.ones(2))
    with pytest.raises(TypeError, match="No comparison pair"):
        assert_close(tg.nn.Parameter(tg.ones(2)), tg.ones(2), allow_subclasses=False)


def test_it_works_without_hypothesis() -> None:
    """And the strategies say what they lack."""
    program = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from tinygrad_rnn.testing import assert_close, gradcheck, assert_laws\n"
        "import tinygrad_rnn as tg\n"
        "assert_close(tg.ones(2), tg.ones(2))\n"
        "try:\n    tg.testing.tensors\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "tinygrad_rnn.testing.tensors needs hypothesis: pip install 'tinygrad-rnn[test]'"


def test_hypothesis_is_imported_only_when_a_strategy_is_named() -> None:
    program = "import sys, tinygrad_rnn.testing; print('hypothesis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
