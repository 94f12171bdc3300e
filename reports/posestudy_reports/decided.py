"""What was decided about the stages of a study beside their carries, and by which rules: stops, seeds, known cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from posestudy_reports import cell_numbers, words
from posestudy_reports.addressed import Number, Text, said
from posestudy_reports.comparison import NoiseFloor, noise_floor
from posestudy_reports.results import StageResult, StudyResult
from posestudy_studies import noise_floor as floors
from posestudy_studies import stop_rules, warm_start

_DECIMAL: Final = re.compile(r"(?<![\w.'])\d+\.\d+(?![\w.'])")
_BEGINNINGS: Final = (
    (stop_rules.STOPPED, "Stage {stage} "),
    (stop_rules.NO_SEEDS, "Stage {stage} got "),
    (stop_rules.NO_STAGE, "After stage {stage} there is "),
    (warm_start.BEGINS, "Stage {stage} "),
)


def decisions(stage: StageResult) -> tuple[str, ...]:
    """The decisions about a stage as sentences with addressed numbers, as they were written down; no noise floor."""
    found: list[Text] = []
    for text in stage.stage.decisions:
        for kind, beginning in _BEGINNINGS:
            if text.startswith(kind):
                head = beginning.format(stage=words.quoted(stage.stage.name))
                found.append(Text(head, _addressed(stage, text, len(found) + 1), "."))
    return tuple(found)


def _addressed(stage: StageResult, text: str, place: int) -> Text:
    pieces: list[str | Number] = []
    end = 0
    for count, match in enumerate(_DECIMAL.finditer(text), 1):
        where = cell_numbers.stage_address(stage, f"decision_{place}/{count}")
        formula = "as it was written into the ledger when it was decided"
        pieces += [text[end : match.start()], Number(where, match[0], float(match[0]), formula, ())]
        end = match.end()
    return Text(*pieces, text[end:])


def rules(document: Mapping[str, Any]) -> list[str]:
    """When nothing more was to be begun, as the study file says it."""
    budget, stop = document.get("budget"), document.get("stop")
    found = []
    if isinstance(budget, Mapping) and budget.get("deadline"):
        after = " after the first launch" if str(budget["deadline"])[-1] in "dhm" else ""
        found.append(f"No trial starts later than {budget['deadline']}{after}.")
    rule = stop.get("plateau") if isinstance(stop, Mapping) else None
    if isinstance(rule, Mapping):
        by = rule.get("by", "noise_floor")
        by = "the noise floor" if by == "noise_floor" else floors.number(float(by))
        found.append(
            f"A search ends where its last {rule['cells']} cells improved the best value by no more than {by}."
        )
    if isinstance(stop, Mapping) and stop.get("nothing_to_resolve"):
        found.append("No seed is added for a difference that has a chance below 5 % to be resolved.")
    return found


def resolvable(result: StudyResult) -> Text | None:
    """The smallest differences that the tables of a study can resolve, where it measured its noise floor first."""
    floor = noise_floor(result)
    if floor is None or not floor.baseline_seeds or not _asked(result.snapshot.study.document):
        return None
    baseline = result.stages[0].baseline
    uids = tuple(t.uid for t in baseline.completed) if baseline else ()
    parts = [part for stage in result.stages if (part := _of_stage(result, stage, floor, uids)) is not None]
    if not parts:
        return None
    text = said(
        "The noise floor was measured first: over {seeds} seeds of the first baseline {metric} has a standard "
        "deviation s of {sd}, and n seeds a cell resolve a difference of t s \u221a(2/n) in a table of k rows, where t "
        "is the 1 \u2212 0.05/(2k) quantile of Student's t with {df} degrees of freedom (Bonferroni): ",
        seeds=floor.baseline_seeds,
        metric=result.metric.short,
        sd=Number(
            "study/noise_floor/sd", words.precise(floor.sd, result.metric), floor.sd,
            f"standard deviation over {floor.baseline_seeds} seeds of the first baseline", uids,
        ),
        df=floor.df,
    )  # fmt: skip
    listed = [piece for i, part in enumerate(parts) for piece in ((", " if i else ""), part)]
    return Text(text, *listed, ".")


def _asked(document: Mapping[str, Any]) -> bool:
    stages = document.get("stages") or [{}]
    first = stages[0].get("replicates") if isinstance(stages[0], Mapping) else None
    replicates = first or document.get("replicates")
    return isinstance(replicates, Mapping) and bool(replicates.get("baseline_first"))


def _of_stage(result: StudyResult, stage: StageResult, floor: NoiseFloor, uids: tuple[str, ...]) -> Text | None:
    compared = [cell for cell in stage.cells if stage.delta(cell) is not None]
    if not compared:
        return None
    seeds = min(len(cell.finals) for cell in compared)
    value = floors.NoiseFloor(floor.sd, floor.df, "").smallest(seeds, len(compared))
    rows, fewest = words.count(len(compared), "row"), words.count(seeds, "seed")
    formula = f"smallest difference that {rows} of {fewest} each resolve at once at 95 %"
    where = cell_numbers.stage_address(stage, "resolvable")
    number = Number(where, words.precise(value, result.metric), value, formula, uids)
    return said("{number} in {stage} ({rows}, {fewest})", number=number, stage=words.quoted(stage.stage.name),
                rows=rows, fewest=fewest)  # fmt: skip
