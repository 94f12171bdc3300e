"""Each trap of the dependencies: it is there without its shim, gone with it, and the real thing is left alone."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

COMPAT = Path(__file__).parents[1] / "posestudy_runner/plugin/compat.py"
START = f"""
import importlib.util
import sys
def load_compat():
    spec = importlib.util.spec_from_file_location("compat", {str(COMPAT)!r})
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
class Hide:
    def __init__(self, name):
        self.name = name
        sys.meta_path.insert(0, self)
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == self.name:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
"""


def run(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter that finds modules in `paths` first and gets the shims by `load_compat`.

    Importing the plugin would apply them all, so the module is loaded from its file.
    """
    start = START + f"sys.path[:0] = {[str(path) for path in paths]!r}\n"
    return subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(code)], capture_output=True, text=True, timeout=400, check=False
    )


def package(root: Path, name: str, **files: str) -> None:
    """Write an importable package; a file's name has `__` for `/`."""
    folder = root / name
    folder.mkdir(parents=True)
    for file, text in {"__init__": "", **files}.items():
        (folder / f"{file}.py").write_text(textwrap.dedent(text))


@pytest.fixture(scope="module")
def torchvision_is_whole() -> bool:
    return run("import torchvision").returncode == 0


@pytest.mark.slow
def test_torchvision_without_operators(torchvision_is_whole: bool) -> None:
    if torchvision_is_whole:
        pytest.skip("torchvision's extension loads beside this torch")
    bare = run("import torchvision")
    assert "torchvision::nms does not exist" in bare.stderr
    cured = run("""
        compat = load_compat()
        print(compat.define_torchvision_operators(), compat.define_torchvision_operators())
        from torchvision.transforms import ToPILImage
        import torch, torchvision
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    """)
    assert cured.stdout.split() == ["True", "False"]
    assert "Couldn't load custom C++ ops" in cured.stderr  # using the operator is an error, not a wrong answer


@pytest.mark.slow
def test_torchvision_with_operators_is_left_alone() -> None:
    done = run("""
        import torch
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.impl("nms", lambda dets, scores, iou: torch.tensor([7]), "CPU")
        compat = load_compat()
        print(compat.define_torchvision_operators())
        print(torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5).item())
    """)
    assert done.stdout.split() == ["False", "7"], done.stderr


def test_missing_mmdet_has_a_stand_in() -> None:
    done = run("""
        Hide("mmdet")
        try:
            from mmdet.utils import reduce_mean
        except ModuleNotFoundError:
            print("trap")
        compat = load_compat()
        print(compat.stand_in_for_mmdet())
        from mmdet.utils import ConfigType, reduce_mean
        try:
            import mmdet.apis
        except ModuleNotFoundError:
            print("absent")
        try:
            reduce_mean(1)
        except Exception as error:
            print(type(error).__name__, error)
    """)
    assert done.stdout.startswith("trap\nTrue\nabsent\nMissingPieceError"), done.stderr
    assert "mmdet is not installed" in done.stdout
    assert "pip install mmdet" in done.stdout


def test_installed_mmdet_is_left_alone(tmp_path: Path) -> None:
    package(tmp_path, "mmdet", utils="ConfigType = dict\nreduce_mean = 'real'\n")
    done = run(
        """
        compat = load_compat()
        print(compat.stand_in_for_mmdet())
        from mmdet.utils import reduce_mean
        print(reduce_mean)
        """,
        tmp_path,
    )
    assert done.stdout.split() == ["False", "real"], done.stderr


def test_missing_mmcv_operators_have_a_stand_in(tmp_path: Path) -> None:
    package(tmp_path, "mmcv", ops="import mmcv._ext\n")
    done = run(
        """
        try:
            from mmcv.ops import MultiScaleDeformableAttention
        except ModuleNotFoundError:
            print("trap")
        compat = load_compat()
        print(compat.stand_in_for_mmcv_ops())
        from mmcv.ops import MultiScaleDeformableAttention
        try:
            from mmcv.ops import DeformConv2d
        except ImportError:
            print("absent")
        try:
            MultiScaleDeformableAttention()
        except Exception as error:
            print(type(error).__name__, error)
        """,
        tmp_path,
    )
    assert done.stdout.startswith("trap\nTrue\nabsent\nMissingPieceError"), done.stderr
    assert "mmcv is not installed" in done.stdout


