"""COLMAP's models: written by pycolmap, read by ourselves; and text as other tools write it."""

import math
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
import torch

from tests.posed_folders import cameras, colour_error, wall_points, write_colmap, write_text_ply
from train.data.posed import FolderScene
from worldgen.errors import UserError
from worldgen.geometry.world_frame import points_into
from worldgen.io.colmap import is_colmap, read_colmap, read_colmap_points
from worldgen.io.colmap_records import MODELS
from worldgen.io.poses import PosedPicture

LENSES = {
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": (0.02,),
    "RADIAL": (0.02, -0.01),
    "OPENCV": (0.02, -0.01, 0.003, -0.002),
    "FULL_OPENCV": (0.02, -0.01, 0.003, -0.002, 0.01, 0.03, 0.005, -0.002),
    "OPENCV_FISHEYE": (0.02, -0.01, 0.003, -0.002),
    "SIMPLE_RADIAL_FISHEYE": (0.02,),
    "RADIAL_FISHEYE": (0.02, -0.01),
}
POINTS = np.random.default_rng(0).normal(size=(7, 3)) * (1, 1, 0.2) + (0, 0, 3)


def model_with(name: str, params: list[float]) -> pycolmap.Reconstruction:
    """Two images, each with two features, and points with tracks of different lengths."""
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(pycolmap.Camera(camera_id=4, model=name, width=640, height=480, params=params))
    for number, angle in ((1, 0.3), (9, -0.4)):
        half = angle / 2
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(np.array([0, math.sin(half), 0, math.cos(half)])), [0.1, 0.2, 0.3])
        image = pycolmap.Image(name=f"a {number}.png", camera_id=4, image_id=number, keypoints=np.zeros((2, 2)))
        model.add_image_with_trivial_frame(image, pose)
    for number, xyz in enumerate(POINTS):
        track = pycolmap.Track()
        if number == 3:
            track.add_element(1, 0)
            track.add_element(9, 1)
        model.add_point3D(xyz, track, np.array([number, 2 * number, 255 - number], np.uint8))
    return model


def write_model(folder: Path, name: str, binary: bool) -> pycolmap.Reconstruction:
    params = [500.0, 320.0, 240.0] if name in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL") else None
    params = params or ([500.0, 320.0, 240.0] if name.endswith("RADIAL_FISHEYE") else [500.0, 490.0, 330.0, 240.0])
    model = model_with(name, [*params, *LENSES[name]])
    folder.mkdir(parents=True, exist_ok=True)
    (model.write_binary if binary else model.write_text)(str(folder))
    for image in model.images.values():
        (folder / image.name).touch()
    return model


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", LENSES)
def test_every_lens_is_pycolmaps(tmp_path, name, binary):
    model = write_model(tmp_path, name, binary)
    camera = model.cameras[4]
    assert is_colmap(tmp_path)
    images = sorted(model.images.values(), key=lambda image: image.name)
    for picture, image in zip(read_colmap(tmp_path, tmp_path), images, strict=True):
        assert picture.name == image.name
        c2w = np.array(image.cam_from_world().inverse().matrix())
        assert np.allclose(picture.camera.c2w[:3].numpy(), c2w, atol=1e-12)
        assert np.allclose(picture.camera.intrinsics.numpy(), camera.calibration_matrix(), atol=1e-4)
        assert (picture.distortion is None) == (not LENSES[name])
        if picture.distortion is not None:
            assert picture.distortion.fisheye == name.endswith("FISHEYE")
            for x, y in ((0.3, -0.2), (-0.5, 0.1)):
                assert np.allclose(by_opencv(picture, x, y), camera.img_from_cam(np.array([x, y, 1.0])), atol=1e-3)
    xyz, rgb = read_colmap_points(tmp_path)
    order = np.argsort(xyz[:, 0].numpy())
    assert np.allclose(xyz.numpy()[order], POINTS[np.argsort(POINTS[:, 0])], atol=1e-9)
    assert torch.equal((rgb * 255).round().long().sum(dim=1), rgb.new_tensor([255 + 2 * n for n in range(7)]).long())


def by_opencv(picture: PosedPicture, x: float, y: float) -> np.ndarray:
    """The pixel, with centres at +0.5, that a lens shows a ray at."""
    camera = picture.camera
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    point, zero = np.array([[[x, y, 1.0]]]), np.zeros(3)
    project = cv2.fisheye.projectPoints if picture.distortion.fisheye else cv2.projectPoints
    return project(point, zero, zero, matrix, picture.distortion.padded())[0].ravel()


def test_the_table_of_models_is_pycolmaps():
    for name, (number, count) in MODELS.items():
        assert pycolmap.CameraModelId(number).name == name
        if name != "EQUIRECTANGULAR":
            made = pycolmap.Camera.create_from_model_id(1, pycolmap.CameraModelId(number), 1.0, 1, 1)
            assert len(made.params) == count


