"""What the optimiser tests run, written once for PyTorch and for this package: both have the same names.

``trajectory`` takes the module to run (torch, or tinygrad_rnn) and gives every parameter after every step, and
the state at the end.  make_optim.py stores what PyTorch gives; the tests compare what we give.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

STEPS = 20
SHAPES = ((2, 2), (3,), (), (2,))

# name: (class, options, options of a second group that holds the last two parameters)
Case = tuple[str, dict[str, Any], dict[str, Any] | None]
CASES: dict[str, Case] = {
    "sgd": ("SGD", {"lr": 0.1}, None),
    "sgd-default": ("SGD", {}, None),
    "sgd-momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}, None),
    "sgd-dampening": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}, None),
    "sgd-nesterov": ("SGD", {"lr": 0.1, "momentum": 0.7, "nesterov": True}, None),
    "sgd-decay": ("SGD", {"lr": 0.1, "weight_decay": 0.1}, None),
    "sgd-maximize": ("SGD", {"lr": 0.1, "maximize": True}, None),
    "sgd-nesterov-decay-maximize": (
        "SGD",
        {"lr": 0.1, "momentum": 0.5, "nesterov": True, "weight_decay": 0.2, "maximize": True},
        None,
    ),
    "sgd-dampening-decay-maximize": (
        "SGD",
        {"lr": 0.1, "momentum": 0.5, "dampening": 0.5, "weight_decay": 0.2, "maximize": True},
        None,
    ),
    "sgd-groups": ("SGD", {"lr": 0.1, "momentum": 0.9}, {"lr": 0.01, "momentum": 0, "weight_decay": 0.3}),
    "adam": ("Adam", {"lr": 0.1}, None),
    "adam-default": ("Adam", {}, None),
    "adam-betas": ("Adam", {"lr": 0.1, "betas": (0.8, 0.9)}, None),
    "adam-small-beta1": ("Adam", {"lr": 0.1, "betas": (0.3, 0.9)}, None),
    "adam-no-averages": ("Adam", {"lr": 0.1, "betas": (0.0, 0.0)}, None),
    "adam-eps": ("Adam", {"lr": 0.1, "eps": 0.5}, None),
    "adam-decay": ("Adam", {"lr": 0.1, "weight_decay": 0.1}, None),
    "adam-amsgrad": ("Adam", {"lr": 0.1, "amsgrad": True}, None),
    "adam-maximize": ("Adam", {"lr": 0.1, "maximize": True}, None),
    "adam-decoupled": ("Adam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}, None),
    "adam-everything": ("Adam", {"lr": 0.1, "weight_decay": 0.1, "amsgrad": True, "maximize": True, "eps": 1e-3}, None),
    "adam-groups": ("Adam", {"lr": 0.1}, {"lr": 0.01, "betas": (0.5, 0.5), "amsgrad": True}),
    "adamw": ("AdamW", {"lr": 0.1}, None),
    "adamw-default": ("AdamW", {}, None),
    "adamw-amsgrad": ("AdamW", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.2}, None),
    "adamw-maximize": ("AdamW", {"lr": 0.1, "weight_decay": 0.2, "maximize": True}, None),
    "rmsprop": ("RMSprop", {"lr": 0.1}, None),
    "rmsprop-default": ("RMSprop", {}, None),
    "rmsprop-alpha": ("RMSprop", {"lr": 0.1, "alpha": 0.6, "eps": 1e-3}, None),
    "rmsprop-momentum": ("RMSprop", {"lr": 0.1, "momentum": 0.9}, None),
    "rmsprop-centered": ("RMSprop", {"lr": 0.1, "alpha": 0.9, "centered": True}, None),
    "rmsprop-decay": ("RMSprop", {"lr": 0.1, "weight_decay": 0.1}, None),
    "rmsprop-maximize": ("RMSprop", {"lr": 0.1, "maximize": True}, None),
    "rmsprop-everything": (
        "RMSprop",
        {"lr": 0.1, "alpha": 0.4, "momentum": 0.5, "centered": True, "weight_decay": 0.1, "maximize": True},
        None,
    ),
    "adagrad": ("Adagrad", {"lr": 0.1}, None),
    "adagrad-default": ("Adagrad", {}, None),
    "adagrad-lr-decay": ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}, None),
    "adagrad-start": ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}, None),
    "adagrad-decay-maximize": ("Adagrad", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}, None),
    "asgd": ("ASGD", {"lr": 0.1}, None),
    "asgd-default": ("ASGD", {}, None),
    "asgd-averaging": ("ASGD", {"lr": 0.1, "t0": 5}, None),
    "asgd-schedule": ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 0}, None),
    "asgd-decay-maximize": ("ASGD", {"lr": 0.1, "t0": 3, "weight_decay": 0.1, "maximize": True}, None),
    "rprop": ("Rprop", {"lr": 0.1}, None),
    "rprop-default": ("Rprop", {}, None),
    "rprop-etas": ("Rprop", {"lr": 0.1, "etas": (0.3, 1.7)}, None),
    "rprop-bounds": ("Rprop", {"lr": 0.1, "step_sizes": (0.05, 0.15)}, None),
    "rprop-maximize": ("Rprop", {"lr": 0.1, "maximize": True}, None),
}

LBFGS_CASES: dict[str, dict[str, Any]] = {
    "lbfgs": {},
    "lbfgs-lr": {"lr": 0.1},
    "lbfgs-short-memory": {"lr": 0.2, "history_size": 3, "max_iter": 6},
    "lbfgs-one-iteration": {"lr": 0.5, "max_iter": 1},
    "lbfgs-wolfe": {"line_search_fn": "strong_wolfe"},
    "lbfgs-wolfe-short": {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 4},
    "lbfgs-wolfe-few-evaluations": {"line_search_fn": "strong_wolfe", "max_iter": 8, "max_eval": 6},
    "lbfgs-wolfe-long-step": {"line_search_fn": "strong_wolfe", "lr": 8.0},
    "lbfgs-wolfe-tiny-step": {"line_search_fn": "strong_wolfe", "lr": 1e-3},
}


def problem(seed: int = 0) -> tuple[list[np.ndarray], list[list[np.ndarray | None]]]:
    """Starting values and the gradients of each step: a drift and noise; the last one is missing now and then."""
    rng = np.random.RandomState(seed)  # whose stream never changes
    start = [np.asarray(rng.standard_normal(shape)) for shape in SHAPES]
    gradients: list[list[np.ndarray | None]] = []
    for k in range(STEPS):
        step: list[np.ndarray | None] = [
            np.asarray(math.cos(k / 4 + i) + 0.7 * rng.standard_normal(shape)) for i, shape in enumerate(SHAPES)
        ]
        if k % 3 == 1:
            step[-1] = None
        gradients.append(step)
    return start, gradients


def flat(tensors: Any) -> np.ndarray:
    return np.concatenate([t.detach().numpy().reshape(-1) for t in tensors])


def state_arrays(state_dict: dict[str, Any]) -> dict[str, np.ndarray]:
    """The state as named arrays; lists become numbered."""
    out: dict[str, np.ndarray] = {}

    def put(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, v in value.items():
                put(f"{name}/{key}", v)
        elif isinstance(value, list):
            for i, v in enumerate(value):
                put(f"{name}/{i}", v)
        elif value is not None:
            out[name] = np.array(value.detach().numpy() if hasattr(value, "detach") else value)

    put("state", state_dict["state"])
    return out


def trajectory(lib: Any, case: Case, dtype: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Run a case: {"path": (STEPS, P), "state/0/momentum_buffer": ..., ...}."""
    kind, options, second = case
    start, gradients = problem(seed)
    params = [lib.tensor(x.astype(dtype), requires_grad=True) for x in start]
    groups = [{"params": params}] if second is None else [{"params": params[:2]}, {"params": params[2:], **second}]
    optimizer = getattr(lib.optim, kind)(groups, **options)
    path = []
    for step in gradients:
        for p, g in zip(params, step, strict=True):
            p.grad = None if g is None else lib.tensor(g.astype(dtype))
        optimizer.step()
        path.append(flat(params))
    return {"path": np.stack(path), **state_arrays(optimizer.state_dict())}


