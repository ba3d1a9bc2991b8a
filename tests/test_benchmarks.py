"""The benchmarks' measures: a perfect panorama scores perfectly, planted faults show, and the commands run through."""

import json

import pytest
import torch

from eval.benchmarks import panorama, panorama_scores, world
from eval.benchmarks.panorama_scores import against_truth, looks_of, photo_psnr_db, seams
from eval.metrics.seams import border_seam, view_seam, wrap_seam
from tests.fakes import SmoothInpainter
from tests.small_world import FOV_DEG, write_run
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import directions, from_perspective, to_perspective
from worldgen.runs.artifacts import save_image
from worldgen.runs.disk import sha256_of
from worldgen.types import Camera, Panorama, View
from worldgen.world import World


@pytest.fixture
def truth() -> torch.Tensor:
    """A textured panorama without a seam, [3, 64, 128]."""
    x, y, z = directions(64, 128).unbind(-1)
    return torch.stack([torch.sin(5 * x + 2 * y), torch.sin(7 * y - x), torch.sin(6 * z + 3 * x)]) * 0.4 + 0.5


@pytest.fixture
def plain_metrics(monkeypatch):
    """Metrics that need no parameter files: darker and smoother count as better."""
    monkeypatch.setattr(panorama_scores, "brisque", lambda rgb: float(rgb.mean()) * 100)
    monkeypatch.setattr(panorama_scores, "niqe", lambda rgb: float(rgb.std()))


@pytest.fixture
def whole_photo(truth):
    return panorama.take_photo(truth)


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


def test_the_truth_scores_perfectly_against_itself(truth, plain_metrics):
    scores = against_truth(truth, truth)
    assert (scores.brisque_gain, scores.niqe_gain, scores.sky_colour_error, scores.ground_colour_error) == (0, 0, 0, 0)


def test_what_differs_from_the_truth_is_counted_with_its_sign_and_place(truth, plain_metrics):
    brighter_sky = truth.clone()
    brighter_sky[:, :24] += 10 / 255
    scores = against_truth(brighter_sky, truth)
    assert scores.sky_colour_error == pytest.approx(10, abs=1e-2)
    assert scores.ground_colour_error == 0
    assert scores.brisque_gain > 0


def test_scored_views_go_round_the_horizon(truth):
    views = panorama_scores.scored_views(truth)
    assert len(views) == 6
    torch.testing.assert_close(
        views[3], to_perspective(truth, Camera.from_fov(512, 512, 90.0, look_at(180.0)), "bicubic")
    )


def test_photo_psnr_tells_the_photo_from_another(truth, whole_photo):
    assert photo_psnr_db(truth, whole_photo) > 35
    assert photo_psnr_db(truth.roll(3, dims=2), whole_photo) < 30


def test_a_fine_photo_is_compared_at_the_panoramas_density(truth):
    camera = Camera.from_fov(640, 480, 80.0)
    photo = View(camera, to_perspective(truth, camera, "bicubic"), torch.ones(480, 640, dtype=torch.bool))
    reduced = panorama_scores.at_density_of(truth, photo)
    assert reduced.camera.fov_deg == pytest.approx(80, abs=0.5)
    assert reduced.camera.fx == pytest.approx(128 / (2 * torch.pi), rel=0.03)
    assert photo_psnr_db(truth, photo) > 30


@pytest.mark.parametrize("heuristic", ["anchored", "sequential", "adhoc", "walk"])
def test_every_heuristic_is_painted_whole_and_scored(heuristic, truth, whole_photo, plain_metrics):
    case = panorama.Case("small", truth, whole_photo, fine=True)
    made = panorama.paint(whole_photo, heuristic, 128, SmoothInpainter(), view_size=64)
    assert made.rgb.shape == truth.shape
    assert torch.isfinite(made.rgb).all()
    scores = panorama.score(case, heuristic, made, seconds=1.0)
    assert scores["photo_psnr_db"] > 30
    assert panorama.summarise([(case, scores)])["brisque_gain"] == scores["brisque_gain"]


def test_the_walk_sees_every_direction():
    covered = torch.zeros(64, 128, dtype=torch.bool)
    for view in panorama.WALK:
        camera = Camera.from_fov(16, 16, view.fov_deg, look_at(view.yaw_deg, view.pitch_deg))
        covered |= from_perspective(torch.zeros(1, 16, 16), camera, 64, 128)[1]
    assert covered.all()


def test_the_summary_keeps_coarse_truths_out_of_brisque_and_niqe(truth, whole_photo):
    names = ("brisque_gain", "niqe_gain", "sky_colour_error", "ground_colour_error", *panorama.SUMMARY_MEANS)
    scores = [
        (panorama.Case("a", truth, whole_photo, fine=fine), dict.fromkeys(names, value))
        for fine, value in ((True, 1.0), (False, 9.0), (False, 5.0))
    ]
    summary = panorama.summarise(scores)
    assert (summary["brisque_gain"], summary["wrap_seam"], summary["colour_error_median"]) == (1, 5, 5)
    assert panorama.summarise(scores[1:])["niqe_gain"] is None


def test_seams_of_a_painted_panorama_name_the_worst_view(truth):
    first = looks_of("anchored")[0]
    camera = Camera.from_fov(64, 64, first.fov_deg, look_at(first.yaw_deg, first.pitch_deg))
    _, inside = from_perspective(torch.zeros(1, 64, 64), camera, 64, 128)
    nothing = torch.zeros(64, 128, dtype=torch.bool)
    clean = seams(Panorama(truth, nothing), looks_of("anchored"))
    darker = seams(Panorama(torch.where(inside, truth - 0.3, truth), nothing), looks_of("anchored"))
    assert clean.worst_view_seam < 1.5 < 3 < darker.worst_view_seam
    assert clean.photo_seam == 1


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
