"""Random calls with odd arguments, in this package and in PyTorch on equal arguments: who refuses what, and how.

``python -m tests.ops.odd_calls --calls 10000 --seed 0`` prints shares of the calls and the names that are worst:

* *inside*: an exception that is none of ours, raised somewhere inside Python, NumPy or this package;
* *silent*: both gave an answer, and the values, shapes, dtypes or gradients differ;
* *ours only*, *theirs only*: one answers where the other refuses;
* *class*: both refuse, and PyTorch's handler would not catch our exception;
* *warnings*: a warning of NumPy's got out.

What differs by design is in ``odd_calls.txt``, with the reason.
"""

from __future__ import annotations

import argparse
import collections
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.errors import TinygradRnnError
from tinygrad_rnn.ops.methods import METHODS

LIST = Path(__file__).with_name("odd_calls.txt")
"""``kind | name | reason``: a difference that is meant."""

SKIPPED = frozenset(
    """
    backward register_hook register_post_accumulate_grad_hook from_dlpack set_default_dtype get_default_dtype cuda
    pin_memory is_pinned data_ptr storage_offset is_inference retain_grad
    """.split()
)
UNSET = frozenset("empty empty_like new_empty".split())
"""Whose values mean nothing."""

HUGE = 2**62


# arguments ----------------------------------------------------------------------------------------------------------


@dataclass
class Array:
    """A tensor or an array, made anew for each library."""

    values: Any
    tensor: bool = True
    grad: bool = False
    step: int = 1

    def build(self, library: Any) -> Any:
        values = np.repeat(self.values, self.step, axis=-1) if self.step > 1 else self.values.copy()
        if not self.tensor:
            return values[..., :: self.step] if self.step > 1 else values
        made = library.from_numpy(values)
        made = made[..., :: self.step] if self.step > 1 else made
        return made.requires_grad_() if self.grad else made

    def __repr__(self) -> str:
        text = f"{self.values.dtype}{list(self.values.shape)}"
        marks = "" if self.step == 1 else " strided"
        return f"<{'tensor' if self.tensor else 'array'} {text}{marks}{' grad' if self.grad else ''}>"


@dataclass
class Dtype:
    name: str

    def build(self, library: Any) -> Any:
        return getattr(library, self.name)


def build(value: Any, library: Any) -> Any:
    """A value, or what stands for one, in a library."""
    if isinstance(value, (Array, Dtype)):
        return value.build(library)
    if isinstance(value, (list, tuple)):
        return type(value)([build(v, library) for v in value])
    return value


SHAPES: list[tuple[int, ...]] = [(), (1,), (3,), (0,), (4,), (2, 3), (3, 2), (3, 3), (2, 2), (1, 3), (2, 0), (2, 3, 4)]
DTYPES = ["float32"] * 6 + ["float64"] * 2 + ["int64"] * 2 + ["bool", "int32", "uint8", "float16", "complex64"]


def values_of(rng: random.Random, dtype: str, shape: tuple[int, ...], low: int = -3, high: int = 4) -> Any:
    draw = np.random.default_rng(rng.randrange(1 << 30))
    if dtype == "bool":
        return draw.integers(0, 2, shape).astype(bool)
    if dtype.startswith(("int", "uint")):
        return np.asarray(draw.integers(0 if dtype[0] == "u" else low, high, shape)).astype(dtype)
    values = np.asarray(draw.integers(-16, 17, shape) / 8.0 + 0.0625)
    if rng.random() < 0.12 and values.size:
        values.flat[rng.randrange(values.size)] = rng.choice([np.nan, np.inf, -np.inf, 0.0, 1e30, 1e-30])
    if dtype.startswith("complex"):
        values = values + 1j * draw.integers(-4, 5, shape)
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(dtype)


def tensor(rng: random.Random, dtype: str | None = None, shape: tuple[int, ...] | None = None) -> Array:
    dtype = dtype or rng.choice(DTYPES)
    shape = rng.choice(SHAPES) if shape is None else shape
    strided = bool(shape) and rng.random() < 0.15
    return Array(
        values_of(rng, dtype, shape), grad=dtype.startswith("float") and rng.random() < 0.4, step=2 if strided else 1
    )


