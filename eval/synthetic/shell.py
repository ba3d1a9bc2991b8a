"""The natural truth: a real 360° panorama on a closed shell, seen from anywhere inside by marching rays.

The surface has one distance per direction from the origin, a smooth one: depth edges are slopes, and the sky is a
shell. So nothing is hidden from the origin, there are no holes, and every view is a picture of the real panorama.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.geometry.equirect import directions, pad, sample

_TOLERANCE = 2e-4  # how far, relatively, before the surface a ray ends
_STEPS = 200  # at most; most rays need a few
_BLOCKS = (16, 4)  # of rays that are marched together
_WORTH = 0.7  # of the rays: when no more are left than that, the others are put aside
_LEAST = 2e-3  # of a step for a block, in parts of the distance from the origin
_CLOSE = 0.03  # log distance before the surface from where on steps go beyond what is safe,
_BOLDER = 4.0  # by this factor: by less than the surface's rounding
_LONGEST = 0.5  # of a step, in parts of the distance from the origin: the bound on its turn holds up to here
_TURN = math.asin(_LONGEST) / _LONGEST


@dataclass(frozen=True, eq=False)
class PanoramaShell:
    """Fulfils `rendering.Truth`.

    picture: [3, H, W] equirectangular; log_distance: [h, 2h], natural log of metres; steepest: the most by which it
    changes per radian.
    """

    picture: Tensor
    log_distance: Tensor
    steepest: float

    def distance(self, origin: Tensor, rays: Tensor) -> Tensor:
        """rays [h, w, 3]; neighbours start where the ray in their middle, marched with room for them, had to stop."""
        height, width, _ = rays.shape
        if not origin.any():
            return sample(self.log_distance[None], rays)[0].exp()
        way = torch.zeros(height, width)
        for block in _BLOCKS:
            rows, columns = _middles(height, block), _middles(width, block)
            spread = float((rays[rows][:, columns] - rays).norm(dim=-1).max())
            rows, up = rows.unique(return_inverse=True)
            columns, across = columns.unique(return_inverse=True)
            start = way[rows][:, columns].reshape(-1)
            middle = rays[rows][:, columns].reshape(-1, 3)
            way = self._approach(origin, middle, start, spread).reshape(len(rows), len(columns))[up][:, across]
        return self._meet(origin, rays.reshape(-1, 3), way.reshape(-1)).reshape(height, width)

    def _approach(self, origin: Tensor, rays: Tensor, start: Tensor, spread: float) -> Tensor:
        """How far all rays that end within `spread` times their length of rays [N, 3] may go, from `start` [N] on."""
        way, going = start.clone(), torch.arange(len(rays))
        for _ in range(_STEPS):
            gap, reach = self._gap(origin + rays[going] * way[going, None])
            free = reach * self._safe(gap) - 1.1 * spread * way[going]
            far = free > _LEAST * reach
            going, free = going[far], free[far]
            if not len(going):
                break
            way[going] += free / (1 + 1.1 * spread)
        return way

    def _meet(self, origin: Tensor, rays: Tensor, start: Tensor) -> Tensor:
        """Where rays [N, 3] first meet the surface, from `start` [N] on: safe steps, then secants, a little bolder."""
        distance, going, way = start.clone(), torch.arange(len(rays)), start
        gap, reach = self._gap(torch.addcmul(origin, rays, way[:, None]))
        step = reach * self._safe(gap)
        for _ in range(_STEPS):
            way, before = way + step, gap
            gap, reach = self._gap(torch.addcmul(origin, rays, way[:, None]))
            safe = reach * self._safe(gap)
            secant = torch.maximum(step * gap / (before - gap), -step.abs())
            bold = (gap < _CLOSE) & (before > gap) & (step > 0) | (gap < 0)
            step = torch.where(bold, torch.minimum(secant, _BOLDER * safe.clamp(min=0)), safe)
            far = gap.abs() > _TOLERANCE
            step = step.where(far, torch.zeros_like(step))
            if far.sum() <= _WORTH * len(far):  # only then do those that are there cost more than their removal
                distance[going] = way
                going, rays, way, gap, step = going[far], rays[far], way[far], gap[far], step[far]
                if not len(going):
                    break
        distance[going] = way
        return distance

    def _safe(self, gap: Tensor) -> Tensor:
        """The step, in parts of the distance from the origin, that cannot reach the surface from `gap` away.

        Within a step of q times that distance the direction turns by at most _TURN q, and the log of the distance grows
        by at most ln(1 + q) < q.
        """
        return (gap / (1 + _TURN * self.steepest)).clamp(max=_LONGEST)

    def trace(self, origin: Tensor, rays: Tensor, pixel_rad: float) -> tuple[Tensor, Tensor]:
        """The panorama is about as fine as the views: `pixel_rad` changes nothing."""
        del pixel_rad
        distance = self.distance(origin, rays)
        colours = sample(self.picture, origin + rays * distance[..., None], "bicubic")
        return colours.movedim(0, -1).clamp(0, 1), distance

    def clearance(self, xyz: Tensor) -> Tensor:
        """A lower bound: the first step of a ray, or what is left up to the surface's nearest point."""
        gap, reach = self._gap(xyz.reshape(-1, 3))
        nearest = float(self.log_distance.min().exp())
        return torch.maximum(reach * self._safe(gap), nearest - reach).reshape(xyz.shape[:-1])

    def _gap(self, xyz: Tensor) -> tuple[Tensor, Tensor]:
        """Of points [N, 3]: log of the surface's distance less that of their own, and their own, from the origin."""
        reach = xyz.norm(dim=-1).clamp(min=1e-3)
        return sample(self.log_distance[None], xyz[None])[0, 0] - reach.log(), reach


