"""What a study file says of the tables of its report: their form, rows, columns and words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

from pydantic import Field, field_validator

from posestudy_studies.designs import columns as of_networks
from posestudy_studies.fields import Model, check_name, refuse

Form = Literal["ablation", "zoo", "factors", "differences", "replicates"]
FORMS: Final[tuple[str, ...]] = get_args(Form)

_CELL: Final = {"cell": "the row's label"}
_VALUES: Final = {
    "final": "the study's metric at the last epoch",
    "best": "the study's metric at its best epoch",
}
OWN_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "ablation": {
        "number": "numbers of the trials",
        **_CELL,
        "policy": "what the row tries, in the author's words",
        "levels": "the factors that the stage varies, with their levels",
        "final": "`epoch: value` at the last epoch",
        "best": "`epoch: value` at the best epoch",
        "difference": "from the baseline of the stage",
        "time": "of training",
        "outcome": "how the trials ended",
    },
    "zoo": _CELL,
    "factors": {
        **_CELL,
        "factors": "a column for each factor",
        **_VALUES,
        "difference": "from the baseline of the stage",
    },
    "differences": {
        **_CELL,
        "difference": "from the baseline of the stage",
        "images": "interval over validation images",
        "seeds": "interval over seeds",
        "resolved": "what the intervals say",
        "equivalent": "whether they lie within the margin",
    },
    "replicates": {**_CELL, "seeds": "how many have a number", **_VALUES},
}
"""By form, the columns that belong to it, each with what it holds, in the order they stand in."""


def columns_of(form: str) -> tuple[str, ...]:
    """Every column a table of this form may have: its own, then those of networks and metrics."""
    own = tuple(OWN_COLUMNS[form])
    return own if form == "differences" else (*own, *of_networks.names())


class ReportTable(Model):
    """A table of the report."""

    form: Form = Field(
        description="ablation: a row per cell as `150: 0.485`; zoo: networks, costs and metrics; factors: a column per "
        "factor with check marks; differences: from the baseline, with intervals; replicates: mean and interval over "
        "seeds."
    )
    name: str = Field(description="Name of its files, unique in the report; a paper refers to it as `tab:NAME`.")
    stage: str | None = Field(None, description="The stage whose cells are the rows.")
    stages: list[str] = Field(
        default_factory=list, max_length=100, description="Several stages, as groups of rows; all where none is named."
    )
    rows: list[str] = Field(
        default_factory=list, max_length=1000,
        description="Cells in the order of the rows, as CELL or STAGE/CELL; all where it is left out.",
    )  # fmt: skip
    columns: list[str] = Field(
        default_factory=list, max_length=60, description="Columns in their order; the form's own where it is left out."
    )
    factors: list[str] = Field(
        default_factory=list, max_length=60,
        description="With the form factors: which factors have a column; all that differ where it is left out.",
    )  # fmt: skip
    title: str = Field("", max_length=300, description="Title in place of the computed one.")
    caption: str = Field("", max_length=3000, description="What stands over the table in print; else the title.")
    label: str = Field("", description="What LaTeX refers to it by; `tab:NAME` where it is left out.")
    priority: int = Field(20, ge=1, le=99, description="What has the largest number leaves a short paper first.")
    footnotes: bool = Field(True, description="Whether rows have footnotes.")

    _name = field_validator("name")(check_name)

    @field_validator("label")
    @classmethod
    def _safe(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,79}", value):
            raise refuse(repr(value), "at most 80 letters, digits, ':', '.', '_' and '-', as tab:zoo")
        return value
