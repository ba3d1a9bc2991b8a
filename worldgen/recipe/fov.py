"""Step 1: the photo's horizontal field of view, from its EXIF data or by default (paper: estimated by DUSt3R)."""

import math
from dataclasses import dataclass

from worldgen.errors import UserError
from worldgen.geometry.fov_range import MAX_DEG, MIN_DEG, check_fov
from worldgen.io.photo import Lens, Photo
from worldgen.models.protocols import Adapter
from worldgen.types import Fov

MIN_HEIGHT_DEG = 3.0  # less of the scene says nothing about what is above and below
_FILM_DIAGONAL_MM = math.hypot(36, 24)


@dataclass(frozen=True)
class ExifFov(Adapter):
    """Fulfils FovEstimator. Reads the field of view from a photo's EXIF data.

    default_deg: along the longer side, where EXIF has none that can be true.
    """

    default_deg: float = 70.0

    def __post_init__(self) -> None:
        check_fov(self.default_deg, "fov.default_deg")

    def __call__(self, photo: Photo) -> Fov:
        """What EXIF tells, or the default."""
        height, width = photo.rgb.shape[1:]
        for found in (_from_film_equivalent(photo.lens, width, height), _from_sensor(photo.lens)):
            if found is not None and MIN_DEG < found.deg < MAX_DEG:
                return found
        half_width = math.tan(math.radians(self.default_deg) / 2) * width / max(width, height)
        deg = max(2 * math.degrees(math.atan(half_width)), MIN_DEG + 0.1)
        return Fov(deg, f"default, {self.default_deg:g} degrees along the longer side")


@dataclass(frozen=True)
class FixedFov(Adapter):
    """Fulfils FovEstimator. deg: every photo's horizontal field of view."""

    deg: float = 70.0

    def __post_init__(self) -> None:
        check_fov(self.deg, "fov.deg")

    def __call__(self, photo: Photo) -> Fov:
        """What the config says."""
        del photo
        return Fov(float(self.deg), "fov=fixed, by the config")


def check_height(photo: Photo, deg: float) -> None:
    """Raises UserError for a photo, `deg` wide, that is a mere line across the panorama."""
    height, width = photo.rgb.shape[1:]
    height_deg = 2 * math.degrees(math.atan(math.tan(math.radians(deg) / 2) * height / width))
    if height_deg < MIN_HEIGHT_DEG:
        raise UserError(
            f"{photo.path}: {width}x{height} pixels, {deg:g} degrees wide, are {height_deg:.1f} degrees high, "
            f"wanted at least {MIN_HEIGHT_DEG:g}"
        )


def _from_film_equivalent(lens: Lens, width: int, height: int) -> Fov | None:
    """The equivalent is defined by the diagonal (CIPA DCG-001), so it holds for every shape of photo."""
    if lens.focal_35mm is None:
        return None
    half_width_mm = 0.5 * _FILM_DIAGONAL_MM * width / math.hypot(width, height)
    return Fov(_degrees(half_width_mm, lens.focal_35mm), f"EXIF: {lens.focal_35mm:g} mm on 35 mm film")


def _from_sensor(lens: Lens) -> Fov | None:
    if lens.focal_mm is None or lens.sensor_width_mm is None:
        return None
    source = f"EXIF: {lens.focal_mm:g} mm on a sensor {lens.sensor_width_mm:.1f} mm wide"
    return Fov(_degrees(0.5 * lens.sensor_width_mm, lens.focal_mm), source)


def _degrees(half_width_mm: float, focal_mm: float) -> float:
    return 2 * math.degrees(math.atan(half_width_mm / focal_mm))
