"""MMEngine's backends of a visualizer, where they lose the step or cannot take a panel."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.registry import VISBACKENDS
from mmengine.visualization import LocalVisBackend, MLflowVisBackend, WandbVisBackend


@VISBACKENDS.register_module()
class JsonLinesVisBackend(LocalVisBackend):
    """``vis_data/scalars.json``: a line for each entry of the log, with its ``step``.

    MMEngine's also writes a second copy of each line, the config and the panels, which the work dir has already.
    """

    def add_config(self, config: Any, **kwargs: Any) -> None:
        """Writes nothing."""

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Writes nothing."""

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        """Appends a line."""
        super().add_scalars(scalar_dict, step)


@VISBACKENDS.register_module()
class StepWandbVisBackend(WandbVisBackend):
    """Weights & Biases over ``step``; MMEngine's leaves the step out, and charts count calls."""

    def __init__(self, save_dir: str, **kwargs: Any) -> None:
        over_step: list[dict] = [{"name": "step"}, {"name": "*", "step_metric": "step"}]
        super().__init__(save_dir, **{"define_metric_cfg": over_step, **kwargs})

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """A picture (H, W, 3), uint8 RGB."""
        self.experiment.log({name: self.experiment.Image(image), "step": step}, commit=self._commit)

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        """Numbers of one step."""
        super().add_scalars({**scalar_dict, "step": step})


@VISBACKENDS.register_module()
class StepMLflowVisBackend(MLflowVisBackend):
    """MLflow with a picture for each step; MMEngine's gives pictures a name without ending, which MLflow refuses."""

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """A picture (H, W, 3), uint8 RGB."""
        self.experiment.log_image(image, f"{name}/step_{step:06d}.png")
