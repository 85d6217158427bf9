"""Anomaly mode says in the exception itself what made a nan: operation, record, time step, line, and why."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.autograd import AnomalyError, detect_anomaly, is_anomaly_enabled, set_detect_anomaly


def root_of_zero() -> Any:
    x = tg.tensor([0.0, 4.0], requires_grad=True)
    return tg.where(x > 0, x.sqrt(), 0.0).sum()


def message(run: Any, kind: type[Exception] = AnomalyError, **options: Any) -> str:
    with pytest.raises(kind) as caught, detect_anomaly(**options):
        run()
    return "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])


def test_the_first_line_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    first = message(lambda: root_of_zero().backward()).splitlines()[0]
    x = torch.tensor([0.0, 4.0], requires_grad=True)
    with pytest.warns(UserWarning), pytest.raises(RuntimeError) as theirs, torch.autograd.detect_anomaly():
        torch.where(x > 0, x.sqrt(), torch.zeros(2)).sum().backward()
    assert first == str(theirs.value) == "Function 'SqrtBackward0' returned nan values in its 0th output."


def test_it_names_record_line_values_and_remedy() -> None:
    text = message(lambda: root_of_zero().backward())
    assert "1 of 2 entries, the first at [0]" in text
    assert "test_anomaly.py:17 in root_of_zero: return tg.where(x > 0, x.sqrt(), 0.0).sum() (record 0)" in text
    assert "The gradient that came in: float32[2] from 0 to 1." in text
    assert "Values saved for it: float32[2] from 0 to 2." in text
    assert "Hint: entries that where() or a mask leaves out must be harmless" in text


def test_it_names_the_time_step_of_a_loop_over_t() -> None:
    def run() -> None:
        h = tg.tensor([0.0], requires_grad=True) * 1
        for t in range(4):
            h = h.sqrt() * 0 if t == 2 else h * 1
        h.sum().backward()

    assert "with t = 2 (record 3)" in message(run)


def cell(h: Any) -> Any:
    return (h * 0).sqrt() * 0 + h


def test_it_names_the_time_step_of_a_loop_outside_the_function() -> None:
    def run() -> None:
        h = tg.tensor([1.0], requires_grad=True)
        for time_step in range(3):  # noqa: B007
            h = cell(h)
        h.sum().backward()

    assert "in cell: return (h * 0).sqrt() * 0 + h, with time_step = 2" in message(run)


def test_it_counts_passes_where_no_variable_tells_the_time_step() -> None:
    def run() -> None:
        h = tg.tensor([1.0], requires_grad=True)
        for _ in range(3):
            h = cell(h)
        h.sum().backward()

    assert "in cell: return (h * 0).sqrt() * 0 + h, the 3th time in this pass" in message(run)


def test_it_names_the_time_step_inside_a_composed_layer() -> None:
    layer = tg.nn.RNN(2, 3, impl="composed")

    def run() -> None:
        x = tg.ones(4, 1, 2, requires_grad=True)
        with np.errstate(all="ignore"):
            weight = tg.ones(4, 1, 3)
            weight[1] = float("nan")
            (layer(x)[0] * weight).sum().backward()

    text = message(run)
    assert "Function 'MulBackward0' returned nan values in its 0th output." in text


def test_it_names_the_time_steps_of_a_fused_layer() -> None:
    layer = tg.nn.LSTM(2, 3)
    x = tg.ones(6, 1, 2, requires_grad=True)

    def run() -> None:
        y, _ = layer(x)
        y.register_hook(lambda g: g * spoiled)
        y.sum().backward()

    spoiled = tg.ones(6, 1, 3)
    spoiled[3] = float("nan")
    text = message(run)
    assert text.startswith("Function 'LstmBackward0' returned nan values in its 0th output.")
    assert "the first at [0, 0, 0], at time steps 0 to 3." in text


def test_it_tells_if_the_forward_pass_had_made_a_nan_before() -> None:
    def run() -> None:
        x = tg.tensor([-1.0], requires_grad=True)
        (x.log() * x).sum().backward()

    assert "The forward pass had made a nan before: log, recorded at" in message(run)


def test_the_forward_pass_can_be_checked_too() -> None:
    x = tg.tensor([-1.0], requires_grad=True)
    nan = tg.tensor([float("nan")], requires_grad=True)

    def run() -> None:
        (nan * 2).exp()  # was nan before
        (x * 2).log()

    text = message(run, check_forward=True)
    assert text.startswith("Function 'log' returned nan values in the forward pass, of inputs without any.")
    with detect_anomaly():
        (x * 2).log()  # not by default: PyTorch lets it pass


def test_passes_are_counted_anew_in_each_training_step() -> None:
    def run() -> None:
        for scale in (1.0, 0.0):
            (tg.tensor([1.0], requires_grad=True) * scale).sqrt().mul(scale).sum().backward()

    assert "th time" not in message(run)


def test_a_nan_in_the_gradient_of_a_part_is_seen() -> None:
    def run() -> None:
        x = tg.tensor([1.0, 2.0], requires_grad=True)
        x[0].backward(tg.tensor(float("nan")))

    assert message(run).startswith("Function 'GetitemBackward0' returned nan values in its 0th output.")


def test_other_errors_of_a_backward_pass_get_the_place_of_the_operation() -> None:
    class Broken(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise KeyError("lost")

    x = tg.tensor([1.0], requires_grad=True)
    text = message(lambda: Broken.apply(x).sum().backward(), KeyError)
    assert "The backward pass had last reached BrokenBackward, recorded at" in text and "Broken.apply(x)" in text


def test_a_stale_value_is_named_with_the_line_that_saved_it() -> None:
    def run() -> None:
        h = tg.tensor([1.0], requires_grad=True) * 2
        y = h * h
        h.add_(1)
        y.sum().backward()

    text = message(run, RuntimeError)
    assert "modified by an inplace operation" in text and "y = h * h" in text


def test_a_freed_graph_is_named_with_the_line_that_recorded_it() -> None:
    def run() -> None:
        h = tg.tensor([1.0], requires_grad=True).exp()
        h.sum().backward()
        h.sum().backward()

    text = message(run, RuntimeError)
    assert "Trying to backward through the graph a second time" in text and "h = tg.tensor([1.0]" in text


def test_nans_are_found_in_second_derivatives() -> None:
    def run() -> None:
        x = tg.tensor([0.0], requires_grad=True)
        (slope,) = tg.autograd.grad((x**1.5).sum(), x, create_graph=True)
        tg.autograd.grad((slope * 0).sum(), x)  # 0 * inf

    assert "returned nan values" in message(run)


def test_without_check_nan_only_errors_are_annotated() -> None:
    with detect_anomaly(check_nan=False):
        root_of_zero().backward()


def test_it_is_off_outside_and_put_back_after_an_exception() -> None:
    with pytest.raises(KeyError), detect_anomaly():
        assert is_anomaly_enabled()
        with detect_anomaly(check_nan=False):
            root_of_zero().backward()
        assert is_anomaly_enabled()
        raise KeyError
    assert not is_anomaly_enabled()
    root_of_zero().backward()


def test_the_switch_form() -> None:
    set_detect_anomaly(True)
    try:
        assert is_anomaly_enabled()
        with set_detect_anomaly(False):
            root_of_zero().backward()
        with pytest.raises(AnomalyError):
            root_of_zero().backward()
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(is_anomaly_enabled()))
        thread.start()
        thread.join()
        assert seen == [False]  # a setting of the thread, as recording is
    finally:
        set_detect_anomaly(False)
    assert not is_anomaly_enabled()


def test_a_tape_inside_sees_everything_still() -> None:
    with detect_anomaly(), tg.Tape() as tape:
        x = tg.tensor([2.0], requires_grad=True)
        (x * x).sum().backward()
    assert [record.name for record in tape] == ["mul", "sum"] and len(tape.steps) == 3


HINTED: dict[str, Any] = {
    "sqrt": lambda x: x.sqrt(),
    "rsqrt": lambda x: x.rsqrt(),
    "log": lambda x: x.log(),
    "log1p": lambda x: x.log1p(),
    "log2": lambda x: x.log2(),
    "log10": lambda x: x.log10(),
    "pow": lambda x: x ** tg.tensor(0.5),
    "pow_number": lambda x: x**0.5,
    "div": lambda x: (x * 0) / (x.detach() * 0),
    "reciprocal": lambda x: tg.where(x > 0, (x + 3).reciprocal(), 0.0),
    "acos": lambda x: x.acos(),
    "asin": lambda x: x.asin(),
    "acosh": lambda x: x.acosh(),
    "atanh": lambda x: x.atanh(),
}


@pytest.mark.parametrize("name", [*HINTED, "sub"])
def test_operations_with_a_limited_domain_come_with_a_hint_and_others_do_not(name: str) -> None:
    f = HINTED.get(name, lambda x: x * float("inf") - x * float("inf"))
    text = message(lambda: f(tg.tensor([-3.0], requires_grad=True)).sum().backward(), check_forward=True)
    first = text.splitlines()[0]
    titled = "".join(word.capitalize() for word in name.split("_"))
    assert first.startswith((f"Function '{name}' returned nan", f"Function '{titled}Backward0' returned nan")), first
    assert ("0 * inf is nan" in text) == (name in HINTED)


@pytest.mark.parametrize("name", ["t", "time_step", "timestep", "time", "step"])
def test_the_likely_names_of_a_time_step_are_known(name: str) -> None:
    program = f"def run(x):\n    for {name} in range(3):\n        (x - {name}).sqrt()\n"
    space: dict[str, Any] = {}
    exec(program, space)
    x = tg.tensor([0.5], requires_grad=True)
    assert f", with {name} = 1 (record 3)" in message(lambda: space["run"](x), check_forward=True)


def test_of_two_names_the_likelier_counts_and_only_whole_numbers_do() -> None:
    def run(t: Any, step: Any) -> None:
        tg.tensor([-1.0], requires_grad=True).sqrt()

    assert ", with t = 5 (record 0)" in message(lambda: run(5, 7), check_forward=True)
    assert ", with step = 7 (record 0)" in message(lambda: run(0.5, 7), check_forward=True)
    assert " with " not in message(lambda: run("a", None), check_forward=True).splitlines()[1]


def test_the_whole_message() -> None:
    def run() -> None:
        x = tg.tensor([[1.0, 0.0], [4.0, 0.0]], dtype=tg.float64, requires_grad=True)
        y = x.sqrt()
        (y * tg.tensor([1.0, 0.0], dtype=tg.float64)).sum().backward()

    assert message(run).splitlines() == [
        "Function 'SqrtBackward0' returned nan values in its 0th output.",
        "  That is the gradient of argument 0 of sqrt, 2 of 4 entries, the first at [0, 1].",
        f"  Recorded at {__file__}:{run.__code__.co_firstlineno + 2} in run: y = x.sqrt() (record 0).",
        "  The gradient that came in: float64[2, 2] from 0 to 1.",
        "  Values saved for it: float64[2, 2] from 0 to 2.",
        "  Hint: entries that where() or a mask leaves out must be harmless all the same, since 0 * inf is nan: "
        "sqrt(where(x > 0, x, 1)), not where(x > 0, sqrt(x), 0).",
    ]


def test_a_nan_that_came_in_is_not_held_against_the_operation_that_passes_it_on() -> None:
    """Neither one of a leaf, nor of a constant, nor of a result; the first that was made is told, not a later one."""
    nan = float("nan")
    x = tg.tensor([1.0], requires_grad=True)
    leaf = tg.tensor([nan], requires_grad=True)
    with detect_anomaly(check_forward=True):
        _ = leaf * 2, x * tg.tensor([nan]), (leaf * 2).exp(), x * np.array([nan], np.float32)

    def run() -> None:
        first = (x - 2).sqrt()
        second = (x - 3).log()
        (first * second).sum().backward()

    text = message(run)
    assert "The forward pass had made a nan before: sqrt, recorded at" in text and "log, recorded at" not in text


def test_what_was_recorded_before_the_mode_was_on_and_numbers() -> None:
    x = tg.tensor(0.0, requires_grad=True)
    y = x.sqrt() * 0
    text = message(y.backward)
    assert "That is the gradient of argument 0 of sqrt, a number." in text
    assert "Recorded at a place before anomaly mode was switched on." in text


def test_an_error_is_annotated_once_and_its_kind_stays() -> None:
    class Broken(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, error: Any) -> Any:
            ctx.error = error
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise ctx.error

    x = tg.tensor([1.0], requires_grad=True)
    note = "The backward pass had last reached BrokenBackward, recorded at"
    for error in (KeyError("lost"), ValueError(), tg.errors.GraphError("ours"), tg.errors.GraphError("ours", 3)):
        with detect_anomaly():
            y = Broken.apply(x, error).sum()
            for _ in range(2):
                with pytest.raises(type(error)) as caught:
                    y.backward(retain_graph=True)
        assert caught.value is error
        text = "\n".join([*map(str, error.args), *getattr(error, "__notes__", ())])
        assert text.count(note) == 1
        assert isinstance(error, tg.errors.GraphError) or note not in str(error.args)
        if isinstance(error, tg.errors.GraphError):
            assert error.args[0].startswith(f"ours\n  {note}") and error.args[1:] in ((), (3,))
    with pytest.raises(KeyboardInterrupt) as stopped, detect_anomaly():  # no error of a program
        Broken.apply(x, KeyboardInterrupt()).sum().backward()
    assert not getattr(stopped.value, "__notes__", ())


def test_modes_within_modes_leave_other_watchers_in_place() -> None:
    with tg.Tape() as tape, detect_anomaly(check_nan=False):
        with set_detect_anomaly(True), pytest.raises(AnomalyError):
            root_of_zero().backward()
        root_of_zero().backward()
        with set_detect_anomaly(True, check_nan=False):
            root_of_zero().backward()
        with set_detect_anomaly(True, check_forward=True), pytest.raises(AnomalyError):
            tg.tensor([-1.0], requires_grad=True).sqrt()
    assert [record.name for record in tape].count("sqrt") == 4 and not is_anomaly_enabled()


def test_what_has_no_range_is_told_by_type_and_shape() -> None:
    def run() -> None:
        x = tg.tensor([1.0, 2.0], requires_grad=True)
        tg.where(x > 1, x, 0.0).backward(tg.tensor([0.0, float("nan")]))

    text = message(run)
    assert "Values saved for it: bool[2]." in text and "The gradient that came in: float32[2] from nan to nan." in text


def test_a_variable_of_the_module_is_no_time_step() -> None:
    space: dict[str, Any] = {"x": tg.tensor([-1.0], requires_grad=True), "tg": tg}
    exec("t = 7\ndef root(x):\n    return x.sqrt()\n", space)
    assert " with t" not in message(lambda: exec("root(x)", space), check_forward=True).splitlines()[1]
    looping = "for t in range(1, 3):\n    x.sqrt()"  # but the operation itself may stand in a loop there
    assert ", with t = 1 (record 0)" in message(lambda: exec(looping, space), check_forward=True)


def test_a_nan_in_one_of_several_outputs_is_seen() -> None:
    layer = tg.nn.RNN(1, 1)
    with tg.no_grad():
        layer.weight_ih_l0.fill_(float("inf"))
    text = message(lambda: layer(tg.zeros(2, 1, 1)), check_forward=True)
    assert text.startswith("Function 'rnn' returned nan values in the forward pass, of inputs without any.")


def test_where_no_line_of_the_user_runs_the_record_has_its_number_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_rnn.autograd import anomaly

    monkeypatch.setattr(anomaly, "user_frame", lambda: None)
    with detect_anomaly():
        y = tg.tensor([1.0], requires_grad=True).exp().sin()
    assert y.grad_fn.info == "? (record 1)"
