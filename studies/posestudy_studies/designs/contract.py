"""The tests a design must pass: subclass `DesignContract` in a test file of your own and name your design."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from posestudy.ledger.records import CellRecord, Snapshot, StageRecord, StudyRecord, TrialRecord
from posestudy.vocabulary import Outcome, TrialState
from posestudy_studies import cells, factors, remedies
from posestudy_studies.designs.base import BASELINE, Proposal, View
from posestudy_studies.designs.registry import designs
from posestudy_studies.spec import Study
from posestudy_studies.training import is_name

MAX_ROUNDS = 200


def study_with(stage: dict[str, Any], levels: Mapping[str, Any] | None = None) -> Study:
    """A small study with one stage, its baseline with `levels` set."""
    split = {"annotations": "train.json", "images": "images"}
    study = Study.model_validate(
        {
            "study": "contract",
            "dataset": {"keypoints": "coco", "root": "data", "train": split, "val": split},
            "baseline": {
                "model": "resnet18", "input_size": [64, 64], "epochs": 4, "batch_size": 8,
                "optimizer": {"type": "Adam", "lr": 0.001},
            },
            "stages": [stage],
        }
    )  # fmt: skip
    return study.model_copy(update={"baseline": factors.apply(study.baseline, levels or {})})


def stage_view(study: Study, proposals: Sequence[Proposal], results: Sequence[float | Outcome | None]) -> View:
    """The first stage of `study` with one trial a proposal.

    Args:
        proposals: its cells in order, the baseline among them where there is one.
        results: by cell the final value of a completed trial, another outcome, or None for one that is waiting.
    """
    document, start = study.model_dump(mode="json"), study.baseline.model_dump(mode="json")
    record = StudyRecord(1, study.study, document, "", "open", 0.0)
    stage = StageRecord(1, 1, 0, study.stages[0].name, study.stages[0].design, "open", 1, BASELINE, start, None, None)
    rows: list[CellRecord] = []
    trials: list[TrialRecord] = []
    for i, (proposal, result) in enumerate(zip(proposals, results, strict=True)):
        new = cells.new_cell(study, study.baseline, proposal, (0,))
        rows.append(CellRecord(i, 1, i, new.name, new.label, new.note, new.key, new.levels, new.config))
        trials.append(_trial(i, new.optuna, result))
    return View(Snapshot(record, (stage,), tuple(rows), tuple(trials), (), ()), stage)


def _trial(index: int, optuna: dict[str, Any], result: float | Outcome | None) -> TrialRecord:
    value = None if isinstance(result, Outcome) else result
    outcome = result if isinstance(result, Outcome) else None if result is None else Outcome.COMPLETED
    epoch = None if value is None else 4
    return TrialRecord(
        uid=f"{index:032x}", study_id=1, cell_id=index, number=index + 1, seed=0,
        state=TrialState.WAITING if result is None else TrialState.DONE, outcome=outcome, message=None,
        fence=0, owner=None, lease_until=None, ckpt_path=None, ckpt_sha=None, ckpt_epoch=0, prev_path=None,
        prev_sha=None, prev_epoch=0, decision=None, optuna=optuna, final_value=value, final_epoch=epoch,
        best_value=value, best_epoch=epoch, started=None, ended=None, duration_s=None, peak_memory_mb=None,
    )  # fmt: skip


def played(study: Study, result: Callable[[Proposal], float | Outcome]) -> View:
    """The only stage of `study`, played to its end: `result` is asked for every cell in turn."""
    design, start = study.stages[0], study.baseline
    proposals = [cells.baseline_proposal(design)] if design.include_baseline else []
    proposals += design.opening(start)
    results: list[float | Outcome] = []
    for _ in range(MAX_ROUNDS):
        results += [result(proposal) for proposal in proposals[len(results) :]]
        view = stage_view(study, proposals, results)
        more = design.following(start, view)
        # A pool asks for these while the trials of `more` wait.
        waiting = stage_view(study, [*proposals, *more], [*results, *(None for _ in more)])
        more = [*more, *remedies.proposals(design, start, waiting)]
        if not more:
            return view
        proposals += more
    raise AssertionError(f"the design still asks for cells after {MAX_ROUNDS} rounds")


class DesignContract:
    """What `advance`, `plan` and the ledger rely on.

    Attributes:
        stage: a stage of the study file that uses the design.
        levels: factors to set on the baseline of the small study that it is tried in.
    """

    stage: ClassVar[dict[str, Any]]
    levels: ClassVar[dict[str, Any]] = {}

    def _study(self) -> Study:
        return study_with(self.stage, self.levels)

    def _run(self, study: Study) -> View:
        """Play the stage to its end with made-up results."""
        numbers = itertools.count()
        return played(study, lambda _: 0.1 + 0.01 * (7 * next(numbers) % 5))

    def test_installed_under_its_own_name(self) -> None:
        name = self.stage["design"]
        assert name in designs(), f"no entry point '{name}' in group posestudy.designs"
        assert isinstance(self._study().stages[0], designs()[name])

    def test_survives_the_ledgers_json(self) -> None:
        study = self._study()
        assert Study.model_validate(json.loads(json.dumps(study.model_dump(mode="json")))) == study

    def test_names_are_safe_and_unique(self) -> None:
        names = [cell.name for cell in self._run(self._study()).cells]
        assert len(names) > 1, "the stage has no cell beside its baseline"
        assert len(set(names)) == len(names)
        assert all(is_name(name) for name in names)

    def test_every_cell_is_its_levels_on_the_start(self) -> None:
        study = self._study()
        for cell in self._run(study).cells:
            assert set(cell.levels) <= set(factors.known())
            assert factors.apply(study.baseline, cell.levels).model_dump(mode="json") == cell.config

    def test_the_stage_ends(self) -> None:
        study = self._study()
        assert study.stages[0].complete(self._run(study))

    def test_the_stage_ends_where_nothing_has_a_value(self) -> None:
        study = self._study()
        for outcome in (Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.FAILED):
            view = played(study, lambda _, outcome=outcome: outcome)  # type: ignore[misc]
            assert study.stages[0].complete(view)

    def test_rows_added_for_those_that_ran_out_of_memory_do_not_disturb_it(self) -> None:
        declared = study_with({**self.stage, "out_of_memory": {"accumulate": True}}, self.levels)
        with_them = played(declared, lambda _: Outcome.OUT_OF_MEMORY).cells
        without = played(self._study(), lambda _: Outcome.OUT_OF_MEMORY).cells
        own = [cell.name for cell in with_them if not remedies.is_remedy(cell, with_them)]
        assert own == [cell.name for cell in without]

    def test_combinations_are_cells(self) -> None:
        study = self._study()
        names = [cell.name for cell in self._run(study).cells]
        for name, of in study.stages[0].combinations().items():
            assert {name, *of} <= set(names)

    def test_same_rows_same_answer(self) -> None:
        study = self._study()
        design, start = study.stages[0], study.baseline
        view = stage_view(study, [cells.baseline_proposal()], [0.1])
        assert design.opening(start) == design.opening(start)
        assert design.following(start, view) == design.following(start, view)

    def test_plan_names_what_comes(self) -> None:
        study = self._study()
        planned = study.stages[0].planned(study.baseline)
        run = [cell.name for cell in self._run(study).cells if cell.name != BASELINE]
        sure = [proposal.name for proposal, decided in planned if decided]
        assert run[: len(sure)] == sure
        assert len(run) <= len(planned)

    def test_probes_point_into_the_stage(self) -> None:
        for probe in self._study().stages[0].probes():
            for path in (probe.path, *probe.places.values()):
                at: Any = self.stage
                for part in path:
                    at = at[part]
