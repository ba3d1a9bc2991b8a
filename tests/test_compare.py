"""Runs side by side: from their folders, from W&B's offline files and its API, with whatever is missing in them."""

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb

from eval.compare.cli import main
from eval.compare.compared import STEP_NAMES, from_wandb
from eval.compare.runs_table import table
from eval.compare.wandb_api import WandbRun
from eval.scoring.scores import Score, write_scores

FACTS = {
    "lift": {"points": 1000},
    "complete": {"points_added": 20, "views": 2},
    "splat": {"gaussians": 900, "panorama_psnr_db": 25.25, "loss_last": 0.0625},
}


def write_run(folder: Path, until: str = "export", photo: str = "room.jpg", log: str | None = None, **config) -> Path:
    """A run folder as far as compare looks at it; `config` goes to the panorama step."""
    made = STEP_NAMES[: STEP_NAMES.index(until) + 1] if until else ()
    steps = {
        name: {
            "config": {"panorama": {"heuristic": "anchored", "width": 512} | config}
            if name == "panorama"
            else {"seed": 0},
            "facts": FACTS.get(name, {}),
            "seconds": 1.5 + index,
            "peak_memory_mb": 100.0 * (index + 1),
        }
        for index, name in enumerate(made)
    }
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"photo": {"name": photo, "sha256": "0" * 64}, "steps": steps}))
    if log is not None:
        (folder / "log.txt").write_text(
            "".join(f"2026-11-24 10:00:00,123 INFO worldgen: {line}\n" for line in log.split("\n"))
        )
    return folder


def compared(capsys, *arguments: object) -> tuple[list[dict], dict]:
    """The table's rows and the last line."""
    assert main([*map(str, arguments), "--format", "json"]) == 0
    table, _, last = capsys.readouterr().out.rstrip().rpartition("\n")
    return json.loads(table), json.loads(last)


def test_a_row_holds_what_is_known_of_a_run(tmp_path, capsys):
    rows, last = compared(capsys, write_run(tmp_path / "room"))
    assert rows == [
        {
            "run": "room",
            "photo": "room.jpg",
            "state": "finished",
            **{f"{step} (s)": 1.5 + index for index, step in enumerate(STEP_NAMES)},
            "all steps (s)": 49.5,
            "peak memory (MB)": 900.0,
            "points": 1020,
            "Gaussians": 900,
            "PSNR (dB)": 25.25,
            "loss": 0.0625,
        }
    ]
    assert last == {"runs": 1, "finished": 1, "differ": []}


def test_only_settings_that_differ_have_a_column(tmp_path, capsys):
    write_run(tmp_path / "a", heuristic="adhoc", stand_in=True)
    write_run(tmp_path / "b", stand_in=False)
    write_run(tmp_path / "c", until="fov", photo="other.jpg")  # never came to the panorama
    rows, last = compared(capsys, tmp_path)
    assert last["differ"] == ["panorama.heuristic", "panorama.stand_in"]
    assert [row["panorama.heuristic"] for row in rows] == ["adhoc", "anchored", None]
    assert [row["panorama.stand_in"] for row in rows] == ["true", "false", None]
    assert not any("width" in column for column in rows[0])
    assert [row["photo"] for row in rows] == ["room.jpg", "room.jpg", "other.jpg"]


