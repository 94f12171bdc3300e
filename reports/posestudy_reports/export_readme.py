"""`README.md` of an exported study: what each file is, how to run it, and which trials are not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import posestudy
from posestudy_reports import bundle_plugin
from posestudy_reports.bundle_code import mmpose_version
from posestudy_reports.exported_study import Export, Exported, links

_SIGNS: Final = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|#"})


def readme(export: Export) -> str:
    """The text, Markdown."""
    parts = [
        f"# {_safe(export.study.study)}: {counted(len(export.trials), 'trial')}",
        f"Plain MMPose {mmpose_version()} configs, written by posestudy {posestudy.__version__}. They need MMPose "
        "installed, and no posestudy.",
        "## What is here",
        "\n".join(f"- {line}" for line in _inventory(export)),
        "## Running",
        _running(export),
        "## Trials",
        "\n".join(_table(export)),
    ]
    if export.twins:
        parts += ["## Trained once", "\n".join(f"- {line}" for line in _twins(export))]
    if missing := left_out(export):
        parts += ["## Not here", "\n".join(f"- {_safe(line)}" for line in missing)]
    return "\n\n".join(parts) + "\n"


def left_out(export: Export) -> list[str]:
    """What a reader would miss, a sentence for each stage."""
    lines = [
        f"stage '{stage}': {counted(count, 'cell')} not exported, because earlier results decide what is in "
        f"{'it' if count == 1 else 'them'}"
        for stage, count in export.undecided.items()
    ]
    replicates = export.study.replicates
    if len(replicates.seeds) > 1 and replicates.when == "unresolved":
        lines.append("further seeds, which posestudy gives where results ask for them (replicates.when: unresolved)")
    return lines


def _inventory(export: Export) -> Iterator[str]:
    yield "`trials/STAGE/CELL/seed_N/config.py`: the whole configuration of one trial"
    yield "`train.sh` beside it: starts the trial; a second call goes on from its last checkpoint"
    cluster = export.study.cluster
    if cluster is not None:
        kind = "from the template of the study's `cluster`" if cluster.template else "for Slurm's `sbatch`"
        yield f"`job.sh` beside it: the same as a job of a batch system, {kind}; it names this folder by its full path"
    yield "`tools/train.py`, `tools/test.py`: MMPose's own, with two lines at the top that find what lies here"
    yield (
        f"`{bundle_plugin.PACKAGE}/`: what the configs use and MMPose lacks, taken from posestudy (Apache License "
        "2.0); `LICENSE` is MMPose's"
    )
    if modules := sorted({name for trial in export.trials for name in trial.plain.modules}):
        names = ", ".join(f"`{name}`" for name in modules)
        yield f"not here, and imported by the configs: {names}; put it on `PYTHONPATH` or install it beside MMPose"
    for name, target in sorted(links(export).items()):
        yield f"`{name}`: a link to `{str(target).translate({ord('`'): None})}`; on another machine put the files there"


def _running(export: Export) -> str:
    first = export.trials[0]
    text = f"    bash {first.folder}/train.sh\n\n"
    text += (
        "`PYTHON=/path/to/python` before it names another interpreter; further words go to MMPose's tool. Logs and "
        "checkpoints are in `work_dirs` beside the script. MMPose writes a checkpoint after each validation."
    )
    cluster = export.study.cluster
    if cluster is not None:
        submit = cluster.submit if cluster.template and cluster.submit else "sbatch {job}"
        job = f"{first.folder}/job.sh"
        text += f"\n\nAs a job:\n\n    {submit.replace('{job}', job)}"
    text += (
        "\n\nThe results go back into the study, where posestudy is, by\n\n"
        "    posestudy import trials --study STUDY.yaml\n\n"
        "which reads the `scalars.json` that each run leaves below `work_dirs`. What they decide, the next "
        "`posestudy export` has."
    )
    if any(not trial.epochs for trial in export.trials):
        text += " Trials with 0 epochs do not go back: an evaluation alone leaves no `scalars.json`."
    return text


def _table(export: Export) -> Iterator[str]:
    yield "| folder | stage | cell | changes | seed | epochs | trial |"
    yield "|---|---|---|---|---|---|---|"
    for trial in export.trials:
        yield "| " + " | ".join(_row(trial)) + " |"


def _row(trial: Exported) -> tuple[str, ...]:
    return (
        f"`{trial.folder}`",
        _safe(trial.stage),
        _safe(trial.cell),
        _safe(trial.levels) or "baseline",
        str(trial.seed),
        str(trial.epochs) if trial.epochs else "0: evaluates given weights",
        "" if trial.number is None else f"{trial.number}{', done' if trial.done else ''}",
    )


def _twins(export: Export) -> Iterator[str]:
    for folder, names in export.twins.items():
        yield f"`{folder}` is also: {_safe('; '.join(names))}"


def _safe(text: str) -> str:
    return " ".join(text.split()).translate(_SIGNS)


def counted(count: int, word: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
