"""The profile at the end of a trial: from its process to the ledger, through outages, and never in the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from standin_pool import STUDY, Standin, importable_standins, in_background, until
from test_real_trials import data, importable_target, study

from posestudy.errors import LedgerUnavailableError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.projections.run_card import cards
from posestudy.vocabulary import Outcome

__all__ = ["data", "importable_standins", "importable_target"]

PROFILE = {"parameters": 5, "gmacs": 0.25, "latency_p50_ms": 1.5}


class Away(Ledger):
    """A ledger that does not answer the first questions it is asked about profiles."""

    refusals = 2
    asked = 0

    def profiled(self, *arguments: Any) -> bool:
        self.asked += 1
        if self.asked <= self.refusals:
            raise LedgerUnavailableError("the database does not answer")
        return super().profiled(*arguments)


def test_the_worker_writes_what_the_trial_measured(home: Home, sqlite_ledger: Ledger) -> None:
    run = Standin(home, sqlite_ledger, {"measured": {"profile": PROFILE}, "not": {}})
    run.pool().run(1)
    measured, unmeasured = run.trials()
    assert (measured.outcome, unmeasured.outcome) == (Outcome.COMPLETED, Outcome.COMPLETED)
    assert measured.profile == PROFILE
    assert unmeasured.profile is None


def test_an_outage_of_the_ledger_loses_no_profile(home: Home) -> None:
    ledger = Away.open(f"sqlite:///{home.database}")
    run = Standin(home, ledger, {"measured": {"profile": PROFILE}})
    thread = in_background(run.pool())
    until(lambda: ledger.asked)
    thread.join(400)
    (trial,) = run.trials()
    assert ledger.asked > ledger.refusals
    assert (trial.outcome, trial.profile) == (Outcome.COMPLETED, PROFILE)
    assert ledger.study(STUDY).state == "closed"
    ledger.close()


@pytest.mark.slow
def test_a_real_trial_has_a_profile_in_ledger_and_mlflow(tmp_path: Path, data: Path) -> None:
    run = study(tmp_path, data)
    run.pool().run(1)
    (trial,) = run.trials()
    assert trial.outcome is Outcome.COMPLETED, trial.message
    profile = trial.profile
    assert profile is not None
    assert (profile["parameters"], profile["input"], profile["batch"]) == (62_009, [64, 64], 1)
    assert profile["gmacs"] == pytest.approx(0.0056033, abs=1e-6)
    assert 0 < profile["latency_p50_ms"] <= profile["latency_p95_ms"]
    assert (profile["device"], profile["threads"]) == ("cpu", trial.provenance["threads"])
    assert profile["peak_memory_mb"] is None, "a process that has trained cannot tell"
    (card,) = cards(run.ledger.snapshot("tiny"))
    points = {point.key: point.value for point in card.summary}
    assert points["profile/parameters"] == 62_009
    assert points["profile/latency_p50_ms"] == profile["latency_p50_ms"]
    assert card.tags["posestudy.profiled_on"].startswith(profile["device_name"])
    assert not any(name.startswith("profile") for v in run.ledger.snapshot("tiny").values for name in v.metrics)


@pytest.mark.slow
def test_one_network_is_measured_once_a_pool_and_all_was_imported_before(tmp_path: Path, data: Path) -> None:
    run = study(tmp_path, data, "{first: {sigma: 1.5}, second: {sigma: 2.0}}")
    run.pool(target="importing_trial:main").run(1)
    first, second = run.trials()
    assert (first.outcome, second.outcome) == (Outcome.COMPLETED, Outcome.COMPLETED)
    assert first.profile is not None
    assert second.profile == first.profile, "latencies measured twice are never equal"
    found = json.loads((run.home.attempt("tiny", second.number, 1).folder / "imported.json").read_text())
    assert found["frozen"] > 100_000, "what the preload made is out of the garbage collector's sight"
    anew = [name for name in found["imported"] if not name.startswith("torch.")]
    assert anew == [], "the preload could have imported it once for all"
    assert len(found["imported"]) < 10, found["imported"]


@pytest.mark.slow
def test_a_profile_that_fails_fails_no_trial(tmp_path: Path, data: Path) -> None:
    run = study(tmp_path, data)
    run.pool(target="unprofiled_trial:main").run(1)
    (trial,) = run.trials()
    assert (trial.outcome, trial.profile) == (Outcome.COMPLETED, None)
    assert "the profile cannot be taken" in run.last_attempt().log.read_text()
