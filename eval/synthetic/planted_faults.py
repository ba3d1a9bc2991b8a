"""A world without fault, as the run folder that a perfect recipe would leave, and each failure planted in copies of it.

The room's true panorama, true distances, completed views that show the truth, splats that lie on the true surfaces.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from eval.synthetic.rendering import render, render_panorama
from eval.synthetic.textured_room import TexturedRoom
from worldgen.geometry.cameras import look_at, world_rays
from worldgen.geometry.equirect import directions, from_perspective
from worldgen.geometry.fill import blur, dilate
from worldgen.geometry.points import render_points, view_points
from worldgen.io.clouds import save_cloud
from worldgen.io.gaussians import load_gaussians, save_gaussians
from worldgen.recipe.lift import LiftSettings, lift
from worldgen.runs import artifacts
from worldgen.runs.reader import CAMERA, RunReader
from worldgen.runs.steps_table import COMPLETE, FOV, LIFT, PANORAMA, SPLAT
from worldgen.splat.initialise import gaussians_from_cloud
from worldgen.types import Camera, CompletedView, DistanceMap, Gaussians, Panorama, PointCloud, View

_SAMPLES = 2  # rays across a pixel
_FOV_DEG, _ASPECT = 80.0, 0.75
_SMALLEST_HOLE_PX = 2
_PLACES_M = (-0.9, 0.9)  # of the completed views, to both sides and to the front and the back
_MOST_SPLATS = 1_000_000


def write_clean_run(folder: Path, height: int, size: int) -> Path:
    """A run folder without records, for who measures. height: of the panorama; size: of a completed view, pixels."""
    for step in (FOV, PANORAMA, LIFT, COMPLETE, SPLAT):
        (folder / step).mkdir(parents=True)
    room, width = TexturedRoom(), height // 2
    rgb = render_panorama(room, height, _SAMPLES)
    photo = Camera.from_fov(width, round(_ASPECT * width), _FOV_DEG)
    _, seen = from_perspective(torch.zeros(1, photo.height, photo.width), photo, height, 2 * height)
    artifacts.save_panorama(folder / PANORAMA, Panorama(rgb, seen))
    artifacts.save_photo_camera(folder / FOV / CAMERA, photo.width, photo.height, _FOV_DEG, "of the made-up photo")
    distance = room.distance(torch.zeros(3), directions(height, 2 * height))
    lifted = lift(rgb, DistanceMap(distance, torch.zeros_like(distance, dtype=torch.bool)), LiftSettings())
    completed, added = _completed(room, lifted, size)
    for number, view in enumerate(completed):
        artifacts.save_completed_view(folder / COMPLETE, number, view)
    artifacts.save_completed_cameras(folder / COMPLETE, [view.view.camera for view in completed])
    save_cloud(folder / LIFT / "cloud.safetensors", lifted)
    save_cloud(folder / COMPLETE / "cloud.safetensors", added)
    save_gaussians(folder / SPLAT / "gaussians.safetensors", gaussians_from_cloud(lifted + added, _MOST_SPLATS))
    return folder


def _completed(room: TexturedRoom, lifted: PointCloud, size: int) -> tuple[list[CompletedView], PointCloud]:
    """Views of the truth, the parts that the points so far do not show marked as painted, and the points of those."""
    views, added = [], PointCloud.empty()
    for camera in _cameras(size):
        distance = room.distance(camera.position, world_rays(camera))
        true = View(camera, render(room, camera, _SAMPLES), torch.ones(size, size, dtype=torch.bool), distance)
        holes = dilate(~render_points([lifted, added], camera).known, _SMALLEST_HOLE_PX)
        views.append(CompletedView(true, holes))
        added = added + view_points(true, holes)
    return views, added


def _cameras(size: int) -> list[Camera]:
    places = [place for metres in _PLACES_M for place in ((metres, 0.0, 0.0), (0.0, 0.0, metres))]
    return [
        Camera.from_fov(size, size, 90.0, look_at(yaw_deg, 0.0, torch.tensor(place)))
        for place in places
        for yaw_deg in (0.0, 90.0, 180.0, 270.0)
    ]


def planted(clean: Path, folder: Path, fault: str) -> Path:
    """A copy of a clean run as `folder`, with the fault of that name, one of FAULTS, in it."""
    shutil.copytree(clean, folder)
    FAULTS[fault](folder)
    return folder


def _all_but_the_photo(change: Callable[[Tensor], Tensor]) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        panorama = RunReader(folder).panorama()
        rgb = torch.where(panorama.photo, panorama.rgb, change(panorama.rgb).clamp(0, 1))
        artifacts.save_image(folder / PANORAMA / "panorama.png", rgb)

    return plant


def _hung(share: float, opacity: float, every: int) -> Callable[[Path], None]:
    """More of the world's splats at a share of their distance, in the opposite colours."""

    def plant(folder: Path) -> None:
        path = folder / SPLAT / "gaussians.safetensors"
        clean = load_gaussians(path)
        some = clean.map(lambda tensor: tensor[::every])
        hung = replace(
            some,
            means=share * some.means,
            opacity_logits=torch.full_like(some.opacity_logits, float(torch.tensor(opacity).logit())),
            sh=-some.sh,
        )
        both = [torch.cat(pair) for pair in zip(clean.tensors().values(), hung.tensors().values(), strict=True)]
        save_gaussians(path, Gaussians(*both))

    return plant


def _said_otherwise(where: Callable[[CompletedView], Tensor]) -> Callable[[Path], None]:
    """Every second completed view shows the opposite colours in a part of it."""

    def plant(folder: Path) -> None:
        for number, view in enumerate(RunReader(folder).completed()):
            if number % 2 == 0:
                rgb = torch.where(where(view), 1 - view.view.rgb, view.view.rgb)
                artifacts.save_image(folder / COMPLETE / f"{number:03}.png", rgb)

    return plant


FAULTS: dict[str, Callable[[Path], None]] = {
    "style_colour": _all_but_the_photo(lambda rgb: rgb * torch.tensor([1.3, 1.0, 0.6])[:, None, None]),
    "style_contrast": _all_but_the_photo(lambda rgb: 0.3 * rgb + 0.7 * blur(rgb, 24.0)),
    "style_texture": _all_but_the_photo(lambda rgb: blur(rgb, 2.0)),
    "floaters": _hung(0.5, 0.95, 50),
    "haze": _hung(0.5, 0.4, 4),
    "ghosts": _hung(0.5, 0.4, 4),
    "hallucinations": _said_otherwise(lambda view: ~view.inpainted),
    "unsupported": _said_otherwise(lambda view: view.inpainted),
    "contradicted": _said_otherwise(lambda view: view.inpainted),
}
"""Each plants what the signature of its name is to find, in a run folder, in place."""
