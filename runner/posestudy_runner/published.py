"""What others have published about the networks here: each number with its source, and how it was counted.

Nothing here is computed or measured by posestudy; `posestudy models list` shows it beside what is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from posestudy_runner.work import Work


@dataclass(frozen=True)
class Counting:
    """How the GFLOPs of a source were counted; all of them are multiply-adds in truth.

    Attributes:
        rule: in words, as a note under a table.
        transposed_by_output: transposed convolutions have a kernel at every place of their output.
        attention: products of two activations are counted.
        elements: operations charged for each number that goes through `batch_norm`, `relu`, `add`, `mul`, `softmax`.
        giga: what one G is.
    """

    rule: str
    transposed_by_output: bool = False
    attention: bool = True
    elements: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    giga: float = 1e9

    def gflops(self, work: Work) -> float:
        """The figure this rule gives for a network's work."""
        total: float = work.convolution + (work.transposed_by_output if self.transposed_by_output else work.transposed)
        total += work.linear + (work.attention if self.attention else 0)
        total += sum(each * work.elements.get(kind, 0) for kind, each in self.elements.items())
        return total / self.giga


UNSTATED = Counting("not stated; taken for multiply-adds of convolutions and linear layers, 1e9")
MMCV = Counting(
    "multiply-adds, and 2 operations for each number through a batch normalisation, 1 through a ReLU; 1e9",
    elements=MappingProxyType({"batch_norm": 2, "relu": 1}),
)
HRNET_CODE = Counting(
    "multiply-adds of convolutions and linear layers, transposed convolutions at every output place (4 times too much "
    "at stride 2); 2^30",
    transposed_by_output=True,
    attention=False,
    giga=2.0**30,
)
TRANSPOSE_CODE = Counting(
    "multiply-adds, transposed convolutions at every output place (4 times too much at stride 2), and for each number "
    "4 operations through a batch normalisation, 5 through a softmax, 1 through a ReLU, sum or product; 1e9",
    transposed_by_output=True,
    elements=MappingProxyType({"batch_norm": 4, "softmax": 5, "relu": 1, "add": 1, "mul": 1}),
)


@dataclass(frozen=True)
class Source:
    """Where figures are published.

    Attributes:
        where: author, work, place in it, year.
        counting: how its GFLOPs are counted; None where it states none.
        hardware: what its frames per second were measured on; empty where it states none.
    """

    where: str
    url: str
    counting: Counting | None = None
    hardware: str = ""


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "transpose": Source(
            "Yang et al., TransPose, ICCV 2021: tables of the official README; GFLOPs by its tools/flop_count.py",
            "https://github.com/yangsenius/TransPose",
            TRANSPOSE_CODE,
            "RTX 2080 Ti, batch 1",
        ),
        "hrnet": Source(
            "Sun et al., HRNet, CVPR 2019: COCO val table of the official README, with the Simple Baselines of Xiao et "
            "al., ECCV 2018; GFLOPs by its lib/utils/utils.py",
            "https://github.com/leoxiaobin/deep-high-resolution-net.pytorch",
            HRNET_CODE,
        ),
        "mmpose-speed": Source(
            "MMPose 0.20 (2021): docs/en/inference_speed_summary.md; GFLOPs by mmcv 1.3's get_model_complexity_info",
            "https://github.com/open-mmlab/mmpose",
            MMCV,
            "GTX 1660 SUPER, batch 1",
        ),
        "mmpose": Source(
            "MMPose 1.3.2 (2024): model zoo, configs/body_2d_keypoint, topdown_heatmap and topdown_regression",
            "https://github.com/open-mmlab/mmpose",
        ),
        "rle": Source(
            "Li et al., RLE, ICCV 2021, as quoted by github.com/Junhojuno/rle-human-pose-regression (README)",
            "https://github.com/Junhojuno/rle-human-pose-regression",
            UNSTATED,
        ),
        "scnet-rle": Source(
            "The SCNet-RLE project, a fork of MMPose 1.2.0: README; 100 epochs, no logs",
            "https://github.com/ZhengyuOfficial/8501-Project",
        ),
    }
)


