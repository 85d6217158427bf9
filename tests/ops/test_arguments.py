"""Arguments of public functions: PyTorch's names and sentences, NumPy's names and integers, and ``out=``."""

from __future__ import annotations

import inspect
import re
import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.rows import together
from tinygrad_rnn import nn
from tinygrad_rnn.errors import (
    ArgumentTypeError,
    DtypeError,
    GraphError,
    InplaceError,
    OutOfMemory,
    TinygradRnnError,
)
from tinygrad_rnn.ops import signatures
from tinygrad_rnn.ops.arguments import overloads
from tinygrad_rnn.ops.methods import METHODS

F, rnn = nn.functional, nn.utils.rnn
X = tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

UNTYPED_METHODS = frozenset(
    """
    backward bool byte cdouble cfloat char cuda double float half int is_pinned long new pin_memory register_hook
    register_post_accumulate_grad_hook retain_grad short to type
    """.split()
)
"""Methods that look at their arguments themselves, or have none."""


FUNCTIONS = sorted(n for n in {*tg.ops.__all__, *tg.ops.LATER} - signatures.OWN if inspect.isroutine(getattr(tg, n)))


@together
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_a_signature(name: str) -> None:
    assert overloads("function", name), f"add {name} to ops/signatures.py"


@together
@pytest.mark.parametrize("name", sorted(F.__all__))
def test_every_function_of_nn_has_a_signature(name: str) -> None:
    assert overloads("nn.functional", name), f"add {name} to nn/signatures.py"


@together
@pytest.mark.parametrize(
    "name", sorted(n for n, f in METHODS.items() if callable(f) and n[0] != "_" and n not in signatures.OWN)
)
def test_every_method_has_a_signature(name: str) -> None:
    assert overloads("method", name) or name in UNTYPED_METHODS, f"add {name} to ops/signatures.py"


# names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: tg.sum(input=X), 21),
        (lambda: tg.tanh(input=X * 0).sum(), 0),
        (lambda: tg.add(input=X, other=X).sum(), 42),
        (lambda: tg.add(input=X, other=X, alpha=2).sum(), 63),
        (lambda: tg.mul(input=X, other=2).sum(), 42),
        (lambda: tg.matmul(input=X, other=X.T)[0, 0], 14),
        (lambda: tg.mm(input=X, mat2=X.T)[0, 0], 14),
        (lambda: tg.softmax(input=X, dim=0).sum(), 3),
        (lambda: tg.pow(input=X, exponent=2)[0, 1], 4),
        (lambda: tg.pow(2, X)[0, 1], 4),
        (lambda: tg.clamp(input=X, max=1).sum(), 6),
        (lambda: tg.transpose(input=X, dim0=0, dim1=1)[2, 0], 3),
        (lambda: tg.swapaxes(X, axis0=0, axis1=1)[2, 0], 3),
        (lambda: tg.arange(start=1, end=4).sum(), 6),
        (lambda: tg.arange(end=4).sum(), 6),
        (lambda: tg.full(size=(2,), fill_value=3.0).sum(), 6),
        (lambda: tg.zeros(size=(2, 3)).numel(), 6),
        (lambda: tg.take(input=X, index=tg.tensor([5]))[0], 6),
        (lambda: tg.outer(input=tg.ones(2), vec2=tg.ones(2)).sum(), 4),
        (lambda: X.sum(axis=1, keepdims=True)[1, 0], 15),
        (lambda: tg.std(X, unbiased=False) ** 2, 35 / 12),
        (lambda: F.cross_entropy(input=X * 0, target=tg.tensor([0, 1])), np.log(3)),
        (lambda: F.pad(input=X, pad=(1, 0)).sum(), 21),
        (lambda: X.reshape(shape=(6,))[5], 6),
        (lambda: X.view(size=(6,))[5], 6),
        (lambda: tg.zeros(1).uniform_(to=0.0), 0),
    ],
)
def test_pytorchs_names(call: Any, expected: float) -> None:
    assert float(call()) == pytest.approx(expected, rel=1e-6)  # sums of six float32 numbers


