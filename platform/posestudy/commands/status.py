"""`posestudy status`: where every trial of a study stands, as a table, as plain lines or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posestudy.errors import LedgerUnavailableError
from posestudy.ledger.records import Snapshot, TrialRecord
from posestudy.settings import Settings
from posestudy.vocabulary import Outcome, TrialState

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from posestudy.ledger import Ledger

_INTERVAL_S = 2.0
_HEADER = ("trial", "stage", "cell", "seed", "state", "epoch", "final", "best", "attempts")


def _point(value: float | None, epoch: int | None) -> dict[str, Any]:
    return {"value": value, "epoch": epoch}


def as_json(snapshot: Snapshot, run_ids: dict[str, str]) -> dict[str, Any]:
    """The study as programs may rely on it: `outcome` is null until a trial is done, `final` and `best` hold nulls."""
    cells = {cell.id: cell for cell in snapshot.cells}
    stages = {stage.id: stage for stage in snapshot.stages}
    attempts = [attempt.trial_uid for attempt in snapshot.attempts]
    trials = [
        {
            "number": trial.number,
            "stage": stages[cells[trial.cell_id].stage_id].name,
            "cell": cells[trial.cell_id].name,
            "seed": trial.seed,
            "outcome": trial.outcome,
            "attempts": attempts.count(trial.uid),
            "final": _point(trial.final_value, trial.final_epoch),
            "best": _point(trial.best_value, trial.best_epoch),
            "mlflow_run_id": run_ids.get(trial.uid),
            "uid": trial.uid,
            "state": trial.state,
            "label": cells[trial.cell_id].label,
            "epoch": _epoch(trial),
            "source": trial.source,
            "epochs": cells[trial.cell_id].config.get("epochs"),
            "message": trial.message,
        }
        for trial in snapshot.trials
    ]
    return {"study": snapshot.study.name, "state": snapshot.study.state, "trials": trials}


def is_open(snapshot: Snapshot) -> bool:
    """Whether a stage may still open or a trial may still run."""
    return snapshot.study.state != "closed" or any(trial.state is not TrialState.DONE for trial in snapshot.trials)


def exit_code(snapshot: Snapshot) -> int:
    """0 where the study is done, 1 where it is open or a trial failed."""
    return int(is_open(snapshot) or any(trial.outcome is Outcome.FAILED for trial in snapshot.trials))


def _number(value: float | None, epoch: int | None) -> str:
    return "" if value is None else f"{epoch}: {value:.3f}"


def _epoch(trial: TrialRecord) -> int:
    """Finished epochs; of a result that was not trained here, those its source had."""
    return trial.ckpt_epoch if trial.source is None else trial.final_epoch or 0


def _standing(trial: TrialRecord) -> str:
    if trial.outcome is not None:
        return str(trial.outcome)
    return "running" if trial.state is TrialState.RUNNING else "waiting"


def _rows(snapshot: Snapshot) -> list[tuple[str, ...]]:
    cells = {cell.id: cell for cell in snapshot.cells}
    stages = {stage.id: stage.name for stage in snapshot.stages}
    attempts = [attempt.trial_uid for attempt in snapshot.attempts]
    rows: list[tuple[str, ...]] = []
    for trial in snapshot.trials:
        cell = cells[trial.cell_id]
        epochs = cell.config.get("epochs", "?")
        rows.append(
            (
                str(trial.number),
                stages[cell.stage_id],
                cell.name,
                str(trial.seed),
                _standing(trial),
                f"{_epoch(trial)}/{epochs}",
                _number(trial.final_value, trial.final_epoch),
                _number(trial.best_value, trial.best_epoch),
                str(attempts.count(trial.uid)) if trial.source is None else str(trial.source.get("kind")),
            )
        )
    return rows


def _heading(snapshot: Snapshot) -> str:
    standings = [_standing(trial) for trial in snapshot.trials]
    counts = ", ".join(f"{standings.count(word)} {word}" for word in dict.fromkeys(standings))
    metric = snapshot.study.document.get("metric", "")
    return f"{snapshot.study.name} ({snapshot.study.state}), {metric}: {counts or 'no trials yet'}"


def as_text(snapshot: Snapshot) -> str:
    """The study as aligned columns under a heading, for pipes and files."""
    rows = [_HEADER, *_rows(snapshot)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([_heading(snapshot), *lines])


def _as_texts(snapshots: Iterable[Snapshot]) -> str:
    return "\n\n".join(as_text(snapshot) for snapshot in snapshots)


def _as_table(snapshots: Iterable[Snapshot]) -> RenderableType:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    colours = {"completed": "green", "running": "cyan", "waiting": "dim", "failed": "bold red"}
    tables = []
    for snapshot in snapshots:
        table = Table(title=escape(_heading(snapshot)), title_justify="left")
        for name in _HEADER:
            table.add_column(name, justify="right" if name in ("trial", "seed", "epoch", "attempts") else "left")
        for row, trial in zip(_rows(snapshot), snapshot.trials, strict=True):
            table.add_row(*(escape(text) for text in row), style=colours.get(_standing(trial), ""))
        tables.append(table)
    return Group(*tables)


def _snapshots(ledger: Ledger, study: str | None) -> list[Snapshot]:
    names = [study] if study is not None else [record.name for record in ledger.studies()]
    return [ledger.snapshot(name, values=False) for name in names]


def _watch(ledger: Ledger, study: str | None) -> None:
    """Show the studies until they are done; outside a terminal, each time something changed."""
    snapshots = _snapshots(ledger, study)
    live: Live | None = None
    if sys.stdout.isatty():
        from rich.live import Live as LiveTable

        live = LiveTable(auto_refresh=False)
    shown = ""
    with live or nullcontext():
        while True:
            if live is not None:
                live.update(_as_table(snapshots), refresh=True)
            elif (text := _as_texts(snapshots)) != shown:
                typer.echo(text)
                shown = text
            if not any(is_open(snapshot) for snapshot in snapshots):
                return
            time.sleep(_INTERVAL_S)
            snapshots = _again(ledger, study, snapshots)


def _again(ledger: Ledger, study: str | None, before: list[Snapshot]) -> list[Snapshot]:
    try:
        return _snapshots(ledger, study)
    except LedgerUnavailableError:
        # A database that restarts is no reason to stop watching.
        return before


def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="All studies of the home if left out.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until the study is done.")] = False,
    as_json_: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Where every trial stands. Exit code 1 while cells are open or where a trial failed."""
    from posestudy.ledger import Ledger

    if watch and as_json_:
        raise typer.BadParameter("--watch shows a table and --json prints once: choose one of them")
    ledger = Ledger.open(Settings.resolve().database_url, create=False)
    try:
        if watch:
            with suppress(KeyboardInterrupt):
                _watch(ledger, study)
            snapshots = _snapshots(ledger, study)
        else:
            snapshots = _snapshots(ledger, study)
            _print(ledger, snapshots, study, as_json_)
    finally:
        ledger.close()
    raise typer.Exit(max((exit_code(snapshot) for snapshot in snapshots), default=0))


def _print(ledger: Ledger, snapshots: list[Snapshot], study: str | None, wants_json: bool) -> None:
    if wants_json:
        run_ids = {uid: run.run_id for uid, run in ledger.projected("mlflow").items()}
        documents = [as_json(snapshot, run_ids) for snapshot in snapshots]
        typer.echo(json.dumps(documents[0] if study is not None else {"studies": documents}, indent=2))
    elif not snapshots:
        typer.echo("no study yet: `posestudy launch STUDY.yaml` starts one")
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(_as_table(snapshots))
    else:
        typer.echo(_as_texts(snapshots))
