"""Packages that only some studies need, asked for before the first trial instead of failing in each."""

from __future__ import annotations

import importlib.util
from typing import Any

from posestudy.errors import MissingPieceError
from posestudy_studies.spec import Study


def check_packages(study: Study) -> None:
    """Raises MissingPieceError where the study turns a knob whose package is not installed."""
    document = study.model_dump(mode="json")
    used = _turned([document["baseline"], document["stages"]], "albumentations")
    if used and importlib.util.find_spec("albumentations") is None:
        raise MissingPieceError(
            "the study augments with augmentation.albumentations, but the package albumentations is not installed; "
            "run `pip install albumentations`"
        )


def _turned(value: Any, knob: str) -> bool:
    if isinstance(value, list):
        return any(_turned(item, knob) for item in value)
    if not isinstance(value, dict):
        return False
    return any((knob in name.split(".") and item is not None) or _turned(item, knob) for name, item in value.items())
