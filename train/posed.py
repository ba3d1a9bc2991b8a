"""Posed views from a folder as a scene to fit: one of our own runs, nerfstudio's transforms.json, or a COLMAP model."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from train.clouds import Points, cloud_of, expect_seen, random_points, read_points
from train.pictures import read_view
from worldgen.errors import UserError, expect_whole_numbers
from worldgen.paths import user_path
from worldgen.poses import PosedPicture, is_colmap, read_colmap, read_colmap_points, read_transforms
from worldgen.types import PointCloud, Scene, SupervisionView, View

_MANIFEST, _TRANSFORMS = "manifest.json", "transforms.json"
_BLENDER = {"transforms_train.json": False, "transforms_test.json": True}  # whether it is held out
_MODELS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap", ".")  # where a COLMAP model may lie

_SMALLEST_PX = 32  # LPIPS needs as many

_log = logging.getLogger("worldgen")


@dataclass(frozen=True)
class FolderScene:
    """A folder of posed views.

    views: the folder. What it is, is seen by what lies in it, in this order: a run folder (manifest.json), nerfstudio's
    or Blender's poses (transforms.json, or transforms_train.json and transforms_test.json), a COLMAP model (sparse/0,
    sparse, or beside the pictures). points: a .ply to start from, in the same world; None = the folder's own, or else
    `random_points` grey ones where the cameras look.
    held_out_every: one of so many pictures, by name, is held out; 0 = none. A split of the folder's own goes before
    that. Of a run, only views of the panorama are, never the photo's own: they overlap so much that with the defaults
    every direction is still supervised, but they stand at one place, so that they tell of detail, not of parallax.
    max_size: pixels of the longer side; larger pictures are reduced. A run's views stay as its splat step saw them.
    """

    views: str | Path
    points: str | Path | None = None
    held_out_every: int = 8
    max_size: int = 1024
    random_points: int = 50_000

    def __post_init__(self) -> None:
        expect_whole_numbers("scene", self)
        if not all(isinstance(path, str | Path | None) for path in (self.views, self.points)):
            raise UserError(f"scene.views={self.views}, scene.points={self.points}: wanted paths")
        if self.held_out_every < 0 or self.held_out_every == 1:
            raise UserError(f"scene.held_out_every={self.held_out_every}: wanted 0 (none) or 2 and more")
        if self.max_size < _SMALLEST_PX:
            raise UserError(f"scene.max_size={self.max_size}: wanted {_SMALLEST_PX} pixels or more")
        if self.random_points < 1:
            raise UserError(f"scene.random_points={self.random_points}: wanted 1 or more")

    def __call__(self, seed: int = 0) -> Scene:
        """The scene in the folder's own world: axes, origin and scale are as it has them. seed: of random points.

        Raises UserError, one line, for whatever in the folder cannot be used.
        """
        folder = user_path(self.views)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder, wanted one with posed views")
        if (folder / _MANIFEST).is_file():
            return self._of_run(folder)
        pictures, points = _read_folder(folder)
        if not any(picture.held_out for picture in pictures):
            pictures = _hold_out(pictures, self.held_out_every)
        views = [(picture.held_out, read_view(picture, self.max_size)) for picture in pictures]
        fitted = [view for held_out, view in views if not held_out]
        if not fitted:
            raise UserError(f"{folder}: all of its {len(views)} pictures are held out, wanted some to fit")
        cameras = [view.camera for view in fitted]
        if self.points is not None:
            points = read_points(user_path(self.points))
        if points is None:
            _log.warning("%s: no points there, so the fit starts from %d random ones", folder, self.random_points)
            points = random_points(str(folder), cameras, self.random_points, seed)
        return _scene(folder, cloud_of(points, cameras), fitted, [view for held_out, view in views if held_out])

    def _of_run(self, folder: Path) -> Scene:
        from train.run_views import read_run  # here, because all steps' code comes with it

        views, cloud = read_run(folder)
        # The photo's view comes first. By default, every direction is seen by two of the others at least.
        exact = [number for number, view in enumerate(views) if not view.generated][1:]
        held_out = set(exact[self.held_out_every - 1 :: self.held_out_every] if self.held_out_every else ())
        fitted = [view for number, view in enumerate(views) if number not in held_out]
        cameras = [view.camera for view in fitted]
        if self.points is not None:
            cloud = cloud_of(read_points(user_path(self.points)), cameras)
        expect_seen(str(folder), cloud.xyz, cameras)
        return _scene(folder, cloud, fitted, [views[number] for number in sorted(held_out)])


def _read_folder(folder: Path) -> tuple[list[PosedPicture], Points | None]:
    """Pictures, and the points that belong to them, of what is no run folder."""
    if (folder / _TRANSFORMS).is_file():
        path = folder / _TRANSFORMS
        pictures = read_transforms(path, folder)
        ply = json.loads(path.read_text(encoding="utf-8")).get("ply_file_path")
        if ply is not None and not isinstance(ply, str):
            raise UserError(f"{path}: ply_file_path is {ply!r}, wanted the path of a .ply")
        return pictures, read_points(folder / ply) if ply else None
    if (folder / "transforms_train.json").is_file():
        there = [(folder / name, held_out) for name, held_out in _BLENDER.items() if (folder / name).is_file()]
        return [
            replace(one, held_out=held_out) for path, held_out in there for one in read_transforms(path, folder)
        ], None
    model = next((folder / place for place in _MODELS if is_colmap(folder / place)), None)
    if model is None:
        raise UserError(
            f"{folder}: no manifest.json, transforms.json or COLMAP model (sparse/0) in it, wanted a run folder, "
            "nerfstudio's or COLMAP's"
        )
    images = folder / "images" if (folder / "images").is_dir() else folder
    pictures = read_colmap(model, images)
    xyz, rgb = read_colmap_points(model)
    return pictures, Points(str(model), xyz, rgb) if len(xyz) else None


def _hold_out(pictures: Sequence[PosedPicture], every: int) -> list[PosedPicture]:
    """The first of each `every` (as Mip-NeRF 360 and 3DGS do), but no generated ones, and not the only one there is."""
    candidates = [number for number, picture in enumerate(pictures) if not picture.generated]
    held_out = set(candidates[::every]) if every and len(pictures) > 1 else set()
    return [replace(picture, held_out=number in held_out) for number, picture in enumerate(pictures)]


def _scene(
    folder: Path, cloud: PointCloud, fitted: Sequence[SupervisionView], held_out: Sequence[SupervisionView]
) -> Scene:
    apart = tuple(View(view.camera, view.rgb, view.weight > 0.5) for view in held_out)
    return Scene(folder.resolve().name, cloud, tuple(fitted), apart)
