"""Functions of nn.functional, written once for PyTorch and for this package.

``evaluated`` takes the module to run (torch, or tinygrad_rnn) and gives the value of a case, the gradients of a fixed
weighted sum of it, and the derivative of those gradients along a fixed direction.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

rng = np.random.RandomState(11)


def normal(*shape: int) -> np.ndarray:
    return np.asarray(rng.standard_normal(shape), "float64").reshape(shape)


def probabilities(*shape: int) -> np.ndarray:
    x = np.exp(normal(*shape))
    return x / x.sum(1 if len(shape) > 1 else 0, keepdims=True)


def classes(count: int, *shape: int) -> np.ndarray:
    return rng.randint(0, count, shape)


X, Y = normal(4, 3), normal(4, 3)
TARGET = np.array([2, 0, 1, 2])
IGNORED = np.array([2, -100, 1, -100])
WEIGHT = np.array([0.2, 1.5, 0.7])
KINKS = np.array([-800.0, -3.0, -1.0, -0.5, 0.0, 0.3, 0.5, 1.0, 3.0, 6.0, 20.5, 800.0])

# name: (function of F and the tensors, the tensors, which of them are differentiated)
Case = tuple[Callable[..., Any], list[np.ndarray], tuple[int, ...]]
CASES: dict[str, Case] = {}


def case(name: str, function: Callable[..., Any], *tensors: np.ndarray, wrt: tuple[int, ...] | None = None) -> None:
    floats = tuple(k for k, t in enumerate(tensors) if t.dtype.kind == "f")
    CASES[name] = (function, list(tensors), floats if wrt is None else wrt)


for reduction in ("mean", "sum", "none"):
    r = {"reduction": reduction}
    for smooth in (0.0, 0.1, 1.0):
        s = {**r, "label_smoothing": smooth}
        tag = f"{reduction}/{smooth}"
        case(f"cross_entropy/{tag}", lambda F, x, t, s=s: F.cross_entropy(x, t, **s), X, TARGET)
        case(f"cross_entropy/ignored/{tag}", lambda F, x, t, s=s: F.cross_entropy(x, t, **s), X, IGNORED)
        case(
            f"cross_entropy/ignore 1/{tag}", lambda F, x, t, s=s: F.cross_entropy(x, t, ignore_index=1, **s), X, TARGET
        )
        case(f"cross_entropy/weight/{tag}", lambda F, x, t, w, s=s: F.cross_entropy(x, t, w, **s), X, IGNORED, WEIGHT,
             wrt=(0,))  # fmt: skip
        case(f"cross_entropy/one/{tag}", lambda F, x, t, s=s: F.cross_entropy(x, t, **s), X[0], np.array(1))
        case(
            f"cross_entropy/3d/{tag}",
            lambda F, x, t, s=s: F.cross_entropy(x, t, **s),
            normal(2, 3, 5),
            classes(3, 2, 5),
        )
        case(f"cross_entropy/4d/{tag}", lambda F, x, t, w, s=s: F.cross_entropy(x, t, w, **s), normal(2, 3, 2, 4),
             classes(3, 2, 2, 4), WEIGHT, wrt=(0,))  # fmt: skip
        case(f"cross_entropy/5d/{tag}", lambda F, x, t, s=s: F.cross_entropy(x, t, **s), normal(2, 3, 2, 2, 2),
             classes(3, 2, 2, 2, 2))  # fmt: skip
        case(f"cross_entropy/soft/{tag}", lambda F, x, t, s=s: F.cross_entropy(x, t, **s), X, probabilities(4, 3))
        case(f"cross_entropy/soft one/{tag}", lambda F, x, t, s=s: F.cross_entropy(x, t, **s), X[0], probabilities(3))
        case(f"cross_entropy/soft weight/{tag}", lambda F, x, t, w, s=s: F.cross_entropy(x, t, w, **s), normal(2, 3, 4),
             probabilities(2, 3, 4), WEIGHT, wrt=(0, 1))  # fmt: skip
    case(f"cross_entropy/uint8/{reduction}", lambda F, x, t, r=r: F.cross_entropy(x, t, **r), X, TARGET.astype("uint8"))
    case(
        f"cross_entropy/one of one/{reduction}",
        lambda F, x, t, r=r: F.cross_entropy(x, t, **r),
        X[0],
        TARGET[:1],
        wrt=(),
    )
    case(f"cross_entropy/far/{reduction}", lambda F, x, t, r=r: F.cross_entropy(x, t, **r), 800 * X, TARGET)
    case(f"nll_loss/{reduction}", lambda F, x, t, r=r: F.nll_loss(x, t, **r), X, IGNORED)
    case(f"nll_loss/weight/{reduction}", lambda F, x, t, w, r=r: F.nll_loss(x, t, w, **r), X, TARGET, WEIGHT, wrt=(0,))
    case(f"nll_loss/one/{reduction}", lambda F, x, t, r=r: F.nll_loss(x, t, **r), X[1], np.array(2))
    case(f"nll_loss/3d/{reduction}", lambda F, x, t, r=r: F.nll_loss(x, t, **r), normal(2, 3, 5), classes(3, 2, 5))
    case(f"mse_loss/{reduction}", lambda F, x, y, r=r: F.mse_loss(x, y, **r), X, Y)
    case(f"mse_loss/broadcast/{reduction}", lambda F, x, y, r=r: F.mse_loss(x, y, **r), X, Y[:1])
    case(f"mse_loss/weight/{reduction}", lambda F, x, y, w, r=r: F.mse_loss(x, y, weight=w, **r), X, Y, np.abs(X))
    case(f"l1_loss/{reduction}", lambda F, x, y, r=r: F.l1_loss(x, y, **r), X, Y)
    case(f"l1_loss/weight/{reduction}", lambda F, x, y, w, r=r: F.l1_loss(x, y, weight=w, **r), X, Y, np.abs(X))
    for beta in (0.0, 0.5, 1.0):
        b = {**r, "beta": beta}
        case(f"smooth_l1_loss/{beta}/{reduction}", lambda F, x, y, b=b: F.smooth_l1_loss(x, y, **b), X, Y)
    for delta in (0.5, 2.0):
        d = {**r, "delta": delta}
        case(f"huber_loss/{delta}/{reduction}", lambda F, x, y, d=d: F.huber_loss(x, y, **d), X, Y)
    case(f"huber_loss/weight/{reduction}", lambda F, x, y, w, r=r: F.huber_loss(x, y, weight=w, **r), X, Y, np.abs(X))
    p, t = probabilities(4, 3), (np.arange(12).reshape(4, 3) % 2).astype("float64")
    case(
        f"binary_cross_entropy/{reduction}",
        lambda F, x, y, r=r: F.binary_cross_entropy(x, y, **r),
        p,
        probabilities(4, 3),
    )
    case(f"binary_cross_entropy/weight/{reduction}", lambda F, x, y, w, r=r: F.binary_cross_entropy(x, y, w, **r), p, t,
         WEIGHT, wrt=(0,))  # fmt: skip
    logits = "binary_cross_entropy_with_logits"
    case(f"{logits}/{reduction}", lambda F, x, y, r=r: F.binary_cross_entropy_with_logits(x, y, **r), 3 * X,
         probabilities(4, 3))  # fmt: skip
    case(f"{logits}/weights/{reduction}",
         lambda F, x, y, w, v, r=r: F.binary_cross_entropy_with_logits(x, y, w, pos_weight=v, **r), X, t,
         WEIGHT, WEIGHT + 1, wrt=(0,))  # fmt: skip
    for log_target in (False, True):
        k = {**r, "log_target": log_target}
        case(f"kl_div/{log_target}/{reduction}", lambda F, x, y, k=k: F.kl_div(x, y, **k), X, probabilities(4, 3))
case("binary_cross_entropy/certain", lambda F, x, y: F.binary_cross_entropy(x, y, reduction="none"),
     np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0]), wrt=(0,))  # fmt: skip
case(
    "binary_cross_entropy_with_logits/far", lambda F, x: F.binary_cross_entropy_with_logits(x, 0 * x + 1), KINKS, wrt=()
)
case("kl_div/batchmean", lambda F, x, y: F.kl_div(x, y, reduction="batchmean"), X, probabilities(4, 3))
case("kl_div/zero", lambda F, x, y: F.kl_div(x, y, reduction="none"), X, t, wrt=(0,))
case("cross_entropy/nothing", lambda F, x, t: F.cross_entropy(x, t), X, np.full(4, -100), wrt=())
case("cross_entropy/ignored nan", lambda F, x, t: F.cross_entropy(x, t), np.array([[np.nan, 1.0], [2.0, 3.0]]),
     np.array([-100, 0]), wrt=())  # fmt: skip
case("cross_entropy/no sample", lambda F, x, t: F.cross_entropy(x, t, reduction="sum"), X[:0], TARGET[:0])

POINTS = np.array([-4.0, -2.5, -1.2, -0.7, -0.1, 0.2, 0.8, 1.7, 2.9, 4.0, 7.0])  # away from kinks
ACTIVATIONS = {
    **{name: {} for name in ("relu", "relu6", "hardtanh", "hardsigmoid", "hardswish", "elu", "selu", "celu", "silu")},
    **{name: {} for name in ("softplus", "logsigmoid", "softsign", "tanhshrink", "hardshrink", "softshrink", "gelu")},
    **{name: {} for name in ("tanh", "sigmoid", "mish", "leaky_relu")},
    "gelu/tanh": {"approximate": "tanh"},
    "elu/2": {"alpha": 2.0},
    "celu/2": {"alpha": 2.0},
    "softplus/3": {"beta": 3.0, "threshold": 2.0},
    "leaky_relu/0.3": {"negative_slope": 0.3},
    "threshold": {"threshold": 0.5, "value": 9.0},
    "hardtanh/2": {"min_val": -2.0, "max_val": 0.3},
}
for name, options in ACTIVATIONS.items():
    function = name.partition("/")[0]
    for where, points in (("", POINTS), ("/kinks", KINKS)):
        case(name + where, lambda F, x, f=function, o=options: getattr(F, f)(x, **o), points)
case("prelu/1", lambda F, x, w: F.prelu(x, w), normal(4, 3, 2), np.array([0.3]))
case("prelu/3", lambda F, x, w: F.prelu(x, w), normal(4, 3, 2), WEIGHT)
case("glu", lambda F, x: F.glu(x), normal(3, 4))
case("glu/0", lambda F, x: F.glu(x, 0), normal(4, 3))
for axis in (0, 1, -1):
    for name in ("softmax", "log_softmax", "softmin"):
        case(f"{name}/{axis}", lambda F, x, name=name, axis=axis: getattr(F, name)(x, dim=axis), normal(2, 3, 4))
case("softmax/far", lambda F, x: F.softmax(x, dim=0), KINKS)
case("softmax/implicit", lambda F, x: F.softmax(x), X)
case("log_softmax/implicit", lambda F, x: F.log_softmax(x), normal(2, 3, 4))
case("linear", lambda F, x, w, b: F.linear(x, w, b), normal(2, 5, 3), normal(4, 3), normal(4))
case("linear/vector", lambda F, x, w: F.linear(x, w), normal(3), normal(4, 3))
case(
    "bilinear",
    lambda F, x, y, w, b: F.bilinear(x, y, w, b),
    normal(2, 5, 3),
    normal(2, 5, 4),
    normal(2, 3, 4),
    normal(2),
)
case("layer_norm", lambda F, x, w, b: F.layer_norm(x, (3,), w, b), normal(4, 2, 3), normal(3), normal(3))
case("layer_norm/2", lambda F, x: F.layer_norm(x, (2, 3), eps=0.1), normal(4, 2, 3))
case("layer_norm/weight", lambda F, x, w: F.layer_norm(x, (2, 3), w), normal(4, 2, 3), normal(2, 3))
case("rms_norm", lambda F, x, w: F.rms_norm(x, (3,), w), normal(4, 2, 3), normal(3))
case("rms_norm/eps", lambda F, x: F.rms_norm(x, (2, 3), eps=0.1), normal(4, 2, 3))
case("normalize", lambda F, x: F.normalize(x), X)
case("normalize/1", lambda F, x: F.normalize(x, p=1.0, dim=0), X)
case("cosine_similarity", lambda F, x, y: F.cosine_similarity(x, y), X, Y)
case("pairwise_distance", lambda F, x, y: F.pairwise_distance(x, y), X, Y)
case("pairwise_distance/1", lambda F, x, y: F.pairwise_distance(x, y, 1.0, keepdim=True), X, Y)
case("embedding", lambda F, i, w: F.embedding(i, w), classes(6, 2, 5), normal(6, 3))
case("embedding/padding", lambda F, i, w: F.embedding(i, w, padding_idx=-2), classes(6, 9), normal(6, 3))
case("embedding/frequency", lambda F, i, w: F.embedding(i, w, scale_grad_by_freq=True), classes(3, 9), normal(6, 3))
case("embedding/norm", lambda F, i, w: F.embedding(i, 1 * w, max_norm=1.0), classes(6, 9), normal(6, 3), wrt=())
for mode in ("sum", "mean", "max"):
    case(f"embedding_bag/{mode}", lambda F, i, w, m=mode: F.embedding_bag(i, w, mode=m), classes(6, 4, 5), normal(6, 3))
    case(f"embedding_bag/{mode}/offsets", lambda F, i, w, o, m=mode: F.embedding_bag(i, w, o, mode=m), classes(6, 9),
         normal(6, 3), np.array([0, 4, 4, 7]))  # fmt: skip
    case(f"embedding_bag/{mode}/padding", lambda F, i, w, m=mode: F.embedding_bag(i, w, mode=m, padding_idx=2),
         classes(4, 4, 5), normal(6, 3))  # fmt: skip
case("embedding_bag/last", lambda F, i, w, o: F.embedding_bag(i, w, o, mode="sum", include_last_offset=True),
     classes(6, 9), normal(6, 3), np.array([0, 4, 9]))  # fmt: skip
case("embedding_bag/factors", lambda F, i, w, s: F.embedding_bag(i, w, mode="sum", per_sample_weights=s),
     classes(6, 4, 5), normal(6, 3), normal(4, 5))  # fmt: skip
case("one_hot", lambda F, i: F.one_hot(i), classes(4, 2, 3))
case("one_hot/6", lambda F, i: F.one_hot(i, 6), classes(4, 5))

ONES = np.sign(normal(4))
SIGNS = np.sign(normal(4, 3))
LISTED = np.array([[2, 0, -1], [-1, 1, 1], [1, -1, 0], [0, 1, 2]])
for reduction in ("mean", "sum", "none"):
    r = {"reduction": reduction}
    case(f"margin_ranking_loss/{reduction}", lambda F, a, b, y, r=r: F.margin_ranking_loss(a, b, y, 0.3, **r),
         X, Y, SIGNS, wrt=(0, 1))  # fmt: skip
    case(f"hinge_embedding_loss/{reduction}", lambda F, x, y, r=r: F.hinge_embedding_loss(x, y, 0.7, **r),
         X, SIGNS, wrt=(0,))  # fmt: skip
    case(f"soft_margin_loss/{reduction}", lambda F, x, y, r=r: F.soft_margin_loss(x, y, **r), X, SIGNS, wrt=(0,))
    for p in (1, 2):
        case(f"multi_margin_loss/{p}/{reduction}", lambda F, x, t, r=r, p=p: F.multi_margin_loss(x, t, p, 0.4, **r),
             X, TARGET)  # fmt: skip
        case(f"multi_margin_loss/{p}/weight/{reduction}", lambda F, x, t, w, r=r, p=p: F.multi_margin_loss(x, t, p,
             weight=w, **r), X, TARGET, WEIGHT, wrt=(0,))  # fmt: skip
    case(f"multi_margin_loss/one/{reduction}", lambda F, x, t, r=r: F.multi_margin_loss(x, t, **r), X[0], np.array(1))
    case(f"multilabel_margin_loss/{reduction}", lambda F, x, t, r=r: F.multilabel_margin_loss(x, t, **r), X, LISTED)
    case(f"multilabel_margin_loss/one/{reduction}", lambda F, x, t, r=r: F.multilabel_margin_loss(x, t, **r), X[0],
         LISTED[0])  # fmt: skip
    case(f"multilabel_soft_margin_loss/{reduction}", lambda F, x, t, w, r=r:
         F.multilabel_soft_margin_loss(x, t, w, **r), X, (SIGNS + 1) / 2, WEIGHT, wrt=(0,))  # fmt: skip
    case(f"cosine_embedding_loss/{reduction}", lambda F, a, b, y, r=r: F.cosine_embedding_loss(a, b, y, -0.2, **r), X,
         Y, ONES, wrt=(0, 1))  # fmt: skip
    for swap in (False, True):
        case(f"triplet_margin_loss/{swap}/{reduction}", lambda F, a, b, c, r=r, s=swap: F.triplet_margin_loss(a, b, c,
             swap=s, **r), X, Y, normal(4, 3))  # fmt: skip
        case(f"triplet_margin_with_distance_loss/{swap}/{reduction}", lambda F, a, b, c, r=r, s=swap:
             F.triplet_margin_with_distance_loss(a, b, c, swap=s, margin=0.8, **r), X, Y, normal(4, 3))  # fmt: skip
    case(f"triplet_margin_loss/1/{reduction}", lambda F, a, b, c, r=r: F.triplet_margin_loss(a, b, c, 0.5, 1.0, **r), X,
         Y, normal(4, 3))  # fmt: skip
    for full in (False, True):
        f = {**r, "full": full}
        case(f"gaussian_nll_loss/{full}/{reduction}", lambda F, x, y, v, f=f: F.gaussian_nll_loss(x, y, v, **f), X, Y,
             np.abs(normal(4, 3)))  # fmt: skip
        case(f"poisson_nll_loss/{full}/{reduction}", lambda F, x, t, f=f: F.poisson_nll_loss(x, t, **f), X,
             np.abs(Y) * 4, wrt=(0,))  # fmt: skip
        case(f"poisson_nll_loss/rate/{full}/{reduction}", lambda F, x, t, f=f: F.poisson_nll_loss(x, t, False, **f),
             np.abs(X), np.abs(Y) * 4, wrt=(0,))  # fmt: skip
    case(f"gaussian_nll_loss/rows/{reduction}", lambda F, x, y, v, r=r: F.gaussian_nll_loss(x, y, v, **r), X, Y,
         np.abs(normal(4)))  # fmt: skip
    case(f"gaussian_nll_loss/least/{reduction}", lambda F, x, y, v, r=r: F.gaussian_nll_loss(x, y, v, eps=0.5, **r), X,
         Y, np.abs(normal(4, 1)))  # fmt: skip
    for lengths in ((6, 6, 4), (6, 1, 0)):  # of the second some have no room for their labels
        for zero in (False, True):
            case(f"ctc_loss/{lengths}/{zero}/{reduction}", lambda F, x, t, r=r, n=lengths, z=zero: F.ctc_loss(
                 F.log_softmax(x, 2), t, n, (2, 3, 0), zero_infinity=z, **r), normal(6, 3, 4),
                 np.array([[1, 2, 1], [3, 3, 2], [1, 1, 1]]))  # fmt: skip
    case(f"ctc_loss/in a row/{reduction}", lambda F, x, t, r=r:
         F.ctc_loss(F.log_softmax(x, 2), t, (5, 6), (1, 3), 2, **r), normal(6, 2, 4),
         np.array([1, 3, 0, 0]))  # fmt: skip
case("gaussian_nll_loss/number", lambda F, x, y: F.gaussian_nll_loss(x, y, 0.3), X, Y)
case("margin_ranking_loss/kinks", lambda F, a, b, y: F.margin_ranking_loss(a, b, y, 1.0, reduction="none"), KINKS,
     np.zeros(12), np.ones(12), wrt=(0,))  # fmt: skip
case("hinge_embedding_loss/kinks", lambda F, x, y: F.hinge_embedding_loss(x, y, reduction="none"), KINKS, -np.ones(12),
     wrt=(0,))  # fmt: skip
case("multi_margin_loss/kinks", lambda F, x, t: F.multi_margin_loss(x, t), KINKS, np.array(7))
case("multilabel_margin_loss/kinks", lambda F, x, t: F.multilabel_margin_loss(x, t), KINKS,
     np.array([7, 4, 6] + [-1] * 9))  # fmt: skip

# PyTorch has no second derivative of these, or forgets the counts in it (embedding/frequency); at a kink or far out
# second derivatives are a matter of taste.
NO_SECOND = (
    "ctc_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "embedding_bag",
    "hardsigmoid",
    "embedding/frequency",
    "binary_cross_entropy/certain",
)
FIRST_ORDER = {name for name in CASES if name.startswith(NO_SECOND) or name.endswith("/kinks")}


def evaluated(torch: Any, name: str, dtype: str = "float64") -> dict[str, np.ndarray]:
    """The value of a case, its gradients and the derivative of these; tensors in ``dtype``."""
    return derivatives(torch, CASES[name], dtype, second=name not in FIRST_ORDER)


def derivatives(torch: Any, case: Case, dtype: str = "float64", second: bool = True) -> dict[str, np.ndarray]:
    """Value, gradients and, with ``second``, the derivative of these, of any case."""
    function, arrays, wrt = case
    tensors = [torch.tensor(a.astype(dtype) if a.dtype.kind == "f" else a) for a in arrays]
    for k in wrt:
        tensors[k].requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = function(torch.nn.functional, *tensors)

    def plain(t: Any, like: Any = None) -> np.ndarray:
        return np.zeros(like.shape, dtype) if t is None else t.detach().numpy(force=True)

    out = {"value": plain(value)}
    inputs = [tensors[k] for k in wrt]
    if not inputs:
        return out
    direction = torch.tensor(np.cos(np.arange(out["value"].size)).reshape(out["value"].shape).astype(dtype))
    direction.requires_grad_(second)
    grads = torch.autograd.grad(value, inputs, direction, retain_graph=True)
    out |= {f"gradient {k}": plain(g) for k, g in zip(wrt, grads, strict=True)}
    if second:
        grads = torch.autograd.grad(value, inputs, direction, create_graph=True)
        out |= {f"recorded {k}": plain(g) for k, g in zip(wrt, grads, strict=True)}
        ways = [np.sin(np.arange(g.numel()) + 1).reshape(g.shape).astype(dtype) for g in grads]
        along = sum((g * torch.tensor(way)).sum() for g, way in zip(grads, ways, strict=True))
        inputs.append(direction)
        seconds = torch.autograd.grad(along, inputs, allow_unused=True)
        out |= {f"second {k}": plain(g, t) for k, (g, t) in enumerate(zip(seconds, inputs, strict=True))}
    return out
