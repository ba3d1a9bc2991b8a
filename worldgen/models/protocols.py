"""What the recipe asks of a pretrained network. Adapters in this folder fulfil these; configs pick adapters."""

from typing import Protocol

from torch import Tensor

from worldgen.progress import Track, untracked
from worldgen.types import Camera, DistanceMap, Panorama, Prompts


class Inpainter(Protocol):
    """Fills what is unknown in one picture."""

    def __call__(self, rgb: Tensor, known: Tensor, prompt: str, seed: int) -> Tensor:
        """rgb [3, H, W], known bool [H, W] -> [3, H, W]; what lies under the unknown pixels of `rgb` is ignored."""
        ...


class DepthEstimator(Protocol):
    """Estimates the depth of one perspective view."""

    def __call__(self, rgb: Tensor, camera: Camera) -> Tensor:
        """rgb [3, H, W] -> zdepth [H, W] in metres, finite, > 0."""
        ...


class PanoramaDepth(Protocol):
    """Estimates the distances of a whole panorama."""

    def __call__(self, panorama: Panorama, prompts: Prompts, track: Track = untracked) -> DistanceMap: ...
