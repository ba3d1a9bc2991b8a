"""Adapters that answer from a known world: with them the recipe must rebuild it, or something is wrong around networks.

The world is a room traced by rays (`tests/scenes.py`). Configs name these by `_target_`. What networks get wrong is
there, too: noise in what is painted, and depth that is right only up to a scale and a tilt of each view's own.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from tests.fakes import Fake
from tests.scenes import BoxRoom
from worldgen.geometry.cameras import distance_to_zdepth, look_at
from worldgen.models.protocols import Adapter, CompleteViews
from worldgen.recipe.schedules import ANCHORED, SEQUENTIAL, ViewSpec
from worldgen.types import Camera, CompletedView, IncompleteView, PointCloud, Prompt, Prompts, View, ViewDepth

ROOM = BoxRoom(
    pillars=(
        ((1.4, -1.5, 2.0), (1.9, 1.6, 2.6)),
        ((-1.9, -0.4, 1.2), (-1.4, 1.6, 1.8)),
        ((-0.5, 0.3, -3.0), (0.7, 1.6, -2.4)),
    )
)
FOV_DEG = 75.0


def photo_view() -> View:
    """What the photo's camera sees."""
    return ROOM.view(Camera.from_fov(640, 480, FOV_DEG))


class OraclePrompter(Fake):
    """Knows that it is a room."""

    def __call__(self, rgb: Tensor) -> Prompts:
        return Prompts("a room", "a ceiling", "a floor", indoor=True, source="an oracle")


class OracleInpainter(Adapter):
    """Paints what is there, and noise of `noise`, in 8 bits. Which of the heuristic's views it is asked for tells the
    seed, which the recipe counts up from the step's own."""

    def __init__(self, heuristic: str, seed: int = 0, noise: float = 0.01) -> None:
        schedule = {"anchored": ANCHORED, "sequential": SEQUENTIAL}.get(heuristic)
        self._views = schedule.with_anchor + schedule.without_anchor if schedule else ()
        self._first = first_seed(seed, "panorama")
        self._noise = noise

    def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        """See `protocols.Inpainter`."""
        painted = torch.stack([self._truth(seed, *rgb.shape[2:]) for seed in seeds])
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = torch.stack([torch.randn(rgb.shape[1:], generator=generator) for generator in generators])
        mixed = known[:, None] * rgb + (1 - known[:, None]) * (painted + self._noise * noise)
        return (mixed.clamp(0, 1) * 255).round() / 255

    def _truth(self, seed: int, height: int, width: int) -> Tensor:
        if not self._views:  # the whole panorama, which goes on some way beyond its ends
            margin = (width - 2 * height) // 2
            whole = ROOM.panorama(height)[0].rgb
            return torch.cat([whole[..., -margin:], whole, whole[..., :margin]], dim=-1)
        return seen_by(self._views[seed - self._first], height, width)


class OracleRepainter(Adapter):
    """Paints the refinement's views as they are, and noise: a refined detail that is right."""

    def __init__(self, seed: int = 0, noise: float = 0.01) -> None:
        self._first, self._noise = first_seed(seed, "refine"), noise

    def __call__(self, rgb: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int], strength: float) -> Tensor:
        """See `protocols.ImageToImage`."""
        painted = []
        for seed in seeds:
            truth = seen_by(SEQUENTIAL.without_anchor[seed - self._first], *rgb.shape[2:])
            noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed))
            painted.append(truth + self._noise * noise)
        return (torch.stack(painted).clamp(0, 1) * 255).round() / 255


def first_seed(seed: int, step: str) -> int:
    """Of the views of a step, from which the recipe counts up."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}".encode()).digest()[:4], "big")


def seen_by(view: ViewSpec, height: int, width: int) -> Tensor:
    """[3, H, W]: what is there."""
    return ROOM.view(Camera.from_fov(width, height, view.fov_deg, look_at(view.yaw_deg, view.pitch_deg))).rgb


class OracleDepth(Adapter):
    """What is there, in other units and tilted, differently in every view; metric: in metres, but noisy."""

    def __init__(self, metric: bool = False) -> None:
        self._metric = metric

    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        """See `protocols.DepthEstimator`."""
        zdepth = distance_to_zdepth(camera, ROOM.view(camera).measured)
        digest = hashlib.sha256(camera.c2w.numpy().tobytes()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
        valid = torch.ones_like(zdepth, dtype=torch.bool)
        if self._metric:
            return ViewDepth(zdepth * (1 + 0.01 * torch.randn(zdepth.shape, generator=generator)), valid)
        scale, across, down = (torch.rand(3, generator=generator) - 0.5).tolist()
        v, u = torch.meshgrid(torch.linspace(-1, 1, camera.height), torch.linspace(-1, 1, camera.width), indexing="ij")
        return ViewDepth(0.3 * zdepth * (0.2 * scale + 0.05 * across * u + 0.05 * down * v).exp(), valid)


class OracleCompleter(Adapter):
    """Paints what is there, and noise; leaves depth to the recipe."""

    def __init__(self, noise: float = 0.01) -> None:
        self._noise = noise

    def begin(self, cloud: PointCloud, prompts: Prompts) -> CompleteViews:
        """See `protocols.ViewCompleter`."""
        return self._completed

    def _completed(
        self, views: Sequence[IncompleteView], prompts: Sequence[Prompt], seeds: Sequence[int]
    ) -> list[CompletedView]:
        return [self._one(one, seed) for one, seed in zip(views, seeds, strict=True)]

    def _one(self, incomplete: IncompleteView, seed: int) -> CompletedView:
        render = incomplete.view
        noise = torch.randn(render.rgb.shape, generator=torch.Generator().manual_seed(seed))
        truth = (ROOM.view(render.camera).rgb + self._noise * noise).clamp(0, 1)
        if not incomplete.holes.any():
            return CompletedView(render, incomplete.holes)
        whole = View(render.camera, torch.where(render.known, render.rgb, truth), torch.ones_like(render.known))
        return CompletedView(whole, incomplete.holes)
