"""Scripts and styles made short: without comments and needless spaces, and with short names for variables.

It is no compiler.  It reads tokens, not meaning, and takes what ``page/*.js`` is written in: semicolons at the end of
statements, no labels, no ``eval``, no ``with``.  What it relies on:

*   A name is a property after a dot, before the colon of an object, or as a method; else it is a variable.  Properties
    stay as they are.  A variable that is declared nowhere is one of the browser's, and stays too.
*   All variables of one name get one new name, and no two get the same.  So whatever a name meant in whatever scope,
    it means it still.
*   A brace after ``)``, ``=>``, a statement or a word such as ``else`` opens a block; after an operator, ``(``,
    ``return`` or ``const`` an object or a pattern.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["short_script", "short_style"]

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
BROWSER = frozenset(
    "close document event find focus history length location name open origin parent performance print screen scroll "
    "self status stop top window Array Boolean Error Infinity JSON Map Math NaN Number Object Promise RegExp Set "
    "String Symbol WeakMap WeakSet".split()
)
"""Names that are the browser's where they are not declared: they are left alone also where they are."""
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


def short_script(code: str) -> str:
    r"""A script that does the same with fewer letters.

    >>> short_script('''
    ... const longName = {value: 1, other};      // a comment
    ... function twice(number) {
    ...   return `${number * 2} of ${longName.value}`;
    ... }
    ... ''')
    'const a={value:1,other};function c(b){return`${b*2} of ${a.value}`;}'
    """
    found = list(tokens(code))
    roles = _roles(found)
    names = _new_names(found, roles)
    written: list[str] = []
    last = Token("sign", ";")
    for token, role in zip(found, roles, strict=True):
        text = token.text
        if role in ("variable", "shorthand") and text in names:
            text = names[text] if role == "variable" else f"{text}:{names[text]}"
        if written and (_joined(written[-1][-1], text[0]) or _line_counts(last, token)):
            written.append("\n" if token.line else " ")
        written.append(text)
        last = token
    return "".join(written)


def _joined(a: str, b: str) -> bool:
    """Whether two tokens would be read as one."""
    word = re.compile(r"[\w$]")
    return bool(word.match(a) and word.match(b)) or (a == b and a in "+-/") or (a.isdigit() and b == ".")


def _line_counts(a: Token, b: Token) -> bool:
    """Whether the end of the line between two tokens may be the end of a statement."""
    if not b.line or (a.kind == "sign" and a.text not in (")", "]", "}", "++", "--")):
        return False
    return b.kind != "sign" or b.text in ("{", "[", "(", "++", "--", "!", "~", "+", "-")


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


def _new_names(found: list[Token], roles: list[str]) -> dict[str, str]:
    """A short name for each variable that is declared, the shortest for those that occur most."""
    declared = set()
    for k, token in enumerate(found):
        of_error = token.text == "catch" and k + 1 < len(found) and found[k + 1].text == "("
        if token.text in ("const", "let", "var", "function", "class") or of_error:
            declared |= _declared_after(found, roles, k + 1)
        elif token.text == "=>":
            declared |= _parameters_before(found, roles, k - 1)
        elif token.text == "{" and found[k - 1].text == ")":  # of a method, or of a function
            declared |= _parameters_before(found, roles, k - 1, of_method=True)
    words = {token.text for token in found if token.kind == "word"}
    uses = Counter(token.text for token, role in zip(found, roles, strict=True) if role in ("variable", "shorthand"))
    taken = {name for name in words if name not in declared or name in BROWSER} | KEYWORDS | BROWSER
    fresh = (name for name in _short_names() if name not in taken)
    order = sorted(declared - BROWSER - KEYWORDS, key=lambda name: (-uses[name], name))
    return {name: next(fresh) for name in order if uses[name]}


def _short_names() -> Iterator[str]:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_$"
    for length in itertools.count(1):
        for name in itertools.product(letters, repeat=length):
            yield "".join(name)


def _variables(found: list[Token], roles: list[str], start: int, end: int) -> set[str]:
    """The names in a pattern or a list of parameters, without those in the values that they have by default."""
    names: set[str] = set()
    k = start
    while k < end:
        token = found[k]
        if token.text == "=" and token.kind == "sign":
            k += 1
            while k < end and found[k].text not in (",", "}", "]", ")"):
                k = _past(found, k)
            continue
        if roles[k] in ("variable", "shorthand"):
            names.add(token.text)
        k += 1
    return names


def _past(found: list[Token], k: int) -> int:
    """The token after this one, or after what it opens."""
    if found[k].kind == "sign" and found[k].text in "{([":
        return _closing(found, k) + 1
    if found[k].kind == "template" and found[k].text.endswith("${"):
        depth = 1
        while depth:
            k += 1
            if found[k].kind == "template":
                depth += found[k].text.endswith("${") - found[k].text.startswith("}")
    return k + 1


def _declared_after(found: list[Token], roles: list[str], k: int) -> set[str]:
    """The names that a declaration makes: the first name, or those of a pattern, and those after its commas."""
    names: set[str] = set()
    while k < len(found):
        if found[k].text in ("{", "[", "("):
            end = _closing(found, k)
            names |= _variables(found, roles, k, end)
            k = end + 1
        elif found[k].kind == "word":
            if roles[k] == "variable":
                names.add(found[k].text)
            k += 1
        else:
            break
        while k < len(found):  # over the value, to a comma
            text, before = found[k].text, found[k - 1]
            body = text == "{" and (before.text == ")" or (before.kind == "word" and before.text not in BEFORE_VALUE))
            if body or text in (",", ";", ")", "]", "}", "of", "in"):
                break
            k = _past(found, k)
        if k >= len(found) or found[k].text != ",":
            break
        k += 1
    return names


def _parameters_before(found: list[Token], roles: list[str], k: int, of_method: bool = False) -> set[str]:
    """The names of the parameters whose list ends at a token; none where it is the condition of an ``if``."""
    if found[k].text != ")":
        return {found[k].text} if roles[k] == "variable" else set()
    depth, end = 0, k
    while k >= 0:
        if found[k].kind == "sign":
            depth += (found[k].text in ")]}") - (found[k].text in "([{")
        if depth == 0:
            break
        k -= 1
    if of_method and found[k - 1].text in ("if", "for", "while", "switch", "await"):
        return set()
    return _variables(found, roles, k + 1, end)


def _closing(found: list[Token], k: int) -> int:
    depth = 0
    for j in range(k, len(found)):
        if found[j].kind == "sign":
            depth += (found[j].text in "([{") - (found[j].text in ")]}")
        if depth == 0:
            return j
    return len(found) - 1


def short_style(code: str) -> str:
    """A style sheet that says the same with fewer letters.

    >>> short_style("a :hover, b { color: red; width: calc(1px + 2px); }  /* why */")
    'a :hover,b{color:red;width:calc(1px + 2px)}'
    """
    pieces = re.split(r"""("[^"]*"|'[^']*')""", re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL))
    for k in range(0, len(pieces), 2):  # between strings
        pieces[k] = re.sub(r" ?([{};,]) ?", r"\1", re.sub(r"\s+", " ", pieces[k])).replace(": ", ":").replace(";}", "}")
    return "".join(pieces).strip()
