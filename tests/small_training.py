"""A tiny room to fit Gaussians to; `python -m tests.small_training FOLDER STEP` is killed at that step."""

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch

from tests.scenes import BoxRoom, room_cloud
from train.splat.optimizer import SplatOptimizer
from train.splat.settings import CorrectionSettings, DistortionSettings, SplatResult
from worldgen.geometry.cameras import look_at
from worldgen.progress import Track, untracked
from worldgen.recipe.training_views import SupervisionSettings, panorama_cameras
from worldgen.splat.density import DensitySettings
from worldgen.splat.distortion import warp
from worldgen.types import Camera, Scene, SupervisionView

SETTINGS = {
    "steps": 40,
    "max_gaussians": 4000,
    "correction": CorrectionSettings("distortion", DistortionSettings(grid=8)),
    "density": DensitySettings(start=0.2, stop=0.9, every=8, grow_grad=1e-4, max_gaussians=4500),
    "checkpoint_every": 10,
    "evaluate_every": 16,
}
SIZE = 64
ROOM = BoxRoom((-1.6, -1.4, -1.5), (1.5, 1.3, 1.7), pillars=())  # so small that its texture is coarse


def room_views(generated: int = 3, warp_px: float = 1.0) -> list[SupervisionView]:
    """Views of the panorama, exact; then generated ones from elsewhere, warped, of which a part counts."""
    settings = SupervisionSettings(size=SIZE, horizontal=4, tilted=0)
    exact = [ROOM.view(camera) for camera in panorama_cameras(settings)]
    views = [SupervisionView(view.camera, view.rgb, torch.ones(SIZE, SIZE), generated=False) for view in exact]
    generator = torch.Generator().manual_seed(0)
    for number in range(generated):
        camera = Camera.from_fov(
            SIZE, SIZE, 90, look_at(120 * number, 10, torch.tensor([0.5, 0.3 - 0.05 * number, 0.3]))
        )
        offsets = torch.randn(2, 3, 3, generator=generator) * warp_px * 2 / SIZE
        weight = torch.zeros(SIZE, SIZE)
        weight[6:48, 12:58] = 1
        views.append(SupervisionView(camera, warp(ROOM.view(camera).rgb, offsets), weight, generated=True))
    return views


def room_scene(generated: int = 3, warp_px: float = 1.0) -> Scene:
    """All of it, with two held-out views."""
    places = (torch.tensor([0.4, 0.1, 0.2]), torch.tensor([-0.3, 0.0, 0.1]))
    held_out = tuple(ROOM.view(Camera.from_fov(SIZE, SIZE, 80, look_at(70, 5, place))) for place in places)
    return Scene("room", room_cloud(128, ROOM), tuple(room_views(generated, warp_px)), held_out)


def fit(folder: Path, track: Track = untracked, seed: int = 0, **changes: object) -> SplatResult:
    """Fits Gaussians to the room, in `folder`/splat."""
    out_dir = folder / "splat"
    out_dir.mkdir(parents=True, exist_ok=True)
    return SplatOptimizer(**{**SETTINGS, **changes})(room_scene(), out_dir, track, seed, [Psnr()])


class Psnr:
    """A metric of held-out views, as eval's are."""

    name = "psnr"

    def unavailable(self) -> str | None:
        return None

    def __call__(self, pictures: Sequence[torch.Tensor], companions: Sequence[torch.Tensor]) -> list[float]:
        errors = [(a - b).square().mean() for a, b in zip(pictures, companions, strict=True)]
        return [-10 * torch.log10(error).item() for error in errors]


def killed_at(step: int) -> Track:
    """A track during which the process dies, at once and without any notice."""

    def track(items: Iterable, total: int, what: str) -> Iterator:
        for item in items:
            if item == step:
                os.kill(os.getpid(), signal.SIGKILL)
            yield item

    return track


if __name__ == "__main__":
    fit(Path(sys.argv[1]), killed_at(int(sys.argv[2])))
    sys.exit("the training ended before it was killed")
