"""Pictures: what is drawn for all at once is what is drawn pixel by pixel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.lab.tasks import pictures as tasks


def corners_pixel_by_pixel(rng: np.random.Generator, count: int, size: int, noise: float) -> tuple[Any, Any]:
    y = rng.integers(0, 4, count)
    lengths = rng.integers(3, size + 1, (2, count))
    places = rng.random((2, count))
    chance = rng.random((size, size, count))
    x = np.zeros((size, size, count))
    for n in range(count):
        height, width = (int(lengths[k, n]) for k in (0, 1))
        top, left = (int(places[k, n] * (size + 1 - length)) for k, length in ((0, height), (1, width)))
        letter = tasks.CORNERS[y[n]]
        for step in range(height):
            x[top + step, left if letter in "┌└" else left + width - 1, n] = 1
        for step in range(width):
            x[top if letter in "┌┐" else top + height - 1, left + step, n] = 1
        for r in range(size):
            for c in range(size):
                if chance[r, c, n] < noise:
                    x[r, c, n] = 1 - x[r, c, n]
    return x, y


def blobs_pixel_by_pixel(
    rng: np.random.Generator, count: int, size: int, width: float, noise: float
) -> tuple[Any, Any]:
    y = rng.random((count, 2))
    grain = rng.standard_normal((size, size, count))
    x = np.zeros((size, size, count))
    for n in range(count):
        for r in range(size):
            for c in range(size):
                away = math.hypot(r - y[n, 0] * (size - 1), c - y[n, 1] * (size - 1))
                x[r, c, n] = math.exp(-(away**2) / (2 * width**2)) + noise * grain[r, c, n]
    return x, y


def denoising_pixel_by_pixel(
    rng: np.random.Generator, count: int, size: int, rectangles: int, noise: float
) -> tuple[Any, Any]:
    ends = rng.integers(0, size, (2, 2, rectangles, count))
    grain = rng.standard_normal((size, size, count))
    y = np.zeros((size, size, count))
    for n in range(count):
        for k in range(rectangles):
            (top, left), (bottom, right) = ends[0, :, k, n], ends[1, :, k, n]
            for r in range(min(top, bottom), max(top, bottom) + 1):
                for c in range(min(left, right), max(left, right) + 1):
                    y[r, c, n] = 1
    return y + noise * grain, y


CASES = {
    "corners": (
        tasks.corners,
        corners_pixel_by_pixel,
        [(50, 3, 0.0), (50, 8, 0.0), (30, 8, 0.1), (5, 6, 1.0)],
    ),
    "blobs": (tasks.blobs, blobs_pixel_by_pixel, [(20, 2, 1.0, 0.0), (20, 9, 1.5, 0.3)]),
    "denoising": (tasks.denoising, denoising_pixel_by_pixel, [(20, 1, 1, 0.5), (20, 9, 2, 0.5), (20, 6, 5, 0.0)]),
}


@pytest.mark.parametrize("name", CASES)
def test_pictures_are_what_is_drawn_pixel_by_pixel(name: str) -> None:
    at_once, literal, cases = CASES[name]
    for arguments in cases:
        for seed in range(3):
            x, y = at_once(np.random.default_rng(seed), *arguments)  # type: ignore[operator]
            x_literal, y_literal = literal(np.random.default_rng(seed), *arguments)  # type: ignore[operator]
            assert x.dtype == np.float64
            np.testing.assert_allclose(x, x_literal, rtol=0, atol=1e-14)
            np.testing.assert_array_equal(y, y_literal)


def test_no_count_of_pixels_tells_a_letter() -> None:
    x, y = tasks.corners(np.random.default_rng(0), 40_000, 8)
    for statistic in (x.sum((0, 1)), x.sum(0).max(0), x.sum(1).max(0)):
        means = [statistic[y == letter].mean() for letter in range(4)]
        error = statistic.std() / math.sqrt(len(y) / 4)
        assert max(means) - min(means) < 6 * error
    np.testing.assert_allclose(np.bincount(y) / len(y), 0.25, atol=5 * math.sqrt(3 / 16 / len(y)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda rng: tasks.corners(rng, 1, 2),
        lambda rng: tasks.corners(rng, 0),
        lambda rng: tasks.corners(rng, 1, noise=-0.1),
        lambda rng: tasks.blobs(rng, 1, 1),
        lambda rng: tasks.blobs(rng, 1, width=0.0),
        lambda rng: tasks.blobs(rng, 1, noise=float("nan")),
        lambda rng: tasks.denoising(rng, 1, 0),
        lambda rng: tasks.denoising(rng, 1, rectangles=0),
        lambda rng: tasks.denoising(rng, 1, noise=-1.0),
    ],
)
def test_impossible_pictures_are_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="must be|at least"):
        wrong(np.random.default_rng(0))
