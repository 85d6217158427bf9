"""Twelve programs, each with the page that steps through its backward pass.

A program is a function whose docstring says what to look for, and which returns its tape.  What the site shows of it is
its own source.
"""

from __future__ import annotations

import ast
import inspect
import pathlib
import textwrap
from collections.abc import Callable, Iterator
from typing import NamedTuple

import tinygrad_rnn as tg
from tinygrad_rnn.viz.debugger import debugger

__all__ = ["PROGRAMS", "Program", "build", "sources"]


class Program(NamedTuple):
    """A program of the gallery.

    Attributes:
        title: its heading.
        run: gives the tape, and the error that the program ended with; None if it did not.
    """

    title: str
    run: Callable[[], tuple[tg.Tape, Exception | None]]

    @property
    def name(self) -> str:
        """As in the address of its page."""
        return self.run.__name__.replace("_", "-")

    @property
    def text(self) -> str:
        """What to look for, in Markdown."""
        return inspect.getdoc(self.run) or ""

    @property
    def code(self) -> str:
        """The lines of the program, as they stand in this file."""
        lines = inspect.getsource(self.run).splitlines()
        (tree,) = ast.parse(textwrap.dedent("\n".join(lines))).body
        assert isinstance(tree, ast.FunctionDef)
        first = tree.body[0].end_lineno or 0
        return textwrap.dedent("\n".join(lines[first : tree.body[-1].lineno - 1]))


PROGRAMS: list[Program] = []


def program(title: str) -> Callable[[Callable[[], tuple[tg.Tape, Exception | None]]], Program]:
    """Make a function a program of the gallery."""

    def made(run: Callable[[], tuple[tg.Tape, Exception | None]]) -> Program:
        PROGRAMS.append(Program(title, run))
        return PROGRAMS[-1]

    return made


@program("A value used twice")
def used_twice() -> tuple[tg.Tape, Exception | None]:
    """y = x² + x, written with a product. Three uses of x give three shares: x and x from the product, 1 from the sum.

    Stop where the sweep reaches x for the first time: its gradient is not complete before the last share is there.
    """
    x = tg.tensor(3.0, requires_grad=True)
    with tg.Tape() as tape:
        y = x * x + x
        y.backward()
    return tape, None


@program("One weight, three steps")
def tied_weight() -> tuple[tg.Tape, Exception | None]:
    """A recurrent network in its smallest form. `W.grad` is a sum of three shares, one for each step.

    Open the table of `W.grad` at the end: the last step's share comes first, because the sweep goes backwards.
    """
    W = tg.tensor([[0.5, -0.3], [0.2, 0.8]], requires_grad=True)
    with tg.Tape() as tape:
        h = tg.tensor([1.0, -1.0])
        for t in range(3):
            with tape.at(t=t):
                h = tg.tanh(W @ h)
        h.sum().backward()
    return tape, None


@program("Broadcasting")
def broadcasting() -> tuple[tg.Tape, Exception | None]:
    """A bias is added to every row. On the way back its cotangent is summed over the axis along which it was repeated.

    The step of `add` shows both vjps: the one of the product passes g on, the one of `b` has the sum.
    """
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    W = tg.tensor([[0.1, 0.2], [0.3, 0.4]], requires_grad=True)
    b = tg.tensor([0.5, -0.5], requires_grad=True)
    with tg.Tape() as tape:
        y = x @ W + b
        loss = (y * y).mean()
        loss.backward()
    return tape, None


@program("An RNN over five steps")
def rnn() -> tuple[tg.Tape, Exception | None]:
    """`nn.RNN` is one record; `o` opens it, and shows the same computation step by step.

    Double an input below *What if*: the page computes everything again, forward and back.
    """
    tg.manual_seed(6)
    layer = tg.nn.RNN(2, 3)
    x = tg.randn(5, 1, 2)
    with tg.Tape() as tape:
        output, _ = layer(x)
        loss = (output[-1] ** 2).sum()
        loss.backward()
    return tape, None


@program("An LSTM over five steps")
def lstm() -> tuple[tg.Tape, Exception | None]:
    """Two things are carried back: the cotangent of h, through the gates, and that of c, through the forget gate alone.

    Compare the colours of the row of c with those of the row of h.
    """
    tg.manual_seed(0)
    layer = tg.nn.LSTM(2, 3, forget_bias=2.0)
    x = tg.randn(5, 1, 2)
    with tg.Tape() as tape:
        _, (h_n, _) = layer(x)
        loss = (h_n**2).sum()
        loss.backward()
    return tape, None


@program("A GRU over five steps")
def gru() -> tuple[tg.Tape, Exception | None]:
    """The update gate mixes the old state with a new one. Its direct way back is the product of the update gates.

    The bias of the reset gate's product stands inside the product with r, as in cuDNN and PyTorch.
    """
    tg.manual_seed(0)
    layer = tg.nn.GRU(2, 3)
    x = tg.randn(5, 1, 2)
    with tg.Tape() as tape:
        _, h_n = layer(x)
        loss = (h_n**2).sum()
        loss.backward()
    return tape, None


