"""HRNet: features at a quarter of the input's size, so that no deconvolution follows."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from posestudy_studies.presets.preset import ANY_BACKBONE, POSE_WEIGHTS, Preset

WEIGHTS = {32: f"{POSE_WEIGHTS}hrnet_w32-36af842e.pth", 48: f"{POSE_WEIGHTS}hrnet_w48-8ef0771d.pth"}
"""ImageNet weights by the width of the first branch."""


def stages(width: int, modules: Sequence[int], blocks: int, stem: tuple[int, int]) -> dict[str, Any]:
    """The stages of an HRNet whose branch of the highest resolution has `width` channels.

    Args:
        modules: exchange modules of stage 2 and those after it.
        blocks: residual blocks per branch and module.
        stem: blocks and channels of the first stage.
    """
    made: dict[str, Any] = {
        "stage1": {
            "num_modules": 1,
            "num_branches": 1,
            "block": "BOTTLENECK",
            "num_blocks": stem[:1],
            "num_channels": stem[1:],
        }
    }
    for stage, number in enumerate(modules, start=2):
        made[f"stage{stage}"] = {
            "num_modules": number,
            "num_branches": stage,
            "block": "BASIC",
            "num_blocks": (blocks,) * stage,
            "num_channels": tuple(width << branch for branch in range(stage)),
        }
    return made


def _hrnet(name: str, family: str, width: int, extra: dict[str, Any], weights: str | None = None) -> Preset:
    return Preset(
        name=name,
        family=family,
        backbone=MappingProxyType({"type": "HRNet", "in_channels": 3, "extra": extra}),
        channels=width,
        stride=4,
        # The lowest of its four branches is 32 times smaller than the input, and is scaled up again.
        multiple=32,
        deconvolutions=(),
        arguments=ANY_BACKBONE,
        weights=weights,
    )


PRESETS = (
    _hrnet("hrnet_w32", "HRNet", 32, stages(32, (1, 4, 3), 4, (4, 64)), WEIGHTS[32]),
    _hrnet("hrnet_w48", "HRNet", 48, stages(48, (1, 4, 3), 4, (4, 64)), WEIGHTS[48]),
    _hrnet("hrnet_tiny", "HRNet, thin", 8, stages(8, (1, 1, 1), 1, (1, 16))),
)