def test_full_mmcv_is_left_alone(tmp_path: Path) -> None:
    package(tmp_path, "mmcv", _ext="", ops="MultiScaleDeformableAttention = 'real'\n")
    done = run(
        """
        compat = load_compat()
        print(compat.stand_in_for_mmcv_ops())
        from mmcv.ops import MultiScaleDeformableAttention
        print(MultiScaleDeformableAttention)
        """,
        tmp_path,
    )
    assert done.stdout.split() == ["False", "real"], done.stderr


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("ValueError('numpy.dtype size changed, may indicate binary incompatibility')", "--no-binary xtcocotools"),
        ("ImportError('numpy.core.multiarray failed to import')", "--no-binary xtcocotools"),
        ("ModuleNotFoundError('No module named x')", "make runtime"),
    ],
)
def test_broken_xtcocotools_is_named_with_its_cure(tmp_path: Path, raised: str, said: str) -> None:
    package(tmp_path, "xtcocotools", mask=f"raise {raised}\n")
    done = run(
        """
        compat = load_compat()
        try:
            compat.check_xtcocotools()
        except Exception as error:
            print(type(error).__name__, error)
        """,
        tmp_path,
    )
    assert done.stdout.startswith("MissingPieceError"), done.stderr
    assert said in done.stdout


def test_whole_xtcocotools_passes(tmp_path: Path) -> None:
    package(tmp_path, "xtcocotools", mask="")
    done = run("compat = load_compat(); compat.check_xtcocotools(); print('fine')", tmp_path)
    assert done.stdout.split() == ["fine"], done.stderr


def test_missing_pkg_resources_has_a_stand_in() -> None:
    done = run("""
        Hide("pkg_resources")
        from mmengine.utils import get_installed_path
        try:
            get_installed_path("mmpose")
        except ModuleNotFoundError:
            print("trap")
        compat = load_compat()
        print(compat.stand_in_for_pkg_resources())
        import mmpose
        print(get_installed_path("mmpose") == mmpose.__path__[0])
        try:
            get_installed_path("no-such-package")
        except ModuleNotFoundError as error:
            print("absent")
    """)
    assert done.stdout.split() == ["trap", "True", "True", "absent"], done.stderr


def test_installed_pkg_resources_is_left_alone(tmp_path: Path) -> None:
    package(tmp_path, "pkg_resources", real="")
    done = run(
        """
        compat = load_compat()
        print(compat.stand_in_for_pkg_resources())
        import pkg_resources.real
        """,
        tmp_path,
    )
    assert (done.stdout.split(), done.returncode) == (["False"], 0), done.stderr


CHECKPOINT = """
import sys
import numpy as np
import torch
from mmengine.logging import MessageHub
hub = MessageHub.get_instance("trap")
hub.update_scalar("train/loss", torch.tensor(0.5))
hub.update_scalar("train/loss", 1.5)
hub.update_scalar("val/AP", np.float64(0.25))
hub.update_info("best_score", np.float64(0.25))
meta = {"keypoint_colors": np.zeros((2, 3), np.uint8), "sigmas": np.ones(2, np.float32)}
torch.save({"message_hub": hub.state_dict(), "state_dict": {"w": torch.ones(2)}, "meta": meta}, sys.argv[-1])
"""


