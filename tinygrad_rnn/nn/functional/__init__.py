"""The functions behind the layers, by PyTorch's names: activations, losses, embeddings, normalisation, dropout."""

from ...ops import arguments
from ...unknown_names import absent
from .. import signatures
from . import (
    activation,
    alignment,
    attention,
    binary,
    classification,
    convolution,
    gaussian,
    likelihoods,
    margins,
    masking,
    normalization,
    padding,
    probabilities,
    products,
    regression,
    sparse,
)
from .activation import *  # noqa: F403
from .alignment import *  # noqa: F403
from .attention import *  # noqa: F403
from .binary import *  # noqa: F403
from .classification import *  # noqa: F403
from .convolution import *  # noqa: F403
from .gaussian import *  # noqa: F403
from .likelihoods import *  # noqa: F403
from .margins import *  # noqa: F403
from .masking import *  # noqa: F403
from .normalization import *  # noqa: F403
from .padding import *  # noqa: F403
from .probabilities import *  # noqa: F403
from .products import *  # noqa: F403
from .regression import *  # noqa: F403
from .sparse import *  # noqa: F403

__all__ = activation.__all__ + attention.__all__ + alignment.__all__ + likelihoods.__all__ + margins.__all__
__all__ += binary.__all__ + classification.__all__ + gaussian.__all__ + masking.__all__
__all__ += normalization.__all__ + padding.__all__ + probabilities.__all__ + products.__all__
__all__ += regression.__all__ + sparse.__all__ + convolution.__all__

arguments.declare("nn.functional", signatures.FUNCTIONAL)
globals().update(arguments.guarded({name: globals()[name] for name in __all__}, "nn.functional"))

__getattr__ = absent(__name__, __all__)
