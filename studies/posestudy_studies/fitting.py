"""Whether a training configuration's network, input, head, codec and weights fit, and the sizes that follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posestudy_studies.losses import LOSSES
from posestudy_studies.networks import BackboneModel
from posestudy_studies.presets import HEATMAP_STRIDE, owners_of, preset

if TYPE_CHECKING:
    from posestudy_studies.training import Training

MOST_DECONVOLUTIONS = 4
_SIMPLE_CHANNELS = 256
"""Channels of a deconvolution where neither the study nor the preset says."""


class MisfitError(Exception):
    """Two knobs that cannot be trained together: what was found, what was expected, and a hint that may be empty."""

    def __init__(self, found: str, expected: str, hint: str = "") -> None:
        super().__init__(f"{found}; expected {expected}" + (f" ({hint})" if hint else ""))
        self.found, self.expected, self.hint = found, expected, hint


@dataclass(frozen=True)
class Shape:
    """What follows from the network, the input size and the head.

    Attributes:
        features: (width, height) of the backbone's last features, px.
        deconvolutions: channels of each deconvolution of the head.
        output: (width, height) after them, px; the heatmap's size.
    """

    features: tuple[int, int]
    deconvolutions: tuple[int, ...]
    output: tuple[int, int]


def check(training: Training) -> None:
    """Raises `MisfitError` where parts of `training` do not fit. A model file is fitted when it is read."""
    if isinstance(training.model, (str, BackboneModel)):
        shape(training)
    _check_backbone(training)
    _check_codec(training)
    _check_loss(training)
    _check_weights(training)


def shape(training: Training) -> Shape:
    """The sizes of a network that is no config file. Raises `MisfitError` where there are none."""
    body = _body(training)
    width, height = training.input_size
    if width % body.multiple or height % body.multiple:
        raise MisfitError(
            f"input_size [{width}, {height}]",
            f"multiples of {body.multiple} px for {body.name}",
            f"its features are {body.multiple} times smaller than its input, and the heatmap must fit them",
        )
    if min(width, height) < body.smallest:
        raise MisfitError(f"input_size [{width}, {height}]", f"at least {body.smallest} px a side for {body.name}")
    features = body.features(training.input_size)
    if not training.codec.has_heatmaps and training.heatmap_size is not None:
        raise MisfitError(
            f"heatmap_size {list(training.heatmap_size)} with codec {training.codec.type}",
            "no heatmap_size, because it has no heatmaps",
        )
    if training.codec.type == "regression":
        if training.head is not None:
            raise MisfitError("head with codec regression", "no head: it regresses from the pooled features")
        if body.encoded:
            codecs = "msra, udp, megvii or simcc"
            raise MisfitError(f"codec regression with {body.name}", f"{codecs}: its encoder keeps the places apart")
        return Shape(features, (), features)
    if training.head is not None and not body.deconvolutions:
        raise MisfitError(
            f"head with {body.name}",
            f"no head: its features are {body.stride} times smaller than its input, as the heatmap is; "
            "there are no deconvolutions",
        )
    wanted = _channels(training, body.name, body.stride, features, body.deconvolutions)
    scale = 2 ** len(wanted)
    return Shape(features, wanted, (features[0] * scale, features[1] * scale))


@dataclass(frozen=True)
class _Body:
    """What of a model stands before its head; `deconvolutions` are the head's usual ones."""

    name: str
    stride: int
    multiple: int
    deconvolutions: tuple[int, ...]
    features: Callable[[tuple[int, int]], tuple[int, int]]
    smallest: int = 1
    encoded: bool = False


