"""Which cameras see holes: cheap scores on a thinned cloud, kept up to date while the cloud grows."""

import math

import torch
from torch import Tensor

from worldgen.geometry.points import render_points
from worldgen.types import Camera, PointCloud

_SCORE_PX = 64
_LEAST_FREE_M = 0.05


class HoleScores:
    """How much of every camera's view is still unknown."""

    def __init__(self, cloud: PointCloud, cameras: list[Camera]) -> None:
        self._cameras = [camera.resized(_SCORE_PX, _SCORE_PX) for camera in cameras]
        self._known = torch.zeros(len(cameras), _SCORE_PX, _SCORE_PX, dtype=torch.bool)
        self._open = torch.ones(len(cameras), dtype=torch.bool)
        self.add(cloud)

    def add(self, cloud: PointCloud) -> None:
        """More points are there to be seen."""
        angle = 2 * math.tan(math.radians(self._cameras[0].fov_deg) / 2) / _SCORE_PX
        thin = thinned(cloud, angle)
        for known, camera in zip(self._known, self._cameras, strict=True):
            known |= render_points(thin, camera).known

    def best(self, least: float, most: float) -> int | None:
        """The camera that sees most unknown, of those that see between `least` and `most` (parts of the view)."""
        unknown = 1 - self._known.float().mean(dim=(1, 2))
        eligible = self._open & (unknown >= least) & (unknown <= most)
        if not eligible.any():
            return None
        return int(torch.where(eligible, unknown, -torch.ones_like(unknown)).argmax())

    def done(self, index: int) -> None:
        """This camera is not to be chosen again."""
        self._open[index] = False


def thinned(cloud: PointCloud, angle: float) -> PointCloud:
    """About one point per `angle` (radians, seen from the origin), each as large as what it stands for."""
    distance = cloud.xyz.norm(dim=1).clamp(min=1e-6)
    cell = torch.cat([cloud.xyz / distance[:, None] / angle, distance.log()[:, None] / angle / 4], dim=1)
    index = cell.floor().to(torch.int64) - cell.floor().amin(0).to(torch.int64)
    extent = index.amax(0) + 1
    key = ((index[:, 0] * extent[1] + index[:, 1]) * extent[2] + index[:, 2]) * extent[3] + index[:, 3]
    order = key.argsort(stable=True)
    first = torch.ones(len(order), dtype=torch.bool)
    first[1:] = key[order].diff() != 0
    kept = cloud[order[first]]
    spacing = torch.maximum(kept.spacing, distance[order[first]] * angle)
    return PointCloud(kept.xyz, kept.rgb, kept.normals, spacing)


def reachable(cloud: PointCloud, positions: Tensor, clearance_m: float) -> Tensor:
    """Positions [N, 3] drawn towards the origin until the way to them is `clearance_m` clear of points."""
    moved = []
    for position in positions:
        length = position.norm()
        direction = position / length.clamp(min=1e-9)
        along = cloud.xyz @ direction
        beside = (cloud.xyz - along[:, None] * direction).norm(dim=1)
        in_the_way = along[(along > 0) & (beside < clearance_m)]
        free = in_the_way.min() - clearance_m if len(in_the_way) else length
        moved.append(direction * torch.minimum(length, free.clamp(min=_LEAST_FREE_M)))
    return torch.stack(moved)
