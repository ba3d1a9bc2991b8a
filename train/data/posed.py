"""Posed views from a folder as a scene to fit: one of our own runs, nerfstudio's transforms.json, or a COLMAP model."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from train.data.empty_space import with_alpha
from train.data.images import read_views
from train.data.point_files import Points, read_points, without_broken
from train.data.points_frame import in_the_poses_world
from train.data.scene_source import source_of
from train.data.selected import Selected
from train.data.start_cloud import cloud_of, expect_seen
from train.data.start_points import found_points, guessed_points
from worldgen.errors import UserError, expect, expect_whole_numbers
from worldgen.geometry.world_frame import camera_into, frame_of, points_into
from worldgen.io import packed
from worldgen.io.colmap import is_colmap, read_colmap, read_colmap_points
from worldgen.io.picture_names import or_reduced
from worldgen.io.poses import PosedPicture
from worldgen.io.transforms_json import read_transforms
from worldgen.paths import user_path
from worldgen.types import PointCloud, Scene, SupervisionView, View, WorldFrame

_MANIFEST, _TRANSFORMS = "manifest.json", "transforms.json"
_BLENDER = {"transforms_train.json": False, "transforms_test.json": True}  # whether it is held out
_MODELS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap", ".")  # where a COLMAP model may lie

_SMALLEST_PX = 32  # LPIPS needs as many
_AS_IT_IS = WorldFrame()

_log = logging.getLogger("worldgen")


@dataclass(frozen=True)
class FolderScene:
    """A folder of posed views.

    views: the folder. What it is, is seen by what lies in it, in this order: a run folder (manifest.json), nerfstudio's
    or Blender's poses (transforms.json, or transforms_train.json and transforms_test.json), a COLMAP model (sparse/0,
    sparse, or beside the pictures). points: a .ply to start from, in the same world; None = the folder's own, or else
    those that are triangulated from the pictures, if `triangulate`, or else `random_points` grey ones where the cameras
    look.
    held_out_every: one of so many pictures, by name, is held out; 0 = none. A split of the folder's own goes before
    that. Of a run, only views of the panorama are, never the photo's own: they overlap so much that with the defaults
    every direction is still supervised, but they stand at one place, so that they tell of detail, not of parallax.
    max_size: pixels of the longer side (half of 1080p by default); larger pictures are reduced. A run's views stay as
    its splat step saw them.
    cache: where undistorted pictures and triangulated points are kept, to start sooner next time; None = nowhere.
    """

    views: str | Path
    points: str | Path | None = None
    held_out_every: int = 8
    max_size: int = 960
    random_points: int = 50_000
    triangulate: bool = True
    cache: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        expect_whole_numbers("scene", self)
        for name in ("views", "points"):
            path = getattr(self, name)
            expect(f"scene.{name}", path, isinstance(path, str | Path | None), "a path")
        apart = self.held_out_every
        expect("scene.held_out_every", apart, apart == 0 or apart >= 2, "0 (none) or 2 and more")
        expect("scene.max_size", self.max_size, self.max_size >= _SMALLEST_PX, f"{_SMALLEST_PX} pixels or more")
        expect("scene.random_points", self.random_points, self.random_points >= 1, "1 or more")

    @property
    def name(self) -> str:
        """Of the scene."""
        return user_path(self.views).resolve().name

    def __call__(self, seed: int = 0) -> Scene:
        """The scene, moved and scaled to where float32 and the fit are at ease, with the axes that it has; a run of
        ours stays where it is. seed: of random points.

        Raises UserError, one line, for whatever in the folder cannot be used.
        """
        folder = user_path(self.views)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder, wanted one with posed views")
        if (folder / _MANIFEST).is_file():
            return self._of_run(folder)
        pictures, points = read_folder(folder)
        if not any(picture.held_out for picture in pictures):
            pictures = _hold_out(pictures, self.held_out_every)
        if all(picture.held_out for picture in pictures):
            raise UserError(f"{folder}: all of its {len(pictures)} pictures are held out, wanted some to fit")
        if self.points is not None:
            points = read_points(user_path(self.points))
        positions = torch.stack([picture.camera.position for picture in pictures])
        frame = frame_of(positions, None if points is None else points.xyz)
        placed = [replace(picture, camera=camera_into(frame, picture.camera)) for picture in pictures]
        views = with_alpha(read_views(str(folder), placed, self.max_size, self.cache))
        fitted = [view for view, picture in zip(views, placed, strict=True) if not picture.held_out]
        held_out = [view for view, picture in zip(views, placed, strict=True) if picture.held_out]
        own = None if points is None else replace(points, xyz=points_into(frame, points.xyz))
        found = found_points(str(folder), fitted, self.cache) if own is None and self.triangulate else own
        start = guessed_points(str(folder), fitted, self.random_points, seed) if found is None else found
        cloud = cloud_of(start, [view.camera for view in fitted])
        choices = f"{self.max_size} {self.random_points} {found is None} {seed}"
        scene = _scene(self.name, cloud, fitted, held_out, frame)
        return replace(scene, guessed=found is None, source=source_of(placed, own, choices))

    def _of_run(self, folder: Path) -> Scene:
        from train.data.run_views import read_run  # here, because all steps' code comes with it

        views, cloud = read_run(folder)
        # The photo's view comes first. By default, every direction is seen by two of the others at least.
        facts = [(view.camera, view.generated) for view in views]
        exact = [number for number, (_, generated) in enumerate(facts) if not generated][1:]
        held_out = exact[self.held_out_every - 1 :: self.held_out_every] if self.held_out_every else []
        fitted = [number for number in range(len(facts)) if number not in held_out]
        cameras = [facts[number][0] for number in fitted]
        if self.points is not None:
            points = read_points(user_path(self.points))
            cloud = cloud_of(replace(points, xyz=points.xyz.float()), cameras)
        expect_seen(str(folder), cloud.xyz, cameras)
        in_memory = isinstance(views, list | tuple)
        fitted_views = [views[number] for number in fitted] if in_memory else Selected(views, fitted)
        return _scene(self.name, cloud, fitted_views, [views[number] for number in held_out])


def is_scene(folder: Path) -> bool:
    """Whether there are poses in it that `read_folder` knows."""
    there = any(packed.is_file(folder / name) for name in (_TRANSFORMS, *_BLENDER))
    return there or colmap_model(folder) is not None


def read_folder(folder: Path) -> tuple[list[PosedPicture], Points | None]:
    """Pictures, and the points that belong to them, of what is no run folder. Raises UserError, one line."""
    if packed.is_file(folder / _TRANSFORMS):
        found = read_transforms(folder / _TRANSFORMS, folder)
        if found.points is None:
            return found.pictures, None
        return found.pictures, in_the_poses_world(read_points(found.points), found)
    if packed.is_file(folder / "transforms_train.json"):
        there = [(folder / name, held_out) for name, held_out in _BLENDER.items() if packed.is_file(folder / name)]
        return [
            replace(one, held_out=held_out)
            for path, held_out in there
            for one in read_transforms(path, folder).pictures
        ], None
    model = colmap_model(folder)
    if model is None:
        raise UserError(
            f"{folder}: no manifest.json, transforms.json or COLMAP model (sparse/0) in it, wanted a run folder, "
            "nerfstudio's or COLMAP's"
        )
    images = or_reduced(folder / "images")
    images = images if images.is_dir() else folder
    return read_colmap(model, images), _colmap_points(model)


def colmap_model(folder: Path) -> Path | None:
    """Where in it a COLMAP model lies; None where none does."""
    return next((folder / place for place in _MODELS if is_colmap(folder / place)), None)


def _colmap_points(model: Path) -> Points | None:
    """COLMAP's own, or else the points3D.ply that 3DGS trainers keep beside them."""
    found = read_colmap_points(model)
    if found is not None and len(found[0]):
        return without_broken(Points(str(model), *found))
    ply = model / "points3D.ply"
    return read_points(ply) if ply.is_file() else None


def _hold_out(pictures: Sequence[PosedPicture], every: int) -> list[PosedPicture]:
    """The first of each `every` (as Mip-NeRF 360 and 3DGS do), but no generated ones, and not the only one there is."""
    candidates = [number for number, picture in enumerate(pictures) if not picture.generated]
    held_out = set(candidates[::every]) if every and len(pictures) > 1 else set()
    return [replace(picture, held_out=number in held_out) for number, picture in enumerate(pictures)]


def _scene(
    name: str,
    cloud: PointCloud,
    fitted: Sequence[SupervisionView],
    held_out: Sequence[SupervisionView],
    frame: WorldFrame = _AS_IT_IS,
) -> Scene:
    """Held-out views that are empty somewhere are compared over white, as is the custom."""
    white = torch.ones(3)
    apart = tuple(
        View(view.camera, view.over(white), view.weight > 0.5, background=None if view.alpha is None else white)
        for view in held_out
    )
    return Scene(name, cloud, fitted, apart, frame)
