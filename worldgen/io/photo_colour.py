"""Colours of a picture, whatever mode and profile its file has, to 8-bit sRGB without alpha."""

import io
import logging
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

_log = logging.getLogger("worldgen")
_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # by the colour space that the profile is of
_HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics of ITU-T H.273


def to_srgb(image: Image.Image, path: Path | None = None) -> Image.Image:
    """Any mode to mode RGB: colours as the embedded ICC profile means them, then what is transparent over white.

    path: names the picture where its profile cannot be used, which is told.
    """
    name: object = path or getattr(image, "filename", None) or "a picture"
    icc = image.info.get("icc_profile")
    curve = _HDR.get((image.info.get("nclx_profile") or {}).get("transfer_characteristics", 0))
    if curve and not icc:
        _log.warning("%s: high dynamic range (%s), its colours are taken as sRGB", name, curve)
    colours, alpha = _apart(image)
    rgb = _by_profile(colours, icc, name)
    if alpha is None:
        return rgb
    return Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)


def _apart(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours in mode RGB, L, CMYK or LAB, and alpha (L) where there is one."""
    if image.mode.startswith(("I", "F")):
        image = _to_eight_bits(image)
    if not image.has_transparency_data:
        if image.mode in ("RGB", "L", "CMYK", "LAB"):
            return image, None
        return image.convert("L" if image.mode == "1" else "RGB"), None
    if image.mode in ("L", "LA", "La"):
        with_alpha = image.convert("LA")
        return with_alpha.getchannel("L"), with_alpha.getchannel("A")
    with_alpha = image.convert("RGBA")
    return with_alpha.convert("RGB"), with_alpha.getchannel("A")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Greyscale with more than 8 bits: integers are 16-bit, floats run from 0 to 1."""
    values = np.asarray(image).astype(np.float64)
    full = 1.0 if image.mode.startswith("F") else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > full:
        raise ValueError(f"values from {values.min():g} to {values.max():g}, wanted 0 to {full:g}")
    return Image.fromarray((values / full * 255).round().astype(np.uint8))


def _by_profile(image: Image.Image, icc: bytes | None, name: object) -> Image.Image:
    """Mode RGB, L, CMYK or LAB to RGB, as the profile means the colours; where that is broken, as they stand."""
    if image.mode == "LAB":
        return _convert(image, ImageCms.createProfile("LAB"))
    if not icc:
        return image.convert("RGB")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        mode = _PROFILE_MODES.get(profile.profile.xcolor_space.strip())
        if mode == "RGB" and image.mode == "L":
            image = image.convert("RGB")  # grey pictures with the profile of the screen they were made on
        if mode != image.mode:
            raise ValueError(f"it is for {profile.profile.xcolor_space.strip()}, the picture is {image.mode}")
        return _convert(image, profile)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        _log.warning("%s: its colour profile cannot be used (%s), its colours are taken as sRGB", name, error)
        return image.convert("RGB")


def _convert(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
