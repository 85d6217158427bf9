"""Datasets, samplers and the loader of minibatches, PyTorch-shaped and with the same random numbers.

>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn.utils.data import DataLoader, TensorDataset
>>> dataset = TensorDataset(tg.tensor([[0.0], [1.0], [2.0]]), tg.tensor([0, 1, 4]))
>>> for x, y in DataLoader(dataset, batch_size=2):
...     print(tuple(x.shape), y.tolist())
(2, 1) [0, 1]
(1, 1) [4]
"""

from __future__ import annotations

from ...unknown_names import absent
from .collate import default_collate, default_convert
from .dataloader import DataLoader, get_worker_info
from .dataset import ChainDataset, ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split
from .sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "random_split",
]

__getattr__ = absent(__name__, __all__)
