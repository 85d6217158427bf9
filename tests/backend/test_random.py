"""Random streams: equal to PyTorch's on the CPU, bit for bit, from stored numbers always and live where torch is."""

from __future__ import annotations

import math
import pathlib
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.backend.random import box_muller
from tinygrad_rnn.backend.random import draws as R
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, DeviceError, DtypeError, ShapeRuntimeError

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "random_streams.npz")
SEEDS = (0, -1, 2**40 + 7)
SIZES = (1, 3, 15, 16, 17, 33, 100)
HIGHS = (1, 10, 2**28 - 1, 2**28, 2**40)
LENGTHS = (0, 1, 2, 10, 300)
FLOATS = ("float16", "float32", "float64")


@pytest.fixture(autouse=True)
def unchanged_default_stream() -> Any:
    with R.fork_rng():
        yield


def same_bits(ours: Any, theirs: np.ndarray) -> None:
    ours = np.asarray(ours)  # a state is a tensor
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert ours.tobytes() == theirs.tobytes()


def floats(n: int, dtype: str) -> list[np.ndarray]:
    return [
        R.rand(n, dtype),
        R.uniform(n, -0.3, 0.7, dtype),
        R.randn(n, dtype),
        R.normal(n, 0.1, 2.5, dtype),
        R.exponential(n, 1.7, dtype),
        R.bernoulli(0.3, n, dtype),
    ]


def test_a_seed_gives_the_stored_numbers_of_pytorch_for_every_kind_of_draw() -> None:
    for seed in SEEDS:
        R.manual_seed(seed)
        for dtype in FLOATS:
            same_bits(np.concatenate([x for n in SIZES for x in floats(n, dtype)]), GOLDEN[f"{seed}/{dtype}"])
        for dtype in ("bool", "uint8", "int8", "int16", "int32", "int64"):
            same_bits(R.random_(20, dtype=dtype), GOLDEN[f"{seed}/random_/{dtype}"])
        same_bits(np.stack([R.randint(-5, high, 20) for high in HIGHS]), GOLDEN[f"{seed}/randint"])
        same_bits(np.concatenate([R.randperm(n) for n in LENGTHS]).astype(np.int16), GOLDEN[f"{seed}/randperm"])
        weights = np.float32([[0.1, 0.0, 2.0, 3.0], [5.0, 1.0, 1.0, 0.5]])
        same_bits(R.multinomial(weights, 3), GOLDEN[f"{seed}/multinomial/False"])
        same_bits(R.multinomial(weights, 30, replacement=True), GOLDEN[f"{seed}/multinomial/True"])
        same_bits(R.dropout_mask((3, 10), 0.3), GOLDEN[f"{seed}/dropout"])
    R.randn(3)
    same_bits(R.get_rng_state(), GOLDEN["last/state"])
    same_bits(R.randn(3), GOLDEN["last/randn"])


def test_a_state_of_pytorch_is_continued_here() -> None:
    R.set_rng_state(GOLDEN["last/state"])
    same_bits(R.get_rng_state(), GOLDEN["last/state"])
    same_bits(R.randn(3), GOLDEN["last/randn"])
    R.manual_seed(0)
    same_bits(R.get_rng_state(), GOLDEN["first/state"])
    first = R.rand(5)
    R.set_rng_state(GOLDEN["first/state"])
    same_bits(R.rand(5), first)


def test_the_state_restores_the_middle_of_a_stream_the_waiting_normal_number_included() -> None:
    rng = np.random.default_rng(0)
    generator = R.Generator().manual_seed(3)
    for _ in range(50):
        generator.words(int(rng.integers(0, 700)))
        R.randn(int(rng.integers(0, 5)), generator=generator)
        state = generator.get_state()
        first = [R.randn(3, generator=generator), R.rand(5, generator=generator)]
        twin = generator.clone_state()
        generator.set_state(state)
        again = [R.randn(3, generator=generator), R.rand(5, generator=generator)]
        assert all((a == b).all() for a, b in zip(first, again, strict=True))
        assert (twin.words(3) == generator.words(3)).all()


def test_generators_are_independent_and_the_default_one_is_used_otherwise() -> None:
    R.manual_seed(1)
    mine = R.Generator().manual_seed(1)
    apart = R.rand(4, generator=mine)
    assert (R.rand(4) == apart).all()
    assert mine.initial_seed() == R.initial_seed() == 1
    assert mine.seed() == mine.initial_seed()
    with R.fork_rng():
        inside = R.rand(4)
    assert (R.rand(4) == inside).all()
    with pytest.raises(KeyError), R.fork_rng():
        R.rand(1)
        raise KeyError
    assert str(mine.device) == "cpu"


def test_drawing_in_a_shape_equals_drawing_flat() -> None:
    for draw in (R.rand, R.randn, lambda s: R.randint(0, 9, s), lambda s: R.bernoulli(0.5, s)):
        R.manual_seed(4)
        flat = draw(24)
        R.manual_seed(4)
        assert (draw((2, 3, 4)) == flat.reshape(2, 3, 4)).all()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 50, 1001])
