"""Evaluations at Weights & Biases: a run of their own, and scores for the runs of the worlds that they looked at."""

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
import wandb
from PIL import Image

from eval import cli
from eval.scoring.scores import Score, read_evaluation, read_scores, write_scores
from eval.tables.build import Table, build
from eval.wandb_evaluation import log_evaluation, pictures_of
from tests.small_world import write_run
from tests.wandb_folders import begun, read_offline, stay_offline
from worldgen.errors import UserError
from worldgen.runs.wandb_identity import WandbIdentity, kept, new_id, taken_up


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    stay_offline(tmp_path, monkeypatch)


def write_evaluation(folder: Path, pictures: Path, kind: str = "panoramas", **more: float) -> Table:
    """Two methods on two images, and the table of them."""
    methods = {"mine": 0.0, "theirs": 1.0}
    rows = [
        Score(method, image, view, "niqe", value + worse)
        for method, worse in methods.items()
        for image, value in (("room", 4.0), ("hall", 5.0))
        for view in ("a", "b")
    ]
    rows += [Score("mine", "room", "photo", "psnr", math.inf)]
    entry = {"path": str(pictures), "kind": kind, "images": ["room", "hall"], "failed": {}}
    told = {"protocol": {"name": "panorama"}, "metrics": {}, "methods": dict.fromkeys(methods, entry)}
    write_scores(folder, rows, told)
    (folder / "table.md").write_text("| method | niqe |\n")
    columns = {name: {"label": name.upper(), "better": "lower"} for name in ("niqe", "psnr")}
    settings = {"name": "panorama_ablation", "title": "", "source": "", "protocol": "panorama", "scores": str(folder)}
    table = settings | {"columns": columns, "rows": {}, "baseline": None}
    return build(table, read_scores(folder), read_evaluation(folder), baseline="theirs")


def write_scores_of_runs(folder: Path, runs: Path) -> Table:
    """The same of one method, which run folders of ours are."""
    table = write_evaluation(folder, runs, kind="runs")
    rows = [row for row in read_scores(folder) if row.method == "mine" and row.metric == "niqe"]
    evaluation = read_evaluation(folder)
    write_scores(folder, rows, evaluation | {"methods": {"mine": evaluation["methods"]["mine"]}})
    return table


def world(folder: Path, **changes: object) -> WandbIdentity:
    """A run folder that W&B knows."""
    wanted = WandbIdentity(
        **{"id": new_id(), "job_type": "world", "name": "room", "group": "sweep", "project": "ours", **changes}
    )
    taken_up(folder, wanted).save(folder)
    return kept(folder, "world")


def test_an_evaluation_is_one_run_with_scores_intervals_differences_and_pictures(tmp_path):
    for name in ("room", "hall", "other"):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (128, 64)).save(tmp_path / "pictures" / f"{name}.png")
    folder, notes = tmp_path / "sweep" / "scores", []
    table = write_evaluation(folder, tmp_path / "pictures")
    ids = {log_evaluation(folder, table, notes.append) for _ in range(2)}
    (file,) = begun(folder)  # the second time there was nothing new
    run = read_offline(file)
    assert ids == {run.id} == {kept(folder, "eval").id}
    assert (run.group, run.job_type, run.state, run.project) == ("sweep", "eval", "finished", "worldgen")
    assert run.name == "panorama_ablation · scored by panorama"
    assert run.tags == ["panorama", "panorama_ablation"]
    assert run.config["protocol"] == {"name": "panorama"}
    assert "git_commit" in run.config["about"]
    assert [run.summary[f"{name}/mine/niqe"] for name in ("mean", "n")] == [4.5, 2]
    assert run.summary["low/mine/niqe"] < 4.5 < run.summary["high/mine/niqe"]
    assert run.summary["difference_mean/mine/niqe"] == -1.0
    assert "mean/mine/psnr" not in run.summary  # infinite
    assert run.summary["pictures/mine"]["count"] == 2
    files = file.parent / "files"
    tables = {name: json.loads((files / run.summary[name]["path"]).read_text()) for name in ("scores", "intervals")}
    assert tables["scores"]["columns"] == ["method", "image", "view", "metric", "value"]
    assert ["mine", "hall", "a", "niqe", 5.0] in tables["scores"]["data"]
    assert ["mine", "niqe", 4.5] in [row[:3] for row in tables["intervals"]["data"]]
    differences = json.loads((files / run.summary["differences"]["path"]).read_text())
    assert [row[:4] for row in differences["data"]] == [["mine", "theirs", "niqe", -1.0]]
    assert any("figures/niqe" in key for key in run.summary)
    assert "| method | niqe |" in (files / run.summary["tables/table"]["path"]).read_text()
    assert notes == [f"W&B: offline, in {folder}/wandb; later: wandb sync {folder}/wandb"]


