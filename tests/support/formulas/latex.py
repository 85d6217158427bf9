r"""A parser of the LaTeX in which formulas are written: the subset of docs/conventions.md, and nothing else.

It gives nodes, tuples whose first entry is the kind:

    ("number", value)                       ("name", key, subscript)     key as it is written: a, \bar{y}, h', \mu
    ("call", function, subscript, argument, ...)                         \exp(a), \iota_{m}(i), \max(a, b)
    ("over", operator, letters, conditions, body)                        \sum_{l \le k} body; prod, max, min, median
    ("product", ((operator, factor), ...))  operator: "odot", or "" where two factors stand side by side
    ("sum", ((sign, term), ...))            ("power", base, exponent)    ("transpose", base)      ("mod", a, b)
    ("fraction", a, b)  ("root", a)  ("size", a)  ("floor", a)  ("ceil", a)  ("holds", condition)
    ("cases", ((value, condition or None), ...))
    ("relation", (a, b, ...), (relation, ...))   ("and", a, b)  ("or", a, b)  ("not", a)
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["COMMANDS", "Node", "Unreadable", "equations", "expression", "indices", "tokens"]

Node = tuple[Any, ...]

FUNCTIONS = {"tanh", "sinh", "cosh", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "exp", "log", "max", "min"}
NAMED = {"sign", "trunc", "round", "erf", "arsinh", "arcosh", "artanh", "atan2", "median", "sum"}
NAMED |= {
    "bessel",
    "digamma",
    "erfc",
    "erfcx",
    "erfinv",
    "gammainc",
    "gammaincc",
    "lgamma",
    "ndtri",
    "polygamma",
    "zeta",
}
"""Functions written as ``\\operatorname{...}``."""
GREEK = {"alpha", "beta", "delta", "epsilon", "theta", "iota", "lambda", "mu", "pi", "sigma", "varphi", "ell"}
APPLIED = {r"\sigma", r"\varphi", r"\varphi'", r"\iota", r"\pi"}
"""Names that are functions where a bracket follows."""
RELATIONS = {"=": "=", "<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!="}
COMMANDS = FUNCTIONS | GREEK
COMMANDS |= {"bar", "frac", "sqrt", "odot", "operatorname", "sum", "prod", "top", "begin", "end", "text", "bmod"}
COMMANDS |= {"le", "ge", "ne", "land", "lor", "lnot", "lfloor", "rfloor", "lceil", "rceil"}

TOKEN = re.compile(r"\\[a-zA-Z]+|\\\\|\d+(?:\.\d+)?|[a-zA-Z]|[-+()\[\]{}|,=<>&_^']|\s+")


class Unreadable(Exception):
    """What is no formula of the subset."""


def tokens(text: str) -> list[str]:
    """The tokens of a formula; a command keeps its backslash."""
    found, place = [], 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise Unreadable(f"{text[place]!r} at {place} of {text!r}")
        if not match.group().isspace():
            found.append(match.group())
        place = match.end()
    return found


class Parser:
    """A recursive descent over tokens."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.place, self.in_bars = text, tokens(text), 0, False

    def peek(self, ahead: int = 0) -> str:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else ""

    def next(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1]

    def accept(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self.place += 1
        return True

    def expect(self, *wanted: str) -> None:
        for token in wanted:
            if not self.accept(token):
                raise Unreadable(f"expected {token!r}, found {self.peek()!r}, in {self.text!r}")

    # conditions

    def condition(self) -> Node:
        found = self.conjunction()
        while self.accept(r"\lor"):
            found = ("or", found, self.conjunction())
        return found

    def conjunction(self) -> Node:
        found = self.relation()
        while self.accept(r"\land"):
            found = ("and", found, self.relation())
        return found

    def relation(self) -> Node:
        if self.accept(r"\lnot"):
            return ("not", self.relation())
        sides, relations = [self.sum()], []
        while self.peek() in RELATIONS:
            relations.append(RELATIONS[self.next()])
            sides.append(self.sum())
        return ("relation", tuple(sides), tuple(relations)) if relations else sides[0]

    # numbers

    def sum(self) -> Node:
        sign = "-" if self.accept("-") else "+"
        terms = [(sign, self.product())]
        while self.peek() in ("+", "-"):
            sign = self.next()
            terms.append((sign, self.product()))
        found = terms[0][1] if len(terms) == 1 and sign == "+" else ("sum", tuple(terms))
        return ("mod", found, self.product()) if self.accept(r"\bmod") else found

    def product(self) -> Node:
        factors = [("", self.power())]
        while True:
            if self.accept(r"\odot"):
                factors.append(("odot", self.power()))
            elif self.starts_factor():
                factors.append(("", self.power()))
            else:
                return factors[0][1] if len(factors) == 1 else ("product", tuple(factors))

    def starts_factor(self) -> bool:
        token = self.peek()
        if token == "|":
            return not self.in_bars
        if token.startswith("\\"):
            name = token[1:]
            opens = {"frac", "sqrt", "operatorname", "sum", "prod", "bar", "lfloor", "lceil", "begin"}
            return name in FUNCTIONS | GREEK | opens
        return token.isalnum() or token in ("(", "[")

    def power(self) -> Node:
        base = self.base()
        while self.accept("^"):
            if self.accept(r"\top"):
                base = ("transpose", base)
            else:
                base = ("power", base, self.group())
        return base

    def group(self) -> Node:
        if not self.accept("{"):
            return self.base()
        found = self.inside(self.condition, "}")
        return found

    def inside(self, parse: Any, end: str) -> Node:
        bars, self.in_bars = self.in_bars, False
        found: Node = parse()
        self.in_bars = bars
        self.expect(end)
        return found

    def raw_group(self) -> str:
        """What stands in a subscript, as it is written."""
        if not self.accept("{"):
            return self.next()
        depth, found = 1, []
        while True:
            token = self.next() if self.peek() else self.expect("}") or ""
            depth += {"{": 1, "}": -1}.get(token, 0)
            if not depth:
                return "".join(found)
            # a command before a letter needs its space
            spaced = token.isalpha() and found and found[-1].startswith("\\") and found[-1][-1].isalpha()
            found.append(" " + token if spaced else token)

    def subscript(self) -> str:
        return self.raw_group() if self.accept("_") else ""

    def arguments(self) -> tuple[Node, ...]:
        self.expect("(")
        bars, self.in_bars = self.in_bars, False
        found = [self.sum()]
        while self.accept(","):
            found.append(self.sum())
        self.in_bars = bars
        self.expect(")")
        return tuple(found)

    def over(self, operator: str, letters: str) -> Node:
        """What is formed over a letter, of the product that follows."""
        bound, conditions = letters[:1], []
        for part in letters.split(","):
            if len(part) > 1:
                conditions.append(Parser(part).condition())
        return ("over", operator, bound, tuple(conditions), self.product())

    def base(self) -> Node:
        token = self.next() if self.peek() else ""
        if token.replace(".", "").isdigit():
            return ("number", float(token))
        if token == "(":
            return self.inside(self.sum, ")")
        if token == "[":
            return ("holds", self.inside(self.condition, "]"))
        if token == "|":
            self.in_bars = True
            found = self.sum()
            self.in_bars = False
            self.expect("|")
            return ("size", found)
        if token.isalpha():
            return self.name(token)
        return self.command(token)

    def name(self, key: str) -> Node:
        while self.accept("'"):
            key += "'"
        subscript = self.subscript()
        if key in APPLIED and self.peek() == "(":
            return ("call", key.strip("\\"), subscript, *self.arguments())
        return ("name", key, subscript)

    def command(self, token: str) -> Node:
        name = token[1:]
        if token == r"\bar":
            self.expect("{")
            letter = self.next()
            self.expect("}")
            return self.name(rf"\bar{{{letter}}}")
        if name in GREEK:
            return self.name(token)
        if token == r"\frac":
            return ("fraction", self.group(), self.group())
        if token == r"\sqrt":
            return ("root", self.group())
        if token in (r"\lfloor", r"\lceil"):
            return (name[1:], self.inside(self.sum, token.replace("l", "r", 1)))
        if token in (r"\sum", r"\prod"):
            return self.over(name, self.subscript())
        if token == r"\operatorname":
            name = self.raw_group()
            if name not in NAMED:
                raise Unreadable(f"unknown function {name!r} in {self.text!r}")
            letters = self.subscript()
            if name == "median":
                return ("over", name, letters, (), *self.arguments())
            return ("call", name, letters, *self.arguments())
        if token in (r"\max", r"\min") and self.peek() == "_":
            return self.over(name, self.subscript())
        if name in FUNCTIONS:
            return ("call", name, "", *self.arguments())
        if token == r"\begin":
            return self.cases()
        raise Unreadable(f"{token!r} in {self.text!r}")

    def cases(self) -> Node:
        self.expect("{", *"cases", "}")
        rows: list[tuple[Node, Node | None]] = []
        while True:
            value = self.sum()
            self.expect("&")
            if self.accept(r"\text"):
                self.expect("{", *"otherwise", "}")
                rows.append((value, None))
            else:
                rows.append((value, self.condition()))
            if not self.accept("\\\\"):
                self.expect(r"\end", "{", *"cases", "}")
                return ("cases", tuple(rows))


def expression(text: str) -> Node:
    """A whole expression.

    >>> expression("a - 2 b")
    ('sum', (('+', ('name', 'a', '')), ('-', ('product', (('', ('number', 2.0)), ('', ('name', 'b', '')))))))
    """
    parser = Parser(text)
    found = parser.condition()
    if parser.peek():
        raise Unreadable(f"{parser.peek()!r} is left over in {text!r}")
    return found


def indices(subscript: str) -> tuple[Node, ...]:
    """The indices of a subscript: expressions between commas, or letters (and the like) side by side.

    >>> [node[1] for node in indices("ik")]
    ['i', 'k']
    >>> len(indices("i,k-1"))
    2
    """
    parts, depth = [""], 0
    for token in tokens(subscript):
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(token, 0)
        if token == "," and not depth:
            parts.append("")
        else:
            parts[-1] += (" " if token.isalpha() and parts[-1][-1:].isalpha() and "\\" in parts[-1] else "") + token
    found = [expression(part) for part in parts]
    if len(found) == 1 and found[0][0] == "product":
        return tuple(factor for _, factor in found[0][1])
    return tuple(found)


def equations(text: str) -> list[tuple[Node, Node]]:
    """The equations of a formula, each as what it is of and what that is."""
    if not text:
        return []
    begin, end = r"\begin{aligned}", r"\end{aligned}"
    if text.startswith(begin):
        lines = text.removeprefix(begin).removesuffix(end).replace("&=", "=", text.count("&=")).split("\\\\")
    else:
        lines = [text]
    found = []
    for line in lines:
        parser = Parser(line)
        of = parser.power()
        parser.expect("=")
        what = parser.sum()
        if of[0] != "name" or parser.peek():
            raise Unreadable(line)
        found.append((of, what))
    return found
