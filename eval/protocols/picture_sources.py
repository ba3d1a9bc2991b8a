"""Where scored pictures come from: image files, views of panoramas, renders of splats, each loaded where it is scored.

Whatever is rendered here is rounded to 8 bits, as its PNG would be: scoring a view, or its saved PNG, is the same.
"""

import math
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.protocols.file_frames import OURS, FileFrame
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.io.gaussians import dropped_line, load_gaussians, read_rows, read_spz
from worldgen.io.photo import load_photo
from worldgen.io.photo_formats import HEIF_SUFFIXES
from worldgen.runs.disk import sha256_of
from worldgen.splat.rasterize import KERNELS, rasterize
from worldgen.splat.transform import transformed
from worldgen.types import Camera, Gaussians

SPLAT_SUFFIXES = (".ply", ".spz", ".safetensors")
COVERED = 0.5  # the opacity from which on a pixel shows something of the world, not of the background
_ANY_SIDE_PX = 100_000  # pictures are scored at their own size, whatever it is
_RESAMPLING = "bicubic"  # of panoramas
_FILTER_REACH = 3  # pixels, of the coarser of both pictures, that the filter looks at on either side, and one more

Pose = tuple[tuple[float, ...], ...]
"""A camera-to-world matrix [4, 4] as nested tuples, which can be compared and sent to other processes."""


@dataclass(frozen=True)
class ImageFile:
    """A picture as it stands in its file."""

    VERSION: ClassVar[str] = "1"  # of every source: raised with whatever changes its pixels, so that no old score holds
    path: Path

    def load(self) -> Tensor:
        """[3, H, W] in [0, 1]. Raises UserError where the file is no picture."""
        return load_photo(self.path, _ANY_SIDE_PX).rgb

    def identity(self) -> str:
        return f"image {self.VERSION} {content_hash(self.path)} by {_decoder(self.path.suffix)}"


@dataclass(frozen=True)
class PanoramaView:
    """What a camera at a panorama's centre sees of it, bicubic. yaw > 0 turns right, pitch > 0 up; fov_deg: horizontal;
    size: width and height, pixels."""

    VERSION: ClassVar[str] = "1"
    path: Path
    yaw_deg: float
    pitch_deg: float
    fov_deg: float
    size: tuple[int, int]

    def load(self) -> Tensor:
        """[3, h, w] in [0, 1]. Raises UserError where the file is no picture twice as wide as high."""
        camera = Camera.from_fov(*self.size, self.fov_deg, look_at(self.yaw_deg, self.pitch_deg))
        panorama = _no_finer_than_twice(_panorama(self.path, _stamp(self.path)), camera)
        return _as_stored(to_perspective(panorama, camera, _RESAMPLING))

    def identity(self) -> str:
        direction = f"yaw {self.yaw_deg:g} pitch {self.pitch_deg:g} fov {self.fov_deg:g}"
        view = f"{direction} size {self.size[0]}x{self.size[1]} {_RESAMPLING}"
        return f"panorama view {self.VERSION} {content_hash(self.path)} {view} by {_resampler(self.path.suffix)}"


@dataclass(frozen=True)
class FlatPanorama:
    """A panorama as the flat equirectangular picture, enlarged or reduced to `width` pixels, round the back, too."""

    VERSION: ClassVar[str] = "2"
    path: Path
    width: int

    def load(self) -> Tensor:
        """[3, width / 2, width] in [0, 1]. Raises UserError where the file is no picture twice as wide as high."""
        panorama = _panorama(self.path, _stamp(self.path))
        if panorama.shape[2] == self.width:
            return panorama.clone()
        return _as_stored(_resized_all_round(panorama, self.width))

    def identity(self) -> str:
        how = f"width {self.width} {_RESAMPLING} by {_resampler(self.path.suffix)}"
        return f"flat panorama {self.VERSION} {content_hash(self.path)} {how}"


@dataclass(frozen=True)
class SplatView:
    """What a camera sees of a .ply, .spz or our own .safetensors of 3D Gaussians, before black.

    c2w: camera to world, OpenCV axes, metres, the origin where the photo was taken; world: how the file's coordinates
    become such.
    """

    VERSION: ClassVar[str] = "1"
    path: Path
    c2w: Pose
    fov_deg: float
    size: tuple[int, int]
    world: FileFrame = OURS

    def load(self) -> Tensor:
        """[3, h, w] in [0, 1]. Raises UserError where the file holds no splats."""
        return _rendered(self, _stamp(self.path))[0]

    def coverage(self) -> float:
        """The share of the picture's pixels that show the world rather than the background. Raises as `load` does."""
        return _rendered(self, _stamp(self.path))[1]

    def identity(self) -> str:
        pose = " ".join(f"{value:.9g}" for row in self.c2w for value in row)
        view = f"c2w {pose} fov {self.fov_deg:g} size {self.size[0]}x{self.size[1]} world {self.world}"
        reader = f" and {_libraries('gsply')}" if self.path.suffix.lower() == ".spz" else ""
        return f"splats {self.VERSION} {content_hash(self.path)} {view} by kernels {KERNELS}{reader}"


