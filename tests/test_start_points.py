"""Where a fit starts that is given no points: at what the pictures tell, or at guesses that no view has to itself."""

import logging
import math

import pytest
import torch

import train.data.triangulate
from eval.synthetic.rendering import render
from eval.synthetic.textured_room import TexturedRoom
from tests.posed_folders import write_blender
from train.data.posed import FolderScene
from train.data.random_points import focus_distance, random_points
from train.data.start_points import found_points, guessed_points
from train.data.triangulate import matched_pairs, triangulated_points
from worldgen.geometry.cameras import look_at, project
from worldgen.types import Camera, SupervisionView

PLACES = [(-0.5, 0.0, 0.0), (-0.25, 0.15, 0.1), (0.0, -0.1, 0.0), (0.25, 0.1, -0.1), (0.5, 0.0, 0.1)]


def camera_at(place: tuple[float, float, float], yaw_deg: float = 0.0, size_px: int = 224) -> Camera:
    return Camera.from_fov(size_px, size_px, 70.0, look_at(yaw_deg, 0.0, torch.tensor(place)))


@pytest.fixture(scope="module")
def views() -> list[SupervisionView]:
    """Of the textured room, from places side by side."""
    cameras = [camera_at(place, yaw_deg=-8 * place[0]) for place in PLACES]
    return [SupervisionView(c, render(TexturedRoom(), c, samples=1), torch.ones(224, 224), False) for c in cameras]


@pytest.fixture(scope="module")
def points(views):
    return triangulated_points("room", views)


def test_triangulated_points_lie_on_what_the_pictures_show(points, views):
    middle = views[2].camera
    pixels, zdepth = project(middle, points.xyz)
    inside = ((pixels > 1) & (pixels < 223)).all(dim=1) & (zdepth > 0)
    assert inside.sum() > 100
    rays = torch.nn.functional.normalize(points.xyz[inside] - middle.position, dim=1)
    distance = TexturedRoom().distance(middle.position, rays)
    off = ((points.xyz[inside] - middle.position).norm(dim=1) / distance - 1).abs()
    assert off.median() < 0.02
    column, row = pixels[inside].long().unbind(-1)
    assert (points.rgb[inside] - views[2].rgb[:, row, column].T).abs().mean() < 0.1


def test_the_same_views_give_the_same_points(points, views):
    again = triangulated_points("room", views)
    assert torch.equal(points.xyz, again.xyz)
    assert torch.equal(points.rgb, again.rgb)


def test_points_are_kept_and_a_broken_file_is_made_anew(points, views, tmp_path, monkeypatch):
    monkeypatch.setattr(train.data.triangulate, "_find", lambda _: {"xyz": points.xyz, "rgb": points.rgb})
    assert torch.equal(triangulated_points("room", views, tmp_path).xyz, points.xyz)
    (kept,) = tmp_path.iterdir()
    monkeypatch.setattr(train.data.triangulate, "_find", lambda _: pytest.fail("they are there"))
    assert torch.equal(triangulated_points("room", views, tmp_path).xyz, points.xyz)
    kept.write_bytes(b"no safetensors")
    monkeypatch.setattr(train.data.triangulate, "_find", lambda _: {"xyz": points.xyz + 1, "rgb": points.rgb})
    assert torch.equal(triangulated_points("room", views, tmp_path).xyz, points.xyz + 1)
    fewer = triangulated_points("room", views[:-1], tmp_path / "not there yet")
    assert torch.equal(fewer.xyz, points.xyz + 1)


