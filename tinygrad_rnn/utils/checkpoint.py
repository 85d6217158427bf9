"""Checkpointing, where PyTorch has it: see :mod:`tinygrad_rnn.autograd.checkpoint`."""

from __future__ import annotations

from ..autograd.checkpoint import checkpoint, checkpoint_sequential

__all__ = ["checkpoint", "checkpoint_sequential"]