@pytest.mark.slow
def test_training_checkpoints_load_and_nothing_else_does(tmp_path: Path) -> None:
    file = tmp_path / "epoch_1.pth"
    done = run(
        f"sys.argv.append({str(file)!r})\n"
        + CHECKPOINT
        + """
from pickle import UnpicklingError
try:
    torch.load(sys.argv[-1])
except UnpicklingError:
    print("trap")
compat = load_compat()
compat.allow_mmengine_checkpoints()
loaded = torch.load(sys.argv[-1])["message_hub"]
print(loaded["log_scalars"]["train/loss"].mean(), loaded["runtime_info"]["best_score"])

import os
from mmengine.logging import HistoryBuffer
class Attack:
    def __init__(self, *call): self.call = call
    def __reduce__(self): return self.call
for attack in (Attack(os.system, ("echo harm",)), Attack(getattr, (HistoryBuffer, "__init__")),
               Attack(getattr, (torch.Tensor, "mean")), Attack(eval, ("print('harm')",))):
    torch.save({"x": attack}, sys.argv[-1])
    try:
        torch.load(sys.argv[-1])
        print("harm")
    except UnpicklingError:
        print("refused")
"""
    )
    assert done.stdout.split() == ["trap", "1.0", "0.25", *["refused"] * 4], done.stderr


@pytest.mark.slow
def test_bfloat16_predictions_become_arrays() -> None:
    done = run("""
        import torch
        from mmpose.utils.tensor_utils import to_numpy as stock
        x = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
        try:
            stock(x)
        except TypeError:
            print("trap")
        compat = load_compat()
        compat.convert_bfloat16_arrays()
        compat.convert_bfloat16_arrays()
        from mmpose.utils.tensor_utils import to_numpy
        print(to_numpy(x).tolist(), to_numpy([x, x])[1].dtype, to_numpy(x.double()).dtype, to_numpy(x, True)[1])
    """)
    assert done.stdout.split("\n")[:2] == ["trap", "[1.5, -2.0] float32 float64 cpu"], done.stderr


@pytest.mark.slow
def test_keypoints_are_drawn() -> None:
    done = run("""
        import numpy as np
        compat = load_compat()
        compat.define_torchvision_operators()
        compat.stand_in_for_mmdet()
        compat.stand_in_for_mmcv_ops()
        from mmpose.visualization import PoseLocalVisualizer
        from mmpose.structures import PoseDataSample
        from mmengine.structures import InstanceData
        sample = PoseDataSample(pred_instances=InstanceData(
            keypoints=np.full((1, 2, 2), 16.0), keypoint_scores=np.ones((1, 2)), bboxes=np.array([[2, 2, 30, 30.0]])
        ))
        black = np.zeros((32, 32, 3), np.uint8)
        def draw(**options):
            visualizer = PoseLocalVisualizer(radius=3, **options)
            visualizer.set_dataset_meta({"skeleton_links": [(0, 1)]})
            return visualizer.add_datasample("x", black, sample, draw_gt=False, draw_bbox=True)
        if np.lib.NumpyVersion(np.__version__) >= "2.4.0":
            try:
                draw()
                print("fine")
            except TypeError:
                print("trap")
        else:
            print("trap")
        compat.draw_circles_of_scalar_radius()
        compat.draw_circles_of_scalar_radius()
        print(draw()[16, 16].any())
    """)
    assert done.stdout.split() == ["trap", "True"], done.stderr


@pytest.mark.slow
def test_all_of_mmpose_imports_quietly_with_the_plugin_alone() -> None:
    done = run("""
        import posestudy_runner.plugin
        import mmpose.apis, mmpose.datasets, mmpose.evaluation, mmpose.models, mmpose.visualization
        from mmpose.models.heads.hybrid_heads.dekr_head import has_mmcv_full
        from mmengine.runner.checkpoint import get_torchvision_models
        print("resnet50" in get_torchvision_models())
    """)
    assert (done.stdout.split(), done.returncode) == (["True"], 0), done.stderr
    assert "pkg_resources" not in done.stderr
    assert "mmcv-lite" not in done.stderr


@pytest.mark.slow
def test_importing_the_plugin_computes_nothing() -> None:
    """The pool imports it before it forks; a computation there would hang the children."""
    done = run("""
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode
        class Watch(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                print("computed", function)
                return function(*args, **(kwargs or {}))
        with Watch():
            import posestudy_runner.plugin
        import threading
        print("threads", threading.active_count())
    """)
    assert done.stdout.split() == ["threads", "1"], done.stdout + done.stderr
