r"""The gradient of the cross entropy by the logits is the prediction minus the target.

"$\partial J / \partial \theta = \hat{y} - y$", say the CS224N notes: after softmax and cross entropy, what comes back
through the logits is the vector of predicted probabilities minus the one-hot target. For the loss of one case this is
right to the last digit, and it is why the two are computed together: the derivative of the logarithm alone is
$-1/\hat{y}$, which is infinite where a probability underflows, while the product of both is never larger than 1.

What training minimises is mostly something else, and every option of a loss changes the formula. The mean over $N$
cases divides by $N$; cases that are ignored (padding) do not count in this $N$; class weights divide by the sum of the
weights; label smoothing moves the target off the corner. A backward pass by hand that forgets the $1/N$ has the right
direction and trains with a learning rate $N$ times too large.

The picture shows a single case to the left: the gradient pulls the target up by exactly what it pushes the others down.
To the right are the gradients at the target's logit of eight cases, under four forms of the loss.

## Mathematics
With $\hat{y} = \operatorname{softmax}(z)$, $J = -\log \hat{y}_c$ and the one-hot target $y$,
$$\frac{\partial J}{\partial z_k} = \hat{y}_k - [k = c], \qquad \sum_k \frac{\partial J}{\partial z_k} = 0.$$
For the mean over the cases that are not ignored, with class weights $w$ and smoothing $\epsilon$ over $C$ classes,
$$\frac{\partial J}{\partial z_n} = \frac{1}{\sum_m w_{c_m}} \Bigl[ (1 - \epsilon)\, w_{c_n} (\hat{y}_n - y_n)
+ \frac{\epsilon}{C} \bigl( \hat{y}_n \textstyle\sum_k w_k - w \bigr) \Bigr],$$
where an ignored case has the gradient 0 and is not among the $m$.

## Try it
>>> import tinygrad_rnn as tg
>>> z = tg.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]], requires_grad=True)
>>> tg.nn.functional.cross_entropy(z, tg.tensor([0, 2])).backward()
>>> one_hot = tg.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
>>> tg.allclose(2 * z.grad, tg.softmax(z, 1) - one_hot)                   # 2: the mean is over two cases
True

## It would be false if
the gradient of the loss of a single case differed from $\hat{y} - y$ by more than rounding, or if the mean over $N$
cases had the same gradient as their sum.

## Exercise
A sequence loss is the mean over all steps of all sequences, without padding. Two batches have the same number of
sequences, and one of them is padded to twice the length. By which factor do the gradients of a single step differ, and
what does this do to the average over batches of different lengths?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.diagnostics.result import COLOURS, GREY

from ..experiment import Check, Result, Size, experiment

IGNORED = -100


# lab: begin
def by_hand(z: Any, target: Any, weight: Any, smoothing: float = 0.0, forgotten: str = "") -> Any:
    """The gradient of the mean loss, from the formula; z (N, C)."""
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    kept = target != IGNORED
    one_hot = (target[:, None] == np.arange(z.shape[1])).astype(float)
    w = np.where(kept, weight[np.where(kept, target, 0)], 0.0)
    gradient = (1 - smoothing) * w[:, None] * (p - one_hot)
    gradient += smoothing / z.shape[1] * (p * weight.sum() - weight) * kept[:, None]
    counted = {"the mean": 1, "that ignored cases do not count": len(z)}.get(forgotten, w.sum())
    return gradient / counted
    # lab: end


def by_the_engine(z: Any, target: Any, **options: Any) -> Any:
    """The gradient of the mean loss, from the tape."""
    logits = tg.tensor(z, requires_grad=True)
    tg.nn.functional.cross_entropy(logits, tg.tensor(target), ignore_index=IGNORED, **options).backward()
    assert logits.grad is not None
    return logits.grad.numpy()


def measured(size: Size, seed: int, forgotten: str = "") -> Result:
    """The formula against the tape: one case, the mean, ignored cases, class weights and smoothing; extreme logits."""
    rng = np.random.default_rng(seed)
    N, C = (8, 5) if size == "quick" else (512, 1000)
    z, target, ones = 2 * rng.standard_normal((N, C)), rng.integers(C, size=N), np.ones(C)
    weight, padded = rng.uniform(0.5, 2, C), np.where(np.arange(N) % 4 == 3, IGNORED, target)
    forms: dict[str, tuple[Any, Any]] = {
        "mean": (by_hand(z, target, ones, forgotten=forgotten), by_the_engine(z, target)),
        "every 4th ignored": (by_hand(z, padded, ones, forgotten=forgotten), by_the_engine(z, padded)),
        "class weights": (by_hand(z, target, weight), by_the_engine(z, target, weight=tg.tensor(weight))),
        "smoothing 0.2": (by_hand(z, target, ones, 0.2), by_the_engine(z, target, label_smoothing=0.2)),
    }
    off = {name: float(np.abs(hand - engine).max() * N) for name, (hand, engine) in forms.items()}
    alone = by_the_engine(z[:1], target[:1])[0]
    p = tg.softmax(tg.tensor(z[0]), 0).numpy()
    single = np.abs(alone - (p - np.eye(C)[target[0]])).max()
    extreme = by_the_engine(np.array([[800.0, -800.0, 0.0]]), np.array([1]))[0]
    why = "some roundings of numbers below 1; of 20 seeds the largest is 4e-16"
    checks = [
        Check("one case: prediction minus target", single, "<", 1e-14, why),
        Check("its entries add up to 0", abs(alone.sum()), "<", 1e-14, why),
        Check("the mean divides by N", off["mean"], "<", 1e-13, why),
        Check("ignored cases do not count", off["every 4th ignored"], "<", 1e-13, why),
        Check("class weights and smoothing", max(list(off.values())[2:]), "<", 1e-13, why),
        Check("logits of +-800: exact", np.abs(extreme - [1, -1, 0]).max(), "==", 0, "exp(-800) is 0 beside 1"),
    ]
    numbers = {f"largest difference times N, {name}": value for name, value in off.items()}
    because = (
        f"the loss is that of one case (then to {max(single, 1e-16):.0e}); a mean over {N} cases divides it by {N}, "
        "and ignored cases, class weights and smoothing change it further"
    )
    shown = min(N, 8)
    rows = [engine[np.arange(shown), target[:shown]] for _, engine in forms.values()]
    arrays = {"prediction": p[:8], "target": np.eye(C)[target[0]][:8], "gradient": alone[:8], "forms": np.array(rows)}
    return Result(checks, "holds if", because, numbers, arrays, lambda f: draw(f, arrays, list(forms)))


def draw(figure: Any, arrays: dict[str, Any], names: list[str]) -> None:
    """One case to the left, forms of the loss to the right."""
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.3])
    for k, name in enumerate(("prediction", "target", "gradient")):
        place = np.arange(len(arrays[name])) + (k - 1) * 0.27
        left.bar(place, arrays[name], 0.25, color=COLOURS[k], hatch=("", "//", "..")[k], edgecolor=GREY, label=name)
    left.axhline(0, color=GREY, linewidth=0.8)
    left.set_ylim(-1.05, 1.75)
    left.set_xticks(range(len(arrays["target"])))
    left.set_xlabel("class")
    left.set_ylabel("probability, and gradient by the logit")
    left.set_title("one case: their difference", fontsize=10)
    left.legend(fontsize=8, loc="upper left")
    for k, name in enumerate(names):
        row = arrays["forms"][k]
        place = np.arange(len(row)) + (k - 1.5) * 0.2
        style = {"color": COLOURS[k], "hatch": ("", "//", "..", "xx")[k], "edgecolor": GREY}
        right.bar(place, row, 0.18, label=name, **style)
    right.axhline(0, color=GREY, linewidth=0.8)
    right.set_ylim(1.4 * arrays["forms"].min(), 0)
    right.set_xlabel("case")
    right.set_ylabel("gradient by the target's logit")
    right.set_title("a batch of 8: options divide and move it", fontsize=10)
    right.legend(fontsize=8, loc="lower right", ncols=2)


@experiment(31, "Cross entropy", source="CS224N 2019, lecture 7, gradient notes", seconds=0.1, full_seconds=1)
def run(size: Size, seed: int) -> Result:
    """Whether the gradient by the logits is the prediction minus the target."""
    return measured(size, seed)


@run.broken("the 1/N of the mean is forgotten", fails="the mean divides by N")
def without_mean(size: Size, seed: int) -> Result:
    """The formula of a single case, used for the loss of a batch."""
    return measured(size, seed, "the mean")


@run.broken("padding counts in N", fails="ignored cases do not count")
def padding_counts(size: Size, seed: int) -> Result:
    """The mean is taken over all cases, those that are ignored included."""
    return measured(size, seed, "that ignored cases do not count")


@run.smallest
def smallest() -> tg.Tape:
    """Three classes, from the logits to the loss in steps."""
    z = tg.tensor([2.0, 0.0, -1.0], requires_grad=True)
    with tg.Tape() as tape:
        p = tg.softmax(z, 0)
        J = -tg.log(p[0])
        J.backward()
    return tape
