"""What distributions are, without another library: sums and integrals of densities, draws, gradients, and devices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import distributions as d
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.distributions import random_streams
from tinygrad_rnn.distributions.gamma_family import beta_gradient
from tinygrad_rnn.kernels.special import gamma_functions
from tinygrad_rnn.tape.tensor import wrap

DOUBLE = {"dtype": tg.float64}


def t(*values: Any) -> tg.Tensor:
    return tg.tensor(*values, **DOUBLE)


DENSITIES = {
    "Normal": (d.Normal(t(0.5), t(1.5)), -15, 16),
    "LogNormal": (d.LogNormal(t(0.1), t(0.4)), 1e-6, 30),
    "Laplace": (d.Laplace(t(0.5), t(0.7)), -30, 30),
    "Exponential": (d.Exponential(t(0.7)), 0, 60),
    "Gamma": (d.Gamma(t(3.5), t(1.2)), 0, 60),
    "Beta": (d.Beta(t(2.5), t(3.5)), 1e-9, 1 - 1e-9),
    "Uniform": (d.Uniform(t(-1.0), t(2.0)), -1, 2 - 1e-12),
    "tanh": (d.TransformedDistribution(d.Normal(t(0.2), t(0.3)), d.TanhTransform()), -1 + 1e-6, 1 - 1e-6),
    "mixture": (d.MixtureSameFamily(d.Categorical(t([0.3, 0.7])), d.Normal(t([-1.0, 2.0]), t([0.5, 1.0]))), -15, 15),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_has_the_integral_moments_and_entropy_that_it_says(name: str) -> None:
    """By the trapezoidal rule with 200,001 points: 1e-6."""
    p, low, high = DENSITIES[name]
    x = tg.linspace(low, high, 200001, **DOUBLE)
    log = p.log_prob(x)
    density = log.exp()

    def integral(y: tg.Tensor) -> float:
        return float(np.trapezoid(y.numpy(), x.numpy()))

    assert abs(integral(density) - 1) < 1e-5
    for said, found in (
        ("mean", lambda: density * x),
        ("variance", lambda: density * (x - p.mean) ** 2),
        ("entropy", lambda: -density * log.clamp(min=-1e3)),
    ):
        try:
            value = p.entropy() if said == "entropy" else getattr(p, said)
        except NotImplementedError:
            continue
        assert abs(integral(found()) - value.item()) < 1e-4, said


COUNTS = {
    "Bernoulli": d.Bernoulli(t(0.3)),
    "Binomial": d.Binomial(12, t(0.3)),
    "Categorical": d.Categorical(t([0.2, 0.3, 0.5])),
    "OneHotCategorical": d.OneHotCategorical(t([0.2, 0.3, 0.5])),
}


@pytest.mark.parametrize("name", COUNTS)
def test_probabilities_sum_to_one(name: str) -> None:
    p = COUNTS[name]
    log = p.log_prob(p.enumerate_support())
    np.testing.assert_allclose(log.exp().sum().item(), 1, rtol=1e-12)
    np.testing.assert_allclose(-(log.exp() * log).sum().item(), p.entropy().item(), rtol=1e-12)


@pytest.mark.parametrize(
    "p",
    [d.Gamma(t(0.4), t(2.0)), d.Gamma(t(7.0), t(1.0)), d.Beta(t(0.6), t(2.0)), d.Poisson(t(3.0)), d.Poisson(t(25.0)),
     d.Binomial(9, t(0.3)), d.Binomial(200, t(0.7)), d.Geometric(t(0.3)), d.Chi2(t(3.0)), d.Laplace(t(1.0), t(2.0))],
    ids=repr,
)  # fmt: skip
def test_draws_have_the_moments(p: Any) -> None:
    tg.manual_seed(0)
    x = p.sample((4000,))
    n = 4000**0.5
    assert abs((x.mean() - p.mean) / p.stddev).item() < 4 / n
    assert abs((x.var() / p.variance) - 1).item() < 25 / n


def test_the_gradient_of_a_draw_is_that_of_its_mean_on_average() -> None:
    tg.manual_seed(0)
    a = t(2.5).requires_grad_()
    d.Gamma(a, t(2.0)).rsample((4000,)).mean().backward()
    assert abs(a.grad.item() - 0.5) < 0.02
    c = t([1.5, 2.5, 0.7]).requires_grad_()
    d.Dirichlet(c).rsample((4000,))[:, 0].mean().backward()
    expected = [3.2 / 4.7**2, -1.5 / 4.7**2, -1.5 / 4.7**2]
    np.testing.assert_allclose(c.grad.numpy(), expected, atol=0.01)


def test_the_gradients_of_draws_are_those_of_quantiles() -> None:
    """x(a) with a fixed probability below it: by differences of a bisected quantile, 1e-6."""

    def quantile(a: float, q: float) -> float:
        low, high = 0.0, 100.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if gamma_functions.gammainc(np.array(a), np.array(middle)) < q else (low, middle)
        return low

    for a in (0.3, 1.0, 4.0, 14.9, 15.1, 40.0):
        for q in (0.02, 0.8):
            x = quantile(a, q)
            expected = (quantile(a + 1e-4, q) - quantile(a - 1e-4, q)) / 2e-4
            found = gamma_functions.gamma_gradient(np.array(a), np.array(x))
            np.testing.assert_allclose(found, expected, rtol=1e-5)


# a, b, x, and d x / d a: by mpmath with 40 digits
BETA = [
    (0.06223772402598169, 25.957001175817158, 0.0008333590924381832, 0.0462853782545757),
    (10.40564978032732, 0.03597253578827481, 0.9870038806399912, 0.0012998326641599193),
    (2.0, 3.0, 0.4, 0.13939200005066932),
]


@pytest.mark.parametrize(("a", "b", "x", "expected"), BETA)
def test_the_gradient_of_a_beta_number_is_mpmaths(a: float, b: float, x: float, expected: float) -> None:
    np.testing.assert_allclose(beta_gradient(*[np.array(v) for v in (a, b, x)]), expected, rtol=1e-11)


def test_draws_one_by_one_leave_the_stream_where_they_ended() -> None:
    """Drawn ahead in blocks, or in halves: the same numbers, and the same number after them."""
    rate = tg.full((50,), 30.0)
    tg.manual_seed(1)
    whole, after = random_streams.poisson(rate), tg.rand(1)
    tg.manual_seed(1)
    halves = tg.cat([random_streams.poisson(rate[:20]), random_streams.poisson(rate[20:])])
    assert whole.tolist() == halves.tolist() and after.item() == tg.rand(1).item()
    state = tg.get_rng_state()
    assert d.Poisson(tg.ones(0)).sample().shape == (0,)
    assert tg.get_rng_state().tolist() == state.tolist()


def test_a_matrix_that_is_not_positive_definite_is_refused_without_validation_too() -> None:
    with pytest.raises(RuntimeError, match="linalg.cholesky: The factorization could not be completed"):
        d.MultivariateNormal(tg.zeros(2), tg.tensor([[1.0, 2.0], [2.0, 1.0]]), validate_args=False)


def test_gradients_of_a_multivariate_normal_are_right_to_the_second_order() -> None:
    rng = np.random.default_rng(0)
    root = t(rng.normal(size=(2, 3, 3))).requires_grad_()
    loc, x = t(rng.normal(size=3)).requires_grad_(), t(rng.normal(size=(2, 3)))

    def log_prob(loc: Any, root: Any) -> Any:
        return d.MultivariateNormal(loc, root @ root.mT + tg.eye(3, **DOUBLE)).log_prob(x)

    assert tg.autograd.gradcheck(log_prob, (loc, root))
    assert tg.autograd.gradgradcheck(log_prob, (loc, root), fast_mode=True)


def test_validation_can_be_switched_off() -> None:
    assert d.Normal(0.0, -1.0, validate_args=False).scale.item() == -1
    d.Distribution.set_default_validate_args(False)
    try:
        assert d.Exponential(-1.0).rate.item() == -1
    finally:
        d.Distribution.set_default_validate_args(True)
    with pytest.raises(ValueError):
        d.Exponential(-1.0)


def test_a_cached_transform_gives_back_what_went_in() -> None:
    f = d.TanhTransform(cache_size=1)
    x = tg.tensor([20.0])  # tanh is 1 there, whose inverse is infinite
    assert f.inv(f(x)) is x and math.isinf(d.TanhTransform().inv(tg.tanh(x)).item())


def test_registered_divergences_are_found_for_subclasses() -> None:
    class Mine(d.Normal):
        pass

    assert d.kl_divergence(Mine(0.0, 1.0), d.Normal(1.0, 1.0)).item() == 0.5
    with pytest.raises(TypeError, match="Expected type_p to be a Distribution subclass but got"):
        d.register_kl(int, float)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="define a custom .expand"):

        class Other(d.Normal):
            def __init__(self) -> None:
                super().__init__(0.0, 1.0)

        Other().expand((2,))


def test_parameters_and_draws_stay_on_their_device(double: Any) -> None:
    loc = wrap(double.asarray(np.array([0.0, 1.0]))).requires_grad_()
    for p in (
        d.Normal(loc, 1.0), d.Laplace(loc, 1.0), d.Gamma(loc + 2, 1.0), d.Dirichlet(loc + 1), d.Bernoulli(logits=loc),
        d.Categorical(logits=loc), d.Poisson(loc + 1),
        d.MultivariateNormal(loc, scale_tril=wrap(double.asarray(np.eye(2)))),
        d.LogNormal(loc, 1.0), d.Uniform(loc, 3.0), d.Exponential(loc + 1), d.Beta(loc + 1, 1.0),
    ):  # fmt: skip
        x = p.sample((3,))
        assert isinstance(x._data, double.ndarray)
        log = p.log_prob(x)
        assert isinstance(log._data, double.ndarray) and np.isfinite(to_numpy(log._data)).all()
        log.sum().backward()
    assert isinstance(loc.grad._data, double.ndarray)
