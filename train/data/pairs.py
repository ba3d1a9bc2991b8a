"""What a ControlNet is trained on: a picture, and what points of it, or of its neighbour, show (paper, step 8).

`warp=forward`: B under the points of A. `warp=forward_backward`: A under those of its own points that B can see.
Sample n follows from the seed and n alone, so that a resumed training and every rank see the same by number.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from train.data.measured_views import MeasuredScene
from train.seeds import generator_of
from worldgen.errors import UserError, expect, expect_whole_numbers
from worldgen.geometry.cameras import look_at, project
from worldgen.geometry.warp import forward_warp, round_trip_warp
from worldgen.types import Camera, View

Warp = Literal["forward", "forward_backward"]
_WARPS = ("forward", "forward_backward")
_IN_A_ROW = 50  # draws for one sample
_ENOUGH = 20  # draws, from which on a share of them says something
_FREE = 0.9  # of the way to a surface: nobody stands closer to it

_log = logging.getLogger("worldgen")


@dataclass(frozen=True, eq=False)
class ConditionedSample:
    """rgb: [3, H, W] in [0, 1], what is to be painted; condition: [3, H, W] in [0, 1], 0 where nothing is known; known:
    bool [H, W]; prompt: "" where nobody says; scene: its name; number: of the sample; baseline: how far
    the two places are apart, in parts of A's median distance."""

    rgb: Tensor
    condition: Tensor
    known: Tensor
    prompt: str
    scene: str
    number: int = 0
    baseline: float = 0.0


@dataclass(frozen=True, eq=False)
class ConditionedBatch:
    """rgb: [B, 3, H, W]; condition: [B, 3, H, W]; known: bool [B, H, W]; prompts, numbers: B of
    them."""

    rgb: Tensor
    condition: Tensor
    known: Tensor
    prompts: list[str]
    numbers: list[int]

    def to(self, device: torch.device) -> "ConditionedBatch":
        return replace(self, rgb=self.rgb.to(device), condition=self.condition.to(device), known=self.known.to(device))


def collate(samples: Sequence[ConditionedSample]) -> ConditionedBatch:
    """Samples of one size as a batch."""
    rgb, condition, known = (
        torch.stack([getattr(one, name) for one in samples]) for name in ("rgb", "condition", "known")
    )
    return ConditionedBatch(rgb, condition, known, [one.prompt for one in samples], [one.number for one in samples])


@dataclass(frozen=True)
class ConditionedData:
    """Which pairs are drawn from which scenes.

    size: pixels of a square sample. side_m: of the cube round A that forward_backward looks from; lengths are the
    scenes' own, metres where they have any. baseline: how far B stands from A, at least and at most, in parts of A's
    median distance, which means the same in any unit; forward_backward heeds the larger alone. max_angle_deg: between
    where A and B look (of forward_backward about each of two axes). min_known: share of the target that the condition
    shows; draws with less are drawn again. most_bad: share of draws that may be bad (a file that cannot be read, say);
    each is told in a line, and another drawn instead.
    """

    scenes: Sequence[MeasuredScene]
    warp: Warp = "forward_backward"
    size: int = 512
    side_m: float = 2.0
    min_baseline: float = 0.02
    max_baseline: float = 0.5
    max_angle_deg: float = 30.0
    min_known: float = 0.2
    most_bad: float = 0.1

    def __post_init__(self) -> None:
        expect_whole_numbers("data", self)
        expect("data.warp", self.warp, self.warp in _WARPS, f"one of {', '.join(_WARPS)}")
        expect("data.size", self.size, 32 <= self.size <= 4096, "32 to 4096 pixels")
        expect("data.side_m", self.side_m, self.side_m > 0, "more than 0 metres")
        fits = 0 <= self.min_baseline < self.max_baseline
        expect("data.min_baseline", self.min_baseline, fits, f"0 or more, less than max_baseline {self.max_baseline:g}")
        expect("data.max_angle_deg", self.max_angle_deg, 0 <= self.max_angle_deg <= 90, "0 to 90 degrees")
        expect("data.min_known", self.min_known, 0 < self.min_known < 1, "between 0 and 1")
        expect("data.most_bad", self.most_bad, 0 <= self.most_bad < 1, "0 or more, less than 1")
        expect("data.scenes", "none", len(self.scenes) > 0, "one scene or more")
        still = [scene.name for scene in self.scenes if scene.one_place]
        if self.warp == "forward" and still:
            raise UserError(f"data.warp: forward, but {still[0]} has views of one place alone, wanted forward_backward")

    def __call__(self, length: int, seed: int = 0) -> "ConditionedSamples":
        """`length` samples."""
        return ConditionedSamples(self, length, seed)


