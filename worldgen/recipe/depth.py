"""Step 5, metric depth: a network on perspective views of the panorama, made to agree, merged and scaled to metres.

Paper, "Metric depth". Two networks: one gives the shape, one the scale; the embedded profile's one network is both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from worldgen.errors import UserError
from worldgen.geometry import alignment
from worldgen.geometry.cameras import look_at, zdepth_to_distance
from worldgen.geometry.equirect import directions, from_perspective, sample, to_perspective
from worldgen.models.protocols import DepthEstimator, PanoramaDepth
from worldgen.progress import Track, untracked
from worldgen.types import Camera, DistanceMap, Panorama, Prompts

_ALIGN_HEIGHT = 64  # rows of the grid on which the views' overlaps are compared: plenty for a few terms per view


@dataclass(frozen=True)
class MergeSettings:
    """Which views are estimated and how they are merged."""

    rings: Sequence[Sequence[float]] = field(default=((0, 8), (-55, 4), (55, 4)))  # (pitch in degrees, views)
    fov_deg: float = 90.0
    view_size: int = 256  # pixels
    merge_height: int = 256  # rows of the merged panorama, enlarged to the panorama's own size afterwards
    bend: float = 0.05  # price of tilting a view's depth so that it meets its neighbours'; high = only its scale
    min_ground_m: float = 1.5  # the ground lies at least this far below the camera on average (paper)

    def __post_init__(self) -> None:
        if not 30 <= self.fov_deg <= 130:
            raise UserError(f"depth.settings.fov_deg: {self.fov_deg:g}, wanted 30 to 130")
        if self.merge_height < _ALIGN_HEIGHT:
            raise UserError(f"depth.settings.merge_height: {self.merge_height}, wanted at least {_ALIGN_HEIGHT}")
        if not self.min_ground_m > 0:
            raise UserError(f"depth.settings.min_ground_m: {self.min_ground_m:g}, wanted more than 0")
        if not _covers_sphere(self.cameras()):
            raise UserError(
                f"depth.settings.rings: {[list(ring) for ring in self.rings]} at {self.fov_deg:g} degrees leave"
                " directions unseen, wanted views that cover the sphere"
            )

    def cameras(self) -> list[Camera]:
        """The views, evenly spaced in every ring."""
        return [
            Camera.from_fov(self.view_size, self.view_size, self.fov_deg, look_at(360 * k / count, pitch))
            for pitch, count in self.rings
            for k in range(int(count))
        ]


class ViewMergedDepth:
    """Fulfils PanoramaDepth with networks for perspective views. `metric` None: `shape` is metric itself."""

    def __init__(
        self, shape: DepthEstimator, metric: DepthEstimator | None = None, settings: MergeSettings | None = None
    ) -> None:
        self.shape, self.metric = shape, metric
        self.settings = settings or MergeSettings()

    def __call__(self, panorama: Panorama, prompts: Prompts, track: Track = untracked) -> DistanceMap:
        """No sky is told from the rest: the network's answer holds everywhere."""
        del prompts
        cameras = self.settings.cameras()
        shapes, metrics = [], []
        for camera in track(cameras, len(cameras), "depth of views"):
            rgb = to_perspective(panorama.rgb, camera)
            shapes.append(self.shape(rgb, camera))
            if self.metric is not None:
                metrics.append(self.metric(rgb, camera))
        scale = alignment.quantile_scale(torch.stack(shapes), torch.stack(metrics)) if metrics else 1.0
        distances = [scale * zdepth_to_distance(camera, z) for camera, z in zip(cameras, shapes, strict=True)]
        merged = merge_views(cameras, distances, self.settings.merge_height, self.settings.bend)
        merged = raise_to_ground(merged, self.settings.min_ground_m)
        full = _enlarge(merged, panorama.rgb.shape[1])
        return DistanceMap(full, torch.zeros_like(full, dtype=torch.bool))


