"""Which cameras see holes: cheap scores on a thinned cloud, kept up to date while the cloud grows."""

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from worldgen.types import Camera, PointCloud

_SCORE_PX = 192
_LEAST_FREE_M = 0.05
_NEAR_M = 0.05
_REACH_ANGLE = 0.01  # radians, the grain of what cameras keep clear of
_COVER = 1.0  # half the side of the square that a point covers, in spacings: thinned points lie up to two cells apart


class HoleScores:
    """How much of every camera's view is still unknown; kept where the cloud is, on the CPU or a GPU."""

    def __init__(self, cloud: PointCloud, cameras: Sequence[Camera]) -> None:
        small = [camera.resized(_SCORE_PX, _SCORE_PX) for camera in cameras]
        self._w2c = torch.stack([camera.w2c for camera in small]).to(cloud.xyz)
        self._focal = np.float32(small[0].fx)
        self._known = torch.zeros(len(small), _SCORE_PX, _SCORE_PX, dtype=torch.bool, device=cloud.xyz.device)
        self._open = np.ones(len(small), np.bool_)
        self.add(cloud)

    def add(self, cloud: PointCloud) -> None:
        """More points are there to be seen, on the same device."""
        thin = thinned(cloud, 1 / float(self._focal))
        if self._known.device.type == "cpu":
            tensors = (self._known, thin.xyz, thin.spacing, self._w2c)
            _mark_seen(*(tensor.numpy() for tensor in tensors), self._focal)
        else:
            mark_seen_by_torch(self._known, thin.xyz, thin.spacing, self._w2c, float(self._focal))

    def unknown(self) -> np.ndarray:
        """[cameras], the parts of their views."""
        if self._known.device.type == "cpu":  # where numpy counts bools far faster than torch adds them up
            counts = np.array([np.count_nonzero(seen) for seen in self._known.numpy()])
        else:
            counts = self._known.sum((1, 2)).cpu().numpy()
        return 1 - counts / _SCORE_PX**2

    def pick(self, count: int, least: float, most: float) -> list[int]:
        """Up to `count` cameras that see most unknown, of those that see between `least` and `most` (parts of the view)
        and were never picked before; the one that sees most first."""
        unknown = self.unknown()
        eligible = self._open & (unknown >= least) & (unknown <= most)
        order = np.argsort(-unknown, kind="stable")
        picked = order[eligible[order]][:count]
        self._open[picked] = False
        return picked.tolist()


@njit(parallel=True, cache=True, error_model="numpy")
def _mark_seen(known, xyz, spacing, w2c, focal):
    """What `mark_seen_by_torch` does, camera by camera on all threads."""
    size = known.shape[1]
    for camera in prange(len(known)):
        m, middle = w2c[camera], np.float32(size / 2)
        for i in range(len(xyz)):
            x, y, z = xyz[i]
            depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
            if not depth > _NEAR_M:
                continue
            scale = focal / depth
            u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) * scale + middle
            v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) * scale + middle
            reach = min(max(spacing[i] * scale * np.float32(_COVER), np.float32(0.5)), np.float32(size))
            if u + reach < 0 or v + reach < 0 or u - reach > size or v - reach > size:
                continue
            left, right = max(0, int(np.ceil(u - reach - 0.5))), min(size - 1, int(np.floor(u + reach - 0.5)))
            top, bottom = max(0, int(np.ceil(v - reach - 0.5))), min(size - 1, int(np.floor(v + reach - 0.5)))
            for row in range(top, bottom + 1):
                for column in range(left, right + 1):
                    known[camera, row, column] = True


def mark_seen_by_torch(known: Tensor, xyz: Tensor, spacing: Tensor, w2c: Tensor, focal: float) -> None:
    """Sets known, bool [cameras, S, S], where one of N points covers a pixel; on any device, and the kernel to be read.

    xyz: [N, 3]; spacing: [N], metres; w2c: [cameras, 4, 4]; focal: pixels. The principal point is the middle.
    """
    size = known.shape[1]
    for seen, pose in zip(known, w2c, strict=True):
        local = xyz @ pose[:3, :3].T + pose[:3, 3]
        before = local[:, 2] > _NEAR_M
        scale = (focal / local[before, 2])[:, None]
        centre = local[before, :2] * scale + size / 2
        reach = (_COVER * spacing[before, None] * scale).clamp(0.5, size)
        first = torch.ceil(centre - reach - 0.5).clamp(0, size).long()
        beyond = (torch.floor(centre + reach - 0.5) + 1).clamp(0, size).long()
        covers = (first < beyond).all(1)
        (left, top), (right, bottom) = first[covers].T, beyond[covers].T
        # Each square adds 1 at two of its corners and takes it away at the others: sums from the left and the top then
        # count the squares over each pixel.
        corners = torch.zeros(size + 1, size + 1, dtype=torch.int32, device=known.device)
        for row, column, change in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
            corners.index_put_((row, column), corners.new_tensor(change), accumulate=True)
        seen |= (corners.cumsum(0).cumsum(1) > 0)[:size, :size]


def thinned(cloud: PointCloud, angle: float) -> PointCloud:
    """About one point per `angle` (radians, seen from the origin), each as large as what it stands for."""
    if len(cloud) == 0:
        return cloud
    distance = cloud.xyz.norm(dim=1).clamp(min=1e-6)
    cell = torch.cat([cloud.xyz / distance[:, None] / angle, distance.log()[:, None] / angle / 4], dim=1)
    index = cell.floor().to(torch.int64) - cell.floor().amin(0).to(torch.int64)
    extent = index.amax(0) + 1
    key = ((index[:, 0] * extent[1] + index[:, 1]) * extent[2] + index[:, 2]) * extent[3] + index[:, 3]
    order = key.argsort(stable=True)
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = key[order].diff() != 0
    kept = cloud[order[first]]
    spacing = torch.maximum(kept.spacing, distance[order[first]] * angle)
    return PointCloud(kept.xyz, kept.rgb, kept.normals, spacing)


def reachable(cloud: PointCloud, positions: Tensor, clearance_m: float) -> Tensor:
    """Positions [N, 3] drawn towards the origin until the way to them is `clearance_m` clear of points."""
    xyz = thinned(cloud, _REACH_ANGLE).xyz
    moved = []
    for position in positions:
        length = position.norm()
        direction = position / length.clamp(min=1e-9)
        along = xyz @ direction
        beside = (xyz - along[:, None] * direction).norm(dim=1)
        in_the_way = along[(along > 0) & (beside < clearance_m)]
        free = in_the_way.min() - clearance_m if len(in_the_way) else length
        moved.append(direction * torch.minimum(length, free.clamp(min=_LEAST_FREE_M)))
    return torch.stack(moved)
