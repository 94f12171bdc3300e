"""Finds the study that is to be exported, writes its files, and says what is in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from posestudy import given_paths
from posestudy.durable import temporary_beside
from posestudy.errors import PoseStudyError
from posestudy_reports import export_readme, exported_study
from posestudy_reports.exported_study import Export
from posestudy_studies.spec import Study

if TYPE_CHECKING:
    from posestudy.ledger.records import Snapshot
    from posestudy.settings import Settings


def export_study(
    study: str, folder: Path, settings: Settings, overrides: Sequence[str] = (), profile: Path | None = None
) -> list[str]:
    """Write the trials of `study` that are known in advance into `folder`; what was written, a sentence a line.

    Args:
        study: a study file, or the name of a launched study.
        overrides, profile: see `posestudy_studies.file.load`; a launched study takes neither.

    Raises:
        InputError: the study file has mistakes.
        NotFoundError: there is no such study.
        PoseStudyError: the folder holds something, or something of the study cannot be exported; nothing is written.
    """
    place = given_paths.absolute(given_paths.expanded(folder))
    if given_paths.exists(place) and not (given_paths.is_folder(place) and not any(place.iterdir())):
        raise PoseStudyError(f"{folder}: found something there, expected a new folder or an empty one")
    found, snapshot = _study(study, settings, overrides, profile)
    export = exported_study.known(found, snapshot)
    if not export.trials:
        raise PoseStudyError(f"study '{found.study}' has no trial whose configuration is known: nothing to export")
    files = exported_study.files(export, place)
    files["README.md"] = export_readme.readme(export).encode()
    _write(place, files, export)
    count = export_readme.counted(len(export.trials), "trial")
    return [
        f"{count} of study '{found.study}' exported; how to run them is in {place / 'README.md'}",
        *export_readme.left_out(export),
        *exported_study.notes(found),
    ]


def _study(
    name: str, settings: Settings, overrides: Sequence[str], profile: Path | None
) -> tuple[Study, Snapshot | None]:
    """The study, and what the ledger knows of it."""
    from posestudy.ledger import Ledger
    from posestudy_runner import pricing
    from posestudy_studies import file

    path = given_paths.expanded(name)
    if path.suffix in (".yaml", ".yml") or given_paths.is_file(path):
        found, snapshot, _ = pricing.standing(file.load(path, overrides, profile), settings)
        return found, snapshot
    if overrides or profile is not None:
        raise PoseStudyError(
            f"--set and --profile change a study file; found '{name}', expected one such as {name}.yaml"
        )
    ledger = Ledger.open(settings.database_url, create=False)
    try:
        snapshot = ledger.snapshot(name)
    finally:
        ledger.close()
    if "baseline" not in snapshot.study.document:
        raise PoseStudyError(f"study '{name}' was imported without a study file: it has no configs to export")
    return Study.model_validate(snapshot.study.document), snapshot


def _write(place: Path, files: dict[str, bytes], export: Export) -> None:
    """All of it or nothing: made beside `place` and renamed."""
    beside = temporary_beside(place)
    try:
        for name, data in files.items():
            path = beside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if name.endswith(".sh"):
                path.chmod(path.stat().st_mode | 0o111)
        for name, target in exported_study.links(export).items():
            link = beside / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
        os.replace(beside, place)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise PoseStudyError(f"the study cannot be exported to {place}: {error.strerror or error}") from error
