"""Presets by name."""

from __future__ import annotations

import pytest

from posestudy.errors import NotFoundError
from posestudy_studies import presets


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="did you mean 'resnet18_thin'"):
        presets.preset("resnet18-thin")


def test_presets_cannot_be_changed_in_passing() -> None:
    with pytest.raises(TypeError):
        presets.preset("resnet50").backbone["depth"] = 18  # type: ignore[index]
