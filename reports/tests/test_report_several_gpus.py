"""A study on several GPUs in the report: what an update saw, and hours that count once for each GPU."""

from __future__ import annotations

from dataclasses import replace

from synthetic_report import CREATED, Builder

from posestudy.vocabulary import Outcome
from posestudy_reports.budget_time import history
from posestudy_reports.document import Paragraph
from posestudy_reports.expectation import expectation


def on(gpus: int) -> Builder:
    study = Builder(stages=[{"name": "only", "design": "variants"}])
    config = {"epochs": 20, "batch_size": 16, "gpus": gpus, "optimizer": {"type": "Adam", "lr": 0.001}}
    scaled = {**config, "lr_scaling": {"base_batch_size": 16}}
    study.stage("only")
    for number in range(6):
        study.cell(f"c{number}", {"sigma": 1.0 + number})
        study.cells[-1] = replace(study.cells[-1], config={**study.cells[-1].config, **scaled})
        study.trial(Outcome.COMPLETED, (0.1, 0.2 + number / 100), duration_s=1800.0, ended=CREATED + 60 * number)
    study.study = replace(study.study, document={**study.study.document, "baseline": scaled})
    return study


def test_the_methods_say_what_each_device_had_and_that_the_rate_followed() -> None:
    def prose(gpus: int) -> str:
        document = on(gpus).report().document
        return " ".join(str(c.text) for part in document.parts for c in part.content if isinstance(c, Paragraph))

    assert "in batches of 16 on each of 2 devices at a learning rate of 1e-3, scaled linearly" in prose(2)
    assert "in batches of 16 at a learning rate" in prose(1)


def test_time_on_two_gpus_counts_twice() -> None:
    one, two = (history(on(gpus).report().result) for gpus in (1, 2))
    assert one is not None
    assert two is not None
    assert two.total == 2 * one.total == 6 * 3600.0


def test_what_the_plan_expected_is_compared_in_the_same_hours() -> None:
    result = on(2).report().result
    estimate = {"trials": 6, "gpu_hours": 6.0, "wall_hours": None, "disk_gb": None}
    study = replace(result.snapshot.study, estimate=estimate)
    (text,) = expectation(replace(result, snapshot=replace(result.snapshot, study=study)), None)
    assert "(as expected)" in text
