"""The fly-through: a smooth closed path inside the cube, and a film that ordinary players read."""

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from tests.small_world import room_splats
from worldgen.errors import UserError
from worldgen.present.flythrough import FlythroughSettings, flythrough_cameras, write_flythrough
from worldgen.splat.rasterize import rasterize


def poses(seconds: float, **settings: float) -> torch.Tensor:
    """c2w of every frame, [N, 4, 4], float64."""
    cameras = flythrough_cameras(FlythroughSettings(seconds=seconds, fps=24, **settings))
    return torch.stack([camera.c2w for camera in cameras]).double()


def test_film_starts_as_the_photo_was_taken():
    torch.testing.assert_close(poses(4.0)[0], torch.eye(4, dtype=torch.float64))


@pytest.mark.parametrize("radius_m", [0.0, 0.3, 0.5])
def test_path_stays_in_the_cube(radius_m):
    assert poses(8.0, radius_m=radius_m)[:, :3, 3].abs().max() <= 1.0


def test_path_has_continuous_second_derivatives_across_its_end():
    """Twice as many frames halve every change of the second derivative; a jump in it would stay."""

    def largest_change(c2w: torch.Tensor) -> float:
        def difference(values: torch.Tensor) -> torch.Tensor:
            return values.roll(-1, 0) - values

        return (difference(difference(difference(c2w))) * len(c2w) ** 2).abs().max().item()

    coarse, fine = largest_change(poses(4.0)), largest_change(poses(8.0))
    assert coarse > 0
    assert fine < 0.55 * coarse


def test_film_looks_in_every_direction_and_turns_right():
    forward = poses(8.0)[:, :3, 2]
    yaw_deg = torch.rad2deg(torch.atan2(forward[:, 0], forward[:, 2]))
    steps = (yaw_deg.roll(-1) - yaw_deg + 180) % 360 - 180
    assert steps.min() > 0
    assert steps.sum().item() == pytest.approx(360, abs=1e-6)
    assert steps.max() < 5


def test_film_is_h264_that_every_browser_plays(tmp_path):
    splats, settings = room_splats(), FlythroughSettings(seconds=0.5, fps=8, width=96, height=64)
    path = tmp_path / "film.mp4"
    write_flythrough(splats, path, settings)
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    frames = [np.frombuffer(frame, np.uint8).reshape(64, 96, 3) for frame in reader]
    assert (facts["codec"], facts["size"], facts["fps"]) == ("h264", (96, 64), 8)
    assert facts["pix_fmt"].startswith("yuv420p")
    assert len(frames) == 4
    with torch.no_grad():
        first = rasterize(splats, flythrough_cameras(settings)[0]).rgb.clamp(0, 1)
    assert np.abs(frames[0] / 255 - first.permute(1, 2, 0).numpy()).mean() < 0.05


def test_missing_encoder_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "no-such-program"))
    with pytest.raises(UserError, match="ffmpeg"):
        write_flythrough(room_splats(8), tmp_path / "film.mp4", FlythroughSettings(seconds=0.5))


@pytest.mark.parametrize(
    ("key", "value"),
    [("seconds", 0), ("fps", 0), ("width", 641), ("height", 8), ("fov_deg", 200), ("radius_m", 0.6)],
)
def test_wrong_settings_name_their_key(key, value):
    with pytest.raises(UserError, match=rf"export\.video\.{key}"):
        FlythroughSettings(**{key: value})
