"""A study as files that train under MMPose alone: a config, a training script and a job script for each trial."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from posestudy.home import safe_part
from posestudy.vocabulary import TrialState
from posestudy_reports.bundle_code import PlainConfig, plain_values, shared_files
from posestudy_runner.engines.jobs import check_gpus, devices
from posestudy_runner.engines.script import cluster_values, not_said, read_template
from posestudy_studies import factors
from posestudy_studies.cells import level_text
from posestudy_studies.cluster import Cluster, contained
from posestudy_studies.mmpose_config import build
from posestudy_studies.plan import plan
from posestudy_studies.spec import Study
from posestudy_studies.training import Training

if TYPE_CHECKING:
    from posestudy.ledger.records import Snapshot, TrialRecord

TRIALS: Final = "trials"
_SLURM_KEYS: Final = ("partition", "account", "qos", "gres", "time")
HERE: Final = "the folder above `trials`"


@dataclass(frozen=True)
class Exported:
    """One trial that is exported.

    Attributes:
        stage, cell: whose replicate it is.
        levels: what the cell changes, as text; empty for a baseline.
        number: of the trial in the ledger; None where the study was not launched, or has it not yet.
        done: the ledger has its result.
        folder: relative to the export's.
        epochs, devices: it trains so many epochs, on so many GPUs or processes at once.
        plain: its config, with paths relative to the export's folder.
    """

    stage: str
    cell: str
    levels: str
    seed: int
    number: int | None
    done: bool
    folder: str
    epochs: int
    devices: int
    plain: PlainConfig


@dataclass(frozen=True)
class Export:
    """Everything that is known in advance, and what is not.

    Attributes:
        twins: by folder, further stage, cell and seed with the very same config.
        undecided: by stage, how many cells depend on results.
    """

    study: Study
    trials: tuple[Exported, ...]
    twins: Mapping[str, Sequence[str]]
    undecided: Mapping[str, int]


def known(study: Study, snapshot: Snapshot | None) -> Export:
    """The trials of `study` whose configuration follows from its file and from the results in `snapshot`.

    Raises:
        PoseStudyError: a config cannot be made, or names a path that cannot be handed on.
    """
    trials: dict[str, Exported] = {}
    twins: dict[str, list[str]] = {}
    undecided: dict[str, int] = {}
    folders: dict[str, str] = {}
    starts: dict[str, Path] = {}
    data = study.dataset.model_dump(mode="json")
    for stage in plan(study, snapshot=snapshot)["stages"]:
        for cell in stage["cells"]:
            if not cell["decided"]:
                undecided[stage["name"]] = undecided.get(stage["name"], 0) + 1
                continue
            training = Training.model_validate(factors.unflatten(cell["config"]))
            there = _in_ledger(snapshot, stage["name"], cell["name"])
            for seed in dict.fromkeys((*stage["seeds"], *there)):
                name = f"stage {stage['name']!r}, cell {cell['name']!r}, seed {seed}"
                plain = plain_values(_values(study, training, seed), data, name, starts)
                text = plain.text("this trial", HERE)
                if text in folders:
                    twins.setdefault(folders[text], []).append(name)
                    continue
                folder = "/".join((TRIALS, safe_part(stage["name"]), safe_part(cell["name"]), f"seed_{seed}"))
                folders[text] = folder
                levels = ", ".join(f"{factor} {level_text(level, factor)}" for factor, level in cell["levels"].items())
                trials[folder] = Exported(
                    stage["name"],
                    cell["name"],
                    levels,
                    seed,
                    there[seed].number if seed in there else None,
                    seed in there and there[seed].state is TrialState.DONE,
                    folder,
                    training.epochs,
                    training.gpus,
                    plain,
                )
    return Export(study, tuple(trials.values()), twins, undecided)


def files(export: Export, place: Path) -> dict[str, bytes]:
    """Every file of the export but its README and the links to data and weights, by path.

    Args:
        place: absolute path of the folder it will be in, which job scripts name.

    Raises:
        MissingPieceError: MMPose is not installed with its tools.
        PoseStudyError: the job template of the study's `cluster` cannot be used, or its jobs have too few GPUs.
    """
    cluster = export.study.cluster
    if cluster is not None:
        check_gpus(cluster, max(trial.devices for trial in export.trials))
    made = dict(shared_files())
    for index, trial in enumerate(export.trials, start=1):
        name = f"study {export.study.study!r}, stage {trial.stage!r}, cell {trial.cell!r}, seed {trial.seed}"
        made[f"{trial.folder}/config.py"] = trial.plain.text(name, HERE).encode()
        made[f"{trial.folder}/train.sh"] = _train_script(trial).encode()
        if cluster is not None:
            made[f"{trial.folder}/job.sh"] = _job_script(export.study.study, cluster, trial, index, place).encode()
    return made


def notes(study: Study) -> Iterator[str]:
    """What the study's `cluster` asks for and no job script says, a sentence each."""
    cluster = study.cluster
    if cluster is not None and cluster.template is not None:
        yield from not_said(cluster, read_template(cluster))


