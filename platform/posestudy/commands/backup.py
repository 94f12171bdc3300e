"""`posestudy backup` and `posestudy restore`: a home's ledger and files, copied while workers write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posestudy.settings import Settings

if TYPE_CHECKING:
    from posestudy.backups.manifest import Manifest


def backup(
    place: Annotated[
        Path, typer.Argument(metavar="FILE_OR_DIR", help="A new folder, or a file NAME.tar. Its folder must exist.")
    ],
    no_files: Annotated[bool, typer.Option("--no-files", help="The ledger alone, without the files of runs.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a backup that is there.")] = False,
) -> None:
    """Back up the home while workers go on; `posestudy restore` brings it back.

    Holds the ledger as it is at one moment, whatever database it lives in; of every trial the checkpoints the ledger
    names, configs, logs, best weights, predictions, matches and pictures; reports and measurements; and a list of all
    with checksums. MLflow's and Optuna's stores are left out, since `posestudy sync` makes them anew, and so is the
    data set. The backup is there whole or not at all.
    """
    from posestudy.backups.making import make
    from posestudy.ledger import Ledger

    settings = Settings.resolve()
    ledger = Ledger.open(settings.database_url, create=False)
    try:
        made = make(settings.home, ledger, place, files=not no_files, force=force)
    finally:
        ledger.close()
    for sentence in made.notes:
        typer.echo(f"note: {sentence}", err=True)
    typer.echo(f"backed up {_summary(made)} to {place}")


def restore(
    place: Annotated[Path, typer.Argument(metavar="FILE_OR_DIR", help="What `posestudy backup` wrote.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Leave out files that are damaged instead of stopping at the first.")
    ] = False,
) -> None:
    """Restore a backup into an empty home or database, SQLite or PostgreSQL, whichever it was made of.

    Every checksum is compared before anything counts as restored. No file that is there is overwritten. Trials that
    ran wait for a worker and go on from their checkpoints; a worker of the old ledger cannot write into the new one.
    Only the files that the backup's list names are taken, and only into the home: no links, no devices.
    """
    from posestudy.backups.restoring import restore as restore_backup

    settings = Settings.resolve()
    restored, notes = restore_backup(settings.home, settings.database_url, place, partial=partial)
    for sentence in (*restored.notes, *notes):
        typer.echo(f"note: {sentence}", err=True)
    checked = "what was left out is noted above" if notes else "every checksum is right"
    typer.echo(f"restored {_summary(restored)} of {restored.made}; {checked}")
    typer.echo("`posestudy launch STUDY.yaml` goes on, `posestudy sync` brings MLflow and Optuna's tables up to it")


def _summary(made: Manifest) -> str:
    rows = made.rows
    counts = [
        _counted(rows.get("study", 0), "study", "studies"),
        _counted(rows.get("trial", 0), "trial", "trials"),
        _counted(rows.get("value", 0), "evaluated epoch", "evaluated epochs"),
    ]
    files = _counted(len(made.files), "file", "files") if made.with_files else "no files"
    return f"{', '.join(counts)} and {files} ({made.size / 1e6:.1f} MB)"


def _counted(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
