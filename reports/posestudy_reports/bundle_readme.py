"""`codes/README.txt`: what was added or changed against stock MMPose, told from the code and the config themselves."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import posestudy
from posestudy.durable import sha256_file
from posestudy_reports import bundle_plugin, words
from posestudy_reports.bundle_code import FOLDER, PlainConfig, mmpose_version
from posestudy_studies import factors

_WIDTH = 100


@dataclass(frozen=True)
class Told:
    """What the text is made of.

    Attributes:
        name: of the archive. trained: how a sentence names the trial.
        result: its sentence of numbers, empty where there are none.
        levels: the resolved configuration of the cell; start: that of the study's baseline.
        config: file name in configs.
        packages: versions it was trained with, by name.
        submission: where the config's test run leaves its results, relative to `codes/mmpose`.
    """

    name: str
    trained: str
    result: str
    levels: Mapping[str, Any]
    start: Mapping[str, Any]
    plain: PlainConfig
    config: str
    packages: Mapping[str, Any]
    submission: str


def readme(told: Told) -> str:
    """The text; every line of it is at most 100 characters but for what cannot be broken."""
    parts = [
        f"{told.name}: code, model and predictions",
        _wrapped(f"The model is that of {told.trained}. {told.result}"),
        _heading("Against stock MMPose"),
        _wrapped(
            f"MMPose {mmpose_version()} itself is not changed and not in this archive: it is installed beside it. "
            f"Added, in {FOLDER}:"
        ),
        _added(told),
        _heading("Classes in " + bundle_plugin.PACKAGE),
        _classes(told.plain.values),
        _heading("Changed while the package is imported"),
        _wrapped("Each steps aside where nothing needs it."),
        _items(f"{p.module}.{p.name}: {_sentence(p.reason)}" for p in bundle_plugin.patches()),
        _heading("The configuration"),
        _changes(told.levels, told.start),
        _heading("Running it"),
        _running(told),
    ]
    return "\n\n".join(parts) + "\n"


def _added(told: Told) -> str:
    lines = [
        f"tools/train.py, tools/test.py: MMPose's own, with two lines at the top that put {FOLDER} on the path",
        f"configs/{told.config}: the configuration, also as models/config.py",
        f"{bundle_plugin.PACKAGE}: the classes and changes below, taken from posestudy {posestudy.__version__} (Apache "
        "License 2.0), without which the configuration does not load; posestudy itself is not needed",
        "LICENSE: MMPose's",
    ]
    if told.plain.modules:
        lines.append(
            f"not here but imported by the configuration: {words.listing(told.plain.modules)}, which the model file of "
            "the study names"
        )
    return _items(lines)


def _classes(config: Mapping[str, Any]) -> str:
    used = bundle_plugin.types_in(config)
    found = bundle_plugin.registered()
    lines = [f"{c.name} ({c.module}): {c.purpose}" for c in found if c.name in used]
    others = [c.name for c in found if c.name not in used]
    text = _wrapped("This configuration uses:") + "\n" + _items(lines)
    return text + ("\n" + _wrapped(f"It does not use: {', '.join(others)}.") if others else "")


def _changes(levels: Mapping[str, Any], start: Mapping[str, Any]) -> str:
    found = factors.differences(levels, start)
    if not found:
        return _wrapped("It is the study's baseline.")
    text = _wrapped("Against the study's baseline it changes, baseline -> this model:")
    pairs = ((name, factors.get(start, name), factors.get(levels, name)) for name in found)
    return text + "\n" + _items(f"{name}: {_value(before)} -> {_value(after)}" for name, before, after in pairs)


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())


def _running(told: Told) -> str:
    packages = ", ".join(f"{name} {value}" for name, value in told.packages.items() if value)
    data = next(iter(told.plain.moved.values()))
    test = f"python tools/test.py configs/{told.config} ../../models/model.pth"
    train = f"python tools/train.py configs/{told.config}"
    steps = [
        f"Install MMPose; this model was trained with {packages}.",
        f"Put the data set at {FOLDER}/{data}, as the configuration names it.",
    ]
    for name, file in told.plain.starts.items():
        digest = f", SHA-256 {sha256_file(file)}" if file.is_file() else ""
        steps.append(f"To train again, put the initial weights {Path(name).name}{digest} at {FOLDER}/{name}.")
    text = _items(steps) + "\n\n" + _wrapped(f"Then, in {FOLDER}:")
    text += f"\n\n    {test}\n    {train}\n\n"
    return text + _wrapped(
        f"The first predicts the test split and leaves COCO results in {told.submission}; result_keypoints.json has "
        "the same keypoints and scores, with centre and scale (units of 200 px) in place of the box. models/model.pth "
        "holds weights alone and loads with torch.load(..., weights_only=True)."
    )


def _heading(text: str) -> str:
    return f"{text}\n{'-' * len(text)}"


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), _WIDTH, break_long_words=False, break_on_hyphens=False)


def _items(lines: Iterable[str]) -> str:
    wrap = textwrap.TextWrapper(
        _WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrap.fill(" ".join(line.split())) for line in lines)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
