"""The commands ``tinygrad-rnn train`` and ``tinygrad-rnn sample``.

Options are validated completely before anything is created or changed on the disk.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import to_device
from ..errors import CheckpointError, UsageError
from ..serialization import load
from ..terminal import describe_error, has_output, printable, say, tolerant_streams
from .checkpoint_checks import saved_config
from .config import Config
from .interrupt import Interrupted
from .loop import sample_of, train_until_done
from .plot import draw_curve
from .restart import what_was_set
from .run_folder import RunFolder
from .sampling import continue_text, default_prompt
from .text import Corpus, read_text
from .trainer import Trainer, differs, restored_model

__all__ = ["sample", "train"]


def train(*, quiet: bool = False, **options: Any) -> None:
    """Start a run, or resume one, and train to its end, even if its output can no longer be written.

    Args:
        quiet: no progress bar, only the result.
        options: ``out`` or ``resume``, a folder, and the fields of Config that were given.

    Raises:
        Interrupted: the run was stopped by a signal; the message says what is saved.
    """
    with tolerant_streams() as output:
        _train(quiet=quiet, **options)
    if isinstance(output.error, OSError) and not isinstance(output.error, BrokenPipeError):
        say(f"what was to be printed could not be written ({describe_error(output.error)}); the run is done and saved")


def _train(*, quiet: bool, out: str | None = None, resume: str | None = None, **options: Any) -> None:
    if options.get("text"):
        # Absolute: a run may be resumed from another folder.
        paths = [os.path.abspath(path) for path in options["text"]]
        options["text"] = paths[0] if len(paths) == 1 else tuple(paths)
    if resume is None:
        trainer = _trainer(Config.from_options(options))
        folder = RunFolder.create(out)
        with _says_what_is_saved(folder), folder:
            folder.open_logs(flow=0 if trainer.config.diagnose else None)
            folder.save(trainer.state_dict())  # so that a run can be resumed even if it is killed in its first update
            _run(trainer, folder, quiet)
        return
    if out is not None:
        raise UsageError("--resume goes on in the folder of the run: give it or --out, not both")
    folder = RunFolder.open(resume)
    with _says_what_is_saved(folder), folder:
        saved, source = folder.load(), str(folder.checkpoint)
        config = saved_config(saved, source).changed(options)
        if saved["update"] > config.updates:
            raise UsageError(
                f"the run has done {saved['update']} updates already, more than --updates {config.updates}"
            )
        # Before anything is opened for writing: a damaged file of metrics leaves the folder as it was.
        lines = folder.lines_until(saved["update"])
        watched = config.diagnose or folder.flow.exists()
        flow = folder.rows_until(saved["update"], saved.get("flow_bytes", 0)) if watched else None
        trainer = _trainer(config)
        trainer.load_state_dict(saved, source)
        folder.open_logs(lines, saved["samples_bytes"], flow)
        if changed := differs(saved, config.device):
            say(changed)
        _run(trainer, folder, quiet)


@contextlib.contextmanager
def _says_what_is_saved(folder: RunFolder) -> Iterator[None]:
    """Turn a Ctrl-C outside the loop, which stops at once, into Interrupted with the state of the checkpoint."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(signal.SIGINT, f"interrupted; {_saved(folder)}") from None


def _saved(folder: RunFolder) -> str:
    """A sentence about what is saved, read from the checkpoint itself."""
    if not folder.checkpoint.exists():
        return "nothing was saved yet"
    try:
        update = folder.load()["update"]
    # We are about to report an interruption; an unreadable checkpoint must not hide it.
    except (CheckpointError, OSError, TypeError, LookupError):
        return f"{folder.checkpoint} is as it was"
    return f"saved is update {update}. Go on with: {folder.resume_command()}"


def sample(*, run: str, prompt: str | None, length: int, temperature: float, seed: int) -> None:
    """Print ``prompt`` and its continuation of ``length`` characters by the model of ``run``."""
    if not has_output():
        raise UsageError("standard output is closed: there is nothing to write the sample to")
    checkpoint = Path(run) if Path(run).is_file() else RunFolder.find(run)
    model, alphabet = restored_model(load(checkpoint), str(checkpoint))
    start = default_prompt(alphabet) if prompt is None else prompt
    text = start + continue_text(model, alphabet, start, length, temperature, seed)
    # A terminal obeys control characters, which a model may write; a file or a pipe gets the text itself.
    print(printable(text) if sys.stdout.isatty() else text)


def _trainer(config: Config) -> Trainer:
    if config.encoding is not None and not config.texts:
        raise UsageError("--encoding is that of a --text, which was not given")
    corpus = Corpus.of(*[read_text(path, config.encoding) for path in config.texts or [None]])
    name = f"the text {', '.join(config.texts)}" if config.texts else "the default text"
    corpus.require(config.batch, config.bptt, name)
    _require_device(config.device)
    return Trainer(config, corpus)


def _require_device(device: str) -> None:
    try:
        to_device(np.zeros(1), device)
    except RuntimeError as error:  # DeviceError, or the driver's error for a number that no GPU has
        raise UsageError(f"--device {device}: {error}") from error


def _run(trainer: Trainer, folder: RunFolder, quiet: bool) -> None:
    folder.write_json(folder.config, trainer.config.as_dict())
    if not quiet:
        print(printable(_introduction(trainer, folder)), flush=True)
    began, first = time.perf_counter(), trainer.update
    try:
        train_until_done(trainer, folder, quiet)
    except OSError as error:  # a full disk
        raise UsageError(f"{describe_error(error)}; {_saved(folder)}") from error
    seconds = time.perf_counter() - began

    last_update, bits = trainer.validation[-1] if trainer.validation else (None, 0.0)
    if last_update != trainer.update:  # the last scheduled evaluation was before the last update
        bits = trainer.evaluate()
    folder.write_json(folder.result, {"updates": trainer.update, "validation_bits_per_character": bits})
    missing = {"the loss": draw_curve(folder, trainer.config.clip)}
    reach = ""
    if trainer.config.diagnose:
        from .diagnosis import draw_flow, reach_of

        missing["the reach of gradients"] = draw_flow(folder)
        reach = reach_of(folder)

    now = f", the last {trainer.update - first:,} of them in {seconds:.0f} s" if trainer.update > first else ""
    print(f"\nvalidation loss: {bits:.4f} bits per character after {trainer.update:,} updates{now}\n")
    if reach:
        print(printable(f"{reach}\n"))
    print("a sample:\n")
    print(printable(sample_of(trainer)), end="\n\n")
    print("the files:\n")
    print(printable("\n".join(f"  {path}" for path in folder.files())))
    for what, reason in missing.items():
        if reason:
            print(printable(f"  (no picture of {what}: {reason})"))


def _introduction(trainer: Trainer, folder: RunFolder) -> str:
    config, corpus = trainer.config, trainer.corpus
    weights = sum(parameter.numel() for parameter in trainer.parameters)
    return (
        f"{config.cell.upper()} of {config.layers} x {config.hidden}, {weights:,} weights, on {config.device}; "
        f"{len(corpus.train):,} characters to learn from, {len(corpus.validation):,} to validate on, "
        f"{len(corpus.alphabet)} different ones; run folder {folder.path}"
    ) + (f"\n{line}" if (line := what_was_set()) else "")