def _body(training: Training) -> _Body:
    if isinstance(training.model, str):
        chosen = preset(training.model)
        return _Body(
            chosen.name,
            chosen.stride,
            chosen.multiple,
            chosen.deconvolutions,
            chosen.features,
            chosen.smallest,
            chosen.encoder is not None,
        )
    if isinstance(training.model, BackboneModel):
        stride = training.model.stride
        usual = max(0, (stride // HEATMAP_STRIDE).bit_length() - 1)
        name = str(training.model.backbone["type"])
        return _Body(
            name, stride, stride, (_SIMPLE_CHANNELS,) * usual, lambda size: (size[0] // stride, size[1] // stride)
        )
    raise TypeError("the network of a config file is known when it is read")


def _channels(
    training: Training, name: str, stride: int, features: tuple[int, int], usual: tuple[int, ...]
) -> tuple[int, ...]:
    """The channels of each deconvolution: as many as `head` or `heatmap_size` ask for, else as is usual."""
    head = training.head
    asked = head.deconv_channels if head is not None else None
    if training.heatmap_size is None:
        if isinstance(asked, list):
            _check_count(len(asked), name, stride, features)
            return tuple(asked)
        return usual if asked is None else (asked,) * len(usual)
    count = _count(training.heatmap_size, name, features, _counts(stride, usual))
    if isinstance(asked, list):
        if len(asked) != count:
            given = [side * 2 ** len(asked) for side in features]
            raise MisfitError(
                f"heatmap_size {list(training.heatmap_size)} with {len(asked)} deconvolutions",
                f"heatmap_size {given}, or {count} entries in head.deconv_channels",
            )
        return tuple(asked)
    if asked is not None:
        return (asked,) * count
    return (*usual[:count], *(usual[-1:] or (_SIMPLE_CHANNELS,)) * (count - len(usual)))


def _counts(stride: int, usual: tuple[int, ...]) -> range:
    """The numbers of deconvolutions a head may have: no heatmap is larger than its input."""
    return range(min(MOST_DECONVOLUTIONS, stride.bit_length() - 1) + 1) if usual else range(1)


def _check_count(count: int, name: str, stride: int, features: tuple[int, int]) -> None:
    most = min(MOST_DECONVOLUTIONS, stride.bit_length() - 1)
    if count > most:
        given = [side * 2**count for side in features]
        raise MisfitError(
            f"{count} deconvolutions", f"at most {most} for {name}", f"heatmaps of {given} are larger than the input"
        )


def _count(heatmap: tuple[int, int], name: str, features: tuple[int, int], counts: range) -> int:
    for count in counts:
        if heatmap == (features[0] << count, features[1] << count):
            return count
    possible = [f"[{features[0] << count}, {features[1] << count}]" for count in reversed(counts)]
    hint = f"each deconvolution doubles both sides of its features, [{features[0]}, {features[1]}]"
    raise MisfitError(
        f"heatmap_size {list(heatmap)}",
        f"a size {name} can give for this input: {', '.join(possible)}",
        hint if len(counts) > 1 else "it has no deconvolutions",
    )


def _check_backbone(training: Training) -> None:
    given = training.backbone.given()
    if not given:
        return
    if not isinstance(training.model, str):
        where = "model.backbone" if isinstance(training.model, BackboneModel) else "the config file"
        raise MisfitError("backbone with a model that is no preset", f"its arguments in {where}")
    chosen = preset(training.model)
    for name in given:
        if name not in chosen.arguments:
            family = str(chosen.backbone["type"])
            raise MisfitError(f"backbone.{name}", f"an argument of {family}: {', '.join(sorted(chosen.arguments))}")
    if given.get("frozen_stages", -1) > chosen.stages:
        raise MisfitError(
            f"backbone.frozen_stages {given['frozen_stages']}", f"-1 to {chosen.stages} for {chosen.name}"
        )


def _check_codec(training: Training) -> None:
    from_file = not isinstance(training.model, (str, BackboneModel))
    if from_file and training.codec.type != "msra":
        raise MisfitError(f"codec {training.codec.type} with a config file", "the codec of the file's own head")
    if from_file and training.head is not None:
        raise MisfitError("head with a config file", "the head of the file")


def _check_loss(training: Training) -> None:
    loss, codec = training.loss, training.codec.type
    if loss is None:
        return
    if not isinstance(training.model, (str, BackboneModel)):
        raise MisfitError("loss with a config file", "the loss of the file's own head")
    if not loss.fits(codec):
        fitting = [name for name, (codecs, _) in LOSSES.items() if codec in codecs]
        codecs = ", ".join(sorted(LOSSES[loss.type][0]))
        raise MisfitError(
            f"loss {loss.type} with codec {codec}", f"{' or '.join(fitting)}", f"{loss.type} is of codec {codecs}"
        )


def _check_weights(training: Training) -> None:
    """ImageNet weights of another preset would load in part, and the rest would start at random without a word."""
    if training.init is None or not isinstance(training.model, str):
        return
    owners = owners_of(training.init)
    if not owners or training.model in owners:
        return
    own = preset(training.model).weights
    raise MisfitError(
        f"init {training.init} with model {training.model}",
        f"{own}, a file, or none" if own else "a file, or none: nobody has published weights of it",
        f"those are weights of {owners[0]}; set model and init together",
    )
