"""Where a scene with known ground truth is looked at from: exact views, perturbed ones, and those that are held out."""

import math
from typing import Protocol

import torch
from torch import Tensor

from eval.synthetic.perturb import fine_warp, smooth_warp
from worldgen.geometry.cameras import look_at, world_rays
from worldgen.recipe.cube import cube_positions
from worldgen.recipe.training_views import SupervisionSettings, panorama_cameras
from worldgen.types import Camera


class ViewedScene(Protocol):
    """What of a scene's settings (`scenes.TruthScene`) decides where it is looked at from."""

    @property
    def size(self) -> int: ...

    @property
    def generated(self) -> int: ...

    @property
    def held_out(self) -> int: ...

    @property
    def nodes(self) -> int: ...

    @property
    def side_m(self) -> float: ...

    @property
    def warp_px(self) -> float: ...

    @property
    def exact_deg(self) -> float: ...


_FOV_DEG = 90.0
_HELD_OUT_PITCH_DEG = 30.0
_GOLDEN_TURN = (math.sqrt(5) - 1) / 2


def exact_cameras(scene: ViewedScene) -> list[tuple[Camera, Tensor]]:
    """Cameras at the origin and their pixels' weights [H, W]: those that count somewhere."""
    cosine = math.cos(math.radians(scene.exact_deg) / 2)
    cameras = panorama_cameras(SupervisionSettings(size=scene.size, fov_deg=_FOV_DEG))
    weighed = [(camera, (world_rays(camera)[..., 2] >= cosine).float()) for camera in cameras]
    return [(camera, weight) for camera, weight in weighed if weight.any()]


def generated_cameras(scene: ViewedScene, seed: int) -> list[Camera]:
    """At the cube's face centres and corners in turn, looking everywhere evenly: along a spiral, turned at random."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + 1)
    turn, shift = torch.rand(2, generator=generator).tolist()
    order = torch.randperm(scene.generated, generator=generator).tolist()
    places = cube_positions(scene.side_m)
    cameras = []
    for number, step in enumerate(order):
        pitch_deg = math.degrees(math.asin(2 * (step + shift) / scene.generated - 1))
        pose = look_at(360 * (turn + step * _GOLDEN_TURN), pitch_deg, places[number % len(places)])
        cameras.append(Camera.from_fov(scene.size, scene.size, _FOV_DEG, pose))
    return cameras


def held_out_cameras(scene: ViewedScene, seed: int) -> list[Camera]:
    """Anywhere in the cube, all round, 30 degrees up or down at most: as people look."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + 2)
    turn = float(torch.rand((), generator=generator))
    cameras = []
    for number in range(scene.held_out):
        place = (torch.rand(3, generator=generator) - 0.5) * scene.side_m
        pitch_deg = _HELD_OUT_PITCH_DEG * (2 * float(torch.rand((), generator=generator)) - 1)
        pose = look_at(360 * (number + turn) / scene.held_out, pitch_deg, place)
        cameras.append(Camera.from_fov(scene.size, scene.size, _FOV_DEG, pose))
    return cameras


def planted_offsets(scene: ViewedScene, seed: int, view_number: int, grid: int) -> Tensor:
    """Where view `view_number` of the scene was warped to, [2, grid, grid]: what a perfect field would find.

    In the convention of `worldgen.splat.distortion.warp`: picture(p) = truth(p + offset(p)), x and y in normalised
    units, at the centres of grid x grid cells. Zero for exact views.
    """
    if view_number < len(exact_cameras(scene)):
        return torch.zeros(2, grid, grid)
    return fine_warp(smooth_warp(seed, view_number, scene.nodes, scene.warp_px * 2 / scene.size), grid, grid)
