"""DLPack shares memory with NumPy and PyTorch in both directions."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg


def test_numpy_and_we_write_to_one_memory() -> None:
    array = np.zeros((2, 3), np.float32)
    t = tg.from_dlpack(array)
    array[0, 1] = 4
    t[1, 2] = 5
    assert t[0, 1].item() == 4 and array[1, 2] == 5
    back = np.from_dlpack(t)
    assert back.ctypes.data == array.ctypes.data and back.strides == array.strides


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool"])
def test_pytorch_and_we_write_to_one_memory(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.ones(2, 3, dtype=getattr(torch, dtype)).T
    ours = tg.from_dlpack(theirs)
    theirs[1, 0] = 0
    assert ours[1, 0].item() == 0 and str(ours.dtype) == f"torch.{dtype}" and ours.shape == (3, 2)
    again = torch.from_dlpack(tg.ones(3, dtype=dtype))
    assert again.dtype == theirs.dtype and again.tolist() == [1, 1, 1]
    ours = tg.zeros(2, dtype=dtype)
    torch.from_dlpack(ours)[1] = 1
    assert ours.tolist() == [0, 1]


def test_a_bare_capsule_is_taken() -> None:
    array = np.arange(3.0)
    assert tg.from_dlpack(array.__dlpack__()).tolist() == [0, 1, 2]


def test_the_device_is_told() -> None:
    assert tg.ones(2).__dlpack_device__() == (1, 0)


def test_a_tensor_that_requires_grad_is_not_handed_out() -> None:
    w = tg.ones(2, requires_grad=True)
    with pytest.raises(BufferError, match="^Can't export tensors that require gradient, use tensor.detach"):
        np.from_dlpack(w)
    assert np.from_dlpack(w.detach()).tolist() == [1, 1]


def test_what_does_not_speak_the_protocol_is_refused() -> None:
    with pytest.raises(TypeError, match="__dlpack__"):
        tg.from_dlpack([1, 2])


def test_what_runs_backwards_is_not_handed_over() -> None:
    """PyTorch ends the process at a negative stride."""
    t = tg.from_numpy(np.arange(3.0)[::-1])
    with pytest.raises(BufferError, match=r"negative strides: use tensor.contiguous\(\)"):
        np.from_dlpack(t)
    assert np.from_dlpack(t.contiguous()).tolist() == [2, 1, 0]
