"""Official TransPose checkpoints (github.com/yangsenius/TransPose, release Hub) as weights of MMPose models.

An official file is a flat mapping of names to tensors, bare or behind `module.`; a checkpoint of the official training
holds such mappings under `state_dict` and `best_state_dict`. The parts keep their names and go under `backbone.`,
`neck.` and `head.`; no tensor is reshaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from posestudy.errors import PoseStudyError
from posestudy_runner.weight_files import no_weights

Weights = dict[str, torch.Tensor]

_OWNERS = {
    "neck": ("reduce", "pos_embedding", "global_encoder"),
    "head": ("deconv_layers", "final_layer"),
    "backbone": (
        *("conv1", "bn1", "conv2", "bn2", "layer1", "layer2"),
        *("transition1", "stage2", "transition2", "stage3"),
    ),
}
_PLACES = {part: owner for owner, parts in _OWNERS.items() for part in parts}
_LAYER = re.compile(r"global_encoder\.layers\.(\d+)\.")
_TELLING = ("reduce.", "global_encoder.layers.")
_VARIANTS = {
    (512, 3): "transpose-r-a3",
    (512, 4): "transpose-r-a4",
    (32, 4): "transpose-h-s",
    (48, 4): "transpose-h-a4",
    (48, 6): "transpose-h-a6",
}
"""By the channels the encoder is fed with and the number of its layers."""


def variants() -> tuple[str, ...]:
    """The presets that official files are of."""
    return tuple(_VARIANTS.values())


@dataclass(frozen=True)
class Official:
    """The weights of one official file.

    Attributes:
        weights: under their official names, without `module.`.
        taken_from: what of the file they are: empty for the whole of it, or `state_dict` or `best_state_dict`.
    """

    weights: Weights
    taken_from: str = ""

    @property
    def converted(self) -> Weights:
        """Under MMPose's names; what has no place there keeps its own."""
        places = {name: _PLACES.get(name.split(".")[0]) for name in self.weights}
        return {f"{places[name]}.{name}" if places[name] else name: part for name, part in self.weights.items()}

    @property
    def keypoints(self) -> int | None:
        """How many keypoints the last layer gives; None where it is missing."""
        last = self.weights.get("final_layer.weight")
        return int(last.shape[0]) if last is not None and last.ndim == 4 else None

    @property
    def variant(self) -> str | None:
        """The preset of this network, from names and shapes; None where it is none of the five."""
        layers = {int(found[1]) for found in map(_LAYER.match, self.weights) if found}
        return _VARIANTS.get((self._fed or 0, max(layers) + 1)) if layers else None

    @property
    def described(self) -> str:
        """What is seen of the variant, for a message."""
        layers = {found[1] for found in map(_LAYER.match, self.weights) if found}
        return f"{len(layers)} encoder layers over features of {self._fed or 'unknown'} channels"

    @property
    def _fed(self) -> int | None:
        """The channels of the features that the encoder is fed with, also where a tensor that tells them is missing."""
        asked = (("reduce.weight", 1), ("layer2.0.downsample.0.weight", 0), ("transition1.0.0.weight", 0))
        sizes = (
            self.weights[name].shape[axis]
            for name, axis in asked
            if name in self.weights and self.weights[name].ndim == 4
        )
        return next((int(size) for size in sizes if size in (512, 32, 48)), None)


def official(document: Any) -> Official | None:
    """The weights in a loaded file, where it is an official one; None for any other."""
    for key in ("best_state_dict", "state_dict", ""):
        inner = document.get(key) if key and isinstance(document, Mapping) else document
        if not isinstance(inner, Mapping) or not inner:
            continue
        if not all(isinstance(name, str) and isinstance(part, torch.Tensor) for name, part in inner.items()):
            continue
        bare = {name.removeprefix("module."): part for name, part in inner.items()}
        if any(name.startswith(_TELLING) for name in bare):
            return Official(bare, key)
    return None


def load(path: Path) -> Any:
    """What a file of weights holds, on the CPU; code in it is never run.

    Raises:
        PoseStudyError: the file is missing, no checkpoint, or holds more than weights.
    """
    from posestudy_runner import plugin  # noqa: F401  (allows what training checkpoints hold beside weights)

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise PoseStudyError(
            f"{path} cannot be read ({error.strerror or error}); expected a file of weights"
        ) from error
    except Exception as error:
        raise no_weights(path, error) from error


def state_dict_of(path: Path) -> Weights:
    """The weights in `path` under MMPose's names, whether the file is an official one or MMPose's.

    Raises:
        PoseStudyError: as `load`, or no tensors by name are in it.
    """
    document = load(path)
    found = official(document)
    if found is not None:
        return found.converted
    inner = document.get("state_dict", document) if isinstance(document, Mapping) else None
    if not isinstance(inner, Mapping) or not all(isinstance(part, torch.Tensor) for part in inner.values()):
        raise PoseStudyError(
            f"{path} holds no tensors by name; expected weights of a network, or a checkpoint with them"
        )
    return {str(name).removeprefix("module."): part for name, part in inner.items()}


def misfits(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> list[str]:
    """What of `found` is missing, left over or of the wrong shape for a network with `wanted`, as sentences."""

    def shape(tensor: torch.Tensor) -> str:
        return f"[{', '.join(map(str, tensor.shape))}]"

    told = [f"missing: {name} {shape(part)}" for name, part in wanted.items() if name not in found]
    told += [f"left over: {name} {shape(found[name])}" for name in found if name not in wanted]
    return told + [
        f"wrong shape: {name} is {shape(found[name])}, expected {shape(part)}"
        for name, part in wanted.items()
        if name in found and found[name].shape != part.shape
    ]
