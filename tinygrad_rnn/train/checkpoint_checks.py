"""Validation of a run's checkpoint, before anything is built from it.

The checksum of a file shows that it is unchanged, not who wrote it.  No number is trusted here: a configuration of a
few bytes may request a model of gigabytes, so it is compared with the weights that are in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import CheckpointError, UsageError
from ..tape.tensor import Tensor
from .config import Config
from .text import Alphabet

__all__ = ["PROGRAM", "damaged", "saved_config"]

PROGRAM = "tinygrad-rnn train"

MODEL = {"config": dict, "alphabet": str, "model": dict}
RUN = {
    **MODEL,
    "text_digest": str,
    "update": int,
    "chunk": int,
    "validation": list,
    "samples_bytes": int,
    "optimizer": dict,
}
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
MOMENTS = {"sgd": ("momentum_buffer",), "adam": ("step", "exp_avg", "exp_avg_sq")}


def saved_config(saved: Any, source: str, *, whole: bool = True) -> Config:
    """The configuration of the run whose state ``saved`` is.

    Args:
        saved: the content of ``source``.
        source: the name of the file, for errors.
        whole: validate everything that resuming needs; False: the model alone.

    Raises:
        CheckpointError: ``saved`` is not the state of a training run, or its parts do not fit each other.
    """
    if not isinstance(saved, dict) or saved.get("program") != PROGRAM:
        raise CheckpointError(f"{source} is not the checkpoint of a training run")
    for name, kind in (RUN if whole else MODEL).items():
        if name not in saved:
            raise damaged(source, f"it has no {name!r}")
        # isinstance() takes True for an int.
        if not isinstance(saved[name], kind) or isinstance(saved[name], bool):
            raise damaged(source, f"its {name!r} is a {type(saved[name]).__name__}, not a {kind.__name__}")
    try:
        config = Config.from_dict(saved["config"])
    except UsageError as error:
        raise damaged(source, f"in its configuration {error}") from error
    if not saved["alphabet"] or Alphabet(saved["alphabet"]).characters != saved["alphabet"]:
        raise damaged(source, "its alphabet is not one of different characters in order")
    _check_model(saved["model"], config, len(saved["alphabet"]), source)
    if whole:
        _check_progress(saved, config, source)
    return config


def damaged(source: str, what: object) -> CheckpointError:
    """The error for a part of the checkpoint ``source`` that a run would not have saved."""
    return CheckpointError(f"{source} is damaged, or was not written by this program: {what}")


def _check_model(model: Mapping[Any, Any], config: Config, characters: int, source: str) -> None:
    count = 3 + 4 * config.layers  # compared first: a huge number of layers would make the table of shapes as long
    if len(model) != count:
        raise damaged(source, f"its configuration asks for {count} weights, and it has {len(model)}")
    for name, shape in _shapes(config, characters):
        if not _is_number(model.get(name), shape):
            found = model.get(name)
            has = f"has the shape {tuple(found.shape)}" if isinstance(found, Tensor) else "is not a tensor"
            raise damaged(source, f"its configuration asks for a weight {name} {shape} of float32, which {has}")
        if not np.isfinite(model[name].numpy()).all():  # a run never saves such weights
            raise damaged(source, f"its weight {name} has numbers that are not finite")


def _shapes(config: Config, characters: int) -> Iterable[tuple[str, tuple[int, ...]]]:
    rows, hidden = GATES[config.cell] * config.hidden, config.hidden
    yield "embedding.weight", (characters, config.embedding)
    yield "output.weight", (characters, hidden)
    yield "output.bias", (characters,)
    for layer in range(config.layers):
        yield f"rnn.weight_ih_l{layer}", (rows, hidden if layer else config.embedding)
        yield f"rnn.weight_hh_l{layer}", (rows, hidden)
        yield f"rnn.bias_ih_l{layer}", (rows,)
        yield f"rnn.bias_hh_l{layer}", (rows,)


def _check_progress(saved: dict[str, Any], config: Config, source: str) -> None:
    for name in ("update", "chunk", "samples_bytes"):
        if saved[name] < 0:
            raise damaged(source, f"its {name!r} is {saved[name]}")
    flow = saved.get("flow_bytes", 0)  # of a run with --diagnose
    if type(flow) is not int or flow < 0:
        raise damaged(source, f"its 'flow_bytes' is {str(flow)[:100]}")
    for point in saved["validation"]:
        # Exact types, for the same reason: True is not the number of an update.
        if not isinstance(point, list) or [type(number) for number in point] != [int, float]:
            raise damaged(source, "its 'validation' holds something else than an update and bits per character")
    for name in ("random_state", "state"):
        if name not in saved:
            raise damaged(source, f"it has no {name!r}")
    state = saved["state"]
    shape = (config.layers, config.batch, config.hidden)
    if config.cell == "lstm":
        fits = isinstance(state, tuple) and len(state) == 2 and all(_is_number(part, shape) for part in state)
    else:
        fits = _is_number(state, shape)
    # None while the streams are at their beginning.
    if state is not None and not fits:
        raise damaged(source, f"its 'state' is not that of a {config.cell} for {config.batch} streams, {shape}")
    _check_optimizer(saved, config, source)


def _check_optimizer(saved: dict[str, Any], config: Config, source: str) -> None:
    # SGD without momentum keeps nothing for a parameter.
    moments = MOMENTS[config.optimizer] if config.optimizer != "sgd" or config.momentum else ()
    state = saved["optimizer"].get("state")
    weights = list(saved["model"].values())
    # No optimiser has a state before its first step.
    numbers = set(range(len(weights))) if moments and saved["update"] else set()
    if not isinstance(state, dict) or state.keys() != numbers:
        raise damaged(source, f"its 'optimizer' is not that of {config.optimizer} for {len(weights)} weights")
    for number, moment in state.items():
        if not isinstance(moment, dict) or moment.keys() != set(moments):
            raise damaged(source, f"its 'optimizer' has for weight {number} not {', '.join(moments)}")
        for name, value in moment.items():
            if not _is_number(value, () if name == "step" else tuple(weights[number].shape)):
                raise damaged(source, f"its 'optimizer' has for weight {number} a {name} that does not fit")


def _is_number(value: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(value, Tensor) and value.dtype == np.float32 and tuple(value.shape) == shape
