"""Colours by their profile, in every mode that a file may have; what is transparent is white."""

import logging
import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from tests.test_photo import assert_quarters, colour, quarters
from worldgen.io.photo import load_photo


def swapped_profile() -> bytes:
    """sRGB whose red is blue, and the other way round."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"?", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"?", b"bXYZ", 1)


def icc(space: bytes, tags: dict[bytes, bytes], connection: bytes) -> bytes:
    """An ICC profile, version 2, of a colour space of four letters. tags: name to content."""
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        padded = content + b"\0" * (-len(content) % 4)
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += padded
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50, in 1/65536
    header = struct.pack(
        ">I4sI4s4s4s12s4s28s12s", 0, b"", 0x02400000, b"prtr", space, connection, b"", b"acsp", b"", white
    )
    profile = header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(profile)) + profile[4:]


def linear_grey() -> bytes:
    """Grey levels that are proportional to light."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    return icc(b"GRAY", {b"wtpt": white, b"kTRC": b"curv\0\0\0\0\0\0\0\0"}, b"XYZ ")


def black_ink_alone() -> bytes:
    """CMYK of which only the black ink is seen."""
    ramp = bytes(range(256))
    corners = b"".join(bytes((255 if index % 2 == 0 else 0, 128, 128)) for index in range(16))  # Lab; K varies fastest
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + corners + ramp * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    return icc(b"CMYK", {b"wtpt": white, b"A2B0": table}, b"Lab ")


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [(mode, suffix) for mode in ("RGB", "RGBA") for suffix in ("png", "webp", "tif")]
    + [(mode, "png") for mode in ("P", "P with alpha", "RGB with a transparent colour")],
)
def test_a_profile_counts_in_every_mode(tmp_path, mode, suffix):
    image = Image.fromarray(quarters()[..., ::-1].copy())
    options = {"lossless": True} if suffix == "webp" else {}
    if mode == "RGBA":
        image.putalpha(255)
    elif mode.startswith("P"):
        image = image.quantize(4)
        if mode == "P with alpha":
            image.info["transparency"] = 255  # of no pixel
    elif mode != "RGB":
        image.info["transparency"] = (1, 2, 3)
    image.save(tmp_path / f"photo.{suffix}", icc_profile=swapped_profile(), **options)
    assert_quarters(load_photo(tmp_path / f"photo.{suffix}").rgb, tolerance=2.5)


def test_colours_are_converted_before_white_shows_through(tmp_path):
    pixels = np.dstack([quarters()[..., ::-1], np.full((80, 120), 255, np.uint8)])
    pixels[:40, :60, 3] = 0
    pixels[40:, :60, 3] = 128
    Image.fromarray(pixels).save(tmp_path / "photo.png", icc_profile=swapped_profile())
    rgb = load_photo(tmp_path / "photo.png").rgb
    assert colour(rgb, False, False).tolist() == [255, 255, 255]
    half = torch.tensor([40.0, 40.0, 200.0]) * 128 / 255 + 127
    assert torch.allclose(colour(rgb, False, True), half, atol=2)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_levels_mean_what_their_profile_says(tmp_path, mode):
    grey = np.full((80, 120), 128, np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    image.save(tmp_path / "photo.png", icc_profile=linear_grey())
    assert torch.allclose(load_photo(tmp_path / "photo.png").rgb * 255, torch.tensor(188.0), atol=2)


def test_a_grey_picture_with_a_screens_profile(tmp_path):
    Image.fromarray(np.full((80, 120), 128, np.uint8)).save(tmp_path / "photo.png", icc_profile=swapped_profile())
    assert torch.allclose(load_photo(tmp_path / "photo.png").rgb * 255, torch.tensor(128.0), atol=2)


def test_inks_mean_what_their_profile_says(tmp_path):
    pixels = np.zeros((80, 120, 4), np.uint8)
    pixels[:, :60] = (255, 255, 0, 0)
    pixels[:, 60:] = (0, 0, 0, 255)
    Image.fromarray(pixels, "CMYK").save(tmp_path / "photo.tif", icc_profile=black_ink_alone())
    rgb = load_photo(tmp_path / "photo.tif").rgb * 255
    assert rgb[:, :, :55].min() > 250
    assert rgb[:, :, 65:].max() < 5


def test_a_profile_that_cannot_be_used_is_told(tmp_path, caplog):
    path = tmp_path / "photo.png"
    for profile, why in ((b"no profile at all", "cannot"), (linear_grey(), "it is for GRAY, the picture is RGB")):
        Image.fromarray(quarters()).save(path, icc_profile=profile)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "worldgen"):
            assert_quarters(load_photo(path).rgb)
        (record,) = caplog.records
        assert record.getMessage().startswith(f"{path}: its colour profile cannot be used")
        assert why in record.getMessage()


def test_sixteen_bit_colour_in_a_tiff(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    pixels = np.broadcast_to(np.array([65535, 32896, 0], np.uint16), (80, 100, 3))
    tifffile.imwrite(tmp_path / "photo.tif", pixels, photometric="rgb")
    assert torch.allclose(load_photo(tmp_path / "photo.tif").rgb[:, 40, 50] * 255, torch.tensor([255.0, 128.0, 0.0]))


def test_lab_in_a_tiff(tmp_path):
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[..., 0] = 255  # lightness; a and b are 0
    Image.fromarray(pixels, "LAB").save(tmp_path / "photo.tif")
    assert load_photo(tmp_path / "photo.tif").rgb.min() > 0.98


@pytest.mark.parametrize("kind", ["two pictures", "gain map"])
def test_the_first_picture_of_a_jpeg_that_holds_several(tmp_path, kind):
    path = tmp_path / "photo.jpg"
    image, other = Image.fromarray(quarters()), Image.new("L", (60, 40), 255)
    if kind == "two pictures":
        image.save(path, "MPO", save_all=True, append_images=[Image.new("RGB", (120, 80))], quality=95)
    else:  # as phones do: another JPEG behind the first
        image.save(path, quality=95)
        other.save(tmp_path / "gain.jpg")
        path.write_bytes(path.read_bytes() + (tmp_path / "gain.jpg").read_bytes())
    assert_quarters(load_photo(path).rgb, tolerance=8)


def test_high_dynamic_range_is_told(tmp_path, caplog):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    Image.fromarray(quarters()).save(
        tmp_path / "photo.heic", color_primaries=9, transfer_characteristics=16, matrix_coefficients=9
    )
    with caplog.at_level(logging.WARNING, "worldgen"):
        load_photo(tmp_path / "photo.heic")
    assert "high dynamic range (PQ), its colours are taken as sRGB" in caplog.text
