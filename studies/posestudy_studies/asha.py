"""Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934): who pauses at a rung, and who goes on later.

A rung stands at `min_epochs * reduction ** k` epochs, below a cell's own epochs. A trial reaches it with its first
validation at or after that, and is ranked there by the study's metric in that validation among all trials that have
reached it so far. Of n of them the best n // `reduction` go on; the others pause until they are among these.

With `rank: forecast` they are ranked by what the model of `curve_search` expects of them at their full length. As every
value may turn that order over, no more than n // `reduction` ever go on from a rung.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import METRICS, Direction, Outcome, TrialState, Verdict

if TYPE_CHECKING:
    from posestudy_studies.designs.base import Design, View
    from posestudy_studies.designs.sampling import Pruner

_NO_RESULT = (Outcome.FAILED, Outcome.CANCELLED)


# ---- the rules


@dataclass(frozen=True)
class Contender:
    """A sampled trial as the rules see it.

    Attributes:
        number: unique in the study; the earlier of two equal ones ranks first.
        epochs: what its cell is trained for.
        curve: the metric after each validated epoch, in order of epoch; finite numbers.
        paused: it may be promoted.
        forecast: what it is expected to come to, more is better; None: its value ranks it.
    """

    number: int
    epochs: int
    curve: Mapping[int, float]
    paused: bool
    forecast: float | None = None


@dataclass(frozen=True)
class Halving:
    """The rungs of a search and who passes them.

    Attributes:
        min_epochs: epochs of the first rung.
        reduction: one of so many goes on at each rung; at least 2.
        direction: of the metric.
    """

    min_epochs: int
    reduction: int
    direction: Direction

    def rungs(self, epochs: int) -> list[int]:
        """The rungs of a trial of `epochs` epochs, lowest first."""
        found, rung = [], self.min_epochs
        while rung < epochs:
            found.append(rung)
            rung *= self.reduction
        return found

    def reached(self, one: Contender) -> int | None:
        """The highest rung a trial has reached; None: none yet."""
        last = max(one.curve, default=0)
        return max((rung for rung in self.rungs(one.epochs) if rung <= last), default=None)

    def ranked(self, among: Sequence[Contender], rung: int) -> list[Contender]:
        """Those that have reached `rung`, best first."""
        sign = -1.0 if self.direction is Direction.MORE else 1.0
        there = [
            (sign * value if one.forecast is None else -one.forecast, one.number, one)
            for one in among
            if (value := self._at(one, rung)) is not None
        ]
        return [one for _, _, one in sorted(there, key=lambda item: item[:2])]

    def passing(self, among: Sequence[Contender], rung: int) -> list[Contender]:
        """Those that go on beyond `rung` by what is known now, best first."""
        ranked = self.ranked(among, rung)
        places = len(ranked) // self.reduction
        gone_on = sum(one.forecast is not None and self._went_on(one, rung) for one in ranked)
        return ranked[:places] if gone_on < places else []

    def verdict(self, one: Contender, among: Sequence[Contender], epoch: int) -> Verdict:
        """Whether `one`, a member of `among` that was validated after `epoch`, goes on there or pauses.

        Where one validation reaches two rungs the higher one decides.
        """
        rung = self.decided_at(one, epoch)
        return Verdict.GO if rung is None or one in self.passing(among, rung) else Verdict.PAUSE

    def decided_at(self, one: Contender, epoch: int) -> int | None:
        """The rung that `one` reaches with its validation after `epoch`; None: it reaches none, or its end."""
        before = max((e for e in one.curve if e < epoch), default=0)
        rungs = [rung for rung in self.rungs(one.epochs) if before < rung <= epoch]
        return rungs[-1] if rungs and epoch < one.epochs else None

    def promotable(self, among: Sequence[Contender]) -> Contender | None:
        """The paused trial that goes on next: the best of those that pass, at the highest rung; None: none passes.

        One below all rungs comes first: it paused at a rung that an edited study file does not have any more.
        """
        for one in among:
            if one.paused and self.reached(one) is None:
                return one
        for rung in self._standing(among):
            for one in self.passing(among, rung):
                if one.paused and self.reached(one) == rung:
                    return one
        return None

    def furthest(self, among: Sequence[Contender]) -> Contender | None:
        """The best of the trials that pause at the highest rung; None: none pauses."""
        for rung in self._standing(among):
            there = [one for one in among if one.paused and self.reached(one) == rung]
            return self.ranked(there, rung)[0]
        return None

    def _standing(self, among: Sequence[Contender]) -> list[int]:
        """The rungs at which trials pause, highest first."""
        found = {rung for one in among if one.paused and (rung := self.reached(one)) is not None}
        return sorted(found, reverse=True)

    def _went_on(self, one: Contender, rung: int) -> bool:
        """Whether a trial that has reached `rung` was let go on from there."""
        return not one.paused or sum(epoch >= rung for epoch in one.curve) > 1

    def _at(self, one: Contender, rung: int) -> float | None:
        """The metric with which a trial reached `rung`; None: it has not, or has no such rung."""
        if rung >= one.epochs:
            return None
        return next((value for epoch, value in one.curve.items() if epoch >= rung), None)


# ---- the rules on what the ledger holds


def halving(view: View, pruner: Pruner) -> Halving:
    """The rungs of the search `view` with this pruner."""
    direction = METRICS[view.snapshot.study.document["metric"]].direction
    return Halving(pruner.min_epochs, pruner.reduction, direction)


def contenders(view: View) -> dict[str, Contender]:
    """The sampled trials of a search by uid; those that failed or were cancelled count for nothing."""
    metric = view.snapshot.study.document["metric"]
    epochs = {cell.id: int(cell.config["epochs"]) for cell in view.cells}
    return {
        trial.uid: Contender(
            trial.number,
            epochs[trial.cell_id],
            {
                row.epoch: row.metrics[metric]
                for row in view.values(trial.uid)
                if math.isfinite(row.metrics.get(metric, math.nan))
            },
            trial.state is TrialState.PAUSED,
        )
        for trial in view.trials
        if trial.optuna.get("distributions") and trial.outcome not in _NO_RESULT
    }


def judge(
    view: View, pruner: Pruner, uid: str, epoch: int, forecasts: Callable[[], Mapping[str, float]] | None = None
) -> Verdict:
    """Whether the sampled trial `uid`, validated after `epoch`, goes on there; its values after that do not count.

    `forecasts`, by uid, rank the trials where they are given; they are asked for only where a rung is reached.
    """
    known = contenders(view)
    one = known[uid]
    # It stands at its rung as those do that pause there.
    seen = replace(one, curve={e: v for e, v in one.curve.items() if e <= epoch}, paused=True)
    rules = halving(view, pruner)
    if epoch not in seen.curve or rules.decided_at(seen, epoch) is None:
        return Verdict.GO
    known = {**known, uid: seen}
    if forecasts is not None:
        known = _forecast(known, forecasts())
    return rules.verdict(known[uid], list(known.values()), epoch)


def _forecast(known: Mapping[str, Contender], told: Mapping[str, float]) -> dict[str, Contender]:
    return {uid: replace(one, forecast=told.get(uid, -math.inf)) for uid, one in known.items()}


def _contenders(design: Design, view: View) -> dict[str, Contender]:
    """The sampled trials, with forecasts where these rank them."""
    known, pruner = contenders(view), pausing(design)
    if pruner is None or pruner.rank != "forecast":
        return known
    from posestudy_studies import curve_search

    return _forecast(known, curve_search.forecasts(design, view))  # type: ignore[arg-type]


def promotions(design: Design, view: View) -> list[TrialRecord]:
    """The paused trials of a stage to go on with now, before a new cell is asked for.

    One at a time and only where nothing waits, so that each promotion knows of all results there are. All of them
    where the stage's pruner lets no trial pause: the study file was edited.
    """
    paused = [trial for trial in view.trials if trial.state is TrialState.PAUSED]
    if not paused or any(trial.state is TrialState.WAITING for trial in view.trials):
        return []
    pruner = pausing(design)
    if pruner is None:
        return paused
    return _named(paused, halving(view, pruner).promotable(list(_contenders(design, view).values())))


def last_promotion(design: Design, view: View) -> list[TrialRecord]:
    """The paused trial to go on with where nothing is left to ask and none passes its rung.

    Without it a search of few cells would end with none trained to its end, and nothing to carry. With `rank: forecast`
    the trial with the best forecast is trained to its end, so that what is carried is what the search found.
    """
    paused = [trial for trial in view.trials if trial.state is TrialState.PAUSED]
    pruner = pausing(design)
    searched = [trial for trial in view.trials if trial.optuna.get("distributions")]
    if not paused or pruner is None:
        return []
    if pruner.rank == "forecast":
        known = _contenders(design, view)
        ended = {trial.number for trial in searched if trial.outcome is Outcome.COMPLETED}
        among = [one for one in known.values() if one.paused or one.number in ended]
        return _named(paused, max(among, key=lambda one: (one.forecast or 0.0, -one.number)))
    if any(trial.outcome is Outcome.COMPLETED for trial in searched):
        return []
    return _named(paused, halving(view, pruner).furthest(list(contenders(view).values())))


def standing(pruner: Pruner, epochs: int, every: int = 1) -> list[int]:
    """The epochs at which trials of `epochs` epochs may pause: where they are validated, after each `every` epochs."""
    rungs = Halving(pruner.min_epochs, pruner.reduction, Direction.MORE).rungs(epochs)
    return sorted({stand for rung in rungs if (stand := math.ceil(rung / every) * every) < epochs})


def expected_part(pruner: Pruner, trials: int, epochs: int, every: int = 1) -> float:
    """The part of `trials` times `epochs` epochs that they take where nobody is promoted by mistake; at most 1.

    Where a trial stands at two rungs at once the higher one decides.
    """
    stands = standing(pruner, epochs, every)
    if not stands or not trials:
        return 1.0
    spent, left = 0, trials
    for start, end in zip([0, *stands], [*stands, epochs], strict=True):
        spent += left * (end - start)
        left = max(1, left // pruner.reduction)
    return spent / (trials * epochs)


def pausing(design: Design) -> Pruner | None:
    """The pruner of a stage whose trials pause; None where they do not."""
    pruner: Pruner | None = getattr(design, "pruner", None) if design.design == "search" else None
    return pruner if pruner is not None and pruner.type == "asha" else None


def _named(paused: Sequence[TrialRecord], chosen: Contender | None) -> list[TrialRecord]:
    return [trial for trial in paused if chosen is not None and trial.number == chosen.number]
