"""Our own run folders as training pictures: views of the panorama, with the distances that were estimated for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from train.data.measured_views import usable
from worldgen.errors import UserError
from worldgen.geometry.equirect import to_perspective
from worldgen.paths import user_path
from worldgen.recipe.training_views import SupervisionSettings, panorama_cameras
from worldgen.runs.reader import RunReader
from worldgen.types import Camera, DistanceMap, Panorama, View


@dataclass(frozen=True)
class MeasuredRun:
    """Fulfils MeasuredScene: the panorama of one run, cut as the splat step cuts it by default.

    All views stand at the panorama's centre. A run folder is held in memory once it was looked at.
    """

    folder: Path
    one_place: bool = field(default=True, init=False)

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def prompt(self) -> str:
        """What the run said of the whole scene."""
        return RunReader(self.folder).prompts().atmosphere

    def cameras(self) -> Sequence[Camera]:
        """Of the panorama's views. Raises UserError for what is no run folder."""
        RunReader(self.folder).manifest()
        return panorama_cameras(SupervisionSettings())

    def place(self, number: int) -> str:
        return f"{self.folder}: view {number}"

    def view(self, number: int, size: int) -> View:
        """See MeasuredScene; distances by the nearest pixel, so that none lies between two surfaces."""
        panorama, distances = self._read
        camera = panorama_cameras(SupervisionSettings())[number].resized(size, size)
        rgb = to_perspective(panorama.rgb, camera, "bicubic").clamp(0, 1)
        distance = to_perspective(distances.distance[None], camera, "nearest")[0]
        return usable(View(camera, rgb, torch.ones(size, size, dtype=torch.bool), distance), self.place(number))

    @cached_property
    def _read(self) -> tuple[Panorama, DistanceMap]:
        reader = RunReader(self.folder)
        return reader.panorama(), reader.distances()


def measured_runs(folders: Sequence[str | Path] | str | Path | None) -> list[MeasuredRun]:
    """A scene for each run folder; one path stands for itself, or for all runs that lie in it.

    Raises UserError where there is none.
    """
    if not folders:
        raise UserError("data.scenes.folders: missing, wanted run folders, for example data.scenes.folders=runs")
    given = [folders] if isinstance(folders, str | Path) else folders
    found = [run for one in given for run in _runs_in(user_path(one))]
    if not found:
        raise UserError(f"{given[0]}: no run folder in it, wanted one with a manifest.json")
    return [MeasuredRun(run) for run in found]


def _runs_in(path: Path) -> list[Path]:
    if (path / "manifest.json").is_file():
        return [path]
    return sorted(one.parent for one in path.glob("*/manifest.json"))
