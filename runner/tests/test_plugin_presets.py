"""Every preset builds in MMPose, and its head gives heatmaps of the size the codec says."""

from __future__ import annotations

import pytest
import torch
from mmpose.registry import MODELS

import posestudy_runner.plugin  # noqa: F401  (before mmpose, which does not import without it)
from posestudy_studies import presets


@pytest.mark.slow
@pytest.mark.parametrize("name", presets.names())
def test_head_gives_heatmaps_of_a_quarter_of_the_input(name: str) -> None:
    import mmpose.models  # noqa: F401

    chosen = presets.preset(name)
    width, height = 3 * chosen.stride, 2 * chosen.stride
    backbone = MODELS.build(dict(chosen.backbone))
    head = MODELS.build({**chosen.head, "out_channels": 17})
    with torch.no_grad():
        heatmaps = head(backbone(torch.zeros(2, 3, height, width)))
    assert heatmaps.shape == (2, 17, height // presets.HEATMAP_STRIDE, width // presets.HEATMAP_STRIDE)
