"""Knobs of the optimizer and of its learning rate over time."""

from __future__ import annotations

import itertools
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from posestudy.errors import nearest
from posestudy_studies.fields import Count, Model, is_number, refuse

_COMMON = frozenset({"weight_decay"})
_ADAM = _COMMON | {"betas", "eps"}
OPTIMIZERS: dict[str, frozenset[str]] = {
    "Adam": _ADAM | {"amsgrad"},
    "AdamW": _ADAM | {"amsgrad"},
    "Adamax": _ADAM,
    "NAdam": _ADAM | {"momentum_decay", "decoupled_weight_decay"},
    "RAdam": _ADAM | {"decoupled_weight_decay"},
    "SGD": _COMMON | {"momentum", "dampening", "nesterov"},
    "RMSprop": _COMMON | {"alpha", "eps", "momentum", "centered"},
    "Adagrad": _COMMON | {"lr_decay", "initial_accumulator_value", "eps"},
    "ASGD": _COMMON | {"lambd", "alpha", "t0"},
    "Adadelta": _COMMON | {"rho", "eps"},
}
"""The optimizers of torch a study may name, each with the keyword arguments it takes beside `lr`."""

_SWITCHES = frozenset({"amsgrad", "nesterov", "decoupled_weight_decay", "centered"})
_SHARES = frozenset({"rho"})
"""Arguments that torch takes from 0 to 1."""


class Optimizer(Model):
    """An optimizer of torch; further keys are its keyword arguments (`weight_decay`, `betas`, `momentum`, ...)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        "Adam", description=f"Class name in torch.optim: {', '.join(OPTIMIZERS)}.",
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
        arguments = self.model_extra or {}
        for name, value in arguments.items():
            _check_argument(self.type, name, value)
        if arguments.get("nesterov") and (not arguments.get("momentum") or arguments.get("dampening")):
            raise refuse("nesterov: true", "a momentum above 0 and no dampening with nesterov")
        return self


def _check_argument(optimizer: str, name: str, value: Any) -> None:
    known = OPTIMIZERS[optimizer]
    if name not in known:
        expected = f"an argument of {optimizer}: lr, {', '.join(sorted(known))}"
        raise refuse(f"argument '{name}'", expected, nearest(name, known))
    if name in _SWITCHES:
        good, expected = isinstance(value, bool), "true or false"
    elif name == "betas":
        good = isinstance(value, list) and len(value) == 2 and all(is_number(v) and 0 <= v < 1 for v in value)
        expected = "two numbers from 0 to below 1"
    elif name in _SHARES:
        good, expected = is_number(value) and 0 <= value <= 1, "a number from 0 to 1"
    else:
        good, expected = is_number(value) and value >= 0, "a number of 0 or above"
    if not good:
        raise refuse(f"{name}: {value!r}", f"{expected} for {name}")


class LrScaling(Model):
    """Linear scaling: the rate used is `lr` x samples per weight update / `base_batch_size`."""

    base_batch_size: Count = Field(description="Samples per weight update that `optimizer.lr` was chosen for.")


class Schedule(Model):
    """Learning rate over time: a linear warm-up, then steps at epochs or a cosine over all epochs."""

    type: Literal["step", "cosine"] = Field("step", description="Steps at `milestones`, or half a cosine.")
    warmup_iters: int = Field(
        0, ge=0, description="Weight updates of linear warm-up (iterations, where nothing is accumulated); 0 for none."
    )
    warmup_ratio: float = Field(0.001, gt=0, le=1, description="Share of `lr` at the first iteration of the warm-up.")
    milestones: list[Count] = Field(
        default_factory=list, description="step: epochs at which the rate is multiplied by `gamma`, increasing."
    )
    gamma: float = Field(0.1, gt=0, le=1, description="step: factor of each step.")
    stretch_from: Count | None = Field(
        None,
        description="step: the epochs that `milestones` were chosen for; with other `epochs` they move in proportion, "
        "rounded. null leaves them where they are.",
    )
    min_lr_ratio: float = Field(0.0, ge=0, le=1, description="cosine: share of `lr` that the cosine ends at.")

    @field_validator("milestones")
    @classmethod
    def _increasing(cls, value: list[int]) -> list[int]:
        if any(b <= a for a, b in itertools.pairwise(value)):
            raise refuse(str(value), "epochs in increasing order, each once")
        return value

    @model_validator(mode="after")
    def _of_its_type(self) -> Schedule:
        if self.type == "cosine" and self.milestones:
            raise refuse(
                f"type: cosine with milestones {self.milestones}",
                "milestones only with type: step",
                "set schedule.milestones to [] beside schedule.type, or the whole schedule",
            )
        if self.type == "step" and self.min_lr_ratio:
            raise refuse(f"min_lr_ratio {self.min_lr_ratio:g}", "min_lr_ratio only with type: cosine")
        return self

    def steps(self, epochs: int) -> list[int]:
        """The epochs, from 1, at which a training of `epochs` epochs takes its steps; two may fall together."""
        if self.stretch_from is None:
            return list(self.milestones)
        return [max(1, round(milestone * epochs / self.stretch_from)) for milestone in self.milestones]
