"""The numbers on the page are those of the tape, after every step of ten tapes, read from the document."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_rnn as tg
from tests.browser.chromium import Shown
from tests.browser.expected import Sums, is_in_short, same, step_arrays
from tests.browser.tapes import TAPES, Watched, watched
from tinygrad_rnn.tape.observe.records import Sweep
from tinygrad_rnn.tape.observe.values import size_of_norm
from tinygrad_rnn.viz.debugger import debugger

READ = """
() => {
  const {app} = window.tinygrad, moments = [];
  // all leaves, all shares, all that waits
  app.go(app.length);
  const unfold = () => {
    for (const summary of document.querySelectorAll("#grads details:not([open]) > summary")) summary.click();
    for (const button of document.querySelectorAll("#grads button[data-all]")) {
      if (button.textContent.startsWith("all")) button.click();
    }
    const more = document.getElementById("more");
    if (more && more.textContent.endsWith("more")) more.click();
  };
  for (let n = 0; n <= app.length; n++) {
    app.go(n);
    unfold();
    const arrays = {}, norms = {};
    for (const element of document.querySelectorAll("#right [data-of]")) {
      const of = element.dataset.of, numbers = [...element.querySelectorAll("[data-value]")].map(e => e.dataset.value);
      if (element.dataset.value !== undefined) numbers.unshift(element.dataset.value);
      if (element.dataset.shown === "norm") {
        norms[of] = numbers[0];
        continue;
      }
      if (of in arrays && String(arrays[of]) !== String(numbers)) throw new Error(`${of} says two things`);
      arrays[of] = numbers;
    }
    moments.push({at: app.at, arrays, norms, waiting: Number(document.getElementById("waitcount").textContent)});
  }
  return moments;
}
"""


def watched_quietly(name: str) -> Watched:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nan and inf are meant
        return watched(TAPES[name])


def compare(moment: dict[str, Any], wanted: dict[str, Any], sums: Sums) -> int:
    """All that is shown is wanted and right, and all that is wanted is shown; how many numbers that is."""
    arrays = moment["arrays"]
    wanted = wanted | {f"waiting:{key}": value for key, value in sums.waiting.items()}
    wanted |= {f"grad:{name}": value for name, value in sums.gradients.items()}
    count = 0
    for of, numbers in arrays.items():
        if of.startswith(("share:", "earlier:")):
            continue
        assert of in wanted, f"{of} is shown, {numbers}"
        if is_in_short(wanted[of]):
            assert float(numbers[0]) == pytest.approx(size_of_norm(wanted[of]), rel=1e-12, nan_ok=True), of
        else:
            assert same(numbers, wanted[of]), f"{of}: {numbers} is shown, not {wanted[of]}"
        count += len(numbers)
    for of, norm in moment["norms"].items():  # what waits and has many entries
        assert float(norm) == pytest.approx(size_of_norm(wanted[of]), rel=1e-12, nan_ok=True), of
    shown_keys = arrays.keys() | moment["norms"].keys()
    folded = {of for of in wanted.keys() - shown_keys if of.startswith("waiting:") and size_of_norm(wanted[of]) == 0}
    assert wanted.keys() - shown_keys == folded
    assert moment["waiting"] == len(sums.waiting)
    for name, norms in sums.shares.items():
        shown = {int(of.rpartition(":")[2]): n for of, n in arrays.items() if of.rpartition(":")[0] == f"share:{name}"}
        assert sorted(shown) == list(range(len(norms))), (name, sorted(shown), norms)
        for k, numbers in shown.items():
            assert float(numbers[0]) == pytest.approx(norms[k], rel=1e-6, nan_ok=True)
        count += len(shown)
    return count


def check_sweep(shown: Shown, exact: tg.Tape, sweep: Sweep) -> int:
    """Every moment of the sweep that the page is at."""
    moments = shown.evaluate(READ)
    assert [moment["at"] for moment in moments] == list(range(len(sweep.steps) + 1))
    sums = Sums(exact, sweep)
    count = compare(moments[0], {}, sums)
    for moment in moments[1:]:
        wanted = step_arrays(sums.go_on())
        count += compare(moment, wanted, sums)
    return count


@pytest.mark.parametrize("name", TAPES)
def test_at_every_step_the_numbers_are_those_of_the_tape(name: str, show: Callable[..., Shown]) -> None:
    tapes = watched_quietly(name)
    assert (tapes.error is not None) == (name == "stopping")
    shown = show(debugger(tapes.shown, error=tapes.error))
    count = 0
    for sweep in tapes.exact.sweeps:
        shown.choose_sweep(sweep.number)
        count += check_sweep(shown, tapes.exact, sweep)
    steps = sum(len(sweep.steps) for sweep in tapes.exact.sweeps)
    assert count > 3 * steps > 10


def test_inside_a_fused_record(show: Callable[..., Shown]) -> None:
    tapes = watched_quietly("fused")
    shown = show(debugger(tapes.shown))
    fused = [record.number for record in tapes.shown if record.node.primitive.reference is not None]  # type: ignore[union-attr]
    assert len(fused) == 2
    for number in fused:
        shown.evaluate("n => tinygrad.app.open(n)", number)
        inner = tapes.exact.expand(number)
        assert check_sweep(shown, inner, inner.sweeps[0]) > 1000
        shown.press("Escape")
        assert shown.evaluate("() => tinygrad.app.tape === tinygrad.tape")
