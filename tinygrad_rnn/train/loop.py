"""The training loop: updates, progress bar, evaluation, checkpoints, interruption.

The order of writes makes a killed run resumable: the line of an update goes to the metrics before any checkpoint that
contains the update, and a checkpoint is written only after every loss so far has been read and found finite.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tg

from ..errors import TinygradRnnError
from ..tape.tensor import Tensor
from .interrupt import Interrupted, StopRequest
from .run_folder import RunFolder
from .sampling import continue_text, default_prompt
from .trainer import Trainer

if TYPE_CHECKING:
    from .diagnosis import Diagnosis

__all__ = ["Diverged", "sample_of", "train_until_done"]

SAMPLE_LENGTH = 300
READ_EVERY = {"cpu": 1, "cuda": 20}  # updates between two reads of the losses: each read waits for the GPU


class Diverged(TinygradRnnError):
    """The loss or a weight is not finite; the last checkpoint is from before that."""


def train_until_done(trainer: Trainer, folder: RunFolder, quiet: bool = False) -> None:
    """Train until ``trainer.config.updates``, keeping the files of ``folder`` up to date.

    Raises:
        Interrupted: by Ctrl-C, SIGTERM or SIGHUP, after the state was saved.
        KeyboardInterrupt: at once, by the third Ctrl-C.
        Diverged: a loss, gradient norm or weight is not finite.
    """
    config = trainer.config
    read_every = READ_EVERY[config.device.partition(":")[0]]
    quiet_overflow = np.errstate(over="ignore", invalid="ignore")  # every loss and norm is checked below
    watch = _watch(trainer, folder)
    with quiet_overflow, StopRequest() as stop, _Progress(trainer, quiet) as progress, watch as diagnosis:
        if trainer.owes_evaluation():
            _make_up_for_evaluation(trainer, folder, stop)
        stopped = stop.signal is not None
        pending = _Pending(trainer)
        while not stopped and trainer.update < config.updates:
            pending.add(*trainer.step())
            if diagnosis is not None:
                diagnosis.log()
            evaluating = trainer.update % config.eval_every == 0
            records = pending.read(folder) if evaluating or len(pending) >= read_every else []
            if evaluating:
                _evaluate(trainer, folder, stop, records[-1])
            # The request to stop is read here alone: one that arrives later is for the next update.
            saving = stop.signal is not None or trainer.update == config.updates
            saving = saving or trainer.update % config.checkpoint_every == 0
            if saving:
                records += pending.read(folder)
            for record in records:
                folder.log(record)
            progress.show(records, "" if diagnosis is None else diagnosis.memory)
            if saving:
                _save(trainer, folder, stop)
                stopped = stop.signal is not None  # the loop ends only here, after saving
            if evaluating or saving:
                pending.restart_clock()
    if stop.signal is not None:
        done = f"stopped after update {trainer.update}, everything is saved"
        raise Interrupted(stop.signal, f"{done}. Go on with: {folder.resume_command()}")


def sample_of(trainer: Trainer) -> str:
    """The default prompt and its continuation by the model; the same for the same weights."""
    alphabet = trainer.corpus.alphabet
    prompt = default_prompt(alphabet)
    device = trainer.config.device
    return prompt + continue_text(trainer.model, alphabet, prompt, SAMPLE_LENGTH, seed=trainer.update, device=device)


def _watch(trainer: Trainer, folder: RunFolder) -> contextlib.AbstractContextManager[Diagnosis | None]:
    if not trainer.config.diagnose:
        return contextlib.nullcontext()
    from .diagnosis import Diagnosis

    return Diagnosis(trainer, folder)


class _Pending:
    """The losses and norms of finished updates that were not read yet."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._tensors: list[tuple[Tensor, Tensor]] = []
        self._since = time.perf_counter()

    def __len__(self) -> int:
        return len(self._tensors)

    def add(self, loss: Tensor, norm: Tensor) -> None:
        self._tensors.append((loss, norm))

    def restart_clock(self) -> None:
        """Exclude the time since the last read, which was not spent on updates."""
        self._since = time.perf_counter()

    def read(self, folder: RunFolder) -> list[dict[str, Any]]:
        """One record per update.

        Raises:
            Diverged: a loss or norm is not finite.
        """
        if not self._tensors:
            return []
        first = self._trainer.update - len(self._tensors) + 1
        numbers = tg.stack([number for pair in self._tensors for number in pair]).tolist()  # one read for all
        values = list(zip(numbers[::2], numbers[1::2], strict=True))
        now = time.perf_counter()
        seconds = (now - self._since) / len(values)
        self._tensors, self._since = [], now
        records = []
        for update, (loss, norm) in enumerate(values, first):
            if not math.isfinite(loss) or not math.isfinite(norm):
                raise Diverged(
                    _diverged(self._trainer, folder, f"the loss is {loss}, the gradient norm {norm}", update)
                )
            bits = loss / math.log(2)
            records.append({"update": update, "loss": bits, "gradient_norm": norm, "seconds": round(seconds, 6)})
        return records