def test_nothing_is_found_under_masks_nor_in_plain_pictures(views, monkeypatch):
    masked = []
    for view in views:
        weight = view.weight.clone()
        weight[:, 112:] = 0
        masked.append(SupervisionView(view.camera, view.rgb, weight, False))
    with monkeypatch.context() as patched:
        patched.setattr(train.data.triangulate, "FEWEST", 1)  # what is left may be little
        found = triangulated_points("room", masked)
    counts = torch.stack([project(view.camera, found.xyz)[0][:, 0] < 112 + 4 for view in masked])
    assert (counts.sum(dim=0) >= 3).all()  # each is known from three pictures, where they count
    plain = [SupervisionView(view.camera, torch.full_like(view.rgb, 0.5), view.weight, False) for view in views]
    assert triangulated_points("room", plain) is None
    assert triangulated_points("room", views[:2]) is None


def test_views_are_matched_with_those_that_stand_and_look_alike():
    cameras = [camera_at((0.1 * number, 0.0, 0.0)) for number in range(6)] + [camera_at((0.0, 0.0, 0.0), 180.0)]
    pairs = matched_pairs(cameras, neighbours=1)
    assert {(number, number + 1) for number in range(5)} >= set(pairs)
    assert {number for pair in pairs for number in pair} == set(range(6))  # nobody looks as the last one does
    assert len(matched_pairs(cameras, neighbours=5)) == 15
    assert matched_pairs(cameras[:1]) == []
    assert matched_pairs([cameras[0], cameras[0]]) == [(0, 1)]


def ring(radius: float, count: int = 12, outwards: bool = False) -> list[Camera]:
    """Cameras on a circle that look at its middle, or away from it."""
    cameras = []
    for number in range(count):
        yaw_deg = 360 * number / count
        yaw = math.radians(yaw_deg)
        place = torch.tensor([-radius * math.sin(yaw), 0.0, -radius * math.cos(yaw)])
        cameras.append(Camera.from_fov(64, 48, 50.0, look_at(yaw_deg + 180 * outwards, 0.0, place)))
    return cameras


def test_the_focus_is_where_the_cameras_look():
    assert focus_distance(ring(3.0)) == pytest.approx(3.0, rel=1e-4)
    assert focus_distance(ring(3.0, outwards=True)) == pytest.approx(3.0, rel=1e-3)  # how far apart they are
    side_by_side = [Camera.from_fov(64, 48, 50.0, look_at(0.0, 0.0, torch.tensor([x, 0.0, 0.0]))) for x in (-2.0, 2.0)]
    assert focus_distance(side_by_side) == pytest.approx(2.0)
    assert focus_distance(side_by_side[:1]) == 1.0


def test_several_cameras_see_each_random_point():
    cameras = ring(3.0)
    xyz = random_points("ring", cameras, 400, 0).xyz
    assert len(xyz) == 400
    seen = torch.zeros(len(xyz))
    for camera in cameras:
        pixels, zdepth = project(camera, xyz)
        size = torch.tensor([camera.width, camera.height])
        seen += (zdepth > 0) & (pixels >= -1e-3).all(dim=1) & (pixels <= size + 1e-3).all(dim=1)
    assert seen.min() >= 3
    away = torch.stack([(xyz - camera.position).norm(dim=1) for camera in cameras]).amin(dim=0)
    assert away.min() > 0.1 * 3.0  # nothing right in front of a camera


def test_a_folder_without_points_says_what_it_starts_from(tmp_path, caplog, views):
    with caplog.at_level(logging.WARNING, "worldgen"):
        assert found_points("here", views[:2], None) is None
        guessed = guessed_points("here", views, 300, 0)
    assert "triangulated from its 2 pictures" in caplog.text
    assert "fewer than 100 points" in caplog.text
    assert "300 random points" in caplog.text
    assert len(guessed.xyz) == 300
    scene = FolderScene(write_blender(tmp_path), random_points=200, triangulate=False)()
    assert scene.guessed
    assert len(scene.cloud) == 200


def test_without_pycolmap_points_are_guessed(views, caplog, monkeypatch):
    monkeypatch.setattr("train.data.start_points.can_triangulate", lambda: False)
    with caplog.at_level(logging.WARNING, "worldgen"):
        assert found_points("here", views, None) is None
    assert "pip install pycolmap" in caplog.text
