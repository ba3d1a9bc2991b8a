"""What the splats are fitted to (paper, "3DGS"): panorama views in full, completed views only where inpainted.

The anchor's area never is: `panorama.py` takes the anchor away, and all that touched it, before the back is painted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch

from worldgen.errors import expect
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.types import Camera, CompletedView, Panorama, SupervisionView


@dataclass(frozen=True)
class SupervisionSettings:
    """How the panorama is cut into pictures.

    size: pixels of a square view; fov_deg: its field of view; horizontal: views round the horizon; tilted: views each
    at +tilt_deg and -tilt_deg; the two poles are always among them.
    """

    size: int = 512
    fov_deg: float = 90.0
    horizontal: int = 8
    tilted: int = 4
    tilt_deg: float = 50.0

    def __post_init__(self) -> None:
        expect("views.size", self.size, 16 <= self.size <= 4096, "16 to 4096 pixels")
        expect("views.fov_deg", self.fov_deg, 10 < self.fov_deg < 150, "between 10 and 150 degrees")
        expect("views.horizontal", self.horizontal, self.horizontal >= 1, "1 or more")
        expect("views.tilted", self.tilted, self.tilted >= 0, "0 or more")


def panorama_cameras(settings: SupervisionSettings) -> list[Camera]:
    """Cameras at the origin that together see every direction."""
    directions = [(360 * i / settings.horizontal, 0.0) for i in range(settings.horizontal)]
    for pitch_deg in (settings.tilt_deg, -settings.tilt_deg):
        directions += [(360 * i / settings.tilted, pitch_deg) for i in range(settings.tilted)]
    directions += [(0.0, 90.0), (0.0, -90.0)]
    size, fov_deg = settings.size, settings.fov_deg
    return [Camera.from_fov(size, size, fov_deg, look_at(yaw_deg, pitch_deg)) for yaw_deg, pitch_deg in directions]


class TrainingViews(Sequence[SupervisionView]):
    """The photo's own view first, then the panorama's, then the completed ones under their inpainting masks.

    Each is made, or read from disk, when it is asked for, and held by nobody here.
    """

    def __init__(
        self, photo: Camera, panorama: Panorama, completed: Sequence[CompletedView], settings: SupervisionSettings
    ) -> None:
        self._panorama, self._completed = panorama, completed
        self._cameras = [photo_camera(photo, settings.size), *panorama_cameras(settings)]

    def __len__(self) -> int:
        return len(self._cameras) + len(self._completed)

    @overload
    def __getitem__(self, index: int) -> SupervisionView: ...

    @overload
    def __getitem__(self, index: slice) -> list[SupervisionView]: ...

    def __getitem__(self, index: int | slice) -> SupervisionView | list[SupervisionView]:
        """A view, or several."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        if number < len(self._cameras):
            return _panorama_view(self._panorama, self._cameras[number])
        one = self._completed[number - len(self._cameras)]
        return SupervisionView(one.view.camera, one.view.rgb, one.inpainted.float(), generated=True)


def photo_camera(camera: Camera, longest: int) -> Camera:
    """The photo's camera at the views' resolution."""
    scale = longest / max(camera.width, camera.height)
    return camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))


def _panorama_view(panorama: Panorama, camera: Camera) -> SupervisionView:
    rgb = to_perspective(panorama.rgb, camera, "bicubic").clamp(0, 1)
    return SupervisionView(camera, rgb, torch.ones(rgb.shape[1:]), generated=False)
