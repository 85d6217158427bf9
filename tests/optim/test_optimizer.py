"""What all optimisers share: groups, state dictionaries, hooks, zero_grad, and every mistake that is refused."""

from __future__ import annotations

import copy
import gc
import re
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.golden import optim_cases as cases
from tinygrad_rnn.errors import TinygradRnnError

KINDS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "ASGD", "Rprop", "LBFGS"]
# options that give each class all the state it can have
FULL: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},
    "Adam": {"amsgrad": True},
    "AdamW": {"amsgrad": True},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "Adagrad": {},
    "ASGD": {"t0": 1},
    "Rprop": {},
}


def leaf(*values: float, dtype: str = "float64") -> Any:
    return tg.tensor(np.array(values, dtype), requires_grad=True)


def run(lib: Any, optimizer: Any, params: list[Any], steps: range) -> None:
    for k in steps:
        for i, p in enumerate(params):
            p.grad = lib.tensor(np.cos(k + i + np.arange(p.numel(), dtype="float64")).reshape(tuple(p.shape)))
        optimizer.step()


# State dictionaries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FULL)
def test_a_run_resumed_from_a_state_dict_goes_on_bit_for_bit(kind: str) -> None:
    straight = [leaf(1.0, 2.0), leaf(-1.0)]
    optimizer = getattr(tg.optim, kind)(straight, lr=0.1, **FULL[kind])
    run(tg, optimizer, straight, range(7))
    first = [leaf(1.0, 2.0), leaf(-1.0)]
    optimizer = getattr(tg.optim, kind)(first, lr=0.1, **FULL[kind])
    run(tg, optimizer, first, range(3))
    saved = copy.deepcopy(optimizer.state_dict())
    second = [p.detach().clone().requires_grad_() for p in first]
    resumed = getattr(tg.optim, kind)(second, lr=99.0)
    resumed.load_state_dict(saved)
    run(tg, resumed, second, range(3, 7))
    assert [p.tolist() for p in second] == [p.tolist() for p in straight]
    # what was loaded is a copy: the run did not write into it
    again = getattr(tg.optim, kind)(first, lr=0.1)
    again.load_state_dict(saved)
    run(tg, again, first, range(3, 7))
    assert [p.tolist() for p in first] == [p.tolist() for p in straight]


def test_lbfgs_resumes_too() -> None:
    def make(start: np.ndarray) -> tuple[Any, Callable[[], Any], Any]:
        p = tg.tensor(start, requires_grad=True)
        optimizer = tg.optim.LBFGS([p], max_iter=2, history_size=3)

        def closure() -> Any:
            loss, gradient = cases.rosenbrock(p.detach().numpy())
            p.grad = tg.tensor(gradient)
            return tg.tensor(np.array(loss))

        return optimizer, closure, p

    optimizer, closure, straight = make(np.array([-0.5, 0.3, 0.2]))
    for _ in range(4):
        optimizer.step(closure)
    optimizer, closure, first = make(np.array([-0.5, 0.3, 0.2]))
    for _ in range(2):
        optimizer.step(closure)
    resumed, closure, second = make(first.detach().numpy().copy())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(2):
        resumed.step(closure)
    assert second.tolist() == straight.tolist() != first.tolist()


