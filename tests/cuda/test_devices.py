"""``tg.cuda``: PyTorch's names and signatures, on the strict double of CuPy and, where there is one, on a GPU."""

from __future__ import annotations

import inspect
import time
from typing import Any

import pytest

import tinygrad_rnn as tg
from tests.support import arrays
from tinygrad_rnn.cuda.devices import CUDA_NAMES
from tinygrad_rnn.errors import DeviceError

OURS = {"DeviceProperties", "InvalidDevice"}


def test_signatures_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for name in tg.cuda.__all__:
        if name in OURS or name in ("Event", "Stream"):  # whose arguments PyTorch takes in __new__
            continue
        ours, theirs = getattr(tg.cuda, name), getattr(torch.cuda, name)
        if isinstance(ours, type):
            ours, theirs = ours.__init__, theirs.__init__
        shapes = [
            [(p.name, p.default) for p in inspect.signature(f).parameters.values() if p.kind is not p.VAR_KEYWORD]
            for f in (ours, theirs)
        ]
        assert shapes[0] == shapes[1], name


def test_without_a_gpu_every_question_has_an_answer_or_one_line_that_says_why() -> None:
    if arrays.no_gpu_reason() is None:
        pytest.skip("there is a GPU")
    assert not tg.cuda.is_available() and not tg.cuda.is_initialized() and tg.cuda.device_count() == 0
    assert tg.cuda.memory_allocated() == tg.cuda.max_memory_allocated() == tg.cuda.max_memory_reserved() == 0
    for ask in (
        tg.cuda.init,
        tg.cuda.current_device,
        tg.cuda.synchronize,
        tg.cuda.get_device_capability,
        tg.cuda.reset_peak_memory_stats,
        tg.cuda.mem_get_info,
        tg.cuda.current_stream,
        tg.cuda.Event,
        tg.cuda.Stream,
        lambda: tg.cuda.set_device(0),
        lambda: tg.cuda.device(0),
        lambda: tg.set_default_device("cuda"),
        lambda: tg.zeros(1).cuda(),
        lambda: tg.nn.Linear(1, 1).to("cuda"),
    ):
        with pytest.raises(DeviceError, match="device 'cuda' is not available: ") as caught:
            ask()
        assert "\n" not in str(caught.value)
    with tg.cuda.device(None), tg.cuda.device(-1), tg.cuda.device_of(tg.zeros(1)), tg.cuda.stream(None):
        pass
    assert issubclass(tg.cuda.OutOfMemoryError, MemoryError)


def test_the_current_device(device_xp: Any) -> None:
    assert tg.cuda.is_available() and tg.cuda.device_count() >= 1
    before = tg.cuda.current_device()
    tg.cuda.set_device("cuda:0")
    tg.cuda.set_device(-5)
    with tg.cuda.device("cuda:0") as inside:
        assert inside.idx == tg.cuda.current_device() == 0
        assert tg.zeros(1, device="cuda").device == tg.device("cuda:0")
    with tg.cuda.device_of(tg.zeros(1, device="cuda:0")):
        assert tg.cuda.current_device() == 0
    tg.cuda.set_device(before)
    missing = tg.cuda.device_count()
    for ask in (tg.cuda.get_device_name, tg.cuda.set_device, tg.cuda.device, tg.cuda.synchronize):
        with pytest.raises(tg.cuda.InvalidDevice, match="[Ii]nvalid device"):
            ask(missing)
    with pytest.raises(DeviceError, match="invalid device ordinal"):
        tg.zeros(1).to(f"cuda:{missing}")
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        tg.cuda.get_device_name("cpu")
    with pytest.raises(ValueError, match="specified index"):
        tg.cuda.set_device("cuda")


def test_what_a_device_is(device_xp: Any) -> None:
    told = tg.cuda.get_device_properties()
    assert told.name == tg.cuda.get_device_name(0) and told.name
    assert (told.major, told.minor) == tg.cuda.get_device_capability("cuda")
    assert told.major >= 5 or hasattr(device_xp, "syncs")  # the double's is 0
    assert told.multi_processor_count > 0 and told.warp_size == 32 and told.total_memory > 1 << 30
    assert repr(told).startswith(f"_CudaDeviceProperties(name='{told.name}', major={told.major}")
    free, total = tg.cuda.mem_get_info()
    assert 0 < free <= total


