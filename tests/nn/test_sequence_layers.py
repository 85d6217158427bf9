"""Convolution, pooling, normalisation over batches and attention against PyTorch, from stored numbers and live."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.golden import layer_cases, packed
from tests.support.rows import together
from tinygrad_rnn import nn
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.errors import TinygradRnnError
from tinygrad_rnn.tape.tensor import wrap

GOLDEN = packed.read(pathlib.Path(__file__).parents[1] / "golden" / "layers.npz")
F = nn.functional


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], place: str) -> None:
    """In float64 to a few dozen roundings of the greatest number: sums of some dozen products, in another order."""
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        assert ours[key].shape == expected.shape, (place, key)
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(ours[key], expected, rtol=1e-11, atol=1e-12 * scale, err_msg=f"{place}: {key}")


@together
@pytest.mark.parametrize("number", range(layer_cases.STORED))
@pytest.mark.parametrize("kind", layer_cases.KINDS)
def test_value_gradient_and_second_derivative_are_those_that_pytorch_gave(kind: str, number: int) -> None:
    prefix = f"{kind}/{number}: "
    theirs = {key[len(prefix) :]: value for key, value in GOLDEN.items() if key.startswith(prefix)}
    assert theirs["value"].any()
    assert_same(layer_cases.evaluated(tg, kind, number), theirs, prefix)


@pytest.mark.parametrize("kind", layer_cases.KINDS)
def test_two_hundred_random_calls_are_pytorchs(kind: str) -> None:
    torch = pytest.importorskip("torch")
    for number in range(200):
        ours, theirs = (layer_cases.evaluated(T, kind, number) for T in (tg, torch))
        assert_same(ours, theirs, f"{kind}/{number}")


def test_layers_draw_pytorchs_numbers_under_pytorchs_names() -> None:
    ours = layer_cases.drawn(tg)
    assert set(ours) == {key for key in GOLDEN if ": " not in key}
    for key, value in ours.items():
        # The normal draws of bias_k and bias_v pass through a logarithm and a cosine, float32 both.
        np.testing.assert_allclose(value, GOLDEN[key], rtol=1e-6, err_msg=key)
    torch = pytest.importorskip("torch")
    live = layer_cases.drawn(torch)
    assert list(live) == list(ours) and all(live[key].dtype == ours[key].dtype for key in ours)


@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("kind", layer_cases.KINDS)
def test_device_arrays_give_the_same_numbers_without_waiting(kind: str, device_xp: Any) -> None:
    for number in range(12):
        function, arrays, wrt = layer_cases.drawn_case(kind, number)
        found = []
        for move in (lambda a: a, device_xp.asarray):
            tensors = [wrap(move(a)).requires_grad_(k in wrt) for k, a in enumerate(arrays)]
            waited = getattr(device_xp, "syncs", 0)
            y = function(F, *tensors)
            grads = tg.autograd.grad(y.sum(), [tensors[k] for k in wrt])
            assert getattr(device_xp, "syncs", 0) == waited
            assert all(type(t._data) is type(tensors[0]._data) for t in (y, *grads))
            found.append({str(k): to_numpy(t._data) for k, t in enumerate((y.detach(), *grads))})
        assert_same(found[1], found[0], f"{kind}/{number}")


X, W = "T.ones(2, 4, 5)", "T.ones(6, 4, 3)"
Q, K, M = "T.ones(2, 3, 4)", "T.ones(2, 5, 4)", "T.nn.MultiheadAttention(4, 2)"
S = f"F.scaled_dot_product_attention({Q}, {K}"
MISTAKES = f"""
F.conv1d(T.ones(5), {W})
F.conv1d(T.ones(2, 2, 4, 5), {W})
F.conv1d(T.ones(2, 3, 5), {W})
F.conv1d({X}, {W}, T.ones(5))
F.conv1d({X}, {W}, stride=0)
F.conv1d({X}, {W}, padding=-1)
F.conv1d({X}, {W}, dilation=0)
F.conv1d({X}, {W}, groups=2)
F.conv1d({X}, {W}, groups=0)
F.conv1d({X}, T.ones(5, 2, 3), groups=2)
F.conv1d({X}, T.ones(6, 4))
F.conv1d({X}, T.ones(6, 4, 7))
F.conv1d({X}, {W}, dilation=3)
F.conv1d({X}, T.ones(0, 4, 3))
F.conv1d({X}.double(), {W})
F.conv1d({X}, {W}, padding='same', stride=2)
F.conv1d({X}, {W}, padding='foo')
F.conv1d({X}, {W}, padding=(1, 1))
F.conv1d({X}.bool(), {W}.bool())
F.max_pool1d({X}, 6)
F.max_pool1d({X}, 0)
F.max_pool1d({X}, 2, -1)
F.max_pool1d({X}, 2, padding=2)
F.max_pool1d({X}, 2, padding=-1)
F.max_pool1d({X}, 2, dilation=0)
F.max_pool1d(T.ones(5), 2)
F.max_pool1d(T.ones(2, 0, 5), 2)
F.max_pool1d({X}.long(), 2)
F.max_pool1d({X}, (2, 2))
F.avg_pool1d({X}, 2, 0)
F.avg_pool1d({X}, 2, padding=2)
F.avg_pool1d({X}, 2, padding=-1)
F.batch_norm({X}, T.zeros(3), T.ones(4))
F.batch_norm({X}, T.zeros(4), T.ones(3))
F.batch_norm({X}, T.zeros(4), T.ones(4), T.ones(3))
F.batch_norm({X}, T.zeros(4), T.ones(4), None, T.ones(3))
F.batch_norm({X}, None, None)
F.batch_norm({X}, T.zeros(4), None)
F.batch_norm({X}, T.zeros(4), None, training=True)
F.batch_norm(T.ones(1, 4), None, None, training=True)
F.batch_norm({X}.long(), T.zeros(4), T.ones(4))
F.batch_norm({X}, T.zeros(4).double(), T.ones(4).double())
F.batch_norm({X}, T.zeros(4), T.ones(4), eps=-1)
F.batch_norm({X}, None, None, training=True, eps=0)
T.nn.BatchNorm1d(3)(T.ones(2, 4))
T.nn.BatchNorm1d(3)(T.ones(3))
T.nn.BatchNorm1d(3)(T.ones(2, 3, 4, 5))
T.nn.BatchNorm1d(-1)
F.dropout2d(T.ones(3), 0.5)
F.dropout2d(T.ones(3, 2, 2), 1.5)
F.dropout2d(T.ones(3, 2, 2, 2).long(), 0.5)
F.scaled_dot_product_attention(T.ones(4), T.ones(4), T.ones(4))
{S}, {K}, T.ones(3, 5).bool(), is_causal=True)
{S}, {K}, T.zeros(3, 5).double())
{S}, {K}, T.zeros(3, 4))
{S}, {K}.double())
{S}, {K}, None, 1.5)
{S}, {K}[:, :4])
F.scaled_dot_product_attention({Q}.long(), {K}.long(), {K}.long())
T.nn.MultiheadAttention(4, 3)
T.nn.MultiheadAttention(4, 0)
{M}({Q}[0], {Q}, {Q})
{M}({Q}, {Q}[0], {Q}[0])
{M}({Q}[0, 0], {Q}, {Q})
{M}(T.ones(2, 3, 5), {Q}, {Q})
{M}({Q}, {K}[:, :3], {K}[:, :2])
{M}({Q}, {K}, {K})
{M}({Q}, {Q}, {Q}, key_padding_mask=T.zeros(3))
{M}({Q}, {Q}, {Q}, key_padding_mask=T.zeros(3, 3))
{M}({Q}, {Q}, {Q}, key_padding_mask=T.zeros(3, 2).long())
{M}({Q}, {Q}, {Q}, attn_mask=T.zeros(2, 2).long())
{M}({Q}, {Q}, {Q}, attn_mask=T.zeros(2, 3))
{M}({Q}, {Q}, {Q}, attn_mask=T.zeros(5, 2, 2))
{M}({Q}, {Q}, {Q}, attn_mask=T.zeros(2))
{M}({Q}[0], {Q}[0], {Q}[0], attn_mask=T.zeros(3, 3, 3))
{M}({Q}[0], {Q}[0], {Q}[0], key_padding_mask=T.zeros(1, 3))
{M}({Q}, {Q}, {Q}, is_causal=True)
T.nn.Conv1d(3, 4, 2, groups=2)
T.nn.Conv1d(4, 3, 2, groups=2)
T.nn.Conv1d(4, 3, 2, groups=0)
T.nn.Conv1d(4, 3, 2, padding='same', stride=2)
T.nn.Conv1d(3, 4, 3, padding=4, padding_mode='circular')(T.ones(2, 3, 3))
T.nn.Embedding(-1, 2)
T.nn.EmbeddingBag(2, -1)
T.nn.Linear(2, -2)
T.nn.LayerNorm(-1)
T.nn.Conv1d(4, 3, -2)
"""
BETTER = {f"{M}({Q}, {K}, {K})"}
"""Where our first sentence says more."""


@together
@pytest.mark.parametrize("expression", MISTAKES.strip().splitlines())
def test_a_mistake_is_refused_by_the_same_kind_of_error_in_the_same_words(expression: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TinygradRnnError) as ours:
            eval(expression, {"T": tg, "F": F})
        torch = pytest.importorskip("torch")
        with pytest.raises(Exception) as theirs:
            eval(expression, {"T": torch, "F": torch.nn.functional})
    assert isinstance(ours.value, theirs.type)
    sentence = str(theirs.value).split("\n")[0]
    assert str(ours.value).startswith(sentence) or expression in BETTER


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_a_convolution_pads_by_its_mode(mode: str) -> None:
    torch = pytest.importorskip("torch")
    for padding, size in ((2, 3), ("same", 4), ("valid", 2)):
        results = []
        for T in (tg, torch):
            T.manual_seed(4)
            layer = T.nn.Conv1d(3, 2, size, padding=padding, padding_mode=mode, dtype=T.float64)
            x = T.tensor(np.linspace(-1, 2, 30).reshape(2, 3, 5), requires_grad=True)
            y = layer(x)
            (y * y).sum().backward()
            results.append({"value": y.detach().numpy(), "x": x.grad.numpy(), "w": layer.weight.grad.numpy()})
        assert_same(results[0], results[1], f"{mode} {padding}")


def test_of_several_nans_the_last_is_the_maximum_and_padding_never_is() -> None:
    nan, low = float("nan"), -float("inf")
    values, places = F.max_pool1d(tg.tensor([[1.0, nan, 2.0, nan]]), 4, return_indices=True)
    assert values.isnan().all() and places.tolist() == [[3]]
    assert F.max_pool1d(tg.full((1, 4), low), 2, padding=1, return_indices=True)[1].tolist() == [[0, 1, 3]]
    assert F.max_pool1d(tg.full((1, 5), low), 2, 1, 1, 2, return_indices=True)[1].tolist() == [[1, 0, 1, 2, 3]]


def test_halves_are_summed_in_single_precision() -> None:
    x = tg.full((1, 1, 4096), 1.0, dtype=tg.float16)
    assert F.conv1d(x, tg.ones(1, 1, 4096, dtype=tg.float16)).item() == 4096  # beyond 2048 float16 has no odd numbers
    assert F.avg_pool1d(x * 100, 4096).item() == 100
    assert F.max_pool1d(x, 2).dtype == tg.float16


def test_a_batch_of_nothing_gives_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nn.Conv1d(4, 6, 3)(tg.ones(0, 4, 5)).shape == (0, 6, 3)
        assert F.max_pool1d(tg.ones(0, 2, 5), 2).shape == F.avg_pool1d(tg.ones(0, 2, 5), 2).shape == (0, 2, 2)


def test_whole_numbers_are_convolved_and_averaged() -> None:
    x = tg.tensor([[1, -2, -3, 5]])
    assert F.conv1d(x, tg.tensor([[[1, 2]]])).tolist() == [[-3, -8, 7]]
    assert F.avg_pool1d(x, 2, 1).tolist() == [[0, -2, 1]]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"momentum": None},
    {"momentum": 0.7, "eps": 0.1, "bias": False},
    {"affine": False},
    {"track_running_stats": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_running_values_of_several_batches_are_pytorchs(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for T in (tg, torch):
        layer = T.nn.BatchNorm1d(3, dtype=T.float64, **options)
        out = {}
        for step in range(6):
            layer.train(step != 3)
            x = T.tensor(np.sin(np.arange(24.0) * (step + 1)).reshape(4, 3, 2), requires_grad=True)
            y = layer(x[..., 0] if step == 2 else x)
            (y**3).sum().backward()
            out |= {f"y {step}": y.detach().numpy(), f"x {step}": x.grad.numpy()}
            out |= {f"{name} {step}": value.numpy().copy() for name, value in layer.state_dict().items()}
        results.append(out)
    assert_same(results[0], results[1], str(options))


def test_batches_of_halves_and_of_nothing() -> None:
    layer = nn.BatchNorm1d(3)
    y = layer(tg.ones(0, 3))
    y.sum().backward()
    assert y.shape == (0, 3) and layer.weight.grad.tolist() == [0, 0, 0]
    assert layer.running_mean.tolist() == [0, 0, 0] and layer.num_batches_tracked.item() == 1
    torch = pytest.importorskip("torch")
    values = np.linspace(-300, 300, 12).reshape(4, 3).astype("float16")
    for half in (False, True):
        results = []
        for T in (tg, torch):
            layer = T.nn.BatchNorm1d(3)
            layer = layer.half() if half else layer
            y = layer(T.tensor(values))
            assert y.dtype == T.float16 and layer.running_var.dtype == (T.float16 if half else T.float32)
            results.append((y.detach().numpy(), layer.running_mean.numpy(), layer.running_var.numpy()))
        for a, b in zip(*results, strict=True):
            # One rounding to float16 of numbers that float32 has to 7 digits.
            np.testing.assert_allclose(a.astype("float64"), b.astype("float64"), rtol=1e-3 if half else 1e-6, atol=1e-3)


def test_a_state_from_before_batches_were_counted_is_loaded() -> None:
    layer, state = nn.BatchNorm1d(2), dict(nn.BatchNorm1d(2).state_dict())
    layer(tg.tensor([[1.0, 2.0], [3.0, 5.0]]))
    del state["num_batches_tracked"]
    assert not layer.load_state_dict(state).missing_keys
    assert layer.num_batches_tracked.item() == 1 and layer.running_mean.tolist() == [0, 0]
    assert nn.BatchNorm1d(2).state_dict()._metadata[""] == {"version": 2}


def test_a_contiguous_input_has_a_contiguous_output() -> None:
    x = tg.randn(4, 3, 5)
    for layer in (nn.BatchNorm1d(3), nn.Conv1d(3, 2, 2), nn.MaxPool1d(2), nn.AvgPool1d(2)):
        assert layer(x).is_contiguous() and layer.eval()(x).is_contiguous()


@pytest.mark.filterwarnings("ignore:dropout2d")
def test_dropout2d_drops_whole_channels() -> None:
    torch = pytest.importorskip("torch")
    for shape in ((3, 8, 4, 2), (3, 8, 4), (6, 8)):
        results = []
        for T in (tg, torch):
            T.manual_seed(1)
            results.append(T.nn.Dropout2d(0.4)(T.ones(*shape)).numpy())
        np.testing.assert_array_equal(*results)
        first = (slice(None), slice(None), *[slice(1)] * (len(shape) - 2))
        assert (results[0] == results[0][first]).all() and 0 < results[0].mean() != 1
    with pytest.warns(UserWarning, match="dropout2d: Received a 3D input to dropout2d"):
        assert F.dropout2d(tg.ones(2, 3, 4), training=False).sum().item() == 24


ATTENTIONS: list[dict[str, Any]] = [
    {},
    {"batch_first": True, "dropout": 0.4},
    {"kdim": 3, "vdim": 5, "bias": False},
    {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True},
]


@pytest.mark.parametrize("options", ATTENTIONS, ids=str)
def test_a_decoder_attends_over_the_states_of_an_encoder_as_in_pytorch(options: dict[str, Any]) -> None:
    """Of three lengths, in training with PyTorch's draws, and in evaluation; with one query at a time, too."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    kdim, vdim = options.get("kdim", 6), options.get("vdim", 6)
    arrays = [rng.standard_normal((4, 3, 6)), rng.standard_normal((5, 3, kdim)), rng.standard_normal((5, 3, vdim))]
    padded = np.arange(5) >= np.array([[5], [3], [1]])
    results = []
    for T in (tg, torch):
        T.manual_seed(3)
        layer, out = T.nn.MultiheadAttention(6, 2, dtype=T.float64, **options), {}
        given = [T.tensor(a.swapaxes(0, 1) if options.get("batch_first") else a) for a in arrays]
        for name, train, needed, mean in (("a", True, True, False), ("b", True, False, True), ("c", False, True, True)):
            layer.train(train)
            y, weights = layer(*given, T.tensor(padded), needed, average_attn_weights=mean)
            (y**2).sum().backward()
            out[f"y {name}"] = y.detach().numpy()
            assert (weights is None) == (not needed)
            if weights is not None:
                out[f"weights {name}"] = weights.detach().numpy()
        y, weights = layer(given[0][0, :1], given[1][0], given[2][0])
        out |= {"one": y.detach().numpy(), "its weights": weights.detach().numpy()}
        out |= {f"gradient of {name}": p.grad.numpy() for name, p in layer.named_parameters()}
        results.append(out)
    assert_same(results[0], results[1], str(options))


