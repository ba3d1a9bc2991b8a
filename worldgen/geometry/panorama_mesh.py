"""The panorama's distances as a coarse surface: what one would bump into, for physics and for game engines."""

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.geometry.equirect import directions
from worldgen.types import DistanceMap

_JUMP = 1.6  # times as far: two neighbours so different lie on different things, with nothing between them


def panorama_mesh(distances: DistanceMap, height: int = 64) -> tuple[Tensor, Tensor]:
    """Vertices [V, 3], metres, world frame, and triangles [T, 3] int64, whose front faces the origin.

    height: rows of the coarse grid, twice as many columns, and a vertex at each pole. What is mostly sky is left open,
    and so is what lies between near and far things.
    """
    near, sky = _coarse(distances, height)
    grid = directions(height, 2 * height, near.device) * near[..., None]
    poles = torch.tensor([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]], device=near.device)
    poles = poles * torch.stack([near[0].median(), near[-1].median()])[:, None]
    vertices = torch.cat([grid.reshape(-1, 3), poles])
    missing = torch.cat([sky.flatten(), sky[[0, -1]].float().mean(dim=1) > 0.5])
    triangles = _triangles(height, near.device)
    reach = vertices.norm(dim=1)[triangles]
    kept = (reach.amax(dim=1) < _JUMP * reach.amin(dim=1)) & ~missing[triangles].any(dim=1)
    used, places = triangles[kept].unique(return_inverse=True)
    return vertices[used], places


def _coarse(distances: DistanceMap, height: int) -> tuple[Tensor, Tensor]:
    """Distances [height, 2 height], the mean of what is no sky, and where most is sky."""
    ground = (~distances.sky).float()[None, None]
    size = (height, 2 * height)
    share = F.adaptive_avg_pool2d(ground, size)[0, 0]
    near = F.adaptive_avg_pool2d(distances.distance[None, None] * ground, size)[0, 0] / share.clamp(min=1e-6)
    return torch.where(share > 0, near, 1.0), share < 0.5


def _triangles(height: int, device: torch.device) -> Tensor:
    """[T, 3] of a grid that closes round the back, and of the caps above and below; counter-clockwise from inside."""
    width = 2 * height
    column = torch.arange(width, device=device)
    here, right = column, (column + 1) % width
    row = width * torch.arange(height - 1, device=device)[:, None]
    above, above_right = row + here, row + right
    below, below_right = above + width, above_right + width
    upper = torch.stack([above, below, above_right], dim=-1).reshape(-1, 3)
    lower = torch.stack([above_right, below, below_right], dim=-1).reshape(-1, 3)
    zenith, nadir = torch.full_like(column, height * width), torch.full_like(column, height * width + 1)
    last = width * (height - 1)
    caps = [torch.stack([zenith, here, right], dim=-1), torch.stack([last + here, nadir, last + right], dim=-1)]
    return torch.cat([upper, lower, *caps])
