"""Data sets as they are distributed, and what `python -m train.data.check` finds in them:
pytest tests/test_training_sets.py"""

import json

import numpy as np
import pytest
from PIL import Image

from tests.posed_folders import OPENGL, ROOM, SIZE, centred, lens, write_colmap, write_pictures
from train.data.check import main
from train.data.scannetpp_folders import measured_scannetpp
from worldgen.config import choice, instantiate
from worldgen.geometry.cameras import distance_to_zdepth


def frames(folder: str = "images/") -> list[dict]:
    return [
        {"file_path": folder + name, "transform_matrix": (camera.c2w @ OPENGL).tolist()}
        for name, camera in centred().items()
    ]


def write_depths(folder, suffix=".npy"):
    """Exact, of each picture: metres in a .npy, millimetres in a .png."""
    folder.mkdir(parents=True)
    for name, camera in centred().items():
        zdepth = distance_to_zdepth(camera, ROOM.view(camera).distance).numpy()
        path = (folder / name).with_suffix(suffix)
        if suffix == ".npy":
            np.save(path, zdepth)
        else:
            Image.fromarray((zdepth * 1000).round().astype(np.uint16)).save(path)


def write_dl3dv(scene, reduced="images_4"):
    """Poses speak of pictures four times as large, in `images`."""
    write_pictures(scene / reduced, centred())
    write_depths(scene / "depth")
    large = {key: 4 * value for key, value in lens(next(iter(centred().values()))).items()}
    content = {"camera_model": "OPENCV", "k1": 0.0, "frames": frames()} | large
    (scene / "transforms.json").write_text(json.dumps(content))
    return scene


def exactly(view):
    return ((view.distance / ROOM.view(view.camera).distance - 1).abs() < 0.03).float().mean() > 0.95


def checked(capsys, *arguments) -> tuple[int, list[str], dict]:
    """Exit status, the lines of faults, and the last line."""
    status = main([*map(str, arguments), "data.size=48"])
    told = capsys.readouterr()
    return status, told.err.splitlines(), json.loads(told.out.splitlines()[-1]) if told.out else {}


@pytest.mark.parametrize("reduced", ["images_4", "images_8", "images"])
def test_dl3dv_is_read_as_it_is_distributed(tmp_path, reduced):
    write_dl3dv(tmp_path / "1K" / "0a1b", reduced)
    write_dl3dv(tmp_path / "2K" / "2c3d", reduced)
    config = choice("data", "dl3dv")
    config.scenes.folders, config.size = str(tmp_path), 48
    data = instantiate(config)
    assert [scene.name for scene in data.scenes] == ["0a1b", "2c3d"]
    view = data.scenes[0].view(2, SIZE[1])
    assert (view.rgb - ROOM.view(view.camera).rgb).abs().mean() < 0.01
    assert exactly(view)
    assert data(2)[0].known.any()


def test_scannetpp_is_read_with_its_rendered_depth(tmp_path):
    scene = tmp_path / "data" / "0a1b"
    write_pictures(scene / "dslr/resized_images", centred())
    write_depths(scene / "dslr/render_depth", ".png")
    (scene / "dslr/nerfstudio").mkdir()
    content = {"camera_model": "PINHOLE", "frames": frames("")} | lens(next(iter(centred().values())))
    (scene / "dslr/nerfstudio/transforms.json").write_text(json.dumps(content))
    (found,) = measured_scannetpp(tmp_path)
    assert found.name == "0a1b"
    assert exactly(found.view(1, SIZE[1]))


def test_tanks_and_temples_is_read_with_colmaps_poses(tmp_path):
    scene = write_colmap(tmp_path / "train", model="SIMPLE_PINHOLE")
    write_depths(scene / "depth")
    (scene / "images").rename(scene / "images_2")
    config = choice("data", "tanks_and_temples")
    config.scenes.folders = str(tmp_path)
    (found,) = instantiate(config.scenes)
    assert exactly(found.view(1, SIZE[1]))