def odd(rng: random.Random) -> Any:
    """Anything."""
    return rng.choice(
        [
            lambda: None,
            lambda: rng.randint(-4, 4),
            lambda: rng.choice([HUGE, -HUGE, 2**70, 7, -7]),
            lambda: rng.choice([0.5, -1.5, float("nan"), float("inf"), 2.0]),
            lambda: rng.random() < 0.5,
            lambda: rng.choice(["", "a", "mean", "float32", "ij->ji"]),
            lambda: [rng.randint(-2, 3) for _ in range(rng.randint(0, 3))],
            lambda: tuple(rng.randint(-2, 3) for _ in range(rng.randint(0, 3))),
            lambda: [0.5, 1.5],
            lambda: [tensor(rng), tensor(rng)],
            lambda: (tensor(rng),),
            lambda: np.int64(rng.randint(-2, 2)),
            lambda: np.float32(0.5),
            lambda: np.bool_(True),
            lambda: Array(values_of(rng, rng.choice(DTYPES), rng.choice(SHAPES)), tensor=False),
            lambda: Array(np.asarray(rng.randint(-2, 3))),
            lambda: Array(np.asarray(0.5, np.float32)),
            lambda: tensor(rng),
            lambda: tensor(rng),
            lambda: Dtype(rng.choice(["float32", "int64", "bool"])),
            lambda: 1j,
            dict,
        ]
    )()


def usual(rng: random.Random, kind: str, name: str, shape: tuple[int, ...]) -> Any:
    """An argument of the kind that is asked for, often of a shape that fits."""
    one = rng.choice(kind.rstrip("?").split("/"))
    if kind.endswith("?") and rng.random() < 0.3:
        return None
    if one in ("Tensor", "out"):
        if name in ("index", "indices", "repeats"):
            return Array(values_of(rng, "int64", rng.choice([shape, (2,), shape[:1]]), 0, 2))
        if name in ("mask", "condition"):
            return tensor(rng, "bool", rng.choice([shape, shape[-1:]]))
        if name == "target" and rng.random() < 0.4:
            return Array(values_of(rng, "int64", shape[:1], 0, 2))
        return tensor(rng, rng.choice(["float32", "float32", None]), rng.choice([shape, shape, shape[::-1], None]))
    if one in ("Tensors", "outs"):
        parts = [tensor(rng, rng.choice(["float32", None]), shape) for _ in range(rng.randint(1, 3))]
        return rng.choice([list, tuple])(parts)
    if one == "int":
        number = rng.choice([0, 1, -1, 2, 3, -2])
        array = np.asarray(number)
        return rng.choice([number] * 6 + [np.int64(number), Array(array), Array(array, tensor=False)])
    if one == "ints":
        picked = rng.choice([shape, (0,), (0, 1), (-1, 0), (2, 3), (-1,), shape[::-1], ()])
        return rng.choice([list, tuple])(picked)
    if one in ("Number", "float"):
        return rng.choice([0, 1, 2, 0.5, -0.5, 2.0, 1.5, np.float64(0.5), True])
    if one == "bool":
        return rng.random() < 0.5
    if one == "str":
        return rng.choice(["mean", "sum", "none", "trunc", "floor", "ij", "constant", "tanh", "fro"])
    if one == "dtype":
        return Dtype(rng.choice(["float32", "float64", "int64", "int32", "bool", "complex64", "float16"]))
    if one == "Generator":
        return None
    return odd(rng)


# calls --------------------------------------------------------------------------------------------------------------


@dataclass
class Call:
    where: str  # "function", "nn.functional" or "method"
    name: str
    args: list[Any]
    options: dict[str, Any]

    def __repr__(self) -> str:
        given = [repr(a) for a in self.args] + [f"{key}={value!r}" for key, value in self.options.items()]
        start = {"function": "", "nn.functional": "F.", "method": "x."}[self.where]
        return f"{start}{self.name}({', '.join(given)})"


@dataclass
class Outcome:
    error: Exception | None = None
    value: Any = None
    grads: list[Any] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    @property
    def ours(self) -> bool:
        """Whether the error is one that this package raises on purpose, or Python's own of the call itself."""
        return isinstance(self.error, TinygradRnnError) or self.error is None or _at_the_call(self.error)


def _at_the_call(error: Exception) -> bool:
    trace = error.__traceback__
    return isinstance(error, TypeError) and trace is not None and trace.tb_next is None


def targets() -> list[tuple[str, str]]:
    """Every name that both libraries have."""
    import torch

    import tinygrad_rnn.nn.functional as functional

    found = [("function", n) for n in tg.ops.__all__ if callable(getattr(torch, n, None)) and n not in SKIPPED]
    found += [("nn.functional", n) for n in functional.__all__ if callable(getattr(torch.nn.functional, n, None))]
    for n, f in METHODS.items():
        if callable(f) and not n.startswith("__") and callable(getattr(torch.Tensor, n, None)) and n not in SKIPPED:
            found.append(("method", n))
    return sorted(found)


