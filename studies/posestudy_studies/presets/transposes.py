"""TransPose (Yang et al., ICCV 2021): a transformer encoder over the features of a shortened ResNet or HRNet."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from posestudy_studies.presets import hrnets
from posestudy_studies.presets.preset import ANY_BACKBONE, Preset

FAMILY = "TransPose"
_OFFICIAL = "https://github.com/yangsenius/TransPose/releases/download/Hub/"


def _encoder(features: int, channels: int, feedforward: int, layers: int, heads: int) -> MappingProxyType[str, Any]:
    """The neck, before it is told its size; `features` are the channels it reduces to `channels`."""
    return MappingProxyType(
        {
            "type": "TransPoseEncoder",
            "in_channels": features,
            "d_model": channels,
            "dim_feedforward": feedforward,
            "num_layers": layers,
            "num_heads": heads,
        }
    )


def _on_resnet(name: str, layers: int) -> Preset:
    """TransPose-R: the first two of a ResNet-50's four stages, and one deconvolution behind the encoder."""
    return Preset(
        name=name,
        family=FAMILY,
        backbone=MappingProxyType(
            {
                "type": "ResNet",
                "depth": 50,
                "num_stages": 2,
                "strides": (1, 2),
                "dilations": (1, 1),
                "out_indices": (1,),
            }
        ),
        channels=256,
        stride=8,
        multiple=8,
        deconvolutions=(256,),
        arguments=ANY_BACKBONE,
        weights="torchvision://resnet50",
        official=f"{_OFFICIAL}tp_r_256x192_enc{layers}_d256_h1024_mh8.pth",
        encoder=_encoder(512, 256, 1024, layers, 8),
        stages=2,
        torch_defaults=True,
    )


def _on_hrnet(name: str, width: int, channels: int, layers: int) -> Preset:
    """TransPose-H: HRNet without its fourth stage; the encoder works at the heatmap's size."""
    return Preset(
        name=name,
        family=FAMILY,
        backbone=MappingProxyType({"type": "HRNetS", "extra": hrnets.stages(width, (1, 4), 4, (4, 64))}),
        channels=channels,
        stride=4,
        # The lowest of its three branches is 16 times smaller than the input.
        multiple=16,
        deconvolutions=(),
        arguments=ANY_BACKBONE,
        weights=hrnets.WEIGHTS[width],
        official=f"{_OFFICIAL}tp_h_{width}_256x192_enc{layers}_d{channels}_h{2 * channels}_mh1.pth",
        encoder=_encoder(width, channels, 2 * channels, layers, 1),
        stages=3,
    )


def _thin() -> Preset:
    """TransPose-R for a CPU: the thin ResNet's three stages at stride 8, two encoder layers, one deconvolution."""
    return Preset(
        name="transpose-r-thin",
        family=f"{FAMILY}, thin",
        backbone=MappingProxyType(
            {
                "type": "ResNet",
                "depth": 18,
                "stem_channels": 16,
                "base_channels": 16,
                "num_stages": 3,
                "strides": (1, 2, 1),
                "dilations": (1, 1, 1),
                "out_indices": (2,),
            }
        ),
        channels=32,
        stride=8,
        multiple=8,
        deconvolutions=(32,),
        arguments=ANY_BACKBONE,
        encoder=_encoder(64, 32, 64, 2, 4),
        stages=3,
    )


PRESETS = (
    _on_resnet("transpose-r-a3", 3),
    _on_resnet("transpose-r-a4", 4),
    _on_hrnet("transpose-h-s", 32, 64, 4),
    _on_hrnet("transpose-h-a4", 48, 96, 4),
    _on_hrnet("transpose-h-a6", 48, 96, 6),
    _thin(),
)
