"""`python -m eval protocol=world` on splats of another tool: frames, coverage, kept views, and what is said of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from eval import cli
from eval.protocols.file_frames import FileFrame
from eval.scoring.scores import read_evaluation, read_scores
from tests.scored_pictures import Level
from tests.small_world import room_splats
from worldgen.io.gaussians import write_ply
from worldgen.splat.transform import transformed

CHEAP = ["protocol=world", "protocol.size=64", "protocol.paths=1", "metrics=[niqe]", "processes=1", "quiet=true"]
THEIRS = FileFrame("opengl", 0.1, (50.0, 0.0, -20.0))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Our world, and the same as another tool would have written it; scored by a metric that needs no asset."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_metric", lambda config, name: Level(name=name))
    monkeypatch.setattr("eval.scoring.cache.cache_dir", lambda: tmp_path / "cache")
    room = room_splats()
    theirs = transformed(room, THEIRS.rotation.T, 1 / THEIRS.scale)
    for name, gaussians in (
        ("ours", room),
        ("theirs", replace(theirs, means=theirs.means + torch.tensor(THEIRS.origin))),
    ):
        (tmp_path / name).mkdir()
        write_ply(tmp_path / name / "room.ply", gaussians)
    return tmp_path


def test_a_world_in_its_own_frame_is_seen_as_ours(here, capsys):
    told = ["methods.theirs.axes=opengl", "methods.theirs.scale=0.1", "methods.theirs.origin=[50,0,-20]"]
    command = [*CHEAP, "methods.ours=ours", "methods.theirs=theirs", "keep_views=true"]
    assert cli.main([*command, *told, "out=right"]) == 0
    assert cli.main([*command, "out=wrong"]) == 0
    evaluation = read_evaluation(here / "right")
    assert evaluation["methods"]["theirs"]["world"] == {"axes": "opengl", "scale": 0.1, "origin": [50.0, 0.0, -20.0]}
    views = {row.view for row in read_scores(here / "right")}
    for method in ("ours", "theirs"):
        record = evaluation["methods"][method]
        assert set(record["coverage"]["room"]) == views
        assert min(record["coverage"]["room"].values()) > 0.9
        assert "notes" not in record
    for view in views:
        ours, theirs = (
            np.asarray(Image.open(here / "right" / "views" / method / "room" / f"{view}.png")).astype(float)
            for method in ("ours", "theirs")
        )
        assert np.abs(ours - theirs).mean() < 5  # coplanar splats may change their order by rounding
    wrong = read_evaluation(here / "wrong")["methods"]
    assert wrong["ours"] == evaluation["methods"]["ours"]
    assert min(wrong["theirs"]["coverage"]["room"].values()) < 0.05
    assert f"{len(views)} of {len(views)} views are background in more than 10% of" in wrong["theirs"]["notes"][0]
    assert "methods.theirs.axes, .scale and .origin" in (here / "wrong" / "table.md").read_text()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["methods.theirs.axes=left"], "methods.theirs.axes: left, wanted one of opencv, opengl, y_up, z_up"),
        (["methods.other.scale=2"], "methods.other: none, wanted methods.other=<path> beside its .axes"),
    ],
)
def test_frames_that_cannot_be_are_one_line(here, capsys, arguments, message):
    assert cli.main([*CHEAP, "methods.theirs=theirs", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_the_help_tells_of_frames(capsys):
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    for word in ("methods.<name>.axes", "opencv", "opengl", "y_up", "z_up", "keep_views", "scale * R (p - origin)"):
        assert word in said


def test_a_cached_evaluation_keeps_its_coverage_and_views(here, capsys):
    command = [*CHEAP, "methods.ours=ours", "out=scores", "keep_views=true"]
    kept = here / "scores" / "views" / "ours" / "room"
    for _ in range(2):
        assert cli.main(command) == 0
        found = json.loads((here / "scores" / "evaluation.json").read_text())["methods"]["ours"]["coverage"]["room"]
        assert {path.stem for path in kept.iterdir()} == set(found)
        for path in kept.iterdir():
            path.unlink()
    capsys.readouterr()
