"""The random generator: PyTorch's CPU engine (32-bit Mersenne Twister, MT19937), seeded as PyTorch seeds it.

``numpy.random.RandomState`` is the same engine with the same seeding, and NumPy guarantees its stream, so every draw
below is a vectorised read of 32-bit words from one:

* a 32-bit draw is one word, a 64-bit draw is two, the first one the high word;
* a fraction keeps the low 24 bits (float32) or 53 bits (float64) of a draw.

The state has PyTorch's layout of 5056 bytes, so a stream can move between the two libraries in either direction.
"""

from __future__ import annotations

import os
from _thread import get_ident
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ArgumentError, ArgumentTypeError, DeviceError, TinygradRnnError
from ..arrays import shown, to_numpy
from ..device import CPU, Device

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "Generator",
    "RandomError",
    "default_generator",
    "draws_undone",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]

WORDS = 624  # the Mersenne Twister's state, in 32-bit words
UNSEEDED = 67280421310721  # what PyTorch's Generator() starts from

STATE_LAYOUT = np.dtype(
    {
        "names": ["seed", "left", "seeded", "next", "words", "normal", "has_normal"],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", WORDS), "<f8", "<i4"],
        "offsets": [0, 8, 12, 16, 24, 24 + 8 * WORDS + 8, 24 + 8 * WORDS + 24],
        "itemsize": 24 + 8 * WORDS + 40,
    }
)


class RandomError(TinygradRnnError, RuntimeError):
    """A draw with impossible parameters, or an invalid state; PyTorch raises RuntimeError."""


class _Process:
    """``fork``: the number of forks between the process that imported this module and the current one."""

    fork = 0

    def count(self) -> None:
        self.fork += 1


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.count)


