"""Depth Anything 3 (Lin et al., arXiv 2511.10647; its code Apache-2.0): the depth of a view.

DA3METRIC answers metres and knows the sky, DA3MONO the shape and the sky, the others the shape alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import UserError, expect
from worldgen.models.depth_anything_3_network import (
    METRIC,
    answer,
    expect_sides,
    lacks_code,
    load_network,
    normalised,
    preset_of,
    size_seen,
)
from worldgen.models.hub_adapter import HubAdapter
from worldgen.models.protocols import DepthEstimator
from worldgen.types import ViewDepth

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime
    from worldgen.types import Camera

_PARTS_OF_MANY_VIEWS = ("cam_enc", "cam_dec", "gs_head", "gs_adapter")  # that the depth of one view does not ask
_CANONICAL_PX = 300.0  # focal length, in pixels that the network sees, at which its answer is in metres
_SKY = 0.3  # from here on the network itself takes a pixel for sky, and overwrites its depth


@dataclass
class DepthAnything3(HubAdapter, DepthEstimator):
    """Fulfils DepthEstimator. What the network takes for sky is not valid.

    model: which network it is, its config.json says. longest_px: of the view's sides as the network sees it. metres:
    whether only a network that answers metres will do. Other settings: see HubAdapter.
    """

    model: str = "depth-anything/DA3-SMALL"
    size: str = "0.1 GB"
    longest_px: int = 504
    metres: bool = False
    key: str = "view_depth"
    _network: Any = field(default=None, init=False, repr=False)
    _metric: bool = field(default=False, init=False, repr=False)
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
        fits = preset == METRIC or not self.metres
        told, wanted = f"{preset}, which knows no metres", f"{METRIC}, or {self.key}.metres=false"
        expect(f"{self.key}: {folder}", told, fits, wanted)
        network = load_network(folder, preset, _PARTS_OF_MANY_VIEWS, self.key, runtime)
        self._metric, self._dtype = preset == METRIC, runtime.torch_dtype
        self._network = network

    def release(self) -> None:
        """Frees the network's memory."""
        self._network = None

    @torch.inference_mode()
    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        """rgb [3, H, W] -> zdepth [H, W], inf where it is not valid: metres by DA3METRIC, else up to scale."""
        assert self._network is not None, "DepthAnything3 is called before it is loaded"
        height, width = rgb.shape[1:]
        rows, columns = size = size_seen(height, width, self.longest_px)
        zdepth, there = (each.to(rgb.device) for each in self._answer(normalised(rgb[None], size)))
        if self._metric:
            zdepth = zdepth * ((camera.fx * columns / width + camera.fy * rows / height) / 2 / _CANONICAL_PX)
        zdepth, valid = _enlarged(zdepth, there, (height, width))
        valid &= zdepth.isfinite() & (zdepth > 0)
        return ViewDepth(torch.where(valid, zdepth, torch.inf), valid)

    def _answer(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """pixels [1, 3, h, w] as the network wants them -> depth [h, w], and where it is not the sky's, bool [h, w]."""
        found = answer(self._network, pixels, self._dtype)
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
