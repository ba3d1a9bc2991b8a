"""world_vr.html: what it is made of, and, in a browser with an emulated headset, what it shows."""

import base64
import json
import math
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.browser import CHROME, Page, browser
from tests.known_cubes import COLOURS, cubes, expect_cubes
from tests.small_world import FOV_DEG, SETTINGS, photo_view, room_splats, write_export
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import directions
from worldgen.io.sog import read_sog
from worldgen.models import assets
from worldgen.models.sources import Npm, Unavailable
from worldgen.present import headset
from worldgen.present.headset import HeadsetSettings, eye_height, loss_cameras, write_headset_page
from worldgen.progress import untracked
from worldgen.splat.contribution import contributions, picture_loss_db, thinned
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, DistanceMap, Gaussians, View

ENGINE = assets.here(headset.ENGINE)
IWER = Npm("iwer@2.5.0", "package/build/iwer.min.js")  # an emulated WebXR device; MIT
EMULATE = """
window.device = new IWER.XRDevice(IWER.metaQuest3);
device.installRuntime({forceInstall: true});
device.stereoEnabled = true;
"""


def ground(height_m: float, height: int = 64) -> DistanceMap:
    """A level plane so far below, and sky."""
    down = directions(height, 2 * height)[..., 1]
    sky = down < 0.05
    return DistanceMap(torch.where(sky, 100.0, height_m / down.clamp(min=0.05)), sky)


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """A few bytes in the place of the engine."""
    path = tmp_path / "engine.js"
    path.write_text("window.pc = {};")
    monkeypatch.setattr(assets, "here", lambda name: path)


def parts(page: str) -> dict[str, str]:
    """The data that a page carries, by their ids."""
    return dict(re.findall(r'<script type="[\w/]+" id="(\w+)">([^<]*)</script>', page))


def test_eyes_are_as_high_as_the_ground_lies_below():
    found, guessed = eye_height(ground(1.4))
    assert found == pytest.approx(1.4, rel=0.01)
    assert not guessed
    assert eye_height(ground(30.0)) == (1.6, True)
    nothing = ground(1.4)
    assert eye_height(DistanceMap(nothing.distance, torch.ones_like(nothing.sky))) == (1.6, True)


def test_contributions_are_weights_of_the_picture():
    """With all colours white the picture is the sum of the weights; what lies behind a wall adds nothing."""
    splats, camera = room_splats(16), Camera.from_fov(32, 32, 90)
    white = replace(splats, sh=torch.full_like(splats.sh, 0.5 / 0.28209479177387814))
    with torch.no_grad():
        total = rasterize(white, camera).rgb[0].sum()
    found = contributions(splats, [camera])
    torch.testing.assert_close(found.sum(), total, rtol=1e-4, atol=0)
    assert found.min() >= 0
    behind = splats.means[:, 2] < -0.1
    assert found[behind].abs().max() == 0


def test_what_adds_least_is_left_out():
    splats, cameras = room_splats(16), loss_cameras(HeadsetSettings())
    hidden = splats.map(lambda tensor: tensor[:50])
    hidden.means.mul_(3)  # behind the walls
    both = Gaussians(
        *(torch.cat(pair) for pair in zip(hidden.tensors().values(), splats.tensors().values(), strict=True))
    )
    kept = thinned(both, len(splats), cameras)
    assert len(kept) == len(splats)
    far = (kept.means.abs().amax(dim=1) > both.means[50:].abs().max()).sum()
    assert far < 5
    assert thinned(both, len(both), cameras) is both


