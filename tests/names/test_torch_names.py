"""Names that scripts written for PyTorch touch: they are there, or they say what is there instead."""

from __future__ import annotations

import importlib
import importlib.util
import operator
import pickle
import pydoc
import re
import subprocess
import sys
import traceback
from types import ModuleType

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.rows import together
from tinygrad_rnn import compat, unknown_names
from tinygrad_rnn.errors import ArgumentTypeError, DeviceError
from tinygrad_rnn.ops.numpy_protocol import FUNCTIONS, UFUNCS

LEGACY = {
    "HalfTensor": tg.float16, "FloatTensor": tg.float32, "DoubleTensor": tg.float64, "ByteTensor": tg.uint8,
    "CharTensor": tg.int8, "ShortTensor": tg.int16, "IntTensor": tg.int32, "LongTensor": tg.int64,
    "BoolTensor": tg.bool,
}  # fmt: skip


@pytest.mark.parametrize("name", LEGACY)
def test_legacy_constructors_take_values_or_sizes(name: str) -> None:
    make, dtype = getattr(tg, name), LEGACY[name]
    for made, values in (
        (make([1, 0]), [1, 0]),
        (make(2, 1), [[0], [0]]),
        (make(tg.Size((1, 2))), [[0, 0]]),
        (make(np.array([1, 0])), [1, 0]),
        (make([tg.tensor(1), tg.tensor(0)]), [1, 0]),
        (make(), []),
    ):
        assert made.dtype == dtype and made.tolist() == values
        assert isinstance(made, make) and not isinstance(made, tg.LongTensor if name != "LongTensor" else tg.IntTensor)
    assert not isinstance([1], make)
    with pytest.raises(ArgumentTypeError, match="expected sizes or one sequence"):
        make([1], [2])


@pytest.mark.parametrize("name", compat.ALIASES)
def test_an_alias_is_the_module_itself(name: str) -> None:
    module = importlib.import_module(f"tinygrad_rnn.{name}")
    assert module is importlib.import_module(f"tinygrad_rnn.{compat.ALIASES[name]}")
    assert operator.attrgetter(name)(tg) is module  # bound in its parent, as any submodule
    assert importlib.util.find_spec(f"tinygrad_rnn.{name}") is not None


@pytest.mark.parametrize("name", ["backends.cudn", "legacy.cudnn", "autograd.variables", "cudnn"])
def test_a_module_that_is_no_alias_is_not_found(name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=f"No module named 'tinygrad_rnn.{name}'"):
        importlib.import_module(f"tinygrad_rnn.{name}")


def test_a_copy_of_a_tensor_is_made() -> None:
    x = tg.ones(2)
    y = tg.FloatTensor(x.numpy())
    y[0] = 5
    assert x.tolist() == [1, 1]


def test_there_is_a_gpu_only_where_one_answers() -> None:
    available = tg.cuda.is_available()
    assert (tg.cuda.device_count() > 0) == available == tg.accelerator.is_available()
    assert (tg.accelerator.current_accelerator() is None) == (not available)
    if not available:
        assert tg.cuda.memory_allocated() == tg.cuda.memory_reserved() == 0
        tg.cuda.empty_cache()
        for ask in (tg.cuda.synchronize, tg.cuda.current_device, tg.cuda.get_device_name):
            with pytest.raises(DeviceError, match="device 'cuda' is not available"):
                ask()


def test_seeding_the_gpu_leaves_the_stream_of_the_host_alone() -> None:
    tg.manual_seed(5)
    expected = tg.rand(3)
    tg.manual_seed(5)
    tg.cuda.manual_seed(1)
    tg.cuda.manual_seed_all(1)
    assert tg.equal(tg.rand(3), expected)
    with pytest.raises(TypeError):
        tg.cuda.manual_seed("seven")  # type: ignore[arg-type]


def test_types_of_numbers_are_as_pytorch_tells_them() -> None:
    assert isinstance(tg.float32, tg.dtype) and isinstance(tg.ones(1).dtype, tg.dtype)
    assert tg.finfo(tg.float32).eps == np.finfo(np.float32).eps and tg.iinfo(tg.int8).max == 127


@pytest.mark.parametrize(
    ("name", "hint"),
    [("jit", "no compiler"), ("onnx", "to_onnx"), ("compile", "no compiler"), ("distributed", "one process"),
     ("bfloat16", "float16, float32 and float64"), ("conv2d", ""), ("sofmax", "softmax"), ("LongTenser", "LongTensor")],
)  # fmt: skip
def test_an_absent_name_says_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'tinygrad_rnn' has no attribute '{name}': .*{hint}"):
        getattr(tg, name)


