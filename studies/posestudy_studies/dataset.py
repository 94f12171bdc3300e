"""Looks at a data set before any training time is spent on it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posestudy import given_paths
from posestudy.errors import InputError, Problem
from posestudy_studies import cells, detection_files, images, layouts, scoring
from posestudy_studies.annotations import Needs, SplitFacts, inspect_annotations
from posestudy_studies.evaluation import GROUND_TRUTH
from posestudy_studies.layouts import Layout
from posestudy_studies.spec import Dataset, Split, Study

MAX_SHOWN = 5
MANY = 10
"""A peculiarity of more than one instance in so many is worth a note."""


@dataclass
class Inspection:
    """What was seen of a data set.

    Attributes:
        problems: mistakes that forbid training.
        notes: sentences worth reading that forbid nothing.
        facts: counts by split name.
    """

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, SplitFacts] = field(default_factory=dict)


def problems(study: Study) -> list[Problem]:
    """Every mistake in the data set of `study`; long rows of the same kind are cut."""
    return inspect(study).problems


def inspect(study: Study) -> Inspection:
    """Read annotations and images of `study`. Reads every image's header and decodes up to 5,000 images fully."""
    dataset, seen = study.dataset, Inspection()
    root = Path(dataset.root)
    if not given_paths.is_folder(root):
        found = "no such folder" if not given_paths.exists(root) else "no folder"
        hint = "say where the data is with --set dataset.root=DIR"
        return Inspection([Problem(dataset.root, 0, 0, "dataset.root", found, "the folder of the data set", hint)])
    keypoints = layouts.layout(dataset.keypoints)
    coco = study.metric.startswith("coco/")
    pair = None if coco else scoring.nme_pair(study.evaluation, keypoints)
    needs = Needs(coco, dataset.boxes_from, pair)
    decoded: set[Path] = set()
    for name, split in _splits(dataset).items():
        _inspect_split(seen, root, name, split, keypoints, needs, decoded)
    train, val = seen.facts.get("train"), seen.facts.get("val")
    if train and val and (both := sorted(train.paths & val.paths)):
        example = both[0].name
        seen.notes.append(f"{len(both)} images are in train and in val (such as {example}): the metric will flatter.")
    if val and pair is not None and val.without_pair:
        _note_unnormalised(seen, study, val, [keypoints.keypoint_names[index] for index in pair])
    _note_places(seen)
    _inspect_boxes(seen, study, root)
    _inspect_test_boxes(seen, study)
    return seen


def _note_places(seen: Inspection) -> None:
    """Boxes and keypoints that are probably written in another way than COCO's; some of them are in every data set."""
    for name, facts in seen.facts.items():
        boxes = facts.instances or facts.usable  # a test split has no labels
        most = boxes / MANY
        if facts.beyond > most:
            seen.notes.append(
                f"{facts.beyond} of {boxes} boxes of {name} reach out of their image by more than a quarter of their "
                "side: is each bbox [x, y, width, height] in pixels, and each width and height the image's own?"
            )
        if facts.apart > most:
            seen.notes.append(
                f"{facts.apart} of {facts.instances} instances of {name} have most of their keypoints outside their "
                "box: are x and y pixels of the whole image?"
            )


def _note_unnormalised(seen: Inspection, study: Study, val: SplitFacts, names: list[str]) -> None:
    which = f"{val.without_pair} of {val.instances} instances of val have no label at {names[0]} or {names[1]}"
    if val.without_pair < val.instances or study.metric != "nme":
        seen.notes.append(f"{which}, by whose distance NME is normalised: it leaves them out.")
        return
    expected = "an instance with both, by whose distance NME is normalised"
    hint = "evaluation.nme_keypoints names another pair"
    seen.problems.append(Problem(study.dataset.val.annotations, 0, 0, "dataset.val", which, expected, hint))


def fingerprint(dataset: Dataset) -> str:
    """sha256 of the keypoint layout, the train and val annotation files and their images' names and sizes in bytes.

    Raises:
        InputError: an annotation file or an image is missing or unreadable.
    """
    root, digest = Path(dataset.root), hashlib.sha256()
    digest.update(cells.canonical(layouts.layout(dataset.keypoints).metainfo).encode())
    if dataset.boxes_from != "bbox":
        digest.update(dataset.boxes_from.encode())
    for name, split in _splits(dataset).items():
        if name == "test":
            continue
        path = root / split.annotations
        try:
            raw = path.read_bytes()
            files = sorted(str(image["file_name"]) for image in json.loads(raw)["images"])
            sizes = [[file, (root / split.images / file).stat().st_size] for file in files]
        except OSError as error:
            name_of = str(error.filename or path)
            raise InputError([Problem(name_of, 0, 0, "", str(error.strerror), "a readable file")]) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError([Problem(str(path), 0, 0, "", "no COCO annotations", "COCO keypoint JSON")]) from error
        digest.update(hashlib.sha256(raw).digest() + cells.canonical(sizes).encode())
    return digest.hexdigest()


