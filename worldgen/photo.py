"""A photo from disk: upright, three channels, sRGB, whatever the file was. What cannot be read is a UserError."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from worldgen.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

MAX_PIXELS = 250_000_000  # the largest phone sensors have 200 million; a bomb has thousands of millions
MAX_FILE_BYTES = 2_000_000_000
MIN_SIDE_PX = 64
MAX_SIDE_PX = 4096
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0}  # EXIF FocalPlaneResolutionUnit: inch, cm, mm
_SWAPS_SIDES = (5, 6, 7, 8)  # EXIF orientations that turn a photo by a quarter


@dataclass(frozen=True)
class Lens:
    """What EXIF tells about the field of view; None where it says nothing that can be true.

    focal_35mm: the focal length that gives the same diagonal field of view on 36 mm x 24 mm film.
    focal_mm: the real one. sensor_width_mm: of the sensor along the upright photo's horizontal side.
    """

    focal_35mm: float | None = None
    focal_mm: float | None = None
    sensor_width_mm: float | None = None
    camera: str = ""


@dataclass(frozen=True, eq=False)
class Photo:
    """rgb: [3, H, W] in [0, 1], upright. sha256: of the file. lens: what its EXIF says."""

    rgb: "Tensor"
    path: Path
    sha256: str
    lens: Lens


def load_photo(path: Path, max_side_px: int = MAX_SIDE_PX) -> Photo:
    """Reads a photo, turns it upright as its EXIF says, and reduces it to `max_side_px` at most.

    The first frame of an animation; 16 bits scaled to 8; colour profiles and CMYK turned into sRGB; whatever is
    transparent becomes white. Raises UserError for anything that is no picture of a sensible size.
    """
    content = _read(path)
    with picture_errors(path), Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise UserError(f"{path}: {width}x{height} pixels, wanted {MAX_PIXELS // 1_000_000} million at most")
        if min(width, height) < MIN_SIDE_PX:
            raise UserError(f"{path}: {width}x{height} pixels, wanted at least {MIN_SIDE_PX} on each side")
        lens = _lens(image)
        image.draft("RGB", (max_side_px, max_side_px))  # a JPEG decoder can reduce as it reads
        upright = ImageOps.exif_transpose(image)
        picture = to_srgb(upright)
        picture.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
    import torch  # here, because it takes seconds, which a photo that cannot be read need not

    rgb = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
    return Photo(rgb.contiguous(), path, hashlib.sha256(content).hexdigest(), lens)


def photos_in(folder: Path) -> list[Path]:
    """The files in a folder that are pictures by their names, sorted. Raises UserError where there are none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, wanted one with photos")
    Image.init()
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in Image.EXTENSION and path.is_file())
    if not paths:
        raise UserError(f"{folder}: no photos there, wanted JPEG, PNG, WebP, TIFF or the like")
    return paths


def _read(path: Path) -> bytes:
    if not path.exists():
        raise UserError(f"{path}: no such file, wanted a photo")
    if not path.is_file():
        raise UserError(f"{path}: is a {'folder' if path.is_dir() else 'device'}, wanted a photo")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"{path}: {path.stat().st_size / 1e9:.1f} GB, wanted {MAX_FILE_BYTES / 1e9:.0f} GB at most")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not content:
        raise UserError(f"{path}: is empty, wanted a photo")
    return content


@contextmanager
def picture_errors(path: Path) -> Iterator[None]:
    """Pillow's decoders raise nearly anything on a broken file."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # ours holds, with a clearer message
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the metadata of broken files
            yield
    except (UserError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: not a picture that can be read, wanted JPEG, PNG, WebP, TIFF or the like") from error
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path}: cannot be decoded ({reason}); is it damaged or cut off?") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def to_srgb(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit sRGB without alpha."""
    if image.mode.startswith(("I", "F")):
        return _to_eight_bits(image).convert("RGB")
    if image.mode in ("RGB", "CMYK", "L") and image.info.get("icc_profile"):
        return _by_profile(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Greyscale with more than 8 bits: integers are 16-bit, floats run from 0 to 1."""
    values = np.asarray(image).astype(np.float64)
    full = 1.0 if image.mode.startswith("F") else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > full:
        raise ValueError(f"values from {values.min():g} to {values.max():g}, wanted 0 to {full:g}")
    return Image.fromarray((values / full * 255).round().astype(np.uint8))


def _by_profile(image: Image.Image) -> Image.Image:
    """Colours as the embedded ICC profile means them; where that is broken, as they stand."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")


def _lens(image: Image.Image) -> Lens:
    exif = image.getexif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    focal_mm = _positive(details.get(ExifTags.Base.FocalLength))
    across = "Y" if exif.get(ExifTags.Base.Orientation) in _SWAPS_SIDES else "X"
    camera = " ".join(str(exif.get(tag, "")).strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    return Lens(
        focal_35mm=_positive(details.get(ExifTags.Base.FocalLengthIn35mmFilm)),
        focal_mm=focal_mm,
        sensor_width_mm=_sensor_mm(details, across),
        camera=camera.strip(),
    )


def _sensor_mm(details: dict, axis: str) -> float | None:
    """Length of the sensor along its own `axis`, from the pixels that it has per millimetre."""
    pixels = _positive(details.get(ExifTags.Base.ExifImageWidth if axis == "X" else ExifTags.Base.ExifImageHeight))
    density = _positive(details.get(getattr(ExifTags.Base, f"FocalPlane{axis}Resolution")))
    unit_mm = _MM_PER_UNIT.get(details.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))
    return pixels / density * unit_mm if pixels and density and unit_mm else None


def _positive(value: object) -> float | None:
    """A tag as a number; None where it is absent, zero, or no number at all."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if 0 < number < float("inf") else None
