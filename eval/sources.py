"""Where scored pictures come from: image files, views of panoramas, renders of splats, each loaded where it is scored.

Whatever is rendered here is rounded to 8 bits, as its PNG would be: scoring a view, or its saved PNG, is the same.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.disk import sha256_of
from worldgen.errors import UserError
from worldgen.geometry.cameras import look
from worldgen.geometry.equirect import to_perspective
from worldgen.photo import load_photo
from worldgen.splat.files import load_gaussians, read_ply
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians

SPLAT_SUFFIXES = (".ply", ".spz", ".safetensors")
_ANY_SIDE_PX = 100_000  # pictures are scored at their own size, whatever it is

Pose = tuple[tuple[float, ...], ...]
"""A camera-to-world matrix [4, 4] as nested tuples, which can be compared and sent to other processes."""


@dataclass(frozen=True)
class ImageFile:
    """A picture as it stands in its file."""

    path: Path

    def load(self) -> Tensor:
        """[3, H, W] in [0, 1]. Raises UserError where the file is no picture."""
        return load_photo(self.path, _ANY_SIDE_PX).rgb

    def identity(self) -> str:
        return f"image {content_hash(self.path)}"


@dataclass(frozen=True)
class PanoramaView:
    """What a camera at a panorama's centre sees of it, bicubic. yaw > 0 turns right, pitch > 0 up; fov_deg: horizontal;
    size: width and height, pixels."""

    path: Path
    yaw_deg: float
    pitch_deg: float
    fov_deg: float
    size: tuple[int, int]

    def load(self) -> Tensor:
        """[3, h, w] in [0, 1]. Raises UserError where the file is no picture twice as wide as high."""
        camera = Camera.from_fov(*self.size, self.fov_deg, look(self.yaw_deg, self.pitch_deg))
        panorama = _no_finer_than_twice(_panorama(self.path, _stamp(self.path)), camera)
        return _as_stored(to_perspective(panorama, camera, "bicubic"))

    def identity(self) -> str:
        direction = f"yaw {self.yaw_deg:g} pitch {self.pitch_deg:g} fov {self.fov_deg:g}"
        return f"panorama {content_hash(self.path)} {direction} size {self.size[0]}x{self.size[1]}"


@dataclass(frozen=True)
class FlatPanorama:
    """A panorama as the flat equirectangular picture, enlarged or reduced to `width` pixels."""

    path: Path
    width: int

    def load(self) -> Tensor:
        """[3, width / 2, width] in [0, 1]. Raises UserError where the file is no picture twice as wide as high."""
        panorama = _panorama(self.path, _stamp(self.path))
        if panorama.shape[2] == self.width:
            return panorama.clone()
        size = (self.width // 2, self.width)
        return _as_stored(F.interpolate(panorama[None], size, mode="bicubic", antialias=True, align_corners=False)[0])

    def identity(self) -> str:
        return f"panorama {content_hash(self.path)} flat width {self.width}"


@dataclass(frozen=True)
class SplatView:
    """What a camera sees of a .ply, .spz or our own .safetensors of 3D Gaussians, before black.

    c2w: camera to world as the file has it: OpenCV axes, metres, the origin where the photo was taken.
    """

    path: Path
    c2w: Pose
    fov_deg: float
    size: tuple[int, int]

    def load(self) -> Tensor:
        """[3, h, w] in [0, 1]. Raises UserError where the file holds no splats."""
        gaussians = load_splats(self.path)
        camera = Camera.from_fov(*self.size, self.fov_deg, torch.tensor(self.c2w))
        with torch.no_grad():
            return _as_stored(rasterize(gaussians, camera).rgb)

    def identity(self) -> str:
        pose = " ".join(f"{value:.9g}" for row in self.c2w for value in row)
        return f"splats {content_hash(self.path)} c2w {pose} fov {self.fov_deg:g} size {self.size[0]}x{self.size[1]}"


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


def load_splats(path: Path) -> Gaussians:
    """The Gaussians in a file, kept for the next view. Raises UserError where it holds none."""
    return _splats(path, _stamp(path))


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
def _splats(path: Path, stamp: tuple[int, int]) -> Gaussians:
    del stamp
    read = {".ply": read_ply, ".spz": _read_spz, ".safetensors": load_gaussians}.get(path.suffix.lower())
    if read is None:
        raise UserError(f"{path}: ends in {path.suffix or 'nothing'}, wanted splats in {', '.join(SPLAT_SUFFIXES)}")
    gaussians = read(path)
    if not len(gaussians):
        raise UserError(f"{path}: holds no splats, wanted one at least")
    return gaussians


def _read_spz(path: Path) -> Gaussians:
    import gsply  # here, because it takes a second to import

    try:
        data = gsply.read_spz(path)
        bands = [data.sh0[:, None]] + ([] if data.shN is None else [data.shN])
        tensors = [torch.tensor(values) for values in (data.means, data.quats, data.scales, data.opacities)]
        return Gaussians(*tensors, torch.cat([torch.tensor(band) for band in bands], dim=1))
    except (OSError, ValueError, IndexError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a readable .spz file ({reason})") from error


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file: they tell cheaply whether it is still the one that was read."""
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return stat.st_size, stat.st_mtime_ns


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
