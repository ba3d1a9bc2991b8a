"""Weights & Biases: real offline runs, read back from the disk; what it cannot have never stops a recipe."""

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
from PIL import Image

from eval.scoring.scores import Score, write_scores
from eval.tables.statistics import Interval
from eval.wandb_evaluation import log_evaluation, pictures_of
from tests.scenes import BoxRoom, room_cloud
from tests.small_world import write_run
from tests.test_pipeline import FAKES
from tests.wandb_folders import begun, read_offline
from worldgen import pipeline
from worldgen.cli import NAMES_NO_RUN
from worldgen.command import run_suffix
from worldgen.config import compose
from worldgen.errors import UserError
from worldgen.io.clouds import save_cloud
from worldgen.present.console import Reporter
from worldgen.runs import wandb_runs
from worldgen.runs.artifacts import save_image
from worldgen.runs.folder import RunFolder
from worldgen.runs.wandb_runs import NoTracking, WandbTracking, points_of, run_id


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb_home"))


@pytest.fixture
def notes() -> list[str]:
    return []


def make(run_dir: Path, log_step, seed: int = 0) -> None:
    """A recipe of two steps that cost nothing."""

    def panorama(out: Path) -> dict:
        save_image(out / "panorama.png", BoxRoom().panorama(16)[0].rgb)
        return {"size": "32x16", "from_the_photo_percent": 5.5, "skipped": False}

    def lift(out: Path) -> dict:
        save_cloud(out / "cloud.safetensors", room_cloud(16))
        return {"points": 512}

    with RunFolder.open(run_dir, "0" * 64, "room.jpg") as folder:
        log_step(folder.step("panorama", {"panorama": {"width": 32}, "seed": seed}, [], panorama))
        log_step(folder.step("lift", {"lift": {"stride": 1}, "seed": 0}, ["panorama"], lift))


def watch(run_dir: Path, notes: list[str], group: str | None = None, **settings: object):
    return WandbTracking(**settings).of_run(run_dir, "room.jpg", group, notes.append)


def test_each_step_becomes_a_run_with_all_that_is_known_of_it(tmp_path, notes):
    run_dir = tmp_path / "sweep" / "room-seed=1"
    make(run_dir, watch(run_dir, notes, max_points=100))
    panorama, lift = map(read_offline, begun(run_dir))
    assert (panorama.job_type, lift.job_type) == ("panorama", "lift")
    assert {panorama.group, lift.group} == {"sweep"}
    assert panorama.id == run_id(run_dir, "panorama")
    assert panorama.state == "finished"
    assert panorama.config["run"] == "room-seed=1"
    assert panorama.config["photo"] == "room.jpg"
    assert panorama.config["panorama"] == {"width": 32}
    assert "torch" in panorama.config["versions"]
    assert panorama.summary["from_the_photo_percent"] == 5.5
    assert panorama.summary["size"] == "32x16"
    assert panorama.summary["seconds"] > 0
    assert panorama.summary["peak_memory_mb"] > 0
    assert lift.summary["points"] == 512
    folder = begun(run_dir)[0].parent / "files"
    logged = folder / panorama.summary["panorama"]["path"]
    assert np.array_equal(np.asarray(Image.open(logged)), np.asarray(Image.open(run_dir / "panorama/panorama.png")))
    cloud = json.loads((begun(run_dir)[1].parent / "files" / lift.summary["cloud"]["path"]).read_text())
    assert np.array(cloud).shape == (100, 6)
    assert len(notes) == 1
    assert "wandb sync" in notes[0]


def test_a_folder_whose_name_is_no_utf8_is_told_once(tmp_path, notes, capfd):
    run_dir = tmp_path / "caf\udce9"
    make(run_dir, watch(run_dir, notes))
    (note,) = notes
    assert note.startswith(f"W&B cannot be had ({run_dir}: not UTF-8, wanted a name that is)")
    assert capfd.readouterr().err == ""
    assert not begun(run_dir)


def test_what_was_logged_is_logged_no_more_until_it_changes(tmp_path, notes):
    make(tmp_path / "run", watch(tmp_path / "run", notes))
    make(tmp_path / "run", watch(tmp_path / "run", notes))
    assert len(begun(tmp_path / "run")) == 2
    make(tmp_path / "run", watch(tmp_path / "run", notes), seed=1)  # the same panorama: what is lifted of it stays
    third = read_offline(begun(tmp_path / "run")[-1])
    assert len(begun(tmp_path / "run")) == 3
    assert third.id == run_id(tmp_path / "run", "panorama")
    assert third.config["seed"] == 1


def test_a_picture_that_was_edited_is_logged_again(tmp_path, notes):
    make(tmp_path / "run", watch(tmp_path / "run", notes))
    Image.new("RGB", (32, 16), "red").save(tmp_path / "run/panorama/panorama.png")
    make(tmp_path / "run", watch(tmp_path / "run", notes))
    again = [read_offline(path) for path in begun(tmp_path / "run")[2:]]
    assert [run.job_type for run in again] == ["panorama", "lift"]
    assert again[0].summary["edited_by_hand"] == ["panorama.png"]


