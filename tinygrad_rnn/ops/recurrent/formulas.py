r"""Formulas of the recurrent cells and layers: a step, its cotangents, and the sums over the steps.

They state the equations of ``cells.py`` and what the kernels make of them going back; a test evaluates them and
compares.  Rows are sequences, so that a product with a weight is :math:`x W^\top`; the block of a that belongs to a
gate has the gate as its index.

A cell gives its new states as :math:`h'` and :math:`c'`.  In a layer t is the step, and T the one read last; whatever
lies beyond either end is 0, but for the initial states.  :math:`\bar{y}_t` is the cotangent of the output at a step,
:math:`\bar{h}_{n}` and :math:`\bar{c}_{n}` those of the final states.  Without a projection :math:`W_{hr}` is the
identity.
"""

from __future__ import annotations

from ...tape.formula import Formula, aligned

__all__ = ["FORMULAS"]

AFFINE = r"a = x W_{ih}^\top + b_{ih} + h W_{hh}^\top + b_{hh}"
AFFINE_AT = r"a_{t} = x_{t} W_{ih}^\top + b_{ih} + h_{t-1} W_{hh}^\top + b_{hh}"


def _affine(of_x: str, of_h: str, t: str = "", before: str = "", total: str = "") -> dict[str, str]:
    """The vjps of the weights and biases, from the cotangents of the two affine maps, which may be one."""
    return {
        "weight_ih": rf"{total}{of_x}{t}^\top x{t}",
        "weight_hh": rf"{total}{of_h}{t}^\top h{before}",
        "bias_ih": rf"{total}\operatorname{{sum}}_{{b_{{ih}}}}({of_x}{t})",
        "bias_hh": rf"{total}\operatorname{{sum}}_{{b_{{hh}}}}({of_h}{t})",
    }


def _over_steps(of_x: str, of_h: str) -> dict[str, str]:
    return _affine(of_x, of_h, "_{t}", "_{t-1}", r"\sum_{t} ")


