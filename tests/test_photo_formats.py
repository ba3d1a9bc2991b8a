"""HEIC and AVIF, which side is up in every format, and folders in which photos lie among other files."""

import logging
import sys

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from tests.test_photo import assert_quarters, quarters
from worldgen.errors import UserError
from worldgen.io import photo_formats
from worldgen.io.photo import examine, load_photo
from worldgen.io.photo_folder import photos_in
from worldgen.io.photo_formats import picture_suffixes

pillow_heif = pytest.importorskip("pillow_heif")
FOCAL_35MM, QUARTER_TURN = 26, 6


def exif_of(image: Image.Image, orientation: int) -> bytes:
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = FOCAL_35MM
    return exif.tobytes()  # bytes, as of these pillow-heif makes the turn that HEIF files have of their own


@pytest.mark.parametrize("suffix", ["heic", "avif", "webp", "tif", "png", "jpg"])
def test_a_photo_that_was_held_upright_is_upright_in_every_format(tmp_path, suffix):
    pillow_heif.register_heif_opener()
    image = Image.fromarray(np.ascontiguousarray(np.rot90(quarters(128, 64), 1)))
    path = tmp_path / f"photo.{suffix}"
    options = {} if suffix in ("tif", "png") else {"quality": 95}
    image.save(path, exif=exif_of(image, QUARTER_TURN), **options)
    assert suffix not in ("heic", "avif") or b"irot" in path.read_bytes()
    photo, shape = load_photo(path), examine(path)
    assert photo.rgb.shape == (3, 64, 128)
    assert (shape.width, shape.height) == (128, 64)
    assert_quarters(photo.rgb, tolerance=8)
    if suffix != "tif":  # Pillow keeps no such tag in the TIFF it writes
        assert photo.lens.focal_35mm == FOCAL_35MM


def test_ten_bits_keep_their_scale(tmp_path):
    ramp = np.tile(np.linspace(0, 65535, 128, dtype=np.uint16)[None, :, None], (64, 1, 3))
    heif = pillow_heif.from_bytes("RGB;16", (128, 64), ramp.tobytes())
    heif.save(tmp_path / "photo.heic", quality=-1, chroma=444)
    rgb = load_photo(tmp_path / "photo.heic").rgb
    assert torch.allclose(rgb[:, 32], torch.linspace(0, 1, 128).expand(3, -1), atol=3 / 255)


def test_a_heic_photo_is_known_by_its_content(tmp_path):
    pillow_heif.register_heif_opener()
    Image.fromarray(quarters(128, 64)).save(tmp_path / "photo.heic", quality=95)
    (tmp_path / "photo.heic").rename(tmp_path / "photo.jpg")
    assert_quarters(load_photo(tmp_path / "photo.jpg").rgb, tolerance=8)


@pytest.mark.parametrize(
    ("brand", "message"),
    [
        (b"heic", r"photo\.jpg: HEIC, wanted the package that reads it: pip install pillow-heif"),
        (b"avif", r"photo\.jpg: AVIF, wanted a Pillow that reads it: pip install 'pillow>=11.3'"),
    ],
)
def test_without_its_decoder_a_photo_is_refused_by_name(tmp_path, monkeypatch, brand, message):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + brand + b"\0" * 100)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(photo_formats.features, "check", lambda name: False)
    photo_formats._register_heif.cache_clear()
    with pytest.raises(UserError, match=message):
        load_photo(path)
    photo_formats._register_heif.cache_clear()


def test_a_heic_file_that_is_cut_off_ends_in_one_line(tmp_path):
    pillow_heif.register_heif_opener()
    path = tmp_path / "photo.heic"
    Image.fromarray(quarters(256, 128)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"photo\.heic: (cannot be decoded|not a picture)") as caught:
        load_photo(path)
    assert "\n" not in str(caught.value)


def test_a_raw_files_preview_is_not_taken_for_the_photo(tmp_path):
    Image.new("RGB", (160, 120)).save(tmp_path / "photo.NEF", "TIFF")
    with pytest.raises(UserError, match=r"photo\.NEF: a camera's raw file, wanted it developed, as JPEG, PNG or TIFF"):
        load_photo(tmp_path / "photo.NEF")


def test_what_is_no_photo_has_no_photos_suffix():
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".heic", ".avif", ".gif", ".bmp"} <= picture_suffixes()
    assert not {".pdf", ".mpg", ".h5", ".txt", ".mov", ".xmp", ".nef", ""} & picture_suffixes()


def test_a_folder_says_what_it_leaves_out(tmp_path, caplog):
    for name in ("b.JPG", "a.heic", "c.avif", "d.tiff"):
        (tmp_path / name).touch()
    for name in ("._b.JPG", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.jpg"):
        (tmp_path / name).touch()
    for name in ("b.xmp", "b.aae", "film.mov", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "more.jpg").mkdir()
    with caplog.at_level(logging.WARNING, "worldgen"):
        assert [path.name for path in photos_in(tmp_path)] == ["a.heic", "b.JPG", "c.avif", "d.tiff"]
    expected = "4 photos; left out: 5 hidden or system files, 2 sidecars, film.mov, notes.txt"
    assert [record.getMessage() for record in caplog.records] == [f"{tmp_path}: {expected}"]


def test_a_folder_of_photos_alone_needs_no_word(tmp_path, caplog):
    (tmp_path / "a.jpg").touch()
    assert len(photos_in(tmp_path)) == 1
    assert not caplog.records
    (tmp_path / "a.jpg").rename(tmp_path / "._a.jpg")
    with pytest.raises(UserError, match="no photos there"):
        photos_in(tmp_path)