@pytest.mark.parametrize("kind", FULL)
@pytest.mark.parametrize("to_torch", [True, False])
def test_state_dict_goes_to_pytorch_and_back(kind: str, to_torch: bool) -> None:
    torch = pytest.importorskip("torch")

    def crossed(x: Any, made: type, convert: Callable[[Any], Any]) -> Any:
        if isinstance(x, dict):
            return {k: crossed(v, made, convert) for k, v in x.items()}
        if isinstance(x, list):
            return [crossed(v, made, convert) for v in x]
        return convert(x) if isinstance(x, made) else x

    source, target = (tg, torch) if to_torch else (torch, tg)
    params = [source.tensor(np.array(v), requires_grad=True) for v in ([1.0, 2.0], [-1.0])]
    optimizer = getattr(source.optim, kind)(params, lr=0.1, **FULL[kind])
    run(source, optimizer, params, range(3))
    others = [target.tensor(p.detach().numpy().copy(), requires_grad=True) for p in params]
    other = getattr(target.optim, kind)(others, lr=0.5)
    state = optimizer.state_dict()
    if to_torch:
        state = crossed(state, tg.Tensor, lambda t: torch.from_numpy(t.numpy().copy()))
    other.load_state_dict(state)  # ours takes torch's tensors as they are
    assert other.state_dict()["param_groups"] == state["param_groups"]
    run(source, optimizer, params, range(3, 7))
    run(target, other, others, range(3, 7))
    np.testing.assert_allclose(cases.flat(others), cases.flat(params), rtol=1e-14)
    dtypes = [{k: v.dtype for k, v in cases.state_arrays(o.state_dict()).items()} for o in (other, optimizer)]
    if kind == "ASGD" and to_torch:  # PyTorch casts the float32 scalars eta and mu on loading
        dtypes = [{k: v for k, v in d.items() if k[-3:] not in ("eta", "/mu")} for d in dtypes]
    assert dtypes[0] == dtypes[1]


@pytest.mark.parametrize("kind", KINDS)
def test_groups_and_repr_are_those_of_pytorch(kind: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = (getattr(lib.optim, kind)([lib.zeros(2, requires_grad=True)]) for lib in (tg, torch))
    assert ours.state_dict()["param_groups"] == theirs.state_dict()["param_groups"]
    assert repr(ours) == repr(theirs)
    assert ours.defaults == theirs.defaults
    assert set(ours.state_dict()["state"]) == set(theirs.state_dict()["state"])


def test_state_dict_numbers_parameters_through_the_groups() -> None:
    a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
    optimizer = tg.optim.SGD([{"params": [a]}, {"params": [b, c], "lr": 0.5}], lr=0.1, momentum=0.9)
    b.grad = tg.tensor(np.array([1.0]))
    optimizer.step()
    state = optimizer.state_dict()
    assert [g["params"] for g in state["param_groups"]] == [[0], [1, 2]]
    assert [g["lr"] for g in state["param_groups"]] == [0.1, 0.5]
    assert list(state["state"]) == [1] and list(state["state"][1]) == ["momentum_buffer"]
    assert state["state"][1]["momentum_buffer"] is optimizer.state[b]["momentum_buffer"]


def test_loading_casts_to_the_dtype_of_the_parameter_but_not_the_count() -> None:
    p, q = leaf(1.0), leaf(1.0, dtype="float32")
    optimizer = tg.optim.Adam([p])
    run(tg, optimizer, [p], range(2))
    other = tg.optim.Adam([q])
    other.load_state_dict(optimizer.state_dict())
    assert other.state[q]["exp_avg"].dtype == np.float32
    assert other.state[q]["step"].dtype == np.float32 and other.state[q]["step"].item() == 2


def test_loading_takes_arrays_and_old_counts_and_fills_missing_options() -> None:
    p = leaf(1.0)
    saved = {
        "state": {0: {"step": 5, "exp_avg": np.array([0.5], "float32"), "exp_avg_sq": np.array([0.25])}, "global": 7},
        "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99), "params": [0]}],
    }
    optimizer = tg.optim.AdamW([p])
    optimizer.load_state_dict(saved)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["eps"], group["decoupled_weight_decay"]) == (0.1, 1e-8, True)
    assert optimizer.state["global"] == 7
    run(tg, optimizer, [p], range(1))
    assert optimizer.state[p]["step"].item() == 6
    assert "params" in saved["param_groups"][0] and saved["param_groups"][0]["params"] == [0]


def test_adamw_stays_decoupled_whatever_it_loads() -> None:
    p = leaf(1.0)
    optimizer = tg.optim.AdamW([p])
    optimizer.load_state_dict(tg.optim.Adam([leaf(1.0)], weight_decay=0.5).state_dict())
    group = optimizer.param_groups[0]
    assert group["decoupled_weight_decay"] is True and group["weight_decay"] == 0.5


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([[0], [1]], "loaded state dict has a different number of parameter groups"),
        ([[0, 1]], "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"),
    ],
)
def test_a_state_of_another_shape_is_refused(groups: list[list[int]], message: str) -> None:
    optimizer = tg.optim.SGD([leaf(1.0)])
    state = {"state": {}, "param_groups": [{"lr": 0.5, "params": g} for g in groups]}
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 1e-3


