"""What operations give, in one table that needs no other library; where PyTorch is installed, it gives the same.

One expression in a line of ``results.txt``, and how its result prints.
"""

from __future__ import annotations

import math
import re
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
from tests.support import arrays
from tests.support.rows import together
from tests.support.words import signature
from tinygrad_rnn import errors
from tinygrad_rnn.backend import aligned_empty
from tinygrad_rnn.kernels.recurrent import checkpointing
from tinygrad_rnn.kernels.recurrent.numpy import schedule
from tinygrad_rnn.ops import splitting
from tinygrad_rnn.ops.recurrent import conventions, sequence

TABLE = Path(__file__).with_name("results.txt")
ROWS = [row.split(" => ", 1) for row in TABLE.read_text(encoding="utf-8").splitlines()]
rows = pytest.mark.parametrize(("expression", "expected"), ROWS, ids=[row[0] for row in ROWS])


def printed(t: Any, expression: str) -> str:
    def put(x: Any, index: Any, value: Any) -> Any:
        x[index] = value
        return x

    def grad(f: Any, values: list[float]) -> Any:
        """The gradient of the sum, in double precision."""
        x = t.tensor(values, dtype=t.float64, requires_grad=True)
        f(x).sum().backward()
        return x.grad

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = eval(expression, {"t": t, "put": put, "grad": grad})
    return re.sub(r"\s+", " ", repr(result))


@together
@rows
def test_the_result_prints_so(expression: str, expected: str) -> None:
    assert printed(tg, expression) == expected


@together
@rows
def test_pytorchs_prints_so(expression: str, expected: str) -> None:
    torch = pytest.importorskip("torch")
    assert printed(torch, expression) == expected


def test_a_name_of_a_dtype_is_one_and_no_device() -> None:
    """PyTorch knows no names of dtypes."""
    assert tg.ones(2).to("float64").dtype == tg.float64
    assert tg.ones(2, dtype=tg.float64).to("int64").dtype == tg.int64
    assert tg.ones(2).type("float64").dtype == tg.float64


ARRAY = np.array([2.0, np.nan, -1.0])


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (tg.isnan, [False, True, False]), (tg.isfinite, [True, False, True]), (tg.signbit, [False, False, True]),
        (lambda a: tg.isclose(a, a), [True, False, True]), (lambda a: tg.lt(a, 1), [False, False, True]),
        (lambda a: tg.argmax(a[[0, 2]]), 0), (lambda a: tg.all(a > 0), False),
        (lambda a: tg.where(a > 0, a, 0), [2, 0, 0]), (lambda a: tg.count_nonzero(a), 3),
        (lambda a: tg.sort(a[[0, 2]])[1], [1, 0]), (lambda a: tg.argwhere(a > 1), [[0]]),
    ],
)  # fmt: skip
def test_questions_about_raw_arrays_are_answered_with_numbers(f: Any, expected: Any) -> None:
    assert np.asarray(f(ARRAY)).tolist() == expected
    found = f(tg.tensor(ARRAY))
    assert isinstance(found, tg.Tensor) and found.tolist() == expected


def test_a_product_of_two_operands_is_one_record() -> None:
    a, b = tg.ones(2, 3, requires_grad=True), tg.ones(3, 4)
    for product, name in ((tg.einsum("ij,jk->ki", a, b), "Contract"), (tg.tensordot(a, b, 1), "Contract")):
        assert product.grad_fn.name() == f"{name}Backward0"
        assert product.grad_fn.next_functions[0][0].name() == "AccumulateGrad"


def test_the_gradient_of_a_long_bias_and_of_other_dtypes_is_summed_over_rows() -> None:
    """They take the plain sum, not the fast product."""
    for dtype, rows in ((tg.float16, 3), (tg.float64, 1 << 16), (tg.float32, 5)):
        bias = tg.zeros(2, dtype=dtype, requires_grad=True)
        (tg.ones(rows, 2, dtype=dtype) + bias).sum().backward()
        assert bias.grad.dtype == dtype and bias.grad.tolist() == [rows, rows]


def test_a_recurrent_layer_has_weights_and_biases_unless_more_is_asked_for() -> None:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    for kind in conventions.CELLS.values():
        assert conventions.parameter_names(kind) == names
        assert conventions.parameter_names(kind, bias=False) == names[:2]
        assert conventions.parameter_names(kind, projection=True) == (*names, "weight_hr")
        assert conventions.parameter_names(kind, peepholes=True) == (*names, "weight_peephole")
        more = ("norm_ih", "norm_hh", *(("norm_c", "norm_c_bias") if kind is conventions.LSTM else ()))
        assert conventions.parameter_names(kind, layer_norm=True) == (*names, *more)


def test_raw_arrays_join_also_one_alone_and_are_indices() -> None:
    a = np.arange(3.0)
    assert tg.cat([a]).tolist() == tg.stack([a])[0].tolist() == a.tolist()
    assert tg.take(tg.arange(3), np.array([2, 0])).tolist() == [2, 0]
    for wrong in (np.array([0.5]), np.array([True])):
        with pytest.raises(errors.DtypeError, match="Expected dtype int64 for index"):
            tg.take(tg.arange(3), wrong)


