r"""Say what each use of a weight contributes to its gradient.

A recurrent network with one unit uses one weight w at every time step. With numbers x[0], x[1], ...
coming in,

    h[t] = tanh(w * h[t-1] + x[t])          h[-1] is given as h0

and at the end L = h[T-1]. The weight is used T times, and its gradient is the sum of T
contributions:

    dL/dw = share[0] + share[1] + ... + share[T-1]

share[t] is what the use of w *at time t* contributes: how L changes if w were changed a little in
that step only, and kept everywhere else. Return the array of the T shares.

At time t, w stands beside h[t-1]. A change of w there changes the inside of the tanh by h[t-1]
times as much, and from there it takes the way through tanh at time t and all later steps to the
end. So you need what exercise 3 gave you, and the way from step to step: h[t] changes with h[t-1]
by the slope of its tanh times w.

For example, shares(w=2., xs=[1., -1.], h0=0.) has h = [.76159, .48036] and gives [0., .58588]: at
the first step w stood beside 0, so it did not matter there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    14,
    "Shares of a tied weight",
    unit=3,
    returns=["shares"],
    hints=[
        "Go forwards first and keep all h. Then backwards: carry dh, how L changes with h[t]; at the end it is 1.",
        "At each step backwards: da = dh * (1 - h[t]**2) is how L changes with the inside of the tanh.",
        "shares[t] = da * (h[t-1], which for t = 0 is h0); then dh = da * w goes on to step t - 1.",
    ],
)
def shares(w: float, xs: Array, h0: float) -> Array:
    """Return what the use of w at each of the T steps contributes to dL/dw, where L = h[T-1]; shape (T,)."""
    hs = states(w, xs, h0)
    found = np.zeros(len(xs))
    dh = 1.0
    for t in reversed(range(len(xs))):
        da = dh * (1 - hs[t + 1] ** 2)
        found[t] = da * hs[t]
        dh = da * w
    return found


def states(w: float, xs: Array, h0: float) -> Array:
    """h0 and then the T states."""
    hs = [h0]
    for x in xs:
        hs.append(np.tanh(w * hs[-1] + x))
    return np.array(hs)


@shares.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One step, two, more; with a start at 0 and elsewhere."""
    yield 2.0, np.array([1.0, -1.0]), 0.0
    yield 0.5, np.array([1.0]), 1.0
    for steps in (2, 3, 5, 10):
        yield float(rng.normal()), rng.normal(size=steps), float(rng.normal())
    yield 0.9, np.zeros(4), 0.3


def varied(w: float, xs: Array, h0: float, place: int, own: bool = True, way: bool = True) -> Array:
    """The shares, with one thing done otherwise: whose h, whether the own tanh counts, whether the way does."""
    hs = states(w, xs, h0)
    found = np.zeros(len(xs))
    dh = 1.0
    for t in reversed(range(len(xs))):
        da = dh * (1 - hs[t + 1] ** 2)
        found[t] = (da if own else dh) * hs[t + place]
        dh = da * w if way else 1.0
    return found


@shares.mistake("h[t] stands where h[t-1] belongs")
def own_h(w: float, xs: Array, h0: float) -> Array:
    """At time t the weight is multiplied by the state of the step before, and not by the one it helps to make."""
    return varied(w, xs, h0, 1)


@shares.mistake("the slope of the step's own tanh is missing")
def no_own_slope(w: float, xs: Array, h0: float) -> Array:
    """A change of w at time t goes through the tanh of that step, too."""
    return varied(w, xs, h0, 0, own=False)


@shares.mistake("the way to the end is missing")
def no_way(w: float, xs: Array, h0: float) -> Array:
    """Every share is computed as if L were h[t]; later steps lie between, and each makes it smaller or larger."""
    return varied(w, xs, h0, 0, way=False)


@shares.mistake("the way to the end lacks w")
def way_without_w(w: float, xs: Array, h0: float) -> Array:
    """From h[t-1] to h[t] a change is multiplied by the slope of the tanh and by the weight."""
    hs = states(w, xs, h0)
    found = np.zeros(len(xs))
    dh = 1.0
    for t in reversed(range(len(xs))):
        dh = dh * (1 - hs[t + 1] ** 2)
        found[t] = dh * hs[t]
    return found


@shares.mistake("the shares are running sums")
def running(w: float, xs: Array, h0: float) -> Array:
    """Each entry contains the shares of the steps after it as well."""
    return np.cumsum(shares.solution(w, xs, h0)[::-1])[::-1]


@shares.mistake("they stand in the order in which they were computed, last step first")
def backwards(w: float, xs: Array, h0: float) -> Array:
    """The way back begins at the last step; share[t] belongs to time t."""
    return shares.solution(w, xs, h0)[::-1]  # type: ignore[no-any-return]


@shares.mistake("h[t-1] is taken to change with w as well")
def total_derivative(w: float, xs: Array, h0: float) -> Array:
    """What w did in earlier steps is the share of these steps; here it is counted again."""
    hs = states(w, xs, h0)
    slope, slopes = 0.0, []
    for t in range(len(xs)):
        slope = (1 - hs[t + 1] ** 2) * (hs[t] + w * slope)
        slopes.append(slope)
    found = np.zeros(len(xs))
    dh = 1.0
    for t in reversed(range(len(xs))):
        found[t] = dh * slopes[t]
        dh = dh * (1 - hs[t + 1] ** 2) * w
    return found
