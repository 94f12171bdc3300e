"""The training configuration of one cell: every knob a study may turn, with its unit, range and default."""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from posestudy.errors import nearest


class Model(BaseModel):
    """Base of everything in a study file: no unknown keys, no silent conversions, finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, validate_default=False)


def refuse(found: str, expected: str, hint: str = "") -> PydanticCustomError:
    """An error that `posestudy_studies.check` turns into a Problem with exactly these words."""
    return PydanticCustomError("posestudy", "{expected}", {"found": found, "expected": expected, "hint": hint})


Pixels = Annotated[int, Strict(), Field(gt=0, le=8192)]
Count = Annotated[int, Strict(), Field(gt=0, le=1_000_000)]
Probability = Annotated[float, Strict(), Field(ge=0, le=1)]
NAME_RULE = "a name of at most 80 letters, digits, '.', '_' and '-', starting with a letter or digit"


def is_name(value: str) -> bool:
    """Whether `value` is safe as a folder and as a table row."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", value) is not None


def check_name(value: str) -> str:
    """`value` where it is a safe name; raises a pydantic error else."""
    if not is_name(value):
        raise refuse(repr(value), NAME_RULE)
    return value


_COMMON = frozenset({"weight_decay"})
_ADAM = _COMMON | {"betas", "eps"}
OPTIMIZERS: dict[str, frozenset[str]] = {
    "Adam": _ADAM | {"amsgrad"},
    "AdamW": _ADAM | {"amsgrad"},
    "Adamax": _ADAM,
    "NAdam": _ADAM | {"momentum_decay", "decoupled_weight_decay"},
    "RAdam": _ADAM | {"decoupled_weight_decay"},
    "SGD": _COMMON | {"momentum", "dampening", "nesterov"},
}
"""The optimizers of torch a study may name, each with the keyword arguments it takes beside `lr`."""


class ConfigFile(Model):
    """A model taken from an MMPose config file. That file is Python: it is trusted like code."""

    config: str = Field(description="Path of an MMPose 1.x config file; relative to the study file.", min_length=1)


