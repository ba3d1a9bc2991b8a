"""`python -m eval`: what it scores, what it writes and prints, and how it ends on mistakes."""

import json
import math
from pathlib import Path

import pytest
import torch

from eval import cli
from eval.scoring.scores import read_evaluation, read_scores
from tests.small_world import write_run
from worldgen.runs.artifacts import save_image


def panorama(seed: int, height: int = 64) -> torch.Tensor:
    coarse = torch.rand(1, 3, 8, 16, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, 2 * height), mode="bilinear")[0]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with two methods' panoramas of two photos, and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("eval.scoring.cache.cache_dir", lambda: tmp_path / "cache")
    for method, seeds in (("a", (1, 2)), ("b", (3, 4))):
        for name, seed in zip(("hut", "sea"), seeds, strict=True):
            (tmp_path / method).mkdir(exist_ok=True)
            save_image(tmp_path / method / f"{name}.png", panorama(seed))
    return tmp_path


CHEAP = ["metrics=[wrap_seam]", "protocol=panorama_flat", "protocol.width=128", "processes=1", "quiet=true"]


def last_line(capsys) -> dict:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_methods_are_scored_and_everything_is_written(here, capsys):
    assert cli.main([*CHEAP, "methods.a=a", "methods.b=b", "out=scores"]) == 0
    rows = read_scores(here / "scores")
    assert [(row.method, row.image, row.metric) for row in rows] == [
        (method, image, "wrap_seam") for method in "ab" for image in ("hut", "sea")
    ]
    told = last_line(capsys)
    assert told["means"]["a"]["wrap_seam"] == pytest.approx((rows[0].value + rows[1].value) / 2)
    assert told["intervals"]["a"]["wrap_seam"]["n"] == 2
    assert told["out"] == "scores"
    assert read_evaluation(here / "scores")["protocol"]["width"] == 128
    assert sorted(path.name for path in (here / "scores").iterdir()) == [
        ".lock",
        "evaluation.json",
        "scores.csv",
        "table.csv",
        "table.json",
        "table.md",
        "table.tex",
    ]


def test_the_same_again_writes_the_same_bytes(here):
    command = [*CHEAP, "methods.a=a", "methods.b=b", "out=scores"]
    assert cli.main(command) == 0
    first = {path.name: path.read_bytes() for path in (here / "scores").iterdir()}
    assert cli.main(command) == 0
    assert {path.name: path.read_bytes() for path in (here / "scores").iterdir()} == first


def test_a_broken_picture_is_named_and_the_rest_is_scored(here, capsys):
    (here / "a" / "broken.png").write_bytes(b"no picture")
    assert cli.main([*CHEAP, "methods.a=a", "out=scores"]) == 0
    out = capsys.readouterr().out
    assert "broken.png" in out
    assert "Incomplete, not ranked: a lost 1 view of 1 image." in out
    rows = read_scores(here / "scores")
    assert [row.image for row in rows] == ["broken", "hut", "sea"]
    assert [math.isnan(row.value) for row in rows] == [True, False, False]


def test_a_table_without_runs_says_so(here, capsys):
    assert cli.main(["table=panorama"]) == 0
    out = capsys.readouterr().out
    assert "No runs yet" in out
    assert "36.33" in out
    assert not (here / "evaluations").exists()


def test_a_tables_own_protocol_can_be_set(here, capsys):
    assert cli.main(["table=world", "protocol.paths=1", "quiet=true"]) == 0
    assert "41.09" in capsys.readouterr().out
    assert cli.main(["table=world", "protocol.views=3"]) == 2
    assert "protocol.views: no such key" in capsys.readouterr().err


def test_an_ablation_finds_its_runs_and_its_stored_scores(here, capsys):
    run_dir = write_run(here / "runs" / "panorama_ablation" / "room-panorama=anchored")
    manifest = json.loads((run_dir / "manifest.json").read_text())
    manifest["steps"]["panorama"]["config"] = {"panorama": {"heuristic": "anchored"}}
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    command = ["table=panorama_ablation", *CHEAP]
    assert cli.main(command) == 0
    assert last_line(capsys)["means"]["anchored"]["wrap_seam"] > 0
    scored = here / "evaluations" / "panorama_ablation-panorama_flat" / "scores.csv"
    before = scored.read_bytes()
    (here / "runs").rename(here / "elsewhere")
    assert cli.main(command) == 0
    assert last_line(capsys)["means"]["anchored"]["wrap_seam"] > 0
    assert scored.read_bytes() == before


