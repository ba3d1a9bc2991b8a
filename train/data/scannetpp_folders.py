"""ScanNet++'s folders (Yeshwanth, Liu, Nießner, Dai, ICCV 2023): DSLR pictures with poses, and the depth that the data
set's own toolkit renders of its meshes (`python -m common.render`)."""

import math
from collections.abc import Sequence
from pathlib import Path

from train.data.measured_folders import MeasuredFolder, given_folders
from worldgen.errors import UserError, expect
from worldgen.io.colmap import read_colmap
from worldgen.io.poses import PosedPicture
from worldgen.io.transforms_json import read_transforms

IMAGES, TRANSFORMS = "dslr/resized_undistorted_images", "dslr/nerfstudio/transforms_undistorted.json"
_BENT_IMAGES, _BENT_TRANSFORMS = "dslr/resized_images", "dslr/nerfstudio/transforms.json"
_BY_COLMAP = ("cameras.txt", "images.txt")  # in <scene>/colmap, where the toolkit's older undistortion was used


def scenes_in(folder: Path) -> list[Path]:
    """The scenes' folders, sorted by name; empty where there are none."""
    home = folder / "data" if (folder / "data").is_dir() else folder
    if not home.is_dir():
        return []
    return sorted(path for path in home.iterdir() if (path / "dslr").is_dir() or (path / "colmap").is_dir())


def views(scene: Path) -> list[PosedPicture]:
    """The undistorted DSLR images of a scene's folder with their cameras, in one metric frame. Raises UserError."""
    if has_colmap(scene):
        pictures = read_colmap(scene / "colmap", scene / "images")
    else:
        pictures = read_transforms(scene / TRANSFORMS, scene / IMAGES).pictures
    if bent := [picture.name for picture in pictures if picture.distortion is not None]:
        raise UserError(f"{scene}: the camera of {bent[0]} is distorted, wanted the images that dslr.undistort makes")
    return pictures


def has_colmap(scene: Path) -> bool:
    """Whether the toolkit's older undistortion was used on a scene."""
    return (scene / "images").is_dir() and all((scene / "colmap" / name).is_file() for name in _BY_COLMAP)


def bent_pictures(scene: Path) -> list[PosedPicture]:
    """The DSLR pictures as the fisheye lens took them, which the toolkit renders depth for. Raises UserError."""
    return read_transforms(scene / _BENT_TRANSFORMS, scene / _BENT_IMAGES).pictures


def measured_scannetpp(
    folders: Sequence[str | Path] | str | Path | None,
    depth: str = "dslr/render_depth",
    unit: float = 0.001,
    prompt: str = "",
) -> list[MeasuredFolder]:
    """A scene for each of the data set's; folders: what was downloaded, with data/<scene> in it.

    depth: in each scene, 16-bit pictures of `unit` metres. Raises UserError where there is no scene.
    """
    given = given_folders(folders)
    expect("data.scenes.unit", unit, 0 < unit < math.inf, "more than 0")
    found = [scene for one in given for scene in scenes_in(one)]
    if not found:
        raise UserError(f"{given[0]}: no scene of ScanNet++, wanted data/<scene>/dslr in it")
    return [MeasuredFolder(scene, depth, unit, prompt, bent_pictures) for scene in found]