def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
    """The banana valley in pairs of neighbours: hard for plain descent, easy to get wrong for line searches."""
    a, b = x[:-1], x[1:]
    gradient = np.zeros_like(x)
    gradient[:-1] = -40 * a * (b - a**2) - 2 * (1 - a)
    gradient[1:] += 20 * (b - a**2)
    return float((10 * (b - a**2) ** 2 + (1 - a) ** 2).sum()), gradient


def lbfgs_trajectory(lib: Any, options: dict[str, Any], dtype: str, steps: int = 3) -> dict[str, np.ndarray]:
    """Parameters and loss after each step, and every point at which the closure was called.

    Few steps: near the minimum a pair is kept or not by the last digits of its curvature, and paths part.
    """
    params = [lib.tensor(np.array(x, dtype), requires_grad=True) for x in ([[-0.5, 0.3], [0.2, 0.4]], [1.5], 0.1)]
    optimizer = lib.optim.LBFGS(params, **options)
    visited = []

    def closure() -> Any:
        x = flat(params)
        visited.append(x)
        loss, gradient = rosenbrock(x)
        start = 0
        for p in params:
            stop = start + p.numel()
            p.grad = lib.tensor(gradient[start:stop].reshape(tuple(p.shape)).astype(dtype))
            start = stop
        return lib.tensor(np.array(loss, dtype))

    path, losses = [], []
    for _ in range(steps):
        losses.append(float(optimizer.step(closure)))
        path.append(flat(params))
    return {
        "path": np.stack(path),
        "losses": np.array(losses),
        "visited": np.stack(visited),
        **state_arrays(optimizer.state_dict()),
    }
