"""`python -m eval.reproduce`, and the experiments that it runs."""

import json

import pytest
from PIL import Image

from eval.reproduce import cli
from eval.reproduce.sweep import Part
from worldgen.config import compose, groups

EXPERIMENTS = (
    "panorama_ablation",
    "prompts_ablation",
    "depth_ablation",
    "world_table",
    "panorama_table",
    "generalisation",
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a photo of one group."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "art").mkdir(parents=True)
    for folder in ("photos", "photos/art"):
        Image.new("RGB", (80, 80)).save(tmp_path / folder / "photo.jpg")
    return tmp_path


@pytest.mark.parametrize("profile", groups()["profile"])
def test_experiments_compose_with_every_profile(profile):
    for experiment in EXPERIMENTS:
        config = compose("photo.jpg", [f"experiment={experiment}", f"profile={profile}"])
        assert config.out.startswith("runs/")


def test_a_sweep_is_planned_as_it_will_be(here):
    planned = Part("world_table", here / "photos", here / "runs").planned()
    assert [run.folder.name for run in planned] == [
        "photo-correction=none-seed=0",
        "photo-correction=distortion-seed=0",
    ]
    assert {(run.state, run.last) for run in planned} == {("missing", "export")}


def test_an_empty_place_says_what_is_missing(here, capsys):
    assert cli.main(["table=world", "photos=photos", "profile=paper", "dry=true"]) == 1
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["missing"] == ["none", "distortion"]
    assert "methods.dimensionx=" in told["rows"]["dimensionx"]["why"][0]
    assert any("not in the local hub cache" in why for why in told["rows"]["none"]["why"])
    assert not (here / "runs").exists()


def test_groups_of_photos_are_sweeps_of_their_own(here, capsys):
    assert cli.main(["table=generalisation", "photos=photos", "dry=true"]) == 1
    printed = capsys.readouterr().out
    assert "images=photos/art out=runs/generalisation/art" in printed
    assert json.loads(printed.splitlines()[-1])["rows"]["plain"]["why"] == ["no photos of it"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table=nothing"], "table: nothing, wanted one of"),
        (["table=panorama", "photos=nowhere"], "photos: nowhere, wanted a folder of photos"),
        (["table=panorama", "out=x"], "out: not to be set here, wanted runs=<folder>"),
        (["table=conditioning", "photos=photos"], "photos: given, wanted none"),
        (["table=panorama", "photos=photos", "panoramma=x"], "panoramma: no such key"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(here, capsys, arguments, message):
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
