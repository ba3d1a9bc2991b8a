"""Where a picture shows ground: a linear rule on what EfficientNet-Lite0 says of each place.

The rule was learned from real panoramas (`python -m eval.experiments.learned_ground`): well below the horizon is
ground, above it what stands there. So it tells of the rows between, where neither is known, by their look alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.embedded.efficientnet_lite import EfficientNetLite0, load_network
from worldgen.embedded.linear_rule import read_rule
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import from_perspective, to_perspective
from worldgen.models import assets
from worldgen.types import Camera

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime

FEATURES = 112 + 192 + 320
"""How many numbers the network says of a place."""
CELL_PX = 8
"""A place is a square of so many pixels."""
VIEW_PX = 320
"""The longer side of the photos by which the rule was learned, 45 to 100 degrees wide."""

RULE = Path(__file__).with_suffix(".npz")
"""The log odds that a place is ground, by its features."""

_BLOCKS = (10, 14, 15)
_VIEWS, _FOV_DEG = 8, 90.0
_SIDE_PX = 640  # of a view: as fine as the finest of those photos, for where walls end is a matter of degrees
_ROWS = 256  # of a panorama; its answers are coarser
_FADE = 0.05  # of a view's width counts at its border, where the network sees no surroundings, beside 1 in the middle
_LOWER = 0.5  # log odds taken off: a place's surroundings blur its answer, and walls end lower than it says


class GroundNetwork:
    """Fulfils `geometric_depth.Ground`. The network is loaded at the first call if nobody did before."""

    _loaded: EfficientNetLite0 | None = None

    def load(self, runtime: Runtime) -> None:
        """Onto the processor, whatever `runtime` says."""
        del runtime
        self._network()

    def release(self) -> None:
        """Frees the network's memory."""
        self._loaded = None

    def __call__(self, panorama: Tensor) -> Tensor:
        """rgb [3, H, W] in [0, 1], equirectangular, level -> log odds of ground [256, 512].

        Views are level: what is farther from the horizon than about 45 degrees is not seen, and as likely as not.
        """
        network, rule = self._network(), read_rule(RULE)
        total, weights = torch.zeros(_ROWS, 2 * _ROWS), torch.zeros(_ROWS, 2 * _ROWS)
        cells = _SIDE_PX // CELL_PX
        across = (torch.arange(cells) + 0.5) / cells * 2 - 1
        for number in range(_VIEWS):
            c2w = look_at(number * 360 / _VIEWS)
            view = to_perspective(panorama, Camera.from_fov(_SIDE_PX, _SIDE_PX, _FOV_DEG, c2w)).clamp(0, 1)
            said = rule.odds(features(network, view))
            weight = (1 - across.abs()).clamp(min=_FADE).expand(cells, cells)
            spread, _ = from_perspective(
                torch.stack([said * weight, weight]), Camera.from_fov(cells, cells, _FOV_DEG, c2w), _ROWS, 2 * _ROWS
            )
            total, weights = total + spread[0], weights + spread[1]
        return torch.where(weights > 0, total / weights.clamp(min=1e-6) - _LOWER, 0.0)

    def _network(self) -> EfficientNetLite0:
        if self._loaded is None:
            self._loaded = load_network(assets.fetch("efficientnet"))
        return self._loaded


def features(network: EfficientNetLite0, rgb: Tensor) -> Tensor:
    """What the network says of each place of a picture [3, H, W], H and W in whole cells: [FEATURES, H / 8, W / 8]."""
    size = (rgb.shape[1] // CELL_PX, rgb.shape[2] // CELL_PX)
    maps = network.maps(rgb[None], _BLOCKS)
    return torch.cat([F.interpolate(each, size, mode="bilinear", align_corners=False)[0] for each in maps])
