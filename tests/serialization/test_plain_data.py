"""What a training script keeps beside its weights: plain data, settings, optimisers, schedules, generators."""

from __future__ import annotations

import argparse
import io
import pickle
import threading
import types
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.serialization import some_classes
from tests.serialization.some_classes import Color, Corner, Pair, Settings, Shy, SlotAndDict, Tagger, half
from tests.support.rows import together
from tinygrad_rnn import nn, optim, serialization
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, CheckpointError


def back(value: Any, **options: Any) -> Any:
    """What comes back from a file that has ``value`` in it."""
    file = io.BytesIO()
    tg.save(value, file)
    file.seek(0)
    return tg.load(file, **options)


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if isinstance(a, defaultdict) and a.default_factory is not b.default_factory:
        return False
    return bool((isinstance(a, (set, frozenset)) or repr(a) == repr(b)) and a == b)


EAST = timezone(timedelta(hours=5, minutes=30), "IST")
PLAIN = [
    {1, 2}, {"b", "a"}, set(), frozenset({(1, "x"), None}), Counter("aab"), OrderedDict(b=1, a=2),
    defaultdict(list, {1: [2]}), defaultdict(None, a=1), defaultdict(Counter, x=Counter("aa")), deque([1, [2]], 3),
    deque(), ..., ChainMap({1: 2}, {3: 4}),
    range(3, 9, 2), slice(1, None, -1), Path("runs") / "001", PurePosixPath("/a"), PureWindowsPath("c:/a"),
    datetime(2024, 2, 29, 23, 59, 59, 999999), datetime(2024, 1, 1, tzinfo=timezone.utc, fold=1),
    datetime(1, 1, 1, tzinfo=EAST), date(2024, 2, 29), time(1, 2, 3, 4, tzinfo=EAST, fold=1), timedelta(-3, 4, 5), EAST,
    UserDict(a=1), UserList([1, 2]), argparse.Namespace(lr=0.1, layers=[1, 2]), types.SimpleNamespace(a={1}),
    Decimal("1.50"), Decimal("-Infinity"), Fraction(-1, 3), 1 - 2j,
    bytearray(b"\0\xff"), b"x" * 70_000, bytearray(b"y" * 70_000), "é\ud800\n" * 30_000, 10**400, -(2**4000),
    tg.Size([2]), np.float64(0.1), np.float16(2), np.uint64(2**64 - 1), np.bool_(False), np.complex128(1j),
    np.str_("a"), np.bytes_(b"a"), np.datetime64("2020-01-01T00:00"), np.timedelta64(3, "s"), np.timedelta64(-1, "D"),
    np.array(["ab", "", "é"]), np.array([["a"], ["bcd"]]).T, np.array([b"ab", b"c"]), np.array("word"),
    np.array([], "U"), np.array([1 + 2j, 3]), np.array(1j), np.array([[1j, 2], [3, 4]]).T,
    np.array(["2020-01-01", "NaT"], "M8[D]"),
    np.array([1, 2], "m8[ns]"), np.zeros((0, 3), "U2"), np.array(["a", "b", "c"])[::-2],
    tg.float32, tg.complex128, np.dtype("float64"), np.dtype("U3"), np.dtype("M8[ns]"),
    np.float32, np.bool_, np.str_, bool, int, float, dict, tg.device("cuda:1"),
    {"nested": [({1}, Counter(a=1)), {2: deque([Path("a")])}]}, {range(3): 1, Fraction(1, 2): 2, np.float32(1): 3},
]  # fmt: skip


@together
@pytest.mark.parametrize("value", PLAIN, ids=[f"{k} {type(value).__name__}" for k, value in enumerate(PLAIN)])
def test_plain_data_comes_back_equal_and_of_its_type(value: Any) -> None:
    assert same(back(value), value)
    assert same(back([value, {"again": value}])[1]["again"], value)


def test_complex_tensors_in_double_precision_share_their_memory() -> None:
    w = tg.tensor([1j, 2.0 + 1j], dtype=np.complex128)
    first, second = back([w, w.detach()])
    assert first.dtype == np.complex128 and first.tolist() == [1j, 2 + 1j]
    first[0] = 5
    assert second[0].item() == 5


