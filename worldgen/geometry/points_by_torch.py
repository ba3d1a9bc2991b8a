"""Points rendered with visibility, in torch: the path on a GPU, and the kernels written to be read.

`geometry/points.py` says what it does; the tests hold the kernels to it. Everything lies on the device of the clouds,
and no sum depends on the order in which a GPU adds, so the same clouds give the same picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.geometry.kernels.gaps import GAP_REACH, GAP_SIDES
from worldgen.geometry.kernels.points import (
    CORE,
    CORE_MIN_PX,
    MAX_PX,
    SLOPE_LIMIT,
    SMOOTH,
    SMOOTH_MIN_PX,
)
from worldgen.types import Camera, PointCloud

_PAIRS = 2**22  # of a disc and a pixel that are in memory at once
_FIXED = 2.0**32  # sums are of whole numbers of this part: unlike those of floats they are exact in any order
_DIRECTIONS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)
_AXES = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True, eq=False)
class Discs:
    """Points as seen: all [M], rgb [M, 3]. u, v: pixels of the centre; inverse: 1 / zdepth there; slope_u, slope_v: its
    change per pixel; size: the spacing in pixels."""

    u: Tensor
    v: Tensor
    inverse: Tensor
    slope_u: Tensor
    slope_v: Tensor
    size: Tensor
    rgb: Tensor

    def take(self, rows: Tensor) -> "Discs":
        """Those of rows, bool [M] or int64."""
        return Discs(*(tensor[rows] for tensor in vars(self).values()))

    @property
    def core_px(self) -> Tensor:
        """[M], the radius within which a disc hides what lies behind."""
        return (CORE * self.size).clamp(min=CORE_MIN_PX)

    @property
    def smooth_px(self) -> Tensor:
        """[M], the radius within which a disc is blended, the larger one."""
        return (SMOOTH * self.size).clamp(min=SMOOTH_MIN_PX)


def project_points(cloud: PointCloud, camera: Camera, near: float) -> Discs:
    """Those of N points, in their order, that lie before the near plane (metres) and touch the picture."""
    w2c = camera.w2c.to(cloud.xyz)
    cloud = cloud[cloud.xyz @ w2c[2, :3] + w2c[2, 3] > near]
    local, normals = cloud.xyz @ w2c[:3, :3].T + w2c[:3, 3], cloud.normals @ w2c[:3, :3].T
    inverse = 1 / local[:, 2]
    u, v = camera.fx * local[:, 0] * inverse + camera.cx, camera.fy * local[:, 1] * inverse + camera.cy
    size = (cloud.spacing * camera.fx * inverse).clamp(max=MAX_PX)
    # On the plane n.X = n.P, inverse zdepth is affine in the pixel: (nx a + ny b + nz) / n.P.
    offset = (normals * local).sum(-1)
    offset = torch.where(offset < 0, offset.clamp(max=-1e-6), offset.clamp(min=1e-6))
    slope_u, slope_v = normals[:, 0] / (camera.fx * offset), normals[:, 1] / (camera.fy * offset)
    limit = SLOPE_LIMIT * inverse / size.clamp(min=SMOOTH_MIN_PX)
    shrink = (limit / (slope_u.abs() + slope_v.abs()).clamp(min=1e-12)).clamp(max=1)
    discs = Discs(u, v, inverse, slope_u * shrink, slope_v * shrink, size, cloud.rgb)
    reach = discs.smooth_px
    across, down = (u > -reach) & (u < camera.width + reach), (v > -reach) & (v < camera.height + reach)
    return discs.take(across & down)


def draw(clouds: Sequence[PointCloud], camera: Camera, near: float, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """rgb [3, H, W], inverse zdepth [H, W] and disc sizes in pixels [H, W] of one cloud or more; 0 where none is."""
    discs = [project_points(cloud, camera, near) for cloud in clouds]
    nearest = clouds[0].xyz.new_zeros(camera.height * camera.width)
    for part in discs:
        for disc, pixel, squared_px, inverse in _pairs(part, camera):
            core = squared_px <= disc.core_px.square()
            nearest.scatter_reduce_(0, pixel[core], inverse[core], "amax")
    sums = torch.zeros(len(nearest), 6, dtype=torch.int64, device=nearest.device)
    for part in discs:
        for disc, pixel, squared_px, inverse in _pairs(part, camera):
            inside = 1 - squared_px / disc.smooth_px.square()
            blended = (inside > 0) & (inverse >= nearest[pixel] * (1 - tolerance))
            columns = torch.cat([disc.rgb, torch.stack([inverse, disc.size, torch.ones_like(inverse)], -1)], -1)
            values = (inside.square()[:, None] * columns)[blended]
            sums.index_add_(0, pixel[blended], (values.double() * _FIXED).round().long())
    seen = (nearest > 0) & (sums[:, 5] > 0)
    means = (sums[:, :5] / sums[:, 5:].clamp(min=1) * seen[:, None]).float()
    rgb, inverse, size = means.T.reshape(5, camera.height, camera.width).split([3, 1, 1])
    return rgb, inverse[0], size[0]


def _pairs(discs: Discs, camera: Camera) -> Iterator[tuple[Discs, Tensor, Tensor, Tensor]]:
    """Every disc with every pixel of its box, a few millions at a time, all [P].

    Yields the pairs' discs; numbers of their pixels, row by row; the pixels' squared distances to the centres; and the
    discs' inverse zdepths there.
    """
    reach = discs.smooth_px
    left, right = _span(discs.u, reach, camera.width)
    top, bottom = _span(discs.v, reach, camera.height)
    area = (right - left) * (bottom - top)
    part = (area.cumsum(0) - 1).clamp(min=0) // _PAIRS
    for rows in torch.arange(len(area), device=area.device).split(torch.bincount(part).tolist()):
        which = rows.repeat_interleave(area[rows])
        place = torch.arange(len(which), device=area.device)
        place = place - (area[rows].cumsum(0) - area[rows]).repeat_interleave(area[rows])
        columns = (right - left)[which]
        row, column = top[which] + place // columns, left[which] + place % columns
        disc = discs.take(which)
        du, dv = column + 0.5 - disc.u, row + 0.5 - disc.v
        inverse = disc.inverse + disc.slope_u * du + disc.slope_v * dv
        yield disc, row * camera.width + column, du * du + dv * dv, inverse


def _span(centre: Tensor, reach: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The half-open range of pixels, of `size`, whose centres lie within reach; empty, not negative, if none does."""
    low = torch.ceil(centre - reach - 0.5).long().clamp(min=0)
    high = (torch.floor(centre + reach - 0.5).long() + 1).clamp(max=size)
    return low, torch.maximum(low, high)


