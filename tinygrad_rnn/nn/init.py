"""Initialisation of parameters: functions that fill a tensor in place and return it.

Each function draws from the default generator (or the one given) the numbers that ``torch.nn.init`` draws for the
same seed.  Nothing is recorded; a leaf that requires grad may be filled.

Fans of a weight ``(O, I, ...)``: fan_in = I times the trailing sizes, fan_out = O times the trailing sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..backend.random.draws import Generator, randperm
from ..backend.random.inplace import fill_normal, fill_uniform, put
from ..errors import ArgumentError
from ..ops import arguments
from ..source_line import warn_user
from ..tape.inplace.writes import check_memory
from ..tape.tensor import Tensor
from ..typing import Array
from ..unknown_names import absent
from . import signatures
from .truncated_normal import truncated_normal

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


NEUTRAL = {"linear", "sigmoid", *[f"conv{kind}{axes}d" for kind in ("", "_transpose") for axes in (1, 2, 3)]}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights are scaled so that signals keep their size through a nonlinearity.

    1 for linear, convolutions and sigmoid; 5/3 for tanh; sqrt 2 for relu; sqrt(2 / (1 + slope**2)) for leaky_relu,
    whose slope is ``param`` (0.01 if None); 3/4 for selu.

    Raises:
        ArgumentError: another name, or a slope that is not a number.

    >>> calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity in NEUTRAL:
        return 1
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ArgumentError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    gains = {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}
    if nonlinearity not in gains:
        raise ArgumentError(f"Unsupported nonlinearity {nonlinearity}")
    return gains[nonlinearity]


def _written(tensor: Tensor, values: Any) -> Tensor:
    check_memory(tensor, "fill")
    put(tensor._data, values)
    tensor._touch()
    return tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform on [a, b).

    >>> import tinygrad_rnn as tg
    >>> w = uniform_(tg.empty(100), -2.0, -1.0)
    >>> bool(w.max() < -1) and bool(w.min() >= -2)
    True
    """
    check_memory(tensor, "uniform_")
    fill_uniform(tensor._data, a, b, generator)
    tensor._touch()
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with this mean and standard deviation.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> t = tg.empty(100, 200)
    >>> _ = tg.nn.init.normal_(t, std=0.1)
    >>> round(t.std().item(), 3)
    0.1
    """
    check_memory(tensor, "normal_")
    fill_normal(tensor._data, mean, std, generator)
    tensor._touch()
    return tensor


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, conditioned on the value being in [a, b].

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> t = tg.empty(100, 200)
    >>> _ = tg.nn.init.trunc_normal_(t)
    >>> round(t.std().item(), 3)
    0.878
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warn_user(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be incorrect."
        )
    return _written(tensor, truncated_normal(tensor._data, mean, std, a, b, generator))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value everywhere.

    >>> import tinygrad_rnn as tg
    >>> t = tg.empty(2, 2)
    >>> tg.nn.init.constant_(t, 0.5)
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    return _written(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """1 everywhere.

    >>> import tinygrad_rnn as tg
    >>> t = tg.empty(2, 2)
    >>> tg.nn.init.ones_(t)
    tensor([[1., 1.],
            [1., 1.]])
    """
    return _written(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """0 everywhere.

    >>> import tinygrad_rnn as tg
    >>> t = tg.empty(2, 2)
    >>> tg.nn.init.zeros_(t)
    tensor([[0., 0.],
            [0., 0.]])
    """
    return _written(tensor, 0)


def eye_(tensor: Tensor) -> Tensor:
    """Ones on the diagonal of a matrix, zeros elsewhere: the weight of a linear layer that copies its input.

    Raises:
        ArgumentError: not 2-D.

    >>> import tinygrad_rnn as tg
    >>> eye_(tg.empty(2, 3)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    _need_matrix(tensor)
    return _written(tensor, np.eye(*tensor.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution weight (O, I/groups, k...) that copies channels: 1 at the middle of kernel (d, d) of each group.

    Raises:
        ArgumentError: not 3-D to 5-D, or O is not a multiple of ``groups``.

    >>> import tinygrad_rnn as tg
    >>> t = tg.empty(2, 2, 3)
    >>> tg.nn.init.dirac_(t)[0]
    tensor([[0., 1., 0.],
            [0., 0., 0.]])
    """
    if tensor.ndim not in (3, 4, 5):
        raise ArgumentError(f"Only tensors with 3, 4, or 5 dimensions are supported, got {tensor.ndim}")
    if tensor.shape[0] % groups:
        raise ArgumentError(f"dim 0 must be divisible by groups: {tensor.shape[0]} and {groups}")
    values = np.zeros(tensor.shape)
    size = tensor.shape[0] // groups
    middle = tuple(length // 2 for length in tensor.shape[2:])
    for group in range(groups):
        for channel in range(min(size, tensor.shape[1])):
            values[(group * size + channel, channel) + middle] = 1
    return _written(tensor, values)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ArgumentError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions: "
            f"its shape is {list(tensor.shape)}"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    if mode.lower() not in ("fan_in", "fan_out"):
        raise ArgumentError(f"Mode {mode.lower()} not supported, please use one of ['fan_in', 'fan_out']")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode.lower() == "fan_in" else fan_out


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform on (-a, a), a = gain sqrt(6 / (fan_in + fan_out)).

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks"
    (2010), equation 16.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> t = tg.empty(100, 200)
    >>> _ = tg.nn.init.xavier_uniform_(t)
    >>> round(t.std().item(), 3)
    0.082
    """
    std = gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor))))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal, std = gain sqrt(2 / (fan_in + fan_out)).

    Source: X. Glorot and Y. Bengio (2010), equation 12.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> t = tg.empty(100, 200)
    >>> _ = tg.nn.init.xavier_normal_(t)
    >>> round(t.std().item(), 3)
    0.082
    """
    std = gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor))))
    return normal_(tensor, 0.0, std, generator)


def _is_empty(tensor: Tensor) -> bool:
    if 0 in tensor.shape:
        warn_user("Initializing zero-element tensors is a no-op")
        return True
    return False


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform on (-bound, bound), bound = gain sqrt(3 / fan).

    Args:
        a: the slope of the leaky_relu that follows.
        mode: "fan_in" keeps the size of signals forward, "fan_out" that of gradients backward.

    Source: K. He et al., "Delving deep into rectifiers" (2015), equations 10 and 14.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> t = tg.empty(100, 200)
    >>> _ = tg.nn.init.kaiming_uniform_(t)
    >>> round(t.std().item(), 3)
    0.1
    """
    if _is_empty(tensor):
        return tensor
    fan = _calculate_correct_fan(tensor, mode)
    std = calculate_gain(nonlinearity, a) / math.sqrt(fan)
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal, std = gain / sqrt(fan); see ``kaiming_uniform_``.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> t = tg.empty(100, 200)
    >>> _ = tg.nn.init.kaiming_normal_(t)
    >>> round(t.std().item(), 3)
    0.1
    """
    if _is_empty(tensor):
        return tensor
    fan = _calculate_correct_fan(tensor, mode)
    return normal_(tensor, 0, calculate_gain(nonlinearity, a) / math.sqrt(fan), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """A random matrix with orthonormal rows or columns (whichever are fewer), times ``gain``.

    Trailing axes count as one.  Q of the QR decomposition of a normal matrix, with signs that make the diagonal
    of R positive, is uniformly distributed over such matrices.

    Raises:
        ArgumentError: fewer than 2 axes.

    Source: A. Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks"
    (2013); F. Mezzadri, "How to generate random matrices from the classical compact groups" (2006).

    >>> import tinygrad_rnn as tg
    >>> w = orthogonal_(tg.empty(2, 5))
    >>> bool((w @ w.T - tg.eye(2)).abs().max() < 1e-6)
    True
    """
    if tensor.ndim < 2:
        raise ArgumentError(f"Only tensors with 2 or more dimensions are supported, got {tensor.ndim}")
    if 0 in tensor.shape:
        return tensor
    rows = tensor.shape[0]
    values: Array = np.empty((rows, math.prod(tensor.shape[1:])), tensor.dtype)
    fill_normal(values, 0, 1, generator)
    # Q has at most as many orthonormal columns as rows, so a wide matrix is transposed first.
    turned = rows < values.shape[1]
    q, r = np.linalg.qr(values.T if turned else values)
    q = q * np.sign(np.diag(r))
    return _written(tensor, (q.T if turned else q).reshape(tensor.shape) * tensor.dtype.type(gain))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """A normal matrix with a fraction ``sparsity`` of each column, in random places, set to zero.

    Raises:
        ArgumentError: not 2-D.

    Source: J. Martens, "Deep learning via Hessian-free optimization" (2010), section 5.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> t = tg.empty(10, 4)
    >>> _ = tg.nn.init.sparse_(t, sparsity=0.3)
    >>> (t == 0).sum(0)  # of every column
    tensor([3, 3, 3, 3])
    """
    _need_matrix(tensor)
    rows, columns = tensor.shape
    normal_(tensor, 0, std, generator)
    values = to_numpy(tensor._data).copy()
    for column in range(columns):
        values[randperm(rows)[: math.ceil(sparsity * rows)], column] = 0  # by the default generator, as in PyTorch
    return _written(tensor, values)


def _need_matrix(tensor: Tensor) -> None:
    if tensor.ndim != 2:
        raise ArgumentError(f"Only tensors with 2 dimensions are supported, got {tensor.ndim}")


def _old_name(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function under its name without underscore, which PyTorch keeps for old scripts."""
    new = function.__name__
    old = new[:-1]

    def renamed(*args: Any, **kwargs: Any) -> Tensor:
        warn_user(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.", FutureWarning)
        return function(*args, **kwargs)

    renamed.__name__ = renamed.__qualname__ = old
    renamed.__doc__ = f"The former name of ``{new}``."
    return renamed


arguments.declare("nn.init", signatures.INIT)
globals().update(arguments.guarded({name: globals()[name] for name in __all__}, "nn.init"))

# Made of the guarded functions, so that old names explain wrong arguments too.
uniform = _old_name(uniform_)
normal = _old_name(normal_)
constant = _old_name(constant_)
eye = _old_name(eye_)
dirac = _old_name(dirac_)
xavier_uniform = _old_name(xavier_uniform_)
xavier_normal = _old_name(xavier_normal_)
kaiming_uniform = _old_name(kaiming_uniform_)
kaiming_normal = _old_name(kaiming_normal_)
orthogonal = _old_name(orthogonal_)
sparse = _old_name(sparse_)

__getattr__ = absent(__name__, __all__)
