"""Batches by a recipe: decoded images in, one array of cut images and one of each target out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import cv2
import numpy as np
import torch

from posestudy_runner.plugin.data_path.annotations import Annotations
from posestudy_runner.plugin.data_path.batches import Batch, Column, PackedSamples
from posestudy_runner.plugin.data_path.compiled import Recipe, Table
from posestudy_runner.plugin.data_path.device_targets import UndrawnTargets, device_encoder
from posestudy_runner.plugin.data_path.draws import HORIZONTAL, Instance
from posestudy_runner.plugin.data_path.inputs import Inputs, RawInputs, WarpedInputs
from posestudy_runner.plugin.dataset import explained


class Images(Protocol):
    """The images of a data set, by number."""

    def read(self, number: int) -> np.ndarray:
        """uint8 [H, W, 3] BGR, not to be written to.

        Raises:
            Exception: the file is missing or does not decode.
        """


class BatchMaker:
    """Makes batches by a recipe.

    Args:
        recipe: what each sample goes through.
        table: the samples.
        images: reads their images.
        on_device: whether images are left to be warped, and targets to be drawn, on the device that takes the batch.
    """

    def __init__(self, recipe: Recipe, table: Annotations, images: Images, *, on_device: bool = False) -> None:
        self._recipe = recipe
        self._on_device = on_device
        self._drawing = device_encoder(recipe.targets.encoder) if on_device and recipe.targets is not None else None
        self._table = table
        self._images = images

    def batch(self, places: Sequence[int]) -> Batch:
        """The samples at `places`, in their order.

        Raises:
            UnreadableImageError: an image is missing or does not decode.
        """
        recipe, table, count = self._recipe, self._table, len(places)
        inputs: Inputs = (RawInputs if self._on_device else WarpedInputs)(recipe.warp, count)
        keypoints = np.empty((count, *table.keypoints.shape[1:]), np.float32)
        made = [self._sample(place, inputs, keypoints[row]) for row, place in enumerate(places)]
        visible = np.concatenate([sample.visible for sample in made])
        results = {
            "bbox": np.stack([sample.bbox for sample in made]),
            "bbox_score": table.bbox_scores[list(places), None],
            "keypoints": np.stack([sample.keypoints for sample in made]),
            "keypoints_visible": visible[:, None],
            "bbox_scale": np.stack([sample.scale for sample in made]),
        }
        undrawn = self._undrawn(keypoints, visible)
        encoded = {} if recipe.targets is None or undrawn else recipe.targets.encode(keypoints, visible)
        packing = recipe.packing
        # The stock packing looks in all of a sample's results for each of the three.
        results |= encoded
        return {
            "inputs": inputs.made(),
            "data_samples": PackedSamples(
                described=tuple(table.described[place] for place in places),
                metainfo=self._metainfo(made),
                instances=_named(results, packing.instances),
                labels={name: torch.from_numpy(array) for name, array in _named(results, packing.labels).items()},
                fields={name: torch.from_numpy(array) for name, array in _named(results, packing.fields).items()},
                undrawn=undrawn,
            ),
        }

    def _undrawn(self, keypoints: np.ndarray, visible: np.ndarray) -> UndrawnTargets | None:
        if self._drawing is None or self._recipe.targets is None:
            return None
        weights, packing = self._recipe.targets.weights, self._recipe.packing
        return UndrawnTargets(
            encoder=self._drawing,
            keypoints=torch.from_numpy(keypoints),
            visible=torch.from_numpy(visible),
            weights=None if weights is None else torch.as_tensor(weights),
            labels=packing.labels,
            fields=packing.fields,
        )

    def _sample(self, place: int, inputs: Inputs, out_keypoints: np.ndarray) -> Instance:
        recipe, table = self._recipe, self._table
        if recipe.seed is not None:
            recipe.seed.transform({"sample_idx": place})
        bbox = table.bboxes[place : place + 1]
        image = self._read(int(table.images[place]))
        instance = Instance(
            image=image,
            bbox=bbox,
            keypoints=table.keypoints[place : place + 1],
            visible=table.visible[place : place + 1],
            center=(bbox[:, 2:] + bbox[:, :2]) * 0.5,
            scale=(bbox[:, 2:] - bbox[:, :2]) * recipe.padding,
            shape=(image.shape[0], image.shape[1]),
        )
        for step in recipe.steps:
            step(instance)
        warp = recipe.warp
        instance.scale = warp.fitted(instance.scale)
        matrix = warp.matrix(instance.center[0], instance.scale[0], instance.rotation)
        out_keypoints[...] = cv2.transform(instance.keypoints, matrix)[0]
        inputs.add(instance.image, matrix, mirror=instance.mirrored, colours=instance.colours)
        return instance

    def _read(self, number: int) -> np.ndarray:
        try:
            image: np.ndarray = self._images.read(number)
        except Exception as error:
            unreadable = explained(self._table.paths[number], error)
            if unreadable is None:
                raise
            raise unreadable from error
        return image

    def _metainfo(self, made: Sequence[Instance]) -> dict[str, Column]:
        """What a pipeline adds to the metainfo, in the types of the stock transforms."""
        shapes = [sample.shape for sample in made]
        found: dict[str, Column] = {
            "ori_shape": shapes,
            "img_shape": shapes,
            "input_size": [self._recipe.warp.size] * len(made),
            "input_center": np.concatenate([sample.center for sample in made]),
            "input_scale": np.concatenate([sample.scale for sample in made]),
        }
        if self._recipe.flips:
            found["flip"] = [sample.flipped for sample in made]
            found["flip_direction"] = [HORIZONTAL if sample.flipped else None for sample in made]
        return {name: column for name, column in found.items() if name in self._recipe.packing.meta_keys}


def _named(results: Mapping[str, np.ndarray], table: Table) -> dict[str, np.ndarray]:
    return {name: results[key] for key, name in table.items() if key in results}
