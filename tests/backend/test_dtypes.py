"""Element types: PyTorch's attributes and text, and NumPy's dtype for NumPy."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support import arrays

NAMES = "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 float32 float64 complex64 complex128".split()
FACTS = ["is_floating_point", "is_complex", "is_signed", "itemsize", "abbr"]
every = pytest.mark.parametrize("name", NAMES)


@every
def test_it_equals_numpys_in_both_directions_and_as_a_key(name: str) -> None:
    ours, numpys, scalar = getattr(tg, name), np.dtype(name), np.dtype(name).type
    assert ours == numpys and numpys == ours and ours == scalar and scalar == ours and hash(ours) == hash(numpys)
    assert {ours: 1}[numpys] == {numpys: 1}[ours] == 1 and len({ours, numpys}) == 1
    other = np.dtype("float32" if name != "float32" else "int8")
    assert ours != other and other != ours and ours != tg.dtype(other) and ours != object() and ours is not None


@every
def test_numpy_takes_it_as_its_own(name: str) -> None:
    ours, numpys = getattr(tg, name), np.dtype(name)
    made = (np.zeros(3, ours), np.arange(2).astype(ours), np.asarray([0, 1], dtype=ours), np.ones(2, ours).view(ours))
    assert all(a.dtype is numpys for a in made) and np.dtype(ours) is numpys
    assert np.result_type(ours, np.int8) == np.result_type(numpys, np.int8)
    assert np.promote_types(ours, ours) is numpys and np.can_cast(ours, np.complex128)
    assert np.issubdtype(ours, np.floating) == ours.is_floating_point
    if ours.kind in "fc":
        assert np.finfo(ours).eps == np.finfo(numpys).eps
    elif ours.kind in "iu":
        assert np.iinfo(ours).max == np.iinfo(numpys).max
    assert np.sum(np.ones(2, bool), dtype=ours).dtype == ours


@every
def test_it_answers_as_numpys_where_numpys_is_asked(name: str) -> None:
    ours, numpys = getattr(tg, name), np.dtype(name)
    for fact in ["kind", "char", "num", "str", "name", "type", "itemsize", "alignment", "byteorder", "isnative"]:
        assert getattr(ours, fact) == getattr(numpys, fact)
    assert ours.type(1) == numpys.type(1) and ours.newbyteorder(">") == numpys.newbyteorder(">")
    assert not hasattr(ours, "shape") and not hasattr(ours, "ndim")  # what has them counts as an array


@every
def test_there_is_one_object_of_each(name: str) -> None:
    ours = getattr(tg, name)
    assert tg.zeros(2, dtype=ours).dtype is ours and tg.dtype(name) is ours and tg.dtype(np.dtype(name)) is ours
    copies = [copy.copy(ours), copy.deepcopy(ours)]
    copies += [pickle.loads(pickle.dumps(ours, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    assert all(found is ours for found in copies)
    assert isinstance(ours, tg.dtype) and str(ours) == repr(ours) == f"{ours}" == f"torch.{name}"


@every
def test_a_tensor_of_it_goes_to_numpy_and_back(name: str) -> None:
    t = tg.ones(2, dtype=getattr(tg, name))
    assert t.numpy().dtype == t.dtype and t.dtype == t.numpy().dtype and tg.from_numpy(t.numpy()).dtype is t.dtype


@every
def test_facts_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(tg, name), getattr(torch, name)
    assert [getattr(ours, fact) for fact in FACTS] == [getattr(theirs, fact) for fact in FACTS]
    assert str(ours) == str(theirs) and str(ours.to_real()) == str(theirs.to_real())
    if name in ("float32", "float64", "complex64", "complex128"):
        assert str(ours.to_complex()) == str(theirs.to_complex())


def test_facts_in_numbers() -> None:
    rows = [(d, *[getattr(d, fact) for fact in FACTS]) for d in (tg.float16, tg.complex128, tg.uint8, tg.bool)]
    assert rows == [
        (tg.float16, True, False, True, 2, "f16"),
        (tg.complex128, False, True, True, 16, "c128"),
        (tg.uint8, False, False, False, 1, "u8"),
        (tg.bool, False, False, False, 1, "b8"),
    ]
    assert tg.cfloat is tg.complex64 and tg.cdouble is tg.complex128 and tg.long is tg.int64 and tg.half is tg.float16
    assert tg.float64.to_complex() is tg.complex128 and tg.complex64.to_real() is tg.float32
    for d in (tg.float16, tg.int64, tg.bool):
        with pytest.raises(RuntimeError, match="Unknown Complex ScalarType for (Half|Long|Bool)"):
            d.to_complex()


def test_it_cannot_be_changed() -> None:
    for change in (lambda: setattr(tg.float32, "itemsize", 3), lambda: delattr(tg.float32, "kind")):
        with pytest.raises(AttributeError, match="of 'torch.dtype' objects is not writable"):
            change()


@pytest.mark.parametrize("name", ["double", pytest.param("cupy", marks=pytest.mark.gpu)])
def test_a_gpus_module_takes_it(name: str) -> None:
    with arrays.module(name) as xp:
        a = xp.zeros((2,), dtype=tg.float32)
        assert a.dtype == tg.float32 and a.astype(tg.int64).dtype == tg.int64 and xp.dtype(tg.int8) == tg.int8
        x = tg.as_tensor(a)
        assert x.dtype is tg.float32 and x.to(tg.float64)._data.dtype == np.float64
        assert tg.zeros_like(x, dtype=tg.int8).dtype is tg.int8


def test_hypothesis_takes_it() -> None:
    numpy = pytest.importorskip("hypothesis.extra.numpy")
    from hypothesis import given, settings

    @settings(max_examples=5, database=None)
    @given(numpy.arrays(tg.float32, 3), numpy.from_dtype(np.dtype(tg.int8)))
    def check(a: Any, n: Any) -> None:
        assert a.dtype == tg.float32 and n.dtype == tg.int8

    check()


def test_finfo_and_iinfo_print_as_pytorchs() -> None:
    shown = [tg.finfo(tg.float16), tg.finfo(), tg.finfo(tg.complex128), tg.iinfo(tg.uint8), tg.iinfo(tg.int64)]
    assert [repr(s) for s in shown] == [
        "finfo(resolution=0.001, min=-65504, max=65504, eps=0.000976562, smallest_normal=6.10352e-05, "
        "tiny=6.10352e-05, dtype=float16)",
        "finfo(resolution=1e-06, min=-3.40282e+38, max=3.40282e+38, eps=1.19209e-07, smallest_normal=1.17549e-38, "
        "tiny=1.17549e-38, dtype=float32)",
        "finfo(resolution=1e-15, min=-1.79769e+308, max=1.79769e+308, eps=2.22045e-16, smallest_normal=2.22507e-308, "
        "tiny=2.22507e-308, dtype=float64)",
        "iinfo(min=0, max=255, dtype=uint8)",
        "iinfo(min=-9.22337e+18, max=9.22337e+18, dtype=int64)",
    ]
    assert (tg.finfo(tg.float32).bits, tg.iinfo(tg.int16).bits, tg.iinfo(tg.int64).max) == (32, 16, 2**63 - 1)
    assert type(tg.finfo(tg.float32).max) is float and tg.finfo(tg.float32) == tg.finfo() != tg.finfo(tg.float64)


@pytest.mark.parametrize("name", NAMES)
def test_finfo_and_iinfo_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    for kind, facts in (
        ("finfo", ["bits", "dtype", "min", "max", "eps", "tiny", "smallest_normal", "resolution"]),
        ("iinfo", ["bits", "dtype", "min", "max"]),
    ):
        try:
            theirs = getattr(torch, kind)(getattr(torch, name))
        except TypeError:
            with pytest.raises(TypeError):
                getattr(tg, kind)(getattr(tg, name))
            continue
        ours = getattr(tg, kind)(getattr(tg, name))
        assert [getattr(ours, f) for f in facts] == [getattr(theirs, f) for f in facts] and repr(ours) == repr(theirs)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: tg.finfo(tg.int8), r"torch.finfo\(\) requires a floating point input type. Use torch.iinfo"),
        (lambda: tg.iinfo(tg.float32), r"torch.iinfo\(\) requires an integer input type. Use torch.finfo"),
        (lambda: tg.iinfo(tg.bool), "torch.bool is not supported by torch.iinfo"),
        (lambda: tg.finfo(3), r"finfo\(\): argument 'type' \(position 1\) must be torch.dtype, not int"),
        (lambda: tg.iinfo(None), r"iinfo\(\): argument 'type' \(position 1\) must be torch.dtype, not NoneType"),
    ],
)
def test_finfo_and_iinfo_refuse_other_types(make: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        make()


@pytest.mark.parametrize("first", NAMES)
def test_mixtures_are_pytorchs(first: str) -> None:
    torch = pytest.importorskip("torch")
    for second in NAMES:
        a, b = getattr(tg, first), getattr(tg, second)
        c, d = getattr(torch, first), getattr(torch, second)
        assert tg.can_cast(a, b) == torch.can_cast(c, d), (first, second)
        if {first, second} & {"uint16", "uint32", "uint64", "complex64", "complex128"}:
            continue  # PyTorch promotes its new unsigned types with few others; NumPy has no complex32
        assert str(tg.promote_types(a, b)) == str(torch.promote_types(c, d)), (first, second)


def test_questions_about_types_are_answered_with_ours() -> None:
    assert tg.get_default_dtype() is tg.float32 and tg.result_type(tg.ones(2), 1) is tg.float32
    assert tg.result_type(2, 1j) is tg.complex64 and tg.promote_types(tg.int8, tg.uint8) is tg.int16
    assert tg.can_cast(tg.float64, tg.float16) and not tg.can_cast(tg.float32, tg.int64)
    with tg.Tape() as tape:
        tg.ones(2, requires_grad=True).exp()
    assert tape.records[-1].dtype is tg.float32
