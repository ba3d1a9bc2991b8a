"""The benchmarks' measures: a perfect panorama scores perfectly, planted faults show, and the commands run through."""

import json

import pytest
import torch

from eval.benchmarks import world
from eval.benchmarks.world import photo_psnr_db
from eval.data.panorama_crops import take_photo
from eval.metrics.panorama_seams import painted_cameras, worst_view_seam
from eval.metrics.seam_ratios import border_seam, view_seam, wrap_seam
from tests.small_world import FOV_DEG, write_run
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import directions, from_perspective, to_perspective
from worldgen.runs.artifacts import save_image
from worldgen.runs.disk import sha256_of
from worldgen.types import Camera, View
from worldgen.world import World


@pytest.fixture
def truth() -> torch.Tensor:
    """A textured panorama without a seam, [3, 64, 128]."""
    x, y, z = directions(64, 128).unbind(-1)
    return torch.stack([torch.sin(5 * x + 2 * y), torch.sin(7 * y - x), torch.sin(6 * z + 3 * x)]) * 0.4 + 0.5


@pytest.fixture
def whole_photo(truth):
    return take_photo(truth)


def test_a_picture_without_a_seam_has_ratio_one(truth):
    assert wrap_seam(truth) == pytest.approx(1, abs=0.3)
    camera = Camera.from_fov(32, 32, 85.0, look_at(100.0, 20.0))
    assert view_seam(truth, camera) == pytest.approx(1, abs=0.3)
    assert border_seam(truth, torch.ones(64, 128, dtype=torch.bool)) == 1


def test_a_step_at_the_back_shows_as_a_wrap_seam(truth):
    stepped = truth + torch.linspace(0, 0.4, 128)
    assert wrap_seam(stepped) > 3


def test_a_darker_view_shows_along_its_border_alone(truth):
    camera = Camera.from_fov(32, 32, 85.0, look_at(100.0, 20.0))
    _, inside = from_perspective(torch.zeros(1, 32, 32), camera, 64, 128)
    darker = torch.where(inside, truth - 0.3, truth)
    assert view_seam(darker, camera) > 3
    elsewhere = Camera.from_fov(32, 32, 60.0, look_at(-60.0))
    assert view_seam(darker, elsewhere) == pytest.approx(view_seam(truth, elsewhere))


def test_photo_psnr_tells_the_photo_from_another(truth, whole_photo):
    assert photo_psnr_db(truth, whole_photo) > 35
    assert photo_psnr_db(truth.roll(3, dims=2), whole_photo) < 30


def test_a_fine_photo_is_compared_at_the_panoramas_density(truth):
    camera = Camera.from_fov(640, 480, 80.0)
    photo = View(camera, to_perspective(truth, camera, "bicubic"), torch.ones(480, 640, dtype=torch.bool))
    reduced = world.at_density_of(truth, photo)
    assert reduced.camera.fov_deg == pytest.approx(80, abs=0.5)
    assert reduced.camera.fx == pytest.approx(128 / (2 * torch.pi), rel=0.03)
    assert photo_psnr_db(truth, photo) > 30


@pytest.mark.parametrize("heuristic", ["anchored", "sequential"])
def test_the_worst_view_is_found(heuristic, truth):
    _, inside = from_perspective(torch.zeros(1, 64, 64), painted_cameras(heuristic)[0], 64, 128)
    darker = torch.where(inside, truth - 0.3, truth)
    assert worst_view_seam(truth, heuristic) < 1.5 < 3 < worst_view_seam(darker, heuristic)


def test_adhoc_paints_no_views(truth):
    assert worst_view_seam(truth, "adhoc") == 1


@pytest.fixture
def run(tmp_path):
    """A small finished run, and its photo: what its own panorama shows."""
    run_dir = write_run(tmp_path / "run")
    panorama = World.open(run_dir).panorama
    save_image(tmp_path / "photo.png", to_perspective(panorama.rgb, Camera.from_fov(96, 72, FOV_DEG), "bicubic"))
    manifest = json.loads((run_dir / "manifest.json").read_text())
    manifest["photo"] = {"name": "photo.png", "sha256": sha256_of(tmp_path / "photo.png")}
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    return run_dir


def test_a_finished_run_is_measured_and_its_last_line_is_json(run, capsys):
    figures = world.measure(World.open(run), world.photo_view(run, run.parent / "photo.png"))
    assert figures["panorama_psnr_db"] > 30
    assert figures["world_psnr_db"] > 15
    assert figures["seconds"] == 9 * 75
    world.report(run, figures)
    lines = capsys.readouterr().out.splitlines()
    assert set(json.loads(lines[-1])) == {*world.WANTED, "steps_s"}
    assert any("seconds" in line and "NO" in line for line in lines)


def test_another_photo_than_the_runs_is_refused(run):
    save_image(run.parent / "other.png", torch.rand(3, 72, 96))
    with pytest.raises(UserError, match="another photo"):
        world.photo_view(run, run.parent / "other.png")
