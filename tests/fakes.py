"""Adapters that cost nothing, for tests of what surrounds the networks; configs name them by `_target_`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from worldgen.geometry.fill import push_pull
from worldgen.io.photo import Photo
from worldgen.models.protocols import Adapter
from worldgen.progress import Track, untracked
from worldgen.types import Camera, DistanceMap, Fov, Panorama, Prompt, Prompts, ViewDepth


class Fake(Adapter):
    """Takes the settings of whatever it stands for, and ignores them."""

    def __init__(self, **settings: object) -> None:
        del settings


class SmoothInpainter(Fake):
    """Fills holes with the colours around them."""

    def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        filled = [push_pull(picture * (kept > 0), kept) for picture, kept in zip(rgb, known, strict=True)]
        return (torch.stack(filled) * 255).round() / 255


class FlatDepth(Fake):
    """Everything stands three metres ahead."""

    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        size = (camera.height, camera.width)
        return ViewDepth(torch.full(size, 3.0), torch.ones(size, dtype=torch.bool))


class WallAhead(Fake):
    """A sphere of four metres round the camera, and a wall across its front at two."""

    def __call__(self, panorama: Panorama, prompts: Prompts, track: Track = untracked) -> DistanceMap:
        height, width = panorama.photo.shape
        distance = torch.full((height, width), 4.0)
        distance[height * 3 // 8 : height * 5 // 8, width * 7 // 16 : width * 9 // 16] = 2.0
        return DistanceMap(distance, torch.zeros(height, width, dtype=torch.bool))


class NarrowFov(Fake):
    """Every photo is sixty degrees wide."""

    def __call__(self, photo: Photo) -> Fov:
        return Fov(60.0, "a fake")


class PlainPrompter(Fake):
    """Every scene is the same."""

    def __call__(self, rgb: Tensor) -> Prompts:
        return Prompts("a place", "above", "below", indoor=False, source="a fake")


class Repainter(Fake):
    """Repaints a picture a little darker."""

    def __call__(self, rgb: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int], strength: float) -> Tensor:
        return (rgb * (1 - strength / 10) * 255).round() / 255
