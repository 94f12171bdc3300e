"""The part of a campaign with stand-in trials: rounds until enough is killed, then the judgement."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from benchmarks.faults import invariants, ladder, witness
from benchmarks.faults.campaign import KILLS_A_ROUND, Campaign, Tally
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome, TrialState


def run(
    folder: Path,
    database: str | None,
    kills: int,
    seed: int,
    *,
    plant: str = "",
    only: Collection[str] = (),
    tell: Callable[[str], None] = print,
) -> Tally:
    """Kill `kills` times and judge; the violations are in the tally."""
    campaign = Campaign(folder, database, seed, plant=plant, only=only, tell=tell)
    studies: list[str] = []
    try:
        while campaign.faults < kills:
            study = f"r{len(studies)}s{seed}"
            studies.append(study)
            campaign.round(study, min(KILLS_A_ROUND, kills - campaign.faults))
            campaign.tally.violations += _judge_files(campaign, study)
            campaign.settle()
            if campaign.tally.violations:
                break
        if not campaign.tally.violations:
            campaign.sync()
            for study in studies:
                campaign.tally.violations += _judge_mlflow(campaign, study)
    finally:
        campaign.close()
    return campaign.tally


def _judge_files(campaign: Campaign, study: str) -> list[str]:
    said = [one for one in witness.read(campaign.witness) if one.study == study]
    folder = Home.resolve(campaign.home).runs / study
    found = [*invariants.attempts(study, said, campaign.pauses)]
    found += invariants.results(study, folder, said, ladder.replicates(study))
    return found + _judge_ledger(campaign.database, study)


def _judge_ledger(database: str, study: str) -> list[str]:
    """The ledger's own word comes last, and only on what nothing else holds: states and leases."""
    ledger = Ledger.open(database)
    try:
        snapshot = ledger.snapshot(study)
    finally:
        ledger.close()
    wanted = len(ladder.replicates(study))
    found = [] if len(snapshot.trials) == wanted else [f"{study}: {len(snapshot.trials)} trials instead of {wanted}"]
    for trial in snapshot.trials:
        if trial.state is not TrialState.DONE or trial.outcome is not Outcome.COMPLETED:
            found.append(f"{study} trial {trial.number}: {trial.state.value}, {trial.outcome}: {trial.message}")
    found += [f"{study}: attempt {a.fence} of a trial has no end" for a in snapshot.attempts if a.end is None]
    return found


def _judge_mlflow(campaign: Campaign, study: str) -> list[str]:
    wanted = {
        (one.cell, one.seed): {epoch: ladder.value(one.cell, one.seed, epoch) for epoch in range(1, one.epochs + 1)}
        for one in ladder.replicates(study)
    }
    return list(invariants.mlflow(campaign.home / "mlflow.db", study, wanted, ladder.METRIC))
