"""Every distribution beside PyTorch's: values, first and second derivatives, draws, shapes, refusals."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.profiles import examples
from tests.support.rows import together

torch: Any = pytest.importorskip("torch")

Make = Callable[[np.random.Generator], list[np.ndarray]]


def parameters(*kinds: str, vectors: bool = False) -> Make:
    """Arrays that broadcast, of up to two axes; of vectors one axis more, which is not empty."""

    def make(rng: np.random.Generator) -> list[np.ndarray]:
        batch = tuple(rng.integers(1, 4, rng.integers(0, 3)))
        found = []
        for kind in kinds:
            shape = tuple(1 if rng.uniform() < 0.3 else n for n in batch)[rng.integers(0, len(batch) + 1) :]
            found.append(KINDS[kind](rng, (*(batch if vectors else shape), *((4,) if vectors else ()))))
        return found

    return make


KINDS: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "real": lambda rng, shape: rng.normal(size=shape),
    "positive": lambda rng, shape: rng.uniform(0.2, 5, shape),
    "large": lambda rng, shape: rng.uniform(0.2, 40, shape),
    "unit": lambda rng, shape: rng.uniform(0.05, 0.95, shape),
    "below": lambda rng, shape: rng.uniform(-3, -1, shape),
    "above": lambda rng, shape: rng.uniform(1, 3, shape),
}


def covariance(rng: np.random.Generator) -> list[np.ndarray]:
    batch = tuple(rng.integers(1, 3, rng.integers(0, 2)))
    root = rng.normal(size=(*batch, 3, 3))
    return [rng.normal(size=3), root @ root.swapaxes(-1, -2) + 0.5 * np.eye(3)]


def factor(rng: np.random.Generator) -> list[np.ndarray]:
    loc, matrix = covariance(rng)
    return [loc, np.linalg.cholesky(matrix)]


D = Any
TABLE: dict[str, tuple[Callable[..., Any], Make]] = {
    "Normal": (lambda d, a, b: d.Normal(a, b), parameters("real", "positive")),
    "Normal of a number": (lambda d, a: d.Normal(0.5, a), parameters("positive")),
    "LogNormal": (lambda d, a, b: d.LogNormal(a, b), parameters("real", "positive")),
    "Uniform": (lambda d, a, b: d.Uniform(a, b), parameters("below", "above")),
    "Exponential": (lambda d, a: d.Exponential(a), parameters("positive")),
    "Laplace": (lambda d, a, b: d.Laplace(a, b), parameters("real", "positive")),
    "Cauchy": (lambda d, a, b: d.Cauchy(a, b), parameters("real", "positive")),
    "Gamma": (lambda d, a, b: d.Gamma(a, b), parameters("positive", "positive")),
    "Chi2": (lambda d, a: d.Chi2(a), parameters("positive")),
    "Beta": (lambda d, a, b: d.Beta(a, b), parameters("positive", "positive")),
    "Dirichlet": (lambda d, a: d.Dirichlet(a), parameters("positive", vectors=True)),
    "Bernoulli": (lambda d, a: d.Bernoulli(a), parameters("unit")),
    "Bernoulli of logits": (lambda d, a: d.Bernoulli(logits=a), parameters("real")),
    "Geometric": (lambda d, a: d.Geometric(a), parameters("unit")),
    "Categorical": (lambda d, a: d.Categorical(a), parameters("positive", vectors=True)),
    "Categorical of logits": (lambda d, a: d.Categorical(logits=a), parameters("real", vectors=True)),
    "OneHotCategorical": (lambda d, a: d.OneHotCategorical(logits=a), parameters("real", vectors=True)),
    "Binomial": (lambda d, a: d.Binomial(7, a), parameters("unit")),
    "Binomial of logits": (lambda d, a: d.Binomial(30, logits=a), parameters("real")),
    "Multinomial": (lambda d, a: d.Multinomial(5, a), parameters("positive", vectors=True)),
    "Poisson": (lambda d, a: d.Poisson(a), parameters("large")),
    "MultivariateNormal": (lambda d, a, b: d.MultivariateNormal(a, b), covariance),
    "MultivariateNormal of a precision": (lambda d, a, b: d.MultivariateNormal(a, precision_matrix=b), covariance),
    "MultivariateNormal of a factor": (lambda d, a, b: d.MultivariateNormal(a, scale_tril=b), factor),
    "Independent": (
        lambda d, a, b: d.Independent(d.Normal(a, b), 1), parameters("real", "positive", vectors=True)
    ),
    "MixtureSameFamily": (
        lambda d, a, b, c: d.MixtureSameFamily(d.Categorical(logits=a), d.Normal(b, c)),
        parameters("real", "real", "positive", vectors=True),
    ),
    "a mixture of vectors": (
        lambda d, a, b, c: d.MixtureSameFamily(
            d.Categorical(logits=a[..., 0]), d.Independent(d.Normal(b, c), 1)
        ),
        lambda rng: [rng.normal(size=(2, 3, 1)), rng.normal(size=(2, 3, 2)), rng.uniform(0.3, 2, (2, 3, 2))],
    ),
    "tanh": (
        lambda d, a, b: d.TransformedDistribution(d.Normal(a, b), [d.AffineTransform(0.1, 0.5), d.TanhTransform()]),
        parameters("real", "unit"),
    ),
    "a falling line": (
        lambda d, a, b: d.TransformedDistribution(d.Normal(a, b), d.AffineTransform(1.0, -2.0)),
        parameters("real", "positive"),
    ),
    "sigmoid": (
        lambda d, a, b: d.TransformedDistribution(d.Laplace(a, b), d.SigmoidTransform()), parameters("real", "unit")
    ),
    "stick breaking": (
        lambda d, a, b: d.TransformedDistribution(d.Normal(a, b), d.StickBreakingTransform()),
        parameters("real", "unit", vectors=True),
    ),
    "power and softplus": (
        lambda d, a: d.TransformedDistribution(d.Exponential(a), [d.PowerTransform(0.5), d.SoftplusTransform()]),
        parameters("positive"),
    ),
    "reshaped": (
        lambda d, a, b: d.TransformedDistribution(d.Normal(a, b), [d.ReshapeTransform((4,), (2, 2)), d.ExpTransform()]),
        parameters("real", "unit", vectors=True),
    ),
}  # fmt: skip
NOT_PYTORCHS = {"Cauchy"}
"""Whose draws are other numbers."""
APPROXIMATE = {"Gamma": 1e-3, "Chi2": 1e-3, "Beta": 1e-2, "Dirichlet": 1e-2}
"""Whose derivatives by draws PyTorch approximates; ours are held to mpmath's in another test."""
PROPERTIES = "mean mode variance stddev".split()


