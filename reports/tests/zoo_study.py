"""A synthetic study with profiles: evaluated weights, one network looked at in several ways, losses, precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from synthetic_report import CREATED, Builder

from posestudy.home import Home
from posestudy.ledger.records import ValueRecord
from posestudy.vocabulary import Outcome
from posestudy_reports.report import StudyReport
from posestudy_reports.saved_pictures import SavedPictures
from posestudy_studies.designs.columns import names

COCO = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")
GPU, CPU, OLD_GPU = "NVIDIA H200", "AMD EPYC 9654", "Tesla V100"
# name, parameters, multiply-adds in 1e9, images a second, metrics: what TransPose's authors publish.
PUBLISHED = (
    ("r-a3", 5_195_345, 8.0, 141, (0.717, 0.889, 0.788, 0.680, 0.786, 0.771, 0.930, 0.836, 0.727, 0.835)),
    ("r-a4", 5_985_105, 8.9, 138, (0.726, 0.891, 0.799, 0.688, 0.798, 0.780, 0.931, 0.845, 0.735, 0.844)),
    ("h-s", 8_019_281, 10.2, 45, (0.742, 0.896, 0.808, 0.706, 0.810, 0.795, 0.935, 0.855, 0.752, 0.856)),
    ("h-a4", 17_306_129, 17.5, 41, (0.753, 0.900, 0.818, 0.717, 0.821, 0.803, 0.939, 0.861, 0.761, 0.865)),
    ("h-a6", 17_455_697, 21.8, 38, (0.758, 0.901, 0.821, 0.719, 0.828, 0.808, 0.939, 0.864, 0.764, 0.872)),
)
WIDE = ["model", "input_size", "parameters", "gflops", "fps", *(f"coco/{name}" for name in COCO)]


def profile(parameters: int, gmacs: float, fps: float, device_name: str = GPU) -> dict[str, Any]:
    return {
        "parameters": parameters, "gmacs": gmacs, "gflops": 2 * gmacs, "latency_p50_ms": 1000 / fps,
        "latency_p95_ms": 1150 / fps, "fps": fps, "batch": 1, "flip_test": False, "input": [192, 256],
        "device": "cpu" if device_name == CPU else "cuda", "device_name": device_name, "threads": 2,
        "peak_memory_mb": None,
    }  # fmt: skip


class Zoo(Builder):
    """A builder whose cells say which network they are."""

    def network(self, name: str, levels: Mapping[str, Any], label: str = "", **config: Any) -> None:
        self.cell(name, dict(levels), label=label)
        self.cells[-1] = replace(self.cells[-1], config={**self.cells[-1].config, "input_size": [192, 256], **config})

    def given(self, values: tuple[float, ...], profile: dict[str, Any], **fields: Any) -> None:
        """A trial that evaluated weights it was given: final, best and all values of epoch 0."""
        top = values[0]
        fields = {"final_value": top, "final_epoch": 0, "best_value": top, "best_epoch": 0, "profile": profile} | fields
        self.trial(duration_s=33.0, **fields)
        metrics = {f"coco/{name}": value for name, value in zip(COCO, values, strict=False)}
        self.values.append(ValueRecord(self.trials[-1].uid, 0, metrics, CREATED, 1))


def zoo(**document: Any) -> Zoo:
    """Four stages: published weights, three evaluations of the last, precision and width, heads and losses."""
    stages = [
        {"name": "zoo", "design": "variants", "columns": WIDE},
        {"name": "boxes", "design": "grid", "columns": ["boxes", "flip_test", "latency", "coco/AP"]},
        {"name": "precision", "design": "grid", "columns": ["gflops", "train_time", "peak_memory", "coco/AP"]},
        {"name": "losses", "design": "variants", "columns": ["model", "score_mode", "parameters", "coco/AP"]},
    ]
    evaluation = {"boxes": "ground_truth", "flip_test": True, "score_mode": "bbox_keypoint"}
    study = Zoo("transpose", **{"evaluation": evaluation, "stages": stages, "report": {"title": "Zoo"}} | document)
    _published(study)
    _evaluations(study)
    _precision(study)
    _losses(study)
    return study


def _published(study: Zoo) -> None:
    study.stage("zoo", baseline="r-a3", carried="h-a6", carry_reason="best final AP")
    for name, parameters, gmacs, fps, values in PUBLISHED:
        levels = {} if name == "r-a3" else {"model": f"transpose-{name}"}
        study.network(name, levels, name.upper(), model=f"transpose-{name}", epochs=0)
        study.given(values, profile(parameters, gmacs, fps), provenance={"device_name": GPU})


def _evaluations(study: Zoo) -> None:
    study.stage("boxes", design="grid", carried="baseline")
    source = study.trials[-1]
    network = {"model": "transpose-h-a6", "epochs": 0}
    study.network("baseline", {}, **network)
    study.cells[-1] = replace(study.cells[-1], key=study.cells[-2].key)
    study.given((0.758,), profile(17_455_697, 21.8, 38))
    for name, evaluation, values, device in (
        ("no_flip", {"flip_test": False}, (0.749, 0.9), GPU),
        ("detector", {"boxes": "detections/AP_56.json"}, (0.731, 0.89), CPU),
    ):
        levels = {f"evaluation.{key}": value for key, value in evaluation.items()}
        everything = {"boxes": None, "flip_test": None, "score_mode": None} | evaluation
        study.network(name, levels, evaluation=everything, **network)
        evaluated = {"study": "transpose", "number": source.number, "uid": source.uid}
        measured = profile(17_455_697, 21.8, 38 if device == GPU else 3, device)
        study.given(values, measured, provenance={"evaluated": evaluated})


def _precision(study: Zoo) -> None:
    study.stage("precision", design="grid")
    tops = {(False, 2.0): 0.480, (False, 1.5): 0.482, (True, 2.0): 0.479, (True, 1.5): 0.481}
    for (amp, sigma), top in tops.items():
        levels = {"sigma": sigma, "amp": amp}
        changed = {name: level for name, level in levels.items() if level not in (2.0, False)}
        name = "-".join(changed) or "baseline"
        study.network(name, changed, model="transpose-r-thin", amp=amp, sigma=sigma)
        for seed in range(3):
            value = top + 0.0005 * seed
            study.trial(
                scores=(value / 2, value), seed=seed, profile=profile(237_249, 0.043, 300.0 + seed),
                duration_s=(5400.0 if amp else 9000.0) + 60 * seed, peak_memory_mb=2900.0 if amp else 4000.0,
                provenance={"device_name": GPU},
            )  # fmt: skip


def _losses(study: Zoo) -> None:
    study.stage("losses", carried="simcc", carry_reason="best final AP")
    rows = (
        ("baseline", "AlexNet", "alexnet", "smooth_l1", 0.31, 2_500_000, 0.7, 3.84),
        ("alexnet_rle", "AlexNet, RLE", "alexnet", "rle", 0.42, 2_550_000, 0.7, 3.79),
        ("resnet50", "ResNet-50", "resnet50", "smooth_l1", 0.53, 23_600_000, 4.1, 4.64),
        ("resnet50_rle", "ResNet-50, RLE", "resnet50", "rle", 0.65, 23_700_000, 4.1, 4.53),
    )
    old = {"device_name": OLD_GPU}
    for name, label, model, loss, top, parameters, gmacs, hours in rows:
        levels = {} if name == "baseline" else {"model": model, "loss": loss}
        config = {"codec": {"type": "regression"}, "loss": {"type": loss}}
        evaluation = {"score_mode": "bbox_rle" if loss == "rle" else None}
        study.network(name, levels, label, model=model, evaluation=evaluation, **config)
        measured = profile(parameters, gmacs, 1000 / (1.2 + gmacs))
        study.trial(scores=(top - 0.1, top), profile=measured, duration_s=3600 * hours, provenance=old)
    study.network("simcc", {"codec": "simcc"}, "ResNet-50, SimCC", model="resnet50", codec={"type": "simcc"})
    study.trial(scores=(0.6, 0.71), profile=profile(25_000_000, 5.5, 120), duration_s=18000.0, provenance=old)
    study.network("large", {"model": "resnet152"}, model="resnet152")
    study.trial(Outcome.OUT_OF_MEMORY)


def pictured(study: Builder, home: Home, images: int = 5, attention_of: int | None = 5) -> StudyReport:
    """The report of `study` with a picture per image of every completed trial in `home`, and attention of one."""
    for trial in study.trials:
        if trial.outcome is Outcome.COMPLETED:
            draw(home, study.study.name, trial.number, images)
    if attention_of is not None:
        folder = home.attempt(study.study.name, attention_of, 1).attention
        folder.mkdir(parents=True)
        for i, name in enumerate(("001_dependency", "001_affect", "002_dependency", "002_affect")):
            _picture((900, 120), (60 * i, 20, 160)).save(folder / f"{name}.png")
    return study.report(pictures=SavedPictures(home))


def draw(home: Home, study: str, number: int, images: int, size: tuple[int, int] = (64, 48)) -> None:
    """Pictures whose colour tells the trial and the image: red 10 a trial, green 40 an image, blue 128."""
    folder = home.attempt(study, number, 1).drawings
    folder.mkdir(parents=True, exist_ok=True)
    for image in range(1, images + 1):
        _picture(size, (10 * (number % 25), 40 * image, 128)).save(folder / f"{image:03d}.png")


def _picture(size: tuple[int, int], colour: tuple[int, int, int]) -> Any:
    from PIL import Image

    return Image.new("RGB", size, colour)


def everything(rows: int = 3, label: str = "a network with a rather long name") -> Zoo:
    """A stage that asks for every column there is."""
    study = Zoo("everything", stages=[{"name": "a", "columns": list(names())}])
    study.stage("a")
    for i in range(rows):
        study.network("baseline" if i == 0 else f"cell{i}", {}, f"{label} {i}", model=f"transpose-network-{i}")
        study.trial(scores=(0.1, 0.2 + i / 100), profile=profile(17_455_697, 21.8, 38.0 + i))
        for value in study.values:
            value.metrics.update({name: 0.5 + i / 100 for name in names() if "/" in name or name in ("nme", "pck")})
    return study
