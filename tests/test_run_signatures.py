"""What a run folder says against its world: each sign rises where its fault was planted; what is missing is said."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from eval.benchmarks import signatures as benchmark
from eval.synthetic.planted_faults import FAULTS, planted, write_clean_run
from tests.small_world import write_run
from tests.test_report import Page
from worldgen.present.report import write_report
from worldgen.present.report_signatures import section
from worldgen.runs import artifacts
from worldgen.signatures.of_run import COMPLETED, SPLATS, STYLE, RunSignatures, measure

EVERY = (*STYLE, *SPLATS, *COMPLETED)
OTHERS = {  # files without which the signatures of one kind are still measured, and the others are not
    STYLE: ("splat/gaussians.safetensors", "complete/cameras.json"),
    SPLATS: ("complete/cameras.json", "panorama/panorama.png"),
    COMPLETED: ("splat/gaussians.safetensors", "panorama/panorama.png"),
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    return write_clean_run(tmp_path_factory.mktemp("runs") / "clean", 256, 128)


@pytest.fixture(scope="module")
def of_clean(clean) -> RunSignatures:
    return measure(clean)


def test_a_clean_world_has_every_figure_and_no_fault(of_clean):
    assert set(of_clean.figures) == set(EVERY) == set(FAULTS)
    assert of_clean.missing == {}
    assert all(of_clean.figures[name] < 4 for name in STYLE)
    assert of_clean.figures["floaters"] < 0.2
    assert of_clean.figures["contradicted"] < 1


@pytest.mark.parametrize("fault", FAULTS)
def test_each_sign_rises_where_its_fault_was_planted(clean, of_clean, tmp_path, fault):
    faulty = planted(clean, tmp_path / "faulty", fault)
    kind = next(kind for kind in OTHERS if fault in kind)
    for name in OTHERS[kind]:
        (faulty / name).unlink()
    found = measure(faulty)
    assert set(found.figures) == set(kind)
    rose = found.figures[fault]
    assert rose > 1.5 * of_clean.figures[fault]
    assert rose > of_clean.figures[fault] + 0.2


@pytest.mark.slow
def test_the_same_folder_gives_the_same_figures(clean, of_clean):
    assert measure(clean).figures == of_clean.figures


@pytest.mark.slow
def test_the_benchmark_prints_both_worlds_figures(capsys):
    assert benchmark.main(["--height", "128", "--size", "64"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told["clean"]) == set(told["planted"]) == set(EVERY)


def test_pictures_show_where(of_clean):
    for seen in (*of_clean.views, *of_clean.completed):
        assert seen.plain.shape == seen.wrong.shape
        assert 0 <= float(seen.wrong.min()) <= float(seen.wrong.max()) <= 1
    assert len(of_clean.views) == 6
    assert bool(of_clean.completed[0].wrong[1].any())  # something that one view alone painted


@pytest.fixture
def run(tmp_path) -> Path:
    return write_run(tmp_path / "room")


def without(run: Path, *steps: str) -> dict[str, str]:
    for step in steps:
        shutil.rmtree(run / step)
    return measure(run).missing


def test_a_run_that_ended_early_is_measured_as_far_as_it_goes(run):
    missing = without(run, "export", "splat")
    assert set(missing) == set(SPLATS)
    assert set(missing.values()) == {"the run has no splats yet"}
    missing = without(run, "complete", "lift")
    assert set(missing) == {*SPLATS, *COMPLETED}
    assert missing["unsupported"] == "the run has no completed views yet"
    assert set(without(run, "panorama")) == set(EVERY)


def test_without_points_nothing_tells_what_floats_but_haze_is_seen(run):
    (run / "lift" / "cloud.safetensors").unlink()
    found = measure(run)
    assert {"haze", "ghosts"} <= set(found.figures)
    assert found.missing["floaters"] == "the points that the splats were fitted from are not there"


def test_a_given_panorama_has_no_border(run):
    artifacts.save_mask(run / "panorama" / "photo_mask.png", torch.ones(64, 128, dtype=torch.bool))
    assert measure(run).missing["style_colour"] == "all of the panorama is the photo, so there is no border"


def test_nothing_was_worth_completing(run):
    artifacts.save_completed_cameras(run / "complete", [])
    assert measure(run).missing["contradicted"] == "no view missed enough to be completed"


def test_an_edited_panorama_counts_and_a_broken_one_is_said(run):
    before = measure(run).figures
    path = run / "panorama" / "panorama.png"
    rgb, photo = artifacts.load_image(path), artifacts.load_mask(path.with_name("photo_mask.png"))
    artifacts.save_image(path, torch.where(photo, rgb, 0.5 * rgb))
    assert measure(run).figures["style_colour"] > 1.5 * before["style_colour"]
    path.write_text("no picture")
    found = measure(run)
    assert "not a readable picture" in found.missing["style_texture"]
    assert "haze" in found.figures


def test_the_report_tells_figures_and_what_was_not_measured(run):
    shutil.rmtree(run / "splat")
    page = Page(write_report(run).read_text(encoding="utf-8"))
    words = " ".join(page.words)
    assert "What to distrust in this world" in page.titles
    assert "Floaters, Haze, Ghosts: the run has no splats yet." in words
    assert "Colour at the photo's border" in words
    told = artifacts.load_json(run / "signatures.json")
    assert told["figures"] == measure(run).figures
    assert set(told["not_measured"]) == set(SPLATS)


def test_a_reason_is_escaped():
    assert "<b>.png" not in section(RunSignatures(missing={"haze": "<b>.png: broken"}))
