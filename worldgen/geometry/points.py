"""Point clouds rendered with visibility: what a camera sees of them, and where it sees nothing (paper step 8).

Every point is a small disc of its surface. Pass one keeps, per pixel, the nearest disc; pass two blends the discs that
lie within a small relative depth of it, so that surfaces seen closer than they were sampled stay closed and smooth.
Then background pixels that show through gaps of a nearer surface are dropped (after Pintus et al., "Real-time
rendering of massive unstructured raw point clouds using screen-space operators", 2011), and gaps of a few pixels
within one surface are closed. numba does it on the CPU, torch elsewhere.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.geometry import points_by_torch
from worldgen.geometry.cameras import distance_to_zdepth, pixel_rays, unproject, zdepth_to_distance
from worldgen.geometry.kernels import gaps
from worldgen.geometry.kernels import points as kernels
from worldgen.types import Camera, PointCloud, View

_GAP_ROUNDS = 2  # a crossing of two gaps is surrounded only once they are closed


def render_points(
    cloud: PointCloud | Sequence[PointCloud],
    camera: Camera,
    near: float = 0.05,
    tolerance: float = 0.03,
    gap: float = 0.1,
) -> View:
    """What `camera` sees of `cloud`: rgb (0 where unknown), known, and distance (0 where unknown), where the cloud is.

    cloud: one, or several, which come to the same as joined, without the copy. near: metres, nearer points are not
    drawn; tolerance: relative depth within which surfaces blend; gap: relative depth by which a pixel must lie behind
    its surroundings to count as seen through a gap in them (then unknown), and within which the two sides of a gap
    count as one surface (then closed).
    """
    clouds = [cloud] if isinstance(cloud, PointCloud) else cloud
    on_cpu = all(one.xyz.device.type == "cpu" for one in clouds)
    render = _render_by_numba if on_cpu else _render_by_torch
    return _seen(camera, *render(clouds, camera, near, tolerance, gap))


def render_view(view: View, camera: Camera, near: float = 0.05, tolerance: float = 0.03, gap: float = 0.1) -> View:
    """What `camera` sees of the known pixels of `view` (rgb [3, H, W], distances [H, W]), as `render_points` shows
    their points (`view_points`); on the CPU without making a cloud of them, which is faster.

    Raises ValueError without distances.
    """
    if view.measured.device.type != "cpu":
        return render_points(view_points(view, view.known), camera, near, tolerance, gap)
    discs = np.empty((view.known.numel(), kernels.DISC), np.float32)
    starts = view.camera.height * np.arange(kernels.CHUNKS) // kernels.CHUNKS * view.camera.width
    ends, counts = np.empty_like(starts), np.zeros((kernels.CHUNKS, _bands(camera)), np.int64)
    motion = (camera.w2c.double() @ view.camera.c2w.double()).float()
    kernels.project_view(
        view.rgb.contiguous().numpy(), view.measured.contiguous().numpy(), view.known.contiguous().numpy(),
        _lens(view.camera), motion.numpy(), _lens(camera), camera.width, camera.height, np.float32(near),
        discs, starts, ends, counts,
    )  # fmt: skip
    return _seen(camera, *_drawn(discs, starts, ends, counts, camera, tolerance, gap))


def _seen(camera: Camera, rgb: Tensor, inverse: Tensor) -> View:
    """Of pictures [3, H, W] and inverse zdepths [H, W], 0 where nothing is seen."""
    if inverse.device.type == "cpu":
        return View(camera, rgb, *map(torch.from_numpy, kernels.distances(inverse.numpy(), _lens(camera))))
    known = inverse > 0
    zdepth = torch.where(known, 1 / inverse.clamp(min=1e-9), torch.zeros_like(inverse))
    return View(camera, rgb, known, zdepth_to_distance(camera, zdepth))


def _lens(camera: Camera) -> np.ndarray:
    return np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32)


def _render_by_numba(
    clouds: Sequence[PointCloud], camera: Camera, near: float, tolerance: float, gap: float
) -> tuple[Tensor, Tensor]:
    """rgb [3, H, W] and inverse zdepth [H, W], 0 where nothing is seen."""
    firsts = np.cumsum([0, *map(len, clouds)])
    discs = np.empty((firsts[-1], kernels.DISC), np.float32)
    chunks = np.arange(kernels.CHUNKS)
    starts = np.stack([first + len(one) * chunks // kernels.CHUNKS for first, one in zip(firsts, clouds, strict=False)])
    ends, counts = np.empty_like(starts), np.zeros((*starts.shape, _bands(camera)), np.int64)
    w2c, lens = camera.w2c.numpy(), _lens(camera)
    for number, one in enumerate(clouds):
        kernels.project_points(
            one.xyz.contiguous().numpy(), one.rgb.contiguous().numpy(), one.normals.contiguous().numpy(),
            one.spacing.contiguous().numpy(), w2c, lens, camera.width, camera.height, np.float32(near),
            discs, starts[number], ends[number], counts[number],
        )  # fmt: skip
    return _drawn(discs, starts.ravel(), ends.ravel(), counts.reshape(-1, _bands(camera)), camera, tolerance, gap)


def _bands(camera: Camera) -> int:
    return -(-camera.height // kernels.BAND_ROWS)


def _drawn(
    discs: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    counts: np.ndarray,
    camera: Camera,
    tolerance: float,
    gap: float,
) -> tuple[Tensor, Tensor]:
    """Rgb [3, H, W] and inverse zdepth [H, W] of discs; `kernels.draw_discs` says what starts, ends and counts are."""
    picture = camera.width, camera.height
    rgb, inverse, size = kernels.draw_discs(discs, starts, ends, counts, *picture, np.float32(tolerance))
    np.maximum(size, 1, out=size)
    for _ in range(_GAP_ROUNDS):
        inverse = gaps.closed(rgb, gaps.unhidden(inverse, size, np.float32(gap)), size, np.float32(gap))
    return torch.from_numpy(rgb), torch.from_numpy(inverse)


def _render_by_torch(
    clouds: Sequence[PointCloud], camera: Camera, near: float, tolerance: float, gap: float
) -> tuple[Tensor, Tensor]:
    """The same on any device."""
    rgb, inverse, size = points_by_torch.draw(clouds, camera, near, tolerance)
    size = size.clamp(min=1)
    for _ in range(_GAP_ROUNDS):
        rgb, inverse = points_by_torch.closed(rgb, points_by_torch.unhidden(inverse, size, gap), size, gap)
    return rgb, inverse


def view_points(view: View, where: Tensor) -> PointCloud:
    """The pixels `where` (bool [H, W]) of a view with distances, as points; normals follow the view's own surface.

    A pixel's neighbours count for its normal only if they lie in `where` too. Raises ValueError without distances.
    """
    if view.distance is None:
        raise ValueError("view_points: the view has no distances")
    camera = view.camera
    size = distance_to_zdepth(camera, view.distance) / camera.fx
    return PointCloud(
        unproject(camera, view.distance)[where],
        view.rgb.movedim(0, -1)[where],
        view_normals(camera, view.distance, where)[where],
        size[where],
    )


def view_normals(camera: Camera, distance: Tensor, where: Tensor) -> Tensor:
    """Unit world normals [H, W, 3] towards the camera, from distances [H, W]; they mean nothing outside `where`.

    On a plane n.X = c the inverse zdepth is affine in the pixel, so its gradient gives n exactly. Of the two one-sided
    differences the smaller counts, so that an edge does not bend the surfaces on its sides.
    """
    inverse = 1 / distance_to_zdepth(camera, distance).clamp(min=1e-6)
    slope_a = camera.fx * _gentler_difference(inverse, where, 1)
    slope_b = camera.fy * _gentler_difference(inverse, where, 0)
    rays = pixel_rays(camera)
    a, b = rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2]
    away = torch.stack([slope_a, slope_b, inverse - a * slope_a - b * slope_b], dim=-1)
    return -F.normalize(away, dim=-1) @ camera.c2w[:3, :3].T


def _gentler_difference(values: Tensor, where: Tensor, dim: int) -> Tensor:
    """Of the forward and backward difference along `dim` the smaller one; 0 where neither neighbour is in `where`."""
    count = where.shape[dim] - 1
    both = where.narrow(dim, 0, count) & where.narrow(dim, 1, count)
    step = values.diff(dim=dim).masked_fill(~both, torch.inf)
    edge = torch.full_like(values.narrow(dim, 0, 1), torch.inf)
    forward, backward = torch.cat([step, edge], dim), torch.cat([edge, step], dim)
    gentler = torch.where(forward.abs() < backward.abs(), forward, backward)
    return gentler.where(gentler.isfinite(), torch.zeros_like(values))
