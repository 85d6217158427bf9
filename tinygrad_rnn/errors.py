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
    """Root of the tree: ``except TinygradRnnError`` catches every error that this package raises on purpose."""


class ShapeError(TinygradRnnError, ValueError):
    """Shapes that do not fit, where PyTorch raises ValueError."""


class ShapeRuntimeError(TinygradRnnError, RuntimeError):
    """Shapes that do not fit, where PyTorch raises RuntimeError."""


class ArgumentError(TinygradRnnError, ValueError):
    """An argument of the right type with an invalid value."""


class NumberTooLarge(ArgumentError, OverflowError):
    """A Python number beyond what the dtype of a tensor holds."""


class ArgumentRuntimeError(TinygradRnnError, RuntimeError):
    """An argument with an invalid value, where PyTorch raises RuntimeError."""


class ArgumentTypeError(TinygradRnnError, TypeError):
    """An argument of the wrong type."""


class IndexOutOfRange(TinygradRnnError, IndexError):
    """An index, axis or class outside its range."""


class IndexRuntimeError(IndexOutOfRange, RuntimeError):
    """An index outside its range, where PyTorch raises RuntimeError."""


class DtypeError(TinygradRnnError, RuntimeError):
    """Element types that do not fit together, or that an operation cannot take."""


class UnsupportedDtype(DtypeError, NotImplementedError):
    """An element type for which a function is not defined, such as complex numbers in ``max``."""


class DeviceError(TinygradRnnError, RuntimeError):
    """A missing device, or arrays of two devices in one operation."""


class OutOfMemory(TinygradRnnError, RuntimeError, MemoryError):
    """Not enough memory for a result."""


class GraphError(TinygradRnnError, RuntimeError):
    """A backward pass that is impossible: no graph, a freed graph, an unused input, a wrong cotangent."""


class NoDerivative(GraphError, NotImplementedError):
    """A derivative that is not implemented."""


class InplaceError(GraphError):
    """A write in place that would make a gradient wrong."""


class LeakError(TinygradRnnError, AssertionError):
    """A prediction that has seen its answer."""


class ExportError(TinygradRnnError, BufferError):
    """A tensor whose memory must not be handed to another library."""


class CheckpointError(TinygradRnnError, RuntimeError):
    """A file that is damaged, of another version, or without the requested content."""


class UsageError(TinygradRnnError, ValueError):
    """A mistake on the command line: shown as one line, exit status 2."""
