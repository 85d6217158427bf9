"""Pascanu, Mikolov and Bengio 2013: the cliff, and temporal order with and without clipping."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from ... import diagnostics
from ..experiment import Check, Size
from ..tasks import temporal_order
from .recipe import Arm, Method, Published, Reached, Recipe
from .training import Reader, trained

__all__ = ["CLIFF", "CLIPPING"]

PAPER = "R. Pascanu, T. Mikolov and Y. Bengio (2013), On the difficulty of training recurrent neural networks"


def _cliff(size: Size, seed: int) -> Reached:
    begun, points = time.process_time(), 121 if size == "full" else 61

    def loss(w: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        x: Any = 0.5 * tg.ones_like(w)
        for _ in range(50):
            x = w * tg.sigmoid(x) + b
        found: tg.Tensor = (tg.sigmoid(x) - 0.7) ** 2
        return found

    found = diagnostics.cliff(loss, {"w": (4.0, 7.0, points), "b": (-3.5, -2.0, points)})
    finite = found.log_gradient[np.isfinite(found.log_gradient)]
    median, most = float(np.median(finite)), float(finite.max())
    where = found.steepest
    figure = f"gradient norm {math.exp(most):.3g} at w = {where['w']:.3g}, b = {where['b']:.3g}; median "
    figure += f"{math.exp(median):.2g}"
    arm = Arm("", figure, 0, 0, time.process_time() - begun, True)
    checks = [
        Check("the wall is steep", most, ">", math.log(20), "the steepest of 61 x 61 points has 3.4 nats or more"),
        Check("most of the plane is flat", median, "<", 0.0, "the median is a gradient below 1"),
    ]
    note = (
        "A picture: loss and gradient over the two parameters of one unit that runs for 50 steps, all in one batched "
    )
    note += "run. No seed enters."
    return Reached([arm], "", checks, note, draw=lambda figure: found.draw(figure.subplots()))


def _arm(size: Size, seed: int, clip: float | None) -> Arm:
    steps, updates = (50, 200_000) if size == "full" else (QUICK_T, QUICK_UPDATES)
    tg.manual_seed(seed)
    task = temporal_order(steps, 2, "pascanu2013")
    net = Reader(tg.nn.RNN(6, 50), 50, 4)
    for parameter in net.parameters():
        if parameter.ndim == 2:
            tg.nn.init.normal_(parameter, 0.0, 0.1)
        else:
            tg.nn.init.zeros_(parameter)
    return trained(
        net,
        task,
        tg.optim.SGD(net.parameters(), lr=0.01),
        np.random.default_rng(seed),
        sequences=20,
        updates=updates,
        every=updates // 50,
        stop=lambda loss, wrong: wrong < 0.01,
        clip=clip,
        tested=10_000 if size == "full" else 2000,
        name="clipped to 1" if clip else "not clipped",
    )


QUICK_T, QUICK_UPDATES = 30, 20_000


def _clipping(size: Size, seed: int) -> Reached:
    arms = [_arm(size, seed, 1.0), _arm(size, seed, None)]
    clipped, free = arms
    losses = [arm.curve["test loss"][-1] for arm in arms]
    chance = 2 * math.log(2)
    checks = [
        Check(
            "clipped, the net leaves chance",
            losses[0],
            "<",
            0.7 * chance,
            "chance is log(4); seeds 0 and 1: 0.11 and 0.31",
        )
    ]
    said = {
        (True, False): "clipped solves it, unclipped does not",
        (True, True): "both solve it",
        (False, True): "unclipped solves it, clipped does not",
        (False, False): "neither solves it within the budget",
    }[clipped.solved, free.solved]
    note = f"On this seed: {said}. The paper speaks of rates of success over seeds and lengths; one seed is no rate."
    lowest = min(free.curve["test loss"])
    if lowest < 0.7 * chance and losses[1] > 0.9 * chance:
        note += f" Unclipped, the net had left chance (its loss was {lowest:.2g}) and was thrown back to it."
    return Reached(arms, "", checks, note)


def _method(stopping: str, size: str) -> Method:
    optimiser = "gradient descent, lr 0.01, 20 sequences an update, gradient norm clipped to 1, or not"
    return Method("tanh RNN of 50", "N(0, 0.1), biases 0", optimiser, stopping, size)


CLIPPING = Recipe(
    "clipping",
    "Temporal order with and without clipping",
    f"{PAPER}, figure 7",
    "which of A and B came at [T/10, 2T/10) and which at [5T/10, 6T/10); four classes",
    _method("fewer than 1 % of 10,000 wrong, or 5,000,000 updates", "T from 50 to 250, 5 seeds"),
    {
        "quick": _method(f"fewer than 1 % of 2,000 wrong, or {QUICK_UPDATES:,} updates", f"T = {QUICK_T}, one seed"),
        "full": _method("fewer than 1 % of 10,000 wrong, or 200,000 updates", "T = 50, each of the seeds"),
    },
    [
        Published("rates of success for T from 50 to 250, with and without clipping: curves", "P", "figure 7"),
    ],
    {"quick": "smaller task"},
    55.0,
    _clipping,
)

CLIFF = Recipe(
    "cliff",
    "The cliff: the error of one unit over its two parameters",
    f"{PAPER}, figure 6",
    "x_t = w s(x_(t-1)) + b, x_0 = 0.5, 50 steps; loss (s(x_50) - 0.7)^2",
    Method("one logistic unit", "all of a grid", "none", "none", "a surface over w and b"),
    {
        "quick": Method("the same", "w from 4 to 7, b from -3.5 to -2", "none", "none", "61 x 61 points"),
        "full": Method("the same", "w from 4 to 7, b from -3.5 to -2", "none", "none", "121 x 121 points"),
    },
    [Published("a picture with a steep wall", "P", "figure 6")],
    {"quick": "same recipe"},
    1.0,
    _cliff,
)
