"""The training configuration of one cell: every knob a study may turn, with its unit, range and default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Strict, Tag, field_validator, model_validator

from posestudy.errors import nearest
from posestudy_studies import addresses
from posestudy_studies.augmentation import (
    Albumentations,
    Augmentation,
    Flip,
    HalfBody,
    Photometric,
    ScaleRotation,
    Translation,
)
from posestudy_studies.evaluation import Evaluation, EvaluationChange
from posestudy_studies.fields import (
    NAME_RULE,
    Count,
    Epochs,
    Model,
    Pixels,
    Probability,
    Size,
    check_name,
    is_name,
    refuse,
)
from posestudy_studies.losses import LossField
from posestudy_studies.networks import BackboneArguments, BackboneModel, Codec, CodecField, ConfigFile, Head
from posestudy_studies.optimizers import OPTIMIZERS, LrScaling, Optimizer, Schedule

__all__ = [
    "NAME_RULE", "OPTIMIZERS", "Albumentations", "Augmentation", "BackboneArguments", "BackboneModel", "Codec",
    "ConfigFile", "Count", "Flip", "HalfBody", "Head", "LrScaling", "Model", "Optimizer", "Photometric", "Pixels",
    "Probability", "ScaleRotation", "Schedule", "Size", "Training", "Translation", "check_name", "is_name", "refuse",
]  # fmt: skip


def _kind_of_model(value: object) -> str:
    if isinstance(value, BackboneModel) or (isinstance(value, dict) and "backbone" in value):
        return "any backbone"  # no tag may be a key that stands in the file
    return "file" if isinstance(value, (dict, ConfigFile)) else "preset"


def _none_word(value: object) -> object:
    return None if value == "none" else value


class Training(Model):
    """How one cell is trained: the configuration that is hashed into its key."""

    model: Annotated[
        Annotated[str, Tag("preset")]
        | Annotated[ConfigFile, Tag("file")]
        | Annotated[BackboneModel, Tag("any backbone")],
        Discriminator(_kind_of_model),
    ] = Field(
        description="A preset such as `resnet50` or `hrnet_w32`, `{config: FILE}` with an MMPose config, or "
        "`{backbone: {type: ...}, channels: N, stride: N}` with any backbone of MMPose."
    )
    init: Annotated[str | None, BeforeValidator(_none_word)] = Field(
        None,
        description="Weights to start from: `torchvision://resnet50`, an https URL, a file beside the study file, "
        "or none.",
    )
    backbone: BackboneArguments = Field(
        default_factory=BackboneArguments, description="Arguments of the preset's backbone."
    )
    head: Head | None = Field(None, description="The head's deconvolutions; null for the preset's own.")
    input_size: Size = Field(description="[width, height] of the network's input, px; multiples of the model's stride.")
    heatmap_size: Size | None = Field(
        None,
        description="[width, height] of the heatmaps, px: the input's divided by a power of two that the head's "
        "deconvolutions can give. null follows `input_size` (a quarter, or what `head` gives).",
    )
    codec: CodecField = Field(
        default_factory=Codec, description="msra, udp, megvii, simcc, regression, or a mapping with its `type`."
    )
    loss: LossField | None = Field(
        None,
        description="mse, kl, smooth_l1, l1, wing, soft_wing, rle, or a mapping with its `type`; null is the codec's "
        "usual one: mse for heatmaps, kl for simcc, smooth_l1 for regression.",
    )
    sigma: float = Field(
        2.0, gt=0, le=64,
        description="Standard deviation of the target Gaussian, heatmap px (simcc: bins); megvii and regression "
        "have none.",
    )  # fmt: skip
    epochs: Epochs = Field(
        description="Training epochs; 0: `init` holds weights of the whole network, which is only evaluated."
    )
    validate_every: Count = Field(1, description="Epochs between validations; at most `epochs`, where there are any.")
    batch_size: Count = Field(description="Samples per iteration on each GPU, as in an MMPose config.")
    accumulate: Count = Field(
        1, description="Iterations whose gradients make one weight update of batch_size x gpus x accumulate samples."
    )
    gpus: Annotated[int, Strict(), Field(ge=1, le=64)] = Field(
        1, description="GPUs of one machine that train the cell together, each with `batch_size` samples an iteration."
    )
    sync_bn: Literal["auto", True, False] = Field(
        "auto",
        description="Batch statistics over the samples of all `gpus` (SyncBatchNorm): auto (wherever there are several "
        "GPUs), true, or false (each GPU's own samples).",
    )
    optimizer: Optimizer = Field(description="Optimizer and learning rate.")
    lr_scaling: LrScaling | None = Field(
        None, description="Scale the rate linearly with the samples per weight update; null uses `lr` as it is."
    )
    schedule: Schedule = Field(default_factory=Schedule, description="Warm-up and steps of the learning rate.")
    augmentation: Augmentation = Field(default_factory=Augmentation, description="Random changes of training samples.")
    amp: Literal[True, False, "float16", "bfloat16"] = Field(
        False, description="Mixed precision: true (float16 on CUDA, bfloat16 on CPU), float16, bfloat16, or false."
    )
    evaluation: EvaluationChange = Field(
        default_factory=EvaluationChange,
        description="What is evaluated otherwise than the study says; cells that differ only here are trained once.",
    )

    def evaluated(self, evaluation: Evaluation) -> Evaluation:
        """How this configuration is evaluated in a study that says `evaluation`."""
        return evaluation.changed(self.evaluation)

    @property
    def effective_batch_size(self) -> int:
        """Samples per weight update."""
        return self.iteration_size * self.accumulate

    @property
    def iteration_size(self) -> int:
        """Samples per iteration on all GPUs together."""
        return self.batch_size * self.gpus

    @property
    def synchronises_bn(self) -> bool:
        """Whether batch normalisation sees the samples of all GPUs, where there are GPUs."""
        return self.gpus > 1 and self.sync_bn is not False

    @property
    def learning_rate(self) -> float:
        """The optimizer's rate, scaled where `lr_scaling` says so."""
        if self.lr_scaling is None:
            return self.optimizer.lr
        return self.optimizer.lr * self.effective_batch_size / self.lr_scaling.base_batch_size

    @field_validator("init")
    @classmethod
    def _fetched_safely(cls, value: str | None) -> str | None:
        wrong = addresses.mistake(value) if value is not None else None
        if wrong is not None:
            raise refuse(*wrong)
        return value

    @field_validator("model")
    @classmethod
    def _known_model(cls, value: str | ConfigFile | BackboneModel) -> str | ConfigFile | BackboneModel:
        if isinstance(value, str):
            from posestudy_studies import presets

            known = list(presets.names())
            if value not in known:
                raise refuse(repr(value), f"a preset ({', '.join(known)}) or {{config: FILE}}", nearest(value, known))
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        from posestudy_studies import fitting

        try:
            fitting.check(self)
        except fitting.MisfitError as misfit:
            raise refuse(misfit.found, misfit.expected, misfit.hint) from misfit
        if self.epochs == 0 and self.init is None:
            raise refuse("epochs 0 without init", "init, the weights that are evaluated, where nothing is trained")
        if self.sync_bn is True and self.gpus == 1:
            raise refuse("sync_bn: true with gpus 1", "gpus of 2 or more with sync_bn: true", "auto fits any gpus")
        if self.validate_every > self.epochs > 0:
            raise refuse(
                f"validate_every {self.validate_every} with epochs {self.epochs}",
                "validate_every of at most epochs, or the study's metric is never measured",
            )
        return self
