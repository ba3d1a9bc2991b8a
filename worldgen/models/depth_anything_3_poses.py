"""Depth Anything 3 (Lin et al., arXiv 2511.10647; its code Apache-2.0): where frames were taken, and their depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import expect
from worldgen.models.depth_anything_3_network import OF_MANY_VIEWS, DepthAnything3Network, normalised, size_seen
from worldgen.models.protocols import PoseEstimator
from worldgen.types import Camera, PosedDepth, ViewDepth


@dataclass
class DepthAnything3Poses(DepthAnything3Network, PoseEstimator):
    """Fulfils PoseEstimator, by the networks of many views: DA3-SMALL, BASE, LARGE and GIANT. Settings: see
    DepthAnything3Network.
    """

    model: str = "depth-anything/DA3-BASE"
    size: str = "0.5 GB"
    key: str = "poses"

    without: ClassVar[Sequence[str]] = (
        "gs_head",
        "gs_adapter",
    )  # Gaussians; poses as an input come with the rest

    def expect_preset(self, preset: str, where: str) -> None:
        """Raises UserError for a network of one view."""
        told = f"{preset}, which knows no poses"
        expect(where, told, preset in OF_MANY_VIEWS, f"one of {', '.join(OF_MANY_VIEWS)}")

    @torch.inference_mode()
    def __call__(self, rgb: Tensor) -> list[PosedDepth]:
        """rgb [N, 3, H, W] -> N cameras of H x W pixels with zdepth and confidence [H, W], up to one common scale."""
        seen = size_seen(rgb.shape[2], rgb.shape[3], self.longest_px)
        found = self.answer(normalised(rgb, seen))
        both = torch.cat([found["depth"], found["depth_conf"]]).float()  # [2, N, h, w]
        zdepth, sure = F.interpolate(both, rgb.shape[2:], mode="bilinear", align_corners=False).cpu()
        w2c, lenses = found["extrinsics"][0].double().cpu(), found["intrinsics"][0].double().cpu()
        return [_posed(*each, seen) for each in zip(w2c, lenses, zdepth, sure, strict=True)]


def _posed(w2c: Tensor, lens: Tensor, zdepth: Tensor, sure: Tensor, seen: tuple[int, int]) -> PosedDepth:
    """w2c [3, 4] with OpenCV axes, lens [3, 3] in pixels of the size that was seen, zdepth and sure [H, W]."""
    rotation = w2c[:, :3]
    c2w = torch.eye(4, dtype=w2c.dtype)
    c2w[:3, :3], c2w[:3, 3] = rotation.T, -rotation.T @ w2c[:, 3]
    fx, fy, cx, cy = (float(lens[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
    rows, columns = seen
    camera = Camera(c2w.float(), columns, rows, fx, fy, cx, cy).resized(zdepth.shape[1], zdepth.shape[0])
    valid = zdepth.isfinite() & (zdepth > 0)
    return PosedDepth(camera, ViewDepth(torch.where(valid, zdepth, torch.inf), valid), sure)
