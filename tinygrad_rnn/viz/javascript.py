"""Scripts as tokens, and what their names mean: properties, variables, and in which scope each variable is declared.

It is no compiler.  It reads tokens, not meaning, and takes what ``page/*.js`` is written in: semicolons at the end of
statements, ``let`` and ``const``, no labels, no ``eval``, no ``with``.  What it relies on:

*   A name is a property after a dot, before the colon of an object, or as a method; else it is a variable.
*   A brace after ``)``, ``=>``, a statement or a word such as ``else`` opens a block; after an operator, ``(``,
    ``return`` or ``const`` an object or a pattern.
*   A block, a function with its parameters, a ``for`` with its head, and a ``catch`` are scopes.  A function is known
    in the block that it stands in, as in all strict code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["BEFORE_VALUE", "KEYWORDS", "Scope", "Script", "Token", "tokens"]

WORD = r"[A-Za-z_$][\w$]*"
TOKEN = re.compile(
    rf"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)|(?P<word>{WORD})|(?P<number>\d[\w.]*(?:(?<=[eE])[-+]\d+)?|\.\d+)
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<sign>\?\.(?!\d)|\.\.\.|=>|[=!]==?|>>>=?|<<=?|>>=?|<=|>=|&&=?|\|\|=?|\?\?=?|\*\*=?|\+\+|--|[-+*%&|^/]=|.)""",
    re.DOTALL | re.VERBOSE,
)
REGEX = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/[a-z]*")
KEYWORDS = frozenset(
    "async await break case catch class const constructor continue default delete do else extends false finally for "
    "function get if in instanceof let new null of return set static super switch this throw true try typeof undefined "
    "var void while yield arguments".split()
)
BEFORE_VALUE = frozenset("return typeof case delete void in of instanceof new do else await yield throw".split())
"""Words after which a value begins."""


class Token(NamedTuple):
    """A word, number, string, sign, regex, or piece of a template; ``line``: it stands first in its line."""

    kind: str
    text: str
    line: bool = False


def tokens(code: str) -> Iterator[Token]:
    """The tokens of a script."""
    at, line, before = 0, False, Token("sign", ";")
    templates: list[int] = []  # of each template that is open, how many braces are open in its ${ }
    while at < len(code):
        if code[at] == "`" or (templates and templates[-1] == 0 and code[at] == "}"):
            end = _template_end(code, at + 1)
            text = code[at:end]
            if code[at] == "}":
                templates.pop()
            if text.endswith("${"):
                templates.append(0)
            before = Token("template", text, line)
        else:
            found = TOKEN.match(code, at)
            assert found is not None
            kind, text = str(found.lastgroup), found[0]
            if kind == "space":
                line |= "\n" in text
                at = found.end()
                continue
            if text.startswith("/") and kind == "sign" and _value_may_begin(before):
                regex = REGEX.match(code, at)
                assert regex is not None, code[at : at + 60]
                kind, text = "regex", regex[0]
            if templates:
                templates[-1] += (text == "{") - (text == "}")
            before = Token(kind, text, line)
            end = at + len(text)
        yield before
        at, line = end, False


def _template_end(code: str, at: int) -> int:
    while code[at] != "`" and not code.startswith("${", at):
        at += 2 if code[at] == "\\" else 1
    return at + (1 if code[at] == "`" else 2)


def _value_may_begin(before: Token) -> bool:
    if before.kind == "word":
        return before.text in BEFORE_VALUE
    if before.kind == "template":
        return before.text.endswith("${")
    return before.kind == "sign" and before.text not in (")", "]", "}", "++", "--")


def _roles(found: list[Token]) -> list[str]:
    """Of each token: ``variable``, ``shorthand`` (of an object: property and variable in one), or something else."""
    roles = []
    braces: list[str] = []
    for k, token in enumerate(found):
        before = found[k - 1] if k else Token("sign", ";")
        after = found[k + 1] if k + 1 < len(found) else Token("sign", ";")
        text, role = token.text, token.kind
        if token.kind == "sign" and text in "{([":
            braces.append(_brace(found, k, braces) if text == "{" else text)
        elif token.kind == "sign" and text in "})]" and braces:
            braces.pop()
        elif token.kind == "template":
            if text.startswith("}"):
                braces.pop()
            if text.endswith("${"):
                braces.append("${")
        elif token.kind == "word" and text not in KEYWORDS:
            role = "variable"
            inside = braces[-1] if braces else ""
            key_may_begin = before.text in ("{", ",", "get", "set", "static", "async") or (
                inside == "class" and before.text in ("}", ";")
            )
            if before.text in (".", "?."):
                role = "property"
            elif inside == "object" and key_may_begin and before.kind in ("sign", "word"):
                role = {":": "property", "(": "property", ",": "shorthand", "}": "shorthand", "=": "shorthand"}.get(
                    after.text, role
                )
            elif inside == "class" and key_may_begin:
                role = "property"
        roles.append(role)
    return roles


