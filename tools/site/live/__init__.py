"""The page on which the engine in a hundred lines runs: Python in the browser, without a network and without a server.

``python -m tools.site.live DIR`` makes it alone, under DIR/live.  Python is Pyodide, CPython as WebAssembly, from its
package at npm: of one version, whose digest is known.  Browsers let a page from the disk read no file but scripts.  So
the parts of Pyodide are written as scripts: each hands over the bytes of one part, compressed, as text.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from html import escape
from pathlib import Path

from tinygrad_rnn.teaching import engine, mutants

__all__ = ["EXAMPLES", "Unavailable", "build"]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CACHE = ROOT / "build" / "npm"
PACKAGE, VERSION = "pyodide", "314.0.8"
DIGEST = "74Wq1kXOC+CCEzAfxuRAO701nAcCMLjf8NrwvWpu8S41dVMXwXmLQ05dYB+F4e46AdnGo0oq7YHSVUpHsoarLQ=="
"""Of the package's archive, SHA-512 in base 64, as the registry has it."""
PARTS = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")

EXAMPLES = {
    "The chain rule": """\
# y = tanh(w x). How does y change with w?
w = Value(0.5)
x = Value(2.0)
y = tanh(mul(w, x))
backward(y)
print("dy/dw =", w.grad)
""",
    "One value, two uses": """\
# a is used twice: its gradient is the sum of what comes back from both.
a = Value(3.0)
b = mul(a, a)
y = add(b, a)
backward(y)
print("dy/da =", a.grad)        # 2 * 3 from the product, 1 from the sum
""",
    "A recurrent network": """\
# One weight, used at every step. Watch its gradient grow by one share per step.
w = Value(0.9)
h = Value(0.0)
for x in [1.0, 0.5, -1.0]:
    h = tanh(add(mul(w, h), Value(x)))
backward(h)
print("dh/dw =", w.grad)
""",
    "A vanishing gradient": """\
# How much of a change of the first state is left after 20 steps?
w = Value(0.8)
start = Value(0.5)
h = start
for _ in range(20):
    h = tanh(mul(w, h))
backward(h)
print("dh/dstart =", start.grad)
""",
    "Vectors and a matrix": """\
W = Value([[0.5, -1.0], [0.0, 2.0]])
h = Value([1.0, 0.5])
for _ in range(2):
    h = tanh(matvec(W, h))
backward(total(h))
print(W.grad)
""",
    "Going back twice": """\
# What a sweep has used is freed: the second one is refused.
a = Value(2.0)
y = mul(a, a)
backward(y)                     # try: backward(y, retain=True)
backward(y)
""",
}
"""Programs to begin with, by their titles."""


class Unavailable(RuntimeError):
    """Pyodide cannot be had: no npm, no network, or another archive than was expected."""


def build(site: Path) -> Path:
    """Write the page, and what it needs, into ``site/live``.

    Returns:
        the page.

    Raises:
        Unavailable: Pyodide is not in the cache and cannot be fetched.
    """
    folder = site / "live"
    archive = fetched()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        for part in PARTS:
            member = tar.extractfile(f"package/{part}")
            assert member is not None, part
            packed = base64.b64encode(gzip.compress(member.read(), 9, mtime=0)).decode()
            (folder / f"{part}.js").write_text(f"part({json.dumps(part)}, {json.dumps(packed)});\n", encoding="ascii")
        license_text = tar.extractfile("package/README.md")
        assert license_text is not None
        (folder / "pyodide-README.md").write_bytes(license_text.read())
    for name in ("page.css", "page.js"):
        shutil.copyfile(HERE / name, folder / name)
    (folder / "data.js").write_text(_data(), encoding="utf-8")
    page = (HERE / "page.html").read_text(encoding="utf-8")
    scripts = "\n".join(f'<script defer src="{part}.js"></script>' for part in PARTS)
    page = page.replace("<!-- parts -->", scripts).replace("<!-- engine -->", _source())
    (folder / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def _data() -> str:
    """What the page's script reads: the modules, the worker's text, the examples."""
    package = "tinygrad_rnn/teaching"
    modules = {
        "tinygrad_rnn/__init__.py": "",
        f"{package}/__init__.py": "",
        f"{package}/engine.py": Path(engine.__file__).read_text(encoding="utf-8"),
        f"{package}/mutants.py": Path(mutants.__file__).read_text(encoding="utf-8"),
        "session.py": (HERE / "session.py").read_text(encoding="utf-8"),
    }
    known = {
        "modules": modules,
        "worker": (HERE / "worker.js").read_text(encoding="utf-8"),
        "examples": EXAMPLES,
        "version": VERSION,
    }
    return f"const LIVE = {json.dumps(known)};\n"


def _source() -> str:
    """The engine's text, a line each."""
    lines = Path(engine.__file__).read_text(encoding="utf-8").splitlines()
    return "".join(f'<span class="line" id="L{k}">{escape(line) or " "}</span>' for k, line in enumerate(lines, 1))


def fetched() -> Path:
    """The archive of Pyodide, from the cache, or from npm's registry.

    Raises:
        Unavailable: it is neither here nor there.
    """
    archive = CACHE / f"{PACKAGE}-{VERSION}.tgz"
    if archive.exists() and _digest(archive) == DIGEST:
        return archive
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        command = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", place]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        except FileNotFoundError:
            raise Unavailable("npm is not installed, and with it comes Pyodide for the live page") from None
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Unavailable(f"npm cannot fetch {PACKAGE} {VERSION}: {last}") from None
        except subprocess.TimeoutExpired:
            raise Unavailable(f"npm did not fetch {PACKAGE} {VERSION} within 300 s") from None
        (found,) = Path(place).glob("*.tgz")
        if _digest(found) != DIGEST:
            raise Unavailable(f"{PACKAGE} {VERSION} from npm is not what it was: its SHA-512 is {_digest(found)}")
        found.replace(archive)
    return archive


def _digest(archive: Path) -> str:
    return base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
