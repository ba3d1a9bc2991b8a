"""The exported files, read back by what did not write them."""

import base64
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import gsply
import msgspec
import numpy as np
import plyfile
import pytest
import torch
import zstandard
from PIL import Image

from tests.small_world import HEIGHT, SETTINGS, panorama_points, room_splats, write_export
from worldgen.errors import UserError
from worldgen.present.scene_html import colours, covariances, largest, scene_html
from worldgen.recipe import export as export_module
from worldgen.recipe.export import ExportSettings, write_world
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(folder, facts)"""
    out = tmp_path_factory.mktemp("export")
    return out, write_export(out / "a world", out)


@pytest.fixture(scope="module")
def scene():
    """(page, messages by type, binary buffers) of 50 splats."""
    page = scene_html(some(50), "a <b>&title", 1000)
    return page, *unpacked(page)


def some(count: int) -> Gaussians:
    splats = room_splats(16)
    return Gaussians(**{name: tensor[:count] for name, tensor in splats.tensors().items()})


def unpacked(page: str) -> tuple[dict[str, dict], list[bytes]]:
    """What viser's page carries: zstd over a length, msgpack, and buffers aligned to 8 bytes."""
    (payload,) = re.findall(r'window\.__VISER_EMBED_DATA__="([^"]*)"', page)
    inner = zstandard.ZstdDecompressor().decompressobj().decompress(base64.b64decode(payload)[8:])
    head = 8 + int.from_bytes(inner[:8], "little")
    recording = msgspec.msgpack.decode(inner[8:head])
    buffers, place = [], head
    for length in recording["binaryBufferLengths"]:
        place += -place % 8
        buffers.append(inner[place : place + length])
        place += length
    return {message["type"]: message for _, message in recording["messages"]}, buffers


def test_every_file_is_written(exported):
    out, facts = exported
    names = {"points.ply", "world.ply", "world.spz", "world.sog", "world.html", "flythrough.mp4", "collision.glb"}
    assert {path.name for path in out.iterdir()} == names
    assert all((out / name).stat().st_size > 0 for name in names)
    triangles = facts.pop("collision_triangles")
    assert triangles > 10_000
    assert facts == {"splats": len(room_splats()), "points": len(panorama_points(HEIGHT))}


def test_without_a_film_all_else_is_written(tmp_path):
    write_export(tmp_path, tmp_path, some(20), replace(SETTINGS, video=None))
    names = {"points.ply", "world.ply", "world.spz", "world.sog", "world.html", "collision.glb"}
    assert {path.name for path in tmp_path.iterdir()} == names
    with pytest.raises(UserError, match=r"^export\.video: null, wanted settings of the film walk\.mp4$"):
        write_world(some(20), tmp_path / "walk.mp4", replace(SETTINGS, video=None))


def test_a_folder_may_have_any_name(tmp_path, monkeypatch):
    """A leading dash, which programs take for an option, and bytes that are no UTF-8."""
    monkeypatch.chdir(tmp_path)
    out = Path("-f ${x}, [1] caf\udce9")
    out.mkdir()
    write_export(out, out, some(20))
    assert all((out / name).stat().st_size > 0 for name in ("world.ply", "world.spz", "flythrough.mp4"))
    assert "caf\\udce9" in (out / "world.html").read_text(encoding="utf-8")


def test_splats_and_points_read_back(exported):
    out, _ = exported
    splats, cloud = room_splats(), panorama_points(HEIGHT)
    vertices = plyfile.PlyData.read(out / "world.ply")["vertex"]
    np.testing.assert_array_equal(vertices["x"], splats.means[:, 0])
    np.testing.assert_allclose(vertices["opacity"], splats.opacity_logits)
    points = plyfile.PlyData.read(out / "points.ply")["vertex"]
    np.testing.assert_array_equal(points["z"], cloud.xyz[:, 2])
    assert len(gsply.read_spz(out / "world.spz").means) == len(splats)


def test_page_names_no_other_host(scene):
    assert set(re.findall(r"https?://[\w./-]+", scene[0])) <= {"http://www.w3.org/2000/svg"}


def test_page_is_titled_with_the_name_escaped(scene):
    assert "<title>a &lt;b&gt;&amp;title</title>" in scene[0]


def test_camera_stands_where_the_photo_was_taken_and_looks_its_way(scene):
    _, messages, _ = scene
    assert messages["SetCameraPositionMessage"]["position"] == [0, 0, 0]
    x, y, z = messages["SetCameraLookAtMessage"]["look_at"]
    assert (x, y) == (0, 0)
    assert z > 0
    assert messages["SetCameraUpDirectionMessage"]["position"] == [0, -1, 0]