def test_who_stays_takes_over_what_the_others_covered():
    """A wall of equal splats, of which a third goes, here and there: without their heirs it would be full of holes."""
    side = torch.linspace(-1, 1, 30)
    x, y = (axis.flatten() for axis in torch.meshgrid(side, side, indexing="xy"))
    count = len(x)
    shade = torch.rand(count, generator=torch.Generator().manual_seed(0))
    wall = Gaussians(
        torch.stack([x, y, torch.full_like(x, 1.5)], dim=1),
        torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        torch.full((count, 3), 0.035).log(),
        3 + shade,  # those that are more opaque add more
        torch.full((count, 1, 3), 1.0),
    )
    cameras = [Camera.from_fov(128, 128, 60)]
    kept = thinned(wall, 2 * count // 3, cameras)
    rows = (wall.means[:, None] == kept.means).all(dim=2).any(dim=1)
    plain = wall.map(lambda tensor: tensor[rows])
    assert (kept.log_scales >= plain.log_scales - 1e-6).all()
    assert (kept.log_scales - plain.log_scales).max() <= math.log(2) + 1e-5
    (better,), (worse,) = (picture_loss_db(wall, each, cameras) for each in (kept, plain))
    assert better > worse + 3


def test_loss_is_the_psnr_of_pictures():
    splats, cameras = room_splats(16), loss_cameras(HeadsetSettings(loss_views=2))
    darker = replace(splats, sh=splats.sh - 0.02 / 0.28209479177387814)
    found = picture_loss_db(splats, darker, cameras)
    assert picture_loss_db(splats, splats, cameras) == [100.0, 100.0]
    assert all(30 < db < 40 for db in found)  # 0.02 everywhere is 34 dB


def test_places_of_the_loss_lie_in_the_cube_and_are_others():
    cameras = loss_cameras(HeadsetSettings(cube_side_m=3.0, loss_views=50))
    places = torch.stack([camera.position for camera in cameras])
    assert places.abs().max() <= 1.5
    assert places.abs().max() > 1.2
    chosen = torch.stack([camera.position for camera in headset.choosing_cameras(HeadsetSettings(cube_side_m=3.0))])
    assert torch.cdist(places, chosen).min() > 0.01


def test_page_carries_all_that_it_shows(tmp_path, engine):
    settings = HeadsetSettings(splats=500, loss_views=2, cube_side_m=1.0)
    page = tmp_path / "world_vr.html"
    facts = write_headset_page(page, room_splats(32), photo_view(), ground(1.5), settings, "a <b>&title @STYLE@")
    text = page.read_text()
    assert "<title>a &lt;b&gt;&amp;title @STYLE@</title>" in text
    assert not re.findall(r"https?://", text.replace("http://www.w3.org", ""))
    found = parts(text)
    told = json.loads(found["facts"])
    assert told["cube_side_m"] == 1.0
    assert told["eye_height_m"] == pytest.approx(1.5, rel=0.01)
    assert told["fov_deg"] == pytest.approx(FOV_DEG)
    assert told["photo_aspect"] == pytest.approx(64 / 48)
    (tmp_path / "a.sog").write_bytes(base64.b64decode(found["splats"]))
    assert len(read_sog(tmp_path / "a.sog")) == facts["headset_splats"] == 500
    assert 5 < facts["headset_worst_view_db"] <= facts["headset_psnr_db"]
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".sog"] == ["a.sog"]


def test_colours_are_those_from_the_origin_and_the_loss_counts_that(tmp_path, engine):
    splats = room_splats(32)
    more = torch.zeros(len(splats), 3, 3)
    more[:, 2] = 0.3
    changing = replace(splats, sh=torch.cat([splats.sh, more], dim=1))
    settings = HeadsetSettings(loss_views=4)
    facts = [
        write_headset_page(tmp_path / "a.html", each, photo_view(), ground(1.5), settings, "a")
        for each in (splats, changing)
    ]
    assert facts[0]["headset_psnr_db"] > 40
    assert facts[1]["headset_psnr_db"] < facts[0]["headset_psnr_db"] - 3


def test_without_the_engine_the_export_goes_on_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "here", lambda name: None)
    facts = write_export(tmp_path, tmp_path, settings=replace(SETTINGS, video=None, headset=HeadsetSettings()))
    assert facts["world_vr"] == "not made: no playcanvas-2.23.3.min.js; python -m worldgen.fetch playcanvas"
    assert not (tmp_path / "world_vr.html").exists()
    assert (tmp_path / "world.html").exists()


