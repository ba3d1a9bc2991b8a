"""Depth Pro (Bochkovskii et al., ICLR 2025): a view's metric depth and a photo's field of view, by transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import expect
from worldgen.geometry.fov_range import check_fov
from worldgen.models.hub_depth import HubDepth
from worldgen.models.protocols import DepthEstimator, FovEstimator
from worldgen.types import Fov, ViewDepth

if TYPE_CHECKING:
    from worldgen.io.photo import Photo
    from worldgen.types import Camera

_LEAST_INVERSE = 1e-4  # 10 km; the network may answer 0 for the sky


@dataclass
class _DepthPro(HubDepth):
    """Both adapters' checkpoint."""

    model: str = "apple/DepthPro-hf"
    size: str = "1.9 GB"

    @staticmethod
    def network_class() -> Any:
        """Of transformers."""
        from transformers import DepthProForDepthEstimation

        return DepthProForDepthEstimation

    def expect_fit(self, config: Any, folder: str) -> None:
        """Every checkpoint of its class gives depth."""


@dataclass
class DepthProDepth(_DepthPro, DepthEstimator):
    """Fulfils DepthEstimator, with the focal length of the camera in the place of the one that it estimates."""

    farthest_m: float | None = 300.0

    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        """rgb [3, H, W] -> zdepth [H, W] in metres: its canonical inverse depth is that of a focal length of one
        picture's width."""
        inverse = self.answer(rgb).predicted_depth.float().to(rgb.device)
        inverse = F.interpolate(inverse[:, None], tuple(rgb.shape[1:]), mode="bilinear", align_corners=False)[0, 0]
        return self.view_depth(1 / (inverse * (camera.width / camera.fx)).clamp(min=_LEAST_INVERSE))


@dataclass
class DepthProFov(_DepthPro, FovEstimator):
    """Fulfils FovEstimator."""

    key: str = "fov"

    def __call__(self, photo: Photo) -> Fov:
        """Raises UserError for an answer that no camera can have."""
        deg = float(self.answer(photo.rgb).field_of_view)
        return Fov(check_fov(deg, "fov"), f"Depth Pro ({self.named})")

    def expect_fit(self, config: Any, folder: str) -> None:
        """The head for the field of view is optional."""
        there = bool(config.use_fov_model)
        expect(f"{folder}: use_fov_model", there, there, "true: a checkpoint with the head for the field of view")
