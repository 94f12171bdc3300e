"""The tests a preset must pass: subclass `PresetContract` in a test file of your own and name your preset."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

from posestudy_studies import drawn_cats, mmpose_config, presets
from posestudy_studies.fitting import shape
from posestudy_studies.networks import BackboneArguments
from posestudy_studies.spec import Study

KEYPOINTS = 17


class PresetContract:
    """What a study file that names the preset relies on.

    Attributes:
        preset: its name, as `model` takes it.
        sizes: (width, height) of inputs that fit it, px; the first is the one it is trained with.
    """

    preset: ClassVar[str]
    sizes: ClassVar[tuple[tuple[int, int], ...]] = ((64, 64), (96, 64))

    def _study(self, root: Path, size: tuple[int, int]) -> Study:
        split = {"images": "images"}
        baseline = {"model": self.preset, "input_size": size, "epochs": 1, "batch_size": 4, "optimizer": {"lr": 0.01}}
        return Study.model_validate(
            {
                "study": "preset_contract",
                "dataset": {
                    "keypoints": "cats",
                    "root": str(root),
                    "train": {"annotations": "annotations/train.json", **split},
                    "val": {"annotations": "annotations/val.json", **split},
                },
                "baseline": baseline,
                "stages": [{"name": "only", "design": "variants", "variants": {"wide": {"sigma": 3.0}}}],
            }
        )

    def _config(self, root: Path, size: tuple[int, int]) -> Any:
        """The config of a trial, with the modules imported that it names and its scope set."""
        from mmengine.config import Config
        from mmengine.registry import init_default_scope
        from mmengine.utils import import_modules_from_strings

        study = self._study(root, size)
        config = Config(mmpose_config.build(study, study.baseline, seed=0))
        import_modules_from_strings(**config.custom_imports)
        init_default_scope(config.default_scope)
        return config

    def test_installed_under_its_own_name(self) -> None:
        assert self.preset in presets.names(), f"no entry point '{self.preset}' in group {presets.GROUP}"

    def test_it_is_known_without_torch(self) -> None:
        """`check` and `plan` read every preset, and take no seconds for it."""
        code = (
            f"import sys; from posestudy_studies import presets; presets.preset({self.preset!r}); "
            "sys.exit('torch' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, "the preset imports torch"

    def test_its_arguments_are_knobs(self) -> None:
        assert presets.preset(self.preset).arguments <= set(BackboneArguments.model_fields)

    def test_features_and_heatmaps_have_the_declared_size(self, tmp_path: Path) -> None:
        import torch
        from mmpose.registry import MODELS

        chosen = presets.preset(self.preset)
        for width, height in self.sizes:
            model = MODELS.build(self._config(tmp_path, (width, height)).model).eval()
            with torch.no_grad():
                image = torch.zeros(2, 3, height, width)
                features = model.backbone(image)[-1]
                heatmaps = model(image, None, mode="tensor")
            features_size, output = (
                chosen.features((width, height)),
                shape(self._study(tmp_path, (width, height)).baseline),
            )
            assert tuple(features.shape) == (2, chosen.channels, features_size[1], features_size[0])
            assert tuple(heatmaps.shape) == (2, KEYPOINTS, output.output[1], output.output[0])

    def test_all_of_it_trains_as_a_plain_config_of_mmpose(self, tmp_path: Path) -> None:
        import torch
        from mmengine.runner import Runner

        drawn_cats.draw(tmp_path, train=8, val=4, seed=1)
        config = self._config(tmp_path, self.sizes[0])
        config.work_dir = str(tmp_path / "work")
        config.train_dataloader.update(num_workers=0, persistent_workers=False)
        config.val_dataloader.update(num_workers=0, persistent_workers=False)
        runner = Runner.from_cfg(config)
        before = {name: part.clone() for name, part in runner.model.named_parameters() if part.requires_grad}
        runner.train()
        still = [
            name for name, part in runner.model.named_parameters() if name in before and torch.equal(part, before[name])
        ]
        assert len(still) < 0.1 * len(before), f"these parts were not trained: {', '.join(still)}"
