"""Many made-up rooms and open scenes (`procedural_world.py`) to train a ControlNet on, and others to test it on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.synthetic.imperfect import ImperfectScene
from eval.synthetic.panoramas import truth_panoramas
from eval.synthetic.procedural_world import Kind, ProceduralWorld, procedural_world
from eval.synthetic.rendering import render
from eval.synthetic.room_textures import MATERIALS
from train.data.measured_views import MeasuredScene
from worldgen.errors import UserError, expect
from worldgen.geometry.cameras import look_at, world_rays
from worldgen.types import Camera, View

_ROWS = 512  # of a panorama; finer ones are reduced
_HELD = 1024  # scenes whose views are held in memory: 1.3 MB each, with 12 views of 128 pixels
_ROOM_M = (0.6, 0.25, 0.5)  # cameras stand within this of the origin, along x, y and z,
_CLEARANCE_M = 0.3  # this far from surfaces,
_YAW_DEG, _PITCH_DEG = 15.0, 8.0  # and look this far aside from +z, so that any two see much of the same
_FOV_DEG = (65.0, 90.0)
_TRIES = 200  # for each camera
_LISTED = "names that python -m eval.synthetic.panoramas lists"


@dataclass(frozen=True)
class ProceduralScene:
    """Fulfils `train.data.measured_views.MeasuredScene`, exactly: views of one made-up world, from close places.

    All of it follows from seed, number and the names. All views are rendered when the first is asked for, and held.
    """

    kind: Kind
    number: int
    panoramas: tuple[str, ...]
    materials: tuple[str, ...] = MATERIALS
    views: int = 12
    seed: int = 0
    samples: int = 2
    prompt: str = ""
    one_place: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.seed}-{self.number}"

    def cameras(self) -> Sequence[Camera]:
        """Raises UserError where the panoramas cannot be had, or the cameras have no room."""
        return self._cameras

    def place(self, number: int) -> str:
        return f"{self.name}: view {number}"

    def view(self, number: int, size: int) -> View:
        """Of size x size pixels, everything known."""
        rgb, distances = _rendered(self, size)
        camera = self._cameras[number].resized(size, size)
        return View(camera, rgb[number].float() / 255, torch.ones(size, size, dtype=torch.bool), distances[number])

    @cached_property
    def _cameras(self) -> list[Camera]:
        generator = np.random.default_rng([self.seed, self.number, 1])
        places = torch.from_numpy(generator.uniform(-1, 1, (self.views * _TRIES, 3)) * _ROOM_M).float()
        clear = places[world_of(self).clearance(places) >= _CLEARANCE_M]
        if len(clear) < self.views:
            raise UserError(f"{self.name}: no room for {self.views} cameras {_CLEARANCE_M:g} m from everything")
        fov_deg = generator.uniform(*_FOV_DEG)
        yaws, pitches = generator.uniform(-1, 1, (2, self.views))
        poses = [
            look_at(yaw * _YAW_DEG, pitch * _PITCH_DEG, place)
            for yaw, pitch, place in zip(yaws, pitches, clear[: self.views], strict=True)
        ]
        return [Camera.from_fov(1024, 1024, fov_deg, pose) for pose in poses]


def procedural_scenes(
    count: int,
    panoramas: Sequence[str],
    materials: Sequence[str] = MATERIALS,
    seed: int = 0,
    views: int = 12,
    samples: int = 2,
    error: float = 1.0,
) -> list[MeasuredScene]:
    """Rooms and open scenes by turns. error: of the distances (`imperfect.ImperfectScene`), 0 = exact.

    Raises UserError for a wrong setting; what cannot be had shows when a scene is looked at.
    """
    expect("data.scenes.count", count, isinstance(count, int) and count >= 1, "1 or more")
    expect("data.scenes.views", views, isinstance(views, int) and views >= 2, "2 or more")
    expect("data.scenes.samples", samples, isinstance(samples, int) and 1 <= samples <= 8, "1 to 8")
    expect("data.scenes.seed", seed, isinstance(seed, int) and seed >= 0, "0 or more")
    expect("data.scenes.panoramas", "none", len(panoramas) > 0, _LISTED)
    unknown = sorted(set(materials) - set(MATERIALS))
    expect("data.scenes.materials", ", ".join(unknown), not unknown, f"some of {', '.join(MATERIALS)}")
    kinds: tuple[Kind, Kind] = ("room", "open")
    exact = [
        ProceduralScene(kinds[number % 2], number, tuple(panoramas), tuple(materials), views, seed, samples)
        for number in range(count)
    ]
    return [ImperfectScene(scene, error, seed * 1_000_003 + scene.number) for scene in exact]


@lru_cache(maxsize=2)
def world_of(scene: ProceduralScene) -> ProceduralWorld:
    """What its views show. Raises UserError where the panoramas cannot be had."""
    generator = np.random.default_rng([scene.seed, scene.number])
    return procedural_world(scene.kind, generator, _panoramas(scene.panoramas), scene.materials)


@lru_cache(maxsize=_HELD)
def _rendered(scene: ProceduralScene, size: int) -> tuple[Tensor, Tensor]:
    """All views of a scene: uint8 [V, 3, size, size] and distances [V, size, size]."""
    world, pictures, distances = world_of(scene), [], []
    for whole in scene.cameras():
        camera = whole.resized(size, size)
        pictures.append((render(world, camera, scene.samples) * 255 + 0.5).byte())
        distances.append(world.distance(camera.position, world_rays(camera)))
    return torch.stack(pictures), torch.stack(distances)


@lru_cache(maxsize=2)
def _panoramas(names: tuple[str, ...]) -> dict[str, Tensor]:
    """[3, H, W] each, of _ROWS rows at most. Raises UserError where one of them is not to be had."""
    found = {name: picture for name, picture in truth_panoramas() if name in names}
    missing = sorted(set(names) - set(found))
    expect("data.scenes.panoramas", ", ".join(missing), not missing, _LISTED)
    return {name: _reduced(picture) for name, picture in found.items()}


def _reduced(picture: Tensor) -> Tensor:
    return F.avg_pool2d(picture, max(1, picture.shape[1] // _ROWS))
