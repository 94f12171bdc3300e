"""MMPose's own tools/train.py, called with a config; before it comes only what MMPose needs to be importable here."""

from __future__ import annotations

import runpy
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path


def package(name: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{name} is not installed")
    return Path(spec.submodule_search_locations[0])


def make_importable() -> None:
    """Place what stands in for the packages that MMPose asks for and does not need; nothing else of ours is loaded."""
    spec = spec_from_file_location("compat", package("posestudy_runner") / "plugin" / "compat.py")
    assert spec is not None
    assert spec.loader is not None
    compat = module_from_spec(spec)
    spec.loader.exec_module(compat)
    compat.install()


if __name__ == "__main__":
    make_importable()
    tool = package("mmpose") / ".mim" / "tools" / "train.py"
    sys.argv[0] = str(tool)
    runpy.run_path(str(tool), run_name="__main__")
