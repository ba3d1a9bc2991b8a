"""Files of depth for posed pictures that came without: estimated by a network of step 5, in the unit of the poses."""

import json
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from train.data.depth_files import save_zdepth
from train.data.depth_scale import DepthFit, fit_depth
from train.data.measured_folders import MeasuredFolder
from train.data.metric_depth import MetricDepth
from train.data.scene_points import scene_points
from worldgen.errors import UserError
from worldgen.io.poses import PosedPicture
from worldgen.io.undistort import distort
from worldgen.progress import Track
from worldgen.runs.disk import locked, write_text
from worldgen.types import Camera, SupervisionView, ViewDepth

POINTS, SHIFTED, SCENE, METRES = "points", "points_and_shift", "scene", "metres"
"""By what a picture's depth was scaled: points that it sees; those, with a shift of its inverse; the median of its
scene's other pictures; or by nothing."""
RECORD = "scales.json"
_KEYS = ("by", "network", "scale", "shift", "points", "error")
_LOCK, _POINTS = ".lock", ".points"


@dataclass
class Made:
    """What became of a scene's pictures, or of all scenes'. there: had a depth before; scaled: made, by how they were
    scaled; errors: of those that points scaled, the median relative difference; bad: could not be used."""

    views: int = 0
    there: int = 0
    bad: int = 0
    scaled: Counter[str] = field(default_factory=Counter)
    errors: list[float] = field(default_factory=list)
    points: str = ""
    elsewhere: bool = False

    def line(self, name: str) -> str:
        """For a person."""
        if self.elsewhere:
            return f"{name}: another process is at it, left to that"
        parts = [f"{self.there} there before"] * bool(self.there)
        parts += [f"{self.scaled[POINTS]} scaled by {self.points}"] * bool(self.scaled[POINTS])
        parts += [f"{self.scaled[SHIFTED]} scaled and shifted by {self.points}"] * bool(self.scaled[SHIFTED])
        parts += [f"{self.scaled[SCENE]} as the others, for want of points that agree"] * bool(self.scaled[SCENE])
        parts += [f"{self.scaled[METRES]} left in metres, for want of points that agree"] * bool(self.scaled[METRES])
        parts += [f"{self.bad} that cannot be used"] * bool(self.bad)
        off = f"; {statistics.median(self.errors):.1%} off the points at the median" if self.errors else ""
        return f"{name}: {self.views} pictures, {', '.join(parts)}{off}"


@dataclass(frozen=True)
class DepthMaker:
    """Writes what is missing of scenes' depths.

    size: pixels of the shorter side that pictures are reduced to before, and that their depths have. triangulated: from
    how many pictures points are triangulated, at most, where a scene has none. tell: gets a line for each fault.
    """

    estimator: MetricDepth
    size: int
    triangulated: int
    track: Track
    tell: Callable[[str], None]

    def __call__(self, scene: MeasuredFolder) -> Made:
        """One scene's. What is there stays as it is; several processes may be at one scene, of which one makes it.
        Raises UserError where the scene cannot be read."""
        paths = _paths(scene)
        missing = [picture for picture in scene.pictures if not scene.depth_path(picture).is_file()]
        made = Made(len(paths), len(paths) - len(missing))
        if not missing:
            return made
        folder = scene.home / str(scene.depth)
        self.estimator.load()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be made ({error.strerror}), wanted a folder to write depths to"
            ) from error
        try:
            with locked(folder / _LOCK, wait=False):
                self._make(scene, missing, folder, made)
        except BlockingIOError:
            made.elsewhere = True
        return made

    def _make(self, scene: MeasuredFolder, missing: Sequence[PosedPicture], folder: Path, made: Made) -> None:
        record = _Record(folder / RECORD, self.estimator.name)
        for network in record.others():
            self.tell(f"{folder}: some of its depths are of {network}, the others come to be of {self.estimator.name}")
        work = _Work(self, scene, record, made)
        points = scene_points(scene, self.triangulated, self.size, folder / _POINTS)
        left = list(missing)
        if points is not None:
            made.points = points[0]
            seen = self.track(missing, len(missing), scene.name)
            left = [picture for picture in seen if not work.by_points(picture, points[1])]
        scale = record.median_scale()
        how, fit = (METRES, DepthFit(1.0)) if scale is None else (SCENE, DepthFit(scale))
        for picture in self.track(left, len(left), scene.name):
            work.by_scale(picture, how, fit)


