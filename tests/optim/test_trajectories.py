"""Every optimiser follows PyTorch's path, step by step, and ends with its state."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.golden import optim_cases as cases
from tests.golden import packed
from tests.support.profiles import examples

GOLDEN = packed.read(pathlib.Path(__file__).parents[1] / "golden" / "optim.npz")

# Twenty steps on values of order 1.  The formulas have the same order of operations; what remains is that PyTorch
# rounds once where it fuses a product and a sum, and another pow.  Measured: 2e-15 and 1.3e-6 (centred RMSprop).
TOLERANCE = {"float64": 1e-14, "float32": 5e-6}


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], tolerance: float) -> None:
    assert sorted(ours) == sorted(theirs)
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape and ours[name].dtype == expected.dtype, name
        np.testing.assert_allclose(ours[name], expected, rtol=tolerance, atol=tolerance, err_msg=name)


def golden(prefix: str) -> dict[str, np.ndarray]:
    prefix += "/"
    found = {name[len(prefix) :]: array for name, array in GOLDEN.items() if name.startswith(prefix)}
    assert np.abs(np.diff(found["path"], axis=0)).max() > 1e-4  # it moves
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", cases.CASES)
def test_path_and_state_are_those_of_pytorch(name: str, dtype: str) -> None:
    assert_same(cases.trajectory(tg, cases.CASES[name], dtype), golden(f"{dtype}/{name}"), TOLERANCE[dtype])


@pytest.mark.parametrize("name", cases.LBFGS_CASES)
def test_lbfgs_visits_the_points_that_pytorch_visits(name: str) -> None:
    # a search on a curved valley: rounding grows from point to point, up to 1e4 times over 80 of them
    theirs = golden(f"float64/{name}")
    assert_same(cases.lbfgs_trajectory(tg, cases.LBFGS_CASES[name], "float64"), theirs, 1e-10)


def options(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A class and options of it, anywhere in their ranges."""
    unit = st.floats(0, 0.99)
    small = st.floats(0, 0.5)
    flag = st.booleans()
    kind = draw(st.sampled_from(["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "ASGD", "Rprop"]))
    common: dict[str, Any] = {"lr": draw(st.floats(1e-4, 0.3)), "maximize": draw(flag)}
    if kind == "SGD":
        momentum, nesterov = draw(unit), draw(flag)
        nesterov = nesterov and momentum > 0
        dampening = 0.0 if nesterov else draw(unit)
        own = {"momentum": momentum, "nesterov": nesterov, "dampening": dampening, "weight_decay": draw(small)}
    elif kind in ("Adam", "AdamW"):
        betas = (draw(unit), draw(unit))
        own = {"betas": betas, "eps": draw(st.floats(1e-6, 1)), "amsgrad": draw(flag), "weight_decay": draw(small)}
        if kind == "Adam":
            own["decoupled_weight_decay"] = draw(flag)
    elif kind == "RMSprop":
        # a variance that is a difference of rounded numbers needs an eps that keeps its root from mattering much
        own = {
            "alpha": draw(st.floats(0.1, 0.99)),
            "eps": draw(st.floats(0.5, 1)),
            "momentum": draw(unit),
            "centered": draw(flag),
        }
        own["weight_decay"] = draw(small)
    elif kind == "Adagrad":
        own = {"lr_decay": draw(small), "initial_accumulator_value": draw(small), "eps": draw(st.floats(1e-6, 1))}
        own["weight_decay"] = draw(small)
    elif kind == "ASGD":
        own = {"lambd": draw(small), "alpha": draw(unit), "t0": draw(st.integers(0, 30)), "weight_decay": draw(small)}
    else:
        own = {
            "etas": (draw(st.floats(0.1, 0.9)), draw(st.floats(1.01, 2))),
            "step_sizes": (1e-3, draw(st.floats(1, 9))),
        }
    return kind, {**common, **own}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@settings(max_examples=examples(60))
@given(st.composite(options)(), st.integers(0, 2**31))
def test_random_options_follow_pytorch_where_it_is_installed(
    dtype: str, drawn: tuple[str, dict[str, Any]], seed: int
) -> None:
    torch = pytest.importorskip("torch")
    case = (*drawn, None)
    # random options come nearer to divisions by small differences than the chosen ones do
    tolerance = 1e-11 if dtype == "float64" else 3e-3
    assert_same(cases.trajectory(tg, case, dtype, seed), cases.trajectory(torch, case, dtype, seed), tolerance)


@settings(max_examples=examples(30))
@given(
    st.fixed_dictionaries(
        {
            "lr": st.floats(1e-2, 2),
            "max_iter": st.integers(1, 9),
            "history_size": st.integers(1, 5),
            "tolerance_grad": st.sampled_from([1e-7, 1e-2]),
            "tolerance_change": st.sampled_from([1e-9, 1e-3]),
        }
    )
)
def test_lbfgs_with_random_options_follows_pytorch(drawn: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    case = {**drawn, "line_search_fn": "strong_wolfe"}
    runs = [cases.lbfgs_trajectory(lib, case, "float64", steps=3) for lib in (tg, torch)]
    assert_same(*runs, 1e-7)


def test_lbfgs_stops_when_pytorchs_does_whatever_it_is_told() -> None:
    """Losses and gradients drawn from few numbers, equal to the tolerances now and then, and of no function."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    lengths = set()
    for _ in range(70):
        losses, gradients = rng.integers(0, 3, 60) / 4, rng.integers(-2, 3, (60, 2)) / 4
        options = {
            "lr": float(rng.choice([0.5, 1.0])), "max_iter": int(rng.integers(1, 6)),
            "max_eval": [None, 3, 5][rng.integers(3)], "tolerance_grad": float(rng.choice([0.0, 0.25, 0.5])),
            "tolerance_change": float(rng.choice([0.0, 0.25, 1e-9])), "history_size": int(rng.integers(1, 4)),
            "line_search_fn": [None, "strong_wolfe"][rng.integers(2)],
        }  # fmt: skip
        found = []
        for lib in (tg, torch):
            p, calls = lib.tensor(np.array([1.0, -0.5]), requires_grad=True), []

            def closure(lib: Any = lib, p: Any = p, calls: Any = calls, f: Any = losses, g: Any = gradients) -> Any:
                p.grad = lib.tensor(g[len(calls)])
                calls.append(1)
                return lib.tensor(np.array(f[len(calls) - 1]))

            optimizer = lib.optim.LBFGS([p], **options)
            for _ in range(2):
                optimizer.step(closure)
            state = optimizer.state[p]
            found.append((len(calls), p.tolist(), state["func_evals"], state["n_iter"]))
        assert found[0][0] == found[1][0] and found[0][2:] == found[1][2:], options
        np.testing.assert_allclose(found[0][1], found[1][1], 1e-9, 1e-9, err_msg=str(options))
        lengths.add(found[0][0])
    assert len(lengths) > 5


def test_blocks_give_what_whole_arrays_give() -> None:
    """An array of several blocks moves as its pieces do; also one that is not contiguous."""
    n = 2 * 65536 + 17
    rng = np.random.default_rng(0)
    value, grads = rng.standard_normal(n), rng.standard_normal((3, n))
    for make in (
        lambda p: tg.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1, maximize=True),
        lambda p: tg.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
        lambda p: tg.optim.Adam(p, lr=0.1, amsgrad=True, weight_decay=0.1),
        lambda p: tg.optim.RMSprop(p, lr=0.1, centered=True, momentum=0.5, eps=0.1),
        lambda p: tg.optim.Adagrad(p, lr=0.1),
        lambda p: tg.optim.ASGD(p, lr=0.1, t0=0),
        lambda p: tg.optim.Rprop(p, lr=0.1, maximize=True),
    ):
        whole = tg.tensor(value, requires_grad=True)
        strided = tg.as_tensor(np.stack([value, value])[:, ::1].T[:, 0]).requires_grad_()
        pieces = [tg.tensor(value[i : i + 50000], requires_grad=True) for i in range(0, n, 50000)]
        optimizer = make([whole, strided, *pieces])
        for g in grads:
            whole.grad, strided.grad = tg.tensor(g), tg.tensor(g)
            for i, p in enumerate(pieces):
                p.grad = tg.tensor(g[50000 * i : 50000 * i + 50000])
            optimizer.step()
        assert np.array_equal(whole.detach().numpy(), cases.flat(pieces))
        assert np.array_equal(whole.detach().numpy(), strided.detach().numpy())
        assert not np.array_equal(whole.detach().numpy(), value)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "ASGD", "Rprop"])
def test_a_learning_rate_that_is_a_tensor_is_read_at_each_step(name: str) -> None:
    make = getattr(tg.optim, name)
    rate = tg.tensor(np.array(0.25))
    moved, still = (tg.tensor(np.array([1.0, -1.0]), requires_grad=True) for _ in range(2))
    with_tensor, with_number = make([moved], lr=rate), make([still], lr=0.25)
    for k in range(3):
        rate._data[...] = 0.25 / (k + 1)
        with_number.param_groups[0]["lr"] = 0.25 / (k + 1)
        for p in (moved, still):
            p.grad = tg.tensor(np.array([0.5, k - 1.0]))
        with_tensor.step()
        with_number.step()
    assert moved.tolist() == still.tolist() != [1.0, -1.0]


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "ASGD", "Rprop"])
def test_a_float64_rate_does_not_widen_a_float32_step(name: str) -> None:
    runs = []
    for lr in (0.1, np.float64(0.1), tg.tensor(np.array(0.1))):
        rng = np.random.default_rng(0)  # enough values for one of them to round otherwise after a float64 step
        p = tg.tensor(rng.standard_normal(1000).astype("float32"), requires_grad=True)
        optimizer = getattr(tg.optim, name)([p], lr=lr, **({"momentum": 0.9} if name == "SGD" else {}))
        for _ in range(2):
            p.grad = tg.tensor(rng.standard_normal(1000).astype("float32"))
            optimizer.step()
        assert p.dtype == np.float32
        runs.append(p.tolist())
    assert runs[0] == runs[1] == runs[2]


def test_an_average_that_keeps_nothing_is_exactly_the_new_value() -> None:
    p = tg.tensor(np.array([0.0]), requires_grad=True)
    optimizer = tg.optim.Adam([p], betas=(0.0, 0.9))
    for g in (1e17, 0.1):  # 1e17 + (0.1 - 1e17) is 0
        p.grad = tg.tensor(np.array([g]))
        optimizer.step()
    assert optimizer.state[p]["exp_avg"].item() == 0.1


def test_before_averaging_starts_the_average_is_exactly_the_point() -> None:
    p = tg.tensor(np.array([1e17]), requires_grad=True)
    optimizer = tg.optim.ASGD([p], lr=1.0, lambd=0.0)
    for lambd, g in ((0.0, 0.0), (1.0, 0.1)):  # the second step goes to 0 * 1e17 - 0.1
        optimizer.param_groups[0]["lambd"] = lambd
        p.grad = tg.tensor(np.array([g]))
        optimizer.step()
    assert optimizer.state[p]["ax"].item() == p.item() == -0.1


def test_a_step_is_a_write_in_place_that_backward_notices() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    loss = (w * w).sum()
    w.grad = tg.tensor([1.0, 1.0])
    tg.optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_memory_of_parameter_and_state_stays_the_same() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    memory = w._data
    optimizer = tg.optim.Adam([w], lr=0.1)
    for _ in range(2):
        w.grad = tg.tensor([1.0, 1.0])
        gradient = w.grad.tolist()
        optimizer.step()
        assert w.grad.tolist() == gradient  # a step reads the gradient only
    assert w._data is memory
    held = optimizer.state[w]["exp_avg"]
    optimizer.step()
    assert optimizer.state[w]["exp_avg"] is held
