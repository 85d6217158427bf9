r"""Restricted Boltzmann machines, small enough to be exact, and deep belief nets stacked of them.

Two layers of binary units, V visible and H hidden, with weights between the layers and none within:

    E(v, h) = -a . v - b . h - v W h^T,    p(v, h) = exp(-E(v, h)) / Z,    Z = sum over all 2^(V + H) states

The hidden units are independent given the visible ones, so their sum can be taken in closed form, which leaves the
free energy, a function of the engine like any other:

    F(v) = -a . v - sum_j log(1 + exp(b_j + (v W)_j)),    p(v) = exp(-F(v)) / Z

and the gradient of -log p is a difference of two means, the data's and the model's: d(-log p(v))/dW = d F(v)/dW -
E_model[dF/dW] = -(E[v^T h | v] - E_model[v^T h]).  The second mean is what learning is about.  Where one of the layers
has at most 20 units, Z is a sum over its states, so everything here can be compared with what is exact.

``N`` cases, ``V`` visible and ``H`` hidden units.

Sources: G. Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14 (2002);
T. Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", ICML 2008;
G. Hinton, S. Osindero and Y.-W. Teh, "A fast learning algorithm for deep belief nets", Neural Computation 18 (2006).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

import tinygrad_rnn as tg

from ..autograd.checkpoint import checkpoint
from ..errors import ArgumentError, ShapeError

__all__ = [
    "MOST",
    "RBM",
    "DeepBeliefNet",
    "Method",
    "PersistentChains",
    "Statistics",
    "fit",
    "mirrored",
    "stack",
    "states",
]

MOST = 20
"""The largest number of units whose states are enumerated: 2^20."""
BLOCK = 1 << 13
"""States at a time: 8,192 rows of 20 numbers stay in the cache."""

Method: TypeAlias = Literal["cd", "pcd", "exact"]


def states(units: int, start: int = 0, stop: int | None = None) -> tg.Tensor:
    """Binary vectors in the order of the numbers that they write, the most significant digit first.

    Args:
        units: n, at most :data:`MOST`.
        start, stop: the first number, and the one after the last; None: all, 2^n.

    Returns:
        (stop - start, n) of 0 and 1, in the default dtype.

    Raises:
        ArgumentError: fewer than 0 units or more than :data:`MOST`.

    >>> states(2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    if not 0 <= units <= MOST:
        raise ArgumentError(f"states(): {units} units have more states than can be enumerated; at most {MOST} units")
    numbers = np.arange(start, 1 << units if stop is None else stop)
    found: tg.Tensor = tg.tensor((numbers[:, None] >> np.arange(units)[::-1]) & 1, dtype=tg.get_default_dtype())
    return found


def _blocks(units: int) -> Iterator[tuple[int, int]]:
    total = 1 << units
    return ((start, min(start + BLOCK, total)) for start in range(0, total, BLOCK))


def _log_sum(units: int, log_term: Callable[[tg.Tensor], tg.Tensor], like: tg.Tensor) -> tg.Tensor:
    """log of the sum over all states s of exp(log_term(s)); the last axis of log_term(s) is that of the states.

    Blocks are checkpointed: of each the sum is kept, and the rest computed again on the way back.
    """
    if units > MOST:
        raise ArgumentError(
            f"rbm: a sum over the states of {units} units has 2^{units} terms; at most {MOST} units are enumerated"
        )

    def block(start: int, stop: int) -> tg.Tensor:
        found: tg.Tensor = tg.logsumexp(log_term(states(units, start, stop).to(like)), -1)
        return found

    parts = [block(*ends) if units <= 13 else checkpoint(block, *ends, use_reentrant=False) for ends in _blocks(units)]
    return parts[0] if len(parts) == 1 else tg.logsumexp(tg.stack(parts, -1), -1)


def _softplus(a: tg.Tensor) -> tg.Tensor:
    """log(1 + exp(a)), to the last digit; ``nn.functional.softplus`` is a itself above 20, which is 2e-9 off."""
    found: tg.Tensor = tg.logaddexp(a, tg.zeros_like(a))
    return found


def _log_bernoulli(x: tg.Tensor, logits: tg.Tensor) -> tg.Tensor:
    """log p(x) of independent units with p(1) = sigmoid(logits), summed over the last axis."""
    found: tg.Tensor = (x * logits - _softplus(logits)).sum(-1)
    return found


class Statistics(NamedTuple):
    """Means of v^T h, v and h: the sufficient statistics of a machine.

    Attributes:
        weight: (V, H), the mean of v^T h.
        visible: (V,), that of v.
        hidden: (H,), that of h.
    """

    weight: tg.Tensor
    visible: tg.Tensor
    hidden: tg.Tensor


class RBM(tg.nn.Module):
    r"""A restricted Boltzmann machine of binary units.

        E(v, h) = -a . v - b . h - v W h^T

    Args:
        visible, hidden: V and H, 1 or more.
        scale: standard deviation of the first weights; the biases start at 0. Default 0.01 (Hinton 2010, section 8).
        generator: what the weights are drawn from; None: the default one.

    Shapes:
        ``weight`` (V, H), ``visible_bias`` (V,), ``hidden_bias`` (H,).  Every method takes (N, V) or (V,), and (N, H).

    Raises:
        ArgumentError: fewer units than one.

    Source: Hinton (2002), section 5; G. Hinton, "A practical guide to training restricted Boltzmann machines" (2010).

    >>> rbm = RBM(3, 2)
    >>> v = states(3)
    >>> total = rbm.log_likelihood(v).exp().sum()           # all probabilities
    >>> round(total.item(), 5)
    1.0
    """

    weight: tg.nn.Parameter
    visible_bias: tg.nn.Parameter
    hidden_bias: tg.nn.Parameter

    def __init__(self, visible: int, hidden: int, *, scale: float = 0.01, generator: Any = None) -> None:
        super().__init__()
        if visible < 1 or hidden < 1:
            raise ArgumentError(f"RBM(): needs a unit in each layer, got {visible} visible and {hidden} hidden")
        self.visible, self.hidden = visible, hidden
        self.weight = tg.nn.Parameter(scale * tg.randn(visible, hidden, generator=generator))
        self.visible_bias = tg.nn.Parameter(tg.zeros(visible))
        self.hidden_bias = tg.nn.Parameter(tg.zeros(hidden))

    def extra_repr(self) -> str:
        return f"{self.visible}, {self.hidden}"

    def _given(self, x: tg.Tensor, units: int, name: str) -> None:
        if not x.ndim or x.shape[-1] != units:
            raise ShapeError(f"RBM: {name} must be (..., {units}), got {list(x.shape)}")

    # energies --------------------------------------------------------------------------------------------------------

    def energy(self, v: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
        """E(v, h) = -a . v - b . h - v W h^T.

        Args:
            v: (..., V).
            h: (..., H).

        Returns:
            (...).

        Raises:
            ShapeError: other numbers of units.

        >>> rbm = RBM(2, 1, scale=0)
        >>> with tg.no_grad():
        ...     _ = rbm.weight.fill_(3.0)
        >>> rbm.energy(tg.tensor([1.0, 1.0]), tg.tensor([1.0])).item()
        -6.0
        """
        self._given(v, self.visible, "v")
        self._given(h, self.hidden, "h")
        found: tg.Tensor = (
            -(v * self.visible_bias).sum(-1) - (h * self.hidden_bias).sum(-1) - ((v @ self.weight) * h).sum(-1)
        )
        return found

    def free_energy(self, v: tg.Tensor) -> tg.Tensor:
        """F(v) = -log of the sum over h of exp(-E(v, h)) = -a . v - sum_j log(1 + exp(b_j + (v W)_j)).

        Differentiable, to any order, like every function here that gives a Tensor with a gradient.

        Args:
            v: (..., V).

        Returns:
            (...).

        Raises:
            ShapeError: another number of units.

        >>> rbm = RBM(3, 2, scale=1.0)
        >>> v = tg.tensor([1.0, 0.0, 1.0])
        >>> by_hand = -tg.logsumexp(-rbm.energy(v.expand(4, 3), states(2)), 0)
        >>> bool(abs(rbm.free_energy(v) - by_hand) < 1e-5)
        True
        """
        self._given(v, self.visible, "v")
        found: tg.Tensor = -(v * self.visible_bias).sum(-1) - _softplus(self.hidden_bias + v @ self.weight).sum(-1)
        return found

    def hidden_free_energy(self, h: tg.Tensor) -> tg.Tensor:
        """-log of the sum over v of exp(-E(v, h)): the same from the other side.

        Args:
            h: (..., H).

        Returns:
            (...).

        Raises:
            ShapeError: another number of units.
        """
        self._given(h, self.hidden, "h")
        found: tg.Tensor = -(h * self.hidden_bias).sum(-1) - _softplus(self.visible_bias + h @ self.weight.T).sum(-1)
        return found

    # what is exact ---------------------------------------------------------------------------------------------------

    def log_partition(self) -> tg.Tensor:
        """Log Z, exactly: the sum over all states of the smaller layer, in blocks; differentiable.

        Beyond 2^13 states the blocks are checkpointed, so that memory does not grow with their number.  2^20 states
        beside 20 units take about a second.

        Returns:
            A scalar.

        Raises:
            ArgumentError: both layers have more than :data:`MOST` units.

        >>> round(RBM(4, 3, scale=0).log_partition().item(), 4)     # 2^7 states of energy 0
        4.852
        """
        if self.hidden <= self.visible:
            return _log_sum(self.hidden, lambda h: -self.hidden_free_energy(h), self.weight)
        return _log_sum(self.visible, lambda v: -self.free_energy(v), self.weight)

    def log_likelihood(self, v: tg.Tensor) -> tg.Tensor:
        """Log p(v) = -F(v) - log Z, exactly.

        Args:
            v: (..., V).

        Returns:
            (...).

        Raises:
            ShapeError: another number of units.
            ArgumentError: both layers have more than :data:`MOST` units.
        """
        return -self.free_energy(v) - self.log_partition()

    def hidden_log_likelihood(self, h: tg.Tensor) -> tg.Tensor:
        """Log p(h), exactly: what the machine says of its hidden units, the prior of the layer below in a stack."""
        return -self.hidden_free_energy(h) - self.log_partition()

    @tg.no_grad()
    def data_statistics(self, v: tg.Tensor) -> Statistics:
        """The means of v^T h, v and h over cases, with h by its probability given v: the positive phase.

        Args:
            v: (N, V).

        Returns:
            :class:`Statistics`.

        Raises:
            ShapeError: it is not (N, V).
        """
        self._given(v, self.visible, "v")
        if v.ndim != 2:
            raise ShapeError(f"RBM: cases must be (N, {self.visible}), got {list(v.shape)}")
        h = self.hidden_probability(v)
        return Statistics(v.T @ h / len(v), v.mean(0), h.mean(0))

    @tg.no_grad()
    def model_statistics(self) -> Statistics:
        """The same means over all states of the machine, exactly: the negative phase; no autograd is involved.

        -log p averaged over data has the gradient ``model_statistics - data_statistics``.

        Returns:
            :class:`Statistics`.

        Raises:
            ArgumentError: both layers have more than :data:`MOST` units.

        >>> rbm = RBM(3, 2, scale=1.0)
        >>> v = tg.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
        >>> (-rbm.log_likelihood(v).mean()).backward()
        >>> both = rbm.model_statistics().weight - rbm.data_statistics(v).weight
        >>> bool(tg.allclose(rbm.weight.grad, both, atol=1e-6))
        True
        """
        log_z, by_hidden = self.log_partition(), self.hidden <= self.visible
        units = min(self.hidden, self.visible)
        products, first, second = (tg.zeros_like(p) for p in (self.weight, self.visible_bias, self.hidden_bias))
        for ends in _blocks(units):
            s = states(units, *ends).to(self.weight)
            if by_hidden:
                h, v, p = s, self.visible_probability(s), (-self.hidden_free_energy(s) - log_z).exp()
            else:
                h, v, p = self.hidden_probability(s), s, (-self.free_energy(s) - log_z).exp()
            weighted = v * p.unsqueeze(-1)
            products, first, second = products + weighted.T @ h, first + weighted.sum(0), second + p @ h
        return Statistics(products, first, second)

    # sampling --------------------------------------------------------------------------------------------------------

    def hidden_probability(self, v: tg.Tensor) -> tg.Tensor:
        """P(h_j = 1 | v) = sigmoid(b_j + (v W)_j), (..., H)."""
        found: tg.Tensor = tg.sigmoid(self.hidden_bias + v @ self.weight)
        return found

    def visible_probability(self, h: tg.Tensor) -> tg.Tensor:
        """P(v_i = 1 | h) = sigmoid(a_i + (h W^T)_i), (..., V)."""
        found: tg.Tensor = tg.sigmoid(self.visible_bias + h @ self.weight.T)
        return found

    @tg.no_grad()
    def sample_hidden(self, v: tg.Tensor, generator: Any = None) -> tg.Tensor:
        """States of the hidden units, drawn given the visible ones, (..., H)."""
        found: tg.Tensor = tg.bernoulli(self.hidden_probability(v), generator=generator)
        return found

    @tg.no_grad()
    def sample_visible(self, h: tg.Tensor, generator: Any = None) -> tg.Tensor:
        """States of the visible units, drawn given the hidden ones, (..., V)."""
        found: tg.Tensor = tg.bernoulli(self.visible_probability(h), generator=generator)
        return found

    def gibbs(self, v: tg.Tensor, steps: int, generator: Any = None) -> tg.Tensor:
        """The chain v -> h -> v -> ... after so many full steps.

        Args:
            v: (N, V), where the chains start.
            steps: k, 0 or more.
            generator: what is drawn from.

        Returns:
            (N, V), without a gradient.

        Raises:
            ArgumentError: fewer steps than 0.
        """
        if steps < 0:
            raise ArgumentError(f"gibbs(): steps must be 0 or more, got {steps}")
        v = v.detach()
        for _ in range(steps):
            v = self.sample_visible(self.sample_hidden(v, generator), generator)
        return v

    def contrastive_divergence(self, v: tg.Tensor, k: int = 1, generator: Any = None) -> tg.Tensor:
        """A loss whose *gradient* is that of CD-k; its value says nothing.

            mean F(v) - mean F(v_k),  v_k held fixed, k steps of Gibbs sampling from the data

        ``backward()`` of it adds -(E[v^T h]_data - E[v^T h]_k) to ``weight.grad``, with h by its probability at both
        ends, as in Hinton (2010), section 3.  This is the gradient of no function, since v_k depends on the weights,
        and a small step along it may lower log p(data); with k towards infinity it becomes the gradient of -log p.

        Args:
            v: (N, V).
            k: steps, 1 or more.
            generator: what is drawn from.

        Returns:
            A scalar.

        Raises:
            ArgumentError: fewer steps than 1: without any, the two means cancel, and so does the gradient.
            ShapeError: another number of units.

        >>> rbm = RBM(4, 2)
        >>> v = tg.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
        >>> rbm.contrastive_divergence(v).backward()
        >>> rbm.weight.grad.shape
        torch.Size([4, 2])
        """
        if k < 1:
            raise ArgumentError(f"contrastive_divergence(): k must be 1 or more, got {k}")
        found: tg.Tensor = self.free_energy(v).mean() - self.free_energy(self.gibbs(v, k, generator)).mean()
        return found


class PersistentChains:
    """PCD: chains that go on from update to update instead of starting at the data again.

        loss = mean F(v) - mean F(chains),  the chains k further steps of Gibbs sampling on

    While the weights change little, the chains stay near the model's own distribution, so that the negative mean is
    nearly the model's.

    Args:
        rbm: the machine.
        chains: how many.
        k: steps of each for an update.
        generator: what is drawn from; the chains start at fair coins.

    Attributes:
        v: (chains, V), where they are now.

    Raises:
        ArgumentError: fewer chains or steps than one.

    Source: Tieleman (2008), section 2.3.

    >>> rbm = RBM(4, 2)
    >>> chains = PersistentChains(rbm, 10)
    >>> chains.loss(states(4)).backward()
    >>> chains.v.shape
    torch.Size([10, 4])
    """

    def __init__(self, rbm: RBM, chains: int, k: int = 1, generator: Any = None) -> None:
        if chains < 1 or k < 1:
            raise ArgumentError(f"PersistentChains(): needs chains and steps, got {chains} chains, k = {k}")
        self.rbm, self.k, self.generator = rbm, k, generator
        self.v = tg.bernoulli(tg.full((chains, rbm.visible), 0.5), generator=generator).to(rbm.weight)

    def loss(self, v: tg.Tensor) -> tg.Tensor:
        """Move the chains by k steps, and give a loss whose gradient is that of PCD.

        Args:
            v: (N, V), the data.

        Returns:
            A scalar; its value says nothing.

        Raises:
            ShapeError: another number of units.
        """
        self.v = self.rbm.gibbs(self.v, self.k, self.generator)
        found: tg.Tensor = self.rbm.free_energy(v).mean() - self.rbm.free_energy(self.v).mean()
        return found


def fit(
    rbm: RBM,
    data: tg.Tensor,
    updates: int,
    *,
    method: Method = "cd",
    k: int = 1,
    lr: float = 0.1,
    chains: int = 64,
    generator: Any = None,
) -> RBM:
    """Train a machine by plain gradient descent on full batches.

    Args:
        rbm: the machine, trained in place.
        data: (N, V) of 0 and 1, or of probabilities.
        updates: how many.
        method: "cd": contrastive divergence; "pcd": with persistent chains; "exact": maximum likelihood, which needs
            a layer of at most :data:`MOST` units.
        k: steps of Gibbs sampling for an update.
        lr: the learning rate.
        chains: of PCD.
        generator: what is drawn from.

    Returns:
        The machine.

    Raises:
        ArgumentError: another method, or a layer too large to be exact.
        ShapeError: data of another size.

    >>> data = tg.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> rbm = RBM(3, 2, generator=tg.Generator().manual_seed(0))
    >>> before = rbm.log_likelihood(data).mean().item()
    >>> after = fit(rbm, data, 1000, method="exact", lr=0.5).log_likelihood(data).mean().item()
    >>> round(before, 1), round(after, 1)                   # the best is log 1/2 = -0.69
    (-2.1, -0.7)
    """
    if method not in ("cd", "pcd", "exact"):
        raise ArgumentError(f"fit(): method must be 'cd', 'pcd' or 'exact', got {method!r}")
    optimizer = tg.optim.SGD(rbm.parameters(), lr=lr)
    persistent = PersistentChains(rbm, chains, k, generator) if method == "pcd" else None
    for _ in range(updates):
        optimizer.zero_grad()
        if method == "exact":
            loss = -rbm.log_likelihood(data).mean()
        elif persistent is not None:
            loss = persistent.loss(data)
        else:
            loss = rbm.contrastive_divergence(data, k, generator)
        loss.backward()
        optimizer.step()
    return rbm


class DeepBeliefNet(tg.nn.Module):
    r"""Machines on top of each other: the topmost one is undirected, those below generate downwards.

        p(v, h1, ..., hL) = P(v | h1) P(h1 | h2) ... P(h(L-2) | h(L-1)) p(h(L-1), hL)

    with P(h(l-1) | hl) of machine l, and the joint p of the topmost.  Sampling is ancestral: the topmost machine is
    sampled by Gibbs steps, and everything below in one pass downwards.

    Args:
        layers: machines from the bottom up, 1 or more; the hidden units of each are the visible units of the next.

    Raises:
        ArgumentError: none.
        ShapeError: sizes that do not fit.

    Source: Hinton, Osindero and Teh (2006), sections 3 to 5.

    >>> net = DeepBeliefNet([RBM(4, 3), RBM(3, 2)])
    >>> net.sample(5, steps=10).shape, round(net.log_likelihood(states(4)).exp().sum().item(), 5)
    (torch.Size([5, 4]), 1.0)
    """

    def __init__(self, layers: Sequence[RBM]) -> None:
        super().__init__()
        if not layers:
            raise ArgumentError("DeepBeliefNet(): needs a machine")
        for lower, upper in pairwise(layers):
            if lower.hidden != upper.visible:
                raise ShapeError(
                    f"DeepBeliefNet(): {lower.hidden} hidden units below, {upper.visible} visible units above"
                )
        self.layers = tg.nn.ModuleList(layers)

    def log_likelihood(self, v: tg.Tensor) -> tg.Tensor:
        """Log p(v), exactly: by the states of every hidden layer but the topmost.

            log p(v) = log sum over h1 of P(v | h1) p(h1),  p(h1) that of the layers above

        Args:
            v: (N, V).

        Returns:
            (N,).

        Raises:
            ArgumentError: a layer with too many units to be enumerated.
        """
        layers = list(self.layers)
        return _log_marginal(layers, v, layers[-1].log_partition())

    def bound(self, v: tg.Tensor) -> tg.Tensor:
        """The lower bound on log p(v) by which a layer is added; exact for two layers and for more.

            bound(v) = sum over h1 of Q(h1 | v) [log P(v | h1) + log p(h1) - log Q(h1 | v)]  <=  log p(v)

        Q(h1 | v) is the factorial posterior of the lowest machine.  If the machine above it starts as its mirror
        image (:func:`mirrored`), Q is the true posterior and the bound is log p(v) itself; from there every gain of
        the machine above, measured by log p(h1) under Q, is a gain of the bound.  That it is a gain of log p(v) too
        follows for the first such step; that it goes on, or that it holds for machines trained by contrastive
        divergence, does not follow.

        Args:
            v: (N, V).

        Returns:
            (N,).

        Raises:
            ArgumentError: there is one layer alone, or one with too many units to be enumerated.

        Source: Hinton et al. (2006), equations 8 and 9, section 4 and appendix A.

        >>> net = DeepBeliefNet([RBM(4, 3, scale=1.0), RBM(3, 2, scale=1.0)])
        >>> v = states(4)
        >>> bool((net.bound(v) < net.log_likelihood(v)).all())
        True
        """
        bottom, *above = list(self.layers)
        if not above:
            raise ArgumentError("bound(): of one layer alone, log_likelihood is what there is")
        log_z = above[-1].log_partition()
        total = tg.zeros(len(v)).to(bottom.weight)
        if bottom.hidden > MOST:
            raise ArgumentError(f"bound(): {bottom.hidden} hidden units; at most {MOST} are enumerated")
        logits = bottom.hidden_bias + v @ bottom.weight  # (N, H)
        for ends in _blocks(bottom.hidden):
            h = states(bottom.hidden, *ends).to(bottom.weight)
            log_q = _log_bernoulli(h, logits.unsqueeze(1))  # (N, B)
            terms = _log_conditional(bottom, v, h) + _log_marginal(above, h, log_z) - log_q
            total = total + (log_q.exp() * terms).sum(-1)
        found: tg.Tensor = total
        return found

    @tg.no_grad()
    def sample(self, cases: int, steps: int = 200, generator: Any = None) -> tg.Tensor:
        """Ancestral sampling: Gibbs steps in the topmost machine, from fair coins on, then one pass downwards.

        Args:
            cases: N, how many.
            steps: of the topmost machine; the draws are fair once these have mixed.
            generator: what is drawn from.

        Returns:
            (N, V) of 0 and 1.

        Raises:
            ArgumentError: fewer steps than 0.
        """
        top: RBM = self.layers[-1]
        v = tg.bernoulli(tg.full((cases, top.visible), 0.5), generator=generator).to(top.weight)
        v = top.gibbs(v, steps, generator)
        for layer in reversed(list(self.layers)[:-1]):
            v = layer.sample_visible(v, generator)
        found: tg.Tensor = v
        return found


def _log_conditional(rbm: RBM, v: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
    """Log P(v | h) of every case with every state: (N, V), (B, H) -> (N, B)."""
    logits = rbm.visible_bias + h @ rbm.weight.T  # (B, V)
    found: tg.Tensor = v @ logits.T - _softplus(logits).sum(-1)
    return found


def _log_marginal(layers: list[RBM], v: tg.Tensor, log_z: tg.Tensor) -> tg.Tensor:
    """Log p(v) of the net of these layers, given log Z of the topmost."""
    bottom, *above = layers
    if not above:
        return -bottom.free_energy(v) - log_z
    return _log_sum(
        bottom.hidden, lambda h: _log_conditional(bottom, v, h) + _log_marginal(above, h, log_z), bottom.weight
    )


def mirrored(rbm: RBM) -> RBM:
    """The machine upside down: W^T, with the biases exchanged; on top of ``rbm`` it leaves p(v) as it was.

    Args:
        rbm: a machine of V visible and H hidden units.

    Returns:
        One of H visible and V hidden units, with parameters of its own.

    Source: Hinton et al. (2006), section 3: the infinite net with tied weights.

    >>> below = RBM(4, 3, scale=1.0)
    >>> net, v = DeepBeliefNet([below, mirrored(below)]), states(4)
    >>> bool(tg.allclose(net.log_likelihood(v), below.log_likelihood(v), atol=1e-5))
    True
    """
    upside = RBM(rbm.hidden, rbm.visible, scale=0.0)
    with tg.no_grad():
        upside.weight.copy_(rbm.weight.T)
        upside.visible_bias.copy_(rbm.hidden_bias)
        upside.hidden_bias.copy_(rbm.visible_bias)
    return upside


def stack(
    data: tg.Tensor,
    sizes: Sequence[int],
    updates: int,
    *,
    tied: bool = True,
    generator: Any = None,
    **options: Any,
) -> DeepBeliefNet:
    """Greedy learning, layer by layer: each machine is trained on the hidden units of the one below.

    Args:
        data: (N, V).
        sizes: H of each layer, from the bottom up.
        updates: of each layer.
        tied: whether a layer that has as many units as the one two below it starts as the mirror image of the machine
            below it (:func:`mirrored`), as the bound asks for.
        generator: what is drawn from.
        options: ``method``, ``k``, ``lr`` and ``chains`` of :func:`fit`.

    Returns:
        :class:`DeepBeliefNet`.

    Raises:
        ArgumentError: no sizes, or options that :func:`fit` does not take.

    Source: Hinton et al. (2006), section 4.

    >>> data = tg.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    >>> net = stack(data, [3, 4], 100, lr=0.5)
    >>> [(m.visible, m.hidden) for m in net.layers]
    [(4, 3), (3, 4)]
    """
    if not sizes:
        raise ArgumentError("stack(): needs the size of a layer")
    layers: list[RBM] = []
    for size in sizes:
        below = layers[-1] if layers else None
        if below is not None and tied and below.visible == size:
            layer = mirrored(below)
        else:
            layer = RBM(data.shape[-1], size, generator=generator)
        layers.append(fit(layer, data, updates, generator=generator, **options))
        with tg.no_grad():
            data = layer.hidden_probability(data)
    return DeepBeliefNet(layers)