def result(f: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return f()
        except Exception as error:
            return error


def same(ours: Any, theirs: Any, rtol: float = 1e-10, what: str = "") -> None:
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), f"{what}: {ours!r}, PyTorch's {theirs!r}"
        return
    assert not isinstance(ours, Exception), f"{what}: {ours!r}, PyTorch's {theirs!r}"
    assert tuple(ours.shape) == tuple(theirs.shape) and str(ours.dtype) == str(theirs.dtype), what
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=1e-11, err_msg=what)


def derivatives(library: Any, y: Any, leaves: list[Any], seed: int) -> list[Any]:
    """First and second derivatives of a weighted sum."""

    def zeros(g: Any, x: Any) -> Any:
        return library.zeros_like(x) if g is None else g

    if isinstance(y, Exception) or not y.requires_grad or not y.dtype.is_floating_point:
        return []
    rng = np.random.default_rng(seed)
    weights = library.tensor(rng.normal(size=tuple(y.shape)))
    first = library.autograd.grad((y * weights).sum(), leaves, create_graph=True, allow_unused=True)
    first = [zeros(g, x) for g, x in zip(first, leaves, strict=True)]
    total = sum((g * library.tensor(rng.normal(size=tuple(g.shape)))).sum() for g in first)
    if not total.requires_grad:
        return first
    second = library.autograd.grad(total, leaves, allow_unused=True, retain_graph=True)
    return [*first, *[zeros(g, x) for g, x in zip(second, leaves, strict=True)]]


@pytest.mark.parametrize("name", TABLE)
def test_a_distribution_is_pytorchs(name: str) -> None:
    rng = np.random.default_rng(1)
    compared = sum(compare(name, trial, rng) for trial in range(examples(12, 200)))
    assert compared > 100


