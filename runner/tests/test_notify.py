"""`--notify`: a command of the user's is run once for each stage, failure and study, and never stops the training."""

from __future__ import annotations

import json
import resource
import threading
from pathlib import Path
from typing import Any

import pytest
from standin_pool import STUDY, Standin, advance, importable_standins, until

from posestudy.commands.app import main
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Direction, Outcome
from posestudy_runner.notifying import Notifier, harmless

__all__ = ["importable_standins"]

CELLS = {"works": {}, "breaks": {"behaviour": "raise"}}
FACTS = ("EVENT", "STUDY", "STAGE", "TRIAL", "OUTCOME", "MESSAGE", "HOME")
TELL = "echo " + " ".join(f'\\"$POSESTUDY_{fact}\\"'.replace("\\", "") for fact in FACTS)
TOLD = [
    "failed standin only 2 failed trial 2 failed: ValueError: no such keypoint {home}",
    "stage standin only   stage 'only' is done: 2 trials (1 completed, 1 failed); it is the first {home}",
    "study standin    study 'standin' is done: 2 trials (1 completed, 1 failed) {home}",
]


def kept(home: Home) -> list[dict[str, Any]]:
    return [json.loads(line) for line in home.notifications(STUDY).read_text().splitlines()]


@pytest.mark.slow
def test_each_event_is_told_once_by_many_workers_and_never_again(
    tmp_path: Path, home: Home, sqlite_ledger: Ledger
) -> None:
    standin = Standin(home, sqlite_ledger, CELLS)
    command = f"{TELL} >>{tmp_path}/told"
    standin.pool(notify=command).run(3)
    told = (tmp_path / "told").read_text().splitlines()
    assert sorted(told) == sorted(line.format(home=home.root) for line in TOLD)
    assert [(line["event"], line["exit_code"]) for line in kept(home)] == [("failed", 0), ("stage", 0), ("study", 0)]
    # A second launch finds everything told; a trial that is tried again and fails is news, as is the end of the study.
    standin.pool(notify=command).run(1)
    assert len((tmp_path / "told").read_text().splitlines()) == 3
    sqlite_ledger.retry(STUDY, {Outcome.FAILED})
    standin.pool(notify=command).run(1)
    again = [line.split()[0] for line in (tmp_path / "told").read_text().splitlines()[3:]]
    assert again == ["failed", "study"]


@pytest.mark.slow
def test_a_command_that_fails_or_hangs_is_shown_and_ends_no_training(home: Home, sqlite_ledger: Ledger) -> None:
    standin = Standin(home, sqlite_ledger, CELLS)
    standin.pool(notify="echo no such host >&2; exit 7").run(1)
    said = standin.output.getvalue()
    assert "notify: the command for trial 2 ended with 7: no such host; training goes on" in said
    assert "notify: the command for stage 'only' ended with 7" in said
    assert {trial.outcome for trial in standin.trials()} == {Outcome.COMPLETED, Outcome.FAILED}
    assert [line["output"] for line in kept(home)] == ["no such host"] * 3


def fail_one(ledger: Ledger, why: str = "$(touch broken) \x1b[31m\nmore") -> None:
    """A study with a trial that failed."""
    ledger.apply(ledger.study(STUDY).id, advance(ledger.snapshot(STUDY)))
    claim = ledger.claim(STUDY, "w", 600.0)
    assert claim is not None
    ending: dict[str, Any] = {"metric": "coco/AP", "direction": Direction.MORE, "peak_memory_mb": None}
    ledger.finish(claim.trial.uid, 1, Outcome.FAILED, why, **ending)


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path, home: Home, sqlite_ledger: Ledger) -> None:
    Standin(home, sqlite_ledger, CELLS)
    said: list[str] = []
    command = f"sleep 600 & echo $! >{tmp_path}/child; wait"
    notifier = Notifier(sqlite_ledger, home, STUDY, command, said.append, limit_s=1.0)
    notifier.begin()
    fail_one(sqlite_ledger)
    notifier.see(sqlite_ledger.snapshot(STUDY))
    notifier.close()
    assert said == ["notify: the command for trial 1 did not end in 1 s; training goes on"]
    child = (tmp_path / "child").read_text().strip()
    until(lambda: not Path(f"/proc/{child}").exists() or ") Z" in Path(f"/proc/{child}/stat").read_text(), 10)
    assert kept(home)[0]["exit_code"] is None


