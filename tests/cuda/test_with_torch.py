"""On a GPU, beside PyTorch: one memory for both, and the same numbers from both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

pytestmark = pytest.mark.gpu


@pytest.fixture
def torch() -> Any:
    found = pytest.importorskip("torch")
    if not found.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    found.backends.cudnn.allow_tf32 = found.backends.cuda.matmul.allow_tf32 = False
    return found


def test_pytorch_and_we_write_to_one_memory(torch: Any) -> None:
    theirs = torch.ones(2, 3, device="cuda")
    ours = tg.from_dlpack(theirs)
    assert ours.is_cuda and ours.data_ptr() == theirs.data_ptr()
    theirs[0, 1] = 5
    torch.cuda.synchronize()
    assert ours[0, 1].item() == 5
    again = torch.from_dlpack(tg.zeros(4, device="cuda"))
    assert again.is_cuda and again.tolist() == [0] * 4
    mine = tg.zeros(4, device="cuda")
    torch.from_dlpack(mine)[2] = 7
    torch.cuda.synchronize()
    assert mine.tolist() == [0, 0, 7, 0]


def test_the_device_is_the_one_that_pytorch_sees(torch: Any) -> None:
    ours, theirs = tg.cuda.get_device_properties(0), torch.cuda.get_device_properties(0)
    assert ours.name == theirs.name and tg.cuda.get_device_capability() == torch.cuda.get_device_capability()
    assert ours.multi_processor_count == theirs.multi_processor_count and ours.warp_size == theirs.warp_size
    assert abs(ours.total_memory - theirs.total_memory) < 1 << 30
    assert tg.cuda.device_count() == torch.cuda.device_count()


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("both", [False, True])
def test_a_layer_gives_what_cudnn_gives(kind: str, both: bool, torch: Any) -> None:
    theirs = getattr(torch.nn, kind)(7, 20, num_layers=2, bidirectional=both).cuda()
    ours = getattr(tg.nn, kind)(7, 20, num_layers=2, bidirectional=both).cuda()
    ours.load_state_dict({k: tg.tensor(v.cpu().numpy()) for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((9, 4, 7)).astype(np.float32)
    found = []
    for lib, layer in ((tg, ours), (torch, theirs)):
        given = lib.tensor(x).cuda().requires_grad_()
        y, _ = layer(given)
        (y * y).sum().backward()
        found.append([t.detach().cpu().numpy() for t in (y, given.grad, *[p.grad for p in layer.parameters()])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * max(1.0, float(np.abs(b).max())))  # float32, 9 steps


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_updates_are_those_of_pytorch(kind: str, torch: Any) -> None:
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(s).astype(np.float32) for s in [(3, 4), (5,), (1000,)]]
    gradients = [[rng.standard_normal(a.shape).astype(np.float32) for a in start] for _ in range(5)]
    found = []
    for lib in (tg, torch):
        params = [lib.tensor(a).cuda().requires_grad_() for a in start]
        optimizer = getattr(lib.optim, kind)(params, lr=0.05, weight_decay=0.01)
        for step in gradients:
            for p, g in zip(params, step, strict=True):
                p.grad = lib.tensor(g).cuda()
            lib.nn.utils.clip_grad_norm_(params, 5.0)
            optimizer.step()
        found.append([p.detach().cpu().numpy() for p in params])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
