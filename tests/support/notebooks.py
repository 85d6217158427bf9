"""Cells of a notebook, run by Jupyter's own kernel."""

from __future__ import annotations

import re
from typing import Any

import pytest

__all__ = ["WITHOUT", "errors_of", "executed", "html_of", "text_of"]

WITHOUT = "notebooks are run by the extra `notebook`: see `make notebooks`"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


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
