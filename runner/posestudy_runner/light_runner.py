"""MMEngine's runner for a trial process: it does not look up or write again what its worker and its folder have."""

from __future__ import annotations

# The plugin first: it holds what MMPose needs to be importable here.
from posestudy_runner import plugin  # isort: skip

from typing import Any

import mmengine.hooks.runtime_info_hook as runtime_info_hook
import mmengine.runner.runner as runner_module
from mmengine.config import Config
from mmengine.registry import VISUALIZERS
from mmengine.runner import Runner
from mmpose.visualization import PoseLocalVisualizer

__all__ = ["LightRunner", "WrittenConfig", "plugin"]

_FIGURE = ("fig_save_canvas", "fig_save", "ax_save", "dpi")
"""Attributes of MMEngine's visualizer that hold its Matplotlib figure."""


class WrittenConfig(Config):  # type: ignore[misc]
    """A config that is not changed any more once it was asked for its text, which every checkpoint holds."""

    @property
    def pretty_text(self) -> str:
        """The config as Python source."""
        # Config keeps its attributes in `__dict__`, and takes others for keys of the config.
        known = self.__dict__.get("_written_text")
        if known is None:
            known = super().pretty_text
            super(Config, self).__setattr__("_written_text", known)
        return str(known)


@VISUALIZERS.register_module()
class LazyPoseVisualizer(PoseLocalVisualizer):  # type: ignore[misc]
    """MMPose's visualizer, which makes its Matplotlib figure when something is drawn on it, if ever."""

    def __init__(self, name: str = "visualizer", **options: Any) -> None:
        self._makes_figures = False
        super().__init__(name, **options)
        self._makes_figures = True
        for attribute in _FIGURE:
            self.__dict__.pop(attribute)

    def _initialize_fig(self, fig_cfg: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(super()._initialize_fig(fig_cfg)) if self._makes_figures else (None, _NoFigure(), None)

    def __getattr__(self, name: str) -> Any:
        if name not in _FIGURE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        canvas, figure, axes = self._initialize_fig(self.fig_save_cfg)
        self.__dict__.update(zip(_FIGURE, (canvas, figure, axes, figure.get_dpi()), strict=True))
        return self.__dict__[name]


class _NoFigure:
    """Stands where MMEngine's visualizer expects its figure while it is made."""

    def get_dpi(self) -> None:
        """Nothing has a resolution yet."""


class LightRunner(Runner):  # type: ignore[misc]
    """Trains, validates and saves exactly as MMEngine's runner.

    Left out: compilers and build options in the log, which takes subprocesses, while what rows may differ in is with
    the trial in the ledger; a second copy of the config in the work folder; the commit of whatever repository the
    process happens to run in, which is asked of git for every checkpoint.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Both ask it by name in their own module; outside a repository MMEngine's answer is an empty string.
        for module in (runner_module, runtime_info_hook):
            module.get_git_hash = _no_git_hash
        super().__init__(*arguments, **options)

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        self.logger.info(f"Runtime environment: {dict(env_cfg)}, seed {self.seed}")
        self.logger.info(f"Config:\n{self.cfg.pretty_text}")

    def dump_config(self) -> None:
        """Nothing: the attempt's folder has it."""


def _no_git_hash(fallback: str = "unknown", digits: int | None = None) -> str:
    return ""