def _brace(found: list[Token], k: int, braces: list[str]) -> str:
    """What an opening brace opens."""
    before = found[k - 1] if k else Token("sign", ";")
    for back in range(k - 1, max(-1, k - 5), -1):
        if found[back].text == "class":
            return "class"
        if found[back].kind != "word":
            break
    if before.kind == "word":
        return (
            "object"
            if before.text in BEFORE_VALUE - {"else", "do"} or before.text in ("const", "let", "var")
            else "block"
        )
    return "block" if before.text in (")", "=>", ";", "{", "}") else "object"


class Scope:
    """The tokens from ``start`` to ``end``, which may be of another scope."""

    def __init__(self, start: int, end: int, parent: Scope | None) -> None:
        self.start, self.end, self.parent = start, end, parent
        self.names: set[str] = set()

    def of(self, name: str) -> Scope | None:
        """The scope that declares a name which is used in this one; None: it is the browser's."""
        scope: Scope | None = self
        while scope is not None and name not in scope.names:
            scope = scope.parent
        return scope


class Script:
    """A script.

    Attributes:
        tokens: its tokens.
        roles: of each ``variable``, ``shorthand`` (of an object: property and variable in one), or something else.
        partner: of each bracket the other one.
        scopes: in the order of their first tokens, the whole script first.
        scope: of each token the innermost.
    """

    def __init__(self, code: str) -> None:
        self.tokens = list(tokens(code))
        self.roles = _roles(self.tokens)
        self.partner = self._partners()
        self.scopes = [Scope(0, len(self.tokens), None)]
        self._find_scopes()
        self.scope: list[Scope] = []
        at = self.scopes[0]
        starts = {scope.start: scope for scope in self.scopes}  # of several that start together the innermost
        for k in range(len(self.tokens)):
            while k > at.end and at.parent is not None:
                at = at.parent
            at = starts.get(k, at)
            self.scope.append(at)
        self._declare()

    def is_sign(self, k: int, text: str) -> bool:
        """Whether a token is this sign."""
        return 0 <= k < len(self.tokens) and self.tokens[k].kind == "sign" and self.tokens[k].text == text

    def _partners(self) -> dict[int, int]:
        found: dict[int, int] = {}
        open_: list[int] = []
        for k, token in enumerate(self.tokens):
            closes = (token.kind == "sign" and token.text in ")]}") or (
                token.kind == "template" and token.text[0] == "}"
            )
            if closes and open_:
                found[k] = open_.pop()
                found[found[k]] = k
            if (token.kind == "sign" and token.text in "([{") or (
                token.kind == "template" and token.text.endswith("${")
            ):
                open_.append(k)
        return found

    # scopes -----------------------------------------------------------------------------------------------------------

    def _find_scopes(self) -> None:
        extents = []
        for k, token in enumerate(self.tokens):
            if token.text == "=>" and token.kind == "sign":
                start = self.partner[k - 1] if self.is_sign(k - 1, ")") else k - 1
                end = self.partner[k + 1] if self.is_sign(k + 1, "{") else self._expression_end(k + 1)
                extents.append((start, end))
            elif self.is_sign(k, "{") and not self.is_sign(k - 1, "=>") and k in self.partner:
                start = k
                if self.is_sign(k - 1, ")"):
                    head = self.partner[k - 1]
                    if self.tokens[head - 1].text not in ("if", "while", "switch", "for"):
                        start = head  # of a function, a method or a catch
                extents.append((start, self.partner[k]))
            elif token.text == "for" and self.roles[k] == "word":
                extents.append((k + 1, self._statement_end(k)))
        extents.sort(key=lambda extent: (extent[0], -extent[1]))
        for start, end in extents:
            parent = self.scopes[-1]
            while start > parent.end and parent.parent is not None:
                parent = parent.parent
            self.scopes.append(Scope(start, end, parent))

    def _expression_end(self, k: int) -> int:
        """The last token of the expression that begins here."""
        questions = 0
        while k < len(self.tokens):
            token = self.tokens[k]
            if token.kind == "sign":
                if token.text in ",;)]}" or (token.text == ":" and not questions):
                    break
                questions += (token.text == "?") - (token.text == ":")
            elif token.kind == "template" and token.text[0] == "}":
                break
            k = self.past(k)
        return k - 1

    def _statement_end(self, k: int) -> int:
        """The last token of the statement that begins here."""
        if self.is_sign(k, "{"):
            return self.partner[k]
        if self.tokens[k].text in ("for", "if", "while") and self.tokens[k].kind == "word":
            end = self._statement_end(self.partner[k + 1] + 1)
            if end + 1 < len(self.tokens) and self.tokens[end + 1].text == "else":
                end = self._statement_end(end + 2)
            return end
        assert self.tokens[k].text not in ("do", "try", "switch"), "write braces around it"
        while k < len(self.tokens) and not self.is_sign(k, ";") and not self.is_sign(k, "}"):
            k = self.past(k)
        return k

    def past(self, k: int) -> int:
        """The token after this one, or after what it opens."""
        while k in self.partner and self.partner[k] > k:
            k = self.partner[k]
        return k + 1

    # declarations -----------------------------------------------------------------------------------------------------

    def _declare(self) -> None:
        for k, token in enumerate(self.tokens):
            if token.kind == "word" and token.text in ("const", "let", "function", "class", "catch"):
                if token.text == "catch" and not self.is_sign(k + 1, "("):
                    continue  # the method of a promise, or without a name for the error
                at = k + 1 if token.text in ("function", "catch") and self.is_sign(k + 1, "(") else k
                self.scope[at].names |= self._declared_after(k + 1)
            elif token.text == "=>" and token.kind == "sign":
                self.scope[k].names |= self._parameters_before(k - 1)
            elif self.is_sign(k, "{") and self.is_sign(k - 1, ")"):  # of a method, or of a function
                head = self.partner[k - 1]
                if self.tokens[head - 1].text not in ("if", "for", "while", "switch"):
                    self.scope[head].names |= self._parameters_before(k - 1)

    def _variables(self, start: int, end: int) -> set[str]:
        """The names in a pattern or a list of parameters, without those in the values that they have by default."""
        names: set[str] = set()
        k = start
        while k < end:
            if self.is_sign(k, "="):
                k += 1
                while k < end and self.tokens[k].text not in (",", "}", "]", ")"):
                    k = self.past(k)
                continue
            if self.roles[k] in ("variable", "shorthand"):
                names.add(self.tokens[k].text)
            k += 1
        return names

    def _declared_after(self, k: int) -> set[str]:
        """The names that a declaration makes: the first name, or those of a pattern, and those after its commas."""
        names: set[str] = set()
        while k < len(self.tokens):
            if self.tokens[k].text in ("{", "[", "("):
                end = self.partner[k]
                names |= self._variables(k, end)
                k = end + 1
            elif self.tokens[k].kind == "word":
                if self.roles[k] == "variable":
                    names.add(self.tokens[k].text)
                k += 1
            else:
                break
            if k < len(self.tokens) and self.tokens[k].text in ("of", "in"):
                break
            while k < len(self.tokens):  # over the value, to a comma
                text, before = self.tokens[k].text, self.tokens[k - 1]
                body = text == "{" and (
                    before.text == ")" or (before.kind == "word" and before.text not in BEFORE_VALUE)
                )
                if body or text in (",", ";", ")", "]", "}"):
                    break
                k = self.past(k)
            if k >= len(self.tokens) or self.tokens[k].text != ",":
                break
            k += 1
        return names

    def _parameters_before(self, k: int) -> set[str]:
        """The names of the parameters whose list ends at a token."""
        if not self.is_sign(k, ")"):
            return {self.tokens[k].text} if self.roles[k] == "variable" else set()
        return self._variables(self.partner[k] + 1, k)
