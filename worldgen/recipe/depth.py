"""Step 5, metric depth: a network on perspective views of the panorama, made to agree, merged and scaled to metres.

Paper, "Metric depth". Two networks: one gives the shape, one the scale; the embedded profile's one network is both.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from worldgen.errors import expect
from worldgen.geometry import alignment
from worldgen.geometry.cameras import distance_to_zdepth, look_at, zdepth_to_distance
from worldgen.geometry.equirect import directions, from_perspective, sample, to_perspective
from worldgen.geometry.fill import push_pull
from worldgen.geometry.gradient_domain import Differences
from worldgen.models.protocols import Composite, DepthEstimator, Lifetime
from worldgen.progress import Track, untracked
from worldgen.types import Camera, DistanceMap, Panorama, Prompts, ViewDepth

_ALL_VALID = 0.999  # where invalid pixels had a part in a resampled one, it does not count
_ALIGN_HEIGHT = 64  # rows of the grid on which the views' overlaps are compared: plenty for a few terms per view


@dataclass(frozen=True)
class MergeSettings:
    """Which views are estimated and how they are merged."""

    rings: Sequence[Sequence[float]] = field(default=((0, 8), (-55, 4), (55, 4)))  # (pitch in degrees, views)
    fov_deg: float = 90.0
    view_size: int = 256  # pixels
    merge_height: int = 256  # rows of the merged panorama, enlarged to the panorama's own size afterwards
    bend: float = 0.05  # price of tilting a view's depth so that it meets its neighbours'; high = only its scale
    gradient_deg: float = 0.0  # finer detail than this is merged as slopes, without seams; 0 = all as mean values
    min_ground_m: float = 1.5  # the ground lies at least this far below the camera on average (paper)
    sky_m: float = 100.0  # radius of the shell of the sky, which no view has a valid depth of, or of what is farther

    def __post_init__(self) -> None:
        key = "depth.settings"
        tall = self.merge_height >= _ALIGN_HEIGHT
        expect(f"{key}.fov_deg", self.fov_deg, 30 <= self.fov_deg <= 130, "30 to 130")
        expect(f"{key}.merge_height", self.merge_height, tall, f"at least {_ALIGN_HEIGHT}")
        expect(f"{key}.gradient_deg", self.gradient_deg, 0 <= self.gradient_deg <= 180, "0 to 180")
        expect(f"{key}.min_ground_m", self.min_ground_m, self.min_ground_m > 0, "more than 0")
        expect(f"{key}.sky_m", self.sky_m, self.sky_m > 0, "more than 0")
        rings = f"{[list(ring) for ring in self.rings]} at {self.fov_deg:g} degrees leave directions unseen"
        expect(f"{key}.rings", rings, _covers_sphere(self.cameras()), "views that cover the sphere")

    def cameras(self) -> list[Camera]:
        """The views, evenly spaced in every ring."""
        return [
            Camera.from_fov(self.view_size, self.view_size, self.fov_deg, look_at(360 * k / count, pitch))
            for pitch, count in self.rings
            for k in range(int(count))
        ]


class ViewMergedDepth(Composite):
    """Fulfils PanoramaDepth with networks for perspective views. `metric` None: `shape` is metric itself."""

    def __init__(
        self, shape: DepthEstimator, metric: DepthEstimator | None = None, settings: MergeSettings | None = None
    ) -> None:
        self.shape, self.metric = shape, metric
        self.settings = settings or MergeSettings()

    def parts(self) -> Sequence[Lifetime]:
        """The networks."""
        return (self.shape,) if self.metric is None else (self.shape, self.metric)

    def __call__(self, panorama: Panorama, prompts: Prompts, track: Track = untracked) -> DistanceMap:
        """What no view has a valid depth of is the sky. Raises UserError where no view has any."""
        del prompts
        cameras = self.settings.cameras()
        shapes, metrics = [], []
        for camera in track(cameras, len(cameras), "depth of views"):
            rgb = to_perspective(panorama.rgb, camera)
            shapes.append(self.shape(rgb, camera))
            if self.metric is not None:
                metrics.append(self.metric(rgb, camera))
        expect("depth.shape", "no valid depth in any view", any(bool(view.valid.any()) for view in shapes), "some")
        valid = [view.valid for view in shapes]
        distances = [zdepth_to_distance(camera, view.zdepth) for camera, view in zip(cameras, shapes, strict=True)]
        distances = align_views(cameras, distances, self.settings.bend, valid)
        merged = merge_views(cameras, distances, self.settings.merge_height, valid, self.settings.gradient_deg)
        if metrics:
            merged = merged * common_scale(cameras, distances, valid, metrics)
        merged = raise_to_ground(merged, self.settings.min_ground_m)
        return at_panoramas_size(merged, panorama.rgb.shape[1], self.settings.sky_m)


def common_scale(
    cameras: Sequence[Camera], distances: Sequence[Tensor], valid: Sequence[Tensor], metrics: Sequence[ViewDepth]
) -> float:
    """Metres per unit of the shapes' zdepth, over all pixels that are valid in both. Paper, "Metric depth".

    distances: along the ray, [h, w] each, with `valid`, aligned: views that disagree among themselves have a wider
    spread than the place has.
    """
    both = [there & metric.valid for there, metric in zip(valid, metrics, strict=True)]
    expect("depth.metric", "no pixel is valid in both networks' answers", any(bool(v.any()) for v in both), "some")
    views = zip(cameras, distances, both, strict=True)
    shape = torch.cat([distance_to_zdepth(camera, distance)[there] for camera, distance, there in views])
    metric = torch.cat([view.zdepth[there] for view, there in zip(metrics, both, strict=True)])
    return alignment.quantile_scale(shape, metric)


def align_views(
    cameras: Sequence[Camera], distances: Sequence[Tensor], bend: float, valid: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """Views' distances along the ray [h, w], each scaled, and tilted at the price `bend`, until they agree.

    The cameras stand at the origin. valid: bool [h, w] of each view, None: everywhere. The mean of the logarithms of
    all scales is 0; see `alignment.align`.
    """
    valid = _everywhere(distances) if valid is None else valid
    log, weight, basis = _spread_all(cameras, distances, valid, _ALIGN_HEIGHT)
    if not bool(((weight > 0).sum(0) > 1).any()):
        return list(distances)  # nobody sees what another one sees
    rows = (torch.arange(_ALIGN_HEIGHT) + 0.5) / _ALIGN_HEIGHT - 0.5
    area = torch.cos(rows * math.pi)[:, None]
    terms = alignment.align(log.flatten(1), (weight * area).flatten(1), basis.flatten(1, 2), bend)
    return [_corrected(distance, *three) for distance, three in zip(distances, terms.tolist(), strict=True)]


def _corrected(distance: Tensor, scale: float, across: float, down: float) -> Tensor:
    """[h, w] times exp(scale + across u + down v), where u and v go from -1 to 1 across the view and down it."""
    v, u = ((2 * torch.arange(size) + 1) / size - 1 for size in distance.shape)
    return distance * (scale + across * u + down * v[:, None]).exp()


def _everywhere(distances: Sequence[Tensor]) -> list[Tensor]:
    return [torch.ones_like(distance, dtype=torch.bool) for distance in distances]


def merge_views(
    cameras: Sequence[Camera],
    distances: Sequence[Tensor],
    height: int,
    valid: Sequence[Tensor] | None = None,
    gradient_deg: float = 0.0,
) -> Tensor:
    """Views' distances along the ray [h, w] to one panorama's [height, 2 height], without seams, scale kept.

    The cameras stand at the origin, and the views agree, more or less: see `align_views`. valid: bool [h, w] of each
    view, None: everywhere; the answer is inf where no view is valid. gradient_deg: what is finer than this is merged in
    the gradient domain (`geometry/gradient_domain.py`); 0: all is a weighted mean.
    """
    valid = _everywhere(distances) if valid is None else valid
    differences = Differences(height, 2 * height) if gradient_deg > 0 else None

    def spread() -> Iterator[tuple[Tensor, Tensor]]:
        """One view at a time: at 4096 x 2048 each takes half a gigabyte on its way."""
        for view in zip(cameras, distances, valid, strict=True):
            log, weight, *_ = _spread(*view, height)
            if differences is not None:
                differences.add(log, weight)
            yield log, weight

    merged, weight = alignment.blend(spread())
    seen = weight > 0
    if differences is not None and bool(seen.any()):
        whole = push_pull(torch.where(seen, merged, 1.0).log()[None], seen.float())[0]
        merged = differences.settle(whole, gradient_deg / 180 * height).exp()
    return torch.where(seen, merged, torch.inf)


def _spread(camera: Camera, distance: Tensor, valid: Tensor, height: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """On the panorama's grid, all [H, W]: a view's log distance and weight, and its image coordinates where it sees."""
    log = torch.where(valid, distance, 1.0).log()
    spread, inside = from_perspective(torch.stack([log, valid.float()]), camera, height, 2 * height)
    u, v = _image_coordinates(camera, height)
    weight = alignment.feather(u, v).mul_(inside).mul_(spread[1] > _ALL_VALID)
    return spread[0], weight, u.mul_(inside), v.mul_(inside)


def _spread_all(
    cameras: Sequence[Camera], distances: Sequence[Tensor], valid: Sequence[Tensor], height: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of all views: log distances and weights [V, H, W], and the terms (1, u, v) of their corrections, [V, H, W, 3]."""
    views = [_spread(*view, height) for view in zip(cameras, distances, valid, strict=True)]
    bases = [torch.stack([torch.ones_like(u), u, v], dim=-1) for _, _, u, v in views]
    return torch.stack([log for log, *_ in views]), torch.stack([view[1] for view in views]), torch.stack(bases)


