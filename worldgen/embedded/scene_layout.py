"""What a cloud that was seen from the origin tells about the scene: level ground and ceiling, and what lies hidden."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.geometry.cameras import world_rays
from worldgen.geometry.equirect import lonlat, pad
from worldgen.types import PointCloud, View

_LEAST_HEIGHT_M = 0.3  # above or below the origin
_LEVEL_COSINE = 0.9
_LEVEL_REACH_M = 10.0
_LEVEL_SHARE = 0.2  # of the half space
_BEFORE_SEEN = 0.05  # relative distance
_POINTS_PER_CELL = 4
_PUSH, _PUSHES = 1.08, 20  # in steps of 8 %, up to 4.7 times as far


def level_heights(cloud: PointCloud) -> list[float]:
    """World y of the level ground and the level ceiling, each if the origin sees much of it within reach."""
    distance = cloud.xyz.norm(dim=1).clamp(min=1e-6)
    solid_angle = (cloud.spacing / distance) ** 2
    heights = []
    for down in (1, -1):
        height = down * cloud.xyz[:, 1]
        level = (height > _LEAST_HEIGHT_M) & (down * cloud.normals[:, 1] < -_LEVEL_COSINE) & (distance < _LEVEL_REACH_M)
        if solid_angle[level].sum() < _LEVEL_SHARE * 2 * math.pi:
            continue
        order = height[level].argsort()
        share = solid_angle[level][order].cumsum(0)
        heights.append(down * float(height[level][order][torch.searchsorted(share, share[-1] / 2)]))
    return heights


class OriginVisibility:
    """How far the origin sees in every direction. What was inpainted lies behind that, or it would have been seen."""

    def __init__(self, cloud: PointCloud) -> None:
        self._height = max(8, round(math.sqrt(len(cloud) / (2 * _POINTS_PER_CELL))))
        distance = cloud.xyz.norm(dim=1)
        nearest = torch.full((self._height * 2 * self._height,), torch.inf)
        nearest.scatter_reduce_(0, self._cells(cloud.xyz), distance, "amin")
        around = -F.max_pool2d(pad(-nearest.view(1, self._height, -1), 1), 3, stride=1)
        self._nearest = torch.where(around.isfinite(), around, torch.zeros_like(around)).flatten()

    def before(self, xyz: Tensor) -> Tensor:
        """bool [N]: which points [N, 3] stand clearly before what was seen."""
        return xyz.norm(dim=1) < (1 - _BEFORE_SEEN) * self._nearest[self._cells(xyz)]

    def pushed_behind(self, view: View, where: Tensor) -> tuple[View, Tensor]:
        """`view` with the pixels `where` (bool [H, W]) that stand before what was seen moved back behind it.

        They go along their own rays. Also returns `where` without those for which there is no place within reach.
        """
        directions, origin = world_rays(view.camera)[where], view.camera.position
        distance = view.measured[where]
        before = self.before(origin + directions * distance[:, None])
        for _ in range(_PUSHES):
            if not before.any():
                break
            distance[before] *= _PUSH
            before[before.clone()] = self.before(origin + directions[before] * distance[before, None])
        moved, placed = view.measured.clone(), where.clone()
        moved[where], placed[where] = distance, ~before
        return View(view.camera, view.rgb, view.known, moved), placed

    def _cells(self, xyz: Tensor) -> Tensor:
        lon, lat = lonlat(xyz)
        row = ((lat / math.pi + 0.5) * self._height).long().clamp(0, self._height - 1)
        column = ((lon / math.pi + 1) * self._height).long().clamp(0, 2 * self._height - 1)
        return row * 2 * self._height + column
