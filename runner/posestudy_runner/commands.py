"""`posestudy launch` and `posestudy worker`; `doctor` is offered from here as well."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posestudy.errors import PoseStudyError, nearest
from posestudy.settings import Settings
from posestudy.vocabulary import Outcome
from posestudy_runner.doctor import doctor as doctor

if TYPE_CHECKING:
    from posestudy_runner.context import PoolOptions
    from posestudy_runner.packing_rules import PerGpu

MOST_PER_GPU = 64

StartOption = Annotated[
    str, typer.Option("--start", help="How trial processes start: forkserver (fast) or spawn; equal results.")
]
LeaseOption = Annotated[
    float,
    typer.Option("--lease", min=1.0, max=86400.0, help="Seconds until a silent worker's trial is given to another."),
]
MemoryOption = Annotated[
    float | None,
    typer.Option("--memory-limit", min=64.0, max=1e9, help="MiB a trial process may take; default: no limit."),
]


def _engines() -> list[str]:
    """For shell completion."""
    from posestudy_runner.engine_names import names

    return list(names())


NotifyOption = Annotated[
    str | None,
    typer.Option(
        "--notify",
        metavar="COMMAND",
        envvar="POSESTUDY_NOTIFY",
        help="Shell command to run where a stage closes, a trial fails or the study is done.",
    ),
]


def launch(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")],
    workers: Annotated[
        int | None, typer.Option("--workers", "-n", min=1, max=1024, help="Trials at a time; default: one a device.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the study file; repeatable.")
    ] = None,
    retry: Annotated[
        str,
        typer.Option(
            "--retry",
            metavar="OUTCOME,...",
            help="Run trials with these outcomes again from the start: failed, timed_out, ...",
        ),
    ] = "",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train also what an earlier stage or study of the home has trained.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option(
            "--engine", metavar="NAME", help="Who places workers: local, ray, slurm, script.", autocompletion=_engines
        ),
    ] = "local",
    profile: Annotated[
        Path | None,
        typer.Option(
            "--profile", metavar="FILE.yaml", help="What the study's `cluster` does not say: partition, time, ..."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="The Ray cluster for --engine ray; default: RAY_ADDRESS, else one is started on this machine.",
        ),
    ] = None,
    per_gpu: Annotated[
        str | None,
        typer.Option(
            "--per-gpu",
            metavar="auto|N",
            help="Trials at a time on one GPU: N at most, or auto, as memory and use allow; default: one.",
        ),
    ] = None,
    start: StartOption = "forkserver",
    lease: LeaseOption = 60.0,
    memory_limit: MemoryOption = None,
    notify: NotifyOption = None,
) -> None:
    """Train every trial of a study; call it again to resume."""
    options = replace(_options(start, lease, memory_limit, notify), per_gpu=parse_per_gpu(per_gpu))
    outcomes = parse_outcomes(retry)
    if address is not None and engine != "ray":
        raise PoseStudyError("--address is for --engine ray")
    from posestudy_runner.launching import run_study
    from posestudy_studies.file import load

    loaded = load(study, overrides or (), profile)
    source = study.read_text(encoding="utf-8")
    code = run_study(
        loaded,
        source,
        Settings.resolve(),
        workers=workers,
        retry=outcomes,
        fresh=fresh,
        engine_name=engine,
        address=address,
        options=options,
        resume_with=_same_command(),
    )
    raise typer.Exit(code)


def worker(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A launched study's name.")],
    start: StartOption = "forkserver",
    lease: LeaseOption = 60.0,
    memory_limit: MemoryOption = None,
    notify: NotifyOption = None,
) -> None:
    """Join a launched study with one worker."""
    options = _options(start, lease, memory_limit, notify)
    from posestudy_runner.launching import join_study

    raise typer.Exit(join_study(study, Settings.resolve(), options=options))


def parse_outcomes(text: str) -> list[Outcome]:
    """`failed,timed_out` as outcomes.

    Raises:
        PoseStudyError: a word is no outcome, naming those there are.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    known = [outcome.value for outcome in Outcome]
    for word in words:
        if word not in known:
            hint = nearest(word, known)
            raise PoseStudyError(f"--retry: found '{word}', expected some of {', '.join(known)} {hint}".strip())
    return [Outcome(word) for word in words]


def parse_per_gpu(text: str | None) -> PerGpu | None:
    """`auto`, or a number of trials; None for None.

    Raises:
        PoseStudyError: it is neither.
    """
    if text is None:
        return None
    if text == "auto":
        return "auto"
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PER_GPU:
        raise PoseStudyError(f"--per-gpu: found '{text}', expected auto or a number from 1 to {MOST_PER_GPU}")
    return int(text)


def _options(start: str, lease: float, memory_limit: float | None, notify: str | None) -> PoolOptions:
    from posestudy_runner.context import PoolOptions
    from posestudy_runner.forkserver import StartMethod

    known = [method.value for method in StartMethod]
    if start not in known:
        raise PoseStudyError(f"--start: found '{start}', expected one of {', '.join(known)}")
    if notify is not None and (not notify.strip() or "\0" in notify):
        raise PoseStudyError(f"--notify: found {notify!r}, expected a shell command")
    return PoolOptions(lease_s=lease, start=start, memory_limit_mb=memory_limit, notify=notify)


def _same_command() -> str:
    return shlex.join(["posestudy", *sys.argv[1:]])
