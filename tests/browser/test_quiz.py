"""The three games: each mistake is told by its name, the order is explained, and a planted bug can be found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.browser.chromium import Shown
from tests.browser.tapes import TAPES, watched
from tinygrad_rnn.viz.debugger import debugger

Show = Callable[..., Shown]


def playing(show: Show, tape: tg.Tape, game: str) -> Shown:
    """A page in which a game is on, whose questions are always the same."""
    page = show(debugger(tape))
    page.page.wait_for_function("() => tinygrad.app.replayed.base")
    page.evaluate("() => { let s = 1; Math.random = () => (s = (s * 16807) % 2147483647) / 2147483647; }")
    page.page.click(f"button[data-game={game}]")
    return page


def verdict(page: Shown) -> str:
    """What was said to the last answer."""
    return page.page.inner_text("#verdict")


def score(page: Shown) -> str:
    return page.page.inner_text("[data-figure=score]")


# the quiz ------------------------------------------------------------------------------------------------------------


class Program:
    """One step of an RNN over a batch, with its numbers by NumPy."""

    def __init__(self) -> None:
        rng = np.random.default_rng(8)
        self.x, self.W, self.b = (0.4 * rng.standard_normal(shape) for shape in ((2, 3), (3, 3), (3,)))
        W, b = tg.tensor(self.W, requires_grad=True), tg.tensor(self.b, requires_grad=True)
        with tg.Tape() as self.tape:
            h = tg.tanh(tg.tensor(self.x) @ W + b)
            (h * h).mean().backward()
        self.a = self.x @ self.W + self.b
        self.h = np.tanh(self.a)
        self.g_square = np.full((2, 3), 1 / 6)
        self.g_h = 2 * self.g_square * self.h
        self.g_a = self.g_h * (1 - self.h**2)
        self.g_W = self.x.T @ self.g_a


P = Program()
ANSWERS: list[tuple[str, str, int, Any, str]] = [
    # record, to what, position; what is typed, by NumPy; what is said
    ("mean", "", 0, np.full((2, 3), 1.0), "1/N"),
    ("mul", "", 0, P.g_square, "factor is missing"),
    ("mul", "", 0, -P.g_square * P.h, "the sign is not"),
    ("mul", "", 0, 2 * P.g_square * P.h, "counted twice"),
    ("tanh", "", 0, P.g_h, "factor is missing"),
    ("tanh", "", 0, P.g_h * (1 - P.a**2), "y stands where x belongs"),
    ("tanh", "", 0, 3.7 * P.g_a, "3.7"),
    ("add", "b", 1, P.g_a[0], "first slice"),
    ("matmul", "W", 1, P.g_W.T, "transposed"),
    ("matmul", "W", 1, -0.31 * P.g_W, "other sign"),
]


@pytest.mark.parametrize(("name", "to", "position", "typed", "said"), ANSWERS, ids=lambda value: str(value)[:20])
def test_a_mistake_is_told_by_its_name(show: Show, name: str, to: str, position: int, typed: Any, said: str) -> None:
    page = playing(show, P.tape, "quiz")
    sweep = P.tape.sweeps[0]
    (k,) = (k for k, step in enumerate(sweep.steps) if step.record is not None and step.record.name == name)
    j = [c.position for c in sweep.steps[k].contributions].index(position)
    page.evaluate("n => tinygrad.app.go(n)", k + 1)
    for _ in range(200):  # a question is drawn
        asked = page.evaluate("() => [tinygrad.app.question.j, tinygrad.app.question.k, tinygrad.app.question.sum]")
        entry = asked[1]
        right = np.asarray(sweep.steps[k].contributions[j].value).reshape(-1)
        wrong = np.asarray(typed, dtype=float).reshape(-1)
        # not by chance an entry of the right one, or the negative of it
        chance = [right[entry]] if said in ("transposed", "the sign is not") else [*right, *-right]
        if asked[0] == j and not asked[2] and all(abs(wrong[entry] - x) > 0.05 * abs(x) for x in chance):
            break
        page.page.click("[data-do=another]")
    else:
        raise AssertionError("this was never asked")
    assert page.page.locator(f'[data-of="contribution:{j}"] [data-value]').count() == 0
    page.page.fill("#typed", repr(float(wrong[entry])))
    page.press("Enter")
    assert said in verdict(page) and score(page) == "0 of 1"
    page.page.fill("#typed", f"{right[entry]:.4g}")
    page.press("Enter")
    assert verdict(page).startswith("Right") and score(page) == "0 of 1"  # the second answer does not count
    shown = page.page.locator(f'[data-of="contribution:{j}"] [data-value]')
    assert float(shown.nth(entry if right.size > 1 else 0).get_attribute("data-value") or "nan") == right[entry]


def test_sums_and_shares_of_others_are_told(show: Show) -> None:
    tape = watched(TAPES["rnn"]).shown
    page = playing(show, tape, "quiz")
    told = set()
    for k in (8, 9, 14):
        page.evaluate("n => tinygrad.app.go(n)", k)
        for _ in range(30):
            q = page.evaluate(
                """() => {
                    const q = tinygrad.app.question, {tape, sweep} = tinygrad.app;
                    if (!q) return null;
                    const others = q.entry.list.map(c => Number(tape.array(c.value).data[q.k]));
                    return {sum: q.sum, before: q.before, truth: q.truth, index: q.index, others};
                }"""
            )
            if q is None:
                break
            tries = (
                [q["truth"] - q["before"], q["before"]]
                if q["sum"]
                else [q["others"][q["index"] - 1]] * (q["index"] > 0)
            )
            for x in tries:
                page.page.fill("#typed", repr(x))
                page.press("Enter")
                told.add(verdict(page).partition(":")[0].partition(", in")[0])
            page.page.click("[data-do=another]")
    assert "That is the contribution alone" in told
    assert "That is what was there before" in told
    assert any(text.startswith("That is the share of another use") for text in told)


def test_a_right_answer_at_once_counts_and_a_revealed_one_does_not(show: Show) -> None:
    page = playing(show, P.tape, "quiz")
    page.press("ArrowRight")
    page.page.fill("#typed", repr(page.evaluate("() => tinygrad.app.question.truth")))
    page.press("Enter")
    assert score(page) == "1 of 1"
    page.evaluate("() => tinygrad.app.go(3)")
    page.page.click("[data-do=reveal]")
    assert score(page) == "1 of 2" and verdict(page).startswith("It is")
    page.page.fill("#typed", "no number")
    page.press("Enter")
    assert verdict(page) == "That is no number."
    page.page.click("button[data-game=quiz]")
    assert page.page.locator("#quiz").is_hidden() and page.page.locator(".hid").count() == 0


# the order -----------------------------------------------------------------------------------------------------------


def test_the_order_of_a_sweep_can_be_clicked_from_its_start_to_its_end(show: Show) -> None:
    tape = watched(TAPES["diamond"]).shown
    page = playing(show, tape, "order")
    steps = tape.sweeps[0].steps
    for k, step in enumerate(steps):
        if step.record is None:
            page.page.click(f"[data-leafpick='{step.target.number}']")
        else:
            page.evaluate("n => tinygrad.app.pick(n)", step.record.number)
        assert verdict(page).startswith("Right"), verdict(page)
        assert page.evaluate("() => tinygrad.app.at") == k + 1
    assert score(page) == f"{len(steps)} of {len(steps)}" and "is over" in page.page.inner_text("#quiz")


def test_a_wrong_guess_is_told_why(show: Show) -> None:
    w = tg.tensor([0.5, 2.0], requires_grad=True)
    with tg.Tape() as tape:
        a = tg.tanh(w)
        b = a * 2
        c = a * a
        unused = tg.exp(w)
        (b + c).sum().backward()
    page = playing(show, tape, "order")
    number = {name: tape.record_of(t).number for name, t in {"a": a, "b": b, "c": c, "unused": unused}.items()}
    assert page.page.locator("#waiting").is_hidden()  # which says what is next
    for at, guess, said in (
        (0, "b", "Nothing has arrived at b"),
        (2, "b", "recorded later"),
        (3, "c", "has been visited, in step 3"),
        (3, "a", "still waits for what b"),
        (0, "unused", "does not come to"),
    ):
        page.evaluate("n => tinygrad.app.go(n)", at)
        page.evaluate("n => tinygrad.app.pick(n)", number[guess])
        assert said in verdict(page), (guess, verdict(page))
        assert page.evaluate("() => tinygrad.app.at") == at
    assert score(page) == "0 of 5"


# the hunt ------------------------------------------------------------------------------------------------------------

DIFFERENT = """() => {  // where the sweep with the bug leaves the recorded one: the first [step, contribution or -1]
    const {app} = tinygrad, {original} = app.question, s = app.sweep.number, {gap, largest} = app.replay;
    const off = (a, b) => {
        const [x, y] = [app.tape.array(a), original.array(b)];
        return x && y && !Array.isArray(x) && gap(x, y) > 1e-4 * (largest(y) || 1e-30);
    };
    for (const [k, step] of original.sweeps[s].steps.entries()) {
        const now = app.sweep.steps[k];
        if (off(now.cotangent, step.cotangent)) return [k, -1];
        for (const [j, c] of step.contributions.entries()) if (off(now.contributions[j].value, c.value)) return [k, j];
    }
    return null;
}"""


@pytest.mark.parametrize("name", ["rnn", "twice", "accumulating"])
def test_the_first_wrong_number_can_be_found_and_no_other_is_taken_for_it(show: Show, name: str) -> None:
    page = playing(show, watched(TAPES[name]).shown, "hunt")
    kinds, at_once = set(), 0
    for _ in range(15):
        mistake = page.evaluate(
            """() => {
                const {step, contribution, what, assign, cotangent} = tinygrad.app.question.mistake;
                return {step, contribution, what, assign, cotangent: !!cotangent};
            }"""
        )
        kinds.add(mistake["what"])
        at_once += mistake["step"] == 0
        k, j = mistake["step"], mistake["contribution"]
        first = page.evaluate(DIFFERENT)
        if mistake["cotangent"]:
            assert first == [k, -1]
            suspect = "cotangent"
        elif mistake["assign"]:
            assert first is None or first[0] > k  # the contribution is right, the sum is not
            suspect = f"after:{j}"
        else:
            assert first == [k, j]
            suspect = f"contribution:{j}"
        for at in range(max(1, k - 1), k + 1):  # before it all numbers are right
            page.evaluate("n => tinygrad.app.go(n)", at)
            for of in page.page.eval_on_selector_all("#suspect option", "all => all.map(option => option.value)")[:6]:
                page.page.select_option("#suspect", of)
                page.page.click("[data-do=accuse]")
                assert verdict(page) == "No: this number is what belongs there.", of
        page.evaluate("n => tinygrad.app.go(n)", k + 1)
        page.page.locator(f'#step [data-of="{suspect}"]').first.click()
        assert verdict(page).startswith("Found"), (mistake, verdict(page))
        page.page.click("[data-do=another]")
    assert score(page) == f"{at_once} of 15"  # the others were found after wrong guesses
    assert len(kinds) >= 4, kinds
    page.page.click("button[data-game=hunt]")
    assert page.evaluate("() => tinygrad.app.tape === tinygrad.tape")


def test_what_follows_from_the_mistake_is_not_the_mistake(show: Show) -> None:
    page = playing(show, watched(TAPES["rnn"]).shown, "hunt")
    for _ in range(40):
        k = page.evaluate("() => tinygrad.app.question.mistake.assign ? -1 : tinygrad.app.question.mistake.step")
        found = k >= 0 and page.evaluate(
            """k => {
                const {app} = tinygrad, c = app.sweep.steps[k].contributions[app.question.mistake.contribution];
                const same = ({target}) => target.kind === c.target.kind && target.number === c.target.number;
                return app.sweep.steps.findIndex(same);
            }""",
            k,
        )
        if found:
            break
        page.page.click("[data-do=reveal]")
        page.page.click("[data-do=another]")
    else:
        raise AssertionError("never planted on the way")
    page.evaluate("n => tinygrad.app.go(n)", found + 1)  # where what it gave is taken up
    page.page.select_option("#suspect", "cotangent")
    page.page.click("[data-do=accuse]")
    assert "not the first" in verdict(page)
    page.page.click("[data-do=reveal]")
    assert page.evaluate("() => tinygrad.app.at") == k + 1 and f"step {k + 1}" in verdict(page)


def test_games_say_so_where_they_cannot_be_played(show: Show) -> None:
    with tg.Tape(values="shapes") as tape:
        (tg.ones(2, requires_grad=True) * 2).sum().backward()
    page = show(debugger(tape))
    page.page.wait_for_function("() => tinygrad.app.replayed.base")
    page.page.click("button[data-game=hunt]")
    assert "kept no values" in page.page.inner_text("#quiz")
    page.page.click("button[data-game=quiz]")
    page.press("ArrowRight")
    assert "nothing on" in page.page.inner_text("#quiz")
    with tg.Tape() as tape:
        _ = tg.ones(2, requires_grad=True) * 2
    page = show(debugger(tape))
    for game in ("quiz", "order", "hunt"):
        page.page.click(f"button[data-game={game}]")
        assert "backward pass" in page.page.inner_text("#quiz")
