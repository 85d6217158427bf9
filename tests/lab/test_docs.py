"""The pages of docs/lab say what the experiments say: `make labpages` makes them again."""

from __future__ import annotations

import pytest

from tinygrad_rnn.lab import catalogue
from tools import lab_pages


@pytest.mark.parametrize("number", list(catalogue.files()))
def test_the_page_is_that_of_the_experiment(number: int) -> None:
    experiment = catalogue.find(number)
    text = lab_pages.place(experiment).read_text(encoding="utf-8")
    lines = text.split("\n")
    verdict = next(line for line in lines if line.startswith(lab_pages.VERDICT))
    checks = []
    if "## Checks" in lines:
        start = lines.index("## Checks") + 4
        checks = lines[start : lines.index("", start)]
    assert text == lab_pages.markdown(experiment, checks, verdict, lab_pages.picture(experiment).exists())


def test_there_is_no_page_without_an_experiment() -> None:
    pages = {lab_pages.place(each) for each in catalogue.experiments()} | {lab_pages.FOLDER / "README.md"}
    assert set(lab_pages.FOLDER.glob("*.md")) == pages
    assert (lab_pages.FOLDER / "README.md").read_text(encoding="utf-8") == lab_pages.index()
