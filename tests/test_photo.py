"""Photos of every kind that people have, and files that are none."""

import logging
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from worldgen.errors import UserError
from worldgen.io.photo import load_photo
from worldgen.io.photo_exif import Lens

TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT, BOTTOM_RIGHT = (200, 40, 40), (40, 200, 40), (40, 40, 200), (180, 180, 180)


def quarters(width: int = 120, height: int = 80) -> np.ndarray:
    """uint8 [H, W, 3], a colour in each quarter, so that every turn shows."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = TOP_LEFT, TOP_RIGHT
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BOTTOM_LEFT, BOTTOM_RIGHT
    return pixels


def colour(rgb: torch.Tensor, right: bool, below: bool) -> torch.Tensor:
    """The colour in the middle of a quarter, 0 to 255."""
    _, height, width = rgb.shape
    return rgb[:, height * (3 if below else 1) // 4, width * (3 if right else 1) // 4] * 255


def assert_quarters(rgb: torch.Tensor, tolerance: float = 0.6) -> None:
    for right, below, wanted in (
        (False, False, TOP_LEFT),
        (True, False, TOP_RIGHT),
        (False, True, BOTTOM_LEFT),
        (True, True, BOTTOM_RIGHT),
    ):
        found = colour(rgb, right, below)
        assert torch.allclose(found, torch.tensor(wanted, dtype=torch.float32), atol=tolerance), (right, below, found)


def test_a_plain_photo_comes_as_it_is(tmp_path):
    Image.fromarray(quarters()).save(tmp_path / "photo.png")
    photo = load_photo(tmp_path / "photo.png")
    assert photo.rgb.dtype == torch.float32
    assert photo.rgb.shape == (3, 80, 120)
    assert_quarters(photo.rgb)
    assert len(photo.sha256) == 64


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(tmp_path, orientation):
    stored = {  # how a camera that was held so writes the picture
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, 1),
        7: lambda x: x.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda x: np.rot90(x, -1),
    }[orientation](quarters())
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    image.save(tmp_path / "photo.png", exif=exif)
    photo = load_photo(tmp_path / "photo.png")
    assert photo.rgb.shape == (3, 80, 120)
    assert_quarters(photo.rgb)


def test_what_is_transparent_becomes_white(tmp_path):
    pixels = np.dstack([quarters(), np.full((80, 120), 255, np.uint8)])
    pixels[:40, :60, 3] = 0
    pixels[40:, 60:, 3] = 128
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    rgb = load_photo(tmp_path / "photo.png").rgb
    assert colour(rgb, False, False).tolist() == [255, 255, 255]
    assert colour(rgb, True, False).tolist() == list(TOP_RIGHT)
    assert torch.allclose(colour(rgb, True, True), torch.tensor(180 * 128 / 255 + 127.0), atol=1.5)


def test_a_palette_with_a_transparent_colour(tmp_path):
    image = Image.fromarray(quarters()).quantize(4)
    image.info["transparency"] = image.getpixel((0, 0))
    image.save(tmp_path / "photo.png")
    rgb = load_photo(tmp_path / "photo.png").rgb
    assert colour(rgb, False, False).tolist() == [255, 255, 255]
    assert torch.allclose(colour(rgb, True, True), torch.tensor(180.0), atol=3)


def test_cmyk(tmp_path):
    Image.fromarray(quarters()).convert("CMYK").save(tmp_path / "photo.jpg", quality=100)
    assert_quarters(load_photo(tmp_path / "photo.jpg").rgb, tolerance=6)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_greyscale(tmp_path, mode):
    Image.fromarray(quarters()).convert("L").convert(mode).save(tmp_path / "photo.png")
    rgb = load_photo(tmp_path / "photo.png").rgb
    assert rgb.shape == (3, 80, 120)
    assert torch.equal(rgb[0], rgb[1])
    assert torch.equal(rgb[0], rgb[2])


@pytest.mark.parametrize("name", ["photo.png", "photo.tif", "photo.pgm"])
def test_sixteen_bits_keep_their_scale(tmp_path, name):
    ramp = np.linspace(0, 65535, 100, dtype=np.uint16)
    Image.fromarray(np.tile(ramp, (80, 1))).save(tmp_path / name)
    rgb = load_photo(tmp_path / name).rgb
    assert torch.allclose(rgb[0, 0], torch.linspace(0, 1, 100), atol=0.5 / 255 + 1e-4)


def test_sixteen_bit_colour(tmp_path):
    rows = b"".join(b"\0" + np.full((100, 3), (65535, 32768, 0), ">u2").tobytes() for _ in range(80))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100, 80, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "photo.png").write_bytes(data)
    assert torch.allclose(load_photo(tmp_path / "photo.png").rgb[:, 40, 50] * 255, torch.tensor([255.0, 128.0, 0.0]))


def test_floating_point_from_zero_to_one(tmp_path):
    Image.fromarray(np.full((80, 100), 0.25, np.float32)).save(tmp_path / "photo.tif")
    assert torch.allclose(load_photo(tmp_path / "photo.tif").rgb, torch.tensor(0.25), atol=0.5 / 255)
    Image.fromarray(np.full((80, 100), np.nan, np.float32)).save(tmp_path / "photo.tif")
    with pytest.raises(UserError, match="wanted 0 to 1"):
        load_photo(tmp_path / "photo.tif")


@pytest.mark.parametrize("name", ["photo.gif", "photo.webp", "photo.png"])
def test_the_first_frame_of_an_animation(tmp_path, name):
    black = Image.new("RGB", (120, 80))
    options = {"lossless": True} if name.endswith("webp") else {}
    Image.fromarray(quarters()).save(tmp_path / name, save_all=True, append_images=[black, black], **options)
    assert_quarters(load_photo(tmp_path / name).rgb, tolerance=3)


def test_broken_exif_is_left_out_with_a_note(tmp_path, caplog):
    for name in ("photo.png", "photo.webp", "photo.jpg"):
        path = tmp_path / name
        options = {"lossless": True} if name.endswith("webp") else {"quality": 95}
        Image.fromarray(quarters()).save(path, exif=b"Exif\0\0no TIFF header here", **options)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "worldgen"):
            photo = load_photo(path)
        assert_quarters(photo.rgb, tolerance=8)
        assert photo.lens == Lens()
        (record,) = caplog.records
        assert record.getMessage().startswith(f"{path}: its EXIF data are broken (")
        assert record.getMessage().endswith(") and left out")


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_large_photos_are_reduced(tmp_path, name):
    Image.fromarray(quarters(1200, 800)).save(tmp_path / name, quality=95)
    photo = load_photo(tmp_path / name, max_side_px=300)
    assert photo.rgb.shape == (3, 200, 300)
    assert_quarters(photo.rgb, tolerance=6)


def bomb(path: Path) -> None:
    """A PNG that declares two gigapixels."""
    Image.new("1", (64, 64)).save(path, "PNG")
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 50_000, 40_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def cut_off(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 120, 3), np.uint8)
    Image.fromarray(noise).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:2000])


def cut_off_png(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 120, 3), np.uint8)
    Image.fromarray(noise).save(path, "PNG")
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: None, "no such file"),
        (Path.mkdir, "is a folder"),
        (os.mkfifo, "is a device"),
        (Path.touch, "is empty"),
        (lambda path: path.write_text("dear diary"), "not a picture"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "not a picture"),
        (cut_off, "cannot be decoded"),
        (cut_off_png, "cannot be decoded"),
        (lambda path: Image.new("RGB", (20, 20)).save(path, "PNG"), "20x20 pixels, wanted at least 64"),
        (bomb, "50000x40000 pixels, wanted 250 million at most"),
    ],
)
def test_what_is_no_photo_is_named_in_one_line(tmp_path, spoil, message):
    path = tmp_path / "photo.jpg"
    spoil(path)
    with pytest.raises(UserError, match=message) as caught:
        load_photo(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_photo_that_cannot_be_read_is_told_without_importing_torch(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"no picture")
    code = """
import sys
from pathlib import Path
from worldgen.errors import UserError
from worldgen.io.photo import load_photo
try:
    load_photo(Path(sys.argv[1]))
except UserError as error:
    print("torch" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "photo.jpg")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"
