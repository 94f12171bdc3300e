"""Results a study would take over from the trials of its home, as the ledger does when it opens a stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from posestudy.ledger.records import CellRecord, Json, KnownResult, Snapshot, StageRecord
from posestudy.vocabulary import Outcome, TrialState
from posestudy_studies.rehearsal import TAKEN_OVER, Results
from posestudy_studies.spec import Study


def results(study: Study, snapshots: Sequence[Snapshot], supposed: Results) -> Results:
    """What `supposed` has, and else what trials of the same key and seed came to.

    Of the study itself also what is in stages that an edited file plans anew; of other studies completed trials with a
    value of the same metric. A replicate that waits in the study already is trained. See `posestudy.ledger.known`.

    Args:
        study: with the fingerprint of its data; without one nothing is taken from other studies.
        snapshots: the studies of the home.
        supposed: results that come first.
    """
    known: dict[tuple[str, int], KnownResult] = {}
    for snapshot in sorted(snapshots, key=lambda s: s.study.name != study.study):
        for replicate, found in _offered(study, snapshot):
            known.setdefault(replicate, found)
    for snapshot in snapshots:
        if snapshot.study.name == study.study:
            keys = {cell.id: cell.key for cell in snapshot.cells}
            for trial in snapshot.trials:
                if trial.state is not TrialState.DONE:
                    known.pop((keys[trial.cell_id], trial.seed), None)

    def result(stage: StageRecord, cell: CellRecord, seed: int) -> KnownResult | None:
        return supposed(stage, cell, seed) or known.get((cell.key, seed))

    return result


def _offered(study: Study, snapshot: Snapshot) -> Iterator[tuple[tuple[str, int], KnownResult]]:
    """By key and seed, what `study` may take over from a study of the home; the trained before the imported."""
    own = snapshot.study.name == study.study
    same = snapshot.study.document.get("metric") == study.metric
    if not same or study.reuse == "none" or (not own and (study.reuse != "home" or not study.dataset.fingerprint)):
        return
    keys = {cell.id: cell.key for cell in snapshot.cells}
    outcomes: tuple[Outcome, ...] = TAKEN_OVER if own else (Outcome.COMPLETED,)
    for trial in sorted(snapshot.trials, key=lambda t: (t.source is not None, t.number)):
        if trial.outcome in outcomes and (own or not _built_elsewhere(trial.source)):
            yield (
                (keys[trial.cell_id], trial.seed),
                KnownResult(
                    outcome=trial.outcome,
                    source={"kind": "reused", "study": snapshot.study.name, "number": trial.number},
                    message=trial.message,
                    final_value=trial.final_value,
                    final_epoch=trial.final_epoch,
                    best_value=trial.best_value,
                    best_epoch=trial.best_epoch,
                    peak_memory_mb=trial.peak_memory_mb,
                ),
            )


def _built_elsewhere(source: Json | None) -> bool:
    return source is not None and (bool(source.get("elsewhere")) or _built_elsewhere(source.get("source")))
