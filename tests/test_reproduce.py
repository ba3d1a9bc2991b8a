"""`python -m eval.reproduce`, and the experiments that it runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval.reproduce import cli
from eval.reproduce.sweep import Part
from worldgen.config import compose, groups

EXPERIMENTS = (
    "panorama_ablation",
    "prompts_ablation",
    "depth_ablation",
    "style_ablation",
    "world_table",
    "panorama_table",
    "generalisation",
)


ROOT = Path(__file__).parents[1]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a photo of one group."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "art").mkdir(parents=True)
    for folder in ("photos", "photos/art"):
        Image.new("RGB", (80, 80)).save(tmp_path / folder / "photo.jpg")
    return tmp_path


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in groups()["profile"] if name != "paper"]


@pytest.mark.parametrize("profile", ["paper", *OTHERS])
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


def test_the_launcher_and_its_settings_go_to_the_runs(here, capsys):
    asked = ["table=panorama_ablation", "photos=photos", "dry=true", "hydra.launcher.partition=gpu"]
    assert cli.main([*asked, "hydra/launcher=slurm"]) == 1
    printed = capsys.readouterr().out
    assert " hydra/launcher=slurm" in printed
    assert " hydra.launcher.partition=gpu " in printed
    assert cli.main([*asked, "launcher=slurm", "hydra.launcher.wait=false"]) == 2
    assert "hydra.launcher.wait=false: the table is made when its runs are done" in capsys.readouterr().err


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


FAKES = (
    "prompts._target_=tests.fakes.PlainPrompter",
    "inpainter._target_=tests.fakes.SmoothInpainter",
    "panorama.width=256",
    "panorama.view_size=64",
    "metrics=[brisque]",
    "processes=1",
)


def reproduced(here: Path) -> dict[str, Any]:
    """What a process of its own tells in its last line."""
    command = [sys.executable, "-m", "eval.reproduce", "table=panorama_ablation", "photos=photos", *FAKES]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1, done.stderr  # without the row that wants a GPU
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_runs_fill_the_table_and_what_is_lost_is_made_again(here):
    photo = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    Image.fromarray(photo).save(here / "photos" / "photo.jpg")
    made = reproduced(here)
    assert made["missing"] == ["native"]
    assert made["rows"]["native"]["why"] == ["the experiment's sweep leaves it out"]
    assert all(made["rows"][name]["there"] == 1 for name in ("adhoc", "sequential", "anchored"))
    assert {"adhoc", "anchored"} <= set(made["evaluation"]["means"])  # the other's smooth views may tell nothing
    found = (here / "runs" / "panorama_ablation").glob("*/panorama/panorama.png")
    panoramas = {path: path.stat().st_mtime_ns for path in found}
    assert len(panoramas) == 3

    lost = next(path for path in panoramas if "adhoc" in path.parents[1].name)
    shutil.rmtree(lost.parents[1])
    again = reproduced(here)
    assert again["evaluation"]["means"] == made["evaluation"]["means"]
    kept = {path for path, made_ns in panoramas.items() if path.stat().st_mtime_ns == made_ns}
    assert kept == set(panoramas) - {lost}


def test_rows_that_want_a_model_of_languages_say_so_in_one_line_and_the_others_run(here, capsys):
    assert cli.main(["table=style_ablation", "photos=photos", "dry=true"]) == 1
    printed = capsys.readouterr().out
    rows = json.loads(printed.splitlines()[-1])["rows"]
    for name in ("prompts", "both"):
        assert rows[name]["why"] == ["prompts.style: True, wanted false: no medium is recognised, prompts=vlm names it"]
    assert [rows[name]["why"] for name in ("plain", "match")] == [["can be made here"]] * 2
    assert "style=plain,match" in printed


def test_runs_that_fail_are_said_to_have_been_tried(here, capsys, monkeypatch):
    monkeypatch.setattr(cli, "_make", lambda command: None)
    monkeypatch.setattr(cli, "_scored", lambda asked, rows: None)
    assert cli.main(["table=panorama", "photos=photos"]) == 1
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert rows["ours"]["why"] == ["tried, and not finished: see above; the same command goes on"]
