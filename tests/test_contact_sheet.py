"""Worlds on one sheet: pytest tests/test_contact_sheet.py"""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from eval.experiments.contact_sheet import STEPS_M, main
from tests.scenes import BoxRoom
from tests.small_world import FOV_DEG, write_run
from worldgen.geometry.cameras import look_at
from worldgen.runs.reader import RunReader
from worldgen.types import Camera

HEIGHT, GAP = 48, 6


def cells(path, row: int = 0) -> list[np.ndarray]:
    """The square pictures of a row, but for the panoramas, which are twice as wide: photo, four steps."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(np.float32) / 255
    top = row * (HEIGHT + GAP)
    lefts = [0, *(3 * HEIGHT + 2 * GAP + n * (HEIGHT + GAP) for n in range(4))]
    return [pixels[top : top + HEIGHT, left : left + HEIGHT] for left in lefts]


def off(cell: np.ndarray, camera: Camera) -> float:
    truth = BoxRoom().view(camera).rgb.permute(1, 2, 0).numpy()
    return float(np.abs(cell - truth).mean())


def test_a_row_shows_the_photo_and_what_each_step_sees(tmp_path, capsys):
    run, sheet = write_run(tmp_path / "run"), tmp_path / "sheet.png"
    assert main([str(run), "--out", str(sheet), "--height", str(HEIGHT)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["runs"] == [str(run)]
    assert Image.open(sheet).size == (9 * HEIGHT + 6 * GAP, HEIGHT)
    photo, *steps = cells(sheet)
    focal = RunReader(run).camera().fx
    square = Camera(torch.eye(4), HEIGHT, HEIGHT, focal, focal, HEIGHT / 2, HEIGHT / 2)
    assert Camera.from_fov(64, 48, FOV_DEG).fx == pytest.approx(focal)
    turned = Camera(look_at(10.0), HEIGHT, HEIGHT, focal, focal, HEIGHT / 2, HEIGHT / 2)
    assert off(photo, square) < 0.8 * off(photo, turned)
    cameras = [Camera.from_fov(HEIGHT, HEIGHT, 80.0, look_at(0.0, position=torch.tensor(place))) for place in STEPS_M]
    for number, cell in enumerate(steps):
        distances = [off(cell, camera) for camera in cameras]
        assert int(np.argmin(distances)) == number


def test_before_stands_beside_and_rows_may_be_many(tmp_path):
    runs = [write_run(tmp_path / "new" / name) for name in ("a", "b")]
    for name in ("a", "b"):
        write_run(tmp_path / "old" / name)
        Image.new("RGB", (128, 64), "red").save(tmp_path / "old" / name / "panorama" / "panorama.png")
    sheet = tmp_path / "sheet.png"
    assert main([*map(str, runs), "--before", str(tmp_path / "old"), "--out", str(sheet), "--height", "48"]) == 0
    image = Image.open(sheet)
    assert image.size == (11 * HEIGHT + 7 * GAP, 2 * HEIGHT + GAP)
    assert image.getpixel((HEIGHT + GAP + HEIGHT, HEIGHT // 2)) == (255, 0, 0)


@pytest.mark.parametrize(("more", "told"), [(["--height", "4"], "--height: 4"), (["--out", "sheet.gif"], "--out: ")])
def test_bad_options_are_one_line(tmp_path, capsys, more, told):
    run = write_run(tmp_path / "run")
    assert main([str(run), "--out", str(tmp_path / "sheet.png"), *more]) == 2
    assert capsys.readouterr().err.startswith(f"error: {told}")


def test_a_run_that_is_not_there_is_one_line_and_leaves_no_sheet(tmp_path, capsys):
    run, sheet = write_run(tmp_path / "run"), tmp_path / "sheet.png"
    assert main([str(run), "--before", str(tmp_path), "--out", str(sheet)]) == 0  # the same run, beside itself
    assert main([str(tmp_path / "none"), "--out", str(tmp_path / "other.png")]) == 2
    assert "wanted" in capsys.readouterr().err
    assert not (tmp_path / "other.png").exists()
