"""Chromium for tests: where it is, and a page in it."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shutil
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"]
"""The sandbox wants privileges that containers do not have; these pages are our own."""


def executable() -> str | None:
    """The browser: what ``CHROMIUM`` names, or one that is installed."""
    named = os.environ.get("CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


def missing() -> str | None:
    """Why there can be no test in a browser; None if there can."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed: make test-browser"
    return None if executable() else f"none of {', '.join(NAMES)} is installed: make test-browser"


class Shown:
    """A page that was opened.

    Attributes:
        page: playwright's.
        requests, complaints: what it asked for, and what it wrote to the console or raised.
    """

    def __init__(self, page: Any, path: pathlib.Path, scripts: bool = True) -> None:
        self.page, self.path, self.scripts = page, path, scripts
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(30_000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, fragment: str = "") -> None:
        """Load it, and wait until it is ready."""
        self.page.goto(self.path.as_uri() + fragment)
        if self.scripts:
            self.page.wait_for_function("() => window.tinygrad || document.documentElement.dataset.failed")

    def evaluate(self, code: str, *given: Any) -> Any:
        """The value of JavaScript."""
        return self.page.evaluate(code, *given)

    def choose_sweep(self, number: int) -> None:
        """Go to a sweep, by the list of them; where there is one there is no list."""
        if self.evaluate("() => tinygrad.tape.sweeps.length") > 1:
            self.page.select_option("#sweep", str(number))

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def check(self) -> None:
        """It asked for nothing but itself, and complained about nothing."""
        assert {url.partition("#")[0] for url in self.requests} <= {self.path.as_uri()}, self.requests
        assert self.complaints == []
