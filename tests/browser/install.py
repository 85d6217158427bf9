"""Install what the tests in a browser need, where that can be done: playwright, Chromium, and axe-core.

    python -m tests.browser.install

Playwright comes from PyPI, Chromium and a font from the packages of a Debian or Ubuntu (as root; elsewhere the commands
are printed), axe-core, which looks for what keeps people with disabilities out, from npm.  Without axe-core its test is
skipped.  Exit status: 0 if the tests can run; 1 if not, with the reason in one line.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

from tests.browser import chromium

AXE = pathlib.Path(sys.prefix) / "axe-core" / "axe.min.js"
"""Where axe-core is put; it is no part of this repository."""

REQUIREMENT = "playwright>=1.40"
PACKAGES = ["chromium", "fonts-dejavu-core"]
SECONDS = 300


def ran(*command: str, cwd: str | None = None) -> str | None:
    """Run a command; the last line of its complaint if it failed."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=cwd, env=env)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
    return None if done.returncode == 0 else f"{command[0]}: {lines[-1]}"


def playwright() -> str | None:
    """Playwright for Python, without a browser of its own."""
    if importlib.util.find_spec("playwright") is not None:
        return None
    failed = ran(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", REQUIREMENT)
    importlib.invalidate_caches()
    return failed


def browser() -> str | None:
    """Chromium, from the system's packages."""
    if chromium.executable() is not None:
        return None
    commands = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(PACKAGES)}"
    if shutil.which("apt-get") is None:
        return f"there is no apt-get here: install one of {', '.join(chromium.NAMES)}"
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return f"as root: {commands}"
    wait = "DPkg::Lock::Timeout=120"
    return ran("apt-get", "-q", "-o", wait, "update") or ran(
        "apt-get", "-q", "-o", wait, "install", "-y", "--no-install-recommends", *PACKAGES
    )


def axe() -> str | None:
    """axe-core, as its package on npm has it."""
    if AXE.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        failed = ran("npm", "pack", "--silent", "axe-core@4", cwd=folder)
        if failed:
            return failed
        with tarfile.open(next(pathlib.Path(folder).glob("*.tgz"))) as archive:
            text = archive.extractfile("package/axe.min.js")
            assert text is not None
            AXE.parent.mkdir(parents=True, exist_ok=True)
            AXE.write_bytes(text.read())
    return None


def main() -> int:
    """Install, and say what cannot be."""
    reason = playwright() or browser()
    if reason is not None:
        print(f"no tests in a browser: {reason}", file=sys.stderr)
        return 1
    without = axe()
    if without is not None:
        print(f"without axe-core: {without}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