@dataclass(frozen=True)
class Published:
    """What one source says of one network, for 17 keypoints of COCO and an input of 192 x 256 px.

    Attributes:
        source: a key of `SOURCES`.
        parameters: in 1e6, as printed.
        gflops: as printed, by the source's `counting`.
        fps: images a second on the source's `hardware`.
        ap: on val2017, with the boxes of the detector whose AP is 56.4 and the flip test.
        ap_truth: on val2017, with the boxes of the ground truth.
        note: why a figure differs from what is computed here.
    """

    source: str
    parameters: float | None = None
    gflops: float | None = None
    fps: float | None = None
    ap: float | None = None
    ap_truth: float | None = None
    note: str = ""


_FLOW = "counts no RealNVP (53,784 parameters), which training alone needs"
_STEM = "counted for MMPose's own configuration, whose stem is half as wide as the one the published weights need"


def _transpose(parameters: float, gflops: float, fps: float, ap: float, ap_truth: float) -> tuple[Published, ...]:
    return (Published("transpose", parameters, gflops, fps, ap, ap_truth),)


def _mmpose(
    parameters: float, gflops: float, fps: float, ap: float, *others: Published, note: str = ""
) -> tuple[Published, ...]:
    """Speeds of MMPose 0.20, the AP of MMPose 1.3.2, and what others say."""
    return (*others, Published("mmpose-speed", parameters, gflops, fps, note=note), Published("mmpose", ap=ap))


def _hrnet(parameters: float, gflops: float, ap: float) -> Published:
    return Published("hrnet", parameters, gflops, ap=ap)


PUBLISHED: Mapping[str, tuple[Published, ...]] = MappingProxyType(
    {
        "resnet50": _mmpose(34.0, 5.46, 64.23, 0.718, _hrnet(34.0, 8.9, 0.704)),
        "resnet101": _mmpose(52.99, 9.11, 43.35, 0.728, _hrnet(53.0, 12.4, 0.714)),
        "resnet152": _mmpose(68.64, 12.77, 32.31, 0.736, _hrnet(68.6, 15.7, 0.720)),
        "resnet50-regression": (Published("mmpose", ap=0.541),),
        "resnet101-regression": (Published("mmpose", ap=0.562),),
        "resnet152-regression": (Published("mmpose", ap=0.584),),
        "resnet50-rle": (
            Published("rle", 23.6, 4.0, ap=0.713, note=_FLOW),
            Published("mmpose", ap=0.706, note="0.719 from a backbone trained on heatmaps"),
        ),
        "resnet101-rle": (Published("mmpose", ap=0.722),),
        "resnet152-rle": (Published("mmpose", ap=0.731),),
        "resnest50": _mmpose(35.93, 6.73, 48.36, 0.720),
        "resnest101": _mmpose(56.61, 10.38, 29.21, 0.725, note=_STEM),
        "resnest200": _mmpose(78.54, 17.5, 16.11, 0.731, note=_STEM),
        "resnest269": _mmpose(119.27, 22.45, 12.02, 0.737, note=_STEM),
        "hrnet_w32": _mmpose(28.54, 7.7, 22.73, 0.746, _hrnet(28.5, 7.1, 0.744)),
        "hrnet_w48": _mmpose(63.6, 15.77, 22.01, 0.756, _hrnet(63.6, 14.6, 0.751)),
        "alexnet": _mmpose(5.62, 1.42, 229.21, 0.448),
        "scnet50": _mmpose(34.01, 5.31, 40.76, 0.728),
        "scnet101": _mmpose(53.01, 8.51, 24.28, 0.733),
        "scnet101-rle": (Published("scnet-rle", ap=0.701),),
        "transpose-r-a3": _transpose(5.2, 8.0, 141, 0.717, 0.738),
        "transpose-r-a4": _transpose(6.0, 8.9, 138, 0.726, 0.751),
        "transpose-h-s": _transpose(8.0, 10.2, 45, 0.742, 0.761),
        "transpose-h-a4": _transpose(17.3, 17.5, 41, 0.753, 0.775),
        "transpose-h-a6": _transpose(17.5, 21.8, 38, 0.758, 0.781),
    }
)
"""By the name of a model of `posestudy models list`; what is not here, nobody is known to have published."""


def published(name: str) -> tuple[Published, ...]:
    """What is published of the model called `name`, the authors first."""
    return PUBLISHED.get(name, ())
