"""``cupy.cuda`` of the double: one GPU that is always done, with streams, events and a pool that only counts.

Signatures are CuPy 14's, so that a call with an argument that CuPy does not know fails here too.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import time
import types
from typing import Any

import numpy as np

DEVICES = 1

_handles = itertools.count(0x1000)
_current = 0
_streams: list[Stream] = []


class CUDARuntimeError(RuntimeError):
    """What the CUDA runtime answers to a call that it cannot do."""


def _checked(number: int) -> int:
    if not 0 <= number < DEVICES:
        raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
    return number


def get_device() -> int:
    return _current


def set_device(number: int) -> None:
    global _current
    _current = _checked(number)


class Device:
    """One GPU; as a context manager, or by ``use``, the current one."""

    compute_capability = "00"  # so that nobody has a kernel for it
    mem_info = (1 << 37, 1 << 38)
    attributes = {"MultiProcessorCount": 132, "MaxSharedMemoryPerBlockOptin": 232448}  # noqa: RUF012

    def __init__(self, device: int | Device | None = None) -> None:
        self.id = _current if device is None else device.id if isinstance(device, Device) else int(device)
        self._before: list[int] = []

    def use(self) -> None:
        set_device(self.id)

    def synchronize(self) -> None:
        _checked(self.id)

    def __enter__(self) -> Device:
        self._before.append(_current)
        set_device(self.id)
        return self

    def __exit__(self, *error: object) -> None:
        set_device(self._before.pop())

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


class Event:
    """A mark, reached when it is made."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.ptr = next(_handles)
        self.timed = not disable_timing
        self.at: float | None = None

    done = True

    def record(self, stream: Stream | None = None) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    if start_event.at is None or end_event.at is None or not (start_event.timed and end_event.timed):
        raise CUDARuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")
    return (end_event.at - start_event.at) * 1e3


class Stream:
    """A queue whose work is done at once."""

    null: Stream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        self.ptr = 0 if null else next(_handles)
        self.device_id = -1 if null else _current

    done = True

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        assert isinstance(event, Event)

    def synchronize(self) -> None:
        pass

    def use(self) -> Stream:
        _streams[:] = [self]
        return self

    def __enter__(self) -> Stream:
        _streams.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _streams.pop()


Stream.null = Stream(null=True)


def get_current_stream(device_id: int = -1) -> Stream:
    return _streams[-1] if _streams else Stream.null


class MemoryPool:
    """Counts; arrays of the double live in NumPy's memory."""

    def __init__(self) -> None:
        self.used = self.total = 0

    def malloc(self, size: int) -> Any:
        self.used += size
        self.total = max(self.total, self.used)
        return types.SimpleNamespace(size=size, ptr=next(_handles))

    def used_bytes(self) -> int:
        return self.used

    def total_bytes(self) -> int:
        return self.total

    def free_bytes(self) -> int:
        return self.total - self.used

    def free_all_blocks(self, stream: Stream | None = None) -> None:
        self.total = self.used


pool = MemoryPool()
_allocator: Any = pool.malloc


def get_default_memory_pool() -> MemoryPool:
    return pool


def get_allocator() -> Any:
    return _allocator


def set_allocator(allocator: Any = None) -> None:
    global _allocator
    _allocator = allocator or pool.malloc


PROPERTIES: dict[str, Any] = {
    "name": b"Double of a GPU",
    "major": 9,
    "minor": 0,
    "totalGlobalMem": 1 << 38,
    "multiProcessorCount": 132,
    "warpSize": 32,
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerMultiProcessor": 2048,
    "regsPerMultiprocessor": 65536,
    "sharedMemPerBlock": 49152,
    "sharedMemPerBlockOptin": 232448,
    "sharedMemPerMultiprocessor": 233472,
    "l2CacheSize": 50 << 20,
    "clockRate": 1_980_000,
    "memoryClockRate": 3_201_000,
    "memoryBusWidth": 6144,
    "integrated": 0,
    "isMultiGpuBoard": 0,
}


def _memcpy2d(dst: int, dpitch: int, src: int, spitch: int, width: int, height: int, kind: int, stream: int) -> None:
    if width > min(dpitch, spitch):
        raise CUDARuntimeError("cudaErrorInvalidPitchValue: invalid pitch argument")
    assert kind == 4 and stream == get_current_stream().ptr
    for row in range(height):
        ctypes.memmove(dst + row * dpitch, src + row * spitch, width)


def _properties(device: int) -> dict[str, Any]:
    _checked(device)
    return dict(PROPERTIES)


class PinnedMemoryPointer(bytearray):
    """Page-locked memory of the host."""


def empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    size = int(np.prod(shape, dtype=int))
    memory = PinnedMemoryPointer(size * np.dtype(dtype).itemsize)
    return np.frombuffer(memory, dtype, size).reshape(shape, order=order)


HANDLE = 0xB1A5


def _gemm(
    dtype: type, handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, A: int, lda: int, B: int,
    ldb: int, beta: int, C: int, ldc: int,
) -> None:  # fmt: skip
    """As cuBLAS: C (m, n) = alpha A (m, k) @ B (k, n) + beta C, all of them by columns, at addresses."""
    assert handle == HANDLE and transa in (0, 1) and transb in (0, 1) and min(m, n, k) > 0

    def at(address: int, rows: int, columns: int, apart: int) -> np.ndarray:
        assert apart >= rows
        size = ((columns - 1) * apart + rows) * np.dtype(dtype).itemsize
        flat = np.frombuffer((ctypes.c_char * size).from_address(address), dtype)
        step = flat.itemsize
        return np.lib.stride_tricks.as_strided(flat, (rows, columns), (step, apart * step), writeable=True)

    a = at(A, k, m, lda).T if transa else at(A, m, k, lda)
    b = at(B, n, k, ldb).T if transb else at(B, k, n, ldb)
    c, old = at(C, m, n, ldc), at(beta, 1, 1, 1)[0, 0]
    product = at(alpha, 1, 1, 1)[0, 0] * (a @ b)
    c[...] = product if old == 0 else product + old * c


def _cublas() -> types.ModuleType:
    made: Any = types.ModuleType("cupy.cuda.cublas")
    made.sgemm, made.dgemm = functools.partial(_gemm, np.float32), functools.partial(_gemm, np.float64)
    return made


class OutOfMemoryError(MemoryError):
    """What a pool raises that has nothing left."""


def module() -> types.ModuleType:
    """The module ``cupy.cuda``, as it is right after the import."""
    global _current, _allocator
    _current, _streams[:] = 0, []
    pool.__init__()  # type: ignore[misc]
    _allocator = pool.malloc
    made: Any = types.ModuleType("cupy.cuda")
    made.Device, made.Event, made.Stream = Device, Event, Stream
    made.get_elapsed_time, made.get_current_stream = get_elapsed_time, get_current_stream
    made.get_allocator, made.set_allocator = get_allocator, set_allocator
    made.memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError, MemoryPool=MemoryPool)
    made.is_available = lambda: True
    made.cublas, made.get_cublas_handle = _cublas(), lambda: HANDLE
    made.runtime = types.SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        deviceSynchronize=lambda: None,
        driverGetVersion=lambda: 13000,
        getDevice=get_device,
        getDeviceCount=lambda: DEVICES,
        getDeviceProperties=_properties,
        memcpy2DAsync=_memcpy2d,
        memcpyDefault=4,
        runtimeGetVersion=lambda: 13000,
        setDevice=set_device,
    )
    return made