def test_unfinished_runs_are_listed_and_say_how_far_they_came(tmp_path, capsys):
    write_run(tmp_path / "1-whole", log="9/9 export: begins\n  9/9 export     files to look at   1.0 s")
    write_run(tmp_path / "2-until", "panorama", log="3/3 panorama: begins\n  3/3 panorama   a panorama   7.0 s")
    write_run(
        tmp_path / "3-killed", "refine", log="4/9 refine: begins\n  4/9 refine  finer detail  kept\n5/9 depth: begins"
    )
    write_run(tmp_path / "4-silent", "depth")
    write_run(tmp_path / "5-nothing", "")
    (tmp_path / "6-broken").mkdir()
    (tmp_path / "6-broken" / "manifest.json").write_text('{"photo": {}, "steps": {"fov": 3}}')
    (tmp_path / "7-empty").mkdir()
    (tmp_path / "notes.txt").touch()
    rows, last = compared(capsys, *sorted(tmp_path.iterdir()))
    assert {row["run"]: row["state"] for row in rows} == {
        "1-whole": "finished",
        "2-until": "finished up to panorama",
        "3-killed": "stopped in depth",
        "4-silent": "without lift and later steps",
        "5-nothing": "without fov and later steps",
        "6-broken": "manifest.json cannot be read",
        "7-empty": "no run (manifest.json is missing)",
    }
    assert (last["runs"], last["finished"]) == (7, 2)
    assert rows[6]["fov (s)"] is None


def evaluate(folder: Path, methods: dict[str, Path], scores: dict[str, float], image: str = "room") -> None:
    entries = {
        name: {"path": str(path), "kind": "runs", "images": [image], "failed": {}} for name, path in methods.items()
    }
    rows = [Score(name, image, view, "niqe", value) for name, value in scores.items() for view in ("a", "b")]
    write_scores(folder, rows, {"protocol": {"name": "panorama"}, "metrics": {}, "methods": entries})


def test_scores_find_the_runs_that_they_are_of(tmp_path, capsys):
    """Methods that are the values of a setting share a path: one run each."""
    for heuristic in ("adhoc", "anchored", "walk"):
        write_run(tmp_path / "sweep" / f"room-{heuristic}", "panorama", heuristic=heuristic)
    sweep = tmp_path / "sweep"
    evaluate(sweep / "scores", {"adhoc": sweep, "anchored": sweep}, {"adhoc": 6.0, "anchored": 5.0})
    rows, _ = compared(capsys, sweep)
    assert [row["niqe"] for row in rows] == [6.0, 5.0, None]
    evaluate(tmp_path / "later", {"mine": sweep / "room-walk"}, {"mine": 7.0})
    rows, _ = compared(capsys, sweep, f"scores={tmp_path / 'later'}")
    assert [row["niqe (scores)"] for row in rows] == [6.0, 5.0, None]
    assert [row["niqe (later)"] for row in rows] == [None, None, 7.0]


