"""Scripts and styles made short: without comments and needless spaces, and with short names for variables.

A variable gets the shortest name that is free in its scope: one that no other variable has which is used there, and
that is not the browser's.  So the names are few: the scripts of the page are a tenth smaller than
with one name for each.  Properties stay as they are.  ``viz/javascript.py`` says what scripts it takes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from .javascript import KEYWORDS, Scope, Script

__all__ = ["short_script", "short_style"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_$etnsarioldcupmhfgbvywxkqjz"
"""Capitals first: what stands beside a name, which is how bzip2 sorts, is then not what stands in a word."""


def short_script(code: str) -> str:
    r"""A script that does the same with fewer letters.

    >>> short_script('''
    ... const longName = {value: 1, other};      // a comment
    ... function twice(number) {
    ...   return `${number * 2} of ${longName.value}`;
    ... }
    ... ''')
    'let A={value:1,other};function B(B){return`${B*2} of ${A.value}`}'
    """
    script = Script(code)
    names = _new_names(script)
    written: list[str] = []
    for k, (token, role, scope) in enumerate(zip(script.tokens, script.roles, script.scope, strict=True)):
        text = token.text
        home = scope.of(text) if role in ("variable", "shorthand") else None
        if home is not None:
            text = names[home][text] if role == "variable" else f"{text}:{names[home][text]}"
        elif role == "word" and text == "const":
            text = "let"
        elif script.is_sign(k, "}") and script.is_sign(k - 1, ";") and not _is_head(script, k - 2):
            written.pop()
        if written and _joined(written[-1][-1], text[0]):
            written.append(" ")
        written.append(text)
    return "".join(written)


def _is_head(script: Script, k: int) -> bool:
    """Whether a token ends what stands before a statement, which may be an empty one."""
    return script.is_sign(k, ")") and script.tokens[script.partner[k] - 1].text in ("for", "if", "while")


def _joined(a: str, b: str) -> bool:
    """Whether two tokens would be read as one."""
    word = re.compile(r"[\w$]")
    return bool(word.match(a) and word.match(b)) or (a == b and a in "+-/") or (a.isdigit() and b == ".")


def _new_names(script: Script) -> dict[Scope, dict[str, str]]:
    """Of each scope the short names of its variables, in the order in which they are first used.

    So the parameters of most functions have the same names: the same things are said in the same letters.
    """
    foreign: dict[Scope, set[tuple[Scope | None, str]]] = {scope: set() for scope in script.scopes}
    used: dict[Scope, dict[str, None]] = {scope: {} for scope in script.scopes}
    for token, role, scope in zip(script.tokens, script.roles, script.scope, strict=True):
        if role not in ("variable", "shorthand"):
            continue
        home = scope.of(token.text)
        at: Scope | None = scope
        while at is not None and at is not home:
            foreign[at].add((home, token.text))
            at = at.parent
        if home is not None:
            used[home].setdefault(token.text)
    names: dict[Scope, dict[str, str]] = {}
    for scope in script.scopes:  # those outside come first
        taken = {text if home is None else names[home][text] for home, text in foreign[scope]} | KEYWORDS
        fresh = (name for name in _short_names() if name not in taken)
        names[scope] = {name: next(fresh) for name in used[scope]}
    return names


def _short_names() -> Iterator[str]:
    for length in itertools.count(1):
        for name in itertools.product(LETTERS, repeat=length):
            yield "".join(name)


def short_style(code: str) -> str:
    """A style sheet that says the same with fewer letters.

    >>> short_style("a :hover, b { color: red; width: calc(1px + 2px); }  /* why */")
    'a :hover,b{color:red;width:calc(1px + 2px)}'
    """
    pieces = re.split(r"""("[^"]*"|'[^']*')""", re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL))
    for k in range(0, len(pieces), 2):  # between strings
        pieces[k] = re.sub(r" ?([{};,]) ?", r"\1", re.sub(r"\s+", " ", pieces[k])).replace(": ", ":").replace(";}", "}")
    return "".join(pieces).strip()