def test_a_set_of_words_makes_the_same_file_in_every_process() -> None:
    file, other = io.BytesIO(), io.BytesIO()
    words = [f"word{i}" for i in range(50)]
    backwards: set[str] = set()
    for word in reversed(words):
        backwards.add(word)
    tg.save(set(words), file)
    tg.save(backwards, other)
    assert file.getvalue() == other.getvalue()


def test_the_report_of_a_user_comes_back() -> None:
    given = {"args": argparse.Namespace(lr=0.1), "opt": optim.SGD(nn.GRU(2, 3).parameters(), lr=0.1)}
    for options in ({}, {"weights_only": False}, {"weights_only": True}):
        found = back(given, **options)
        assert found["args"] == given["args"] and repr(found["opt"]) == repr(given["opt"])


OPTIMIZERS = [
    name for name in optim.__all__
    if isinstance(getattr(optim, name), type) and issubclass(getattr(optim, name), optim.Optimizer)
    and name != "Optimizer"
]  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_saved_with_its_model_goes_on_with_that_model(name: str) -> None:
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    optimizer = getattr(optim, name)(model.parameters(), lr=0.01)
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    def step(model: Any, optimizer: Any, schedule: Any) -> None:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = (model(tg.tensor([[1.0, -2.0], [0.5, 3.0]])) ** 2).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        schedule.step()

    step(model, optimizer, schedule)
    found = back({"schedule": schedule, "model": model, "optimizer": optimizer, "defaults": optimizer.defaults})
    assert found["schedule"].optimizer is found["optimizer"] and type(found["optimizer"]) is type(optimizer)
    held = [p for group in found["optimizer"].param_groups for p in group["params"]]
    assert all(p is q for p, q in zip(held, found["model"].parameters(), strict=True)) and len(held) == 4
    for parts in ((model, optimizer, schedule), (found["model"], found["optimizer"], found["schedule"])):
        step(*parts)
        step(*parts)
    for p, q in zip(model.parameters(), found["model"].parameters(), strict=True):
        assert tg.equal(p, q)
    assert optimizer.param_groups[0]["lr"] == found["optimizer"].param_groups[0]["lr"] == 0.01 / 8
    found["model"][0].weight.grad = None
    found["optimizer"].zero_grad()


def test_an_optimiser_saved_with_the_state_dict_of_its_model_shares_memory_with_it() -> None:
    model = nn.Linear(2, 1)
    found = back({"state": model.state_dict(), "optimizer": optim.SGD(model.parameters(), lr=1.0)})
    (weight, _) = found["optimizer"].param_groups[0]["params"]
    weight.grad = tg.ones(1, 2)
    before = found["state"]["weight"].clone()
    found["optimizer"].step()
    assert tg.equal(found["state"]["weight"], before - 1)


SCHEDULES: dict[str, Any] = {
    "StepLR": (3,), "MultiStepLR": ([1, 3],), "ConstantLR": (), "LinearLR": (), "ExponentialLR": (0.5,),
    "PolynomialLR": (), "CosineAnnealingLR": (3,), "OneCycleLR": (0.1, 10), "ReduceLROnPlateau": (),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_goes_on(name: str) -> None:
    optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1, momentum=0.9)
    schedule = getattr(optim.lr_scheduler, name)(optimizer, *SCHEDULES[name])
    given = (1.0,) if name == "ReduceLROnPlateau" else ()
    optimizer.step()
    schedule.step(*given)
    found = back(schedule)
    for one in (schedule, found):
        for _ in range(4):
            one.optimizer.step()
            one.step(*given)
    assert found.optimizer.param_groups[0]["lr"] == schedule.optimizer.param_groups[0]["lr"]
    assert found.last_epoch == schedule.last_epoch == 5


