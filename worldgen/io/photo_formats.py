"""Which kinds of picture can be decoded here, and those that Pillow alone cannot or must not."""

from functools import lru_cache
from pathlib import Path

from PIL import Image, features

from worldgen.errors import UserError

HEIF_SUFFIXES = (".heic", ".heif", ".hif")
_AVIF_SUFFIX = ".avif"
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_RAW_SUFFIXES = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw")
_NO_PHOTOS = ("BUFR", "EMF", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF")  # Pillow does not decode them by itself


def expect_decoder(path: Path) -> None:
    """Sees to it that Pillow can open a HEIC or AVIF file, and does not take a raw file's small preview for the photo.

    Of other files it says nothing. Raises UserError.
    """
    if path.suffix.lower() in _RAW_SUFFIXES:
        raise UserError(f"{path}: a camera's raw file, wanted it developed, as JPEG, PNG or TIFF")
    kind = _iso_kind(path)
    if kind == "HEIC" and not _register_heif():
        raise UserError(f"{path}: HEIC, wanted the package that reads it: pip install pillow-heif")
    if kind == "AVIF" and not features.check("avif"):
        raise UserError(f"{path}: AVIF, wanted a Pillow that reads it: pip install 'pillow>=11.3'")


def picture_suffixes() -> frozenset[str]:
    """The ends of the names of files that may be photos, in small letters."""
    Image.init()
    opened = (suffix for suffix, kind in Image.EXTENSION.items() if kind in Image.OPEN and kind not in _NO_PHOTOS)
    return frozenset((*opened, *HEIF_SUFFIXES, _AVIF_SUFFIX))


def _iso_kind(path: Path) -> str:
    """HEIC or AVIF, by the brands in the file's first box; empty for others, and where it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return ""
    if head[4:8] != b"ftyp":
        return ""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[start : start + 4] for start in range(16, end - 3, 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return "AVIF"
    return "HEIC" if any(brand in _HEIF_BRANDS for brand in brands) else ""


@lru_cache(maxsize=1)
def _register_heif() -> bool:
    """Whether pillow-heif is here; Pillow opens HEIC from then on."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return True
