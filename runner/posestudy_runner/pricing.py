"""A plan with its price: what a study is expected to take on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from posestudy.errors import InputError, NotFoundError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Json, Snapshot
from posestudy.settings import Settings
from posestudy_runner import devices, measurements
from posestudy_studies import costs, dataset, edited, trained_before
from posestudy_studies.plan import work
from posestudy_studies.rehearsal import Results, nothing
from posestudy_studies.spec import Study
from posestudy_studies.stop_rules import short


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
    rates = [*costs.history(snapshots, _disk(snapshots, settings)), *measurements.saved(settings.home)]
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
        retention=study.retention,
    )


def _disk(snapshots: Sequence[Snapshot], settings: Settings) -> dict[str, costs.Disk]:
    """The files of each trial's attempts, the checkpoints that only `retention: all` keeps left out."""
    found: dict[str, costs.Disk] = {}
    for snapshot in snapshots:
        for trial in snapshot.trials:
            folder = settings.home.attempt(snapshot.study.name, trial.number, 0).folder.parent
            files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
            states = [_mb(path) for path in files if path.match("epoch_*.pth")]
            weights = [_mb(path) for path in files if path.name == "best.pth"]
            if files:
                rest = sum(map(_mb, files)) - sum(states) - sum(weights)
                found[trial.uid] = costs.Disk(max(weights, default=None), max(states, default=None), rest)
    return found


def _mb(path: Path) -> float:
    try:
        return path.stat().st_size / 1e6
    except OSError:  # a running trial has tidied up meanwhile
        return 0.0


def short_of_disk(estimate: Json, home: Home) -> str | None:
    """A sentence where the home's disk has less room than the study is expected to need; None where it has."""
    needed = estimate.get("disk_peak_gb")
    if not needed:
        return None
    free = shutil.disk_usage(next(place for place in (home.root, *home.root.parents) if place.exists())).free / 1e9
    if free >= needed:
        return None
    return (
        f"warning: {home.root} has {short(free)} GB free and the study may need {short(needed)} GB; trials wait while "
        "the disk is full (`retention: best` keeps less, `posestudy gc` frees what nothing needs)"
    )
