"""`posestudy doctor`: what is there, what is missing, and the command that mends it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from posestudy.errors import PoseStudyError
from posestudy.projections import sqlite_file, tracking_check
from posestudy.settings import Settings, masked
from posestudy_runner import image_stores
from posestudy_runner.image_cache import LIMIT_VARIABLE, ImageCache

MIN_FREE_GB = 2.0
MLFLOW_FLOOR = (3, 10, 2)
"""Advisories reach up to 3.10.1."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: `state` is `ok`, `warn` (works, but look) or `missing` (something will not work)."""

    name: str
    state: str
    detail: str
    mend: str = ""


def _installed(package: str, mend: str) -> Finding:
    try:
        return Finding(package, "ok", version(package))
    except PackageNotFoundError:
        return Finding(package, "missing", "not installed", mend)


def _packages() -> Iterator[Finding]:
    for package in ("sqlalchemy", "optuna", "pandas", "plotly", "typst"):
        yield _installed(package, "make setup")
    mlflow = _installed("mlflow", "make setup")
    if mlflow.state == "ok" and _number(mlflow.detail) < MLFLOW_FLOOR:
        mlflow = Finding("mlflow", "warn", f"{mlflow.detail} has known advisories", "pip install 'mlflow>=3.17,<3.18'")
    yield mlflow
    for package in ("torch", "torchvision", "mmengine", "mmpose", "xtcocotools"):
        yield _installed(package, "make runtime")


_TRAINING = """
import json, torch
import posestudy_runner.plugin
import mmpose.models, mmpose.apis
print(json.dumps({"cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]}))
"""


def _training() -> Finding:
    """Import the whole training stack in a process of its own, as a trial does."""
    done = subprocess.run([sys.executable, "-c", _TRAINING], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return Finding("training stack", "missing", reason[0], "make runtime")
    names = json.loads(done.stdout.strip().splitlines()[-1])["cuda"]
    detail = ", ".join(f"cuda:{i} {name}" for i, name in enumerate(names)) or "imports; no GPU, trials run on the CPU"
    return Finding("training stack", "ok", detail)


def _driver() -> Finding:
    """A GPU the system sees and torch does not is the commonest reason for a study that takes a week."""
    if not shutil.which("nvidia-smi"):
        return Finding("gpu driver", "ok", "no NVIDIA driver on this machine")
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    gpus = [line for line in done.stdout.splitlines() if line.startswith("GPU")]
    if "+cpu" in version("torch") and gpus:
        mend = f"pip install --force-reinstall torch=={version('torch').split('+')[0]}"
        return Finding("gpu driver", "warn", f"{len(gpus)} GPU, but torch is a CPU build", mend)
    return Finding("gpu driver", "ok", f"{len(gpus)} GPU")


def _home(settings: Settings) -> Finding:
    root = settings.home.root
    place = next(p for p in (root, *root.parents) if p.exists())
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < MIN_FREE_GB:
        return Finding(
            "home", "warn", f"{root}: {free_gb:.1f} GB free", "posestudy --home DIR on a disk with more room"
        )
    return Finding("home", "ok", f"{root}: {free_gb:.0f} GB free")


def _decoded_images(settings: Settings) -> Finding:
    try:
        cache = ImageCache.resolve(settings.home)
    except PoseStudyError as error:
        return Finding("decoded images", "missing", str(error), f"unset {LIMIT_VARIABLE}")
    if cache.folder is None:
        return Finding("decoded images", "warn", f"not kept: {cache.why_not}", "see docs/image_cache.md")
    taken = sum(store.size for store in image_stores.stores(cache.folder)) / 1e9
    return Finding("decoded images", "ok", f"{cache.folder}: {taken:.1f} GB of {cache.limit_bytes / 1e9:g} GB at most")


def _ledger(settings: Settings) -> Finding:
    shown = masked(settings.database_url)
    url = settings.database_url
    if sqlite_file.is_file(url) and sqlite_file.file_identity(url) is None:
        return Finding("ledger", "ok", f"{shown} (made at the first launch)")
    from posestudy.ledger import Ledger

    try:
        ledger = Ledger.open(settings.database_url)
    except PoseStudyError as error:
        return Finding("ledger", "missing", str(error), "check POSESTUDY_DATABASE_URL and that the server runs")
    studies = len(ledger.studies())
    ledger.close()
    return Finding("ledger", "ok", f"{shown}: {'1 study' if studies == 1 else f'{studies} studies'}")


def _tracking(settings: Settings) -> Finding:
    if not tracking_check.is_server(settings.mlflow_uri):
        return Finding("mlflow store", "ok", masked(settings.mlflow_uri))
    found = tracking_check.ask(settings.mlflow_uri)
    if not found.usable:
        mend = (
            "check MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD_FILE; see docs/services.md"
        )
        return Finding("mlflow server", "missing", found.sentence, mend)
    if _number(found.version) < MLFLOW_FLOOR:
        return Finding("mlflow server", "warn", f"{found.sentence} has known advisories", "a newer MLflow there")
    return Finding("mlflow server", "ok", f"{found.sentence}, lets this user in")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _port(port: int, option: str) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Finding(f"port {port}", "warn", "in use on 127.0.0.1", f"posestudy ui {option} N")
    return Finding(f"port {port}", "ok", "free on 127.0.0.1")


def _shared_memory() -> Finding:
    place = Path("/dev/shm")  # noqa: S108  the kernel's shared memory, where torch's data loaders pass batches
    free_gb = shutil.disk_usage(place).free / 1e9 if place.exists() else 0.0
    if free_gb < 0.5:
        detail = f"{free_gb:.2f} GB; data loaders pass batches through it"
        return Finding("shared memory", "warn", detail, "in a container: --shm-size=2g")
    return Finding("shared memory", "ok", f"{free_gb:.1f} GB free")


def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order they are printed; takes some seconds since it imports the training stack."""
    findings = [Finding("python", "ok", sys.version.split()[0]), *_packages()]
    checks: list[Callable[[], Finding]] = [
        _training,
        _driver,
        lambda: _home(settings),
        lambda: _decoded_images(settings),
        _shared_memory,
        lambda: _ledger(settings),
        lambda: _tracking(settings),
        lambda: _port(5000, "--port"),
        lambda: _port(8080, "--optuna-port"),
    ]
    return findings + [check() for check in checks]


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Print what is there, what is missing, and the command that mends it."""
    findings = examine(Settings.resolve())
    if as_json:
        typer.echo(json.dumps({"findings": [asdict(f) for f in findings]}, indent=2))
    else:
        mark = {"ok": "ok     ", "warn": "look   ", "missing": "MISSING"}
        for finding in findings:
            typer.echo(f"{mark[finding.state]}  {finding.name}: {finding.detail}")
            if finding.mend and finding.state != "ok":
                typer.echo(f"         mend with: {finding.mend}")
    if any(f.state == "missing" for f in findings):
        raise typer.Exit(1)