def test_a_gallery_shows_each_world_with_its_scores(tmp_path, capsys):
    for name in ("a", "b"):
        write_run(tmp_path / "runs" / name)
    evaluate(tmp_path / "runs" / "scores", {"m": tmp_path / "runs" / "a"}, {"m": 4.125})
    page = tmp_path / "worlds.html"
    assert main([str(tmp_path / "runs"), "--gallery", str(page)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["out"] == [str(page)]
    assert main([str(tmp_path / "runs"), "--gallery", str(page), "--out", str(page)]) == 2
    assert "wanted another file than --out" in capsys.readouterr().err
    text = page.read_text(encoding="utf-8")
    assert text.count("<article") == 2
    assert text.count("<dt>niqe</dt><dd>4.125</dd>") == 1


def test_runs_of_one_photo_are_told_apart_by_their_folders(tmp_path, capsys):
    for name in ("one", "two"):
        write_run(tmp_path / name, "panorama")
    evaluate(tmp_path / "scores", {"mine": tmp_path}, {"mine": 3.0}, image="room (two)")
    rows, _ = compared(capsys, tmp_path / "one", tmp_path / "two")
    assert [row["niqe"] for row in rows] == [None, 3.0]


def test_a_run_that_lost_a_view_has_no_score_that_compares(tmp_path, capsys):
    """Its mean would be one over other views than the other run's."""
    for heuristic in ("adhoc", "anchored"):
        write_run(tmp_path / heuristic, "panorama", heuristic=heuristic)
    rows = [Score("anchored", "room", view, metric, 5.0) for view in "xyz" for metric in ("niqe", "psnr")]
    rows += [Score("adhoc", "room", view, "niqe", 1.0) for view in "xz"]
    rows += [Score("adhoc", "room", view, "psnr", 1.0) for view in "xyz"]
    methods = {
        name: {"path": str(tmp_path / name), "kind": "runs", "images": ["room"], "failed": {}}
        for name in ("adhoc", "anchored")
    }
    evaluation = {"protocol": {"name": "panorama"}, "metrics": {}, "methods": methods}
    write_scores(tmp_path / "scores", rows, evaluation)
    assert main([str(tmp_path / "adhoc"), str(tmp_path / "anchored"), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out.rstrip().rpartition("\n")[0])
    assert [(row["niqe"], row["psnr"]) for row in found] == [(None, 1.0), (5.0, 5.0)]
    assert err == f"not scored: adhoc: no niqe, for it lost 1 view (y) in {tmp_path / 'scores'}\n"


def test_broken_scores_beside_the_runs_are_said_and_left_out(tmp_path, capsys):
    write_run(tmp_path / "room")
    (tmp_path / "scores.csv").write_text("something else\n")
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().err.startswith("left out: ")
    assert main([str(tmp_path), f"scores={tmp_path}"]) == 2


def test_runs_of_one_name_get_their_paths(tmp_path, capsys):
    write_run(tmp_path / "a" / "room")
    write_run(tmp_path / "b" / "room")
    rows, _ = compared(capsys, tmp_path / "a", tmp_path / "b", tmp_path / "a" / "room")
    assert [row["run"] for row in rows] == [str(tmp_path / "a/room"), str(tmp_path / "b/room")]


def test_every_format_holds_the_same_table(tmp_path, capsys):
    write_run(tmp_path / "a|b", heuristic="adhoc")
    write_run(tmp_path / "c", until="depth")
    rows, _ = compared(capsys, tmp_path)
    for name in ("table.csv", "table.json", "sub/table.md"):
        assert main([str(tmp_path), "--out", str(tmp_path / name)]) == 0
        assert json.loads(capsys.readouterr().out)["out"] == [str(tmp_path / name)]
    assert json.loads((tmp_path / "table.json").read_text()) == rows
    by_csv = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert [{key: "" if cell is None else str(cell) for key, cell in row.items()} for row in rows] == by_csv
    told, _, lines = (tmp_path / "sub/table.md").read_text().partition("\n\n")
    assert told == "- not finished: c: without lift and later steps"
    lines = lines.splitlines()
    assert len(lines) == 4
    assert "a\\|b" in lines[2]
    assert lines[3].startswith("| c | room.jpg | without lift and later steps | anchored | 1.5 |")
    assert lines[3].endswith("| - | - | - | - |")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["."], "no run in it"),
        (["group=mine"], "group: mine, wanted only with wandb="),
        (["wandb="], "wandb: nothing, wanted a name"),
        (["wandb=."], "wandb: no run folder that was logged in ."),
        (["scores=nowhere", "room"], "scores.csv: no such file"),
    ],
)
def test_bad_input_ends_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    if "room" in arguments:
        write_run(tmp_path / "room")
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_runs_that_wandb_was_told_of_offline_are_read_from_their_folders(tmp_path, capsys):
    for name in ("sweep/one", "sweep/two", "elsewhere/three", "sweep/never_logged"):
        write_run(tmp_path / name, seed=name)
        if name != "sweep/never_logged":
            (tmp_path / name / "wandb").mkdir()
    (tmp_path / "sweep" / "evaluation" / "wandb").mkdir(parents=True)
    rows, last = compared(capsys, f"wandb={tmp_path}", "group=sweep")
    assert last == {"runs": 2, "finished": 2, "differ": ["panorama.seed"]}
    assert [row["run"] for row in rows] == ["one", "two"]
    assert [row["run"] for row in compared(capsys, f"wandb={tmp_path}")[0]] == ["three", "one", "two"]
    assert main([f"wandb={tmp_path}", "group=nobody"]) == 2
    assert "wandb: none of the group nobody" in capsys.readouterr().err