def compare(name: str, trial: int, rng: np.random.Generator) -> int:
    """Compare all that the two can do; the number of derivatives that were compared."""
    make, draw = TABLE[name]
    arrays = draw(rng)
    leaves = [[library.tensor(a, requires_grad=True) for a in arrays] for library in (tg, torch)]
    ours, theirs = [make(x.distributions, *at) for x, at in zip((tg, torch), leaves, strict=True)]
    pair = [(tg, leaves[0], ours), (torch, leaves[1], theirs)]
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert tuple(ours.event_shape) == tuple(theirs.event_shape)
    assert repr(ours).split("(")[0] == repr(theirs).split("(")[0]
    assert ours.has_rsample == theirs.has_rsample
    assert ours.has_enumerate_support == theirs.has_enumerate_support
    shape = ((), (2,), (3, 1))[trial % 3]
    drawn = [seeded(library, trial, lambda d=d: d.sample(shape)) for library, _, d in pair]
    if name not in NOT_PYTORCHS:
        same(*drawn, rtol=1e-12, what="sample")
        assert tg.rand(1).item() == torch.rand(1).item(), "the streams are apart"
    assert not drawn[0].requires_grad
    at = drawn[1].numpy()
    quantile = rng.uniform(0.01, 0.99, at.shape)
    compared = 0

    def each(of: Callable[[Any, Any], Any], what: str, rtol: float = 1e-10) -> None:
        nonlocal compared
        found = [result(lambda x=x: of(x[0], x[2])) for x in pair]
        same(*found, rtol=rtol, what=what)
        slopes = [result(lambda x=x, y=y: derivatives(x[0], y, x[1], trial)) for x, y in zip(pair, found, strict=True)]
        if isinstance(slopes[1], Exception):
            assert isinstance(slopes[0], type(slopes[1])), (what, slopes)
            return
        assert not isinstance(slopes[0], Exception), (what, slopes[0])
        for a, b in zip(*slopes, strict=True):
            # PyTorch's trigamma has nine digits
            np.testing.assert_allclose(
                a.detach().numpy(), b.detach().numpy(), rtol=max(rtol, 1e-8), atol=1e-9, err_msg=f"slope of {what}"
            )
            compared += a.numel()

    each(lambda t, d: d.log_prob(t.tensor(at)), "log_prob")
    each(lambda t, d: d.entropy(), "entropy", 1e-7 if name == "Multinomial" else 1e-10)  # log(n!) in float32 there
    each(lambda t, d: d.cdf(t.tensor(at)), "cdf")
    each(lambda t, d: d.icdf(t.tensor(quantile)), "icdf")
    for attribute in PROPERTIES:
        each(lambda t, d, of=attribute: getattr(d, of), attribute)
    wide = (2, *ours.batch_shape)
    each(lambda t, d: d.expand(wide).log_prob(t.tensor(at)), "expand")
    each(lambda t, d: d.enumerate_support(), "enumerate_support")
    each(lambda t, d: d.enumerate_support(False), "enumerate_support")
    if name not in NOT_PYTORCHS:
        moved = [seeded(library, trial, lambda d=d: d.rsample(shape)) for library, _, d in pair]
        same(*moved, rtol=1e-12, what="rsample")
        if not isinstance(moved[0], Exception):
            both = [
                library.autograd.grad(y.sum() + (y * y).sum() / 2, x, allow_unused=True, retain_graph=True)
                for (library, x, _), y in zip(pair, moved, strict=True)
            ]
            for a, b in zip(*both, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    rtol = APPROXIMATE.get(name, 1e-9)
                    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=rtol, atol=1e-2 * rtol)
    return compared


def seeded(library: Any, seed: int, f: Callable[[], Any]) -> Any:
    library.manual_seed(seed)
    return result(f)


DIVERGENT = [name for name in TABLE if name not in ("MultivariateNormal of a precision",)]
MIXED = [
    ("Normal", "Gamma"), ("Uniform", "Normal"), ("Exponential", "Normal"), ("Gamma", "Normal"), ("Laplace", "Normal"),
    ("Exponential", "Gamma"), ("Gamma", "Exponential"), ("Poisson", "Bernoulli"), ("Chi2", "Gamma"),
    ("Beta", "Normal"), ("Binomial", "Poisson"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), [*[(name, name) for name in DIVERGENT], *MIXED])
