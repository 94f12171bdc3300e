"""Every number of a report with its address: the file that tells a reader and `posestudy verify` where each is from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

from posestudy.durable import sha256_file
from posestudy.ledger.records import Json, TrialRecord
from posestudy_reports.addressed import Number, Text, numbers_in

if TYPE_CHECKING:
    from posestudy_reports.report import StudyReport

FORMAT: Final = 1
"""Of the file; grows when a reader of it would have to change."""
FROM_THE_LEDGER: Final = "from the ledger"
"""Part of the formula of a number that no predictions stand behind."""


def collected(*things: Any) -> dict[str, Number]:
    """The numbers in texts anywhere inside these tables, sections and sentences, by address, in order of first use.

    Raises:
        RuntimeError: two numbers have one address, which no user can bring about.
    """
    found: dict[str, Number] = {}
    for number in _walk(things):
        before = found.setdefault(number.address, number)
        if before.text != number.text:
            raise RuntimeError(f"{number.address} is {before.text} in one place and {number.text} in another")
    return found


def _walk(thing: Any) -> Iterator[Number]:
    if isinstance(thing, Text):
        yield from numbers_in([thing])
    elif isinstance(thing, Number):
        yield thing
    elif is_dataclass(thing) and not isinstance(thing, type):
        for field in fields(thing):
            yield from _walk(getattr(thing, field.name))
    elif isinstance(thing, Mapping):
        for value in thing.values():
            yield from _walk(value)
    elif isinstance(thing, Sequence) and not isinstance(thing, (str, bytes)):
        for value in thing:
            yield from _walk(value)


def number_file(report: StudyReport, files: Sequence[str]) -> bytes:
    """`numbers.json`: `{"format", "study", "disk_bytes", "own_text", "files": [path], "numbers": {address: {"text",
    "value", "formula", "trials": [uid]}}, "trials": {uid: {"number", "mlflow_run", "predictions",
    "best_predictions"}}}`.

    Predictions are told by their sha256, null where there are none. `files` are those beside it that quote the numbers.
    """
    numbers = report.numbers
    used = dict.fromkeys(uid for number in numbers.values() for uid in number.uids)
    trials = {t.uid: t for t in report.result.snapshot.trials}
    document = {
        "format": FORMAT,
        "study": report.name,
        "disk_bytes": report.disk_bytes,
        "own_text": str(report.text_folder.resolve()) if report.text_folder else None,
        "files": sorted(files),
        "numbers": {address: _row(number) for address, number in numbers.items()},
        "trials": {uid: trial_row(report, trials[uid]) for uid in used if uid in trials},
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _row(number: Number) -> Json:
    return {
        "text": number.text,
        "value": number.value,
        "formula": number.formula,
        "trials": list(number.uids),
    }


def same_row(row: Mapping[str, Any], number: Number) -> bool:
    """Whether the file's row is that of `number`; values up to what another machine rounds otherwise."""
    now, value = _row(number), row.get("value")
    if not isinstance(value, (int, float)):
        return False
    return {**now, "value": 0} == {**row, "value": 0} and math.isclose(value, number.value, rel_tol=1e-6, abs_tol=1e-9)


def trial_row(report: StudyReport, trial: TrialRecord) -> Json:
    """What the file says of a trial, as its predictions are now."""
    material = report.material
    files = {"predictions": material.predictions(trial), "best_predictions": material.best_predictions(trial)}
    return {
        "number": trial.number,
        "mlflow_run": report.result.runs.get(trial.uid),
        **{name: sha256_file(path) if path else None for name, path in files.items()},
    }