def test_events_tell_the_milliseconds_between_them(device_xp: Any) -> None:
    start, end = tg.cuda.Event(enable_timing=True), tg.cuda.Event(enable_timing=True)
    assert start.query()  # of a mark that is nowhere, as in PyTorch
    with pytest.raises(ValueError, match="Both events must be recorded"):
        start.elapsed_time(end)
    start.record()
    time.sleep(0.01)
    end.record()
    end.synchronize()
    assert end.query() and 9 < start.elapsed_time(end) < 1000
    silent = tg.cuda.Event()
    silent.record()
    silent.synchronize()
    with pytest.raises(ValueError, match="enable_timing=True"):
        silent.elapsed_time(end)
    with pytest.raises(ValueError, match="interprocess"):
        tg.cuda.Event(interprocess=True)


def test_streams_nest_and_wait_for_each_other(device_xp: Any) -> None:
    usual = tg.cuda.current_stream()
    assert usual == tg.cuda.default_stream() and usual.cuda_stream == 0
    side = tg.cuda.Stream()
    assert side != usual and hash(side) != hash(usual) and side.device == tg.device("cuda:0")
    x = tg.ones(1000, device="cuda")
    side.wait_stream(usual)
    with tg.cuda.stream(side):
        assert tg.cuda.current_stream() == side
        y = x * 2
        with usual:
            assert tg.cuda.current_stream() == usual
        assert tg.cuda.current_stream() == side
        mark = side.record_event()
    assert tg.cuda.current_stream() == usual
    mark.wait()
    usual.wait_event(mark)
    assert (y + 1).sum().item() == 3000
    side.synchronize()
    assert side.query() and mark.query()
    tg.cuda.set_stream(side)
    assert tg.cuda.current_stream() == side
    tg.cuda.set_stream(usual)
    assert tg.cuda.current_stream() == usual


def test_the_peak_of_memory(device_xp: Any) -> None:
    def take(count: int) -> Any:  # the double's arrays do not come from its pool
        return device_xp.cuda.get_allocator()(count)

    allocator = device_xp.cuda.get_allocator()
    try:
        assert tg.cuda.max_memory_allocated() >= tg.cuda.memory_allocated()
        tg.cuda.reset_peak_memory_stats()
        start = tg.cuda.memory_allocated()
        held = take(1 << 20)
        assert tg.cuda.memory_allocated() - start >= 1 << 20
        assert tg.cuda.max_memory_allocated() == tg.cuda.memory_allocated() <= tg.cuda.memory_reserved()
        if hasattr(device_xp, "syncs"):
            device_xp.get_default_memory_pool().used -= 1 << 20
        del held
        assert tg.cuda.memory_allocated() == start and tg.cuda.max_memory_allocated() - start >= 1 << 20
        tg.cuda.reset_peak_memory_stats()
        assert tg.cuda.max_memory_allocated() == start
        tg.cuda.empty_cache()
        assert f"{start:,}" in tg.cuda.memory_summary()
    finally:
        device_xp.cuda.set_allocator(allocator)


def test_the_state_of_the_random_numbers_is_the_hosts() -> None:
    tg.manual_seed(3)
    state, states = tg.cuda.get_rng_state(), tg.cuda.get_rng_state_all()
    expected = tg.rand(4)
    tg.cuda.set_rng_state(state)
    assert tg.equal(tg.rand(4), expected)
    tg.cuda.set_rng_state_all(states)
    assert tg.equal(tg.rand(4), expected)
    assert tg.cuda.initial_seed() == tg.initial_seed()
    tg.cuda.seed()
    tg.cuda.seed_all()
    assert tg.cuda.initial_seed() == tg.initial_seed() == 3


def test_a_gradient_goes_back_to_the_device_it_came_from(device_xp: Any) -> None:
    here = tg.ones(2, requires_grad=True)
    there = here.to("cuda")
    back = (there * 3).cpu()
    (back * tg.tensor([1.0, 2.0])).sum().backward()
    assert here.grad is not None and here.grad.device.type == "cpu" and here.grad.tolist() == [3, 6]
    leaf = tg.ones(2, device="cuda").requires_grad_()
    leaf.cpu().sum().backward()
    assert leaf.grad is not None and leaf.grad.device == leaf.device
    assert there.is_cuda and there.cuda() is there and there.to("cuda:0") is there and here.cpu() is here


