"""Mixed precision on a CPU: bfloat16 in the forward pass, float32 weights, states that move between devices."""

from __future__ import annotations

import copy

import pytest
import torch

from posestudy_runner.plugin import DeviceAmpOptimWrapper


def wrapper(**options: object) -> tuple[torch.nn.Linear, DeviceAmpOptimWrapper]:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    return model, DeviceAmpOptimWrapper(optimizer=torch.optim.Adam(model.parameters(), lr=0.1), **options)


@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
def test_cpu_computes_in_bfloat16_and_learns_in_float32(dtype: str | None) -> None:
    model, amp = wrapper(dtype=dtype)
    before = model.weight.detach().clone()
    with amp.optim_context(model):
        output = model(torch.ones(3, 4))
    assert output.dtype == torch.bfloat16
    assert amp.cast_dtype == torch.bfloat16
    amp.update_params(output.float().square().mean())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(before, model.weight)


def test_options_of_the_stock_wrapper_work() -> None:
    model, amp = wrapper(clip_grad={"max_norm": 1e-6}, accumulative_counts=2)
    before = model.weight.detach().clone()
    for step in range(2):
        with amp.optim_context(model):
            loss = model(torch.ones(3, 4)).float().square().mean()
        amp.update_params(loss)
        assert torch.equal(before, model.weight) == (step == 0)


def test_state_of_an_accelerator_loads_on_a_cpu() -> None:
    model, amp = wrapper()
    amp.update_params(model(torch.ones(3, 4)).square().mean())
    state = amp.state_dict()
    assert "loss_scaler" not in state
    _, other = wrapper()
    other.load_state_dict({**state, "loss_scaler": {"scale": 65536.0}})
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], state["state"][0]["exp_avg"])


def scaled() -> tuple[torch.nn.Linear, DeviceAmpOptimWrapper]:
    """As on an accelerator with float16, but for the place: MMEngine asks for a GPU only when it is made."""
    model, amp = wrapper()
    amp.on_cpu, amp._scale_update_param = False, None
    amp.loss_scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    return model, amp


def test_the_loss_scaler_goes_on_where_it_was() -> None:
    def step(model: torch.nn.Linear, amp: DeviceAmpOptimWrapper, factor: float) -> None:
        amp.update_params(model(torch.ones(3, 4)).square().mean() * factor)

    # Grown after three, shrunk by one that overflows, and on the way to grow again.
    factors = [1.0, 1.0, 1.0, float("inf"), 1.0, 1.0, 1.0, 1.0]
    model, amp = scaled()
    for factor in factors[:6]:
        step(model, amp, factor)
    state, weights = copy.deepcopy(amp.state_dict()), copy.deepcopy(model.state_dict())
    assert (state["loss_scaler"]["scale"], state["loss_scaler"]["_growth_tracker"]) == (2.0**10, 2)
    resumed, other = scaled()
    resumed.load_state_dict(weights)
    other.load_state_dict(state)
    for factor in factors[6:]:
        step(model, amp, factor)
        step(resumed, other, factor)
    assert other.state_dict()["loss_scaler"] == amp.state_dict()["loss_scaler"]
    assert amp.state_dict()["loss_scaler"]["scale"] == 2.0**11
    assert torch.equal(resumed.weight, model.weight)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "seen"), [(None, torch.float16), ("bfloat16", torch.bfloat16)])
def test_cuda_uses_the_stock_wrapper(dtype: str | None, seen: torch.dtype) -> None:
    model = torch.nn.Linear(4, 2).cuda()
    amp = DeviceAmpOptimWrapper(optimizer=torch.optim.Adam(model.parameters(), lr=0.1), dtype=dtype)
    with amp.optim_context(model):
        output = model(torch.ones(3, 4, device="cuda"))
    assert output.dtype == seen
    amp.update_params(output.float().square().mean())
    assert amp.state_dict()["loss_scaler"]["scale"] > 0
