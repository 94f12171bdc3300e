"""`posestudy gc`: remove what nothing needs any more."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posestudy.settings import Settings

if TYPE_CHECKING:
    from posestudy_runner.image_stores import StoreFile

MOST_NAMES = 4


def gc(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="Only the trials of this study; default: the whole home.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    images: Annotated[
        bool, typer.Option("--images", help="Also the decoded images that no trial uses now; see docs/image_cache.md.")
    ] = False,
) -> None:
    """Remove what nothing needs any more: checkpoints beyond `retention`, what replaced attempts left, torn files.

    Trials that run are left alone, and so is all that a resume, a report, MLflow or `verify` may ask for.
    """
    from posestudy.ledger import Ledger
    from posestudy_runner import garbage

    settings = Settings.resolve()
    ledger = Ledger.open(settings.database_url, create=False)
    try:
        found = garbage.find(settings.home, ledger, study, images=images)
    finally:
        ledger.close()
    failed = [] if dry_run else garbage.remove(settings.home, found)
    left = {one.path for one, _ in failed}
    for (folder, why), group in groupby(found, key=lambda one: (one.path.parent, one.why)):
        files = [one for one in group if one.path not in left]
        if files:
            names = ", ".join(one.path.name for one in files[:MOST_NAMES])
            more = f" and {len(files) - MOST_NAMES} more" if len(files) > MOST_NAMES else ""
            place = folder.relative_to(settings.home.root) if settings.home.root in folder.parents else folder
            typer.echo(f"{place}: {names}{more} ({size(sum(one.size for one in files))}): {why}")
    for one, why in failed:
        typer.echo(f"not removed: {one.path} ({why})", err=True)
    gone = [one for one in found if one.path not in left]
    told = f"{_files(len(gone))}, {size(sum(one.size for one in gone))}"
    verb = "would remove" if dry_run else "removed"
    typer.echo(f"{verb} {told}" if gone else "nothing to remove")
    if study is None:
        _say_what_images_stay(garbage.stores_of_images(settings.home), {one.path for one in found})
    if failed:
        raise typer.Exit(1)


def _say_what_images_stay(stores: list[tuple[StoreFile, bool]], named: set[Path]) -> None:
    kept = [(store.size, used) for store, used in stores if store.path not in named]
    if not kept:
        return
    used = sum(used for _, used in kept)
    told = f"decoded images: {size(sum(bytes_ for bytes_, _ in kept))} in {_files(len(kept))}, {used} in use"
    typer.echo(told if used == len(kept) else f"{told}; `posestudy gc --images` removes what is not")


def _files(count: int) -> str:
    return f"{count} {'file' if count == 1 else 'files'}"


def size(count: int) -> str:
    """Bytes in the largest unit of which there is one."""
    for unit, bytes_ in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= bytes_:
            return f"{count / bytes_:.1f} {unit}"
    return f"{count} bytes"
