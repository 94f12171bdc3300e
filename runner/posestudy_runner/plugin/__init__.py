"""Makes MMPose work here and adds what it lacks: `import posestudy_runner.plugin` is all a trial's config needs."""

from __future__ import annotations

from posestudy_runner.plugin import compat

compat.install()

# MMPose loads only after the shims above.
from posestudy_runner.plugin import regression  # noqa: E402
from posestudy_runner.plugin.accumulation import EpochwiseAccumulationHook  # noqa: E402
from posestudy_runner.plugin.amp import DeviceAmpOptimWrapper  # noqa: E402
from posestudy_runner.plugin.augmentation import (  # noqa: E402
    PhotometricDistortionV0,
    RandomBBoxTranslation,
    SeededAlbumentation,
)
from posestudy_runner.plugin.dataset import KeypointDataset  # noqa: E402
from posestudy_runner.plugin.loading import understand_official_checkpoints  # noqa: E402
from posestudy_runner.plugin.metrics import LabelledNME, PredictionFile  # noqa: E402
from posestudy_runner.plugin.ranks import FirstRankBuffersHook  # noqa: E402
from posestudy_runner.plugin.seeding import SeedEpochHook, SeedSample  # noqa: E402
from posestudy_runner.plugin.transpose import HRNetS, TransPoseEncoder  # noqa: E402

understand_official_checkpoints()
regression.install()

__all__ = [
    "DeviceAmpOptimWrapper",
    "EpochwiseAccumulationHook",
    "FirstRankBuffersHook",
    "HRNetS",
    "KeypointDataset",
    "LabelledNME",
    "PhotometricDistortionV0",
    "PredictionFile",
    "RandomBBoxTranslation",
    "SeedEpochHook",
    "SeedSample",
    "SeededAlbumentation",
    "TransPoseEncoder",
]
