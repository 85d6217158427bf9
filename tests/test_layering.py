"""Imports point one way: lower layers never import higher ones.  Read from the sources, so that nothing is missed."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

import tinygrad_rnn

ROOT = pathlib.Path(tinygrad_rnn.__file__).parent
NAME = ROOT.name

LAYERS = {
    "errors": 0,
    "source_line": 0,
    "unknown_names": 0,
    "terminal": 0,
    "typing": 0,
    "backend": 1,
    "tape": 2,
    "kernels": 2,
    "ops": 3,
    "viz": 3,
    "autograd": 4,
    "special": 4,
    "nn": 5,
    "optim": 5,
    "distributions": 5,
    "diagnostics": 6,
    "utils": 6,
    "testing": 6,
    "serialization": 6,
    "cuda": 6,
    "compat": 7,
    "teaching": 7,
    "__init__": 8,
    "bench": 9,
    "explain": 9,
    "lab": 9,
    "train": 10,
    "__main__": 11,
}
"""A module imports its own package and lower layers.  The programs on top use the package as its users do."""

NARROWER = {
    "kernels": {"errors", "source_line", "typing", "backend", "kernels"},
    "viz": {"errors", "source_line", "terminal", "typing", "backend", "tape", "viz"},
}
"""Packages that are allowed less than their layer."""

REQUIRED = {"numpy", "safetensors", "tqdm"}
OPTIONAL = {
    "IPython",
    "cupy",
    "cupyx",
    "cupy_backends",
    "latex2mathml",
    "numba",
    "markdown_it",
    "matplotlib",
    "mdit_py_plugins",
    "hypothesis",
    "pytest",
    "torch",
    "scipy",
}
ONLY_IN = {
    "IPython": "viz/magic.py",
    "cupy": "backend",
    "cupyx": "backend",
    "cupy_backends": "backend",
    "latex2mathml": "viz",
    "hypothesis": "testing",
    "markdown_it": "lab/page.py",
    "mdit_py_plugins": "lab/page.py",
    "pytest": "testing/plugin.py",
    "safetensors": "serialization/safetensors_file.py",
}
WHEN_USED = OPTIONAL | {"safetensors"}
"""Packages that are loaded by the first call that needs them."""
AT_MODULE_LEVEL = {"hypothesis", "pytest"}  # there, in modules that are loaded when they are asked for

FLOORS_INSIDE = {
    "nn": [
        "parameter signatures truncated_normal",
        "functional",
        "init module utils/clip_grad utils/convert_parameters utils/rnn",
        "activation containers convolution dropout embedding linear loss normalization pooling",
        "adaptive attention recurrent",
        "parallel skip_connections",
        "utils",
        "modules",
        "__init__",
    ],
    "testing": [
        "close plugin untraced",
        "gradients laws strategies",
        "recurrent",
        "sample_calls",
        "random_programs",
        "__init__",
    ],
}
"""The rooms and files of a package from the lowest floor up.  Each imports itself and what is lower."""

DOORS = {("tape/backward.py", "tape.observe.leaks"): "a sweep that starts is a chance to see whether graphs pile up"}
"""What the engine imports from the rooms that hang on it, with the reason."""

KERNELS = f"{NAME}.kernels.recurrent"
KERNEL_ROOMS = ("numpy", "numba", "cuda")
SHARED_BY_KERNELS = {f"{KERNELS}.interface", f"{KERNELS}.threads"}
KERNEL_DOORS = {
    ("kernels/recurrent/cuda/__init__.py", f"{KERNELS}.dispatch"): "explain() says why CUDA's kernels are not chosen",
}
"""What a package of recurrent kernels imports of kernels/recurrent beside its own files, with the reason."""

SHORT = 60
SHORT_FILES = {
    "compat/accelerator.py": "a module in PyTorch",
    "compat/backends/cudnn.py": "a module in PyTorch, with switches that scripts set",
    "compat/backends/mps.py": "a module in PyTorch",
    "compat/version.py": "a module in PyTorch",
    "kernels/recurrent/numba/rows.py": "imported by the text that ops/compiler writes",
    "nn/parallel.py": "a module in PyTorch",
    "special.py": "a module in PyTorch",
}
"""Files of fewer than 60 lines that at most one file imports, each with its reason."""

LAZY_IMPORTS = pathlib.Path(__file__).with_name("lazy_imports.txt")


class Import(NamedTuple):
    """One import of a module: by whom, of what, and when it is made."""

    path: str
    line: int
    target: str
    lazy: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.target}"


def imports_of(file: pathlib.Path) -> Iterator[Import]:
    path = file.relative_to(ROOT).as_posix()
    package = [NAME, *file.relative_to(ROOT).parts[:-1]]

    def visit(node: ast.AST, lazy: bool, for_types: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name, lazy, for_types)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                found = f"{module}.{alias.name}"
                inside = module.split(".")[0] == NAME and is_module(found)
                yield Import(path, node.lineno, found if inside else module, lazy, for_types)
        lazy = lazy or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for_types = for_types or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, (ast.expr, ast.expr_context)):  # an import is a statement
                yield from visit(child, lazy, for_types)

    yield from visit(ast.parse(file.read_text(encoding="utf-8")), False, False)


def is_module(name: str) -> bool:
    place = ROOT.parent.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def layer_of(path: str) -> str:
    """``nn/recurrent/layers.py`` and ``tinygrad_rnn.nn.recurrent`` alike -> ``nn``."""
    parts = path.removesuffix(".py").split("/") if "/" in path or path.endswith(".py") else path.split(".")[1:]
    return parts[0] if parts else "__init__"


FILES = sorted(ROOT.rglob("*.py"))
ALL = [found for file in FILES for found in imports_of(file)]
OWN = [found for found in ALL if found.target.split(".")[0] == NAME and not found.for_types]


def test_there_are_imports_to_look_at() -> None:
    assert len(FILES) > 50 and len(OWN) > 200


def test_every_package_has_its_layer() -> None:
    assert sorted({layer_of(file.relative_to(ROOT).as_posix()) for file in FILES} - set(LAYERS)) == []


def test_imports_point_to_lower_layers() -> None:
    wrong = [
        str(found)
        for found in OWN
        if layer_of(found.path) != layer_of(found.target)
        and LAYERS[layer_of(found.target)] >= LAYERS[layer_of(found.path)]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", NARROWER)
def test_some_packages_import_less_than_they_could(package: str) -> None:
    def allowed(target: str) -> bool:
        place = "/".join(target.split(".")[1:])
        return any(place == name or place.startswith(name + "/") for name in NARROWER[package])

    wrong = [str(found) for found in OWN if found.path.startswith(package + "/") and not allowed(found.target)]
    assert not wrong, "\n".join(wrong)


def test_packages_that_few_calls_need_are_imported_where_they_belong_and_only_when_needed() -> None:
    wrong = []
    for found in ALL:
        top = found.target.split(".")[0]
        if top not in WHEN_USED or found.for_types:
            continue
        if not found.path.startswith(ONLY_IN.get(top, "")) or not (found.lazy or top in AT_MODULE_LEVEL):
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


def test_nothing_else_is_imported() -> None:
    known = REQUIRED | OPTIONAL | {NAME} | set(sys.stdlib_module_names)
    assert sorted({found.target.split(".")[0] for found in ALL if not found.for_types} - known) == []


def test_importing_the_package_loads_no_package_that_few_calls_need() -> None:
    program = (
        f"import sys, {NAME}.nn, {NAME}.optim, {NAME}.autograd, {NAME}.serialization\n"
        "print(*sorted(m.split('.')[0] for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert WHEN_USED & set(done.stdout.split()) == set()


def name_of(file: pathlib.Path) -> str:
    """``tinygrad_rnn/nn/__init__.py`` -> ``tinygrad_rnn.nn``."""
    return ".".join([NAME, *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The sets of modules that import each other in a circle: the strongly connected components, by reachability."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for target in arrows.get(waiting.pop(), set()) - seen:
                seen.add(target)
                waiting.append(target)
        return seen

    beyond = {module: reached(module) for module in arrows}
    found = {tuple(sorted(m for m in beyond[module] if module in beyond.get(m, ()))) for module in arrows}
    return [list(circle) for circle in sorted(found) if circle]


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Of all imports: those of a module, those inside functions, those for types alone."""
    arrows: dict[str, set[str]] = {name_of(file): set() for file in FILES}
    for found in ALL:
        module = name_of(ROOT / found.path)
        if found.target in arrows and found.target != module:
            arrows[module].add(found.target)
    present = [[module.removeprefix(f"{NAME}.") for module in circle] for circle in circles(arrows)]
    assert not present, "\n".join(f"a circle of {len(circle)} modules: {', '.join(circle)}" for circle in present)


