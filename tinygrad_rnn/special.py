"""``tg.special``: the special functions under the names that PyTorch and SciPy have for them.

    error functions     erf erfc erfcx erfinv ndtr ndtri log_ndtr
    gamma functions     gammaln (lgamma), digamma = psi, polygamma, multigammaln (mvlgamma), gammainc, gammaincc, zeta
    Bessel functions    i0 i0e i1 i1e
    logarithms          entr expm1 exp2 log1p logit expit (sigmoid) xlogy xlog1py logsumexp log_softmax softmax
    others              sinc round

All have gradients of every order, but for two: none flows to the first argument of gammainc, gammaincc and zeta, as in
PyTorch.  Not here: airy_ai, the Bessel functions of other kinds, and the orthogonal polynomials.

>>> import tinygrad_rnn as tg
>>> tg.special.ndtr(tg.tensor([-1.0, 0.0, 1.0]))                # probabilities of a standard normal variable
tensor([0.1587, 0.5000, 0.8413])
>>> x = tg.tensor(2.0, requires_grad=True)
>>> tg.special.gammainc(tg.tensor(1.0), x).backward()           # P(1, x) = 1 - exp(-x)
>>> x.grad
tensor(0.1353)
"""

from __future__ import annotations

from typing import Any

from .ops import arguments, exp2, expm1, log1p, log_softmax, logsumexp, rounding, sigmoid, softmax
from .ops import special_functions as functions
from .unknown_names import absent

__all__ = ["digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc"]
__all__ += ["gammaln", "i0", "i0e", "i1", "i1e", "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp"]
__all__ += ["multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "sinc", "softmax", "xlog1py", "xlogy", "zeta"]

_own = {name: getattr(functions, name) for name in functions.__all__}
_own |= {"log_softmax": log_softmax, "logsumexp": logsumexp, "softmax": softmax, "round": rounding.rounded}
_own |= arguments.guarded(_own)

digamma = psi = functions.digamma
entr, logit, sinc = _own["entr"], _own["logit"], _own["sinc"]
erf, erfc, erfcx, erfinv = functions.erf, functions.erfc, functions.erfcx, functions.erfinv
expit = sigmoid
gammainc, gammaincc, gammaln, multigammaln = _own["igamma"], _own["igammac"], functions.lgamma, _own["mvlgamma"]
i0, i0e, i1, i1e = functions.i0, functions.i0e, functions.i1, functions.i1e
log_ndtr, ndtr, ndtri, polygamma = _own["log_ndtr"], _own["ndtr"], functions.ndtri, _own["polygamma"]
log_softmax, logsumexp, softmax, round = _own["log_softmax"], _own["logsumexp"], _own["softmax"], _own["round"]
xlog1py, xlogy, zeta = _own["xlog1py"], _own["xlogy"], _own["zeta"]

__getattr__: Any = absent(__name__, __all__)