def test_a_whole_data_set_has_no_fault(tmp_path, capsys):
    write_dl3dv(tmp_path / "1K" / "0a1b")
    status, lines, facts = checked(capsys, "data=dl3dv", f"data.scenes.folders={tmp_path}")
    assert (status, lines) == (0, [])
    assert (facts["scenes"], facts["views"], facts["faults"]) == (1, 6, 0)
    _, _, facts = checked(capsys, "data=dl3dv", f"data.scenes.folders={tmp_path}", "every=4")
    assert facts["views"] == 2


def spoil(scene) -> None:
    """A fault of each kind; one picture stays whole."""
    (scene / "images_4/view_0.png").unlink()
    (scene / "depth/view_1.npy").unlink()
    broken = np.load(scene / "depth/view_2.npy")
    broken[3, 5] = np.nan
    np.save(scene / "depth/view_2.npy", broken)
    (scene / "images_4/view_3.png").write_bytes(b"GIF8")
    np.save(scene / "depth/view_4.npy", np.ones((4, 9)))
    content = json.loads((scene / "transforms.json").read_text())
    content["frames"].append({"file_path": "images/view_9.png"})
    (scene / "transforms.json").write_text(json.dumps(content))


def test_each_fault_is_a_line_that_names_its_file_and_the_status_is_1(tmp_path, capsys):
    write_dl3dv(tmp_path / "1K" / "good")
    spoil(write_dl3dv(tmp_path / "1K" / "spoilt"))
    (tmp_path / "2K").mkdir()
    (tmp_path / "2K/packed.zip").touch()
    bad = write_dl3dv(tmp_path / "2K" / "unreadable")
    (bad / "transforms.json").write_text("{")
    status, lines, facts = checked(capsys, "data=dl3dv", f"data.scenes.folders={tmp_path}")
    assert status == 1
    wanted = (
        "1 of its 7 frames have no transform_matrix",
        "1 of its 6 pictures are not there",
        "depth/view_1.png: not found",
        "view_2.npy: 1 depths are NaN",
        "view_3.png: ",
        "view_4.npy: 9x4 pixels",
        "packed.zip: no whole zip",
        "unreadable/transforms.json: not a transforms.json",
    )
    for part in wanted:
        assert sum(part in line for line in lines) == 1, part
    assert len(lines) == facts["faults"] == len(wanted)
    assert facts["first"] in lines
    counts = {name: facts[name] for name in ("scenes", "bad_scenes", "incomplete_scenes", "views", "bad_views")}
    assert counts == {"scenes": 4, "bad_scenes": 2, "incomplete_scenes": 1, "views": 11, "bad_views": 4}


def test_faults_beyond_the_most_are_counted(tmp_path, capsys):
    spoil(write_dl3dv(tmp_path / "spoilt"))
    status, lines, facts = checked(capsys, "data=dl3dv", f"data.scenes.folders={tmp_path}", "most_lines=2")
    assert (status, len(lines), lines[-1]) == (1, 3, "... and 4 more")
    assert facts["faults"] == 6
    assert checked(capsys, "data=dl3dv", f"data.scenes.folders={tmp_path}", "quiet=true")[1] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dat.size=3",), "dat.size: no such key"),
        (("data=dl3d",), "dl3d"),
        (("data=dl3dv",), "data.scenes.folders: missing"),
        (("every=0",), "every: 0, wanted 1 or more"),
        (("data=scannetpp", "data.scenes.folders=."), "no scene of ScanNet"),
    ],
)
def test_what_is_asked_wrongly_ends_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, lines, facts = checked(capsys, *arguments)
    assert (status, len(lines), facts) == (2, 1, {})
    assert message in lines[0]


def test_a_scene_without_depth_is_told_of_every_view(tmp_path, capsys):
    scene = write_dl3dv(tmp_path / "scene")
    for path in (scene / "depth").iterdir():
        path.unlink()
    _, lines, facts = checked(capsys, "data=dl3dv", f"data.scenes.folders={scene}")
    assert facts["bad_views"] == len(lines) == 6
    assert all("not found, wanted the depth of a picture" in line for line in lines)
