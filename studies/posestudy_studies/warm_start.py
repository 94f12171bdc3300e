"""What a search knows before its first cell: results of other studies in the ledger, trained or imported, or its own.

A cell of another study is known where the space of the search and what its stage starts from give exactly its
configuration, data and evaluation (`posestudy_studies.cells.key`), and the metric is the same. What was taken is
written into the `optuna` JSON of the first cell that is asked for, so that later results elsewhere change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from posestudy.errors import PoseStudyError
from posestudy.ledger.records import CellRecord, Json, Snapshot
from posestudy.vocabulary import Outcome
from posestudy_studies import cells, factors
from posestudy_studies.designs.base import View
from posestudy_studies.designs.conditions import holds
from posestudy_studies.designs.search import Log, Search, Uniform, Whole, choice_text
from posestudy_studies.training import Training

if TYPE_CHECKING:
    from posestudy_studies.spec import Study

KEY = "warm_start"
BEGINS = "begins with"


@dataclass(frozen=True)
class _Known:
    """A cell elsewhere that answers a question of the search."""

    study: str
    stage: str
    cell: str
    uids: tuple[str, ...]
    value: float
    params: Json


def wanted(snapshot: Snapshot) -> tuple[str, ...]:
    """The studies whose results the open stage begins with, where it has not begun; imports nothing more."""
    last = max(snapshot.stages, key=lambda stage: stage.ordinal, default=None)
    stages = snapshot.study.document.get("stages") or []
    if last is None or last.state != "open" or last.design != "search" or last.ordinal >= len(stages):
        return ()
    mine = {cell.id for cell in snapshot.cells if cell.stage_id == last.id}
    if any(t.cell_id in mine and t.optuna.get("distributions") for t in snapshot.trials):
        return ()
    return tuple(stages[last.ordinal].get("warm_start") or ())


def taken(asked: Sequence[Json]) -> list[Json]:
    """What a search began with, a row for each known cell, by the `optuna` JSON of its sampled trials in order."""
    first = asked[0].get(KEY) if asked else None
    return list((first or {}).get("known") or ())


def record(search: Search, view: View) -> Json:
    """What the search begins with by the studies in `view.snapshot.elsewhere`, to be kept with its first cell."""
    from posestudy_studies.spec import Study

    study = Study.model_validate(view.snapshot.study.document)
    others = {other.study.name: other for other in (*view.snapshot.elsewhere, view.snapshot)}
    known: dict[str, _Known] = {}
    parts = []
    for name in search.warm_start:
        other = others.get(name)
        why = "is not in this home" if other is None else _unlike(study, other)
        if other is None or why is not None:
            parts.append(f"none of study '{name}', which {why}")
            continue
        parts.append(_take(study, search, view, other, known))
    rows = [
        {
            "study": one.study, "stage": one.stage, "cell": one.cell, "uids": list(one.uids), "value": one.value,
            "params": one.params,
        }
        for one in known.values()
    ]  # fmt: skip
    cells_known = f"{len(rows)} known cell{'' if len(rows) == 1 else 's'}"
    return {"known": rows, "told": f"{BEGINS} {cells_known}: {'; '.join(parts)}"}


def _unlike(study: Study, other: Snapshot) -> str | None:
    document = other.study.document
    if "dataset" not in document:
        return "was imported without a study file: what its cells are configured as is not known"
    fingerprint = (document.get("dataset") or {}).get("fingerprint")
    if not study.dataset.fingerprint or fingerprint != study.dataset.fingerprint:
        return "has other data"
    if document.get("metric") != study.metric:
        return f"has another metric ({document.get('metric')})"
    return None


def _take(study: Study, search: Search, view: View, other: Snapshot, known: dict[str, _Known]) -> str:
    """Add what `other` knows to `known`, by the key of the cell; returns how much that is, in words."""
    start = Training.model_validate(view.stage.start)
    stages = {stage.id: stage.name for stage in other.stages}
    new = valueless = differing = again = 0
    # The study's own name stands for its earlier stages.
    there = [cell for cell in other.cells if other is not view.snapshot or cell.stage_id != view.stage.id]
    for cell in there:
        params = None if cell.key in known else _params(study, search, view, start, cell)
        results = dict(_results(other, cell))
        if cell.key in known:
            again += 1
        elif params is None:
            differing += 1
        elif not results:
            valueless += 1
        else:
            new += 1
            value = math.fsum(results.values()) / len(results)
            known[cell.key] = _Known(
                other.study.name, stages[cell.stage_id], cell.name, tuple(results), value, params
            )  # fmt: skip
    left = [
        f"{count} {what}"
        for count, what in (
            (differing, "outside of the space or otherwise different"), (valueless, "without a value"),
            (again, "known already"),
        )
        if count
    ]  # fmt: skip
    told = f"{new} of {len(there)} of study '{other.study.name}'"
    return f"{told} ({', '.join(left)})" if left else told


def _results(snapshot: Snapshot, cell: CellRecord) -> Iterator[tuple[str, float]]:
    """By uid, the final values of a cell that are of its own configuration."""
    for trial in snapshot.trials:
        value = trial.final_value
        if trial.cell_id != cell.id or trial.outcome is not Outcome.COMPLETED or value is None:
            continue
        if math.isfinite(value) and not _built_elsewhere(trial.source):
            yield trial.uid, value


def _built_elsewhere(source: Json | None) -> bool:
    """Whether an imported result is of another configuration than its cell's, as its own study says in a footnote."""
    return source is not None and (bool(source.get("elsewhere")) or _built_elsewhere(source.get("source")))


def _params(study: Study, search: Search, view: View, start: Training, cell: CellRecord) -> Json | None:
    """What Optuna would have had to say for the search to ask for this configuration; None: it never could."""
    levels: Json = {}
    for factor in search.order():
        if not holds(search.when(factor), levels, view.stage.start):
            continue
        fits = _level(search, cell, factor)
        if not fits:
            return None
        levels[factor] = fits[0]
    try:
        training = factors.apply(start, levels)
    except PoseStudyError:
        return None
    if cells.key(study, training) != cell.key:
        return None
    return {factor: choice_text(level) for factor, level in levels.items()}


def _level(search: Search, cell: CellRecord, factor: str) -> list[Any]:
    """The level of the space that a cell has of `factor`, in a list; empty: there is none."""
    value, choices = _at(cell.config, factor), search.choices(factor)
    if choices is not None:
        return [choice for choice in choices if _same(_resolved(search, cell, factor, choice), value)][:1]
    dimension = search.space[factor]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    match dimension:
        case Log(log=(low, high)) | Uniform(uniform=(low, high)):
            return [float(value)] if low <= value <= high else []
        case Whole(int=(low, high)):
            # A factor of any numbers holds 3 as 3.0.
            return [int(value)] if value == int(value) and low <= value <= high else []
    return []


def _resolved(search: Search, cell: CellRecord, factor: str, choice: Any) -> Any:
    """What `factor` would be with this choice where all else is as in `cell`, other factors of the same group too."""
    levels = {factor: choice}
    if isinstance(choice, Mapping):
        inside = (other for other in search.space if other.startswith(f"{factor}."))
        levels |= {other: level for other in inside if (level := _at(cell.config, other)) is not None}
    try:
        return _at(factors.apply(Training.model_validate(cell.config), levels).model_dump(mode="json"), factor)
    except (PoseStudyError, ValidationError):
        return _NOTHING


_NOTHING = object()


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _at(config: Mapping[str, Any], factor: str) -> Any:
    found: Any = config
    for part in factor.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