# numbers of NumPy and of tensors ------------------------------------------------------------------------------------

ONES = [np.int64(1), np.int32(1), np.uint8(1), np.asarray(1), tg.tensor(1), tg.tensor(1, dtype=tg.int32)]
USES: dict[str, Any] = {
    "sum": lambda n: X.sum(n),
    "sum of several": lambda n: X.sum((0, n)),
    "mean": lambda n: tg.mean(X, n),
    "softmax": lambda n: tg.softmax(X, n),
    "argmax": lambda n: X.argmax(n),
    "max": lambda n: X.max(n).values,
    "flip": lambda n: X.flip(n),
    "cat": lambda n: tg.cat([X, X], n),
    "stack": lambda n: tg.stack([X, X], n),
    "split": lambda n: X.split(n)[0],
    "split along": lambda n: X.split(2, n)[1],
    "tensor_split": lambda n: X.tensor_split(n)[0],
    "chunk": lambda n: X.chunk(n)[0],
    "unbind": lambda n: X.unbind(n)[2],
    "transpose": lambda n: X.transpose(0, n),
    "permute": lambda n: X.permute(n, 0),
    "unsqueeze": lambda n: X.unsqueeze(n),
    "select": lambda n: X.select(n, n),
    "narrow": lambda n: X.narrow(n, n, n),
    "roll": lambda n: X.roll(n, n),
    "cumsum": lambda n: X.cumsum(n),
    "topk": lambda n: X.topk(n).values,
    "sort": lambda n: X.sort(n).values,
    "zeros": lambda n: tg.zeros(n, 2),
    "reshape": lambda n: X.reshape(n, 6),
    "view": lambda n: X.view(6, n),
    "expand": lambda n: X.expand(n, 2, 3),
    "repeat": lambda n: X.repeat(n, 2),
    "repeat_interleave": lambda n: X.repeat_interleave(n),
    "tril": lambda n: X.tril(n),
    "eye": lambda n: tg.eye(n),
    "diff": lambda n: X.diff(n),
    "gather": lambda n: X.gather(n, tg.tensor([[0], [1]])),
    "logsumexp": lambda n: X.logsumexp(n),
    "one_hot": lambda n: F.one_hot(tg.tensor([0]), n),
    "glu": lambda n: F.glu(X[:, :2], n),
    "size": lambda n: tg.tensor(X.size(n)),
    "layer_norm": lambda n: F.layer_norm(X[:, :1], (n,)),
}


@together
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("one", ONES, ids=[f"{type(n).__name__}-{n.dtype}" for n in ONES])
def test_an_integer_of_numpy_or_of_a_tensor_is_an_int(use: str, one: Any) -> None:
    if use == "max" and isinstance(one, tg.Tensor):
        pytest.skip("the entry-wise maximum of two tensors")
    assert tg.equal(USES[use](one), USES[use](1))


@together
@pytest.mark.parametrize("use", sorted(set(USES) - {"size", "layer_norm"}))
@pytest.mark.parametrize("wrong", [1.0, np.float64(1), tg.tensor(1.0), "1", tg.tensor([1, 1]), np.asarray([1.0])])
def test_what_is_no_integer_is_refused(use: str, wrong: Any) -> None:
    if use in ("repeat_interleave", "max", "tensor_split") and isinstance(wrong, (tg.Tensor, np.ndarray)):
        pytest.skip("a tensor means something else here")
    if use == "split" and isinstance(wrong, (tg.Tensor, np.ndarray)) and wrong.dtype == tg.int64:
        pytest.skip("sizes")
    with pytest.raises(TinygradRnnError) as caught:
        USES[use](wrong)
    assert isinstance(caught.value, (TypeError, RuntimeError)), repr(caught.value)


# refusals -----------------------------------------------------------------------------------------------------------

