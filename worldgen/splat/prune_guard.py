"""Keeps pruning from opening holes: what is seen from inside the cube stays as opaque as it was."""

from dataclasses import replace

import torch
from torch import Tensor

from worldgen.geometry.cameras import look_at
from worldgen.splat.density import select
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians

_DIRECTIONS_DEG = ((0, 0), (90, 0), (180, 0), (270, 0), (0, 90), (0, -90))  # yaw, pitch of a cube map's faces


def cameras_around(places: Tensor, size_px: int = 256) -> list[Camera]:
    """Six square cameras of 90 degrees at each place [P, 3] (metres, world), which see all round it.

    Coarse pictures hide small holes: the rasteriser's blur of 0.3 px^2 makes small splats overlap.
    """
    return [
        Camera.from_fov(size_px, size_px, 90.0, look_at(yaw_deg, pitch_deg, place.cpu()))
        for place in places
        for yaw_deg, pitch_deg in _DIRECTIONS_DEG
    ]


@torch.no_grad()
def removable(gaussians: Gaussians, candidates: Tensor, cameras: list[Camera], tolerance: float = 0.01) -> Tensor:
    """bool [N], which of the candidates, bool [N], can all be removed without opening a hole.

    Without them no pixel of any camera has an alpha that is smaller by more than `tolerance` (above 0, at most 0.5)
    than with all the Gaussians. The default is 2.5 of 255 levels of whatever shines through.

    Where alpha falls further, every candidate that the pixel shows is kept, so its alpha is what it was. A candidate
    that is kept may hide another from elsewhere or end a pixel early, so the cameras are gone through until a round
    keeps no more; that ends, for the set only shrinks.
    """
    gaussians = replace(gaussians, sh=torch.zeros_like(gaussians.sh[:, :1]))  # grey: only what covers counts
    removed, settled = candidates.clone(), False
    while not settled:
        count = int(removed.sum())
        for camera in cameras:
            removed &= ~_needed(gaussians, removed, camera, tolerance)
        settled = int(removed.sum()) == count
    return removed


def _needed(gaussians: Gaussians, removed: Tensor, camera: Camera, tolerance: float) -> Tensor:
    """bool [N]: what the camera shows at pixels that lose more than the tolerance."""
    nothing = torch.zeros_like(removed)
    # 1 - alpha is a product over the splats, so a pixel loses no more than the removed ones show on their own. They
    # are few: this spares most cameras the two renders of everything.
    if not bool(removed.any()) or float(_alpha(select(gaussians, removed), camera).max()) <= tolerance:
        return nothing
    lost = _alpha(gaussians, camera) - _alpha(select(gaussians, ~removed), camera)
    hole = lost > tolerance
    return _shown(gaussians, camera, hole) if bool(hole.any()) else nothing


def _alpha(gaussians: Gaussians, camera: Camera) -> Tensor:
    return rasterize(gaussians, camera).alpha


def _shown(gaussians: Gaussians, camera: Camera, pixels: Tensor) -> Tensor:
    """bool [N]: whether a splat has any weight in the pixels, bool [H, W].

    Its weight there is the gradient of the summed colour with respect to its own. That of the summed alpha will not
    do: it is 0 for a splat whose alpha the rasteriser caps at 0.999.
    """
    with torch.enable_grad():
        sh = gaussians.sh.clone().requires_grad_()
        rgb = rasterize(replace(gaussians, sh=sh), camera).rgb
        (weight,) = torch.autograd.grad((rgb[0] * pixels).sum(), sh)
    return weight[:, 0, 0] > 0
