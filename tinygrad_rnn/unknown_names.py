"""Helpful AttributeErrors: a replacement for a name that is missing, a close spelling, or the names that exist.

``INSTEAD`` is the one place for well-known names of PyTorch that are missing here; a test asserts that they are.  The
text is computed when the error is printed, so that ``hasattr(tg, "linalg")``, which programs call often, costs
microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["INSTEAD", "AbsentName", "absent"]

_NUMPY = "not here; where no gradient has to pass, NumPy has it: apply it to x.detach().numpy()"
_CONVOLUTION = "outside the scope of this package, which is about recurrent networks; conv1d, along time, is here"
_POOLING = "outside the scope of this package; max_pool1d and avg_pool1d, are here; over all time x.amax(dim)"
_NORMS = "outside the scope of this package; BatchNorm1d, LayerNorm and RMSNorm are here"
_norms = "outside the scope of this package; batch_norm, layer_norm and rms_norm are here"
_ATTENTION = "MultiheadAttention and functional.scaled_dot_product_attention are here"
_TRANSFORMER = "transformers are outside the scope of this package; RNN, LSTM and GRU are here"
_COMPILER = "there is no compiler here: layers compile their cells, nn.RNNLayer(cell, impl='compiled')"
_PROCESSES = "one process and one device"
_CASTS = "float16, float32 and float64 are chosen by dtype=, without automatic casts"
_OPTIMISER = "not here; Adam, AdamW, RMSprop, Adagrad, Rprop, ASGD, SGD and LBFGS are"
_IMAGES = "images are outside the scope of this package, which is about recurrent networks"
_DENSE = "tensors here are dense"

_RECORDED = "frexp gradient ldexp nanmedian vander"
"""Names of which NumPy's function takes tensors and gives gradients."""

INSTEAD: dict[str, dict[str, str]] = {
    "tinygrad_rnn": {
        **dict.fromkeys(["compile", "jit", "export", "fx"], _COMPILER),
        **dict.fromkeys(["conv2d", "conv3d", "conv_transpose1d"], _CONVOLUTION),
        **{name: f"nn.functional.{name}" for name in ("avg_pool1d", "conv1d", "max_pool1d")},
        **dict.fromkeys(["max_pool2d", "avg_pool2d"], _POOLING),
        "batch_norm": "nn.functional.batch_norm",
        **dict.fromkeys(["group_norm", "instance_norm"], _norms),
        **dict.fromkeys(["fft"], _NUMPY),
        **dict.fromkeys(["linalg", "qr", "svd", "det", "logdet", "slogdet", "inverse", "pinverse", "eig"], _NUMPY),
        **dict.fromkeys(["cholesky", "lstsq", "matrix_exp"], _NUMPY),
        **{name: f"not here; NumPy's np.{name} takes tensors, and gradients pass" for name in _RECORDED.split()},
        "matrix_power": "not here; NumPy's np.linalg.matrix_power takes tensors, and gradients pass",
        "chain_matmul": "not here; NumPy's np.linalg.multi_dot takes tensors, and gradients pass",
        **dict.fromkeys(["sparse", "sparse_coo_tensor"], _DENSE),
        **dict.fromkeys(["amp", "autocast"], _CASTS),
        **dict.fromkeys(["distributed", "multiprocessing"], _PROCESSES),
        "bfloat16": "float16, float32 and float64 are supported",
        "func": "derivatives of functions are in autograd.functional: vjp, jvp, jacobian, hessian, hvp",
        "vmap": "not here; operations take leading axes, and autograd.functional has jacobian and hessian",
        "hub": "not here; weights come in by tinygrad_rnn.load, load_state_dict and serialization",
        "onnx": "weights in its layout: serialization.to_onnx and from_onnx; models: tinygrad_rnn.save",
        "profiler": "not here; tinygrad_rnn.Tape lists what is recorded, Tape.memory() what is held",
        "quantization": "not here; float16 halves the memory",
        "set_default_tensor_type": "set_default_dtype(tinygrad_rnn.float64)",
    },
    "tinygrad_rnn.nn": {
        **dict.fromkeys(["Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d"], _CONVOLUTION),
        **dict.fromkeys(["MaxPool2d", "AvgPool2d", "AdaptiveAvgPool1d"], _POOLING),
        **dict.fromkeys(["BatchNorm2d", "SyncBatchNorm", "InstanceNorm1d", "GroupNorm"], _NORMS),
        **dict.fromkeys(["Transformer", "TransformerEncoder", "TransformerEncoderLayer"], _TRANSFORMER),
        **dict.fromkeys(["TransformerDecoder", "TransformerDecoderLayer"], _TRANSFORMER),
        **dict.fromkeys(["Upsample", "PixelShuffle", "Dropout3d", "ZeroPad2d"], _IMAGES),
        "quantized": "not here; half() halves the memory",
    },
    "tinygrad_rnn.nn.functional": {
        **dict.fromkeys(["conv2d", "conv3d", "conv_transpose1d", "unfold", "fold"], _CONVOLUTION),
        **dict.fromkeys(["max_pool2d", "avg_pool2d", "adaptive_avg_pool1d"], _POOLING),
        **dict.fromkeys(["group_norm", "instance_norm", "local_response_norm"], _norms),
        **dict.fromkeys(["interpolate", "grid_sample", "upsample"], _IMAGES),
    },
    "tinygrad_rnn.optim": {
        **dict.fromkeys(["Adamax", "NAdam", "RAdam", "Adadelta", "Adafactor", "Muon"], _OPTIMISER),
        "SparseAdam": _OPTIMISER + "; gradients here are dense",
        "swa_utils": "not here; to average weights, mean.lerp_(p, 1 / n) for each of them, under no_grad()",
    },
    "tinygrad_rnn.cuda": {
        "CUDAGraph": "CuPy captures graphs: cupy.cuda.Stream.begin_capture; see docs/gpu.md",
        "amp": _CASTS,
        "nccl": _PROCESSES,
    },
}
"""By module: well-known names that it does not have, and the hint for each."""

