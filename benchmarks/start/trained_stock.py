"""MMPose's own tools/train.py with a clock: `python -m benchmarks.start.trained_stock CLOCK_FILE CONFIG ...`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from benchmarks.study.train_stock import make_importable, package

if __name__ == "__main__":
    make_importable()
    from benchmarks.start import clock

    clock.install(Path(sys.argv.pop(1)))
    tool = package("mmpose") / ".mim" / "tools" / "train.py"
    sys.argv[0] = str(tool)
    runpy.run_path(str(tool), run_name="__main__")
