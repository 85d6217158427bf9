r"""Formulas: what a primitive computes and the vjp of each of its arguments, in LaTeX, beside the code that does it.

They are data for whoever shows or teaches a backward pass; the engine reads none of them.  The notation is that of
``docs/conventions.md``: :math:`\bar{y}` is the cotangent of y, :math:`\odot` the product entry by entry, and
:math:`\operatorname{sum}_{a}` the sum over the axes along which a was broadcast.

A symbol is the name of the argument or parameter that the primitive declares: itself if it is one letter, else as
:data:`SYMBOLS` writes it.
"""

from __future__ import annotations

__all__ = ["SYMBOLS", "Formula", "aligned", "bar", "sides", "symbol"]

SYMBOLS = {
    "alpha": r"\alpha",
    "beta": r"\beta",
    "bias": "b",
    "bias_hh": "b_{hh}",
    "bias_ih": "b_{ih}",
    "bound": r"\theta",
    "c0": "c_{0}",
    "condition": "c",
    "correction": "c",
    "decimals": "d",
    "delta": r"\delta",
    "dims": r"\pi",
    "eps": r"\epsilon",
    "exponent": "n",
    "factor": "f",
    "fill": "f",
    "h0": "h_{0}",
    "high": "u",
    "index": r"\iota",
    "left": r"\ell",
    "log_p": "a",
    "low": "l",
    "mask": "m",
    "nonlinearity": r"\varphi",
    "number": "m",
    "offset": "o",
    "out": "o",
    "padding_idx": "q",
    "parts": "p",
    "rate": "r",
    "right": "r",
    "scale": r"\lambda",
    "shifts": "s",
    "size": "w",
    "slope": "s",
    "source": "s",
    "step": "s",
    "threshold": r"\theta",
    "value": "v",
    "view": r"\iota",
    "weight": "W",
    "weight_hh": "W_{hh}",
    "weight_hr": "W_{hr}",
    "weight_ih": "W_{ih}",
    "width": "w",
}
"""How names of more than one letter are written."""


def symbol(name: str) -> str:
    r"""How an argument or a parameter is written.

    >>> symbol("a"), symbol("weight_ih"), symbol("beta")
    ('a', 'W_{ih}', '\\beta')
    """
    return SYMBOLS.get(name, name)


def bar(written: str) -> str:
    r"""How the cotangent of what is written so is written.

    >>> print(bar("a"), bar("W_{ih}"))
    \bar{a} \bar{W}_{ih}
    """
    letter, underscore, index = written.partition("_")
    return rf"\bar{{{letter}}}{underscore}{index}"


def aligned(*equations: str) -> str:
    r"""Several equations as one formula of as many lines.

    >>> print(aligned("h = a b", r"y = \tanh(h)"))
    \begin{aligned} h &= a b \\ y &= \tanh(h) \end{aligned}
    """
    lines = [equation.replace(" = ", " &= ", 1) for equation in equations]
    return r"\begin{aligned} " + r" \\ ".join(lines) + r" \end{aligned}"


def sides(equation: str) -> tuple[str, str]:
    r"""What an equation is of, and what that is; of several equations in lines, "" and all of them.

    >>> sides(r"\bar{a}_{ik} = \bar{y}_{i}")
    ('\\bar{a}_{ik}', '\\bar{y}_{i}')
    """
    if equation.startswith(r"\begin{aligned}"):
        return "", equation
    left, _, right = equation.partition(" = ")
    return left, right


class Formula:
    r"""The equations of a primitive.

    Args:
        value: the result; what stands left of the equals sign, ``y``, may be left out, unless it has an index.  Several
            equations (:func:`aligned`) stand in the order in which they are computed.
        inner: of a fused operation, the cotangents of its intermediate values, which the vjps read: also aligned.
        vjps: by name of argument, in the order of the arguments: its cotangent, of this one use; None where there is no
            gradient.  Here too what stands left may be left out, unless it has an index.

    >>> formula = Formula(r"a \odot b", a=r"\operatorname{sum}_{a}(\bar{y} \odot b)", b=None)
    >>> print(formula.value)
    y = a \odot b
    >>> print(formula.vjps["a"])
    \bar{a} = \operatorname{sum}_{a}(\bar{y} \odot b)
    """

    __slots__ = ("_value", "_vjps", "inner")

    def __init__(self, value: str, inner: str = "", /, **vjps: str | None) -> None:
        self._value, self.inner, self._vjps = value, inner, vjps

    @property
    def value(self) -> str:
        """The equation of the result."""
        return _completed(self._value, "y")

    @property
    def vjps(self) -> dict[str, str | None]:
        """By name of argument the equation of its cotangent, or None."""
        written = {name: bar(symbol(name)) for name in self._vjps}
        return {name: text and _completed(text, written[name]) for name, text in self._vjps.items()}

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments, in order."""
        return tuple(self._vjps)

    def __str__(self) -> str:
        return "\n".join([self.value, *([self.inner] if self.inner else []), *filter(None, self.vjps.values())])

    def __repr__(self) -> str:
        return f"<formula {self.value}>"

    def _repr_latex_(self) -> str:
        """In a notebook: all of it, typeset."""
        lines = str(self).split("\n")
        if any(line.startswith(r"\begin{aligned}") for line in lines):
            return r"$$\begin{gathered} " + r" \\ ".join(lines) + r" \end{gathered}$$"
        return f"$${aligned(*lines)}$$"


def _completed(text: str, of: str) -> str:
    """An equation, from one that may lack its left side."""
    return text if text.startswith((of + "_{", r"\begin{aligned}")) else f"{of} = {text}"
