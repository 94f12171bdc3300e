"""A home with one trial that looks trained: real config, weights of the real network, logs of two attempts.

Nothing is trained: what an archive is made of does not depend on how good the weights are.
"""

from __future__ import annotations

from pathlib import Path

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import NewCell, OpenStage
from posestudy.vocabulary import AttemptEnd, Direction, Outcome
from posestudy_studies import factors
from posestudy_studies.drawn_cats import draw
from posestudy_studies.mmpose_config import config_text
from posestudy_studies.spec import Study
from posestudy_studies.training import Training

NAME = "handed"
TEST_IMAGES = 4
LOST = """preamble of attempt 1 {data}/annotations/train.json
Epoch(train)  [1][50/69]  loss: 0.9
Epoch(train)  [1][69/69]  loss: 0.8
Epoch(val) [1][2/2]    coco/AP: 0.1
Epoch(train)  [2][50/69]  loss: 0.7 of the lost attempt
killed here
"""
SECOND = """preamble of attempt 2 {home}/runs/handed/1/2/config.py
Epoch(train)  [2][69/69]  loss: 0.5
Epoch(val) [2][2/2]    coco/AP: 0.3
the end
"""


def document(data: Path) -> dict[str, object]:
    """The study file."""
    return {
        "study": NAME,
        "dataset": {
            "keypoints": "cats",
            "root": str(data),
            **{
                split: {"annotations": f"annotations/{split}.json", "images": "images"}
                for split in ("train", "val", "test")
            },
        },
        "metric": "coco/AP",
        "baseline": {
            "model": "resnet_tiny",
            "input_size": [64, 64],
            "sigma": 1.0,
            "epochs": 2,
            "batch_size": 8,
            "optimizer": {"type": "Adam", "lr": 1.0e-3},
        },
        "stages": [{"name": "only", "design": "variants", "variants": {"fast": {"optimizer.lr": 5.0e-3}}}],
    }


def make(folder: Path) -> Home:
    """The home; the data lie in `folder / "cats"`. Imports torch."""
    import torch

    from posestudy_runner import attending

    data = folder / "cats"
    draw(data, train=2, val=2, test=TEST_IMAGES, seed=1, size_px=64)
    home = Home(folder / "home")
    home.root.mkdir()
    study = Study.model_validate(document(data))
    baseline = study.baseline.model_dump(mode="json")
    fast = factors.apply(study.baseline, {"optimizer.lr": 5.0e-3}).model_dump(mode="json")
    _put(home, study, baseline, fast)
    for fence, log in ((1, LOST), (2, SECOND)):
        paths = home.attempt(NAME, 1, fence)
        paths.folder.mkdir(parents=True)
        paths.log.write_text(log.format(data=data, home=home.root))
        paths.config.write_text(config_text(study, Training.model_validate(fast), 3))
    torch.manual_seed(0)
    model = attending.build(paths.config)
    model.init_weights()
    torch.save(model.state_dict(), paths.best_weights)
    return home


def _put(home: Home, study: Study, baseline: dict[str, object], fast: dict[str, object]) -> None:
    ledger = Ledger.open(f"sqlite:///{home.database}")
    record = ledger.put_study(NAME, study.model_dump(mode="json"), "study: handed\n")
    levels = {"optimizer.lr": 5.0e-3}
    cell = NewCell("fast", "5 times | <b>", "A note", "b" * 64, levels, fast, (3,))
    ledger.apply(record.id, [OpenStage(0, "only", "variants", None, baseline, (cell,))])
    first = ledger.claim(NAME, "host/1", 60.0)
    assert first is not None
    uid = first.trial.uid
    trained = {"loss": 0.8, "lr": 5.0e-3, "epoch_time_s": 6.9, "iteration_time_s": 0.1, "data_time_s": 1.38}
    ledger.record_epoch(uid, 1, {1: {**trained, "coco/AP": 0.1}}, None, 7.0)
    ledger.release(uid, 1, AttemptEnd.LOST, "killed")
    second = ledger.claim(NAME, "host/1", 60.0)
    assert second is not None
    ledger.record_epoch(uid, 2, {2: {**trained, "loss": 0.5, "coco/AP": 0.3}}, None, 7.0)
    ledger.started(uid, 2, {"torch": "2.13.0", "mmpose": "1.3.2", "mmengine": "0.10.7", "python": "3.11.7"})
    more = Direction.MORE
    ledger.finish(uid, 2, Outcome.COMPLETED, None, metric="coco/AP", direction=more, peak_memory_mb=100.0)
    ledger.close()