def _image_coordinates(camera: Camera, height: int) -> tuple[Tensor, Tensor]:
    """Where an equirectangular grid's directions fall in a view: -1 to 1 inside it, 1 or beyond where unseen."""
    local = directions(height, 2 * height) @ camera.c2w[:3, :3]
    z = local[..., 2]
    unseen = z <= 1e-6
    safe = torch.where(unseen, 1.0, z)
    u = (camera.fx * local[..., 0]).div_(safe).add_(camera.cx).div_(camera.width / 2).sub_(1)
    v = (camera.fy * local[..., 1]).div_(safe).add_(camera.cy).div_(camera.height / 2).sub_(1)
    return u.masked_fill_(unseen, 2.0), v.masked_fill_(unseen, 2.0)


def _covers_sphere(cameras: Sequence[Camera]) -> bool:
    seen = [alignment.feather(*_image_coordinates(camera, _ALIGN_HEIGHT)) for camera in cameras]
    return bool(seen) and bool((torch.stack(seen).sum(0) > 1e-4).all())


def ground_height(distance: Tensor) -> float:
    """Mean metres that what lies 45 degrees and more below the horizon lies under the camera; nan if nothing is known.

    distance: [H, W], inf where unknown.
    """
    down = directions(*distance.shape)[..., 1]
    known = distance.isfinite()
    area = torch.cos(torch.asin(down)) * (down > math.sqrt(0.5)) * known
    return float((torch.where(known, distance, 0.0) * down * area).sum() / area.sum())


def raise_to_ground(distance: Tensor, min_ground_m: float) -> Tensor:
    """Distances [H, W] scaled up, where needed, until the ground is `min_ground_m` below. Paper, "Metric depth"."""
    return distance * max(1.0, min_ground_m / ground_height(distance))


def at_panoramas_size(distance: Tensor, height: int, sky_m: float) -> DistanceMap:
    """Distances [h, 2h], inf = sky, on a finer grid; the sky's shell lies no nearer than anything else."""
    known = distance.isfinite()
    shell = max(sky_m, float(distance[known].max()))
    filled = torch.where(known, distance, shell)
    if len(distance) == height:
        return DistanceMap(filled, ~known)
    rays = directions(height, 2 * height)
    sky = sample((~known)[None].float(), rays)[0] > 0.5
    return DistanceMap(torch.where(sky, shell, sample(filled.log()[None], rays)[0].exp()), sky)