def test_a_query_that_sees_no_key_gets_nothing() -> None:
    x = tg.randn(2, 3, requires_grad=True)
    y = F.scaled_dot_product_attention(x, x, x, tg.tensor([[False, False], [True, True]]))
    (y**2).sum().backward()
    assert y[0].tolist() == [0, 0, 0] and y[1].abs().sum() > 0 and not x.grad.isnan().any()
    layer, hidden = nn.MultiheadAttention(3, 1), tg.tensor([True, True])
    assert layer(x, x, x, hidden)[1].isnan().all()
    assert not layer(x, x, x, hidden, need_weights=False)[0].isnan().any()
    assert F.scaled_dot_product_attention(x, x[:0], x[:0]).tolist() == [[0, 0, 0]] * 2


def test_attention_of_halves_is_computed_in_single_precision() -> None:
    x = tg.full((2, 64), 60.0, dtype=tg.float16)
    y = F.scaled_dot_product_attention(x, x, x, tg.zeros(2, 2))
    assert y.dtype == tg.float16 and y.tolist() == x.tolist()  # 64 * 60**2 is beyond float16


def rows_of_pictures(T: Any) -> Any:
    """The network of pytorch/examples' mnist_rnn: an LSTM over the rows of a picture, smaller."""
    nn = T.nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(input_size=7, hidden_size=8, batch_first=True)
            self.batchnorm = nn.BatchNorm1d(8)
            self.dropout1, self.dropout2 = nn.Dropout2d(0.25), nn.Dropout2d(0.5)
            self.fc1, self.fc2 = nn.Linear(8, 6), nn.Linear(6, 4)

        def forward(self, x: Any) -> Any:
            y, _ = self.rnn(x.reshape(-1, 7, 7))
            y = self.dropout1(self.batchnorm(y[:, -1, :]))
            y = self.dropout2(nn.functional.relu(self.fc1(y)))
            return nn.functional.log_softmax(self.fc2(y), dim=1)

    return Net()


