"""Folders, or zips, of posed pictures with a file of depth for each: as transforms.json says, or in a folder beside."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from train.data.depth_files import SUFFIXES, read_zdepth
from train.data.images import read_view, with_size_of_file
from train.data.measured_views import squared, usable
from train.data.posed import is_scene, read_folder
from worldgen.errors import UserError, expect
from worldgen.geometry.cameras import zdepth_to_distance
from worldgen.io import packed
from worldgen.io.poses import PosedPicture
from worldgen.io.undistort import pinhole, undistort
from worldgen.paths import user_path
from worldgen.types import Camera, SupervisionView, View

_TRANSFORMS = "transforms.json"
_DEEPEST = 3  # folders in folders that scenes are looked for in: DL3DV-10K has 1K/<scene>/nerfstudio


def posed_pictures(folder: Path) -> list[PosedPicture]:
    """Of a folder as `posed.FolderScene` reads it, or of a zip that holds one with a transforms.json. Raises
    UserError."""
    return read_folder(unpacked(folder))[0]


def unpacked(folder: Path) -> Path:
    """A scene's folder, in its zip if it is one. Raises UserError where there is no scene in the zip."""
    if not is_zip(folder):
        return folder
    inside = packed.folder_of(folder, _TRANSFORMS)
    if inside is None:
        raise UserError(f"{folder}: no transforms.json in it, wanted a scene as DL3DV packs it")
    return inside


@dataclass(frozen=True)
class MeasuredFolder:
    """Fulfils MeasuredScene: one folder of posed pictures, in the poses' own world and unit. folder: it, or its zip.

    depth: the folder in it, or for a zip in the folder of its name beside it, whose files have the pictures' names;
    None = as transforms.json says. unit: of a depth picture's grey value, in the poses' unit; 0.001 = millimetres where
    they are in metres. pictures_of: reads the poses. Lenses are straightened, and their depth with them. Held-out
    pictures are left out.
    """

    folder: Path
    depth: str | None = None
    unit: float = 0.001
    prompt: str = ""
    pictures_of: Callable[[Path], Sequence[PosedPicture]] = posed_pictures
    one_place: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        return self.home.name

    @property
    def home(self) -> Path:
        """Where the folder of depths lies: in the scene's folder, for a zip in the one of its name beside it."""
        return self.folder.with_suffix("") if is_zip(self.folder) else self.folder

    def cameras(self) -> Sequence[Camera]:
        """Of the pictures, lens distortion aside. Raises UserError for a folder that cannot be read."""
        return [picture.camera for picture in self.pictures]

    def place(self, number: int) -> str:
        return str(self.pictures[number].path)

    def view(self, number: int, size: int) -> View:
        """See MeasuredScene; the picture is reduced until its shorter side has `size` pixels, and its middle taken."""
        picture, seen = self.straightened(self.pictures[number], size)
        camera = replace(seen.camera, c2w=seen.camera.c2w.float())
        path = self.depth_path(picture)
        zdepth = _straight(read_zdepth(path, self.unit), picture, path)
        zdepth = F.interpolate(zdepth[None, None], (camera.height, camera.width), mode="nearest-exact")[0, 0]
        whole = View(camera, seen.rgb, seen.weight > 0.5, zdepth_to_distance(camera, zdepth))
        return usable(squared(whole, str(picture.path), size), str(path))

    def straightened(self, posed: PosedPicture, size: int) -> tuple[PosedPicture, SupervisionView]:
        """A picture whose camera has its size, and what a pinhole sees of it, reduced until its shorter side has `size`
        pixels. Raises UserError, naming the file, for what cannot be used."""
        if not packed.is_file(posed.path):
            raise UserError(f"{posed.path}: not found, wanted a picture of {self.folder}")
        picture = with_size_of_file(posed)
        sides = (picture.camera.width, picture.camera.height)
        return picture, read_view(picture, math.ceil(size * max(sides) / min(sides)))

    def depth_path(self, picture: PosedPicture) -> Path:
        """Where the depth of a picture lies, or would. Raises UserError where nobody says."""
        if self.depth is None:
            if picture.depth is None:
                raise UserError(f"{picture.path}: no depth_file_path, wanted one, or data.scenes.depth=<folder>")
            return picture.depth
        there = [self.home / self.depth / (picture.path.stem + suffix) for suffix in SUFFIXES]
        return next((path for path in there if path.is_file()), there[0])

    @cached_property
    def pictures(self) -> list[PosedPicture]:
        """Those that are not held out. Raises UserError for a folder that cannot be read."""
        return [picture for picture in self.pictures_of(self.folder) if not picture.held_out]


