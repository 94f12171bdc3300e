"""What of a study file is code: the parts of it that are run and not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from posestudy_studies.spec import Study


def sentences(study: Study) -> list[str]:
    """One for each Python config and module that the study names, in the file's order, and for each command of its
    `cluster`, each once."""
    document = study.model_dump(mode="json")
    found = [told for part in ("baseline", "stages") for told in _code(document[part])]
    return list(dict.fromkeys([*found, *_of_cluster(study)]))


def _of_cluster(study: Study) -> Iterator[str]:
    """What a launch on a cluster runs as it is written."""
    cluster = study.cluster
    if cluster is None:
        return
    if cluster.setup:
        yield f"cluster.setup is run by --engine slurm and --engine script: {'; '.join(cluster.setup)}"
    if cluster.container is not None:
        yield f"the container {cluster.container.image} is run by --engine slurm and --engine script."
    if cluster.template is not None:
        yield f"{cluster.template} is a job script, which --engine script submits."
    if cluster.submit is not None:
        yield f"cluster.submit is run by --engine script: {cluster.submit}"


def _code(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _code(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            last = str(key).rpartition(".")[2]
            if last == "config":
                yield from (f"{file} is Python and is run." for file in _texts(item))
            elif last == "imports":
                yield from (f"the Python module {name} is imported, which runs it." for name in _texts(item))
            yield from _code(item)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key in ("levels", "choices"):
            yield from _texts(value.get(key))
