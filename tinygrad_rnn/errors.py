"""The exception tree: every error that this package raises on purpose.

Each class also subclasses the built-in that PyTorch raises for the same mistake, so that code written
for PyTorch catches it.  A message opens with PyTorch's well-known sentence where there is one, then says
which operation and argument, what was expected, what came, and the usual remedy.
"""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "ArgumentRuntimeError",
    "ArgumentTypeError",
    "CheckpointError",
    "DeviceError",
    "DtypeError",
    "ExportError",
    "GraphError",
    "IndexOutOfRange",
    "IndexRuntimeError",
    "InplaceError",
    "LeakError",
    "NoDerivative",
    "NumberTooLarge",
    "OutOfMemory",
    "ShapeError",
    "ShapeRuntimeError",
    "TinygradRnnError",
    "UnsupportedDtype",
    "UsageError",
]


class TinygradRnnError(Exception):
    """Root of the tree: ``except TinygradRnnError`` catches every error that this package raises on purpose.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.ones(2) @ tg.ones(3)
    ... except tg.errors.TinygradRnnError as error:
    ...     print(isinstance(error, Exception))
    True
    """


class ShapeError(TinygradRnnError, ValueError):
    """Shapes that do not fit, where PyTorch raises ValueError."""


class ShapeRuntimeError(TinygradRnnError, RuntimeError):
    """Shapes that do not fit, where PyTorch raises RuntimeError.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.ones(2) @ tg.ones(3)
    ... except tg.errors.ShapeRuntimeError as error:
    ...     print(isinstance(error, RuntimeError))
    True
    """


class ArgumentError(TinygradRnnError, ValueError):
    """An argument of the right type with an invalid value.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.nn.functional.mse_loss(tg.ones(1), tg.ones(1), reduction="all")
    ... except tg.errors.ArgumentError as error:
    ...     print(isinstance(error, ValueError))
    True
    """


class NumberTooLarge(ArgumentError, OverflowError):
    """A Python number beyond what the dtype of a tensor holds."""


class ArgumentRuntimeError(TinygradRnnError, RuntimeError):
    """An argument with an invalid value, where PyTorch raises RuntimeError.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.nn.functional.huber_loss(tg.ones(1), tg.ones(1), delta=0)
    ... except tg.errors.ArgumentRuntimeError as error:
    ...     print(isinstance(error, RuntimeError))
    True
    """


class ArgumentTypeError(TinygradRnnError, TypeError):
    """An argument of the wrong type.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.nn.LSTM(2, 2)([1.0, 2.0])
    ... except tg.errors.ArgumentTypeError as error:
    ...     print(isinstance(error, TypeError))
    True
    """


class IndexOutOfRange(TinygradRnnError, IndexError):
    """An index, axis or class outside its range.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.ones(2)[5]
    ... except tg.errors.IndexOutOfRange as error:
    ...     print(isinstance(error, IndexError))
    True
    """


class IndexRuntimeError(IndexOutOfRange, RuntimeError):
    """An index outside its range, where PyTorch raises RuntimeError.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.gather(tg.ones(2), 0, tg.tensor([5]))
    ... except tg.errors.IndexRuntimeError as error:
    ...     print(isinstance(error, RuntimeError))
    True
    """


class DtypeError(TinygradRnnError, RuntimeError):
    """Element types that do not fit together, or that an operation cannot take.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.ones(2, 2) @ tg.ones(2, 2).double()
    ... except tg.errors.DtypeError as error:
    ...     print(isinstance(error, RuntimeError))
    True
    """


class UnsupportedDtype(DtypeError, NotImplementedError):
    """An element type for which a function is not defined, such as complex numbers in ``max``.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.nn.functional.huber_loss(tg.tensor([1]), tg.tensor([1]))
    ... except tg.errors.UnsupportedDtype as error:
    ...     print(isinstance(error, NotImplementedError))
    True
    """


class DeviceError(TinygradRnnError, RuntimeError):
    """A missing device, or arrays of two devices in one operation.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.ones(1, device="cuda:99")
    ... except tg.errors.DeviceError as error:
    ...     print(isinstance(error, RuntimeError))
    True
    """


class OutOfMemory(TinygradRnnError, RuntimeError, MemoryError):
    """Not enough memory for a result.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.ones(10**15)
    ... except tg.errors.OutOfMemory as error:
    ...     print(isinstance(error, MemoryError))
    True
    """


class GraphError(TinygradRnnError, RuntimeError):
    """A backward pass that is impossible: no graph, a freed graph, an unused input, a wrong cotangent.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.ones(1).backward()
    ... except tg.errors.GraphError as error:
    ...     print(isinstance(error, RuntimeError))
    True
    """


class NoDerivative(GraphError, NotImplementedError):
    """A derivative that is not implemented.

    >>> import tinygrad_rnn as tg
    >>> a = tg.ones(1, requires_grad=True)
    >>> try:
    ...     tg.special.gammainc(a, tg.ones(1)).backward()
    ... except tg.errors.NoDerivative as error:
    ...     print(isinstance(error, NotImplementedError))
    True
    """


class InplaceError(GraphError):
    """A write in place that would make a gradient wrong.

    >>> import tinygrad_rnn as tg
    >>> y = tg.ones(1, requires_grad=True).exp()
    >>> _ = y.add_(1)
    >>> try:
    ...     y.sum().backward()
    ... except tg.errors.InplaceError as error:
    ...     print(isinstance(error, RuntimeError))
    True
    """


class LeakError(TinygradRnnError, AssertionError):
    """A prediction that has seen its answer."""


class ExportError(TinygradRnnError, BufferError):
    """A tensor whose memory must not be handed to another library.

    >>> import tinygrad_rnn as tg
    >>> import numpy as np
    >>> try:
    ...     np.from_dlpack(tg.ones(1, requires_grad=True))
    ... except tg.errors.ExportError as error:
    ...     print(isinstance(error, BufferError))
    True
    """


class CheckpointError(TinygradRnnError, RuntimeError):
    """A file that is damaged, of another version, or without the requested content.

    >>> import tinygrad_rnn as tg
    >>> import io
    >>> try:
    ...     tg.load(io.BytesIO(b"no checkpoint"))
    ... except tg.errors.CheckpointError as error:
    ...     print(isinstance(error, RuntimeError))
    True
    """


class UsageError(TinygradRnnError, ValueError):
    """A mistake on the command line: shown as one line, exit status 2.

    >>> import tinygrad_rnn as tg
    >>> try:
    ...     tg.teaching.check("tahn", len)
    ... except tg.errors.UsageError as error:
    ...     print(isinstance(error, ValueError))
    True
    """