def test_randperm_is_the_shuffle_done_swap_by_swap(n: int) -> None:
    for seed in range(20):
        words = R.Generator().manual_seed(seed).words(max(n - 1, 0)).tolist()
        order = list(range(n))
        for i, word in enumerate(words):
            j = i + word % (n - i)
            order[i], order[j] = order[j], order[i]
        assert R.randperm(n, generator=R.Generator().manual_seed(seed)).tolist() == order


def test_a_fair_coin_of_any_probability_compares_all_53_bits() -> None:
    for p in (0.0, 2.0**-53, 0.1, 0.5, 1 / 3, 1.0 - 2.0**-53, 1.0):
        a, b = R.Generator().manual_seed(9), R.Generator().manual_seed(9)
        assert (R.bernoulli(p, 5000, generator=a) == (b.fractions53(5000) < p)).all()
    exactly = R.Generator().manual_seed(9).fractions53(1)[0]  # the word on the threshold itself: ties matter
    assert R.bernoulli(float(exactly), 1, generator=R.Generator().manual_seed(9)) == 0
    assert R.bernoulli(float(np.nextafter(exactly, 1)), 1, generator=R.Generator().manual_seed(9)) == 1


def test_moments_are_those_of_the_distributions() -> None:
    """Six standard errors of the mean and of the variance (fourth moments 1.8, 3, 9 times the variance squared)."""
    R.manual_seed(0)
    n = 200_000
    for values, mean, variance, kurtosis in (
        (R.uniform(n, -1.0, 3.0, "float64"), 1.0, 16 / 12, 1.8),
        (R.normal(n, 2.0, 0.5, "float32").astype("float64"), 2.0, 0.25, 3.0),
        (R.exponential(n, 2.0, "float64"), 0.5, 0.25, 9.0),
    ):
        assert abs(values.mean() - mean) < 6 * np.sqrt(variance / n)
        assert abs(values.var() - variance) < 6 * variance * np.sqrt((kurtosis - 1) / n)


def test_the_c_library_and_the_chosen_loop_agree_bit_for_bit() -> None:
    x = np.random.default_rng(0).random(1000) + 1e-9
    for name in ("log", "log1p", "cos", "sin"):
        expected = [getattr(math, name)(v) for v in x.tolist()]
        assert box_muller.libm(name, x[:100]).tolist() == expected[:100]
        assert box_muller.libm(name, x).tolist() == expected


def test_fma_rounds_once() -> None:
    """Against exact rational arithmetic; both algorithms are allowed one double rounding in 2**29, none here."""
    rng = np.random.default_rng(1)
    for dtype in (np.float32, np.float64):
        a, b, c = (rng.standard_normal(500).astype(dtype) for _ in range(3))
        c[::2] = -(a * b)[::2]  # cancellation: what is left is the product's rounding error
        got = box_muller.fma(a, b, c, dtype)
        for x, y, z, r in zip(a, b, c, got, strict=True):
            exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
            assert dtype(float(exact)) == r


def test_impossible_draws_are_refused_in_the_words_of_pytorch() -> None:
    for draw, error, words in (
        (lambda: R.uniform(2, 2.0, 1.0), R.RandomError, "uniform_ expects to return"),
        (lambda: R.normal(2, 0.0, -1.0), R.RandomError, "normal expects std >= 0.0, but found std -1"),
        (lambda: R.randn(2, "int64"), DtypeError, "not implemented for 'Long'"),
        (lambda: R.randint(5, 5, 2), R.RandomError, "random_ expects 'from' to be less than 'to', but got from=5 >="),
        (lambda: R.randint(0, 300, 2, "uint8"), R.RandomError, "to - 1 is out of bounds for uint8"),
        (lambda: R.randint(-1, 3, 2, "uint8"), R.RandomError, "from is out of bounds for uint8"),
        (lambda: R.randperm(-1), ShapeRuntimeError, "negative dimension -1"),
        (lambda: R.randperm(300, "uint8"), R.RandomError, "without overflow"),
        (lambda: R.rand((2, -3)), ShapeRuntimeError, "negative dimension -3"),
        (lambda: R.bernoulli(1.5, 2), R.RandomError, "but got p=1.5"),
        (lambda: R.bernoulli(np.array([1.5])), R.RandomError, "p to be in"),
        (lambda: R.bernoulli(np.array([1])), DtypeError, "not implemented"),
        (lambda: R.exponential(2, 0.0), R.RandomError, "lambda > 0.0, but found lambda=0"),
        (lambda: R.dropout_mask(2, -0.1), ArgumentError, "between 0 and 1, but got -0.1"),
        (lambda: R.multinomial(np.ones(2), 0), R.RandomError, "n_sample <= 0"),
        (lambda: R.multinomial(np.ones(2), 3), R.RandomError, r"n_sample > prob_dist.size\(-1\)"),
        (lambda: R.multinomial(np.array([-1.0, 2]), 1), R.RandomError, "contains either `inf`, `nan` or element < 0"),
        (lambda: R.multinomial(np.array([-1.0, 2]), 3, True), R.RandomError, "entry < 0"),
        (lambda: R.multinomial(np.array([np.nan, 2]), 3, True), R.RandomError, "entry"),
        (lambda: R.multinomial(np.zeros(2), 1), R.RandomError, "sum of probabilities <= 0"),
        (lambda: R.multinomial(np.ones(2, int), 1), DtypeError, "only supports floating-point"),
        (lambda: R.multinomial(np.ones((2, 2, 2)), 1), R.RandomError, "1 or 2 dim"),
        (lambda: R.rand(2, generator=3), ArgumentTypeError, "expected a Generator"),  # type: ignore[arg-type]
        (lambda: R.Generator("cuda"), DeviceError, "CPU"),
        (lambda: R.manual_seed(2**64), ArgumentError, "Overflow when unpacking long"),
        (lambda: R.Generator().manual_seed(1.5), ArgumentTypeError, "expected an int"),  # type: ignore[arg-type]
        (lambda: R.set_rng_state(np.zeros(10)), ArgumentTypeError, "ByteTensor"),
        (lambda: R.set_rng_state(np.zeros(10, np.uint8)), R.RandomError, "of size 5056 but found .* to be 10"),
        (lambda: R.set_rng_state(np.zeros(5056, np.uint8)), R.RandomError, "Invalid mt19937 state"),
    ):
        before = R.get_rng_state()
        with pytest.raises(error, match=words):
            draw()
        assert (R.get_rng_state() == before).all(), "a refused draw must not move the stream"


