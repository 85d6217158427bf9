"""Attention over sequences, of several heads."""

from __future__ import annotations

from typing import Any

from ..tape.tensor import Tensor
from . import functional as F
from . import init
from .functional.attention import check_embedding
from .linear import NonDynamicallyQuantizableLinear
from .module import Module
from .parameter import Parameter, empty

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """[head_1, ..., head_h] Wo^T + bo with head_i = softmax(Q_i K_i^T / sqrt(E / h)) V_i, and Q_i = q Wq_i^T + bq_i.

    For a decoder over the states of an encoder ``query`` are the decoder's states, ``key`` and ``value`` the encoder's,
    and ``key_padding_mask`` is True where a sequence has ended.

    Args:
        embed_dim: E, the number of features of queries and of the output.
        num_heads: h, into how many heads of E / h features they are divided.
        dropout: with which probability, in training, each weight is 0.
        bias: whether there are biases.
        add_bias_kv: whether there is one more, learned key and value.
        add_zero_attn: whether there is one more key and value of zeros.
        kdim: the number of features of keys; None: E.
        vdim: that of values; None: E.
        batch_first: whether the batch comes first, (N, L, E), instead of (L, N, E).

    Shapes:
        query ``(L, N, E)`` or ``(L, E)``, key ``(S, N, kdim)``, value ``(S, N, vdim)``; result as the query, weights
        ``(N, L, S)``.  ``in_proj_weight`` (3 E, E), or ``q_proj_weight`` (E, E), ``k_proj_weight`` (E, kdim) and
        ``v_proj_weight`` (E, vdim); ``in_proj_bias`` (3 E,); ``out_proj.weight`` (E, E), ``out_proj.bias`` (E,);
        ``bias_k``, ``bias_v`` (1, 1, E).

    Raises:
        ArgumentError: a size that is not positive.
        AttentionError: ``num_heads`` does not divide ``embed_dim``.

    Source: A. Vaswani et al., "Attention is all you need" (2017), section 3.2.2.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.nn.MultiheadAttention(4, 2)
    >>> decoder, encoder = tg.zeros(3, 1, 4), tg.zeros(5, 1, 4)
    >>> padded = tg.tensor([[False, False, False, True, True]])
    >>> context, weights = layer(decoder, encoder, encoder, key_padding_mask=padded)
    >>> context.shape, weights[0, 0].detach()
    (torch.Size([3, 1, 4]), tensor([0.3333, 0.3333, 0.3333, 0.0000, 0.0000]))
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_embedding(embed_dim, num_heads)
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        shapes: dict[str, tuple[int, ...] | None] = dict.fromkeys(
            ("q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_weight")
        )
        if self._qkv_same_embed_dim:
            shapes["in_proj_weight"] = (3 * embed_dim, embed_dim)
        else:
            shapes["q_proj_weight"] = (embed_dim, embed_dim)
            shapes["k_proj_weight"], shapes["v_proj_weight"] = (embed_dim, self.kdim), (embed_dim, self.vdim)
        shapes["in_proj_bias"] = (3 * embed_dim,) if bias else None
        shapes["bias_k"] = shapes["bias_v"] = (1, 1, embed_dim) if add_bias_kv else None
        for name, shape in shapes.items():
            self.register_parameter(name, None if shape is None else Parameter(empty(shape, device, dtype)))
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, device, dtype)
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw the weights again, biases of projections being 0."""
        for w in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if w is not None:
                init.xavier_uniform_(w)
        for b in (self.in_proj_bias, self.out_proj.bias):
            if b is not None:
                init.zeros_(b)
        for b in (self.bias_k, self.bias_v):
            if b is not None:
                init.xavier_normal_(b)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The result, and the weights.

        Args:
            query: what asks.
            key: what is compared with it.
            value: what is averaged.
            key_padding_mask: (N, S), True where a key is not to be seen, or what is added to its scores.
            need_weights: whether to return the weights; without them a query that sees no key gets 0, with them nan.
            attn_mask: (L, S) or (N h, L, S), True where a query is not to see a key, or what is added to the score.
            average_attn_weights: whether the weights are averaged over heads; else they are (N, h, L, S).
            is_causal: a hint that ``attn_mask`` is the causal one.

        Raises:
            AttentionError: numbers of axes or sizes that do not fit together.
            ShapeRuntimeError: a mask of another shape.
        """
        turned = self.batch_first and query.ndim == 3
        if turned:
            # One tensor stays one: it is then projected by one product.
            same = {id(x): x.transpose(0, 1) for x in (query, key, value)}
            query, key, value = (same[id(x)] for x in (query, key, value))
        result, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (result.transpose(0, 1) if turned else result), weights
