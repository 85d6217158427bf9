"""Random odd calls: refused in this package's own words, answered as PyTorch answers; see ``odd_calls.py``."""

from __future__ import annotations

import collections

import pytest

from tests.support import profiles

torch = pytest.importorskip("torch")

from tests.ops import odd_calls  # noqa: E402

CALLS = profiles.examples(ci=600, thorough=10_000)


@pytest.fixture(scope="module")
def findings() -> list[odd_calls.Finding]:
    return odd_calls.survey(CALLS, seed=13)


def shown(found: list[odd_calls.Finding]) -> str:
    return "\n".join(f"{f.kind}: {f.call}\n    {f.text}" for f in found)


def of_kind(findings: list[odd_calls.Finding], kind: str) -> list[odd_calls.Finding]:
    return [f for f in findings if f.kind.startswith(kind)]


def test_exceptions_of_python_and_numpy_stay_inside(findings: list[odd_calls.Finding]) -> None:
    """Of the calls that were made before there were signatures 13 in 100 raised one."""
    found = of_kind(findings, "inside")
    assert len(found) <= 0.002 * CALLS, shown(found)


def test_no_result_differs_without_a_reason(findings: list[odd_calls.Finding]) -> None:
    found = of_kind(findings, "silent")
    assert len(found) <= 0.003 * CALLS, shown(found)


def test_no_warning_of_numpy_gets_out(findings: list[odd_calls.Finding]) -> None:
    found = of_kind(findings, "warning")
    assert len(found) <= 0.001 * CALLS, shown(found)


def test_the_calls_are_odd_and_not_all_refused() -> None:
    """A referee that only ever saw refusals, or never one, would compare nothing."""
    import random

    rng = random.Random(5)
    names = odd_calls.targets()
    assert len(names) > 550
    outcomes = collections.Counter(
        odd_calls.run(torch, odd_calls.drawn(rng, *rng.choice(names))).error is None for _ in range(300)
    )
    assert min(outcomes[True], outcomes[False]) > 75, outcomes


def test_a_wrong_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, dtypes, gradients and exceptions that are wrong on purpose are reported as what they are."""
    import tinygrad_rnn as tg

    x = odd_calls.Array(odd_calls.np.asarray([0.25, -0.5], "float32"), grad=True)
    call = odd_calls.Call("function", "tanh", [x], {})
    assert odd_calls.judged(call) == []
    right = tg.tanh

    def broken(*args: object, **options: object) -> object:
        raise KeyError("from inside")

    wrong = {
        "silent value": lambda a: right(a) + 1,
        "silent dtype": lambda a: right(a).double(),
        "silent gradient": lambda a: right(a).detach() + a * 0 + 0,
        "inside": broken,
        "warning": lambda a: odd_calls.np.log(odd_calls.np.zeros(1)) is None or right(a),
    }
    for kind, function in wrong.items():
        monkeypatch.setattr(tg, "tanh", function)
        assert kind in [f.kind for f in odd_calls.judged(call)], kind
