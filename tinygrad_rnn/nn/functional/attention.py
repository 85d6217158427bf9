"""Attention: values averaged with weights that say how well their keys fit a query.

``L`` queries, ``S`` keys, ``N`` batch, ``E`` features, ``h`` heads.
"""

from __future__ import annotations

import math
from typing import Any

from ...backend import scalar_name
from ...errors import ArgumentError, ArgumentRuntimeError, DtypeError, ShapeRuntimeError, TinygradRnnError
from ...ops import cat, linear, ones, softmax, where, zeros, zeros_like
from ...ops.dtypes import single
from ...source_line import warn_user
from ...tape.tensor import Tensor
from .masking import dropout
from .padding import pad

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


class AttentionError(TinygradRnnError, AssertionError):
    """Arguments of an attention that do not fit together, where PyTorch raises AssertionError."""


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise AttentionError(message)


# one head ----------------------------------------------------------------------------------------------------------


def _check_one(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool) -> None:
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ShapeRuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{query.ndim} key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if not query.dtype == key.dtype == value.dtype:
        names = [scalar_name(t.dtype).lower() for t in (query, key, value)]
        raise DtypeError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {names[0]} key.dtype: "
            f"{names[1]} and value.dtype: {names[2]} instead."
        )
    if query.dtype.kind != "f":
        raise DtypeError(f"expected scalar type Float but found {scalar_name(query.dtype)}")
    if mask is None:
        return
    if is_causal:
        raise ArgumentRuntimeError(
            "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
        )
    if mask.dtype.char not in ("?", "f", query.dtype.char):
        raise DtypeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
            f"{scalar_name(mask.dtype).lower()} and  query.dtype: {scalar_name(query.dtype).lower()} instead."
        )


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale Q K^T + mask) V, with the softmax over the keys.

    Args:
        query: Q, (..., L, E).
        key: K, (..., S, E).
        value: V, (..., S, Ev).
        attn_mask: (..., L, S), what is added, or, of bool, True where a query may see a key; a query that may see none
            gets 0.
        dropout_p: with which probability each weight is 0, also in evaluation: pass 0 there.
        is_causal: whether query l sees the keys 0 to l alone.
        scale: what products are multiplied by; None: 1 / sqrt(E).
        enable_gqa: whether groups of heads, the third last axis of the query, share one head of key and value.

    Returns:
        (..., L, Ev).

    Raises:
        ShapeRuntimeError: fewer than two axes, or sizes that do not fit.
        DtypeError: the dtypes differ, or are not floating.
        ArgumentRuntimeError: both ``attn_mask`` and ``is_causal``, or a probability above 1.

    Source: A. Vaswani et al., "Attention is all you need" (2017), equation 1.

    >>> import tinygrad_rnn as tg
    >>> keys, values = tg.tensor([[9.0, 0.0], [0.0, 9.0]]), tg.tensor([[1.0], [2.0]])
    >>> scaled_dot_product_attention(tg.tensor([[9.0, 0.0], [0.0, 9.0]]), keys, values)
    tensor([[1.],
            [2.]])
    """
    _check_one(query, key, value, attn_mask, is_causal)
    if dropout_p > 1:
        raise ArgumentRuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p}")
    q, k, v, mask = single(query), single(key), single(value), single(attn_mask)
    if enable_gqa and q.ndim > 2:
        heads, shared = q.shape[-3], k.shape[-3]
        if heads % shared or heads % v.shape[-3]:
            raise ShapeRuntimeError(
                f"Number of heads in key and value must divide the number of heads in query: {shared} and {heads}"
            )
        k, v = k.repeat_interleave(heads // shared, -3), v.repeat_interleave(heads // v.shape[-3], -3)
    if scale is None:
        scale = 1 / math.sqrt(max(q.shape[-1], 1))
    scores = (q * scale) @ k.transpose(-2, -1)
    if is_causal:
        mask = ones(*scores.shape[-2:], dtype=bool, device=q.device).tril()
    if mask is None:
        weights = softmax(scores, -1)
    else:
        low = -math.inf
        scores = where(mask, scores, low) if mask.dtype.kind == "b" else scores + mask
        # Of a query that sees no key all scores are -inf, and their softmax would be nan.
        blind = (scores.detach() == low).all(-1, keepdim=True)
        weights = softmax(scores.masked_fill(blind, 0.0), -1).masked_fill(blind, 0.0)
    if dropout_p > 0:
        weights = dropout(weights, dropout_p)
    result: Tensor = (weights @ v.to(weights.dtype)).to(query.dtype)
    return result


# several heads -----------------------------------------------------------------------------------------------------


def check_heads(
    query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None, attn_mask: Tensor | None, heads: int
) -> bool:
    """Whether there is a batch.

    Raises:
        AttentionError: numbers of axes that do not fit together.
    """
    if query.ndim not in (2, 3):
        raise AttentionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query tensor"
        )
    batched = query.ndim == 3
    start = f"For {'batched (3-D)' if batched else 'unbatched (2-D)'} `query`, expected"
    _need(
        key.ndim == value.ndim == query.ndim,
        f"{start} `key` and `value` to be {query.ndim}-D but found {key.ndim}-D and {value.ndim}-D tensors "
        "respectively",
    )
    if key_padding_mask is not None:
        _need(
            key_padding_mask.ndim == query.ndim - 1,
            f"{start} `key_padding_mask` to be `None` or {query.ndim - 1}-D but found {key_padding_mask.ndim}-D tensor "
            "instead",
        )
    if attn_mask is not None:
        _need(
            attn_mask.ndim in (2, 3),
            f"{start} `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.ndim}-D tensor instead",
        )
        wanted = (heads, query.shape[0], key.shape[0])
        _need(
            batched or attn_mask.ndim == 2 or tuple(attn_mask.shape) == wanted,
            f"Expected `attn_mask` shape to be {wanted} but got {attn_mask.shape}",
        )
    return batched


def added_mask(mask: Tensor | None, name: str, dtype: Any) -> Tensor | None:
    """A mask as what is added to scores: -inf where one of bool is True."""
    if mask is None or mask.dtype.kind == "f":
        return mask
    _need(mask.dtype.kind == "b", f"only bool and floating types of {name} are supported")
    made: Tensor = zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf)
    return made


def _projected(
    query: Tensor, key: Tensor, value: Tensor, weights: tuple[Any, Any, Any] | Tensor, bias: Tensor | None
) -> list[Tensor]:
    """Query, key and value times their weights; by one product where they are one tensor."""
    size = query.shape[-1]
    if isinstance(weights, Tensor):
        if query is key and key is value:
            return list(linear(query, weights, bias).chunk(3, -1))
        parts: Any = weights.chunk(3)
        if key is value:
            first, rest = (None, None) if bias is None else (bias[:size], bias[size:])
            both = linear(key, weights[size:], rest)
            return [linear(query, parts[0], first), *both.chunk(2, -1)]
    else:
        parts = weights
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return [linear(x, w, b) for x, w, b in zip((query, key, value), parts, biases, strict=True)]


def _check_sizes(query: Tensor, key: Tensor, value: Tensor, expected: int, heads: int, separate: bool) -> None:
    size = query.shape[2]
    _need(size == expected, f"was expecting embedding dimension of {expected}, but got {size}")
    _need(size % heads == 0, f"embed_dim {size} not divisible by num_heads {heads}")
    if separate:
        _need(
            key.shape[:2] == value.shape[:2],
            f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}",
        )
    else:
        _need(key.shape == value.shape, f"key shape {key.shape} does not match value shape {value.shape}")
    if key.shape[1] != query.shape[1]:
        raise ShapeRuntimeError(
            f"the query has a batch of {query.shape[1]} and the key of {key.shape[1]}: shapes are (L, N, E), or with "
            "batch_first=True (N, L, E)"
        )


def _check_mask(mask: Tensor, batch: int, heads: int, queries: int, keys: int) -> None:
    wanted = (queries, keys) if mask.ndim == 2 else (batch * heads, queries, keys)
    if tuple(mask.shape) != wanted:
        raise ShapeRuntimeError(f"The shape of the {mask.ndim}D attn_mask is {mask.shape}, but should be {wanted}.")


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What ``nn.MultiheadAttention`` computes, with its weights as arguments; see there.

    Args:
        query: (L, N, E) or (L, E); key and value with S in the place of L.
        embed_dim_to_check: E.
        num_heads: h.
        in_proj_weight: (3 E, E), of query, key and value; or, with ``use_separate_proj_weight``, ``q_proj_weight``
            (E, E), ``k_proj_weight`` (E, Ek) and ``v_proj_weight`` (E, Ev).
        in_proj_bias: (3 E,).
        bias_k: (1, 1, E), one more key for every query, with the value ``bias_v``.
        add_zero_attn: whether there is one more key, and value, of zeros.
        static_k: (N h, S, E / h), taken instead of the projected keys; ``static_v`` instead of values.

    Returns:
        The result (L, N, E), and the weights (N, L, S), (N, h, L, S) or None.
    """
    batched = check_heads(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = (x.unsqueeze(1) for x in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    queries, batch, size = query.shape
    if key_padding_mask is not None and attn_mask is not None and key_padding_mask.dtype != attn_mask.dtype:
        warn_user(
            "Support for mismatched key_padding_mask and attn_mask is deprecated. Use same type for both instead."
        )
    padding = added_mask(key_padding_mask, "key_padding_mask", query.dtype)
    if is_causal and attn_mask is None:
        raise ArgumentRuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    mask = added_mask(attn_mask, "attn_mask", query.dtype)
    hinted = is_causal and padding is None and not need_weights  # the hint alone is followed then
    _check_sizes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    if use_separate_proj_weight:
        for name, w in (("q", q_proj_weight), ("k", k_proj_weight), ("v", v_proj_weight)):
            _need(w is not None, f"use_separate_proj_weight is True but {name}_proj_weight is None")
        q, k, v = _projected(query, key, value, (q_proj_weight, k_proj_weight, v_proj_weight), in_proj_bias)
    else:
        if in_proj_weight is None:
            raise AttentionError("use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias)
    if mask is not None:
        _check_mask(mask, batch, num_heads, queries, key.shape[0])
        mask = mask.unsqueeze(0) if mask.ndim == 2 else mask
    if bias_k is not None and bias_v is not None:
        _need(static_k is None, "bias cannot be added to static key.")
        _need(static_v is None, "bias cannot be added to static value.")
        k, v = cat([k, bias_k.repeat(1, batch, 1)]), cat([v, bias_v.repeat(1, batch, 1)])
        mask, padding = (None if m is None else pad(m, (0, 1)) for m in (mask, padding))
    else:
        _need(bias_k is None, "bias_k is set but bias_v is None")
        _need(bias_v is None, "bias_v is set but bias_k is None")
    q, k, v = (x.reshape(x.shape[0], batch * num_heads, size // num_heads).transpose(0, 1) for x in (q, k, v))
    k, v = _replaced(k, static_k, "static_k"), _replaced(v, static_v, "static_v")
    if add_zero_attn:
        nothing = zeros(batch * num_heads, 1, size // num_heads, dtype=k.dtype, device=k.device)
        k, v = cat([k, nothing], 1), cat([v, nothing], 1)
        mask, padding = (None if m is None else pad(m, (0, 1)) for m in (mask, padding))
    keys = k.shape[1]
    if padding is not None:
        for axis, wanted in ((0, batch), (1, keys)):
            _need(
                padding.shape[axis] == wanted,
                f"Expected key_padded_mask.shape[{axis}] to be {wanted}, but got {padding.shape[axis]}",
            )
        over_heads = padding.reshape(batch, 1, 1, keys).expand(-1, num_heads, -1, -1)
        over_heads = over_heads.reshape(batch * num_heads, 1, keys)
        mask = over_heads if mask is None else mask + over_heads
    chance = dropout_p if training else 0.0
    weights = None
    if need_weights:
        scores = (q * math.sqrt(1 / q.shape[-1])) @ k.transpose(-2, -1)
        weights = softmax(scores if mask is None else scores + mask, -1)
        if chance > 0:
            weights = dropout(weights, chance)
        mixed = weights @ v
    else:
        mixed = scaled_dot_product_attention(q, k, v, None if hinted else mask, chance, hinted)
    y = mixed.transpose(0, 1).reshape(queries, batch, size)
    result = linear(y, out_proj_weight, out_proj_bias)
    if weights is not None:
        weights = weights.reshape(batch, num_heads, queries, keys)
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights if batched else weights.squeeze(0)
    return (result if batched else result.squeeze(1)), weights


def _replaced(x: Tensor, static: Tensor | None, name: str) -> Tensor:
    if static is None:
        return x
    _need(static.shape[0] == x.shape[0], f"expecting {name}.size(0) of {x.shape[0]}, but got {static.shape[0]}")
    _need(static.shape[2] == x.shape[2], f"expecting {name}.size(2) of {x.shape[2]}, but got {static.shape[2]}")
    return static


def check_embedding(embed_dim: int, num_heads: int) -> None:
    """Refuse sizes that cannot be divided among heads."""
    if embed_dim <= 0 or num_heads <= 0:
        raise ArgumentError(
            f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} "
            "instead"
        )
    _need(embed_dim % num_heads == 0, "embed_dim must be divisible by num_heads")
