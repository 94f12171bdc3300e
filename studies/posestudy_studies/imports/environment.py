"""What MMPose says of the machine and the versions a run had, before its first line of training."""

from __future__ import annotations

import re
from typing import Any

from posestudy_studies.imports.logged_run import MAX_COUNT, Facts

_SEED_DIGITS = 10
_VERSIONS = {"PyTorch": "torch", "MMPose": "mmpose"}
_LINE = re.compile(r"^\s*([A-Za-z][\w.,/ ]*?)\s*:\s*(\S.*?)\s*$", re.MULTILINE)


def facts(text: str) -> Facts:
    """Versions, GPU and seed in the environment block of a log, under the names of `TrialRecord.provenance`."""
    found: dict[str, Any] = {}
    seed: int | None = None
    for name, value in _LINE.findall(text):
        if name in _VERSIONS:
            found.setdefault(_VERSIONS[name], value.split("+")[0] if name == "MMPose" else value)
        elif name.startswith("GPU 0"):
            found.setdefault("device_name", value)
        elif (
            name.lower() in ("seed", "random seed")
            and value.isdecimal()
            and len(value) <= _SEED_DIGITS
            and int(value) < MAX_COUNT
        ):
            seed = int(value)
    return Facts(seed=seed, provenance=found)
