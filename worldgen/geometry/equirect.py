"""Equirectangular images: longitude -pi..pi left to right, latitude -pi/2 (zenith, -y) to pi/2 top to bottom.

Paper, "Embedding", with the exact pinhole angles. Sampling wraps at the left and right edge and goes over the poles
(reflect and shift by half a turn), so that no seam can show. On the CPU numba's kernels do it; elsewhere torch, in
`sample_by_torch` and `spread_by_torch`, which also are the kernels written to be read: the tests hold one to the other.
"""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.geometry.cameras import world_rays
from worldgen.geometry.kernels.resample import TAPS, read_panorama, spread_view
from worldgen.types import Camera

_PAD = 2  # what bicubic sampling reaches beyond the edge
_NEAR = 1e-6  # of a ray's length: what lies behind the camera, or this close to its plane, is not seen


def lonlat(directions: Tensor) -> tuple[Tensor, Tensor]:
    """Directions [..., 3], any length > 0, to longitude and latitude [...] in radians."""
    x, y, z = (plane.contiguous() for plane in directions.unbind(-1))  # contiguous: ten times as fast
    return torch.atan2(x, z), torch.atan2(y, torch.hypot(x, z))


def _grid(height: int, width: int) -> list[np.ndarray]:
    """cos and sin of the latitude of an equirectangular grid's rows [H] and of the longitude of its columns [W]."""
    lon = ((np.arange(width) + 0.5) / width - 0.5) * 2 * math.pi
    lat = ((np.arange(height) + 0.5) / height - 0.5) * math.pi
    return [values.astype(np.float32) for values in (np.cos(lat), np.sin(lat), np.cos(lon), np.sin(lon))]


@lru_cache(maxsize=4)
def directions(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Unit world directions of an equirectangular grid's pixel centres, [H, W, 3]. Shared: do not write to it."""
    cos_lat, sin_lat, cos_lon, sin_lon = (torch.from_numpy(wave).to(device) for wave in _grid(height, width))
    across = cos_lat[:, None]
    grid = [across * sin_lon, sin_lat[:, None].expand(height, width), across * cos_lon]
    return torch.stack(grid, dim=-1)


def pad(panorama: Tensor, margin: int) -> Tensor:
    """[C, H, W] to [C, H + 2 margin, W + 2 margin], continued round the back and over the poles."""
    over = panorama.roll(panorama.shape[-1] // 2, dims=-1)
    top, bottom = over[:, :margin].flip(1), over[:, -margin:].flip(1)
    tall = torch.cat([top, panorama, bottom], dim=1)
    return torch.cat([tall[..., -margin:], tall, tall[..., :margin]], dim=-1)


def sample(panorama: Tensor, rays: Tensor, mode: str = "bilinear") -> Tensor:
    """Reads a panorama [C, H, W] along world rays [h, w, 3]; returns [C, h, w]. mode: nearest, bilinear, bicubic.

    On the CPU the result carries no gradient.
    """
    if panorama.device.type != "cpu":
        return sample_by_torch(panorama, rays, mode)
    lon, lat = lonlat(rays)
    height, width = panorama.shape[-2:]
    x = (lon * (width / (2 * math.pi)) + width / 2).reshape(-1).numpy()
    y = (lat * (height / math.pi) + height / 2).reshape(-1).numpy()
    read = np.empty((panorama.shape[0], x.size), np.float32)
    read_panorama(_pixels(panorama), x, y, TAPS[mode], read)
    return torch.from_numpy(read).reshape(-1, *rays.shape[:2])


def sample_by_torch(panorama: Tensor, rays: Tensor, mode: str = "bilinear") -> Tensor:
    """`sample` on any device, differentiable: a panorama [C, H, W] along world rays [h, w, 3]; returns [C, h, w]."""
    height, width = panorama.shape[-2:]
    lon, lat = lonlat(rays.to(panorama.device))
    # grid_sample without aligned corners: -1 and 1 are the outer edges of the padded image.
    x = lon / math.pi * width / (width + 2 * _PAD)
    y = lat / (math.pi / 2) * height / (height + 2 * _PAD)
    padded = pad(panorama, _PAD)[None]
    return F.grid_sample(padded, torch.stack([x, y], -1)[None], mode, "border", align_corners=False)[0]


def to_perspective(panorama: Tensor, camera: Camera, mode: str = "bilinear") -> Tensor:
    """Renders what `camera` sees of a panorama [C, H, W] (its position does not count); returns [C, h, w]."""
    return sample(panorama, world_rays(camera, panorama.device), mode)


def mask_to_perspective(mask: Tensor, camera: Camera) -> Tensor:
    """The same for a bool mask [H, W]: True only where every contributing pixel is True; returns bool [h, w]."""
    return to_perspective(mask[None].float(), camera)[0] > 0.999


def from_perspective(
    image: Tensor, camera: Camera, height: int, width: int, mode: str = "bilinear"
) -> tuple[Tensor, Tensor]:
    """Spreads a perspective image [C, h, w] over an equirectangular grid of height x width pixels.

    Returns ([C, H, W], bool [H, W]): the picture (0 outside) and where the camera sees. An image finer than the grid
    is reduced first, so that nothing aliases.
    """
    image, camera = _no_finer_than_grid(image, camera, width)
    if image.device.type != "cpu":
        return spread_by_torch(image, camera, height, width, mode)
    spread = np.zeros((image.shape[0], height * width), np.float32)
    inside = np.zeros((height, width), np.bool_)
    intrinsics = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32)
    rotation = camera.c2w[:3, :3].float().cpu().numpy()
    spread_view(_pixels(image), rotation, intrinsics, *_grid(height, width), TAPS[mode], spread, inside)
    return torch.from_numpy(spread).reshape(-1, height, width), torch.from_numpy(inside)


def spread_by_torch(
    image: Tensor, camera: Camera, height: int, width: int, mode: str = "bilinear"
) -> tuple[Tensor, Tensor]:
    """`from_perspective` on any device, differentiable, of an image [C, h, w] that is no finer than the grid."""
    local = directions(height, width, image.device) @ camera.c2w[:3, :3].to(image.device)
    z = local[..., 2].clamp(min=_NEAR)
    u = (camera.fx * local[..., 0] / z + camera.cx) / camera.width
    v = (camera.fy * local[..., 1] / z + camera.cy) / camera.height
    inside = (local[..., 2] > _NEAR) & (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    grid = torch.stack([u, v], -1)[None].clamp(-0.5, 1.5) * 2 - 1
    spread = F.grid_sample(image[None], grid, mode, "border", align_corners=False)[0]
    return spread * inside, inside


def _no_finer_than_grid(image: Tensor, camera: Camera, grid_width: int) -> tuple[Tensor, Camera]:
    shrink = camera.fx / (grid_width / (2 * math.pi))
    if shrink <= 1:
        return image, camera
    height, width = max(1, round(camera.height / shrink)), max(1, round(camera.width / shrink))
    small = F.interpolate(image[None], (height, width), mode="bicubic", antialias=True, align_corners=False)[0]
    # Bicubic reduction overshoots at edges.
    return small.clamp(image.min(), image.max()), camera.resized(width, height)


def _pixels(image: Tensor) -> np.ndarray:
    """float32, contiguous, of a tensor on the CPU."""
    return image.detach().float().contiguous().numpy()
