r"""Computing formulas with NumPy alone: entry by entry, with index letters, with matrices, and step by step.

Numbers are Python's, arrays NumPy's.  Side by side, two arrays are a matrix product, and anything else is a product of
numbers or entries; between arrays the product entry by entry is written :math:`\odot`, and two arrays in a sum or an
:math:`\odot` must broadcast.  What has an index letter is :class:`Entries`: an array with one axis for each letter of
the formula (for each axis that the letter stands for), so that entries with the same letters meet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_rnn.kernels.special import bessel, error_functions, gamma_functions
from tinygrad_rnn.tape.formula import bar

from .latex import Node, Unreadable, indices

__all__ = ["Axes", "Case", "Disagreement", "Entries", "Evaluator", "Places", "Steps", "names_in", "sigmoid"]

Array = Any
Axes = tuple[tuple[int, int], ...]
"""For each axis of an array: by which index of a subscript it is addressed, and the how manyth of that index's axes."""


class Disagreement(AssertionError):
    """The two sides of an equation are not equal."""


class Entries(np.ndarray):
    """The entries of an array by the letters of a formula."""


class Places(list[Any]):
    """What an index says: an array of whole numbers for each axis that it addresses."""


@dataclass
class Case:
    """What the symbols of a formula stand for in one call.

    Attributes:
        values: by symbol, as it is written: numbers, arrays, functions.
        letters: by symbol of an array, the letters by which its entries are written if nothing else is said, and which
            axes these address.  Axes that no letter addresses have index -1: all arrays share them.
        shapes: by letter, the lengths of the axes that it runs over; "*" for the shared ones.
        fixed: letters that have one value.
        words: symbols that stand for several letters.
        implicit: the equations may have the cotangents of arguments on their right sides.
        gates: the names of the blocks of rows of a matrix of gates.
    """

    values: dict[str, Any]
    letters: dict[str, tuple[tuple[str, ...], Axes]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    fixed: dict[str, int] = field(default_factory=dict)
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    implicit: bool = False
    gates: str = ""


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


FUNCTIONS: dict[str, Any] = {
    **{name: getattr(np, name) for name in ("tanh", "sinh", "cosh", "sin", "cos", "tan", "exp", "log")},
    **{name: getattr(np, name) for name in ("arcsin", "arccos", "arctan", "sign", "trunc", "round")},
    "max": np.maximum,
    "min": np.minimum,
    "arsinh": np.arcsinh,
    "arcosh": np.arccosh,
    "artanh": np.arctanh,
    "atan2": np.arctan2,
    "erf": np.vectorize(math.erf, otypes=[float]),
    "sigma": sigmoid,
    "erfc": np.vectorize(math.erfc, otypes=[float]),
    "lgamma": np.vectorize(math.lgamma, otypes=[float]),
    # by the kernels themselves, which are compared with PyTorch and with stored values elsewhere
    "erfcx": error_functions.erfcx,
    "erfinv": error_functions.erfinv,
    "ndtri": error_functions.ndtri,
    "digamma": gamma_functions.digamma,
    "polygamma": lambda n, a: gamma_functions.polygamma(a, n=int(n)),
    "zeta": gamma_functions.zeta,
    "gammainc": gamma_functions.gammainc,
    "gammaincc": gamma_functions.gammaincc,
    "bessel": lambda n, a: (bessel.i0, bessel.i1)[int(n)](a),
}
RELATIONS = {
    "=": np.equal, "!=": np.not_equal, "<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal,
}  # fmt: skip
OVER: dict[str, Any] = {"sum": (np.sum, 0.0), "prod": (np.prod, 1.0), "max": (np.max, -np.inf), "min": (np.min, np.inf)}
CONSTANTS = {r"\pi": math.pi}


def number(value: Any) -> bool:
    """Whether it is a number of the formula or a parameter, and no entry of an array without axes."""
    return isinstance(value, (bool, int, float)) and not isinstance(value, np.generic)


def of_numbers(function: Any, *args: Any) -> Any:
    """A function of numbers is a number."""
    return float(function(*args)) if all(number(x) for x in args) else function(*args)


def unbarred(key: str) -> str:
    return key.replace(r"\bar{", "", 1).replace("}", "", 1) if key.startswith(r"\bar{") else key


def names_in(node: Any) -> Iterator[Node]:
    """Every node of a name, also of those in subscripts."""
    if isinstance(node, tuple):
        if node and node[0] == "name":
            yield node
        if node and node[0] in ("name", "call") and node[2]:
            for index in indices(node[2]):
                yield from names_in(index)
        for part in node:
            yield from names_in(part)


def summed_to(a: Array, shape: tuple[int, ...]) -> Array:
    """The sum over the axes along which an array of ``shape`` was broadcast."""
    if number(a):
        raise Unreadable("a sum of a number over axes")
    if np.broadcast_shapes(a.shape, shape) != a.shape:
        raise Disagreement(f"a sum to the shape {shape} of an array of shape {a.shape}")
    a = a.sum(axis=tuple(range(a.ndim - len(shape)))) if a.ndim > len(shape) else a
    return a.sum(axis=tuple(k for k, n in enumerate(shape) if n == 1), keepdims=True).reshape(shape)


class Evaluator:
    """The values of one formula's parts."""

    def __init__(self, case: Case, of: Node, what: Node) -> None:
        self.case, self.shapes = case, dict(case.shapes)
        names = [*names_in(of), *names_in(what)]
        for _ in range(3):  # a letter may stand where another one does whose range is known only then
            for name in names:
                self._learn(name)
        used: dict[str, None] = {}
        for name in names:
            for key in case.words.get(name[1], (name[1],)):
                if key in self.shapes and not name[2]:
                    used[key] = None
        if "*" in self.shapes:
            used["*"] = None
        self.space = [(letter, k) for letter in used for k in range(len(self.shapes[letter]))]
        self.free = {letter for name in names_in(of) for letter in case.words.get(name[1], (name[1],))}

    def _learn(self, name: Node) -> None:
        known = self.case.letters.get(unbarred(name[1]))
        if known is None or not name[2]:
            return
        for index, letter in zip(indices(name[2]), known[0], strict=False):
            if index[0] == "name" and not index[2] and index[1].isalpha() and len(index[1]) == 1:
                plain = index[1] not in self.case.fixed and index[1] not in self.case.values
                if plain and letter in self.shapes:
                    self.shapes.setdefault(index[1], self.shapes[letter])

    # indices

    def grids(self, letter: str) -> Places:
        """The numbers that a letter runs through, one array for each of its axes."""
        found = Places()
        for k, n in enumerate(self.shapes[letter]):
            shape = [1] * len(self.space)
            shape[self.space.index((letter, k))] = n
            found.append(np.arange(n).reshape(shape))
        return found

    def places(self, index: Node, axes: int) -> Places:
        """What an index says of so many axes."""
        if index[0] == "name" and not index[2]:
            key = index[1]
            if key in self.case.words:
                return Places([self.grids(letter)[0] for letter in self.case.words[key]])
            if key in self.case.fixed:
                return Places([np.array(self.case.fixed[key])] * axes)
        found = self.value(index)
        return found if isinstance(found, Places) else Places([np.asarray(found).astype(np.int64)])

    def entries(self, key: str, subscript: str) -> Array:
        array, (letters, axes) = self.case.values[key], self.case.letters[unbarred(key)]
        given = indices(subscript)
        if len(given) != len(letters):
            raise Unreadable(f"{key} has {len(letters)} indices, not {subscript}")
        wide = (1,) * len(self.space)
        addressed = [sum(which == k for which, _ in axes) for k in range(len(letters))]
        said = [self.places(index, n) for index, n in zip(given, addressed, strict=True)]
        chosen, inside = [], np.ones(wide, bool)
        for size, (which, k) in zip(array.shape, axes, strict=True):
            at = self.grids("*")[k] if which < 0 else said[which][k].reshape(said[which][k].shape or wide)
            inside = inside & (at >= 0) & (at < size)
            chosen.append(at)
        if 0 in array.shape:
            found = np.zeros(np.broadcast_shapes(wide, *[at.shape for at in chosen]))
        else:
            clipped = [np.clip(at, 0, size - 1) for at, size in zip(chosen, array.shape, strict=True)]
            found = np.asarray(array[tuple(clipped)]) if clipped else array.reshape(wide)
        return np.where(inside, found, 0).view(Entries)

    # values

    def value(self, node: Node) -> Any:
        return getattr(self, f"_{node[0]}")(*node[1:])

    def _number(self, value: float) -> float:
        return value

    def _name(self, key: str, subscript: str) -> Any:
        whole = f"{key}_{{{subscript}}}" if subscript else key
        values = self.case.values
        if whole in values:
            return values[whole]
        if subscript and key in values and unbarred(key) in self.case.letters:
            return self.entries(key, subscript)
        if not subscript and key in self.shapes and key not in self.case.fixed:
            return self.grids(key)
        if key in self.case.fixed:
            return self.case.fixed[key]
        if self.case.gates:
            return self.block(values, key, subscript)
        if whole in CONSTANTS:
            return CONSTANTS[whole]
        raise Unreadable(f"unknown: {whole}")

    def block(self, values: dict[str, Any], key: str, gate: str) -> Array:
        """The block of a gate, or all blocks side by side."""
        gates = self.case.gates
        if gate and gate in gates and key in values:
            size = values[key].shape[-1] // len(gates)
            start = gates.index(gate) * size
            return values[key][..., start : start + size]
        if not gate and all(f"{key}_{{{g}}}" in values for g in gates):
            return np.concatenate([values[f"{key}_{{{g}}}"] for g in gates], -1)
        raise Unreadable(f"unknown: {key}_{gate}")

    def single(self, node: Node) -> Any:
        """A value that is no list of places."""
        found = self.value(node)
        if isinstance(found, Places):
            if len(found) != 1:
                raise Unreadable(f"arithmetic with an index of {len(found)} axes")
            return found[0].view(Entries)
        return found

    def _sum(self, terms: tuple[tuple[str, Node], ...]) -> Any:
        total: Any = None
        for sign, term in terms:
            value = self.single(term)
            value = -value if sign == "-" else value
            total = value if total is None else total + value
        return total

    def _product(self, factors: tuple[tuple[str, Node], ...]) -> Any:
        total: Any = None
        for operator, factor in factors:
            value = self.single(factor)
            if total is None:
                total = value
            elif operator == "odot" or any(number(x) or isinstance(x, Entries) for x in (total, value)):
                if operator == "odot" and any(number(x) for x in (total, value)):
                    raise Unreadable("an odot with a number")
                total = total * value
            else:
                total = total @ value
        return total

    def _mod(self, a: Node, b: Node) -> Any:
        value, by = self.value(a), self.value(b)
        if isinstance(value, Places) and isinstance(by, tuple):
            return Places([x % n for x, n in zip(value, by, strict=True)])
        return self.single(a) % by

    def _power(self, base: Node, exponent: Node) -> Any:
        return self.single(base) ** self.single(exponent)

    def _transpose(self, base: Node) -> Any:
        return self.single(base).swapaxes(-1, -2)

    def _fraction(self, a: Node, b: Node) -> Any:
        return self.single(a) / self.single(b)

    def _root(self, a: Node) -> Any:
        return of_numbers(np.sqrt, self.single(a))

    def _size(self, a: Node) -> Any:
        return of_numbers(np.abs, self.single(a))

    def _floor(self, a: Node) -> Any:
        return np.floor(self.single(a))

    def _ceil(self, a: Node) -> Any:
        return np.ceil(self.single(a))

    def _call(self, name: str, subscript: str, *arguments: Node) -> Any:
        if name == "sum":
            a, values = self.single(arguments[0]), self.case.values
            like = values.get(bar(subscript))
            shape = (values[subscript] if like is None else like).shape
            if isinstance(a, Entries):  # by the letters that the array has
                of = [letter for letter, _ in self.space if letter in self.case.letters[subscript][0]]
                a = np.asarray(a).reshape([self.shapes[x][k] for x, k in self.space if x in of])
            return summed_to(a, shape)
        given = self.case.values.get(f"\\{name}" + (f"_{{{subscript}}}" if subscript else ""))
        if given is not None:
            return given(*[self.value(a) for a in arguments])
        if name not in FUNCTIONS or subscript:
            raise Unreadable(f"unknown function {name}_{subscript}")
        return of_numbers(FUNCTIONS[name], *[self.single(a) for a in arguments])

    # conditions

    def _holds(self, condition: Node) -> Any:
        found = self.value(condition)
        return found.astype(float) if isinstance(found, (np.ndarray, np.generic)) else float(found)

    def _relation(self, sides: tuple[Node, ...], relations: tuple[str, ...]) -> Any:
        found: Any = True
        for k, relation in enumerate(relations):
            a, b = self.value(sides[k]), self.value(sides[k + 1])
            if isinstance(a, Places) or isinstance(b, Places):
                found = found & self._places_relation(a, b, relation)
            else:
                each = RELATIONS[relation](a, b)
                found = found & (bool(each) if number(a) and number(b) else each)
        return found

    def _places_relation(self, a: Any, b: Any, relation: str) -> Any:
        a, b = [x if isinstance(x, Places) else Places([x]) for x in (a, b)]
        each = [RELATIONS[relation](x, y) for x, y in zip(a, b, strict=True)]
        if relation not in ("=", "!=") and len(each) != 1:
            raise Unreadable("an order of several axes")
        some = relation == "!="
        found: Any = np.full((1,) * len(self.space), not some)
        for one in each:
            found = found | one if some else found & one
        return np.asarray(found).view(Entries)

    def _and(self, a: Node, b: Node) -> Any:
        return np.logical_and(self.value(a), self.value(b))

    def _or(self, a: Node, b: Node) -> Any:
        return np.logical_or(self.value(a), self.value(b))

    def _not(self, a: Node) -> Any:
        return np.logical_not(self.value(a))

    def _cases(self, rows: tuple[tuple[Node, Node | None], ...]) -> Any:
        conditions, values = [], []
        for value, condition in rows:
            found = self.single(value)
            holds = True if condition is None else self.value(condition)
            # a letter that only the row has: the row holds if there is one, and has its value
            inner = {n[1] for part in (value, condition) for n in names_in(part)} & set(self.shapes) - self.free
            axes = tuple(k for k, (letter, _) in enumerate(self.space) if letter in inner)
            if axes:
                whole = np.broadcast_shapes(np.shape(found), np.shape(holds), self.extent(axes))
                holds = np.broadcast_to(holds, whole)
                found = np.sum(np.where(holds, found, 0), axis=axes, keepdims=True).view(Entries)
                holds = holds.any(axes, keepdims=True)
            values.append(found)
            conditions.append(holds)
        arrays = [x for x in (*conditions, *values) if isinstance(x, np.ndarray)]
        shape = np.broadcast_shapes(*[x.shape for x in arrays])
        found = np.select([np.broadcast_to(c, shape) for c in conditions], [np.broadcast_to(v, shape) for v in values])
        return found.view(Entries) if any(isinstance(x, Entries) for x in arrays) else found

    # over letters

    def extent(self, axes: tuple[int, ...]) -> tuple[int, ...]:
        """The lengths of some axes of the letters, and 1 for the others."""
        return tuple(self.shapes[letter][n] if k in axes else 1 for k, (letter, n) in enumerate(self.space))

    def _over(self, operator: str, letters: str, conditions: tuple[Node, ...], body: Node) -> Any:
        value = np.asarray(self.single(body))
        bound = [x for x in self.shapes if x not in self.free] if not letters else [letters]
        if letters and letters not in self.shapes:
            raise Unreadable(f"no range of {letters}")
        axes = tuple(k for k, (letter, _) in enumerate(self.space) if letter in bound)
        shape = np.broadcast_shapes(value.shape, self.extent(axes))
        holds: Any = np.array(True)
        for condition in conditions:
            holds = np.logical_and(holds, self.value(condition))
        shape = np.broadcast_shapes(shape, holds.shape)
        value = np.broadcast_to(value, shape)
        if operator == "median":
            lines = np.moveaxis(np.asarray(value), axes, range(-len(axes), 0)) if axes else np.asarray(value)[..., None]
            lines = np.sort(lines.reshape(*lines.shape[: lines.ndim - max(len(axes), 1)], -1), -1)
            middle = lines[..., (lines.shape[-1] - 1) // 2]
            return middle.reshape([1 if k in axes else n for k, n in enumerate(shape)]).view(Entries)
        function, nothing = OVER[operator]
        return np.asarray(function(np.where(holds, value, nothing), axis=axes, keepdims=True)).view(Entries)

    # equations

    def assign(self, of: Node, what: Node) -> None:
        """Let what an equation is of stand for its value in the equations that follow."""
        found, key = self.single(what), of[1]
        if not of[2] or self.case.gates:
            self.case.values[f"{key}_{{{of[2]}}}" if of[2] else key] = found
            return
        letters = tuple(index[1] for index in indices(of[2]))
        kept = [(letter, k) for letter in letters for k in range(len(self.shapes[letter]))]
        order = [self.space.index(axis) for axis in kept]
        rest = [k for k in range(len(self.space)) if k not in order]
        shape = [self.shapes[letter][k] for letter, k in kept]
        full = np.broadcast_to(found, np.broadcast_shapes(np.shape(found), self.extent(tuple(order))))
        self.case.values[key] = np.asarray(full).transpose(order + rest).reshape(shape)
        self.case.letters[unbarred(key)] = letters, tuple((letters.index(letter), k) for letter, k in kept)

    def sides(self, of: Node, what: Node) -> tuple[Array, Array]:
        """Both sides of an equation, of one shape."""
        left, right = self.value(of), self.single(what)
        if number(right):
            right = np.full(left.shape, float(right))
        if isinstance(right, Entries) and not isinstance(left, Entries):
            if right.size != left.size:
                raise Disagreement(f"{right.shape} where {left.shape} was expected")
            right = np.asarray(right).reshape(left.shape)
        if isinstance(left, Entries):
            right = np.broadcast_to(right, left.shape) if right.ndim <= left.ndim else right
        if left.shape != right.shape:
            raise Disagreement(f"{right.shape} where {left.shape} was expected")
        return np.asarray(left), np.asarray(right)


class Steps(Evaluator):
    """Equations of a layer: values have a step as their last index, and those beyond either end are 0.

    Arrays by step are in ``case.values`` as dictionaries; ``t`` and ``T`` are numbers there.
    """

    def __init__(self, case: Case) -> None:
        self.case, self.shapes, self.space, self.free = case, {}, [], set()

    def _name(self, key: str, subscript: str) -> Any:
        values = self.case.values
        whole = f"{key}_{{{subscript}}}" if subscript else key
        if whole in values:
            return values[whole]
        if not subscript:
            raise Unreadable(f"unknown: {whole}")
        *gate, step = subscript.split(",")
        at = int(self.value(indices(step)[0]))
        series = {name: steps[at] for name, steps in values.items() if isinstance(steps, dict) and at in steps}
        name = f"{key}_{{{gate[0]}}}" if gate else key
        if name in series:
            return series[name]
        if 1 <= at <= values["T"]:
            return self.block(series, key, gate[0] if gate else "")
        if key not in values["zeros"]:
            raise Unreadable(f"unknown: {whole}")
        return np.zeros_like(values["zeros"][key])

    def _over(self, operator: str, letters: str, conditions: tuple[Node, ...], body: Node) -> Any:
        if (operator, letters, conditions) != ("sum", "t", ()):
            raise Unreadable(f"{operator} over {letters}")
        total: Any = 0.0
        for t in range(1, self.case.values["T"] + 1):
            self.case.values["t"] = t
            total = total + self.value(body)
        return total

    def assign(self, of: Node, what: Node) -> None:
        *gate, step = of[2].split(",")
        key = f"{of[1]}_{{{gate[0]}}}" if gate else of[1]
        self.case.values.setdefault(key, {})[int(self.value(indices(step)[0]))] = self.single(what)
