"""``tinygrad-rnn explain``: run a script, and make a page that shows a backward pass of it.

    tinygrad-rnn explain [options] script.py [arguments of the script]
    tinygrad-rnn explain [options] -m module [arguments of the module]
    tinygrad-rnn explain [options] -- script.py [arguments, none of which is ours]

The script runs as ``python script.py`` would run it, in this process, and computes the same; what it records is
watched.  Of its calls of ``backward`` and ``grad`` the last is shown, or the one that ``--call`` names.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import GraphError, UsageError
from ..serialization.atomic import atomic_write
from ..tape.observe.calls import Calls
from ..tape.observe.pictures import drawn_by
from ..tape.observe.tape import Tape
from ..terminal import say
from .script import Script

__all__ = ["add_arguments", "divided", "run"]

OPTIONS = {"--out": True, "--call": True, "--values": True, "--title": True, "--no-open": False, "--text": False}
"""Our options, and whether each has a value."""

VALUES = 4096
"""The number of entries up to which an array is shown whole, unless --values says otherwise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the program; the script and its arguments are cut off before, by :func:`divided`."""
    parser.add_argument("--out", type=Path, help="the page (default: SCRIPT.tape.html, here)", metavar="FILE")
    text = "which call of backward or grad to show, from 1 on, or `all` for the whole run (default: the last)"
    parser.add_argument("--call", type=_call, help=text, metavar="N")
    text = (
        f"arrays of up to N entries are on the page, and a summary of larger ones; `all`; `shapes` (default {VALUES})"
    )
    parser.add_argument("--values", type=_values, default=VALUES, help=text, metavar="N")
    parser.add_argument("--title", help="of the page (default: the command)", metavar="TEXT")
    parser.add_argument("--no-open", action="store_true", help="do not open the page in a browser")
    parser.add_argument("--text", action="store_true", help="print the tape as text; no page, unless --out names one")


def _call(text: str) -> int | str:
    number = text if text == "all" else int(text) if text.isascii() and text.isdigit() else 0
    if number == 0:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, or `all`, got {text!r}")
    return number


def _values(text: str) -> int | str:
    if text in ("all", "shapes"):
        return text
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected `all`, `shapes` or a number of entries, got {text!r}")
    return int(text)


def divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our options, and the script with its arguments.

    Ours may stand before the script or among its arguments; after a ``--`` nothing is ours.

    >>> divided(["--call", "3", "rnn.py", "--epochs", "2", "--out=page.html"])
    (['--call', '3', '--out=page.html'], ['rnn.py', '--epochs', '2'])
    >>> divided(["--text", "--", "-m", "package.rnn", "--out", "weights"])
    (['--text'], ['-m', 'package.rnn', '--out', 'weights'])
    """
    ours: list[str] = []
    theirs: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, has_value, _ = word.partition("=")
        if word == "--":
            theirs += [word, *waiting] if theirs else waiting
            break
        if name in OPTIONS or (not theirs and word.startswith("-") and not word.startswith("-m")):
            ours.append(word)
            if OPTIONS.get(name) and not has_value:
                ours += waiting[:1]
                del waiting[:1]
        elif not theirs and word == "-m":
            theirs += [word, *waiting[:1]]
            del waiting[:1]
        else:
            theirs.append(word)
    if theirs and theirs[0].startswith("-m") and len(theirs[0]) > 2:  # -mmodule
        theirs[:1] = "-m", theirs[0][2:]
    return ours, theirs


