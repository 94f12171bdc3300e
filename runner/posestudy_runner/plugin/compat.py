"""What MMPose 1.3 needs to import and train beside today's torch, numpy and torchvision, one function per trap.

Every function is safe to call twice, says in its docstring which trap it cures, and steps aside where the
real thing is installed. Nothing here computes on a tensor: the pool imports this before it forks.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import warnings
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

from posestudy.errors import MissingPieceError, PoseStudyError

_WEIGHTS_ONLY = threading.RLock()
_ALLOWED, _FORCED = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_LIBRARIES: list[Any] = []
"""torch.library handles: the operators they define vanish when they are collected."""


def install() -> None:
    """Apply every shim, before anything imports MMPose.

    Raises:
        MissingPieceError: an installed package is broken in a way that only a reinstallation mends.
    """
    silence_import_warnings()
    keep_albumentations_offline()
    stand_in_for_pkg_resources()
    check_xtcocotools()
    define_torchvision_operators()
    stand_in_for_mmdet()
    stand_in_for_mmcv_ops()
    allow_mmengine_checkpoints()
    refuse_code_in_downloaded_weights()
    refuse_code_in_any_weights()
    start_from_weights_that_fit()
    convert_bfloat16_arrays()
    draw_circles_of_scalar_radius()


def silence_import_warnings() -> None:
    """Trap: every process would print warnings about pkg_resources, mmcv-lite and GradScaler's old name.

    Nothing a user of posestudy does brings them about or mends them; other warnings are shown as ever.
    """
    for message, category in (
        ("pkg_resources is deprecated as an API", UserWarning),
        ("Fail to import ``MultiScaleDeformableAttention``", UserWarning),
        (r"`torch\.cuda\.amp\.GradScaler\(", FutureWarning),
    ):
        warnings.filterwarnings("ignore", message, category)


def keep_albumentations_offline() -> None:
    """Trap: MMPose imports albumentations where it is installed, which then asks a server for its newest version."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def stand_in_for_pkg_resources() -> bool:
    """Trap: `mmpose.apis` asks MMEngine where a package lies, which asks pkg_resources, which setuptools dropped.

    Returns whether a stand-in with the two names MMEngine uses was placed; an installed pkg_resources is left alone.
    """
    if "pkg_resources" in sys.modules or _installed("pkg_resources"):
        return False
    _module("pkg_resources", DistributionNotFound=PackageNotFoundError, get_distribution=_Distribution)
    return True


class _Distribution:
    """What MMEngine reads of an installed distribution."""

    def __init__(self, name: str) -> None:
        self._found = distribution(name)
        self.version = self._found.version
        self.location = str(self._found.locate_file(""))

    def has_metadata(self, name: str) -> bool:
        return self._found.read_text(name) is not None

    def get_metadata(self, name: str) -> str:
        return self._found.read_text(name) or ""


def check_xtcocotools() -> None:
    """Trap: xtcocotools' wheel was built against numpy 1 and fails on import beside numpy 2, in words nobody expects.

    Raises:
        MissingPieceError: xtcocotools is missing or its compiled part does not load.
    """
    try:
        importlib.import_module("xtcocotools.mask")
    except ModuleNotFoundError as error:
        raise MissingPieceError(
            f"xtcocotools, which MMPose evaluates with, is not installed ({error}); expected it beside MMPose; "
            "run `make runtime`"
        ) from error
    except (ImportError, ValueError) as error:
        raise MissingPieceError(
            f"xtcocotools does not load beside this numpy ({error}); expected a build against numpy 2; run "
            "`pip install --force-reinstall --no-deps --no-binary xtcocotools --no-build-isolation xtcocotools`"
        ) from error


def define_torchvision_operators() -> bool:
    """Trap: beside a CPU-only torch, torchvision's C++ extension does not load and `import torchvision` raises.

    MMPose needs torchvision only to convert pictures and to look up addresses of weights, so the two operators
    torchvision decorates on import are declared without an implementation; torchvision itself refuses to call
    them. Returns whether that was needed; a torchvision whose extension loads is left alone.
    """
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or hasattr(torch.ops.torchvision, "nms"):
        return False
    folder = Path(spec.origin).parent
    for suffix in (*EXTENSION_SUFFIXES, ".pyd"):
        extension = folder / f"_C{suffix}"
        if extension.is_file():
            try:
                torch.ops.load_library(str(extension))  # type: ignore[no-untyped-call]
            except (ImportError, OSError):
                continue
            return False
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _LIBRARIES.append(library)
    return True


def stand_in_for_mmdet() -> bool:
    """Trap: `mmpose.models` imports two names of `mmdet.utils` for RTMO, so no model loads without MMDetection.

    Returns whether stand-ins were placed in `sys.modules`; an installed MMDetection is left alone.
    """
    if "mmdet" in sys.modules or _installed("mmdet"):
        return False
    package = _module("mmdet", is_package=True)
    utils = _module("mmdet.utils", ConfigType=dict, reduce_mean=_missing("mmdet.utils.reduce_mean", "mmdet"))
    package.utils = utils  # type: ignore[attr-defined]
    return True


