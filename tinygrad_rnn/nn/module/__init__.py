"""``Module``, the base class of layers and models, with the hooks around its calls and its backward sweep."""

from .module import Module

__all__ = ["Module"]
