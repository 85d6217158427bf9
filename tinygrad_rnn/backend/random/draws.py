"""Random draws as raw NumPy arrays, equal to PyTorch's CPU draws for the same seed, bit for bit.

Every function takes a shape, a dtype and a ``generator`` (the default one if None).  A draw reads words from the
generator in C order of the elements, so that drawing (2, 3) and drawing 6 give the same numbers.

>>> import numpy as np
>>> _ = manual_seed(0)
>>> rand(3).round(4).tolist() == np.float32([0.4963, 0.7682, 0.0885]).tolist()
True
"""

from __future__ import annotations

from .continuous import exponential, normal, rand, randn, uniform
from .discrete import bernoulli, dropout_mask, multinomial, randint, random_, randperm
from .generator import (
    Generator,
    RandomError,
    default_generator,
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)

__all__ = [
    "Generator",
    "RandomError",
    "bernoulli",
    "default_generator",
    "dropout_mask",
    "exponential",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "multinomial",
    "normal",
    "rand",
    "randint",
    "randn",
    "random_",
    "randperm",
    "seed",
    "set_rng_state",
    "uniform",
]
