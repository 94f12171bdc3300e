"""The code of an archive: MMPose's tools, the trial's config on relative paths, and the package it needs."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from posestudy.errors import MissingPieceError, PoseStudyError
from posestudy.home import safe_part
from posestudy_reports import bundle_plugin
from posestudy_studies.mmpose_config import on_stock_data_path
from posestudy_studies.python_source import assignments

FOLDER: Final = "codes/mmpose"
_PLUGIN: Final = "posestudy_runner.plugin"
_FINDS_PACKAGE: Final = (
    "import os, sys\n"
    "sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # finds what lies beside tools\n"
)
"""The two lines that are put into MMPose's tools, so that they find what lies beside them."""


@dataclass(frozen=True)
class PlainConfig:
    """A trial's config that names nothing of the machine it was trained on.

    Attributes:
        values: what the config file assigns.
        moved: paths of that machine and what stands for them, relative to `codes/mmpose`.
        starts: files of initial weights under their new names; whoever trains again puts them there.
        modules: what it imports of somebody else's, that is neither MMPose nor posestudy.
    """

    values: Mapping[str, Any]
    moved: Mapping[str, str]
    starts: Mapping[str, Path]
    modules: tuple[str, ...]

    def text(self, name: str, folder: str = FOLDER) -> str:
        """The config file; `name` is said in its first line, and the folder that its paths are relative to."""
        intro = f"# MMPose 1.x config of {name}. It is read from {folder}, where {bundle_plugin.PACKAGE} lies.\n"
        return intro + assignments(self.values)


def plain_config(config: Path, data: Mapping[str, Any]) -> PlainConfig:
    """The config of a trial for another machine: the data below `data/NAME`, initial weights in `checkpoints`.

    It trains by MMPose's own data path, which needs less beside MMPose and gives the same.

    Args:
        config: the trial's config.py.
        data: `dataset` of the study.

    Raises:
        PoseStudyError: a path of this machine is left that nothing can stand for.
    """
    from mmengine.config import Config

    return plain_values(Config.fromfile(config, import_custom_modules=False).to_dict(), data, str(config))


def plain_values(
    config: Mapping[str, Any], data: Mapping[str, Any], name: str, named: dict[str, Path] | None = None
) -> PlainConfig:
    """`plain_config` of what a config file assigns.

    Args:
        config: what it assigns.
        data: `dataset` of the study.
        name: what an error calls it.
        named: files of initial weights by the names that other configs of the same folder have given them; new ones
            are put in, so that two files never share a name.

    Raises:
        PoseStudyError: see `plain_config`.
    """
    values = on_stock_data_path(dict(config))
    moved, starts = {_root(values, data): f"data/{safe_part(Path(str(data['root'])).name)}"}, dict[str, Path]()
    named = {} if named is None else named

    def place(key: str, text: str) -> str:
        if not os.path.isabs(text):
            return text
        for root, instead in moved.items():
            if text == root or text.startswith(root + os.sep):
                return posixpath.join(instead, Path(text).relative_to(root).as_posix()) if text != root else instead
        if key in ("checkpoint", "load_from"):
            start = _start(Path(text), named)
            starts[start] = named[start] = Path(text)
            return start
        raise PoseStudyError(
            f"{key} of {name} is the path {text} outside the data set's folder, which an archive cannot hold"
        )

    values = _mapped(values, place)
    imports = values.get("custom_imports") or {"imports": []}
    others = tuple(name for name in imports["imports"] if name != _PLUGIN)
    values["custom_imports"] = {**imports, "imports": [bundle_plugin.PACKAGE, *others]}
    return PlainConfig(values, moved, starts, others)


def _start(file: Path, named: Mapping[str, Path]) -> str:
    """The name of a file of initial weights: the one that it has, else the first that no other file has."""
    part = Path(safe_part(file.name))
    count, start = 1, f"checkpoints/{part}"
    while named.get(start, file) != file:
        count += 1
        start = f"checkpoints/{part.stem}-{count}{part.suffix}"
    return start


def _root(values: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """The absolute folder of the data set as the config has it, made where the trial ran."""
    annotations = str(values["train_dataloader"]["dataset"]["ann_file"])
    inside = os.path.normpath(str(data["train"]["annotations"]))
    if not annotations.endswith(os.sep + inside):
        raise PoseStudyError(f"the config's training data are {annotations}, the study's {inside}; expected the same")
    return annotations.removesuffix(os.sep + inside)


def _mapped(value: Any, place: Callable[[str, str], str], key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _mapped(item, place, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(item, place, key) for item in value)
    return place(key, value) if isinstance(value, str) else value


def code_files(config_name: str, config_text: str) -> dict[str, bytes]:
    """What lies in `codes/mmpose`, by path in the archive.

    Raises:
        MissingPieceError: MMPose is not installed with its tools.
    """
    files = {f"configs/{config_name}": config_text.encode(), **shared_files()}
    return {f"{FOLDER}/{path}": data for path, data in files.items()}


def shared_files() -> dict[str, bytes]:
    """What every config needs beside MMPose, by path: MMPose's tools, its licence and the package of our additions.

    Raises:
        MissingPieceError: MMPose is not installed with its tools.
    """
    tools = {f"tools/{name}": _tool(name).encode() for name in ("train.py", "test.py")}
    return {**tools, "LICENSE": _licence(), **bundle_plugin.vendored()}


def mmpose_version() -> str:
    """Of the installed MMPose."""
    return version("mmpose")


def _mmpose() -> Path:
    spec = find_spec("mmpose")
    if spec is None or not spec.submodule_search_locations:
        raise MissingPieceError("MMPose, whose tools go into the archive, is not installed; run `make runtime`")
    return Path(spec.submodule_search_locations[0])


def _tool(name: str) -> str:
    file = _mmpose() / ".mim" / "tools" / name
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise MissingPieceError(
            f"MMPose's {name} is not at {file}; expected MMPose from a wheel, which has its tools; run `make runtime`"
        ) from error
    first, _, rest = text.partition("\n")
    return f"{first}\n{_FINDS_PACKAGE}{rest}"


def _licence() -> bytes:
    from importlib.metadata import distribution

    found = distribution("mmpose").read_text("LICENSE") or distribution("mmpose").read_text("licenses/LICENSE")
    if not found:
        raise MissingPieceError("MMPose's licence, which goes with its tools, is not there; run `make runtime`")
    return found.encode()
