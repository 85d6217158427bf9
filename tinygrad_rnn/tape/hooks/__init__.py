"""Hooks of tensors and nodes, attached to the engine from outside."""
