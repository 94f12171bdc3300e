"""Weights from outside: official TransPose files wherever MMEngine loads a checkpoint."""

from __future__ import annotations

from typing import Any


def understand_official_checkpoints() -> None:
    """Let `load_from`, `init_cfg` and `mmpose.apis.init_model` take official TransPose files as they are."""
    from mmengine.runner.checkpoint import CheckpointLoader

    from posestudy_runner.transpose_weights import official

    stock = CheckpointLoader.load_checkpoint.__func__
    if getattr(stock, "posestudy", False):
        return

    def load_checkpoint(cls: Any, *arguments: Any, **options: Any) -> Any:
        """MMEngine's, with official TransPose weights under MMPose's names."""
        loaded = stock(cls, *arguments, **options)
        found = official(loaded)
        return loaded if found is None else {"state_dict": found.converted, "meta": {}}

    load_checkpoint.posestudy = True  # type: ignore[attr-defined]
    CheckpointLoader.load_checkpoint = classmethod(load_checkpoint)
