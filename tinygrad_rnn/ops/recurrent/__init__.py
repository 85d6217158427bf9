"""Recurrent layers as operations: their equations, conventions, and the fused primitives over whole sequences."""
