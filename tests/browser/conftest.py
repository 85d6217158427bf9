"""What the tests in a browser share: Chromium, and pages that note what they ask for and what they complain about."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser import chromium
from tests.browser.chromium import Shown


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests in a browser are left out unless they are asked for (``-m browser``), and skipped where there is none."""
    here = pathlib.Path(__file__).parent
    mine = [item for item in items if item.path.is_relative_to(here)]
    for item in mine:
        item.add_marker("browser")
    if "browser" not in (config.option.markexpr or ""):
        config.hook.pytest_deselected(items=mine)
        items[:] = [item for item in items if item not in mine]
        return
    reason = chromium.missing() if mine else None
    for item in mine if reason else ():
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, one for all tests of a process."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        running = p.chromium.launch(executable_path=chromium.executable(), args=chromium.ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def show(browser: Any, tmp_path: pathlib.Path) -> Iterator[Callable[..., Shown]]:
    """Open a page from a file; it must ask for nothing but itself, and write nothing to the console."""
    with contextlib.ExitStack() as stack:
        shown: list[Shown] = []

        def show(page: Any, *, fragment: str = "", scripts: bool = True, **context: Any) -> Shown:
            path = tmp_path / f"page{len(shown)}.html"
            path.write_text(page if isinstance(page, str) else page.html, encoding="utf-8", newline="\n")
            made = browser.new_context(java_script_enabled=scripts, viewport={"width": 1400, "height": 900}, **context)
            stack.callback(made.close)
            shown.append(Shown(made.new_page(), path, scripts))
            shown[-1].open(fragment)
            return shown[-1]

        yield show
        for each in shown:
            each.check()
