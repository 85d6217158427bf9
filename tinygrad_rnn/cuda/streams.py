"""CUDA streams, queues of work for a GPU, and events, marks in a stream to wait for and to measure times between.

>>> import tinygrad_rnn as tg
>>> if tg.cuda.is_available():
...     start, end = tg.cuda.Event(enable_timing=True), tg.cuda.Event(enable_timing=True)
...     start.record()
...     y = tg.ones(100, 100, device="cuda") @ tg.ones(100, 100, device="cuda")
...     end.record()
...     end.synchronize()
...     assert start.elapsed_time(end) > 0  # milliseconds
"""

from __future__ import annotations

from typing import Any

from ..backend import Device
from ..backend.gpu import cupy_access
from ..errors import ArgumentError, ArgumentRuntimeError
from .devices import number_of

__all__ = ["Event", "Stream", "StreamContext", "current_stream", "default_stream", "set_stream", "stream"]


class Event:
    """A mark in a stream.

    Args:
        enable_timing: record the time at which it is reached, for :meth:`elapsed_time`.
        blocking: :meth:`synchronize` sleeps instead of polling.
        interprocess: not available.

    Raises:
        ArgumentError: interprocess. DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     start, end = (tg.cuda.Event(enable_timing=True) for _ in range(2))
    ...     start.record()
    ...     end.record()
    ...     end.synchronize()
    ...     assert start.elapsed_time(end) >= 0
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        if interprocess:
            raise ArgumentError("Event(interprocess=True): events are not shared between processes here")
        self.enable_timing = enable_timing
        self._event: Any = cupy_access.require().cuda.Event(block=blocking, disable_timing=not enable_timing)
        self._recorded = False

    @property
    def cuda_event(self) -> int:
        """CUDA's handle."""
        return int(self._event.ptr)

    def record(self, stream: Stream | None = None) -> None:
        """Put the mark at the end of a stream, the current one by default."""
        self._event.record(current_stream()._stream if stream is None else stream._stream)
        self._recorded = True

    def wait(self, stream: Stream | None = None) -> None:
        """Make a stream, the current one by default, wait until the mark is reached."""
        (current_stream() if stream is None else stream).wait_event(self)

    def query(self) -> bool:
        """Whether everything before the mark is done; True for an event that was not recorded."""
        return bool(self._event.done)

    def synchronize(self) -> None:
        """Wait until everything before the mark is done."""
        self._event.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this mark to another, both reached.

        Raises:
            ArgumentError: an event without ``enable_timing``, or one that was not recorded.
            ArgumentRuntimeError: an event that was not reached yet.
        """
        if not (self.enable_timing and end_event.enable_timing):
            raise ArgumentError("Both events must be created with argument 'enable_timing=True'.")
        # Asked here: CUDA answers that an event which was never recorded is done.
        if not (self._recorded and end_event._recorded):
            raise ArgumentError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end_event.query()):
            raise ArgumentRuntimeError(
                "Both events must be completed before calculating elapsed time. Call synchronize() of the later one"
            )
        return float(cupy_access.require().cuda.get_elapsed_time(self._event, end_event._event))

    def __repr__(self) -> str:
        place = f"{self.cuda_event:#x}" if self._recorded else "unrecorded"
        return f"<tinygrad_rnn.cuda.Event {place}>"


class Stream:
    """A new queue of work for a GPU.  ``with stream:`` makes it the current one.

    Memory that is freed in one stream may be reused in another before the first has finished with it: keep arrays alive
    until an event has synchronised the streams that use them.

    Args:
        device: the GPU; the current one by default.
        priority: lower numbers run first.

    Raises:
        DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     with tg.cuda.stream(tg.cuda.Stream()):
    ...         x = tg.ones(2, device="cuda")
    """

    def __init__(self, device: Device | str | int | None = None, priority: int = 0) -> None:
        cupy = cupy_access.require()
        self._number = number_of(device)
        with cupy.cuda.Device(self._number):
            more = {"priority": priority} if priority else {}  # CuPy before 14 does not have the argument
            # Non-blocking, as PyTorch's are: it does not wait for the default stream.
            self._stream: Any = cupy.cuda.Stream(non_blocking=True, **more)
        self.priority = priority
        self._entered: list[Any] = []

    @classmethod
    def _around(cls, stream: Any, number: int) -> Stream:
        # Not by __init__, which would make a new stream.
        made = object.__new__(cls)
        made._stream, made._number, made.priority, made._entered = stream, number, 0, []
        return made

    @property
    def cuda_stream(self) -> int:
        """CUDA's handle; 0 is the default stream."""
        return int(self._stream.ptr)

    @property
    def device(self) -> Device:
        """The GPU that the stream belongs to."""
        return Device("cuda", self._number)

    def wait_event(self, event: Event) -> None:
        """Make work that is submitted to this stream from now on wait for the event."""
        self._stream.wait_event(event._event)

    def wait_stream(self, stream: Stream) -> None:
        """Make work that is submitted to this stream from now on wait for the present work of the other."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Put a mark at the end of this stream."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def query(self) -> bool:
        """Whether all submitted work is done."""
        return bool(self._stream.done)

    def synchronize(self) -> None:
        """Wait until all submitted work is done."""
        self._stream.synchronize()

    def __enter__(self) -> Stream:
        context = StreamContext(self)
        context.__enter__()
        # A stack: a stream may be entered again inside its own block.
        self._entered.append(context)
        return self

    def __exit__(self, *error: object) -> None:
        self._entered.pop().__exit__(*error)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self._number, self.cuda_stream) == (other._number, other.cuda_stream)

    def __hash__(self) -> int:
        return hash((self._number, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<tinygrad_rnn.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


class StreamContext:
    """``with stream(s):`` makes a stream and its GPU the current ones; None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream
        self._device: Any = None

    def __enter__(self) -> None:
        if self.stream is not None:
            self._device = cupy_access.require().cuda.Device(self.stream._number)
            # The device first: CuPy's current stream is one for each device.
            self._device.__enter__()
            self.stream._stream.__enter__()

    def __exit__(self, *error: object) -> None:
        if self.stream is not None:
            self.stream._stream.__exit__(*error)
            self._device.__exit__(*error)


def stream(stream: Stream | None) -> StreamContext:
    """``with stream(s):`` makes a stream the current one; None changes nothing.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     with tg.cuda.stream(tg.cuda.Stream()):
    ...         x = tg.ones(2, device="cuda")
    """
    return StreamContext(stream)


def current_stream(device: Device | str | int | None = None) -> Stream:
    """The stream to which work for a GPU is submitted now.

    Raises:
        DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.current_stream().synchronize()
    """
    number = number_of(device)
    cupy = cupy_access.require()
    # CuPy's answer is for the current device.
    with cupy.cuda.Device(number):
        return Stream._around(cupy.cuda.get_current_stream(), number)


def default_stream(device: Device | str | int | None = None) -> Stream:
    """The stream to which work for a GPU is submitted by default.

    Raises:
        DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.default_stream().synchronize()
    """
    return Stream._around(cupy_access.require().cuda.Stream.null, number_of(device))


def set_stream(stream: Stream | None) -> None:
    """Make a stream the current one from now on; None changes nothing.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.set_stream(tg.cuda.default_stream())
    """
    if stream is not None:
        cupy_access.require().cuda.Device(stream._number).use()
        stream._stream.use()
