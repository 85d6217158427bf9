"""Datasets, collating and the loader: what goes in comes out, as in PyTorch; mistakes are named."""

from __future__ import annotations

import json
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.utils.data as data
from tests.golden import collate_cases
from tests.golden import data_cases as cases
from tests.support.rows import together
from tinygrad_rnn.errors import TinygradRnnError
from tinygrad_rnn.utils.data import DataLoader, Subset, TensorDataset, default_collate, default_convert

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "golden" / "data.json").read_text())


# Collating ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["default_collate", "default_convert"])
def test_batches_are_those_of_pytorch(function: str) -> None:
    ours = collate_cases.everything(tg)[function]
    assert len(ours) == len(GOLDEN[function]) > 20
    for batch, (mine, expected) in zip(
        collate_cases.samples(tg), zip(ours, GOLDEN[function], strict=True), strict=True
    ):
        assert mine == expected, batch


def test_what_is_collated_can_be_taken_apart_again() -> None:
    batch = [{"x": tg.tensor([float(i), 2.0]), "n": i, "t": (i / 2, "ab"[i])} for i in range(2)]
    out = default_collate(batch)
    for i, sample in enumerate(batch):
        assert out["x"][i].tolist() == sample["x"].tolist() and out["n"][i].item() == sample["n"]
        assert (out["t"][0][i].item(), out["t"][1][i]) == sample["t"]
    assert out["x"].dtype == np.float32 and out["t"][0].dtype == np.float64 and out["n"].dtype == np.int64


