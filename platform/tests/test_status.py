"""`status`, `logs` and `cancel` as a user and a program see them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from posestudy.commands.app import main
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Claim, CloseStage, CloseStudy, ProjectedRun
from posestudy.testing import put_small_study
from posestudy.vocabulary import AttemptEnd, Direction, Outcome


@pytest.fixture
def use_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    return home


def run_trial(ledger: Ledger, outcome: Outcome = Outcome.COMPLETED) -> Claim:
    granted = ledger.claim("small", "host:1", 60.0)
    assert granted is not None
    uid, fence = granted.trial.uid, granted.trial.fence
    values = {1: {"coco/AP": 0.2}, 2: {"coco/AP": 0.485}, 3: {"coco/AP": 0.3}}
    assert ledger.record_epoch(uid, fence, values, None, 3.0)
    assert ledger.finish(uid, fence, outcome, None, metric="coco/AP", direction=Direction.MORE, peak_memory_mb=None)
    return granted


def close(ledger: Ledger) -> None:
    snapshot = ledger.snapshot("small")
    stage = snapshot.stages[0]
    assert ledger.apply(
        snapshot.study.id, [CloseStage(stage.id, stage.version, "baseline", "it is best"), CloseStudy()]
    )


def test_json_has_the_promised_shape(use_home: Home, sqlite_ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    put_small_study(sqlite_ledger)
    done = run_trial(sqlite_ledger)
    sqlite_ledger.put_projected(ProjectedRun("mlflow", done.trial.uid, "run-1", 3, ""))
    assert main(["status", "small", "--json"]) == 1, "the second trial still waits"
    document = json.loads(capsys.readouterr().out)
    assert document["study"] == "small"
    first, second = document["trials"]
    promised = ("number", "stage", "cell", "seed", "outcome", "attempts", "final", "best", "mlflow_run_id")
    assert {key: first[key] for key in promised} == {
        "number": 1,
        "stage": "first",
        "cell": "baseline",
        "seed": 0,
        "outcome": "completed",
        "attempts": 1,
        "final": {"value": 0.3, "epoch": 3},
        "best": {"value": 0.485, "epoch": 2},
        "mlflow_run_id": "run-1",
    }
    assert {key: second[key] for key in ("outcome", "attempts", "final", "mlflow_run_id")} == {
        "outcome": None,
        "attempts": 0,
        "final": {"value": None, "epoch": None},
        "mlflow_run_id": None,
    }


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.PRUNED, 0), (Outcome.FAILED, 1)])
def test_the_exit_code_tells_whether_the_study_is_done_and_well(
    use_home: Home, sqlite_ledger: Ledger, outcome: Outcome, code: int
) -> None:
    put_small_study(sqlite_ledger)
    run_trial(sqlite_ledger)
    run_trial(sqlite_ledger, outcome)
    assert main(["status", "small"]) == 1, "all trials are done, but the study is open"
    close(sqlite_ledger)
    assert main(["status", "small"]) == code
    assert main(["status", "--watch"]) == code, "ends by itself when the study is done"


def test_a_pipe_gets_plain_aligned_lines(
    use_home: Home, sqlite_ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    put_small_study(sqlite_ledger)
    run_trial(sqlite_ledger)
    assert main(["status"]) == 1
    text = capsys.readouterr().out
    heading, header, first, second = text.splitlines()
    assert heading == "small (open), coco/AP: 1 completed, 1 waiting"
    assert first.index("3: 0.300") == header.index("final")
    assert first.index("2: 0.485") == header.index("best")
    assert second.split() == ["2", "first", "variant", "0", "waiting", "0/3", "0"]
    assert "\x1b" not in text


def test_no_home_and_no_study_are_clear_errors(use_home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 2
    assert "no ledger at" in capsys.readouterr().err
    assert not use_home.root.exists(), "asking makes nothing"


def test_a_misspelt_study_names_the_nearest(
    use_home: Home, sqlite_ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    put_small_study(sqlite_ledger)
    for command in (["status", "smal"], ["logs", "smal", "1"], ["cancel", "smal"]):
        assert main(command) == 2
        assert "did you mean 'small'?" in capsys.readouterr().err
    assert main(["status", "--watch", "--json"]) == 2


def test_logs_prints_every_attempt_in_order(
    use_home: Home, sqlite_ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    put_small_study(sqlite_ledger)
    first = sqlite_ledger.claim("small", "host:1", 60.0)
    assert first is not None
    assert sqlite_ledger.release(first.trial.uid, 1, AttemptEnd.PREEMPTED, "Ctrl-C")
    assert sqlite_ledger.claim("small", "host:2", 60.0) is not None
    for fence in (1, 2):
        log = use_home.attempt("small", 1, fence).log
        log.parent.mkdir(parents=True)
        log.write_bytes(b"epoch of fence %d \xff\n" % fence)
    assert main(["logs", "small", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("==== attempt 1, host:1")
    assert lines[0].endswith("preempted: Ctrl-C")
    assert lines[1].startswith("epoch of fence 1")
    assert lines[2].endswith("running")
    assert lines[3].startswith("epoch of fence 2")
    assert main(["logs", "small", "2"]) == 0
    assert "not been started" in capsys.readouterr().out
    assert main(["logs", "small", "3"]) == 2
    assert "numbered 1 to 2" in capsys.readouterr().err


def test_cancel_ends_one_trial_or_all(
    use_home: Home, sqlite_ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    put_small_study(sqlite_ledger, seeds=(0, 1))
    assert main(["cancel", "small", "--trial", "2"]) == 0
    assert "cancelled 1 trial of 'small'" in capsys.readouterr().out
    assert main(["cancel", "small", "--trial", "2"]) == 0
    assert "done already" in capsys.readouterr().out
    assert main(["cancel", "small"]) == 0
    assert "cancelled 3 trials of 'small'" in capsys.readouterr().out
    assert {trial.outcome for trial in sqlite_ledger.snapshot("small").trials} == {Outcome.CANCELLED}


def test_status_loads_nothing_heavy(use_home: Home, sqlite_ledger: Ledger) -> None:
    put_small_study(sqlite_ledger)
    code = (
        "import sys\nfrom posestudy.commands.app import main\nmain(['status', 'small', '--json'])\n"
        "print([m for m in ('torch', 'pandas', 'mlflow', 'optuna', 'alembic') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
