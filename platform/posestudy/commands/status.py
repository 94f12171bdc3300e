"""`posestudy status`: where every trial of a study stands, as a table, as plain lines or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posestudy.errors import LedgerUnavailableError
from posestudy.ledger.standings import StudyStanding, TrialStanding, of_file
from posestudy.next_command import next_command
from posestudy.projections.backlog import Backlog, read_backlog
from posestudy.settings import Settings
from posestudy.terminal import Column, Stamps, fitted, paints
from posestudy.vocabulary import Outcome, TrialState

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from posestudy.ledger import Ledger

_INTERVAL_S = 2.0
_NO_STUDY = "no study yet: `posestudy launch STUDY.yaml` starts one"
_COLUMNS = (
    *(Column("trial"), Column("stage", is_name=True, goes=4), Column("cell", is_name=True), Column("seed", goes=3)),
    *(Column("state", is_left=True), Column("epoch"), Column("final", goes=2), Column("best")),
    Column("attempts", goes=1),
)
_TABLE_ROWS = 100
"""A terminal shows no more trials than these of all its studies, unless asked to."""
_LINES_AROUND = 4
"""Of a table: its head, the line below that, what is said of rows that are left out, and the cursor's."""


# ---- for programs


def as_json(standing: StudyStanding) -> dict[str, Any]:
    """The study as programs may rely on it: `outcome` is null until a trial is done, `final` and `best` hold nulls."""
    return {
        "study": standing.name,
        "state": standing.state,
        "decisions": [{"stage": stage, "decision": text} for stage, text in standing.decisions],
        "trials": [_trial_json(t) for t in standing.trials],
    }


def _trial_json(trial: TrialStanding) -> dict[str, Any]:
    return {
        "number": trial.number,
        "stage": trial.stage,
        "cell": trial.cell,
        "seed": trial.seed,
        "outcome": trial.outcome,
        "attempts": trial.attempts,
        "final": {"value": trial.final_value, "epoch": trial.final_epoch},
        "best": {"value": trial.best_value, "epoch": trial.best_epoch},
        "mlflow_run_id": trial.mlflow_run_id,
        "uid": trial.uid,
        "state": trial.state,
        "label": trial.label,
        "epoch": trial.epoch,
        "source": trial.source,
        "epochs": trial.epochs,
        "message": trial.message,
    }


def dumped(document: dict[str, Any]) -> str:
    """`document` of `as_json` with a line for each trial: fit for `grep`, and written much faster than indented."""
    fields = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in document.items() if key != "trials"]
    rows = ",\n".join("    " + json.dumps(trial) for trial in document["trials"])
    fields.append('  "trials": [' + (f"\n{rows}\n  ]" if rows else "]"))
    return "{\n" + ",\n".join(fields) + "\n}"


def exit_code(standing: StudyStanding) -> int:
    """0 where the study is done, 1 where it is open or a trial failed."""
    return int(standing.is_open or standing.has_failed)


# ---- for people


def _number(value: float | None, epoch: int | None) -> str:
    return "" if value is None else f"{epoch}: {value:.3f}"


def _word(trial: TrialStanding) -> str:
    if trial.outcome is not None:
        return str(trial.outcome)
    return trial.state.lower()


def _row(trial: TrialStanding) -> tuple[str, ...]:
    return (
        str(trial.number),
        trial.stage,
        trial.cell,
        str(trial.seed),
        _word(trial),
        f"{trial.epoch}/{'?' if trial.epochs is None else trial.epochs}",
        _number(trial.final_value, trial.final_epoch),
        _number(trial.best_value, trial.best_epoch),
        str(trial.attempts) if trial.source is None else str(trial.source.get("kind")),
    )


def _heading(standing: StudyStanding) -> str:
    words = Counter(map(_word, standing.trials))
    counts = ", ".join(f"{count} {word}" for word, count in words.items())
    heading = f"{standing.name} ({standing.state}), {standing.metric}: {counts or 'no trials yet'}"
    return "\n".join([heading, *(f"{stage}: {text}" for stage, text in standing.decisions)])