class Generator:
    """An independent random stream: the same numbers for the same seed, here and in PyTorch on the CPU.

    Args:
        device: only ``"cpu"``; numbers for a GPU are drawn on the host and moved, so that they are the same.

    Raises:
        DeviceError: for another device.

    >>> g = Generator().manual_seed(5)
    >>> [round(float(x), 4) for x in g.fractions24(3)]
    [0.8303, 0.1261, 0.9075]
    """

    __slots__ = ("_engine", "_fork", "_fresh", "_next_normal", "_seed", "instead")
    _seed: int
    _fresh: bool  # no word was drawn since it was seeded

    def __init__(self, device: Device | str = "cpu") -> None:
        if Device(device).type != "cpu":
            raise DeviceError(f"Generator(): random streams live on the CPU, got device {device!s}. Use Generator()")
        self._engine: np.random.RandomState | None = None
        self._fork = _process.fork
        self.instead: dict[int, list[Generator | None]] = {}  # by thread: see draws_undone()
        self._next_normal: float | None = None
        self.manual_seed(UNSEEDED)

    @property
    def device(self) -> Device:
        """The CPU: numbers are drawn on the host and moved to the device of the tensor."""
        return CPU

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream that belongs to ``seed`` (its low 32 bits choose the stream) and return ``self``.

        Raises:
            ArgumentTypeError: ``seed`` is not an integer.
            ArgumentError: ``seed`` is outside [-2**63, 2**64); a negative one stands for itself + 2**64.
        """
        if not isinstance(seed, (int, np.integer)):
            raise ArgumentTypeError(f"manual_seed expected an int, but got {type(seed).__name__}. Pass int(seed)")
        if not -(2**63) <= seed < 2**64:
            raise ArgumentError(f"Overflow when unpacking long long: manual_seed takes 64-bit integers, got {seed}")
        own = self._own()
        own._seed = int(seed) % 2**64
        own._engine = None
        own._fresh = True
        own._next_normal = None
        return self

    def _own(self) -> Generator:
        """The stream that this thread draws from: this one, or, where its draws are to be undone, a copy."""
        copies = self.instead.get(get_ident()) if self.instead else None
        if not copies:
            return self
        own = copies[-1]
        if own is None:
            own = copies[-1] = next((copy for copy in reversed(copies) if copy is not None), self)._copy()
        return own

    def _copy(self) -> Generator:
        copy = Generator()
        copy._seed, copy._fresh, copy._next_normal = self._seed, self._fresh, self._next_normal
        if self._engine is not None:
            copy._engine = np.random.RandomState()
            copy._engine.set_state(self._started().get_state(legacy=False))
        return copy

    @property
    def next_normal(self) -> float | None:
        """The second of a Box-Muller pair, kept for the next small draw."""
        return self._own()._next_normal

    @next_normal.setter
    def next_normal(self, value: float | None) -> None:
        self._own()._next_normal = value

    def _started(self) -> np.random.RandomState:
        """The engine, made at the first draw: ``numpy.random`` is a tenth of the cost of importing NumPy."""
        if self._engine is None:
            self._engine = np.random.RandomState(self._seed % 2**32)
        elif self._fork != _process.fork:  # a thread that exists in the parent alone may hold the engine's lock
            state = dict(self._engine._bit_generator.state)  # get_state() would wait for the lock
            self._engine = np.random.RandomState()
            self._engine.set_state(state)
        self._fork = _process.fork
        return self._engine

    def seed(self) -> int:
        """Seed from the operating system's entropy; return the seed chosen."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self.initial_seed()

    def initial_seed(self) -> int:
        """The seed that this stream was started from."""
        return self._own()._seed

    def get_state(self) -> Any:
        """The whole state, in PyTorch's layout: a tensor of uint8, (5056,).

        >>> g = Generator()
        >>> state = g.get_state()
        >>> first = g.words(5)
        >>> bool((g.set_state(state).words(5) == first).all())
        True
        """
        own = self._own()
        engine: Any = own._started().get_state(legacy=False)
        position = int(engine["state"]["pos"])
        state = np.zeros((), STATE_LAYOUT)
        state["seed"] = own._seed
        state["left"] = WORDS + 1 - position  # words until the next refill, plus one
        state["seeded"] = 1
        # PyTorch refills at the first draw, and has 0 here until then.
        state["next"] = 0 if own._fresh else position
        state["words"] = engine["state"]["key"]
        state["has_normal"] = own._next_normal is not None
        state["normal"] = own._next_normal or 0.0
        return shown.tensor(np.frombuffer(state.tobytes(), np.uint8).copy())

    def set_state(self, state: Any) -> Generator:
        """Continue from a state of ``get_state`` (or ``torch.get_rng_state``); return ``self``.

        Args:
            state: (5056,) uint8: a tensor, also another library's, or an array.

        Raises:
            ArgumentTypeError: not uint8.
            RandomError: of another size, or not a state of this engine.
        """
        if not hasattr(state, "dtype"):
            raise ArgumentTypeError(f"expected a torch.ByteTensor, but got {type(state).__name__}")
        raw = to_numpy(getattr(state, "_data", state))  # a checkpoint may have been loaded onto a GPU
        if raw.dtype != np.uint8:
            raise ArgumentTypeError(f"RNG state must be a torch.ByteTensor: expected dtype uint8, got {raw.dtype}")
        if raw.size != STATE_LAYOUT.itemsize:
            raise RandomError(
                f"Expected a CPU generator state of size {STATE_LAYOUT.itemsize} but found the input RNG state size "
                f"to be {raw.size}. Pass what get_state() or get_rng_state() returned"
            )
        new = np.frombuffer(raw.tobytes(), STATE_LAYOUT)[0]
        left, position = int(new["left"]), int(new["next"])
        fresh = (left, position) == (1, 0)  # seeded, and no word drawn yet
        if int(new["seeded"]) != 1 or not (fresh or (0 < position <= WORDS and left == WORDS + 1 - position)):
            raise RandomError("Invalid mt19937 state: these bytes are not the state of a generator")
        key = new["words"].astype(np.uint32)
        # "All words used": the next draw refills first, as PyTorch's does after seeding.
        own = self._own()
        own._started().set_state(("MT19937", key, WORDS if fresh else position, 0, 0.0))
        own._seed, own._fresh = int(new["seed"]), fresh
        own._next_normal = float(new["normal"]) if new["has_normal"] else None
        return self

    def clone_state(self) -> Generator:
        """An independent generator that continues from the same state."""
        return Generator().set_state(self.get_state())

    def words(self, count: int) -> npt.NDArray[np.uint32]:
        """``count`` draws of 32 bits: (count,) uint32."""
        own = self._own()
        # An empty draw leaves a seeded state as it is, also in the bytes of get_state().
        if count:
            own._fresh = False
        # For the whole range of uint32 NumPy returns the engine's words as they are, without masks or rejections.
        return own._started().randint(0, 2**32, size=count, dtype=np.uint32)

    def halves(self, count: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """``count`` draws of 64 bits as their high and low words, each (count,) uint32."""
        pairs = self.words(2 * count)
        return pairs[0::2], pairs[1::2]

    def words64(self, count: int) -> npt.NDArray[np.uint64]:
        """``count`` draws of 64 bits: (count,) uint64."""
        high, low = self.halves(count)
        joined: npt.NDArray[np.uint64] = (high.astype(np.uint64) << np.uint64(32)) | low
        return joined

    def fractions24(self, count: int) -> npt.NDArray[np.float32]:
        """``count`` multiples of 2**-24 in [0, 1), from 32 bits each: (count,) float32."""
        fractions = (self.words(count) & np.uint32(2**24 - 1)).astype(np.float32)
        fractions *= np.float32(2.0**-24)
        return fractions

    def fractions53(self, count: int) -> npt.NDArray[np.float64]:
        """``count`` multiples of 2**-53 in [0, 1), from 64 bits each: (count,) float64."""
        high, low = self.halves(count)
        top: npt.NDArray[np.float64] = np.multiply(high & np.uint32(2**21 - 1), 2.0**-21, dtype=np.float64)
        top += np.multiply(low, 2.0**-53, dtype=np.float64)  # exact: the two parts share no bit
        return top


default_generator = Generator()
# From entropy, as in PyTorch: without manual_seed runs differ.
default_generator.seed()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, which draws use where ``generator=`` is not given; return it.

    >>> manual_seed(0).initial_seed()
    0
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed the default generator from the operating system's entropy; return the seed.

    >>> import tinygrad_rnn as tg
    >>> tg.seed() == tg.initial_seed()
    True
    >>> _ = tg.manual_seed(0)  # the same numbers in every run again
    """
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator was started from.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(7)
    >>> tg.initial_seed()
    7
    """
    return default_generator.initial_seed()


def get_rng_state() -> Any:
    """The default generator's state, (5056,) uint8.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> state = tg.get_rng_state()
    >>> first = tg.rand(2)
    >>> tg.set_rng_state(state)
    >>> tg.equal(tg.rand(2), first)
    True
    """
    return default_generator.get_state()


def set_rng_state(state: Any) -> None:
    """Set the default generator to a state of ``get_rng_state``.

    >>> import tinygrad_rnn as tg
    >>> state = tg.get_rng_state()
    >>> first = tg.rand(2)
    >>> tg.set_rng_state(state)
    >>> tg.equal(tg.rand(2), first)
    True
    """
    default_generator.set_state(state)


@contextmanager
def fork_rng(devices: object = None, enabled: bool = True) -> Iterator[None]:
    """Draws inside ``with fork_rng():`` leave the default stream as it was.

    Args:
        devices: accepted for PyTorch's signature; there is one stream, whatever the device.
        enabled: False makes it do nothing.

    >>> _ = manual_seed(1)
    >>> with fork_rng():
    ...     inside = default_generator.words(1)
    >>> bool(default_generator.words(1) == inside)
    True
    """
    before = default_generator.get_state() if enabled else None
    try:
        yield
    finally:
        if before is not None:
            default_generator.set_state(before)


@contextmanager
def draws_undone() -> Iterator[None]:
    """As :func:`fork_rng`, for this thread alone, and at no cost where nothing is drawn.

    This thread draws from a copy, which is made at the first draw; others draw from the default stream meanwhile.

    >>> _ = manual_seed(1)
    >>> with draws_undone():
    ...     inside = default_generator.words(1)
    >>> bool(default_generator.words(1) == inside)
    True
    """
    thread, instead = get_ident(), default_generator.instead
    copies = instead.setdefault(thread, [])
    copies.append(None)
    try:
        yield
    finally:
        copies.pop()
        if not copies:
            del instead[thread]
