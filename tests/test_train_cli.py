"""The command of the fit alone, with real small fits: what it leaves, what it keeps, what it says."""

import json
import logging
import re
from pathlib import Path

import pytest
import torch
import wandb

from eval.synthetic import scenes
from tests.small_training import SETTINGS, fit
from tests.wandb_folders import begun, read_offline
from train.lightning.checkpoints import AtomicCheckpointIO, checkpoints, newest_sound
from train.lightning.loggers import logging_to
from train.splat import cli
from worldgen.errors import UserError
from worldgen.io.gaussians import load_gaussians
from worldgen.runs.wandb_identity import Destination, WandbIdentity, new_id
from worldgen.runs.wandb_session import wandb_session

SMALL = [
    *("scene=room", "scene.size=64", "scene.samples=1", "scene.generated=4", "scene.held_out=2", "scene.cloud_rows=48"),
    *("splat.steps=12", "splat.max_gaussians=2000", "splat.evaluate_every=6", "splat.logger=csv"),
]


def run(*arguments: str) -> int:
    return cli.main([*SMALL, *arguments])


def last_line(capsys: pytest.CaptureFixture) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_fit_is_left_as_a_run_folder_and_kept(tmp_path, capsys):
    assert run(f"out={tmp_path / 'a fit, really'}", "quiet=true") == 0
    told = last_line(capsys)
    out = tmp_path / "a fit, really"
    assert told["scene"] == "room-2px"
    assert told["held_out_views"] == 2
    assert {"psnr", "ssim", "lpips"} <= told.keys()
    assert len(load_gaussians(out / "splat" / "gaussians.safetensors")) == told["gaussians"]
    assert {path.name for path in out.iterdir()} >= {"manifest.json", "world.html", "world.ply", "world.spz"}
    pairs = [sorted(path.name for path in (out / "splat" / "held_out" / side).iterdir()) for side in ("pred", "true")]
    assert pairs == [["000.png", "001.png"]] * 2
    curve = (out / "splat" / "metrics.csv").read_text().splitlines()
    assert curve[0] == "gaussians,held_out/lpips,held_out/psnr,held_out/ssim,loss,psnr_db,step"
    assert [row.rsplit(",", 1)[1] for row in curve[1:]] == ["6", "10", "12"]

    before = (out / "splat" / "gaussians.safetensors").stat().st_mtime_ns
    assert run(f"out={out}") == 0
    assert (out / "splat" / "gaussians.safetensors").stat().st_mtime_ns == before
    assert run(f"out={out}", "runtime.device=cpu") == 0  # where it ran is no part of what it is
    assert (out / "splat" / "gaussians.safetensors").stat().st_mtime_ns == before
    assert run(f"out={out}", "scene.warp_px=0", "quiet=true") == 2
    assert "holds a world of another photo or scene (room-2px" in capsys.readouterr().err


@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sweep_has_a_folder_for_each_fit_and_makes_a_scene_once(tmp_path, monkeypatch, capsys, seeds):
    made = []
    monkeypatch.setattr(scenes.RoomScene, "__call__", _counted(scenes.RoomScene.__call__, made))
    cli._made.cache_clear()
    seed = f"seed={','.join(map(str, range(seeds)))}"
    arguments = ["-m", *SMALL[:-1], f"out={tmp_path}", seed, "correction=none,distortion", "quiet=true"]
    assert cli.main(arguments) == 0
    assert len(made) == seeds
    found = {json.loads(path.read_text())["photo"]["name"] for path in tmp_path.glob("*/manifest.json")}
    assert found == {"room-2px"}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["correction"] for line in lines] == ["none", "distortion"] * seeds
    assert all(Path(line["run"]).parent == tmp_path for line in lines)


def _counted(function, calls):
    def counted(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return counted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed=1"], "error: views: missing, wanted views=<folder>"),
        (["views=/nowhere at all"], "error: /nowhere at all: no such folder"),
        (["scene=room", "seed=-1"], "error: seed: -1, wanted a whole number from 0"),
        (["scene=room", "scene.warp_px=-1"], "error: scene.warp_px: -1, wanted"),
        (["splat.density.every=0", "scene=room"], "error: splat.density.every: 0, wanted 1 or more steps"),
        (["scene=room", "runtime.device=abacus"], "error: runtime.device: abacus, wanted one of auto, cpu, cuda"),
        (
            ["scene=room", "runtime.batch=2"],
            "error: runtime.batch: 2, wanted 1: python -m train.splat heeds runtime.dev",
        ),
        (["corection=both"], "error: corection: no such key, did you mean"),
        (
            ["correction=warp"],
            "error: correction=warp: no such choice, wanted one of bilateral, both, distortion, none",
        ),
        (["experiment=panorama_ablation"], "error: experiment=panorama_ablation: no such choice, wanted one of distor"),
        (["-m", "scene=room", "seed=-1,-2"], "error: seed: -1, wanted a whole number from 0"),
    ],
)
def test_mistakes_are_one_line_and_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_help_names_every_group(capsys):
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"experiment +distortion_ablation\n", shown)
    assert re.search(r"correction +bilateral, both, distortion, none\*\n", shown)
    assert cli.main([]) == 2


