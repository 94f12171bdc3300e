"""Loads a study file: YAML with positions, `--set` overrides, absolute paths, every mistake at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from posestudy import given_paths, strangers
from posestudy.errors import InputError, Problem
from posestudy_studies import check, cluster_profile, layouts, mistakes, model_file, scoring, stop_rules, yaml_text
from posestudy_studies.mistakes import Mistake
from posestudy_studies.model_file import ModelFileError
from posestudy_studies.plan import leaks_of, misfits_of
from posestudy_studies.spec import Study
from posestudy_studies.yaml_text import Document

_FILES = ("init", "config", "model.config")
"""Keys and factors whose text may name a file beside the study file."""


def load(path: Path, overrides: Sequence[str] = (), profile: Path | None = None) -> Study:
    """The study in the YAML file at `path`.

    Args:
        path: the study file.
        overrides: `key=value` with dotted keys, as `--set` takes them; values are YAML.
        profile: a file with keys of `cluster`, for those that stand neither in the study file nor in `overrides`.

    Returns:
        The study, with absolute paths: dataset.root from the current directory, other files from the study file.

    Raises:
        InputError: every mistake of the file, each with file:line:column or with the `--set` it came from; or of the
            profile file.
    """
    document = overridden(yaml_text.read(Path(path)), overrides)
    data = deepcopy(document.data)
    below = {} if profile is None else cluster_profile.read(Path(profile))
    problems = [document.problem(m) for m in _absolute(data, given_paths.absolute(Path(path)).parent)]
    cluster_profile.put_below(data, below)
    study, found = check.examine(data)
    problems += [document.problem(mistake) for mistake in found]
    problems += _layout_problems(data)
    if not problems and study is not None:
        found = [*scoring.mistakes(study), *stop_rules.mistakes(study)]
        found = found or _broken_models(data) or _misfits(study) or _leaks(study)
        problems += [document.problem(mistake) for mistake in found]
    if problems or study is None:
        raise InputError(sorted(set(problems), key=lambda p: (p.file, p.line, p.column, p.path)))
    return study


def _broken_models(data: Any) -> list[Mistake]:
    """Config files, wherever they are named, that do not load or hold no network. They are run."""
    found: list[Mistake] = []
    told: dict[str, ModelFileError | None] = {}
    for holder, key, path in _file_entries(data, ()):
        if _is_init(path):
            continue
        file = holder[key]
        if file not in told:
            told[file] = _trouble(file)
        if (error := told[file]) is not None:
            found.append(Mistake(path, error.found, error.expected))
    return found


def _trouble(file: str) -> ModelFileError | None:
    try:
        model_file.parsed(file)
    except ModelFileError as error:
        return error
    return None


def _misfits(study: Study) -> list[Mistake]:
    """Cells whose config file does not fit the rest of their configuration."""
    ordinals = {stage.name: i for i, stage in enumerate(study.stages)}
    told: dict[tuple[str, str, str], list[str]] = {}
    for stage, cell, error in misfits_of(study):
        told.setdefault((stage, error.found, error.expected), []).append(f"'{cell}'")
    return [
        Mistake(("stages", ordinals[stage]), f"cell {', '.join(cells)} with {found}", expected)
        for (stage, found, expected), cells in told.items()
    ]


def _leaks(study: Study) -> list[Mistake]:
    """Cells whose configs differ from what their stage carries in more than they declare."""
    ordinals = {stage.name: i for i, stage in enumerate(study.stages)}
    return [
        Mistake(
            ("stages", ordinals[leak["stage"]]),
            f"cell '{leak['cell']}', which also changes {', '.join(leak['paths'])} of the config",
            "only what follows from the factors it declares",
            "a model file's own hooks and optimizer options are declared with `brings`",
        )
        for leak in leaks_of(study)
    ]


def overridden(document: Document, overrides: Sequence[str]) -> Document:
    """`document` with `key=value` settings written into it. Raises `InputError` naming each wrong `--set`."""
    data = deepcopy(document.data)
    sets = dict(document.sets)
    problems: list[Problem] = []
    for text in overrides:
        key, equals, value = text.partition("=")
        label = f"--set {text}"
        if not equals or not key.strip():
            problems.append(Problem(label, 0, 0, "", repr(text), "key=value, as baseline.optimizer.lr=1e-4"))
            continue
        try:
            parsed = yaml_text.parse(value, label).data if value.strip() else None
        except InputError as error:
            problems += error.problems
            continue
        path = _written(data, key.strip(), parsed)
        if path is None:
            found = "no mapping or list entry to write into"
            problems.append(Problem(label, 0, 0, key.strip(), found, "a key of the study"))
        else:
            sets[path] = text
    if problems:
        raise InputError(problems)
    return Document(document.file, data, document.values, document.keys, sets)


def _written(data: Any, key: str, value: Any) -> mistakes.Path | None:
    """Write `value` at the dotted `key`; the path it went to, or None where there is no place for it."""
    path: list[str | int] = []
    while True:
        word, dot, rest = key.partition(".")
        if isinstance(data, list):
            if not word.isdecimal() or len(word) > 6 or int(word) >= len(data):
                return None
            step: str | int = int(word)
        elif isinstance(data, dict):
            # Factors of a variant are keys with dots in them.
            step, rest, dot = (key, "", "") if key in data else (word, rest, dot)
        else:
            return None
        path.append(step)
        if not dot:
            data[step] = value
            return tuple(path)
        if isinstance(data, dict) and data.get(str(step)) is None:
            data[step] = {}
        data, key = data[step], rest


def _absolute(data: Any, folder: Path) -> list[Mistake]:
    """Make the paths in `data` absolute, in place; the mistakes are files that do not exist."""
    if not isinstance(data, dict):
        return []
    found: list[Mistake] = []
    dataset = data.get("dataset")
    if isinstance(dataset, dict):
        root, keypoints = dataset.get("root"), dataset.get("keypoints")
        if isinstance(root, str) and root and "\0" not in root:
            dataset["root"] = os.path.abspath(os.path.expanduser(root))  # keeps symlinks
        if isinstance(keypoints, str) and layouts.is_file(keypoints):
            dataset["keypoints"] = str(folder / keypoints)
    found += cluster_profile.absolute(data.get("cluster"), folder, ("cluster",))
    for holder, key, path in list(_file_entries(data, ())):
        text = holder[key]
        if text == "none" or "://" in text or not text:
            continue
        absolute = folder / given_paths.expanded(text)
        if not given_paths.is_file(absolute):
            found.append(Mistake(path, repr(text), "a file that exists, a URL or none", "relative to the study file"))
        elif _is_init(path) and (kind := strangers.kind(absolute)) not in ("", "a zip archive"):
            found.append(
                Mistake(
                    path,
                    f"{text!r}, which is {kind}",
                    "a file of weights, as torch.save writes it",
                    strangers.remedy(kind),
                )
            )
        else:
            holder[key] = str(absolute)
    return found


def _is_init(path: mistakes.Path) -> bool:
    """Whether a level of `init` stands at `path`."""
    return any(str(part).rpartition(".")[2] == "init" for part in path[-3:])


def _file_entries(data: Any, path: mistakes.Path) -> Iterator[tuple[Any, Any, mistakes.Path]]:
    """Every (holder, key, path) under baseline and stages that may name a file."""
    if not path:
        for part in ("baseline", "stages"):
            yield from _file_entries(data.get(part), (part,))
        return
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        here = (*path, key)
        # A level stands at its factor, in a list of levels, or in such a list beside a condition.
        listed = isinstance(key, int) and (
            path[-1] in _FILES or (path[-1] in ("levels", "choices") and len(path) > 1 and path[-2] in _FILES)
        )
        named = key in _FILES or listed
        if isinstance(value, str) and named:
            yield data, key, here
        else:
            yield from _file_entries(value, here)


def _layout_problems(data: Any) -> list[Problem]:
    dataset = data.get("dataset") if isinstance(data, dict) else None
    keypoints = dataset.get("keypoints") if isinstance(dataset, dict) else None
    if not isinstance(keypoints, str) or not layouts.is_file(keypoints):
        return []
    try:
        layouts.layout(keypoints)
    except InputError as error:
        return list(error.problems)
    return []