def test_a_circle_of_imports_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"a"}, "c": {"d"}, "d": {"c"}}) == [["a", "b"], ["c", "d"]]


def listed_lazy_imports() -> dict[tuple[str, str], str]:
    """``tests/lazy_imports.txt``, one import a line, as ``file: module -- reason``."""
    listed = {}
    for line in LAZY_IMPORTS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            place, _, reason = line.partition(" -- ")
            path, _, module = place.partition(": ")
            assert module and reason, f"{LAZY_IMPORTS.name}: expected 'file: module -- reason', got {line!r}"
            assert (path, module) not in listed, f"{LAZY_IMPORTS.name}: {place} is listed twice"
            listed[path, module] = reason
    return listed


def test_imports_inside_functions_have_a_reason() -> None:
    """An import belongs at the head of its file, where a reader and a type checker look for it."""
    lazy = [found for found in ALL if found.lazy]
    there = {(found.path, found.target.removeprefix(f"{NAME}.")): found for found in lazy}
    listed = listed_lazy_imports()
    unlisted = [str(found) for place, found in there.items() if place not in listed]
    assert not unlisted, "\n".join(["move to the head of the file, or list with a reason:", *unlisted])
    gone = [f"{path}: {module}" for path, module in listed if (path, module) not in there]
    assert not gone, "\n".join([f"delete from {LAZY_IMPORTS.name}, as there is no such import:", *gone])


