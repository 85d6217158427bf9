"""Embedding layers: learned look-up tables, by row and by bag of rows."""

from __future__ import annotations

from typing import Any, TypeVar

from ..errors import ArgumentError
from ..tape.tensor import Tensor
from . import functional as F
from . import init
from .functional.sparse import padding_row
from .module import Module
from .parameter import Parameter, empty

__all__ = ["Embedding", "EmbeddingBag"]

Table = TypeVar("Table", bound="_Table")


class _Table(Module):
    """Base of both layers: a table (V, E), initially normal, with the row ``padding_idx`` zero."""

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    weight: Parameter

    def _make(self, weight: Any, freeze: bool, device: Any, dtype: Any) -> None:
        shape = (self.num_embeddings, self.embedding_dim)
        self.padding_idx = padding_row(self.padding_idx, self.num_embeddings)
        if weight is None:
            self.weight = Parameter(empty(shape, device, dtype), requires_grad=not freeze)
            self.reset_parameters()
        elif tuple(weight.shape) != shape:
            raise ArgumentError(
                "Shape of weight does not match num_embeddings and embedding_dim: "
                f"{list(weight.shape)} and {list(shape)}"
            )
        else:
            self.weight = Parameter(weight, requires_grad=not freeze)

    def reset_parameters(self) -> None:
        """Draw the table again."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight._data[self.padding_idx] = 0
            self.weight._touch()

    @classmethod
    def from_pretrained(cls: type[Table], embeddings: Tensor, freeze: bool = True, **options: Any) -> Table:
        """A layer over an existing table (V, E), by default not learned.

        Raises:
            ArgumentError: not 2-D.
        """
        if embeddings.ndim != 2:
            raise ArgumentError(f"Embeddings parameter is expected to be 2-dimensional, got {embeddings.ndim}")
        layer = cls(*embeddings.shape, **{"_weight": embeddings, **options})
        # Not by ``_freeze``, which EmbeddingBag's constructor does not take.
        layer.weight.requires_grad_(not freeze)
        return layer


class Embedding(_Table):
    """Rows of a learned table by number.

    Args:
        num_embeddings: V, how many rows.
        embedding_dim: E, their length.
        padding_idx: a row that starts at zero and gets no gradient.
        max_norm: shrink the rows that are looked up to at most this norm, in place.
        norm_type: of which norm.
        scale_grad_by_freq: divide each row's gradient by how often it was looked up.
        sparse: accepted; gradients are dense.

    Shapes:
        input ``(...)`` int64 or int32, output ``(..., E)``; ``weight`` (V, E), initially normal.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Embedding(10, 4, padding_idx=0)(tg.tensor([[0, 3]])).shape
    torch.Size([1, 2, 4])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        self._make(_weight, _freeze, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        parts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        parts += [] if self.padding_idx is None else [f"padding_idx={self.padding_idx}"]
        parts += [] if self.max_norm is None else [f"max_norm={self.max_norm}"]
        parts += [] if self.norm_type == 2 else [f"norm_type={self.norm_type}"]
        parts += ["scale_grad_by_freq=True"] if self.scale_grad_by_freq else []
        parts += ["sparse=True"] if self.sparse else []
        return ", ".join(parts)


class EmbeddingBag(_Table):
    """The sum, mean or maximum of rows of a learned table, bag by bag; see ``functional.embedding_bag``.

    Shapes:
        input ``(B, L)``, or ``(M,)`` with offsets ``(B,)``; output ``(B, E)``; ``weight`` (V, E).

    >>> import tinygrad_rnn as tg
    >>> bag = tg.nn.EmbeddingBag(10, 3, mode="sum")
    >>> words = tg.tensor([[1, 2, 2], [4, 0, 9]])  # two bags of three words
    >>> tg.allclose(bag(words)[0], bag.weight[1] + 2 * bag.weight[2])
    True
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.padding_idx = padding_idx
        self.mode = mode
        self.sparse = sparse
        self.include_last_offset = include_last_offset
        self._make(_weight, False, device, dtype)

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        parts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        parts += [] if self.max_norm is None else [f"max_norm={self.max_norm!r}"]
        parts += [] if self.norm_type == 2 else [f"norm_type={self.norm_type!r}"]
        parts += ["scale_grad_by_freq=True"] if self.scale_grad_by_freq else []
        parts += [f"mode={self.mode!r}"]
        parts += [] if self.padding_idx is None else [f"padding_idx={self.padding_idx!r}"]
        return ", ".join(parts)
