"""A photo that is a 360-degree panorama: level, of the wanted size, without a seam; and a whole world made of it."""

import json
import math
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from eval.benchmarks.world import photo_view
from eval.protocols.runs import read_run
from tests.scenes import BoxRoom
from tests.test_photo_sphere import xmp
from tests.test_pipeline import FAKES, redone
from train.data.run_views import read_run as read_views
from worldgen import pipeline
from worldgen.config import compose
from worldgen.geometry.cameras import world_rays
from worldgen.geometry.equirect import directions
from worldgen.io.photo_sphere import Sphere
from worldgen.present.console import Reporter
from worldgen.recipe.given import all_round, front_view, given_panorama, looks_closed
from worldgen.runs import artifacts
from worldgen.world import World


def scene(rays: torch.Tensor) -> torch.Tensor:
    """Smooth colours of every direction [..., 3], as [3, ...]."""
    x, y, z = rays.unbind(-1)
    return torch.stack([0.5 + 0.4 * x, 0.5 + 0.4 * y, 0.5 + 0.25 * z + 0.15 * torch.sin(3 * x * y)])


def test_a_panorama_of_our_size_stays_as_it_is():
    rgb = torch.rand(3, 32, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(given_panorama(rgb, Sphere("equirectangular"), 64), rgb)


@pytest.mark.parametrize("width", [64, 100, 256])
def test_a_panorama_of_another_size_shows_the_same_without_a_seam(width):
    made = given_panorama(scene(directions(64, 128)), None, width)
    assert made.shape == (3, width // 2, width)
    assert (made - scene(directions(width // 2, width))).abs().max() < 0.02
    noise = torch.rand(3, 64, 128, generator=torch.Generator().manual_seed(0))
    turned = given_panorama(noise.roll(64, dims=2), None, width)
    assert torch.allclose(given_panorama(noise, None, width).roll(width // 2, dims=2), turned, atol=1e-5)


def test_pitch_lifts_the_middle_and_roll_leans_to_the_right():
    """As GPano has it: the picture's middle lies `pitch` above the horizon; with a positive roll the horizon turns
    counterclockwise in the picture, so that its right looks down."""
    height, width = 128, 256
    pitch, roll = math.radians(20), math.radians(30)
    rays = directions(height, width)
    lifted = torch.tensor([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    leaning = torch.tensor([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    middle, right = torch.tensor([0.0, 0, 1]), torch.tensor([1.0, 0, 0])
    assert torch.allclose(lifted @ middle, torch.tensor([0, -math.sin(pitch), math.cos(pitch)]))
    assert (leaning @ right)[1] > 0  # y is down
    for sphere, turn in (
        (Sphere("equirectangular", pitch_deg=20), lifted),
        (Sphere("equirectangular", roll_deg=30), leaning),
        (Sphere("equirectangular", pitch_deg=20, roll_deg=30), lifted @ leaning),
    ):
        taken = scene(rays @ turn.T)  # what the picture shows in its own direction `rays`
        assert (given_panorama(taken, sphere, width) - scene(rays)).abs().max() < 0.01


def test_photos_of_it_are_seen_straight_ahead_and_all_round():
    panorama = scene(directions(128, 256))
    view = front_view(panorama, 90)
    assert (view.camera.width, view.camera.height) == (64, 48)
    assert torch.allclose(view.rgb[:, 24, 32], scene(torch.tensor([0.0, 0, 1])), atol=0.02)
    strip = all_round(panorama)
    assert strip.shape == (3, 64, 256)
    for index, ahead in enumerate(([-1.0, 0, 0], [0, 0, 1.0], [1.0, 0, 0], [0, 0, -1.0])):
        assert torch.allclose(strip[:, 32, 64 * index + 32], scene(torch.tensor(ahead)), atol=0.03)


def test_a_panorama_closes_and_a_photo_does_not():
    panorama, _ = BoxRoom().panorama(64)
    assert looks_closed(panorama.rgb)
    assert not looks_closed(panorama.rgb[..., :70])


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene all round, which says that it is a panorama."""
    path = tmp_path_factory.mktemp("photo") / "room.jpg"
    pixels = (scene(directions(192, 384)) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(path, quality=98, subsampling=0, xmp=xmp(ProjectionType="equirectangular"))
    return path


def run(photo: Path, out: Path, *overrides: str) -> dict[str, str]:
    """Runs the recipe; returns how each step came out."""
    outcomes = {}
    config = compose(photo, [*FAKES, *overrides], out)
    pipeline.run(config, Reporter(quiet=True), lambda result: outcomes.update({result.name: result.status}))
    return outcomes


@pytest.fixture(scope="module")
def world(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "room"
    run(photo, out)
    return out


def test_the_photo_becomes_the_panorama(world):
    panorama = World(world).panorama
    assert panorama.rgb.shape == (3, 128, 256)
    assert bool(panorama.photo.all())
    assert (panorama.rgb - scene(directions(128, 256))).abs().max() < 0.03
    manifest = json.loads((world / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["steps"]["panorama"]["config"]["panorama"]["heuristic"] == "given"
    assert manifest["steps"]["panorama"]["facts"]["from_the_photo_percent"] == 100


def test_the_run_goes_on_to_the_end(world):
    for name in ("world.ply", "world.spz", "points.ply", "world.html", "flythrough.mp4"):
        assert (world / name).stat().st_size > 0
    report = (world / "report.html").read_text(encoding="utf-8")
    assert "All of it is the photo." in report
    assert "The panorama straight ahead" in report


def test_a_second_run_keeps_everything_and_saying_so_by_hand_is_the_same(photo, world):
    assert redone(run(photo, world)) == []
    assert redone(run(photo, world, "panorama=given", "panorama.width=256")) == []


@pytest.mark.slow
def test_taken_as_a_photo_after_all_everything_is_made_again(photo, tmp_path):
    run(photo, tmp_path / "run", "until=panorama")
    assert redone(run(photo, tmp_path / "run", "until=panorama", "panorama=anchored", "panorama.width=256"))[:3] == [
        "fov",
        "prompts",
        "panorama",
    ]
    assert not bool(artifacts.load_mask(tmp_path / "run" / "panorama" / "photo_mask.png").all())


def test_what_reads_run_folders_takes_the_front_view_for_the_photo(photo, world):
    views, _ = read_views(world)
    front = views[0].camera
    assert (front.width / front.height, front.fov_deg) == (pytest.approx(4 / 3), pytest.approx(90))
    seen = read_run(world).photo()
    assert (seen.fov_deg, seen.size) == (pytest.approx(90), (64, 48))
    assert seen.load().shape == (3, 48, 64)
    view = photo_view(world, photo)
    assert view.camera.fov_deg == pytest.approx(90)
    assert (view.rgb - scene(world_rays(view.camera))).abs().max() < 0.03


def test_a_panorama_that_says_nothing_is_a_photo_but_for_a_hint(tmp_path, capsys):
    panorama, _ = BoxRoom().panorama(1000)
    pixels = (panorama.rgb * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "room.png", compress_level=1)
    config = compose(tmp_path / "room.png", [*FAKES, "until=fov"], tmp_path / "run")
    pipeline.run(config, Reporter())
    hint = "may be a 360-degree panorama, taken as a plain photo; panorama=given takes it as that"
    assert hint in capsys.readouterr().err
    assert artifacts.load_json(tmp_path / "run" / "fov" / "camera.json")["fov_deg"] == pytest.approx(70)
    assert OmegaConf.select(config, "panorama.heuristic") == "auto"
