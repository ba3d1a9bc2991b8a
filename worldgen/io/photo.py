"""A photo from disk: upright, three channels, sRGB, whatever the file was. What cannot be read is a UserError."""

import hashlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from worldgen.errors import UserError
from worldgen.io.photo_colour import to_srgb
from worldgen.io.photo_exif import Lens, read_shot, upright, upright_size
from worldgen.io.photo_formats import expect_decoder
from worldgen.io.photo_sphere import Shape, read_sphere

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger("worldgen")
MAX_PIXELS = 250_000_000  # the largest phone sensors have 200 million; a bomb has thousands of millions
MAX_FILE_BYTES = 2_000_000_000
MIN_SIDE_PX = 64
MAX_SIDE_PX = 4096


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
        _expect_size(image, path)
        shot = read_shot(image)
        if shot.broken:
            _log.warning("%s: %s", path, shot.broken)
        image.draft("RGB", (max_side_px, max_side_px))  # a JPEG decoder can reduce as it reads
        picture = to_srgb(upright(image), path)
        picture.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
    import torch  # here, because it takes seconds, which a photo that cannot be read need not

    rgb = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
    return Photo(rgb.contiguous(), path, hashlib.sha256(content).hexdigest(), shot.lens)


def examine(path: Path) -> Shape:
    """What a photo is, without its pixels. Raises UserError as `load_photo` does, but for what only decoding finds."""
    _expect_file(path)
    with picture_errors(path), Image.open(path) as image:
        _expect_size(image, path)
        return Shape(*upright_size(image), read_sphere(image, path))


def _expect_size(image: Image.Image, path: Path) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UserError(f"{path}: {width}x{height} pixels, wanted {MAX_PIXELS // 1_000_000} million at most")
    if min(width, height) < MIN_SIDE_PX:
        raise UserError(f"{path}: {width}x{height} pixels, wanted at least {MIN_SIDE_PX} on each side")


def _expect_file(path: Path) -> None:
    if not path.exists():
        raise UserError(f"{path}: no such file, wanted a photo")
    if not path.is_file():
        raise UserError(f"{path}: is a {'folder' if path.is_dir() else 'device'}, wanted a photo")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"{path}: {path.stat().st_size / 1e9:.1f} GB, wanted {MAX_FILE_BYTES / 1e9:.0f} GB at most")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: is empty, wanted a photo")


def _read(path: Path) -> bytes:
    _expect_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


@contextmanager
def picture_errors(path: Path) -> Iterator[None]:
    """Pillow's decoders raise nearly anything on a broken file."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # ours holds, with a clearer message
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the metadata of broken files
            expect_decoder(path)
            yield
    except (UserError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        wanted = "wanted JPEG, PNG, WebP, HEIC, TIFF or the like"
        raise UserError(f"{path}: not a picture that can be read, {wanted}") from error
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path}: cannot be decoded ({reason}); is it damaged or cut off?") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
