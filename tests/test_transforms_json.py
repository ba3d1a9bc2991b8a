"""transforms.json as nerfstudio, instant-ngp, Blender and converters write it: every way to say the same gives the
same, and what is left out is counted."""

import codecs
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.lenses import photo_by
from tests.posed_folders import (
    SIZE,
    cameras,
    centred,
    colour_error,
    frame,
    wall_points,
    write_text_ply,
    write_transforms,
)
from tests.scenes import texture
from train.data.posed import FolderScene
from train.splat.identity import scene_sha256
from worldgen.errors import UserError
from worldgen.geometry.world_frame import points_into
from worldgen.io.transforms_json import read_transforms
from worldgen.io.undistort import Distortion
from worldgen.runs import artifacts
from worldgen.types import Camera, Scene

FOCAL = centred()["view_0.png"].fx
LENS = {"w": SIZE[0], "h": SIZE[1], "fl_x": FOCAL, "fl_y": FOCAL}
ANGLES = [2 * math.atan(side / 2 / FOCAL) for side in SIZE]


def frames(**more: object) -> list[dict]:
    return [frame(f"images/{name}", camera, **more) for name, camera in centred().items()]


def write(folder: Path, content: dict, pictures: bool = True) -> Path:
    """The file, of centred cameras."""
    shared = {"frames": frames()} | content
    return write_transforms(folder, centred() if pictures else {}, shared) / "transforms.json"


def expect_the_same(found: list, tolerance: float = 1e-9) -> None:
    assert [Path(picture.name.replace("\\", "/")).stem for picture in found] == [f"view_{i}" for i in range(6)]
    for picture, camera in zip(found, centred().values(), strict=True):
        assert picture.path.is_file()
        assert picture.camera.c2w.dtype == torch.float64
        assert torch.allclose(picture.camera.c2w, camera.c2w.double(), atol=tolerance + 1e-6)
        assert torch.allclose(picture.camera.intrinsics, camera.intrinsics, atol=1e-4)
        assert (picture.camera.width, picture.camera.height) == SIZE
        assert picture.distortion is None


@pytest.mark.parametrize(
    "lens",
    [
        {"fl_x": FOCAL},
        {"fl_y": FOCAL},
        {"camera_angle_x": ANGLES[0]},
        {"camera_angle_y": ANGLES[1]},
        {"camera_angle_x": ANGLES[0], "camera_angle_y": ANGLES[1]},
        {"x_fov": math.degrees(ANGLES[0])},
        {"y_fov": math.degrees(ANGLES[1]), "w": SIZE[0], "h": SIZE[1]},
        {"fl_x": FOCAL, "camera_angle_x": 1.0},
        {"fl_x": FOCAL, "camera_model": "OPENCV", "k1": 0.0, "distortion_params": [0.0] * 6},
    ],
)
def test_one_focal_length_however_it_is_told_is_for_both_axes(tmp_path, lens):
    expect_the_same(read_transforms(write(tmp_path, lens), tmp_path).pictures)


@pytest.mark.parametrize("suffix", ["png", "JPG", "jpeg", "webp"])
@pytest.mark.parametrize("spelling", ["./images/{}", "images\\{}", "Images/{}"])
def test_names_are_found_as_other_tools_spell_them(tmp_path, suffix, spelling):
    folder = "Images" if spelling.startswith("Images") else "images"
    for name, camera in centred().items():
        (tmp_path / folder).mkdir(exist_ok=True)
        artifacts.save_image(tmp_path / "x.png", torch.rand(3, *SIZE[::-1]))
        with Image.open(tmp_path / "x.png") as image:
            image.save(tmp_path / folder / f"{Path(name).stem}.{suffix}")
        assert camera.width == SIZE[0]
    named = [one | {"file_path": spelling.format(Path(one["file_path"]).stem)} for one in frames()]
    found = read_transforms(write(tmp_path, LENS | {"frames": named}, pictures=False), tmp_path).pictures
    expect_the_same(found)
    assert {picture.path.suffix for picture in found} == {f".{suffix}"}


def test_a_byte_order_mark_is_no_trouble(tmp_path):
    path = write(tmp_path, LENS)
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    expect_the_same(read_transforms(path, tmp_path).pictures)


