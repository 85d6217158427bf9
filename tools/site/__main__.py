"""``python -m tools.site [FOLDER]``: build the site, into ``site`` unless told otherwise.

A warning of Sphinx' is an error: a link that leads nowhere, a name that does not exist, a formula that cannot be drawn.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
WORK = ROOT / "build" / "site"
"""The sources as Sphinx reads them; they may be looked at, and are written again each time."""


def build(site: pathlib.Path) -> int:
    """Build it; the exit status."""
    try:
        import furo  # noqa: F401
        import myst_parser  # noqa: F401
        from sphinx.cmd.build import main as sphinx

        from . import check, gallery, live, pages
    except ImportError as error:
        print(f"the site needs the extra `site`: pip install -e '.[site]', or make site ({error})", file=sys.stderr)
        return 1
    began = time.perf_counter()
    shutil.rmtree(WORK, ignore_errors=True)
    try:
        live.fetched()
        without = None
    except live.Unavailable as error:
        without = str(error)
    pages.stage(WORK / "pages", without is None)
    made = WORK / "html"
    jobs = str(min(4, os.cpu_count() or 1))
    options = ["-q", "-W", "--keep-going", "-E", "-j", jobs, "-b", "html", "-c", str(pathlib.Path(__file__).parent)]
    status: int = sphinx([*options, "-d", str(WORK / "doctrees"), str(WORK / "pages"), str(made)])
    if status != 0:
        print(f"the site was not built: see the warnings above (sources: {WORK / 'pages'})", file=sys.stderr)
        return status
    gallery.build(made)
    if without is None:
        live.build(made)
    shutil.rmtree(made / "_sources", ignore_errors=True)
    wrong = check.problems(made)
    if wrong:
        print(*wrong, f"the site was not built: {len(wrong)} faults on its pages", sep="\n", file=sys.stderr)
        return 1
    if site.exists():
        shutil.rmtree(site)
    site.parent.mkdir(parents=True, exist_ok=True)
    made.rename(site)
    number = sum(1 for _ in site.rglob("*.html"))
    print(f"{site / 'index.html'}: {number} pages in {time.perf_counter() - began:.0f} s")
    if without is not None:
        print(f"without the page that runs Python: {without}", file=sys.stderr)
    return 0


def main() -> int:
    """The program."""
    given = sys.argv[1:]
    if len(given) > 1 or any(word.startswith("-") for word in given):
        print("usage: python -m tools.site [FOLDER]", file=sys.stderr)
        return 0 if given in (["-h"], ["--help"]) else 2
    return build(pathlib.Path(*given) if given else ROOT / "site")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it and its processes, without a traceback of each
    sys.exit(main())
