r"""Handwriting, localisation, reconstruction: an RNN that reads a picture row by row does small versions of all three.

S3 names the tasks by which answers to vanishing gradients were shown to work: connected handwriting for the
multidimensional LSTM, the reconstruction of images and the localisation of faces for Behnke's pyramids, which were
trained with Rprop. Their data cannot be carried by a package, so they are replaced by three generators that ask for the
same: what lies where beside what, anywhere in a picture.

The net is the same each time: two GRUs, one reading from the top, one from the bottom, with a row of pixels as a step.
What counts is what it is compared with. For letters that is chance; for the centre of a blob always answering the
middle, and also taking the brightest pixel; for a noisy picture not just leaving it as it is, but the best estimate
that looks at each pixel alone. Only what beats that one has used the neighbours.

## Mathematics
With noise of variance $\sigma^2$ and a share $p$ of bright pixels, the best that can be said of a pixel $y$ from its
own noisy value $x$ is
$$E[y \mid x] = \frac{1}{1 + \frac{1 - p}{p} \exp\!\left(-\frac{x - 1/2}{\sigma^2}\right)} ,$$
whose mean squared error is the baseline of the third task. Always answering the middle of a unit square misses each
coordinate of a uniform point by a mean square of $1/12$.

## Try it
>>> import numpy as np
>>> from tinygrad_rnn.lab.tasks.pictures import CORNERS, corners
>>> x, y = corners(np.random.default_rng(0), 10_000)
>>> [round(float(x[..., y == letter].sum((0, 1)).mean())) for letter in range(4)]   # pixels do not tell a letter
[10, 10, 10, 10]

## It would be false if
a net with the same training were no better than the baselines.

## Exercise
The blob's centre is read off the last state of both GRUs. Replace them by one GRU that reads from the top. Which of the
two coordinates gets worse, and why?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment
from ..fitting import fit
from ..tasks.pictures import CORNERS, blobs, corners, denoising

R = 10
"""Rows and columns."""


class RowByRow:
    """Two GRUs with a row of pixels as a step, and a linear output: of the whole picture, or of each row."""

    def __init__(self, outputs: int, each_row: bool, features: int = R) -> None:
        self.rnn = tg.nn.GRU(features, 24, bidirectional=True)
        self.output, self.each_row = tg.nn.Linear(48, outputs), each_row

    # lab: begin
    def __call__(self, x: Any) -> Any:
        """Of pictures (R, C, N): (R, C, N) if there is an output for each row, else (N, outputs)."""
        rows = tg.tensor(x.swapaxes(1, 2))  # R steps, N pictures, C features
        states, last = self.rnn(rows)
        if self.each_row:
            return self.output(states).permute(0, 2, 1)
        return self.output(tg.cat([last[0], last[1]], -1))  # both have read the whole picture

    # lab: end

    def trained(self, draw: Any, compare: Any, rng: np.random.Generator, updates: int) -> RowByRow:
        """This net, after so many updates of 32 fresh pictures."""

        def loss() -> Any:
            x, y = draw(rng, 32)
            return compare(self(x), tg.tensor(y))

        fit([self.rnn, self.output], loss, updates)
        return self


def squared(a: Any, b: Any) -> Any:
    """The mean squared error."""
    return ((a - b) ** 2).mean()


def measured(size: Size, seed: int, target: str = "clean", rows_alone: bool = False) -> Result:
    """Three nets and their baselines."""
    updates = 200 if size == "quick" else 2000
    rng = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}

    def letters(rng: np.random.Generator, count: int) -> Any:
        x, y = corners(rng, count, R)
        return (x.sum(1, keepdims=True) if rows_alone else x), y

    def spots(rng: np.random.Generator, count: int) -> Any:
        return blobs(rng, count, R)

    def noisy(rng: np.random.Generator, count: int) -> Any:
        x, y = denoising(rng, count, R)
        return x, (x if target == "noisy" else y)

    reader = RowByRow(4, False, 1 if rows_alone else R).trained(letters, tg.nn.functional.cross_entropy, rng, updates)
    finder = RowByRow(2, False).trained(spots, squared, rng, updates)
    cleaner = RowByRow(R, True).trained(noisy, squared, rng, updates)
    with tg.no_grad():
        x, y = letters(rng, 1000)
        said = reader(x).numpy().argmax(1)
        right = float(np.mean(said == y))
        arrays |= {"letter": x[:, :, 0], "said": said[:1]}
        x, y = blobs(rng, 1000, R)
        found = finder(x).numpy()
        brightest = np.stack(np.unravel_index(x.reshape(R * R, -1).argmax(0), (R, R)), 1) / (R - 1)
        error = {name: float(squared(place, y)) for name, place in (("net", found), ("brightest", brightest))}
        arrays |= {"blob": x[:, :, 0], "centre": y[0] * (R - 1), "found": found[0] * (R - 1)}
        x, y = denoising(rng, 1000, R)
        restored = cleaner(x).numpy()
        p = y.mean()
        alone = squared(1 / (1 + (1 - p) / p * np.exp(-(x - 0.5) / 0.5**2)), y)
        arrays |= {"noisy": x[:, :, 0], "restored": restored[:, :, 0], "clean": y[:, :, 0]}
    cleaned = float(squared(restored, y))
    checks = [
        Check("letters told", right, ">", 0.8, "chance is 0.25, rows alone 0.5; the least of 20 seeds 0.98"),
        Check("blob, against the middle", error["net"] * 12, "<", 0.2, "the largest of 20 seeds 0.065"),
        Check(
            "blob, against the brightest pixel",
            error["net"] / error["brightest"],
            "<",
            0.9,
            "the largest of 20 seeds 0.65",
        ),
        Check("noise, against leaving it", cleaned / 0.25, "<", 0.6, "the largest of 20 seeds 0.20"),
        Check("noise, against each pixel alone", cleaned / alone, "<", 0.8, "the largest of 20 seeds 0.51"),
    ]
    numbers = {
        "letters told": right,
        "squared error of the centre, net": error["net"],
        "brightest pixel": error["brightest"],
        "the middle": 1 / 12,
        "squared error of a pixel, net": cleaned,
        "each pixel alone, at best": alone,
        "left as it is": 0.25,
    }
    because = (
        f"the tasks were their papers'; of their small versions {right:.0%} of letters are told, "
        f"and noise is {cleaned / alone:.0%} of what is possible pixel by pixel"
    )
    return Result(checks, "historical", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """A letter, a blob with both centres, and a picture before and after."""
    axes = figure.subplots(2, 3, sharex=True, sharey=True).reshape(-1)
    titles = {"noisy": "noisy", "restored": "restored by the net", "clean": "clean"}
    titles |= {"letter": f"a letter; the net says {CORNERS[int(arrays['said'][0])]}", "blob": "a blob and its centre"}
    for ax, (name, title) in zip(axes, titles.items(), strict=False):
        ax.imshow(arrays[name], cmap="cividis", vmin=0, vmax=1)
        ax.set_title(title, fontsize=9)
    for place, name, k in (("centre", "where it is", 1), ("found", "where the net says", 3)):
        r, c = arrays[place]
        axes[4].plot(
            c, r, linestyle="none", marker=MARKERS[k], color=COLOURS[k], markersize=8, fillstyle="none", label=name
        )
        axes[5].plot([], [], linestyle="none", marker=MARKERS[k], color=COLOURS[k], fillstyle="none", label=name)
    axes[5].set_axis_off()
    axes[5].legend(fontsize=9, loc="center", labelcolor=GREY, frameon=False)
    for k in (3, 4):
        axes[k].set_xlabel("column")
    for k in (0, 3):
        axes[k].set_ylabel("row")


@experiment(
    49,
    "Tasks with pictures",
    source="encyclopaedia S3; Behnke 2003; Graves and Schmidhuber 2009",
    seconds=1.5,
    full_seconds=15,
)
def run(size: Size, seed: int) -> Result:
    """What a net that reads pictures row by row makes of letters, blobs and noise."""
    return measured(size, seed)


@run.broken("the target is the noisy picture", fails="noise, against leaving it")
def noisy_target(size: Size, seed: int) -> Result:
    """The net is trained to give back what it gets."""
    return measured(size, seed, target="noisy")


@run.broken('"the sums of rows are enough"', fails="letters told")
def rows_alone(size: Size, seed: int) -> Result:
    """Of each row only the number of pixels is read, so left and right are lost."""
    return measured(size, seed, rows_alone=True)


@run.smallest
def smallest() -> tg.Tape:
    """A picture of three rows of two pixels, read from the top by one unit."""
    x = tg.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]], requires_grad=True)
    w, u = tg.tensor([0.7, -0.4], requires_grad=True), tg.tensor(0.9, requires_grad=True)
    with tg.Tape() as tape:
        h = tg.tensor(0.0)
        for t in range(3):
            with tape.at(t=t):
                h = tg.tanh(u * h + w @ x[t])
        ((h - 1.0) ** 2).backward()
    return tape
