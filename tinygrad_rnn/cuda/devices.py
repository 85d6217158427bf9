"""CUDA devices: their number, the current one, their properties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backend import Device, array_device, is_array
from ..backend.gpu import cupy_access
from ..errors import ArgumentError, DeviceError

__all__ = ["DeviceProperties", "InvalidDevice", "current_device", "device", "device_count", "device_of"]
__all__ += ["get_device_capability", "get_device_name", "get_device_properties", "init", "is_available"]
__all__ += ["is_bf16_supported", "is_initialized", "set_device", "synchronize"]


class InvalidDevice(DeviceError, AssertionError):
    """A number that no GPU has; PyTorch raises AssertionError or RuntimeError, depending on the function."""


def is_available() -> bool:
    """Whether a GPU can be used here.

    >>> isinstance(is_available(), bool)
    True
    """
    return cupy_access.unavailable_reason() is None


def init() -> None:
    """Initialise the GPU now, not at its first use.

    Raises:
        DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.init()
    """
    cupy_access.require()


def is_initialized() -> bool:
    """Whether there is a GPU; nothing else has to be initialised.

    >>> import tinygrad_rnn as tg
    >>> tg.cuda.is_initialized() <= tg.cuda.is_available()
    True
    """
    return is_available()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False: float16, float32 and float64 are supported.

    >>> import tinygrad_rnn as tg
    >>> tg.cuda.is_bf16_supported()
    False
    """
    return False


def device_count() -> int:
    """The number of GPUs that can be used; 0 without CuPy.

    >>> import tinygrad_rnn as tg
    >>> (tg.cuda.device_count() > 0) == tg.cuda.is_available()
    True
    """
    return int(cupy_access.module().cuda.runtime.getDeviceCount()) if is_available() else 0


def current_device() -> int:
    """The number of the GPU on which new arrays are made.

    Raises:
        DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.current_device() < tg.cuda.device_count()
    """
    return int(cupy_access.require().cuda.runtime.getDevice())


def number_of(which: Device | str | int | None) -> int:
    """The number of a GPU given as a device, a name or a number; None and ``"cuda"`` are the current one.

    Raises:
        ArgumentError: not a GPU. InvalidDevice: no GPU has the number. DeviceError: there is no GPU.
    """
    count = int(cupy_access.require().cuda.runtime.getDeviceCount())
    if which is None:
        return current_device()
    target = Device(which)
    if target.type != "cuda":
        raise ArgumentError(f"Expected a cuda device, but got: {target}")
    index = current_device() if target.index is None else target.index
    if not 0 <= index < count:
        raise InvalidDevice(f"Invalid device id {index}: CUDA error: invalid device ordinal (there are {count} GPUs)")
    return index


def set_device(device: Device | str | int) -> None:
    """Make a GPU the current one, to which ``"cuda"`` without a number refers.  A negative number changes nothing.

    Raises:
        ArgumentError: not a GPU, or one without its number. InvalidDevice: no GPU has the number.
        DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.set_device(0)
    """
    cupy = cupy_access.require()
    # PyTorch's convention, which lets code pass on "no device" without a branch.
    if isinstance(device, int) and device < 0:
        return
    # "cuda" without a number is the current GPU: to make it current is most likely a mistake, as in PyTorch.
    if not isinstance(device, int) and Device(device).type == "cuda" and Device(device).index is None:
        raise ArgumentError(f"Expected a torch.device with a specified index or an integer, but got:{device}")
    cupy.cuda.Device(number_of(device)).use()


class device:
    """``with device(1):`` makes a GPU the current one inside the block.

    Args:
        device: its number or name; None or a negative number changes nothing.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     with tg.cuda.device(0):
    ...         x = tg.ones(2, device="cuda")
    """

    def __init__(self, device: Device | str | int | None) -> None:
        nothing = device is None or (isinstance(device, int) and device < 0)
        self.idx = -1 if nothing else number_of(device)
        self.prev_idx = -1

    def __enter__(self) -> device:
        if self.idx >= 0:
            self.prev_idx = current_device()
            cupy_access.require().cuda.Device(self.idx).use()
        return self

    def __exit__(self, *error: object) -> None:
        if self.idx >= 0:
            cupy_access.require().cuda.Device(self.prev_idx).use()


