"""A whole panorama against the true one: what the paper, which has no truth, cannot measure.

Both are flat, [3, H, 2H], with the photo in the middle.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from torch import Tensor

from eval.benchmarks.panorama_scores import colour_error
from eval.metrics.base import Better, Companion, Needs
from eval.metrics.fidelity import Lpips, psnr
from eval.metrics.seams import wrap_seam
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.types import Camera

_SECTORS = 12  # parts of the circle in which the horizon is looked for
_HORIZON_REACH_DEG = 20.0
_NEAR_FOV_DEG, _NEAR_PX = 50.0, 256
_VERSION = "1"  # raised when a value changes


class _OfPanorama(ABC):
    """What they share: one value for each panorama and its truth."""

    name: str
    better: Better = "lower"
    needs: Needs = "truth"
    across_processes = True

    def unavailable(self) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        return {"worldgen": _VERSION}

    def __call__(self, pictures: Sequence[Tensor], companions: Sequence[Companion]) -> list[float]:
        """Raises UserError where a picture is no panorama, or of another size than its truth."""
        return [self._checked(*pair) for pair in zip(pictures, companions, strict=True)]

    def _checked(self, panorama: Tensor, truth: Companion) -> float:
        if panorama.shape[2] != 2 * panorama.shape[1]:
            size = f"{panorama.shape[2]}x{panorama.shape[1]}"
            raise UserError(f"{self.name}: the picture has {size} pixels, wanted a panorama twice as wide as high")
        if isinstance(truth, Tensor) and truth.shape != panorama.shape:
            raise UserError(f"{self.name}: the panorama is {panorama.shape[2]} pixels wide, the true {truth.shape[2]}")
        return self.value(panorama, truth)

    @abstractmethod
    def value(self, panorama: Tensor, truth: Tensor) -> float:
        """Both [3, H, 2H] in [0, 1]."""


class PhotoPsnr(_OfPanorama):
    """dB between the photo's part of the panorama and the true one. fov_deg: of the photo, horizontal; aspect: its
    width over its height."""

    name, better = "photo_psnr", "higher"

    def __init__(self, fov_deg: float = 80.0, aspect: float = 4 / 3) -> None:
        self.fov_deg, self.aspect = fov_deg, aspect

    def versions(self) -> dict[str, str]:
        return super().versions() | {"fov_deg": f"{self.fov_deg:g}", "aspect": f"{self.aspect:g}"}

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        width = panorama.shape[2] // 6
        camera = Camera.from_fov(width, round(width / self.aspect), self.fov_deg)
        return psnr(*(to_perspective(each, camera, "bicubic").clamp(0, 1) for each in (panorama, truth)))


class SkyColour(_OfPanorama):
    """How far the mean colour of the upper quarter lies from the truth's, mean over channels, in 1/255."""

    name = "sky_colour"

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        quarter = panorama.shape[1] // 4
        return colour_error(panorama[:, :quarter], truth[:, :quarter])


class GroundColour(_OfPanorama):
    """The same of the lower quarter."""

    name = "ground_colour"

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        quarter = panorama.shape[1] // 4
        return colour_error(panorama[:, -quarter:], truth[:, -quarter:])


class Horizon(_OfPanorama):
    """How far the panorama's layers, such as sky, houses and ground, lie too high or too low, in degrees.

    In each of twelve sectors, the vertical shift (20 degrees at most) at which the mean luma of the rows correlates
    best with the truth's; the median of the shifts' sizes. It is blind to what changes along a row.
    """

    name = "horizon"

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        ours, true = (_profiles(each) for each in (panorama, truth))
        shifts_px = [_best_shift(ours[:, sector], true[:, sector]) for sector in range(_SECTORS)]
        return float(np.median(np.abs(shifts_px))) * 180 / panorama.shape[1]


class WrapSeam(_OfPanorama):
    """The gradient across the left and right edge over that beside it: 1 where no seam shows."""

    name = "wrap_seam"
    needs: Needs = "nothing"

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        return wrap_seam(panorama)


class NearLpips(_OfPanorama):
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
