"""Timing a forward pass: what is run, how often, and what is told of it; never how long it took."""

from __future__ import annotations

import json
from typing import Any

import pytest

from posestudy_runner import plugin  # noqa: F401

import torch  # isort: skip
from torch import nn

from posestudy.errors import PoseStudyError
from posestudy_runner import profiling
from posestudy_runner.named_models import named
from posestudy_runner.timing import Timing

CPU = torch.device("cpu")
KEYS = {
    "parameters", "trainable_parameters", "gmacs", "gflops", "macs", "latency_p50_ms", "latency_p95_ms", "passes",
    "fps", "batch", "flip_test", "input", "device", "device_name", "threads", "peak_memory_mb",
}  # fmt: skip


class Counted(nn.Module):
    """Heatmaps that tell where the image is bright; remembers the batches it was given."""

    def __init__(self, keypoints: int = 3) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, keypoints, 1)
        self.seen: list[torch.Size] = []
        self.training_seen: set[bool] = set()

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = "tensor") -> torch.Tensor:
        if inputs.device.type != "meta":
            self.seen.append(inputs.shape)
            self.training_seen.add(self.training)
        return self.layer(inputs)


def test_a_profile_holds_what_programs_rely_on() -> None:
    model = Counted()
    found = profiling.profile(model, (24, 32), CPU, Timing(batch=2, budget_s=0.2))
    assert set(found) == KEYS
    assert json.loads(json.dumps(found)) == found
    assert (found["batch"], found["flip_test"], found["input"], found["device"]) == (2, False, [24, 32], "cpu")
    assert found["gmacs"] == pytest.approx(24 * 32 * 3 * 3 / 1e9)
    assert found["gflops"] == pytest.approx(2 * found["gmacs"])
    assert found["parameters"] == 12
    assert 0 < found["latency_p50_ms"] <= found["latency_p95_ms"]
    assert found["fps"] == pytest.approx(2 * 1e3 / found["latency_p50_ms"])
    assert found["threads"] == torch.get_num_threads()
    assert found["device_name"]
    assert set(model.seen) == {torch.Size([2, 3, 32, 24])}
    assert model.training_seen == {False}
    assert model.training, "left as it was"


def test_the_flip_test_doubles_the_work() -> None:
    once, twice = Counted(), Counted()
    plain = profiling.profile(once, (24, 32), CPU, Timing(budget_s=0.0, least=4))
    flipped = profiling.profile(twice, (24, 32), CPU, Timing(flip_test=True, budget_s=0.0, least=4))
    assert flipped["gmacs"] == 2 * plain["gmacs"]
    assert flipped["macs"] == {kind: 2 * number for kind, number in plain["macs"].items()}
    assert flipped["passes"] == plain["passes"] == 4
    assert len(twice.seen) == 2 * len(once.seen)
    assert flipped["parameters"] == plain["parameters"]


def test_the_flip_test_is_the_mean_of_image_and_mirror_image() -> None:
    model = Counted().eval()
    image = torch.rand(1, 3, 8, 6)
    with torch.no_grad():
        both = profiling.predict(model, image, flip_test=True)
        # A network that looks at each place alone sees the same in the mirror.
        torch.testing.assert_close(both, profiling.predict(model, image, flip_test=False))


@pytest.mark.parametrize("name", ["resnet50-rle", "transpose-r-thin"])
def test_other_outputs_than_heatmaps_are_averaged_too(name: str) -> None:
    model = named(name, "64x64").build(CPU).eval()
    with torch.no_grad():
        images = torch.rand(1, 3, 64, 64)
        straight = profiling.predict(model, images, flip_test=False)
        assert profiling.predict(model, images, flip_test=True).shape == straight.shape
    pair = profiling._mean((torch.zeros(1, 5, 8), torch.ones(1, 5, 8)), (torch.ones(1, 5, 8), torch.ones(1, 5, 8)))
    assert [float(part.mean()) for part in pair] == [0.5, 1.0]


def test_a_network_too_slow_for_its_time_is_timed_as_often_as_asked_and_no_more() -> None:
    model = Counted()
    found = profiling.profile(model, (24, 32), CPU, Timing(budget_s=0.0, least=1))
    assert found["passes"] == 1
    assert len(model.seen) == 2, "one to warm up"
    assert found["latency_p50_ms"] == found["latency_p95_ms"]


def test_memory_holds_at_least_the_weights_where_it_is_known() -> None:
    model = Counted()
    model.layer = nn.Conv2d(3, 3000, 9)
    weights_mb = 4 * (3 * 3000 * 81 + 3000) / 2**20
    told = profiling.profile(model, (32, 32), CPU, Timing(budget_s=0.1, least=1))["peak_memory_mb"]
    assert told is None or told >= weights_mb
    later = profiling.profile(model, (32, 32), CPU, Timing(budget_s=0.1, least=1), fresh=False)
    assert later["peak_memory_mb"] is None, "what was freed before is taken again: the growth says nothing"


def test_random_numbers_of_the_trial_are_left_alone() -> None:
    model = Counted()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    profiling.profile(model, (24, 32), CPU, Timing(budget_s=0.0, least=1))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("name", "gpus", "said"),
    [
        ("cuda", 0, r"'cuda', but torch .* sees no CUDA device; expected cpu$"),
        ("cuda:3", 2, r"sees 2 CUDA devices; expected cuda:0 to cuda:1, or cpu"),
        ("gpu", 2, r"found 'gpu', expected cpu, cuda or cuda:N"),
        ("cuda:x", 2, r"found 'cuda:x', expected cpu, cuda or cuda:N"),
        ("cdua", 2, r"did you mean 'cuda'"),
    ],
)
def test_a_device_that_is_not_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, gpus: int, said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(PoseStudyError, match=said):
        profiling.chosen_device(name)


def test_the_first_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert profiling.chosen_device(None) == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert profiling.chosen_device(None) == profiling.chosen_device("cuda") == torch.device("cuda:0")
    assert profiling.chosen_device("cpu") == CPU


def test_on_a_gpu_each_pass_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: done.append("waited"))
    gpu = torch.device("cuda:0")
    times = profiling._times(lambda: done.append("passed"), gpu, Timing(budget_s=0.0, least=4))
    assert len(times) == 4
    assert done == ["waited"] + ["passed", "waited"] * 5, "nothing else may be running when the clock starts"


def test_on_a_gpu_memory_is_what_a_pass_adds_to_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    reset: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 500)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1700)
    gpu = torch.device("cuda:1")
    # The optimizer of a trial lies in that memory too, which running the network does not need.
    assert profiling._Memory(gpu, known=True).added() == 1200
    assert reset == [gpu]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_memory_is_that_of_the_tensors() -> None:
    device = torch.device("cuda:0")
    model = named("resnet_tiny").build(device)
    found = profiling.profile(model, (192, 256), device, Timing(budget_s=0.5), fresh=False)
    assert found["device_name"] == torch.cuda.get_device_name(device)
    assert 0 < found["peak_memory_mb"] < 500