def test_schedules_in_a_sequence_share_their_optimiser() -> None:
    optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1)
    parts = [optim.lr_scheduler.ConstantLR(optimizer), optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]
    found = back(optim.lr_scheduler.SequentialLR(optimizer, parts, [2]))
    found.optimizer.step()
    found.step()
    assert found.last_epoch == 1


def test_functions_of_a_schedule_and_hooks_are_refused_with_their_place() -> None:
    optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    with pytest.raises(ArgumentTypeError, match=r"save\(\): s.lr_lambdas.0 is a builtins.function.*top level of a mod"):
        back({"s": schedule})
    optimizer.register_step_post_hook(lambda *args: None)
    with pytest.raises(ArgumentTypeError, match=r"o has hooks \(_step_post_hooks\), which are code"):
        back({"o": optimizer})


def test_a_generator_goes_on_and_stays_one() -> None:
    generator = tg.Generator().manual_seed(5)
    tg.randn(3, generator=generator)
    one, two = back([generator, generator])
    assert one is two
    assert tg.equal(tg.randn(20, generator=one), tg.randn(20, generator=generator))


def test_the_versions_of_a_state_dict_are_kept() -> None:
    state = nn.LSTM(2, 3).state_dict()
    assert back(state)._metadata == state._metadata  # type: ignore[attr-defined]


# classes of the user's own --------------------------------------------------------------------------------------


def test_objects_of_own_classes_are_saved_and_come_back_where_they_are_allowed() -> None:
    shy = Shy()
    assert (shy.count_of, "count_of" in vars(shy)) == (3, True)  # computed, and kept in the object
    shy.other = 1  # type: ignore[attr-defined]
    values = {"settings": Settings(3, ["a"]), "color": Color.RED, "shy": shy, "function": half, "class": Settings}
    for name, value in values.items():
        with pytest.raises(CheckpointError, match=r"Weights only load failed.*some_classes\..*safe_globals\(\[\w+\]\)"):
            back({name: value})
    with serialization.safe_globals([Corner]):
        assert back({Corner.LEFT: 1}) == {Corner.LEFT: 1} and back(Corner.LEFT) is Corner.LEFT
    with serialization.safe_globals([Settings, Color, Shy, half]):
        found = back(values)
    assert (found["settings"], found["function"], found["class"]) == (values["settings"], half, Settings)
    assert found["color"] is Color.RED
    assert vars(found["shy"]) == {"other": 1} and found["shy"].count_of == 3


def test_what_would_replace_a_method_is_refused_before_anything_is_written() -> None:
    model = nn.Sequential(nn.LSTM(2, 3))
    model[0].flatten_parameters = model.train  # the weight drop of AWD-LSTM does so
    with pytest.raises(ArgumentTypeError, match=r"net\.0\.flatten_parameters replaces what the class LSTM defines"):
        back({"net": model})
    del model[0].flatten_parameters
    model.drop = model.train
    with pytest.raises(ArgumentTypeError, match=r"net\.drop is a builtins\.method.*Define it in the class, or delete"):
        back({"net": model})
    model.drop = model
    with pytest.raises(ArgumentTypeError, match="a module that has itself among its modules"):
        back({"net": model})


def test_a_parametrised_module_is_refused_in_pytorchs_words_and_its_state_dict_is_not() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match=r"^Serialization of parametrized modules is only supported through state_d"):
        back({"net": nn.Sequential(layer)})
    other = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    other.load_state_dict(back(layer.state_dict()))
    assert tg.equal(layer.weight, other.weight)


def test_a_class_that_was_defined_anew_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    old = Settings(1, [])
    anew = type("Settings", (), {"__module__": Settings.__module__, "__qualname__": "Settings"})
    monkeypatch.setattr(some_classes, "Settings", anew)
    with serialization.safe_globals([anew]):
        assert type(back(old)) is anew


