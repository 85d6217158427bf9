"""A small training run, written once for PyTorch and for this package: loader, loss, clipping, optimiser, schedule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.2, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "Adam": {"lr": 0.03, "amsgrad": True},
    "AdamW": {"lr": 0.03},
    "RMSprop": {"lr": 0.02, "momentum": 0.5},
    "Adagrad": {"lr": 0.1},
    "ASGD": {"lr": 0.5, "t0": 5},
}


def losses(lib: Any, kind: str, epochs: int = 12) -> list[list[float]]:
    """[loss, norm before clipping] of each update of a two-layer network that learns a sine, all from one seed."""
    lib.manual_seed(3)
    nn = lib.nn
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    x = np.stack([np.linspace(-1, 1, 40), np.cos(np.arange(40))], 1)
    y = np.array([[math.sin(3 * a) + 0.3 * b] for a, b in x])
    data = lib.utils.data
    loader = data.DataLoader(data.TensorDataset(lib.tensor(x), lib.tensor(y)), batch_size=8, shuffle=True)
    optimizer = getattr(lib.optim, kind)(model.parameters(), **OPTIMIZERS[kind])
    schedule = lib.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    seen = []
    for _ in range(epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            seen.append([loss.item(), norm.item()])
        schedule.step()
    return seen
