r"""The formula of a record with the names that the program uses, and with its numbers.

For ``h = tg.tanh(z)`` the equation :math:`y = \tanh(a)` becomes :math:`h = \tanh(z)`, and with its numbers
:math:`0.4621 = \tanh(0.5)`.  The names are those of the tape: ``W``, ``h`` of time step 3, ``%7`` for what has none.

All is made of the places that ``mathml.py`` puts into a formula, one character for each name, so that no name is ever
read as LaTeX: what a program calls its variables is its own affair.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..backend import is_array, to_numpy
from ..tape.observe.records import Contribution, Record, Step
from .heat import number
from .markup import Html, clipped, joined, tag, visible
from .mathml import ARGUMENT, PARAMETER, RESULT, mathml, with_places

__all__ = ["Equation", "Name", "drawn", "latex_of_record", "latex_of_step", "of_contribution", "of_result", "stacked"]

LARGEST = 9
"""Arrays of up to so many entries are written into an equation."""
GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega".split()
)
NUMBER = re.compile(r"-?[\d.]+(?:e[+-]\d+)?")
NEXT_LINE = r" \\ "
BRACKETS = "border-left:1.5px solid;border-right:1.5px solid;border-radius:7px;padding:0 2px;margin:0 2px"
PLACE = re.compile("[\ue000-\uf8ff]")


class Name(NamedTuple):
    """What the program calls something, and at which time step."""

    text: str
    time: int | None = None

    @property
    def latex(self) -> str:
        r"""In LaTeX.

        >>> print(Name("h", 3).latex, Name("W1").latex, Name("W_hh").latex, Name("beta").latex)
        h_{3} W_{1} W_{\mathrm{hh}} \beta
        >>> print(Name('P["f"]').latex, Name("%7").latex)
        \mathrm{P["f"]} \%7
        """
        if NUMBER.fullmatch(self.text):
            return _digits(float(self.text)) if not self.text.startswith("-") else f"({_digits(float(self.text))})"
        stem, index = self._parts()
        indices = [] if index is None else [index if index.isdigit() or len(index) == 1 else rf"\mathrm{{{index}}}"]
        indices += [] if self.time is None else [str(self.time)]
        if stem in GREEK:
            written = "\\" + stem
        elif re.fullmatch(r"[A-Za-z]|%\d+", stem):
            written = _escaped(stem)
        else:
            written = rf"\mathrm{{{_escaped(stem)}}}"
        return written + (f"_{{{','.join(indices)}}}" if indices else "")

    @property
    def drawn(self) -> Html:
        """In MathML."""
        if NUMBER.fullmatch(self.text):
            digits = tag("mn", self.text.removeprefix("-"))
            return joined(tag("mo", "("), tag("mo", "-"), digits, tag("mo", ")")) if self.text[0] == "-" else digits
        stem, index = self._parts()
        if stem in GREEK:
            stem = unicodedata.lookup(f"greek small letter {stem.replace('lambda', 'lamda')}")
        indices = [text for text in (index, None if self.time is None else str(self.time)) if text is not None]
        letters = tag("mi", clipped(stem, 60))
        return tag("msub", letters, tag("mtext", ",".join(indices))) if indices else letters

    @property
    def is_letter(self) -> bool:
        """Whether it is one letter without an index, or a number."""
        plain = len(self.text) == 1 or self.text in GREEK or NUMBER.fullmatch(self.text)
        return bool(plain) and self.time is None

    def _parts(self) -> tuple[str, str | None]:
        """The name and its index: ``W_hh`` and ``W1`` have one."""
        found = re.fullmatch(r"([A-Za-z]|[a-z]{2,7}(?=_|\d))(?:_([A-Za-z0-9]{1,4})|([0-9]{1,3}))", self.text)
        if found and (len(found[1]) == 1 or found[1] in GREEK):
            return found[1], found[2] or found[3]
        return self.text, None


SPECIAL = {"\\": r"\backslash ", "^": r"\wedge ", "~": r"\sim ", " ": r"\ "}


def _escaped(text: str) -> str:
    r"""A name for the inside of ``\mathrm``."""
    return "".join([SPECIAL.get(c, "\\" + c if c in "_%#&${}" else c) for c in clipped(visible(text), 60)])


class Equation(NamedTuple):
    """An equation with places, and what stands there.

    Attributes:
        text: in LaTeX.
        names: by place.
        numbers: by place; None if they are not to be written.
        upright: the places whose vectors are columns.
    """

    text: str
    names: Mapping[str, Name]
    numbers: Mapping[str, Any] | None = None
    upright: frozenset[str] = frozenset()

    @property
    def latex(self) -> str:
        """With names."""
        return self._in_latex(self._grouped())

    @property
    def latex_of_numbers(self) -> str | None:
        """With numbers."""
        text = self._numbered()
        return None if text is None else self._in_latex(text)

    @property
    def drawn(self) -> Html:
        """In MathML, or as LaTeX in a line of code."""
        return self._in_mathml(self._grouped())

    @property
    def drawn_numbers(self) -> Html | None:
        """The equation of numbers."""
        text = self._numbered()
        return None if text is None else self._in_mathml(text)

    def _numbered(self) -> str | None:
        """With numbers in the places, but for those that say over the axes of what is summed."""
        if self.numbers is None or re.search("[\ue000-\uf8ff]}?_", self.text):
            return None  # an equation of single entries
        return _with_numbers(self.text, self.numbers, self.upright)

    def _in_latex(self, text: str) -> str:
        return PLACE.sub(lambda found: self._name(found[0]).latex, text)

    def _in_mathml(self, text: str) -> Html:
        found, latex = mathml(text), self._in_latex(text)
        if found is None:
            return tag("code", latex)
        # names are put in here, where they are escaped: the converter has seen the places alone
        return _annotated(re.sub("<mi>([\ue000-\uf8ff])</mi>|([\ue000-\uf8ff])", self._element, found), latex)

    def _element(self, found: re.Match[str]) -> str:
        name = self._name(found[1] or found[2])
        return name.drawn if found[1] else joined(name.text)

    def _name(self, place: str) -> Name:
        return self.names.get(place, Name("?"))

    def _grouped(self) -> str:
        """With brackets around what has an index already where another follows, and a long bar over long names."""
        text = re.sub(
            "([\ue000-\uf8ff])(?=[_^])", lambda f: f[0] if self._name(f[1]).is_letter else f"({f[1]})", self.text
        )
        return re.sub(
            r"\\bar\{([^{}]*)\}",
            lambda f: f[0] if all(self._name(c).is_letter for c in PLACE.findall(f[1])) else rf"\overline{{{f[1]}}}",
            text,
        )


def drawn(latex: str) -> Html:
    """LaTeX without names of the program as MathML; where that cannot be drawn, as a line of code."""
    text = mathml(latex)
    return tag("code", latex) if text is None else _annotated(text, latex)


def _annotated(text: str, latex: str) -> Html:
    """MathML with its LaTeX, which is copied with it, and stays where the elements of MathML are removed.

    The dollars are for MathJax, which notebooks have: it does not look into annotations, but typesets what is left of
    one in a notebook that is not trusted.
    """
    # few fonts have brackets that grow; a border does
    text = re.sub(r"<mo[^>]*>\[</mo><mtable>", f'<mtable style="{BRACKETS}">', text)
    text = re.sub(r"</mtable><mo[^>]*>\]</mo>", "</mtable>", text)
    inside = text.removeprefix("<math>").removesuffix("</math>")
    note = tag("annotation", f" ${latex}$", encoding="application/x-tex")
    return Html(
        f'<math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mrow>{inside}</mrow>{note}</semantics></math>'
    )


# numbers -------------------------------------------------------------------------------------------------------------

BAR = "bar "
"""Before a place: its cotangent."""
PIECE = re.compile(
    r"\\operatorname\{sum\}_\{(?P<over>[\ue000-\uf8ff])\}|\\bar\{(?P<bar>[\ue000-\uf8ff])\}|(?P<place>[\ue000-\uf8ff])"
    r"|\\(?:operatorname|text|begin|end)\{[^}]*\}|\\[a-zA-Z]+|\\.|.",
    re.DOTALL,
)
AROUND = set("(){}[],=+-|<>&") | {"", r"\odot", r"\le", r"\ge", r"\land", r"\lor"}
"""A number between two of these needs no brackets; one that is negative or a product, between two of the first four."""
INSIDE = {("(", ")"), ("{", "}"), ("", "="), ("=", ""), ("", "")}


def _with_numbers(text: str, numbers: Mapping[str, Any], upright: frozenset[str] = frozenset()) -> str | None:
    r"""The equation with its numbers; None if one is missing.

    Args:
        upright: the places whose vectors, and those of whose cotangents, are columns.

    >>> print(_with_numbers("\ue000 = 2 \ue001", {"\ue000": 1.0, "\ue001": 0.5}))
    1 = 2 (0.5)
    """
    pieces = [found for found in PIECE.finditer(text) if found[0] != " "]
    written: list[str] = []
    for k, piece in enumerate(pieces):
        if piece["over"]:  # the sum over axes along which what has this name was broadcast
            written.append(piece[0])
            continue
        key = piece["place"] or (piece["bar"] and BAR + piece["bar"])
        if not key:
            written.append(piece[0])
            continue
        value = _latex(numbers.get(key), column=key[-1] in upright)
        if value is None:
            return None
        before, after = (pieces[j][0] if 0 <= j < len(pieces) else "" for j in (k - 1, k + 1))
        if not value.startswith(r"\begin") and (before, after) not in INSIDE:
            if not (re.fullmatch(r"[\d.]+", value) and {before, after} <= AROUND):
                value = f"({value})"
        written.append(value)
    return " ".join(written).replace("{ ", "{").replace(" }", "}")


def _latex(value: Any, column: bool) -> str | None:
    """A number, a vector or a matrix of few entries in LaTeX."""
    if isinstance(value, (bool, int, float, complex)):
        return _digits(value)
    if value is None or not is_array(value) or value.ndim > 2 or not 0 < value.size <= LARGEST:
        return None
    array = to_numpy(value)
    if array.ndim == 0:
        return _digits(array.item())
    matrix = array[:, None] if column and array.ndim == 1 else np.atleast_2d(array)
    rows = [" & ".join([_digits(x) for x in row]) for row in matrix.tolist()]
    return rf"\begin{{bmatrix}} {NEXT_LINE.join(rows)} \end{{bmatrix}}"


def _digits(x: Any) -> str:
    r"""A number in LaTeX.

    >>> print(_digits(1e-7), _digits(float("inf")), _digits(2 - 1j))
    1 \times 10^{-7} \infty 2 - i
    """
    if isinstance(x, complex):
        text = number(x)
        return re.sub(r"(?<=\d)([+-])", r" \1 ", text).replace("j", "i").replace(" 1i", " i")
    text = number(x)
    if text.endswith("inf"):
        return text.replace("inf", r"\infty")
    if not NUMBER.fullmatch(text):
        return rf"\mathrm{{{text}}}"
    digits, _, exponent = text.partition("e")
    return rf"{digits} \times 10^{{{int(exponent)}}}" if exponent else digits


# of a record ---------------------------------------------------------------------------------------------------------


def of_result(record: Record) -> list[Equation]:
    """The equations of a record's result; none if its formula is not known."""
    latex, names, numbers = _places(record)
    if latex is None:
        return []
    upright = _upright(record)
    return [Equation(text, names, numbers if latex["filled"] else None, upright) for text in latex["value"]]


