"""What Ray Tune around MMPose looks like: a function that trains, a grid of configs, a core a trial."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ray
from ray import tune

from benchmarks.study.rivals import FINALS, THREADS
from benchmarks.study.train_stock import make_importable


def main(work: Path, workers: int, *, reuse: bool, configs: list[Path]) -> None:
    """Train all of `configs` once."""

    def train(space: dict[str, Any]) -> None:
        make_importable()
        from mmengine.config import Config
        from mmengine.runner import Runner

        config = Config.fromfile(space["config"])
        config.work_dir = str(work / Path(space["config"]).stem)
        runner = Runner.from_cfg(config)
        runner.train()
        tune.report({"AP": float(runner.message_hub.get_scalar("val/coco/AP").current())})

    ray.init(num_cpus=workers, include_dashboard=False, runtime_env={"env_vars": THREADS}, log_to_driver=False)
    results = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={"config": tune.grid_search([str(config) for config in configs])},
        tune_config=tune.TuneConfig(reuse_actors=reuse),
        run_config=tune.RunConfig(storage_path=str(work / "ray"), name="speed", verbose=0),
    ).fit()
    if results.errors:
        raise results.errors[0]
    # In a reused process MMEngine writes the scalars of all its trainings into the folder of the first.
    found = {Path(one.config["config"]).stem: one.metrics["AP"] for one in results}
    (work / FINALS).write_text(json.dumps(found), encoding="utf-8")
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), reuse=bool(int(sys.argv[3])), configs=[Path(w) for w in sys.argv[4:]])