def test_the_worlds_that_were_scored_get_their_scores(tmp_path):
    """One world of the two was logged; a second evaluation of the same scores adds nothing."""
    sweep, notes = tmp_path / "sweep", []
    known, other = (write_run(sweep / name, f"{name}.jpg") for name in ("room", "hall"))
    before = world(known, group="named", tags=("embedded",))
    table = write_scores_of_runs(tmp_path / "scores", sweep)
    for _ in range(2):
        log_evaluation(tmp_path / "scores", table, notes.append)
    (file,) = begun(known)
    run = read_offline(file)
    assert (run.id, run.project, run.group, run.tags) == (before.id, "ours", "named", ["embedded"])
    assert run.summary["score/niqe"] == 4.0
    scored = read_offline(begun(tmp_path / "scores")[0])
    assert run.summary["evaluated/panorama"] == scored.id
    assert (scored.project, scored.group) == ("ours", "named")  # where the worlds are
    assert kept(known, "world").place == before.place  # a copy that is evaluated is still a copy
    assert not begun(other)
    assert notes[-1].startswith("W&B: scores added to the runs of 1 worlds; 1 more were not logged by logger=wandb; ")
    assert notes[-1].endswith(f"later: wandb sync {sweep}/*/wandb")
    assert len(notes) == 2


def test_scores_come_from_the_files_that_worlds_keep_at_wandb(tmp_path):
    run_dir = write_run(tmp_path / "sweep" / "room")
    identity = world(run_dir)
    replace(identity, logged={f"artifact/panorama-{identity.id}": "state"}).save(run_dir)
    table = write_scores_of_runs(tmp_path / "scores", tmp_path / "sweep")
    log_evaluation(tmp_path / "scores", table)
    (scores,) = [one for one in read_offline(begun(tmp_path / "scores")[0]).artifacts if one["type"] == "scores"]
    assert scores["files"] == ["evaluation.json", "scores.csv"]
    assert scores["metadata"]["made_from"] == [f"panorama-{identity.id}"]


def test_an_evaluation_stands_without_wandb(tmp_path, monkeypatch, caplog):
    run_dir, notes = write_run(tmp_path / "sweep" / "room"), []
    world(run_dir)
    table = write_scores_of_runs(tmp_path / "scores", tmp_path / "sweep")
    tries = []
    monkeypatch.setattr(wandb, "init", lambda **settings: tries.append(settings) or 1 / 0)
    with caplog.at_level(logging.WARNING, "worldgen"):
        log_evaluation(tmp_path / "scores", table, notes.append, group="mine")
    assert "W&B: ZeroDivisionError" in caplog.text
    assert len(tries) == len(notes) == 1
    with pytest.raises(UserError, match=r"scores\.csv: no such file"):
        log_evaluation(tmp_path / "nowhere", table)


def test_the_command_line_logs_what_it_scored(tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    for name in ("room", "hall"):
        Image.effect_noise((512, 256), 60).convert("RGB").save(tmp_path / "pictures" / f"{name}.png")
    out = tmp_path / "out"
    arguments = [f"methods.mine={tmp_path / 'pictures'}", "protocol=images", "metrics=[niqe]", f"out={out}"]
    assert cli.main([*arguments, "wandb=true", "cache=false", "processes=1"]) == 0
    (file,) = begun(out)
    assert read_offline(file).summary["n/mine/niqe"] == 2
    assert f"wandb sync {out}/wandb" in capsys.readouterr().err.replace("\n", "")


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