STATE = nn.LSTM(3, 2)(X)
PACKED = rnn.pack_sequence([tg.ones(2, 3)])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: F.linear((1, 2), X), "linear(): argument 'input' (position 1) must be Tensor, not tuple"),
        (
            lambda: nn.Sequential(nn.LSTM(3, 2), nn.Linear(2, 1))(X),
            "linear(): argument 'input' (position 1) must be Tensor, not tuple. nn.LSTM, nn.GRU and nn.RNN return "
            "(output, state): take [0]",
        ),
        (
            lambda: nn.Dropout(0.5)(PACKED),
            "dropout(): argument 'input' (position 1) must be Tensor, not PackedSequence. Its values are in .data",
        ),
        (
            lambda: nn.Embedding(3, 2)([1, 2]),
            "embedding(): argument 'indices' (position 2) must be Tensor, not list. Make one with tinygrad_rnn.tensor",
        ),
        (lambda: nn.LayerNorm(2)(STATE), "layer_norm(): argument 'input' (position 1) must be Tensor, not tuple"),
        (lambda: nn.CrossEntropyLoss()(STATE, X), "cross_entropy(): argument 'input' (position 1) must be Tensor, not"),
        (lambda: nn.MSELoss()(X, 0), "mse_loss(): argument 'target' (position 2) must be Tensor, not int"),
        (lambda: nn.Tanh()(STATE), "tanh(): argument 'input' (position 1) must be Tensor, not tuple"),
        (lambda: nn.Softmax(-1)([1.0]), "softmax(): argument 'input' (position 1) must be Tensor, not list"),
        (lambda: F.relu(3), "relu(): argument 'input' (position 1) must be Tensor, not int"),
        (lambda: tg.tanh(3), "tanh(): argument 'input' (position 1) must be Tensor, not int"),
        (lambda: tg.mean(3), "mean(): argument 'input' (position 1) must be Tensor, not int"),
        (lambda: tg.mm(X, 3), "mm(): argument 'mat2' (position 2) must be Tensor, not int"),
        (lambda: X.mm(mat2=3), "mm(): argument 'mat2' must be Tensor, not int"),
        (lambda: X.mm(), 'mm() missing 1 required positional arguments: "mat2"'),
        (lambda: X.mul_(), 'mul_() missing 1 required positional arguments: "other"'),
        (lambda: tg.sigmoid(X, bogus=1), "sigmoid() got an unexpected keyword argument 'bogus'"),
        (lambda: X.cumsum(0, bogus=1), "cumsum() got an unexpected keyword argument 'bogus'"),
        (lambda: tg.softmax(X, -0.5), "softmax(): argument 'dim' (position 2) must be int, not float"),
        (lambda: tg.softmax(X, "a"), "softmax(): argument 'dim' (position 2) must be int, not str"),
        (lambda: X.unsqueeze(None), "unsqueeze(): argument 'dim' (position 1) must be int, not NoneType"),
        (lambda: X.softmax(True), "softmax(): argument 'dim' (position 1) must be int, not bool"),
        (lambda: X.transpose(0), 'transpose() missing 1 required positional arguments: "dim1"'),
        (lambda: X.reshape(2.5), "reshape(): argument 'shape' (position 1) must be tuple of ints, "),
        (
            lambda: X.permute((0, 1.5)),
            "permute(): argument 'dims' (position 1) must be tuple of ints, but found element of type float at pos 1",
        ),
        (lambda: tg.cat(3), "cat(): argument 'tensors' (position 1) must be tuple of Tensors, not int"),
        (lambda: tg.stack(X), "stack(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor"),
        (lambda: tg.cat([X, 3]), "expected Tensor as element 1 in argument 0, but got int"),
        (lambda: X.max("a"), "max() received an invalid combination of arguments - got (str), but expected one of:\n"),
        (lambda: tg.max(3), "max(): argument 'input' (position 1) must be Tensor, not int"),
        (lambda: tg.ones(), 'ones() missing 1 required positional arguments: "size"'),
        (lambda: tg.rand(), 'rand() missing 1 required positional arguments: "size"'),
        (lambda: tg.sort(0, stable=True), "sort(): argument 'input' (position 1) must be Tensor, not int"),
        (lambda: X.sum(axis=0, dim=1), "sum() got both axis and dim"),
        (lambda: X.sum(0, 1, 2, 3), "sum() takes "),
        (lambda: tg.mul(X, "a"), "mul(): argument 'other' (position 2) must be Tensor, not str"),
        (lambda: X + "a", "add(): argument 'other' (position 2) must be Tensor, not str"),
    ],
)
def test_pytorchs_sentence(call: Any, sentence: str) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        call()
    assert str(caught.value).startswith(sentence), str(caught.value)


