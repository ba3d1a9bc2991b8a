"""Depth Anything 3 (Lin et al., arXiv 2511.10647; its code Apache-2.0): where frames were taken, and their depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import UserError, expect
from worldgen.models.depth_anything_3_network import (
    OF_MANY_VIEWS,
    answer,
    expect_sides,
    lacks_code,
    load_network,
    normalised,
    preset_of,
    size_seen,
)
from worldgen.models.hub_adapter import HubAdapter
from worldgen.models.protocols import PoseEstimator
from worldgen.types import Camera, PosedDepth, ViewDepth

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime

_NOT_ASKED = ("gs_head", "gs_adapter")  # Gaussians; what poses given would be read by is made with the rest


@dataclass
class DepthAnything3Poses(HubAdapter, PoseEstimator):
    """Fulfils PoseEstimator, by the networks of many views: DA3-SMALL, BASE, LARGE and GIANT.

    longest_px: of the frames' sides as the network sees them. Other settings: see HubAdapter.
    """

    model: str = "depth-anything/DA3-BASE"
    size: str = "0.5 GB"
    longest_px: int = 504
    key: str = "poses"
    _network: Any = field(default=None, init=False, repr=False)
    _dtype: torch.dtype = field(default=torch.float32, init=False, repr=False)

    packages: ClassVar[Sequence[str]] = ("depth-anything-3",)

    def __post_init__(self) -> None:
        expect_sides(self.key, self.longest_px)

    def lacks_code(self) -> str | None:
        """See HubAdapter."""
        return lacks_code()

    def load(self, runtime: Runtime) -> None:
        """From the hub's cache or a folder. Raises UserError where that is not here, not whole, or another thing.

        Where the runtime asks for 16 bits the transformer alone computes in them, its weights staying as they are.
        """
        if self._network is not None:
            return
        if reason := self.lacks_code():
            raise UserError(reason)
        folder = self.checkpoint.folder()
        preset = preset_of(folder, self.key)
        told = f"{preset}, which knows no poses"
        expect(f"{self.key}: {folder}", told, preset in OF_MANY_VIEWS, f"one of {', '.join(OF_MANY_VIEWS)}")
        self._network = load_network(folder, preset, _NOT_ASKED, self.key, runtime)
        self._dtype = runtime.torch_dtype

    def release(self) -> None:
        """Frees the network's memory."""
        self._network = None

    @torch.inference_mode()
    def __call__(self, rgb: Tensor) -> list[PosedDepth]:
        """rgb [N, 3, H, W] -> N cameras of H x W pixels with zdepth and confidence [H, W], up to one common scale."""
        assert self._network is not None, "DepthAnything3Poses is called before it is loaded"
        seen = size_seen(rgb.shape[2], rgb.shape[3], self.longest_px)
        found = answer(self._network, normalised(rgb, seen), self._dtype)
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