def drawn(rng: random.Random, where: str, name: str) -> Call:
    """A call of a name: arguments as they should be, one or two of them replaced, left out or added."""
    from tinygrad_rnn.ops.arguments import overloads

    shape = rng.choice(SHAPES)
    args: list[Any] = []
    options: dict[str, Any] = {}
    signatures = overloads(where, name)
    if signatures:
        for parameter in rng.choice(signatures).parameters:
            if parameter.optional and rng.random() < (0.93 if parameter.name in ("out", "device") else 0.6):
                continue
            if parameter.name in ("device", "layout", "pin_memory", "memory_format", "generator"):
                continue
            value = usual(rng, parameter.kind, parameter.name, shape)
            if parameter.keyword or options or (args and rng.random() < 0.15):
                options[parameter.name] = value
            elif parameter.variadic and isinstance(value, (list, tuple)) and rng.random() < 0.6:
                args.extend(value)
            else:
                args.append(value)
    else:
        args = [tensor(rng, None, shape)] + [odd(rng) for _ in range(rng.choice([0, 0, 1, 2]))]
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        _spoil(rng, args, options)
    if where == "method":
        options.pop("input", None)
        if not args or not isinstance(args[0], Array) or not args[0].tensor:
            args[:1] = [tensor(rng, None, shape)]
    return Call(where, name, args, options)


def _spoil(rng: random.Random, args: list[Any], options: dict[str, Any]) -> None:
    what = rng.random()
    if what < 0.6 and args:
        args[rng.randrange(len(args))] = odd(rng)
    elif what < 0.72 and args:
        args.pop(rng.randrange(len(args)))
    elif what < 0.84:
        args.append(odd(rng))
    elif what < 0.9:
        options[rng.choice(["bogus", "dim", "axis", "keepdims", "dtype", "other", "alpha"])] = odd(rng)
    elif options:
        options[rng.choice(sorted(options))] = odd(rng)


def run(library: Any, call: Call) -> Outcome:
    """What a library answers."""
    out = Outcome()
    library.manual_seed(7)
    made: list[Any] = []

    def remember(value: Any) -> Any:
        value = build(value, library)
        made.extend(value if isinstance(value, (list, tuple)) else [value])
        return value

    args = [remember(a) for a in call.args]
    options = {key: remember(value) for key, value in call.options.items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if call.where == "method":
                self = args.pop(0)
                self = self * 1 if call.name.endswith("_") and self.requires_grad else self
                result = getattr(self, call.name)(*args, **options)
            else:
                result = getattr(library if call.where == "function" else library.nn.functional, call.name)(
                    *args, **options
                )
            out.value = result
            leaves = [m for m in made if isinstance(m, library.Tensor) and m.requires_grad and m.is_leaf]
            out.grads = _gradients(library, result, leaves)
        except Exception as error:
            out.error = error
    out.warned = [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)]
    return out


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)) and type(value).__name__ != "Size":
        for v in value:
            yield from _flat(v)
    else:
        yield value


def _gradients(library: Any, result: Any, leaves: list[Any]) -> list[Any]:
    """Of a weighted sum of all that was recorded."""
    total = None
    for r in _flat(result):
        if isinstance(r, library.Tensor) and r.requires_grad and r.dtype != library.complex64:
            weights = library.arange(r.numel()).reshape(r.shape).to(r.dtype) + 1
            part = (r * weights).sum().to(library.float64)
            total = part if total is None else total + part
    if total is None or not leaves:
        return []
    total.backward()
    return [None if leaf.grad is None else leaf.grad.detach().numpy() for leaf in leaves]


# comparison ---------------------------------------------------------------------------------------------------------


def plain(library: Any, value: Any) -> Any:
    """A result as nested tuples of arrays and plain values."""
    if isinstance(value, library.Tensor):
        return value.detach().numpy()
    if isinstance(value, (list, tuple)):
        return tuple(plain(library, v) for v in value)
    if isinstance(value, np.generic):
        return np.asarray(value)
    return value


def differs(a: Any, b: Any, values: bool = True) -> str | None:
    """What differs: "shape", "dtype", "value" or "type"; None if nothing does."""
    if isinstance(a, tuple) or isinstance(b, tuple):
        if not (isinstance(a, tuple) and isinstance(b, tuple)) or len(a) != len(b):
            return "type"
        return next((d for x, y in zip(a, b, strict=True) if (d := differs(x, y, values))), None)
    if isinstance(a, np.ndarray) != isinstance(b, np.ndarray):
        return "type"
    if not isinstance(a, np.ndarray):
        if isinstance(a, (bool, int, str)) or a is None:
            return None if a == b else "value"
        if isinstance(a, float) and isinstance(b, float):
            return differs(np.asarray(a), np.asarray(b), values)
        return None if str(a).split(".")[-1] == str(b).split(".")[-1] else "type"
    if a.shape != b.shape:
        return "shape"
    if a.dtype != b.dtype:
        return "dtype"
    if not values or a.dtype.kind not in "fc":
        return None if not values or np.array_equal(a, b) else "value"
    tolerance = {2: 4e-3, 4: 2e-5}.get(a.dtype.itemsize, 1e-9) if a.dtype.kind == "f" else 2e-5
    with np.errstate(all="ignore"):
        return None if np.allclose(a, b, tolerance, tolerance, equal_nan=True) else "value"