def test_optimisers_can_be_copied_with_their_parameters() -> None:
    p = leaf(1.0, 2.0)
    optimizer = tg.optim.Adam([p], lr=0.1)
    run(tg, optimizer, [p], range(2))
    other = copy.deepcopy(optimizer)
    q = other.param_groups[0]["params"][0]
    assert q is not p and q.tolist() == p.tolist()
    run(tg, optimizer, [p], range(2, 5))
    run(tg, other, [q], range(2, 5))
    assert q.tolist() == p.tolist()


# Gradients and closures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FULL)
def test_a_parameter_without_gradient_is_left_alone(kind: str) -> None:
    p, q = leaf(1.0), leaf(2.0)
    optimizer = getattr(tg.optim, kind)([p, q], **FULL[kind])
    p.grad = tg.tensor(np.array([1.0]))
    optimizer.step()
    assert p.item() != 1.0 and q.item() == 2.0
    assert list(optimizer.state) == ([p, q] if kind == "Adagrad" else [p])


def test_plain_sgd_keeps_no_state() -> None:
    p = leaf(1.0)
    optimizer = tg.optim.SGD([p], lr=0.5)
    run(tg, optimizer, [p], range(2))
    assert optimizer.state_dict()["state"] == {}


def test_zero_grad_forgets_or_fills() -> None:
    p = leaf(1.0, 2.0)
    optimizer = tg.optim.SGD([p])
    (p * p).sum().backward()
    held = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is held and held.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None


def test_zero_grad_cuts_a_gradient_from_its_graph() -> None:
    p = leaf(1.0, 2.0)
    (p * p * p).sum().backward(create_graph=True)
    assert p.grad is not None and p.grad.requires_grad
    tg.optim.SGD([p]).zero_grad(set_to_none=False)
    assert not p.grad.requires_grad and p.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("kind", KINDS)
def test_step_calls_the_closure_recording_and_returns_its_loss(kind: str) -> None:
    p = leaf(1.0, 2.0)
    optimizer = getattr(tg.optim, kind)([p])

    def closure() -> Any:
        optimizer.zero_grad()
        loss = ((p - 3) * (p - 3)).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 5.0 and closure().item() < 5.0


def test_step_records_nothing() -> None:
    p = leaf(1.0)
    optimizer = tg.optim.SGD([p], momentum=0.9)
    run(tg, optimizer, [p], range(2))
    assert p.is_leaf and p.requires_grad and not optimizer.state[p]["momentum_buffer"].requires_grad


# Groups and names ---------------------------------------------------------------------------------------------


def test_groups_override_defaults_and_can_be_added() -> None:
    a, b, c = leaf(1.0), leaf(1.0), leaf(1.0)
    optimizer = tg.optim.SGD([{"params": a}, {"params": [b], "lr": 0.5}], lr=0.25)
    optimizer.add_param_group({"params": iter([c]), "momentum": 0.9})
    assert [(g["lr"], g["momentum"]) for g in optimizer.param_groups] == [(0.25, 0), (0.5, 0), (0.25, 0.9)]
    run(tg, optimizer, [a, b, c], range(1))
    assert [p.item() for p in (a, b, c)] == [1 - 0.25, 1 - 0.5 * np.cos(1), 1 - 0.25 * np.cos(2)]


def test_named_parameters_keep_their_names() -> None:
    a, b = leaf(1.0), leaf(1.0)
    optimizer = tg.optim.SGD(iter([("a", a), ("b", b)]))
    assert optimizer.param_groups[0]["param_names"] == ["a", "b"]
    assert optimizer.param_groups[0]["params"] == [a, b]
    state = optimizer.state_dict()
    assert state["param_groups"][0]["param_names"] == ["a", "b"]
    del state["param_groups"][0]["param_names"]
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["param_names"] == ["a", "b"]
    with pytest.raises(ValueError, match="cannot add param group without names to the optimizer"):
        optimizer.add_param_group({"params": [leaf(1.0)]})
    with pytest.raises(ValueError, match="Some param names are missing"):
        tg.optim.SGD([("a", a), b])


