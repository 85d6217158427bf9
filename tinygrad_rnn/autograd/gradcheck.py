"""``gradcheck`` and ``gradgradcheck``: gradients against numerical derivatives, and a report of what is wrong.

Signature, defaults and first sentences of the messages are PyTorch's (``torch.autograd.gradcheck``).  What follows
the first sentence is ours: the worst entry, the slopes on both sides of it, and the first operation on the tape
whose own vjp is wrong (see ``diagnosis``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import to_device
from ..backend.quiet import seeded
from ..errors import ArgumentError
from ..tape.tensor import Tensor, wrap
from .checks import Check, check_inputs
from .diagnosis import GradcheckError
from .localise import gradients_of
from .numeric import Problem, as_tuple

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]

__tracebackhide__ = True  # pytest shows the line that called us, not ours


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
    method: str = "central",
) -> bool:
    """Check the gradients of ``func(*inputs)`` against numerical derivatives.

    The whole Jacobian of every output by every input that requires grad is compared:
    ``|analytical - numerical| <= atol + rtol * |numerical|``, entry by entry.  Inputs should be float64.

    Args:
        func: takes the inputs, gives a tensor, or tensors in tuples, lists, dicts and dataclasses to any depth.  A
            module, or a bound method of one, is fine: its parameters may be passed among the inputs after those that
            it reads, or be the inputs of a closure.
        inputs: tensors, containers of tensors, and anything else that ``func`` takes.
        eps: the step of the differences.
        raise_exception: raise on failure, or give False.
        nondet_tol: by how much two backward passes over the same graph may differ.
        check_undefined_grad: also check that outputs without a gradient count as zeros.
        check_grad_dtypes: also require each gradient to have its input's dtype.
        check_forward_ad: also check ``J u``, computed by two reverse sweeps.
        check_backward_ad: check ``v J``; on by default.
        fast_mode: compare random projections ``v J u`` instead of whole Jacobians; much faster for many entries.
        masked: accepted for PyTorch's sake; tensors here are dense.
        method: ``central`` differences as in PyTorch; ``extrapolated`` or ``complex`` for tolerances down to 1e-9;
            ``auto``: complex steps where the function allows them, else extrapolated.

    Returns:
        True, or False on a failure with ``raise_exception=False``.

    Raises:
        GradcheckError: a gradient is wrong.  Its ``mismatch`` attribute holds the findings.
        ArgumentError: no input requires grad (a ValueError), or an unknown method.
        NotTensors: ``func`` gives something that is no tensor (an AttributeError), which would go unchecked.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> tg.autograd.gradcheck(tg.tanh, x)
    True
    """
    if check_batched_grad or check_batched_forward_grad:
        raise ArgumentError("gradcheck(): batched gradients need vmap, which this package does not have")
    problem = Problem(func, as_tuple(inputs))
    check_inputs(problem)
    try:
        check = Check(problem, eps, atol, rtol, nondet_tol, check_grad_dtypes, fast_mode, method)
        check.run(check_undefined_grad, check_forward_ad, check_backward_ad)
    except GradcheckError:  # alone: an error of func's own is raised in any case
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Any] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
    method: str = "central",
) -> bool:
    """Check the second derivatives of ``func``: ``gradcheck`` of its gradients, by the inputs and by the cotangents.

    Args:
        grad_outputs: the cotangents at which to check; random ones if left out.
        gen_non_contig_grad_outputs: make the random ones non-contiguous.
        check_fwd_over_rev, check_rev_over_rev: which products with the second derivatives to check.

    Others as in :func:`gradcheck`.  It checks the gradient's derivative, not the gradient: run ``gradcheck`` first.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.1, -0.7], dtype=tg.float64, requires_grad=True)
    >>> tg.autograd.gradgradcheck(tg.tanh, x)
    True
    """
    problem = Problem(func, as_tuple(inputs))
    check_inputs(problem)
    outputs = [y for y in problem.outputs() if y.requires_grad]  # others have no cotangent to differentiate by
    if grad_outputs is None:
        seeds = tuple(_random_like(y, k, gen_non_contig_grad_outputs) for k, y in enumerate(outputs))
    else:
        seeds = as_tuple(grad_outputs)
    derived = gradients_of(problem, seeds)  # of inputs and cotangents: a vjp may fail in either
    return gradcheck(
        derived.func,
        derived.args,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
        method=method,
    )


def _random_like(y: Tensor, number: int, strided: bool) -> Tensor:
    rng = seeded(number)
    if strided and y.ndim:
        values = rng.standard_normal((*y.shape, 2))[..., 0]  # every other entry of its memory
    else:
        values = rng.standard_normal(y.shape)
    seed = to_device(np.asarray(values, y.dtype), y.device)
    return wrap(seed).requires_grad_()  # the gradients are functions of the cotangents, too
