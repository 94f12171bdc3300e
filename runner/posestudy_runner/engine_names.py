"""The names of the engines, known without loading what any of them needs."""

from __future__ import annotations

from posestudy.extensions import offered

ENGINES = {
    "local": "posestudy_runner.engines.local:run",
    "ray": "posestudy_runner.engines.ray_cluster:run",
    "script": "posestudy_runner.engines.script:run",
    "slurm": "posestudy_runner.engines.slurm:run",
}
"""Engine names and where their function is."""
GROUP = "posestudy.engines"
"""The group of the entry points with which other distributions add engines."""


def names() -> tuple[str, ...]:
    """The names that `launch --engine` takes: posestudy's own, then those of other distributions."""
    return tuple(dict.fromkeys((*ENGINES, *offered(GROUP))))
