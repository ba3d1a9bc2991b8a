"""The recipe as a whole: skip, redo, edits by hand, and a kill in the middle of every step; networks are fakes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.killed_run import kill_runs
from worldgen import pipeline
from worldgen.config import compose
from worldgen.errors import UserError
from worldgen.io.clouds import load_cloud
from worldgen.present.console import Reporter
from worldgen.runs.disk import locked

REPO = Path(__file__).parent.parent
FAKES = [
    "experiment=tiny",
    "prompts._target_=tests.fakes.PlainPrompter",
    "inpainter._target_=tests.fakes.SmoothInpainter",
    "view_depth._target_=tests.fakes.FlatDepth",
    "depth=network",
    "depth._target_=tests.fakes.WallAhead",
    "panorama.width=256",
    "export.headset=null",
]
CAMERA_OF = '{{"fov_deg": {}, "width": {}, "height": 96}}'


def overrides(photo: Path, out: Path, *more: str) -> list[str]:
    return [f"image={photo}", f"out={out}", *FAKES, *more]


def run(photo: Path, out: Path, *more: str) -> dict[str, str]:
    """Runs the recipe here; returns how each step came out."""
    outcomes = {}
    config = compose(None, overrides(photo, out, *more))
    pipeline.run(config, Reporter(quiet=True), lambda result: outcomes.update({result.name: result.status}))
    return outcomes


def redone(outcomes: dict[str, str]) -> list[str]:
    return [name for name, status in outcomes.items() if status == "made"]


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "hills.png"
    row, column = np.mgrid[0:96, 0:128]
    pixels = np.stack([row * 2, column, 255 - row * 2], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def world(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    out = tmp_path_factory.mktemp("runs") / "hills"
    run(photo, out)
    return out


def test_every_output_is_there_and_linked_at_the_top(world):
    for name in (
        "panorama.png",
        "distance.png",
        "world.ply",
        "world.spz",
        "points.ply",
        "world.html",
        "flythrough.mp4",
    ):
        assert (world / name).stat().st_size > 0
    assert "<html" in (world / "report.html").read_text().lower()


def test_a_run_ends_where_it_is_told_to_and_goes_on_later(photo, tmp_path):
    assert redone(run(photo, tmp_path, "until=prompts")) == ["fov", "prompts"]
    assert (tmp_path / "report.html").exists()
    assert redone(run(photo, tmp_path, "until=panorama")) == ["panorama"]
    with pytest.raises(UserError, match=r"splat\.steps"):
        run(photo, tmp_path, "until=panorama", "splat.steps=-1")
    with pytest.raises(UserError, match="until: panoramma, wanted one of fov, prompts, panorama"):
        run(photo, tmp_path, "until=panoramma")


def test_a_second_run_keeps_everything(photo, world):
    assert redone(run(photo, world)) == []


def test_a_finished_run_is_kept_without_importing_what_would_make_it(photo, world):
    code = (
        "import sys; from worldgen import pipeline; from worldgen.config import compose;"
        "from worldgen.present.console import Reporter;"
        "pipeline.run(compose(None, sys.argv[1:]), Reporter(quiet=True));"
        "print({'torch', 'numba', 'scipy', 'viser', 'pytorch_lightning'} & sys.modules.keys())"
    )
    before = (world / "report.html").stat().st_mtime_ns
    command = [sys.executable, "-c", code, *overrides(photo, world)]
    answer = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
    assert (world / "report.html").stat().st_mtime_ns == before


def test_a_finished_run_still_refuses_wrong_settings_before_the_first_step(photo, world):
    outcomes = {}
    config = compose(None, overrides(photo, world, "splat.steps=-1"))
    with pytest.raises(UserError, match=r"splat\.steps"):
        pipeline.run(config, Reporter(quiet=True), lambda result: outcomes.update({result.name: result.status}))
    assert outcomes == {}


def test_a_photo_without_end_is_refused_in_a_finished_runs_folder_too(world):
    with pytest.raises(UserError, match="/dev/zero: is a device, wanted a photo"):
        run(Path("/dev/zero"), world)


def test_a_damaged_file_of_a_finished_run_is_made_again(photo, world, tmp_path):
    out = copy_of(world, tmp_path)
    (out / "export" / "world.spz").unlink()
    assert redone(run(photo, out)) == ["export"]
    assert (out / "world.spz").stat().st_size > 0


def test_a_report_that_is_gone_is_written_again(photo, world, tmp_path):
    out = copy_of(world, tmp_path)
    (out / "report.html").unlink()
    run(photo, out)
    assert (out / "report.html").is_file()


def test_shares_are_told_in_percent(world):
    steps = json.loads((world / "manifest.json").read_text(encoding="utf-8"))["steps"]
    shown = steps["panorama"]["facts"]["from_the_photo_percent"]
    assert 1 < shown < 100
    report = (world / "report.html").read_text(encoding="utf-8")
    assert f"<dt>from the photo</dt><dd>{shown:.4g} %</dd>" in report
    assert "<dt>sky</dt><dd>0 %</dd>" in report


def test_a_changed_setting_redoes_its_step_and_what_follows_and_the_report_tells(photo, world, tmp_path):
    out = copy_of(world, tmp_path)
    assert redone(run(photo, out, "splat.steps=21")) == ["splat", "export"]
    assert "&quot;steps&quot;: 21" in (out / "report.html").read_text(encoding="utf-8")


def test_edited_prompts_and_panorama_are_kept_and_followed(photo, world, tmp_path):
    out = copy_of(world, tmp_path)
    edited = Image.open(out / "panorama" / "panorama.png").convert("RGB")
    edited.paste((255, 0, 0), (0, 0, edited.width, 8))
    edited.save(out / "panorama" / "panorama.png")
    outcomes = run(photo, out)
    assert outcomes["panorama"] == "edited"
    assert redone(outcomes) == ["refine", "depth", "lift", "complete", "splat", "export"]
    kept = np.asarray(Image.open(out / "panorama.png"))
    assert (kept[:8] == (255, 0, 0)).all()
    # The sky's new colour reaches the world: its highest points are red now.
    cloud = load_cloud(out / "lift" / "cloud.safetensors")
    highest = cloud.rgb[cloud.xyz[:, 1].argmin()]
    assert highest[0] > 0.9
    assert highest[1:].max() < 0.1


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("fov/camera.json", CAMERA_OF.format('"wide"', 128), r"camera\.json: fov_deg: 'wide', wanted more than 10"),
        ("fov/camera.json", '{"width": 128, "height": 96}', r"camera\.json: fov_deg: None, wanted more than 10"),
        ("fov/camera.json", CAMERA_OF.format(70, '"all"'), r"camera\.json: width: 'all', wanted whole pixels"),
        ("fov/camera.json", CAMERA_OF.format(70, 100), r"width, height: 100, 96, wanted the photo's 128, 96"),
        ("panorama/panorama.png", "text", r"panorama\.png: not a readable picture"),
        ("panorama/photo_mask.png", "text", r"photo_mask\.png: not a readable picture"),
        ("depth/distance.npy", "text", r"distance\.npy: not a readable array"),
        ("depth/sky.png", "text", r"sky\.png: not a readable picture"),
    ],
)
def test_an_edit_that_makes_no_sense_is_named(photo, world, tmp_path, file, content, message):
    out = copy_of(world, tmp_path)
    (out / file).write_text(content)
    with pytest.raises(UserError, match=message):
        run(photo, out)


def test_edited_distances_keep_their_size_and_sense(photo, world, tmp_path):
    out = copy_of(world, tmp_path)
    path = out / "depth" / "distance.npy"
    distance = np.load(path)
    np.save(path, -distance)
    with pytest.raises(UserError, match=r"distance\.npy: float32 .*, wanted float32 metres above 0"):
        run(photo, out)
    np.save(path, distance[::2, ::2])
    with pytest.raises(UserError, match=r"sky\.png: 256x128 pixels, wanted 128x64"):
        run(photo, out)


def test_a_world_in_the_making_elsewhere_is_told_before_anything_is_prepared(photo, world, monkeypatch):
    monkeypatch.setattr(pipeline, "prepare", lambda *_: pytest.fail("too late"))
    with locked(world / ".lock", wait=False), pytest.raises(UserError, match="is making a world there"):
        run(photo, world, "seed=9")


def test_an_edited_panorama_of_another_size_is_refused_by_name(photo, world, tmp_path):
    out = copy_of(world, tmp_path)
    Image.new("RGB", (300, 150)).save(out / "panorama" / "panorama.png")
    with pytest.raises(UserError, match=r"panorama\.png: 300x150 pixels, wanted 256x128"):
        run(photo, out)


def test_another_photo_never_overwrites_a_world(world, tmp_path):
    other = tmp_path / "other.png"
    Image.new("RGB", (128, 96), "green").save(other)
    before = (world / "export" / "world.ply").read_bytes()
    with pytest.raises(UserError, match="another photo"):
        run(other, world)
    assert (world / "export" / "world.ply").read_bytes() == before


def test_a_photo_that_is_a_mere_line_ends_in_one_line(tmp_path):
    Image.new("RGB", (4000, 70)).save(tmp_path / "strip.png")
    with pytest.raises(UserError, match=r"strip\.png: 4000x70 pixels"):
        run(tmp_path / "strip.png", tmp_path / "out")


def test_wrong_settings_are_found_before_the_first_step(photo, tmp_path):
    with pytest.raises(UserError, match=r"splat\.steps"):
        run(photo, tmp_path / "never", "splat.steps=-1")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    "victims",
    [("splat",), pytest.param([step.name for step in pipeline.STEPS], marks=pytest.mark.slow)],
    ids=["one step", "every step"],
)
def test_killed_within_steps_it_goes_on_to_the_same_world(photo, world, tmp_path, victims):
    out = tmp_path / "hills"
    command = [sys.executable, "-m", "tests.killed_run", ",".join(victims), *overrides(photo, out)]
    killed = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False, timeout=600)
    assert killed.returncode == 0, killed.stderr
    steps = [step.name for step in pipeline.STEPS]
    assert redone(run(photo, out)) == steps[steps.index(victims[-1]) :]
    for name in ("panorama.png", "world.ply", "points.ply"):
        assert (out / name).read_bytes() == (world / name).read_bytes()
    assert [path.name for path in out.glob(".*worldgen*")] == []


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_to_the_same_world():
    result = kill_runs(kills=3, seed=0)
    assert result["kills"] == 3
    assert result["differing"] == []


def copy_of(world: Path, folder: Path) -> Path:
    return Path(shutil.copytree(world, folder / world.name, symlinks=True))