def test_a_step_whose_log_was_lost_goes_on_with_the_same_run(tmp_path, notes):
    make(tmp_path / "run", NoTracking().of_run(tmp_path / "run", "room.jpg", None, notes.append))
    assert not begun(tmp_path / "run")
    make(tmp_path / "run", watch(tmp_path / "run", notes))
    (tmp_path / "run/wandb/logged.json").write_text("killed while it was wri")
    make(tmp_path / "run", watch(tmp_path / "run", notes))
    ids = [read_offline(path).id for path in begun(tmp_path / "run")]
    assert len(ids) == 4
    assert ids[:2] == ids[2:]


def test_ids_are_of_the_folder_and_the_step(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / "a b (1), ünï=code/#?%:"
    ids = [run_id(path, step) for path in (tmp_path / "a", tmp_path / "b", odd) for step in ("fov", "lift")]
    assert len(set(ids)) == 6
    assert run_id(Path("a"), "fov") == ids[0]
    assert all(len(found) <= 64 and found.replace("-", "").replace("_", "").isalnum() for found in ids)
    assert all(found.isascii() for found in ids)


def test_who_is_told_of_a_run_does_not_name_its_folder():
    overrides = ["image=a.jpg", "logger=wandb", "logger.project=mine", "group=mine", "seed=1"]
    assert run_suffix(overrides, NAMES_NO_RUN) == "seed=1"


def test_a_group_can_be_named(tmp_path, notes):
    make(tmp_path / "run", watch(tmp_path / "run", notes, group="mine"))
    assert [read_offline(path).group for path in begun(tmp_path)] == ["mine", "mine"]


def test_a_run_that_is_under_way_is_left_alone(tmp_path, notes):
    with wandb.init(
        project="worldgen", id="training", dir=str(tmp_path), settings=wandb.Settings(silent=True)
    ) as other:
        make(tmp_path / "run", watch(tmp_path / "run", notes))
        assert wandb.run is other
        other.log({"loss": 0.5})
    (training,) = map(read_offline, begun(tmp_path / "wandb"))
    assert training.summary["loss"] == 0.5
    assert "seconds" not in training.summary


def test_an_unreachable_wandb_is_said_once_and_made_up_for_later(tmp_path, notes, monkeypatch, caplog):
    tries = []

    def init(**settings):
        tries.append(settings)
        raise wandb.errors.CommError("no answer.\nlong story")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "worldgen"):
        patched.setattr(wandb, "init", init)
        make(tmp_path / "run", watch(tmp_path / "run", notes))
    assert len(tries) == 1
    assert (tmp_path / "run/lift/cloud.safetensors").exists()
    assert "step panorama was not logged: CommError: no answer" in caplog.text
    assert notes == ["W&B cannot be had (no answer); the run goes on, the same command logs it later"]
    make(tmp_path / "run", watch(tmp_path / "run", notes))
    assert [read_offline(path).job_type for path in begun(tmp_path / "run")] == ["panorama", "lift"]


def test_a_picture_that_wandb_cannot_take_ends_its_run_and_not_ours(tmp_path, notes, monkeypatch):
    monkeypatch.setattr(wandb_runs, "PICTURES", {"panorama": ".step.json"})
    make(tmp_path / "run", watch(tmp_path / "run", notes))
    assert len(notes) == 1
    assert read_offline(begun(tmp_path / "run")[0]).state == "failed"
    assert wandb.run is None


def test_nothing_is_kept_where_wandb_is_disabled(tmp_path, notes, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    make(tmp_path / "run", watch(tmp_path / "run", notes))
    assert notes == []
    assert not (tmp_path / "run/wandb/logged.json").exists()


def test_without_the_package_a_run_does_not_begin(tmp_path, monkeypatch):
    Image.new("RGB", (96, 96)).save(tmp_path / "photo.png")
    monkeypatch.setattr(wandb_runs, "find_spec", lambda name: None)
    config = compose(tmp_path / "photo.png", ["logger=wandb"], out=tmp_path / "run")
    with pytest.raises(UserError, match=r"logger=wandb: .* wanted pip install 'worldgen\[wandb\]'"):
        pipeline.run(config, Reporter(quiet=True))
    assert not (tmp_path / "run").exists()


def test_the_recipe_logs_its_steps(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)).save(tmp_path / "photo.png")
    overrides = [*FAKES, "logger=wandb", "until=prompts"]
    for _ in range(2):
        pipeline.run(compose(tmp_path / "photo.png", overrides, out=tmp_path / "sweep/run"), Reporter(quiet=True))
    assert len(begun(tmp_path / "sweep/run")) == 2
    runs = {run.job_type: run for run in map(read_offline, begun(tmp_path / "sweep"))}
    assert set(runs) == {"fov", "prompts"}
    assert runs["fov"].summary["deg"] == 70.0
    assert runs["prompts"].config["prompts"]["_target_"].endswith("TemplatePrompter")


