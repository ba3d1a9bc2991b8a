"""Depth Anything V2 (Yang et al., NeurIPS 2024), its metric checkpoints: the depth of a view, by transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import expect
from worldgen.models.hub_depth import HubDepth
from worldgen.models.protocols import DepthEstimator
from worldgen.types import ViewDepth

if TYPE_CHECKING:
    from worldgen.types import Camera


@dataclass
class DepthAnything(HubDepth, DepthEstimator):
    """Fulfils DepthEstimator; it was trained with cameras of its own and asks for none."""

    model: str = "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf"
    size: str = "0.1 GB"
    farthest_m: float | None = 75.0

    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        """rgb [3, H, W] -> zdepth [H, W] in metres."""
        del camera
        zdepth = self.answer(rgb).predicted_depth.float().to(rgb.device)
        zdepth = F.interpolate(zdepth[:, None], tuple(rgb.shape[1:]), mode="bilinear", align_corners=False)[0, 0]
        return self.view_depth(zdepth)

    @staticmethod
    def network_class() -> Any:
        """Of transformers."""
        from transformers import DepthAnythingForDepthEstimation

        return DepthAnythingForDepthEstimation

    def expect_fit(self, config: Any, folder: str) -> None:
        """Only metric checkpoints answer metres; the others' disparity tells not even a shape."""
        kind = config.depth_estimation_type
        expect(f"{folder}: depth_estimation_type", kind, kind == "metric", "metric, as Depth-Anything-V2-Metric-* are")
