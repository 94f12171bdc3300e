"""The JSON Schema of a study file, for editors to complete and check while one is written."""

from __future__ import annotations

from typing import Any

from posestudy_studies.spec import Study


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the study file with all installed designs."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Study.model_json_schema(mode="validation"),
        "title": "posestudy study",
    }
