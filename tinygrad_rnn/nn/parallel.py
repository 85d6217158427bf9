"""``nn.DataParallel``, for programs that wrap their model in it: on one device it passes everything through.

>>> import tinygrad_rnn as tg
>>> model = tg.nn.DataParallel(tg.nn.Linear(2, 1))
>>> list(model.state_dict())
['module.weight', 'module.bias']
"""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentRuntimeError
from .module import Module

__all__ = ["DataParallel"]


class DataParallel(Module):
    """A module whose batches PyTorch would divide among several GPUs; with one device, the module itself.

    Args:
        module: the model; it is at ``.module``, so names in ``state_dict`` begin with ``module.``, as in PyTorch.
        device_ids: numbers of GPUs: at most one.
        output_device: accepted for PyTorch's signature; outputs are where the module is.
        dim: the axis of the batch, likewise.

    Raises:
        ArgumentRuntimeError: more than one device: one process here computes on one.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.nn.Linear(2, 1)
    >>> model = DataParallel(layer)
    >>> bool(model(tg.ones(3, 2)).equal(layer(tg.ones(3, 2)))), model.module is layer
    (True, True)
    """

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        super().__init__()
        if device_ids is not None and len(device_ids) > 1:
            raise ArgumentRuntimeError(
                f"DataParallel: one process computes on one device, got device_ids={list(device_ids)}: leave them out"
            )
        self.module = module
        self.device_ids: list[Any] = list(device_ids or ())
        self.output_device, self.dim = output_device, dim

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """What the module gives."""
        return self.module(*inputs, **kwargs)