def test_wandb_is_told_of_losses_and_held_out_views(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    fit(tmp_path / "sweep" / "room", logger="wandb")
    (told,) = map(read_offline, begun(tmp_path))
    assert (told.job_type, told.name, told.group, told.project) == ("fit", "room · fit", "sweep", "ours")
    assert (told.config["splat"]["steps"], told.config["seed"]) == (SETTINGS["steps"], 0)
    assert "versions" in told.config["about"]
    names = ("loss", "held_out/psnr", "gaussians", "seconds", "held_out")
    assert {f"fit/{name}" for name in names} <= told.summary.keys()
    assert told.curve("fit/step") == sorted(told.curve("fit/step"))
    assert told.summary["fit/gaussians"] > SETTINGS["max_gaussians"] / 2
    assert list(tmp_path.rglob("media/images/fit/held_out*.png"))


def test_a_fit_is_a_section_of_the_worlds_run_where_that_is_open(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "room"
    (folder / "splat").mkdir(parents=True)
    identity = WandbIdentity(new_id(), "world", "room", "sweep", project="worldgen")
    with (
        wandb_session(folder, identity, Destination(), {"seed": 3}, lambda line: None),
        logging_to("wandb", folder / "splat", "identity", {"steps": 1}, "fit") as curves,
    ):
        curves.log_metrics({"loss": 0.5}, step=10)
    (told,) = map(read_offline, begun(tmp_path))
    assert (told.job_type, told.curve("fit/loss"), told.curve("fit/step")) == ("world", [0.5], [10])
    assert told.config == {"_wandb": {}, "seed": 3}


def test_what_came_of_a_training_is_kept_on_request(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    out_dir = tmp_path / "run" / ".controlnet.new"
    out_dir.mkdir(parents=True)
    (out_dir / "weights.safetensors").write_bytes(b"weights")
    with logging_to("wandb", out_dir, "identity", {}, "controlnet") as curves:
        curves.keep([out_dir / "weights.safetensors"], {"data": "room"})
    out_dir.rename(tmp_path / "run" / "controlnet")
    (told,) = map(read_offline, begun(tmp_path / "run"))
    (kept,) = told.artifacts
    assert (kept["type"], kept["files"]) == ("controlnet", ["weights.safetensors"])
    assert kept["metadata"] == {"made_from": {"data": "room"}}
    assert [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()] == [b"weights"]


def test_a_training_that_wandb_cannot_be_had_for_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(wandb, "init", lambda **settings: 1 / 0)
    (tmp_path / "splat").mkdir()
    with (
        caplog.at_level(logging.WARNING, "worldgen"),
        logging_to("wandb", tmp_path / "splat", "identity", {}, "fit") as curves,
    ):
        for step in (10, 20):
            curves.log_metrics({"loss": 0.5}, step=step)
    assert caplog.text.count("W&B cannot be had") == 1


def test_another_training_in_the_same_folder_is_another_wandb_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "splat").mkdir()
    for identity in ("a", "a", "b"):
        with logging_to("wandb", tmp_path / "splat", identity, {}, "fit") as curves:
            curves.log_metrics({"loss": 0.5}, step=10)
    ids = [read_offline(path).id for path in begun(tmp_path)]
    assert ids[0] == ids[1] != ids[2]


def test_a_checkpoint_of_another_model_is_named(tmp_path):
    path = tmp_path / "step-00000010.ckpt"
    own = {"history": [], "optimizer_states": []}
    for found, told in (
        ({"state_dict": {"a": torch.ones(2)}, **own}, "it lacks state_dict.means"),
        ({"state_dict": {"means": torch.ones(2), "a": torch.ones(2)}, **own}, "it has state_dict.a"),
        ({"state_dict": {"means": torch.ones(2)}}, "it lacks history"),
    ):
        AtomicCheckpointIO().save_checkpoint(found, path)
        with pytest.raises(UserError, match=rf"step-00000010\.ckpt: a checkpoint of another model \({told}\)"):
            AtomicCheckpointIO(["means"]).load_checkpoint(path)
    path.write_bytes(b"no checkpoint at all")
    with pytest.raises(UserError, match="not a checkpoint"):
        AtomicCheckpointIO([]).load_checkpoint(path)


def test_a_damaged_checkpoint_is_told_and_stays(tmp_path, caplog):
    AtomicCheckpointIO().save_checkpoint({"state_dict": {}}, tmp_path / "step-00000010.ckpt")
    (tmp_path / "step-00000020.ckpt").write_bytes((tmp_path / "step-00000010.ckpt").read_bytes()[:-9])
    with caplog.at_level(logging.WARNING, "worldgen"):
        assert newest_sound(tmp_path).name == "step-00000010.ckpt"
    assert "step-00000020.ckpt: damaged" in caplog.text
    assert len(checkpoints(tmp_path)) == 2
