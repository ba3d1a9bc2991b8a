"""Pictures of a scene whose surface is known exactly: every pixel the mean of several rays, with or without a warp."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.geometry.equirect import directions
from worldgen.types import Camera


class Truth(Protocol):
    """A closed surface round the origin, coloured, the same from every side."""

    def trace(self, origin: Tensor, rays: Tensor, pixel_rad: float) -> tuple[Tensor, Tensor]:
        """From origin [3] along unit rays [h, w, 3]: colours [h, w, 3] in [0, 1] and distances [h, w], metres.

        pixel_rad: the angle between neighbouring rays; what is finer on the surface is averaged.
        """
        ...

    def distance(self, origin: Tensor, rays: Tensor) -> Tensor:
        """The distances alone."""
        ...

    def clearance(self, xyz: Tensor) -> Tensor:
        """How far points [..., 3] lie from the surface at least, metres [...]; negative outside."""
        ...


def render(truth: Truth, camera: Camera, samples: int, offsets: Tensor | None = None) -> Tensor:
    """What `camera` sees of `truth`, [3, H, W]: each pixel the mean of `samples` x `samples` rays.

    offsets: [2, samples H, samples W], where every ray is displaced to: x and y in normalised units, -1 .. 1 spans the
    picture. A warp so reads the scene itself, also beyond the picture's border, and blurs nothing.
    """
    fine = camera.resized(samples * camera.width, samples * camera.height)
    x = torch.arange(fine.width).expand(fine.height, -1) + 0.5
    y = (torch.arange(fine.height) + 0.5)[:, None].expand(-1, fine.width)
    if offsets is not None:
        x, y = x + offsets[0] * (fine.width / 2), y + offsets[1] * (fine.height / 2)
    local = torch.stack([(x - fine.cx) / fine.fx, (y - fine.cy) / fine.fy, torch.ones_like(x)], dim=-1)
    rays = F.normalize(local @ camera.c2w[:3, :3].T, dim=-1)
    colours, _ = truth.trace(camera.position, rays, 1 / fine.fx)
    return F.avg_pool2d(colours.movedim(-1, 0), samples).clamp(0, 1)


def render_panorama(truth: Truth, height: int, samples: int) -> Tensor:
    """The same from the origin over an equirectangular grid, [3, height, 2 height]."""
    rays = directions(samples * height, 2 * samples * height)
    colours, _ = truth.trace(torch.zeros(3), rays, torch.pi / (samples * height))
    return F.avg_pool2d(colours.movedim(-1, 0), samples).clamp(0, 1)