def test_against_the_truth_the_truth_is_perfect(here, capsys):
    metrics = "metrics=[photo_psnr,sky_colour,ground_colour,horizon]"
    arguments = ["protocol=truth", "protocol.truth=a", metrics, "processes=1", "quiet=true", "cache=false"]
    assert cli.main([*arguments, "methods.same=a", "methods.other=b"]) == 0
    means = last_line(capsys)["means"]
    assert means["same"]["photo_psnr"] is None  # infinite
    assert means["same"]["sky_colour"] == means["same"]["ground_colour"] == means["same"]["horizon"] == 0
    assert means["other"]["photo_psnr"] < 30
    assert means["other"]["sky_colour"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs=a", "group_by=panorama.heuristic"], "holds panoramas, wanted run folders"),
        (["methods.a=nowhere"], "methods.a: nowhere: no such file or folder"),
        (["methods.=a"], "methods.=a: no name, wanted methods.<name>=<path>"),
        (["methods.a=a", "methods.a=b"], "methods.a: given twice"),
        (["methods.a=a", "metrics=[nice]"], "metrics: nice, wanted some of brisque"),
        (["methods.a=a", "format=pdf"], "format: pdf, wanted one of markdown, csv, latex"),
        (["methods.a=a", "runtime.device=abacus"], "runtime.device: abacus, wanted one of auto, cpu, cuda"),
        (["methods.a=a", "runtime.dtype=float16"], "runtime.dtype: float16, wanted auto: python -m eval heeds"),
        (["methods.a=a", "metric.fid.device=cpu"], "metric.fid.device: no such key, did you mean runtime.device?"),
        (["methods.a=a", "protocol=all"], "protocol=all: no such choice"),
        (["methods.a=a", "protocol.sise=3"], "protocol.sise: no such key, did you mean protocol.size?"),
        (["methods.a=a", "panorama=adhoc"], "panorama: no such key of python -m eval"),
        (["methods.a=a", "protocol=truth"], "protocol.truth: missing"),
        (["quiet=true"], "methods: none, wanted methods.<name>=<path>, runs=<folders> or table=<name>"),
        (["methods.a=a", "methods.b=b", "baseline=c"], "baseline: c, wanted one of a, b"),
        (["methods.a=a", "quiet=true", "out=a/hut.png"], "out: a/hut.png is a file, wanted a folder"),
        (
            ["methods.a=a", "quiet=true", "out=a/hut.png/scores"],
            "out: a/hut.png/scores cannot be written (Not a directory)",
        ),
        (
            ["methods.a=a", "quiet=true", "metrics=[clip_i]", "out=b"],
            "metrics: nothing was scored, wanted one score at least; clip_i",
        ),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(here, capsys, arguments, message):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (here / "evaluations").exists()


def test_an_out_that_cannot_be_is_said_before_anything_is_scored(here, monkeypatch):
    monkeypatch.setattr("eval.scoring.evaluate.score", lambda *arguments: pytest.fail("scored"))
    assert cli.main([*CHEAP, "methods.a=a", "out=a/hut.png"]) == 2


def test_methods_that_share_no_name_are_told_and_not_compared(here, capsys):
    for number, name in enumerate(("hut", "sea")):
        (here / "b" / f"{name}.png").rename(here / "b" / f"result_{number}.png")
    save_image(here / "b" / "result_2.png", panorama(5))
    save_image(here / "b" / "result_3.png", panorama(6))
    assert cli.main([*CHEAP, "methods.a=a", "methods.b=b", "out=scores"]) == 2
    assert capsys.readouterr().err == (
        "error: methods: no image of one name in all, wanted the same file names; "
        "a has hut, sea; b has result_0, result_1, result_2, ...\n"
    )
    assert not (here / "scores").exists()
    assert cli.main([*CHEAP, "methods.a=a", "out=scores"]) == 0
    assert cli.main([*CHEAP, "methods.b=b", "out=scores"]) == 2  # nor beside what is stored
    assert "no image of one name in all" in capsys.readouterr().err
    assert {row.method for row in read_scores(here / "scores")} == {"a"}


def test_a_single_file_is_compared_with_a_single_file(here, capsys):
    assert cli.main([*CHEAP, "methods.a=a/hut.png", "methods.b=b/sea.png", "out=scores", "baseline=a"]) == 0
    assert [(row.method, row.image) for row in read_scores(here / "scores")] == [("a", "hut"), ("b", "hut")]
    out = capsys.readouterr().out
    assert "Images: paired, 1 common of 1." in out
    assert "b: a single file each: sea is taken for hut." in out
    assert json.loads(out.splitlines()[-1])["differences"]["b - a"]["wrap_seam"]["n"] == 1


def test_an_evaluation_beside_another_one_adds_to_it(here, capsys):
    assert cli.main([*CHEAP, "methods.a=a", "out=scores"]) == 0
    assert cli.main([*CHEAP, "methods.b=b", "out=scores", "baseline=a"]) == 0
    told = last_line(capsys)
    assert sorted(told["means"]) == ["a", "b"]
    assert told["differences"]["b - a"]["wrap_seam"]["n"] == 2
    assert cli.main([*CHEAP, "methods.c=b", "out=scores", "protocol.width=64"]) == 2
    assert "out: scores holds a, b scored by protocol.width 128, not 64, wanted another out=" in capsys.readouterr().err


def test_ours_and_runs_have_one_baseline(here, capsys):
    write_run(here / "runs" / "room")
    save_image(here / "a" / "room.png", panorama(9))
    assert cli.main([*CHEAP, "methods.ours=a/room.png", "runs=runs/room", "out=scores", "baseline=ours"]) == 0
    assert list(last_line(capsys)["differences"]) == ["runs - ours"]


def test_a_photo_without_truth_is_nobodys_loss(here, capsys):
    (here / "truth").mkdir()
    save_image(here / "truth" / "hut.png", panorama(7))
    command = ["protocol=truth", "protocol.truth=truth", "metrics=[sky_colour]", "processes=1", "quiet=true"]
    assert cli.main([*command, "methods.a=a", "methods.b=b", "out=scores"]) == 0
    told = last_line(capsys)
    assert told["lost_views"] == {}
    assert {told["intervals"][method]["sky_colour"]["n"] for method in "ab"} == {1}
    assert "**" in (here / "scores" / "table.md").read_text().partition("\n")[2]


def write_frames(folder: Path, broken: str) -> None:
    """A scene of six frames, three of them blurred, black, of one other colour, cut off or not there."""
    folder.mkdir(parents=True)
    texture = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    for number in range(6):
        frame = texture.roll(16 * number, dims=2)
        path = folder / f"{number:03}.png"
        if number > 2 or broken == "nothing":
            save_image(path, frame)
        elif broken == "blurred":
            save_image(path, torch.nn.functional.avg_pool2d(frame, 9, stride=1, padding=4))
        elif broken in ("black", "red"):
            save_image(path, torch.zeros_like(frame) + (broken == "red") * torch.tensor([0.8, 0, 0])[:, None, None])
        elif broken == "cut off":
            path.write_bytes(b"no picture")


@pytest.mark.parametrize("broken", ["black", "red", "cut off", "deleted"])
def test_broken_frames_do_not_win(here, capsys, broken):
    write_frames(here / "blurred" / "scene", "blurred")
    write_frames(here / "broken" / "scene", broken)
    command = ["protocol=images", "metrics=[brisque]", "methods.whole=blurred", "methods.broken=broken", "processes=1"]
    assert cli.main([*command, "out=scores"]) == 0
    out = capsys.readouterr().out
    table, told = (here / "scores" / "table.md").read_text(), json.loads(out.splitlines()[-1])
    assert "| broken | incomplete |" in table
    assert "**" not in table.partition("\n")[2]
    assert "Incomplete, not ranked: broken lost 3 views of 1 image." in table
    assert "Lost by broken: scene (000, 001, 002)." in table
    assert list(told["means"]) == ["whole"]
    assert told["lost_views"] == {"broken": 3}
    assert f"| whole | {told['means']['whole']['brisque']:.2f} |" in table
    if broken in ("black", "red"):
        assert "flat: every pixel is" in table
    assert cli.main([*command, "out=scores", "allow_missing=true", "quiet=true"]) == 0
    assert sorted(last_line(capsys)["means"]) == ["broken", "whole"]


def test_frames_beside_renders_have_no_view_of_one_name(here, capsys):
    write_frames(here / "frames" / "scene", "nothing")
    (here / "others" / "scene").mkdir(parents=True)
    for number in range(6):
        path = here / "frames" / "scene" / f"{number:03}.png"
        (here / "others" / "scene" / f"frame_{number}.png").write_bytes(path.read_bytes())
    command = ["protocol=images", "metrics=[brisque]", "methods.a=frames", "methods.b=others", "processes=1", "out=o"]
    assert cli.main(command) == 2
    err = capsys.readouterr().err
    assert "methods: no view of one name in all, wanted the same views (allow_missing=true" in err
    assert "a has scene/000, scene/001, scene/002, ...; b has scene/frame_0," in err
    assert cli.main([*command, "allow_missing=true"]) == 0
    assert "Views of other names, each image averaged over its own: scene." in capsys.readouterr().out


def test_where_networks_run_is_told_to_the_metrics_that_have_one(here, monkeypatch):
    seen = []
    monkeypatch.setattr("eval.scoring.evaluate.evaluate", lambda protocol, found, metrics, *more: seen.extend(metrics))
    arguments = ["methods.a=a", "metrics=[fid,clip_i,qalign_quality,niqe]", "runtime.device=cpu", "quiet=true"]
    assert cli.main(arguments) == 0
    assert [getattr(metric, "runtime", None) and metric.runtime.device for metric in seen] == [*["cpu"] * 3, None]


def test_where_networks_run_is_no_part_of_what_is_written(here):
    for name, more in (("one", []), ("two", ["runtime.device=cpu"])):
        assert cli.main([*CHEAP, *more, "methods.a=a", f"out={name}", "cache=false"]) == 0
    for name in ("scores.csv", "evaluation.json"):
        assert (here / "one" / name).read_bytes() == (here / "two" / name).read_bytes()


def test_help_explains_itself(capsys):
    """In a process of its own: tests/test_program.py."""
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    for telling in ("methods.<name>", "panorama*", "panorama_ablation", "brisque"):
        assert telling in printed


def test_in_parts_it_is_the_same_table_from_the_cache_that_the_parts_filled(here, capsys, monkeypatch):
    command = [*CHEAP, "methods.a=a", "methods.b=b"]
    monkeypatch.setattr("sys.argv", ["eval"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    scored = []
    monkeypatch.setattr("eval.scoring.evaluate.score", _noted(scored))
    assert cli.main(["-m", *command, "out=parts", "jobs=3"]) == 0
    in_parts = last_line(capsys)
    assert sorted(scored) == [1, 1, 2, 4]  # three parts of four images, then all of them from the cache
    (here / "cache").rename(here / "gone")
    assert cli.main([*command, "out=whole"]) == 0
    assert last_line(capsys)["means"] == in_parts["means"]


def _noted(scored: list[int]):
    from eval.scoring.score import score

    def noting(pictures, *others):
        scored.append(len(pictures))
        return score(pictures, *others)

    return noting


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["protocol=panorama,world"], "protocol=panorama,world: several values, wanted one call for each"),
        (["cache=false"], "cache: False, wanted true with -m"),
        (["part=1"], "part: 1, wanted none"),
        (["jobs=0"], "jobs: 0, wanted a whole number from 1"),
        (["table=generalisation"], "-m: table=generalisation, wanted a table of methods"),
    ],
)
def test_what_cannot_be_scored_in_parts_is_one_line(here, capsys, arguments, said):
    assert cli.main(["-m", "methods.a=a", *arguments]) == 2
    assert said in capsys.readouterr().err