def links(export: Export) -> dict[str, Path]:
    """What is not copied, by the path that the configs name: the data set's folder and files of initial weights."""
    found: dict[str, Path] = {}
    for trial in export.trials:
        found |= {instead: Path(root) for root, instead in trial.plain.moved.items()}
        found |= trial.plain.starts
    return found


def _values(study: Study, training: Training, seed: int) -> dict[str, Any]:
    values = build(study, training, seed)
    # One name whatever the study is called, so that equal trials have equal configs; the script says another.
    values["work_dir"] = "work_dirs"
    if not training.epochs:
        # MMPose's test tool then does what posestudy does with such a cell: looks at the validation split.
        values["test_dataloader"], values["test_evaluator"] = values["val_dataloader"], values["val_evaluator"]
    return values


def _in_ledger(snapshot: Snapshot | None, stage: str, cell: str) -> dict[int, TrialRecord]:
    """The trials of a cell in the ledger, by seed."""
    if snapshot is None:
        return {}
    stages = {one.id for one in snapshot.stages if one.name == stage}
    cells = {one.id for one in snapshot.cells if one.stage_id in stages and one.name == cell}
    return {trial.seed: trial for trial in snapshot.trials if trial.cell_id in cells}


def _train_script(trial: Exported) -> str:
    up = "/".join([".."] * (trial.folder.count("/") + 1))
    config = f"{trial.folder}/config.py"
    lines = [
        "#!/usr/bin/env bash",
        "# Trains this trial; a second call goes on from its last checkpoint. PYTHON names another interpreter.",
        "set -euo pipefail",
        f'cd "$(dirname "${{BASH_SOURCE[0]}}")/{up}"',
    ]
    if not trial.epochs:
        lines[1] = "# Evaluates given weights on the validation split. PYTHON names another interpreter."
        weights = str(trial.plain.values.get("load_from"))
        lines.append(_called("tools/test.py", config, weights, trial))
    else:
        lines.append(_called("tools/train.py", config, "--resume", trial))
    return "\n".join(lines) + "\n"


def _called(tool: str, config: str, word: str, trial: Exported) -> str:
    words = [tool, config, word] if tool.endswith("test.py") else [tool, config]
    start = '"${PYTHON:-python}"'
    if trial.devices > 1 and trial.epochs:
        # Standalone: at a port that is free, so that several trials may train on one machine.
        start += f" -m torch.distributed.run --standalone --nproc_per_node {trial.devices}"
        words += ["--launcher", "pytorch"]
    words += ["--work-dir", f"{trial.folder}/work_dirs"]
    # Last, as the word after it would be taken for a checkpoint.
    words += [] if word in words else [word]
    return f'exec {start} {shlex.join(words)} "$@"'


def _job_script(study: str, cluster: Cluster, trial: Exported, index: int, place: Path) -> str:
    folder = place / trial.folder
    command = ["bash", str(folder / "train.sh")]
    if cluster.container is not None:
        command = ["env", f"PYTHON={cluster.container.python}", *command]
    values = {
        **cluster_values(cluster),
        "study": study,
        "number": str(index),
        "name": f"{cluster.job_name or study}-{index}",
        "command": shlex.join(contained(command, cluster.container, gpus=devices(cluster) > 0)),
        "home": str(place),
        "job": str(folder / "job.sh"),
        "log": str(folder / "job.log"),
    }
    if cluster.template is not None:
        return read_template(cluster).filled(values)
    return "\n".join(_slurm_lines(cluster, values)) + "\n"


def _slurm_lines(cluster: Cluster, values: Mapping[str, str]) -> Iterator[str]:
    """A job script of Slurm, as it is where no other batch system's template is given."""
    yield "#!/bin/bash"
    yield f"#SBATCH --job-name={values['name']}"
    # Slurm has words of its own that begin with a percent sign.
    yield f"#SBATCH --output={shlex.quote(values['log'].replace('%', '%%'))}"
    yield "#SBATCH --open-mode=append"
    for key, option in (*((key, key) for key in _SLURM_KEYS), ("cpus", "cpus-per-task")):
        if key in values:
            yield f"#SBATCH --{option}={values[key]}"
    if cluster.slurm_memory is not None:
        yield f"#SBATCH --mem={cluster.slurm_memory}"
    for given in cluster.options:
        yield f"#SBATCH {given}"
    yield from cluster.setup
    container = cluster.container
    if container is None or container.runtime != "pyxis":
        yield values["command"]
    else:
        mounts = f" --container-mounts={shlex.quote(','.join(container.mounts))}" if container.mounts else ""
        yield f"srun --container-image={shlex.quote(container.image)}{mounts} {values['command']}"
