"""The tests an engine must pass: subclass `EngineContract` in a test file of your own and name your engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

import pytest

from posestudy.ledger import Ledger
from posestudy.ledger.records import Snapshot
from posestudy.settings import Settings
from posestudy.vocabulary import Outcome, TrialState
from posestudy_runner.engines import GROUP, names
from posestudy_runner.launching import run_study
from posestudy_studies import drawn_cats
from posestudy_studies.file import load
from posestudy_studies.spec import Study

_STUDY = """\
study: engine_contract
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val:   {{annotations: annotations/val.json,   images: images}}
baseline:
  model: resnet_tiny
  input_size: [32, 32]
  epochs: 1
  batch_size: 4
  optimizer: {{lr: 1.0e-3}}
stages:
  - name: first
    design: variants
    variants: {{wide: {{sigma: 1.5}}}}
  - name: second
    design: variants
    include_baseline: false
    variants: {{large: {{batch_size: 8}}}}
"""


class EngineContract:
    """What `launch` relies on.

    Attributes:
        engine: its name, as `launch --engine` takes it.
        workers: trials at a time that it is asked for.
        limit_s: seconds that three very small trials may take.
    """

    engine: ClassVar[str]
    workers: ClassVar[int] = 2
    limit_s: ClassVar[float] = 300.0

    @pytest.fixture
    def settings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
        """A home of the test's own; override it where your workers need another database than a file."""
        monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Settings.resolve(str(tmp_path / "home"))

    @pytest.fixture
    def study(self, tmp_path: Path) -> tuple[Study, str]:
        """Two stages, three trials of an epoch; the second stage waits for the first."""
        root = tmp_path / "cats"
        drawn_cats.draw(root, train=16, val=8, seed=1, size_px=48)
        file = tmp_path / "engine_contract.yaml"
        file.write_text(_STUDY.format(root=root), encoding="utf-8")
        return load(file), file.read_text(encoding="utf-8")

    def test_installed_under_its_name(self) -> None:
        assert self.engine in names(), f"no entry point '{self.engine}' in group {GROUP}"

    def test_a_study_is_trained_to_its_end_and_not_again(self, settings: Settings, study: tuple[Study, str]) -> None:
        assert self._launch(settings, study) == 0
        done = self._finished(settings, study[0].study)
        assert [(trial.number, trial.outcome) for trial in done.trials] == [(n, Outcome.COMPLETED) for n in (1, 2, 3)]
        assert [len([a for a in done.attempts if a.trial_uid == trial.uid]) for trial in done.trials] == [1, 1, 1]
        assert self._launch(settings, study) == 0
        assert self._finished(settings, study[0].study).trials == done.trials

    def _launch(self, settings: Settings, study: tuple[Study, str]) -> int:
        return run_study(*study, settings, workers=self.workers, engine_name=self.engine)

    def _finished(self, settings: Settings, name: str) -> Snapshot:
        """The study once it is closed: an engine may come back while its workers go on elsewhere."""
        limit = time.monotonic() + self.limit_s
        ledger = Ledger.open(settings.database_url)
        try:
            while True:
                found = ledger.snapshot(name)
                if found.study.state == "closed":
                    assert all(trial.state is TrialState.DONE for trial in found.trials)
                    return found
                assert time.monotonic() < limit, f"the study is still open after {self.limit_s:.0f} s: {found.trials}"
                time.sleep(0.5)
        finally:
            ledger.close()