def test_page_holds_the_splats(scene):
    """viser's layout: centre as 3 float32, 4 bytes its own, 6 float16 covariances, rgba bytes."""
    _, _, buffers = scene
    (rows,) = [np.frombuffer(buffer, np.uint8).reshape(-1, 32) for buffer in buffers if len(buffer) == 50 * 32]
    splats = some(50)
    np.testing.assert_array_equal(rows[:, :12].copy().view(np.float32), splats.means)
    stored = rows[:, 16:28].copy().view(np.float16).astype(np.float32)
    triangle = covariances(splats).reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]]
    np.testing.assert_allclose(stored, triangle, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(rows[:, 28:31] / 255, panorama_points(16).rgb[:50], atol=1 / 255)
    np.testing.assert_allclose(rows[:, 31] / 255, splats.opacity_logits.sigmoid(), atol=1 / 255)


def test_building_the_page_prints_nothing(capfd):
    scene_html(some(5), "quiet", 10)
    assert capfd.readouterr() == ("", "")


CHROME = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROME_FLAGS = (
    "--headless --no-sandbox --no-first-run --disable-background-networking --disable-component-update --disable-sync"
    " --disable-quic --use-angle=swiftshader --enable-unsafe-swiftshader --window-size=400,300"
    " --virtual-time-budget=15000"
)


@pytest.mark.slow
@pytest.mark.skipif(CHROME is None, reason="no Chrome or Chromium")
def test_browser_shows_what_is_near_before_what_is_far(tmp_path):
    """A red wall before a blue one, first in the file: opened from disk, it hides what lies behind."""
    red, blue = wall(2.0, 0.3, (1.0, 0.0, 0.0)), wall(6.0, 6.0, (0.0, 0.0, 1.0))
    both = [torch.cat(pair) for pair in zip(red.tensors().values(), blue.tensors().values(), strict=True)]
    page, shot = tmp_path / "world.html", tmp_path / "shot.png"
    page.write_text(scene_html(Gaussians(*both), "walls", 10_000), encoding="utf-8")
    command = [CHROME, *CHROME_FLAGS.split(), f"--user-data-dir={tmp_path}", f"--screenshot={shot}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with Image.open(shot) as image:
        middle, side = image.convert("RGB").getpixel((200, 150)), image.convert("RGB").getpixel((20, 200))
    assert middle == pytest.approx((255, 0, 0), abs=12)
    assert side == pytest.approx((0, 0, 255), abs=12)


def wall(z: float, half_width: float, rgb: tuple[float, float, float], across: int = 40) -> Gaussians:
    """A square of one colour, upright, across the z axis."""
    side = torch.linspace(-half_width, half_width, across)
    x, y = (grid.flatten() for grid in torch.meshgrid(side, side, indexing="xy"))
    sh = (torch.tensor(rgb) - 0.5) / 0.28209479177387814
    return Gaussians(
        torch.stack([x, y, torch.full_like(x, z)], dim=1),
        torch.eye(4)[:1].repeat(len(x), 1),
        torch.full((len(x), 3), 2 * half_width / across).log(),
        torch.full((len(x),), 9.0),
        sh.repeat(len(x), 1, 1),
    )


def test_page_keeps_the_splats_that_look_largest():
    means = torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 0, 10], [0, 0, 1]])
    scales, logits = torch.tensor([0.1, 0.01, 0.1, 0.1]), torch.tensor([3.0, 3, 3, -9])
    count = len(means)
    splats = Gaussians(
        means, torch.eye(4)[:1].repeat(count, 1), scales.log()[:, None].repeat(1, 3), logits, torch.zeros(count, 1, 3)
    )
    torch.testing.assert_close(largest(splats, 1).means, means[:1])
    assert largest(splats, 4) is splats


def test_covariance_of_a_turned_splat():
    """A needle along x, turned a quarter about z, points along y."""
    half = 0.5**0.5
    splat = Gaussians(
        torch.zeros(1, 3),
        2 * torch.tensor([[half, 0, 0, half]]),
        torch.tensor([[3.0, 0.5, 0.25]]).log(),
        torch.zeros(1),
        torch.zeros(1, 1, 3),
    )
    torch.testing.assert_close(covariances(splat)[0], torch.diag(torch.tensor([0.25, 9.0, 0.0625])), atol=1e-5, rtol=0)


def test_colours_are_those_seen_from_the_origin():
    """A splat with directional colour fills the view; the rasteriser shows what `colours` says."""
    sh = torch.randn(1, 9, 3, generator=torch.Generator().manual_seed(0)) * 0.2
    splat = Gaussians(torch.tensor([[0.0, 0, 2]]), torch.eye(4)[:1], torch.zeros(1, 3), torch.full((1,), 20.0), sh)
    with torch.no_grad():
        seen = rasterize(splat, Camera.from_fov(33, 33, 20)).rgb[:, 16, 16]
    torch.testing.assert_close(colours(splat)[0], seen.clamp(0, 1) / 0.999, atol=2e-3, rtol=0)


def test_unknown_suffix_and_missing_folder_are_said(tmp_path):
    with pytest.raises(UserError, match=r"x\.obj.*wanted \.ply, \.spz, \.sog, \.html or \.mp4"):
        write_world(some(2), tmp_path / "x.obj", SETTINGS)
    with pytest.raises(UserError, match=r"nowhere.*does not exist"):
        write_world(some(2), tmp_path / "nowhere" / "x.ply", SETTINGS)


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch):
    def fails(path, gaussians):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    path = tmp_path / "world.spz"
    path.write_bytes(b"older")
    monkeypatch.setattr(export_module, "write_spz", fails)
    with pytest.raises(OSError, match="no space"):
        write_world(some(2), path, SETTINGS)
    assert [child.name for child in tmp_path.iterdir()] == ["world.spz"]
    assert path.read_bytes() == b"older"


@pytest.mark.parametrize("count", [0, -1, 10**9])
def test_wrong_settings_name_their_key(count):
    with pytest.raises(UserError, match=r"export\.html_splats"):
        ExportSettings(html_splats=count)