def test_a_divergence_is_pytorchs(one: str, other: str) -> None:
    rng = np.random.default_rng(2)
    for trial in range(examples(8, 200)):
        arrays = [TABLE[one][1](rng), TABLE[other][1](rng)]
        pair = []
        for library in (tg, torch):
            leaves = [[library.tensor(a, requires_grad=True) for a in row] for row in arrays]
            p, q = [TABLE[name][0](library.distributions, *row) for name, row in zip((one, other), leaves, strict=True)]
            y = result(lambda library=library, p=p, q=q: library.distributions.kl_divergence(p, q))
            pair.append((y, result(lambda a=library, b=y, c=leaves, d=trial: derivatives(a, b, [*c[0], *c[1]], d))))
        (y, slopes), (expected, expected_slopes) = pair
        if isinstance(expected, (RuntimeError, NotImplementedError)):
            assert isinstance(y, type(expected)), (y, expected)  # shapes that do not broadcast, or no formula
            continue
        same(y, expected, 1e-9)
        for a, b in zip(slopes, expected_slopes, strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-7, atol=1e-8)


REFUSALS = """
d.Normal(0., -1.)
d.Normal(0., 1.).log_prob(1.)
d.Normal(t.tensor([0., 1.]), 1.).log_prob(t.ones(3))
d.Normal('a', 1)
d.Normal(0., 1.).sample(2)
d.Normal(0., 1.).enumerate_support()
d.Bernoulli()
d.Bernoulli(.3, .4)
d.Bernoulli(t.tensor(.25)).log_prob(t.tensor(.5))
d.Bernoulli(t.tensor(1.5))
d.Bernoulli(t.tensor(.3)).rsample()
d.Bernoulli(t.tensor(.3)).cdf(t.tensor(1.))
d.Categorical()
d.Categorical(t.tensor([1., -1.]))
d.Categorical(t.tensor(1.))
d.Categorical(t.tensor([.5, .5])).log_prob(t.tensor(3))
d.Uniform(1., 0.)
d.Dirichlet(t.tensor(1.))
d.Dirichlet(t.ones(3)).log_prob(t.ones(3))
d.Exponential(t.tensor(0.))
d.MultivariateNormal(t.zeros(2))
d.MultivariateNormal(t.zeros(2), t.tensor([[1., 2.], [2., 1.]]))
d.MultivariateNormal(t.zeros(2), scale_tril=t.tensor([[1., 2.], [2., 1.]]))
d.MultivariateNormal(t.tensor(0.), t.eye(1))
d.Independent(d.Normal(t.zeros(2), t.ones(2)), 2)
d.MixtureSameFamily(d.Normal(0., 1.), d.Normal(t.zeros(2), t.ones(2)))
d.MixtureSameFamily(d.Categorical(t.ones(3)), d.Normal(t.zeros(2), t.ones(2)))
d.MixtureSameFamily(d.Categorical(t.ones(2)), d.Normal(t.zeros(2), t.ones(2))).rsample()
d.TransformedDistribution(d.Normal(0., 1.), 3)
d.TransformedDistribution(d.Normal(0., 1.), d.StickBreakingTransform())
d.Poisson(t.tensor(-2.))
d.Poisson(t.tensor(2.)).log_prob(t.tensor(1.5))
d.Poisson(t.tensor(2.)).entropy()
d.Binomial(t.tensor(3.), t.tensor(.5)).log_prob(t.tensor(4.))
d.Binomial(t.tensor([3., 4.]), t.tensor(.5)).entropy()
d.Multinomial(t.tensor(3), t.ones(2))
d.Gamma(1., 1.).icdf(t.tensor(.2))
d.kl_divergence(d.Categorical(t.ones(2)), d.Bernoulli(.5))
d.ExpTransform(cache_size=2)
d.ReshapeTransform((2,), (3,))
d.Distribution.set_default_validate_args(3)
""".strip().splitlines()


