"""The networks of `posestudy models`: by name, at an input size, for a number of keypoints; counted once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from posestudy import sealed_json
from posestudy.home import Home
from posestudy.ledger.records import Json
from posestudy_runner.models_files import resized
from posestudy_runner.work import Work
from posestudy_studies import network_config, recipes
from posestudy_studies.spec import Evaluation

if TYPE_CHECKING:
    import torch

KEYPOINTS = 17
"""Of COCO, which published figures are for."""


@dataclass(frozen=True)
class NamedModel:
    """A network of `posestudy models list`, with random weights.

    Attributes:
        input_size: (width, height), px.
        config: of MMPose's estimator.
    """

    name: str
    family: str
    input_size: tuple[int, int]
    keypoints: int
    config: Json

    @cached_property
    def key(self) -> str:
        """Differs where the network does."""
        text = json.dumps([self.config, self.input_size], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def build(self, device: torch.device) -> torch.nn.Module:
        """The estimator on `device`; on `meta` it has shapes only, else seeded random weights of a usual size."""
        from posestudy_runner import plugin  # isort: skip  # noqa: F401  (before MMPose)
        import torch
        from mmengine.logging import MMLogger
        from mmengine.registry import DefaultScope
        from mmpose.registry import MODELS

        shapes = device.type == "meta"
        logger = MMLogger.get_current_instance()
        level = logger.level
        # It logs how each parameter was started.
        logger.setLevel("ERROR")
        torch.manual_seed(0)
        try:
            with DefaultScope.overwrite_default_scope("mmpose"), torch.device(device if shapes else "cpu"):
                model: torch.nn.Module = MODELS.build(self.config)
                if not shapes:
                    # What a layer gives by default dies out over many of them, into numbers that a CPU is slow with.
                    model.init_weights()  # type: ignore[operator]
        finally:
            logger.setLevel(level)
        return model if shapes else model.to(device)


def named(name: str, size: str = "", keypoints: int = KEYPOINTS) -> NamedModel:
    """The model called `name`, at its recipe's input size or at `size`, as 192x256.

    Raises:
        PoseStudyError: no model is called so, or the size is none or does not fit it.
    """
    recipe = recipes.recipe(name)
    training = resized(recipe.training, size).model_copy(update={"init": None})
    made = network_config.network(Evaluation(), training, keypoints)
    width, height = training.input_size
    return NamedModel(name, recipe.family, (width, height), keypoints, made.model)


class Counts:
    """What was counted of networks, kept in the home for this torch and this posestudy.

    Args:
        home: the home; one that cannot be written is done without.
    """

    def __init__(self, home: Home) -> None:
        self._file = home.model_counts
        self._versions = {package: version(package) for package in ("torch", "posestudy")}
        self._known: dict[str, Json] = {}
        document = sealed_json.read(self._file)
        if document is not None and document.get("versions") == self._versions:
            self._known = dict(document.get("counts") or {})

    def missing(self, models: Sequence[NamedModel]) -> list[NamedModel]:
        """Those of `models` that are not counted yet."""
        return [model for model in models if model.key not in self._known]

    def of(self, model: NamedModel) -> Work:
        """The work of `model`, counted now where it was not before."""
        if model.key not in self._known:
            self._known[model.key] = _counted(model)
            self._save()
        return Work(**self._known[model.key])

    def _save(self) -> None:
        document = {"versions": self._versions, "counts": self._known}
        with suppress(OSError):
            sealed_json.write(self._file, document)


def _counted(model: NamedModel) -> dict[str, Any]:
    from posestudy_runner import plugin  # isort: skip  # noqa: F401  (before torch)
    import torch

    from posestudy_runner.counting import count

    return count(model.build(torch.device("meta")), model.input_size).document()
