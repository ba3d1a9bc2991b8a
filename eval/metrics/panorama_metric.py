"""What the metrics of whole, flat panoramas share: one value for each picture, of the right shape and size."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from eval.metrics.base import Better, Companion, Needs
from worldgen.errors import UserError
from worldgen.types import Camera

_VERSION = "1"  # raised when a value changes


class PanoramaMetric(ABC):
    """Fulfils `base.Metric` for pictures [3, H, 2H] with the photo in the middle; a truth has the same size."""

    name: str
    better: Better = "lower"
    needs: Needs = "truth"
    across_processes = True

    def unavailable(self) -> str | None:
        """Always there."""
        return None

    def versions(self) -> dict[str, str]:
        """What decides the values, for footers and the cache's keys."""
        return {"worldgen": _VERSION}

    def __call__(self, pictures: Sequence[Tensor], companions: Sequence[Companion]) -> list[float]:
        """Raises UserError where a picture is no panorama, or of another size than its truth."""
        return [self._checked(*pair) for pair in zip(pictures, companions, strict=True)]

    def _checked(self, panorama: Tensor, truth: Companion) -> float:
        self._expect_panorama(panorama)
        if self.needs == "nothing":
            return self.value(panorama, panorama)
        assert isinstance(truth, Tensor), f"{self.name} needs the true panorama"
        if truth.shape != panorama.shape:
            raise UserError(f"{self.name}: the panorama is {panorama.shape[2]} pixels wide, the true {truth.shape[2]}")
        return self.value(panorama, truth)

    def _expect_panorama(self, panorama: Tensor) -> None:
        if panorama.shape[2] != 2 * panorama.shape[1]:
            size = f"{panorama.shape[2]}x{panorama.shape[1]}"
            raise UserError(f"{self.name}: the picture has {size} pixels, wanted a panorama twice as wide as high")

    @abstractmethod
    def value(self, panorama: Tensor, truth: Tensor) -> float:
        """Both [3, H, 2H] in [0, 1]; what `needs` nothing is given the panorama twice."""


class PhotoMetric(PanoramaMetric):
    """Of what the photo shows in a panorama. fov_deg: of the photo, horizontal; aspect: its width over its height."""

    def __init__(self, fov_deg: float = 80.0, aspect: float = 1.3333) -> None:
        self.fov_deg, self.aspect = fov_deg, aspect

    def versions(self) -> dict[str, str]:
        return super().versions() | {"fov_deg": f"{self.fov_deg:g}", "aspect": f"{self.aspect:g}"}

    def photo_camera(self, panorama: Tensor) -> Camera:
        """The photo's, about as fine as a panorama [3, H, 2H] is there."""
        return _photo_camera(panorama, self.fov_deg, self.aspect)


class BorderMetric(PhotoMetric):
    """Of the photo's border. Where the photo's lens is known, as in runs of ours, it counts before the settings."""

    needs: Needs = "lens"

    def versions(self) -> dict[str, str]:
        return super().versions() | {"lens": "a run's own, else fov_deg and aspect"}

    def _checked(self, panorama: Tensor, truth: Companion) -> float:
        """truth: the lens."""
        self._expect_panorama(panorama)
        lens = map(float, str(truth).split()) if truth else (self.fov_deg, self.aspect)
        return self.along(panorama, _photo_camera(panorama, *lens))

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        return self.along(panorama, self.photo_camera(panorama))

    @abstractmethod
    def along(self, panorama: Tensor, photo: Camera) -> float:
        """panorama: [3, H, 2H] in [0, 1], with what the camera `photo` saw in its place."""


def _photo_camera(panorama: Tensor, fov_deg: float, aspect: float) -> Camera:
    width = panorama.shape[2] // 6
    return Camera.from_fov(width, round(width / aspect), fov_deg)
