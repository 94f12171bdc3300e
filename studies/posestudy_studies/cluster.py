"""Where and under which limits a cluster runs the workers of a study: the key `cluster`, or a profile file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from posestudy_studies.fields import Model, check_name, refuse

_WORD = re.compile(r"[A-Za-z0-9_.:,=@%+*/\[\]()&|-]{1,300}", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,3})-)?(\d{1,4}):([0-5]\d):([0-5]\d)", re.ASCII)
_TIME = "hours as a number, or text as 12:00:00 or 1-12:00:00 (days-hours:minutes:seconds)"
DEFAULT_SIGNAL_S = 120


def check_word(value: str) -> str:
    """`value` where a batch system takes it as one word, so that it can add no line and no option of its own."""
    if not _WORD.fullmatch(value) or value.startswith("-"):
        raise refuse(repr(value), "one word of the batch system, without spaces")
    return value


def check_line(value: str) -> str:
    """`value` where it is one line; raises a pydantic error else."""
    if not value.strip() or any(ord(sign) < 32 and sign != "\t" for sign in value):
        raise refuse(repr(value), "one line of text")
    return value


def seconds(time: float | str) -> float:
    """`cluster.time` in seconds. Raises ValueError where it is no time."""
    if isinstance(time, int | float):
        return float(time) * 3600
    match = _CLOCK.fullmatch(time)
    if match is None:
        raise ValueError(time)
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + rest)


def _check_time(value: object) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    clock = isinstance(value, str) and _CLOCK.fullmatch(value)
    if not (number or clock) or not 0 < seconds(value) <= 365 * 86400:  # type: ignore[arg-type]
        raise refuse(repr(value), _TIME)
    return value


Word = Annotated[str, BeforeValidator(lambda value: check_word(value) if isinstance(value, str) else value)]
Line = Annotated[str, BeforeValidator(lambda value: check_line(value) if isinstance(value, str) else value)]


class Container(Model):
    """The image that a worker runs in."""

    image: Line = Field(description="File or address of the image, as its runtime takes it.")
    mounts: list[Word] = Field(
        default_factory=list,
        max_length=50,
        description="`SOURCE:TARGET` or `SOURCE:TARGET:ro`, absolute; home, data and study must be among them.",
    )
    runtime: Literal["apptainer", "singularity", "pyxis"] = Field(
        "apptainer", description="`apptainer` and `singularity` are called as programs; `pyxis` is Slurm's plugin."
    )
    python: Word = Field("python3", description="The Python of the image that has posestudy.")

    @field_validator("mounts")
    @classmethod
    def _are_mounts(cls, value: list[str]) -> list[str]:
        for mount in value:
            parts = mount.split(":")
            if not 2 <= len(parts) <= 3 or not all(part.startswith("/") for part in parts[:2]):
                raise refuse(repr(mount), "SOURCE:TARGET, both absolute", "as /scratch/cats:/data:ro")
        return value


class Cluster(Model):
    """What a batch system is asked for, for every worker. It is part of no cell's key."""

    partition: Word | None = Field(None, description="Partition or queue; several with commas.")
    account: Word | None = Field(None, description="Whom the hours are charged to.")
    qos: Word | None = Field(None, description="Quality of service.")
    gres: Word | None = Field(None, description="Devices of one worker, as gpu:1 or gpu:a100:2.")
    time: Annotated[float | str, BeforeValidator(_check_time)] | None = Field(
        None, description=f"The time limit of one job, after which it goes on as a new one: {_TIME}."
    )
    cpus: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="CPU cores of one worker.")
    mem_gb: Annotated[float, Field(gt=0, le=100_000)] | None = Field(None, description="GB of memory of one worker.")
    options: list[Line] = Field(
        default_factory=list,
        max_length=50,
        description="More options of the batch system, as --exclude=node7; Slurm's have two dashes.",
    )
    job_name: str | None = Field(None, description="Name in the queue; the study's where it is left out.")
    array: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Workers to submit; as many as the study has open trials where it is left out."
    )
    array_parallelism: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Workers that may run at a time; as many as get a place where it is left out."
    )
    signal_s: Annotated[int, Field(ge=5, le=65_535)] = Field(
        DEFAULT_SIGNAL_S,
        description="Seconds before the time limit at which a worker is told to save and give its trial back.",
    )
    setup: list[Line] = Field(
        default_factory=list, max_length=200, description="Shell lines before the worker starts, as `module load cuda`."
    )
    container: Container | None = Field(None, description="The image that workers run in; none where left out.")
    database: bool = Field(
        True,
        description="Whether nodes reach the ledger's database. Where they do not, a task of Slurm trains one trial, "
        "and `posestudy sync` collects what it wrote into the home.",
    )
    local_cache: Line | None = Field(
        None,
        description="Folder of a disk of the node for decoded images; $VARIABLES are those of the node, as "
        "$TMPDIR/posestudy.",
    )
    template: str | None = Field(
        None, min_length=1, description="File of a job script for `--engine script`; beside the study or profile file."
    )
    submit: Line | None = Field(None, description="The command that submits a job script for `--engine script`.")

    @property
    def slurm_memory(self) -> str | None:
        """`mem_gb` as Slurm takes it, in whole MiB; at least one, since 0 would be all of the node's."""
        return None if self.mem_gb is None else f"{max(1, round(self.mem_gb * 1024))}M"

    @field_validator("job_name")
    @classmethod
    def _is_name(cls, value: str | None) -> str | None:
        return value if value is None else check_name(value)

    @field_validator("local_cache")
    @classmethod
    def _is_of_the_node(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("/", "$", "~")):
            raise refuse(repr(value), "an absolute folder or one of a $VARIABLE", "as $TMPDIR/posestudy")
        return value

    @field_validator("options")
    @classmethod
    def _are_options(cls, value: list[str]) -> list[str]:
        for option in value:
            if not option.startswith("-"):
                raise refuse(repr(option), "an option with its dashes, as --exclude=node7")
        return value

    @model_validator(mode="after")
    def _leaves_time_to_train(self) -> Cluster:
        limit = self.time_s
        # A job that is told to save before it has trained anything would go back into the queue for ever.
        if limit is not None and 2 * self.signal_s > limit:
            raise refuse(
                f"signal_s: {self.signal_s} with a time limit of {limit:g} s",
                "a signal in the second half of a job's time",
                "lower signal_s or raise time",
            )
        return self

    @property
    def time_s(self) -> float | None:
        """The time limit of one job, seconds; None where the batch system decides."""
        return None if self.time is None else seconds(self.time)


def contained(command: Sequence[str], container: Container | None, *, gpus: bool) -> list[str]:
    """`command` as it is called in `container`; as it is without one, and where Slurm's plugin starts the image.

    Args:
        gpus: whether the image may use the node's GPUs.
    """
    if container is None or container.runtime == "pyxis":
        return list(command)
    mounts = [word for mount in container.mounts for word in ("--bind", mount)]
    return [container.runtime, "exec", *(["--nv"] if gpus else []), *mounts, container.image, *command]