@program("Kept, and freed")
def kept_and_freed() -> tuple[tg.Tape, Exception | None]:
    """The first sweep keeps what it reads, the second frees it, and the third finds nothing.

    Choose the sweep above. `w.grad` adds up over sweeps: 6, then 12. The third one ends with an error, which the page
    shows at its line.
    """
    w = tg.tensor(3.0, requires_grad=True)
    failed = None
    with tg.Tape() as tape:
        y = w * w
        y.backward(retain_graph=True)
        y.backward()
        try:
            y.backward()
        except tg.errors.GraphError as error:
            failed = error
    return tape, failed


@program("The second derivative")
def second_derivative() -> tuple[tg.Tape, Exception | None]:
    """With `create_graph=True` the sweep is recorded: the vjps leave records, and a second sweep goes through both.

    x³ at 2: first 12, then again 12, which is 6 x.
    """
    x = tg.tensor(2.0, requires_grad=True)
    with tg.Tape() as tape:
        y = x * x * x
        (dy,) = tg.autograd.grad(y, x, create_graph=True)
        assert dy is not None
        tg.autograd.grad(dy, x)
    return tape, None


@program("Overwritten too early")
def overwritten() -> tuple[tg.Tape, Exception | None]:
    """exp keeps its own result, because that is its derivative. Here the result is overwritten before the sweep.

    The error says which record reads it, and the page marks the line. `h = h + 1` would be right.
    """
    x = tg.tensor([0.0, 1.0], requires_grad=True)
    failed = None
    with tg.Tape() as tape:
        h = tg.exp(x)
        h += 1
        try:
            h.sum().backward()
        except tg.errors.GraphError as error:
            failed = error
    return tape, failed


@program("Clipping")
def clipping() -> tuple[tg.Tape, Exception | None]:
    """A loss that is steep at its start. The gradient has the norm 4000; what the optimiser sees is clipped to 1.

    Clipping happens after the sweep and is not part of the graph: its direction stays, its length does not.
    """
    w = tg.tensor([10.0, 0.0], requires_grad=True)
    with tg.Tape() as tape:
        loss = (w[0] ** 4) + w[1] ** 2
        loss.backward()
    tg.nn.utils.clip_grad_norm_([w], 1.0)
    return tape, None


@program("An embedding")
def embedding() -> tuple[tg.Tape, Exception | None]:
    """Three symbols are looked up, one of them twice. Its row gets two shares, rows that are not read get none.

    The vjp of the look-up adds rows where they came from: it is the adjoint of reading.
    """
    tg.manual_seed(0)
    layer = tg.nn.Embedding(4, 2)
    text = tg.tensor([2, 0, 2])
    with tg.Tape() as tape:
        rows = layer(text)
        loss = (rows * tg.tensor([[1.0], [10.0], [100.0]])).sum()
        loss.backward()
    return tape, None


@program("A gradient that vanishes")
def vanishing() -> tuple[tg.Tape, Exception | None]:
    """Thirty steps of a tanh RNN whose matrix has a spectral radius of 0.6: colours fade to the left.

    The bars are the shares of `W.grad` by time step. What happened at the beginning is all but lost in it.
    """
    tg.manual_seed(0)
    W = (0.6 * tg.tensor([[0.8, -0.6], [0.6, 0.8]])).requires_grad_()
    U = tg.randn(2, 1).requires_grad_()
    x = tg.randn(30, 1)
    with tg.Tape() as tape:
        h = tg.zeros(2)
        for t in range(30):
            h = tg.tanh(W @ h + U @ x[t])
        loss = h.sum()
        loss.backward()
    return tape, None


# pages ---------------------------------------------------------------------------------------------------------------

INTRO = """\
# Gallery

Twelve small programs, and for each the page that steps through its backward pass, as `tape.show()` opens it: every
value, every cotangent, every share. Click on a picture. `?` lists the keys; [seeing a backward pass](../seeing.md) says
how to read it.
"""


def sources() -> Iterator[tuple[str, str]]:
    """The page that leads to them, and a still picture of each."""
    parts = [INTRO]
    for each in PROGRAMS:
        picture = f'<img src="{each.name}.svg" alt="{each.title}: its records, shaded by the size of the cotangents">'
        link = f'<p><a class="button" href="{each.name}.html">Step through it</a></p>'
        parts += [f"## {each.title}", each.text, f"```python\n{each.code}\n```"]
        parts.append(f'<a class="picture" href="{each.name}.html">{picture}</a>\n{link}')
        yield f"gallery/{each.name}.svg", each.run()[0].to_svg()
    yield "gallery/index.md", "\n\n".join(parts) + "\n"


def build(site: pathlib.Path) -> None:
    """Write the twelve pages."""
    for each in PROGRAMS:
        tape, error = each.run()
        debugger(tape, title=each.title, error=error).save(site / "gallery" / f"{each.name}.html")
