"""Are seams visible in a flat panorama? At the back, along the photo's border, along those of the painted views.

All are gradient ratios (seam_ratios.py), measured on the panorama alone: 1 where no seam shows.
"""

from torch import Tensor

from eval.metrics.panorama_metric import BorderMetric, PanoramaMetric
from eval.metrics.seam_ratios import view_seam, wrap_seam
from worldgen.errors import expect
from worldgen.geometry.cameras import look_at
from worldgen.recipe.panorama import SCHEDULES
from worldgen.types import Camera

_VIEW_PX = 64  # side of a camera of which only the outline counts


class WrapSeam(PanoramaMetric):
    """Across the left and right edge."""

    name, needs = "wrap_seam", "nothing"

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        return wrap_seam(panorama)


class PhotoSeam(BorderMetric):
    """Along the photo's border."""

    name = "photo_seam"

    def along(self, panorama: Tensor, photo: Camera) -> float:
        return view_seam(panorama, photo)


class ViewSeam(PanoramaMetric):
    """Along the border of the worst one of the views that a heuristic paints. Where a house's edge happens to run along
    a border, real panoramas have one too: score the true panorama as a method beside.

    heuristic: one that paints views, a key of `worldgen.recipe.panorama.SCHEDULES`.
    """

    name, needs = "view_seam", "nothing"

    def __init__(self, heuristic: str = "anchored") -> None:
        expect("metric.view_seam.heuristic", heuristic, heuristic in SCHEDULES, f"one of {', '.join(SCHEDULES)}")
        self.heuristic = heuristic

    def versions(self) -> dict[str, str]:
        return super().versions() | {"heuristic": self.heuristic}

    def value(self, panorama: Tensor, truth: Tensor) -> float:
        return worst_view_seam(panorama, self.heuristic)


def worst_view_seam(panorama: Tensor, heuristic: str) -> float:
    """The largest seam ratio along a painted view's border, of a panorama [3, H, 2H]; 1 where none was painted."""
    return max((view_seam(panorama, camera) for camera in painted_cameras(heuristic)), default=1.0)


def painted_cameras(heuristic: str) -> list[Camera]:
    """The outlines of all views that a heuristic paints; none for ad-hoc."""
    schedule = SCHEDULES.get(heuristic)
    views = (*schedule.with_anchor, *schedule.without_anchor) if schedule else ()
    return [Camera.from_fov(_VIEW_PX, _VIEW_PX, view.fov_deg, look_at(view.yaw_deg, view.pitch_deg)) for view in views]
