"""What the second table of a stage may show: networks, what they cost, how they were evaluated, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from posestudy.errors import nearest
from posestudy.vocabulary import METRICS
from posestudy_studies.fields import refuse

OF_NETWORKS: Final[Mapping[str, str]] = {
    "model": "name of the network",
    "input_size": "width and height of its input",
    "parameters": "of the network",
    "gflops": "multiply-adds of one image, in 1e9",
    "fps": "images a second",
    "latency": "milliseconds an image, median and 95th percentile",
    "peak_memory": "of training",
    "train_time": "of training",
    "score_mode": "how instances were scored",
    "boxes": "where their boxes came from",
    "flip_test": "whether the mirror image was averaged in",
}
"""The columns that are no metric, each with what it holds."""


def names() -> tuple[str, ...]:
    """Every column a stage may ask for."""
    return (*OF_NETWORKS, *METRICS)


def _known(name: str) -> str:
    if name not in names():
        raise refuse(repr(name), f"one of {', '.join(names())}", nearest(name, names()))
    return name


def _distinct(value: list[str]) -> list[str]:
    twice = next((name for name in value if value.count(name) > 1), None)
    if twice:
        raise refuse(f"{twice!r} {value.count(twice)} times", "every column once")
    return value


Column = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(names())})]
ColumnsField = Annotated[
    list[Column],
    AfterValidator(_distinct),
    Field(
        description="A second table of the stage with these columns, as model zoos have: "
        + "; ".join(f"{name} ({what})" for name, what in OF_NETWORKS.items())
        + "; or any metric, at the last epoch.",
    ),
]
"""Names of columns, each known and once."""
