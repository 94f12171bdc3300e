"""Knobs of augmentation, in the terms of MMPose 0.x, which the literature's tables are written in."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, Strict, field_validator

from posestudy_studies.fields import Model, Probability, check_arguments, refuse

Range = Annotated[tuple[float, float], Strict(False)]


class Flip(Model):
    """Mirror the image left to right, exchanging left and right keypoints."""

    prob: Probability = Field(0.5, description="Probability per sample, 0 to 1.")


class ScaleRotation(Model):
    """Rotate and scale the box at random before it is cut out."""

    rotation: float = Field(40.0, ge=0, le=180, description="Rotation factor in degrees, as in MMPose 0.x.")
    scale: float = Field(0.5, ge=0, lt=1, description="The box is scaled by 1 - scale to 1 + scale.")
    prob: Probability = Field(0.6, description="Probability of a rotation per sample, 0 to 1.")
    shift: float = Field(0.0, ge=0, le=1, description="Shift factor, a share of the box, as in MMPose 1.x.")
    shift_prob: Probability = Field(0.0, description="Probability of such a shift per sample, 0 to 1.")


class HalfBody(Model):
    """Cut out the upper or the lower half of the body instead of the box."""

    min_keypoints: int = Field(
        8, ge=0, description="Only instances with more visible keypoints than this, as in MMPose 0.x."
    )
    prob: Probability = Field(0.3, description="Probability per such instance, 0 to 1.")
    upper_prob: Probability = Field(0.7, description="Probability of the upper half where both have keypoints enough.")
    padding: float = Field(1.5, gt=0, le=10, description="The new box is this times what the keypoints span.")


class Translation(Model):
    """Shift the box by a uniform share of its padded size, horizontally and vertically by themselves."""

    factor: float = Field(0.15, ge=0, le=1, description="Largest shift, a share of the padded box.")
    prob: Probability = Field(1.0, description="Probability per sample, 0 to 1.")


class Step(Model):
    """One transform of Albumentations; further keys are its arguments."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        min_length=1, pattern=r"^[A-Z]\w*$", description="Class name in albumentations, as MotionBlur; or OneOf."
    )


class Albumentations(Model):
    """Pixel transforms of the package albumentations, which must be installed."""

    transforms: list[Step] = Field(min_length=1, description="Transforms in order, each `{type: NAME, p: 0.5, ...}`.")

    @field_validator("transforms")
    @classmethod
    def _plain(cls, value: list[Step]) -> list[Step]:
        for step in value:
            p = (step.model_extra or {}).get("p", 0.5)
            if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
                raise refuse(f"p: {p!r} of {step.type}", "a probability from 0 to 1")
            check_arguments(step.model_extra or {}, step.type)
        return value

    def plain(self) -> list[dict[str, Any]]:
        """The transforms as MMPose takes them."""
        return [step.model_dump(mode="json") for step in self.transforms]


class Photometric(Model):
    """Change brightness, contrast, saturation and hue, each with probability one half, as MMPose 0.x did."""

    brightness: int = Field(32, ge=0, le=255, description="Largest change of brightness, of 255.")
    contrast: Range = Field((0.5, 1.5), description="[lowest, highest] factor of contrast.")
    saturation: Range = Field((0.5, 1.5), description="[lowest, highest] factor of saturation.")
    hue: int = Field(18, ge=0, le=90, description="Largest change of hue, in OpenCV's units of 2 degrees.")

    @field_validator("contrast", "saturation")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] <= value[1]:
            raise refuse(str(list(value)), "[lowest, highest], both 0 or above")
        return value


class Augmentation(Model):
    """Random changes of training samples. What is left out or null is off; `{}` takes the defaults."""

    flip: Flip | None = Field(None, description="Mirror left to right.")
    photometric: Photometric | None = Field(None, description="Change brightness, contrast, saturation and hue.")
    albumentations: Albumentations | None = Field(None, description="Pixel transforms of Albumentations.")
    half_body: HalfBody | None = Field(None, description="Cut out one half of the body.")
    scale_rotation: ScaleRotation | None = Field(None, description="Rotate and scale the box.")
    translation: Translation | None = Field(None, description="Shift the box.")