def unhidden(inverse: Tensor, size: Tensor, gap: float) -> Tensor:
    """Inverse zdepth [H, W] with 0 where most directions meet something nearer within a few of its discs' sizes.

    size: [H, W] pixels, 1 or more; gap: how much nearer, as a part of the depth.
    """
    threshold = inverse * (1 + gap)
    nearer = torch.zeros_like(inverse, dtype=torch.uint8)
    for dy, dx in _DIRECTIONS:
        met = torch.zeros_like(inverse, dtype=torch.bool)
        for step in range(1, _farthest(size) + 1):
            there, its_size = _looking(inverse, dy * step, dx * step), _looking(size, dy * step, dx * step)
            met |= (there > threshold) & (step <= GAP_REACH * its_size)
        nearer += met
    return inverse.masked_fill(nearer >= GAP_SIDES, 0)


def closed(rgb: Tensor, inverse: Tensor, size: Tensor, gap: float) -> tuple[Tensor, Tensor]:
    """rgb [3, H, W] and inverse zdepth [H, W] with gaps filled: pixels between two close pixels of one surface.

    Of several surfaces the nearest; of one surface's several pairs of sides the mean, the closer ones counting more.
    gap: relative difference of depth up to which two sides are of one surface.
    """
    unknown = inverse == 0
    sums = inverse.new_zeros(5, *inverse.shape)  # weighted rgb and inverse zdepth, weights
    nearest = torch.zeros_like(inverse)
    sources = torch.cat([rgb * ~unknown, inverse[None]])
    for dy, dx in _AXES:
        ahead, behind = _steps_to_known(inverse, size, dy, dx), _steps_to_known(inverse, size, -dy, -dx)
        there, back = _at_steps(sources, ahead, dy, dx), _at_steps(sources, -behind, dy, dx)
        one_surface = (there[3] - back[3]).abs() <= gap * torch.maximum(there[3], back[3])
        share = behind / (ahead + behind).clamp(min=1)
        between = share * there + (1 - share) * back
        counts = unknown & (ahead > 0) & (behind > 0) & one_surface & (between[3] >= nearest * (1 - gap))
        restart = counts & (between[3] > nearest * (1 + gap))
        nearest = torch.where(restart, between[3], nearest)
        weight = counts / (ahead + behind).clamp(min=1)
        sums = sums.masked_fill(restart, 0) + weight * torch.cat([between, torch.ones_like(between[:1])])
    filled = unknown & (sums[4] > 0)
    means = torch.where(filled, sums[:4] / sums[4].clamp(min=1e-9), sources)
    return means[:3], means[3]


def _steps_to_known(inverse: Tensor, size: Tensor, dy: int, dx: int) -> Tensor:
    """int64 [H, W], how many steps to the first known pixel; 0 if it is too far for its size, or there is none."""
    steps = torch.zeros_like(inverse, dtype=torch.int64)
    found = torch.zeros_like(inverse, dtype=torch.bool)
    for step in range(1, _farthest(size) + 1):
        known = (_looking(inverse, dy * step, dx * step) > 0) & ~found
        near_enough = step <= GAP_REACH * _looking(size, dy * step, dx * step)
        steps = torch.where(known & near_enough, step, steps)
        found |= known
    return steps


def _farthest(size: Tensor) -> int:
    """In pixels, how far any pixel looks across a gap."""
    return int(GAP_REACH * float(size.max()))


def _looking(image: Tensor, dy: int, dx: int) -> Tensor:
    """[H, W]: what lies dy rows below and dx columns right of each pixel, 0 beyond the border."""
    height, width = image.shape
    padded = F.pad(image, (abs(dx), abs(dx), abs(dy), abs(dy)))
    return padded[abs(dy) + dy : abs(dy) + dy + height, abs(dx) + dx : abs(dx) + dx + width]


def _at_steps(images: Tensor, steps: Tensor, dy: int, dx: int) -> Tensor:
    """images [C, H, W] at so many steps, int64 [H, W], from each pixel; all steps stay inside."""
    height, width = steps.shape
    rows = torch.arange(height, device=steps.device)[:, None] + dy * steps
    columns = torch.arange(width, device=steps.device) + dx * steps
    return images[:, rows, columns]
