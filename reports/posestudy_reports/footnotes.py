"""The footnotes of an ablation table: where a row came from, why it has no number, what its difference is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import Outcome
from posestudy_reports import words
from posestudy_reports.addressed import said
from posestudy_reports.carry_reason import carry_reason, contradiction
from posestudy_reports.quantities import evaluated, untrained
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
        reason = carry_reason(result, stage)
        notes.append(said("Carried: {reason}.", reason=reason) if reason else "Carried.")
        better = result.contradicting(stage)
        if better is not None:
            notes.append(contradiction(result, stage, cell, better))
    parts = stage.combination(cell)
    if parts:
        notes.append(f"Combination of {words.listing(parts)}: the difference is that of all of them together.")
    elif stage.joint(cell):
        notes.append("Several factors differ from the baseline at once: the difference is not the effect of one.")
    return notes


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
    notes += of_evaluation(study, cell)
    imported = _imported(cell)
    for file in dict.fromkeys(_file(source) for source in imported):
        stated = any(source.get("line") for source in imported if _file(source) == file)
        where = "; its line there stands under the number" if stated else ""
        notes.append(f"Imported from {file}, not trained here{where}.")
    return notes


def of_evaluation(study: str, cell: CellResult) -> list[str]:
    """Whose weights a cell only evaluated; empty where it trained its own."""
    places: dict[str, list[str]] = {}
    for found in (evaluated(trial) for trial in cell.trials):
        if found is not None:
            place = "" if found.get("study") in (None, study) else f" of study {words.quoted(str(found['study']))}"
            places.setdefault(place, []).append(str(found.get("number")))
    notes = [
        f"Evaluated, not trained again: the weights of trial{'s' if len(numbers) > 1 else ''} "
        f"{words.listing(list(dict.fromkeys(numbers)))}{place}."
        for place, numbers in places.items()
    ]
    if any(untrained(trial) and evaluated(trial) is None for trial in cell.completed) and not _imported(cell):
        notes.append("Evaluated, not trained: the weights as they were given.")
    return notes


def lines(cell: CellResult) -> str:
    """`line 7` for a row that was read from a line of a file; empty for others."""
    found = list(dict.fromkeys(str(source["line"]) for source in _imported(cell) if source.get("line")))
    return f"line{'s' if len(found) > 1 else ''} {', '.join(found)}" if found else ""


def origin(trial: TrialRecord) -> str | None:
    """Where the result of a trial comes from, in words: `imported: results.csv, line 7`; None: trained here."""
    parts, source = [], trial.source
    if source and source.get("kind") == "reused":
        parts.append(f"reused: {source['study']}, trial {source['number']}")
    first = imported_from(trial)
    if first:
        parts.append(f"imported: {_file(first)}" + (f", line {first['line']}" if first.get("line") else ""))
    return "; ".join(parts) or None


def imported_from(trial: TrialRecord) -> dict[str, Any] | None:
    """What an import says of the trial's result, also where it was reused after that; None: it was trained."""
    source = trial.source or {}
    first = source.get("source") if source.get("kind") == "reused" else source
    return first if first and first.get("kind") == "imported" else None


def _imported(cell: CellResult) -> list[dict[str, Any]]:
    return [source for source in map(imported_from, cell.trials) if source]


def _file(source: dict[str, Any]) -> str:
    return PurePath(str(source["file"])).name


def of_values(cell: CellResult) -> list[str]:
    """Contradictions in the source of an imported row, as the import found them."""
    remarks = dict.fromkeys(str(remark) for source in _imported(cell) for remark in source.get("remarks") or ())
    return [f"In the source: {remark}" for remark in remarks]


def of_outcome(result: StudyResult, cell: CellResult) -> list[str]:
    """Why replicates have no number, and what the ledger knows of it."""
    notes = [f"Trial {number} is left out: {why}." for number, why in cell.contradicted.items()]
    missing = [t for t in cell.trials if t not in cell.completed]
    if cell.completed and missing:
        odd = words.listing([f"seed {t.seed} {result.state(t)}" for t in missing])
        notes.append(f"Of {words.count(len(cell.trials), 'seed')} not in the mean: {odd}.")
    limit = (result.snapshot.study.document.get("budget") or {}).get("memory_mb")
    if limit and any(t.outcome is Outcome.OUT_OF_MEMORY and imported_from(t) is None for t in missing):
        notes.append(f"The study allows a trial {limit:,.0f} MiB.")
    return notes + _why([t for t in missing if t.outcome in (Outcome.NOT_CONVERGED, Outcome.DIVERGED)])


def peak(cell: CellResult) -> str:
    """`peak 955 MiB` for a row that ran out of memory; empty for others."""
    peaks = [t.peak_memory_mb for t in cell.trials if t.outcome is Outcome.OUT_OF_MEMORY and t.peak_memory_mb]
    return f"peak {max(peaks):,.0f} MiB" if peaks else ""


def _why(trials: Sequence[TrialRecord]) -> list[str]:
    """What the trial said when it ended so: the value and the floor it missed, the loss that was not finite."""
    # An imported row says no more than its outcome, which stands in the table.
    own = [t for t in trials if imported_from(t) is None]
    told = [(t.outcome, t.message.splitlines()[0].rstrip(".")) for t in own if t.outcome and t.message]
    return list(dict.fromkeys(f"{words.OUTCOMES[o].capitalize()}: {why}." for o, why in told))