@pytest.mark.parametrize("key", ["splats", "cube_side_m", "loss_views"])
def test_wrong_settings_name_their_key(key):
    with pytest.raises(ValueError, match=rf"export\.headset\.{key}"):
        HeadsetSettings(**{key: 0})


# In a browser

in_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROME is None, reason="no Chrome or Chromium"),
    pytest.mark.skipif(ENGINE is None, reason="no engine; python -m worldgen.fetch playcanvas"),
]


QUARTERS = ((0.8, 0.2, 0.8), (0.9, 0.9, 0.2), (0.2, 0.8, 0.8), (0.5, 0.5, 0.5))


def quarters() -> torch.Tensor:
    """[3, 480, 640], a photo of four colours: top left, top right, bottom left, bottom right."""
    return torch.tensor(QUARTERS).T.reshape(3, 2, 2).repeat_interleave(240, dim=1).repeat_interleave(320, dim=2)


@pytest.fixture(scope="module")
def cubes_page(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "world_vr.html"
    photo = View(Camera.from_fov(640, 480, FOV_DEG), quarters(), torch.ones(480, 640, dtype=torch.bool))
    write_headset_page(path, cubes(), photo, ground(1.5), HeadsetSettings(loss_views=1), "cubes")
    return path


@pytest.fixture(scope="module")
def emulator(tmp_path_factory) -> str:
    """The script of an emulated headset."""
    folder = tmp_path_factory.mktemp("iwer")
    try:
        return IWER.get(folder, untracked).read_text(encoding="utf-8") + ";" + EMULATE
    except Unavailable as reason:
        pytest.skip(f"{IWER}: {reason}")


def opened(page: Page, path: Path, before: str = "") -> None:
    page.open(path.as_uri(), before)
    page.wait("document.documentElement?.dataset.state")
    assert page.run("document.documentElement.dataset.state") == "shown"
    page.run("for (const id of ['hint', 'bar']) document.getElementById(id).style.visibility = 'hidden'")


def settled(page: Page, script: str) -> None:
    """Runs a script, and waits until pictures show what it did: splats are sorted a few frames later."""
    page.run(f"{script}, new Promise(done => setTimeout(done, 1500))")


def seen(picture: np.ndarray, x: float = 0.5, y: float = 0.5) -> str:
    """The cube at a place of a picture, 0..1, or black."""
    height, width = picture.shape[:2]
    pixel = picture[int(y * height), int(x * width)] / 255
    near = [name for name, colour in COLOURS.items() if np.abs(pixel - colour).max() < 0.06]
    return near[0] if near else "black" if pixel.max() < 0.05 else str(pixel)


def test_cubes_of_the_page_stand_where_they_stood(tmp_path, engine):
    write_headset_page(tmp_path / "a.html", cubes(), photo_view(), ground(1.5), HeadsetSettings(loss_views=1), "a")
    (tmp_path / "a.sog").write_bytes(base64.b64decode(parts((tmp_path / "a.html").read_text())["splats"]))
    splats = read_sog(tmp_path / "a.sog")
    expect_cubes(splats.means.numpy(), splats.sh[:, 0].numpy())


class TestBrowser:
    pytestmark = in_browser

    def test_looks_and_walks_within_the_cube(self, tmp_path, cubes_page):
        with browser(tmp_path) as page:
            opened(page, cubes_page)
            assert seen(page.picture()) == "blue"
            settled(page, "world.yaw = -90")
            assert seen(page.picture()) == "red"
            settled(page, "world.yaw = 0, world.pitch = 89")
            assert seen(page.picture()) == "green"
            settled(page, "world.home()")
            page.drag((200, 100), (100, 100))  # the picture goes with the hand: we turn right
            assert page.run("world.yaw") < -5
            settled(page, "world.home()")
            page.hold("w", "KeyW", 4.0)
            time.sleep(1)
            x, y, z = page.run("(({x, y, z}) => [x, y, z])(world.camera.getPosition())")
            assert (x, y) == (pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6))
            assert -1.0 <= z < -0.5

    def test_one_finger_looks_and_two_walk(self, tmp_path, cubes_page):
        with browser(tmp_path, 360, 640, "--touch-events=enabled") as page:
            opened(page, cubes_page)
            page.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=5)
            page.touch([(200, 300)], [(150, 300)], [(100, 320)])
            yaw, pitch = page.run("[world.yaw, world.pitch]")
            assert yaw < -5  # to the right, as the picture goes left with the finger
            assert pitch > 1
            page.run("world.home()")
            page.touch([(150, 300)], [(150, 300), (210, 300)], [(100, 300), (260, 300)])  # apart: ahead
            z, yaw = page.run("[world.camera.getPosition().z, world.yaw]")
            assert z < -0.1
            assert yaw == 0

    def test_the_soft_wall_eases_and_stops(self, tmp_path, cubes_page):
        with browser(tmp_path) as page:
            opened(page, cubes_page)
            steps = page.run("[0, 0.69, 0.85, 0.95, 1, 1.2].map(at => easedStep(at, 0.1, 1))")
            assert steps == pytest.approx([0.1, 0.1, 0.05, 0.1 / 6, 0, 0], abs=1e-6)
            assert page.run("easedStep(0.95, -0.1, 1)") == pytest.approx(-0.1)  # back is free
            far = "(() => { const p = new pc.Vec3(); for (let i = 0; i < 500; i++) walk(p, new pc.Vec3(5, -5, 5), 1);"
            x, y, z = page.run(f"{far} return [p.x, p.y, p.z]; }})()")
            assert max(abs(x), abs(y), abs(z)) <= 1

    def test_the_photo_covers_what_it_shows(self, tmp_path, cubes_page):
        with browser(tmp_path) as page:
            opened(page, cubes_page)
            without = page.picture()
            settled(page, "world.togglePhoto()")
            shown = page.picture() / 255  # the window has the photo's shape, and so its field of view
            for rows, columns, colour in ((0.25, 0.25, 0), (0.25, 0.75, 1), (0.75, 0.25, 2), (0.75, 0.75, 3)):
                pixel = shown[int(rows * 300), int(columns * 400)]
                np.testing.assert_allclose(pixel, QUARTERS[colour], atol=0.03)
            settled(page, "world.step(new pc.Vec3(0.5, 0, 0))")  # it hangs in the world, 1 m ahead, 1.68 m wide
            shown = page.picture() / 255
            np.testing.assert_allclose(shown[20, 100], QUARTERS[1], atol=0.03)
            assert shown[20, 300].max() < 0.03
            settled(page, "world.home(), world.togglePhoto()")
            assert np.abs(page.picture().astype(int) - without).max() < 4

    def test_page_is_close_to_what_we_render(self, tmp_path, cubes_page):
        with browser(tmp_path, 300, 300) as page:
            opened(page, cubes_page)
            fov_deg = page.run("world.camera.camera.fov")
            settled(page, "world.yaw = -45, world.pitch = 20")
            picture = page.picture() / 255
            splats = cubes()
            with torch.no_grad():
                ours = rasterize(splats, Camera.from_fov(300, 300, fov_deg, look_at(45, 20))).rgb.clamp(0, 1)
            error = np.square(picture - ours.permute(1, 2, 0).numpy()).mean()
            assert -10 * math.log10(error) > 25  # edges of splats are cut off otherwise

    def test_a_headset_shows_both_eyes_and_its_pose(self, tmp_path, cubes_page, emulator):
        with browser(tmp_path, 640, 320) as page:
            opened(page, cubes_page, emulator)
            assert not page.run("document.getElementById('vr').hidden")
            page.run("document.getElementById('vr').click()")
            page.wait("world.app.xr.active && world.app.xr.views.list.length === 2")
            settled(page, "1")
            assert page.run("world.app.xr.spaceType") == "local-floor"
            # device: 1.6 m above the floor, which lies 1.5 m below the photo's place
            assert page.run("world.camera.getPosition().y") == pytest.approx(0.1, abs=1e-3)
            both = page.picture()
            left, right = both[:, :320], both[:, 320:]
            assert seen(left) == seen(right) == "blue"
            assert (
                centre_of(left, "blue") > centre_of(right, "blue") + 1
            )  # what is near lies further right to the left eye
            settled(page, "device.quaternion.set(0, -Math.SQRT1_2, 0, Math.SQRT1_2)")
            assert seen(page.picture()[:, :320]) == "red"
            settled(page, "device.quaternion.set(Math.SQRT1_2, 0, 0, Math.SQRT1_2)")
            assert seen(page.picture()[:, :320]) == "green"

    def test_controllers_turn_walk_and_return(self, tmp_path, cubes_page, emulator):
        with browser(tmp_path, 640, 320) as page:
            opened(page, cubes_page, emulator)
            page.run("document.getElementById('vr').click()")
            page.wait("world.app.xr.active && world.app.xr.input.inputSources.length === 2")
            settled(page, "device.controllers.right.updateAxes('thumbstick', 1, 0)")  # held: one turn, no more
            assert page.run("world.rig.getEulerAngles().y") == pytest.approx(-30, abs=1e-3)
            assert page.run("world.camera.getPosition().length()") < 0.11  # round the head
            settled(page, "device.controllers.right.updateAxes('thumbstick', 0, 0)")
            page.run("device.controllers.left.updateAxes('thumbstick', 0, -1)")
            page.wait("world.camera.getPosition().z < -0.7", 30)
            x, _, z = page.run("(({x, y, z}) => [x, y, z])(world.camera.getPosition())")
            assert x / -z == pytest.approx(math.tan(math.radians(30)), rel=0.15)  # ahead is where one looks
            settled(page, "device.controllers.left.updateAxes('thumbstick', 0, 0)")
            settled(page, "device.position.set(0, 1.6, -5)")  # five metres through the room
            place = page.run("(({x, y, z}) => [x, y, z])(world.camera.getPosition())")
            assert max(map(abs, place)) <= 1 + 1e-6
            settled(page, "device.controllers.left.updateButtonValue('squeeze', 1)")
            settled(page, "device.controllers.left.updateButtonValue('squeeze', 0)")
            assert page.run("world.camera.getPosition().length()") < 1e-3
            assert page.run("world.camera.forward.z") == pytest.approx(-1, abs=1e-3)
            settled(page, "device.controllers.right.updateButtonValue('trigger', 1)")
            settled(page, "device.controllers.right.updateButtonValue('trigger', 0)")
            assert page.run("world.picture.enabled")
            page.run("document.getElementById('vr').click()")
            page.wait("!world.app.xr.active")

    def test_without_webgl2_a_message_says_so(self, tmp_path, cubes_page):
        without = "HTMLCanvasElement.prototype.getContext = () => null;"
        with browser(tmp_path) as page:
            page.open(cubes_page.as_uri(), without)
            page.wait("document.documentElement?.dataset.state")
            assert page.run("document.documentElement.dataset.state") == "failed"
            assert "no WebGL2" in page.run("document.getElementById('message').textContent")
            assert not page.run("document.getElementById('message').hidden")


def centre_of(picture: np.ndarray, name: str) -> float:
    """The column that a cube's pixels have on average."""
    near = np.abs(picture / 255 - np.array(COLOURS[name])).max(axis=2) < 0.1
    return np.nonzero(near)[1].mean()


def test_the_engine_is_pinned_to_one_file():
    """The page carries its licence: the engine's own first lines."""
    asset = assets.ASSETS[headset.ENGINE]
    assert asset.optional
    assert asset.licence == "MIT"
    assert asset.filename.endswith("2.23.3.min.js")
    if ENGINE is not None:
        assert b"licensed under the MIT license" in ENGINE.read_bytes()[:600]
