"""Modules print as in PyTorch."""

from __future__ import annotations

import pytest

import tinygrad_rnn as tg
from tests.nn.models import net, quietly
from tests.support.rows import together
from tinygrad_rnn import nn

PRINTED = {
    "net": net,
    "linear": lambda lib: lib.nn.Linear(2, 3, bias=False),
    "bilinear": lambda lib: lib.nn.Bilinear(2, 3, 4),
    "nested": lambda lib: lib.nn.Sequential(lib.nn.Sequential(lib.nn.Linear(1, 1)), lib.nn.Sequential(), lib.nn.Tanh()),
    "list": lambda lib: lib.nn.ModuleList([lib.nn.Linear(2, 2) for _ in range(3)] + [lib.nn.Sequential(lib.nn.ReLU())]),
    "empty list": lambda lib: lib.nn.ModuleList(),
    "dict": lambda lib: lib.nn.ModuleDict({"a": lib.nn.ReLU(inplace=True), "b": lib.nn.ModuleDict()}),
    "embedding": lambda lib: lib.nn.Embedding(5, 4, padding_idx=-1, max_norm=2.0, norm_type=1.0, sparse=True),
    "bag": lambda lib: lib.nn.EmbeddingBag(5, 4, mode="sum", padding_idx=1, max_norm=2.0),
    "norm": lambda lib: lib.nn.LayerNorm((2, 3), eps=0.1, bias=False),
    "batch norm": lambda lib: lib.nn.BatchNorm1d(3, momentum=None, affine=False),
    "dropout2d": lambda lib: lib.nn.Dropout2d(0.25),
    "attention": lambda lib: lib.nn.MultiheadAttention(4, 2, bias=False),
    "conv": lambda lib: lib.nn.Conv1d(4, 6, 3, padding="same", dilation=2, groups=2),
    "conv padded": lambda lib: lib.nn.Conv1d(4, 6, (3,), 2, 1, bias=False, padding_mode="circular"),
    "pools": lambda lib: lib.nn.Sequential(lib.nn.MaxPool1d(2), lib.nn.AvgPool1d(3, 2, 1)),
    "rms": lambda lib: lib.nn.RMSNorm(3),
    "dropout": lambda lib: lib.nn.Dropout(0.25),
    "flatten": lambda lib: lib.nn.Sequential(lib.nn.Flatten(), lib.nn.Identity(3), lib.nn.Unflatten(1, (2, 3))),
    "losses": lambda lib: lib.nn.ModuleList(
        [lib.nn.CrossEntropyLoss(), lib.nn.MSELoss(), lib.nn.BCEWithLogitsLoss(), lib.nn.KLDivLoss()]
    ),
    "lazy": lambda lib: quietly(lambda: lib.nn.LazyLinear(3)),
    **{
        name: (lambda lib, name=name, args=args: getattr(lib.nn, name)(*args))
        for name, args in {
            "Tanh": (), "Sigmoid": (), "LogSigmoid": (), "Softsign": (), "Tanhshrink": (), "ReLU": (), "SELU": (True,),
            "SiLU": (True,), "Mish": (), "Hardsigmoid": (True,), "Hardswish": (), "LeakyReLU": (0.2, True), "ELU": (),
            "CELU": (2.0, True), "Hardtanh": (-2.0, 2.0), "ReLU6": (True,), "Threshold": (0.1, 20), "Softplus": (),
            "Hardshrink": (), "Softshrink": (0.3,), "GELU": ("tanh",), "PReLU": (3,), "GLU": (), "Softmax": (1,),
            "LogSoftmax": (), "Softmin": (0,),
        }.items()
    },
}  # fmt: skip


@together
@pytest.mark.parametrize("name", PRINTED)
def test_modules_print_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert repr(PRINTED[name](tg)) == repr(PRINTED[name](torch))


def test_a_lines_of_extra_representation_stand_before_the_modules() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Tanh()

        def extra_repr(self) -> str:
            return "a=1\nb=2"

    assert repr(Two()) == "Two(\n  a=1\n  b=2\n  (inner): Tanh()\n)"


def test_dir_lists_what_a_module_holds() -> None:
    assert {"scale", "embed", "seen", "forward", "plain"} <= set(dir(net(tg)))
    assert "0" not in dir(nn.Sequential(nn.Tanh()))
