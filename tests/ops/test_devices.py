"""Every operation on arrays of a GPU (or of a strict double of CuPy): the numbers of the host, and they stay there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
from tests.ops.cases import CASES, Case, evaluate, flat
from tests.support import arrays
from tests.support.rows import together

ON_DEVICE = [case for case in CASES if "t.tensor(" not in case.expression and ".view(" not in case.expression]


@together
@pytest.mark.parametrize("name", ["double", pytest.param("cupy", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("case", ON_DEVICE, ids=str)
def test_values_and_gradients_are_those_of_the_host(case: Case, name: str) -> None:
    expected = gradients(case, [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in case.inputs()])
    with arrays.module(name) as xp:
        found = gradients(case, [tg.as_tensor(xp.asarray(a)) for a in case.inputs()])
        for ours, host in zip(found, expected, strict=True):
            assert isinstance(ours._data, xp.ndarray), f"{case}: a result came back to the host"
            np.testing.assert_allclose(xp.asnumpy(ours._data), host._data, 1e-12, 1e-12, err_msg=str(case))


def gradients(case: Case, tensors: list[Any]) -> list[Any]:
    inputs = [x.requires_grad_() for x in tensors if x.dtype.kind == "f"]
    results = flat(evaluate(tg, case, tensors))
    live = [y.detach() for y in results]
    recorded = [y for y in results if y.requires_grad]
    if case.orders and recorded:
        seeds = [tg.ones_like(y) for y in recorded]
        live += [g for g in tg.autograd.grad(recorded, inputs, seeds, allow_unused=True) if g is not None]
    return live


NUMPYS = """
np.sum(t) np.sum(t,axis=()) np.mean(t,1) np.std(t) np.max(t,0) np.nansum(t) np.nanmean(t,axis=1,keepdims=True)
np.prod(t,1) np.concatenate([t,t]) np.stack([t,t]) np.reshape(t,(3,2)) np.transpose(t) np.squeeze(t[None]) np.flip(t)
np.take(t,[0,2])
np.sort(t) np.sort(t,None) np.where(t>1,t,0.5) np.clip(t,1,3) np.diff(t) np.kron(t,t) np.tanh(t) np.cbrt(t)
np.add.reduce(t)
""".split()


@together
@pytest.mark.parametrize("name", ["double", pytest.param("cupy", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("expression", NUMPYS)
def test_numpys_functions_with_a_gradient_stay_on_the_device(expression: str, name: str) -> None:
    values = np.array([[0.3, 1.7, 2.1], [3.4, 0.9, 4.2]])
    host = tg.tensor(values, requires_grad=True)
    expected = eval(expression, {"np": np, "t": host})
    expected.sum().backward()
    with arrays.module(name) as xp:
        t = tg.as_tensor(xp.asarray(values)).requires_grad_()
        found = eval(expression, {"np": np, "t": t})
        found.sum().backward()
        for ours, theirs in ((found, expected), (t.grad, host.grad)):
            assert isinstance(ours._data, xp.ndarray), "it came back to the host"
            np.testing.assert_allclose(xp.asnumpy(ours._data), theirs._data, 1e-12, 1e-12)
