"""Data sets: crops that lie in the middle of their panoramas, layouts that are checked, poses in every convention."""

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from eval.data import nearby_pairs, panorama_crops, scannetpp
from eval.data.__main__ import main
from tests.posed_folders import colmap_model
from tests.scenes import BoxRoom
from train.data import scannetpp_folders
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.io.photo import load_photo
from worldgen.recipe.fov import ExifFov
from worldgen.runs.artifacts import load_image
from worldgen.types import Camera, View

SCENES = ("Auditorium", "Ballroom", "Courtroom", "Museum", "Palace", "Temple")
SIZE = (32, 24)


def picture(path: Path, shade: int = 90, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, shade)).save(path)
    return path


def told(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def truths(monkeypatch):
    """One fine and one coarse panorama of a room, in place of the real ones."""
    found = [(f"room_{height}", BoxRoom().panorama(height)[0].rgb) for height in (512, 256)]
    monkeypatch.setattr(panorama_crops, "truth_panoramas", lambda: iter(found))


def test_a_photo_lies_in_the_middle_of_its_panorama(truths, tmp_path, capsys):
    assert main(["panoramas", str(tmp_path), "--count", "2"]) == 0
    assert told(capsys)["photos"] == 2
    names = sorted(path.name for path in (tmp_path / "photos").iterdir())
    assert (
        names == sorted(path.name for path in (tmp_path / "truth").iterdir()) == ["room_512+89.png", "room_512-31.png"]
    )
    for name in names:
        photo = load_photo(tmp_path / "photos" / name)
        height, width = photo.rgb.shape[1:]
        camera = Camera.from_fov(width, height, ExifFov()(photo).deg)
        seen = to_perspective(load_image(tmp_path / "truth" / name), camera, mode="bicubic").clamp(0, 1)
        assert (seen - photo.rgb).abs().max() < 0.02


def test_fine_panoramas_can_be_asked_for_alone_and_reduced(truths, tmp_path, capsys):
    assert main(["panoramas", str(tmp_path), "--fine-only", "--max-width", "256"]) == 0
    assert told(capsys)["photos"] == 3
    assert {load_image(path).shape[1:] for path in (tmp_path / "truth").iterdir()} == {(128, 256)}


@pytest.mark.parametrize("fov_deg", [20.0, 63.7, 80.0, 120.0])
def test_a_photo_tells_its_field_of_view(tmp_path, fov_deg):
    rgb = torch.rand(3, 75, 100)
    view = View(Camera.from_fov(100, 75, fov_deg), rgb, torch.ones(75, 100, dtype=torch.bool))
    panorama_crops.save_photo(tmp_path / "photo.png", view)
    photo = load_photo(tmp_path / "photo.png")
    assert ExifFov()(photo).deg == pytest.approx(fov_deg, abs=1e-4)
    assert (photo.rgb - rgb).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("option", [["--count", "0"], ["--max-width", "7"]])
def test_impossible_numbers_end_in_one_line(tmp_path, capsys, option):
    assert main(["panoramas", str(tmp_path / "new"), *option]) == 2
    assert capsys.readouterr().err.startswith(f"error: {': '.join(option)}, wanted")
    assert not (tmp_path / "new").exists()


def test_broken_photos_are_named_and_the_others_linked(tmp_path, capsys):
    picture(tmp_path / "in" / "a.png", size=(80, 80))
    picture(tmp_path / "in" / "a.jpg", size=(80, 80))
    (tmp_path / "in" / "broken.png").write_bytes(b"nothing of the kind")
    assert main(["photos", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    found = told(capsys)
    assert found["photos"] == 1
    assert set(found["broken"]) == {"broken.png", "a.png"}
    assert "a.jpg" in found["broken"]["a.png"]
    assert [path.name for path in (tmp_path / "out" / "photos").iterdir()] == ["a.jpg"]


@pytest.mark.parametrize("name", ["photos", "tanks_and_temples", "scannetpp"])
def test_a_folder_that_is_not_there_ends_in_an_error(tmp_path, capsys, name):
    assert main([name, str(tmp_path / "nowhere")]) == 2
    assert str(tmp_path / "nowhere") in capsys.readouterr().err


def test_every_missing_scene_of_tanks_and_temples_is_a_line(tmp_path, capsys):
    for scene in SCENES[:4]:
        picture(tmp_path / scene / "000001.jpg")
    (tmp_path / "Palace.zip").touch()
    (tmp_path / "Temple").mkdir()
    assert main(["tanks_and_temples", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "found Palace.zip, wanted it unpacked" in lines[0]
    assert "Temple: found no pictures, wanted 000001.jpg" in lines[1]
    assert lines[2].startswith(f"error: {tmp_path}: 2 things are not as wanted")
    assert "tanksandtemples.org" in lines[2]


def test_six_photos_of_tanks_and_temples_are_linked(tmp_path, capsys):
    for scene in SCENES:
        for frame in (2, 1):
            picture(tmp_path / "in" / scene / f"00000{frame}.jpg", shade=frame)
    arguments = ["tanks_and_temples", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--frame", "2"]
    assert main(arguments) == 0
    assert main(arguments) == 0  # again, over the links that are there
    links = sorted((tmp_path / "out" / "photos").iterdir())
    assert [link.stem for link in links] == [scene.lower() for scene in SCENES]
    assert {link.resolve().name for link in links} == {"000002.jpg"}
    assert main([*arguments[:-1], "3"]) == 2
    assert "--frame 3: Auditorium has 2 images" in capsys.readouterr().err


def room_cameras() -> dict[str, Camera]:
    """Five along a line of 0.4 m steps; the last looks the other way."""
    return {
        f"DSC0000{index}.JPG": Camera.from_fov(
            *SIZE, 70.0, look_at(180.0 * (index == 4), 5.0, torch.tensor([0.4 * index, 0, 0]))
        )
        for index in range(5)
    }


def write_transforms(scene: Path, cameras: dict[str, Camera], held_out: tuple[str, ...] = (), **more: object) -> None:
    """As ScanNet++'s toolkit writes them: OpenGL axes, in a world whose axes are others than COLMAP's."""
    world = torch.tensor([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])

    def frame(name: str) -> dict:
        c2w = cameras[name].c2w.clone()
        c2w[:3, 1:3] *= -1
        return {"file_path": name, "transform_matrix": (world @ c2w).tolist()}

    lens = next(iter(cameras.values()))
    content = {"w": lens.width, "h": lens.height, "fl_x": lens.fx, "fl_y": lens.fy, "cx": lens.cx, "cy": lens.cy}
    content |= {
        "camera_model": "PINHOLE",
        "k1": 0.0,
        "frames": [frame(name) for name in cameras if name not in held_out],
    }
    content |= {"test_frames": [frame(name) for name in held_out]} | more
    (scene / "dslr/nerfstudio").mkdir(parents=True, exist_ok=True)
    (scene / "dslr/nerfstudio/transforms_undistorted.json").write_text(json.dumps(content))
    for name in cameras:
        picture(scene / "dslr/resized_undistorted_images" / name)


def write_colmap(scene: Path, cameras: dict[str, Camera]) -> None:
    (scene / "colmap").mkdir(parents=True)
    colmap_model(cameras).write_text(str(scene / "colmap"))
    for name in cameras:
        picture(scene / "images" / name)


def test_nerfstudio_and_colmap_poses_are_the_cameras_that_were_written(tmp_path):
    cameras = {
        f"v{index}.JPG": Camera.from_fov(
            *SIZE, 60.0, look_at(57.0 * index, 11.0 * index - 20, torch.tensor([index, 0.5, -index]))
        )
        for index in range(4)
    }
    write_transforms(tmp_path / "a", cameras)
    write_colmap(tmp_path / "b", cameras)
    by_transforms, by_colmap = scannetpp_folders.views(tmp_path / "a"), scannetpp.views(tmp_path / "b")
    for picture_, camera in zip(by_colmap, cameras.values(), strict=True):
        assert torch.allclose(picture_.camera.c2w.float(), camera.c2w, atol=1e-5)
        assert torch.allclose(picture_.camera.intrinsics, camera.intrinsics)
    for index in range(3):  # its world is another one, but what lies between two cameras is not
        expected = nearby_pairs.a_to_b((by_colmap[index], by_colmap[index + 1]))
        assert torch.allclose(
            nearby_pairs.a_to_b((by_transforms[index], by_transforms[index + 1])), expected, atol=1e-5
        )


def test_pairs_are_near_each_other_and_look_the_same_way(tmp_path):
    write_transforms(tmp_path / "data" / "room", room_cameras())
    pairs = scannetpp.conditioning_pairs(tmp_path, per_scene=None)
    assert [name.replace("room-DSC0000", "").replace("DSC0000", "") for name in pairs] == ["0-1", "1-0", "2-1", "3-2"]
    step = nearby_pairs.a_to_b(pairs["room-DSC00000-DSC00001"])
    assert step[:3, 3].norm().item() == pytest.approx(0.4, abs=1e-6)
    assert step[0, 3] < 0  # B stands to the right, so that what A sees lies further to B's left
    assert len(scannetpp.conditioning_pairs(tmp_path, per_scene=2)) == 2


def test_held_out_views_are_what_is_predicted(tmp_path):
    write_transforms(tmp_path / "room", room_cameras(), held_out=("DSC00001.JPG",))
    pairs = scannetpp.conditioning_pairs(tmp_path)
    assert {second.name for _, second in pairs.values()} == {"DSC00001.JPG"}
    assert not any(first.held_out for first, _ in pairs.values())
    assert len(pairs) == 3  # of 0.4, 0.4 and 0.8 m


def test_pairs_are_written_as_the_conditioning_protocol_reads_them(tmp_path, capsys):
    write_transforms(tmp_path / "in" / "data" / "room", room_cameras())
    assert main(["scannetpp", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--count", "2"]) == 0
    assert told(capsys) == {"pairs": 2, "folder": str(tmp_path / "out")}
    names = {part: sorted(path.stem for path in (tmp_path / "out" / part).iterdir()) for part in ("photos", "truth")}
    written = json.loads((tmp_path / "out" / "pairs.json").read_text())
    assert names["photos"] == names["truth"] == sorted(written)
    one = written[names["photos"][0]]
    assert one["a"]["fx"] == pytest.approx(16 / math.tan(math.radians(35)))
    assert torch.tensor(one["a_to_b"]).shape == (4, 4)


def test_what_scannetpp_lacks_is_a_line_each(tmp_path, capsys):
    write_transforms(tmp_path / "data" / "one", room_cameras())
    (tmp_path / "data" / "two" / "dslr" / "resized_images").mkdir(parents=True)
    assert main(["scannetpp", str(tmp_path), "--scenes", "one,two,three"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert "three" in lines[0]
    assert "transforms_undistorted.json: found nothing; dslr/ holds resized_images" in lines[1]
    assert "wanted the undistorted images" in lines[2]
    assert "3 things" in lines[3]
    assert scannetpp.ADDRESS in lines[3]
    assert main(["scannetpp", str(tmp_path), "--scenes", "one"]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"camera_model": "OPENCV_FISHEYE"}, "DSC00000.JPG is distorted, wanted the images that dslr.undistort makes"),
        ({"k1": 0.1}, "is distorted, wanted"),
        ({"fl_x": 0}, "fl_x"),
        ({"frames": [{"file_path": "DSC00000.JPG"}]}, "transform_matrix"),
        ({"frames": [{"file_path": "gone.JPG", "transform_matrix": torch.eye(4).tolist()}]}, "gone.JPG"),
        ({"frames": []}, "no frames"),
        ({"frames": None}, "not a transforms.json"),
    ],
)
def test_broken_poses_end_in_one_line(tmp_path, change, message):
    write_transforms(tmp_path, room_cameras(), **change)
    with pytest.raises(UserError, match=message):
        scannetpp_folders.views(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("cameras.txt", "3 OPENCV_FISHEYE 32 24 1 1 1 1 0 0 0 0\n", "is distorted, wanted"),
        ("cameras.txt", "3 PINHOLE 32 24 1 1\n", r"cameras.txt: damaged or cut short \(line 1"),
        ("cameras.txt", "8 PINHOLE 32 24 1 1 1 1\n", "has camera 3, wanted one of cameras.txt"),
        ("images.txt", "1 1 0 0\n\n", r"images.txt: damaged or cut short \(line 1"),
        ("images.txt", "", "no frames"),
    ],
)
def test_broken_colmap_files_end_in_one_line(tmp_path, file, text, message):
    write_colmap(tmp_path, room_cameras())
    (tmp_path / "colmap" / file).write_text(text)
    with pytest.raises(UserError, match=message):
        scannetpp_folders.views(tmp_path)
