"""Makes the archive of one trial: gathered, checked, proven to run without posestudy, and only then written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posestudy.durable import write_bytes
from posestudy.errors import NotFoundError, PoseStudyError
from posestudy.home import Home, safe_part
from posestudy.ledger.records import Snapshot, TrialRecord
from posestudy.projections.standing import metric_of
from posestudy.settings import Settings
from posestudy.vocabulary import Purpose
from posestudy_reports import bundle_check, words
from posestudy_reports.bundle_archive import zipped
from posestudy_reports.bundle_check import MODEL, RESULTS, Asked
from posestudy_reports.bundle_code import PlainConfig, code_files, mmpose_version, plain_config
from posestudy_reports.bundle_log import AttemptLog, joined_log, log_lines, validation_batches
from posestudy_reports.bundle_readme import Told, readme
from posestudy_reports.bundle_run import prove
from posestudy_runner.trained import Trained, choose, files_of

if TYPE_CHECKING:
    from posestudy.ledger import Ledger
    from posestudy_reports.report import StudyReport
    from posestudy_runner.predicting import Predicted, Predictor

PAGES = 4
Say = Callable[[str], None]


def _silent(step: str) -> None:
    del step


@dataclass(frozen=True)
class Made:
    """The archive, and what there is to say of it, a sentence a line."""

    path: Path
    told: tuple[str, ...]


def make(
    study: str, asked: str, name: str, out: Path, limit: int | None = None, device: str = "cpu", say: Say = _silent
) -> Made:
    """Write `out/NAME.zip` of a trial of `study`: `asked` is its number or `best`.

    The test split is predicted, and that is written into the ledger before the report is made.

    Args:
        limit: bytes that the files may have in all. device: to predict on. say: told what takes a while, as it begins.

    Raises:
        NotFoundError: no such study or trial, no test split, or nothing left of the trial on this machine.
        PoseStudyError: something that is to go into the archive is not as it must be; no archive is left then.
    """
    if safe_part(name) != name:
        raise PoseStudyError(
            f"--name: found {name!r}, expected at most 120 letters, digits, '.', '_' and '-', such as {safe_part(name)}"
        )
    path = out / f"{name}.zip"
    if path.exists():
        raise PoseStudyError(f"{path} is there already; expected another --name or --out, or the file removed")
    settings = Settings.resolve()
    report = _report(study, settings)
    snapshot = report.result.snapshot
    data = snapshot.study.document.get("dataset") or {}
    trial = _chosen(report, asked)
    trained = files_of(settings.home, snapshot, trial, "best", test=True)
    plain = plain_config(trained.config, data)
    config = f"{safe_part(study)}_trial_{trial.number}.py"
    text = plain.text(f"study {study!r}, seed {trial.seed}")
    say("predicting the test split")
    predictor, found = _predicted(trained, device)
    results = _results(predictor, found)
    _write_down(trial, found, results)
    _refuse(path, _complaints(results, found))
    say("writing the report")
    files = {
        **code_files(config, text),
        "models/config.py": text.encode(),
        MODEL: _weights(trained),
        **_logs(settings, snapshot, trial, plain),
        "codes/README.txt": readme(_told(name, config, report, trial, trained, plain)).encode(),
        RESULTS: results,
        # Last: the report tells of this prediction, too; where it has a supplement, that goes with it.
        **_report(study, settings).files(["pdf"]),
    }
    pages = int((snapshot.study.document.get("report") or {}).get("pages") or PAGES)
    _refuse(path, bundle_check.files(files, {*plain.moved, str(settings.home.root)}, pages, limit))
    archive = zipped({f"{name}/{inside}": data for inside, data in files.items()})
    say("unpacking the archive and predicting three images from it, without posestudy")
    proof = prove(archive, name, plain, config, device)
    try:
        write_bytes(path, archive)
    except OSError as error:
        raise PoseStudyError(f"the archive cannot be written to {path}: {error.strerror or error}") from error
    return Made(path, _sentences(files, found, trained, proof.images, proof.far, len(archive)))


def _report(study: str, settings: Settings) -> StudyReport:
    import posestudy_reports

    return posestudy_reports.open(study, settings)


def _chosen(report: StudyReport, asked: str) -> TrialRecord:
    """As `choose`; the best is not looked for among trials whose saved predictions contradict the ledger."""
    from posestudy_runner.trained import best_of

    if asked != "best":
        return choose(report.result.snapshot, asked)
    sound = [trial for stage in report.result.stages for cell in stage.cells for trial in cell.completed]
    best = best_of(sound, metric_of(report.result.snapshot.study).direction)
    return best or choose(report.result.snapshot, asked)


def _predicted(trained: Trained, device: str) -> tuple[Predictor, Predicted]:
    from posestudy_runner.predicting import Predictor

    predictor = Predictor(trained.config, trained.weights, device)
    return predictor, predictor.split("test")


def _results(predictor: Predictor, found: Predicted) -> bytes:
    from posestudy_runner.result_forms import document, encoded

    return encoded(document(found.rows, "cats", predictor.crop))


def _write_down(trial: TrialRecord, found: Predicted, results: bytes) -> None:
    from posestudy_runner.split_use import write_down

    write_down(trial.uid, Purpose.BUNDLE, found.dataset, results)


def _weights(trained: Trained) -> bytes:
    try:
        return trained.weights.read_bytes()
    except OSError as error:
        raise PoseStudyError(f"the weights {trained.weights} cannot be read: {error.strerror}") from error


def _logs(settings: Settings, snapshot: Snapshot, trial: TrialRecord, plain: PlainConfig) -> dict[str, bytes]:
    """The joined log, and the values as MMPose 0.x wrote them."""
    from posestudy.ledger import Ledger

    ledger = Ledger.open(settings.database_url, create=False)
    try:
        sources = _trained_by(ledger, snapshot, trial)
    finally:
        ledger.close()
    logs = [
        (f"trial {number} of '{of.study.name}'", _joined(settings.home, of, number, uid)) for of, number, uid in sources
    ]
    text = logs[0][1] if len(logs) == 1 else "".join(f"===== {who} =====\n{log}" for who, log in logs if log)
    if not any(log.strip() for _, log in logs):
        raise NotFoundError(
            f"trial {trial.number} has no training.log on this machine; expected those of its attempts in "
            f"{settings.home.runs}"
        )
    for here, instead in {**plain.moved, str(settings.home.root): "HOME", str(Path.home()): "~"}.items():
        text = bundle_check.mention(here).sub(instead, text) if len(here) > 1 else text
    facts = {"seed": trial.seed, "mmpose_version": mmpose_version()}
    values = [value for value in snapshot.values if value.trial_uid == trial.uid]
    lines = log_lines(values, facts, validation_batches(text))
    return {"models/training.log": text.encode(), "models/training.log.json": lines.encode()}


def _trained_by(ledger: Ledger, snapshot: Snapshot, trial: TrialRecord) -> list[tuple[Snapshot, int, str]]:
    """Study, number and uid of every trial in whose folder the training of `trial` was logged, in order of time."""
    evaluated = trial.provenance.get("evaluated")
    found = []
    for other in (evaluated, trial.source):
        if other and {"study", "number", "uid"} <= set(other):
            found.append((_snapshot(ledger, snapshot, str(other["study"])), int(other["number"]), str(other["uid"])))
    return found if trial.source else [*found, (snapshot, trial.number, trial.uid)]


def _snapshot(ledger: Ledger, here: Snapshot, study: str) -> Snapshot:
    return here if study == here.study.name else ledger.snapshot(study)


def _joined(home: Home, snapshot: Snapshot, number: int, uid: str) -> str:
    logs = []
    for paths in home.attempts(snapshot.study.name, number):
        if paths.log.is_file():
            logs.append(AttemptLog(int(paths.folder.name), paths.log.read_text(encoding="utf-8", errors="replace")))
    return joined_log(logs, {value.epoch: value.fence for value in snapshot.values if value.trial_uid == uid})


def _told(
    name: str, config: str, report: StudyReport, trial: TrialRecord, trained: Trained, plain: PlainConfig
) -> Told:
    snapshot = report.result.snapshot
    (cell,) = (cell for cell in snapshot.cells if cell.id == trial.cell_id)
    (stage,) = (stage for stage in snapshot.stages if stage.id == cell.stage_id)
    metric = report.result.metric
    result = ""
    if trial.best_value is not None:
        result = f"Its weights are those of epoch {trained.epoch}, the best of the evaluated ones: {metric.short} "
        result += f"{words.score(trial.best_value, metric)} on the validation split."
    packages = {key: trial.provenance.get(key) for key in ("python", "torch", "mmpose", "mmengine")}
    label = " ".join((cell.label or cell.name).split())
    named = f"{trained.name}: {words.quoted(label)} of stage {words.quoted(stage.name)}, seed {trial.seed}"
    return Told(
        name,
        named,
        result,
        cell.config,
        snapshot.study.document.get("baseline") or {},
        plain,
        config,
        packages,
        f"{plain.values['test_evaluator']['outfile_prefix']}.keypoints.json",
    )


def _refuse(path: Path, wrong: Sequence[str]) -> None:
    if wrong:
        raise PoseStudyError(f"no {path.name} is written:\n  " + "\n  ".join(wrong))


def _complaints(results: bytes, found: Predicted) -> list[str]:
    ordered = [row.instance for row in sorted(found.rows, key=lambda row: row.image)]
    keypoints = int(found.dataset.metainfo["num_keypoints"])
    return bundle_check.results(results, ordered, found.doubles, _asked(found), keypoints)


def _asked(found: Predicted) -> Asked:
    """What the annotation file of the test split has, whatever the loader made of it."""
    try:
        document: Any = json.loads(Path(found.dataset.ann_file).read_bytes())
        listed = document["annotations"]
        categories = frozenset(int(one["id"]) for one in document["categories"])
        if found.dataset.bbox_file:
            # Detections are counted by the loader; only their images can be held against the file.
            given = [found.dataset.get_data_info(index) for index in range(len(found.dataset))]
            return Asked(
                frozenset(int(one["img_id"]) for one in given),
                frozenset(int(one["id"]) for one in given),
                categories,
            )
        images = frozenset(int(one["image_id"]) for one in listed)
        return Asked(images, frozenset(int(one["id"]) for one in listed), categories)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PoseStudyError(f"the test split's {found.dataset.ann_file} cannot be read: {error}") from error


def _sentences(
    files: Mapping[str, bytes],
    found: Predicted,
    trained: Trained,
    images: tuple[int, ...],
    far: float,
    size: int,
) -> tuple[str, ...]:
    told = [f"{len(data):>12,} bytes  {name}" for name, data in sorted(files.items()) if name.count("/") < 2]
    told.append(f"{size:>12,} bytes  the archive, with {len(files)} files")
    count = len({row.image for row in found.rows})
    told.append(f"{len(found.rows)} instances in {count} images of the test split, by {trained.name}")
    if found.doubles:
        told.append(f"{len(found.doubles)} instances were left out as double detections (evaluation.nms_mode)")
    listed = ", ".join(str(image) for image in images)
    told.append(f"predicted again from the archive without posestudy: images {listed} differ by at most {far:.2g} px")
    return tuple(told)
