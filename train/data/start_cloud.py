"""The cloud that a fit starts from, made of points that came without spacings, and often without normals."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from torch import Tensor

from train.data.point_files import Points
from worldgen.errors import UserError
from worldgen.geometry.cameras import project
from worldgen.types import Camera, PointCloud

_NEIGHBOURS = 3  # whose mean distance is a point's spacing, as in 3DGS
_WIDEST = 0.1  # spacing at most, relative to the distance to the nearest camera: an outlier is nobody's neighbour
_NARROWEST = 1e-3  # spacing at least, relative to the median: two points may be one


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
    if any(bool(inside(camera, xyz).any()) for camera in cameras):
        return
    raise UserError(
        f"{where}: none of {len(xyz)} points lies in front of any of {len(cameras)} cameras, within its picture; "
        "wanted points and poses of one world"
    )


def inside(camera: Camera, xyz: Tensor) -> Tensor:
    """bool [N], which points lie in front of the camera, within its picture."""
    pixels, zdepth = project(camera, xyz)
    within = (pixels >= 0) & (pixels <= torch.tensor([camera.width, camera.height]))
    return within.all(dim=-1) & (zdepth > 0)


def _spacing(xyz: Tensor, camera_distance: Tensor) -> Tensor:
    """[N]: the mean distance to the nearest neighbours, within bounds."""
    spacing = torch.full_like(camera_distance, float("inf"))
    if len(xyz) > 1:
        places = xyz.numpy()
        distances, _ = cKDTree(places).query(places, k=min(_NEIGHBOURS + 1, len(xyz)))
        spacing = torch.from_numpy(distances[:, 1:].mean(axis=1)).float()  # the nearest of all is the point itself
    spacing = torch.minimum(spacing, _WIDEST * camera_distance)
    return spacing.clamp(min=max(_NARROWEST * spacing.median().item(), 1e-6))