@pytest.mark.parametrize("how", ["scaled", "rounded", "3x4"])
def test_rotations_are_made_exact_with_one_line(tmp_path, caplog, how):
    changed = frames()
    for one in changed:
        pose = np.array(one["transform_matrix"])
        if how == "scaled":
            pose[:3, :3] /= 3
        elif how == "rounded":
            pose[:3, :3] = pose[:3, :3].round(3)
        one["transform_matrix"] = pose[: 3 if how == "3x4" else 4].tolist()
    found = read_transforms(write(tmp_path, LENS | {"frames": changed}), tmp_path).pictures
    expect_the_same(found, tolerance=1e-3 if how == "rounded" else 0)
    for picture in found:
        rotation = picture.camera.c2w[:3, :3]
        assert torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-12)
    told = [record for record in caplog.messages if "rotations are scaled or rounded" in record]
    assert len(told) == (0 if how == "3x4" else 1)
    assert how == "3x4" or "6 of its 6 rotations" in told[0]


def test_missing_pictures_and_poses_are_left_out_and_counted(tmp_path, caplog):
    listed = frames()
    listed[2]["transform_matrix"] = None
    del listed[3]["transform_matrix"]
    path = write(tmp_path, LENS | {"frames": listed, "test_filenames": ["images/view_4.png", "images/view_5.png"]})
    (tmp_path / "images/view_5.png").unlink()
    found = read_transforms(path, tmp_path).pictures
    assert [picture.name for picture in found] == [f"images/view_{i}.png" for i in (0, 1, 4)]
    assert [picture.held_out for picture in found] == [False, False, True]
    assert "2 of its 6 frames have no transform_matrix and are left out, the first is images/view_2.png" in caplog.text
    assert "1 of its 4 pictures are not there and are left out, the first is " in caplog.text
    for number in (0, 1):
        (tmp_path / f"images/view_{number}.png").unlink()
    with pytest.raises(UserError, match=r"3 of its 4 pictures are not there, .*, wanted half of them at least"):
        read_transforms(path, tmp_path)
    for one in listed[:3]:
        one["transform_matrix"] = None
    with pytest.raises(UserError, match="4 of its 6 frames have no transform_matrix"):
        read_transforms(write(tmp_path, LENS | {"frames": listed}), tmp_path)


def expect_points_where_they_are_seen(scene: Scene, limit: float = 0.04) -> None:
    """The pixels that the wall's points land on have their colours."""
    for view in scene.views:
        assert colour_error(view, points_into(scene.frame, wall_points())).median() < limit


@pytest.mark.parametrize("size", [(64, 48), (256, 192), (127, 96), (85, 64)])
def test_pictures_of_another_size_have_their_cameras_scaled(tmp_path, caplog, size):
    path = write(tmp_path, LENS)
    for name in centred():
        with Image.open(tmp_path / "images" / name) as image:
            image.resize(size, Image.Resampling.BICUBIC).save(tmp_path / "images" / name)
    scene = FolderScene(path.parent, held_out_every=0)()
    assert {(view.camera.width, view.camera.height) for view in scene.views} == {size}
    expect_points_where_they_are_seen(scene, 0.1)
    assert "6 of its 6 pictures are of another size than their camera says" in caplog.text


def test_pictures_of_another_shape_are_refused(tmp_path):
    path = write(tmp_path, LENS)
    Image.new("RGB", (120, 96)).save(tmp_path / "images/view_1.png")
    with pytest.raises(UserError, match=r"view_1.png: 120x96 pixels, its camera says 128x96, wanted the same"):
        FolderScene(path.parent)()


LENSES = {
    "opencv": (Distortion((-0.15, 0.02, 0.004, -0.003)), {"k1": -0.15, "k2": 0.02, "p1": 0.004, "p2": -0.003}),
    "k3": (Distortion((0.1, 0.02, 0.0, 0.0, 0.03)), {"camera_model": "RADIAL", "k1": 0.1, "k2": 0.02, "k3": 0.03}),
    "params": (
        Distortion((-0.15, 0.02, 0.004, -0.003, 0.01)),
        {"distortion_params": [-0.15, 0.02, 0.01, 0.0, 0.004, -0.003]},
    ),
    "fisheye": (
        Distortion((0.03, -0.01, 0.002, 0.001), fisheye=True),
        {"camera_model": "OPENCV_FISHEYE", "k1": 0.03, "k2": -0.01, "k3": 0.002, "k4": 0.001},
    ),
    "ngp": (Distortion((0.05,), fisheye=True), {"is_fisheye": True, "k1": 0.05}),
}


