"""Wrong vjps are caught, every one, by the tools that users get."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings

from tests.mutants.wrong_vjps import MUTANTS, Mutant, raw_forms, systematic
from tests.support.primitives import REGISTRY, SAMPLED
from tests.support.profiles import QUIET, THOROUGH
from tinygrad_rnn.autograd import GradcheckError
from tinygrad_rnn.backends.recurrent import only
from tinygrad_rnn.testing import Call, CheckFailed, assert_gradients, assert_laws, samples
from tinygrad_rnn.testing.gradients import application
from tinygrad_rnn.testing.sample_calls import INEXACT

EXAMPLES = 200
FLAT = {"sign", "floor", "ceil", "round", "trunc", "floor_divide", "truncated_divide"}
FLAT |= {"constant_in"}  # by its second argument: a factor changes nothing there; of its first there is a mutant
NAMES = [name for name in SAMPLED if name not in INEXACT and name not in FLAT]
FACTORS = [1.001, -1.0] if THOROUGH else [1.001]


class Caught(Exception):
    """A check has failed, as it should."""


def catches(name: str, tool: str) -> bool:
    """Whether the public tools object to a primitive, at any of its samples."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=QUIET,
    )
    @given(samples(name))
    def check(call: Call) -> None:
        apply, inputs = application(name, *call)
        try:
            if tool == "laws":
                assert_laws(apply, inputs)
            assert_gradients(apply, inputs, order=2, min_signal=0)  # what is flat is not caught for it
        except (GradcheckError, CheckFailed) as error:
            raise Caught from error

    try:
        check()
    except Caught:
        return True
    return False


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.primitive}: {m.mistake}")
def test_a_wrong_vjp_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    primitive = REGISTRY[mutant.primitive]
    for attribute, wrong in mutant.change(primitive).items():
        monkeypatch.setattr(primitive, attribute, wrong)
    with only("numpy"):  # the mistakes in recurrent layers are made in what NumPy's kernels leave for backward
        assert catches(mutant.primitive, "laws")


@pytest.mark.parametrize(
    "mutant", [m for factor in FACTORS for m in systematic(NAMES, factor)], ids=lambda m: f"{m.primitive}: {m.mistake}"
)
def test_a_wrong_factor_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    primitive = REGISTRY[mutant.primitive]
    monkeypatch.setattr(primitive, "vjps", mutant.change(primitive)["vjps"])
    assert catches(mutant.primitive, "gradients")


@pytest.mark.parametrize("mutant", raw_forms(NAMES, 1.001), ids=lambda m: f"{m.primitive}: {m.mistake}")
def test_a_wrong_raw_form_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    primitive = REGISTRY[mutant.primitive]
    declared = primitive.vjps, primitive.vjp_all
    for attribute, wrong in mutant.change(primitive).items():
        monkeypatch.setattr(primitive, attribute, wrong)
    assert catches(mutant.primitive, "gradients") and (primitive.vjps, primitive.vjp_all) == declared


def test_there_are_many_of_them() -> None:
    assert len(raw_forms(NAMES, 1.001)) >= 24
    assert len(MUTANTS) >= 60 and len({(m.primitive, m.mistake) for m in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("name", ["tanh", "mul", "lstm", "getitem"])
def test_right_vjps_are_not_caught(name: str) -> None:
    """The tools that catch the mutants let the originals pass."""
    global EXAMPLES
    before, EXAMPLES = EXAMPLES, 10
    try:
        assert not catches(name, "laws")
    finally:
        EXAMPLES = before