def test_the_api_is_asked_for_a_group(capsys, monkeypatch):
    asked = []

    class Api:
        def __init__(self, timeout: int) -> None:
            pass

        def runs(self, path: str, filters: dict, per_page: int, lazy: bool = True) -> list:
            asked.append((path, filters, lazy))
            config = {"about": {"run": "room", "photo": "room.jpg"}, "seed": 0}
            summary = {"fov/seconds": 2.0, "fov/peak_memory_mb": 50.0, "fov/deg": 80.0, "score/niqe": 4.5}
            summary |= {"pictures/panorama": {"_type": "image-file"}}
            found = {"id": "x", "group": "sweep", "state": "finished", "config": config, "summary": summary}
            return [SimpleNamespace(job_type=kind, **found) for kind in ("world", "eval")]

    monkeypatch.setattr(wandb, "Api", Api)
    rows, _ = compared(capsys, "wandb=me/worldgen", "group=sweep")
    kinds = {"$in": ["world", "fit", "controlnet"]}
    assert asked == [("me/worldgen", {"jobType": kinds, "group": "sweep"}, False)]
    assert [(row["run"], row["fov (s)"], row["niqe"]) for row in rows] == [("room", 2.0, 4.5)]


def test_an_api_that_does_not_answer_is_one_line(capsys, monkeypatch):
    def api(timeout: int) -> None:
        raise wandb.errors.UsageError("No API key configured.\nlong story")

    monkeypatch.setattr(wandb, "Api", api)
    assert main(["wandb=me/worldgen"]) == 2
    assert (
        capsys.readouterr().err
        == "error: wandb: me/worldgen cannot be read (No API key configured), wanted entity/project or a folder\n"
    )


def test_two_sweeps_may_hold_runs_of_one_name():
    runs = [at_wandb(group=group) for group in ("b", "a")]
    assert [run.name for run in from_wandb(runs)] == ["a/room", "b/room"]
    assert from_wandb([WandbRun("x", "a", "world", "finished", {"other": 1}, {})]) == []


def at_wandb(group: str = "sweep", state: str = "finished", steps=("fov", "prompts"), **config: object) -> WandbRun:
    summary = {f"{step}/{name}": value for step in steps for name, value in (("seconds", 1.5), ("peak_memory_mb", 9.0))}
    facts = {f"{step}/{name}": value for step, each in FACTS.items() for name, value in each.items() if step in steps}
    scores = {"score/niqe": 4.5, "score/world/niqe": 5.5, "evaluated/panorama": "abc"}
    about = {"run": "room", "photo": "room.jpg", "versions": {"torch": "2"}}
    settings = {"panorama": {"heuristic": "anchored", "stand_in": True}, "seed": 0, "runtime": {"device": "cpu"}}
    return WandbRun("x", group, "world", state, settings | config | {"about": about}, summary | facts | scores)


def test_a_world_at_wandb_is_the_row_that_its_folder_is():
    (row,) = from_wandb([at_wandb(steps=STEP_NAMES)])
    assert row.settings["panorama.heuristic"] == "anchored"
    assert row.settings["panorama.stand_in"] == "true"
    assert not any(key.startswith(("about", "runtime")) for key in row.settings)
    assert row.seconds == dict.fromkeys(STEP_NAMES, 1.5)
    assert row.peak_memory_mb == 9.0
    assert row.figures == {"points": 1020, "gaussians": 900, "psnr_db": 25.25, "loss": 0.0625}
    assert row.scores == {"niqe": 4.5, "niqe (world)": 5.5}
    assert (row.photo, row.state) == ("room.jpg", "finished")


def test_a_world_at_wandb_says_how_far_it_came():
    states = [
        at_wandb("1", until="prompts"),
        at_wandb("2", state="running"),
        at_wandb("3", state="crashed", until="depth"),
        at_wandb("4"),
    ]
    assert [run.state for run in from_wandb(states)] == [
        "finished up to prompts",
        "without panorama and later steps (running, says W&B)",
        "without panorama and later steps (crashed, says W&B)",
        "without panorama and later steps",
    ]


def test_the_table_of_nothing_is_empty():
    assert table([]) == []
