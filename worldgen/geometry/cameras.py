"""Pinhole cameras: where they look, which ray a pixel has, where a point lands.

Everything is computed where the pictures or points are; a camera's own pose, usually on the CPU, is taken there.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from worldgen.types import Camera

Device = torch.device | str | None
"""Where a result is to lie; None = where the camera's pose lies."""


def look_at(yaw_deg: float, pitch_deg: float = 0.0, position: Tensor | None = None) -> Tensor:
    """c2w [4, 4] of a camera that looks along +z at yaw 0; yaw > 0 turns right (to +x), pitch > 0 up (to -y).

    position: [3], metres, world; the origin if None. float32, where `position` is, on the CPU without one. The camera
    does not roll: its x axis is level.
    """
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    sin_yaw, cos_yaw, sin_pitch, cos_pitch = math.sin(yaw), math.cos(yaw), math.sin(pitch), math.cos(pitch)
    right = [cos_yaw, 0.0, -sin_yaw]
    forward = [sin_yaw * cos_pitch, -sin_pitch, cos_yaw * cos_pitch]
    down = [sin_yaw * sin_pitch, cos_pitch, cos_yaw * sin_pitch]
    c2w = torch.eye(4, device="cpu" if position is None else position.device)
    c2w[:3, :3] = torch.tensor([right, down, forward], device=c2w.device).T
    if position is not None:
        c2w[:3, 3] = position
    return c2w


def pixel_rays(camera: Camera, device: Device = None) -> Tensor:
    """Unit ray directions of all pixel centres in the camera's frame, [H, W, 3]. Shared: do not write to it."""
    device = camera.c2w.device if device is None else device
    return _rays(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, torch.device(device))


@lru_cache(maxsize=2)
def _rays(width: int, height: int, fx: float, fy: float, cx: float, cy: float, device: torch.device) -> Tensor:
    """See `pixel_rays`; the views of a step share one lens."""
    x = (torch.arange(width, device=device) + 0.5 - cx) / fx
    y = (torch.arange(height, device=device) + 0.5 - cy) / fy
    x, y = x[None, :], y[:, None]
    z = torch.rsqrt(1 + x.square() + y.square())
    return torch.stack([x * z, y * z, z], dim=-1)


def world_rays(camera: Camera, device: Device = None) -> Tensor:
    """Unit ray directions of all pixel centres in the world's frame, [H, W, 3]."""
    rays = pixel_rays(camera, device)
    return rays @ camera.c2w[:3, :3].to(rays.device).T


def project(camera: Camera, xyz: Tensor) -> tuple[Tensor, Tensor]:
    """World points [..., 3] to pixels [..., 2] and zdepth [...]; the pixels mean nothing where zdepth <= 0."""
    c2w = camera.c2w.to(xyz.device)
    local = (xyz - c2w[:3, 3]) @ c2w[:3, :3]
    zdepth = local[..., 2]
    safe = torch.where(zdepth > 0, zdepth, torch.ones_like(zdepth))
    u = camera.fx * local[..., 0] / safe + camera.cx
    v = camera.fy * local[..., 1] / safe + camera.cy
    return torch.stack([u, v], dim=-1), zdepth


def unproject(camera: Camera, distance: Tensor) -> Tensor:
    """Distances along the rays [H, W], metres, to world points [H, W, 3]."""
    return camera.position.to(distance.device) + world_rays(camera, distance.device) * distance[..., None]


def zdepth_to_distance(camera: Camera, zdepth: Tensor) -> Tensor:
    """[H, W] along the optical axis to [H, W] along the ray, of any one unit."""
    return zdepth / pixel_rays(camera, zdepth.device)[..., 2]


def distance_to_zdepth(camera: Camera, distance: Tensor) -> Tensor:
    """[H, W] along the ray to [H, W] along the optical axis, of any one unit."""
    return distance * pixel_rays(camera, distance.device)[..., 2]
