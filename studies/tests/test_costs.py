"""What a study will cost, from what equal work took before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from posestudy.ledger.records import CellRecord, KnownResult, Snapshot, StageRecord, ValueRecord
from posestudy.vocabulary import Outcome
from posestudy_studies import factors
from posestudy_studies.costs import FIRST_S, Disk, Rate, Rates, Work, cost_class, estimate, history
from posestudy_studies.designs.contract import study_with
from posestudy_studies.rehearsal import Rehearsal
from posestudy_studies.training import Training

STAGE = {"name": "lr", "design": "variants", "variants": {"high": {"optimizer.lr": 0.01}}}
BASELINE = study_with(STAGE).baseline


def training(**levels: Any) -> Training:
    return factors.apply(BASELINE, {name.replace("__", "."): level for name, level in levels.items()})


def rate(of: Training = BASELINE, **more: Any) -> Rate:
    fields: dict[str, Any] = {
        "device": "cpu", "iteration_s": 0.1, "validation_s": 0.01, "start_s": 2.0, "disk_mb": 8.0,
        "peak_memory_mb": 500.0, "basis": "history",
    }  # fmt: skip
    return Rate(cost_class(of), **(fields | more))


def priced(*trainings: Training, rates: list[Rate], workers: int = 1, **more: Any) -> dict[str, Any]:
    work = [Work("s", f"c{i}", t, 1) for i, t in enumerate(trainings)]
    sizes = {"train_instances": 80, "val_instances": 10}
    return estimate(work, Rates(rates, "cpu"), workers=workers, **(sizes | more))


def test_the_class_is_what_time_and_memory_depend_on() -> None:
    assert cost_class(training(optimizer__lr=0.5, epochs=99, sigma=3.0)) == cost_class(BASELINE)
    for changed in (training(batch_size=16), training(input_size=[96, 96]), training(amp=True)):
        assert cost_class(changed) != cost_class(BASELINE)


def test_a_trial_costs_its_start_its_iterations_and_its_validations() -> None:
    """4 epochs of 10 iterations at 0.1 s, 4 validations of 10 instances at 0.01 s, 2 s to start: 6.4 s."""
    found = priced(BASELINE, BASELINE, rates=[rate()])
    assert found["gpu_hours"] == pytest.approx(2 * 6.4 / 3600)
    assert found["wall_hours"] == pytest.approx(2 * 6.4 / 3600)
    assert (found["disk_gb"], found["peak_memory_mb"], found["basis"]) == (0.016, 500.0, "history")
    assert priced(BASELINE, BASELINE, rates=[rate()], workers=2)["wall_hours"] == pytest.approx(6.4 / 3600)
    assert priced(BASELINE, rates=[rate()], trial_hours=0.001)["gpu_hours"] == 0.001


def test_stages_wait_for_their_longest_trial() -> None:
    long = training(epochs=40)
    work = [Work("a", "long", long, 1), Work("a", "short", BASELINE, 1), Work("b", "short", BASELINE, 1)]
    found = estimate(work, Rates([rate()], "cpu"), workers=2, train_instances=80, val_instances=10)
    assert found["wall_hours"] == pytest.approx((2 + 40 * 1.1 + 6.4) / 3600)


def test_another_size_of_the_same_network_is_scaled_and_named() -> None:
    larger = training(input_size=[128, 128])
    found = priced(larger, rates=[rate()])
    assert found["scaled"] == ["s/c0"]
    assert found["gpu_hours"] == pytest.approx((2 + 4 * (4.0 + 0.4)) / 3600)
    assert priced(training(model="resnet50"), rates=[rate()])["unknown"] == ["s/c0"]


def test_what_is_not_known_is_null_and_named() -> None:
    for found in (priced(BASELINE, rates=[]), priced(BASELINE, rates=[rate(device="another GPU")])):
        assert (found["gpu_hours"], found["wall_hours"], found["disk_gb"], found["basis"]) == (None,) * 4
        assert found["unknown"] == ["s/c0"]
        assert found["trials"] == 1
    assert priced(BASELINE, rates=[rate()], train_instances=None)["gpu_hours"] is None


def test_a_measured_rate_beats_an_earlier_trials_and_a_class_that_does_not_fit_is_named() -> None:
    measured = rate(basis="measured", iteration_s=0.2)
    assert priced(BASELINE, rates=[measured, rate()])["gpu_hours"] == pytest.approx((2 + 8 + 0.4) / 3600)
    assert priced(BASELINE, rates=[rate(out_of_memory=True)])["out_of_memory"] == ["s/c0"]


def trained() -> Snapshot:
    """A study of two cells, trained: three epochs with 0.1, 0.3 and 0.2 s an iteration."""

    def result(stage: StageRecord, cell: CellRecord, seed: int) -> KnownResult:
        return KnownResult(Outcome.COMPLETED, {}, final_value=0.5, final_epoch=4, duration_s=10.0)

    held = Rehearsal(study_with(STAGE)).play(result)
    values = [
        ValueRecord(t.uid, epoch, {"iteration_time_s": seconds, "validation_time_s": 0.01}, 0.0, 1)
        for t in held.trials
        for epoch, seconds in ((1, 0.1), (2, 0.3), (3, 0.2))
    ]
    trials = [replace(t, fence=1, started=100.0, ended=113.0, peak_memory_mb=300.0) for t in held.trials]
    return replace(held, trials=tuple(trials), values=tuple(values))


def test_history_is_the_median_of_what_trials_took() -> None:
    held = trained()
    (found,) = history([held], {held.trials[0].uid: Disk(1.0, 2.0, 1.0), held.trials[1].uid: Disk(2.0, 3.0, 1.0)})
    assert (found.iteration_s, found.validation_s, found.start_s, found.disk_mb) == (0.2, 0.01, 3.0, 5.0)
    assert (found.cost_class, found.device, found.basis) == (cost_class(BASELINE), "cpu", "history")


def test_a_study_whose_cells_said_less_tells_nothing() -> None:
    held = trained()
    older = [replace(c, config={key: v for key, v in c.config.items() if key != "amp"}) for c in held.cells]
    assert history([replace(held, cells=tuple(older))], {}) == []


def test_what_was_not_trained_here_or_not_to_its_end_tells_nothing_of_time() -> None:
    held = trained()
    reused = [replace(t, source={"kind": "reused"}) for t in held.trials]
    assert history([replace(held, trials=tuple(reused))], {}) == []
    ended = [replace(t, outcome=Outcome.OUT_OF_MEMORY) for t in held.trials]
    assert history([replace(held, trials=tuple(ended))], {}) == []
    assert history([replace(held, values=())], {}) == []
    resumed = [replace(t, fence=2) for t in held.trials]
    assert history([replace(held, trials=tuple(resumed))], {})[0].start_s == FIRST_S