class _Bar(tqdm):  # type: ignore[misc]
    monitor_interval = 0  # no monitor thread: errors of the terminal have to be raised in this one


class _Progress:
    """The progress bar: bits per character, gradient norm before clipping, characters per second, memory."""

    def __init__(self, trainer: Trainer, quiet: bool) -> None:
        config = trainer.config
        self._characters = config.batch * config.bptt
        self._bar = _Bar(
            total=config.updates, initial=trainer.update, unit=" updates", disable=quiet, dynamic_ncols=True
        )
        # In this order: a disabled bar has no file.
        if not self._bar.disable and not self._bar.fp.isatty():
            self._bar.mininterval = 10.0  # in a log file every refresh is a line
        self._seconds = 0.0  # per update, averaged over the last dozen or so

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def show(self, records: list[dict[str, Any]], memory: str) -> None:
        if not records:
            return
        last = records[-1]
        self._seconds = 0.9 * self._seconds + 0.1 * last["seconds"] if self._seconds else last["seconds"]
        speed = self._characters / max(self._seconds, 1e-9)
        text = f"{last['loss']:.3f} bits/char, gradient {last['gradient_norm']:.3f}, {speed:,.0f} chars/s"
        text += f", {memory}" if memory else ""
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(len(records))


def _evaluate(trainer: Trainer, folder: RunFolder, stop: StopRequest, record: dict[str, Any]) -> bool:
    """Evaluate on the validation text, and add the result to ``record``; False if Ctrl-C abandoned it."""
    try:
        with stop.patience(2):
            bits, sample = trainer.evaluate(), sample_of(trainer)
    except KeyboardInterrupt:  # an evaluation changes no state
        return False
    trainer.validation.append([trainer.update, bits])
    record["validation"] = bits
    folder.add_sample(f"--- update {trainer.update}, {bits:.4f} bits per character ---\n{sample}\n\n")
    return True


def _make_up_for_evaluation(trainer: Trainer, folder: RunFolder, stop: StopRequest) -> None:
    """Do the evaluation that was abandoned when the run was stopped, and save again."""
    record = folder.last_record()
    if _evaluate(trainer, folder, stop, record):
        folder.replace_last_record(record)
        _save(trainer, folder, stop)


def _save(trainer: Trainer, folder: RunFolder, stop: StopRequest) -> None:
    # Checked before the last good checkpoint is replaced.
    if not trainer.is_finite():
        raise Diverged(_diverged(trainer, folder, "a weight is not a finite number", trainer.update))
    # A save is short, and is what a user who presses Ctrl-C waits for.
    with stop.patience(math.inf):
        folder.save(trainer.state_dict())


def _diverged(trainer: Trainer, folder: RunFolder, what: str, update: int) -> str:
    lower = trainer.config.lr / 10
    return (
        f"training diverged: at update {update} {what}. Use a lower learning rate; "
        f"from the last good checkpoint: {folder.resume_command()} --lr {lower:g}"
    )