def test_points_stand_upright_in_their_colours_and_stay_the_same(tmp_path):
    cloud = room_cloud(32)
    save_cloud(tmp_path / "cloud.safetensors", cloud)
    points = points_of(tmp_path / "cloud.safetensors", 10_000)
    assert np.allclose(points[:, :3] * [1, -1, -1], cloud.xyz.numpy(), atol=6e-4)
    assert np.allclose(points[:, 3:] / 255, cloud.rgb.numpy(), atol=0.5 / 255 + 1e-6)
    some = points_of(tmp_path / "cloud.safetensors", 50)
    assert some.shape == (50, 6)
    assert np.array_equal(some, points_of(tmp_path / "cloud.safetensors", 50))
    assert {tuple(point) for point in some} <= {tuple(point) for point in points}
    save_cloud(tmp_path / "none.safetensors", cloud[torch.zeros(len(cloud), dtype=torch.bool)])
    assert points_of(tmp_path / "none.safetensors", 50) is None


def write_evaluation(folder: Path, pictures: Path) -> None:
    rows = [Score("mine", "room", "panorama", "niqe", 4.0), Score("mine", "hall", "panorama", "niqe", 5.0)]
    rows += [Score("mine", "room", "photo", "psnr", math.inf)]
    method = {"path": str(pictures), "kind": "panoramas", "images": ["room", "hall"], "failed": {}}
    write_scores(folder, rows, {"protocol": {"name": "panorama"}, "metrics": {}, "methods": {"mine": method}})
    (folder / "table.md").write_text("| method | niqe |\n")


def test_an_evaluation_is_one_run_with_scores_means_tables_and_pictures(tmp_path):
    for name in ("room", "hall", "other"):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (128, 64)).save(tmp_path / "pictures" / f"{name}.png")
    folder = tmp_path / "sweep" / "scores"
    write_evaluation(folder, tmp_path / "pictures")
    figures = {"mine": {"niqe": Interval(4.5, -1.9, 10.9, 2), "psnr": Interval(math.inf, math.nan, math.nan, 1)}}
    ids = {log_evaluation(folder, figures), log_evaluation(folder, figures)}
    assert ids == {run_id(folder, "eval")}
    assert len(begun(folder)) == 2
    run = read_offline(begun(folder)[-1])
    assert (run.id, run.group, run.job_type, run.state) == (*ids, "sweep", "eval", "finished")
    assert run.config["protocol"] == {"name": "panorama"}
    found = [run.summary[f"{name}/mine/niqe"] for name in ("mean", "low", "high", "n")]
    assert found == [4.5, -1.9, 10.9, 2]
    assert run.summary["n/mine/psnr"] == 1
    assert "mean/mine/psnr" not in run.summary  # infinite
    assert run.summary["pictures/mine"]["count"] == 2
    files = begun(folder)[-1].parent / "files"
    table = json.loads((files / run.summary["scores"]["path"]).read_text())
    assert table["columns"] == ["method", "image", "view", "metric", "value"]
    assert ["mine", "hall", "panorama", "niqe", 5.0] in table["data"]
    assert "| method | niqe |" in (files / run.summary["tables/table"]["path"]).read_text()


def test_an_evaluation_stands_without_wandb(tmp_path, monkeypatch, caplog):
    write_evaluation(tmp_path / "scores", tmp_path)
    monkeypatch.setattr(wandb, "init", lambda **settings: 1 / 0)
    with caplog.at_level(logging.WARNING, "worldgen"):
        assert log_evaluation(tmp_path / "scores", {}, group="mine") is None
    assert "was not logged: ZeroDivisionError" in caplog.text
    with pytest.raises(UserError, match=r"scores\.csv: no such file"):
        log_evaluation(tmp_path / "nowhere", {})


def test_runs_of_a_sweep_give_their_own_panoramas(tmp_path):
    for heuristic in ("adhoc", "anchored"):
        run_dir = write_run(tmp_path / f"room-panorama={heuristic}")
        manifest = json.loads((run_dir / "manifest.json").read_text())
        manifest["steps"]["panorama"]["config"] = {"panorama": {"heuristic": heuristic}}
        (run_dir / "manifest.json").write_text(json.dumps(manifest))
    method = {"path": str(tmp_path), "kind": "runs", "images": ["room"]}
    found = pictures_of({"methods": {"adhoc": method, "anchored": method, "sequential": method}})
    assert {name: pictures["room"].parts[-3] for name, pictures in found.items()} == {
        "adhoc": "room-panorama=adhoc",
        "anchored": "room-panorama=anchored",
    }