def test_a_duplicate_in_one_group_warns_and_is_updated_twice() -> None:
    p = leaf(1.0)
    with pytest.warns(UserWarning, match="optimizer contains a parameter group with duplicate parameters"):
        optimizer = tg.optim.SGD([p, p], lr=0.25)
    p.grad = tg.tensor(np.array([1.0]))
    optimizer.step()
    assert p.item() == 0.5
    assert optimizer.state_dict()["param_groups"][0]["params"] == [0, 0]


def test_the_duplicate_warning_points_at_the_caller() -> None:
    p = leaf(1.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tg.optim.SGD([{"params": [p, p]}])
        tg.optim.Adam([p, p])
    assert [str(w.message)[:46] for w in caught] == ["optimizer contains a parameter group with dupl"] * 2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "LBFGS"])
@pytest.mark.parametrize("decay", [0.0, 0.25])
def test_to_maximise_is_to_minimise_with_the_negated_gradient(kind: str, decay: float) -> None:
    options = {} if kind == "Rprop" else {"weight_decay": decay}
    up, down = leaf(1.0, -2.0, 0.5), leaf(1.0, -2.0, 0.5)
    climber = getattr(tg.optim, kind)([up], lr=0.1, maximize=True, **FULL[kind], **options)
    other = getattr(tg.optim, kind)([down], lr=0.1, **FULL[kind], **options)
    for k in range(4):
        g = np.cos(k + np.arange(3.0))
        up.grad, down.grad = tg.tensor(g), tg.tensor(-g)
        climber.step()
        other.step()
    assert up.tolist() == down.tolist() != [1.0, -2.0, 0.5]


# Hooks --------------------------------------------------------------------------------------------------------


def test_step_hooks_run_round_the_step_once_and_can_be_removed() -> None:
    class Slower(tg.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    p, seen = leaf(1.0), []
    optimizer = Slower([p], lr=0.5)
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(("before", p.item(), args)))
    with optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(("after", p.item(), args))):
        p.grad = tg.tensor(np.array([1.0]))
        optimizer.step(None)
    before.remove()
    before.remove()
    optimizer.step()
    assert seen == [("before", 1.0, (None,)), ("after", 0.5, (None,))]


def test_hooks_of_tensors_modules_and_optimizers_give_one_kind_of_handle() -> None:
    p = leaf(0.0)
    optimizer, module = tg.optim.SGD([p], lr=1.0), tg.nn.Linear(1, 1)
    handles = [
        register(lambda *args: None)
        for register in (optimizer.register_step_pre_hook, optimizer.register_step_post_hook, p.register_hook)
    ]
    handles += [module.register_forward_hook(lambda *args: None), p.register_post_accumulate_grad_hook(lambda p: None)]
    assert len({type(handle) for handle in handles}) == 1
    assert len({handle.id for handle in handles}) == len(handles)


def test_a_pre_hook_may_change_the_arguments() -> None:
    p = leaf(1.0)
    optimizer = tg.optim.SGD([p])
    handle = optimizer.register_step_pre_hook(lambda o, args, kwargs: ((lambda: 7,), {}))
    assert optimizer.step(lambda: 5) == 7
    handle.remove()
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(RuntimeError, match="must return None or a tuple"):
        optimizer.step()


def test_an_optimizer_that_nobody_holds_is_freed_at_once() -> None:
    p = leaf(1.0)
    optimizer = tg.optim.SGD([p], momentum=0.9)
    optimizer.register_step_pre_hook(lambda o, args, kwargs: None)
    run(tg, optimizer, [p], range(2))
    gone = weakref.ref(optimizer)
    gc.disable()
    try:
        del optimizer
        assert gone() is None
    finally:
        gc.enable()


# Mistakes -----------------------------------------------------------------------------------------------------

