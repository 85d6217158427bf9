"""L-BFGS: quasi-Newton steps from the last few changes of the gradient."""

from __future__ import annotations

from typing import Any

from ..backend import array_module, is_array
from ..backend.quiet import unreported
from ..errors import ArgumentError, ArgumentTypeError
from ..tape.modes import within
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .line_search import Trial, strong_wolfe
from .optimizer import Closure, Optimizer, OptimizerError, ParamsT, check_options
from .scalars import number

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    r"""Limited-memory BFGS; one ``step(closure)`` makes up to ``max_iter`` iterations.

    With :math:`g_k` the flat gradient, :math:`s_k` the last move and :math:`y_k = g_{k+1} - g_k`, the direction is
    :math:`d = -H g`, where :math:`H` is the inverse Hessian that the last ``history_size`` pairs imply, applied by
    the two-loop recursion from :math:`\gamma I`, :math:`\gamma = s^T y / y^T y`. A pair is kept only if
    :math:`s^T y > 10^{-10}`. Without line search the parameters move by ``lr * d`` (the first time by
    ``min(1, 1 / |g|_1) * lr * d``).

    One group of parameters only. The method branches on values, so on a GPU it waits for the device; the
    others do not.

    Args:
        params: Tensors or (name, Tensor) pairs.
        lr: step length. Default 1.
        max_iter: iterations per step. Default 20.
        max_eval: evaluations of the closure per step. Default max_iter * 5 // 4.
        tolerance_grad: stop when no component of the gradient is larger. Default 1e-7.
        tolerance_change: stop when neither the loss nor a parameter changes by more. Default 1e-9.
        history_size: pairs kept. Default 100.
        line_search_fn: None or ``"strong_wolfe"`` (see :mod:`.line_search`).

    State, under the first parameter: ``func_evals``, ``n_iter``, ``d``, ``t``, ``old_dirs`` (the y), ``old_stps``
    (the s), ``ro``, ``H_diag``, ``prev_flat_grad``, ``prev_loss``, ``al``.

    Raises:
        ArgumentError: a negative lr, or more than one group.

    Source: Liu & Nocedal, Mathematical Programming 45 (1989); Nocedal & Wright, 2nd ed., algorithms 7.4 and 7.5.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([3.0, -2.0], requires_grad=True)
    >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 1) ** 4).sum()
    ...     loss.backward()
    ...     return loss
    >>> round(optimizer.step(closure).item(), 1), closure().item() < 1e-6
    (97.0, True)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        check_options(defaults, "lr")
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ArgumentError(
                "LBFGS doesn't support per-parameter options (parameter groups): "
                f"got {len(self.param_groups)} groups; give all parameters in one list"
            )

    @unreported
    def step(self, closure: Closure | None = None) -> Any:
        if closure is None:
            raise ArgumentTypeError(
                "LBFGS.step() missing 1 required positional argument: 'closure', a function that clears the gradients, "
                "evaluates the loss, calls backward() and returns the loss"
            )
        # inf and nan among intermediate values are handled, not reported
        return _Minimization(self, closure).run()


def _raw(x: Any) -> Any:
    """Arrays for tensors, in lists too; [()] turns a 0-d array into a scalar, with which float32 stays float32."""
    return [_raw(v) for v in x] if isinstance(x, list) else x._data[()] if isinstance(x, Tensor) else x


class _Minimization:
    """One call of ``step``: the optimiser's state taken apart into raw arrays, and put back at the end."""

    def __init__(self, optimizer: Optimizer, closure: Closure) -> None:
        group = optimizer.param_groups[0]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise OptimizerError(f"only 'strong_wolfe' is supported, got line_search_fn={group['line_search_fn']!r}")
        self.params: list[Tensor] = group["params"]
        self.closure = closure
        self.options = group
        self.state = optimizer.state[self.params[0]]
        self.xp = array_module(self.params[0]._data)
        self.history = int(group["history_size"])
        self.memory = {k: _raw(v) for k, v in self.state.items()}

    def evaluate(self) -> tuple[Any, float, Array]:
        """The closure's loss, as it is and as a float, and the flat gradient."""
        loss = within(True, self.closure)
        flat = [self.xp.zeros(p._data.size, p._data.dtype) if p.grad is None else p.grad._data for p in self.params]
        value: Any = getattr(loss, "_data", loss)
        return loss, float(value), self.xp.concatenate([g.reshape(-1) for g in flat])

    def move(self, t: Any, direction: Array) -> None:
        start = 0
        for p in self.params:
            stop = start + p._data.size
            p._data[...] += t * direction[start:stop].reshape(p._data.shape)
            p._touch()
            start = stop

    def run(self) -> Any:
        memory, o = self.memory, self.options
        memory.setdefault("func_evals", 0)
        memory.setdefault("n_iter", 0)
        first_loss, f, gradient = self.evaluate()
        made = 1
        memory["func_evals"] += 1
        # Negated, so that a gradient of nan goes on, as in PyTorch.
        if not abs(gradient).max() <= o["tolerance_grad"]:
            self.iterate(f, gradient, made)
        self.state.update({k: self.shown(v) for k, v in memory.items()})
        return first_loss

    def iterate(self, f: float, gradient: Array, made: int) -> None:
        memory, o, lr = self.memory, self.options, number(self.options["lr"])
        for n in range(1, o["max_iter"] + 1):
            memory["n_iter"] += 1
            # The count runs over all calls: a later one goes on with the history of those before.
            if memory["n_iter"] == 1:
                d = -gradient
                memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
                t = min(1.0, 1.0 / abs(gradient).sum()) * lr
            else:
                d = self.direction(gradient)
                t = lr
            memory["prev_flat_grad"] = gradient.copy()
            memory["prev_loss"] = before = f
            memory["d"], memory["t"] = d, t
            slope = gradient.dot(d)
            # Not a descent direction: this is a minimum, or the history is stale.
            if slope > -o["tolerance_change"]:
                return
            evaluations = 0
            if o["line_search_fn"] is not None:
                trial, evaluations = self.search(t, d, f, gradient, slope, o["max_eval"] - made)
                f, gradient, t = trial.f, trial.gradient, trial.t
                memory["t"] = t
                self.move(t, d)
            else:
                self.move(t, d)
                if n != o["max_iter"]:  # the next step evaluates there anyway
                    _, f, gradient = self.evaluate()
                    evaluations = 1
            made += evaluations
            memory["func_evals"] += evaluations
            if (
                n == o["max_iter"]
                or made >= o["max_eval"]
                or abs(gradient).max() <= o["tolerance_grad"]
                or abs(d * t).max() <= o["tolerance_change"]
                or abs(f - before) < o["tolerance_change"]
            ):
                return

    def direction(self, gradient: Array) -> Array:
        """Minus the inverse Hessian times the gradient, after taking in the last move."""
        memory = self.memory
        ys, ss, ro = memory["old_dirs"], memory["old_stps"], memory["ro"]
        y, s = gradient - memory["prev_flat_grad"], memory["d"] * memory["t"]
        curvature = y.dot(s)
        if curvature > 1e-10:
            if len(ys) == self.history:
                for kept in (ys, ss, ro):
                    kept.pop(0)
            ys.append(y)
            ss.append(s)
            ro.append(1.0 / curvature)
            memory["H_diag"] = curvature / y.dot(y)
        alphas = memory.setdefault("al", [None] * self.history)
        r = -gradient
        # The first loop from the latest pair to the oldest, the second back: the order of the recursion.
        for i in reversed(range(len(ys))):
            alphas[i] = ss[i].dot(r) * ro[i]
            r += ys[i] * -alphas[i]
        r *= memory["H_diag"]
        for i in range(len(ys)):
            r += ss[i] * (alphas[i] - ys[i].dot(r) * ro[i])
        return r

    def search(self, t: Any, d: Array, f: float, gradient: Array, slope: Any, budget: int) -> tuple[Trial, int]:
        origin = [p._data.copy() for p in self.params]

        def trial(length: Any) -> Trial:
            self.move(length, d)
            _, value, there = self.evaluate()
            # Copied, not moved back: x + t d - t d rounds.
            for p, x in zip(self.params, origin, strict=True):
                p._data[...] = x
                p._touch()
            return Trial(length, value, there, there.dot(d))

        return strong_wolfe(trial, Trial(0, f, gradient, slope), t, abs(d).max(), budget)

    def shown(self, x: Any) -> Any:
        """A value as the user sees it in the state: arrays and NumPy scalars become Tensors."""
        if isinstance(x, list):
            return [self.shown(v) for v in x]
        return wrap(self.xp.asarray(x)) if is_array(x) else x
