"""The command line: ``tinygrad-rnn train``, ``sample``, ``explain``, ``lab``, ``doctor`` and ``bench``.

Exit status: 0 for success; 1 if training diverged or a check of ``lab`` or ``course`` failed; 2 for a user's mistake,
reported in one line, with nothing overwritten; 130, 143 and 129 after Ctrl-C, SIGTERM and SIGHUP (a closed terminal);
of ``explain`` that of the script.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any, NoReturn

from ..bench.program import add_arguments as add_bench_arguments
from ..bench.program import run as bench
from ..errors import CheckpointError, DeviceError, UsageError
from ..explain.program import add_arguments as add_explain_arguments
from ..explain.program import divided
from ..explain.program import run as explain
from ..lab.program import add_arguments as add_lab_arguments
from ..lab.program import run as lab
from ..teaching.course.program import add_arguments as add_course_arguments
from ..teaching.course.program import run as course
from ..terminal import ctrl_c_raises, describe_error, flush_or_silence, has_output, open_missing_streams, say
from .commands import sample, train
from .config import CELLS, DEFAULT_LR, OPTIMIZERS, Config
from .doctor import doctor
from .interrupt import Interrupted
from .loop import Diverged
from .restart import restart_with_settings

__all__ = ["entry", "main"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse would print the whole usage and end the process; ``main`` prints one line.
        raise UsageError(f"{message} (see {self.prog} --help)")


def entry() -> int:
    """The entry point of the installed program: ``main``, with the settings that OpenBLAS reads when it is loaded."""
    open_missing_streams()
    # doctor reports the settings of the user, bench makes others for itself, explain runs a program of the user's.
    if sys.argv[1:2] not in (["doctor"], ["bench"], ["explain"]):
        restart_with_settings()
    with ctrl_c_raises():
        return main()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with ``arguments`` (those of the process by default) and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    own = argparse.Namespace()
    if given[:1] == ["explain"]:
        words, own.words = divided(given[1:])
        given = ["explain", *words]
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure") and given[:1] != ["explain"]:
                # A sample may contain characters that the terminal cannot show.
                stream.reconfigure(errors="backslashreplace")
        options = vars(_parser().parse_args(given, own))
        command = options.pop("command")
        del options["name"]
        status: int | None = command(**options)
        # Here, where a failure can still be reported: at exit Python would print a traceback of its own.
        if has_output():
            sys.stdout.flush()
        return status or 0
    except Interrupted as error:
        return _end(error, error.status)
    except KeyboardInterrupt:
        return _end("interrupted", 130)
    except Diverged as error:
        return _end(error, 1)
    except BrokenPipeError:  # the reader of our output has closed it, as `head` does
        flush_or_silence(sys.stdout)
        # 128 + SIGPIPE: what a shell reports of a program that the signal has ended.
        return 141
    except (UsageError, CheckpointError, DeviceError) as error:
        return _end(error, 2)
    except MemoryError:
        return _end("not enough memory for a model or batch of this size", 2)
    except OSError as error:
        # The error may be standard output's own: flushed once more at exit, it would be raised again.
        flush_or_silence(sys.stdout)
        return _end(describe_error(error), 2)


def _end(message: object, status: int) -> int:
    say(f"{'error: ' if status in (1, 2) else ''}{message}")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tinygrad-rnn",
        description="Train a character-level language model on a tape-based autodiff engine, and write text with it.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="show the version and leave")
    commands = parser.add_subparsers(dest="name", required=True, metavar="train|sample|explain|lab|course|doctor|bench")
    _train_options(commands)
    _sample_options(commands)
    _explain_options(commands)
    _lab_options(commands)
    _course_options(commands)
    _doctor_options(commands)
    _bench_options(commands)
    return parser


def _train_options(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a language model on a text",
        description="Train a character-level language model and leave a run folder. Without options: an LSTM on the "
        "language reference that every CPython carries, in about a minute.",
        epilog="Matrix products use one thread unless OPENBLAS_NUM_THREADS or OMP_NUM_THREADS is set, and the kernels "
        "of OpenBLAS that are fast on this processor unless OPENBLAS_CORETYPE is.",
        argument_default=argparse.SUPPRESS,  # --resume has to know which options were given
        allow_abbrev=False,
    )
    parser.set_defaults(command=train)
    defaults = Config()

    def add(group: Any, flag: str, kind: type, text: str, default: Any = None, **more: Any) -> None:
        name = flag[2:].replace("-", "_")
        shown = getattr(defaults, name, None) if default is None else default
        shown = "" if shown is None else f" (default {shown})"
        group.add_argument(flag, type=kind, help=text + shown, **more)

    run = parser.add_argument_group("the run")
    text = "text to learn, in place of the language reference; several, one --text each, are learned in this order"
    add(run, "--text", str, text, metavar="FILE", action="append")
    add(run, "--encoding", str, "of the text", "UTF-8, or what a byte order mark says", metavar="NAME")
    add(run, "--out", str, "run folder to make", "runs/001, runs/002, ...", metavar="DIR")
    add(run, "--resume", str, "go on with the run in this folder", metavar="DIR")
    add(run, "--updates", int, "optimiser steps in all", metavar="N")
    add(run, "--seed", int, "of all random numbers", metavar="N")
    add(run, "--device", str, "cpu, cuda or cuda:<number>")
    add(run, "--eval-every", int, "updates between two measurements on the validation text", metavar="N")
    add(run, "--checkpoint-every", int, "updates between two checkpoints", metavar="N")
    reach = "updates between two measurements of how far back gradients reach, in flow.jsonl and flow.png; 0 for none"
    add(run, "--diagnose", int, reach, metavar="N")
    run.add_argument("--quiet", action="store_true", help="no progress bar, only the result")

    model = parser.add_argument_group("the model")
    add(model, "--cell", str, f"one of {', '.join(CELLS)}")
    add(model, "--layers", int, "recurrent layers on top of each other", metavar="N")
    add(model, "--embedding", int, "size of a character's vector", metavar="N")
    add(model, "--hidden", int, "size of a layer's state", metavar="N")
    add(model, "--dropout", float, "probability of dropping an output of a recurrent layer", metavar="P")

    training = parser.add_argument_group("the training")
    add(training, "--optimizer", str, f"one of {', '.join(OPTIMIZERS)}")
    rates = ", ".join(f"{rate} for {name}" for name, rate in DEFAULT_LR.items())
    add(training, "--lr", float, "learning rate", rates, metavar="RATE")
    add(training, "--momentum", float, "Nesterov momentum of sgd, 0 for none", metavar="M")
    add(training, "--clip", float, "largest norm of the gradient, 0 for no clipping", metavar="NORM")
    add(training, "--batch", int, "streams of text read side by side", metavar="N")
    add(training, "--bptt", int, "characters after which backpropagation through time is cut", metavar="N")


def _sample_options(commands: Any) -> None:
    parser = commands.add_parser(
        "sample",
        help="continue a prompt with a trained model",
        description="Write text with the model of a run.",
        allow_abbrev=False,
    )
    parser.set_defaults(command=sample)
    parser.add_argument("run", metavar="RUN", help="run folder, or a checkpoint file")
    parser.add_argument("--prompt", metavar="TEXT", help='text to go on from ("The " if the model can read it)')
    parser.add_argument("--length", type=int, metavar="N", help="characters to write (default 500)", default=500)
    likely = "1: as probable as the model thinks; lower: more conservative, down to 0 (default 0.8)"
    parser.add_argument("--temperature", type=float, metavar="T", default=0.8, help=likely)
    parser.add_argument("--seed", type=int, metavar="N", help="of the random draws (default 0)", default=0)


def _explain_options(commands: Any) -> None:
    parser = commands.add_parser(
        "explain",
        help="run a script, and step through its backward pass in the browser",
        usage="tinygrad-rnn explain [options] (script.py | -m module) [arguments of the script]",
        description="Run a script as Python would, and make a page that shows a backward pass of it, step by step.",
        epilog="These options may also stand after the script. Those of the script that are called the same need a -- "
        "before it: tinygrad-rnn explain --call 3 -- script.py --out weights.",
        allow_abbrev=False,
    )
    add_explain_arguments(parser)
    parser.set_defaults(command=explain)


def _lab_options(commands: Any) -> None:
    parser = commands.add_parser(
        "lab",
        help="the claims of the subject as experiments, each with its page",
        description="Run experiments on gradients through time: each checks a claim, says how it stands, and leaves a "
        "page with the mathematics, the lines that do it, a picture and the numbers. Exit status 1 if a check fails.",
        allow_abbrev=False,
    )
    add_lab_arguments(parser)
    parser.set_defaults(command=lab)


def _course_options(commands: Any) -> None:
    parser = commands.add_parser(
        "course",
        help="thirty exercises on gradients through time, whose checks name the mistake",
        description="Learn how gradients are computed, from the chain rule to backpropagation through time: start "
        "writes thirty exercises into a folder, as scripts and as notebooks; check says which are right, and names the "
        "mistake in those that are not. Exit status 1 if an answer is not right.",
        allow_abbrev=False,
    )
    add_course_arguments(parser)
    parser.set_defaults(command=course)


def _doctor_options(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="what this installation runs on, and what would mend it",
        description="Show versions, BLAS and its kernels, threads, the GPU; for each problem the line that mends it.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--clear-cells", action="store_true", help="delete the compiled cells that are kept; they are compiled again"
    )
    parser.set_defaults(command=doctor)


def _bench_options(commands: Any) -> None:
    parser = commands.add_parser(
        "bench",
        help="this package against its peers, as ratios",
        description="Time this package and those of torch, autograd, mygrad and jax that are installed, taking turns "
        "in one process, and show the ratios of their times.",
        allow_abbrev=False,
    )
    add_bench_arguments(parser)
    parser.set_defaults(command=bench)


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, **more)

    def __call__(self, parser: argparse.ArgumentParser, *unused: object) -> NoReturn:
        # Looked up only now: argparse's own action takes the text beforehand, at every start.
        try:
            version = metadata.version("tinygrad-rnn")
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        print(f"tinygrad-rnn {version}")
        parser.exit()