def test_a_sum_of_unsigned_long_numbers_stays_unsigned() -> None:
    total = tg.tensor(np.array([2**63, 1], np.uint64)).sum()
    assert total.dtype == np.uint64 and total.item() == 2**63 + 1


def test_an_array_that_knows_no_versions_of_dlpack_is_handed_out() -> None:
    class Old(np.ndarray):
        def __dlpack__(self, stream: Any = None) -> Any:  # type: ignore[override]
            return super().__dlpack__()

    x = tg.tensor([1.0, 2.0])
    x._data = x._data.view(Old)
    assert type(x.__dlpack__(max_version=(1, 0), stream=None)).__name__ == "PyCapsule"


def test_what_is_new_lies_where_the_tensor_lies_unless_a_device_is_named() -> None:
    with arrays.module("double") as xp:
        x = tg.as_tensor(xp.asarray(np.ones((2, 2), np.float32)))
        for make in (
            lambda **o: x.new_zeros(2, **o), lambda **o: x.new_ones(2, **o), lambda **o: x.new_full((2,), 3.0, **o),
            lambda **o: x.new_empty(2, **o), lambda **o: x.new_tensor([1.0], **o), lambda **o: tg.zeros_like(x, **o),
            lambda **o: tg.full_like(x, 2.0, **o), lambda **o: tg.rand_like(x, **o), lambda **o: tg.randn_like(x, **o),
            lambda **o: tg.randint_like(x, 3, **o),
        ):  # fmt: skip
            assert isinstance(make()._data, xp.ndarray)
            assert type(make(device="cpu")._data) is np.ndarray
            assert isinstance(make(device="cuda")._data, xp.ndarray)
        for index in (np.array([1, 0]), tg.tensor([1, 0]), tg.as_tensor(xp.asarray(np.array([1, 0]))), [1, 0]):
            assert isinstance(x[index]._data, xp.ndarray) and tuple(x[index].shape) == (2, 2)


def test_what_gives_an_array_on_demand_keeps_its_dtype() -> None:
    class Held:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.array([1.5, 2.5])

    assert tg.tensor(Held()).dtype == tg.float64 and tg.as_tensor(Held()).tolist() == [1.5, 2.5]


def test_a_ufunc_of_a_tensor_and_something_odd_is_a_type_error() -> None:
    for odd in ("a", None, object()):
        with pytest.raises(TypeError):
            np.add(tg.ones(2), odd)


