"""The sources of the site, put together in one folder: docs/ as it is, and pages that are made of something else."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
from collections.abc import Iterator

from tinygrad_rnn.lab import catalogue as lab
from tinygrad_rnn.teaching.course import catalogue as course
from tinygrad_rnn.teaching.course.exercise import Exercise

from . import gallery, reference

__all__ = ["stage"]

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"

GUIDES = {
    "Learn": ("how-the-tape-works", "engine-in-100-lines", "live", "course", "course/index", "notebooks/index"),
    "See": ("seeing", "gallery/index", "diagnostics", "tape-format"),
    "The laboratory": ("lab/README", "papers"),
    "Use": ("coming-from-pytorch", "conventions", "cells", "writing-in-place", "testing-gradients", "gpu", "measuring"),
    "Reference": ("reference/index",),
    "The project": ("architecture", "contributing", "changelog"),
}
"""What stands beside each page, by groups; what is not there is left out."""

PICTURE = re.compile(r'<picture>\s*<source[^>]*srcset="([^"]+)">\s*<img alt="([^"]+)" src="([^"]+)">\s*</picture>')


LIVE = """\
# The engine, live

The engine in a hundred lines runs in your browser, in Python, from your disk: write a program, run it, and step
through its backward pass line by line of the engine. Beside it are eight engines with one
mistake each: find programs that tell.

<p><a class="button" href="live/index.html">Open the engine</a></p>

It takes some seconds to start, in which Python is unpacked. [The engine in a hundred lines](engine-in-100-lines.md)
explains what runs there.
"""


def stage(folder: pathlib.Path, live: bool) -> None:
    """Write the sources of all pages into an empty folder; ``live``: whether there is the page that runs Python."""
    texts = dict(sources()) | ({"live.md": LIVE} if live else {})
    missing = [name for names in GUIDES.values() for name in names if f"{name}.md" not in texts]
    assert set(missing) <= {"live"}, missing
    texts["index.md"] += toctrees(texts)
    texts["lab/README.md"] += reference.toctree(f"{each.number:02}-{each.name}" for each in lab.experiments())
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    for images in ("images", "lab/images"):
        shutil.copytree(DOCS / images, folder / images)


def sources() -> Iterator[tuple[str, str]]:
    """The sources: names in the folder, and texts."""
    for path in [*DOCS.glob("*.md"), *DOCS.glob("lab/*.md")]:
        yield path.relative_to(DOCS).as_posix(), path.read_text(encoding="utf-8")
    yield "index.md", at_root((ROOT / "README.md").read_text(encoding="utf-8"))
    yield "contributing.md", at_root((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    yield "changelog.md", at_root((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    yield from notebooks()
    yield from exercises()
    yield from gallery.sources()
    yield from reference.sources()


def at_root(text: str) -> str:
    """A page of the repository's root as one of docs/: its links and pictures lead to where they are there."""
    text = PICTURE.sub(r"![\2](\3){.only-light}\n![\2](\1){.only-dark}", text)
    text = re.sub(r"\]\(docs/notebooks/\)", "](notebooks/index.md)", text)
    text = re.sub(r"\]\(docs/", "](", text)
    return text.replace("](CONTRIBUTING.md)", "](contributing.md)").replace("](CHANGELOG.md)", "](changelog.md)")


def toctrees(texts: dict[str, str]) -> str:
    """What the start page leads to."""
    listed = {name for names in GUIDES.values() for name in names}
    others = sorted(path.stem for path in DOCS.glob("*.md") if path.stem not in listed)
    groups = {caption: [name for name in names if f"{name}.md" in texts] for caption, names in GUIDES.items()}
    groups["Use"] += others
    return "".join(reference.toctree(names, caption) for caption, names in groups.items())


# notebooks -----------------------------------------------------------------------------------------------------------


def notebooks() -> Iterator[tuple[str, str]]:
    """The notebooks, with the outputs that are stored in them."""
    found = sorted((DOCS / "notebooks").glob("*.ipynb"))
    lines = []
    for path in found:
        text = notebook(path)
        title, _, rest = text.removeprefix("# ").partition("\n")
        lines.append(
            f"* [{title}]({path.stem}.md): {rest.strip().partition('. ')[0].replace(chr(10), ' ').rstrip('.')}."
        )
        yield f"notebooks/{path.stem}.md", text
    intro = (
        "# Notebooks\n\nThey are in `docs/notebooks`, and run as tests. Here are their cells and what they print.\n\n"
    )
    yield "notebooks/index.md", intro + "\n".join(lines) + "\n" + reference.toctree([path.stem for path in found])


def notebook(path: pathlib.Path) -> str:
    """The cells of a notebook as a page."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        for output in cell["outputs"]:
            lines = output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"]
            parts.append(f"```{{code-block}} text\n:class: output\n\n{''.join(lines)}\n```")
    parts.append(f"As a notebook: `docs/notebooks/{path.name}`.")
    return "\n\n".join(parts) + "\n"


# course --------------------------------------------------------------------------------------------------------------


EXERCISES = """\
# The exercises

The thirty exercises of [the course](../course.md), to be read. `tinygrad-rnn course start` copies them into a folder,
and `tinygrad-rnn course check` says which mistake an answer makes.
"""


def exercises() -> Iterator[tuple[str, str]]:
    """The course: a page for each exercise, with what the learner is given, and nothing of the solution."""
    parts = [EXERCISES]
    slugs = []
    for unit in course.UNITS:
        mine = [each for each in course.exercises() if each.unit == unit.number]
        if not mine:
            continue
        parts.append(f"## Unit {unit.number}: {unit.title}\n\n{unit.text}\n")
        parts.append("\n".join(f"{each.number}. [{each.title}]({slug(each)}.md)" for each in mine))
        slugs += [slug(each) for each in mine]
        for each in mine:
            yield f"course/{slug(each)}.md", exercise(each)
    yield "course/index.md", "\n\n".join(parts) + "\n" + reference.toctree(slugs)


def slug(exercise: Exercise) -> str:
    """The name of the page of an exercise."""
    return f"{exercise.number:02}-{exercise.name}"


def exercise(each: Exercise) -> str:
    """The page of an exercise."""
    unit = course.UNITS[each.unit - 1]
    parts = [
        f"# {each.title}",
        f"*Exercise {each.number}, unit {unit.number}: {unit.title.lower()}*",
        each.text,
        f"## What you begin with\n\n```python\n{each.starter.rstrip()}\n```",
        f"## Your answer\n\n    tinygrad-rnn course start\n    tinygrad-rnn course check {each.name}\n"
        f"    tinygrad-rnn course hint {each.name}\n\n"
        f'In a notebook: `tg.teaching.check("{each.name}", {each.function})`. There are {len(each.hints)} hints.',
    ]
    return "\n\n".join(parts) + "\n"