class AutoDepth:
    """Fulfils PanoramaDepth: one estimator for rooms and one for the open air, chosen by `prompts.indoor`."""

    def __init__(self, indoor: PanoramaDepth, outdoor: PanoramaDepth) -> None:
        self.indoor, self.outdoor = indoor, outdoor

    def __call__(self, panorama: Panorama, prompts: Prompts, track: Track = untracked) -> DistanceMap:
        return (self.indoor if prompts.indoor else self.outdoor)(panorama, prompts, track)


def merge_views(cameras: Sequence[Camera], distances: Sequence[Tensor], height: int, bend: float) -> Tensor:
    """Views' distances along the ray [h, w] to one panorama's [height, 2 height], without seams, scale kept.

    The cameras stand at the origin. Each view may be scaled, and tilted at the price `bend`; see `alignment.align`.
    """
    log, weight, basis = _spread(cameras, distances, _ALIGN_HEIGHT)
    rows = (torch.arange(_ALIGN_HEIGHT) + 0.5) / _ALIGN_HEIGHT - 0.5
    area = torch.cos(rows * math.pi)[:, None]
    correction = alignment.align(log.flatten(1), (weight * area).flatten(1), basis.flatten(1, 2), bend)
    log, weight, basis = _spread(cameras, distances, height)
    return alignment.blend(log + torch.einsum("vhwk,vk->vhw", basis, correction), weight)


def _spread(cameras: Sequence[Camera], distances: Sequence[Tensor], height: int) -> tuple[Tensor, Tensor, Tensor]:
    """On the panorama's grid, for every view: log distance, weight, and the terms (1, u, v) of its correction."""
    logs, weights, bases = [], [], []
    for camera, distance in zip(cameras, distances, strict=True):
        log, inside = from_perspective(distance.log()[None], camera, height, 2 * height)
        u, v = _image_coordinates(camera, height)
        logs.append(log[0])
        weights.append(alignment.feather(u, v) * inside)
        bases.append(torch.stack([torch.ones_like(u), u * inside, v * inside], dim=-1))
    return torch.stack(logs), torch.stack(weights), torch.stack(bases)


def _image_coordinates(camera: Camera, height: int) -> tuple[Tensor, Tensor]:
    """Where an equirectangular grid's directions fall in a view: -1 to 1 inside it, 1 or beyond where unseen."""
    local = directions(height, 2 * height) @ camera.c2w[:3, :3]
    z = local[..., 2]
    seen = z > 1e-6
    safe = torch.where(seen, z, torch.ones_like(z))
    beyond = torch.full_like(z, 2.0)
    u = torch.where(seen, (camera.fx * local[..., 0] / safe + camera.cx) / camera.width * 2 - 1, beyond)
    v = torch.where(seen, (camera.fy * local[..., 1] / safe + camera.cy) / camera.height * 2 - 1, beyond)
    return u, v


def _covers_sphere(cameras: Sequence[Camera]) -> bool:
    seen = [alignment.feather(*_image_coordinates(camera, _ALIGN_HEIGHT)) for camera in cameras]
    return bool(seen) and bool((torch.stack(seen).sum(0) > 1e-4).all())


def ground_height(distance: Tensor) -> float:
    """Mean metres that what lies 45 degrees and more below the horizon lies under the camera. distance: [H, W]."""
    down = directions(*distance.shape)[..., 1]
    area = torch.cos(torch.asin(down)) * (down > math.sqrt(0.5))
    return float((distance * down * area).sum() / area.sum())


def raise_to_ground(distance: Tensor, min_ground_m: float) -> Tensor:
    """Distances [H, W] scaled up, where needed, until the ground is `min_ground_m` below. Paper, "Metric depth"."""
    return distance * max(1.0, min_ground_m / ground_height(distance))


def _enlarge(distance: Tensor, height: int) -> Tensor:
    if len(distance) == height:
        return distance
    return sample(distance.log()[None], directions(height, 2 * height))[0].exp()
