"""What the figures of factors and of time say, in sentences that are computed."""

from __future__ import annotations

from posestudy.vocabulary import Metric
from posestudy_reports import cell_numbers, heat_map, words
from posestudy_reports.addressed import Number, Text, said
from posestudy_reports.budget_time import History
from posestudy_reports.factor_space import Space
from posestudy_reports.results import StageResult, StudyResult


def crossed(result: StudyResult, stage: StageResult, found: Space) -> tuple[Text, ...]:
    """The best pair of levels of each heat map."""
    texts = []
    for heat in heat_map.heat_maps(found, result.metric.direction):
        best = next(square for square in heat.squares if square.best)
        cell = stage.named(best.place.cell)
        number = cell_numbers.final(result, stage, cell) if cell else None
        if number is None:
            continue
        texts.append(
            said(
                "Of the {pairs} of {up} and {across} in stage {stage} that have a value, {up} {one} with {across} "
                "{other} ends best, at {metric} {number}.",
                pairs=words.count(sum(s.value is not None for s in heat.squares), "pair"),
                up=heat.up.title,
                across=heat.across.title,
                stage=words.quoted(heat.stage),
                one=heat.up.texts[best.row],
                other=heat.across.texts[best.column],
                metric=result.metric.short,
                number=number,
            )
        )
    return tuple(texts)


def found_when(found: History, metric: Metric) -> tuple[Text, ...]:
    """Which trial gave the best value, and when."""
    best = [finish for finish in found.finishes if finish.improves][-1]
    if best.value is None:
        return ()
    formula = f"best final {metric.name} of a single trial"
    value = Number("study/history/best", words.score(best.value, metric), best.value, formula, (best.uid,))
    parts: dict[str, str | Number | int] = {
        "trial": best.number,
        "stage": words.quoted(best.stage),
        "order": best.order,
        "count": words.count(len(found.finishes), "trial"),
        "metric": metric.short,
        "value": value,
    }
    template = "The best single value, {metric} {value}, is that of trial {trial} (stage {stage}), number {order} of "
    template += "{count} to end"
    if not found.untimed:
        until = tuple(finish.uid for finish in found.finishes[: best.order])
        about = "device time of the trials that had ended by then, from the ledger"
        parts["spent"] = Number("study/history/spent", words.duration(best.spent), best.spent, about, until)
        every = tuple(finish.uid for finish in found.finishes)
        about = "device time of all trials that ended, from the ledger"
        parts["total"] = Number("study/history/total", words.duration(found.total), found.total, about, every)
        parts["device"] = f"{found.device} " if found.device else "device "
        template += ", after {spent} of {total} of {device}time"
    return (said(template + ".", **parts),)
