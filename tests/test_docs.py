"""Every code block of the documentation runs, and prints what the page says."""

from __future__ import annotations

import doctest
import pathlib
import re

import pytest

from tinygrad_rnn.backend.memory import release_memory

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md"])
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_print_what_the_page_says(page: pathlib.Path) -> None:
    blocks = [match.group(1) for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]
    namespace: dict[str, object] = {"__name__": "__main__"}
    ran = 0
    release_memory()  # a page measures memory; what other tests have left would be used without being counted
    for block in blocks:
        if ">>>" not in block:
            exec(compile(block, page.name, "exec"), namespace)
            ran += 1
            continue
        test = doctest.DocTestParser().get_doctest(block, namespace, page.name, str(page), 0)
        runner = doctest.DocTestRunner(optionflags=FLAGS)
        report: list[str] = []
        runner.run(test, out=report.append, clear_globs=False)
        namespace.update(test.globs)
        assert runner.failures == 0, "".join(report)
        ran += len(test.examples)
    assert ran > 0, f"{page.name} holds no example: it is prose alone, or its fences are not ```python"
