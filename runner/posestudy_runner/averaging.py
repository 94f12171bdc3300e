"""Weights averaged over the iterations (MMEngine's EMAHook), which are those a validation evaluates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper

State = dict[str, Any]


def evaluated(runner: Any) -> State:
    """The state_dict a validation of `runner` evaluates: the averaged one where there is one. Call it outside one."""
    for hook in _averages(runner):
        averaged: State = hook.ema_model.module.state_dict()
        return averaged
    inner: torch.nn.Module = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return inner.state_dict()


def put(runner: Any, state: State) -> None:
    """Have `runner` predict by `state` from now on, also where it would exchange the weights for averaged ones."""
    (runner.model.module if is_model_wrapper(runner.model) else runner.model).load_state_dict(state)
    for hook in _averages(runner):
        hook.ema_model.module.load_state_dict(state)


def has_average(runner: Any) -> bool:
    """Whether validations of `runner` evaluate other weights than those that are trained."""
    return any(True for _ in _averages(runner))


def leave_validation(runner: Any) -> None:
    """Put the trained weights back where a validation that is given up has exchanged them for averaged ones."""
    for hook in _averages(runner):
        hook.after_val_epoch(runner)


def _averages(runner: Any) -> Iterator[Any]:
    for hook in runner.hooks:
        # Made before the run; a network that is only looked at has none.
        if isinstance(hook, EMAHook) and hasattr(hook, "ema_model"):
            yield hook
