"""Utilities for modules: gradient clipping, parametrisation, packed sequences, parameters as a vector."""

from ...unknown_names import absent
from . import parametrize, rnn
from . import parametrize as parametrizations
from .clip_grad import clip_grad_norm, clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from .convert_parameters import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "rnn",
    "vector_to_parameters",
]

__getattr__ = absent(__name__, __all__)
