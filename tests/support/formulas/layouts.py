"""What the symbols of a formula stand for in a sample call: arrays, numbers, and the axes of index letters."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.ops.recurrent import conventions
from tinygrad_rnn.tape.formula import bar, symbol
from tinygrad_rnn.tape.tensor import Tensor
from tinygrad_rnn.testing import Call
from tinygrad_rnn.testing.gradients import application

from .evaluate import Array, Case, Places, sigmoid

__all__ = ["Run", "cases", "run"]


@dataclass
class Run:
    """A sample call that was made, and swept back with random cotangents of the outputs."""

    name: str
    arguments: tuple[str, ...]
    args: tuple[Any, ...]
    params: dict[str, Any]
    outputs: list[Array]
    seeds: list[Array]
    grads: list[Array | None]

    def values(self) -> dict[str, Any]:
        """By symbol: arguments, parameters, the output and all cotangents."""
        found: dict[str, Any] = {}
        for name, value in self.params.items():
            found[symbol(name)] = value.copy() if isinstance(value, np.ndarray) else value
        for name, value, gradient in zip(self.arguments, self.args, self.grads, strict=False):
            found[symbol(name)] = np.asarray(value) if hasattr(value, "dtype") else value
            if gradient is not None:
                found[bar(symbol(name))] = gradient
        found["y"], found[r"\bar{y}"] = self.outputs[0], self.seeds[0]
        for bound, stands_for in (("l", -np.inf), ("u", np.inf)):  # of clamp(), where there is none
            if bound in found and found[bound] is None:
                found[bound] = stands_for
        return found


def run(name: str, arguments: tuple[str, ...], call: Call, rng: np.random.Generator) -> Run:
    """Make a call, and sweep back."""
    apply, inputs = application(name, *call)
    results = apply(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    seeds = [rng.standard_normal(r.shape) for r in results]
    wanted = [t for t in inputs if isinstance(t, Tensor)]
    grads: Iterator[Any] = iter([None] * len(wanted))
    if any(r.requires_grad for r in results):
        pairs = [(r, tg.tensor(g)) for r, g in zip(results, seeds, strict=True) if r.requires_grad]
        found = tg.autograd.grad([r for r, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True)
        grads = iter([g if g is None else g.numpy() for g in found])
    outputs = [np.asarray(r.detach().numpy()) for r in results]
    of_args = [next(grads) if isinstance(t, Tensor) else None for t in inputs]
    return Run(name, arguments, call.args, call.params, outputs, seeds, of_args)


Layout = Callable[[Run, dict[str, Any]], Iterator[Case]]
LAYOUTS: dict[str, Layout] = {}
"""Of the primitives whose formulas have indices, or in which matrices are multiplied; others go entry by entry."""


def cases(made: Run) -> Iterator[Case]:
    """What the symbols stand for; none if a call is of a kind that the formula leaves out."""
    yield from LAYOUTS.get(made.name, entry_by_entry)(made, made.values())


def entry_by_entry(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    yield Case(values)


def layout(*names: str) -> Callable[[Layout], Layout]:
    def register(found: Layout) -> Layout:
        for name in names:
            LAYOUTS[name] = found
        return found

    return register


def by_axis(groups: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """For axes given by their index (-1 for the shared ones), which of the axes of this index each is."""
    counts: dict[int, int] = {}
    found = []
    for which in groups:
        found.append((which, counts.get(which, 0)))
        counts[which] = counts.get(which, 0) + 1
    return tuple(found)


# reductions ----------------------------------------------------------------------------------------------------------


def reduced(values: dict[str, Any], axes: Sequence[int], keepdims: bool, big: str = "a", small: str = "y") -> Case:
    """i for the axes that remain, k for those that are reduced."""
    a = values[big]
    groups = [1 if k in axes else 0 for k in range(a.ndim)]
    shapes = {
        "i": tuple(n for n, which in zip(a.shape, groups, strict=True) if which == 0),
        "k": tuple(n for n, which in zip(a.shape, groups, strict=True) if which == 1),
    }
    for key in (small, bar(small)):
        if key in values:
            values[key] = values[key].reshape(shapes["i"])
    letters = {big: (("i", "k"), by_axis(groups)), small: (("i",), by_axis([0] * len(shapes["i"])))}
    count = int(np.prod(shapes["k"], dtype=int))
    return Case({**values, "n": count}, letters, shapes)


@layout("sum", "mean", "amax", "amin", "norm", "logsumexp", "var")
def _reduction(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    yield reduced(values, made.params["axes"], made.params["keepdims"])


@layout("prod")
def _prod(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    yield reduced(values, [made.params["dim"]], made.params["keepdims"])


@layout("median")
def _median(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    a = values["a"]
    yield Case(values, {"a": (("k",), by_axis([0] * a.ndim))}, {"k": a.shape})


def _repeated(shape: tuple[int, ...], big: tuple[int, ...]) -> list[int]:
    """The axes along which ``shape`` was broadcast; those of size 1 in both may count as either."""
    first = len(big) - len(shape)
    return [k for k, n in enumerate(big) if k < first or (shape[k - first] == 1 and n != 1)]


@layout("sum_to")
def _sum_to(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    yield reduced(values, _repeated(values["y"].shape, values["a"].shape), False)


@layout("broadcast_to")
def _broadcast_to(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    yield reduced(values, _repeated(values["a"].shape, values["y"].shape), False, "y", "a")


def along(values: dict[str, Any], dim: int, names: Sequence[str], reverse: bool = False) -> Case:
    """k for one axis, i for the others."""
    for name in names:
        for key in (name, bar(name)):
            if reverse and key in values:
                values[key] = np.flip(values[key], dim)
    shape = values[names[0]].shape
    axes = by_axis([int(k == dim) for k in range(len(shape))])
    shapes = {"i": tuple(n for k, n in enumerate(shape) if k != dim), "k": (shape[dim],)}
    return Case({**values, "n": shape[dim]}, dict.fromkeys(names, (("i", "k"), axes)), shapes)


@layout("softmax", "log_softmax", "cumsum", "cumprod")
def _along(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    yield along(values, made.params["dim"], ("a", "y"), made.params.get("reverse", False))


@layout("linear_recurrence")
def _recurrence(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    case = along(values, made.params["dim"], ("x", "c", "y"), made.params["reverse"])
    case.implicit = True
    yield case


@layout("flip", "roll")
def _one_axis(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    if len(made.params["dims"]) == 1:  # along several, one after the other
        values["s"] = made.params.get("shifts", (0,))[0]
        yield along(values, made.params["dims"][0], ("a", "y"))


# products ------------------------------------------------------------------------------------------------------------


def put(values: dict[str, Any], name: str, change: Callable[[Array], Array]) -> None:
    """Change the shape of a value and of its cotangent."""
    for key in (name, bar(name)):
        if isinstance(values.get(key), np.ndarray):
            values[key] = change(values[key])


@layout("matmul")
def _matmul(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    rows, columns = values["a"].ndim == 1, values["b"].ndim == 1
    if rows:
        put(values, "y", lambda a: a[..., None, :] if not columns else a[None])
        put(values, "a", lambda a: a[None])
    if columns:
        put(values, "y", lambda a: a[..., None])
        put(values, "b", lambda a: a[:, None])
    yield Case(values)


@layout("linear")
def _linear(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    for name, size in (("x", values["W"].shape[1]), ("y", len(values["W"]))):
        rows = int(np.prod(values[name].shape[:-1], dtype=int))
        put(values, name, lambda a, rows=rows, size=size: a.reshape(rows, size))
    values["b"] = np.zeros(len(values["W"])) if values["b"] is None else values["b"]
    yield Case(values)


@layout("contract")
def _contract(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    said = {r"\ell": made.params["left"], "r": made.params["right"], "o": made.params["out"]}
    shapes = {
        letter.upper(): (n,)
        for key, word in (("a", r"\ell"), ("b", "r"))
        for letter, n in zip(said[word], values[key].shape, strict=True)
    }
    letters = {
        key: ((word,), tuple((0, k) for k in range(len(said[word])))) for key, word in zip("aby", said, strict=True)
    }
    values = {key: value for key, value in values.items() if key not in said}
    yield Case(values, letters, shapes, words={key: tuple(word.upper()) for key, word in said.items()})


# shapes --------------------------------------------------------------------------------------------------------------


@layout("reshape")
def _reshape(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    for name in ("a", "y"):
        put(values, name, lambda a: a.reshape(-1))
    yield Case(values, {name: (("j",), by_axis([0])) for name in ("a", "y")}, {"j": values["a"].shape})


@layout("transpose")
def _transpose(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    shape, first, second = values["a"].shape, made.params["axis1"], made.params["axis2"]
    if first == second:
        return
    rest = tuple(n for k, n in enumerate(shape) if k not in (first, second))
    axes = by_axis([0 if k == first else 1 if k == second else -1 for k in range(len(shape))])
    # y_ij = a_ji: where a has j, y has i
    letters = {"a": (("j", "i"), axes), "y": (("i", "j"), axes)}
    shapes = {"i": (shape[second],), "j": (shape[first],), "*": rest}
    yield Case(values, letters, shapes)


@layout("permute")
def _permute(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    shape, dims = values["a"].shape, made.params["dims"]
    every = by_axis([0] * len(shape))
    values[r"\pi"] = lambda at: Places([at[k] for k in dims])
    yield Case(values, {"a": (("i",), every), "y": (("i",), every)}, {"i": shape})


@layout("cat")
def _cat(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    dim, start = made.params["dim"], 0
    for m, (part, gradient) in enumerate(zip(made.args, made.grads, strict=True)):
        found = {**values, "p": part, r"\bar{p}": gradient, "o": np.array(start)}
        axes = by_axis([1 if k == dim else 0 for k in range(part.ndim)])
        shapes = {"i": tuple(n for k, n in enumerate(part.shape) if k != dim), "j": (part.shape[dim],)}
        of_part = tuple((which + 1, k) for which, k in axes)
        letters = {"p": (("m", "i", "j"), of_part), "y": (("i", "j"), axes), "o": (("m",), ())}
        yield Case(found, letters, shapes, {"m": m})
        start += part.shape[dim]


@layout("stack")
def _stack(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    dim = made.params["dim"]
    for m, (part, gradient) in enumerate(zip(made.args, made.grads, strict=True)):
        found = {**values, "p": part, r"\bar{p}": gradient}
        of_y = by_axis([1 if k == dim else 0 for k in range(part.ndim + 1)])
        letters = {"p": (("m", "i"), by_axis([1] * part.ndim)), "y": (("i", "m"), of_y)}
        yield Case(found, letters, {"i": part.shape}, {"m": m})


@layout("entries")
def _entries(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    values["y"], values[r"\bar{y}"] = np.stack(made.outputs), np.stack(made.seeds)
    axes = by_axis([0] + [1] * (values["a"].ndim - 1))
    shape = values["a"].shape
    yield Case(values, dict.fromkeys(("a", "y"), (("m", "i"), axes)), {"m": shape[:1], "i": shape[1:]})


@layout("repeat")
def _repeat(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    new = values["y"].ndim - values["a"].ndim
    put(values, "a", lambda a: a[(None,) * new])
    every = by_axis([0] * values["y"].ndim)
    values["n"] = values["a"].shape
    if 0 not in values["n"]:  # no number is taken modulo 0
        shapes = {"i": values["y"].shape, "j": values["a"].shape}
        yield Case(values, {"a": (("j",), every), "y": (("i",), every)}, shapes)


@layout("diagonal", "diag_embed")
def _diagonal(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    whole, line = ("a", "y") if made.name == "diagonal" else ("y", "a")
    first, second = made.params["dim1"], made.params["dim2"]
    a = values[whole]
    axes = by_axis([1 if k == first else 2 if k == second else 0 for k in range(a.ndim)])
    rest = tuple(n for k, n in enumerate(a.shape) if k not in (first, second))
    letters = {whole: (("i", "j", "l"), axes), line: (("i", "k"), by_axis([0] * len(rest) + [1]))}
    shapes = {"i": rest, "k": values[line].shape[-1:], "j": (a.shape[first],), "l": (a.shape[second],)}
    yield Case(values, letters, shapes)


@layout("unfold", "fold")
def _windows(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    line, windows = ("a", "y") if made.name == "unfold" else ("y", "a")
    dim = made.params["dim"]
    a, w = values[line], values[windows]
    rest = tuple(n for k, n in enumerate(a.shape) if k != dim)
    letters = {
        line: (("i", "j"), by_axis([int(k == dim) for k in range(a.ndim)])),
        windows: (("i", "m", "k"), by_axis([*[int(k == dim) for k in range(a.ndim)], 2])),
    }
    shapes = {"i": rest, "j": (a.shape[dim],), "m": (w.shape[dim],), "k": (w.shape[-1],)}
    yield Case(values, letters, shapes)


# indices -------------------------------------------------------------------------------------------------------------


def places_of(shape: tuple[int, ...], index: Any) -> tuple[Callable[[Any], Any], tuple[int, ...]]:
    """The function from a place of ``a[index]`` to the place of a that is there, and the shape of ``a[index]``."""
    flat = np.asarray(np.arange(int(np.prod(shape, dtype=int))).reshape(shape)[index])

    def iota(at: Any) -> Any:
        chosen = flat[tuple(at)]
        return Places(np.unravel_index(chosen, shape) if shape and flat.size else [chosen] * len(shape))

    return iota, flat.shape


def indexed(made: Run, values: dict[str, Any], big: str, small: str, index: Any, others: Sequence[str] = ()) -> Case:
    """j for the places of what is indexed, i for those of what comes out."""
    whole = values[big].shape
    values[r"\iota"], shape = places_of(whole, index)
    every, chosen = by_axis([0] * len(whole)), by_axis([0] * len(shape))
    letters = {big: (("j",), every), small: (("i",), chosen), **dict.fromkeys(others, (("j",), every))}
    return Case(values, letters, {"i": shape, "j": whole})


@layout("getitem", "gather", "gather_rows")
def _getitem(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    yield indexed(made, values, "a", "y", made.params["index"])


@layout("place", "scatter_rows")
def _place(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    yield indexed(made, values, "y", "a", made.params["index"])


@layout("place_all")
def _place_all(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    """Parts are of several lengths: the rest of each is 0, and lies nowhere."""
    flat = [
        np.arange(values["y"].size).reshape(values["y"].shape)[index].reshape(-1) for index in made.params["indices"]
    ]
    longest = max(len(part) for part in flat)
    table = np.array([np.pad(part, (0, longest - len(part)), constant_values=-1) for part in flat])
    for key, parts in (("p", made.args), (r"\bar{p}", made.grads)):
        values[key] = np.array([np.pad(part.reshape(-1), (0, longest - part.size)) for part in parts])
    put(values, "y", lambda a: a.reshape(-1))
    values[r"\iota"] = lambda m, i: Places([table[m[0], i[0]] if longest else m[0] + i[0]])
    letters = {"p": (("m", "i"), by_axis([0, 1])), "y": (("j",), by_axis([0]))}
    yield Case(values, letters, {"m": (len(flat),), "i": (longest,), "j": values["y"].shape})


@layout("scatter_add")
def _scatter_add(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    yield indexed(made, values, "y", "s", made.params["index"], ("a",))


@layout("setitem")
def _setitem(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    whole = dict(values)
    case = indexed(made, values, "y", "v", made.params["index"], ("a",))
    place = case.shapes["i"]
    if "last" in made.params and made.params["last"] is None and len(whole["v"].shape) <= len(place):
        case.values["v"] = np.broadcast_to(whole["v"], place)
        yield case


@layout("view_write")
def _view_write(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    yield indexed(made, values, "y", "v", made.params["how"]["index"], ("a",))


@layout("embedding")
def _embedding(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    index, table = made.params["index"], values["W"]
    values[r"\iota"] = lambda at: Places([index[tuple(at)]])
    values["q"] = -1 if made.params["padding_idx"] is None else made.params["padding_idx"]
    letters = {
        "W": (("j", "k"), by_axis([0, 1])),
        "y": (("i", "k"), by_axis([0] * index.ndim + [1])),
    }
    yield Case(values, letters, {"i": index.shape, "j": table.shape[:1], "k": table.shape[1:]})


# layers --------------------------------------------------------------------------------------------------------------


@layout("cross_entropy", "nll_loss")
def _classes(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    if made.params["reduction"] == "none":
        return
    classes = made.params["target"].numpy()
    weight = made.params.get("weight")
    scale = np.ones(classes.shape) if weight is None else weight.numpy()[classes]
    values["q"] = scale / scale.sum() if made.params["reduction"] == "mean" else scale
    values["t"] = classes
    samples = ((("j",), by_axis([0] * classes.ndim)),)[0]
    axes = by_axis([0, 1] + [0] * (classes.ndim - 1))
    shapes = {"j": classes.shape, "k": (values["a"].shape[1],)}
    yield Case(values, {"a": (("j", "k"), axes), "t": samples, "q": samples}, shapes)


@layout("ctc_loss")
def _ctc_loss(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    if made.params["reduction"] != "none":
        return
    steps, batch, classes = values["a"].shape
    paths = list(itertools.product(range(classes), repeat=steps))
    running, counts = made.params["input_lengths"], made.params["target_lengths"]
    labels = [list(row[:count]) for row, count in zip(made.params["targets"].numpy(), counts, strict=True)]

    def stands(path: tuple[int, ...], n: int) -> bool:
        merged = [k for k, _ in itertools.groupby(path[: running[n]]) if k != 0]
        return merged == labels[n] and not any(path[running[n] :])  # of the paths that differ afterwards, one counts

    values["q"] = np.array([[float(stands(path, n)) for path in paths] for n in range(batch)])
    values["s"] = (np.arange(steps)[:, None] < np.array(running)) * 1.0
    values[r"\pi"] = np.array(paths).reshape(len(paths), steps)
    letters = {
        "a": (("t", "n", "k"), by_axis([0, 1, 2])),
        "y": (("n",), by_axis([0])),
        "q": (("n", "m"), by_axis([0, 1])),
        "s": (("t", "n"), by_axis([0, 1])),
        r"\pi": (("m", "t"), by_axis([0, 1])),
    }
    shapes = {"t": (steps,), "u": (steps,), "n": (batch,), "k": (classes,), "m": (len(paths),)}
    yield Case(values, letters, shapes)


@layout("layer_norm")
def _layer_norm(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    x, count = values["x"], made.params["count"]
    shapes = {"i": x.shape[: x.ndim - count], "k": x.shape[x.ndim - count :]}
    for name, default in (("W", np.ones), ("b", np.zeros)):
        values[name] = default(shapes["k"]) if values[name] is None else values[name]
    whole = (("i", "k"), by_axis([0] * (x.ndim - count) + [1] * count))
    part = (("k",), by_axis([0] * count))
    values["n"] = int(np.prod(shapes["k"], dtype=int))
    yield Case(values, {"x": whole, "y": whole, "W": part, "b": part}, shapes)


NONLINEAR: dict[str, tuple[Any, Any]] = {
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2),
    "relu": (lambda a: np.maximum(a, 0), lambda a: (a > 0) * 1.0),
}
GATES = {"lstm": "".join(conventions.LSTM.gates), "gru": "".join(conventions.GRU.gates), "rnn": ""}


def _weights(values: dict[str, Any], kind: str, nonlinearity: str) -> str:
    for key in ("b_{ih}", "b_{hh}"):
        values[key] = np.zeros(len(values["W_{ih}"])) if values[key] is None else values[key]
    values[r"\varphi"], values[r"\varphi'"] = NONLINEAR[nonlinearity]
    values[r"\sigma"] = sigmoid
    return GATES[kind]


@layout("rnn_cell", "lstm_cell", "gru_cell")
def _cell(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    gates = _weights(values, made.name.removesuffix("_cell"), made.params.get("nonlinearity", "tanh"))
    for key in ("y", r"\bar{y}"):
        del values[key]
    for name, output, seed in zip(("h'", "c'"), made.outputs, made.seeds, strict=False):
        values[name], values[bar(name[0]) + "'"] = output, seed
    for key in ("x", "h", "c", "h'", "c'"):  # one sequence is a batch of one
        for each in (key, bar(key[0]) + key[1:]):
            if isinstance(values.get(each), np.ndarray) and values[each].ndim == 1:
                values[each] = values[each][None]
    yield Case(values, gates=gates)


@layout("rnn", "lstm", "gru")
def _layer(made: Run, values: dict[str, Any]) -> Iterator[Case]:
    options = made.params["options"]
    if options.sizes is not None:  # packed: the same equations for every sequence, up to its own end
        return
    gates = _weights(values, made.name, options.nonlinearity)
    length = len(values["x"])
    hidden = values["h_{0}"]
    zeros = {r"\bar{h}": hidden, r"\bar{c}": hidden, "f": hidden, "z": hidden}
    zeros |= {key: np.zeros((len(hidden), len(values["W_{ih}"]))) for key in (r"\bar{a}", r"\bar{e}")}
    values |= {"T": length, "zeros": zeros}
    if "W_{hr}" in values and values["W_{hr}"] is None:
        values["W_{hr}"] = np.eye(hidden.shape[1])
    turned = -1 if options.reverse else 1
    for key in ("x", r"\bar{x}", "y", r"\bar{y}"):
        values[key] = dict(enumerate(values[key][::turned], 1))
    for state in ("h", "c"):
        if f"{state}_{{0}}" in values:
            values[state] = {0: values[f"{state}_{{0}}"]}
    for state, seed in zip("hc", made.seeds[1:], strict=False):
        values[bar(state) + "_{n}"] = seed
    yield Case(values, gates=gates)
