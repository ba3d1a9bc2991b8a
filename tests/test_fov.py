"""The field of view from EXIF data."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from worldgen.errors import UserError
from worldgen.geometry.fov_range import check_fov
from worldgen.io.photo import Lens, Photo, load_photo
from worldgen.models.conformance import check_fov_estimator
from worldgen.recipe.fov import ExifFov, FixedFov, check_height


def photo(lens: Lens, width: int = 600, height: int = 400) -> Photo:
    return Photo(torch.zeros(3, height, width), path=None, sha256="", lens=lens)


def test_a_lens_on_film_sees_what_it_is_known_to_see():
    fov = ExifFov()(photo(Lens(focal_35mm=18)))
    assert fov.deg == pytest.approx(90)  # 36 mm wide film, 18 mm before it
    assert "18 mm" in fov.source


@given(st.floats(8, 100), st.floats(0.5, 2))
def test_the_diagonal_view_is_the_same_for_every_shape(focal, aspect):
    width, height = round(600 * aspect), 600
    deg = ExifFov()(photo(Lens(focal_35mm=focal), width, height)).deg
    half_diagonal = math.tan(math.radians(deg) / 2) * math.hypot(width, height) / width
    assert half_diagonal == pytest.approx(math.hypot(18, 12) / focal)


def test_a_real_focal_length_needs_its_sensor():
    fov = ExifFov()(photo(Lens(focal_mm=4.0, sensor_width_mm=8.0)))
    assert fov.deg == pytest.approx(90)
    assert ExifFov(60)(photo(Lens(focal_mm=4.0))).deg == pytest.approx(60)


def test_the_film_equivalent_comes_first():
    assert ExifFov()(photo(Lens(focal_35mm=18, focal_mm=4.0, sensor_width_mm=100))).deg == pytest.approx(90)


def test_what_cannot_be_true_is_not_believed():
    fov = ExifFov(60)(photo(Lens(focal_35mm=1, focal_mm=300, sensor_width_mm=8.0)))
    assert fov.deg == pytest.approx(60)
    assert "default" in fov.source


def test_the_default_holds_for_the_longer_side():
    assert ExifFov(90)(photo(Lens(), 600, 400)).deg == pytest.approx(90)
    assert ExifFov(90)(photo(Lens(), 300, 600)).deg == pytest.approx(2 * math.degrees(math.atan(0.5)))


def tagged(path, orientation: int = 1, **tags: object) -> Photo:
    image = Image.new("RGB", (400, 300))
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    for name, value in tags.items():
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base[name]] = value
    image.save(path, exif=exif)
    return load_photo(path)


SENSOR = {
    "FocalLength": IFDRational(9),
    "FocalPlaneXResolution": IFDRational(4000, 2),  # pixels per centimetre: 4000 on 2 cm
    "FocalPlaneYResolution": IFDRational(3000, 1),
    "FocalPlaneResolutionUnit": 3,
    "ExifImageWidth": 4000,
    "ExifImageHeight": 3000,
}


def test_the_sensor_is_read_from_its_pixels_per_millimetre(tmp_path):
    read = tagged(tmp_path / "photo.jpg", **SENSOR)
    assert read.lens == Lens(None, 9.0, 20.0, "")
    assert ExifFov()(read).deg == pytest.approx(2 * math.degrees(math.atan(10 / 9)))


def test_a_portrait_photo_sees_the_sensors_short_side(tmp_path):
    assert tagged(tmp_path / "photo.jpg", orientation=6, **SENSOR).lens.sensor_width_mm == pytest.approx(10)
    upright = tagged(tmp_path / "photo.jpg", orientation=6, FocalLengthIn35mmFilm=26)
    lying = tagged(tmp_path / "photo.jpg", orientation=1, FocalLengthIn35mmFilm=26)
    assert ExifFov()(upright).deg < ExifFov()(lying).deg


@pytest.mark.parametrize("broken", [{"FocalLengthIn35mmFilm": 0}, {"FocalLength": IFDRational(5, 0)}, {}])
def test_broken_tags_say_nothing(tmp_path, broken):
    read = tagged(tmp_path / "photo.jpg", **broken)
    assert read.lens == Lens()


@pytest.mark.parametrize("deg", [0, 200, 10, 150, -70, float("nan"), float("inf"), "wide", True, None])
def test_impossible_fields_of_view_are_refused(deg):
    with pytest.raises(UserError, match=r"fov_deg: .*, wanted more than 10 and less than 150 degrees"):
        check_fov(deg)


def test_possible_fields_of_view_pass():
    assert check_fov(70) == 70.0
    with pytest.raises(UserError, match=r"fov\.default_deg: 5"):
        ExifFov(5)


def test_a_fixed_one_is_what_the_config_says():
    check_fov_estimator(FixedFov(55))
    assert FixedFov(55)(photo(Lens(focal_35mm=18))).deg == 55
    with pytest.raises(UserError, match=r"fov\.deg: 5"):
        FixedFov(5)


def test_a_photo_that_is_a_mere_line_is_refused():
    strip = photo(Lens(), width=4000, height=100)
    with pytest.raises(UserError, match=r"4000x100 pixels, 70 degrees wide, are 2\.0 degrees high, wanted at least 3"):
        check_height(strip, 70.0)
    check_height(photo(Lens(), width=4000, height=160), 70.0)


def test_the_default_can_be_given_by_hand_too():
    tall = ExifFov()(photo(Lens(), width=70, height=2000))
    assert check_fov(tall.deg) == tall.deg


def test_a_wrong_angle_is_told_without_importing_torch():
    code = """
import sys
from worldgen.config import compose
from worldgen.errors import UserError
from worldgen.geometry.fov_range import check_fov
try:
    compose("photo.jpg", ["fov_deg=200"])
except UserError as error:
    print(error, "torch" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "fov_deg: 200, wanted more than 10 and less than 150 degrees False"