def floor_inside(package: str, place: str) -> tuple[int, str] | None:
    """The floor of a file or module of a package, and the room there that it belongs to."""
    place = place.removesuffix(".py").replace(".", "/").removeprefix(f"{package}/")
    for length in range(place.count("/") + 1, 0, -1):  # ``utils/rnn`` before ``utils``
        room = "/".join(place.split("/")[:length])
        for floor, rooms in enumerate(FLOORS_INSIDE[package]):
            if room in rooms.split():
                return floor, room
    return None


@pytest.mark.parametrize("package", FLOORS_INSIDE)
def test_imports_inside_a_package_point_to_lower_floors(package: str) -> None:
    inside = [found for found in ALL if found.path.startswith(f"{package}/")]
    lost = {found.path for found in inside if floor_inside(package, found.path) is None}
    assert not lost, f"give {', '.join(sorted(lost))} a floor in FLOORS_INSIDE"
    wrong = []
    for found in inside:
        above = floor_inside(package, found.path)
        below = floor_inside(package, found.target.removeprefix(f"{NAME}."))
        if found.target.startswith(f"{NAME}.{package}.") and above and below:
            if below[0] > above[0] or (below[0] == above[0] and below[1] != above[1]):
                wrong.append(str(found))
    assert len(inside) > 20 and not wrong, "\n".join(wrong)


def test_the_engine_does_not_import_what_hangs_on_it() -> None:
    """The files of ``tape/`` itself can be read alone: views, hooks and watchers attach themselves from outside."""
    engine = [found for found in ALL if found.path.count("/") == 1 and found.path.startswith("tape/")]
    rooms = [f"{NAME}.tape.{room.name}" for room in (ROOT / "tape").iterdir() if (room / "__init__.py").exists()]
    assert len(rooms) == 3 and len(engine) > 40
    up = {
        (found.path, found.target.removeprefix(f"{NAME}."))
        for found in engine
        if found.path != "tape/__init__.py" and found.target.startswith(tuple(rooms))
    }
    assert up == set(DOORS)


def foreign_to_kernels(imports: list[Import]) -> set[tuple[str, str]]:
    """What files of a package of recurrent kernels import of another package, or of what chooses between them."""
    found = set()
    for one in imports:
        room = next((r for r in KERNEL_ROOMS if one.path.startswith(f"kernels/recurrent/{r}/")), None)
        own = f"{KERNELS}.{room}"
        if room is None or not one.target.startswith(KERNELS) or one.target in SHARED_BY_KERNELS:
            continue
        if one.target != own and not one.target.startswith(f"{own}."):
            found.add((one.path, one.target))
    return found


def test_packages_of_kernels_do_not_import_each_other() -> None:
    """Each can be read, and taken away, alone."""
    assert {found.path.split("/")[2] for found in ALL if found.path.startswith("kernels/recurrent/")} >= set(
        KERNEL_ROOMS
    )
    assert foreign_to_kernels(ALL) == set(KERNEL_DOORS)


def test_an_import_between_packages_of_kernels_is_found() -> None:
    path = "kernels/recurrent/numpy/products.py"
    targets = [f"{KERNELS}.numba.schedule", f"{KERNELS}.dispatch", f"{KERNELS}.interface", f"{KERNELS}.numpy.schedule"]
    imports = [Import(path, 1, target, False, target.endswith("dispatch")) for target in [*targets, "numpy"]]
    assert foreign_to_kernels(imports) == {(path, target) for target in targets[:2]}


def test_short_files_are_shared() -> None:
    """What one file alone imports is part of that file, unless it is long."""
    importers: dict[str, set[str]] = {}
    for found in ALL:
        importers.setdefault(found.target, set()).add(found.path)
    short = {
        path
        for file in FILES
        if (path := file.relative_to(ROOT).as_posix()) and file.name not in ("__init__.py", "__main__.py")
        if not path.startswith(
            ("lab/items/", "teaching/course/exercises/")
        )  # a page each, found by the names of the files
        if file.read_text(encoding="utf-8").count("\n") < SHORT and len(importers.get(name_of(file), ())) <= 1
    }
    assert not short - set(SHORT_FILES), f"merge with the file that imports them: {sorted(short - set(SHORT_FILES))}"
    assert not set(SHORT_FILES) - short, f"delete from SHORT_FILES: {sorted(set(SHORT_FILES) - short)}"


def test_the_engine_can_be_read_in_one_sitting() -> None:
    names = ("node", "tensor", "primitive", "sums", "sweep", "backward")
    assert sum((ROOT / "tape" / f"{name}.py").read_text(encoding="utf-8").count("\n") for name in names) <= 850


def test_files_stay_small() -> None:
    """One class or one idea per file, and no more than can be read in one sitting."""
    long = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8").count("\n") for file in FILES}
    assert {path: n for path, n in long.items() if n > 900} == {}