@pytest.mark.parametrize("biases", [(True, False), (False, True), (True, True), (False, False)])
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_fused_layer_takes_either_bias_alone(kind: str, biases: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(5)
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[kind]
    given = [(3, 2, 4), *[(2, 5)] * (2 if kind == "lstm" else 1), (gates * 5, 4), (gates * 5, 5)]
    arrays = [rng.standard_normal(shape) for shape in given]
    arrays += [rng.standard_normal(gates * 5) if there else None for there in biases]
    layer = getattr(sequence, f"{kind}_sequence")
    found = []
    for impl in ("fused", "composed"):
        inputs = [None if a is None else tg.tensor(a, requires_grad=True) for a in arrays]
        with tg.backends.recurrent.only("numpy"):
            results = layer(*inputs, impl=impl)
            sum((y * y).sum() for y in results).backward()
        assert len(results) == (3 if kind == "lstm" else 2)
        found.append([y.detach() for y in results] + [x.grad for x in inputs if x is not None])
    for fused, composed in zip(*found, strict=True):
        np.testing.assert_allclose(fused.numpy(), composed.numpy(), 1e-12, 1e-13)


def test_an_lstm_that_nobody_asks_for_its_cells_keeps_the_last_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(shape: Any, like: Any, *args: Any) -> Any:
        asked.append(math.prod(shape))
        return aligned_empty(shape, like, *args)

    monkeypatch.setattr(schedule, "aligned_empty", counted)
    steps, batch, size = 50, 1, 3
    x, state, w = np.ones((steps, batch, 2)), np.zeros((batch, size)), np.ones((4 * size, 2))
    tables = []
    for cells in (False, True):
        asked.clear()
        with tg.backends.recurrent.only("numpy"), tg.no_grad():
            sequence.lstm_sequence(*map(tg.tensor, (x, state, state, w, np.ones((4 * size, size)))), cells=cells)
        tables.append(sum(n >= steps * batch * size for n in asked))
    assert tables[1] == tables[0] + 1, "a table of all steps for c, if it is wanted"


def test_whole_numbers_have_a_logsumexp_in_the_default_float_and_no_softmax() -> None:
    found, expected = tg.logsumexp(tg.arange(3), 0), tg.logsumexp(tg.arange(3).float(), 0)
    assert found.dtype == tg.float32 and found.tolist() == expected.tolist()
    for f in (tg.softmax, tg.log_softmax):
        with pytest.raises(NotImplementedError, match="softmax_lastdim_kernel_impl\" not implemented for 'Long'"):
            f(tg.arange(3), 0)


def test_raw_arrays_count_by_their_dtype() -> None:
    assert tg.result_type(np.ones(2), tg.ones(2)) == tg.float64
    assert tg.result_type(np.ones(2, np.float16), 2.5) == tg.float16


def test_a_number_that_no_integer_type_holds_is_refused() -> None:
    with pytest.raises(OverflowError):
        tg.tensor([1], dtype=tg.int8) + 2**63


@pytest.mark.parametrize("lacking", ["__dlpack__", "__dlpack_device__"])
def test_half_of_the_dlpack_protocol_is_none(lacking: str) -> None:
    class Half:
        pass

    setattr(Half, "__dlpack_device__" if lacking == "__dlpack__" else "__dlpack__", lambda self: (1, 0))
    with pytest.raises(errors.ArgumentTypeError, match="expected an object with __dlpack__ and __dlpack_device__"):
        tg.from_dlpack(Half())


def test_a_recorded_write_in_place_copies_nothing_that_no_gradient_reads() -> None:
    x, w = tg.ones(1 << 16, requires_grad=True), tg.ones(1 << 16, requires_grad=True)
    for write in (lambda y: y.add_(w), lambda y: y.sub_(w), lambda y: y.add_(2.0), lambda y: y.neg_()):
        y = x * 2
        write(y)
        tracemalloc.start()
        write(y)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert x.nbytes <= peak < 1.5 * x.nbytes, "the result alone"


def test_entries_taken_to_be_read_alone_are_stale_after_a_write() -> None:
    x = tg.ones(2, 3, requires_grad=True)
    y = x * 2
    first, second = splitting.entries(y)
    loss = (first * first).sum() + second.sum()
    with tg.no_grad():
        y.add_(1)
    with pytest.raises(errors.InplaceError, match="modified by an inplace operation"):
        loss.backward()


def test_a_mask_of_bytes_warns_and_is_a_mask() -> None:
    mask = tg.tensor([1, 0, 1], dtype=tg.uint8)
    with pytest.warns(UserWarning, match="uint8"):
        assert tg.arange(3)[mask].tolist() == [0, 2]


@pytest.mark.parametrize("wish", [None, 0, 1, 5, "auto"])
def test_a_number_of_segments_changes_no_result(wish: Any) -> None:
    checkpointing.check_segments(wish)
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(shape) for shape in ((6, 2, 3), (2, 4), (4, 3), (4, 4))]
    found = []
    for chosen in (wish, None):
        inputs = [tg.tensor(a, requires_grad=True) for a in arrays]
        with tg.backends.recurrent.only("numpy"):
            y, h = sequence.rnn_sequence(*inputs, segments=chosen)
            ((y * y).sum() + h.sum()).backward()
        found.append([y.detach(), h.detach(), *(x.grad for x in inputs)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), 1e-12, 1e-13)


@pytest.mark.parametrize("wish", [-1, True, 1.0, "all"])
def test_what_is_no_number_of_segments_is_refused(wish: Any) -> None:
    with pytest.raises(errors.ArgumentError, match="checkpoint_segments must be a number of segments"):
        checkpointing.check_segments(wish)


def test_a_layer_reads_forward_fused_and_whole_unless_told() -> None:
    shared = "sizes=None, reverse=False, {}impl='fused', segments=None, stacked=False)"
    weights = "weight_ih, weight_hh, bias_ih=None, bias_hh=None"
    assert signature(sequence.rnn_sequence) == f"x, h0, {weights}, *, nonlinearity='tanh', {shared.format('')}"
    assert signature(sequence.gru_sequence) == f"x, h0, {weights}, *, {shared.format('')}"
    cells = shared.format("cells=False, ")
    assert signature(sequence.lstm_sequence) == f"x, h0, c0, {weights}, weight_hr=None, *, {cells}"


def test_lerp_ends_exactly_at_its_ends() -> None:
    a, b = tg.tensor([1e30, 2.0], requires_grad=True), tg.tensor([1.0, 5.0], requires_grad=True)
    for one in (1, 1.0, tg.tensor(1.0), tg.ones(2)):
        assert tg.lerp(a, b, one).tolist() == [1.0, 5.0] and tg.lerp(a, b, one * 0).tolist() == a.tolist()
        assert a.detach().clone().lerp_(b.detach(), one).tolist() == [1.0, 5.0]
    share_of_a, share_of_b = tg.autograd.grad(tg.lerp(a, b, 0.9).sum(), [a, b])
    assert share_of_a.tolist() == [float(np.float32(1 - 0.9))] * 2
    assert share_of_b.tolist() == [float(np.float32(0.9))] * 2
    w = tg.tensor([0.25, 1.0], requires_grad=True)
    tg.lerp(a, b, w).sum().backward()
    assert w.grad is not None and w.grad.tolist() == (b - a).tolist()


def test_the_gradient_of_mse_loss_is_finite_where_twice_the_difference_is_not() -> None:
    x = tg.tensor([3e38, 0.0], requires_grad=True)
    tg.nn.functional.mse_loss(x, tg.zeros(2)).backward()
    assert x.grad is not None and x.grad.tolist() == [float(np.float32(3e38)), 0.0]
