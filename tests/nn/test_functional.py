"""Functions against PyTorch: values, gradients and second derivatives, from stored numbers always, live too."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.golden import function_cases as cases
from tests.golden import packed
from tests.support.rows import together
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentTypeError, DtypeError, InplaceError, ShapeRuntimeError, TinygradRnnError

F = nn.functional
GOLDEN = packed.read(pathlib.Path(__file__).parents[1] / "golden" / "functions.npz")

# float64: a dozen roundings of numbers of the result's size.  float32: PyTorch's own loops differ from NumPy's in the
# last places of exp, log and tanh, and both sum in different orders.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
# PyTorch multiplies by 1/6 in float32, whatever the dtype; and adds 1e-12 to denominators of a second derivative.
COARSER = {"hardsigmoid": 1e-7, "binary_cross_entropy/": 1e-9}


def assert_same(name: str, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], dtype: str) -> None:
    assert ours.keys() == theirs.keys()
    tolerance = max([TOLERANCE[dtype], *[t for start, t in COARSER.items() if name.startswith(start)]])
    for key, expected in theirs.items():
        place = f"{name}: {key}"
        assert (ours[key].shape, ours[key].dtype) == (expected.shape, expected.dtype), place
        scale = max(1.0, float(np.abs(np.nan_to_num(expected)).max(initial=0)))
        np.testing.assert_allclose(ours[key], expected, rtol=tolerance, atol=tolerance * scale, err_msg=place)


SILENT = {"cross_entropy/nothing", "cross_entropy/no sample"}


@together
@pytest.mark.parametrize("name", cases.CASES)
def test_value_gradient_and_second_derivative_are_those_that_pytorch_gave(name: str) -> None:
    prefix = f"{name}: "
    theirs = {key[len(prefix) :]: value for key, value in GOLDEN.items() if key.startswith(prefix)}
    assert "value" in theirs
    assert_same(name, cases.evaluated(tg, name), theirs, "float64")
    if name not in SILENT:
        assert any(np.nan_to_num(value).any() for value in theirs.values()), "a comparison of zeros shows nothing"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_cases_agree_with_pytorch_live(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    for name in cases.CASES:
        if not name.endswith("/kinks") or dtype == "float64":
            assert_same(name, cases.evaluated(tg, name, dtype), cases.evaluated(torch, name, dtype), dtype)


# warnings and refusals -----------------------------------------------------------------------------------------


X = np.linspace(-1, 1, 12).reshape(4, 3).astype("float32")
Y = np.array([0, 1, 2, 1])

MISTAKES = {
    "class too great": lambda T, F: F.cross_entropy(T.tensor(X), T.tensor([0, 1, 3, 1])),
    "class negative": lambda T, F: F.cross_entropy(T.tensor(X), T.tensor([0, 1, -1, 1])),
    "class too great, nll": lambda T, F: F.nll_loss(T.tensor(X), T.tensor([0, 1, 3, 1])),
    "target int32": lambda T, F: F.cross_entropy(T.tensor(X), T.tensor(Y).int()),
    "target bool": lambda T, F: F.cross_entropy(T.tensor(X), T.tensor(Y).bool()),
    "target float": lambda T, F: F.cross_entropy(T.tensor(X), T.tensor(Y).float()),
    "target double": lambda T, F: F.nll_loss(T.tensor(X), T.tensor(Y).double()),
    "batch sizes": lambda T, F: F.cross_entropy(T.tensor(X), T.tensor(Y[:3])),
    "batch sizes, nll": lambda T, F: F.nll_loss(T.tensor(X), T.tensor(Y[:3])),
    "multi-target": lambda T, F: F.cross_entropy(T.tensor(X), T.tensor(Y[:, None])),
    "no axes": lambda T, F: F.nll_loss(T.tensor(1.0), T.tensor(0)),
    "numbers as probabilities": lambda T, F: F.cross_entropy(T.tensor(X[0]), T.tensor([0, 1, 2])),
    "one sample, two targets": lambda T, F: F.cross_entropy(T.tensor(X[0]), T.tensor([0, 1])),
    "3-D sizes": lambda T, F: F.cross_entropy(T.zeros(2, 3, 4), T.zeros(2, 5).long()),
    "4-D sizes": lambda T, F: F.cross_entropy(T.zeros(2, 3, 4, 5), T.zeros(2, 5, 5).long()),
    "4-D axes": lambda T, F: F.cross_entropy(T.zeros(2, 3, 4, 5), T.zeros(2, 5).long()),
    "weight size": lambda T, F: F.cross_entropy(T.tensor(X), T.tensor(Y), T.ones(2)),
    "weight dtype": lambda T, F: F.cross_entropy(T.tensor(X), T.tensor(Y), T.ones(3).double()),
    "weight size, soft": lambda T, F: F.cross_entropy(T.tensor(X), T.ones(4, 3), T.ones(2)),
    "reduction": lambda T, F: F.cross_entropy(T.tensor(X), T.tensor(Y), reduction="avg"),
    "reduction mse": lambda T, F: F.mse_loss(T.tensor(X), T.tensor(X), reduction="avg"),
    "smoothing": lambda T, F: F.cross_entropy(T.tensor(X), T.tensor(Y), label_smoothing=1.5),
    "smoothing, soft": lambda T, F: F.cross_entropy(T.tensor(X), T.ones(4, 3), label_smoothing=1.5),
    "ignore, soft": lambda T, F: F.cross_entropy(T.tensor(X), T.ones(4, 3), ignore_index=1),
    "mse sizes": lambda T, F: F.mse_loss(T.tensor(X), T.ones(5)),
    "mse weight": lambda T, F: F.mse_loss(T.tensor(X), T.tensor(X), weight=T.ones(3)),
    "smooth_l1 beta": lambda T, F: F.smooth_l1_loss(T.tensor(X), T.tensor(X), beta=-1),
    "huber delta": lambda T, F: F.huber_loss(T.tensor(X), T.tensor(X), delta=0),
    "bce input": lambda T, F: F.binary_cross_entropy(T.tensor([1.5]), T.tensor([1.0])),
    "bce target": lambda T, F: F.binary_cross_entropy(T.tensor([0.5]), T.tensor([2.0])),
    "bce sizes": lambda T, F: F.binary_cross_entropy(T.tensor([0.5]), T.tensor([1.0, 1.0])),
    "bce dtypes": lambda T, F: F.binary_cross_entropy(T.tensor([0.5]), T.tensor([1])),
    "logits sizes": lambda T, F: F.binary_cross_entropy_with_logits(T.tensor([0.5]), T.tensor([1.0, 1.0])),
    "softmax axis": lambda T, F: F.softmax(T.ones(2), dim=3),
    "glu odd": lambda T, F: F.glu(T.ones(3)),
    "glu number": lambda T, F: F.glu(T.tensor(3.0)),
    "layer_norm sizes": lambda T, F: F.layer_norm(T.tensor(X), [4]),
    "layer_norm nothing": lambda T, F: F.layer_norm(T.tensor(X), []),
    "layer_norm weight": lambda T, F: F.layer_norm(T.tensor(X), [3], T.ones(2)),
    "embedding row": lambda T, F: F.embedding(T.tensor([5]), T.tensor(X)),
    "embedding padding": lambda T, F: F.embedding(T.tensor([1]), T.tensor(X), padding_idx=7),
    "embedding table": lambda T, F: F.embedding(T.tensor([1]), T.ones(3)),
    "embedding layer padding": lambda T, F: T.nn.Embedding(3, 2, padding_idx=3),
    "bag mode": lambda T, F: F.embedding_bag(T.tensor([[1]]), T.tensor(X), mode="median"),
    "bag offsets": lambda T, F: F.embedding_bag(T.tensor([1]), T.tensor(X)),
    "one_hot size": lambda T, F: F.one_hot(T.tensor([1, 5]), 3),
    "one_hot negative": lambda T, F: F.one_hot(T.tensor([1, -5])),
    "one_hot float": lambda T, F: F.one_hot(T.tensor([1.0])),
    "one_hot nothing": lambda T, F: F.one_hot(T.tensor(Y[:0])),
    "hardtanh": lambda T, F: F.hardtanh(T.tensor(X), 1, -1),
    "prelu": lambda T, F: F.prelu(T.tensor(X), T.ones(2)),
    "gelu": lambda T, F: F.gelu(T.tensor(X), approximate="foo"),
    "celu": lambda T, F: F.celu(T.tensor(X), 0),
    "linear": lambda T, F: F.linear(T.tensor(X), T.ones(2, 4)),
    "linear dtype": lambda T, F: F.linear(T.tensor(X), T.ones(2, 3).double()),
    "dropout": lambda T, F: F.dropout(T.tensor(X), p=1.5),
    "dropout int": lambda T, F: F.dropout(T.tensor(Y), 0.5),
    "dropout layer": lambda T, F: T.nn.Dropout(-0.1),
    "dropout1d": lambda T, F: F.dropout1d(T.ones(3)),
}
BETTER = {"softshrink", "weight dtype"}  # our first sentence differs in more than an ending


@together
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_by_the_same_kind_of_error_in_the_same_words(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TinygradRnnError) as ours:
            MISTAKES[name](tg, F)
        torch = pytest.importorskip("torch")
        with pytest.raises(Exception) as theirs:
            MISTAKES[name](torch, torch.nn.functional)
    assert isinstance(ours.value, theirs.type) or theirs.type is NotImplementedError
    sentence = str(theirs.value).split("\n")[0].split(". ")[0].rstrip(".").replace("torch.", "")
    for said, meant in (("float != double", "float32 != float64"), ("type Long", "type int64")):
        sentence = sentence.replace(said, meant)
    mine = str(ours.value).replace("torch.", "")
    assert mine.startswith(sentence) or sentence.startswith(mine.split(".")[0]) or _same_start(mine, sentence)


def _same_start(a: str, b: str) -> bool:
    words = zip(a.split(), b.split(), strict=False)
    return sum(x.strip(".,:") == y.strip(".,:") for x, y in words) >= 0.8 * len(b.split())


WARNED = {
    "legacy sum": lambda T, F: F.cross_entropy(T.tensor(X), T.tensor(Y), size_average=False),
    "legacy none": lambda T, F: F.l1_loss(T.tensor(X), T.tensor(X + 1), reduce=False),
    "legacy mean": lambda T, F: F.mse_loss(T.tensor(X), T.tensor(X + 1), size_average=True),
    "elementwise_mean": lambda T, F: F.nll_loss(T.tensor(X), T.tensor(Y), reduction="elementwise_mean"),
    "legacy layer": lambda T, F: T.nn.MSELoss(size_average=False)(T.tensor(X), T.tensor(X + 1)),
    "sizes": lambda T, F: F.mse_loss(T.tensor(X), T.tensor(X[:1])),
    "sizes l1": lambda T, F: F.l1_loss(T.tensor(X), T.tensor(X[:1])),
    "sizes smooth": lambda T, F: F.smooth_l1_loss(T.tensor(X), T.tensor(X[:1])),
    "sizes huber": lambda T, F: F.huber_loss(T.tensor(X), T.tensor(X[:1])),
    "kl mean": lambda T, F: F.kl_div(T.tensor(X), T.ones(4, 3)),
    "softmax": lambda T, F: F.softmax(T.tensor(X)).sum(),
    "log_softmax": lambda T, F: F.log_softmax(T.tensor(X[0])),
    "softmin": lambda T, F: F.softmin(T.ones(2, 2, 2)),
    "softmax layer": lambda T, F: T.nn.Softmax()(T.tensor(X)),
}


@pytest.mark.parametrize("name", WARNED)
def test_what_pytorch_warns_of_is_warned_of_in_its_words(name: str) -> None:
    with pytest.warns(UserWarning) as ours:
        value = WARNED[name](tg, F)
    assert ours[0].filename == __file__, "the warning must point at the caller"
    torch = pytest.importorskip("torch")
    with pytest.warns(UserWarning) as theirs:
        expected = WARNED[name](torch, torch.nn.functional)
    assert [str(w.message) for w in ours] == [str(w.message) for w in theirs]
    np.testing.assert_allclose(value.numpy(), expected.numpy(), rtol=1e-6, atol=1e-7)


def test_a_target_that_is_no_tensor_is_refused() -> None:
    for loss in (F.cross_entropy, F.nll_loss):
        with pytest.raises(ArgumentTypeError, match="argument 'target' .* must be Tensor, not list"):
            loss(tg.tensor(X), [0, 1, 2, 1])


def test_negative_smoothing_is_refused_where_pytorch_forgets_to() -> None:
    with pytest.raises(RuntimeError, match="label_smoothing must be between 0.0 and 1.0. Got: -0.5"):
        F.cross_entropy(tg.tensor(X), tg.tensor(Y), label_smoothing=-0.5)


def test_integers_have_no_softmax_and_no_cross_entropy() -> None:
    for call in (
        lambda: F.softmax(tg.tensor([1, 2]), 0),
        lambda: F.cross_entropy(tg.tensor([[1, 2]]), tg.tensor([0])),
        lambda: F.mse_loss(tg.tensor([1]), tg.tensor([2])),
        lambda: F.embedding(tg.tensor([1.0]), tg.ones(3, 2)),
    ):
        with pytest.raises(DtypeError):
            call()
    with pytest.raises(ShapeRuntimeError):
        F.bilinear(tg.ones(2, 3), tg.ones(2, 3), tg.ones(1, 3, 4))


# in place ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "celu", "selu", "silu", "mish", "hardtanh", "relu6"])
@pytest.mark.parametrize("more", ["hardsigmoid", "hardswish"])
def test_in_place_gives_the_same_value_and_gradient_in_the_inputs_own_memory(name: str, more: str) -> None:
    for function in (name, more):
        x = tg.tensor(X.astype("float64"), requires_grad=True)
        out = getattr(F, function)(x * 3)
        out.sum().backward()
        expected, x.grad = x.grad, None
        y = x * 3
        memory = y._data
        again = getattr(F, function)(y, inplace=True)
        assert again is y and y._data is memory
        np.testing.assert_array_equal(y.detach().numpy(), out.detach().numpy())
        y.sum().backward()
        assert expected is not None and x.grad is not None and expected._data.any()
        np.testing.assert_array_equal(x.grad.numpy(), expected.numpy())
        with pytest.raises(InplaceError, match="a leaf Variable that requires grad is being used in an in-place"):
            getattr(F, function)(x, inplace=True)


def test_layers_and_dropout_work_in_place_too() -> None:
    x = tg.tensor(X)
    assert nn.ReLU(inplace=True)(x) is x and not (x._data < 0).any()
    assert F.relu_(x) is x
    tg.manual_seed(0)
    y = tg.ones(100)
    assert nn.Dropout(0.5, inplace=True)(y) is y and set(y.tolist()) == {0.0, 2.0}
    assert F.threshold(y, 1.0, 7.0, inplace=True) is y and set(y.tolist()) == {7.0, 2.0}


# dropout and other randomness ----------------------------------------------------------------------------------


def test_dropout_draws_pytorchs_masks_and_passes_their_gradient() -> None:
    torch = pytest.importorskip("torch")
    for shape, axes in (((3, 50), (0, 1)), ((4, 5, 6), (2, 0, 1)), ((7,), (0,))):
        for p in (0.0, 0.1, 0.5, 1.0):
            values = np.arange(1.0, np.prod(shape) + 1, dtype="float32").reshape(shape)
            results = []
            for T in (tg, torch):
                T.manual_seed(3)
                x = T.tensor(values, requires_grad=True)
                y = T.nn.functional.dropout(x.permute(*axes), p)
                y.sum().backward()
                results.append((y.detach().numpy(), x.grad.numpy(), T.nn.init.uniform_(T.zeros(1)).numpy()))
            for ours, theirs in zip(*results, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_dropout_in_evaluation_or_of_nothing_returns_its_input_and_draws_nothing() -> None:
    x = tg.ones(5)
    before = tg.get_rng_state()
    assert F.dropout(x, 0.5, training=False) is x and F.dropout(x, 0.0) is x
    assert F.dropout(tg.ones(0), 0.5).shape == (0,)
    assert not F.dropout(x, 1.0)._data.any()
    assert (np.asarray(tg.get_rng_state()) == np.asarray(before)).all()


def test_dropout1d_drops_whole_channels() -> None:
    torch = pytest.importorskip("torch")
    for shape in ((3, 8, 4), (8, 4)):
        results = []
        for T in (tg, torch):
            T.manual_seed(1)
            results.append(T.nn.Dropout1d(0.4)(T.ones(*shape)).numpy())
        np.testing.assert_array_equal(*results)
        assert (results[0] == results[0][..., :1]).all()


def test_gumbel_softmax_draws_pytorchs_samples() -> None:
    torch = pytest.importorskip("torch")
    for options in ({}, {"tau": 0.5, "hard": True}, {"dim": 0}):
        results: list[Any] = []
        for T in (tg, torch):
            T.manual_seed(2)
            x = T.tensor(X.astype("float64"), requires_grad=True)
            y = T.nn.functional.gumbel_softmax(x, **options)
            (y * y).sum().backward()
            results.append((y.detach().numpy(), x.grad.numpy()))
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


# the fused cross entropy ------------------------------------------------------------------------------------------


def test_cross_entropy_is_one_record_and_equals_its_composed_form() -> None:
    rng = np.random.default_rng(0)
    for shape, target in (((8, 5), (8,)), ((3, 5, 4), (3, 4))):
        x = tg.tensor(rng.normal(size=shape), requires_grad=True)
        t = tg.tensor(rng.integers(0, 5, target))
        with tg.Tape() as tape:
            loss = F.cross_entropy(x, t)
        assert "cross_entropy" in str(tape) and "log_softmax" not in str(tape)
        loss.backward()
        fused, x.grad = x.grad, None
        composed = F.nll_loss(F.log_softmax(x, 1), t)
        composed.backward()
        assert fused is not None and x.grad is not None
        np.testing.assert_allclose(loss.item(), composed.item(), rtol=1e-14)
        np.testing.assert_allclose(fused.numpy(), x.grad.numpy(), rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss_of", [F.cross_entropy, F.nll_loss])
def test_a_loss_can_be_divided_in_place(loss_of: Any, weighted: bool) -> None:
    """As who adds up the gradients of several batches does: ``loss /= 4``."""
    target = tg.tensor([0, 1, -100] if weighted else [0, 1, 0])
    grads = []
    for inplace in (False, True):
        x = tg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
        loss = loss_of(x, target, tg.tensor([1.0, 3.0]) if weighted else None)
        if inplace:
            loss /= 4
        else:
            loss = loss / 4
        loss.backward()
        grads.append(x.grad.tolist())  # type: ignore[union-attr]
    assert grads[0] == grads[1]


def test_logits_of_any_size_give_finite_losses_and_gradients() -> None:
    x = tg.tensor([[800.0, -800.0], [1e30, 0.0]], requires_grad=True)
    F.cross_entropy(x, tg.tensor([0, 0])).backward()
    assert np.isfinite(x.grad.numpy()).all()  # type: ignore[union-attr]
    z = tg.tensor([800.0, -800.0], requires_grad=True)
    F.binary_cross_entropy_with_logits(z, tg.tensor([0.0, 1.0])).backward()
    assert np.isfinite(z.grad.numpy()).all() and z.grad.numpy().any()  # type: ignore[union-attr]


def test_what_a_layer_norm_gave_can_be_written_to() -> None:
    """``Sequential(Linear, LayerNorm, ReLU(inplace=True))``: the gradient needs the unit vectors, not the result."""
    x = tg.randn(4, 3, dtype=tg.float64, requires_grad=True)
    w, b = tg.randn(3, dtype=tg.float64, requires_grad=True), tg.randn(3, dtype=tg.float64, requires_grad=True)
    for weight, bias in ((w, b), (w, None), (None, None)):
        wanted = [t for t in (x, weight, bias) if t is not None]
        expected = tg.autograd.grad(tg.relu(tg.nn.functional.layer_norm(x, (3,), weight, bias)).square().sum(), wanted)
        for recorded in (False, True):
            y = tg.nn.functional.layer_norm(x, (3,), weight, bias)
            y.relu_().square_()
            for g, e in zip(tg.autograd.grad(y.sum(), wanted, create_graph=recorded), expected, strict=True):
                np.testing.assert_allclose(g.detach().numpy(), e.numpy(), rtol=1e-11, atol=1e-13)
