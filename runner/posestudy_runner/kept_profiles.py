"""What `posestudy models profile` measured, kept in the home: the newest of each model, settings and device."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version

from posestudy import sealed_json
from posestudy.errors import PoseStudyError
from posestudy.home import Home
from posestudy.ledger.records import Json

_SAME = ("model", "keypoints", "input", "batch", "flip_test", "device_name", "threads")
"""What two profiles must have in common for the newer to replace the older."""


def kept(home: Home) -> list[Json]:
    """The profiles measured so far, oldest first; none where there is no file, or one that is damaged."""
    rows = (sealed_json.read(home.profiles) or {}).get("profiles", [])
    known = [row for row in rows if isinstance(row, dict) and all(key in row for key in _SAME)]
    return sorted(known, key=lambda row: str(row.get("date", "")))


def of_model(rows: list[Json], name: str, input_size: tuple[int, int], keypoints: int) -> list[Json]:
    """Those of `rows` that are of this network."""
    wanted = {"model": name, "input": list(input_size), "keypoints": keypoints}
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def keep(home: Home, profile: Json) -> Json:
    """Add to `profile` when and with which torch it was measured, and keep it in place of an older one; returns it.

    Raises:
        PoseStudyError: the home cannot be written.
    """
    dated = {**profile, "date": datetime.now(UTC).isoformat(timespec="seconds"), "torch": version("torch")}
    rows = [row for row in kept(home) if any(row[key] != dated[key] for key in _SAME)]
    try:
        sealed_json.write(home.profiles, {"profiles": [*rows, dated]})
    except OSError as error:
        raise PoseStudyError(f"cannot write {home.profiles}: {error.strerror}") from error
    return dated
