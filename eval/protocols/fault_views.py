"""Pictures of what is wrong with our worlds: of what floats, hazes and ghosts, and of what completed views make up.

Protocols of run folders alone: they compare splats with the points that these were fitted from.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from eval.protocols.base import Protocol, expect_kind_of
from eval.protocols.outputs import Item, Output
from eval.protocols.picture_sources import Pose, SplatView, content_hash, load_splats
from eval.protocols.pictures import Source
from eval.protocols.world_views import WorldProtocol
from worldgen.errors import UserError, expect
from worldgen.geometry.points import render_points
from worldgen.io.clouds import load_cloud
from worldgen.runs.artifacts import CompletedViews, load_completed_view
from worldgen.runs.reader import RunReader
from worldgen.runs.steps_table import COMPLETE, LIFT
from worldgen.signatures.completed_faults import Witnesses, disagreement, witness
from worldgen.signatures.splat_faults import faults
from worldgen.splat.rasterize import KERNELS
from worldgen.types import Camera, PointCloud

_CLOUD = "cloud.safetensors"
_WITNESS_PX = 256  # of the side of a view that others are compared with


@dataclass(frozen=True)
class FaultView:
    """Square roots of `splat_faults.faults`. clouds: the files of the points that the splats were fitted from."""

    VERSION: ClassVar[str] = "1"
    splats: Path
    clouds: tuple[Path, ...]
    c2w: Pose
    fov_deg: float
    size: tuple[int, int]
    step_m: float

    def load(self) -> Tensor:
        """[3, h, w] in [0, 1]. Raises UserError where a file is broken."""
        camera = Camera.from_fov(*self.size, self.fov_deg, torch.tensor(self.c2w))
        return _as_shown(faults(load_splats(self.splats), _cloud(*map(_stamped, self.clouds)), camera, self.step_m))

    def identity(self) -> str:
        pose = " ".join(f"{value:.9g}" for row in self.c2w for value in row)
        files = " ".join(content_hash(path) for path in (self.splats, *self.clouds))
        view = f"c2w {pose} fov {self.fov_deg:g} size {self.size[0]}x{self.size[1]} step {self.step_m:g}"
        return f"faults {self.VERSION} {files} {view} by kernels {KERNELS}"


@dataclass(frozen=True, eq=False)
class CompletedFaultView:
    """Red: the square root of what a completed view and the photo's points differ by, where both are known (green), and
    of what the other views say of it where it was painted (blue)."""

    VERSION: ClassVar[str] = "2"
    folder: Path
    number: int
    camera: Camera
    clouds: tuple[Path, Path]  # of what the photo's panorama shows, of what the completed views added

    def load(self) -> Tensor:
        """[3, h, w] in [0, 1]. Raises UserError where a file is broken."""
        completed = load_completed_view(self.folder, self.number, self.camera)
        rgb, painted = completed.view.rgb, completed.inpainted
        lifted, finished = map(_stamped, self.clouds)
        apart, known = disagreement(rgb, render_points(_cloud(lifted), self.camera), painted)
        witnesses = _witnesses(self.folder, tuple(map(_stamped, self._pictures())), lifted, finished)
        verdicts = witnesses.verdicts(self.number, self.camera, rgb, painted, _cloud(lifted, finished))
        return _as_shown(torch.stack([torch.where(painted, verdicts, apart), known.float(), painted.float()]))

    def identity(self) -> str:
        mask = self.folder / f"{self.number:03}_inpainted.png"
        files = " ".join(content_hash(path) for path in (*self._pictures(), mask, *self.clouds))
        return f"completed faults {self.VERSION} {files} view {self.number} by witnesses of {_WITNESS_PX} px"

    def _pictures(self) -> list[Path]:
        """All that a verdict depends on: the other views may support this one."""
        return [*sorted(self.folder.glob("[0-9]*[0-9].png")), self.folder / "cameras.json"]


@dataclass(frozen=True, kw_only=True)
class FaultProtocol(WorldProtocol):
    """WorldProtocol's views, as pictures of faults. step_m: to the right, between two pictures that are compared."""

    size: int = 512
    step_m: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        expect("protocol.step_m", self.step_m, 0 < self.step_m <= 1, "more than 0, at most 1 m")

    def expect_kind(self, output: Output) -> None:
        expect_kind_of(output, ("runs",), self.name, "run folders")

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        found = [(name, view) for name, view in super().looks(item) if isinstance(view, SplatView)]
        reader = RunReader(item.path)
        clouds = [reader.path(step, _CLOUD) for step in (LIFT, COMPLETE)]
        there = tuple(path for path in clouds if path.is_file())
        if not there:
            raise UserError(
                f"{item.path}: no {LIFT}/{_CLOUD} in it, wanted the points that its splats were fitted from"
            )
        return [
            (name, FaultView(view.path, there, view.c2w, view.fov_deg, view.size, self.step_m)) for name, view in found
        ]


@dataclass(frozen=True, kw_only=True)
class CompletedProtocol(Protocol):
    """Completed views beside what the photo's points show of them. views: at most so many, evenly among all."""

    views: int = 28

    def __post_init__(self) -> None:
        super().__post_init__()
        expect("protocol.views", self.views, 1 <= self.views <= 10_000, "1 to 10000")

    def expect_kind(self, output: Output) -> None:
        expect_kind_of(output, ("runs",), self.name, "run folders")

    def looks(self, item: Item) -> list[tuple[str, Source]]:
        reader = RunReader(item.path)
        folder, clouds = reader.path(COMPLETE), (reader.path(LIFT, _CLOUD), reader.path(COMPLETE, _CLOUD))
        if not all(path.is_file() for path in (folder / "cameras.json", *clouds)):
            raise UserError(f"{item.path}: no completed views in it")
        cameras = CompletedViews(folder).cameras
        chosen = sorted({round(number * len(cameras) / self.views) for number in range(self.views)})
        numbers = [number for number in chosen if number < len(cameras)]
        return [(f"view{number:03}", CompletedFaultView(folder, number, cameras[number], clouds)) for number in numbers]


def _as_shown(amounts: Tensor) -> Tensor:
    """[3, h, w] in [0, 1], to square roots that 8 bits hold."""
    return (amounts.clamp(0, 1).sqrt() * 255).round() / 255


def _stamped(path: Path) -> tuple[Path, int]:
    """A file and its time: they tell cheaply whether it is still the one that was read."""
    try:
        return path, path.stat().st_mtime_ns
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


@lru_cache(maxsize=2)  # of one world many views are asked for, one after the other
def _cloud(*files: tuple[Path, int]) -> PointCloud:
    return PointCloud.joined([load_cloud(path) for path, _ in files])


@lru_cache(maxsize=1)
def _witnesses(folder: Path, pictures: tuple[tuple[Path, int], ...], *clouds: tuple[Path, int]) -> Witnesses:
    del pictures
    views, cloud = CompletedViews(folder), _cloud(*clouds)
    return Witnesses([witness(one.view.camera, one.view.rgb, cloud, _WITNESS_PX) for one in views])
