"""Weights from outside: official TransPose files wherever MMEngine loads a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posestudy.errors import PoseStudyError
from posestudy_runner.weight_files import EXPECTED, no_weights


def understand_official_checkpoints() -> None:
    """Let `load_from`, `init_cfg` and `mmpose.apis.init_model` take official TransPose files as they are."""
    from mmengine.runner.checkpoint import CheckpointLoader

    from posestudy_runner.transpose_weights import official

    stock = CheckpointLoader.load_checkpoint.__func__
    if getattr(stock, "posestudy", False):
        return

    def load_checkpoint(cls: Any, filename: Any, *arguments: Any, **options: Any) -> Any:
        """MMEngine's, with official TransPose weights under MMPose's names.

        Raises:
            PoseStudyError: the file holds something else than weights, which are tensors by name.
        """
        try:
            loaded = stock(cls, filename, *arguments, **options)
        except (FileNotFoundError, MemoryError):
            raise
        except Exception as error:
            raise no_weights(filename, error) from error
        if not isinstance(loaded, Mapping):
            raise PoseStudyError(f"{filename} is not a file of weights: it holds a {type(loaded).__name__}; {EXPECTED}")
        found = official(loaded)
        return loaded if found is None else {"state_dict": found.converted, "meta": {}}

    load_checkpoint.posestudy = True  # type: ignore[attr-defined]
    CheckpointLoader.load_checkpoint = classmethod(load_checkpoint)