@pytest.mark.parametrize(
    ("module", "name", "hint"),
    [
        (tg.nn, "Conv2d", "outside the scope"),
        (tg.nn, "LSTMcell", "did you mean LSTMCell"),
        (tg.nn.functional, "max_pool2d", "outside the scope"),
        (tg.nn.init, "xavier", "did you mean xavier_"),
        (tg.nn.utils, "fuse", "the names here are clip_grad_norm"),
        (tg.nn.utils.rnn, "pad", "pad_sequence"),
        (tg.autograd, "profiler", "the names here are .*Function"),
        (tg.optim, "Adamax", "Adam"),
        (tg.utils.data, "DistributedSampler", "RandomSampler"),
        (tg.serialization, "pickle", "the names here are .*save"),
        (tg, "zzzzz", r"dir\(tinygrad_rnn\) lists what there is"),
    ],
)
def test_an_absent_name_of_a_submodule_too(module: ModuleType, name: str, hint: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute '{name}'.*{hint}"):
        getattr(module, name)


@pytest.mark.parametrize("make", [tg.sum, tg.mean, tg.amax, tg.softmax, tg.cumsum, tg.argmax, tg.squeeze, tg.logsumexp])
def test_axis_is_another_word_for_dim(make: object) -> None:
    x = tg.tensor([[1.0, 2.0, 4.0]])
    assert tg.equal(make(x, axis=0), make(x, dim=0))  # type: ignore[operator]
    assert tg.equal(getattr(x, make.__name__)(axis=0), make(x, dim=0))  # type: ignore[attr-defined, operator]
    with pytest.raises(ArgumentTypeError, match="both axis and dim"):
        make(x, axis=0, dim=0)  # type: ignore[operator]


def test_keepdims_is_another_word_for_keepdim() -> None:
    assert tg.ones(2, 3).mean(axis=1, keepdims=True).shape == (2, 1)
    assert tg.cat([tg.ones(1), tg.ones(2)], axis=0).shape == (3,)


def test_numbers_of_an_index_are_taken_first() -> None:
    """As PyTorch has it; NumPy would put the axes of the array first where a slice stands between."""
    x = tg.arange(24).reshape(2, 3, 4)
    assert x[1, :, tg.tensor([0, 2])].tolist() == [[12, 14], [16, 18], [20, 22]]
    assert x[tg.tensor([0, 1]), :, 2].shape == (2, 3)
    assert x.numpy()[1, :, [0, 2]].shape == (2, 3) and x[1, :, [0, 2]].shape == (3, 2)


def test_an_axis_of_a_number_is_checked() -> None:
    with pytest.raises(IndexError, match="Dimension out of range"):
        tg.squeeze(tg.tensor(1.0), 10)
    assert tg.squeeze(tg.tensor(1.0), -1).shape == ()


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("widths", [(1, 2), (0, -1), (-2, 1), (2, 0, 1, 1), (-1, 2, 0, -1)])
def test_pad_is_numpys_with_cuts(mode: str, widths: tuple[int, ...]) -> None:
    x = np.arange(1.0, 13.0).reshape(1, 3, 4)
    pairs = [(0, 0)] * (3 - len(widths) // 2) + [widths[k : k + 2] for k in range(0, len(widths), 2)][::-1]
    grown = [(max(a, 0), max(b, 0)) for a, b in pairs]
    options = {"constant_values": 7} if mode == "constant" else {}
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    expected = np.pad(x, grown, mode=names[mode], **options)  # type: ignore[call-overload]
    expected = expected[
        tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, expected.shape, strict=True))
    ]
    leaf = tg.tensor(x, requires_grad=True)
    padded = tg.nn.functional.pad(leaf, widths, mode=mode, value=7.0 if mode == "constant" else None)
    assert padded.tolist() == expected.tolist()
    tg.autograd.gradcheck(lambda t: tg.nn.functional.pad(t, widths, mode=mode), (leaf,))


def test_pad_refuses_what_pytorch_refuses() -> None:
    x = tg.ones(2, 2)
    for widths in ((1,), (1, 1, 1, 1, 1, 1), (-2, -1)):
        with pytest.raises(RuntimeError):
            tg.nn.functional.pad(x, widths)
    with pytest.raises(ValueError, match="Unrecognised padding mode"):
        tg.nn.functional.pad(x, (1, 1), mode="mirror")


def test_the_class_itself_makes_float32_as_pytorch_has_it() -> None:
    assert (
        tg.Tensor(np.array([1.0, 2.0])).dtype == tg.Tensor([1, 2]).dtype == tg.Tensor(np.array([1])).dtype == tg.float32
    )
    assert tg.Tensor().shape == (0,) and tg.Tensor(2, 3).shape == tg.Tensor(tg.Size((2, 3))).shape == (2, 3)
    values = np.zeros(2, np.float32)
    tg.Tensor(values)[0] = 1
    assert values[0] == 1


INSTEAD = [(module, name) for module, known in unknown_names.INSTEAD.items() for name in known]


@together
@pytest.mark.parametrize(("module", "name"), INSTEAD)
def test_a_name_in_the_table_of_absent_ones_is_absent(module: str, name: str) -> None:
    """Whoever adds the name takes it out of the table."""
    assert not hasattr(importlib.import_module(module), name)


