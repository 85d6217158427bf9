"""Initialisation, written once for PyTorch and for this package.

``initialised`` takes the module to run (torch, or tinygrad_rnn) and gives the numbers that one seed leads to;
``layers`` the parameters of default-initialised layers, in order of registration, from one seed.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

SEED = 7
SHAPES = ((3, 5), (20, 7), (7, 20), (1, 1))
DTYPES = ("float32", "float64")
# name: (function, arguments); "~" marks a result that depends on a QR decomposition
FILLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "uniform": ("uniform_", ()),
    "uniform wide": ("uniform_", (-3.0, 5.0)),
    "normal": ("normal_", (1.0, 2.0)),
    "truncated": ("trunc_normal_", ()),
    "truncated narrow": ("trunc_normal_", (0.0, 1.0, -1.0, 1.5)),
    "truncated far": ("trunc_normal_", (0.0, 1.0, 2.0, 3.0)),
    "constant": ("constant_", (0.3,)),
    "ones": ("ones_", ()),
    "zeros": ("zeros_", ()),
    "eye": ("eye_", ()),
    "xavier uniform": ("xavier_uniform_", (1.5,)),
    "xavier normal": ("xavier_normal_", ()),
    "kaiming uniform": ("kaiming_uniform_", (0.2,)),
    "kaiming uniform out": ("kaiming_uniform_", (0, "fan_out", "relu")),
    "kaiming normal": ("kaiming_normal_", (0, "fan_in", "tanh")),
    "orthogonal ~": ("orthogonal_", (2.0,)),
    "sparse": ("sparse_", (0.3,)),
}
LAYERS: dict[str, Any] = {
    "Linear": lambda nn: nn.Linear(7, 5),
    "Linear no bias": lambda nn: nn.Linear(7, 5, bias=False),
    "Bilinear": lambda nn: nn.Bilinear(3, 4, 2),
    "Embedding": lambda nn: nn.Embedding(6, 5, padding_idx=2),
    "EmbeddingBag": lambda nn: nn.EmbeddingBag(6, 2),
    "LayerNorm": lambda nn: nn.LayerNorm((2, 3)),
    "PReLU": lambda nn: nn.PReLU(3),
    "chain": lambda nn: nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5)),
}
GAINS = (("linear",), ("conv2d",), ("sigmoid",), ("tanh",), ("relu",), ("leaky_relu",), ("leaky_relu", 0.2), ("selu",))


def initialised(torch: Any) -> dict[str, np.ndarray]:
    """Each fill at each shape and dtype, from one seed."""
    out = {}
    for dtype in DTYPES:
        for name, (function, args) in FILLS.items():
            for shape in SHAPES:
                torch.manual_seed(SEED)
                t = torch.zeros(*shape, dtype=getattr(torch, dtype))
                getattr(torch.nn.init, function)(t, *args)
                out[f"{name}/{dtype}/{shape}"] = t.numpy().copy()
    t = torch.ones(6, 2, 3, 3)
    torch.nn.init.dirac_(t, 2)
    out["dirac"] = t.numpy().copy()
    out["gains"] = np.array([torch.nn.init.calculate_gain(*args) for args in GAINS])
    return out


def layers(torch: Any) -> dict[str, np.ndarray]:
    """The parameters of each layer, from one seed, and a number drawn after them."""
    out = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, make in LAYERS.items():
            torch.manual_seed(SEED)
            for key, parameter in make(torch.nn).named_parameters():
                out[f"{name}/{key}"] = parameter.detach().numpy().copy()
            out[f"{name}/then"] = torch.nn.init.uniform_(torch.zeros(1)).numpy()
    return out
