"""Recipe: a classic experiment as data: what the paper did, what it published, what is done here, and how it ended.

Nothing is printed as a paper's figure that was not read in the paper, in its authors' programs, or in a text that
is named; how near a run here is to the paper's is said with one of four :data:`SAMENESS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import tinygrad_rnn as tg

from ...errors import ArgumentError
from ...typing import Array
from ..experiment import Check, Size, own_streams

__all__ = ["MARKS", "SAMENESS", "Arm", "Method", "Published", "Reached", "Recipe"]

SAMENESS = ("same recipe", "same task, modern recipe", "smaller task", "not reached")
"""How a figure reached here stands to the paper's: the last if the stopping rule was not met."""

MARKS = {
    "P": "read in the paper",
    "C": "read in the authors' program",
    "S": "read in a text about it, which is named",
    "R": "another reproduction's",
    "?": "recalled, not read",
}
"""Where a figure is from; with R and ? it is no paper's and is not printed as one."""
PRINTED = ("P", "C", "S")


@dataclass(frozen=True)
class Published:
    """A figure of a paper.

    Attributes:
        text: the figure, in words.
        mark: a key of :data:`MARKS`.
        where: the table or section; of mark S the text that it was read in.

    Raises:
        ArgumentError: no such mark.
    """

    text: str
    mark: Literal["P", "C", "S", "R", "?"]
    where: str

    def __post_init__(self) -> None:
        if self.mark not in MARKS:
            raise ArgumentError(f"a mark is one of {', '.join(MARKS)}, got {self.mark!r}")

    @property
    def printed(self) -> bool:
        """Whether it may stand in the column of the paper's figures."""
        return self.mark in PRINTED

    def __str__(self) -> str:
        return f"{self.text} [{self.mark}: {self.where}]"


@dataclass(frozen=True)
class Method:
    """How a net is trained: the part of an experiment that a modern recipe changes.

    Attributes:
        net: with its sizes.
        init: of its weights.
        optimiser: with learning rate, sequences per update and clipping.
        stopping: when training ends, and what is then called solved.
        size: of the task and of the training.
    """

    net: str
    init: str
    optimiser: str
    stopping: str
    size: str


@dataclass(frozen=True, eq=False)
class Arm:
    """What one net of a recipe reached.

    Attributes:
        name: which of the nets that are compared; "" if there is one.
        figure: what it reached, in words.
        updates, sequences: of training, until the stopping rule was met or the budget was spent.
        seconds: of the processor, for training and testing.
        solved: whether the stopping rule was met.
        curve: by name of an axis, numbers of equal count: x, then one or more y.
        baseline: the loss of the best answer without memory, drawn beside "test loss"; None: there is none.
    """

    name: str
    figure: str
    updates: int
    sequences: int
    seconds: float
    solved: bool
    curve: Mapping[str, Sequence[float]] = field(default_factory=dict)
    baseline: float | None = None


@dataclass(frozen=True, eq=False)
class Reached:
    """What :meth:`Recipe.reach` found.

    Attributes:
        arms: one, or one of each net that is compared.
        words: one of :data:`SAMENESS`; of ``Recipe.train`` "", as :meth:`Recipe.reach` knows it.
        checks: what a reader may rely on; a row whose check fails is a failure of the command.
        note: what the row shows, and what it does not.
        arrays: for its picture, beside the curves of the arms.
        draw: a picture other than the curves of the arms.
    """

    arms: Sequence[Arm]
    words: str
    checks: Sequence[Check]
    note: str
    arrays: Mapping[str, Array] = field(default_factory=dict)
    draw: Callable[[Any], None] | None = None

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True)
class Recipe:
    """A row of the table.

    Attributes:
        name: as the command line takes it.
        title: what it is about.
        source: the paper.
        task: what is to be learned.
        paper: how the paper trained.
        here: how it is trained here, by size: "quick" and, where it differs, "full"; "full" alone of a row that takes
            longer than a quick one may.
        published: figures, with their marks.
        sameness: of the run here, by size, if its stopping rule is met.
        seconds: that "quick", or else one seed of "full", takes on one core, about.
        train: ``train(size, seed)``, the run; use :meth:`reach`.

    Raises:
        ArgumentError: a word that is none of :data:`SAMENESS`.
    """

    name: str
    title: str
    source: str
    task: str
    paper: Method
    here: Mapping[Size, Method]
    published: Sequence[Published]
    sameness: Mapping[Size, str]
    seconds: float
    train: Callable[[Size, int], Reached] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.here or set(self.here) - {"quick", "full"}:
            raise ArgumentError(f"sizes are quick and full, got {', '.join(self.here) or 'none'}")
        for word in self.sameness.values():
            if word not in SAMENESS[:-1]:
                raise ArgumentError(f"sameness is one of {', '.join(SAMENESS[:-1])}, got {word!r}")

    @property
    def quick(self) -> bool:
        """Whether it has a quick size."""
        return "quick" in self.here

    def method(self, size: Size) -> Method:
        """How it is trained here."""
        return self.here[size] if size in self.here else next(iter(self.here.values()))

    def reach(self, size: Size, seed: int) -> Reached:
        """Train, and say what was reached: figure, updates, sequences, seconds, and how near to the paper's that is.

        Args:
            size: "quick", on one core within a minute; "full": the paper's size, or what a day has time for.
            seed: of all random numbers; the same seed reaches the same figures.

        Returns:
            :class:`Reached`, its words "not reached" unless the first of its arms is solved.

        Raises:
            ArgumentError: another size, or "quick" of a row that has "full" alone.
        """
        if size not in ("quick", "full"):
            raise ArgumentError(f'a size is "quick" or "full", got {size!r}')
        if size == "quick" and not self.quick:
            raise ArgumentError(f"{self.name} takes longer than a quick row: its size is full")
        with own_streams(seed):
            tg.set_default_dtype(tg.float32)
            found = self.train(size, seed)
        return dataclasses.replace(found, words=self.words(size, found.arms[0].solved))

    def words(self, size: Size, solved: bool) -> str:
        """One of :data:`SAMENESS`."""
        if not solved:
            return SAMENESS[-1]
        return self.sameness[size] if size in self.sameness else next(iter(self.sameness.values()))
