r"""Formulas as MathML, which browsers draw by themselves: the LaTeX of ``tape/formula.py``, converted.

The debugger shows a formula with the names that the program uses.  So it gets a :class:`Template`, in which each name
is one character of Unicode's private area, and puts the names there itself:

    U+E000          the result, y
    U+E001 + k      argument k
    U+E100 + k      parameter k, if it is a number

Conversion takes ``latex2mathml`` (the extra ``viz``).  Without it formulas are shown as LaTeX.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from ..tape.formula import Formula, bar, sides, symbol

__all__ = ["ARGUMENT", "PARAMETER", "RESULT", "equations", "mathml", "template", "with_places"]

RESULT, ARGUMENT, PARAMETER = 0xE000, 0xE001, 0xE100
TOKEN = re.compile(r"\\(?:operatorname|text|begin|end)\{[^}]*\}|\\[a-zA-Z]+|\\.|.", re.DOTALL)
"""A piece of LaTeX: what stands in ``\text{...}`` is one."""


@functools.cache
def _convert() -> Any:
    """The converter; None where it is not installed."""
    try:
        from latex2mathml.converter import convert
    except ImportError:
        return None
    return convert


@functools.lru_cache(maxsize=4096)
def mathml(latex: str) -> str | None:
    r"""One equation as MathML; None where ``latex2mathml`` is not installed.

    >>> print(mathml(r"\bar{a} = 2 \bar{y}"))           # doctest: +SKIP
    <math><mover><mi>a</mi><mo>¯</mo></mover><mo>=</mo><mn>2</mn><mover><mi>y</mi><mo>¯</mo></mover></math>
    """
    convert = _convert()
    if convert is None:
        return None
    text: str = convert(latex)
    text = re.sub(r"^<math[^>]*>", "<math>", text)
    # what is the default anyway, or says nothing
    text = re.sub(r' (?:stretchy="true"|display="inline"|linethickness="[^"]*")', "", text)
    text = re.sub(r"<(mover|msub|msup|munder)><mrow>(<m[ino]>[^<]*</m[ino]>)</mrow>", r"<\1>\2", text)
    text = re.sub(r"<mrow>(<m[in]>[^<]*</m[in]>)</mrow>", r"\1", text)
    text = re.sub(r"&#x0*([0-9A-Fa-f]+);", _character, text)
    return text


def _character(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return found[0] if character in "<>&" else character


def equations(text: str) -> list[str]:
    r"""The lines of a formula of several equations; of one, itself.

    >>> equations(r"\begin{aligned} h &= a b \\ y &= \tanh(h) \end{aligned}")
    ['h = a b', 'y = \\tanh(h)']
    """
    start, end = r"\begin{aligned} ", r" \end{aligned}"
    if not text.startswith(start):
        return [text]
    lines, depth = [""], 0
    for token in TOKEN.findall(text[len(start) : -len(end)]):
        depth += token.startswith(r"\begin{") - token.startswith(r"\end{")
        if token == r"\\" and depth == 0:
            lines.append("")
        else:
            lines[-1] += token
    return [line.strip().replace("&= ", "= ", 1) for line in lines]


def template(formula: Formula, arguments: Sequence[str], params: Sequence[str]) -> dict[str, Any]:
    r"""A formula with places for names, as plain data.

    Args:
        formula: of the primitive.
        arguments: the names of the arguments of the record, which may be more than the formula has (``cat``).
        params: the names of the parameters that are numbers.

    Returns:
        ``value``, ``inner`` (lists of equations), ``vjps`` (for each argument a list, or None), ``alone`` (the same for
        arguments that are not broadcast), ``letters`` (what the formula calls the arguments) and ``filled``, whether
        there are places in the equations: those of a fused layer speak of its inner values and stay as they are.

    >>> template(Formula(r"a^{n}", a=r"n \bar{y}"), ["a"], ["exponent"])["filled"]
    True
    """
    latex = with_places(formula, arguments, params)
    return {
        "value": _drawn(latex["value"]),
        "inner": _drawn(latex["inner"]),
        "vjps": [None if lines is None else _drawn(lines) for lines in latex["vjps"]],
        "alone": [None if lines is None else _drawn(lines) for lines in latex["alone"]],
        "letters": _drawn([symbol(name) for name in arguments]),
        "filled": latex["filled"],
    }


def _drawn(lines: list[str]) -> list[str]:
    return [mathml(line) or line for line in lines]


def with_places(formula: Formula, arguments: Sequence[str], params: Sequence[str]) -> dict[str, Any]:
    """The same in LaTeX, but for the letters."""
    filled = not formula.value.startswith(r"\begin{aligned}") and len(arguments) == len(formula.arguments)
    places: dict[str, str] = {}
    if filled:
        places = {symbol(name): chr(PARAMETER + k) for k, name in enumerate(params)}
        places |= {symbol(name): chr(ARGUMENT + k) for k, name in enumerate(arguments)} | {"y": chr(RESULT)}
    vjps = list(formula.vjps.values())
    if len(vjps) == 1 and len(arguments) > 1:  # of any number of arguments: one for all
        vjps *= len(arguments)
    vjps += [None] * (len(arguments) - len(vjps))

    def lines(text: str) -> list[str]:
        return [_placed(line, places) for line in equations(text)]

    return {
        "value": lines(formula.value),
        "inner": lines(formula.inner) if formula.inner else [],
        "vjps": [None if text is None else lines(text) for text in vjps],
        "alone": [None if text is None else lines(unsummed(text)) for text in vjps],
        "filled": filled,
    }


def unsummed(text: str) -> str:
    r"""An equation without the sum over the axes along which an argument was broadcast.

    >>> print(unsummed(r"\bar{b} = -\operatorname{sum}_{b}(\bar{y} \odot \frac{a}{b^2})"))
    \bar{b} = -\bar{y} \odot \frac{a}{b^2}
    """
    found = re.search(r"\\operatorname\{sum\}_\{\w+\}\(", text)
    if found is None:
        return text
    depth, end, sum_inside = 1, found.end(), False
    while depth:
        sum_inside |= depth == 1 and text[end] in "+-"
        depth += (text[end] in "({") - (text[end] in ")}")
        end += 1
    inside = text[found.end() : end - 1]
    alone = text[: found.start()].endswith("= ") and end == len(text)
    return text[: found.start()] + (f"({inside})" if sum_inside and not alone else inside) + text[end:]


def _placed(text: str, places: dict[str, str]) -> str:
    """An equation with places instead of names."""
    left, right = sides(text)
    for written in places:
        if len(written) > 1 and not written.startswith("\\"):  # as W_{ih}
            for form in (bar(written), written):
                place = places[written]
                left, right = (side.replace(form, form.replace(written, place)) for side in (left, right))
    whole = f"{left} = {right}" if left else right
    return "".join([places.get(token, token) for token in TOKEN.findall(whole)])