class device_of(device):
    """``with device_of(x):`` makes the GPU of a tensor the current one; a tensor on the host changes nothing.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     with tg.cuda.device_of(tg.ones(2, device="cuda")):
    ...         y = tg.zeros(2, device="cuda")
    """

    def __init__(self, obj: Any) -> None:
        raw = obj if is_array(obj) else obj._data
        # None on the host.
        index = array_device(raw).index
        super().__init__(-1 if index is None else index)


@dataclass(frozen=True)
class DeviceProperties:
    """The properties of a GPU: sizes in bytes, clocks in kHz."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    warp_size: int
    max_threads_per_block: int
    max_threads_per_multi_processor: int
    regs_per_multiprocessor: int
    shared_memory_per_block: int
    shared_memory_per_block_optin: int
    shared_memory_per_multiprocessor: int
    L2_cache_size: int
    clock_rate: int
    memory_clock_rate: int
    memory_bus_width: int
    is_integrated: int
    is_multi_gpu_board: int

    def __repr__(self) -> str:
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory >> 20}MB, multi_processor_count={self.multi_processor_count}, "
            f"L2_cache_size={self.L2_cache_size >> 20}MB)"
        )


CUDA_NAMES = {
    "total_memory": "totalGlobalMem",
    "multi_processor_count": "multiProcessorCount",
    "warp_size": "warpSize",
    "max_threads_per_block": "maxThreadsPerBlock",
    "max_threads_per_multi_processor": "maxThreadsPerMultiProcessor",
    "regs_per_multiprocessor": "regsPerMultiprocessor",
    "shared_memory_per_block": "sharedMemPerBlock",
    "shared_memory_per_block_optin": "sharedMemPerBlockOptin",
    "shared_memory_per_multiprocessor": "sharedMemPerMultiprocessor",
    "L2_cache_size": "l2CacheSize",
    "clock_rate": "clockRate",
    "memory_clock_rate": "memoryClockRate",
    "memory_bus_width": "memoryBusWidth",
    "is_integrated": "integrated",
    "is_multi_gpu_board": "isMultiGpuBoard",
}
"""PyTorch's names of the properties, and those of the CUDA runtime; one that it does not report is -1."""


def get_device_properties(device: Device | str | int | None = None) -> DeviceProperties:
    """The properties of a GPU: name, compute capability, memory, multiprocessors ...

    Raises:
        InvalidDevice: no GPU has the number. DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.get_device_properties(0).total_memory > 0
    """
    index = number_of(device)
    properties: dict[str, Any] = cupy_access.require().cuda.runtime.getDeviceProperties(index)
    name = properties["name"]
    major, minor = get_device_capability(index)
    return DeviceProperties(
        name=name.decode() if isinstance(name, bytes) else str(name),
        major=major,
        minor=minor,
        **{ours: int(properties.get(theirs, -1)) for ours, theirs in CUDA_NAMES.items()},
    )


def get_device_name(device: Device | str | int | None = None) -> str:
    """The name of a GPU.

    Raises:
        InvalidDevice: no GPU has the number. DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.get_device_name(0)
    """
    return get_device_properties(device).name


def get_device_capability(device: Device | str | int | None = None) -> tuple[int, int]:
    """The compute capability of a GPU: (9, 0) for an H100 or H200.

    Raises:
        InvalidDevice: no GPU has the number. DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.get_device_capability(0) >= (7, 0)
    """
    # "90" or "120": all digits but the last are the major number.
    digits = str(cupy_access.require().cuda.Device(number_of(device)).compute_capability)
    return int(digits[:-1]), int(digits[-1])


def synchronize(device: Device | str | int | None = None) -> None:
    """Wait until a GPU has finished all work that was submitted to it.

    Raises:
        InvalidDevice: no GPU has the number. DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.synchronize()
    """
    cupy_access.require().cuda.Device(number_of(device)).synchronize()