class Optimizer(Model):
    """An optimizer of torch; further keys are its keyword arguments (`weight_decay`, `betas`, `momentum`, ...)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        "Adam", description="Class name in torch.optim: Adam, AdamW, Adamax, NAdam, RAdam or SGD.",
        json_schema_extra={"enum": list(OPTIMIZERS)},
    )  # fmt: skip
    lr: float = Field(gt=0, description="Learning rate after warm-up and before the first step, above 0.")

    @field_validator("type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in OPTIMIZERS:
            raise refuse(repr(value), f"one of {', '.join(OPTIMIZERS)}", nearest(value, OPTIMIZERS))
        return value

    @model_validator(mode="after")
    def _arguments(self) -> Optimizer:
        for name, value in (self.model_extra or {}).items():
            _check_argument(self.type, name, value)
        return self


def _check_argument(optimizer: str, name: str, value: Any) -> None:
    known = OPTIMIZERS[optimizer]
    if name not in known:
        expected = f"an argument of {optimizer}: lr, {', '.join(sorted(known))}"
        raise refuse(f"argument '{name}'", expected, nearest(name, known))
    if name in ("amsgrad", "nesterov", "decoupled_weight_decay"):
        good, expected = isinstance(value, bool), "true or false"
    elif name == "betas":
        good = isinstance(value, list) and len(value) == 2 and all(_number(v) and 0 <= v < 1 for v in value)
        expected = "two numbers from 0 to below 1"
    else:
        good, expected = _number(value) and value >= 0, "a number of 0 or above"
    if not good:
        raise refuse(f"{name}: {value!r}", f"{expected} for {name}")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Schedule(Model):
    """Learning rate over time: a linear warm-up in iterations, then steps at epochs."""

    warmup_iters: int = Field(0, ge=0, description="Iterations of linear warm-up; 0 for none.")
    warmup_ratio: float = Field(0.001, gt=0, le=1, description="Share of `lr` at the first iteration of the warm-up.")
    milestones: list[Count] = Field(
        default_factory=list, description="Epochs at which the rate is multiplied by `gamma`, increasing."
    )
    gamma: float = Field(0.1, gt=0, le=1, description="Factor of each step.")

    @field_validator("milestones")
    @classmethod
    def _increasing(cls, value: list[int]) -> list[int]:
        if any(b <= a for a, b in itertools.pairwise(value)):
            raise refuse(str(value), "epochs in increasing order, each once")
        return value


class Flip(Model):
    """Mirror the image left to right, exchanging left and right keypoints."""

    prob: Probability = Field(0.5, description="Probability per sample, 0 to 1.")


class ScaleRotation(Model):
    """Rotate and scale the box at random before it is cut out."""

    rotation: float = Field(40.0, ge=0, le=180, description="Rotation factor in degrees, as in MMPose 0.x.")
    scale: float = Field(0.5, ge=0, lt=1, description="The box is scaled by 1 - scale to 1 + scale.")
    prob: Probability = Field(0.6, description="Probability of a rotation per sample, 0 to 1.")


class Augmentation(Model):
    """Random changes of training samples. What is left out or null is off."""

    flip: Flip | None = Field(None, description="Mirror left to right; `{}` takes the defaults.")
    scale_rotation: ScaleRotation | None = Field(None, description="Rotate and scale; `{}` takes the defaults.")


def _kind_of_model(value: object) -> str:
    return "file" if isinstance(value, (dict, ConfigFile)) else "preset"


def _none_word(value: object) -> object:
    return None if value == "none" else value


class Training(Model):
    """How one cell is trained: the configuration that is hashed into its key."""

    model: Annotated[
        Annotated[str, Tag("preset")] | Annotated[ConfigFile, Tag("file")], Discriminator(_kind_of_model)
    ] = Field(description="A preset of `posestudy models list`, or `{config: FILE}` with an MMPose config.")
    init: Annotated[str | None, BeforeValidator(_none_word)] = Field(
        None,
        description="Weights to start from: `torchvision://resnet50`, a URL, a file beside the study file, or none.",
    )
    input_size: Annotated[tuple[Pixels, Pixels], Strict(False)] = Field(
        description="[width, height] of the network's input, px; multiples of the model's stride."
    )
    sigma: float = Field(2.0, gt=0, le=64, description="Standard deviation of the target Gaussian, heatmap px.")
    epochs: Count = Field(description="Training epochs.")
    validate_every: Count = Field(1, description="Epochs between validations; at most `epochs`.")
    batch_size: Count = Field(description="Samples per iteration.")
    optimizer: Optimizer = Field(description="Optimizer and learning rate.")
    schedule: Schedule = Field(default_factory=Schedule, description="Warm-up and steps of the learning rate.")
    augmentation: Augmentation = Field(default_factory=Augmentation, description="Random changes of training samples.")
    amp: Literal[True, False, "float16", "bfloat16"] = Field(
        False, description="Mixed precision: true (float16 on CUDA, bfloat16 on CPU), float16, bfloat16, or false."
    )

    @field_validator("model")
    @classmethod
    def _known_model(cls, value: str | ConfigFile) -> str | ConfigFile:
        if isinstance(value, str):
            from posestudy_studies import presets

            known = list(presets.names())
            if value not in known:
                raise refuse(repr(value), f"a preset ({', '.join(known)}) or {{config: FILE}}", nearest(value, known))
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        from posestudy_studies import presets

        stride = presets.preset(self.model).stride if isinstance(self.model, str) else 1
        if any(side % stride for side in self.input_size):
            raise refuse(
                f"input_size {list(self.input_size)}",
                f"multiples of {stride} px for {self.model}",
                f"its features are {stride} times smaller than its input, and the heatmap must fit them",
            )
        if self.validate_every > self.epochs:
            raise refuse(
                f"validate_every {self.validate_every} with epochs {self.epochs}",
                "validate_every of at most epochs, or the study's metric is never measured",
            )
        return self
