"""When a training process got where, and how much of it was the making of model and data sets."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner


def now() -> tuple[float, float]:
    """Seconds on the clock that all processes of a machine share, and CPU seconds of this process and its dead
    children."""
    spent = os.times()
    return time.monotonic(), spent.user + spent.system + spent.children_user + spent.children_system


class _First(Hook):  # type: ignore[misc]
    priority = "VERY_HIGH"

    def __init__(self, marks: dict[str, Any]) -> None:
        self._marks = marks

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if "first" not in self._marks:
            self._marks["first"] = now()


def install(file: Path) -> None:
    """From now on note of the runner in this process, and write to `file` when its training has ended:

    `first`, before the first iteration, and `trained`, after the last validation, as `now` tells them; `built`, seconds
    and CPU seconds that went into model and data sets before the first iteration.
    """
    marks: dict[str, Any] = {"built": (0.0, 0.0)}

    def counted(build: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            before = now()
            try:
                return build(*arguments, **options)
            finally:
                after, built = now(), marks["built"]
                if "first" not in marks:
                    marks["built"] = tuple(b + y - x for b, x, y in zip(built, before, after, strict=True))

        return timed

    Runner.build_model = counted(Runner.build_model)
    Runner.build_dataloader = staticmethod(counted(Runner.build_dataloader))
    train = Runner.train

    def clocked(runner: Any) -> Any:
        runner.register_hook(_First(marks))
        model = train(runner)
        marks["trained"] = now()
        file.write_text(json.dumps(marks))
        return model

    Runner.train = clocked
