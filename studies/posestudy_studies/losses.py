"""Knobs of the loss: which one the head is trained with, its weight and its arguments."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from posestudy.errors import nearest
from posestudy_studies.fields import Model, refuse

HEATMAP = ("msra", "udp", "megvii")
LOSSES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "mse": (frozenset(HEATMAP), frozenset()),
    "kl": (frozenset({"simcc"}), frozenset()),
    "smooth_l1": (frozenset({"regression"}), frozenset()),
    "l1": (frozenset({"regression"}), frozenset()),
    "wing": (frozenset({"regression"}), frozenset({"omega", "epsilon"})),
    "soft_wing": (frozenset({"regression"}), frozenset({"omega1", "omega2", "epsilon"})),
    "rle": (frozenset({"regression"}), frozenset({"residual", "distribution"})),
}
"""The losses a study may name, each with the codecs whose targets it compares and the keys it takes."""
USUAL = {**dict.fromkeys(HEATMAP, "mse"), "simcc": "kl", "regression": "smooth_l1"}
"""The loss of each codec where a study names none."""


class Loss(Model):
    """What the head is trained to make small."""

    type: str = Field(
        description="mse (heatmaps), kl (simcc), or with codec regression: smooth_l1, l1, wing, soft_wing, rle "
        "(residual log-likelihood estimation: the head also gives a spread, and a RealNVP learns the error's density).",
        json_schema_extra={"enum": list(LOSSES)},
    )
    weight: float = Field(1.0, gt=0, description="Factor of the loss; not of kl and rle.")
    omega: float = Field(10.0, gt=0, description="wing: where it turns from logarithm to line, in shares of the input.")
    omega1: float = Field(2.0, gt=0, description="soft_wing: where its first piece ends, in shares of the input.")
    omega2: float = Field(20.0, gt=0, description="soft_wing: height of its second piece.")
    epsilon: float | None = Field(None, gt=0, description="wing, soft_wing: curvature; null for MMPose's 2.0 and 0.5.")
    residual: bool = Field(True, description="rle: learn the difference to a simple density, not the whole density.")
    distribution: Literal["laplace", "gaussian"] = Field("laplace", description="rle: the simple density.")

    @field_validator("type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in LOSSES:
            raise refuse(repr(value), f"one of {', '.join(LOSSES)}", nearest(value, LOSSES))
        return value

    @model_validator(mode="after")
    def _arguments(self) -> Loss:
        keys = LOSSES[self.type][1]
        if self.type in ("kl", "rle") and self.weight != 1.0:
            raise refuse(f"weight: {self.weight:g}", f"no weight with loss {self.type}: MMPose's has none")
        for name, field in type(self).model_fields.items():
            if name in ("type", "weight") or name in keys or getattr(self, name) == field.default:
                continue
            owners = " and ".join(loss for loss, (_, known) in LOSSES.items() if name in known)
            expected = ", ".join(sorted(keys)) or "no further key"
            raise refuse(
                f"{name}: {getattr(self, name)}", f"{expected} with loss {self.type}", f"{name} is of {owners}"
            )
        return self

    def fits(self, codec: str) -> bool:
        """Whether it compares the targets of `codec`."""
        return codec in LOSSES[self.type][0]


def _as_loss(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


LossField = Annotated[Loss, BeforeValidator(_as_loss, json_schema_input_type=str | Loss)]
"""A loss, or its name alone."""


def config(loss: Loss) -> dict[str, Any]:
    """The loss as MMPose config. `rle` is of RLEHead, every other one of the codec's usual head."""
    common = {"use_target_weight": True}
    weight = {} if loss.weight == 1.0 else {"loss_weight": loss.weight}
    match loss.type:
        case "mse":
            return {"type": "KeypointMSELoss", **common, **weight}
        case "kl":
            return {"type": "KLDiscretLoss", **common}
        case "smooth_l1":
            return {"type": "SmoothL1Loss", **common, **weight}
        case "l1":
            return {"type": "L1Loss", **common, **weight}
        case "wing":
            return {"type": "WingLoss", "omega": loss.omega, "epsilon": loss.epsilon or 2.0, **common, **weight}
        case "soft_wing":
            shape = {"omega1": loss.omega1, "omega2": loss.omega2, "epsilon": loss.epsilon or 0.5}
            return {"type": "SoftWingLoss", **shape, **common, **weight}
        case _:
            kind = {"residual": loss.residual, "q_distribution": loss.distribution}
            return {"type": "RLELoss", **kind, **common}
