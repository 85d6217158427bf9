"""Changing a function of a loaded package: the mutant's code objects take the place of the original's.

A process that has imported everything and collected every test is forked for each mutant; the copy exchanges the
code of the functions that the mutation touches and runs tests at once.  What runs when a module is imported cannot be
exchanged so: constants, defaults, decorators, the bodies of classes.
"""

from __future__ import annotations

import ast
import gc
import inspect
import warnings
from collections import defaultdict
from collections.abc import Iterator
from types import CodeType, FunctionType

__all__ = ["Functions", "changed_codes", "compiled", "key"]

Key = tuple[str, int, str]
Pair = tuple[CodeType, CodeType]


def key(code: CodeType) -> Key:
    """What a function is looked up by."""
    return code.co_filename, code.co_firstlineno, code.co_name


class Functions:
    """The functions of a package that exist now, closures too, by where they were written."""

    def __init__(self, folder: str) -> None:
        self.found: dict[Key, list[FunctionType]] = defaultdict(list)
        for thing in gc.get_objects():
            if type(thing) is FunctionType and thing.__code__.co_filename.startswith(folder):
                self.found[key(thing.__code__)].append(thing)

    def exchange(self, pairs: list[Pair]) -> bool:
        """Give every function with an original code the changed one; False if none is there or one cannot take it."""
        done = not pairs
        for original, changed in pairs:
            for function in self.found[key(original)]:
                if function.__code__ == original:
                    if original.co_freevars != changed.co_freevars:
                        return False
                    function.__code__ = changed
                    done = True
        return done


def compiled(tree: ast.Module, path: str) -> CodeType:
    """The module's code; what Python would warn of in a mutant (``is`` with a number) is none of our business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compile(tree, path, "exec", dont_inherit=True)


def changed_codes(path: str, original: ast.Module, mutant: ast.Module) -> list[Pair] | None:
    """The functions that differ, as (original, changed); None if what runs at import differs too."""
    before, after = compiled(original, path), compiled(mutant, path)
    pairs: list[Pair] = []
    for a, b, function in _walk(before, after, False):
        if function:
            pairs.append((a, b))
        elif _own(a) != _own(b):
            return None
    return pairs


def _walk(a: CodeType, b: CodeType, inside: bool) -> Iterator[tuple[CodeType, CodeType, bool]]:
    """Codes of the same place that differ, outermost first; whether each belongs to a function."""
    if a == b:
        return
    function = inside or bool(a.co_flags & inspect.CO_NEWLOCALS and a.co_flags & inspect.CO_OPTIMIZED)
    yield a, b, function
    ours, theirs = ([c for c in code.co_consts if isinstance(c, CodeType)] for code in (a, b))
    if len(ours) == len(theirs):
        for x, y in zip(ours, theirs, strict=True):
            yield from _walk(x, y, function)


def _own(code: CodeType) -> tuple[object, ...]:
    """What a code does by itself, apart from the functions that it makes."""
    constants = [(type(c), repr(c)) for c in code.co_consts if not isinstance(c, CodeType)]
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars
