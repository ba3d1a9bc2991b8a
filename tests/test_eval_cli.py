"""`python -m eval`: what it scores, what it writes and prints, and how it ends on mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eval import cli
from eval.scores import read_evaluation, read_scores
from tests.small_world import write_run
from worldgen.artifacts import save_image


def panorama(seed: int, height: int = 64) -> torch.Tensor:
    coarse = torch.rand(1, 3, 8, 16, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, 2 * height), mode="bilinear")[0]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with two methods' panoramas of two photos, and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("eval.cache.cache_dir", lambda: tmp_path / "cache")
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
    means = last_line(capsys)["means"]
    assert means["a"]["wrap_seam"] == pytest.approx((rows[0].value + rows[1].value) / 2)
    assert read_evaluation(here / "scores")["protocol"]["width"] == 128
    assert sorted(path.name for path in (here / "scores").iterdir()) == [
        "evaluation.json",
        "scores.csv",
        "table.csv",
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
    assert "broken.png" in capsys.readouterr().out
    assert len(read_scores(here / "scores")) == 2


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
        (["methods.a=nowhere"], "methods.a=nowhere: no such file or folder"),
        (["methods.=a"], "methods.=a: wanted methods.<name>=<path>"),
        (["methods.a=a", "methods.a=b"], "methods.a: given twice"),
        (["methods.a=a", "metrics=[nice]"], "metrics: 'nice', wanted some of brisque"),
        (["methods.a=a", "format=pdf"], "format: 'pdf', wanted one of markdown, csv, latex"),
        (["methods.a=a", "protocol=all"], "protocol=all: no such choice"),
        (["methods.a=a", "protocol.sise=3"], "protocol.sise: no such key, did you mean protocol.size?"),
        (["methods.a=a", "panorama=adhoc"], "panorama: no such key of python -m eval"),
        (["methods.a=a", "protocol=truth"], "protocol.truth: missing"),
        (["quiet=true"], "nothing to score"),
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


def test_help_explains_itself():
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-m", "eval", "--help"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    for telling in ("methods.<name>", "panorama*", "panorama_ablation", "brisque"):
        assert telling in done.stdout
