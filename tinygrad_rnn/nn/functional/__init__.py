"""The functions behind the layers: activations, losses, look-ups, normalisation, dropout.  PyTorch's names."""

from ...ops import arguments
from ...unknown_names import absent
from .. import signatures
from .activation import (
    celu,
    elu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    relu_,
    selu,
    sigmoid,
    silu,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
)
from .binary import binary_cross_entropy, binary_cross_entropy_with_logits, kl_div
from .classification import cross_entropy, nll_loss
from .gaussian import gelu
from .masking import dropout, dropout1d
from .normalization import layer_norm, rms_norm
from .padding import pad
from .probabilities import gumbel_softmax, log_softmax, softmax, softmin
from .products import bilinear, cosine_similarity, linear, normalize, pairwise_distance
from .regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss
from .sparse import embedding, embedding_bag, one_hot

__all__ = [
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "elu",
    "embedding",
    "embedding_bag",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
]

arguments.declare("nn.functional", signatures.FUNCTIONAL)
globals().update(arguments.guarded({name: globals()[name] for name in __all__}, "nn.functional"))

__getattr__ = absent(__name__, __all__)
