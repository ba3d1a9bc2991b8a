"""A tiny room to fit Gaussians to; `python -m tests.small_training FOLDER STEP` is killed at that step."""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from tests.scenes import BoxRoom
from train.splat import SplatOptimizer, SplatResult
from worldgen.geometry.cameras import look
from worldgen.progress import Track, untracked
from worldgen.recipe.lift import LiftSettings, lift
from worldgen.recipe.supervise import SupervisionSettings, panorama_cameras
from worldgen.splat.distortion import warp
from worldgen.types import Camera, PointCloud, SupervisionView

SETTINGS = {"steps": 40, "max_gaussians": 4000, "distortion_grid": 8, "checkpoint_every": 10}
SIZE = 64
ROOM = BoxRoom((-1.6, -1.4, -1.5), (1.5, 1.3, 1.7), pillars=())  # so small that its texture is coarse


def room_cloud() -> PointCloud:
    panorama, distances = ROOM.panorama(128)
    return lift(panorama.rgb, distances, LiftSettings())


def room_views(generated: int = 3, warp_px: float = 1.0) -> list[SupervisionView]:
    """Views of the panorama, exact; then generated ones from elsewhere, warped, of which a part counts."""
    settings = SupervisionSettings(size=SIZE, horizontal=4, tilted=0)
    exact = [ROOM.view(camera) for camera in panorama_cameras(settings)]
    views = [SupervisionView(view.camera, view.rgb, torch.ones(SIZE, SIZE), generated=False) for view in exact]
    draw = torch.Generator().manual_seed(0)
    for number in range(generated):
        camera = Camera.from_fov(SIZE, SIZE, 90, look(120 * number, 10, torch.tensor([0.5, 0.3 - 0.05 * number, 0.3])))
        offsets = torch.randn(2, 3, 3, generator=draw) * warp_px * 2 / SIZE
        weight = torch.zeros(SIZE, SIZE)
        weight[6:48, 12:58] = 1
        views.append(SupervisionView(camera, warp(ROOM.view(camera).rgb, offsets), weight, generated=True))
    return views


def fit(folder: Path, track: Track = untracked, seed: int = 0, **changes: object) -> SplatResult:
    """Fits Gaussians to the room, in `folder`/splat."""
    out_dir = folder / "splat"
    out_dir.mkdir(parents=True, exist_ok=True)
    return SplatOptimizer(**{**SETTINGS, **changes})(room_cloud(), room_views(), out_dir, track, seed)


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