def run(
    words: Sequence[str],
    out: Path | None,
    call: int | str | None,
    values: int | str,
    title: str | None,
    no_open: bool,
    text: bool,
) -> int:
    """Run the script that ``words`` begin with, and make the page.

    Returns:
        the exit status of the script.

    Raises:
        UsageError: no such script, a page that cannot be written, no such call, or nothing recorded.
    """
    if not words or words == ["-m"]:
        raise UsageError("a script is required: tinygrad-rnn explain [options] script.py [its arguments]")
    script = Script(words)
    path = None if text and out is None else _place(out, script)
    calls = Calls(call, values=values)
    before = list(sys.argv), list(sys.path)
    with calls:
        outcome = script.run()
    with _as_it_was(*before):
        tape = calls.tape(stopped=outcome.error is not None)
        if tape is None:
            reason = _why_none(calls, call, script, outcome.error is not None)
            if outcome.error is None:
                raise UsageError(reason)
            say(f"no page: {reason}")
            return outcome.status
        # a call that was over, and is the one that was wanted, has nothing to do with how the script ended
        error = None if isinstance(call, int) and calls.count > call else outcome.error
        what = _described(calls, call, tape, error)
        if text:
            if hasattr(sys.stdout, "reconfigure"):
                sys.stdout.reconfigure(errors="backslashreplace")  # bars of block characters
            print(_as_text(tape))
        if path is not None:
            page = drawn_by("debugger").debugger(
                tape, title=f"{script}: {what}" if title is None else title, error=error
            )
            atomic_write(path, [page.html.encode("utf-8")])
            say(f"{path}: {what}")
            if not no_open and _has_browser():
                webbrowser.open(path.as_uri())
    return outcome.status


@contextlib.contextmanager
def _as_it_was(argv: list[str], path: list[str]) -> Iterator[None]:
    """Inside, what the script may have changed is as it was before it; its threads and exit functions need theirs."""
    after = sys.argv, list(sys.path)
    sys.argv, sys.path[:] = argv, path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            yield
    finally:
        sys.argv, sys.path[:] = after


def _place(out: Path | None, script: Script) -> Path:
    """Where the page goes.  Looked at before the script runs: after an hour of training it would be too late."""
    path = Path(f"{script.name}.tape.html") if out is None else out
    path = path.absolute()
    if path.is_dir():
        raise UsageError(f"--out: {path} is a folder")
    if not path.parent.is_dir():
        raise UsageError(f"--out: no such folder: {path.parent}")
    target = path if path.exists() else path.parent
    if not os.access(target, os.W_OK):
        raise UsageError(f"--out: {target} cannot be written")
    return path


def _why_none(calls: Calls, call: int | str | None, script: Script, stopped: bool) -> str:
    """Why there is no tape."""
    if calls.is_empty:
        return f"{script} recorded nothing: no tensor that requires grad was used in its main thread"
    if isinstance(call, int) and calls.count < call - 1 and stopped:
        return f"the script stopped after {calls.count} calls of backward or grad, long before --call {call}"
    times = {0: "never", 1: "once"}.get(calls.count, f"{calls.count} times")
    return f"--call {call}: {script} called backward or grad {times}"


def _described(calls: Calls, call: int | str | None, tape: Tape, error: BaseException | None) -> str:
    """Which part of the run a tape is, in words."""
    records = f"{len(tape.records)} record{'' if len(tape.records) == 1 else 's'}"
    stopped = "" if error is None else f", stopped by {type(error).__name__}"
    if not tape.sweeps:
        after = f" after backward pass {calls.count}" if calls.count else ", no backward pass"
        return f"{records}{after}{stopped}"
    if call == "all":
        passes = "one backward pass" if calls.count == 1 else f"all {calls.count} backward passes"
        return f"{passes}, {records}{stopped}"
    shown = min(calls.count, call) if isinstance(call, int) else calls.count
    return f"backward pass {shown} of {calls.count}, {records}{stopped}"


def _as_text(tape: Tape) -> str:
    """The tape by time steps, then each gradient as the sum that it is."""
    parts = [tape.tree(), *(f"sweep {sweep.number} was ended by {sweep.error}" for sweep in tape.sweeps if sweep.error)]
    for leaf in tape.leaves:
        with contextlib.suppress(GraphError):  # no sweep came to it
            parts.append(str(tape.explain(leaf.name)))
    return "\n\n".join(parts)


def _has_browser() -> bool:
    """Whether somebody sits at a terminal with a screen: a browser for terminals would take the terminal."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        return False
    screen = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return os.name == "nt" or sys.platform == "darwin" or any(os.environ.get(name) for name in screen)