def of_contribution(step: Step, contribution: Contribution) -> list[Equation]:
    """The equations by which a step of a sweep computes what it gives to one argument of its record."""
    if step.record is None:
        return []
    latex, names, numbers = _places(step.record)
    position = contribution.position
    if latex is None or position >= len(latex["vjps"]) or latex["vjps"][position] is None:
        return []
    lines = latex["vjps"][position]
    if not latex["filled"]:
        return [Equation(text, names) for text in lines]
    given = dict(numbers)
    given[BAR + chr(RESULT)] = step.cotangent
    given[BAR + chr(ARGUMENT + position)] = contribution.value
    return [Equation(text, names, given, _upright(step.record)) for text in lines]


def _upright(record: Record) -> frozenset[str]:
    """Of a product: the second factor, if it is a vector, and then the result are columns."""
    if record.name != "matmul" or getattr(record.arguments[1], "ndim", None) != 1:
        return frozenset()
    return frozenset({chr(RESULT), chr(ARGUMENT + 1)})


def latex_of_record(record: Record) -> str | None:
    """The equations of a record, with names and with numbers, as one display; None if its formula is not known."""
    return stacked([text for found in of_result(record) for text in (found.latex, found.latex_of_numbers) if text])


def latex_of_step(step: Step) -> str | None:
    """The equations of what a step gives to each argument, likewise."""
    equations = [found for each in step.contributions for found in of_contribution(step, each)]
    return stacked([text for found in equations for text in (found.latex, found.latex_of_numbers) if text])


