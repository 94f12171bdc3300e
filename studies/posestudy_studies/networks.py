"""Knobs of the network: where it comes from, its backbone's arguments, its head and its codec."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from posestudy.errors import nearest
from posestudy_studies.fields import Count, Model, check_arguments, check_module, refuse

Modules = Annotated[
    list[Annotated[str, AfterValidator(check_module)]],
    Field(description="Python modules to import first, which is running them; they register what is not MMPose's."),
]
BROUGHT = ("custom_hooks", "paramwise_cfg", "clip_grad", "constructor")


class ConfigFile(Model):
    """A model taken from an MMPose config file. That file is Python: it is trusted like code."""

    config: str = Field(description="Path of an MMPose 1.x config file; relative to the study file.", min_length=1)
    imports: Modules = Field(default_factory=list)
    brings: list[Literal["custom_hooks", "paramwise_cfg", "clip_grad", "constructor"]] = Field(
        default_factory=list,
        description="What else than the model the file is meant to bring into training; anything undeclared that "
        "differs from the stage's baseline is a leak, which `check` reports.",
    )


class BackboneModel(Model):
    """Any backbone that MMPose or an imported module registers, with the study's head on it."""

    backbone: dict[str, Any] = Field(description="`{type: SCNet, depth: 50}`: its class and arguments.")
    channels: Count = Field(description="Channels of the backbone's last features.")
    stride: Literal[1, 2, 4, 8, 16, 32, 64] = Field(description="Input pixels per pixel of the last features.")
    imports: Modules = Field(default_factory=list)

    @field_validator("backbone")
    @classmethod
    def _typed(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("type"), str) or not value["type"]:
            raise refuse(str(value), "a mapping with `type`, the class name of the backbone, as {type: SCNet}")
        check_arguments(value, "backbone")
        return value


class BackboneArguments(Model):
    """Arguments of a preset's backbone; null leaves its own. Each family takes its own of them."""

    frozen_stages: int | None = Field(None, ge=-1, le=4, description="Stages not trained: -1 none, 0 the stem.")
    norm_eval: bool | None = Field(None, description="Keep the running statistics of batch normalisation.")
    zero_init_residual: bool | None = Field(None, description="Start each residual branch at zero.")
    with_cp: bool | None = Field(None, description="Recompute activations in the backward pass to save memory.")
    deep_stem: bool | None = Field(None, description="ResNet, ResNeSt: three 3x3 convolutions as stem.")
    avg_down: bool | None = Field(None, description="ResNet, ResNeSt: shrink shortcuts by average pooling.")
    style: Literal["pytorch", "caffe"] | None = Field(
        None, description="ResNet, ResNeSt: stride in the 3x3 (pytorch) or the first 1x1 convolution (caffe)."
    )
    radix: Literal[1, 2, 4] | None = Field(None, description="ResNeSt: splits of each group.")
    groups: Literal[1, 2, 4, 8, 16, 32] | None = Field(None, description="ResNeSt: groups of each block.")
    reduction_factor: Literal[1, 2, 4, 8, 16] | None = Field(
        None, description="ResNeSt: how much attention narrows its channels."
    )
    avg_down_stride: bool | None = Field(None, description="ResNeSt: stride by average pooling after the block.")

    def given(self) -> dict[str, Any]:
        """The arguments that are not left to the backbone."""
        return self.model_dump(mode="json", exclude_none=True)


class Head(Model):
    """Deconvolutions between the backbone and the last layer, each doubling width and height."""

    deconv_channels: Count | list[Count] | None = Field(
        None,
        description="Channels of each deconvolution: a list, whose length then says how many there are, or one "
        "number for all. null leaves the preset's.",
    )
    deconv_kernel: Literal[2, 3, 4] = Field(4, description="Kernel size of each deconvolution, px.")

    @field_validator("deconv_channels")
    @classmethod
    def _few(cls, value: int | list[int] | None) -> int | list[int] | None:
        if isinstance(value, list) and len(value) > 4:
            raise refuse(f"{len(value)} deconvolutions", "at most 4")
        return value


CODECS: dict[str, frozenset[str]] = {
    "msra": frozenset({"unbiased"}),
    "udp": frozenset(),
    "megvii": frozenset({"kernel_size"}),
    "simcc": frozenset({"split_ratio", "smoothing"}),
    "regression": frozenset(),
}
"""The codecs a study may name, each with the keys it takes."""


class Codec(Model):
    """How keypoints become what the network is trained to give, and back."""

    type: str = Field(
        "msra",
        description="msra, udp or megvii (heatmaps), simcc (one distribution per axis), regression (coordinates).",
        json_schema_extra={"enum": list(CODECS)},
    )
    unbiased: bool = Field(False, description="msra: DARK, unbiased targets and sub-pixel decoding.")
    kernel_size: int = Field(11, ge=3, le=63, description="megvii: width of the blurred target, heatmap px, odd.")
    split_ratio: float = Field(2.0, gt=0, le=8, description="simcc: bins per input pixel.")
    smoothing: float | None = Field(
        None, gt=0, lt=1, description="simcc: label smoothing of this weight instead of a Gaussian of `sigma` bins."
    )

    @field_validator("type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in CODECS:
            raise refuse(repr(value), f"one of {', '.join(CODECS)}", nearest(value, CODECS))
        return value

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise refuse(str(value), "an odd number of pixels")
        return value

    @model_validator(mode="after")
    def _arguments(self) -> Codec:
        for name, field in type(self).model_fields.items():
            if name == "type" or name in CODECS[self.type] or getattr(self, name) == field.default:
                continue
            owner = next(codec for codec, keys in CODECS.items() if name in keys)
            keys = ", ".join(sorted(CODECS[self.type])) or "no further key"
            raise refuse(f"{name}: {getattr(self, name)}", f"{keys} with codec {self.type}", f"{name} is of {owner}")
        return self

    @property
    def has_heatmaps(self) -> bool:
        """Whether the network gives heatmaps."""
        return self.type in ("msra", "udp", "megvii")


def _as_codec(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


CodecField = Annotated[Codec, BeforeValidator(_as_codec, json_schema_input_type=str | Codec)]
"""A codec, or its name alone."""