def test_names_that_hints_point_to_are_there() -> None:
    for name in (
        "autograd.functional.hvp",
        "serialization.to_onnx",
        "set_default_dtype",
        "nn.LayerNorm",
        "nn.RMSNorm",
        "nn.functional.layer_norm",
        "nn.functional.rms_norm",
        "multinomial",
        "logsumexp",
        "arange",
        "amax",
        "nn.functional.cosine_similarity",
        "Tape.memory",
        "Tensor.lerp_",
        "load",
        "normal",
    ):
        found = tg
        for part in name.split("."):
            found = getattr(found, part)


@together
@pytest.mark.parametrize("name", [name for module, name in INSTEAD if module == "tinygrad_rnn"])
def test_numpys_functions_are_said_to_give_gradients_exactly_where_they_do(name: str) -> None:
    text = unknown_names.INSTEAD["tinygrad_rnn"][name]
    here = [f for f in (getattr(np, name, None), getattr(np.linalg, name, None)) if f in FUNCTIONS or f in UFUNCS]
    said = re.search(r"NumPy's np\.(linalg\.)?(\w+) takes tensors, and gradients pass", text)
    assert bool(here) == (said is not None) or name == "chain_matmul"
    if said:
        assert getattr(np.linalg if said[1] else np, said[2]) in {**FUNCTIONS, **UFUNCS}


@pytest.mark.parametrize(
    ("module", "name"),
    [(tg, "func"), (tg, "linalg"), (tg, "qr"), (tg, "det"), (tg, "inverse"),
     (tg, "gradient"), (tg, "fft"), (tg, "argh"),
     (tg, "sine"), (tg, "vander")],
)  # fmt: skip
def test_no_hint_misleads(module: ModuleType, name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    assert "did you mean" not in str(caught.value) and "outside the scope" not in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "Did you mean" not in shown and shown.rstrip().endswith(str(caught.value))


def test_to_ask_for_an_absent_name_makes_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_text(*args: object) -> str:
        raise AssertionError("the hint was made")

    monkeypatch.setattr(unknown_names, "_hint", no_text)
    for module in (tg, tg.nn, tg.nn.functional, tg.optim, tg.autograd, tg.utils, tg.cuda, tg.serialization):
        assert not hasattr(module, "absentt") and getattr(module, "absentt", 3) == 3


def test_the_error_of_an_absent_name_is_an_ordinary_one() -> None:
    with pytest.raises(AttributeError) as caught:
        _ = tg.sofmax
    error = caught.value
    assert error.name == "sofmax" and error.args == (str(error),) and "softmax" in repr(error)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is AttributeError and str(copy) == str(error)


@pytest.mark.parametrize("name", tg.nn.modules.__all__)
def test_a_path_of_layers_is_a_module_that_a_new_interpreter_can_import(name: str) -> None:
    path = f"tinygrad_rnn.nn.modules.{name}"
    first = getattr(tg.nn.modules, name).__all__[0]
    program = f"import {path} as found; print(*dir(found)); from {path} import {first}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    made = importlib.import_module(path)
    assert made is getattr(tg.nn.modules, name) and set(made.__all__) <= set(done.stdout.split())
    assert made.__name__ == path and importlib.util.find_spec(path) is made.__spec__
    assert f"nn.modules.{name}" in pydoc.render_doc(made)
    with pytest.raises(AttributeError, match=f"module '{path}' has no attribute 'Absent': the names here are"):
        _ = made.Absent


def test_the_paths_of_layers_have_pytorchs_names() -> None:
    """Of each class in ``nn`` that is PyTorch's, the path is the one under which PyTorch defines it."""
    paths = {
        name: path
        for path in tg.nn.modules.__all__
        for name in getattr(tg.nn.modules, path).__all__
        if isinstance(getattr(tg.nn, name, None), type)
    }
    layers = {name for name in tg.nn.__all__ if isinstance(getattr(tg.nn, name), type)}
    ours = {"DataParallel", "Dense", "Highway", "MDLSTM", "Parameter", "RNNLayer", "Residual", "UninitializedParameter"}
    assert layers - set(paths) == ours
    for name, path in {
        "Flatten": "flatten",
        "LazyLinear": "linear",
        "ParameterDict": "container",
        "GLU": "activation",
        "PairwiseDistance": "distance",
        "EmbeddingBag": "sparse",
        "RMSNorm": "normalization",
        "KLDivLoss": "loss",
        "BatchNorm1d": "batchnorm",
        "MultiheadAttention": "activation",
        "Conv1d": "conv",
        "Dropout1d": "dropout",
        "MaxPool1d": "pooling",
        "Module": "module",
        "RNNCellBase": "rnn",
    }.items():
        assert paths[name] == path
    torch = pytest.importorskip("torch")
    assert {name: getattr(torch.nn, name).__module__ for name in paths} == {
        name: f"torch.nn.modules.{path}" for name, path in paths.items()
    }


def test_a_pickle_that_names_a_path_of_layers_finds_the_class() -> None:
    by_path = b"ctinygrad_rnn.nn.modules.rnn\nLSTM\n."
    assert pickle.loads(by_path) is tg.nn.LSTM
    assert pickle.loads(pickle.dumps(tg.nn.modules.rnn.LSTM)) is tg.nn.LSTM
