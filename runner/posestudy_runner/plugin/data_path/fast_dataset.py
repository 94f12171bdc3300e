"""`KeypointDataset` that makes whole batches, without MMPose's pipeline where it knows what that does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmengine.dataset import Compose
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from mmpose.registry import DATASETS

from posestudy_runner.plugin.data_path.annotations import tabulated
from posestudy_runner.plugin.data_path.batch_maker import BatchMaker
from posestudy_runner.plugin.data_path.batches import Batch
from posestudy_runner.plugin.data_path.compiled import UnknownStepError, compiled
from posestudy_runner.plugin.data_path.decoded_images import DecodedImages
from posestudy_runner.plugin.dataset import KeypointDataset


@DATASETS.register_module()
class FastKeypointDataset(KeypointDataset):
    """`KeypointDataset` whose batches equal the stock pipeline's and cost a fraction of their time.

    A single sample goes through the stock pipeline still, and so do batches where the pipeline holds a transform, a
    setting or a codec that is not known here; the log says so once.

    Args:
        cache: folder of decoded images that all trials of this machine share; None: each is decoded every time.
        cache_limit_bytes: what the folder may hold; None: as much as `DecodedImages` takes.
        warp: where images of batches are warped, their colours changed, and their targets drawn: by who loads them
            (`cpu`), or by BatchedPosePreprocessor on the device that takes them.
        **options: as KeypointDataset's.
    """

    def __init__(
        self,
        *,
        cache: str | None = None,
        cache_limit_bytes: int | None = None,
        warp: Literal["cpu", "device"] = "cpu",
        **options: Any,
    ) -> None:
        self._warp = warp
        self._cache = cache
        self._cache_limit_bytes = cache_limit_bytes
        self._maker: BatchMaker | None = None
        self._compiled: Any = None
        # Our own table refers to the annotations: a second, serialised copy of them would only take memory.
        super().__init__(**{"serialize_data": False, **options})

    def full_init(self) -> None:
        """Load the annotations, and see whether the pipeline is known."""
        if self._fully_initialized:
            return
        super().full_init()
        try:
            recipe = compiled(self.pipeline.transforms, self._metainfo)
        except UnknownStepError as unknown:
            print_log(
                f"The fast data path does not know {unknown}; {self.ann_file} is read by MMPose's own pipeline.",
                logger="current",
                level=logging.WARNING,
            )
            return
        infos = self.data_list or [self.get_data_info(place) for place in range(len(self))]
        table = tabulated(infos, self._metainfo, recipe.packing.fixed)
        images = DecodedImages(table.paths, self._cache, self._cache_limit_bytes)
        self._maker = BatchMaker(recipe, table, images, on_device=self._warp == "device")
        self._compiled = self.pipeline

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep the instances at `indices` alone, which are read by MMPose's own pipeline from then on."""
        super().get_subset_(indices)
        self._maker = None

    def __getitems__(self, indices: Sequence[int]) -> Batch | list[Any]:
        """The samples at `indices` as one batch; a list of stock samples where the pipeline is not known.

        Raises:
            UnreadableImageError: an image is missing or does not decode.
        """
        if self._maker is not None and self.pipeline is not self._compiled:
            # As a hook does that exchanges it in the middle of a training.
            print_log(f"The pipeline of {self.ann_file} was exchanged; it is read by MMPose's own.", logger="current")
            self._maker = None
        if self._maker is None:
            return [self[index] for index in indices]
        return self._maker.batch(indices)


def makes_batches(dataset: Mapping[str, Any]) -> bool:
    """Whether the data set that `dataset` is the config of makes batches itself, and not by MMPose's pipeline.

    Reads no annotations.
    """
    if dataset["type"] != FastKeypointDataset.__name__:
        return False
    # Before a runner is made nothing says where transforms without a prefix are looked for.
    with DefaultScope.overwrite_default_scope("mmpose"):
        steps = Compose(dataset["pipeline"]).transforms
        try:
            compiled(steps, FastKeypointDataset._load_metainfo(dataset.get("metainfo")))
        except UnknownStepError:
            return False
    return True
