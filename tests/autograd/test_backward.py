"""``backward`` and ``grad``: where gradients go, and what is said if they cannot; as in PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


@pytest.fixture
def x(lib: Any) -> Any:
    return lib.tensor([1.0, 2.0, 3.0], requires_grad=True)


def test_gradients_accumulate_in_leaves(lib: Any, x: Any) -> None:
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5.0] * 3


def test_several_outputs_are_summed_with_their_weights(lib: Any, x: Any) -> None:
    lib.autograd.backward([x.sum(), x * x], [None, lib.tensor([1.0, 10.0, 100.0])])
    assert x.grad.tolist() == [3.0, 41.0, 601.0]
    assert lib.autograd.grad([x.sum(), (x * 2).sum()], x)[0].tolist() == [3.0] * 3


def test_grad_accumulates_nothing_and_gives_a_tuple(lib: Any, x: Any) -> None:
    found = lib.autograd.grad((x * x).sum(), [x])
    assert isinstance(found, tuple) and found[0].tolist() == [2.0, 4.0, 6.0] and x.grad is None


def test_inputs_limits_where_gradients_go(lib: Any, x: Any) -> None:
    w = lib.ones(3, requires_grad=True)
    h = x * w
    h.sum().backward(inputs=[x, h])
    assert x.grad.tolist() == [1.0] * 3 and w.grad is None and h.grad.tolist() == [1.0] * 3


def test_an_unused_input_is_none_or_zeros_if_that_was_asked_for(lib: Any, x: Any) -> None:
    unused = lib.ones(2, requires_grad=True)
    assert lib.autograd.grad(x.sum(), [x, unused], allow_unused=True)[1] is None
    assert lib.autograd.grad(x.sum(), [x, unused], materialize_grads=True)[1].tolist() == [0.0, 0.0]


def test_a_tensor_is_its_own_gradient_function(lib: Any, x: Any) -> None:
    assert lib.autograd.grad(x, x, lib.ones(3))[0].tolist() == [1.0] * 3
    x.backward(lib.ones(3))
    assert x.grad.tolist() == [1.0] * 3


def test_a_graph_in_which_nothing_was_saved_can_be_swept_again(lib: Any, x: Any) -> None:
    y = (x + 1).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2.0] * 3


def test_a_freed_part_does_not_matter_where_it_is_not_swept(lib: Any, x: Any) -> None:
    h = x.exp()
    y = (h * 3).sum()
    h.sum().backward()
    assert lib.autograd.grad(y, h)[0].tolist() == [3.0] * 3


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True:UserWarning")  # PyTorch has a cycle then
def test_create_graph_keeps_the_graph_and_records_the_sweep(lib: Any, x: Any) -> None:
    (x**3).sum().backward(create_graph=True)
    first, x.grad = x.grad, None
    assert first.requires_grad
    assert lib.autograd.grad(first.sum(), x)[0].tolist() == [6.0, 12.0, 18.0]


def test_gradients_share_no_memory_with_what_was_given(lib: Any, x: Any) -> None:
    seed = lib.ones(3)
    x.backward(seed)
    (g,) = lib.autograd.grad(x * 1, x, seed)
    seed.add_(5)
    if lib is tg:  # PyTorch hands the seed itself on
        assert g.tolist() == [1.0] * 3
    assert x.grad.tolist() == [1.0] * 3


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True:UserWarning")
def test_recorded_gradients_share_no_memory_with_each_other_or_with_what_was_given(lib: Any, x: Any) -> None:
    """Two leaves of one sum get one cotangent: halving the gradient of one in place must leave the others alone."""
    y, seed = lib.tensor([3.0, 4.0, 0.0], requires_grad=True), lib.tensor([3.0, 4.0, 0.0])
    h = y * 1
    h.retain_grad()
    (x + h).backward(seed, create_graph=True)
    with lib.no_grad():
        x.grad.mul_(0.5)
    assert seed.tolist() == y.grad.tolist() == h.grad.tolist() == [3.0, 4.0, 0.0]
    x.grad = None
    assert lib.nn.utils.clip_grad_norm_([y, h], 1.0).item() == pytest.approx(50**0.5)
    assert y.grad.tolist() == h.grad.tolist() == pytest.approx([3 / 50**0.5, 4 / 50**0.5, 0], rel=1e-5)


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True:UserWarning")
def test_a_recorded_gradient_that_was_expanded_may_be_written_to(lib: Any, x: Any) -> None:
    w = lib.ones(2, 3, requires_grad=True)
    (x.sum() + w.t().sum()).backward(create_graph=True)
    for t in (x, w):
        assert t.grad.is_contiguous() and t.grad.requires_grad is False
        t.grad.zero_()
        assert not t.grad.any()


def test_a_computed_tensors_grad_warns_and_is_none(lib: Any, x: Any) -> None:
    h = x * 2
    h.sum().backward()
    with pytest.warns(UserWarning, match="The .grad attribute of a Tensor that is not a leaf Tensor is being accessed"):
        assert h.grad is None
    h.retain_grad()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert h.grad is None


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True:UserWarning")
def test_recorded_gradients_accumulate_with_their_histories(lib: Any, x: Any) -> None:
    for power in (2, 3):
        (x**power).sum().backward(create_graph=True)
    total = x.grad * 1  # PyTorch adds into the gradient itself
    (x * 5).sum().backward()
    assert x.grad.tolist() == [2 + 3.0 + 5, 4 + 12.0 + 5, 6 + 27.0 + 5]
    x.grad = None
    assert total.tolist() == [2 + 3.0, 4 + 12.0, 6 + 27.0]
    assert lib.autograd.grad(total.sum(), x)[0].tolist() == [2 + 6.0, 2 + 12.0, 2 + 18.0]


def test_nodes_name_their_parents_with_the_output_that_they_were(lib: Any, x: Any) -> None:
    node = (x * 2 + x).grad_fn
    assert [number for _, number in node.next_functions] == [0, 0]
    assert node.next_functions[0][0].name() == "MulBackward0" and node.next_functions[1][0].variable is x


ERRORS: dict[str, tuple[Any, Any, str]] = {
    "vector": (
        lambda lib, x: (x * 2).backward(),
        RuntimeError,
        "grad can be implicitly created only for scalar outputs",
    ),
    "vector in grad": (
        lambda lib, x: lib.autograd.grad(x * 2, x),
        RuntimeError,
        "grad can be implicitly created only for scalar outputs",
    ),
    "no graph": (
        lambda lib, x: lib.ones(3).sum().backward(),
        RuntimeError,
        "element 0 of tensors does not require grad and does not have a grad_fn",
    ),
    "no graph, second": (
        lambda lib, x: lib.autograd.backward([x.sum(), lib.ones(())]),
        RuntimeError,
        "element 1 of tensors does not require grad and does not have a grad_fn",
    ),
    "shape": (
        lambda lib, x: (x * 2).backward(lib.ones(2)),
        RuntimeError,
        r"Mismatch in shape: grad_output\[0\] has a shape of torch.Size\(\[2\]\) and output\[0\] has a shape of "
        r"torch.Size\(\[3\]\)\.",
    ),
    "count": (
        lambda lib, x: lib.autograd.backward([x.sum(), x.sum()], [lib.ones(())]),
        RuntimeError,
        "got 2 tensors and 1 gradients",
    ),
    "a number as output": (lambda lib, x: lib.autograd.grad(3.0, x), TypeError, "float"),
    "a number as input": (lambda lib, x: x.sum().backward(inputs=3), TypeError, "int"),
    "no inputs": (
        lambda lib, x: x.sum().backward(inputs=[]),
        RuntimeError,
        r"`inputs` argument to `backward\(\)` cannot be empty",
    ),
    "no inputs in grad": (
        lambda lib, x: lib.autograd.grad(x.sum(), []),
        RuntimeError,
        r"`inputs` argument to `grad\(\)` cannot be empty",
    ),
    "unused": (
        lambda lib, x: lib.autograd.grad(x.sum(), lib.ones(2, requires_grad=True)),
        RuntimeError,
        "The differentiated Tensor at index 0 appears to not have been used in the graph. Set allow_unused=True",
    ),
    "constant": (
        lambda lib, x: lib.autograd.grad(x.sum(), lib.ones(2)),
        RuntimeError,
        "One of the differentiated Tensors does not require grad",
    ),
    "both names": (
        lambda lib, x: lib.autograd.backward(x.sum(), lib.ones(()), grad_variables=lib.ones(())),
        RuntimeError,
        r"`grad_tensors` and `grad_variables` \(deprecated\) arguments both passed",
    ),
    "materialize": (
        lambda lib, x: lib.autograd.grad(x.sum(), x, materialize_grads=True, allow_unused=False),
        ValueError,
        "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False",
    ),
    "twice": (
        lambda lib, x: [y.backward() for y in [(x * 2).sum()] * 2],
        RuntimeError,
        "Trying to backward through the graph a second time",
    ),
    "grad of another size": (
        lambda lib, x: setattr(x, "grad", lib.ones(2)),
        RuntimeError,
        r"attempting to assign a gradient of size '\[2\]' to a tensor of size '\[3\]'",
    ),
    "grad of another dtype": (
        lambda lib, x: setattr(x, "grad", lib.ones(3).double()),
        RuntimeError,
        "attempting to assign a gradient with dtype",
    ),
    "grad that is no tensor": (
        lambda lib, x: setattr(x, "grad", 3),
        TypeError,
        "assigned grad expected to be a Tensor or None but got grad of type int",
    ),
    "its own grad": (lambda lib, x: setattr(x, "grad", x), RuntimeError, "can't assign Variable as its own grad"),
    "numpy": (
        lambda lib, x: x.numpy(),
        RuntimeError,
        r"Can't call numpy\(\) on Tensor that requires grad. Use tensor.detach\(\).numpy\(\) instead",
    ),
    "computed": (
        lambda lib, x: (x * 2).requires_grad_(False),
        RuntimeError,
        "you can only change requires_grad flags of leaf variables",
    ),
    "integers": (
        lambda lib, x: lib.arange(3).requires_grad_(),
        RuntimeError,
        "only Tensors of floating point dtype can require gradients",
    ),
    "stale argument": (
        lambda lib, x: [(h.mul_(2), y.sum().backward()) for h in [x * 1] for y in [h * h]],
        RuntimeError,
        r"one of the variables needed for gradient computation has been modified by an inplace operation: "
        r"\[torch.FloatTensor \[3\]\], which is output 0 of Mul\w*, is at version 1; expected version 0 instead",
    ),
    "stale output": (
        lambda lib, x: [(y.detach().mul_(2), y.sum().backward()) for y in [x.exp()]],
        RuntimeError,
        r"\[torch.FloatTensor \[3\]\], which is output 0 of Exp\w*, is at version 1; expected version 0 instead",
    ),
}


@pytest.mark.filterwarnings("ignore:`grad_variables` is deprecated:FutureWarning")
@pytest.mark.parametrize("case", ERRORS)
def test_mistakes_are_named(lib: Any, x: Any, case: str) -> None:
    run, kind, sentence = ERRORS[case]
    with pytest.raises(kind, match=sentence) as caught:
        run(lib, x)
    if lib is tg:
        assert isinstance(caught.value, tg.errors.TinygradRnnError)


def test_a_second_sweep_says_what_is_done_about_it() -> None:
    x = tg.tensor([1.0], requires_grad=True)
    y = (x * 2).sum()
    y.backward()
    with pytest.raises(tg.errors.GraphError, match=r"retain_graph=True.*h = h.detach\(\).*MulBackward0, recorded"):
        y.backward()


def test_options_that_are_not_there_say_so() -> None:
    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match="only_inputs=False is no longer supported"):
        tg.autograd.grad(x.sum(), x, only_inputs=False)
    with pytest.raises(ValueError, match="is_grads_batched is not supported"):
        tg.autograd.grad(x * 1, x, tg.ones(2, 1), is_grads_batched=True)
    with pytest.raises(TypeError, match="element 0 must be a Tensor, got int"):
        x.sum().backward(inputs=[3])


def test_a_failed_sweep_leaves_recording_as_it_was() -> None:
    x = tg.tensor([1.0], requires_grad=True)
    y = x.exp().sum()
    y.backward()
    with np.errstate(all="raise"):
        with pytest.raises(RuntimeError):
            y.backward()
        assert np.geterr()["over"] == "raise"
    assert tg.is_grad_enabled()


def test_a_leaf_that_was_frozen_after_it_was_used_gets_no_gradient() -> None:
    w, v = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    loss = (w * v).sum()
    w.requires_grad_(False)
    loss.backward(retain_graph=True)
    assert w.grad is None and v.grad is not None and v.grad.tolist() == [1, 1]
    w.requires_grad_()
    loss.backward()
    assert w.grad is not None and w.grad.tolist() == [1, 1] and v.grad.tolist() == [2, 2]
    del w.grad
    assert w.grad is None