def _places(record: Record) -> tuple[dict[str, Any] | None, dict[str, Name], dict[str, Any]]:
    """The formula of a record with places, what the program calls them, and the values there."""
    formula = record.formula
    if formula is None:
        return None, {}, {}
    params = {
        name: value
        for name, value in record.params.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    latex = with_places(formula, record.argument_names, list(params))
    names = {chr(RESULT): Name(record.variable or f"%{record.number}", record.time if record.variable else None)}
    numbers: dict[str, Any] = {chr(RESULT): record.value}
    for k, (label, value) in enumerate(zip(record.inputs, record.arguments, strict=False)):
        is_number = label == "const" and isinstance(value, (bool, int, float))
        names[chr(ARGUMENT + k)] = Name(number(value) if is_number else label)
        numbers[chr(ARGUMENT + k)] = value
    for k, value in enumerate(params.values()):
        names[chr(PARAMETER + k)] = Name(number(value))
        numbers[chr(PARAMETER + k)] = value
    return latex, names, numbers


def stacked(equations: list[str]) -> str | None:
    r"""Several equations as one display, aligned at their equals signs, for ``_repr_latex_``; None if there are none.

    >>> print(stacked(["y = a", "b = c"]))
    $$\begin{aligned} y &= a \\ b &= c \end{aligned}$$
    """
    if not equations:
        return None
    if len(equations) == 1:
        return f"$${equations[0]}$$"
    lines = [text.replace(" = ", " &= ", 1) for text in equations]
    return rf"$$\begin{{aligned}} {NEXT_LINE.join(lines)} \end{{aligned}}$$"
