"""What is measured on one finished panorama: against the photo, against the truth where there is one, and its seams."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.metrics import brisque, niqe, psnr
from eval.metrics.seams import border_seam, view_seam, wrap_seam
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.recipe.panorama import SCHEDULES
from worldgen.recipe.schedules import ViewSpec
from worldgen.types import Camera, Panorama, View

SCORED_VIEWS, SCORED_FOV_DEG, SCORED_SIZE = 6, 90.0, 512


@dataclass(frozen=True)
class Seams:
    """Gradient ratios, 1 = no seam: at the back, along the worst view's border, along the photo's border."""

    wrap_seam: float
    worst_view_seam: float
    photo_seam: float


@dataclass(frozen=True)
class TruthScores:
    """Against the true panorama. The gains are scores minus the truth's, lower is better; the errors are in 1/255."""

    brisque_gain: float
    niqe_gain: float
    sky_colour_error: float
    ground_colour_error: float


def photo_psnr_db(panorama: Tensor, photo: View) -> float:
    """dB between a photo and its camera's view of the panorama [3, H, W]; see `at_density_of`."""
    photo = at_density_of(panorama, photo)
    return psnr(to_perspective(panorama, photo.camera, "bicubic").clamp(0, 1), photo.rgb)


def at_density_of(panorama: Tensor, photo: View) -> View:
    """The photo, reduced to as many pixels per degree as the panorama has, if it has more."""
    shrink = photo.camera.fx / (panorama.shape[-1] / (2 * torch.pi))
    if shrink <= 1:
        return photo
    camera = photo.camera.resized(round(photo.camera.width / shrink), round(photo.camera.height / shrink))
    size = (camera.height, camera.width)
    rgb = F.interpolate(photo.rgb[None], size, mode="bicubic", antialias=True, align_corners=False)[0]
    return View(camera, rgb.clamp(0, 1), torch.ones(size, dtype=torch.bool))


def seams(panorama: Panorama, looks: Iterable[ViewSpec]) -> Seams:
    """looks: the views that the panorama was painted in."""
    cameras = [Camera.from_fov(64, 64, view.fov_deg, look_at(view.yaw_deg, view.pitch_deg)) for view in looks]
    return Seams(
        wrap_seam(panorama.rgb),
        max((view_seam(panorama.rgb, camera) for camera in cameras), default=1.0),
        border_seam(panorama.rgb, panorama.photo),
    )


def looks_of(heuristic: str) -> tuple[ViewSpec, ...]:
    """The views of one of the recipe's heuristics; ad-hoc has none."""
    schedule = SCHEDULES.get(heuristic)
    return (*schedule.with_anchor, *schedule.without_anchor) if schedule else ()


def against_truth(panorama: Tensor, truth: Tensor) -> TruthScores:
    """Both [3, H, W], of one size."""
    quarter = truth.shape[1] // 4
    views, true_views = scored_views(panorama), scored_views(truth)
    return TruthScores(
        _mean(brisque, views) - _mean(brisque, true_views),
        _mean(niqe, views) - _mean(niqe, true_views),
        colour_error(panorama[:, :quarter], truth[:, :quarter]),
        colour_error(panorama[:, -quarter:], truth[:, -quarter:]),
    )


def scored_views(panorama: Tensor) -> list[Tensor]:
    """The views that BRISQUE and NIQE look at: once round the horizon."""
    yaws_deg = [i * 360 / SCORED_VIEWS for i in range(SCORED_VIEWS)]
    cameras = [Camera.from_fov(SCORED_SIZE, SCORED_SIZE, SCORED_FOV_DEG, look_at(yaw)) for yaw in yaws_deg]
    return [to_perspective(panorama, camera, "bicubic").clamp(0, 1) for camera in cameras]


def colour_error(picture: Tensor, truth: Tensor) -> float:
    """How far the mean colours of two pictures [3, h, w] are apart, mean over the channels, in 1/255."""
    return float((picture.mean(dim=(1, 2)) - truth.mean(dim=(1, 2))).abs().mean() * 255)


def _mean(metric: Callable[[Tensor], float], views: list[Tensor]) -> float:
    return statistics.fmean(map(metric, views))
