"""What lies at a path: recognised, named, and what is broken said in one line."""

import json
import os
import shutil

import pytest
import torch
from PIL import ExifTags, Image, features
from plyfile import PlyData, PlyElement

from eval.protocols.methods import by_config, examine
from tests.small_world import room_splats, write_run
from worldgen.errors import UserError
from worldgen.io.gaussians import write_ply, write_spz
from worldgen.runs.artifacts import save_image
from worldgen.types import Gaussians


def save(path, width: int = 96, height: int = 64):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, torch.rand(3, height, width))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("made") / "room")


@pytest.fixture
def make_run(tmp_path, finished):
    """A run folder in tmp_path/runs: of a photo, with settings, finished up to a step or not."""

    def make(name: str, photo="room.jpg", sha="0", until="export", log="", **panorama):
        folder = tmp_path / "runs" / name
        shutil.copytree(finished, folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        seed = panorama.pop("seed", 0)
        for step in manifest["steps"].values():
            step["config"]["seed"] = seed
        manifest["steps"]["panorama"]["config"]["panorama"] = panorama
        names = list(manifest["steps"])
        manifest["steps"] = {name: manifest["steps"][name] for name in names[: names.index(until) + 1]}
        manifest["photo"] = {"name": photo, "sha256": sha * 64}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        if log:
            (folder / "log.txt").write_text(log)
        return folder

    return make


@pytest.mark.parametrize(
    ("files", "kind", "names"),
    [
        ({"b.png": (128, 64), "a.png": (256, 128)}, "panoramas", ["a", "b"]),
        ({"a.png": (96, 64), "b.webp": (96, 64), "notes.txt": None}, "images", ["a", "b"]),
        ({"a.png": (128, 64), "b.png": (96, 64)}, "images", ["a", "b"]),
        ({"s/1.png": (96, 64), "s/0.png": (96, 64), "t/0.tif": (96, 64), ".x/0.png": (96, 64)}, "frames", ["s", "t"]),
        ({"a.png": (96, 64), "a.bmp": (96, 64), "c.PNG": (96, 64)}, "images", ["a.bmp", "a.png", "c"]),
        ({"all.png": (96, 64), ".hidden.png": (96, 64)}, "images", ["all (image)"]),
    ],
)
def test_pictures_are_recognised_and_named(tmp_path, files, kind, names):
    for name, size in files.items():
        if size:
            save(tmp_path / name.replace(".PNG", ".png"), *size)
            (tmp_path / name.replace(".PNG", ".png")).rename(tmp_path / name)
        else:
            (tmp_path / name).write_text("not a picture")
    found = examine("a", tmp_path)
    assert (found.kind, found.images, found.failed) == (kind, names, {})
    assert all(item.size == files[item.path.relative_to(tmp_path).as_posix()] for item in found.items)


def test_every_format_that_a_photo_may_have_is_scored(tmp_path):
    picture = Image.effect_noise((96, 64), 40).convert("RGB")
    for name in ("a.gif", "b.jp2", "c.webp", "d.tiff", "e.bmp", "f.jfif", "g.ppm", "h.TGA"):
        picture.save(tmp_path / name, "JPEG" if name == "f.jfif" else None)
    if features.check("avif"):
        picture.save(tmp_path / "i.avif")
    found = examine("a", tmp_path)
    assert found.images == [path.stem for path in sorted(tmp_path.iterdir())]
    assert (found.failed, found.notes) == ({}, ())
    assert {item.size for item in found.items} == {(96, 64)}


def test_what_is_not_scored_is_counted_and_named(tmp_path):
    save(tmp_path / "pictures" / "a.png")
    save(tmp_path / "pictures" / "more" / "b.png")
    save(tmp_path / "scenes" / "room" / "0.png")
    for name in ("notes.txt", "depth.exr", ".hidden", "._a.png", "Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / "pictures" / name).touch()
        (tmp_path / "scenes" / "room" / name).touch()
    (tmp_path / "scenes" / "readme.md").touch()
    (tmp_path / "splats").mkdir()
    write_ply(tmp_path / "splats" / "a.ply", room_splats(16))
    for number in range(7):
        (tmp_path / "splats" / f"{number}.bin").touch()
    assert examine("a", tmp_path / "pictures").notes == (
        "pictures in subfolders are not scored: more",
        "not scored: 2: depth.exr, notes.txt",
    )
    assert examine("a", tmp_path / "scenes").notes == ("not scored: 3: readme.md, room/depth.exr, room/notes.txt",)
    assert examine("a", tmp_path / "splats").notes == ("not scored: 7: 0.bin, 1.bin, 2.bin, 3.bin, 4.bin and 2 more",)


def test_sizes_are_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (96, 64)).save(tmp_path / "turned.jpg", exif=exif)
    assert examine("a", tmp_path).items[0].size == (64, 96)


def test_names_in_any_encoding_and_form(tmp_path):
    """Latin-1 as old archives leave it, accents taken apart as macOS does, a name that breaks lines."""
    for name in (b"caf\xe9", "cafe\u0301".encode(), b"two\nlines"):
        save(tmp_path / f"{os.fsdecode(name)}.png")
    (tmp_path / os.fsdecode(b"br\xe9ve.png")).write_text("no picture")
    (tmp_path / os.fsdecode(b"\xe9.txt")).touch()
    found = examine("a", tmp_path)
    assert found.images == ["caf\\xe9", "caf\u00e9", "two\\nlines"]
    assert list(found.failed) == ["br\\xe9ve.png"]
    assert found.notes == ("not scored: 1: \\xe9.txt",)
    json.dumps(found.record(), ensure_ascii=False).encode()
    for item in found.items:
        assert item.path.is_file()


def test_splats_left_out_are_said(tmp_path):
    write_ply(tmp_path / "world.ply", room_splats(16))
    vertex = PlyData.read(tmp_path / "world.ply", mmap=False)["vertex"].data
    vertex["x"][3] = float("nan")
    PlyData([PlyElement.describe(vertex, "vertex")]).write(tmp_path / "world.ply")
    count = len(room_splats(16))
    note = f"world.ply: 1 of {count} splats left out, whose values are not finite"
    assert examine("a", tmp_path).notes == (note,)


def test_frames_keep_their_scene_and_name(tmp_path):
    for name in ("s/b.png", "s/a.png", "t/a.png"):
        save(tmp_path / name)
    found = examine("a", tmp_path)
    assert [(item.image, item.frame) for item in found.items] == [("s", "a"), ("s", "b"), ("t", "a")]


def test_a_single_file_and_a_pattern_do_too(tmp_path, monkeypatch):
    for name in ("x1.png", "x2.png", "y.png"):
        save(tmp_path / name)
    assert examine("a", tmp_path / "x1.png").images == ["x1"]
    assert examine("a", str(tmp_path / "x*.png")).images == ["x1", "x2"]
    monkeypatch.chdir(tmp_path)
    assert examine("a", "[xy]*.png").images == ["x1", "x2", "y"]


def test_splats_are_recognised(tmp_path):
    write_ply(tmp_path / "b.ply", room_splats(16))
    write_spz(tmp_path / "a.spz", room_splats(16))
    found = examine("a", tmp_path)
    assert (found.kind, found.images) == ("splats", ["a", "b"])


def test_splat_files_without_splats_are_named_and_the_rest_scored(tmp_path):
    none = Gaussians(*(tensor[:0] for tensor in room_splats(16).tensors().values()))
    write_ply(tmp_path / "none.ply", none)
    with pytest.raises(UserError, match=r"none of 1 files can be scored; none\.ply: holds no splats, wanted one"):
        examine("a", tmp_path)
    write_ply(tmp_path / "some.ply", room_splats(16))
    (tmp_path / "text.ply").write_text("hello")
    found = examine("a", tmp_path)
    assert found.images == ["some"]
    assert set(found.failed) == {"none.ply", "text.ply"}
    assert "no .ply header" in found.failed["text.ply"]


def test_corrupt_pictures_are_named_and_the_rest_scored(tmp_path):
    save(tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("hello")
    found = examine("a", tmp_path)
    assert found.images == ["good"]
    assert set(found.failed) == {"empty.png", "text.jpg"}
    assert "is empty, wanted" in found.failed["empty.png"]
    assert "not a picture that can be read, wanted" in found.failed["text.jpg"]


def test_nothing_to_score_is_said_in_one_line(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").touch()
    (tmp_path / "empty").mkdir()
    save(tmp_path / "both" / "a.png")
    write_ply(tmp_path / "both" / "b.ply", room_splats(16))
    cases = {
        "missing": "methods.mine: .*missing: no such file or folder, wanted pictures",
        "empty": "methods.mine: .*empty is empty, wanted pictures",
        "other": r"methods.mine: .*other holds a\.txt, wanted pictures",
        "other/a.txt": r"ends in '\.txt', wanted pictures",
        "none*": r"none\*: nothing has such a name, wanted pictures",
        "both": r"holds pictures \(a\.png\) and splats \(b\.ply\), wanted one kind",
    }
    for path, message in cases.items():
        with pytest.raises(UserError, match=message) as caught:
            examine("mine", tmp_path / path)
        assert "\n" not in str(caught.value)


def test_runs_have_their_photos_names(tmp_path, make_run):
    make_run("one", photo="venice.jpg", sha="a")
    make_run("two", photo="garden party.png", sha="b")
    (tmp_path / "runs" / "notes").mkdir()
    found = examine("ours", tmp_path / "runs")
    assert (found.kind, found.images) == ("runs", ["garden party", "venice"])
    assert examine("ours", tmp_path / "runs" / "one").images == ["venice"]
    by_pattern = examine("ours", f"{tmp_path}/runs/*")
    assert by_pattern.images == found.images
    assert by_pattern.notes == ("not run folders, not scored: notes",)


def test_seeds_and_photos_of_one_name_are_told_apart(tmp_path, make_run):
    make_run("one", photo="venice.jpg", sha="a")
    make_run("two", photo="venice.jpg", sha="a", seed=1)
    make_run("three", photo="venice.jpg", sha="b", seed=1)
    found = examine("ours", tmp_path / "runs")
    assert found.images == ["venice-aaaaaa-seed0", "venice-aaaaaa-seed1", "venice-bbbbbb-seed1"]


def test_runs_are_told_apart_by_a_setting(tmp_path, make_run):
    for heuristic in ("anchored", "sequential"):
        for photo in ("venice", "garden"):
            make_run(f"{photo}-{heuristic}", photo=f"{photo}.jpg", sha=photo[0], heuristic=heuristic, stand_in=True)
    make_run("venice-panorama=adhoc-seed=0", photo="venice.jpg", until="prompts", sha="v")
    make_run("venice-old", photo="venice.jpg", sha="v")
    together = examine("ours", tmp_path / "runs")
    assert len(set(together.images)) == 6  # of one name each, even so
    groups = by_config(together, "panorama.heuristic")
    assert {name: group.images for name, group in groups.items()} == {
        "adhoc": ["venice"],
        "anchored": ["garden", "venice"],
        "sequential": ["garden", "venice"],
        "unknown": ["venice"],
    }
    assert [group.method for group in groups.values()] == list(groups)
    assert {name: len(group.items) for name, group in by_config(together, "panorama.stand_in").items()} == {
        "true": 4,
        "false": 1,  # as conf/panorama/adhoc.yaml has it
        "unknown": 1,
    }


def test_runs_that_stopped_say_why(tmp_path, make_run):
    log = (
        "2026-11-23 10:00:00,123 INFO worldgen: 3/9 panorama: begins\n"
        "2026-11-23 10:00:01,456 ERROR worldgen: not enough memory\nTraceback\n"
        "2026-11-23 10:00:02,000 INFO worldgen: stops\n"
    )
    whys = {
        "failed": make_run("failed", until="prompts", log=log),
        "killed": make_run("killed", until="prompts", log=log.splitlines()[0] + "\n"),
        "silent": make_run("silent", until="prompts"),
    }
    found = {item.path.name: item.run.why_without("panorama") for item in examine("ours", tmp_path / "runs").items}
    assert found == {
        "failed": "no finished panorama step; its log says: not enough memory",
        "killed": "no finished panorama step; its log ends with: 3/9 panorama: begins",
        "silent": "no finished panorama step, and no log.txt that says why",
    }
    assert set(whys) == set(found)


def test_failed_runs_are_listed_by_protocols(tmp_path, make_run):
    from eval.protocols.panorama_views import PanoramaProtocol
    from eval.protocols.world_views import WorldProtocol

    make_run("good", photo="a.jpg")
    make_run("bad", photo="b.jpg", until="prompts")
    make_run("half", photo="c.jpg", until="panorama")
    (tmp_path / "runs" / "bad" / "log.txt").unlink(missing_ok=True)
    found = examine("ours", tmp_path / "runs")
    panoramas = PanoramaProtocol(name="panorama", metrics=["niqe"]).collect(found)
    assert panoramas.output.images == ["a", "c"]
    assert set(panoramas.output.failed) == {"bad"}
    worlds = WorldProtocol(name="world", metrics=["niqe"]).collect(found)
    assert worlds.output.images == ["a"]
    assert set(worlds.output.failed) == {"bad", "half"}
    only_bad = PanoramaProtocol(name="panorama", metrics=["niqe"]).collect(examine("ours", tmp_path / "runs" / "bad"))
    assert (only_bad.pictures, list(only_bad.output.failed)) == ([], ["bad"])


def test_broken_manifests_are_named(tmp_path, make_run):
    make_run("good")
    (make_run("torn") / "manifest.json").write_text("{")
    (make_run("other") / "manifest.json").write_text("{}")
    found = examine("ours", tmp_path / "runs")
    assert found.images == ["room"]
    assert "not valid JSON" in found.failed["torn"]
    assert "tells of no photo or no steps" in found.failed["other"]


def test_the_record_says_all_of_it(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    Image.new("RGB", (96, 64)).save(tmp_path / "c.png")
    assert examine("a", tmp_path).record() == {
        "path": str(tmp_path),
        "kind": "images",
        "images": ["a", "c"],
        "failed": {"b.png": "is empty, wanted a photo"},
    }


def test_the_choice_of_a_group_is_told_by_the_names_of_a_sweep(tmp_path, make_run):
    make_run("venice-prompts=coarse-seed=0", photo="venice.jpg")
    make_run("venice-prompts=caption-seed=0", photo="venice.jpg", until="fov")
    groups = by_config(examine("ours", tmp_path / "runs"), "prompts")
    assert {name: group.images for name, group in groups.items()} == {"coarse": ["venice"], "caption": ["venice"]}
