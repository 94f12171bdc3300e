"""JSON files of posestudy's own that may be lost but never believed when they are damaged: each holds its checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posestudy.durable import write_text

_SEAL = "sha256"


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write `document`, and the SHA-256 of the rest under `sha256`, to `path`. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({**document, _SEAL: _checksum(document)}, indent=1, sort_keys=True))


def read(path: Path) -> dict[str, Any] | None:
    """What was written to `path`; None where it is gone, damaged, changed by hand or of another form."""
    try:
        document = json.loads(path.read_bytes())
        if not isinstance(document, dict) or document.pop(_SEAL, None) != _checksum(document):
            return None
    except (OSError, ValueError, RecursionError):
        return None
    return document


def _checksum(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