def pose_of(c2w: Tensor) -> Pose:
    """A camera-to-world matrix [4, 4] as tuples."""
    return tuple(tuple(row) for row in c2w.tolist())


def content_hash(path: Path) -> str:
    """sha256 of a file, computed once per process unless the file changes. Raises UserError where it cannot be read."""
    return _hashed(path, _stamp(path))


def content_size(path: Path) -> tuple[int, int]:
    """Width and height of a panorama's file. Raises UserError where it is none."""
    _, height, width = _panorama(path, _stamp(path)).shape
    return width, height


def load_splats(path: Path, world: FileFrame = OURS) -> Gaussians:
    """The Gaussians in a file, in our world, kept for the next view. Raises UserError where it holds none."""
    return _splats(path, _stamp(path), world)[0]


def splats_note(path: Path) -> str:
    """What a table's reader should know of a file of splats; empty for most. Raises as `load_splats` does."""
    gaussians, dropped = _splats(path, _stamp(path), OURS)
    return dropped_line(dropped, len(gaussians)) if dropped else ""


@lru_cache(maxsize=65536)
def _hashed(path: Path, stamp: tuple[int, int]) -> str:
    del stamp
    try:
        return sha256_of(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


@lru_cache(maxsize=1)  # of one panorama many views are asked for, one after the other; a large one takes 400 MB
def _panorama(path: Path, stamp: tuple[int, int]) -> Tensor:
    del stamp
    rgb = load_photo(path, _ANY_SIDE_PX).rgb
    height, width = rgb.shape[1:]
    if width != 2 * height:
        raise UserError(f"{path}: {width}x{height} pixels, wanted a panorama twice as wide as high")
    return rgb


@lru_cache(maxsize=1)
def _splats(path: Path, stamp: tuple[int, int], world: FileFrame) -> tuple[Gaussians, int]:
    """And how many are left out for they are broken."""
    del stamp
    suffix, dropped = path.suffix.lower(), 0
    if suffix not in SPLAT_SUFFIXES:
        raise UserError(f"{path}: ends in {path.suffix or 'nothing'}, wanted splats in {', '.join(SPLAT_SUFFIXES)}")
    if suffix == ".ply":  # whose places may be too large for float32
        gaussians, dropped = read_rows(path, world.origin)
    else:
        gaussians = read_spz(path) if suffix == ".spz" else load_gaussians(path)
        gaussians = replace(gaussians, means=gaussians.means - torch.tensor(world.origin))
    if not len(gaussians):
        raise UserError(f"{path}: holds no splats, wanted one at least")
    return (gaussians if world.keeps_axes else transformed(gaussians, world.rotation, world.scale)), dropped


@lru_cache(maxsize=1)  # for what asks for the picture, and then for its coverage
def _rendered(view: SplatView, stamp: tuple[int, int]) -> tuple[Tensor, float]:
    del stamp
    camera = Camera.from_fov(*view.size, view.fov_deg, torch.tensor(view.c2w))
    with torch.no_grad():
        render = rasterize(load_splats(view.path, view.world), camera)
    return _as_stored(render.rgb), float((render.alpha >= COVERED).float().mean())


@cache
def _decoder(suffix: str) -> str:
    """What turns a picture's file into pixels."""
    return _libraries("pillow", *(("pillow-heif",) if suffix.lower() in HEIF_SUFFIXES else ()))


def _resampler(suffix: str) -> str:
    return f"{_decoder(suffix)}, {_libraries('torch')}"


@cache
def _libraries(*names: str) -> str:
    return ", ".join(f"{name} {_version(name)}" for name in names)


def _version(package: str) -> str:
    """Without what says for which hardware it was built, which tells releases of torch apart that compute the same."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return "missing"


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file: they tell cheaply whether it is still the one that was read."""
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return stat.st_size, stat.st_mtime_ns


def _resized_all_round(panorama: Tensor, width: int) -> Tensor:
    """A panorama [3, H, W] as [3, width / 2, width]. A filter that ended at the left and right edge would look at fewer
    pixels there than elsewhere, and leave a seam that is in no panorama."""
    whole = panorama.shape[2]
    step = whole // math.gcd(whole, width)  # columns that become a whole number of columns
    margin = step * math.ceil(_FILTER_REACH * max(1, whole / width) / step)
    columns = torch.arange(-margin, whole + margin) % whole
    beyond = margin * width // whole
    size = (width // 2, width + 2 * beyond)
    wider = F.interpolate(panorama[:, :, columns][None], size, mode=_RESAMPLING, antialias=True, align_corners=False)[0]
    return wider[..., beyond : beyond + width]


def _no_finer_than_twice(panorama: Tensor, camera: Camera) -> Tensor:
    """Halves a panorama [3, H, W] while it stays at least as fine as the middle of the view: bicubic reading looks at
    four pixels and would alias. Halving by means keeps the seam at the back closed."""
    while panorama.shape[2] >= 2 * 2 * math.pi * camera.fx:
        height = panorama.shape[1] // 2
        panorama = F.interpolate(panorama[None], (height, 2 * height), mode="area")[0]
    return panorama


def _as_stored(rgb: Tensor) -> Tensor:
    """[3, H, W], rounded to what 8 bits hold."""
    return (rgb.clamp(0, 1) * 255).round() / 255
