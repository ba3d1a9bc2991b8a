"""Clouds to start from where no distances were estimated: of points from a file, or drawn at random."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from torch import Tensor

from train.data.points import Points
from worldgen.errors import UserError
from worldgen.geometry.cameras import project
from worldgen.types import Camera, PointCloud

_NEIGHBOURS = 3  # whose mean distance is a point's spacing, as in 3DGS
_WIDEST = 0.1  # spacing at most, relative to the distance to the nearest camera: an outlier is nobody's neighbour
_NARROWEST = 1e-3  # spacing at least, relative to the median: two points may be one
_NEAR, _FAR = 0.25, 10.0  # depth of random points, relative to the distance to where the cameras look
_SEEN_BY, _SEEN_BY_AT_LEAST = 0.1, 3  # of the cameras, random points
_ROUNDS = 20  # of drawing them
_ENOUGH_LEFT = 0.1  # of those that are wanted
_PARALLEL = 1e-3  # smallest eigenvalue, a camera, of what fixes the point that the axes come nearest to
_GREY = 0.5


def random_points(where: str, cameras: Sequence[Camera], count: int, seed: int) -> Points:
    """Grey points where several cameras look: evenly over their pixels, and over the logarithm of the depth.

    Nobody knows how far away things are: the depths reach from a quarter of the distance to where the cameras look to
    ten times that. Of those only what `_SEEN_BY` of the cameras, three at least, see is kept: what fewer see can show
    each of them whatever it likes, as a fog of its own in front of it. Where hardly any is left, all are taken.
    """
    generator = torch.Generator().manual_seed(seed)
    lens = torch.tensor([[c.width, c.height, c.fx, c.fy, c.cx, c.cy] for c in cameras], dtype=torch.float32)
    c2w = torch.stack([camera.c2w for camera in cameras])
    focus = focus_distance(cameras)
    enough = min(len(cameras), max(_SEEN_BY_AT_LEAST, math.ceil(_SEEN_BY * len(cameras))))
    kept: list[Tensor] = []
    for _ in range(_ROUNDS):
        which = torch.randint(len(cameras), (count,), generator=generator)
        across, down, away = torch.rand(3, count, generator=generator)
        width, height, fx, fy, cx, cy = lens[which].unbind(-1)
        zdepth = focus * _NEAR * (_FAR / _NEAR) ** away
        rays = torch.stack([(across * width - cx) / fx, (down * height - cy) / fy, torch.ones(count)], dim=-1)
        local = (rays * zdepth[:, None])[..., None]
        xyz = c2w[which, :3, 3] + (c2w[which, :3, :3] @ local)[..., 0]
        kept.append(xyz[_views_of(xyz, cameras) >= enough])
        if sum(map(len, kept)) >= count:
            break
    found = torch.cat(kept)[:count]
    if len(found) < _ENOUGH_LEFT * count:
        found = xyz
    return Points(where, found, torch.full_like(found, _GREY))


def focus_distance(cameras: Sequence[Camera]) -> float:
    """How far from the cameras, in the median, lies the point that their optical axes come nearest to.

    Where that is behind them, as when they look outwards, or the axes are parallel: how far apart they are. Above 0.
    """
    places = torch.stack([camera.position for camera in cameras]).double()
    axes = torch.stack([camera.c2w[:3, 2] for camera in cameras]).double()
    spread = (places - places.mean(dim=0)).norm(dim=1).max().item() or 1.0
    across = torch.eye(3, dtype=torch.float64) - axes[:, :, None] * axes[:, None, :]  # what is not along the axis
    total = across.sum(dim=0)
    if torch.linalg.eigvalsh(total)[0] < _PARALLEL * len(cameras):
        return spread
    focus = torch.linalg.solve(total, (across @ places[..., None]).sum(dim=0)[:, 0])
    ahead = ((focus - places) * axes).sum(dim=1).median().item()
    return ahead if ahead > 0 else spread


def _views_of(xyz: Tensor, cameras: Sequence[Camera]) -> Tensor:
    """[N], how many cameras have each point [N, 3] in their pictures."""
    return sum((_inside(camera, xyz) for camera in cameras), torch.zeros(len(xyz), dtype=torch.int64))


def _inside(camera: Camera, xyz: Tensor) -> Tensor:
    """bool [N], which points lie in front of the camera, within its picture."""
    pixels, zdepth = project(camera, xyz)
    within = (pixels >= 0) & (pixels <= torch.tensor([camera.width, camera.height]))
    return within.all(dim=-1) & (zdepth > 0)


def cloud_of(points: Points, cameras: Sequence[Camera]) -> PointCloud:
    """Points as the fit starts from them, with spacings, and with normals towards the nearest camera if they have none.

    Raises UserError where no camera sees any.
    """
    positions = torch.stack([camera.position for camera in cameras])
    expect_seen(points.where, points.xyz, cameras)
    distance, nearest = cKDTree(positions.numpy()).query(points.xyz.numpy())
    distance = torch.from_numpy(distance).float()
    back = F.normalize(positions[torch.from_numpy(nearest)] - points.xyz, dim=1)
    back = torch.where(distance[:, None] > 0, back, torch.tensor([0.0, 0.0, -1.0]))
    normals = back
    if points.normals is not None:  # many tools write zeros
        given = points.normals.norm(dim=1, keepdim=True)
        normals = torch.where(given > 1e-6, points.normals / given.clamp(min=1e-6), back)
    return PointCloud(points.xyz, points.rgb, normals, _spacing(points.xyz, distance))


def expect_seen(where: str, xyz: Tensor, cameras: Sequence[Camera]) -> None:
    """Raises UserError unless some camera has some point [N, 3] in its picture."""
    if any(bool(_inside(camera, xyz).any()) for camera in cameras):
        return
    raise UserError(
        f"{where}: none of {len(xyz)} points lies in front of any of {len(cameras)} cameras, within its picture; "
        "wanted points and poses of one world"
    )


def _spacing(xyz: Tensor, camera_distance: Tensor) -> Tensor:
    """[N]: the mean distance to the nearest neighbours, within bounds."""
    spacing = torch.full_like(camera_distance, float("inf"))
    if len(xyz) > 1:
        places = xyz.numpy()
        distances, _ = cKDTree(places).query(places, k=min(_NEIGHBOURS + 1, len(xyz)))
        spacing = torch.from_numpy(distances[:, 1:].mean(axis=1)).float()  # the nearest of all is the point itself
    spacing = torch.minimum(spacing, _WIDEST * camera_distance)
    return spacing.clamp(min=max(_NARROWEST * spacing.median().item(), 1e-6))