KINDS = {
    "conv": _CONVOLUTION,
    "pool": _POOLING,
    "batchnorm": _NORMS,
    "batch_norm": _norms,
    "transformer": _TRANSFORMER,
    "attention": _ATTENTION,
}
"""The hint for names that contain the word."""

MANY = 90
"""Lists of names longer than this are not printed."""

CLOSE = 0.8
"""The similarity from which on a name is suggested; names as short as ``erf`` get no suggestion."""


class AbsentName(AttributeError):
    """The error for a name that a module does not have.  Its text is computed when it is read."""

    def __init__(self, module: str, missing: str, names: Sequence[str]) -> None:
        super().__init__(name=missing, obj=None)  # with the module as obj, Python would add a suggestion itself
        self._about = module, missing, names
        self._text: str | None = None

    def __str__(self) -> str:
        if self._text is None:
            module, missing, names = self._about
            hint = _hint(module, missing, names)
            self._text = f"module '{module}' has no attribute '{missing}'" + (f": {hint}" if hint else "")
        return self._text

    def __repr__(self) -> str:
        return f"AttributeError({str(self)!r})"

    @property
    def args(self) -> tuple[Any, ...]:  # type: ignore[override]
        """The message, as of every exception."""
        return (str(self),)

    def __reduce__(self) -> tuple[Any, ...]:
        return AttributeError, self.args


def absent(module: str, names: Sequence[str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module: raises AttributeError with a hint.

    Args:
        module: its name.
        names: the names that it has.

    >>> absent("nn", ["LSTM", "LSTMCell", "GRU"])("LSTMcell")
    Traceback (most recent call last):
        ...
    tinygrad_rnn.unknown_names.AbsentName: module 'nn' has no attribute 'LSTMcell': did you mean LSTMCell?
    """

    def refuse(name: str) -> Any:
        raise AbsentName(module, name, names)

    return refuse


def _hint(module: str, missing: str, names: Sequence[str]) -> str:
    known: Mapping[str, str] = INSTEAD.get(module, {})
    if missing in known or missing.startswith("_"):
        return known.get(missing, "")
    close = _close(missing, names)
    if close:
        return f"did you mean {' or '.join(close)}?"
    of_its_kind = next((text for word, text in KINDS.items() if word in missing.lower()), None)
    if of_its_kind is not None:
        return of_its_kind
    if len(names) > MANY:
        return f"dir({module}) lists what there is"
    return f"the names here are {', '.join(sorted(names))}"


def _close(missing: str, names: Sequence[str]) -> list[str]:
    """At most three suggestions: names that differ in case alone, else that begin with it, else that are similar."""
    same = [name for name in names if name.lower() == missing.lower()]
    if same or len(missing) < 4:
        return same
    longer = [name for name in names if name.startswith(missing)]
    if longer or len(missing) < 5:
        return longer[:3]
    import difflib  # not wanted where no mistake is made

    return difflib.get_close_matches(missing, names, n=3, cutoff=CLOSE)