def test_a_command_that_prints_without_end_is_kept_in_its_last_words(home: Home, sqlite_ledger: Ledger) -> None:
    Standin(home, sqlite_ledger, CELLS)
    said: list[str] = []
    notifier = Notifier(sqlite_ledger, home, STUDY, "yes no such host | head -c 208000000; exit 3", said.append)
    notifier.begin()
    fail_one(sqlite_ledger)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    notifier.see(sqlite_ledger.snapshot(STUDY))
    notifier.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB, of 208 MB
    (line,) = said
    assert line == "notify: the command for trial 1 ended with 3: no such host; training goes on"
    assert len(kept(home)[0]["output"]) == 500


def test_an_error_of_any_length_is_a_sentence_to_send(tmp_path: Path, home: Home, sqlite_ledger: Ledger) -> None:
    Standin(home, sqlite_ledger, CELLS)
    said: list[str] = []
    notifier = Notifier(sqlite_ledger, home, STUDY, f'echo "$POSESTUDY_MESSAGE" >{tmp_path}/told', said.append)
    notifier.begin()
    fail_one(sqlite_ledger, "ValueError: " + "0.123 " * 50_000)
    notifier.see(sqlite_ledger.snapshot(STUDY))
    notifier.close()
    told = (tmp_path / "told").read_text()
    assert told.startswith("trial 1 failed: ValueError: 0.123")
    assert told.endswith(" ...\n")
    assert len(told) == 1001
    assert not any("ended" in line for line in said)


def test_two_pools_tell_once_and_what_was_before_is_not_told(tmp_path: Path, home: Home, ledger: Ledger) -> None:
    Standin(home, ledger, CELLS)
    fail_one(ledger)
    command = f'echo "$POSESTUDY_TRIAL" >>{tmp_path}/told'
    said: list[str] = []
    two = [Notifier(ledger, home, STUDY, command, said.append) for _ in range(2)]
    for notifier in two:
        notifier.begin()
    second = ledger.claim(STUDY, "w", 600.0)
    assert second is not None
    ending: dict[str, Any] = {"metric": "coco/AP", "direction": Direction.MORE, "peak_memory_mb": None}
    ledger.finish(second.trial.uid, second.trial.fence, Outcome.FAILED, "no", **ending)
    snapshot = ledger.snapshot(STUDY)
    looks = [threading.Thread(target=notifier.see, args=(snapshot,)) for notifier in two for _ in range(3)]
    for look in looks:
        look.start()
    for look in looks:
        look.join()
    for notifier in two:
        notifier.close()
    # A worker that joins later knows it, too.
    late = Notifier(ledger, home, STUDY, command, said.append)
    late.begin()
    late.see(snapshot)
    late.close()
    assert (tmp_path / "told").read_text() == f"{second.trial.number}\n"
    assert not any("ended" in line for line in said)


@pytest.mark.slow
def test_a_launch_that_waits_for_the_command_says_so(home: Home, sqlite_ledger: Ledger) -> None:
    Standin(home, sqlite_ledger, CELLS)
    said: list[str] = []
    notifier = Notifier(sqlite_ledger, home, STUDY, "sleep 8", said.append)
    notifier.begin()
    fail_one(sqlite_ledger)
    notifier.see(sqlite_ledger.snapshot(STUDY))
    notifier.close()
    assert said == ["notify: waits for the command, 60 s at most"]
    assert kept(home)[0]["exit_code"] == 0


def test_messages_are_no_code_and_no_password_is_handed_on(
    tmp_path: Path, home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", "postgresql://me:topsecret@db/posestudy")
    monkeypatch.setenv("PGPASSWORD", "topsecret")
    monkeypatch.setenv("MY_CHAT_TOKEN", "mine")
    monkeypatch.chdir(tmp_path)
    Standin(home, sqlite_ledger, CELLS)
    notifier = Notifier(sqlite_ledger, home, STUDY, "env >env; echo $POSESTUDY_MESSAGE >message", print)
    notifier.begin()
    fail_one(sqlite_ledger)
    notifier.see(sqlite_ledger.snapshot(STUDY))
    notifier.close()
    environment = (tmp_path / "env").read_text()
    assert "topsecret" not in environment
    assert "MY_CHAT_TOKEN=mine" in environment
    assert (tmp_path / "message").read_text() == "trial 1 failed: $(touch broken) \\x1b[31m\n"
    assert not (tmp_path / "broken").exists()
    url = {"POSESTUDY_DATABASE_URL": "postgresql://me@db/posestudy"}
    assert harmless(url) == url


def test_a_study_file_cannot_name_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("study: s\nnotify: {command: touch broken}\n")
    assert main(["check", str(file)]) == 2
    assert "notify" in capsys.readouterr().err


def test_an_empty_command_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", str(tmp_path / "s.yaml"), "--notify", " "]) == 2
    assert "--notify: found ' ', expected a shell command" in capsys.readouterr().err
