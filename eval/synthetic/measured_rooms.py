"""Views of scenes with known ground truth, with their exact distances, to train on (`train/data/pairs.py`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from eval.synthetic.rendering import Truth, render
from eval.synthetic.scenes import TruthScene
from worldgen.errors import UserError, expect, expect_whole_numbers
from worldgen.geometry.cameras import look_at, world_rays
from worldgen.types import Camera, View

_CLEARANCE_M = 0.1  # cameras keep this far from surfaces
_PITCH_DEG = 30.0  # up or down, at most
_TRIES = 100  # for each camera


@dataclass(frozen=True)
class MeasuredTruth:
    """Fulfils `train.data.measured_views.MeasuredScene`: a scene looked at from anywhere in its cube, all round.

    truth: of which everything is known; views: how many; seed: decides where they stand and look; fov_deg: of a view.
    A view is rendered whenever it is asked for.
    """

    truth: TruthScene
    views: int = 256
    seed: int = 0
    fov_deg: float = 90.0
    prompt: str = ""
    one_place: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        expect_whole_numbers("data.scenes", self)
        expect("data.scenes.views", self.views, self.views >= 1, "1 or more")
        expect("data.scenes.fov_deg", self.fov_deg, 10 < self.fov_deg < 150, "between 10 and 150 degrees")

    @property
    def name(self) -> str:
        return f"{self.truth.kind}-{self.seed}"

    def cameras(self) -> Sequence[Camera]:
        """Raises UserError where the cube has no place that keeps clear of all surfaces."""
        return self._cameras

    def place(self, number: int) -> str:
        return f"{self.name}: view {number}"

    def view(self, number: int, size: int) -> View:
        """Of size x size pixels, exact, everything known."""
        camera = self._cameras[number].resized(size, size)
        rgb = render(self._truth, camera, self.truth.samples)
        distance = self._truth.distance(camera.position, world_rays(camera))
        return View(camera, rgb, torch.ones(size, size, dtype=torch.bool), distance)

    @cached_property
    def _truth(self) -> Truth:
        return self.truth.truth()

    @cached_property
    def _cameras(self) -> list[Camera]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + 3)
        places = (torch.rand(self.views * _TRIES, 3, generator=generator) - 0.5) * self.truth.side_m
        clear = places[self._truth.clearance(places) >= _CLEARANCE_M]
        if len(clear) < self.views:
            raise UserError(f"{self.name}: a cube of {self.truth.side_m:g} m has no room for {self.views} cameras")
        turns = torch.rand(self.views, 2, generator=generator).tolist()
        poses = [
            look_at(360 * turn, _PITCH_DEG * (2 * tilt - 1), place)
            for (turn, tilt), place in zip(turns, clear[: self.views], strict=True)
        ]
        return [Camera.from_fov(self.truth.size, self.truth.size, self.fov_deg, pose) for pose in poses]


def measured_truths(truths: Sequence[TruthScene], views: int = 256, seed: int = 0) -> list[MeasuredTruth]:
    """A training scene for each; `views` of each, cameras of their own by `seed` and their number in the list."""
    return [MeasuredTruth(truth, views, seed * len(truths) + number) for number, truth in enumerate(truths)]
