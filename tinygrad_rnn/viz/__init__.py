"""Tapes as pictures: the page that steps through a backward pass, still pictures, text.

It reads tapes and asks the engine for nothing; ``import tinygrad_rnn`` does not load it.

    layout.py       where each record stands, for all pictures
    still.py        a still picture, as SVG
    graph_text.py   a graph, for Graphviz and for Mermaid
    tree.py         a picture in text
    sums.py         a gradient in words and numbers
    heat.py         arrays as tables of numbers on colours
    debugger.py     the page that steps through a tape
    notebook.py     what notebooks show of it
"""

from __future__ import annotations

from .debugger import Page, debugger
from .layout import Band, Layout, Row, layout
from .sums import Explanation

__all__ = ["Band", "Explanation", "Layout", "Page", "Row", "debugger", "layout"]