ODD: list[Any] = [None, 3, 0.5, "a", [1.0], (X, X), STATE, PACKED, {}, object()]
TAKE_LISTS = frozenset("as_tensor asarray broadcast_shapes is_tensor tensor".split())


def _refusals() -> list[tuple[str, str]]:
    found = [("function", n) for n in tg.ops.__all__] + [("nn.functional", n) for n in F.__all__]
    return [
        (where, name)
        for where, name in found
        if (forms := overloads(where, name)) and all(s.parameters[0].kind == "Tensor" for s in forms)
    ]


@together
@pytest.mark.parametrize(("where", "name"), _refusals(), ids=lambda text: text)
def test_what_is_no_tensor_is_refused_by_name(where: str, name: str) -> None:
    function = getattr(tg if where == "function" else F, name)
    form = overloads(where, name)[0]
    rest = [X for p in form.parameters[1:] if not p.optional]
    for odd in ODD:
        with pytest.raises(ArgumentTypeError, match=rf"must be Tensor, not {type(odd).__name__}|combination"):
            function(odd, *rest)


def test_arguments_in_place_are_looked_at_before_the_leaf() -> None:
    w = tg.ones(2, requires_grad=True)
    with pytest.raises(ArgumentTypeError, match=re.escape('sub_() missing 1 required positional arguments: "other"')):
        w.sub_()
    with pytest.raises(ArgumentTypeError, match="must be Tensor, not str"):
        w.mul_("a")
    with pytest.raises(InplaceError):
        w.sub_(1.0)


def test_what_python_and_numpy_say_is_told_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_rnn.ops.arguments import Callee

    for raised, ours in [
        (AttributeError("x"), TypeError),
        (ZeroDivisionError("x"), RuntimeError),
        (AssertionError(), RuntimeError),
        (IndexError("x"), IndexError),
        (MemoryError("x"), OutOfMemory),
        (TypeError("ufunc 'x' not supported for the input types"), DtypeError),
    ]:

        def fails(a: Any, raised: Exception = raised) -> None:
            raise raised

        with pytest.raises(TinygradRnnError) as caught:
            Callee("trace", fails, "function").call((X,), {})
        assert isinstance(caught.value, ours)
        assert str(caught.value).startswith("trace(): ") and "float32[2, 3]" in str(caught.value)
        assert caught.value.__cause__ is raised


# out ----------------------------------------------------------------------------------------------------------------

OUTS: dict[str, Any] = {
    "exp": lambda **o: tg.exp(X, **o),
    "add": lambda **o: tg.add(X, 1, **o),
    "mul": lambda **o: tg.mul(X, X, **o),
    "matmul": lambda **o: tg.matmul(X, X.T, **o),
    "sum": lambda **o: tg.sum(X, 0, **o),
    "mean": lambda **o: tg.mean(X, 1, **o),
    "cat": lambda **o: tg.cat([X, X], **o),
    "stack": lambda **o: tg.stack([X, X], **o),
    "clamp": lambda **o: tg.clamp(X, 2, 4, **o),
    "cumsum": lambda **o: tg.cumsum(X, 0, **o),
    "zeros": lambda **o: tg.zeros(2, 2, **o),
    "arange": lambda **o: tg.arange(3.0, **o),
    "linear": lambda **o: F.linear(X, X, **o),
    "gelu": lambda **o: F.gelu(X, **o),
}


