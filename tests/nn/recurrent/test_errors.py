"""What recurrent layers and cells refuse: PyTorch's sentence first, and an exception that PyTorch's users catch."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_rnn as tg
from tests.support.rows import together

Attempt = Callable[[Any], Any]


def layer(kind: str, **options: Any) -> Callable[[Any], Any]:
    return lambda lib: getattr(lib.nn, kind)(4, 5, **options)


def call(kind: str, shape: tuple[int, ...], *states: tuple[int, ...], dtype: str = "float32") -> Attempt:
    """A default layer or cell of 4 inputs and 5 units, called with zeros of these shapes."""

    def attempt(lib: Any) -> Any:
        module = getattr(lib.nn, kind)(4, 5)
        x = lib.zeros(*shape, dtype=getattr(lib, dtype))
        hx = [lib.zeros(*s) for s in states]
        if not hx:
            return module(x)
        return module(x, tuple(hx) if len(hx) > 1 else hx[0])

    return attempt


GOOD = (1, 2, 5)

CASES: list[tuple[str, type[Exception], str, Attempt]] = [
    ("no steps", RuntimeError, "Expected sequence length to be larger than 0 in RNN", call("GRU", (0, 2, 4))),
    ("4-D", ValueError, "LSTM: Expected input to be 2D or 3D, got 4D instead", call("LSTM", (1, 1, 1, 4))),
    ("1-D", ValueError, "GRU: Expected input to be 2D or 3D, got 1D instead", call("GRU", (4,))),
    ("4-D rnn", ValueError, "RNN: Expected input to be 2D or 3D, got 4D tensor instead", call("RNN", (1, 1, 1, 4))),
    (
        "features",
        RuntimeError,
        "input.size(-1) must be equal to input_size. Expected 4, got 5",
        call("LSTM", (3, 2, 5)),
    ),
    (
        "dtype",
        ValueError,
        "RNN input dtype (torch.float64) does not match weight dtype (torch.float32). "
        "Convert input: input.to(torch.float32), or convert model: model.to(torch.float64)",
        call("LSTM", (3, 2, 4), dtype="float64"),
    ),
    ("state size", RuntimeError, "Expected hidden size (1, 2, 5), got [1, 3, 5]", call("GRU", (3, 2, 4), (1, 3, 5))),
    (
        "lstm h size",
        RuntimeError,
        "Expected hidden[0] size (1, 2, 5), got [1, 3, 5]",
        call("LSTM", (3, 2, 4), (1, 3, 5), GOOD),
    ),
    (
        "lstm c size",
        RuntimeError,
        "Expected hidden[1] size (1, 2, 5), got [1, 2, 6]",
        call("LSTM", (3, 2, 4), GOOD, (1, 2, 6)),
    ),
    (
        "2-D state",
        RuntimeError,
        "For batched 3-D input, hx should also be 3-D but got 2-D tensor",
        call("RNN", (3, 2, 4), (2, 5)),
    ),
    (
        "3-D state",
        RuntimeError,
        "For unbatched 2-D input, hx should also be 2-D but got 3-D tensor",
        call("GRU", (3, 4), (1, 1, 5)),
    ),
    (
        "lstm state axes",
        RuntimeError,
        "For batched 3-D input, hx and cx should also be 3-D but got (3-D, 2-D) tensors",
        call("LSTM", (3, 2, 4), GOOD, (2, 5)),
    ),
    (
        "lstm unbatched",
        RuntimeError,
        "For unbatched 2-D input, hx and cx should also be 2-D but got (3-D, 3-D) tensors",
        call("LSTM", (3, 4), GOOD, GOOD),
    ),
    ("bias", TypeError, "bias should be of type bool, got: int", layer("LSTM", bias=1)),
    ("batch_first", TypeError, "batch_first should be of type bool, got: int", layer("GRU", batch_first=1)),
    (
        "dropout",
        ValueError,
        "dropout should be a number in range [0, 1] representing the probability of an element being zeroed",
        layer("LSTM", dropout=1.5),
    ),
    (
        "dropout bool",
        ValueError,
        "dropout should be a number in range [0, 1] representing the probability of an element being zeroed",
        layer("LSTM", dropout=True),
    ),
    ("layers", ValueError, "num_layers must be greater than zero", layer("RNN", num_layers=0)),
    ("hidden", ValueError, "hidden_size must be greater than zero", lambda lib: lib.nn.LSTM(4, 0)),
    ("input", ValueError, "input_size must be greater than zero", lambda lib: lib.nn.LSTM(0, 4)),
    ("hidden type", TypeError, "hidden_size should be of type int, got: float", lambda lib: lib.nn.LSTM(4, 1.5)),
    ("input type", TypeError, "input_size should be of type int, got: str", lambda lib: lib.nn.LSTM("4", 1)),
    (
        "negative projection",
        ValueError,
        "proj_size should be a positive integer or zero to disable projections",
        layer("LSTM", proj_size=-1),
    ),
    ("projection", ValueError, "proj_size has to be smaller than hidden_size", layer("LSTM", proj_size=5)),
    (
        "gru projection",
        ValueError,
        "proj_size argument is only supported for LSTM, not RNN or GRU",
        layer("GRU", proj_size=2),
    ),
    (
        "rnn projection",
        ValueError,
        "proj_size argument is only supported for LSTM, not RNN or GRU",
        layer("RNN", proj_size=0),
    ),
    (
        "nonlinearity",
        ValueError,
        "Unknown nonlinearity 'sin'. Select from 'tanh' or 'relu'.",
        layer("RNN", nonlinearity="sin"),
    ),
    ("mode", ValueError, "Unrecognized RNN mode: X", lambda lib: lib.nn.RNNBase("X", 4, 5)),
    (
        "base",
        NotImplementedError,
        'Module [RNNBase] is missing the required "forward" function',
        lambda lib: lib.nn.RNNBase("LSTM", 4, 5)(lib.zeros(3, 2, 4)),
    ),
    # cells
    ("cell features", RuntimeError, "input has inconsistent input_size: got 3 expected 4", call("GRUCell", (2, 3))),
    (
        "cell state",
        RuntimeError,
        "hidden0 has inconsistent hidden_size: got 6, expected 5",
        call("RNNCell", (2, 4), (2, 6)),
    ),
    (
        "cell second state",
        RuntimeError,
        "hidden1 has inconsistent hidden_size: got 6, expected 5",
        call("LSTMCell", (2, 4), (2, 5), (2, 6)),
    ),
    (
        "cell batch",
        RuntimeError,
        "Input batch size 2 doesn't match hidden0 batch size 3",
        call("GRUCell", (2, 4), (3, 5)),
    ),
    (
        "cell broadcast",
        RuntimeError,
        "Input batch size 2 doesn't match hidden0 batch size 1",
        call("GRUCell", (2, 4), (1, 5)),
    ),
    (
        "cell second batch",
        RuntimeError,
        "Input batch size 2 doesn't match hidden1 batch size 3",
        call("LSTMCell", (2, 4), (2, 5), (3, 5)),
    ),
    (
        "cell 1-D state",
        RuntimeError,
        "Input batch size 2 doesn't match hidden0 batch size 5",
        call("GRUCell", (2, 4), (5,)),
    ),
    (
        "cell 2-D state",
        RuntimeError,
        "hidden0 has inconsistent hidden_size: got 1, expected 5",
        call("GRUCell", (4,), (1, 5)),
    ),
    ("cell 3-D", ValueError, "LSTMCell: Expected input to be 1D or 2D, got 3D instead", call("LSTMCell", (1, 2, 4))),
    (
        "cell 3-D state",
        ValueError,
        "RNNCell: Expected hidden to be 1D or 2D, got 3D instead",
        call("RNNCell", (2, 4), (1, 2, 5)),
    ),
    (
        "lstm cell 3-D state",
        ValueError,
        "LSTMCell: Expected hx[1] to be 1D or 2D, got 3D instead",
        call("LSTMCell", (2, 4), (2, 5), (1, 2, 5)),
    ),
    (
        "cell nonlinearity",
        RuntimeError,
        "Unknown nonlinearity: sin",
        lambda lib: lib.nn.RNNCell(4, 5, nonlinearity="sin")(lib.zeros(2, 4)),
    ),
]


@together
@pytest.mark.parametrize(("error", "sentence", "attempt"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_mistake_gets_pytorchs_sentence(error: type[Exception], sentence: str, attempt: Attempt) -> None:
    with pytest.raises(error, match=re.escape(sentence)) as caught:
        attempt(tg)
    assert str(caught.value).startswith(sentence)


@together
@pytest.mark.parametrize(("error", "sentence", "attempt"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_pytorch_says_the_same(error: type[Exception], sentence: str, attempt: Attempt) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(error, match=re.escape(sentence)):
        attempt(torch)


OURS: list[tuple[str, type[Exception], str, Attempt]] = [
    ("array", TypeError, "input must be Tensor or PackedSequence, not ndarray", lambda lib: lib.nn.GRU(4, 5)(ARRAY)),
    ("array cell", TypeError, "input must be Tensor, not ndarray", lambda lib: lib.nn.GRUCell(4, 5)(ARRAY)),
    (
        "one state for two",
        TypeError,
        "hx must be a pair of Tensors (h_0, c_0), not a Tensor",
        call("LSTM", (3, 2, 4), GOOD),
    ),
    (
        "two states for one",
        TypeError,
        "hx must be a Tensor, not a tuple of 2: Tensor, Tensor",
        call("GRU", (3, 2, 4), GOOD, GOOD),
    ),
    ("cell states", TypeError, "hx must be a pair of Tensors (h_0, c_0)", call("LSTMCell", (2, 4), (2, 5))),
    ("states of two dtypes", RuntimeError, "Double and Float", lambda lib: _double_state(lib)),
    ("impl", ValueError, "impl must be one of auto, compiled, composed, fused", layer("LSTM", impl="fast")),
    ("layers type", TypeError, "num_layers should be of type int, got: str", layer("LSTM", num_layers="2")),
    ("forget bias", ValueError, "forget_bias needs biases", layer("LSTM", bias=False, forget_bias=1.0)),
    (
        "square cell state",
        RuntimeError,
        "hidden0 has inconsistent hidden_size",
        lambda lib: lib.nn.GRUCell(4, 5)(lib.zeros(4), lib.zeros(5, 5)),
    ),
]

ARRAY = tg.zeros(3, 2, 4).numpy()


def _double_state(lib: Any) -> Any:
    return lib.nn.GRU(4, 5)(lib.zeros(3, 2, 4), lib.zeros(1, 2, 5, dtype=lib.float64))


@pytest.mark.parametrize(("error", "sentence", "attempt"), [c[1:] for c in OURS], ids=[c[0] for c in OURS])
def test_mistake_on_which_pytorch_says_nothing_useful(error: type[Exception], sentence: str, attempt: Attempt) -> None:
    with pytest.raises(error, match=re.escape(sentence)) as caught:
        attempt(tg)
    assert isinstance(caught.value, tg.errors.TinygradRnnError)


def test_dropout_on_a_single_layer_warns() -> None:
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last recurrent layer") as seen:
        tg.nn.LSTM(4, 5, dropout=0.5)
    assert seen[0].filename == __file__
