"""What the forkserver imports once for all trials: imports only, since a computation here would hang every child.

CPython swallows an ImportError of a preloaded module, so each child asks for `LOADED` before it trusts the server.
"""

from __future__ import annotations

import gc
import importlib

# The plugin first: it holds what MMPose needs to be importable here.
for _name in (
    "posestudy_runner.plugin",
    "posestudy_runner.plugin.fast",
    "posestudy_runner.trial",
    "mmpose.codecs",
    "mmpose.datasets",
    "mmpose.engine",
    "mmpose.evaluation",
    "mmpose.models",
    "mmpose.visualization",
    # What a trial imports while it runs.
    "PIL.features",
    "encodings.ascii",
    "multiprocessing.queues",
    "multiprocessing.synchronize",
    "torch.utils.serialization",
    # Each child imports what its pool runs as a script anew, which is this.
    "posestudy.commands.app",
):
    importlib.import_module(_name)

from posestudy_runner.components import Component, in_use  # noqa: E402

if in_use(Component.LIGHT_START):
    # Nothing of it is ever garbage; a collection in a child would look at all of it, and copy every page it lies on.
    gc.collect()
    gc.freeze()

LOADED = True