@dataclass(frozen=True)
class _Work:
    """One scene's pictures, one by one."""

    maker: DepthMaker
    scene: MeasuredFolder
    record: "_Record"
    made: Made

    def by_points(self, picture: PosedPicture, xyz: Tensor) -> bool:
        """Whether the picture is done with: False where it sees too few of the points [N, 3]."""
        found = self._estimated(picture)
        if found is None:
            return True
        sized, view, depth = found
        fit = fit_depth(depth, view.camera, xyz, view.weight > 0.5)
        if fit is None:
            return False
        self._keep(sized, view.camera, depth, SHIFTED if fit.shift else POINTS, fit)
        self.made.errors.append(fit.error)
        return True

    def by_scale(self, picture: PosedPicture, how: str, fit: DepthFit) -> None:
        """Scales it so, whatever it sees."""
        found = self._estimated(picture)
        if found is not None:
            sized, view, depth = found
            self._keep(sized, view.camera, depth, how, fit)

    def _estimated(self, posed: PosedPicture) -> tuple[PosedPicture, SupervisionView, ViewDepth] | None:
        """The picture with its size, what a pinhole sees of it, and the depth of that in metres; None where it cannot
        be used, which is told. What the network raises is no fault of the picture's."""
        try:
            picture, view = self.scene.straightened(posed, self.maker.size)
        except UserError as error:
            self._tell(str(error))
            return None
        depth = self.maker.estimator(view.rgb, replace(view.camera, c2w=view.camera.c2w.float()))
        if not bool(depth.valid.any()):
            self._tell(f"{picture.path}: nothing valid in the answer of {self.maker.estimator.name}, wanted a depth")
            return None
        return picture, view, depth

    def _keep(self, picture: PosedPicture, camera: Camera, depth: ViewDepth, how: str, fit: DepthFit) -> None:
        """A file for the picture; 0 where the estimate is not valid."""
        zdepth = torch.where(depth.valid, fit(depth.zdepth), torch.zeros(())).float()
        path = new_depth_path(self.scene, picture)
        save_zdepth(path, _of_lens(zdepth, picture, camera).numpy())
        self.made.scaled[how] += 1
        self.record.add(path.stem, how, fit)

    def _tell(self, line: str) -> None:
        self.made.bad += 1
        self.maker.tell(line)


def new_depth_path(scene: MeasuredFolder, picture: PosedPicture) -> Path:
    """Where the depth that is made of a picture is written."""
    return scene.home / str(scene.depth) / f"{picture.path.stem}.npy"


def _paths(scene: MeasuredFolder) -> set[Path]:
    """Of the depths of all pictures. Raises UserError where two pictures would share one."""
    taken: dict[Path, PosedPicture] = {}
    for picture in scene.pictures:
        other = taken.setdefault(new_depth_path(scene, picture), picture)
        if other is not picture:
            raise UserError(f"{picture.path}: of the same name as {other.path}, wanted a name, and a depth, for each")
    return set(taken)


def _of_lens(zdepth: Tensor, picture: PosedPicture, view: Camera) -> Tensor:
    """[H, W] of the pinhole `view` as the picture's own lens, as much reduced, shows it; 0 where that shows nothing."""
    if picture.distortion is None:
        return zdepth
    lens = picture.camera
    factor = view.fx / lens.fx
    small = lens.resized(max(1, round(lens.width * factor)), max(1, round(lens.height * factor)))
    bent, seen = distort(zdepth.numpy(), view, small, picture.distortion)
    return torch.from_numpy(np.where(seen, bent, 0).astype(np.float32))


class _Record:
    """By what each depth of a folder was scaled, as a file beside them: for a person, and for a later start."""

    def __init__(self, path: Path, network: str) -> None:
        self._path, self._network = path, network
        self._views: dict[str, dict[str, Any]] = {}
        if path.is_file():
            with suppress(ValueError, AttributeError, KeyError, TypeError):  # somebody wrote in it
                read = json.loads(path.read_text(encoding="utf-8"))
                self._views = {name: {key: view[key] for key in _KEYS} for name, view in read.items()}

    def others(self) -> list[str]:
        """Networks that depths there are of, apart from this one."""
        return sorted({str(view["network"]) for view in self._views.values()} - {self._network})

    def add(self, name: str, how: str, fit: DepthFit) -> None:
        """One view more."""
        values = (how, self._network, fit.scale, fit.shift, fit.points, fit.error)
        self._views[name] = dict(zip(_KEYS, values, strict=True))
        write_text(self._path, json.dumps(self._views, indent=1) + "\n")

    def median_scale(self) -> float | None:
        """Poses' units per metre, by the views that points scaled; None where there are none."""
        views = [view for view in self._views.values() if view["network"] == self._network]
        for how in (POINTS, SHIFTED):  # a shift tells the scale less well, and still better than metres
            scales = [view["scale"] for view in views if view["by"] == how and isinstance(view["scale"], float | int)]
            if scales:
                return statistics.median(map(float, scales))
        return None
