"""Step 3 where the photo is a whole 360-degree panorama already: it becomes the panorama, level and of our size.

There is no photo within the panorama then; what stands for it is the front view, along +z.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import directions, sample, to_perspective
from worldgen.io.photo_sphere import Sphere
from worldgen.types import Camera, View

FRONT_FOV_DEG = 90.0
_FRONT_ASPECT = 4 / 3
_CLOSED = 1.5  # times the step between neighbouring columns: what the step across the back of a panorama stays below


def given_panorama(rgb: Tensor, sphere: Sphere | None, width: int) -> Tensor:
    """rgb [3, H, W], a whole equirectangular picture, to [3, width / 2, width], its horizon level."""
    if sphere is not None and (sphere.pitch_deg or sphere.roll_deg):
        c2w = look_at(0.0, sphere.pitch_deg)[:3, :3] @ _rolled(sphere.roll_deg)
        rays = directions(rgb.shape[1], 2 * rgb.shape[1]) @ c2w  # world to camera
        rgb = sample(rgb, rays.contiguous(), "bicubic")
    return _resized(rgb, width).clamp(0, 1)


def front_camera(fov_deg: float, width: int) -> Camera:
    """Of the view that stands for the photo. fov_deg: horizontal; width: pixels."""
    return Camera.from_fov(width, max(1, round(width / _FRONT_ASPECT)), fov_deg)


def front_view(panorama: Tensor, fov_deg: float) -> View:
    """What stands for the photo, of a panorama [3, H, W], with as many pixels across as that has."""
    camera = front_camera(fov_deg, max(1, round(panorama.shape[2] * fov_deg / 360)))
    rgb = to_perspective(panorama, camera, "bicubic").clamp(0, 1)
    return View(camera, rgb, torch.ones(rgb.shape[1:], dtype=torch.bool))


def all_round(panorama: Tensor) -> Tensor:
    """[3, H, W] to [3, W / 4, W]: four square views round the horizon, side by side, in which straight lines are
    straight: for whoever judges photos."""
    size = panorama.shape[2] // 4
    cameras = [Camera.from_fov(size, size, 90.0, look_at(yaw_deg)) for yaw_deg in (-90.0, 0.0, 90.0, 180.0)]
    return torch.cat([to_perspective(panorama, camera, "bicubic") for camera in cameras], dim=2).clamp(0, 1)


def looks_closed(rgb: Tensor) -> bool:
    """Whether the left and right edge of a picture [3, H, W] fit together, as those of a panorama do."""
    across = (rgb[..., 0] - rgb[..., -1]).abs().mean()
    beside = (rgb[..., 1:] - rgb[..., :-1]).abs().mean(dim=(0, 1))
    return bool(across < _CLOSED * torch.cat([beside[:8], beside[-8:]]).mean())


def _rolled(roll_deg: float) -> Tensor:
    """[3, 3]: a camera leaning to its right, in its own axes (x right, y down)."""
    cos, sin = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
    return torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _resized(rgb: Tensor, width: int) -> Tensor:
    """[3, H, W] to [3, width / 2, width] without a seam at the back: the columns there come from the panorama turned
    by half, whose edges are elsewhere."""
    if tuple(rgb.shape[1:]) == (width // 2, width):
        return rgb
    front, back = (_interpolated(part, width) for part in (rgb, rgb.roll(rgb.shape[2] // 2, dims=2)))
    quarter = width // 4
    back = back.roll(width // 2, dims=2)
    return torch.cat([back[..., :quarter], front[..., quarter:-quarter], back[..., -quarter:]], dim=2)


def _interpolated(rgb: Tensor, width: int) -> Tensor:
    size = (width // 2, width)
    return F.interpolate(rgb[None], size, mode="bicubic", antialias=True, align_corners=False)[0]