@pytest.mark.parametrize("name", OUTS)
def test_out_is_written_and_returned(name: str) -> None:
    expected = OUTS[name]()
    out = tg.empty(expected.shape).fill_(-7)
    view, version = out[...], out._version
    assert OUTS[name](out=out) is out
    assert tg.equal(out, expected) and tg.equal(view, expected)
    assert out._version > version
    fresh = tg.empty(0)
    assert tg.equal(OUTS[name](out=fresh), expected) and fresh.shape == expected.shape


def test_out_of_several_results_is_a_tuple() -> None:
    values, indices = tg.empty(2), tg.empty(2, dtype=tg.int64)
    result = tg.max(X, 1, out=(values, indices))
    assert result.values is values and result.indices is indices
    assert values.tolist() == [3, 6] and indices.tolist() == [2, 2]
    assert tg.sort(X, 1, True, out=(tg.empty(0), tg.empty(0, dtype=tg.int64))).values.tolist() == [[3, 2, 1], [6, 5, 4]]
    with pytest.raises(ArgumentTypeError, match="argument 'out' must be tuple of 2 Tensors"):
        tg.max(X, 1, out=values)


def test_out_has_no_gradient() -> None:
    w = tg.ones(2, requires_grad=True)
    out = tg.zeros(2)
    sentence = "functions with out=... arguments don't support automatic differentiation, but one of the arguments"
    with pytest.raises(GraphError, match=re.escape(f"exp(): {sentence} requires grad.")):
        tg.exp(w, out=out)
    assert out.tolist() == [0, 0]
    with tg.no_grad():
        tg.exp(w, out=out)
    assert out.tolist() == pytest.approx([np.e, np.e], rel=1e-6)  # float32