def measured_folders(
    folders: Sequence[str | Path] | str | Path | None, depth: str | None = None, unit: float = 0.001, prompt: str = ""
) -> list[MeasuredFolder]:
    """A scene for each folder of posed pictures; one path stands for itself, or for all scenes that lie in it, also
    in folders in it. A zip is a scene, too, unless one is unpacked beside it.

    Raises UserError where there is none.
    """
    given = given_folders(folders)
    expect("data.scenes.unit", unit, 0 < unit < math.inf, "more than 0")
    found = once_each(scene for one in given for scene in _scenes_in(one, _DEEPEST) or [one])
    return [MeasuredFolder(scene, depth, unit, prompt) for scene in found]


def given_folders(
    folders: Sequence[str | Path] | str | Path | int | None,
    key: str = "data.scenes.folders",
    what: str = "posed pictures",
) -> list[Path]:
    """One or several, by the config's `key`. Raises UserError where nobody says which, and where one is not there."""
    if not folders:  # a number is a name, too: 2024
        raise UserError(f"{key}: missing, wanted {what}, as {key}=data/rooms")
    listed = [folders] if isinstance(folders, str | Path | int) else folders
    found = once_each(user_path(str(one)) for one in listed)
    for path in found:
        expect(key, str(path), path.exists(), f"{what} that are there")
    return found


def once_each(paths: Iterable[Path]) -> list[Path]:
    """As they are written, those that lead to one place once."""
    return list({path.resolve(): path for path in reversed(list(paths))}.values())[::-1]


def is_zip(path: Path) -> bool:
    """Whether it is a scene that is packed."""
    return path.suffix.lower() == packed.ZIP and path.is_file()


def _scenes_in(path: Path, deepest: int) -> list[Path]:
    """What is no scene and has none in it is left to the caller, who counts it as a bad one: reading it says why."""
    if is_scene(path):
        return [path]
    if deepest == 0 or not path.is_dir():
        return []
    inside = sorted(path.iterdir())
    found = {one: _scenes_in(one, deepest - 1) for one in inside if one.is_dir()}
    zips = [one for one in inside if is_zip(one) and _is_the_scene(one, found.get(one.with_suffix("")) or [])]
    hidden = {one.with_suffix("") for one in zips}
    return [scene for one, scenes in found.items() if one not in hidden for scene in scenes] + zips


def _is_the_scene(zipped: Path, beside: Sequence[Path]) -> bool:
    """Whether a zip is, and not what lies in the folder of its name beside: of DL3DV, that may be COLMAP's model
    alone."""
    if not beside or any((scene / _TRANSFORMS).is_file() for scene in beside):
        return not beside
    try:
        return packed.folder_of(zipped, _TRANSFORMS) is not None
    except UserError:
        return False


def _straight(zdepth: Tensor, picture: PosedPicture, path: Path) -> Tensor:
    """As the pinhole camera sees it; 0 where the lens saw nothing. Raises UserError where it is not of the picture."""
    (height, width), lens = zdepth.shape, replace(picture.camera, c2w=picture.camera.c2w.float())
    if abs(width / lens.width - height / lens.height) > 2 / min(lens.width, lens.height):
        wanted = f"{lens.width}x{lens.height}"
        raise UserError(f"{path}: {width}x{height} pixels, wanted its picture's {wanted}, or the same shape")
    if picture.distortion is None:
        return zdepth
    zdepth = F.interpolate(zdepth[None, None], (lens.height, lens.width), mode="nearest-exact")[0, 0]
    view = pinhole(lens, picture.distortion)
    straight, seen = undistort(zdepth.numpy(), lens, picture.distortion, view, nearest=True)
    return torch.from_numpy(straight).where(torch.from_numpy(seen), torch.zeros(()))
