"""Adapters that cost nothing, for tests of what surrounds the networks; configs name them by `_target_`."""

import torch
from torch import Tensor

from worldgen.geometry.fill import push_pull
from worldgen.progress import Track, untracked
from worldgen.types import Camera, DistanceMap, Panorama, Prompts


class Fake:
    """Takes the settings of whatever it stands for, and ignores them."""

    def __init__(self, **settings: object) -> None:
        del settings


class SmoothInpainter(Fake):
    """Fills holes with the colours around them."""

    def __call__(self, rgb: Tensor, known: Tensor, prompt: str, seed: int) -> Tensor:
        return torch.where(known, rgb, push_pull(rgb * known, known.float()))


class FlatDepth(Fake):
    """Everything stands three metres ahead."""

    def __call__(self, rgb: Tensor, camera: Camera) -> Tensor:
        return torch.full((camera.height, camera.width), 3.0)


class WallAhead(Fake):
    """A sphere of four metres round the camera, and a wall across its front at two."""

    def __call__(self, panorama: Panorama, prompts: Prompts, track: Track = untracked) -> DistanceMap:
        height, width = panorama.photo.shape
        distance = torch.full((height, width), 4.0)
        distance[height * 3 // 8 : height * 5 // 8, width * 7 // 16 : width * 9 // 16] = 2.0
        return DistanceMap(distance, torch.zeros(height, width, dtype=torch.bool))