def test_every_name_that_is_asked_of_cupy_is_there(device_xp: Any) -> None:
    """Keeps the double honest: on a GPU the same list is looked up in CuPy itself."""
    for path in """cuda.Device cuda.Event cuda.Stream cuda.Stream.null cuda.get_elapsed_time cuda.get_current_stream
        cuda.get_allocator cuda.set_allocator cuda.memory.OutOfMemoryError cuda.runtime.getDevice
        cuda.runtime.getDeviceCount cuda.runtime.getDeviceProperties cuda.runtime.driverGetVersion
        cuda.runtime.runtimeGetVersion get_default_memory_pool RawModule asnumpy asarray argsort searchsorted add.at
        """.split():
        found: Any = device_xp
        for part in path.split("."):
            found = getattr(found, part)
    properties = device_xp.cuda.runtime.getDeviceProperties(0)
    assert set(CUDA_NAMES.values()) <= set(properties)
    device = device_xp.cuda.Device(0)
    assert device.id == 0 and str(device.compute_capability).isdigit() and len(device.mem_info) == 2
    assert device.attributes["MultiProcessorCount"] > 0


def test_new_tensors_are_made_on_the_default_device(device_xp: Any) -> None:
    def made() -> set[str]:
        tensors = [tg.zeros(2), tg.tensor([1.0]), tg.rand(2), tg.arange(3), tg.eye(2), tg.full((2,), 1.0)]
        tensors += [tg.randint(3, (2,)), tg.randperm(3), tg.linspace(0, 1, 3), tg.empty(2), tg.randn(2)]
        tensors += [*tg.nn.LSTM(2, 3).parameters(), *tg.nn.Embedding(2, 3).parameters(), tg.as_tensor([1.0])]
        return {t.device.type for t in tensors}

    assert made() == {"cpu"} and tg.get_default_device() == tg.device("cpu")
    with tg.device("cuda") as device:
        assert made() == {"cuda"} and tg.get_default_device() == tg.device("cuda:0") and device == tg.device("cuda")
        with tg.device("cpu"):
            assert made() == {"cpu"}
        assert made() == {"cuda"} and tg.zeros(2, device="cpu").device.type == "cpu"
        assert tg.zeros_like(tg.zeros(2, device="cpu")).device.type == "cpu"
    assert made() == {"cpu"}
    tg.set_default_device("cuda:0")
    assert made() == {"cuda"}
    tg.set_default_device(None)
    assert made() == {"cpu"}


def test_moving_takes_what_pytorch_takes(device_xp: Any) -> None:
    x, net = tg.ones(2), tg.nn.Linear(2, 2)
    for device in (None, 0, "cuda", "cuda:0", tg.device("cuda", 0)):
        assert x.cuda(device, non_blocking=True).is_cuda and x.cuda(device).cpu().device.type == "cpu"
        assert net.cuda(device).weight.is_cuda and not net.cpu().weight.is_cuda
        if device is not None:
            assert x.to(device, non_blocking=True).is_cuda and x.to(device, tg.float64, copy=True).dtype == tg.float64
            assert net.to(device, non_blocking=True).weight.is_cuda and not net.to("cpu").weight.is_cuda
    assert x.to(x.cuda()).is_cuda and x.get_device() == -1 and x.cuda().get_device() == 0
    with pytest.raises(DeviceError, match="invalid device ordinal"):
        tg.zeros(2, device=f"cuda:{tg.cuda.device_count()}")


def test_pinned_memory(device_xp: Any) -> None:
    x = tg.ones(2, 3, requires_grad=True)
    y = x.pin_memory()
    assert y.is_pinned() and not x.is_pinned() and y.pin_memory() is y and y[0].is_pinned()
    assert tg.equal(y, x) and y.to("cuda", non_blocking=True).cpu().tolist() == x.tolist()
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[1] * 3] * 2
    with pytest.raises(RuntimeError, match="cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned"):
        x.cuda().pin_memory()


def test_pinning_needs_a_gpu() -> None:
    assert not tg.ones(1).is_pinned()
    if arrays.no_gpu_reason():
        with pytest.raises(DeviceError, match="not available"):
            tg.ones(1).pin_memory()
