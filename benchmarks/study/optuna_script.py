"""What an Optuna script around MMPose looks like: a process per trial, as many at a time as there are workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import optuna

from benchmarks.study.rivals import TRAIN, finals


def main(work: Path, workers: int, configs: list[Path]) -> None:
    """Train all of `configs` once."""

    def objective(trial: optuna.Trial) -> float:
        name = trial.suggest_categorical("config", [config.stem for config in configs])
        (config,) = (config for config in configs if config.stem == name)
        command = [*TRAIN, str(config), "--work-dir", str(work / name)]
        subprocess.run(command, check=True)
        return finals([config], work)[name]

    sampler = optuna.samplers.GridSampler({"config": [config.stem for config in configs]}, seed=0)
    storage = optuna.storages.RDBStorage(f"sqlite:///{work}/optuna.db")
    study = optuna.create_study(study_name="speed", storage=storage, sampler=sampler, direction="maximize")
    for config in configs:  # in the order of the others, each once
        study.enqueue_trial({"config": config.stem})
    study.optimize(objective, n_trials=len(configs), n_jobs=workers)
    print(json.dumps({"best": study.best_value}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), [Path(word) for word in sys.argv[3:]])