def stand_in_for_mmcv_ops() -> bool:
    """Trap: `mmpose.models` imports `mmcv.ops` for EDPose, whose compiled part mmcv-lite does not have.

    Only the one name MMPose imports unconditionally is there, so that MMPose's own checks for the others still
    find them missing. Returns whether the stand-in was placed; a full MMCV is left alone.
    """
    if "mmcv.ops" in sys.modules or _installed("mmcv._ext"):
        return False
    import mmcv

    name = "MultiScaleDeformableAttention"
    mmcv.ops = _module("mmcv.ops", is_package=True, **{name: _missing(f"mmcv.ops.{name}", "mmcv")})
    return True


def allow_mmengine_checkpoints() -> None:
    """Trap: torch >= 2.6 refuses MMEngine's own training checkpoints, which hold numbers in `HistoryBuffer`s.

    Allows exactly that class and the numpy globals its arrays are made of, under the names numpy 1 and 2 give
    them. A buffer also names its own statistics through `getattr`, for which a function stands in that finds those
    and nothing else. Anything else in a file is still refused, and `weights_only=False` is never needed.
    """
    import numpy as np
    import torch
    from mmengine.logging.history_buffer import HistoryBuffer
    from numpy._core import multiarray

    def statistic(owner: Any, name: str) -> Any:
        """`getattr`, for the statistics of `HistoryBuffer` alone."""
        if owner is not HistoryBuffer or name not in ("min", "max", "mean", "current"):
            raise UnpicklingError(f"the checkpoint asks for attribute {name!r} of {owner!r}, which is not allowed")
        return getattr(owner, name)

    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            bytes,  # what an empty array is made of, as the colours of a skeleton without links
            (statistic, "builtins.getattr"),
            np.ndarray,
            np.dtype,
            *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},  # numbers: colours, counts, values; never objects
            (multiarray._reconstruct, "numpy._core.multiarray._reconstruct"),
            (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
            (multiarray.scalar, "numpy._core.multiarray.scalar"),
            (multiarray.scalar, "numpy.core.multiarray.scalar"),
        ]
    )


def refuse_code_in_downloaded_weights() -> None:
    """Trap: MMEngine loads weights from a URL with `weights_only=False`, which runs whatever code they hold."""
    from mmengine.runner import checkpoint

    stock = checkpoint.load_url
    if getattr(stock, "posestudy", False):
        return

    def load_url(*arguments: Any, **options: Any) -> Any:
        """torch's `load_state_dict_from_url`, for weights alone."""
        return stock(*arguments, **{**options, "weights_only": True})

    load_url.posestudy = True  # type: ignore[attr-defined]
    checkpoint.load_url = load_url


def refuse_code_in_any_weights() -> None:
    """Trap: MMEngine leaves it to torch whether code in a file runs, and a variable of the environment can allow it.

    Whatever MMEngine's loader reads (`init`, `load_from`, `resume`, `init_model`), from wherever, torch takes tensors
    and what `allow_mmengine_checkpoints` names; other files that a process loads are left alone.
    """
    from mmengine.runner.checkpoint import CheckpointLoader

    if getattr(CheckpointLoader, "posestudy", False):
        return
    stock = CheckpointLoader.load_checkpoint.__func__

    def load_checkpoint(cls: Any, *arguments: Any, **options: Any) -> Any:
        """MMEngine's, for weights alone."""
        with _WEIGHTS_ONLY:
            before = {name: os.environ.pop(name, None) for name in (_ALLOWED, _FORCED)}
            os.environ[_FORCED] = "1"
            try:
                return stock(cls, *arguments, **options)
            finally:
                del os.environ[_FORCED]
                os.environ.update({name: value for name, value in before.items() if value is not None})

    CheckpointLoader.load_checkpoint = classmethod(load_checkpoint)
    CheckpointLoader.posestudy = True


def start_from_weights_that_fit() -> None:
    """Trap: where no name in a file of weights fits the network, MMEngine only logs it and starts at random.

    A backbone starts from weights of itself or of a whole estimator or classifier, whose names for it begin with
    `backbone.`; an estimator also from weights of its backbone alone. What does not fit, as the last layer for another
    number of keypoints, starts as it would without. Less than three quarters of the backbone's numbers is an error:
    weights of another depth of the same family fill about half.
    """
    from mmengine.model.weight_init import PretrainedInit, update_init_info

    stock = PretrainedInit.__call__
    if getattr(stock, "posestudy", False):
        return

    def load(self: Any, module: Any) -> None:
        """MMEngine's, for weights whose prefix it was not told."""
        if self.prefix is not None:
            stock(self, module)
            return
        from mmengine.runner.checkpoint import CheckpointLoader, load_state_dict

        loaded = CheckpointLoader.load_checkpoint(self.checkpoint, map_location=self.map_location, logger="current")
        found = loaded.get("state_dict", loaded)
        if not isinstance(found, Mapping):
            raise PoseStudyError(f"the weights {self.checkpoint} hold no tensors by name; expected those of a network")
        own = {name: part for name, part in module.state_dict().items() if part.ndim}
        inner = "backbone." if hasattr(module, "backbone") else ""
        needed = {name: part for name, part in own.items() if name.startswith(inner)}
        renamed = [("", ""), ("module.", ""), ("backbone.", ""), *([("", inner), ("module.", inner)] if inner else [])]
        fitting = max((_fitting(found, old, new, own) for old, new in renamed), key=_numbers)
        filled = {name: part for name, part in fitting.items() if name in needed}
        if 4 * _numbers(filled) < 3 * _numbers(needed):
            what = module.backbone if inner else module
            raise PoseStudyError(
                f"the weights {self.checkpoint} fit {_numbers(filled):,} of the {_numbers(needed):,} numbers of "
                f"{type(what).__name__}; expected weights of this network"
            )
        odd = [name for name, part in fitting.items() if not _is_finite(part)]
        if odd:
            raise PoseStudyError(
                f"the weights {self.checkpoint} are damaged: {odd[0]} holds values that are not finite"
                + (f", and {len(odd) - 1} more do" if len(odd) > 1 else "")
            )
        load_state_dict(module, fitting, strict=False, logger="current")
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=f"{type(self).__name__}: load from {self.checkpoint}")

    load.posestudy = True  # type: ignore[attr-defined]
    PretrainedInit.__call__ = load


