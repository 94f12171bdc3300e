"""A plan with its price: what a study is expected to take on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from posestudy.errors import InputError, NotFoundError
from posestudy.ledger import Ledger
from posestudy.ledger.records import Json, Snapshot
from posestudy.settings import Settings
from posestudy_runner import devices, measurements
from posestudy_studies import costs, dataset, edited, trained_before
from posestudy_studies.plan import work
from posestudy_studies.rehearsal import Results, nothing
from posestudy_studies.spec import Study


def standing(study: Study, settings: Settings) -> tuple[Study, Snapshot | None, list[Snapshot]]:
    """The study with the fingerprint of its data, where that is known, its stages that still hold, and all studies."""
    try:
        ledger = Ledger.open(settings.database_url, create=False)
    except NotFoundError:
        return study, None, []
    try:
        snapshots = [ledger.snapshot(known.name) for known in ledger.studies()]
    finally:
        ledger.close()
    mine = next((s for s in snapshots if s.study.name == study.study), None)
    if mine is None:
        with suppress(InputError):  # data that is not here yet is told by `check`
            study = dataset.sealed(study) if snapshots else study
        return study, None, snapshots
    fingerprint = (mine.study.document.get("dataset") or {}).get("fingerprint")
    study = study.model_copy(update={"dataset": study.dataset.model_copy(update={"fingerprint": fingerprint})})
    return study, _still_holding(study, mine), snapshots


def _still_holding(study: Study, snapshot: Snapshot) -> Snapshot:
    """Without the stages that an edited file has otherwise."""
    first = edited.first_changed(study, snapshot)
    if first is None:
        return snapshot
    stages = tuple(s for s in snapshot.stages if s.ordinal < first)
    cells = tuple(c for c in snapshot.cells if c.stage_id in {s.id for s in stages})
    trials = tuple(t for t in snapshot.trials if t.cell_id in {c.id for c in cells})
    return replace(snapshot, stages=stages, cells=cells, trials=trials)


def estimate(
    study: Study,
    settings: Settings,
    *,
    snapshot: Snapshot | None = None,
    snapshots: Sequence[Snapshot] = (),
    results: Results = nothing,
    workers: int | None = None,
    measure: bool = False,
    say: Callable[[str], None] = print,
) -> Json:
    """`costs.estimate` of what the study has still to train, on this machine's devices.

    Args:
        study: the study.
        settings: whose home and ledger.
        snapshot: the study as the ledger holds it.
        snapshots: all studies of the ledger: what their trials took and came to is known.
        results: results to suppose.
        workers: trials side by side; None for one a device.
        measure: first measure each cost class for a few iterations.
        say: where progress goes.
    """
    wanted = work(study, snapshot=snapshot, results=trained_before.results(study, snapshots, results))
    if measure:
        problems = dataset.problems(study)
        if problems:
            raise InputError(problems)
        measurements.measure(study, [item.training for item in wanted if not item.only_evaluated], settings.home, say)
    rates = [*costs.history(snapshots, _disk_mb(snapshots, settings)), *measurements.saved(settings.home)]
    places = devices.devices()
    device = "cpu" if places[0].is_cpu else places[0].description
    facts = dataset.inspect(study).facts
    budget = study.budget
    return costs.estimate(
        wanted,
        costs.Rates(rates, device),
        workers=workers or len(places),
        train_instances=facts["train"].instances if "train" in facts else None,
        val_instances=facts["val"].instances if "val" in facts else None,
        trial_hours=budget.trial_hours if budget else None,
    )


def _disk_mb(snapshots: Sequence[Snapshot], settings: Settings) -> dict[str, float]:
    """MB of the files of each trial's attempts."""
    found: dict[str, float] = {}
    for snapshot in snapshots:
        for trial in snapshot.trials:
            folder = settings.home.attempt(snapshot.study.name, trial.number, 0).folder.parent
            sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
            if sizes:
                found[trial.uid] = sum(sizes) / 1e6
    return found
