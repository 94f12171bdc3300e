"""A network by name. The module imports no torch: `posestudy check` reads it."""

from __future__ import annotations

from types import MappingProxyType

from posestudy_studies.presets.preset import Preset

PLAIN_TINY = Preset(
    name="plain_tiny",
    family="Plain",
    backbone=MappingProxyType({"type": "PlainBackbone", "channels": (8, 16, 32)}),
    channels=32,
    stride=8,
    multiple=8,
    deconvolutions=(32,),
    arguments=frozenset(),
    imports=("posestudy_example.plain_backbone",),
)
