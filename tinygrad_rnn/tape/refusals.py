"""Refusals: what is said to someone who asks the engine for what it cannot give.

Each function returns the error, for the caller to raise; the first sentence is PyTorch's wherever there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ArgumentTypeError, DtypeError, GraphError, ShapeRuntimeError
from ..source_line import warn_user
from ..typing import DType
from .node import Node

NOT_LEAF = "you can only change requires_grad flags of leaf variables."
USE_DETACH = (
    " If you want to use a computed variable in a subgraph that doesn't require differentiation use "
    "var_no_grad = var.detach()."
)


# requires_grad and .grad ---------------------------------------------------------------------------------------------


def not_differentiable(dtype: DType) -> DtypeError:
    remedy = "keep the real and the imaginary part as two tensors" if dtype.kind == "c" else "convert it: x.float()"
    return DtypeError(
        f"only Tensors of floating point dtype can require gradients, and this one is {dtype}. Instead {remedy}"
    )


def no_flag(value: Any) -> GraphError:
    return GraphError(f"requires_grad must be a bool, got {type(value).__name__}")


def not_leaf(requires_grad: bool) -> GraphError:
    return GraphError(NOT_LEAF if requires_grad else NOT_LEAF + USE_DETACH)


def wrong_grad(t: Any, value: Any, tensor: type) -> Exception:
    """For an assignment to ``t.grad`` that does not fit."""
    if not isinstance(value, tensor):
        return ArgumentTypeError(
            f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"
        )
    found: Any = value
    if found is t:
        return GraphError("can't assign Variable as its own grad")
    if found.shape != t.shape:
        return ShapeRuntimeError(
            f"attempting to assign a gradient of size '{list(found.shape)}' to a tensor of size "
            f"'{list(t.shape)}'. Please ensure that the gradient and the tensor are the same size"
        )
    return DtypeError(
        f"attempting to assign a gradient with dtype '{found.dtype}' to a tensor with grad_dtype "
        f"'{t.dtype}'. Convert it: grad.to(x.dtype)"
    )


def warn_no_grad() -> None:
    warn_user(
        "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be "
        "populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf "
        "Tensor, use .retain_grad() on the non-leaf Tensor.",
    )


# backward() and grad() -----------------------------------------------------------------------------------------------


def no_tensors(given: Any) -> ArgumentTypeError:
    return ArgumentTypeError(f"autograd: expected a Tensor or a sequence of Tensors, got {type(given).__name__}")


def no_tensor(position: int, given: Any) -> ArgumentTypeError:
    return ArgumentTypeError(f"autograd: element {position} must be a Tensor, got {type(given).__name__}")


def empty_inputs(function: str) -> GraphError:
    return GraphError(f"`inputs` argument to `{function}()` cannot be empty.")


def not_recorded(position: int) -> GraphError:
    """For an output without history."""
    return GraphError(
        f"element {position} of tensors does not require grad and does not have a grad_fn. Nothing was "
        "recorded: no input had requires_grad=True, or it ran under no_grad() or on detached values"
    )


def input_not_recorded(position: int, shape: Sequence[int]) -> GraphError:
    return GraphError(
        "One of the differentiated Tensors does not require grad: "
        f"input {position}, of shape {shape}. Call requires_grad_() on it before it is used"
    )


def unused_input(position: int) -> GraphError:
    return GraphError(
        f"The differentiated Tensor at index {position} appears to not have been used in the graph. "
        "Set allow_unused=True if this is the desired behavior."
    )


def not_scalar(shape: Sequence[int]) -> GraphError:
    return GraphError(
        f"grad can be implicitly created only for scalar outputs, and this one has shape {shape}. "
        "Reduce it first (loss.sum(), loss.mean()) or pass gradient="
    )


def wrong_seed(position: int, given: Sequence[int], expected: Sequence[int]) -> ShapeRuntimeError:
    return ShapeRuntimeError(
        f"Mismatch in shape: grad_output[{position}] has a shape of {given} and output[{position}] has a "
        f"shape of {expected}."
    )


def given_twice() -> GraphError:
    return GraphError(
        "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. Please only use "
        "`grad_tensors`."
    )


def check_options(only_inputs: bool, is_grads_batched: bool, allow_unused: bool | None, materialize: bool) -> None:
    """Refuse options of ``grad`` that are not there, or contradict each other."""
    if not only_inputs:
        raise ArgumentError("grad(): only_inputs=False is no longer supported; use backward() to fill .grad")
    if is_grads_batched:
        raise ArgumentError("grad(): is_grads_batched is not supported; call grad once per row of grad_outputs")
    if materialize and allow_unused is False:
        raise ArgumentError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )


# a graph that was freed ----------------------------------------------------------------------------------------------

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
    "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
    "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
    "saved tensors after calling backward. A state carried over from the step before brings that step's graph along: "
    "h = h.detach()."
)


def freed(node: Node) -> GraphError:
    when = f"at {node.info}" if node.info else f"as number {node.index}"
    return GraphError(f"{FREED} ({node.name()}, recorded {when})")