def with_spaces(folder: Path) -> dict[str, str]:
    """Pictures and images.txt with spaces in their names."""
    path = folder / "sparse/images.txt"
    text = path.read_text()
    names = {f"view_{number}.png": f"DJI 00{number} (0{number}).png" for number in range(6)}
    for old, new in names.items():
        (folder / "images" / old).rename(folder / "images" / new)
        text = text.replace(old, new)
    path.write_text(text)
    return names


def test_text_as_other_tools_write_it(tmp_path):
    folder = write_colmap(tmp_path / "room", "sparse", binary=False, model="SIMPLE_PINHOLE")
    with_spaces(folder)
    path = folder / "sparse/images.txt"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 12
    empty = [line if number % 2 == 0 else "" for number, line in enumerate(lines)]
    for text in ("\n".join(empty[:-1]), "\r\n".join(empty) + "\r\n\r\n\r\n", "\ufeff# no more\n" + "\n".join(lines)):
        path.write_text(text, encoding="utf-8", newline="")
        scene = FolderScene(folder, held_out_every=0)()
        assert len(scene.views) == 6
        for view in scene.views:
            assert colour_error(view, points_into(scene.frame, wall_points())).median() < 0.03
    path.write_text("\n".join(empty[::2]) + "\n")  # one line an image: half of them would be lost in silence
    with pytest.raises(UserError, match=r"images.txt: damaged or cut short \(line 2"):
        FolderScene(folder)()


@pytest.mark.parametrize("binary", [True, False])
def test_points3d_may_be_a_ply_or_missing_or_empty(tmp_path, caplog, binary):
    folder = write_colmap(tmp_path / "room", "sparse/0", binary)
    own = folder / f"sparse/0/points3D.{'bin' if binary else 'txt'}"
    own.unlink()
    write_text_ply(folder / "sparse/0/points3D.ply", wall_points())
    scene = FolderScene(folder)()
    assert torch.allclose(scene.cloud.xyz, points_into(scene.frame, wall_points()), atol=1e-5)
    (folder / "sparse/0/points3D.ply").unlink()
    assert len(FolderScene(folder, random_points=70)().cloud) == 70
    own.write_bytes(bytes(8) if binary else b"# none\n")
    assert len(FolderScene(folder, random_points=70)().cloud) == 70
    assert caplog.text.count("starts from 70 random points") == 2


def test_bad_models_end_in_one_line(tmp_path):
    folder = write_colmap(tmp_path / "cut")
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        path = folder / "sparse/0" / name
        whole = path.read_bytes()
        for part in (0.0, 0.3, 0.6, 0.99):
            path.write_bytes(whole[: int(part * len(whole))])
            with pytest.raises(UserError, match=f"{name}: damaged or cut short") as error:
                FolderScene(folder)()
            assert "\n" not in str(error.value)
        path.write_bytes(whole)
    for number in range(4):
        (folder / "images" / f"view_{number}.png").unlink()
    with pytest.raises(UserError, match="4 of its 6 pictures are not there"):
        FolderScene(folder)()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 EQUIRECTANGULAR 128 64 128 64", "camera 1: EQUIRECTANGULAR, wanted one of SIMPLE_PINHOLE"),
        ("1 FOV 128 96 90 90 64 48 0.1", "camera 1: FOV, wanted one of"),
        ("1 PINHOLE 128 96 90 90 64", "line 1 is '1 PINHOLE"),
        ("1 PINHOLE 128 96 90 ninety 64 48", "wanted numbers"),
        ("1 PINHOLE 128 96 -90 90 64 48", "wanted all above 0"),
        ("2 PINHOLE 128 96 90 90 64 48", "view_0.png has camera 1, wanted one of cameras.txt"),
    ],
)
def test_bad_cameras_end_in_one_line(tmp_path, line, message):
    for name in cameras():
        (tmp_path / name).touch()
    rows = [f"{number} 1 0 0 0 0 0 {number} 1 {name}\n\n" for number, name in enumerate(cameras())]
    (tmp_path / "images.txt").write_text("".join(rows))
    (tmp_path / "cameras.txt").write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        read_colmap(tmp_path, tmp_path)


def test_images_without_a_pose_are_counted(tmp_path, caplog):
    for name in cameras():
        (tmp_path / name).touch()
    pose = {2: "0 0 0 0 0 0 0", 4: "nan 0 0 0 0 0 0"}
    rows = [f"{number} {pose.get(number, '1 0 0 0 0 0 0')} 1 {name}\n\n" for number, name in enumerate(cameras())]
    (tmp_path / "images.txt").write_text("".join(rows))
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 128 96 90 90 64 48\n")
    assert len(read_colmap(tmp_path, tmp_path)) == 4
    assert "2 of its 6 images have no pose and are left out, the first is view_2.png" in caplog.text