def test_collating_does_not_change_the_samples_and_keeps_gradients() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    batch = [{"x": x}, {"x": x}]
    out = default_collate(batch)
    assert batch[0]["x"] is x
    out["x"].sum().backward()
    assert x.grad is not None and x.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("batch", "kind", "message"),
    [
        (
            [object()],
            TypeError,
            "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found",
        ),
        ([None, None], TypeError, "found <class 'NoneType'>"),
        ([np.array(["a"])], TypeError, "found <U1"),
        ([[1, 2], [3]], RuntimeError, "each element in list of batch should be of equal size"),
        ([tg.zeros(2), tg.zeros(3)], RuntimeError, "stack expects each tensor to be equal size"),
    ],
)
def test_what_cannot_be_collated_is_named(batch: list[Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        default_collate(batch)
    assert isinstance(caught.value, TinygradRnnError)


# Datasets -----------------------------------------------------------------------------------------------------


class Squares(data.Dataset[int]):
    def __getitem__(self, index: int) -> int:
        return index * index

    def __len__(self) -> int:
        return 5


def test_tensor_dataset_gives_rows_and_checks_lengths() -> None:
    dataset = TensorDataset(tg.arange(6).reshape(3, 2), tg.tensor([7, 8, 9]))
    assert len(dataset) == 3
    assert [t.tolist() for t in dataset[1]] == [[2, 3], 8]
    assert [t.tolist() for t in dataset[-1:]] == [[[4, 5]], [9]]
    with pytest.raises(AssertionError, match="Size mismatch between tensors"):
        TensorDataset(tg.zeros(3), tg.zeros(2))


def test_datasets_add_up() -> None:
    both = Squares() + Squares() + data.ConcatDataset([range(3)])
    assert len(both) == 13 and list(map(both.__getitem__, (0, 4, 5, 9, 10, -1))) == [0, 16, 0, 16, 0, 2]
    with pytest.raises(ValueError, match="absolute value of index should not exceed dataset length"):
        both[-14]
    with pytest.raises(AssertionError, match="datasets should not be an empty iterable"):
        data.ConcatDataset([])
    with pytest.raises(AssertionError, match="ConcatDataset does not support IterableDataset"):
        data.ConcatDataset([cases.stream(tg, 3)])


def test_streams_chain() -> None:
    class Sized(data.IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter((1, 2))

        def __len__(self) -> int:
            return 2

    chain = Sized() + Sized()
    assert list(chain) == [1, 2, 1, 2] and len(chain) == 4
    with pytest.raises(AssertionError, match="ChainDataset only supports IterableDataset"):
        list(data.ChainDataset([range(3)]))


def test_subsets_nest_and_pass_whole_batches_on() -> None:
    inner = Subset(Squares(), [4, 3, 2, 1])
    outer = Subset(inner, [0, 2])
    assert [outer[0], outer[1]] == [16, 4] and len(outer) == 2
    assert outer.__getitems__([1, 0]) == [4, 16]
    rows = Subset(TensorDataset(tg.arange(4)), [3, 1])
    assert rows[[0, 1]][0].tolist() == [3, 1]

    class Half(Subset[int]):
        def __getitem__(self, idx: Any) -> int:
            return super().__getitem__(idx) // 2

    with pytest.raises(NotImplementedError, match="Half overrides __getitem__ but not __getitems__"):
        Half(Squares(), [0])


def test_random_split_checks_its_lengths() -> None:
    with pytest.raises(ValueError, match="Sum of input lengths does not equal the length of the input dataset!"):
        data.random_split(range(5), [2, 2])
    with pytest.raises(ValueError, match="Fraction at index 1 is not between 0 and 1"):
        data.random_split(range(5), [0.75, -0.25, 0.5])
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0") as w:
        assert [len(p) for p in data.random_split(range(1), [0.5, 0.5])] == [1, 0]
    assert w[0].filename == __file__


def test_base_classes_say_what_to_define() -> None:
    with pytest.raises(NotImplementedError, match="Subclasses of Dataset should implement __getitem__"):
        data.Dataset()[0]
    with pytest.raises(NotImplementedError, match="does not define __iter__"):
        list(data.Sampler())


# The loader ---------------------------------------------------------------------------------------------------


def test_rows_of_tensors_are_read_at_once_as_one_by_one() -> None:
    x, y = tg.tensor(np.arange(24.0).reshape(8, 3)), tg.arange(8)
    plain, seen = TensorDataset(x, y), []

    class Slow(TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            seen.append(index)
            return super().__getitem__(index)

    for quick, slow in ((plain, Slow(x, y)), (Subset(plain, [5, 1, 6, 6, 0]), Subset(Slow(x, y), [5, 1, 6, 6, 0]))):
        for a, b in zip(DataLoader(quick, 3), DataLoader(slow, 3), strict=True):
            assert type(a) is type(b) is list
            assert [t.tolist() for t in a] == [t.tolist() for t in b] and a[0].dtype == b[0].dtype
    assert seen
    (a,) = DataLoader(plain, batch_sampler=[[np.int64(2), 1]])
    assert a[1].tolist() == [2, 1]
    batch = next(iter(DataLoader(plain, 8)))
    batch[0]._data[...] = -1
    assert x.tolist()[0] == [0.0, 1.0, 2.0]


def test_batches_come_through_getitems_and_collate_fn() -> None:
    class Many(Squares):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return [-i for i in indices]

    assert cases.batches(DataLoader(Many(), 2)) == [[0, -1], [-2, -3], [-4]]
    assert list(DataLoader(Squares(), 2, collate_fn=sum)) == [1, 13, 16]
    assert list(DataLoader(Squares(), None)) == [0, 1, 4, 9, 16]
    assert list(DataLoader(range(3), None, collate_fn=str)) == ["0", "1", "2"]


def test_length_counts_batches() -> None:
    assert len(DataLoader(range(7), 3)) == 3 and len(DataLoader(range(7), 3, drop_last=True)) == 2
    assert len(DataLoader(range(7), None)) == 7
    assert len(DataLoader(range(7), batch_sampler=[[1], [2]])) == 2
    with pytest.raises(TypeError):
        len(DataLoader(cases.stream(tg, 3)))


def test_a_stream_that_gives_more_than_it_promised_warns() -> None:
    class Liar(data.IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(4))

        def __len__(self) -> int:
            return 2

    loader = DataLoader(Liar(), batch_size=2)
    assert len(list(loader)) == 2
    assert len(loader) == 1
    with pytest.warns(UserWarning, match="was reported to be 1.*but 2 samples have been fetched"):
        list(loader)


def test_a_stream_is_read_no_further_than_asked() -> None:
    read = []

    class Counted(data.IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            for i in range(9):
                read.append(i)
                yield i

    next(iter(DataLoader(Counted(), batch_size=3)))
    assert read == [0, 1, 2]


def test_workers_are_replaced_by_this_process_with_a_word() -> None:
    with pytest.warns(UserWarning, match="num_workers=2: samples are read in this process") as w:
        loader = DataLoader(range(4), 2, num_workers=2, persistent_workers=True, timeout=3)
    assert w[0].filename == __file__
    assert cases.batches(loader) == [[0, 1], [2, 3]]
    assert data.get_worker_info() is None


def wrong_options(lib: Any) -> list[tuple[dict[str, Any], str]]:
    d = lib.utils.data
    it = cases.stream(lib, 3)
    return [
        ({"num_workers": -1}, "num_workers option should be non-negative"),
        ({"timeout": -1}, "timeout option should be non-negative"),
        ({"prefetch_factor": 2}, "prefetch_factor option could only be specified in multiprocessing"),
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        ({"multiprocessing_context": "fork"}, "multiprocessing_context can only be used with multi-process loading"),
        ({"sampler": [0], "shuffle": True}, "sampler option is mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler option is mutually exclusive with batch_size"),
        ({"batch_sampler": [[0]], "drop_last": True}, "batch_sampler option is mutually exclusive with batch_size"),
        ({"batch_size": None, "drop_last": True}, "batch_size=None option disables auto-batching"),
        ({"batch_size": 0}, "batch_size should be a positive integer value, but got batch_size=0"),
        ({"batch_size": 2, "drop_last": 1}, "drop_last should be a boolean value, but got drop_last=1"),
        ({"dataset": [], "shuffle": True}, "num_samples should be a positive integer value, but got num_samples=0"),
        ({"dataset": it, "shuffle": True}, "DataLoader with IterableDataset: expected unspecified shuffle option"),
        ({"dataset": it, "sampler": [0]}, "DataLoader with IterableDataset: expected unspecified sampler option"),
        ({"dataset": it, "batch_sampler": [[0]]}, "expected unspecified batch_sampler option, but got"),
        (
            {"sampler": lambda: d.RandomSampler(range(3), num_samples=0)},
            "num_samples should be a positive integer value",
        ),
        ({"sampler": lambda: d.WeightedRandomSampler([1.0], True)}, "num_samples should be a positive integer value"),
        ({"sampler": lambda: d.WeightedRandomSampler([1.0], 1, 1)}, "replacement should be a boolean value, but got"),
        ({"sampler": lambda: d.WeightedRandomSampler([[1.0]], 1)}, "weights should be a 1d sequence but given weights"),
        ({"sampler": lambda: d.BatchSampler([1], True, False)}, "batch_size should be a positive integer value"),
    ]


@together
@pytest.mark.parametrize("case", range(len(wrong_options(tg))))
@pytest.mark.parametrize("name", ["tinygrad_rnn", "torch"])
def test_options_that_do_not_fit_are_refused_in_the_words_of_pytorch(name: str, case: int) -> None:
    lib = pytest.importorskip(name)
    options, message = wrong_options(lib)[case]
    with pytest.raises(ValueError) as caught:
        if callable(options.get("sampler")):
            options["sampler"]()
        lib.utils.data.DataLoader(**{"dataset": range(5), **options})
    assert message in str(caught.value)
    assert lib is not tg or isinstance(caught.value, TinygradRnnError)


def test_the_random_samplers_replacement_is_a_bool() -> None:
    with pytest.raises(TypeError, match="replacement should be a boolean value, but got replacement=1"):
        data.RandomSampler(range(3), replacement=1)  # type: ignore[arg-type]


def test_what_decides_the_batches_is_fixed_once_made() -> None:
    loader = DataLoader(range(3))
    with pytest.raises(ValueError, match="batch_size attribute should not be set after DataLoader is initialized"):
        loader.batch_size = 2
    loader.collate_fn = sum


def test_pinned_memory_is_accepted_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cases.batches(DataLoader(range(2), pin_memory=True)) == [[0], [1]]


def test_default_convert_shares_memory_with_arrays() -> None:
    array = np.zeros(2)
    converted = default_convert([array, "a"])
    assert np.shares_memory(converted[0]._data, array)
