"""The study file as models: what may stand in it, in which units, with which defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, field_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import CoreSchema, core_schema

from posestudy.errors import nearest
from posestudy.vocabulary import METRICS
from posestudy_studies.cluster import Cluster
from posestudy_studies.deadlines import Deadline
from posestudy_studies.designs.base import Design, Replicates
from posestudy_studies.designs.registry import designs
from posestudy_studies.evaluation import Evaluation
from posestudy_studies.fields import inside_root
from posestudy_studies.layouts import BoxFrom, layout
from posestudy_studies.report_tables import ReportTable
from posestudy_studies.stop_rules import Stop
from posestudy_studies.training import (
    Augmentation,
    ConfigFile,
    Count,
    Flip,
    Model,
    Optimizer,
    ScaleRotation,
    Schedule,
    Training,
    check_name,
    refuse,
)

__all__ = [
    "Augmentation", "Budget", "Checkpoints", "ConfigFile", "Dataset", "Evaluation", "Flip", "Floor", "Optimizer",
    "Replicates", "ReportOptions", "ScaleRotation", "Schedule", "Split", "Study", "Training",
]  # fmt: skip


class Split(Model):
    """One part of the data set."""

    annotations: str = Field(description="COCO keypoint JSON, relative to `root`.")
    images: str = Field(description="Folder of the images, relative to `root`.")

    _paths = field_validator("annotations", "images")(inside_root)


class Dataset(Model):
    """Images and COCO keypoint annotations under one folder."""

    keypoints: str = Field(
        description="cats, lspet or coco, a data set of MMPose as wflw or ap10k, or a YAML file relative to the study "
        "file."
    )
    root: str = Field(min_length=1, description="Folder of the data; a relative one starts at the current directory.")
    train: Split = Field(description="What is trained on.")
    val: Split = Field(description="What is validated on.")
    test: Split | None = Field(None, description="What is predicted for a hand-in; needs no ground truth.")
    box_from: BoxFrom | None = Field(
        None,
        description="What of an annotation its box is made of: `bbox`, or `center_scale`, the square of 200 x `scale` "
        "px around `center`; null: what MMPose does for the layout, center_scale for wflw, 300w, 300vw and aflw.",
    )
    fingerprint: SkipJsonSchema[str | None] = Field(
        None, description="sha256 of the data, filled in by `posestudy_studies.dataset.sealed`, never by hand."
    )

    @property
    def boxes_from(self) -> BoxFrom:
        """What of an annotation its box is made of."""
        return self.box_from or layout(self.keypoints).box_from


class Budget(Model):
    """Limits on time and memory."""

    gpu_hours: float | None = Field(
        None, gt=0, description="Device hours of the whole study; when they are spent no further trial starts."
    )
    deadline: Deadline | None = Field(
        None,
        description="When no further trial starts: a time after the first launch as `8h`, `90m` or `1d12h`, or a "
        "moment as `2027-03-01T18:00:00+01:00`.",
    )
    trial_hours: float | None = Field(None, gt=0, description="Hours of one trial; then its outcome is timed_out.")
    memory_mb: float | None = Field(
        None, ge=64, description="MiB one trial may take, of the GPU or on a CPU of the process; then out_of_memory."
    )


class Checkpoints(Model):
    """How often the state of a trial is saved."""

    min_interval_s: float = Field(
        0.0,
        ge=0,
        description="Seconds from one checkpoint to the next at least, so many at most are trained anew after a crash; "
        "0: after every epoch. The last epoch always has one, and so has whatever a pruner is asked of.",
    )


class Floor(Model):
    """What a trial must have reached by a given epoch, or its outcome is not_converged."""

    value: float = Field(description="The study's metric must be at least as good as this, ...")
    epoch: Count = Field(
        description="... at the first validation at or after this epoch; shorter trials are not held to it."
    )


class ReportOptions(Model):
    """What the report says about itself."""

    title: str | None = Field(None, max_length=300, description="Title; the study's name where it is left out.")
    authors: list[str] = Field(default_factory=list, max_length=50, description="Names under the title.")
    equivalence_margin: float | None = Field(
        None, gt=0, description="Two cells whose difference surely lies within this margin are called equivalent."
    )
    tables: list[ReportTable] = Field(
        default_factory=list,
        max_length=100,
        description="Tables in the order of the paper; the usual ones where empty.",
    )
    pages: int = Field(4, ge=1, le=100, description="The most pages of the PDF, without its supplement.")
    text: str | None = Field(
        None,
        min_length=1,
        description="Folder with your own text for the PDF, as introduction.md; a relative one starts at the current "
        "directory.",
    )
    supplement: list[str] = Field(
        default_factory=list, max_length=200, description="Tables and figures, by name, that stand in the supplement."
    )
    priorities: dict[str, Annotated[int, Field(ge=1, le=99)]] = Field(
        default_factory=dict,
        max_length=200,
        description="By name of a table or figure: what has the largest number goes to the supplement first.",
    )


Retention = Literal["best_and_last", "best", "all"]
DataPath = Literal["fast", "stock"]
FAST: DataPath = "fast"
STOCK: DataPath = "stock"


class _AnyDesign:
    """Choose the class of a stage by its `design` among the installed ones."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(design) for name, design in designs().items()}
        return core_schema.tagged_union_schema(choices, discriminator="design")