class ConditionedSamples(Dataset[ConditionedSample]):
    """Samples 0 ... length - 1, each a function of the data, the seed and its number alone."""

    def __init__(self, data: ConditionedData, length: int, seed: int = 0) -> None:
        self.draws = 0
        """How often a pair was drawn, in this process."""
        self.bad: dict[str, int] = {}
        """What could not be used, and how often it was drawn, in this process; its keys are lines for a person."""
        expect("seed", seed, seed >= 0, "0 or more")
        self._data, self._length, self._seed = data, length, seed

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, n: int) -> ConditionedSample:
        """Sample n. Raises UserError once more draws than `most_bad` of them are bad, or none in a row can be used."""
        if not 0 <= n < self._length:
            raise IndexError(f"sample {n} of {self._length}")
        generator = generator_of(self._seed, n)
        for _ in range(_IN_A_ROW):
            self.draws += 1
            try:
                found = _draw(self._data, generator)
            except UserError as error:
                self._count(str(error))
                continue
            if found is not None:
                return replace(found, number=n)
        why = f"the last bad one was: {list(self.bad)[-1]}" if self.bad else "no two views fit data.* (baseline, angle)"
        raise UserError(f"data: {_IN_A_ROW} draws in a row gave no sample of {self._data.min_known:g} known; {why}")

    def _count(self, why: str) -> None:
        if why not in self.bad:
            _log.warning("%s; left out", why)
        self.bad[why] = self.bad.get(why, 0) + 1
        count = sum(self.bad.values())
        if self.draws >= _ENOUGH and count > self._data.most_bad * self.draws:
            most = f"{self._data.most_bad:.0%} at most (data.most_bad)"
            raise UserError(f"data: {count} of {self.draws} draws are bad, wanted {most}; the last: {why}")


def _draw(data: ConditionedData, generator: torch.Generator) -> ConditionedSample | None:
    """One try; None where the two views show too little of the same. UserError for what cannot be used."""
    scene = data.scenes[_whole(len(data.scenes), generator)]
    cameras = scene.cameras()
    if not cameras:
        raise UserError(f"{scene.name}: no views, wanted some")
    number = _whole(len(cameras), generator)
    a = scene.view(number, data.size)
    median = float(a.measured[a.known].median())
    reach = data.max_baseline * median
    if data.warp == "forward_backward":
        camera = _camera_nearby(data, a, reach, generator)
        if camera is None:
            return None
        apart = float((camera.position - a.camera.position).norm())
        return _sample(scene, a.rgb, round_trip_warp(a, camera), apart / median, data)
    other = _neighbour(data, cameras, number, reach, generator)
    if other is None:
        return None
    b = scene.view(other, data.size)
    warped = forward_warp(a, b.camera)
    if not warped.known.any():
        raise UserError(f"{scene.place(number)}: nothing of it is seen in {scene.place(other)}, wanted some overlap")
    apart = float((b.camera.position - a.camera.position).norm())
    return _sample(scene, b.rgb, warped, apart / median, data)


def _sample(
    scene: MeasuredScene, rgb: Tensor, shown: View, baseline: float, data: ConditionedData
) -> ConditionedSample | None:
    if float(shown.known.float().mean()) < data.min_known:
        return None
    condition = shown.rgb.clamp(0, 1) * shown.known
    return ConditionedSample(rgb, condition, shown.known, scene.prompt, scene.name, baseline=baseline)


def _camera_nearby(data: ConditionedData, a: View, reach: float, generator: torch.Generator) -> Camera | None:
    """Somewhere in the cube round A, on which the recipe's completed views stand, no farther than `reach`, turned at
    random; None where that lies in or behind what A sees."""
    offset = (torch.rand(3, generator=generator) - 0.5) * data.side_m
    offset = offset * min(1.0, reach / max(float(offset.norm()), 1e-9))
    yaw_deg, pitch_deg = ((2 * torch.rand(2, generator=generator) - 1) * data.max_angle_deg).tolist()
    c2w = a.camera.c2w @ look_at(yaw_deg, pitch_deg)
    c2w[:3, 3] = a.camera.position + offset
    camera = Camera(c2w, a.camera.width, a.camera.height, a.camera.fx, a.camera.fy, a.camera.cx, a.camera.cy)
    return camera if _is_free(a, camera.position) else None


def _is_free(a: View, position: Tensor) -> bool:
    """Whether nothing that A sees stands between it and a place [3]; of places outside its picture nobody knows."""
    pixel, zdepth = project(a.camera, position)
    column, row = pixel.floor().long().tolist()
    if not (float(zdepth) > 0 and 0 <= column < a.camera.width and 0 <= row < a.camera.height and a.known[row, column]):
        return True
    return float((position - a.camera.position).norm()) < _FREE * float(a.measured[row, column])


def _neighbour(
    data: ConditionedData, cameras: Sequence[Camera], number: int, reach: float, generator: torch.Generator
) -> int | None:
    """One of the views that stand and look as the data's settings ask; None where there is none."""
    c2w = torch.stack([camera.c2w.double() for camera in cameras])
    apart = (c2w[:, :3, 3] - c2w[number, :3, 3]).norm(dim=1)
    angle = torch.rad2deg(torch.acos((c2w[:, :3, 2] @ c2w[number, :3, 2]).clamp(-1, 1)))
    nearest = reach * data.min_baseline / data.max_baseline
    fits = (apart >= nearest) & (apart <= reach) & (angle <= data.max_angle_deg)
    fits[number] = False
    found = fits.nonzero()[:, 0].tolist()
    return found[_whole(len(found), generator)] if found else None


def _whole(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=generator))
