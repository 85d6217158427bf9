"""``%%tape``: a cell of a notebook that runs under a Tape, and shows what the tape saw.

``%load_ext tinygrad_rnn`` calls :func:`load`.  Nothing here imports IPython but the class of its usage errors: all goes
by way of the shell that is given.
"""

from __future__ import annotations

import argparse
import keyword
import shlex
from typing import Any, NoReturn

from ..errors import GraphError, TinygradRnnError
from ..tape.observe.names import is_of_shell
from ..tape.observe.pictures import html_of
from ..tape.observe.tape import Tape
from ..tape.tensor import Tensor

__all__ = ["load", "unload"]

HELP = """Run the cell under a Tape, and show what it saw: operations, sweeps, and the gradients' way through them.

    %%tape [NAME] [--values all|shapes|NUMBER] [--totals]

    NAME        the variable that the tape is bound to, before the cell runs, so that the cell can say in which time
                step it is: ``with NAME.at(t=t):``
    --values    what is kept of arrays: all (the default), arrays of up to so many entries, or shapes alone
    --totals    keep at each contribution the sum of what had arrived there before it, and with it

If the cell fails, the tape up to there is shown.

    %%tape tape
    h = tg.tanh(W @ x)
    h.sum().backward()
"""


class _Parser(argparse.ArgumentParser):
    """Raises where the one of a program exits."""

    def error(self, message: str) -> NoReturn:
        raise _usage_error()(f"%%tape: {message}\n\n{HELP}")


def _usage_error() -> type[Exception]:
    """What IPython shows as one line, without a traceback."""
    from IPython.core.error import UsageError

    kind: type[Exception] = UsageError
    return kind


def _values(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


def _parsed(line: str) -> argparse.Namespace:
    parser = _Parser(prog="%%tape", add_help=False)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--values", type=_values, default="all", metavar="all|shapes|NUMBER")
    parser.add_argument("--totals", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    try:
        given = parser.parse_args(shlex.split(line))
    except ValueError as error:  # a quote that does not end
        parser.error(str(error))
    if given.name and (not given.name.isidentifier() or keyword.iskeyword(given.name)):
        parser.error(f"{given.name!r} is no name of a variable")
    if isinstance(given.values, str) and given.values not in ("all", "shapes"):
        parser.error(f"--values: expected all, shapes or a number, not {given.values!r}")
    return given


class _Magic:
    """What is added to one shell."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.shown: BaseException | None = None

    def tape(self, line: str, cell: str) -> None:
        __tracebackhide__ = True  # IPython leaves such frames out
        given = _parsed(line)
        if given.help:
            print(HELP)
            return
        tape = Tape(values=given.values, totals=given.totals)
        if given.name:
            self.shell.user_ns[given.name] = tape
        with tape:
            error = _run(self.shell, cell)
            _name_last(tape, self.shell.user_ns)
        if error is None or tape.records:
            self.show(tape, error)
        if error is not None:
            raise error

    def show(self, tape: Tape, error: BaseException | None) -> None:
        """What the tape saw: a picture, or in a terminal its tree."""
        text = tape.tree() if tape.records else "nothing was recorded: no operation had an argument that requires grad"
        data = {"text/plain": text}
        html = html_of("notebook", "tape", tape, error)
        if html is not None:
            data["text/html"] = html
        self.shell.display_pub.publish(data, metadata={})

    def after_cell(self, result: Any) -> None:
        """Below the traceback of an error that has a picture, such as that of a wrong gradient, the picture."""
        error = result.error_in_exec
        if error is None or error is self.shown or not isinstance(error, TinygradRnnError):
            return
        self.shown = error  # %%tape runs a cell within a cell, and both end with it
        html = getattr(error, "_repr_html_", lambda: None)()
        if html is not None:
            data = {"text/plain": "the picture of this error is for notebooks", "text/html": html}
            self.shell.display_pub.publish(data, metadata={})


_magics: dict[int, _Magic] = {}
"""By the id of the shell."""

QUIET = ("showtraceback", "showsyntaxerror")


def _run(shell: Any, cell: str) -> BaseException | None:
    """Run a cell as if it stood alone, with what it displays; the error that ended it is given, and not shown."""
    before = {name: vars(shell).get(name) for name in QUIET}
    try:
        for name in QUIET:
            setattr(shell, name, lambda *args, **kwargs: None)
        result = shell.run_cell(cell)
    finally:
        for name, value in before.items():
            if value is None:
                delattr(shell, name)
            else:
                setattr(shell, name, value)
    if result.error_before_exec is not None:  # found by the compiler, whose frames tell nothing
        before_it: BaseException = result.error_before_exec.with_traceback(None)
        return before_it
    error: BaseException | None = result.error_in_exec
    return error


def _name_last(tape: Tape, variables: dict[str, Any]) -> None:
    """Name what the last lines of the cell computed: a tape looks for names in lines that run, and none does now."""
    found = {}
    for name, value in reversed(list(variables.items())):
        if isinstance(value, Tensor) and value.grad_fn is not None and not is_of_shell(name):
            try:
                record = tape.record_of(value)
            except GraphError:  # of another cell
                continue
            if record.variables == [None]:
                found[name] = value
    tape.name(**found)


def load(shell: Any) -> None:
    """Add ``%%tape`` to a shell of IPython, and pictures to errors that have one."""
    if id(shell) in _magics:
        return
    found = _magics[id(shell)] = _Magic(shell)

    def tape(line: str, cell: str) -> None:
        __tracebackhide__ = True
        found.tape(line, cell)

    tape.__doc__ = HELP
    shell.register_magic_function(tape, "cell", "tape")
    shell.events.register("post_run_cell", found.after_cell)


def unload(shell: Any) -> None:
    """Take away what :func:`load` added."""
    found = _magics.pop(id(shell), None)
    if found is not None:
        shell.magics_manager.magics["cell"].pop("tape", None)
        shell.events.unregister("post_run_cell", found.after_cell)