def test_a_module_may_know_the_module_around_it() -> None:
    outer = nn.Sequential(nn.Linear(2, 2))
    outer[0].parent = [outer]  # in a list, so that it is no submodule
    found = back(outer)
    assert found[0].parent[0] is found
    inner = nn.Sequential()
    inner.add_module("up", outer)
    outer.hidden = [inner]
    assert back(outer).hidden[0].up is not None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda x: x, "is a builtins.function.*Only a function at the top level"),
        (print, "is a builtins.builtin_function_or_method.*add_safe_globals"),
        (object, "is a builtins.type.*add_safe_globals"),
        ((x for x in "ab"), "is a builtins.generator.*Leave it out"),
        (defaultdict(lambda: 1), r"default_factory is a builtins.function"),
        (type("Odd", (dict,), {})(), r"Odd, which cannot be saved. Make it a dict"),
        (np.ma.array([1]), "is masked"),
        (np.ones((2, 2)).view(np.matrix), "is a matrix.*Save numpy.asarray"),
        (np.dtype("V8"), "cannot be saved"),
        (tg.dtype("V3"), "cannot be saved"),
        (np.tanh, "is a numpy.ufunc"),
        (SlotAndDict(), "SlotAndDict, which cannot be saved"),
        (threading.Lock(), "lock, which cannot be saved"),
        (partial(half, 1), "is a functools.partial"),
        (np.array([(1, 2)], "i4,i4"), "of dtype"),
        (np.longdouble(1), "is a numpy.longdouble"),
        (np.dtype("i4,i4"), "cannot be saved"),
        (Fraction(1, 3**20_000), "is a fraction of more than 16,384 bits"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_saved_is_named_with_its_place_and_a_remedy(value: Any, words: str) -> None:
    with pytest.raises(ArgumentTypeError, match=words) as caught:
        back({"epoch": [0, {"run": value}]})
    assert "epoch.1.run" in str(caught.value)


def test_an_optimizer_may_have_lost_its_groups() -> None:
    optimizer = optim.SGD([nn.Parameter(tg.ones(1))], lr=0.5)
    optimizer.param_groups.clear()
    found = back(optimizer)
    assert found.param_groups == [] and found.defaults["lr"] == 0.5


def test_keys_may_be_longer_than_python_prints() -> None:
    wide = 1 << 20_000
    value = {wide: np.ones(1), (wide, 1): np.ones(2), ((wide,),): np.ones(3), -wide: [np.ones(4)]}
    found = back(value)
    assert list(found) == list(value) and [len(a) for a in found.values()] == [1, 2, 3, 1]


def test_values_are_nested_as_deeply_when_read_as_when_written() -> None:
    def nested(levels: int, wrap: Any) -> Any:
        value: Any = 1
        for _ in range(levels):
            value = wrap(value)
        return value

    wraps = [lambda v: [v], lambda v: {"a": v}, lambda v: (v,), lambda v: {1: v}, lambda v: argparse.Namespace(a=v)]
    wraps += [lambda v: deque([v]), lambda v: OrderedDict(a=v), lambda v: defaultdict(list, a=v)]
    for wrap in wraps:
        deepest = 45 if isinstance(wrap(1), deque) else 95
        assert type(back(nested(deepest, wrap))) is type(wrap(1))
        with pytest.raises(ArgumentError, match="contains itself, or is nested too deeply") as caught:
            back(nested(2000, wrap))
        assert len(str(caught.value)) < 300
    model: Any = nn.Linear(1, 1)
    for _ in range(95):
        model = nn.Sequential(model)
    assert isinstance(back(model), nn.Sequential)


def test_too_much_that_is_no_array_is_refused_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_rnn.serialization.safetensors_file.LONGEST_HEADER", 1000)
    with pytest.raises(ArgumentError, match="Put long lists of numbers or words into arrays"):
        back(list(range(1000)))


def test_files_of_the_first_version_come_back() -> None:
    path = Path(__file__).parent / "version_1.safetensors"
    with pytest.raises(CheckpointError, match="Weights only load failed"):
        tg.load(path)
    with serialization.safe_globals([Tagger, Settings, half, Pair]):
        found = tg.load(path)
    assert found["plain"][:5] == [None, True, -3, 2**70, 0.5] and found["plain"][7:] == ["téxt\n", b"\0\xff", 1 - 2j]
    assert found["containers"] == (1, (2,), {1: "a", (0, "b"): [], None: 0}, OrderedDict([("x", 1), (2, 3)]), (2, 3))
    assert [str(a.dtype) for a in found["arrays"].values()] == list(found["arrays"])
    assert found["types"][2:] == [tg.device("cpu"), tg.device("cuda:1")]
    first, second, shared, number, fixed = found["tensors"]
    assert first is second and number.item() == 7 and not fixed.requires_grad
    assert found["state"]["weight"].tolist() == found["model"].weight.tolist()
    assert found["held"].act is tg.tanh and found["held"].kind is nn.LSTM and found["pair"] == Pair(1, 2)
    assert found["optimizer"]["state"][0]["step"].item() == 1 and found["settings"] is found["mine"].settings
    assert found["packed"].data.tolist() == [1, 3, 2] and found["function"] is half
    assert shared.tolist() == [1, 2]


def test_files_of_the_second_version_come_back() -> None:
    found = tg.load(Path(__file__).parent / "version_2.safetensors")
    for name, array in found["arrays"].items():
        assert (array.dtype.name, array.tolist()) == (name, np.array([[0, 1], [2, 3]]).astype(name).tolist())
    assert len(found["arrays"]) == 14
    assert found["fortran"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["big-endian"].tolist() == [0, 1, 2]
    assert (found["number"].shape, found["number"].item()) == ((), 7)
    assert (found["empty"].shape, found["empty"].dtype) == ((0, 3), np.float16)
    assert found["words"].tolist() == ["é", "ab"] and found["times"][0] == np.datetime64("2020-01-01")
    assert found["nested"] == [({"a": {1, 2}}, (None, 2.5)), 1 << 70, float("inf"), b"\0"]
    first, second, third, leaf = found["tensors"]
    first[0] = 7
    assert first is third and second.tolist() == [7, 2] and leaf.requires_grad and leaf.item() == 3
    model, adam = found["model"], found["adam"]
    assert model.act is tg.tanh and all(tg.equal(p, found["state"][name]) for name, p in model.named_parameters())
    entry = adam.state[model[1].weight]
    assert entry["step"].item() == 1 and np.allclose(entry["exp_avg"].numpy(), 0.1, rtol=1e-6)  # (1 - 0.9) of ones
    assert found["adam's"]["state"][4]["exp_avg"].tolist() == entry["exp_avg"].tolist()
    assert found["schedule"].optimizer is adam and found["day"] == date(2024, 2, 29)
    assert tg.randn(2, generator=found["generator"]).tolist() == [-0.4867807626724243, -0.6038215756416321]
    assert [len(found[name]) for name in ("\ud800", "\\ud800", "😀")] == [1, 2, 3]
    assert same(found["scalar"], np.float32(0.5)) and found["dtype"] is tg.float16


def test_the_arguments_of_pytorchs_save_and_load_are_taken_as_there(tmp_path: Path) -> None:
    file = io.BytesIO()
    tg.save(1, file, pickle_module=None, pickle_protocol=4, _use_new_zipfile_serialization=False)
    for options in ({"mmap": False}, {"encoding": "latin1"}, {"pickle_module": pickle}, {"weights_only": False}):
        file.seek(0)
        assert tg.load(file, **options) == 1  # type: ignore[arg-type]
    file.seek(0)
    assert tg.load(file, None, None) == 1
    tg.save(1, tmp_path / "file")
    assert tg.load(tmp_path / "file", mmap=True) == 1
    with pytest.raises(ValueError, match="f must be a file path in order to use the mmap argument"):
        tg.load(file, mmap=True)
    with pytest.raises(RuntimeError, match="Can not safely load weights when explicit pickle_module is specified"):
        tg.load(file, weights_only=True, pickle_module=pickle)
    with pytest.raises(ArgumentTypeError, match='with mode "wb"'):
        tg.save(1, io.StringIO())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="nonsense"):
        tg.load(file, nonsense=1)  # type: ignore[call-arg]
