"""Experiments: a claim of the subject, as a computation whose checks can fail.

An experiment is a function ``run(size, seed)`` that gives a :class:`Result`.  Beside it stand *broken twins*, variants
that plant the mistake the claim is about; each must fail the check that it names, so a check that cannot fail is found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

import tinygrad_rnn as tg

from ..backend.random.generator import fork_rng
from ..diagnostics.result import number, plain
from ..tape.observe.text_table import table
from .pictures import drawn

__all__ = ["RELATIONS", "VERDICTS", "Check", "Experiment", "Result", "Size", "Twin", "experiment", "marked_lines"]
__all__ += ["own_streams"]

Size = Literal["quick", "full"]
"""How much is computed: "quick" in about a second, "full" with more seeds, longer sequences or real training."""

VERDICTS = ("holds", "holds if", "false as stated", "slip in the source", "historical")

RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
    "==": lambda value, bound: value == bound,
    "between": lambda value, bound: bound[0] <= value <= bound[1],
}

LINES = re.compile(r"^[ ]*# lab: begin\n(.*?)^[ ]*# lab: end$", re.MULTILINE | re.DOTALL)


def marked_lines(text: str) -> str:
    r"""The lines of a source between ``# lab: begin`` and ``# lab: end``; empty if none are marked.

    >>> marked_lines("if x:\n    # lab: begin\n    y = x\n    # lab: end\n")
    'y = x'
    """
    found = LINES.search(text)
    return inspect.cleandoc("\n" + found[1]).rstrip() if found else ""


@dataclasses.dataclass(frozen=True)
class Check:
    """One statement about a number that was measured.

    Attributes:
        name: what is so, in a few words.
        value: what was measured.
        relation: one of "<", "<=", ">", ">=", "==" and "between".
        bound: what it is compared with; of "between" a pair, both ends of which pass.
        why: why this bound: theory, or what other seeds gave.

    Raises:
        ValueError: no such relation, or a bound that does not fit it.

    >>> check = Check("shares add up to .grad", 3e-17, "<", 1e-12, "rounding of 200 sums")
    >>> check.passed, str(check)
    (True, 'shares add up to .grad: 3e-17 < 1e-12')
    >>> Check("a number", float("nan"), ">", 0, "nan is no number").passed
    False
    """

    name: str
    value: float
    relation: str
    bound: Any
    why: str

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise ValueError(f"a relation is one of {', '.join(RELATIONS)}, got {self.relation!r}")
        if (self.relation == "between") != isinstance(self.bound, (tuple, list)):
            raise ValueError(f"the bound of {self.relation!r} cannot be {self.bound!r}")
        if isinstance(self.value, (np.generic, tg.Tensor)):
            object.__setattr__(self, "value", self.value.item())

    @property
    def passed(self) -> bool:
        """Whether it is so; never of nan."""
        return bool(RELATIONS[self.relation](self.value, self.bound))

    @property
    def demanded(self) -> str:
        """The relation and its bound, as text."""
        if self.relation == "between":
            return f"between {number(self.bound[0])} and {number(self.bound[1])}"
        return f"{self.relation} {number(self.bound)}"

    def __str__(self) -> str:
        return f"{self.name}: {number(self.value)} {'' if self.passed else 'is not '}{self.demanded}"


@dataclasses.dataclass(frozen=True)
class Result:
    """What an experiment found.

    Attributes:
        checks: what had to be so.
        verdict: on the claim: one of "holds", "holds if", "false as stated", "slip in the source", "historical".
        because: the verdict's reason, a sentence with the figure; after "holds if" the condition.
        numbers: the figures worth a line in a table.
        arrays: what the picture is drawn from.
        draw: draws the picture into a figure of matplotlib; None where there is none.

    Raises:
        ValueError: no such verdict, or two checks of one name.
    """

    checks: Sequence[Check]
    verdict: str
    because: str
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    arrays: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    draw: Callable[[Any], None] | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"a verdict is one of {', '.join(VERDICTS)}, got {self.verdict!r}")
        names = [check.name for check in self.checks]
        if len(set(names)) < len(names):
            raise ValueError(f"two checks have one name: {', '.join(names)}")

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)

    def check(self, name: str) -> Check:
        """The check of that name.

        Raises:
            KeyError: there is none.
        """
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(f"no check is called {name!r}; there are {[check.name for check in self.checks]}")

    def table(self) -> str:
        """Numbers, checks and verdict as text."""
        parts = []
        if self.numbers:
            parts.append(table(["figure", "value"], [[k, number(v)] for k, v in self.numbers.items()], [1]))
        if self.checks:
            rows = [[c.name, number(c.value), c.demanded, "yes" if c.passed else "NO", c.why] for c in self.checks]
            parts.append(table(["check", "value", "must be", "is so", "why this bound"], rows, [1]))
        parts.append(f"{self.verdict}: {self.because}")
        return "\n\n".join(parts)

    def __str__(self) -> str:
        return self.table()

    def figure(self) -> Any:
        """The picture, as a figure of matplotlib on no background.

        Returns:
            The figure; None where the experiment has no picture.

        Raises:
            TinygradRnnError: matplotlib is not installed.
        """
        return None if self.draw is None else drawn(self.draw)

    def to_json(self) -> dict[str, Any]:
        """All but the picture as plain data; what is no number in JSON is "inf", "-inf" or "nan"."""
        checks = [{**plain(dataclasses.asdict(c)), "passed": c.passed} for c in self.checks]
        found = {"verdict": self.verdict, "because": self.because, "passed": self.passed, "checks": checks}
        return found | {"numbers": plain(dict(self.numbers)), "arrays": plain(dict(self.arrays))}


@dataclasses.dataclass(frozen=True)
class Twin:
    """A broken variant of an experiment.

    Attributes:
        mistake: what is wrong in it, in a few words.
        fails: the name of the check that finds it.
        function: of a size and a seed, as the experiment itself.
    """

    mistake: str
    fails: str
    function: Callable[[Size, int], Result]

    @property
    def text(self) -> str:
        """What its docstring says."""
        return inspect.getdoc(self.function) or ""

    def __call__(self, size: Size = "quick", seed: int = 0) -> Result:
        with own_streams(seed):
            return self.function(size, seed)


class Experiment:
    """One item of the laboratory; :func:`experiment` makes it of a function.

    Attributes:
        number: of the item, from 1 to 50.
        title: a few words.
        source: where the claim was made.
        seconds, full_seconds: about how long it takes on one core, in the two sizes.
        twins: its broken twins.
    """

    def __init__(
        self,
        function: Callable[[Size, int], Result],
        number: int,
        title: str,
        *,
        source: str,
        seconds: float,
        full_seconds: float,
    ) -> None:
        self.function = function
        self.number, self.title, self.source = number, title, source
        self.seconds, self.full_seconds = seconds, full_seconds
        self.twins: list[Twin] = []
        self._smallest: Callable[[], Any] | None = None

    @property
    def name(self) -> str:
        """As ``lab spectral-radius`` names it: that of its file, ``i05_spectral_radius.py``."""
        return self.function.__module__.rpartition(".")[2].partition("_")[2].replace("_", "-")

    @property
    def path(self) -> pathlib.Path:
        """Its file."""
        return pathlib.Path(inspect.getfile(self.function))

    @property
    def text(self) -> str:
        """What its file says about it, in Markdown with LaTeX between dollars; the first line is the claim."""
        return inspect.getdoc(inspect.getmodule(self.function)) or ""

    @property
    def claim(self) -> str:
        """The claim in one line."""
        return self.text.split("\n", 1)[0]

    @property
    def lines(self) -> str:
        """The lines that do it, cut from the file; empty if none are marked."""
        return marked_lines(self.path.read_text(encoding="utf-8"))

    def __call__(self, size: Size = "quick", seed: int = 0) -> Result:
        """Run it.  The random streams and the default dtype of the caller are as before.

        Args:
            size: "quick" or "full".
            seed: of all random numbers; the same seed gives the same result.

        Raises:
            ValueError: no such size.
        """
        if size not in ("quick", "full"):
            raise ValueError(f'a size is "quick" or "full", got {size!r}')
        with own_streams(seed):
            return self.function(size, seed)

    def broken(self, mistake: str, *, fails: str) -> Callable[[Callable[[Size, int], Result]], Twin]:
        """Make a function a broken twin of this experiment: ``@run.broken("ascending order", fails="order")``."""

        def made(function: Callable[[Size, int], Result]) -> Twin:
            twin = Twin(mistake, fails, function)
            self.twins.append(twin)
            return twin

        return made

    def smallest(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Make a function the one that records the smallest case, for the page that steps through it."""
        self._smallest = function
        return function

    def tape(self) -> Any:
        """The tape of the smallest case; None where there is none."""
        if self._smallest is None:
            return None
        with own_streams(0):
            return self._smallest()

    def __repr__(self) -> str:
        return f"<Experiment {self.number}, {self.name}: {self.title}>"


def experiment(
    number: int, title: str, *, source: str, seconds: float, full_seconds: float
) -> Callable[[Callable[[Size, int], Result]], Experiment]:
    """Make a function of a size and a seed an experiment.  See :class:`Experiment`."""

    def made(function: Callable[[Size, int], Result]) -> Experiment:
        return Experiment(function, number, title, source=source, seconds=seconds, full_seconds=full_seconds)

    return made


@contextlib.contextmanager
def own_streams(seed: int) -> Iterator[None]:
    """Inside, the generator begins with ``seed`` and numbers are float64; afterwards all is as before."""
    before = tg.get_default_dtype()
    with fork_rng():
        try:
            tg.set_default_dtype(tg.float64)
            tg.manual_seed(seed)
            yield
        finally:
            tg.set_default_dtype(before)
