"""`posestudy report` on a real ledger: files, what is open, and clear errors."""

from __future__ import annotations

import json

import pytest

import posestudy_reports
from posestudy.commands.app import main
from posestudy.errors import NotFoundError
from posestudy.ledger import Ledger
from posestudy.ledger.records import NewCell, OpenStage
from posestudy.settings import Settings
from posestudy.vocabulary import Direction, Outcome

CONFIG = {"sigma": 1.0, "optimizer": {"type": "Adam", "lr": 1e-4}}


@pytest.fixture
def study_home(tmp_path, monkeypatch):
    """A home with study `cats`: a completed baseline and a waiting variant."""
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    (tmp_path / "home").mkdir()
    ledger = Ledger.open(Settings.resolve().database_url)
    study = ledger.put_study("cats", {"metric": "coco/AP", "stages": [{"name": "lr"}]}, "study: cats\n")
    cells = (
        NewCell("baseline", "", "", "0" * 64, {}, CONFIG, (0,)),
        NewCell("sigma_2", "", "Wider", "1" * 64, {"sigma": 2.0}, CONFIG | {"sigma": 2.0}, (0,)),
    )
    assert ledger.apply(study.id, [OpenStage(0, "lr", "variants", "baseline", CONFIG, cells)])
    claim = ledger.claim("cats", "host:1", 60.0)
    for epoch, value in ((1, 0.1), (2, 0.25)):
        assert ledger.record_epoch(claim.trial.uid, claim.trial.fence, {epoch: {"coco/AP": value}}, None, 1.5)
    assert ledger.finish(
        claim.trial.uid, claim.trial.fence, Outcome.COMPLETED, None,
        metric="coco/AP", direction=Direction.MORE, peak_memory_mb=100.0,
    )  # fmt: skip
    ledger.close()
    return tmp_path


def test_it_writes_every_format_and_says_what_is_open(study_home, capsys):
    assert main(["report", "cats", "--out", str(study_home / "out")]) == 0
    names = {str(p.relative_to(study_home / "out")) for p in (study_home / "out").rglob("*") if p.is_file()}
    assert names == {
        "report.pdf", "supplement.pdf", "report.html", "report.md", "figures/1_lr.svg",
        "trials.csv", "values.csv", "differences.csv", "tables/1_lr.csv",
        "report.tex", "tables/1_lr.tex", "tables/trials.tex", "numbers.tex", "numbers.json", "references.bib",
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "still open: Trial 2 waiting for a worker." in printed
    assert printed.splitlines()[-1] == f"read first: {study_home / 'out' / 'report.pdf'}"
    assert "2: 0.250" in (study_home / "out" / "report.md").read_text()


def test_again_gives_the_same_bytes(study_home):
    main(["report", "cats", "--out", str(study_home / "a")])
    main(["report", "cats", "--out", str(study_home / "b")])
    for path in (study_home / "a").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (study_home / "b" / path.relative_to(study_home / "a")).read_bytes(), path.name


def test_only_the_formats_asked_for(study_home, capsys):
    assert main(["report", "cats", "--out", str(study_home / "out"), "--format", "csv"]) == 0
    assert "read first" not in capsys.readouterr().out
    assert {p.suffix for p in (study_home / "out").rglob("*") if p.is_file()} == {".csv"}


def test_a_misspelt_format_is_refused_before_anything_is_written(study_home, capsys):
    assert main(["report", "cats", "--out", str(study_home / "out"), "--format", "pfd"]) == 2
    assert "did you mean 'pdf'?" in capsys.readouterr().err
    assert not (study_home / "out").exists()


def test_a_misspelt_study_is_refused_with_the_nearest(study_home, capsys):
    assert main(["report", "cat", "--out", str(study_home / "out")]) == 2
    assert "cats" in capsys.readouterr().err


def test_a_home_without_a_ledger_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "none"))
    with pytest.raises(NotFoundError, match="no ledger"):
        posestudy_reports.open("cats")
    assert not (tmp_path / "none").exists()


def test_the_frame_is_ready_for_a_notebook(study_home):
    frame = posestudy_reports.open("cats").frame
    assert frame.loc[0, "final"] == 0.25
    assert frame.loc[0, "duration_s"] > 0
    assert json.loads(frame.to_json(orient="records"))[1]["outcome"] is None
