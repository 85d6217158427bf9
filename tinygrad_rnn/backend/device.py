"""Devices, PyTorch-shaped: ``device("cpu")``, ``device("cuda")``, ``device("cuda", 1)``, and the default device."""

from __future__ import annotations

from _thread import _local as local  # threading's own, without the 0.5 ms that the rest of it takes to load
from typing import Any

import numpy as np

from ..errors import ArgumentTypeError, DeviceError
from ..typing import Array
from .arrays import on_gpu, to_numpy
from .gpu import cupy_access

__all__ = ["Device", "array_device", "chosen_device", "get_default_device", "set_default_device", "to_device"]


class Device:
    """Where an array is stored: ``type`` is ``"cpu"`` or ``"cuda"``, ``index`` the GPU's number or None.

    Inside ``with Device("cuda"):`` new tensors are made there unless ``device=`` is given.

    >>> Device("cuda:1").index
    1
    >>> Device("cpu")
    device(type='cpu')

    Raises:
        DeviceError: for a name that is neither ``cpu`` nor ``cuda`` nor ``cuda:<number>``.
    """

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, name: str | int | Device, index: int | None = None) -> None:
        # PyTorch takes a bare number for the index of an accelerator.
        if isinstance(name, int):
            self.type, self.index = "cuda", name
            return
        if isinstance(name, Device):
            self.type, self.index = name.type, name.index
            return
        if not isinstance(name, str):
            raise ArgumentTypeError(f"device(): expected a name such as 'cpu' or 'cuda:0', got {type(name).__name__}")
        kind, _, number = name.partition(":")
        if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
            raise DeviceError(f"Expected one of cpu, cuda device type at start of device string: {name}")
        self.type = kind
        self.index = int(number) if number else index

    def __enter__(self) -> Device:
        # A new list each time: append() would change the class's own list, which all threads start from.
        _default.outer = [*_default.outer, _default.device]
        _default.device = self
        return self

    def __exit__(self, *error: object) -> None:
        *_default.outer, _default.device = _default.outer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __repr__(self) -> str:
        return f"device(type='{self.type}'" + (f", index={self.index})" if self.index is not None else ")")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


CPU = Device("cpu")


class _Default(local):
    """The default device of this thread, and the stack of those outside the current ``with``."""

    device: Device | None = None
    outer: list[Device | None] = []  # noqa: RUF012  (never changed in place)


_default = _Default()


def set_default_device(device: Device | str | int | None) -> None:
    """Make new tensors of this thread there, where ``device=`` is not given; None is the CPU.

    Raises:
        DeviceError: it is a GPU, and cannot be used.

    >>> import tinygrad_rnn as tg
    >>> tg.set_default_device("cpu")
    >>> tg.ones(1).device
    device(type='cpu')
    >>> tg.set_default_device(None)
    """
    chosen = None if device is None else Device(device)
    if chosen is not None and chosen.type == "cuda":
        # A GPU that cannot be used fails here, and not at the first tensor that is made long after.
        cupy_access.require()
    _default.device = chosen


def get_default_device() -> Device:
    """The device on which new tensors are made where ``device=`` is not given.

    >>> get_default_device()
    device(type='cpu')
    """
    chosen = _default.device or CPU
    if chosen.type == "cpu" or chosen.index is not None:
        return chosen
    # "cuda" follows the current GPU, and PyTorch's answer names its number.
    return Device("cuda", int(cupy_access.require().cuda.runtime.getDevice()))


def chosen_device(device: Any) -> Any:
    """``device``, or the default device for None; None if no default is set."""
    return _default.device if device is None else device


def array_device(x: Array) -> Device:
    """The device of a raw array."""
    return Device("cuda", int(x.device.id)) if on_gpu(x) else CPU


def to_device(x: Array, device: Device | str) -> Array:
    """``x`` on ``device``: ``x`` itself if it is there already, else a copy.

    Raises:
        DeviceError: ``cuda`` cannot be used, or there is no GPU of that number; the message says why.
    """
    target = Device(device)
    if target.type == "cpu":
        return to_numpy(x) if not isinstance(x, np.ndarray) else x
    there = on_gpu(x) and target.index in (None, array_device(x).index)  # "cuda" without a number means any GPU
    if there:
        return x
    cupy: Any = cupy_access.require()
    if target.index is None:
        copy: Array = cupy.asarray(x)
        return copy
    if not target.index < cupy.cuda.runtime.getDeviceCount():
        raise DeviceError(f"CUDA error: invalid device ordinal: there is no GPU of the number in {target}")
    with cupy.cuda.Device(target.index):
        copy = cupy.array(x)  # copies between two GPUs as well
        return copy