FORMULAS = {
    "rnn_cell": Formula(
        aligned(AFFINE, r"h' = \varphi(a)"),
        aligned(r"\bar{a} = \bar{h}' \odot \varphi'(a)"),
        x=r"\bar{a} W_{ih}",
        h=r"\bar{a} W_{hh}",
        **_affine(r"\bar{a}", r"\bar{a}"),
    ),
    "rnn": Formula(
        aligned(AFFINE_AT, r"h_{t} = \varphi(a_{t})", "y_{t} = h_{t}"),
        aligned(
            r"\bar{h}_{t} = \bar{y}_{t} + [t = T] \bar{h}_{n} + \bar{a}_{t+1} W_{hh}",
            r"\bar{a}_{t} = \bar{h}_{t} \odot \varphi'(a_{t})",
        ),
        x=r"\bar{x}_{t} = \bar{a}_{t} W_{ih}",
        h0=r"\bar{a}_{1} W_{hh}",
        **_over_steps(r"\bar{a}", r"\bar{a}"),
    ),
    "lstm_cell": Formula(
        aligned(
            AFFINE,
            r"i = \sigma(a_{i})",
            r"f = \sigma(a_{f})",
            r"g = \tanh(a_{g})",
            r"o = \sigma(a_{o})",
            r"c' = f \odot c + i \odot g",
            r"h' = o \odot \tanh(c')",
        ),
        aligned(
            # all that reaches c': as an output, and through h'
            r"\delta = \bar{c}' + \bar{h}' \odot o \odot (1 - \tanh(c')^2)",
            r"\bar{a}_{i} = \delta \odot g \odot i \odot (1 - i)",
            r"\bar{a}_{f} = \delta \odot c \odot f \odot (1 - f)",
            r"\bar{a}_{g} = \delta \odot i \odot (1 - g^2)",
            r"\bar{a}_{o} = \bar{h}' \odot \tanh(c') \odot o \odot (1 - o)",
        ),
        x=r"\bar{a} W_{ih}",
        h=r"\bar{a} W_{hh}",
        c=r"\delta \odot f",
        **_affine(r"\bar{a}", r"\bar{a}"),
    ),
    "lstm": Formula(
        aligned(
            AFFINE_AT,
            r"i_{t} = \sigma(a_{i,t})",
            r"f_{t} = \sigma(a_{f,t})",
            r"g_{t} = \tanh(a_{g,t})",
            r"o_{t} = \sigma(a_{o,t})",
            r"c_{t} = f_{t} \odot c_{t-1} + i_{t} \odot g_{t}",
            r"u_{t} = o_{t} \odot \tanh(c_{t})",
            r"h_{t} = u_{t} W_{hr}^\top",
            "y_{t} = h_{t}",
        ),
        aligned(
            r"\bar{h}_{t} = \bar{y}_{t} + [t = T] \bar{h}_{n} + \bar{a}_{t+1} W_{hh}",
            r"\bar{u}_{t} = \bar{h}_{t} W_{hr}",
            r"\bar{c}_{t} = [t = T] \bar{c}_{n} + \bar{u}_{t} \odot o_{t} \odot (1 - \tanh(c_{t})^2) "
            r"+ \bar{c}_{t+1} \odot f_{t+1}",
            r"\bar{a}_{i,t} = \bar{c}_{t} \odot g_{t} \odot i_{t} \odot (1 - i_{t})",
            r"\bar{a}_{f,t} = \bar{c}_{t} \odot c_{t-1} \odot f_{t} \odot (1 - f_{t})",
            r"\bar{a}_{g,t} = \bar{c}_{t} \odot i_{t} \odot (1 - g_{t}^2)",
            r"\bar{a}_{o,t} = \bar{u}_{t} \odot \tanh(c_{t}) \odot o_{t} \odot (1 - o_{t})",
        ),
        x=r"\bar{x}_{t} = \bar{a}_{t} W_{ih}",
        h0=r"\bar{a}_{1} W_{hh}",
        c0=r"\bar{c}_{1} \odot f_{1}",
        **_over_steps(r"\bar{a}", r"\bar{a}"),
        weight_hr=r"\sum_{t} \bar{h}_{t}^\top u_{t}",
    ),
    "gru_cell": Formula(
        aligned(
            r"a = x W_{ih}^\top + b_{ih}",
            r"e = h W_{hh}^\top + b_{hh}",
            r"r = \sigma(a_{r} + e_{r})",
            r"z = \sigma(a_{z} + e_{z})",
            r"n = \tanh(a_{n} + r \odot e_{n})",
            r"h' = (1 - z) \odot n + z \odot h",
        ),
        aligned(
            r"\bar{a}_{n} = \bar{h}' \odot (1 - z) \odot (1 - n^2)",
            r"\bar{a}_{z} = \bar{h}' \odot (h - n) \odot z \odot (1 - z)",
            r"\bar{a}_{r} = \bar{a}_{n} \odot e_{n} \odot r \odot (1 - r)",
            r"\bar{e}_{r} = \bar{a}_{r}",
            r"\bar{e}_{z} = \bar{a}_{z}",
            r"\bar{e}_{n} = \bar{a}_{n} \odot r",
        ),
        x=r"\bar{a} W_{ih}",
        h=r"\bar{e} W_{hh} + \bar{h}' \odot z",
        **_affine(r"\bar{a}", r"\bar{e}"),
    ),
    "gru": Formula(
        aligned(
            r"a_{t} = x_{t} W_{ih}^\top + b_{ih}",
            r"e_{t} = h_{t-1} W_{hh}^\top + b_{hh}",
            r"r_{t} = \sigma(a_{r,t} + e_{r,t})",
            r"z_{t} = \sigma(a_{z,t} + e_{z,t})",
            r"n_{t} = \tanh(a_{n,t} + r_{t} \odot e_{n,t})",
            r"h_{t} = (1 - z_{t}) \odot n_{t} + z_{t} \odot h_{t-1}",
            "y_{t} = h_{t}",
        ),
        aligned(
            r"\bar{h}_{t} = \bar{y}_{t} + [t = T] \bar{h}_{n} + \bar{e}_{t+1} W_{hh} + \bar{h}_{t+1} \odot z_{t+1}",
            r"\bar{a}_{n,t} = \bar{h}_{t} \odot (1 - z_{t}) \odot (1 - n_{t}^2)",
            r"\bar{a}_{z,t} = \bar{h}_{t} \odot (h_{t-1} - n_{t}) \odot z_{t} \odot (1 - z_{t})",
            r"\bar{a}_{r,t} = \bar{a}_{n,t} \odot e_{n,t} \odot r_{t} \odot (1 - r_{t})",
            r"\bar{e}_{r,t} = \bar{a}_{r,t}",
            r"\bar{e}_{z,t} = \bar{a}_{z,t}",
            r"\bar{e}_{n,t} = \bar{a}_{n,t} \odot r_{t}",
        ),
        x=r"\bar{x}_{t} = \bar{a}_{t} W_{ih}",
        h0=r"\bar{e}_{1} W_{hh} + \bar{h}_{1} \odot z_{1}",
        **_over_steps(r"\bar{a}", r"\bar{e}"),
    ),
}
"""By name of primitive."""