def test_a_saved_value_that_out_overwrites_is_noticed() -> None:
    w, saved = tg.ones(2, requires_grad=True), tg.ones(2)
    loss = (w * saved).sum()
    tg.add(saved, 1, out=saved)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_out_of_another_dtype_or_shape() -> None:
    assert tg.add(tg.tensor([1]), 1, out=tg.empty(1)).dtype == tg.float32
    with pytest.raises(DtypeError, match="result type Float can't be cast to the desired output type Long"):
        tg.exp(X, out=tg.empty(2, 3, dtype=tg.int64))
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        assert tg.exp(X, out=tg.empty(5)).shape == (2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tg.exp(X, out=tg.empty(0))


@pytest.mark.parametrize("name", ["relu", "clone", "isnan", "trace", "flip", "softmax_absent"])
def test_functions_without_out_say_so(name: str) -> None:
    if name == "softmax_absent":
        with pytest.raises(TypeError, match="unexpected keyword argument 'out'"):
            F.leaky_relu(X, out=tg.empty(0))
        return
    args = (X, 0) if name == "flip" else (X,)
    with pytest.raises(TypeError, match=re.escape(f"{name}() got an unexpected keyword argument 'out'")):
        getattr(tg, name)(*args, out=tg.empty(0))


# against PyTorch ----------------------------------------------------------------------------------------------------

OURS = {
    "unfold": {"dimension"},
    "tril_indices": {"requires_grad"},
    "embedding": {"input"},
    "nonzero": {"as_tuple"},
    "as_tensor": {"copy", "requires_grad"},
    "asarray": {"obj", "copy"},
    "from_numpy": {"array"},
    "tensor_split": {"indices_or_sections"},
    "unique": {"input", "sorted", "return_inverse", "return_counts", "dim"},
}
"""Names that PyTorch's messages and schemas do not show, or that only we take."""


def _names_of(torch: Any, name: str) -> set[str]:
    """Every name that a schema, a signature or a message of PyTorch's has for an argument of a function."""
    import inspect

    found: set[str] = set()
    for schema in torch._C._jit_get_schemas_for_operator(f"aten::{name}"):
        found |= {"input" if a.name == "self" else a.name for a in schema.arguments}
    function = getattr(torch, name, None) or getattr(torch.Tensor, name)
    try:
        found |= set(inspect.signature(function).parameters)
    except ValueError:
        pass
    for args in ((object(),) * 9, (), (object(),)):
        try:
            function(*args)
        except Exception as error:
            found |= set(re.findall(r"[\w ]+? (\w+)(?: = [^,)]+)?[,)]", str(error)))
    return found


@together
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_names_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    if not hasattr(torch, name) and not hasattr(torch.Tensor, name):
        pytest.skip("PyTorch has it in nn.functional")
    theirs = _names_of(torch, name) | OURS.get(name, set()) | {"out", "device", "layout", "pin_memory", "dtype"}
    for form in overloads("function", name):
        wrong = {p.name for p in form.parameters} - theirs - {"requires_grad", "memory_format", "generator"}
        assert not wrong, f"PyTorch's {name} has no {wrong}, but {theirs}"


# single faults ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (lambda: float(tg.ones(3)), ValueError, "only one element tensors can be converted to Python scalars"),
        (lambda: int(tg.ones(3)), ValueError, "only one element tensors can be converted to Python scalars"),
        (lambda: tg.zeros(2**44), RuntimeError, "zeros(): Unable to allocate"),
        (lambda: tg.ones(1, 1).expand(2**30, 2**30) + 1, RuntimeError, "add(): can't allocate memory"),
        (lambda: nn.init.zeros_(tg.ones(3).expand(2, 3)), RuntimeError, "unsupported operation: more than one element"),
        (lambda: nn.init.uniform_(3), TypeError, "uniform_(): argument 'tensor' (position 1) must be Tensor, not int"),
        (lambda: tg.broadcast_to(tg.ones(2), (-1, -1)), RuntimeError, "broadcast_to(): "),
        (lambda: tg.meshgrid(tg.ones(2, 2)), RuntimeError, "torch.meshgrid: Expected 0D or 1D tensor in the tensor"),
        (
            lambda: tg.masked_select(tg.ones(2, 3), tg.ones(2) > 0),
            RuntimeError,
            "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 1",
        ),
        (lambda: tg.rot90(tg.ones(2, 2), dims=()), RuntimeError, "expected total rotation dims == 2, but got dims = 0"),
        (lambda: tg.triu_indices(-1, 5), RuntimeError, "row must be non-negative, got-1"),
        (lambda: tg.tensor(1.0).flatten(1), IndexError, "Dimension out of range (expected to be in range of [-1, 0]"),
        (
            lambda: 1 - tg.tensor([True]),
            RuntimeError,
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, "
            "use the `~` or `logical_not()` operator instead.",
        ),
        (lambda: tg.ones(1) - tg.tensor([True]), RuntimeError, "Subtraction, the `-` operator, with a bool tensor"),
        (
            lambda: nn.BCEWithLogitsLoss()(tg.ones(2), tg.tensor([0, 1])),
            RuntimeError,
            "result type Float can't be cast to the desired output type Long",
        ),
        (lambda: tg.ones(2).__setitem__([0, 1], [5.0, 6.0]), TypeError, "can't assign a list to a torch.FloatTensor"),
        (lambda: tg.ones(2).__setitem__(0, np.ones(1)), TypeError, "can't assign a numpy.ndarray to a torch.FloatTen"),
        (
            lambda: rnn.pad_packed_sequence(nn.GRU(3, 2)(PACKED)),
            TypeError,
            "pad_packed_sequence(): argument 'sequence' (position 1) must be PackedSequence, not tuple. nn.LSTM, "
            "nn.GRU and nn.RNN return (output, state): take [0]",
        ),
        (
            lambda: rnn.pack_padded_sequence(STATE, [2]),
            TypeError,
            "pack_padded_sequence(): argument 'input' (position 1) must be Tensor, not tuple. nn.LSTM, nn.GRU and",
        ),
        (lambda: rnn.pack_padded_sequence(tg.ones(2, 1, 2), 3), RuntimeError, "'lengths' argument should be a 1D CPU"),
        (lambda: rnn.pack_padded_sequence(tg.ones(2, 1, 2), None), TypeError, "lengths must be a list"),
        (lambda: rnn.pad_sequence([3]), TypeError, "expected Tensor as element 0 in argument 0, but got int"),
        (lambda: rnn.pad_sequence([[1], [2]]), TypeError, "expected Tensor as element 0 in argument 0, but got list"),
        (lambda: nn.Linear(2.5, 3), TypeError, "empty(): argument 'size' (position 1) must be tuple of ints, but"),
        (lambda: nn.Embedding(2.0, 3), TypeError, "empty(): argument 'size' (position 1) must be tuple of ints, but"),
        (lambda: nn.Dropout("a"), TypeError, "dropout(): argument 'p' (position 2) must be float, not str"),
        (lambda: tg.ones(3).bitwise_and(1), NotImplementedError, "bitwise_and() is not implemented for float32"),
    ],
)
def test_an_error_is_ours_and_of_pytorchs_class(call: Any, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(TinygradRnnError) as caught:
        call()
    assert isinstance(caught.value, kind), repr(caught.value)
    assert str(caught.value).startswith(sentence), str(caught.value)


def test_numpys_warnings_stay_inside() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tg.tensor([1 + 2j]).int().tolist() == [1]
        assert (tg.ones(2) < 1e300).all()
        assert tg.logspace(100, 1, 5)[0] == float("inf")
        assert tg.isnan(tg.acos(tg.tensor(65.0)))
        assert np.isnan(tg.acos(np.asarray(65.0)))
        assert F.dropout1d(tg.ones(2, 3, 4), 1.0).sum() == 0


def test_a_distance_of_power_0_counts() -> None:
    x = tg.tensor([[1.0, 0.0, 2.0]], requires_grad=True)
    distance = nn.PairwiseDistance(p=0, eps=0.0)(x, tg.zeros(1, 3))
    assert distance.tolist() == [2.0]
    distance.sum().backward()
    assert x.grad is None  # a count has no derivative, and PyTorch gives none


def test_differences_with_entries_before_and_after() -> None:
    x = tg.tensor([1.0, 4.0, 9.0])
    assert x.diff(prepend=tg.tensor([0.0])).tolist() == [1, 3, 5]
    assert x.diff(n=2, append=tg.tensor([16.0, 25.0])).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: tg.cumsum(np.array(2.0), 0), 2.0),
        (lambda: tg.cumprod(np.array(2.0), 0), 2.0),
        (lambda: tg.repeat_interleave(np.array([1, 2])), [0, 1, 1]),
    ],
)
def test_a_numpy_array_gives_a_numpy_array(call: Any, expected: Any) -> None:
    found = call()
    assert not isinstance(found, tg.Tensor)
    assert np.array_equal(found, expected)


def test_a_state_of_another_optimizer_is_refused() -> None:
    w = nn.Parameter(tg.ones(2))
    saved = tg.optim.SGD([w], lr=0.1, momentum=0.9).state_dict()
    with pytest.raises(ValueError, match="has no 'betas' in group 0, which Adam needs, but 'momentum'"):
        tg.optim.Adam([w]).load_state_dict(saved)
    with pytest.raises(ValueError, match="has no 'momentum' in group 0, which SGD needs"):
        tg.optim.SGD([w], lr=0.1).load_state_dict(tg.optim.Adam([w]).state_dict())


def test_the_ends_of_a_range_keep_their_digits() -> None:
    """The first of two numbers is a 0-d tensor of float32 elsewhere."""
    assert tg.linspace(0.1, 0.2, 2, dtype=tg.float64).tolist() == [0.1, 0.2]
    assert tg.logspace(0.1, 0.2, 2, dtype=tg.float64).tolist() == [10**0.1, 10**0.2]
    assert tg.linspace(tg.tensor(0.5), 1.0, 2).tolist() == [0.5, 1.0]
