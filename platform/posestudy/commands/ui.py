"""`posestudy ui`: the MLflow UI and optuna-dashboard on this machine."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from posestudy.errors import MissingPieceError
from posestudy.settings import Settings

if TYPE_CHECKING:
    from posestudy.projections.servers import MlflowServer


def ui(
    study: Annotated[str | None, typer.Argument(metavar="STUDY", help="Print the direct link to this study.")] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the MLflow UI.")] = 5000,
    optuna_port: Annotated[
        int, typer.Option("--optuna-port", min=1, max=65535, help="Port of optuna-dashboard.")
    ] = 8080,
    no_optuna: Annotated[bool, typer.Option("--no-optuna", help="Only the MLflow UI.")] = False,
) -> None:
    """Serve the MLflow UI, and optuna-dashboard, on 127.0.0.1 until Ctrl-C."""
    from posestudy.projections import tracking_check
    from posestudy.projections.servers import MlflowServer, OptunaServer, require_free

    settings = Settings.resolve()
    if study is not None:
        _require_study(settings, study)
    elsewhere = tracking_check.is_server(settings.mlflow_uri)
    if not elsewhere:
        require_free(port, "--port")
    if not no_optuna:
        if optuna_port == port and not elsewhere:
            raise MissingPieceError(f"both pages were given port {port}; expected two, set one with --optuna-port")
        require_free(optuna_port, "--optuna-port")

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    mlflow = None if elsewhere else MlflowServer(settings, port)
    optuna = None if no_optuna else OptunaServer(settings.optuna_url, optuna_port)
    try:
        settings.home.root.mkdir(parents=True, exist_ok=True)
        if optuna is not None:
            optuna.start()
            typer.echo(f"Optuna   {optuna.address}/dashboard")
        if mlflow is None:
            typer.echo(f"MLflow   {tracking_check.ask(settings.mlflow_uri).sentence} (a server of its own)")
        else:
            typer.echo("MLflow   starting ...")
            mlflow.start(stop)
            if not stop.is_set():
                typer.echo(f"MLflow   {_page(mlflow, study)}")
        if not stop.is_set():
            typer.echo("Ctrl-C ends both." if optuna and mlflow else "Ctrl-C ends it.")
        while not stop.wait(1.0):
            if mlflow is not None and not mlflow.running:
                raise MissingPieceError(f"MLflow's server ended by itself; see {settings.home.ui_log}")
    finally:
        if mlflow is not None:
            mlflow.stop()
        if optuna is not None:
            optuna.stop()


def _require_study(settings: Settings, study: str) -> None:
    """NotFoundError with the nearest name where the ledger has no such study."""
    from posestudy.ledger import Ledger

    ledger = Ledger.open(settings.database_url)
    try:
        ledger.study(study)
    finally:
        ledger.close()


def _page(mlflow: MlflowServer, study: str | None) -> str:
    if study is None:
        return mlflow.address
    page = mlflow.experiment_page(study)
    return page or f"{mlflow.address} (study '{study}' is not there yet; `posestudy sync {study}` sends it)"
