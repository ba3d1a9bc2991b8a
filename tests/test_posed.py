"""Posed views from disk: cameras that project to the right pixels in every format, and bad input in one line."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from PIL import Image
from plyfile import PlyData

from tests.posed_folders import (
    SIZE,
    cameras,
    colour_error,
    frame,
    wall_points,
    write_blender,
    write_colmap,
    write_per_frame,
    write_text_ply,
    write_transforms,
)
from tests.scenes import texture
from tests.small_world import FOV_DEG, write_run
from train.data.images import read_view, with_size_of_file
from train.data.point_files import Points, read_points
from train.data.posed import FolderScene
from train.data.random_points import random_points
from train.data.start_cloud import cloud_of
from train.data.view_layers import area_mean
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at, project
from worldgen.geometry.world_frame import points_into
from worldgen.io.clouds import write_points_ply
from worldgen.io.photo import Lens, Photo
from worldgen.io.poses import PosedPicture
from worldgen.present.console import Reporter
from worldgen.recipe.training_views import SupervisionSettings, TrainingViews
from worldgen.steps import Job
from worldgen.types import Camera, PointCloud

FORMATS = {
    "transforms": write_transforms,
    "per frame": write_per_frame,
    "blender": write_blender,
    "colmap": write_colmap,
    "colmap text": lambda folder: write_colmap(folder, "sparse", binary=False, model="SIMPLE_PINHOLE"),
    "colmap beside": lambda folder: write_colmap(folder, ".", model="OPENCV"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_points_land_where_they_were_seen(tmp_path, name):
    scene = FolderScene(FORMATS[name](tmp_path / "room"), held_out_every=0)()
    assert scene.name == "room"
    assert len(scene.views) == (4 if name == "blender" else 6)
    points = points_into(scene.frame, wall_points())
    for view in scene.views:
        assert colour_error(view, points).median() < 0.03
        assert (view.weight == 1).all()
        assert view.alpha is None
        assert not view.generated
    if name != "blender":
        gaps = torch.cdist(scene.cloud.xyz.double(), points.double())
        assert gaps.shape == (300, 300)
        assert max(gaps.amin(0).max(), gaps.amin(1).max()) < 1e-5
        rgb = texture(wall_points()[gaps.argmin(1)])
        assert (scene.cloud.rgb - rgb).abs().max() < 0.6 / 255


def test_a_run_gives_what_its_splat_step_saw(tmp_path):
    folder = write_run(tmp_path / "room")
    set_views(folder, {"_target_": "any", "size": 48, "horizontal": 5, "tilted": 3, "tilt_deg": 40.0})
    photo = Photo(torch.zeros(3, 48, 64), Path("room.jpg"), "", Lens())
    job = Job(OmegaConf.create({"out": str(folder)}), {}, photo, Reporter(quiet=True))
    settings = SupervisionSettings(48, horizontal=5, tilted=3, tilt_deg=40.0)
    expected = TrainingViews(job.photo_view.camera, job.panorama, job.reader.completed(), settings)
    assert job.photo_view.camera.fov_deg == pytest.approx(FOV_DEG)
    scene = FolderScene(folder, held_out_every=0)()
    assert not scene.held_out
    for found, wanted in zip(scene.views, expected, strict=True):
        assert torch.equal(found.camera.intrinsics, wanted.camera.intrinsics)
        assert torch.equal(found.rgb, wanted.rgb)
        assert torch.equal(found.weight, wanted.weight)
        assert found.generated == wanted.generated
    assert torch.equal(scene.cloud.xyz, job.reader.cloud().xyz)
    apart = FolderScene(folder, held_out_every=4)()
    assert [view.camera.c2w[2, 2].item() for view in apart.held_out] == [
        pytest.approx(expected[number].camera.c2w[2, 2].item()) for number in (4, 8, 12)
    ]
    assert len(apart.views) + 3 == len(expected)
    assert torch.equal(apart.views[0].rgb, scene.views[0].rgb)  # the photo's


def set_views(folder: Path, views: dict) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["steps"]["splat"]["config"]["views"] = views
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_runs_that_stopped_early_name_the_step(tmp_path):
    folder = write_run(tmp_path / "room")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["steps"]["complete"], manifest["steps"]["splat"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="room: no finished complete step"):
        FolderScene(folder)()


@pytest.mark.parametrize(
    ("split", "every", "held_out"),
    [
        ({}, 0, []),
        ({}, 3, [0, 3]),
        ({"val_filenames": ["images/view_1.png"]}, 3, [1]),
        ({"test_filenames": ["./images/view_4.png"], "train_filenames": ["./images/view_2.png"]}, 3, [4]),
    ],
)
def test_what_is_held_out(tmp_path, split, every, held_out):
    scene = FolderScene(write_transforms(tmp_path, **split), held_out_every=every)()
    places = points_into(scene.frame, torch.stack([camera.position for camera in cameras().values()]))
    found = [int((places - view.camera.position).norm(dim=1).argmin()) for view in scene.held_out]
    assert found == held_out
    assert len(scene.views) == (1 if "train_filenames" in split else 6 - len(held_out))
    assert all(view.known.all() for view in scene.held_out)


def test_blenders_test_pictures_and_test_frames_are_held_out(tmp_path):
    assert len(FolderScene(write_blender(tmp_path / "a"))().held_out) == 2
    frames = [frame(f"images/{name}", camera) for name, camera in cameras().items()]
    folder = write_transforms(tmp_path / "b", frames=frames[:5], test_frames=frames[5:])
    assert len(FolderScene(folder)().held_out) == 1


def test_generated_frames_are_told_and_never_held_out(tmp_path):
    views = cameras().items()
    frames = [frame(f"images/{name}", camera, generated=index < 3) for index, (name, camera) in enumerate(views)]
    scene = FolderScene(write_transforms(tmp_path, frames=frames), held_out_every=2)()
    assert sum(view.generated for view in scene.views) == 3
    assert len(scene.held_out) == 2


def test_large_pictures_are_reduced_with_their_cameras(tmp_path):
    scene = FolderScene(write_transforms(tmp_path), held_out_every=0, max_size=72)()
    for view in scene.views:
        assert (view.camera.width, view.camera.height) == (72, 54)
        assert colour_error(view, points_into(scene.frame, wall_points())).median() < 0.06


@pytest.mark.parametrize(("length", "size"), [(7, 7), (10, 3), (128, 96), (5, 1)])
def test_area_means_count_parts_of_pixels(length, size):
    values = torch.rand(length, 3)
    whole = values.repeat_interleave(size, dim=0).reshape(size, length, 3)
    assert torch.allclose(area_mean(values, size), whole.mean(dim=1), atol=1e-6)


def posed(path: Path, mask: Path | None = None, size: tuple[int, int] = SIZE) -> PosedPicture:
    return PosedPicture(path.name, path, Camera.from_fov(*size, 60.0), mask=mask)


def test_masks_are_weights_and_alpha_is_none_and_neither_leaves_a_trace(tmp_path):
    """The left half is red and counts; the right half is green, and is transparent or masked."""
    pixels = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
    pixels[:, :61], pixels[:, 61:] = (255, 0, 0, 255), (0, 255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels[..., :3]).save(tmp_path / "b.png")
    Image.fromarray(pixels[..., 3]).save(tmp_path / "mask.png")
    by_alpha = read_view(posed(tmp_path / "a.png"), 50)
    by_mask = read_view(posed(tmp_path / "b.png", tmp_path / "mask.png"), 50)
    assert by_mask.alpha is None
    assert (by_alpha.weight - 1).abs().max() < 1e-5
    assert torch.allclose(by_alpha.alpha, by_mask.weight, atol=1e-5)
    assert by_mask.weight.mean().item() == pytest.approx(61 / SIZE[0], abs=1e-5)
    assert by_mask.rgb[1].max() == by_alpha.rgb[1].max() == 0
    assert torch.allclose(by_mask.rgb[0][by_mask.weight > 0], torch.ones(()))
    blue = torch.tensor([0.0, 0.0, 1.0])
    assert torch.allclose(by_alpha.over(blue)[2], 1 - by_alpha.alpha)
    assert torch.allclose(by_alpha.over(blue)[0], by_alpha.alpha, atol=1e-6)
    assert by_mask.over(blue) is by_mask.rgb


@pytest.mark.parametrize("kind", ["0 and 1", "palette", "half size", "jpeg", "16 bits", "its alpha", "colours"])
def test_masks_count_where_they_are_not_black(tmp_path, kind):
    counts = np.zeros(SIZE[::-1], bool)
    counts[24:64, 32:96] = True
    path = tmp_path / ("mask.jpg" if kind == "jpeg" else "mask.png")
    grey = Image.fromarray(counts.astype(np.uint8) * 255)
    if kind == "0 and 1":
        grey = Image.fromarray(counts.astype(np.uint8))
    elif kind == "palette":
        grey = Image.fromarray(counts.astype(np.uint8) * 7, mode="P")
        grey.putpalette([0, 0, 0] * 7 + [0, 200, 0])
    elif kind == "half size":
        grey = grey.resize((SIZE[0] // 2, SIZE[1] // 2), Image.Resampling.NEAREST)
    elif kind == "16 bits":
        grey = Image.fromarray(counts.astype(np.uint16) * 300)
    elif kind == "its alpha":
        grey = Image.merge("LA", (Image.new("L", SIZE, 255), grey))
    elif kind == "colours":
        grey = Image.merge("RGB", (Image.new("L", SIZE, 0), Image.new("L", SIZE, 0), grey))
    grey.save(path)
    Image.new("RGB", SIZE, (9, 9, 9)).save(tmp_path / "a.png")
    weight = read_view(posed(tmp_path / "a.png", path), 512).weight
    assert set(weight.unique().tolist()) == {0.0, 1.0}
    wrong = (weight.bool() != torch.from_numpy(counts)).float().mean().item()
    assert wrong <= (0.03 if kind == "jpeg" else 0.0)


@pytest.mark.parametrize("mode", ["L", "I;16", "CMYK", "P", "LA"])
def test_every_kind_of_picture_is_read_in_colour(tmp_path, mode):
    grey = np.linspace(0, 255, SIZE[0] * SIZE[1]).reshape(SIZE[::-1]).astype(np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I;16") else "a.png")
    image.save(path)
    view = read_view(posed(path), 512)
    assert (view.rgb - torch.from_numpy(grey).float() / 255).abs().max() < 2.5 / 255
    assert (view.weight == 1).all()
    assert view.alpha is None


def test_orientations_count_only_where_the_camera_is_that_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE, (200, 30, 30)).save(tmp_path / "a.jpg", exif=exif)
    assert read_view(posed(tmp_path / "a.jpg"), 512).rgb.shape == (3, *SIZE[::-1])
    assert read_view(posed(tmp_path / "a.jpg", size=SIZE[::-1]), 512).rgb.shape == (3, *SIZE)
    half = posed(tmp_path / "a.jpg", size=(SIZE[1] // 2, SIZE[0] // 2))
    assert read_view(with_size_of_file(half), 512).rgb.shape == (3, *SIZE)


def test_random_points_lie_where_the_cameras_look_and_follow_the_seed(tmp_path, caplog):
    scene = FolderScene(write_blender(tmp_path), random_points=500)
    cloud, again, other = scene(1).cloud, scene(1).cloud, scene(2).cloud
    assert "starts from 500 random points" in caplog.text
    assert torch.equal(cloud.xyz, again.xyz)
    assert not torch.equal(cloud.xyz, other.xyz)
    seen = torch.zeros(len(cloud), dtype=torch.bool)
    for view in scene().views:
        pixels, zdepth = project(view.camera, cloud.xyz)
        seen |= (zdepth > 0) & (pixels >= -1e-3).all(dim=1) & (pixels <= torch.tensor(SIZE) + 1e-3).all(dim=1)
    assert seen.all()
    assert len(cloud) == 500
    assert (cloud.rgb == 0.5).all()
    alone = random_points("one", [Camera.from_fov(*SIZE, 60.0)], 50, 0).xyz
    assert (alone[:, 2] > 0).all()


def test_spacings_are_bounded_and_normals_face_the_nearest_camera():
    grid = torch.stack(torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij"), dim=-1).reshape(-1, 2) - 2
    wall = torch.cat([0.1 * grid, torch.full((25, 1), 4.0)], dim=1)
    extra = torch.tensor([[0.0, 0.0, 40.0], [0.0, 0.0, 4.0], [0.0, 0.0, 0.0]])  # far off; twice there; in the camera
    xyz = torch.cat([wall, extra])
    views = [Camera.from_fov(*SIZE, 60.0), Camera.from_fov(*SIZE, 60.0, look_at(0.0, 0.0, torch.tensor([0.0, 0, -50])))]
    cloud = cloud_of(Points("x", xyz, torch.zeros(28, 3)), views)
    corner = xyz[:25].norm(dim=1).argmax()
    assert cloud.spacing[corner].item() == pytest.approx(0.1 * (1 + 1 + math.sqrt(2)) / 3, rel=1e-5)
    assert cloud.spacing[25].item() == pytest.approx(4.0)  # a tenth of the way to the camera
    assert (cloud.spacing > 0).all()
    assert torch.allclose(cloud.normals.norm(dim=1), torch.ones(()))
    assert torch.allclose(cloud.normals[:25], -F.normalize(wall, dim=1))
    assert len(cloud_of(Points("x", xyz[:1], torch.zeros(1, 3)), views)) == 1


def test_our_own_points_keep_their_normals(tmp_path):
    normals = F.normalize(torch.randn(300, 3), dim=1)
    normals[0] = 0  # as many tools write it
    xyz = wall_points()
    write_points_ply(tmp_path / "points.ply", PointCloud(xyz, texture(xyz), normals, torch.ones(300)))
    binary = read_points(tmp_path / "points.ply")
    PlyData(PlyData.read(tmp_path / "points.ply").elements, text=True).write(tmp_path / "text.ply")
    text = read_points(tmp_path / "text.ply")
    for name in ("xyz", "rgb", "normals"):
        assert torch.allclose(getattr(binary, name), getattr(text, name), atol=1e-6)
    cloud = cloud_of(replace(binary, xyz=binary.xyz.float()), list(cameras().values()))
    assert torch.allclose(cloud.normals[1:], normals[1:], atol=1e-6)
    assert cloud.normals[0].norm().item() == pytest.approx(1)
    scene = FolderScene(write_colmap(tmp_path / "room"), points=tmp_path / "points.ply")()
    assert torch.allclose(scene.cloud.normals[1:], cloud.normals[1:], atol=1e-6)


def matrix(sheared: float = 0.0, flip: float = 1.0, first: float = 0.0) -> dict:
    values = torch.eye(4)
    values[0, 1] = sheared
    values[0] *= flip
    values[0, 3] = first
    return {"frames": [{"file_path": "images/view_0.png", "transform_matrix": values.tolist()}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            matrix(sheared=0.1),
            r"transforms.json: frame images/view_0.png: its pose is no rotation \(columns 1, 1.005, 1 long",
        ),
        (matrix(flip=-1.0), "determinant -1"),
        (matrix(first=math.nan), "view_0.png: 1 values of its pose are not finite"),
        ({"frames": [{"file_path": "images/view_0.png"}]}, "1 of its 1 frames have no transform_matrix"),
        ({"frames": []}, "no frames"),
        ({"frames": [3]}, "not a transforms.json"),
        ({"frames": [frame("gone.png", cameras()["view_0.png"])]}, "1 of its 1 pictures are not there"),
        ({"frames": [frame("images/view_0.png", cameras()["view_0.png"], mask_path="no.png")]}, "no.png"),
        ({"w": 800, "h": 500}, "view_0.png: 128x96 pixels, its camera says 800x500"),
        ({"fl_x": None, "fl_y": None}, "wanted all above 0"),
        ({"fl_x": math.nan}, "wanted all above 0"),
        ({"camera_model": "EQUIRECTANGULAR"}, "view_0.png: camera_model EQUIRECTANGULAR, wanted one of PINHOLE"),
        ({"k4": 0.01}, "k4 0.01 of a perspective lens, wanted 0"),
        ({"camera_model": "OPENCV_FISHEYE", "p1": 0.1}, "a fisheye with p1 0.1"),
        ({"distortion_params": [0.1]}, "1 distortion_params, wanted 6: k1, k2, k3, k4, p1, p2"),
        ({"k1": math.nan}, "wanted finite numbers"),
        ({"test_filenames": ["other.png"]}, "test_filenames has other.png"),
        ({"test_filenames": [f"images/{name}" for name in cameras()]}, "all of its 6 pictures are held out"),
        ({"ply_file_path": "gone.ply"}, "gone.ply: cannot be read"),
    ],
)
def test_bad_transforms_end_in_one_line(tmp_path, change, message):
    with pytest.raises(UserError, match=message) as error:
        FolderScene(write_transforms(tmp_path, **change))()
    assert "\n" not in str(error.value)


def test_bad_pictures_end_in_one_line(tmp_path):
    folder = write_transforms(tmp_path)
    path = folder / "images" / "view_2.png"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(UserError, match=r"view_2.png: cannot be decoded"):
        FolderScene(folder)()
    path.write_text("no picture")
    with pytest.raises(UserError, match=r"view_2.png: not a picture"):
        FolderScene(folder)()


def test_bad_points_end_in_one_line(tmp_path, caplog):
    folder = write_transforms(tmp_path)
    ply = folder / "sparse_pc.ply"
    whole = ply.read_text()
    ply.write_text(whole.replace(whole.splitlines()[-1], "nan 0 0 1 2 3"))
    assert len(FolderScene(folder)().cloud) == 299
    assert "sparse_pc.ply: 1 of its 300 points are not finite and are left out" in caplog.text
    ply.write_text(whole[: whole.index("end_header") + 11] + 300 * "nan 0 0 1 2 3\n")
    with pytest.raises(UserError, match=r"sparse_pc.ply: 300 of its 300 points are not finite, wanted half at most"):
        FolderScene(folder)()
    ply.write_text(whole[:-400])
    with pytest.raises(UserError, match=r"sparse_pc.ply: broken"):
        FolderScene(folder)()
    write_text_ply(ply, wall_points()[:0])
    with pytest.raises(UserError, match=r"sparse_pc.ply: no points"):
        FolderScene(folder)()
    above = torch.tensor([[0.0, -500.0, 0.0]]).repeat(3, 1)
    write_text_ply(ply, above)
    with pytest.raises(UserError, match=r"sparse_pc.ply: none of 3 points lies in front of any of 5 cameras"):
        FolderScene(folder)()


def test_folders_of_no_kind_and_impossible_settings_end_in_one_line(tmp_path):
    for folder, message in ((tmp_path, "no manifest.json"), (tmp_path / "gone", "no such folder")):
        with pytest.raises(UserError, match=message):
            FolderScene(folder)()
    for wrong in ({"held_out_every": 1}, {"max_size": 3}, {"random_points": 0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            FolderScene(tmp_path, **wrong)
