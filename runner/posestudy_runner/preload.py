"""What the forkserver imports once for all trials: imports only, since a computation here would hang every child.

CPython swallows an ImportError of a preloaded module, so each child asks for `LOADED` before it trusts the server.
"""

from __future__ import annotations

import importlib

# The plugin first: it holds what MMPose needs to be importable here.
for _name in (
    "posestudy_runner.plugin",
    "posestudy_runner.trial",
    "mmpose.codecs",
    "mmpose.datasets",
    "mmpose.engine",
    "mmpose.evaluation",
    "mmpose.models",
    "mmpose.visualization",
):
    importlib.import_module(_name)

LOADED = True