BAD_OPTIONS: list[tuple[str, dict[str, Any], str]] = [
    *[(kind, {"lr": -0.5}, "Invalid learning rate: -0.5") for kind in KINDS],
    *[(kind, {"lr": float("nan")}, "Invalid learning rate: nan") for kind in KINDS],
    ("SGD", {"momentum": -1.0}, "Invalid momentum value: -1.0"),
    ("SGD", {"weight_decay": -1.0}, "Invalid weight_decay value: -1.0"),
    ("SGD", {"nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "Nesterov momentum requires a momentum and zero"),
    ("Adam", {"eps": -1.0}, "Invalid epsilon value: -1.0"),
    ("Adam", {"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
    ("Adam", {"betas": (0.9, -0.1)}, "Invalid beta parameter at index 1: -0.1"),
    ("Adam", {"weight_decay": -1}, "Invalid weight_decay value: -1"),
    ("AdamW", {"betas": (0.9, 1.5)}, "Invalid beta parameter at index 1: 1.5"),
    ("RMSprop", {"eps": -1.0}, "Invalid epsilon value: -1.0"),
    ("RMSprop", {"momentum": -1.0}, "Invalid momentum value: -1.0"),
    ("RMSprop", {"weight_decay": -1}, "Invalid weight_decay value: -1"),
    ("RMSprop", {"alpha": -0.5}, "Invalid alpha value: -0.5"),
    ("Adagrad", {"lr_decay": -0.5}, "Invalid lr_decay value: -0.5"),
    ("Adagrad", {"weight_decay": -1}, "Invalid weight_decay value: -1"),
    ("Adagrad", {"initial_accumulator_value": -1}, "Invalid initial_accumulator_value value: -1"),
    ("Adagrad", {"eps": -1.0}, "Invalid epsilon value: -1.0"),
    ("ASGD", {"weight_decay": -1}, "Invalid weight_decay value: -1"),
    ("Rprop", {"etas": (1.5, 0.5)}, "Invalid eta values: 1.5, 0.5"),
]


@pytest.mark.parametrize(("kind", "options", "message"), BAD_OPTIONS)
def test_bad_options_are_refused_in_the_words_of_pytorch(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        getattr(tg.optim, kind)([leaf(1.0)], **options)
    assert isinstance(caught.value, TinygradRnnError)


# PyTorch's SGD takes a learning rate that is nan
@pytest.mark.parametrize(("kind", "options", "message"), [c for c in BAD_OPTIONS if "nan" not in c[2] or c[0] != "SGD"])
def test_pytorch_says_the_same(kind: str, options: dict[str, Any], message: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(torch.optim, kind)([torch.zeros(1, requires_grad=True)], **options)


def wrong_parameters(lib: Any) -> list[tuple[Any, type[Exception], str]]:
    p = lib.zeros(2, requires_grad=True)
    return [
        (p, TypeError, "params argument given to the optimizer should be an iterable of Tensors or dicts, but got"),
        ([], ValueError, "optimizer got an empty parameter list"),
        ({p}, TypeError, ""),
        ([{"params": {p}}], TypeError, "optimizer parameters need to be organized in ordered collections"),
        ([p, 5], TypeError, "optimizer can only optimize Tensors, but one of the params is int"),
        ([p * 2], ValueError, "can't optimize a non-leaf Tensor"),
        ([{"params": [p]}, {"params": [p]}], ValueError, "some parameters appear in more than one parameter group"),
        ([{"params": [p]}, [p]], TypeError, "param_group must be a dict, but got <class 'list'>"),
    ]


@pytest.mark.parametrize("case", range(len(wrong_parameters(tg))))
def test_wrong_parameters_are_refused_in_the_words_of_pytorch(case: int) -> None:
    params, kind, message = wrong_parameters(tg)[case]
    if not message:
        return  # a bare set is only iterated, in PyTorch as here
    with pytest.raises(kind, match=re.escape(message)) as caught:
        tg.optim.SGD(params)
    assert isinstance(caught.value, TinygradRnnError)
    torch = pytest.importorskip("torch")
    params, kind, message = wrong_parameters(torch)[case]
    with pytest.raises(kind, match=re.escape(message)):
        torch.optim.SGD(params)


def test_a_retained_result_can_be_optimised() -> None:
    p = leaf(1.0)
    y = p * 2
    y.retain_grad()
    y.sum().backward()
    tg.optim.SGD([y], lr=0.5).step()
    assert y.item() == 1.5


def test_kernel_hints_are_kept_and_their_conflicts_refused() -> None:
    assert tg.optim.Adam([leaf(1.0)], foreach=True).param_groups[0]["foreach"] is True
    with pytest.raises(RuntimeError, match="`fused` and `foreach` cannot be `True` together"):
        tg.optim.SGD([leaf(1.0)], foreach=True, fused=True)
    with pytest.raises(RuntimeError, match="`fused` does not support `differentiable`"):
        tg.optim.Adam([leaf(1.0)], fused=True, differentiable=True)
    with pytest.raises(ValueError, match="create_graph=True"):
        tg.optim.SGD([leaf(1.0)], differentiable=True)


def test_tensor_learning_rate_must_have_one_element() -> None:
    for kind in KINDS:
        with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
            getattr(tg.optim, kind)([leaf(1.0)], lr=tg.tensor([0.1, 0.2]))


def test_lbfgs_has_one_group_needs_a_closure_and_knows_one_search() -> None:
    with pytest.raises(ValueError, match="LBFGS doesn't support per-parameter options"):
        tg.optim.LBFGS([{"params": [leaf(1.0)]}, {"params": [leaf(1.0)]}])
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'closure'"):
        tg.optim.LBFGS([leaf(1.0)]).step()
    p = leaf(1.0)
    p.grad = tg.tensor(np.array([1.0]))
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        tg.optim.LBFGS([p], line_search_fn="armijo").step(lambda: tg.tensor(1.0))


def test_lbfgs_stops_where_it_is_optimal_and_treats_a_missing_gradient_as_zero() -> None:
    p, q = leaf(1.0), leaf(2.0)
    optimizer = tg.optim.LBFGS([p, q])
    calls = []

    def closure() -> Any:
        calls.append(1)
        p.grad = tg.tensor(np.array([0.0]))
        return tg.tensor(1.0)

    assert optimizer.step(closure).item() == 1.0
    assert len(calls) == 1 and (p.item(), q.item()) == (1.0, 2.0)


def test_the_base_class_does_not_step() -> None:
    class Idle(tg.optim.Optimizer):
        pass

    with pytest.raises(NotImplementedError, match="Idle does not define step"):
        Idle([leaf(1.0)], {}).step()


def test_a_nonfinite_gradient_passes_without_numpy_warnings() -> None:
    for kind in FULL:
        p = leaf(1.0, 1.0)
        p.grad = tg.tensor(np.array([np.nan, np.inf]))
        optimizer = getattr(tg.optim, kind)([p])
        optimizer.step()
        optimizer.step()
        first = p.detach().numpy()[0]
        assert first == 1 if kind == "Rprop" else np.isnan(first)  # which steps by signs, and nan has none


@pytest.mark.parametrize("maximize", [False, True])
def test_rprop_steps_by_the_signs_that_there_are(maximize: bool) -> None:
    """nan has no sign: the weight stays, and the next gradient counts as no change.  Values of PyTorch."""
    nan, inf = np.nan, np.inf
    for grads, expected in (
        ([nan, 1.0, 1.0], [1.0, 0.99, 0.978]),
        ([inf, 1.0, -1.0], [0.99, 0.978, 0.978]),
        ([1.0, nan, 1.0], [0.99, 0.99, 0.98]),
        ([-inf, -inf, inf, 1.0], [1.01, 1.022, 1.022, 1.016]),
        ([1.0, inf, -1.0, -1.0], [0.99, 0.978, 0.978, 0.984]),
        ([0.0, nan, 0.0], [1.0, 1.0, 1.0]),
    ):
        p = leaf(1.0)
        optimizer = tg.optim.Rprop([p], lr=0.01, maximize=maximize)
        for g, value in zip(grads, expected, strict=True):
            p.grad = tg.tensor(np.array([-g if maximize else g]))
            optimizer.step()
            np.testing.assert_allclose(p.detach().numpy(), value, rtol=1e-12)


def test_a_name_that_is_absent_says_what_there_is() -> None:
    for module, known in ((tg.optim, "AdamW"), (tg.optim.lr_scheduler, "StepLR"), (tg.utils.data, "TensorDataset")):
        with pytest.raises(AttributeError, match=f"has no attribute 'Missing'.*{known}"):
            _ = module.Missing
    assert issubclass(tg.optim.lr_scheduler.StepLR, tg.optim.lr_scheduler._LRScheduler)
