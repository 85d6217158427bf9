"""The pages of docs/lab, made again from the experiments themselves: ``make labpages``.

    python -m tools.lab_pages [NUMBER ...]

A page has the text of the experiment's file, its lines, its checks and its broken twins; the verdict's sentence and the
picture come from a run of the quick size with seed 0.  tests/lab/test_docs.py compares all but these with the files.
"""

from __future__ import annotations

import pathlib
import sys

from tests.support.markdown import ROOT
from tinygrad_rnn.lab import catalogue
from tinygrad_rnn.lab.experiment import Experiment, Result
from tinygrad_rnn.lab.page import as_markdown, divided
from tinygrad_rnn.lab.pictures import as_svg

FOLDER = ROOT / "docs" / "lab"
VERDICT = "**Verdict: "

INDEX = """\
# The laboratory

What is said about gradients through time, as experiments that can fail. Each page has a claim with its source, the
mathematics, the lines that do it, a picture, and what would have to be true for it to be false. Behind it stand checks
with bounds, and *broken twins*: variants with the mistake that the page is about, each of which must fail a check.

```python
>>> from tinygrad_rnn import lab
>>> result = lab.run("spectral-radius")
>>> result.verdict, result.passed
('false as stated', True)

```

At the command line, `tinygrad-rnn lab list` lists them, `tinygrad-rnn lab 5` runs one and leaves its page with all
numbers, `tinygrad-rnn lab all --broken` runs all of them and their twins (extra `lab` for pictures and pages).

| | | |
|---|---|---|
"""


def place(experiment: Experiment) -> pathlib.Path:
    """Where the page of an experiment is."""
    return FOLDER / f"{experiment.number:02}-{experiment.name}.md"


def picture(experiment: Experiment) -> pathlib.Path:
    """Where its picture is."""
    return FOLDER / "images" / f"{experiment.number:02}-{experiment.name}.svg"


def markdown(experiment: Experiment, checks: list[str], verdict: str, pictured: bool) -> str:
    """The page.

    Args:
        experiment: whose page it is.
        checks: the lines of the table of checks.
        verdict: the line with the verdict.
        pictured: whether there is a picture.
    """
    claim, context, sections = divided(experiment.text)
    parts = [f"# {experiment.title}", claim, f"Source: {experiment.source}.", verdict, as_markdown(context)]
    if pictured:
        parts.append(f"![{experiment.title}: {claim}](images/{picture(experiment).name})")
    mathematics = sections.pop("Mathematics", "")
    if mathematics:
        parts += ["## Mathematics", as_markdown(mathematics)]
    if experiment.lines:
        path = experiment.path.relative_to(ROOT).as_posix()
        parts += ["## The lines that do it", f"<!-- source: {path} lab -->\n```python\n{experiment.lines}\n```"]
    if checks:
        parts += ["## Checks", "\n".join(["| check | must be | why this bound |", "|---|---|---|", *checks])]
    if experiment.twins:
        found = [f"- {twin.mistake}: fails *{twin.fails}*" for twin in experiment.twins]
        parts += ["## Mistakes that this finds", "\n".join(found)]
    for heading, content in sections.items():
        parts += [f"## {heading}", as_markdown(content)]
    parts.append(f"Run it: `tinygrad-rnn lab {experiment.name}`. [All experiments](README.md).")
    return "\n\n".join(parts) + "\n"


def rows(result: Result) -> list[str]:
    """The table of checks."""
    return [
        "| " + " | ".join(text.replace("|", "\\|") for text in (check.name, check.demanded, check.why)) + " |"
        for check in result.checks
    ]


def verdict(result: Result) -> str:
    """The line with the verdict."""
    return f"{VERDICT}{result.verdict}**: {result.because}."


def index() -> str:
    """The page that leads to them."""
    lines = []
    for each in catalogue.experiments():
        shown = f'<img src="images/{picture(each).name}" alt="{each.title}: {each.claim}" width="240">'
        shown = shown if picture(each).exists() else ""
        lines.append(f"| {each.number} | [{each.title}]({place(each).name}): {each.claim} | {shown} |\n")
    return INDEX + "".join(lines)


def main(numbers: list[int]) -> None:
    """Make the pages."""
    (FOLDER / "images").mkdir(parents=True, exist_ok=True)
    for number in numbers or catalogue.files():
        experiment = catalogue.find(number)
        result = experiment()
        if not result.passed:
            raise SystemExit(f"{experiment.name}: a check failed\n{result.table()}")
        figure = result.figure()
        if figure is not None:
            picture(experiment).write_text(as_svg(figure), encoding="utf-8", newline="\n")
        text = markdown(experiment, rows(result), verdict(result), figure is not None)
        place(experiment).write_text(text, encoding="utf-8", newline="\n")
    (FOLDER / "README.md").write_text(index(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]])
