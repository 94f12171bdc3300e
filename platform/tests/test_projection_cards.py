"""What a trial looks like as a run, and a split as a data set: pure functions, without MLflow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from projection_study import DOCUMENT

from posestudy.errors import LedgerError
from posestudy.ledger.records import StudyRecord
from posestudy.projections.dataset_card import dataset_cards, without_secrets
from posestudy.projections.run_card import cut, flatten, legal_name, metric_name
from posestudy.projections.standing import metric_of
from posestudy.vocabulary import METRICS


def study(**document: object) -> StudyRecord:
    return StudyRecord(1, "cats", {**DOCUMENT, **document}, "", "open", 0.0)


@given(st.text(max_size=300))
def test_any_name_becomes_one_that_mlflow_takes(name: str) -> None:
    legal = legal_name(name)
    assert 0 < len(legal) <= 250
    assert re.fullmatch(r"[/\w.\- :]+", legal)
    parts = legal.split("/")
    assert "" not in parts
    assert not {".", ".."} & set(parts)


def test_every_metric_of_the_vocabulary_keeps_its_name_in_mlflow() -> None:
    assert {metric_name(name) for name in METRICS} == set(METRICS)


def test_resources_go_where_the_ui_shows_system_metrics() -> None:
    assert metric_name("memory_mb") == "system/memory_mb"
    assert metric_name("loss") == "loss"


def test_factors_are_flattened_as_a_reader_would_write_them() -> None:
    config = {"amp": True, "init": None, "optimizer": {"lr": 1e-5, "betas": [0.9, 0.99]}, "augmentation": {}}
    assert dict(flatten(config)) == {
        "amp": "true",
        "init": "none",
        "optimizer.lr": "1e-05",
        "optimizer.betas": "[0.9, 0.99]",
        "augmentation": "{}",
    }


def test_a_long_text_is_cut_visibly() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"


def test_a_split_is_known_by_the_content_of_its_annotations(tmp_path: Path) -> None:
    for name in ("train.json", "val.json"):
        (tmp_path / name).write_text("{}")
    dataset = {**DOCUMENT["dataset"], "root": str(tmp_path)}
    train, val = dataset_cards(study(dataset=dataset))
    assert (train.context, val.context) == ("training", "validation")
    assert train.digest == val.digest
    (tmp_path / "train.json").write_text('{"images": []}')
    changed, same = dataset_cards(study(dataset=dataset))
    assert changed.digest != train.digest
    assert same == val
    assert len(changed.digest) <= 36


def test_a_place_keeps_no_secrets() -> None:
    assert without_secrets("s3://key:hidden@bucket/cats.json?token=hidden#x") == "s3://bucket/cats.json"
    assert without_secrets("/data/cats@home?.json") == "/data/cats@home?.json"


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(LedgerError, match=r"'coco/APP'.*did you mean 'coco/AP'"):
        metric_of(study(metric="coco/APP"))
