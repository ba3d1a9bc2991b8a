"""The pictures that the small networks are trained on: crops of real panoramas, and views of measured scenes.

Picture n follows from the seed and n alone. Panoramas that are not named are never looked at, so that they may test.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from train.data.measured_views import MeasuredScene
from train.seeds import generator_of
from worldgen.errors import UserError, expect, is_whole
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.types import Camera

_PICTURE, _CROP = 2, 3  # what random numbers are for
_FINER = 2  # pixels a side are rendered for each one, so that nothing aliases
_STOPS = 0.6  # exposure, at most up or down
_TINT = 0.06  # of each channel


@dataclass(eq=False)
class TrainingPictures:
    """panoramas: (name, rgb [3, H, W] in [0, 1]) of at least those in `names`, which are trained on. scenes: measured
    ones, whose views all are rendered at once and kept; room_share: of the pictures that are views of them. size:
    pixels of a square picture. Angles are degrees: fov from least to most, pitch up or down at most."""

    panoramas: Iterable[tuple[str, Tensor]]
    names: Sequence[str]
    scenes: Sequence[MeasuredScene] = ()
    room_share: float = 0.2
    size: int = 128
    min_fov_deg: float = 60.0
    max_fov_deg: float = 105.0
    max_pitch_deg: float = 35.0

    def __post_init__(self) -> None:
        expect("pictures.size", self.size, is_whole(self.size) and 16 <= self.size <= 512, "16 to 512 pixels")
        expect("pictures.room_share", self.room_share, 0 <= self.room_share <= 1, "0 to 1")
        fits = 10 < self.min_fov_deg <= self.max_fov_deg < 150
        expect("pictures.min_fov_deg", self.min_fov_deg, fits, "more than 10, at most max_fov_deg, below 150")
        expect("pictures.max_pitch_deg", self.max_pitch_deg, 0 <= self.max_pitch_deg <= 90, "0 to 90")
        there = dict(self.panoramas)
        lacking = [name for name in self.names if name not in there]
        if lacking or not self.names:
            raise UserError(f"pictures.names: {lacking or 'none'}, wanted some of {', '.join(there)}")
        self._panoramas = [there[name] for name in self.names]
        self._views = [
            scene.view(number, self.size).rgb for scene in self.scenes for number in range(len(scene.cameras()))
        ]

    def __call__(self, seed: int, numbers: Iterable[int]) -> Tensor:
        """The pictures of these numbers, [B, 3, size, size] in [0, 1]."""
        return torch.stack([self._picture(generator_of(seed, number, _PICTURE)) for number in numbers])

    def crops(self, seed: int, numbers: Sequence[int], size: int) -> Tensor:
        """A square piece of each picture, [B, 3, size, size] in [0, 1]."""
        expect("autoencoder.crop", size, size <= self.size, f"at most pictures.size, {self.size}")
        found = []
        for number, rgb in zip(numbers, self(seed, numbers), strict=True):
            generator = generator_of(seed, number, _CROP)
            top, left = torch.randint(self.size - size + 1, (2,), generator=generator).tolist()
            found.append(rgb[:, top : top + size, left : left + size])
        return torch.stack(found)

    def _picture(self, generator: torch.Generator) -> Tensor:
        chance, turn, tilt, zoom, stop, flip = torch.rand(6, generator=generator).tolist()
        if self._views and chance < self.room_share:
            rgb = self._views[_whole(len(self._views), generator)]
        else:
            panorama = self._panoramas[_whole(len(self._panoramas), generator)]
            fov_deg = self.min_fov_deg + (self.max_fov_deg - self.min_fov_deg) * zoom
            pose = look_at(360 * turn, self.max_pitch_deg * (2 * tilt - 1))
            fine = _FINER * self.size
            rgb = to_perspective(panorama, Camera.from_fov(fine, fine, fov_deg, pose))
            rgb = F.avg_pool2d(rgb, _FINER)
        gain = 2 ** (_STOPS * (2 * stop - 1)) * (1 + _TINT * (2 * torch.rand(3, generator=generator) - 1))
        rgb = (rgb * gain[:, None, None]).clamp(0, 1)
        return rgb.flip(-1) if flip < 0.5 else rgb


def _whole(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=generator))