class Study(Model):
    """A study: one file, one MLflow experiment, one report."""

    study: str = Field(description="Name: letters, digits, '.', '_' and '-'.")
    description: str | None = Field(None, description="What is asked, in a sentence; printed in the report.")
    dataset: Dataset = Field(description="Images and annotations.")
    metric: str = Field(
        "coco/AP", description="The metric that is compared, carried and searched for; nme and epe are better where "
        "they are less.", json_schema_extra={"enum": list(METRICS)},
    )  # fmt: skip
    evaluation: Evaluation = Field(default_factory=Evaluation, description="How trained cells are evaluated.")
    baseline: Training = Field(description="The configuration the first stage starts from.")
    stages: list[Annotated[Design, _AnyDesign()]] = Field(min_length=1, description="What is tried, in order.")
    replicates: Replicates = Field(default_factory=Replicates, description="Seeds of every cell.")
    floor: Floor | None = Field(None, description="Below it a trial has not converged.")
    reuse: Literal["home", "study", "none"] = Field(
        "home",
        description="Whose finished cells are not trained again: any study's of the home, only this one's, none.",
    )
    budget: Budget | None = Field(None, description="Limits on time and memory.")
    stop: Stop = Field(default_factory=Stop, description="When results say that nothing more is to be won.")
    checkpoint: Checkpoints = Field(
        default_factory=Checkpoints, description="How often the state of a trial is saved; changes no result."
    )
    data_path: DataPath = Field(
        FAST,
        description="How images reach the network: `fast` (decoded once, warped in batches) or `stock` (MMPose's own "
        "pipeline); the same random numbers, images equal to one grey level.",
    )
    retention: Retention = Field(
        "best_and_last",
        description="What stays on the disk of a finished trial: the best weights and the last checkpoint, the best "
        "weights alone, or these and every epoch's checkpoint.",
    )
    report: ReportOptions = Field(default_factory=ReportOptions, description="Title and authors of the report.")
    cluster: Cluster | None = Field(
        None, description="What a cluster is asked for; changes no result. A `--profile FILE` has the same keys."
    )

    _name = field_validator("study")(check_name)

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, value: str) -> str:
        if value not in METRICS:
            raise refuse(repr(value), f"one of {', '.join(METRICS)}", nearest(value, METRICS))
        return value

    def replicates_of(self, stage: Design) -> Replicates:
        """The replicates of `stage`: its own, else the study's."""
        return stage.replicates or self.replicates

    def seeds(self, stage: Design) -> tuple[int, ...]:
        """The seeds of every cell of `stage`."""
        return tuple(self.replicates_of(stage).seeds)