def words_of_characters(T: Any) -> Any:
    """The encoder of NCRF++: characters embedded, convolved, and the greatest over time taken, before an LSTM."""
    nn = T.nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.conv = nn.Embedding(9, 5), nn.Conv1d(5, 6, 3, padding=1)
            self.rnn, self.out = nn.LSTM(6, 4, batch_first=True, bidirectional=True), nn.Linear(8, 4)
            self.attention = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)

        def forward(self, x: Any) -> Any:
            x = x.reshape(-1, 7, 7).abs().mul(8).long().clamp(0, 8)
            n, words, length = x.shape
            y = self.conv(self.embedding(x.reshape(n * words, length)).transpose(1, 2))
            y = nn.functional.max_pool1d(y, y.size(2)).view(n, words, -1)
            y, _ = self.rnn(y)
            y, _ = self.attention(y[:, -1:], y, y)
            return nn.functional.log_softmax(self.out(y[:, 0]), dim=1)

    return Net()


@pytest.mark.filterwarnings("ignore:dropout2d")
@pytest.mark.parametrize("make", [rows_of_pictures, words_of_characters])
def test_public_programs_train_as_in_pytorch(make: Any) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    pictures, classes = rng.standard_normal((16, 49)).astype("float32"), rng.integers(0, 4, 16)
    losses = []
    for T in (tg, torch):
        T.manual_seed(8)
        net = make(T)
        optimiser, seen = T.optim.SGD(net.parameters(), lr=0.3), []
        for step in range(9):
            net.train(step < 8)
            optimiser.zero_grad()
            loss = T.nn.functional.nll_loss(net(T.tensor(pictures)), T.tensor(classes))
            loss.backward()
            optimiser.step()
            seen.append(loss.item())
        losses.append(seen)
    # float32, nine steps: each adds a few roundings, and the steps before it carry them on.
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert losses[0][-1] < losses[0][0]