def write_bent(folder: Path, name: str, per_frame: bool, place: dict[str, Camera] | None = None) -> Path:
    """The room's pictures through a lens."""
    distortion, told = LENSES[name]
    found = place or cameras()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for file, camera in found.items():
        photo = torch.from_numpy(photo_by(camera, distortion)).permute(2, 0, 1)
        artifacts.save_image(folder / "images" / file, photo)
    one = next(iter(found.values()))
    lens = {"fl_x": one.fx, "fl_y": one.fy, "cx": one.cx, "cy": one.cy, "w": SIZE[0], "h": SIZE[1]}
    listed = [frame(f"images/{file}", camera, **(told if per_frame else {})) for file, camera in found.items()]
    return write(folder, lens | ({} if per_frame else told) | {"frames": listed}, pictures=False).parent


@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize("name", LENSES)
def test_distorted_pictures_are_straightened(tmp_path, name, per_frame):
    scene = FolderScene(write_bent(tmp_path, name, per_frame), held_out_every=0)()
    expect_points_where_they_are_seen(scene)
    assert len(scene.views) == 6


def test_straightened_pictures_are_kept_and_found_again(tmp_path, monkeypatch):
    folder = write_bent(tmp_path / "room", "opencv", per_frame=False)
    cache = tmp_path / "run" / ".undistorted"
    fresh = FolderScene(folder, max_size=100)()
    first = FolderScene(folder, max_size=100, cache=cache)()
    assert len(list(cache.iterdir())) == 6
    monkeypatch.setattr("train.data.images.undistort", None)  # nothing is undistorted again
    again = FolderScene(folder, max_size=100, cache=cache)()
    assert scene_sha256(fresh) == scene_sha256(first) == scene_sha256(again)
    monkeypatch.undo()
    next(cache.iterdir()).write_bytes(b"cut off")
    assert scene_sha256(FolderScene(folder, max_size=100, cache=cache)()) == scene_sha256(fresh)
    Image.new("RGB", SIZE, (9, 99, 9)).save(folder / "images/view_0.png")
    assert scene_sha256(FolderScene(folder, max_size=100, cache=cache)()) != scene_sha256(fresh)
    assert len(list(cache.iterdir())) == 7
    (tmp_path / "file").touch()
    FolderScene(folder, max_size=100, cache=tmp_path / "file" / "cache")()  # nowhere to write to: no trouble


@pytest.mark.parametrize("moved", [False, True])
def test_points_follow_applied_transform_where_only_that_agrees(tmp_path, caplog, moved):
    """ns-process-data once left the points where COLMAP had them."""
    applied = torch.tensor([[0.0, 1, 0, 0.3], [1, 0, 0, -0.5], [0, 0, -1, 0.2]], dtype=torch.float64)
    whole = torch.cat([applied, torch.tensor([[0.0, 0, 0, 1]], dtype=torch.float64)])
    whole[:3] *= 2.0
    listed = frames()
    for one in listed:
        pose = whole @ torch.tensor(one["transform_matrix"], dtype=torch.float64)
        pose[:3, :3] /= 2.0
        one["transform_matrix"] = pose.tolist()
    told = {"applied_transform": applied.tolist(), "applied_scale": 2.0, "frames": listed}
    path = write(tmp_path, LENS | told)
    there = wall_points().double() @ whole[:3, :3].T + whole[:3, 3]
    if moved:
        write_text_ply(tmp_path / "sparse_pc.ply", there.float(), texture(wall_points()))
    scene = FolderScene(path.parent, held_out_every=0)()
    assert torch.allclose(scene.cloud.xyz, points_into(scene.frame, there), atol=1e-4)
    assert ("its points are moved by applied_transform" in caplog.text) is not moved
