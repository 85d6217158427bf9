"""Small pictures: letters of two strokes, a blob to be found, and pictures to be cleaned of noise.

They stand for the tasks of the literature (handwriting, localisation of faces, reconstruction of images), which need
data that no package can carry.  Each needs what those need: the place of one thing beside another, wherever both are.

A picture is a grid of R rows and C columns; ``N`` pictures are (R, C, N), with the axis of the batch where the layers
of :mod:`tinygrad_rnn.nn` have it: ``x[..., None]`` goes into an MDLSTM, and ``x.swapaxes(1, 2)`` reads them row by row
(R steps, N, C features).
"""

from __future__ import annotations

import numpy as np

from ...errors import ArgumentError
from ...typing import Array

__all__ = ["CORNERS", "blobs", "corners", "denoising"]

CORNERS = ("┌", "┐", "└", "┘")
"""The letters of :func:`corners`; a letter's number is its place."""
SHORTEST = 3


def corners(rng: np.random.Generator, count: int, size: int = 8, noise: float = 0.0) -> tuple[Array, Array]:
    r"""Letters of two strokes that meet in a corner: which of the four corners is it?

    A horizontal and a vertical stroke, each 3 to ``size`` pixels long, share their ends.  The letter may be anywhere in
    the picture.  All four letters have the same numbers of pixels, the same strokes and the same places: only how the
    strokes lie to each other tells them apart, so rows alone or columns alone do not.

    Args:
        rng: draws everything.
        count: N.
        size: R and C.
        noise: probability that a pixel is inverted.

    Returns:
        ``x, y``: the pictures (R, C, N) of 0 and 1, and the numbers of the letters in ``CORNERS`` (N).

    Raises:
        ArgumentError: a size below 3, a count below 1, a probability outside [0, 1].

    >>> x, y = corners(np.random.default_rng(0), 1, size=5)
    >>> print("\n".join("".join("-#"[int(p)] for p in row) for row in x[:, :, 0]), CORNERS[y[0]])
    ---#-
    ---#-
    ---#-
    ####-
    ----- ┘
    """
    if size < SHORTEST or count < 1:
        raise ArgumentError(f"corners(): size must be at least {SHORTEST}, count 1, got {size} and {count}")
    _probability("corners", noise)
    y = rng.integers(0, len(CORNERS), count)
    height, width = rng.integers(SHORTEST, size + 1, (2, count))
    top, left = np.floor(rng.random((2, count)) * (size + 1 - np.stack([height, width]))).astype(np.int64)
    inverted = rng.random((size, size, count)) < noise
    r, c = np.arange(size)[:, None, None], np.arange(size)[None, :, None]
    down, across = (r >= top) & (r < top + height), (c >= left) & (c < left + width)
    row = np.where(y < 2, top, top + height - 1)  # of the horizontal stroke
    column = np.where(y % 2 == 0, left, left + width - 1)  # of the vertical one
    drawn = ((r == row) & across) | ((c == column) & down)
    return (drawn ^ inverted).astype(np.float64), y


def blobs(
    rng: np.random.Generator, count: int, size: int = 12, width: float = 1.5, noise: float = 0.3
) -> tuple[Array, Array]:
    """A bright spot in a noisy picture: where is its centre?

        x[r, c] = exp(-((r - r_0)^2 + (c - c_0)^2) / (2 width^2)) + noise * normal

    The centre (r_0, c_0) is uniform over the picture, and need not lie on a pixel.

    Args:
        rng: draws everything.
        count: N.
        size: R and C.
        width: standard deviation of the spot, in pixels.
        noise: standard deviation of the noise; the spot's top is 1.

    Returns:
        ``x, y``: the pictures (R, C, N), and the centres (N, 2), rows before columns, as shares of the picture from 0
        (the middle of the first pixel) to 1 (of the last).  Always answering the middle has a mean squared error of
        1/12.

    Raises:
        ArgumentError: a size below 2, a count below 1, a width that is not above 0, noise below 0.

    >>> x, y = blobs(np.random.default_rng(0), 500, noise=0.0)
    >>> brightest = np.stack(np.unravel_index(x.reshape(144, -1).argmax(0), (12, 12)), 1) / 11
    >>> bool(np.abs(brightest - y).max() < 0.5 / 11 + 1e-12)
    True
    """
    if size < 2 or count < 1 or not width > 0 or not noise >= 0:
        raise ArgumentError(
            "blobs(): size must be at least 2, count 1, width above 0 and noise not below, "
            f"got {size}, {count}, {width} and {noise}"
        )
    y = rng.random((count, 2))
    grain = rng.standard_normal((size, size, count))
    places = np.arange(size)[:, None]
    r, c = (np.exp(-((places - (size - 1) * y[:, axis]) ** 2) / (2 * width**2)) for axis in (0, 1))  # (R, N), (C, N)
    return r[:, None] * c[None] + noise * grain, y


def denoising(
    rng: np.random.Generator, count: int, size: int = 12, rectangles: int = 2, noise: float = 0.5
) -> tuple[Array, Array]:
    """Pictures of rectangles, and the same with noise: the clean ones are to be restored.

    Each rectangle has its opposite corners at two random pixels, both included; where rectangles overlap the picture is
    1 as well.

    Args:
        rng: draws everything.
        count: N.
        size: R and C.
        rectangles: how many in each picture.
        noise: standard deviation of the noise.

    Returns:
        ``x, y``: the noisy pictures and the clean ones of 0 and 1, (R, C, N) both.  Leaving them as they are has a mean
        squared error of noise^2.

    Raises:
        ArgumentError: numbers below 1, noise below 0.

    >>> x, y = denoising(np.random.default_rng(0), 1000, noise=0.5)
    >>> x.shape == y.shape == (12, 12, 1000), np.unique(y).tolist()
    (True, [0.0, 1.0])
    >>> round(float(((x - y) ** 2).mean()), 2)
    0.25
    """
    if min(size, count, rectangles) < 1 or not noise >= 0:
        raise ArgumentError(
            "denoising(): size, count and rectangles must be at least 1, noise not below 0, "
            f"got {size}, {count}, {rectangles} and {noise}"
        )
    ends = np.sort(rng.integers(0, size, (2, 2, rectangles, count)), 0)  # first and last, of rows and columns
    grain = rng.standard_normal((size, size, count))
    places = np.arange(size)[:, None, None]
    rows, columns = (
        (places >= ends[0, axis]) & (places <= ends[1, axis]) for axis in (0, 1)
    )  # (R or C, rectangles, N)
    y = (rows[:, None] & columns[None]).any(2).astype(np.float64)
    return y + noise * grain, y


def _probability(name: str, noise: float) -> None:
    if not 0 <= noise <= 1:
        raise ArgumentError(f"{name}(): noise must be a probability, got {noise}")
