"""Scenes of bare frames: folders of pictures that nobody knows the poses of."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from train.data.images import upright_size
from train.data.measured_folders import given_folders, once_each
from train.data.posed import is_scene
from worldgen.errors import UserError, expect
from worldgen.io.photo_folder import is_systems_own
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
        """In the order of their names, 2 before 10. Raises UserError where there are none, and where two would share a
        file of depth."""
        found = (_pictures(self.folder / _IMAGES) or _pictures(self.folder))[:: self.every]
        if not found:
            raise UserError(f"{self.folder}: no frames in it, nor {_DEEPEST} folders deep, wanted pictures")
        named: dict[str, Path] = {}
        for path in found:
            other = named.setdefault(path.stem, path)
            if other is not path:
                raise UserError(f"{path}: of the same name as {other}, wanted a name, and a depth, for each")
        return found


def bare_scenes(folders: Sequence[str | Path] | str | Path | int | None, every: int) -> list[BareScene]:
    """The scenes of one folder or several: what has pictures, or `images` with some, in it; also folders in folders.

    Raises UserError where nobody says which.
    """
    given = given_folders(folders, "frames", "folders of frames")
    for path in given:
        expect("frames", str(path), path.is_dir(), "a folder of frames")
    found = once_each(scene for one in given for scene in _scenes_in(one, _DEEPEST) or [one])
    return [BareScene(folder, every) for folder in found]


def upright(path: Path) -> PosedPicture:
    """A frame as its size alone tells it: upright, its camera anywhere. Raises UserError for what is no picture."""
    return PosedPicture(path.name, path, Camera.from_fov(*upright_size(path), 60.0))


def _scenes_in(path: Path, deepest: int) -> list[Path]:
    """What has none is left to the caller, who counts it as a bad one: reading it says why."""
    if _pictures(path / _IMAGES) or _pictures(path) or is_scene(path):
        return [path]
    if deepest == 0:
        return []
    return [scene for one in sorted(path.iterdir()) if one.is_dir() for scene in _scenes_in(one, deepest - 1)]


def _pictures(folder: Path) -> list[Path]:
    """Those that lie in a folder, by their names; none where there is no folder."""
    if not folder.is_dir():
        return []
    suffixes = picture_suffixes()
    files = [path for path in folder.iterdir() if path.suffix.lower() in suffixes and not is_systems_own(path)]
    return sorted((path for path in files if path.is_file()), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Its name, with numbers by what they are, however they are written."""
    parts = re.findall(r"[0-9]+|[^0-9]+", path.name)
    return [(int(part), "") if part[0] in "0123456789" else (-1, part) for part in parts]