@dataclass
class Finding:
    kind: str
    call: Call
    text: str

    @property
    def name(self) -> str:
        return ("F." if self.call.where == "nn.functional" else "") + self.call.name


def judged(call: Call) -> list[Finding]:
    """What one call shows."""
    import torch

    ours, theirs = run(tg, call), run(torch, call)
    found = [Finding("warning", call, w) for w in ours.warned[:1]]
    add: Callable[[str, str], None] = lambda kind, text: found.append(Finding(kind, call, text))  # noqa: E731
    if not ours.ours:
        add("inside", f"{type(ours.error).__name__}: {ours.error}   torch: {_said(theirs)}")
    if ours.error is None and theirs.error is None:
        kind = differs(plain(tg, ours.value), plain(torch, theirs.value), call.name not in UNSET)
        if kind is not None:
            add(f"silent {kind}", f"{_said(ours)}   torch: {_said(theirs)}")
        elif (worst := _gradient_differs(ours.grads, theirs.grads)) is not None:
            add("silent gradient", worst)
    elif ours.error is None:
        add("ours only", f"torch: {_said(theirs)}")
    elif theirs.error is None:
        add("theirs only", f"{_said(ours)}   torch: {_said(theirs)}")
    elif not isinstance(ours.error, type(theirs.error)):
        add("class", f"{_said(ours)}   torch: {_said(theirs)}")
    return found


def _gradient_differs(ours: list[Any], theirs: list[Any]) -> str | None:
    for a, b in zip(ours, theirs, strict=False):
        zeros = np.zeros_like(a if a is not None else b) if a is not None or b is not None else None
        a, b = zeros if a is None else a, zeros if b is None else b
        if a is not None and b is not None and differs(a, b):
            return f"{a.tolist()}   torch: {b.tolist()}"
    if bool(ours) != bool(theirs) and any(np.any(g) for g in (*ours, *theirs) if g is not None):
        return f"ours has {len(ours)}, torch's has {len(theirs)}"
    return None


def _said(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"{type(outcome.error).__name__}: {str(outcome.error)[:150]}".replace("\n", " ")
    try:
        return repr(outcome.value)[:150].replace("\n", " ")
    except Exception as error:  # PyTorch makes tensors of negative sizes that it cannot print
        return f"a value that cannot be shown: {error}"


# tables -------------------------------------------------------------------------------------------------------------


def by_design() -> dict[tuple[str, str], str]:
    """The differences that are meant, by kind and name (``*`` is any)."""
    rows = [line.split("|", 2) for line in LIST.read_text(encoding="utf-8").splitlines() if "|" in line]
    return {(kind.strip(), name): why.strip() for kind, names, why in rows for name in names.split()}


def meant(finding: Finding, table: dict[tuple[str, str], str]) -> bool:
    names = (finding.name, finding.name.rstrip("_"), finding.name.removeprefix("F."), "*")
    kinds = (finding.kind, finding.kind.split()[0])
    return any((kind, name) in table for kind in kinds for name in names)


def survey(calls: int, seed: int, only: str | None = None) -> list[Finding]:
    """What ``calls`` random calls show, but for what is meant."""
    rng = random.Random(seed)
    names = [t for t in targets() if only is None or t[1] == only]
    table = by_design()
    found = []
    for k in range(calls):
        call = drawn(random.Random(rng.randrange(1 << 60)), *(names[k % len(names)]))
        found += [finding for finding in judged(call) if not meant(finding, table)]
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.ops.odd_calls", description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one name")
    parser.add_argument("--show", nargs="+", default=[], help="print each finding of the kinds that begin so")
    arguments = parser.parse_args(argv)
    found = survey(arguments.calls, arguments.seed, arguments.only)
    kinds = collections.Counter(f.kind for f in found)
    for kind, count in sorted(kinds.items(), key=lambda item: -item[1]):
        worst = collections.Counter(f.name for f in found if f.kind == kind).most_common(12)
        print(f"{kind:16} {count:6} {count / arguments.calls:7.2%}   {', '.join(f'{n} {k}' for n, k in worst)}")
    if arguments.show:
        for f in sorted(found, key=lambda f: (f.kind, f.name)):
            if f.kind.startswith(tuple(arguments.show)):
                print(f"{f.kind}: {f.call}\n    {f.text}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
