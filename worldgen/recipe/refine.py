"""Step 4: a text-to-image model repaints the panorama's detail, view by view (paper, "Refinement").

Every view loses the last part of its detail to noise and is painted anew from there. Later views see what earlier ones
made of their overlap. The embedded profile has no such model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from worldgen.errors import expect
from worldgen.geometry.blending import smoothstep
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.geometry.seams import degrees_to_seam
from worldgen.models.protocols import Adapter, Composite, ImageToImage, Lifetime
from worldgen.models.recorded import RecordedImageToImage
from worldgen.progress import Track, untracked
from worldgen.recipe.panorama import Canvas, blend
from worldgen.recipe.schedules import SEQUENTIAL
from worldgen.types import Camera, Panorama, Prompts


@dataclass(frozen=True)
class RefineSettings:
    """view_size: of the square views, pixels. strength: the last part of the denoising that is done again (paper).
    feather: part of a view over which it fades out. border_deg: how far from the photo's border the refined picture
    has faded in: the photo itself stays as it is (the paper blurs the mask, and leaves open by how much)."""

    view_size: int = 1024
    strength: float = 0.3
    feather: float = 0.1
    border_deg: float = 3.0

    def __post_init__(self) -> None:
        expect("refine.settings.view_size", self.view_size, 32 <= self.view_size <= 4096, "32 to 4096")
        expect("refine.settings.strength", self.strength, 0 < self.strength <= 1, "more than 0 and at most 1")
        expect("refine.settings.feather", self.feather, 0 <= self.feather < 0.25, "0 or more and less than 0.25")
        expect("refine.settings.border_deg", self.border_deg, self.border_deg > 0, "more than 0")


class ViewRefiner(Composite):
    """Refines with an image-to-image model of perspective views."""

    def __init__(self, model: ImageToImage, settings: RefineSettings | None = None) -> None:
        self.model = model
        self.settings = settings or RefineSettings()

    def parts(self) -> Sequence[Lifetime]:
        """The model."""
        return (self.model,)

    def __call__(
        self, panorama: Panorama, prompts: Prompts, views: Path, track: Track = untracked, seed: int = 0
    ) -> Panorama | None:
        """The panorama with new detail outside the photo. views: where the views land, and may have landed before."""
        settings, model = self.settings, RecordedImageToImage(self.model, views)
        canvas = Canvas(panorama.rgb, _kept_share(panorama.photo, settings.border_deg), panorama.photo)
        specs = SEQUENTIAL.without_anchor
        for index, spec in enumerate(track(specs, len(specs), "refining views")):
            size = settings.view_size
            camera = Camera.from_fov(size, size, spec.fov_deg, look_at(spec.yaw_deg, spec.pitch_deg))
            rgb = to_perspective(canvas.rgb, camera, "bicubic").clamp(0, 1)
            refined = model(rgb[None], [prompts.of(spec.prompt)], [seed + index], settings.strength)[0]
            canvas = blend(canvas, refined, camera, settings.feather * size)
        return Panorama(torch.where(panorama.photo, panorama.rgb, canvas.rgb.clamp(0, 1)), panorama.photo)


def _kept_share(photo: Tensor, border_deg: float) -> Tensor:
    """[H, W]: 1 on the photo, bool [H, W], falling to 0 within `border_deg` beside it."""
    return torch.where(photo, 1.0, smoothstep((1 - degrees_to_seam(photo) / border_deg).clamp(0, 1)))


class NoRefiner(Adapter):
    """Leaves the panorama as it is."""

    def __call__(
        self, panorama: Panorama, prompts: Prompts, views: Path, track: Track = untracked, seed: int = 0
    ) -> Panorama | None:
        """None: skipped."""
        return None
