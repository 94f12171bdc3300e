"""A Python in which posestudy cannot be imported: `python -I without_posestudy.py TOOL ARGUMENT...`.

Ends with 3 where it could be imported after all.
"""

from __future__ import annotations

import os
import runpy
import sys
from importlib.util import module_from_spec, spec_from_file_location


def main(probe: str, tool: str, arguments: list[str]) -> int:
    """`probe` is the file that hides posestudy from an archive's proof."""
    spec = spec_from_file_location("probe", probe)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.meta_path.insert(0, module.Refuse())
    if not module.hidden():
        return module.REACHABLE
    sys.argv = [tool, *arguments]
    runpy.run_path(os.path.abspath(tool), run_name="__main__")
    return 0 if module.hidden() else module.REACHABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
