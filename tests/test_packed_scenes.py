"""Scenes that are trained on as they are downloaded, in zips: pytest tests/test_packed_scenes.py"""

import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from tests.posed_folders import cameras, write_transforms
from tests.test_training_sets import checked, write_depths, write_dl3dv
from train.data.measured_folders import measured_folders, posed_pictures
from train.data.pair_batches import Batches
from train.data.pairs import ConditionedData
from worldgen.errors import UserError
from worldgen.io import packed


def pack(scene: Path, kind: int = zipfile.ZIP_DEFLATED) -> Path:
    """<scene>.zip with <scene>/... in it, in the place of the folder; its depth stays beside, as it is made there."""
    path = scene.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", kind) as file:
        for one in sorted(scene.rglob("*")):
            if "depth" not in one.parts:
                file.write(one, one.relative_to(scene.parent))
    for one in list(scene.iterdir()):
        if one.name != "depth":
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    return path


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_read_as_its_folder_is(tmp_path, kind):
    write_dl3dv(tmp_path / "folder" / "1K" / "0a1b")
    shutil.copytree(tmp_path / "folder", tmp_path / "zip")
    pack(tmp_path / "zip" / "1K" / "0a1b", kind)
    (folder,), (zipped,) = (measured_folders(tmp_path / place, "depth") for place in ("folder", "zip"))
    assert folder.name == zipped.name == "0a1b"
    for number, (one, other) in enumerate(zip(folder.cameras(), zipped.cameras(), strict=True)):
        assert torch.equal(one.c2w, other.c2w)
        first, second = folder.view(number, 48), zipped.view(number, 48)
        assert torch.equal(first.rgb, second.rgb)
        assert torch.equal(first.measured, second.measured)


def test_workers_draw_from_zips_what_one_process_draws(tmp_path):
    write_dl3dv(tmp_path / "0a1b")
    pack(tmp_path / "0a1b")
    data = ConditionedData(measured_folders(tmp_path, "depth"), size=48, min_known=0.05)
    alone, shared = (list(Batches(data(4), range(4), 2, workers)) for workers in (0, 2))
    for one, other in zip(alone, shared, strict=True):
        assert torch.equal(one.condition, other.condition)


def test_a_zip_goes_unread_where_its_scene_is_unpacked_beside(tmp_path):
    scene = write_dl3dv(tmp_path / "0a1b")
    (tmp_path / "0a1b.zip").write_bytes(b"never looked at")
    assert [one.folder for one in measured_folders(tmp_path, "depth")] == [scene]


def test_the_points_and_depths_that_a_zipped_scene_names_are_read(tmp_path):
    scene = write_transforms(tmp_path / "room")
    zipped = pack(scene)
    assert len(posed_pictures(zipped)) == len(cameras())
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as file, zipfile.ZipFile(zipped) as whole:
        for name in whole.namelist():
            file.writestr(f"outer/{name}", whole.read(name))
        write_depths(tmp_path / "depths")
        file.write(tmp_path / "depths/view_1.npy", "outer/room/depths/view_1.npy")
    assert packed.folder_of(tmp_path / "deep.zip", "transforms.json") == tmp_path / "deep.zip/outer/room"
    assert len(posed_pictures(tmp_path / "deep.zip")) == len(cameras())
    inside = tmp_path / "deep.zip/outer/room/depths"
    assert packed.file_names(inside) == ["view_1.npy"]
    with packed.opened(inside / "view_1.npy") as file:
        assert file.read() == (tmp_path / "depths/view_1.npy").read_bytes()
    with pytest.raises(FileNotFoundError):
        packed.opened(inside / "view_2.npy")


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-400]), "no whole zip"),
        (lambda path: path.write_bytes(b""), "no whole zip"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "no transforms.json in it"),
    ],
    ids=["truncated", "empty", "of nothing"],
)
def test_a_broken_zip_is_one_line_that_names_it(tmp_path, capsys, spoil, wanted):
    write_dl3dv(tmp_path / "good")
    write_dl3dv(tmp_path / "0a1b")
    spoil(pack(tmp_path / "0a1b"))
    status, lines, facts = checked(capsys, "data=dl3dv", f"data.scenes.folders={tmp_path}")
    assert (status, len(lines), facts["bad_scenes"], facts["scenes"]) == (1, 1, 1, 2)
    assert lines[0].startswith(f"{tmp_path / '0a1b.zip'}: {wanted}")


def test_a_damaged_picture_in_a_zip_is_told_by_its_name(tmp_path):
    write_dl3dv(tmp_path / "0a1b")
    path = pack(tmp_path / "0a1b", zipfile.ZIP_STORED)
    with zipfile.ZipFile(path) as file:
        info = file.getinfo("0a1b/images_4/view_2.png")
    content = bytearray(path.read_bytes())
    content[info.header_offset + 200] ^= 0xFF
    path.write_bytes(content)
    (scene,) = measured_folders(tmp_path, "depth")
    assert scene.view(1, 48).known.any()
    with pytest.raises(UserError, match=r"view_2\.png: cannot be unpacked"):
        scene.view(2, 48)


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_rot_within_what_is_packed_is_one_line(tmp_path, kind):
    path, text = tmp_path / "scene.zip", bytes(range(256)) * 40
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr("scene/notes.bin", text)
        start = file.getinfo("scene/notes.bin").header_offset + 30 + len("scene/notes.bin")
    rotten = bytearray(path.read_bytes())
    rotten[start : start + 24] = b"\xff" * 24
    path.write_bytes(rotten)
    with pytest.raises(UserError, match="cannot be unpacked"):
        packed.opened(path / "scene" / "notes.bin")