@together
@pytest.mark.parametrize("expression", REFUSALS)
def test_refusals_are_pytorchs_word_for_word(expression: str) -> None:
    ours, theirs = [result(lambda t=t: eval(expression, {"t": t, "d": t.distributions})) for t in (tg, torch)]
    assert isinstance(theirs, Exception) and isinstance(ours, type(theirs)), (ours, theirs)
    said, expected = [re.sub(r"torch\.|tinygrad_rnn\.|distributions\.\w+\.", "", str(e)) for e in (ours, theirs)]
    assert said.startswith(expected.split("\n")[0][:300]), f"{said}\n{expected}"


SHOWN = """
d.Normal(0, 1)
d.Normal(t.tensor([0., 1.]), t.tensor(1.))
d.Bernoulli(t.tensor(.25))
d.Beta(1., 2.)
d.Categorical(logits=t.ones(3))
d.Dirichlet(t.ones(3))
d.Binomial(3, t.tensor(.5))
d.LogNormal(0., 1.)
d.MultivariateNormal(t.zeros(2), t.eye(2))
d.Independent(d.Normal(t.zeros(2), t.ones(2)), 1)
d.MixtureSameFamily(d.Categorical(t.ones(2)), d.Normal(t.zeros(2), t.ones(2)))
d.TransformedDistribution(d.Normal(0., 1.), [d.ExpTransform()])
d.ComposeTransform([d.ExpTransform(), d.AffineTransform(1, 2)])
d.ExpTransform().inv
d.ComposeTransform([d.ExpTransform()]).inv
d.Uniform(0., 1.).support
d.Categorical(t.ones(3)).support
d.Binomial(3, t.tensor(.5)).support
d.Multinomial(3, t.ones(2)).support
d.Independent(d.Normal(t.zeros(2), t.ones(2)), 1).support
d.TransformedDistribution(d.Normal(0., 1.), d.TanhTransform()).support
d.Normal.arg_constraints, d.MultivariateNormal.arg_constraints, d.Dirichlet.arg_constraints
d.Normal.support, d.Poisson.support, d.Beta.support, d.OneHotCategorical.support, d.Bernoulli.support
d.biject_to(d.constraints.positive), d.transform_to(d.constraints.simplex), d.biject_to(d.constraints.simplex)
d.biject_to(d.constraints.unit_interval), d.transform_to(d.constraints.real), d.biject_to(d.constraints.real_vector)
d.AffineTransform(0., -2.).sign, d.ExpTransform() == d.ExpTransform(), d.ExpTransform() == d.TanhTransform()
[d.constraints.interval(-1., 1.), d.constraints.greater_than(2.), d.constraints.half_open_interval(0., 1.)]
[d.constraints.simplex, d.constraints.lower_cholesky, d.constraints.symmetric, d.constraints.positive_integer]
d.Normal(1, 2).loc.dtype, d.Normal(t.zeros(1, dtype=t.float64), 1.).scale.dtype
d.constraints.is_dependent(d.Uniform.support), d.constraints.is_dependent(d.constraints.real)
d.constraints.simplex.check(t.tensor([[.5, .5], [.5, .6]])).tolist()
d.constraints.lower_triangular.check(t.tensor([[[1., 0.], [2., 1.]], [[1., 1.], [0., 1.]]])).tolist()
d.constraints.cat([d.constraints.positive, d.constraints.real], 0, [1, 2]).check(t.tensor([-1., 2., 3.])).tolist()
d.constraints.stack([d.constraints.positive, d.constraints.real], 0).check(t.tensor([-1., 2.])).tolist()
""".strip().splitlines()


@together
@pytest.mark.parametrize("expression", SHOWN)
def test_texts_and_constraints_are_pytorchs(expression: str) -> None:
    ours, theirs = [repr(result(lambda t=t: eval(expression, {"t": t, "d": t.distributions}))) for t in (tg, torch)]
    assert ours == theirs


@together
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in TABLE if name not in NOT_PYTORCHS])
def test_draws_are_pytorchs_in_each_dtype(name: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    arrays = [a.astype(dtype) for a in TABLE[name][1](rng)]
    drawn = []
    for library in (tg, torch):
        d = TABLE[name][0](library.distributions, *[library.tensor(a) for a in arrays])
        drawn.append(seeded(library, 5, lambda d=d: d.sample((5, 7))))
    same(*drawn, rtol=2e-6 if dtype == "float32" else 1e-12)
