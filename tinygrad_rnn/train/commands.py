"""What ``tinygrad-rnn train`` and ``tinygrad-rnn sample`` do.

Everything that can be wrong with the options is looked at before anything is made or changed on the disk.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import to_device
from ..errors import UsageError
from ..serialization import load
from .config import Config
from .interrupt import Interrupted
from .loop import sample_of, train_until_done
from .plot import draw_curve
from .restart import what_was_set
from .run_folder import RunFolder
from .sampling import continue_text, default_prompt
from .text import Corpus, read_text
from .trainer import Trainer, restored_model, saved_config

__all__ = ["sample", "train"]


def train(*, out: str | None = None, resume: str | None = None, quiet: bool = False, **options: Any) -> None:
    """Start a run, or go on with one, until its end; ``options`` are the fields of Config that were given.

    Raises:
        Interrupted: it was asked to stop; the message says what is saved.
    """
    if options.get("text") is not None:
        options["text"] = os.path.abspath(options["text"])
    if resume is None:
        trainer = _trainer(Config.from_options(options))
        folder = RunFolder.create(out)
        with _says_what_is_saved(folder), folder:
            folder.open_logs()
            folder.save(trainer.state_dict())  # a run can be resumed from its first moment on
            _run(trainer, folder, quiet)
        return
    if out is not None:
        raise UsageError("--resume goes on in the folder of the run: give it or --out, not both")
    folder = RunFolder.open(resume)
    with _says_what_is_saved(folder), folder:
        saved = folder.load()
        config = saved_config(saved, str(folder.checkpoint)).changed(options)
        if saved["update"] > config.updates:
            raise UsageError(
                f"the run has done {saved['update']} updates already, more than --updates {config.updates}"
            )
        trainer = _trainer(config)
        trainer.load_state_dict(saved)
        folder.open_logs(trainer.update, saved["samples_bytes"])
        _run(trainer, folder, quiet)


@contextlib.contextmanager
def _says_what_is_saved(folder: RunFolder) -> Iterator[None]:
    """Outside the loop Ctrl-C stops at once: what a resumed run would begin with is in the checkpoint itself."""
    try:
        yield
    except KeyboardInterrupt:
        if not folder.checkpoint.exists():
            raise Interrupted(signal.SIGINT, "interrupted before anything was saved") from None
        saved = f"interrupted; saved is update {folder.load()['update']}"
        raise Interrupted(signal.SIGINT, f"{saved}. Go on with: {folder.resume_command()}") from None


def sample(*, run: str, prompt: str | None, length: int, temperature: float, seed: int) -> None:
    """Print ``prompt`` and ``length`` characters that the model of ``run`` puts after it."""
    checkpoint = Path(run) if Path(run).is_file() else RunFolder.find(run)
    model, alphabet = restored_model(load(checkpoint), str(checkpoint))
    start = default_prompt(alphabet) if prompt is None else prompt
    print(start + continue_text(model, alphabet, start, length, temperature, seed))


def _trainer(config: Config) -> Trainer:
    corpus = Corpus.of(read_text(config.text))
    corpus.require(config.batch, config.bptt, f"the text {config.text}" if config.text else "the default text")
    _require_device(config.device)
    return Trainer(config, corpus)


def _require_device(device: str) -> None:
    try:
        to_device(np.zeros(1), device)
    except RuntimeError as error:  # DeviceError, or the driver's own for a number that no GPU has
        raise UsageError(f"--device {device}: {error}") from error


def _run(trainer: Trainer, folder: RunFolder, quiet: bool) -> None:
    folder.write_json(folder.config, trainer.config.as_dict())
    if not quiet:
        print(_introduction(trainer, folder), flush=True)
    began, first = time.perf_counter(), trainer.update
    train_until_done(trainer, folder, quiet)
    seconds = time.perf_counter() - began

    last_update, bits = trainer.validation[-1] if trainer.validation else (None, 0.0)
    if last_update != trainer.update:
        bits = trainer.evaluate()
    folder.write_json(folder.result, {"updates": trainer.update, "validation_bits_per_character": bits})
    drawn = draw_curve(folder, trainer.config.clip)

    now = f", the last {trainer.update - first:,} of them in {seconds:.0f} s" if trainer.update > first else ""
    print(f"\nvalidation loss: {bits:.4f} bits per character after {trainer.update:,} updates{now}\n")
    print("a sample:\n")
    print(sample_of(trainer), end="\n\n")
    print("the files:\n")
    print("\n".join(f"  {path}" for path in folder.files()))
    if not drawn:
        print("  (no picture of the loss: matplotlib is not installed; pip install 'tinygrad-rnn[plot]')")


def _introduction(trainer: Trainer, folder: RunFolder) -> str:
    config, corpus = trainer.config, trainer.corpus
    weights = sum(parameter.numel() for parameter in trainer.parameters)
    return (
        f"{config.cell.upper()} of {config.layers} x {config.hidden}, {weights:,} weights, on {config.device}; "
        f"{len(corpus.train):,} characters to learn from, {len(corpus.validation):,} to validate on, "
        f"{len(corpus.alphabet)} different ones; run folder {folder.path}"
    ) + (f"\n{line}" if (line := what_was_set()) else "")
