"""Accumulated gradients belong to one epoch: its last iterations make an update, and nothing waits for the next."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper

from posestudy_runner.epoch_loop import Position
from posestudy_runner.plugin import EpochwiseAccumulationHook

SAMPLES = torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0]])


def train(wrapper: OptimWrapper, weight: torch.nn.Linear, epochs: range) -> list[float]:
    """The weight after each iteration of `epochs`, five a time."""
    runner: Any = SimpleNamespace(optim_wrapper=wrapper, train_dataloader=SAMPLES)
    hook, seen = EpochwiseAccumulationHook(), []
    for _ in epochs:
        hook.before_train_epoch(runner)
        for sample in SAMPLES:
            with wrapper.optim_context(weight):
                loss = weight(sample).sum()
            wrapper.update_params(loss)
            seen.append(round(weight.weight.item(), 6))
    return seen


def made(accumulate: int, start: float = 0.0, done: int = 0) -> tuple[OptimWrapper, torch.nn.Linear]:
    weight = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(weight.weight, start)
    wrapper = OptimWrapper(torch.optim.SGD(weight.parameters(), lr=1.0), accumulative_counts=accumulate)
    wrapper.initialize_count_status(weight, done, 15)
    return wrapper, weight


def test_an_update_takes_the_mean_of_its_samples_also_where_they_are_fewer() -> None:
    # The gradient of a sample is the sample.
    assert train(*made(2), range(1)) == [0.0, -1.5, -1.5, -7.5, -23.5]
    assert train(*made(8), range(1)) == [0.0] * 4 + [pytest.approx(-31 / 5)]


def test_resumed_within_an_epoch_equals_undisturbed() -> None:
    undisturbed, weight = made(2)
    train(undisturbed, weight, range(2))
    runner: Any = SimpleNamespace(train_dataloader=SAMPLES, train_loop=SimpleNamespace(position=Position(4)))
    resumed, other = made(2, start=-23.5 - 7.5, done=9)
    runner.optim_wrapper = resumed
    EpochwiseAccumulationHook().before_train_epoch(runner)
    resumed.update_params(other(SAMPLES[4]).sum())
    # The fifth sample makes an update of its own, whole: -16.
    assert other.weight.item() == weight.weight.item() == -47.0


def test_resumed_after_an_epoch_equals_undisturbed() -> None:
    undisturbed = train(*made(2), range(3))
    assert train(*made(2, start=undisturbed[4], done=5), range(1, 3)) == undisturbed[5:]
