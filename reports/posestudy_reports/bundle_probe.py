"""Run by path in a fresh interpreter: MMPose's test tool of an archive, where posestudy cannot be imported.

    python -I bundle_probe.py FOLDER CONFIG WEIGHTS

FOLDER is `codes/mmpose` of the unpacked archive. Ends with 3 where posestudy could be imported after all.
"""

import os
import runpy
import sys

HIDDEN = ("posestudy", "posestudy_studies", "posestudy_runner", "posestudy_reports")
REACHABLE = 3


class Refuse:
    """First of the finders: as if what it hides were not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def hidden() -> bool:
    """Whether none of the packages can be imported, and none is."""
    for name in HIDDEN:
        try:
            __import__(name)
        except ModuleNotFoundError:
            continue
        return False
    return not any(name.partition(".")[0] in HIDDEN for name in sys.modules)


def main(folder: str, config: str, weights: str) -> int:
    """The exit code."""
    sys.meta_path.insert(0, Refuse())
    if not hidden():
        return REACHABLE
    os.chdir(folder)
    tool = os.path.join("tools", "test.py")
    sys.argv = [tool, config, weights]
    runpy.run_path(tool, run_name="__main__")
    return 0 if hidden() else REACHABLE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
