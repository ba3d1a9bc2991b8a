"""Scenes of bare frames: folders of pictures that nobody knows the poses of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from train.data.images import read_view, upright_size
from train.data.measured_folders import given_folders
from train.data.posed import is_scene
from worldgen.errors import UserError
from worldgen.io.photo_folder import photos_in
from worldgen.io.photo_formats import picture_suffixes
from worldgen.io.poses import PosedPicture
from worldgen.types import Camera

_IMAGES = "images"
_DEEPEST = 3  # folders in folders that scenes are looked for in


@dataclass(frozen=True)
class BareScene:
    """folder: where its poses are written, with its frames in it, or in `images` in it. every: of so many frames, by
    their names, the first is used."""

    folder: Path
    every: int = 1

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def posed(self) -> bool:
        """Whether there are poses already, whoever made them."""
        return is_scene(self.folder)

    def frames(self) -> list[Path]:
        """Of one name each, sorted by it. Raises UserError where two would share a file of depth."""
        found = photos_in(_pictures_of(self.folder) or self.folder)[:: self.every]
        named: dict[str, Path] = {}
        for path in found:
            other = named.setdefault(path.stem, path)
            if other is not path:
                raise UserError(f"{path}: of the same name as {other}, wanted a name, and a depth, for each")
        return found


def bare_scenes(folders: Sequence[str | Path] | str | Path | None, every: int) -> list[BareScene]:
    """The scenes of one folder or several: what has pictures, or `images` with some, in it; also folders in folders.

    Raises UserError where nobody says which.
    """
    given = given_folders(folders, "frames", "folders of frames")
    found = [scene for one in given for scene in _scenes_in(one, _DEEPEST) or [one]]
    return [BareScene(folder, every) for folder in found]


def upright(path: Path) -> PosedPicture:
    """A frame as its size alone tells it: upright, its camera anywhere. Raises UserError for what is no picture."""
    return PosedPicture(path.name, path, Camera.from_fov(*upright_size(path), 60.0))


def read_frame(frame: PosedPicture, max_size: int) -> Tensor:
    """[3, H, W], its longer side of `max_size` pixels at most. Raises UserError."""
    return read_view(frame, max_size).rgb


def _scenes_in(path: Path, deepest: int) -> list[Path]:
    """What has none is left to the caller, who counts it as a bad one: reading it says why."""
    if not path.is_dir():
        return []
    if _pictures_of(path) is not None or is_scene(path):
        return [path]
    if deepest == 0:
        return []
    return [scene for one in sorted(path.iterdir()) if one.is_dir() for scene in _scenes_in(one, deepest - 1)]


def _pictures_of(scene: Path) -> Path | None:
    """The folder of a scene's pictures: `images` in it, or else itself; None where neither has any."""
    suffixes = picture_suffixes()
    there = (one for one in (scene / _IMAGES, scene) if one.is_dir())
    return next((one for one in there if any(path.suffix.lower() in suffixes for path in one.iterdir())), None)
