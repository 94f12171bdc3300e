"""The frame of a study: every number of the ledger in it, in one read, whatever wrote it and wherever it lies."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_report import Builder, finished, unfinished

import posestudy_reports
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import ValueRecord
from posestudy.ledger.value_columns import ValueColumns, parsed
from posestudy.settings import Settings
from posestudy.testing import put_small_study
from posestudy.vocabulary import Outcome
from posestudy_reports.frame import COLUMNS
from posestudy_reports.writers import writer

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "frame.py"))
TRIALS, EPOCHS, EVERY = 200, 20, 5


def settings(home: Home, url: str) -> Settings:
    return Settings(home, url, f"sqlite:///{home.mlflow_database}", f"sqlite:///{home.optuna_database}")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> posestudy_reports.report.StudyReport:
    """A study of 200 trials with 20 epochs each."""
    home = Home.resolve(tmp_path_factory.mktemp("large"))
    url = f"sqlite:///{home.database}"
    BENCHMARK["fill"](url, TRIALS, EPOCHS, EVERY)
    return posestudy_reports.open(BENCHMARK["STUDY"], settings(home, url))


def test_the_frame_has_a_row_a_trial_with_the_documented_columns(large) -> None:
    frame = large.frame
    assert list(frame.columns) == [*COLUMNS, "factor.optimizer.lr"]
    assert frame.number.tolist() == list(range(1, TRIALS + 1))
    assert frame.uid.tolist() == [f"{n:032x}" for n in range(1, TRIALS + 1)]
    place = len(BENCHMARK["TRAINING"])
    assert frame.final.tolist() == [BENCHMARK["value_at"](n, EPOCHS, place) for n in range(1, TRIALS + 1)]
    first = frame.iloc[0]
    assert (first.parameters, first.gmacs, first.profile_device, first.device) == (33997649, 5.46, "A processor", "cpu")
    assert frame.key.nunique() == TRIALS / BENCHMARK["SEEDS"]
    assert frame.iloc[2]["factor.optimizer.lr"] == "1.001e-5"


def test_the_values_are_those_of_the_ledger_to_the_last_bit(large) -> None:
    names = sorted((*BENCHMARK["TRAINING"], *BENCHMARK["VALIDATION"]))
    training = sorted(BENCHMARK["TRAINING"])
    places = {name: i for i, name in enumerate((*BENCHMARK["TRAINING"], *BENCHMARK["VALIDATION"]))}
    expected = [
        (f"{n:032x}", n, epoch, name, BENCHMARK["value_at"](n, epoch, places[name]))
        for n in range(1, TRIALS + 1)
        for epoch in range(1, EPOCHS + 1)
        for name in (names if epoch % EVERY == 0 else training)
    ]
    values = large.values
    assert list(zip(values.uid, values.number, values.epoch, values.metric, values.value, strict=True)) == expected
    assert values.mlflow_run_id.isna().all()


def test_the_records_of_one_trial_are_made_where_they_are_asked_for(large) -> None:
    rows = large.result.values[f"{7:032x}"]
    assert [row.epoch for row in rows] == list(range(1, EPOCHS + 1))
    assert set(rows[0].metrics) == set(BENCHMARK["TRAINING"])
    assert set(rows[4].metrics) == {*BENCHMARK["TRAINING"], *BENCHMARK["VALIDATION"]}
    assert rows[4].metrics["coco/AP"] == BENCHMARK["value_at"](7, 5, len(BENCHMARK["TRAINING"]))
    assert "f" * 32 not in large.result.values
    assert large.result.snapshot.values[-1] == large.result.values[f"{TRIALS:032x}"][-1]


@pytest.mark.parametrize("rows", [3, 2100])
def test_missing_and_odd_numbers_are_kept_apart(ledger: Ledger, home: Home, ledger_url: str, rows: int) -> None:
    """On both databases, by both parsers: what is missing, not a number, infinite, whole or has an odd name."""
    put_small_study(ledger)
    claim = ledger.claim("small", "w", 60.0)
    assert claim is not None
    uid, fence = claim.trial.uid, claim.trial.fence
    values = {epoch: {"loss": 1.0 / epoch, "coco/AP": 0.5} for epoch in range(1, rows + 1)}
    values[1] = {"loss": math.nan, "猫 %|": 3}
    values[2] = {"loss": -math.inf, "coco/AP": 1e-308}
    assert ledger.record_epoch(uid, fence, values, None, 1.0)
    report = posestudy_reports.open("small", settings(home, ledger_url))
    first, second, third = report.result.values[uid][:3]
    assert math.isnan(first.metrics.pop("loss"))
    assert first.metrics == {"猫 %|": 3.0}
    assert second.metrics == {"loss": -math.inf, "coco/AP": 1e-308}
    assert third.metrics == {"loss": 1.0 / 3, "coco/AP": 0.5}
    table = report.values
    assert len(table) == 2 * rows
    assert table[table.metric == "猫 %|"].value.tolist() == [3.0]
    assert table[table.epoch == 1].metric.tolist() == ["loss", "猫 %|"]


def test_both_parsers_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    numbers = random.standard_normal(3000) * 10.0 ** random.integers(-300, 300, 3000)
    texts = [f'{{"a": {number!r}, "b{i % 3}": {i}}}' for i, number in enumerate(numbers.tolist())]
    fast = parsed(texts)
    monkeypatch.setattr("posestudy.ledger.value_columns._MANY_ROWS", len(texts) + 1)
    slow = parsed(texts)
    assert list(fast) == list(slow)
    for name, column in slow.items():
        assert np.array_equal(fast[name].numbers, column.numbers, equal_nan=True)
        assert (fast[name].known is None) == (column.known is None)
        assert column.known is None or np.array_equal(fast[name].known, column.known)


def test_columns_of_records_are_the_records_again() -> None:
    values = [
        ValueRecord("b", 2, {"y": 1.0}, 5.0, 1),
        ValueRecord("a", 1, {"x": 1.0, "y": 2.0}, 6.0, 2),
        ValueRecord("b", 1, {"x": 3.0}, 4.0, 1),
    ]
    columns = ValueColumns.of(values)
    assert columns == [values[2], values[0], values[1]]
    assert columns[:2] == (values[2], values[0])
    assert columns.by_trial["a"] == (values[1],)
    assert columns != values
    with pytest.raises(IndexError):
        columns[3]
    nothing = ValueColumns.of(())
    assert list(nothing) == []
    assert nothing == ()


def test_a_study_without_values_has_empty_frames() -> None:
    report = Builder().report()
    assert list(report.values.columns) == ["uid", "mlflow_run_id", "number", "epoch", "metric", "value"]
    assert len(report.values) == len(report.frame) == 0


def test_open_trials_are_rows_without_numbers() -> None:
    frame = unfinished().report().frame
    assert frame.final.isna().tolist() == [False, True, True, True]
    assert frame.outcome.isna().tolist() == [False, True, True, True]
    assert pd.isna(frame.parameters[3])


def test_a_metric_that_would_start_a_formula_is_guarded_in_the_spreadsheet() -> None:
    study = Builder()
    study.stage("lr")
    study.cell("baseline", {})
    study.trial(Outcome.COMPLETED, (0.5,))
    study.values[0].metrics["=HYPERLINK(1)"] = 1.0
    text = writer("csv")(study.report())["values.csv"].decode()
    assert "'=HYPERLINK(1)" in text


def test_the_same_in_the_frame_as_in_the_rows() -> None:
    report = finished().report()
    for trial in report.result.snapshot.trials:
        mine = report.values[report.values.uid == trial.uid]
        told = [(v.epoch, n, x) for v in report.result.values.get(trial.uid, ()) for n, x in sorted(v.metrics.items())]
        assert list(zip(mine.epoch, mine.metric, mine.value, strict=True)) == told
        assert set(mine.mlflow_run_id.dropna()) <= {report.result.runs.get(trial.uid)}
