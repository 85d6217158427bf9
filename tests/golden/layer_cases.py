"""Convolution, pooling, normalisation over batches and attention, written once for PyTorch and for this package.

As in function_cases.py; the options are drawn, so that any number of cases can be made: a few are stored, and more are
compared where PyTorch is installed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.golden.function_cases import Case, derivatives


def convolution(rng: np.random.RandomState) -> Case:
    """A call of conv1d."""
    groups, size, dilation = (int(rng.randint(1, n)) for n in (4, 5, 4))
    inner, outer, stride = (int(rng.randint(1, 4)) for _ in range(3))
    padding = rng.choice(["same", "valid", "0", "1", "3"])
    padding = int(padding) if padding.isdigit() else str(padding)
    options = {"padding": padding, "dilation": dilation, "groups": groups, "stride": 1 if padding == "same" else stride}
    length = dilation * (size - 1) + int(rng.randint(1, 8))
    shape = (groups * inner, length) if rng.rand() < 0.2 else (int(rng.randint(1, 4)), groups * inner, length)
    arrays = [rng.standard_normal(shape), rng.standard_normal((groups * outer, inner, size))]
    if rng.rand() < 0.7:
        arrays.append(rng.standard_normal(groups * outer))
    return (lambda F, *tensors: F.conv1d(*tensors, **options)), arrays, tuple(range(len(arrays)))


def maximum(rng: np.random.RandomState) -> Case:
    """A call of max_pool1d; numbers come several times, so that some maxima are ties."""
    size, stride, dilation = (int(rng.randint(1, n)) for n in (5, 4, 4))
    options = {"kernel_size": size, "dilation": dilation, "ceil_mode": bool(rng.rand() < 0.5)}
    options |= {"padding": int(rng.randint(0, size // 2 + 1))} | ({"stride": stride} if rng.rand() < 0.7 else {})
    length = dilation * (size - 1) + int(rng.randint(1, 8))
    shape = (2, length) if rng.rand() < 0.2 else (2, 3, length)
    numbers = rng.randint(-3, 4, shape).astype("float64") if rng.rand() < 0.5 else rng.standard_normal(shape)

    def both(F: Any, x: Any) -> Any:
        values, places = F.max_pool1d(x, return_indices=True, **options)
        return values + F.max_pool1d(x, **options) * places

    return both, [numbers], (0,)


def average(rng: np.random.RandomState) -> Case:
    """A call of avg_pool1d."""
    size, stride = int(rng.randint(1, 5)), int(rng.randint(1, 6))
    options = {"ceil_mode": bool(rng.rand() < 0.5), "count_include_pad": bool(rng.rand() < 0.5)}
    options |= {"kernel_size": size, "padding": int(rng.randint(0, size // 2 + 1))}
    options |= {"stride": stride} if rng.rand() < 0.7 else {}
    length = size - 1 + int(rng.randint(1, 8))
    shape = (2, length) if rng.rand() < 0.2 else (2, 3, length)
    return (lambda F, x: F.avg_pool1d(x, **options)), [rng.standard_normal(shape)], (0,)


def batches(rng: np.random.RandomState) -> Case:
    """A call of batch_norm, of which the value has the running values at its end."""
    channels, training = int(rng.randint(1, 4)), bool(rng.rand() < 0.7)
    shape = (int(rng.randint(2, 6)), channels, *([int(rng.randint(1, 5))] if rng.rand() < 0.5 else []))
    tracked, affine, centred = not training or rng.rand() < 0.7, rng.rand() < 0.7, rng.rand() < 0.7
    options = {"training": training, "momentum": float(rng.rand()), "eps": float(rng.choice([1e-5, 0.1]))}
    vectors = [rng.standard_normal(channels), 0.5 + rng.rand(channels), *rng.standard_normal((2, channels))]

    def normalised(F: Any, x: Any, mean: Any, variance: Any, w: Any, b: Any) -> Any:
        mean, variance = (mean.clone(), variance.clone()) if tracked else (None, None)
        y = F.batch_norm(x, mean, variance, w if affine else 0 * w + 1, b if centred else None, **options)
        if not tracked:
            return y
        return y * (1 + mean.sum() + variance.sum())  # numbers without gradients

    return normalised, [rng.standard_normal(shape), *vectors], (0, 3) + ((4,) if centred else ())


def attention(rng: np.random.RandomState) -> Case:
    """A call of scaled_dot_product_attention; some queries see no key, and with some no value."""
    queries, keys, size, heads = (int(rng.randint(1, n)) for n in (5, 5, 4, 3))
    leading = [(), (2,), (2, 2 * heads)][int(rng.randint(3))]
    shared = (*leading[:-1], 2) if len(leading) == 2 else leading
    arrays = [rng.standard_normal((*leading, queries, size))]
    arrays += [rng.standard_normal((*shared, keys, n)) for n in (size, int(rng.randint(1, 4)))]
    options: dict[str, Any] = {"enable_gqa": True} if len(leading) == 2 else {}
    options |= {"scale": float(rng.standard_normal())} if rng.rand() < 0.3 else {}
    masked, wrt = int(rng.randint(4)), (0, 1, 2)
    if masked == 1:
        options["is_causal"] = True
    elif masked == 2:
        arrays.append(rng.rand(queries, keys) < 0.5)
    elif masked == 3:
        mask = rng.standard_normal((*leading, queries, keys))
        arrays.append(np.where(rng.rand(queries, keys) < 0.4, -np.inf, mask))
    return (lambda F, *tensors: F.scaled_dot_product_attention(*tensors, **options)), arrays, wrt


def heads(rng: np.random.RandomState) -> Case:
    """A call of multi_head_attention_forward: the result and the weights side by side."""
    count, batch, queries = (int(rng.randint(1, n)) for n in (4, 4, 5))
    keys, size = int(rng.randint(1, 5)), int(rng.randint(1, 4)) * count
    same, separate = rng.rand() < 0.3, rng.rand() < 0.4
    keys, separate = (queries, False) if same else (keys, separate)
    kdim, vdim = (int(rng.randint(1, 5)), int(rng.randint(1, 5))) if separate else (size, size)
    shapes = {"query": (queries, batch, size), "key": (keys, batch, kdim), "value": (keys, batch, vdim)}
    if same:
        del shapes["key"], shapes["value"]
    elif not separate and rng.rand() < 0.5:
        del shapes["value"]
    if separate:
        shapes |= {"q_proj_weight": (size, size), "k_proj_weight": (size, kdim), "v_proj_weight": (size, vdim)}
    else:
        shapes["in_proj_weight"] = (3 * size, size)
    shapes["out_proj_weight"] = (size, size)
    if rng.rand() < 0.7:
        shapes |= {"in_proj_bias": (3 * size,), "out_proj_bias": (size,)}
    if rng.rand() < 0.3:
        shapes |= {"bias_k": (1, 1, size), "bias_v": (1, 1, size)}
    named = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    floats = len(named)
    if rng.rand() < 0.5:
        hidden = rng.rand(batch, keys) < 0.5
        hidden[:, 0] = False
        named["key_padding_mask"] = hidden if rng.rand() < 0.5 else np.where(hidden, -np.inf, 0.5)
    if rng.rand() < 0.5:
        few = rng.rand(*((queries, keys) if rng.rand() < 0.5 else (batch * count, queries, keys))) < 0.5
        few[..., 0] = False
        named["attn_mask"] = few if rng.rand() < 0.5 else np.where(few, -1.5, 0.5)
    options = {"need_weights": rng.rand() < 0.6, "average_attn_weights": rng.rand() < 0.5}
    options |= {"add_zero_attn": rng.rand() < 0.3, "use_separate_proj_weight": separate}

    def attended(F: Any, *tensors: Any) -> Any:
        given = dict(zip(named, tensors, strict=True))
        key = given.pop("key", given["query"])
        given |= {"key": key, "value": given.pop("value", key)}
        absent = ("in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj_bias")
        given |= {name: None for name in absent if name not in given}
        y, weights = F.multi_head_attention_forward(
            embed_dim_to_check=size, num_heads=count, dropout_p=0.0, **given, **options
        )
        return y if weights is None else y.sum() + weights if weights.shape[0] % 2 else y * (weights**2).sum()

    return attended, list(named.values()), tuple(range(floats))


KINDS: dict[str, Callable[[np.random.RandomState], Case]] = {
    "attention": attention,
    "avg_pool1d": average,
    "batch_norm": batches,
    "conv1d": convolution,
    "max_pool1d": maximum,
    "multi_head_attention": heads,
}
LAYERS: dict[str, Callable[[Any], Any]] = {
    "MultiheadAttention": lambda nn: nn.MultiheadAttention(4, 2),
    "MultiheadAttention of other sizes": lambda nn: nn.MultiheadAttention(4, 2, add_bias_kv=True, kdim=3),
    "BatchNorm1d": lambda nn: nn.BatchNorm1d(3),
    "BatchNorm1d without bias": lambda nn: nn.BatchNorm1d(3, bias=False),
    "Conv1d": lambda nn: nn.Conv1d(4, 6, 3, groups=2),
    "Conv1d without bias": lambda nn: nn.Conv1d(2, 3, (2,), bias=False),
}
"""Layers whose first weights are compared: in the order of registration, and what is drawn after them."""
STORED = 8
"""How many cases of each kind are stored."""


def drawn(torch: Any) -> dict[str, np.ndarray]:
    """The state of each layer, from one seed, and a number drawn after it."""
    out = {}
    for name, make in LAYERS.items():
        torch.manual_seed(5)
        for key, value in make(torch.nn).state_dict().items():
            out[f"{name}/{key}"] = value.numpy().copy()
        out[f"{name}/then"] = torch.rand(1).numpy()
    return out


def drawn_case(kind: str, number: int) -> Case:
    """The case of this number, the same at each call."""
    return KINDS[kind](np.random.RandomState(1000 + number))


def evaluated(torch: Any, kind: str, number: int) -> dict[str, np.ndarray]:
    """Value, gradients and second derivatives of the case of this number."""
    case = drawn_case(kind, number)
    ordinary: Any = contextlib.nullcontext()
    if torch.__name__ == "torch":  # whose faster kernels of attention have no second derivative
        ordinary = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with ordinary:
        return derivatives(torch, case)