def one_draw_of_each(torch: Any, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
    n = int(rng.choice([0, 1, 2, 5, 15, 16, 17, 31, 32, 100, 257, 1000]))
    dtype = ("float16", "float32", "float64")[rng.integers(3)]
    low, high = sorted(rng.normal(size=2).tolist())
    whole = int(rng.choice([1, 2, 10, 2**28 - 1, 2**28, 2**33]))
    weights = rng.random((2, 30)).astype(rng.choice([np.float32, np.float64]))
    empty, given = torch.empty(n, dtype=getattr(torch, dtype)), torch.from_numpy(weights)
    pairs = [
        lambda: (R.uniform(n, low, high, dtype), empty.uniform_(low, high)),
        lambda: (R.normal(n, low, abs(high), dtype), empty.normal_(low, abs(high))),
        lambda: (R.exponential(n, abs(high), dtype), empty.exponential_(abs(high))),
        lambda: (R.bernoulli(abs(low) % 1, n, dtype), empty.bernoulli_(abs(low) % 1)),
        lambda: (R.randint(-3, whole, n), torch.randint(-3, whole, (n,))),
        lambda: (R.randperm(n), torch.randperm(n)),
        lambda: (R.bernoulli(weights, dtype=weights.dtype), torch.bernoulli(given)),
        lambda: (R.multinomial(weights, 20, True), torch.multinomial(given, 20, True)),
        lambda: (R.multinomial(weights, 20), torch.multinomial(given, 20)),
    ]
    return pairs[rng.integers(len(pairs))]()


def test_a_long_random_mixture_of_draws_equals_torch_live() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    before = torch.get_rng_state()
    try:
        seed = int(rng.integers(-(2**62), 2**62))
        R.manual_seed(seed)
        torch.manual_seed(seed)
        same_bits(R.get_rng_state(), torch.get_rng_state().numpy())
        for _ in range(600):
            ours, theirs = one_draw_of_each(torch, rng)
            same_bits(ours, theirs.numpy())
            same_bits(R.get_rng_state(), torch.get_rng_state().numpy())
    finally:
        torch.set_rng_state(before)


def test_a_state_is_a_tensor_of_bytes_and_arrays_of_older_files_are_taken() -> None:
    for state in (tg.get_rng_state(), tg.Generator().get_state(), tg.default_generator.get_state()):
        assert type(state) is tg.Tensor and state.dtype is tg.uint8 and state.shape == (5056,)
    g = tg.Generator().manual_seed(3)
    state, first = g.get_state(), tg.rand(4, generator=g)
    kept = state.clone()
    for given in (state, state.numpy(), kept):
        assert tg.equal(tg.rand(4, generator=tg.Generator().set_state(given)), first)
    assert tg.equal(state, kept), "drawing must not move a state that was given away"
    for wrong, said in ((state.int(), "RNG state must be a torch.ByteTensor"), ("x", "but got str"), ([1], "got list")):
        for put in (tg.set_rng_state, tg.Generator().set_state):
            with pytest.raises(TypeError, match=said):
                put(wrong)
    with pytest.raises(RuntimeError, match="size 5056 but found the input RNG state size to be 10"):
        tg.set_rng_state(state[:10])