def as_text(standing: StudyStanding) -> str:
    """The study as aligned columns under a heading, for pipes and files."""
    rows = [tuple(column.name for column in _COLUMNS), *map(_row, standing.trials)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([_heading(standing), *lines])


def _as_texts(standings: Iterable[StudyStanding]) -> str:
    return "\n\n".join(map(as_text, standings))


def telling(trials: Sequence[TrialStanding], most: int) -> list[TrialStanding]:
    """At most `most` trials, in order of number: those that run, that failed, that ended last, that come next."""

    def urgency(trial: TrialStanding) -> tuple[int, float]:
        if trial.state is TrialState.RUNNING:
            return 0, trial.number
        return 1 if trial.outcome is Outcome.FAILED else 2, -(trial.ended or 0.0)

    if len(trials) <= most:
        return list(trials)
    # Something of what comes next is always to be seen.
    waiting = [trial for trial in trials if trial.state is TrialState.WAITING][: most // 4]
    others = [trial for trial in trials if trial.state is not TrialState.WAITING]
    chosen = [*sorted(others, key=urgency)[: most - len(waiting)], *waiting]
    return sorted(chosen, key=lambda trial: trial.number)


def _as_table(standings: Sequence[StudyStanding], console: Console, height: int | None = None) -> RenderableType:
    """The studies for a terminal, of `height` lines where what is above them cannot be seen."""
    from rich.console import Group
    from rich.text import Text

    # Of several studies those that are done are told in a line.
    told = [standing for standing in standings if len(standings) > 1 and not standing.is_open]
    tables = max(len(standings) - len(told), 1)
    most = max(_TABLE_ROWS // tables, 4)
    if height is not None:
        lines = sum(len(Text(_heading(standing)).wrap(console, console.width)) for standing in standings)
        most = min(most, max((height - lines) // tables - _LINES_AROUND, 1))
    colours = {"completed": "green", "running": "cyan", "waiting": "dim", "paused": "yellow", "failed": "bold red"}
    parts: list[RenderableType] = []
    for standing in standings:
        parts.append(Text(_heading(standing)))
        if standing in told:
            continue
        rows = telling(standing.trials, most)
        styles = [colours.get(_word(trial), "") for trial in rows]
        parts += [fitted(_COLUMNS, [_row(trial) for trial in rows], console.width, styles), ""]
        if len(rows) < len(standing.trials):
            count = f"{len(rows)} of {len(standing.trials)} trials"
            what = "what runs, failed, ended last, comes next; --all shows every one"
            parts[-1] = Text(f"{count}: {what}", style="dim italic", no_wrap=True, overflow="ellipsis")
    return Group(*parts)


# ---- the command


class _Home:
    """Asks the ledger of a home again and again; opened only where its file does not tell."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ledger: Ledger | None = None

    def standings(self, study: str | None) -> list[StudyStanding]:
        file = self._settings.home.database
        if self._ledger is None and self._settings.database_url == f"sqlite:///{file}":
            found = of_file(file, study)
            if found is not None:
                return found
        if self._ledger is None:
            from posestudy.ledger import Ledger

            self._ledger = Ledger.open(self._settings.database_url, create=False)
        return self._ledger.standings(study)

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()


def changed(before: Sequence[StudyStanding], now: Sequence[StudyStanding]) -> list[str]:
    """What is new since `before`, a line each: trials that began or ended, or are better than they were; studies that
    are open no more."""
    known = {trial.uid: _news(trial) for standing in before for trial in standing.trials}
    were_open = {standing.name for standing in before if standing.is_open}
    lines = []
    for standing in now:
        lines += [_sentence(standing, trial) for trial in standing.trials if known.get(trial.uid) != _news(trial)]
        if not standing.is_open and standing.name in were_open:
            lines.append(_heading(standing))
    return lines


def _news(trial: TrialStanding) -> tuple[object, ...]:
    # Not the epoch: a log of a thousand trials with two hundred epochs each is not read.
    return _word(trial), trial.attempts, trial.best_epoch


def next_step(standing: StudyStanding) -> str | None:
    """What to do now; None while workers do it."""
    failed = [trial.number for trial in standing.trials if trial.outcome is Outcome.FAILED]
    if failed:
        return (
            f"`{next_command('logs', standing.name, str(failed[0]))}` shows why trial {failed[0]} failed; "
            f"`{next_command('launch', 'STUDY.yaml', '--retry', 'failed')}` runs such trials again"
        )
    if not standing.is_open:
        return f"report with: {next_command('report', standing.name, '--out', f'out/{standing.name}')}"
    if not any(trial.state is TrialState.RUNNING for trial in standing.trials):
        launch, worker = next_command("launch", "STUDY.yaml"), next_command("worker", standing.name)
        return f"nothing of it runs now; `{launch}` or `{worker}` goes on"
    return None


def _sentence(standing: StudyStanding, trial: TrialStanding) -> str:
    number, stage, cell, seed, word, epoch, final, best, _ = _row(trial)
    parts = [f"{standing.name} {stage}: trial {number} ({cell}, seed {seed}) {word}", f"epoch {epoch}"]
    parts += [f"final {final}"] if trial.outcome and final else []
    return "  ".join([*parts, *([f"best {best}"] if best else [])])


def _watch(home: _Home, study: str | None, *, everything: bool) -> None:
    """Show the studies until they are done; outside a terminal first all of them, then a line for each change."""
    standings = home.standings(study)
    live: Live | None = None
    if paints(sys.stdout) and not everything:
        from rich.live import Live as LiveTable

        live = LiveTable(auto_refresh=False)
    shown: list[StudyStanding] = []
    stamp = Stamps()
    with live or nullcontext():
        while True:
            if live is not None:
                # What does not fit would be cut off at the bottom, with the trials that run.
                live.update(_as_table(standings, live.console, live.console.height), refresh=True)
            elif not shown:
                typer.echo(_as_texts(standings) or _NO_STUDY)
            else:
                for line in changed(shown, standings):
                    typer.echo(f"{stamp()}  {line}")
            # What is piped is read at once.
            sys.stdout.flush()
            shown = standings
            if not any(standing.is_open for standing in standings):
                break
            time.sleep(_INTERVAL_S)
            # A database that restarts is no reason to stop watching.
            with suppress(LedgerUnavailableError):
                standings = home.standings(study)
    _say_next(standings)


def _say_next(standings: Sequence[StudyStanding]) -> None:
    # Of many studies it would be a page.
    if len(standings) == 1 and (step := next_step(standings[0])) is not None:
        typer.echo(step)


def status(
    study: Annotated[str | None, typer.Argument(metavar="STUDY", help="All studies of the home if left out.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until the study is done.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Every trial, also where a terminal shows the most telling ones.")
    ] = False,
    as_json_: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Where every trial stands. Exit code 1 while cells are open or where a trial failed."""
    if watch and as_json_:
        raise typer.BadParameter("--watch shows a table and --json prints once: choose one of them")
    settings = Settings.resolve()
    home = _Home(settings)
    try:
        if watch:
            with suppress(KeyboardInterrupt):
                _watch(home, study, everything=everything)
        standings = home.standings(study)
    finally:
        home.close()
    backlog = read_backlog(settings.home)
    if as_json_:
        typer.echo(_json(standings, study, backlog))
    elif not watch:
        _print(standings, backlog, everything=everything)
    raise typer.Exit(max(map(exit_code, standings), default=0))


def _json(standings: Sequence[StudyStanding], study: str | None, backlog: Backlog | None) -> str:
    waits = None if backlog is None else {"since": backlog.since, "why": list(backlog.sentences)}
    documents = [{**as_json(standing), "projections_behind": waits} for standing in standings]
    if study is not None:
        return dumped(documents[0])
    return '{"studies": [' + ",\n".join(map(dumped, documents)) + "]}"


def _print(standings: Sequence[StudyStanding], backlog: Backlog | None, *, everything: bool) -> None:
    if not standings:
        typer.echo(_NO_STUDY)
    elif sys.stdout.isatty() and not everything:
        from rich.console import Console

        console = Console()
        console.print(_as_table(standings, console))
        _say_next(standings)
    else:
        typer.echo(_as_texts(standings))
    if backlog is not None:
        typer.echo(f"MLflow or Optuna's tables are {backlog}")
