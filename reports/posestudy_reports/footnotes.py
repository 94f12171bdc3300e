"""The footnotes of an ablation table: where a row came from, why it has no number, what its difference is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import METRICS, Direction, Metric, Outcome
from posestudy_reports import words
from posestudy_reports.results import CellResult, StageResult, StudyResult


class Footnotes:
    """Footnotes in order of first use, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def marks(self, texts: Sequence[str]) -> tuple[int, ...]:
        """The numbers of these notes, from 1."""
        for text in texts:
            if text not in self.texts:
                self.texts.append(text)
        return tuple(self.texts.index(text) + 1 for text in texts)


def of_label(result: StudyResult, stage: StageResult, cell: CellResult) -> list[str]:
    """What the row is in its stage: baseline, carried, a combination, several factors at once."""
    notes = []
    if stage.baseline is cell:
        notes.append("Baseline of the stage: differences are taken against its final value.")
    if stage.stage.carried == cell.cell.name:
        notes.append(f"Carried{f': {stage.reason}' if stage.reason else ''}.")
        better = result.contradicting(stage)
        if better is not None:
            notes.append(contradiction(result.metric, cell, better))
    parts = stage.combination(cell)
    if parts:
        notes.append(f"Combination of {words.listing(parts)}: the difference is that of all of them together.")
    elif stage.joint(cell):
        notes.append("Several factors differ from the baseline at once: the difference is not the effect of one.")
    return notes


def contradiction(metric: Metric, carried: CellResult, better: CellResult) -> str:
    """What the seeds say now against a carry; nothing was redone for it."""
    values = " against ".join(words.score(c.final.mean, metric) for c in (better, carried) if c.final)
    return (
        f"Contradicted by later seeds: {words.quoted(better.label)} is better now, {metric.short} {values}; "
        "what was built on the carried cell was not redone."
    )


def of_number(study: str, cell: CellResult) -> list[str]:
    """Where results come from that were not trained for this row."""
    places: dict[str, list[str]] = {}
    for source in (t.source for t in cell.trials if t.source and t.source.get("kind") == "reused"):
        place = f"stage {words.quoted(str(source['stage']))}, cell {words.quoted(str(source['cell']))}"
        if source["study"] != study:
            place = f"study {words.quoted(str(source['study']))}, {place}"
        places.setdefault(place, []).append(str(source["number"]))
    notes = [
        f"Reused, not trained again: trial{'s' if len(numbers) > 1 else ''} {words.listing(numbers)} of {place}."
        for place, numbers in places.items()
    ]
    imported = [t.source for t in cell.trials if t.source and t.source.get("kind") == "imported"]
    for file in dict.fromkeys(_file(source) for source in imported):
        lines = any(source.get("line") for source in imported if _file(source) == file)
        where = "; its line there stands under the number" if lines else ""
        notes.append(f"Imported from {file}, not trained here{where}.")
    return notes


def lines(cell: CellResult) -> str:
    """`line 7` for a row that was read from a line of a file; empty for others."""
    found = [str(t.source["line"]) for t in cell.trials if t.source and t.source.get("line")]
    return f"line{'s' if len(found) > 1 else ''} {', '.join(found)}" if found else ""


def origin(trial: TrialRecord) -> str | None:
    """Where the result of a trial comes from, in words: `imported: results.csv, line 7`; None: trained here."""
    source = trial.source
    if not source:
        return None
    if source.get("kind") == "imported":
        line = source.get("line")
        return f"imported: {_file(source)}{f', line {line}' if line else ''}"
    return f"reused: {source['study']}, trial {source['number']} (stage {source['stage']}, cell {source['cell']})"


def _file(source: dict[str, Any]) -> str:
    return PurePath(str(source["file"])).name


def of_values(cell: CellResult) -> list[str]:
    """Contradictions in the source of an imported row, as the import found them."""
    sources = [t.source for t in cell.trials if t.source and t.source.get("kind") == "imported"]
    remarks = dict.fromkeys(str(remark) for source in sources for remark in source.get("remarks") or ())
    return [f"In the source: {remark}" for remark in remarks]


def of_outcome(result: StudyResult, cell: CellResult) -> list[str]:
    """Why a replicate has no number, and what it reached before."""
    notes = []
    missing = [t for t in cell.trials if t not in cell.completed]
    if cell.completed and missing:
        odd = words.listing([f"seed {t.seed} {result.state(t)}" for t in missing])
        notes.append(f"Of {words.count(len(cell.trials), 'seed')} not in the mean: {odd}.")
    for outcome in (Outcome.OUT_OF_MEMORY, Outcome.NOT_CONVERGED):
        trials = [t for t in missing if t.outcome is outcome]
        if trials and outcome is Outcome.OUT_OF_MEMORY:
            notes += _memory(result, trials)
        elif trials:
            notes += _floor(result, trials)
    return notes


def _memory(result: StudyResult, trials: Sequence[TrialRecord]) -> list[str]:
    peaks = [t.peak_memory_mb for t in trials if t.peak_memory_mb]
    if not peaks:
        return []
    budget = result.snapshot.study.document.get("budget")
    limit = budget.get("memory_mb") if isinstance(budget, dict) else None
    allowed = f", where {limit:,.0f} MiB were allowed" if limit and not any(t.source for t in trials) else ""
    return [f"Out of memory: {max(peaks):,.0f} MiB had been taken at the peak{allowed}."]


def _floor(result: StudyResult, trials: Sequence[TrialRecord]) -> list[str]:
    """What was reached at the epoch of the declared floor; an imported row was held to no floor of ours."""
    floor = result.snapshot.study.document.get("floor")
    if not isinstance(floor, dict):
        return []
    metric, reached = result.metric, []
    for trial in trials:
        values = [v for v in result.values.get(trial.uid, ()) if v.epoch >= floor["epoch"] and metric.name in v.metrics]
        if values and trial.source is None:
            reached.append(f"{words.score(values[0].metrics[metric.name], metric)} at epoch {values[0].epoch}")
    if not reached:
        return []
    side = "below" if METRICS[metric.name].direction is Direction.MORE else "above"
    bound = f"{words.score(floor['value'], metric)} declared for epoch {floor['epoch']}"
    return [f"Not converged: {metric.short} {words.listing(reached)}, {side} the floor of {bound}."]