def shell_of(picture: Tensor, distance: Tensor, steepest: float, round_deg: float) -> PanoramaShell:
    """picture [3, H, W] over distances [h, 2h] (metres) that are made smooth.

    steepest: the log distance may change by this much per radian at most: what stands in front keeps its outline,
    and the background rises to it. round_deg: edges are rounded over about this angle.
    """
    log = distance.log()
    log = _rounded(_sloped(log, steepest), math.radians(round_deg))
    return PanoramaShell(picture, log, _slope(log))


def _middles(count: int, block: int) -> Tensor:
    """[count]: the middle one of the block that each belongs to."""
    return (torch.arange(count) // block * block + block // 2).clamp(max=count - 1)


def _sloped(log: Tensor, steepest: float) -> Tensor:
    """The largest function below `log` [h, 2h] that is nowhere steeper: min over q of log(q) + steepest |p - q|."""
    height = len(log)
    row_rad = math.pi / height
    across = directions(height, 2 * height)[..., [0, 2]].norm(dim=-1) * row_rad
    steps = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]
    rises = [steepest * (row**2 * row_rad**2 + column**2 * across.square()).sqrt() for row, column in steps]
    for _ in range(2 * height):
        padded = pad(log[None], 1)[0]
        lower = log
        for (row, column), rise in zip(steps, rises, strict=True):
            shifted = padded[1 + row : 1 + row + height, 1 + column : 1 + column + 2 * height]
            lower = torch.minimum(lower, shifted + rise)
        if (log - lower).max() < 1e-4:
            break
        log = lower
    return lower


def _rounded(log: Tensor, radius_rad: float) -> Tensor:
    """[h, 2h], each the mean over a disc on the sphere, twice."""
    rays = directions(*log.shape)
    helper = F.normalize(torch.linalg.cross(rays, torch.tensor([0.31, 0.17, 0.93]).expand_as(rays)), dim=-1)
    other = torch.linalg.cross(rays, helper)
    for _ in range(2):
        total = log.clone()
        for ring, count in ((0.5, 6), (1.0, 12)):
            for k in range(count):
                turn = 2 * math.pi * (k + ring) / count
                aside = math.cos(turn) * helper + math.sin(turn) * other
                total += sample(log[None], rays + ring * radius_rad * aside)[0]
        log = total / 19
    return log


def _slope(log: Tensor) -> float:
    """The steepest slope of [h, 2h] per radian, between neighbours."""
    rays = pad(directions(*log.shape).movedim(-1, 0), 1)
    padded = pad(log[None], 1)
    down = (padded[:, 1:] - padded[:, :-1]).abs()[0] / (rays[:, 1:] - rays[:, :-1]).norm(dim=0)
    across = (padded[..., 1:] - padded[..., :-1]).abs()[0] / (rays[..., 1:] - rays[..., :-1]).norm(dim=0).clamp(
        min=1e-6
    )
    return float((down[:, 1:].square() + across[1:].square()).max().sqrt())
