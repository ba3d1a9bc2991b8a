"""Depth Anything 3 (Lin et al., arXiv 2511.10647; its code Apache-2.0): the depth of a view.

DA3METRIC answers metres and knows the sky, DA3MONO the shape and the sky, the others the shape alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import expect
from worldgen.models.depth_anything_3_network import METRIC, DepthAnything3Network, normalised, size_seen
from worldgen.models.protocols import DepthEstimator
from worldgen.types import ViewDepth

if TYPE_CHECKING:
    from worldgen.types import Camera

_CANONICAL_PX = 300.0  # focal length, in pixels that the network sees, at which its answer is in metres
_SKY = 0.3  # from here on the network itself takes a pixel for sky, and overwrites its depth


@dataclass
class DepthAnything3(DepthAnything3Network, DepthEstimator):
    """Fulfils DepthEstimator. What the network takes for sky is not valid.

    model: which network it is, its config.json says. metres: whether only a network that answers metres will do. Other
    settings: see DepthAnything3Network.
    """

    model: str = "depth-anything/DA3-SMALL"
    size: str = "0.1 GB"
    metres: bool = False
    key: str = "view_depth"

    without: ClassVar[Sequence[str]] = ("cam_enc", "cam_dec", "gs_head", "gs_adapter")  # what is for many views

    def expect_preset(self, preset: str, where: str) -> None:
        """Raises UserError where metres are wanted of a network that knows none."""
        fits = preset == METRIC or not self.metres
        expect(where, f"{preset}, which knows no metres", fits, f"{METRIC}, or {self.key}.metres=false")

    @torch.inference_mode()
    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        """rgb [3, H, W] -> zdepth [H, W], inf where it is not valid: metres by DA3METRIC, else up to scale."""
        height, width = rgb.shape[1:]
        rows, columns = size = size_seen(height, width, self.longest_px)
        zdepth, there = (each.to(rgb.device) for each in self._depth(normalised(rgb[None], size)))
        if self._preset == METRIC:
            zdepth = zdepth * ((camera.fx * columns / width + camera.fy * rows / height) / 2 / _CANONICAL_PX)
        zdepth, valid = _enlarged(zdepth, there, (height, width))
        valid &= zdepth.isfinite() & (zdepth > 0)
        return ViewDepth(torch.where(valid, zdepth, torch.inf), valid)

    def _depth(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """pixels [1, 3, h, w] as the network wants them -> depth [h, w], and where it is not the sky's, bool [h, w]."""
        found = self.answer(pixels)
        depth = found["depth"].float().reshape(pixels.shape[2:])
        sky = found.get("sky")
        there = torch.ones_like(depth, dtype=torch.bool) if sky is None else sky.reshape(depth.shape) < _SKY
        return depth, there


def _enlarged(zdepth: Tensor, there: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """zdepth [h, w] and where it counts, bool [h, w], at another size: what does not count has no part in the rest."""
    both = torch.stack([torch.where(there, zdepth, 0.0), there.float()])[None]
    summed, share = F.interpolate(both, size, mode="bilinear", align_corners=False)[0]
    valid = share >= 0.5
    return torch.where(valid, summed / share.clamp(min=0.5), torch.inf), valid
