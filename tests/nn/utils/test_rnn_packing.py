"""Packing and padding: inverses of each other, PyTorch's layout and sentences, and layers that see no padding."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.nn.utils import rnn

lengths_lists = st.lists(st.integers(1, 6), min_size=1, max_size=6)


def ragged(lengths: list[int], *trailing: int) -> list[tg.Tensor]:
    """Sequences of these lengths with entries that are all different."""
    counter = iter(range(1, 10_000))
    count = int(np.prod(trailing))
    rows = [np.array([next(counter) for _ in range(n * count)], dtype=float) for n in lengths]
    return [tg.tensor(row.reshape(n, *trailing)) for n, row in zip(lengths, rows, strict=True)]


def equal(a: tg.Tensor, b: tg.Tensor) -> None:
    np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


@given(lengths_lists, st.booleans(), st.sampled_from(["right", "left"]))
def test_unpad_inverts_pad(lengths: list[int], batch_first: bool, side: str) -> None:
    sequences = ragged(lengths, 2)
    padded = rnn.pad_sequence(sequences, batch_first, -1.0, side)
    steps = max(lengths)
    assert tuple(padded.shape) == ((len(lengths), steps, 2) if batch_first else (steps, len(lengths), 2))
    assert int((padded == -1).sum()) == 2 * sum(steps - n for n in lengths)
    if side == "right":
        for got, expected in zip(rnn.unpad_sequence(padded, tg.tensor(lengths), batch_first), sequences, strict=True):
            equal(got, expected)


@given(lengths_lists)
def test_unpack_inverts_pack_in_the_original_order(lengths: list[int]) -> None:
    sequences = ragged(lengths, 2, 2)
    packed = rnn.pack_sequence(sequences, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [sum(n > t for n in lengths) for t in range(max(lengths))]
    assert packed.data.shape == (sum(lengths), 2, 2)
    for got, expected in zip(rnn.unpack_sequence(packed), sequences, strict=True):
        equal(got, expected)
    equal(packed.sorted_indices[packed.unsorted_indices], tg.arange(len(lengths)))


@given(lengths_lists, st.booleans(), st.integers(0, 3))
def test_pad_inverts_pack_and_gradients_go_where_values_came_from(
    lengths: list[int], batch_first: bool, more: int
) -> None:
    steps = max(lengths)
    shape = (len(lengths), steps + more) if batch_first else (steps + more, len(lengths))
    x = tg.tensor(np.arange(1.0, 1 + np.prod(shape)).reshape(shape), requires_grad=True)
    packed = rnn.pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
    padded, back = rnn.pad_packed_sequence(packed, batch_first, total_length=steps + more)
    assert back.tolist() == lengths and back.dtype == tg.int64
    inside = np.arange(steps + more)[:, None] < np.array(lengths)
    inside = inside.T if batch_first else inside
    equal(padded, tg.tensor(np.where(inside, x.detach().numpy(), 0)))
    (g,) = tg.autograd.grad((padded * padded).sum(), [x], create_graph=True)
    equal(g, 2 * padded)
    (second,) = tg.autograd.grad(g.sum(), [x])
    equal(second, tg.tensor(np.where(inside, 2.0, 0.0)))


@pytest.mark.parametrize("as_given", [list, tuple, np.array, tg.tensor, lambda n: [tg.tensor(k) for k in n]])
def test_lengths_may_come_as_list_array_or_tensor(as_given: Callable[[Any], Any]) -> None:
    x = tg.arange(8.0).reshape(4, 2)
    packed = rnn.pack_padded_sequence(x, as_given([4, 2]))
    equal(packed.data, tg.tensor([0.0, 1, 2, 3, 4, 6]))
    assert packed.batch_sizes.tolist() == [2, 2, 1, 1]
    assert packed.sorted_indices is None and packed.unsorted_indices is None
    assert len(rnn.unpad_sequence(x, as_given([4, 2]))) == 2


def test_a_packed_sequence_is_a_named_tuple_that_converts() -> None:
    packed = rnn.pack_sequence([tg.tensor([1.0, 2.0]), tg.tensor([3.0])])
    data, batch_sizes, _sorted_indices, _unsorted_indices = packed
    assert packed._fields == ("data", "batch_sizes", "sorted_indices", "unsorted_indices")
    assert packed.to("cpu") is packed and packed.float() is packed and packed.cpu() is packed
    assert packed.to(tg.float64).data.dtype == tg.float64 and packed.to(tg.float64).batch_sizes is batch_sizes
    dtypes = {"double": "f8", "half": "f2", "long": "i8", "int": "i4", "short": "i2", "char": "i1", "byte": "u1"}
    for name, dtype in dtypes.items():
        converted = getattr(packed, name)()
        assert converted.data.dtype == np.dtype(dtype) and isinstance(converted, rnn.PackedSequence)
    assert not packed.is_cuda and not packed.is_pinned()
    again = rnn.PackedSequence((data, batch_sizes))
    assert again.data is data and again.sorted_indices is None
    assert rnn.PackedSequence(data, batch_sizes, tg.tensor([1, 0])).unsorted_indices.tolist() == [1, 0]
    assert rnn.invert_permutation(None) is None


def pack(lengths: Any, shape: tuple[int, ...] = (4, 3, 2), **options: Any) -> Callable[[Any], Any]:
    return lambda lib: lib.nn.utils.rnn.pack_padded_sequence(lib.zeros(*shape), lengths, **options)


MISTAKES: list[tuple[str, type[Exception], str, Callable[[Any], Any]]] = [
    (
        "unsorted",
        RuntimeError,
        "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. "
        "You can pass `enforce_sorted=False`",
        pack([1, 2, 4]),
    ),
    (
        "zero",
        RuntimeError,
        "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0",
        pack([4, 2, 0]),
    ),
    (
        "count",
        RuntimeError,
        "Expected `len(lengths)` to be equal to batch_size, but got 2 (batch_size=3)",
        pack([4, 2]),
    ),
    ("empty", RuntimeError, "Cannot pack empty tensors.", pack([1, 1, 1], (0, 3, 2))),
    ("axes", IndexError, "Dimension out of range (expected to be in range of [-1, 0], but got 1)", pack([4], (4,))),
    (
        "total_length",
        ValueError,
        "Expected total_length to be at least the length of the longest sequence in input, but got total_length=2 and "
        "max sequence length being 4",
        lambda lib: lib.nn.utils.rnn.pad_packed_sequence(pack([4, 2, 1])(lib), total_length=2),
    ),
    ("none", RuntimeError, "received an empty list of sequences", lambda lib: lib.nn.utils.rnn.pad_sequence([])),
    (
        "side",
        RuntimeError,
        "Expected padding_side to be one of left or right, but got middle.",
        lambda lib: lib.nn.utils.rnn.pad_sequence([lib.zeros(2)], padding_side="middle"),
    ),
    (
        "trailing",
        RuntimeError,
        "The size of tensor a (3) must match the size of tensor b (2) at non-singleton dimension 1",
        lambda lib: lib.nn.utils.rnn.pad_sequence([lib.zeros(2, 3), lib.zeros(4, 2)]),
    ),
    (
        "number",
        RuntimeError,
        "pad_sequence: Expected iterable for input sequences, but got arg of type: <class 'int'>",
        lambda lib: lib.nn.utils.rnn.pad_sequence(3),
    ),
]


@pytest.mark.parametrize(("error", "sentence", "attempt"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_mistake_gets_pytorchs_sentence(error: type[Exception], sentence: str, attempt: Callable[[Any], Any]) -> None:
    with pytest.raises(error, match=re.escape(sentence)) as caught:
        attempt(tg)
    assert isinstance(caught.value, tg.errors.TinygradRnnError)


@pytest.mark.parametrize(("error", "sentence", "attempt"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_pytorch_says_the_same(error: type[Exception], sentence: str, attempt: Callable[[Any], Any]) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(error, match=re.escape(sentence)):
        attempt(torch)


def test_a_length_beyond_the_padding_is_refused_where_pytorch_is_silent() -> None:
    with pytest.raises(RuntimeError, match=r"lengths\[0\] is 5, but the sequences are padded to 4 steps only"):
        pack([5, 2, 1])(tg)
    with pytest.raises(ValueError, match="whole numbers"):
        pack([2.5, 2, 1])(tg)
    with pytest.raises(ValueError, match="between 0 and 4"):
        rnn.unpad_sequence(tg.zeros(4, 2), [5, 1])
    with pytest.raises(RuntimeError, match="one length for each of 2 sequences"):
        rnn.unpad_sequence(tg.zeros(4, 2), [1])


# layers --------------------------------------------------------------------------------------------------------------


def make(kind: str, **options: Any) -> Any:
    tg.manual_seed(0)
    return getattr(tg.nn, kind)(2, 3, dtype=tg.float64, **options)


def states_of(kind: str, final: Any) -> list[tg.Tensor]:
    return list(final) if kind == "LSTM" else [final]


@given(
    st.sampled_from(["RNN", "LSTM", "GRU"]),
    lengths_lists,
    st.booleans(),
    st.sampled_from(["fused", "composed"]),
    st.integers(1, 2),
)
@settings(max_examples=40, deadline=None)
def test_packed_equals_running_each_sequence_alone(
    kind: str, lengths: list[int], bidirectional: bool, impl: str, layers: int
) -> None:
    layer = make(kind, bidirectional=bidirectional, impl=impl, num_layers=layers)
    rng = np.random.default_rng(len(lengths))
    sequences = [tg.tensor(rng.standard_normal((n, 2)), requires_grad=True) for n in lengths]
    count = layers * (2 if bidirectional else 1)
    initial = [tg.tensor(rng.standard_normal((count, len(lengths), 3))) for _ in range(2 if kind == "LSTM" else 1)]

    def hx(states: list[tg.Tensor]) -> Any:
        return tuple(states) if kind == "LSTM" else states[0]

    packed, final = layer(rnn.pack_sequence(sequences, enforce_sorted=False), hx(initial))
    outputs = rnn.unpack_sequence(packed)
    total = sum(y.square().sum() for y in [*outputs, *states_of(kind, final)])
    leaves = [*sequences, *layer.parameters()]
    gradients = tg.autograd.grad(total, leaves)

    alone = 0.0
    for n, x in enumerate(sequences):
        y, last = layer(x, hx([s[:, n] for s in initial]))
        np.testing.assert_allclose(outputs[n].detach().numpy(), y.detach().numpy(), rtol=0, atol=1e-13)
        for both, one in zip(states_of(kind, final), states_of(kind, last), strict=True):
            np.testing.assert_allclose(both[:, n].detach().numpy(), one.detach().numpy(), rtol=0, atol=1e-13)
        alone = alone + sum(t.square().sum() for t in [y, *states_of(kind, last)])
    for got, expected in zip(gradients, tg.autograd.grad(alone, leaves), strict=True):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-10, atol=1e-12)  # float64, sums regrouped


@pytest.mark.parametrize("impl", ["fused", "composed"])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_sequences_of_length_zero_pass_their_state_through(kind: str, impl: str) -> None:
    layer = make(kind, bidirectional=True, impl=impl)
    x = tg.tensor(np.random.default_rng(0).standard_normal((4, 3, 2)))
    states = [tg.tensor(np.random.default_rng(k).standard_normal((2, 3, 3)), requires_grad=True) for k in (1, 2)]
    hx: Any = tuple(states) if kind == "LSTM" else states[0]
    for lengths, enforce in (([2, 0, 4], False), ([4, 2, 0], True)):
        packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=enforce, allow_empty=True)
        output, final = layer(packed, hx)
        padded, back = rnn.pad_packed_sequence(output)
        assert back.tolist() == lengths
        empty = lengths.index(0)
        equal(padded[:, empty], tg.zeros(4, 6, dtype=tg.float64))
        for last, first in zip(states_of(kind, final), states, strict=False):
            equal(last[:, empty], first[:, empty])
            (g,) = tg.autograd.grad(last[:, empty].sum(), [first], retain_graph=True)
            assert float(g.sum()) == 6.0 and float(g[:, empty].sum()) == 6.0
    with pytest.raises(RuntimeError, match="Every sequence has length 0"):
        rnn.pack_padded_sequence(x, [0, 0, 0], allow_empty=True)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_mistakes_with_packed_input_are_told(kind: str) -> None:
    layer = getattr(tg.nn, kind)(2, 3)
    packed = rnn.pack_padded_sequence(tg.zeros(4, 3, 2), [1, 4, 2], enforce_sorted=False)
    wrong = tg.zeros(1, 2, 3)
    with pytest.raises(RuntimeError, match=r"Expected hidden(\[0\])? size \(1, 3, 3\), got \[1, 2, 3\]"):
        layer(packed, (wrong, wrong) if kind == "LSTM" else wrong)
    with pytest.raises(RuntimeError, match="input.size.-1. must be equal to input_size. Expected 2, got 5"):
        layer(rnn.pack_padded_sequence(tg.zeros(4, 1, 5), [4]))
    with pytest.raises(RuntimeError, match="input must have 2 dimensions, got 1"):
        layer(rnn.pack_padded_sequence(tg.zeros(4, 1), [4]))


def test_layouts_and_permutations_equal_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for lengths in ([3, 1, 2], [1, 2, 3], [2, 2, 3], [3, 3, 3]):
        for batch_first in (False, True):
            shape = (3, 3, 2)
            x = np.arange(18.0).reshape(shape)
            packs = [lib.nn.utils.rnn.pack_padded_sequence for lib in (tg, torch)]
            given = [tg.tensor(x), torch.tensor(x)]
            ours, theirs = (p(g, lengths, batch_first, enforce_sorted=False) for p, g in zip(packs, given, strict=True))
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a.numpy(), b.numpy())
    for side in ("left", "right"):
        ours = rnn.pad_sequence([tg.tensor([1, 2]), tg.tensor([3])], padding_value=9, padding_side=side)
        theirs = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor([1, 2]), torch.tensor([3])], padding_value=9, padding_side=side
        )
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
