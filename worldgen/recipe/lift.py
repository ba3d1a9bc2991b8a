"""Step 6, lift: every pixel of the panorama becomes a point in space. Paper, "Point cloud"."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import expect
from worldgen.geometry.equirect import directions, pad
from worldgen.types import DistanceMap, PointCloud


@dataclass(frozen=True)
class LiftSettings:
    """How dense the cloud is and which points are left out."""

    stride: int = 1  # every how many pixels a point is lifted
    max_slant_deg: float = 88.5  # surfaces seen at a flatter angle than this are torn: they only bridge a depth edge

    def __post_init__(self) -> None:
        expect("lift.stride", self.stride, self.stride >= 1, "1 or more")
        steep_enough = 45 <= self.max_slant_deg < 90
        expect("lift.max_slant_deg", self.max_slant_deg, steep_enough, "45 or more and less than 90")


def lift(rgb: Tensor, distances: DistanceMap, settings: LiftSettings) -> PointCloud:
    """rgb [3, H, W] and its distances [H, W] to points, evenly over the sphere.

    Towards the poles rows hold fewer points, as their pixels crowd. Points where a surface is stretched between two
    sides of a depth edge are left out; the sky's stay on their shell and face the camera.
    """
    stride = settings.stride
    distance, sky = _picked(distances.distance, stride), _picked(distances.sky, stride)
    rays = _picked(directions(*distances.sky.shape).movedim(-1, 0), stride).movedim(0, -1)
    colours = _picked(_averaged(rgb, stride), stride).movedim(0, -1)
    pixel_angle = math.pi / len(distances.sky) * stride
    normals = torch.where(sky[..., None], -rays, _normals(rays, distance))
    kept = _even_rows(rays) & (sky | ~_stretched(rays, distance, pixel_angle, settings.max_slant_deg))
    return PointCloud(
        xyz=(rays * distance[..., None])[kept],
        rgb=colours[kept],
        normals=normals[kept],
        spacing=(distance * pixel_angle)[kept],
        sky=sky[kept],
    )


def _picked(image: Tensor, stride: int) -> Tensor:
    """[..., H, W] to its pixels in the middle of every `stride` x `stride` block."""
    return image[..., stride // 2 :: stride, stride // 2 :: stride]


def _averaged(rgb: Tensor, stride: int) -> Tensor:
    """[3, H, W], every pixel the mean of the square round it that a picked pixel stands for."""
    margin = stride // 2
    return F.avg_pool2d(pad(rgb, margin), 2 * margin + 1, stride=1) if margin else rgb


def _even_rows(rays: Tensor) -> Tensor:
    """bool [H, W]: in every row as many pixels, evenly spaced, as its circle on the sphere is long."""
    width = rays.shape[1]
    counts = (width * rays[:, :1, [0, 2]].norm(dim=-1)).ceil().clamp(min=4)
    column = torch.arange(width)[None]
    return (column * counts / width).floor() != ((column - 1) * counts / width).floor()


def _stretched(rays: Tensor, distance: Tensor, pixel_angle: float, max_slant_deg: float) -> Tensor:
    """bool [H, W]: steep on both sides along one axis. A pixel at a clean edge has one gentle side and stays."""
    log = pad(distance.log()[None], 1)[0]
    steep = math.tan(math.radians(max_slant_deg)) * pixel_angle
    steep_across = steep * rays[..., [0, 2]].norm(dim=-1)
    centre, left, right = log[1:-1, 1:-1], log[1:-1, :-2], log[1:-1, 2:]
    up, down = log[:-2, 1:-1], log[2:, 1:-1]
    across = torch.minimum((centre - left).abs(), (right - centre).abs()) > steep_across
    along = torch.minimum((centre - up).abs(), (down - centre).abs()) > steep
    return across | along


def _normals(rays: Tensor, distance: Tensor) -> Tensor:
    """Unit normals [H, W, 3] towards the origin, from the gentler of both one-sided differences along each axis."""
    xyz = pad((rays * distance[..., None]).movedim(-1, 0), 1).movedim(0, -1)
    reach = pad(distance[None], 1)[0]
    across = _gentler(xyz[1:-1], reach[1:-1])
    along = _gentler(xyz[:, 1:-1].transpose(0, 1), reach[:, 1:-1].T).transpose(0, 1)
    normal = F.normalize(torch.linalg.cross(across, along), dim=-1)
    degenerate = normal.norm(dim=-1, keepdim=True) < 0.5
    normal = torch.where(degenerate, -rays, normal)
    return torch.where((normal * rays).sum(-1, keepdim=True) > 0, -normal, normal)


def _gentler(xyz: Tensor, distance: Tensor) -> Tensor:
    """Tangents along axis 1 of [A, B + 2, 3] -> [A, B, 3]; distance [A, B + 2] says which side is the smoother one."""
    before, after = xyz[:, 1:-1] - xyz[:, :-2], xyz[:, 2:] - xyz[:, 1:-1]
    jump = (distance[:, 1:] / distance[:, :-1]).log().abs()
    return torch.where((jump[:, :-1] <= jump[:, 1:])[..., None], before, after)
