"""No two photos share a run folder, whatever their files are called; where nothing clashes the names stay short."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from worldgen import cli, pipeline
from worldgen.runs.disk import sha256_of
from worldgen.runs.naming import namesakes_among, run_folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["worldgen"])
    return tmp_path


@pytest.fixture
def runs(monkeypatch):
    """The photo and the run folder of each config that reaches the pipeline, which writes a manifest alone."""
    seen = []

    def run(config, reporter):
        hold(Path(config.out), Path(config.image))
        seen.append((config.image, config.out))
        return SimpleNamespace(root=Path(config.out))

    monkeypatch.setattr(pipeline, "run", run)
    return seen


def photo(name: str, colour: str = "red") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (80, 80), colour).save(path)
    return path


def hold(folder: Path, image: Path) -> None:
    """Makes a folder one that holds the world of a photo."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"photo": {"name": image.name, "sha256": sha256_of(image)}}))


def test_a_photo_alone_gives_its_folder_its_name(here):
    image = photo("a/IMG_1.jpg")
    assert run_folder(Path("runs"), image) == Path("runs/IMG_1")
    assert run_folder(Path("runs"), image, "seed=1") == Path("runs/IMG_1-seed=1")
    hold(Path("runs/IMG_1"), image)
    assert run_folder(Path("runs"), image) == Path("runs/IMG_1")
    assert run_folder(Path("runs"), Path("nowhere/IMG_1.jpg")) == Path("runs/IMG_1")
    assert run_folder(Path("runs"), Path("...jpg")) == Path("runs/...jpg")


def test_one_by_one_each_photo_gets_a_folder_and_finds_it_again(here, caplog):
    names = ("a/IMG_1.jpg", "b/IMG_1.png", "c/IMG_1.jpg", "d/IMG_1.jpg")
    photos = [photo(name, colour) for name, colour in zip(names, ("red", "green", "blue", "white"), strict=True)]
    for image in photos:
        hold(run_folder(Path("runs"), image), image)
    folders = [run_folder(Path("runs"), image) for image in photos]
    assert folders[:3] == [Path("runs/IMG_1"), Path("runs/IMG_1.png"), Path("runs/IMG_1.jpg")]
    assert folders[3].name.startswith("IMG_1.jpg-")
    assert "runs/IMG_1: holds the world of another photo or scene, that of b/IMG_1.png goes to runs/IMG_1.png" in (
        caplog.text
    )


def test_a_photo_keeps_its_folder_when_another_goes(here):
    first, second = photo("a/IMG_1.jpg"), photo("b/IMG_1.png", "green")
    hold(Path("runs/IMG_1"), first)
    hold(run_folder(Path("runs"), second), second)
    (Path("runs/IMG_1") / "manifest.json").unlink()
    assert run_folder(Path("runs"), second) == Path("runs/IMG_1.png")


def test_names_that_differ_in_capitals_alone_are_the_same_to_some_disks():
    assert namesakes_among(map(Path, ("a.jpg", "b.jpg"))) == []
    assert namesakes_among(map(Path, ("a.jpg", "a.jpg"))) == []  # one photo
    assert namesakes_among(map(Path, ("IMG_1.jpg", "img_1.PNG", "b.jpg"))) == ["img_1"]
    assert namesakes_among(map(Path, ("x/IMG_1.jpg", "y/img_1.JPG"))) == ["img_1", "img_1.jpg"]


def test_in_a_sweep_over_a_folder_namesakes_are_told_apart_before_it_begins(here, runs):
    for name, colour in (("a.jpg", "red"), ("IMG_1.jpg", "green"), ("img_1.png", "blue"), ("._a.jpg", "red")):
        photo(f"photos/{name}", colour)
    assert cli.main(["-m", "images=photos", "seed=1,2", "quiet=true"]) == 0
    assert sorted(Path(out).name for _, out in runs) == sorted(
        f"{name}-seed={seed}" for name in ("a", "IMG_1.jpg", "img_1.png") for seed in (1, 2)
    )


def test_in_a_sweep_over_several_folders_equal_names_are_told_apart_too(here, runs):
    photo("a/IMG_1.jpg", "red")
    photo("b/IMG_1.jpg", "green")
    assert cli.main(["-m", "image=a/IMG_1.jpg,b/IMG_1.jpg", "quiet=true"]) == 0
    assert len({out for _, out in runs}) == 2
    assert all(Path(out).name.startswith("IMG_1.jpg-") for _, out in runs)
    before = list(runs)
    assert cli.main(["-m", "image=b/IMG_1.jpg,a/IMG_1.jpg", "quiet=true"]) == 0
    assert sorted(runs[2:]) == sorted(before)


def test_an_out_by_hand_is_what_was_meant(here, runs):
    assert cli.main([f"image={photo('IMG_1.jpg')}", "out=there", "quiet=true"]) == 0
    assert runs == [("IMG_1.jpg", "there")]
