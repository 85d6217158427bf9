"""The experiments of the laboratory: every check passes, and every broken twin fails the check that it names."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.lab import catalogue
from tinygrad_rnn.lab.experiment import Experiment
from tinygrad_rnn.lab.page import divided

NUMBERS = list(catalogue.files())

WITHOUT_TWINS: dict[int, str] = {50: "background: nothing is computed"}
"""Experiments without a broken twin, with the reason."""

SECTIONS = ["Mathematics", "Try it", "It would be false if", "Exercise"]
"""What a page says besides its claim, in this order; an item has its reason to leave one out."""
WITHOUT_SECTION: dict[tuple[int, str], str] = {(50, "Mathematics"): "background: facts with sources"}

each_item = pytest.mark.parametrize("number", NUMBERS)


def found(number: int) -> Experiment:
    return catalogue.find(number)


@each_item
def test_every_check_passes_and_leaves_the_caller_as_it_was(number: int) -> None:
    tg.manual_seed(7)
    expected = tg.randn(3).numpy()
    tg.manual_seed(7)
    result = found(number)()
    assert [str(check) for check in result.checks if not check.passed] == []
    assert result.because and all(check.why for check in result.checks)
    assert tg.get_default_dtype() == tg.float32
    assert np.array_equal(tg.randn(3).numpy(), expected)


@each_item
def test_every_broken_twin_fails_the_check_that_it_names(number: int) -> None:
    experiment = found(number)
    assert bool(experiment.twins) != (number in WITHOUT_TWINS)
    for twin in experiment.twins:
        check = twin().check(twin.fails)
        assert not check.passed, f"{twin.mistake}: {check}"


@each_item
def test_its_page_has_everything(number: int) -> None:
    experiment = found(number)
    claim, context, sections = divided(experiment.text)
    assert claim.endswith(".") and len(claim) <= 120 and context
    expected = [name for name in SECTIONS if (number, name) not in WITHOUT_SECTION]
    assert [name for name in sections if name in SECTIONS] == expected
    assert experiment.number == number and experiment.title and experiment.source and experiment.seconds <= 5


@each_item
def test_its_lines_and_its_smallest_case_can_be_read_in_one_look(number: int) -> None:
    experiment = found(number)
    assert experiment.lines.count("\n") < 24
    tape = experiment.tape()
    assert tape is None or 0 < len(tape.records) <= 100


@pytest.mark.thorough
@each_item
def test_pictures_are_drawn_and_a_seed_gives_the_same_bytes(number: int) -> None:
    experiment = found(number)
    first, second = experiment("quick", 3), experiment("quick", 3)
    for name, value in first.arrays.items():
        assert np.array_equal(value, second.arrays[name], equal_nan=True), name
    first.figure()


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(1, 20))
@each_item
def test_checks_pass_with_other_seeds(number: int, seed: int) -> None:
    assert [str(check) for check in found(number)("quick", seed).checks if not check.passed] == []