def sealed(study: Study) -> Study:
    """`study` with the fingerprint of its data filled in, ready to go into the ledger. Raises as `fingerprint`."""
    seal = {"fingerprint": fingerprint(study.dataset)}
    return study.model_copy(update={"dataset": study.dataset.model_copy(update=seal)})


def _splits(dataset: Dataset) -> dict[str, Split]:
    splits = {"train": dataset.train, "val": dataset.val}
    return splits | {"test": dataset.test} if dataset.test else splits


def _inside(root: Path, path: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle, or a name that is none
        return False


def _inspect_split(
    seen: Inspection, root: Path, name: str, split: Split, layout: Layout, needs: Needs, decoded: set[Path]
) -> None:
    annotations, folder = root / split.annotations, root / split.images
    outside = [p for p in (annotations, folder) if not _inside(root, p)]
    for path in outside:
        where = f"dataset.{name}.{'annotations' if path == annotations else 'images'}"
        seen.problems.append(
            Problem(str(path), 0, 0, where, f"a link to {given_paths.absolute(path)}", f"a path inside {root}")
        )
    if outside:
        return
    facts, found = inspect_annotations(annotations, name, layout.name, len(layout.keypoint_names), needs)
    if facts is None:
        seen.problems += found
        return
    paths: dict[Path, str] = {}
    for place, file_name in facts.files:
        image = folder / file_name
        if Path(file_name).is_absolute() or not _inside(root, image):
            expected, hint = "an image inside dataset.root", "file_name is relative to the split's images"
            found.append(Problem(str(annotations), 0, 0, place, repr(file_name), expected, hint))
        else:
            paths[image] = place
    facts.paths = {image.resolve() for image in paths}
    seen.facts[name] = facts
    new = {path: place for path, place in paths.items() if path not in decoded}
    full = max(0, images.MAX_DECODED - len(decoded))
    for path, complaint in images.unreadable(list(new), decode=full):
        missing = complaint == images.MISSING
        expected = "an image file" if missing else "an image that can be decoded"
        found.append(Problem(str(annotations), 0, 0, new[path], f"{complaint} {path}", expected))
    decoded.update(new)
    seen.problems += _cut(found)


def _inspect_boxes(seen: Inspection, study: Study, root: Path) -> None:
    for (name, split), where in _detections(study).items():
        path, facts = root / name, seen.facts.get(split)
        if _inside(root, path):
            seen.problems += _cut(detection_files.problems(path, where, facts.ids if facts else None))
        else:
            seen.problems.append(Problem(str(path), 0, 0, where, "no detections", detection_files.FORM))


def _inspect_test_boxes(seen: Inspection, study: Study) -> None:
    """A test split is predicted in boxes: in its own, or in detections."""
    test, split = seen.facts.get("test"), study.dataset.test
    if test is None or split is None or test.usable or any(of == "test" for _, of in _detections(study)):
        return
    found, hint = "no box in any annotation", "evaluation.test_boxes names detections for it"
    if any(evaluation.submission for evaluation in scoring.evaluations(study)):
        expected = "boxes in which evaluation.submission can predict the test split"
        seen.problems.append(Problem(split.annotations, 0, 0, "dataset.test", found, expected, hint))
    else:
        seen.notes.append(
            f"the test split has {found}: `predict --split test` and `bundle` cannot predict it until {hint}."
        )


def _detections(study: Study) -> dict[tuple[str, str], str]:
    """Every detection file the study or a level of it names, with its split, each with the first key that does."""
    named: dict[tuple[str, str], str] = {}
    for key, split in (("boxes", "val"), ("test_boxes", "test")):
        levels: list[tuple[Any, str]] = [
            (getattr(study.evaluation, key), f"evaluation.{key}"),
            (getattr(study.baseline.evaluation, key), f"baseline.evaluation.{key}"),
        ]
        for i, stage in enumerate(study.stages):
            for probe in stage.probes():
                group = probe.levels.get("evaluation")
                level = probe.levels.get(f"evaluation.{key}", group.get(key) if isinstance(group, dict) else None)
                levels.append((level, f"stages.{i}.evaluation.{key}"))
        for level, where in levels:
            if isinstance(level, str) and level != GROUND_TRUTH:
                named.setdefault((level, split), where)
    return named


def _cut(found: list[Problem]) -> list[Problem]:
    """At most `MAX_SHOWN` problems of one kind, and a line that counts the rest."""
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for problem in found:
        kinds.setdefault((problem.expected, problem.path.rpartition(".")[2]), []).append(problem)
    kept: list[Problem] = []
    for alike in kinds.values():
        kept += alike[:MAX_SHOWN]
        if len(alike) > MAX_SHOWN:
            first = alike[0]
            more = f"{len(alike) - MAX_SHOWN} more of the same kind"
            kept.append(Problem(first.file, 0, 0, "", more, first.expected, first.hint))
    return kept
