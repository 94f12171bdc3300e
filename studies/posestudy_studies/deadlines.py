"""When a study is to end: so long after it was first launched, or at a moment of the calendar."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator

from posestudy.ledger.records import Json, Snapshot
from posestudy_studies.fields import refuse

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0}
_LONGEST_S = 100 * 366 * 86400.0
_DURATION = re.compile(r"(?=\d)(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?")
_EXPECTED = "a time after the first launch as '8h', '90m' or '1d12h', or a moment with its zone"


def _checked(text: str) -> str:
    duration = _duration_s(text)
    if duration is not None:
        if not 0 < duration <= _LONGEST_S:
            raise refuse(repr(text), f"{_EXPECTED}; at most 100 years" if duration else _EXPECTED)
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise refuse(repr(text), f"{_EXPECTED} as '2027-03-01T18:00:00+01:00'") from None
    if moment.tzinfo is None:
        raise refuse(repr(text), _EXPECTED, f"did you mean '{moment.isoformat()}Z', which is UTC?")
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise refuse(repr(text), f"{_EXPECTED} in the years 1 to 9999, in UTC as well") from None
    return text


Deadline = Annotated[str, AfterValidator(_checked)]


def _duration_s(text: str) -> float | None:
    found = _DURATION.fullmatch(text)
    return None if found is None else sum(_SECONDS[unit] * int(count or 0) for unit, count in found.groupdict().items())


def of(document: Json) -> str | None:
    """`budget.deadline` of a study's document, as it is written there."""
    budget: Any = document.get("budget")
    return budget.get("deadline") if isinstance(budget, dict) else None


def moment(deadline: str, created: float) -> float:
    """Seconds since the epoch; `created` is when the ledger first had the study, so a later launch moves nothing."""
    duration = _duration_s(deadline)
    return datetime.fromisoformat(deadline).timestamp() if duration is None else created + duration


def of_study(snapshot: Snapshot) -> float | None:
    """When the study is to end, in seconds since the epoch; None: it has no deadline."""
    deadline = of(snapshot.study.document)
    return None if deadline is None else moment(deadline, snapshot.study.created)


def shown(seconds: float) -> str:
    """A moment as people read it: `2027-03-01 17:00 UTC`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
