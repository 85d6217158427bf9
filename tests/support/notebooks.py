"""Cells of a notebook, run by Jupyter's own kernel.

``python -m tests.support.notebooks`` stores in docs/notebooks the texts that they give now.
"""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest

from tests.support.markdown import ROOT

__all__ = ["NOTEBOOKS", "WITHOUT", "errors_of", "executed", "html_of", "store", "text_of"]

WITHOUT = "notebooks are run by the extra `notebook`: see `make notebooks`"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def executed(cells: list[str], allow_errors: bool = False) -> list[list[Any]]:
    """The outputs of each cell, all run in one kernel; skips the test where there is none."""
    nbformat = pytest.importorskip("nbformat", reason=WITHOUT)
    nbclient = pytest.importorskip("nbclient", reason=WITHOUT)
    pytest.importorskip("ipykernel", reason=WITHOUT)
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    client = nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=allow_errors)
    client.execute()
    return [cell.outputs for cell in notebook.cells]


def text_of(outputs: list[Any]) -> str:
    """What a terminal would show: what was printed, then the texts of what was displayed."""
    streams = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    shown = [output.data.get("text/plain", "") for output in outputs if "data" in output]
    return "\n".join([part for part in (streams.rstrip("\n"), *shown) if part])


def html_of(outputs: list[Any]) -> list[str]:
    """The HTML of what was displayed."""
    return [output.data["text/html"] for output in outputs if "data" in output and "text/html" in output.data]


def errors_of(outputs: list[Any]) -> list[str]:
    """The tracebacks, without colours."""
    found = [output for output in outputs if output.output_type == "error"]
    return [COLOURS.sub("", "\n".join(output.traceback)) for output in found]


def store(path: pathlib.Path) -> None:
    """Run a notebook and write the texts of its outputs into it."""
    plain = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in plain["cells"] if cell["cell_type"] == "code"]
    for cell, outputs in zip(cells, executed(["".join(cell["source"]) for cell in cells]), strict=True):
        cell["outputs"] = []
        for output in outputs:
            kept = {key: value for key, value in output.items() if key not in ("transient", "metadata")}
            if "data" in kept:
                lines = kept["data"]["text/plain"].splitlines(keepends=True)
                kept |= {"data": {"text/plain": lines}, "metadata": {}}
            else:
                kept["text"] = kept["text"].splitlines(keepends=True)
            if "execution_count" in kept:
                kept["execution_count"] = None
            cell["outputs"].append(dict(sorted(kept.items())))
    path.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for found in NOTEBOOKS:
        store(found)
