"""The worker's loop on a real ledger: every way a trial can end, and that the pool goes on after each."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from standin_pool import METRIC, STUDY, Standin, advance, importable_standins, in_background, until

from posestudy.errors import LedgerUnavailableError, MissingPieceError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome, TrialState, Verdict
from posestudy_runner.notifying import Notifier
from posestudy_runner.steering import Steering

__all__ = ["importable_standins"]


def test_every_ending_is_recorded_and_the_pool_goes_on(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(
        home,
        sqlite_ledger,
        {
            "diverges": {"behaviour": "diverge"},
            "eats": {"behaviour": "memory"},
            "breaks": {"behaviour": "raise"},
            "works": {"seeds": [0, 1]},
        },
    )
    assert study.pool().run(2) is False
    by_number = {t.number: t for t in study.trials()}
    outcomes = [by_number[n].outcome for n in sorted(by_number)]
    print([t.message for t in by_number.values()])
    assert outcomes == [
        Outcome.DIVERGED,
        Outcome.OUT_OF_MEMORY,
        Outcome.FAILED,
        Outcome.COMPLETED,
        Outcome.COMPLETED,
    ]
    assert study.values(by_number[1]) == {1: 0.01}
    assert "no such keypoint" in by_number[3].message
    assert "the last words of the log" in by_number[3].message
    assert study.values(by_number[5]) == {1: 1.01, 2: 1.02, 3: 1.03, 4: 1.04}
    assert (by_number[5].best_value, by_number[5].best_epoch) == (1.04, 4)
    assert by_number[5].duration_s == 2.0
    assert by_number[5].peak_memory_mb == 12.5
    assert by_number[5].provenance["threads"] >= 1
    assert by_number[5].provenance["host"]
    assert sqlite_ledger.study(STUDY).state == "closed"
    assert "works" in study.output.getvalue()


def test_a_pool_on_a_study_that_is_done_loads_nothing_to_train_with(
    home: Home, sqlite_ledger: Ledger, tmp_path: Path
) -> None:
    study = Standin(home, sqlite_ledger, {"works": {}})
    before = Notifier(sqlite_ledger, home, STUDY, "true", print)
    before.begin()
    before.close()
    assert study.pool().run(1) is False
    study.output.truncate(0)
    # Nobody had told of the end so far.
    command = f"echo $POSESTUDY_EVENT >>{tmp_path}/told"
    assert study.pool(preload="no_such_package", notify=command).run(1) is False
    assert "training packages" not in study.output.getvalue()
    assert (tmp_path / "told").read_text() == "stage\nstudy\n"


def test_a_lost_trial_is_taken_up_again_at_its_last_epoch(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"dies": {"behaviour": "die_once_at_2"}})
    study.pool().run(1)
    (trial,) = study.trials()
    assert trial.outcome is Outcome.COMPLETED
    assert study.attempts(trial) == ["lost", "finished"]
    assert (study.folder(1, 2) / "from_epoch").read_text() == "1"
    assert study.values(trial) == {1: 0.01, 2: 0.02, 3: 0.03, 4: 0.04}
    assert "trial 1 (dies, seed 0)  started on cpu, from epoch 1\n" in study.output.getvalue()


def test_a_trial_that_always_dies_fails_after_three_attempts(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"dies": {"behaviour": "die_always"}, "works": {}})
    study.pool().run(1)
    dies, works = study.trials()
    assert dies.outcome is Outcome.FAILED
    assert study.attempts(dies) == ["lost", "lost", "lost", "finished"]
    assert "3 attempts in a row" in dies.message
    assert works.outcome is Outcome.COMPLETED


def test_the_time_limit_counts_all_attempts(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"slow": {"behaviour": "too_slow"}}, limit_s=0.7)
    study.pool().run(1)
    (trial,) = study.trials()
    assert trial.outcome is Outcome.TIMED_OUT
    assert study.values(trial) == {1: 0.01}


def test_the_pruner_is_asked_before_the_trial_goes_on(home: Home, sqlite_ledger: Ledger) -> None:
    asked: list[int] = []

    def at_two(snapshot: object, uid: str, epoch: int) -> tuple[Verdict, dict]:
        asked.append(epoch)
        return Verdict.PRUNE if epoch == 2 else Verdict.GO, {"system_attrs": {"asked": epoch}}

    study = Standin(home, sqlite_ledger, {"a": {}}, Steering(advance, lambda claim: True, at_two))
    study.pool().run(1)
    (trial,) = study.trials()
    assert trial.outcome is Outcome.PRUNED
    assert asked == [1, 2]
    assert trial.decision == {"epoch": 2, "prune": True}
    assert trial.optuna == {"system_attrs": {"asked": 2}}
    assert study.values(trial) == {1: 0.01, 2: 0.02}


def test_a_trial_killed_between_decision_and_end_is_not_asked_again(home: Home, sqlite_ledger: Ledger) -> None:
    def fail(snapshot: object, uid: str, epoch: int) -> tuple[Verdict, dict]:
        raise AssertionError(f"asked again for epoch {epoch}")

    study = Standin(home, sqlite_ledger, {"a": {}}, Steering(advance, lambda claim: True, fail))
    pool = study.pool()
    sqlite_ledger.apply(sqlite_ledger.study(STUDY).id, advance(sqlite_ledger.snapshot(STUDY)))
    claim = sqlite_ledger.claim(STUDY, "an earlier worker", 30.0)
    assert claim is not None
    uid = claim.trial.uid
    sqlite_ledger.record_epoch(uid, 1, {1: {METRIC: 0.01}, 2: {METRIC: 0.02}}, None, 1.0)
    sqlite_ledger.decide(uid, 1, {"epoch": 2, "prune": True}, {})
    sqlite_ledger.release(uid, 1, "lost", "killed")
    pool.run(1)
    (trial,) = study.trials()
    assert trial.outcome is Outcome.PRUNED
    assert set(study.values(trial)) == {1, 2}


def test_a_request_to_stop_gives_the_lease_back_and_the_next_pool_resumes(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"long": {"steps": 30, "step_s": 0.02}})
    pool = study.pool()
    thread = in_background(pool)
    until(lambda: study.values(study.trials()[0]) if study.trials() else None)
    pool.stop.request("the test asks")
    thread.join(400)
    (trial,) = study.trials()
    assert trial.state is TrialState.WAITING
    assert study.attempts(trial) == ["preempted"]
    before = trial.ckpt_epoch
    assert before >= 1
    study.pool().run(1)
    (trial,) = study.trials()
    assert trial.outcome is Outcome.COMPLETED
    assert (study.folder(1, 2) / "from_epoch").read_text() == str(before)


def test_a_trial_whose_checkpoint_is_gone_is_said_to_begin_again(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"long": {"steps": 30, "step_s": 0.02}})
    pool = study.pool()
    thread = in_background(pool)
    until(lambda: study.trials() and study.trials()[0].ckpt_epoch)
    pool.stop.request("the test asks")
    thread.join(400)
    for kept in home.runs.rglob("*.pth"):
        kept.unlink()
    study.pool().run(1)
    assert "started on cpu, from its beginning, for its checkpoint is not on this machine\n" in study.output.getvalue()
    assert (study.folder(1, 2) / "from_epoch").read_text() == "0"


def test_a_deaf_trial_is_killed_after_the_grace_time(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"deaf": {"behaviour": "deaf"}})
    pool = study.pool(stop_grace_s=0.3)
    thread = in_background(pool)
    until(lambda: study.trials() and study.values(study.trials()[0]))
    pool.stop.request("the test asks")
    thread.join(400)
    assert not thread.is_alive()
    (trial,) = study.trials()
    assert (trial.state, study.attempts(trial)) == (TrialState.WAITING, ["preempted"])


def test_cancelling_stops_the_trial_and_the_pool_goes_on(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"deaf": {"behaviour": "deaf"}, "works": {}})
    thread = in_background(study.pool(lease_s=0.6))
    until(lambda: study.trials() and study.values(study.trials()[0]))
    sqlite_ledger.cancel(STUDY, 1)
    thread.join(400)
    assert [t.outcome for t in study.trials()] == [Outcome.CANCELLED, Outcome.COMPLETED]
    assert "cancelled by the user" in study.output.getvalue()


def test_signals_to_the_trial_itself_preempt_it(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"long": {"steps": 40, "step_s": 0.02, "epochs": 3}})
    thread = in_background(study.pool())
    pid_file = study.folder(1, 1) / "pid"
    until(pid_file.exists)
    until(lambda: study.values(study.trials()[0]))
    os.kill(int(pid_file.read_text()), signal.SIGUSR1)
    thread.join(400)
    (trial,) = study.trials()
    assert study.attempts(trial) == ["preempted", "finished"]
    assert set(study.values(trial)) == {1, 2, 3}


class Flaky(Ledger):
    """A ledger whose server goes away when told to."""

    away = False

    def _gate(self) -> None:
        if self.away:
            raise LedgerUnavailableError("the database does not answer")

    def claim(self, *args, **options):
        self._gate()
        return super().claim(*args, **options)

    def renew(self, *args, **options):
        self._gate()
        return super().renew(*args, **options)

    def record_epoch(self, *args, **options):
        self._gate()
        return super().record_epoch(*args, **options)

    def finish(self, *args, **options):
        self._gate()
        return super().finish(*args, **options)


def test_training_goes_on_while_the_ledger_is_away_and_is_replayed_in_order(home: Home) -> None:
    ledger = Flaky.open(f"sqlite:///{home.database}")
    study = Standin(home, ledger, {"long": {"steps": 5, "step_s": 0.02}})
    thread = in_background(study.pool(lease_s=2.0))
    until(lambda: study.trials() and study.values(study.trials()[0]))
    ledger.away = True
    last = study.folder(1, 1) / "epoch_4.pth"
    until(last.exists)
    assert max(study.values(study.trials()[0])) < 4
    ledger.away = False
    thread.join(400)
    (trial,) = study.trials()
    assert trial.outcome is Outcome.COMPLETED
    assert study.attempts(trial) == ["finished"]
    assert study.values(trial) == {1: 0.01, 2: 0.02, 3: 0.03, 4: 0.04}
    assert "the ledger cannot be reached" in study.output.getvalue()
    ledger.close()


def test_only_the_checkpoints_that_may_be_needed_stay(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {"epochs": 6, "behaviour": "die_once_at_2"}})
    study.pool().run(1)
    left = sorted(p.relative_to(home.runs) for p in home.runs.rglob("epoch_*.pth"))
    assert left == [Path(STUDY) / "1" / "2" / "epoch_6.pth"]


def test_the_thread_count_of_the_first_attempt_stays(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    sqlite_ledger.apply(sqlite_ledger.study(STUDY).id, advance(sqlite_ledger.snapshot(STUDY)))
    claim = sqlite_ledger.claim(STUDY, "an earlier worker", 30.0)
    assert claim is not None
    sqlite_ledger.started(claim.trial.uid, 1, {"threads": 7})
    sqlite_ledger.release(claim.trial.uid, 1, "preempted", "moved")
    study.pool().run(1)
    assert study.trials()[0].provenance["threads"] == 7


def test_a_failed_preload_ends_the_launch_before_anything_is_claimed(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    with pytest.raises(MissingPieceError, match="a_package_that_does_not_exist"):
        study.pool(preload="broken_preload").run(1)
    assert study.trials() == []


def test_a_spent_budget_starts_no_further_trial_and_a_larger_one_goes_on(home: Home, sqlite_ledger: Ledger) -> None:
    """A stand-in trial reports half a second an epoch, two seconds in all."""
    study = Standin(home, sqlite_ledger, {"works": {"seeds": [0, 1, 2]}}, budget_s=3.0)
    study.pool().run(1)
    assert [t.state for t in study.trials()] == [TrialState.DONE, TrialState.DONE, TrialState.WAITING]
    assert sqlite_ledger.study(STUDY).state == "open"
    assert "raise budget.gpu_hours" in study.output.getvalue()
    study.budget_s = 30.0
    study.pool().run(1)
    assert sqlite_ledger.study(STUDY).state == "closed"
