"""A whole panorama against the true one: what the paper, which has no truth, cannot measure.

Both are flat, [3, H, 2H], with the photo in the middle.
"""

from statistics import fmean

import numpy as np
from torch import Tensor

from eval.metrics.fidelity import Lpips, psnr
from eval.metrics.panorama_metric import PanoramaMetric, PhotoMetric
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.types import Camera

_SECTORS = 12  # parts of the circle in which the horizon is looked for
_HORIZON_REACH_DEG = 20.0
_NEAR_FOV_DEG, _NEAR_PX = 50.0, 256


class PhotoPsnr(PhotoMetric):
    """dB between the photo's part of the panorama and the true one."""

    name, better = "photo_psnr", "higher"

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        camera = self.photo_camera(panorama)
        return psnr(*(to_perspective(each, camera, "bicubic").clamp(0, 1) for each in (panorama, truth)))


class SkyColour(PanoramaMetric):
    """How far the mean colour of the upper quarter lies from the truth's, mean over channels, in 1/255."""

    name = "sky_colour"

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        quarter = panorama.shape[1] // 4
        return colour_error(panorama[:, :quarter], truth[:, :quarter])


class GroundColour(PanoramaMetric):
    """The same of the lower quarter."""

    name = "ground_colour"

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        quarter = panorama.shape[1] // 4
        return colour_error(panorama[:, -quarter:], truth[:, -quarter:])


class Horizon(PanoramaMetric):
    """How far the panorama's layers, such as sky, houses and ground, lie too high or too low, in degrees.

    In each of twelve sectors, the vertical shift (20 degrees at most) at which the mean luma of the rows correlates
    best with the truth's; the median of the shifts' sizes. It is blind to what changes along a row.
    """

    name = "horizon"

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        ours, true = (_profiles(each) for each in (panorama, truth))
        shifts_px = [_best_shift(ours[:, sector], true[:, sector]) for sector in range(_SECTORS)]
        return float(np.median(np.abs(shifts_px))) * 180 / panorama.shape[1]


class NearLpips(PanoramaMetric):
    """LPIPS to the truth in two views right and left of the photo, where it tells most about what is there.

    fov_deg: of the photo, horizontal.
    """

    name = "near_lpips"

    def __init__(self, fov_deg: float = 80.0) -> None:
        self.fov_deg = fov_deg
        self._lpips = Lpips()

    def unavailable(self) -> str | None:
        return self._lpips.unavailable()

    def versions(self) -> dict[str, str]:
        return super().versions() | self._lpips.versions() | {"fov_deg": f"{self.fov_deg:g}"}

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        aside_deg = (self.fov_deg + _NEAR_FOV_DEG) / 2
        cameras = [Camera.from_fov(_NEAR_PX, _NEAR_PX, _NEAR_FOV_DEG, look_at(yaw)) for yaw in (aside_deg, -aside_deg)]
        ours, true = (
            [to_perspective(each, camera, "bicubic").clamp(0, 1) for camera in cameras] for each in (panorama, truth)
        )
        return fmean(self._lpips(ours, true))


def colour_error(picture: Tensor, truth: Tensor) -> float:
    """How far the mean colours of two pictures [3, h, w] are apart, mean over the channels, in 1/255."""
    return float((picture.mean(dim=(1, 2)) - truth.mean(dim=(1, 2))).abs().mean() * 255)


def _profiles(panorama: Tensor) -> np.ndarray:
    """Mean luma of each row in each sector, [H, sectors]."""
    luma = panorama.mean(dim=0)
    return np.stack([part.mean(dim=1).numpy() for part in luma.tensor_split(_SECTORS, dim=1)], axis=1)


def _best_shift(ours: np.ndarray, true: np.ndarray) -> int:
    """Rows by which `ours` lies below `true`, both [H]; the smallest where several fit alike."""
    height = len(ours)
    reach = round(_HORIZON_REACH_DEG / 180 * height)

    def likeness(shift: int) -> float:
        below, above = (ours, true) if shift >= 0 else (true, ours)
        return _correlation(below[abs(shift) :], above[: height - abs(shift)])

    return max(sorted(range(-reach, reach + 1), key=abs), key=likeness)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return round(float((first * second).sum()) / size, 6) if size > 1e-9 else 0.0
