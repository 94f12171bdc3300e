"""From a stock pipeline to the few steps that it comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.datasets.transforms import (
    GenerateTarget,
    GetBBoxCenterScale,
    LoadImage,
    PackPoseInputs,
    RandomBBoxTransform,
    RandomFlip,
    RandomHalfBody,
    TopdownAffine,
)

from posestudy_runner.plugin.augmentation import PhotometricDistortionV0, RandomBBoxTranslation, SeededAlbumentation
from posestudy_runner.plugin.data_path.draws import (
    HORIZONTAL,
    BoxTransform,
    BoxTranslation,
    Colours,
    Flip,
    HalfBody,
    Step,
    WholeImage,
)
from posestudy_runner.plugin.data_path.targets import BatchEncoder, batch_encoder
from posestudy_runner.plugin.data_path.warping import Warp
from posestudy_runner.plugin.seeding import SeedSample

Table = Mapping[str, str]

META_KEYS: Final = frozenset(PackPoseInputs().meta_keys)
"""The metainfo that a sample can be given."""
ADDED: Final = frozenset(
    ("ori_shape", "img_shape", "input_size", "input_center", "input_scale", "flip", "flip_direction")
)
"""The part of it that a pipeline adds; the rest is a data set's."""


class UnknownStepError(Exception):
    """A transform, or a setting of one, that is not known here; the message names it."""


@dataclass(frozen=True)
class Targets:
    """GenerateTarget, for a batch at once.

    Attributes:
        encoder: makes the targets.
        weights: float [K] that weights of keypoints are multiplied with; None: not.
    """

    encoder: BatchEncoder
    weights: np.ndarray | None

    def encode(self, keypoints: np.ndarray, visible: np.ndarray) -> dict[str, np.ndarray]:
        """As `BatchEncoder.encode`."""
        encoded = self.encoder.encode(keypoints, visible)
        if self.weights is not None and "keypoint_weights" in encoded:
            encoded["keypoint_weights"] = encoded["keypoint_weights"] * self.weights
        return encoded


@dataclass(frozen=True)
class Packing:
    """PackPoseInputs: under which names what of a sample is handed on.

    Attributes:
        instances, labels, fields: from a result's key to its name in gt_instances, gt_instance_labels and gt_fields.
        meta_keys: of the metainfo.
    """

    instances: Table
    labels: Table
    fields: Table
    meta_keys: tuple[str, ...]

    @property
    def fixed(self) -> tuple[str, ...]:
        """Of the metainfo what a data set gives."""
        return tuple(key for key in self.meta_keys if key not in ADDED)


@dataclass(frozen=True)
class Recipe:
    """What a pipeline does, in the order in which it does it.

    Attributes:
        seed: seeds the generators of a sample; None: they go on as they are.
        padding: factor from the size of a box to what is shown of its image.
        steps: the augmentations.
        flips: whether one of them mirrors, or would.
        warp: to the network's input.
        targets: None where a sample gets none.
        packing: of the result.
    """

    seed: SeedSample | None
    padding: float
    steps: tuple[Step, ...]
    flips: bool
    warp: Warp
    targets: Targets | None
    packing: Packing


def compiled(transforms: Sequence[Any], metainfo: Mapping[str, Any]) -> Recipe:
    """The recipe that equals the pipeline `transforms` on a data set with `metainfo`.

    Args:
        transforms: the transforms as built, in order.
        metainfo: MMPose's parsed description of the keypoints.

    Raises:
        UnknownStepError: a transform or a setting is not known here, or stands at another place than it usually does.
    """
    left = list(transforms)
    seed = left.pop(0) if left and type(left[0]) is SeedSample else None
    _load(_next(left, LoadImage))
    padding = float(_next(left, GetBBoxCenterScale).padding)
    steps: list[BaseTransform] = []
    while left and type(left[0]) is not TopdownAffine:
        steps.append(left.pop(0))
    affine = _next(left, TopdownAffine)
    target = left.pop(0) if left and type(left[0]) is GenerateTarget else None
    pack = _next(left, PackPoseInputs)
    if left:
        raise UnknownStepError(_name(left[0]))
    targets = None if target is None else _targets(target, metainfo)
    return Recipe(
        seed=seed,
        padding=padding,
        steps=_steps(steps, metainfo),
        flips=any(type(step) is RandomFlip for step in steps),
        warp=Warp((int(affine.input_size[0]), int(affine.input_size[1])), use_udp=affine.use_udp),
        targets=targets,
        packing=_packing(pack, targets),
    )


def _next(left: list[Any], kind: type[Any]) -> Any:
    if not left:
        raise UnknownStepError(f"a pipeline without {kind.__name__}")
    step = left.pop(0)
    if type(step) is not kind:
        raise UnknownStepError(f"{_name(step)} before {kind.__name__}")
    return step


def _load(step: LoadImage) -> None:
    usual = LoadImage()
    for name in ("to_float32", "color_type", "imdecode_backend", "ignore_empty", "file_client_args", "backend_args"):
        if getattr(step, name) != getattr(usual, name):
            raise UnknownStepError(f"LoadImage({name}={getattr(step, name)!r})")


def _steps(transforms: Sequence[BaseTransform], metainfo: Mapping[str, Any]) -> tuple[Step, ...]:
    made: list[Step] = []
    for place, transform in enumerate(transforms):
        make = _AUGMENTATIONS.get(type(transform))
        if make is None:
            raise UnknownStepError(_name(transform))
        if any(type(other) is type(transform) for other in transforms[:place]):
            raise UnknownStepError(f"a second {_name(transform)}")
        made.append(make(transform, metainfo))
    return tuple(made)


def _flip(transform: RandomFlip, metainfo: Mapping[str, Any]) -> Step:
    if transform.direction != HORIZONTAL or not isinstance(transform.prob, float):
        raise UnknownStepError(f"{transform!r}")
    return Flip(transform, metainfo["flip_indices"])


_AUGMENTATIONS: Final[dict[type[Any], Callable[[Any, Mapping[str, Any]], Step]]] = {
    RandomFlip: _flip,
    RandomHalfBody: lambda step, metainfo: HalfBody(step, metainfo["upper_body_ids"], metainfo["lower_body_ids"]),
    RandomBBoxTransform: lambda step, _: BoxTransform(step),
    RandomBBoxTranslation: lambda step, _: BoxTranslation(step),
    PhotometricDistortionV0: lambda step, _: Colours(step),
    SeededAlbumentation: lambda step, _: WholeImage(step),
}


def _targets(step: GenerateTarget, metainfo: Mapping[str, Any]) -> Targets:
    encoder = None if isinstance(step.encoder_cfg, list) else batch_encoder(step.encoder_cfg)
    if encoder is None:
        raise UnknownStepError(f"{step!r}")
    return Targets(encoder, metainfo["dataset_keypoint_weights"] if step.use_dataset_keypoint_weights else None)


def _packing(step: PackPoseInputs, targets: Targets | None) -> Packing:
    if step.pack_transformed or not META_KEYS.issuperset(step.meta_keys):
        raise UnknownStepError(f"{step!r}")
    codec: Any = None if targets is None else targets.encoder.codec
    return Packing(
        instances=getattr(codec, "instance_mapping_table", None) or step.instance_mapping_table,
        labels=getattr(codec, "label_mapping_table", None) or step.label_mapping_table,
        fields=getattr(codec, "field_mapping_table", None) or step.field_mapping_table,
        meta_keys=tuple(step.meta_keys),
    )


def _name(step: Any) -> str:
    return type(step).__name__
