"""Primitives: a forward function on raw arrays, and for each argument its vector-Jacobian product (vjp).

For ``y = f(a, b)`` and a scalar loss L, the vjp of argument a turns the cotangent of y, ``g = dL/dy``, into
``g . dy/da``, the contribution to dL/da of this one use of ``a``.  It is called as
``vjp(g, y, a, b, **params)`` and is itself written in operations that take raw arrays or Tensors: on raw arrays
it just computes, on Tensors it is recorded, which gives the next order.

A declaration says which values each vjp reads: "y" is the output, "a", "b", "c" ... the arguments.  Nothing else
is saved; in place of an argument that was not saved the vjp finds its node, which knows ``shape``, ``dtype``
and ``ndim``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from .formula import Formula
from .partial_gradient import Contribution, Contributions

__all__ = ["REGISTRY", "Primitive", "Vjp", "Vjps"]

Vjp = Callable[..., Contribution]
Vjps = Callable[..., Contributions]

REGISTRY: dict[str, Primitive] = {}  # by name: what the property tests run over


class Primitive:
    """One row of the table of primitives.

    Attributes:
        name, backward_name: on the tape, and as PyTorch names the node.
        forward: on raw arrays.
        vjps: for each argument, or None where there is no gradient: mathematics, on arrays and Tensors alike.
        vjp_all: instead of ``vjps``, one function that gives the cotangents of all arguments.
        raw_vjps, raw_vjp_all: what a sweep that is not recorded calls, on arrays alone: the same functions, but for
            those that have a faster form (``add_raw_form``).  Assigning ``vjps`` or ``vjp_all`` sets these too.
        saves: for each vjp the values it reads, and ``saves_anything`` whether there are any.
        arity: 1 for those of one argument, 2 for those of two and no parameters, which the sweep calls without loops
            (a node of an RNN step takes a third longer with them); 0 for any other form.
        gives_new: the cotangents are arrays made for the purpose, each with memory of its own, which the sweep may keep
            and add into.
        reshapes_only: the cotangent of the only argument is that of the result in another shape, and may be written to
            if that may.
        view: the output may share memory with the first argument.
        apply: the function that users call, on arrays or Tensors.
        formula: the value and the vjps as equations in LaTeX, or None.
        reference: of a fused operation, the same computation in ordinary ones; else None.
    """

    __slots__ = (
        *("_keeps", "_raw_forms", "_vjp_all", "_vjps", "apply", "arity", "backward_name", "forward", "formula"),
        *("gives_new", "name", "raw_vjp_all", "raw_vjps", "reference", "reshapes_only"),
        *("saves", "saves_anything", "view"),
    )

    apply: Callable[..., Any]
    raw_vjps: tuple[Vjp | None, ...]
    raw_vjp_all: Vjps | None

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        vjps: tuple[Vjp | None, ...],
        saves: tuple[str, ...],
        *,
        view: bool = False,
        vjp_all: Vjps | None = None,
        residual: bool = False,
        listed: bool = True,
        arity: int = 0,
        gives_new: bool = False,
        reshapes_only: bool = False,
    ) -> None:
        if len(vjps) != len(saves):
            raise ValueError(f"primitive {name}: {len(vjps)} vjps, but {len(saves)} declarations of what they read")
        known = {"y", *map(chr, range(97, 97 + len(vjps)))}
        if not known.issuperset("".join(saves)):
            raise ValueError(f"primitive {name}: saves {saves}, but there are only {', '.join(sorted(known))}")
        self.name, self.forward = name, forward
        self.formula: Formula | None = None
        self.backward_name = "".join(word.capitalize() for word in name.split("_")) + "Backward0"
        self._raw_forms: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.vjps, self.vjp_all = vjps, vjp_all
        self.saves = saves
        self.reference: Callable[..., tuple[Any, ...]] | None = None
        self.saves_anything = residual or any(saves)  # residual: what a fused kernel leaves, freed as saved values are
        self.view, self.arity, self.gives_new, self.reshapes_only = view, arity, gives_new, reshapes_only
        self._keeps: dict[tuple[bool, ...], tuple[tuple[bool, ...], bool]] = {}
        if not listed:  # made from a user's class, or a border: no row of the table
            return
        if name in REGISTRY:
            raise ValueError(f"there is a primitive {name!r} already")
        REGISTRY[name] = self

    @property
    def vjps(self) -> tuple[Vjp | None, ...]:
        """The vjp of each argument, None where there is no gradient."""
        return self._vjps

    @vjps.setter
    def vjps(self, vjps: tuple[Vjp | None, ...]) -> None:
        self._vjps = vjps
        self.raw_vjps = tuple([vjp and self._raw_forms.get(vjp, vjp) for vjp in vjps])

    @property
    def vjp_all(self) -> Vjps | None:
        """One function that gives the contributions to all arguments, instead of ``vjps``."""
        return self._vjp_all

    @vjp_all.setter
    def vjp_all(self, vjp_all: Vjps | None) -> None:
        self._vjp_all = vjp_all
        self.raw_vjp_all = vjp_all and self._raw_forms.get(vjp_all, vjp_all)

    def add_raw_form(self, position: int | None, form: Callable[..., Any]) -> None:
        """Let unrecorded sweeps call ``form`` for the same numbers, but faster.

        Args:
            position: of the argument whose vjp it stands for; None for ``vjp_all``.
        """
        vjp = self._vjp_all if position is None else self._vjps[position]
        assert vjp is not None
        self._raw_forms[vjp] = form  # by the vjp, not its position: it comes back with the vjp after an exchange
        self.vjps, self.vjp_all = self._vjps, self._vjp_all  # through the setters, which look the forms up

    def keeps(self, needs: tuple[bool, ...]) -> tuple[tuple[bool, ...], bool]:
        """Which arguments, and whether the output, are saved if gradients of ``needs`` are wanted."""
        found = self._keeps.get(needs)  # the same few tuples come at every step of a loop
        if found is None:
            letters = "".join(s for s, need in zip(self.saves, needs, strict=False) if need)  # of vjps that will run
            found = tuple(chr(97 + k) in letters for k in range(len(needs))), "y" in letters
            self._keeps[needs] = found
        return found

    def with_vjp_all(self, vjp_all: Vjps) -> Primitive:
        """A copy whose contributions come from ``vjp_all``."""
        other = copy.copy(self)  # not in REGISTRY, which keeps the original
        other.vjp_all = vjp_all
        other.arity, other.gives_new, other.reshapes_only = 0, False, False  # a wrapper promises none of these
        return other

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"