def _fitting(found: Any, old: str, new: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """The parts of `found` that, with the prefix `new` for `old`, have a name and shape that is wanted."""
    named = [(name, part) for name, part in found.items() if isinstance(name, str) and _is_plain(part)]
    renamed = {new + name.removeprefix(old): part for name, part in named if name.startswith(old)}
    return {name: part for name, part in renamed.items() if name in wanted and part.shape == wanted[name].shape}


def _is_plain(part: Any) -> bool:
    """Whether `part` is a tensor of numbers that can be copied into a network."""
    import torch

    if not isinstance(part, torch.Tensor) or part.layout is not torch.strided or part.is_meta:
        return False
    return not part.is_complex() and not part.is_quantized


def _is_finite(part: Any) -> bool:
    import torch

    return bool(torch.isfinite(part).all())


def _numbers(parts: dict[str, Any]) -> int:
    return sum(part.numel() for part in parts.values())


def convert_bfloat16_arrays() -> None:
    """Trap: MMPose turns predictions into numpy arrays to measure accuracy, and numpy has no bfloat16.

    `mmpose.utils.tensor_utils.to_numpy` gives float32 for tensors numpy refuses; where it already copes, its own
    answer stands.
    """
    from mmpose.utils import tensor_utils

    stock = tensor_utils.to_numpy
    if getattr(stock, "posestudy", False):
        return

    def to_numpy(x: Any, *arguments: Any, **options: Any) -> Any:
        """MMPose's `to_numpy`, with bfloat16 tensors as float32 arrays."""
        try:
            return stock(x, *arguments, **options)
        except TypeError:
            widened = x.float() if hasattr(x, "float") else [item.float() for item in x]
            return stock(widened, *arguments, **options)

    to_numpy.posestudy = True  # type: ignore[attr-defined]
    # Heads bind the function by name when they are imported, which may have happened already.
    for name, module in list(sys.modules.items()):
        if name.startswith("mmpose.") and getattr(module, "to_numpy", None) is stock:
            module.to_numpy = to_numpy  # type: ignore[attr-defined]


def draw_circles_of_scalar_radius() -> None:
    """Trap: MMPose draws keypoints with a radius in an array of one, which numpy >= 2.4 does not turn into a number.

    MMPose's OpenCV drawing gets the number; its Matplotlib drawing, which wants arrays, gets what it got before.
    """
    import numpy as np
    from mmpose.visualization.opencv_backend_visualizer import OpencvBackendVisualizer

    stock = OpencvBackendVisualizer.draw_circles
    if getattr(stock, "posestudy", False):
        return

    def draw_circles(self: Any, center: Any, radius: Any, *arguments: Any, **options: Any) -> Any:
        """MMPose's `draw_circles`, for a radius of any shape."""
        if self.backend == "opencv":
            radius = float(np.ravel(radius)[0])
        return stock(self, center, radius, *arguments, **options)

    draw_circles.posestudy = True  # type: ignore[attr-defined]
    OpencvBackendVisualizer.draw_circles = draw_circles


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _module(name: str, *, is_package: bool = False, **contents: Any) -> ModuleType:
    """Place a stand-in module in `sys.modules`. A package has an empty path, so its submodules are not found."""
    module = ModuleType(name, "A stand-in of posestudy's for a package that is not installed.")
    module.__spec__ = importlib.util.spec_from_loader(name, loader=None, is_package=is_package)
    if is_package:
        module.__path__ = []
    vars(module).update(contents)
    sys.modules[name] = module
    return module


def _missing(name: str, package: str) -> type:
    """A class that raises on use, named as the thing that is missing."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise MissingPieceError(
            f"{name} was called, but {package} is not installed; expected the full package for this model; "
            f"run `pip install {package}` or choose a top-down heatmap model"
        )

    return type(name.rpartition(".")[2], (), {"__new__": refuse, "__doc__": f"Stands in for {name}."})
