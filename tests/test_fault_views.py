"""`python -m eval protocol=faults` and `protocol=completed` on a run folder, clean and with faults planted in it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eval import cli
from eval.metrics.signatures import Fault
from eval.protocols.fault_views import CompletedProtocol, FaultProtocol
from eval.scoring.scores import read_scores
from tests.small_world import write_run
from worldgen.errors import UserError
from worldgen.io.gaussians import load_gaussians, save_gaussians
from worldgen.runs.artifacts import load_image, load_mask, save_image
from worldgen.types import Gaussians

FAST = ["processes=1", "quiet=true", "cache=false"]
VIEWS = {
    "faults": ["protocol.size=96", "protocol.paths=1", "protocol.views_per_path=2", "protocol.corners=false"],
    "completed": [],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A clean run, and a copy with something hung in the air and a completed view that is another picture."""
    folder = tmp_path_factory.mktemp("runs")
    faulty = folder / "faulty" / "room"
    shutil.copytree(write_run(folder / "clean" / "room"), faulty)
    path = faulty / "splat" / "gaussians.safetensors"
    room = load_gaussians(path)
    hung = room.map(lambda tensor: tensor[::15])
    hung = replace(hung, means=0.5 * hung.means, opacity_logits=0 * hung.opacity_logits, sh=-hung.sh)
    both = {name: torch.cat([tensor, hung.tensors()[name]]) for name, tensor in room.tensors().items()}
    save_gaussians(path, Gaussians(**both))
    view = faulty / "complete" / "001.png"
    save_image(view, 1 - load_image(view))
    assert not bool(load_mask(faulty / "complete" / "001_inpainted.png").all())
    return folder


def scores(runs: Path, out: Path, protocol: str) -> dict[tuple[str, str], float]:
    """Mean values by method and metric."""
    methods = [f"methods.{name}={runs / name}" for name in ("clean", "faulty")]
    assert cli.main([f"protocol={protocol}", *VIEWS[protocol], *FAST, *methods, f"out={out}"]) == 0
    values: dict[tuple[str, str], list[float]] = {}
    for row in read_scores(out):
        values.setdefault((row.method, row.metric), []).append(row.value)
    return {key: sum(each) / len(each) for key, each in values.items()}


def test_faults_rise_where_they_were_planted(runs, tmp_path, capsys):
    found = scores(runs, tmp_path, "faults")
    assert found["clean", "floaters"] < 0.5
    assert found["faulty", "floaters"] > 5
    for metric in ("haze", "ghosts"):
        assert found["faulty", metric] > 1.3 * found["clean", metric]
    capsys.readouterr()


def test_a_view_that_is_another_picture_disagrees(runs, tmp_path, capsys):
    found = scores(runs, tmp_path, "completed")
    assert found["faulty", "hallucinations"] > found["clean", "hallucinations"] + 10
    assert found["clean", "unsupported"] == 100  # two views at right angles: neither sees what the other painted
    assert found["clean", "contradicted"] == 0
    capsys.readouterr()


@pytest.mark.parametrize("protocol", VIEWS)
def test_only_runs_have_points_to_compare_with(runs, tmp_path, capsys, protocol):
    splats = tmp_path / "splats"
    splats.mkdir()
    shutil.copy(runs / "clean" / "room" / "export" / "world.ply", splats / "room.ply")
    assert cli.main([f"protocol={protocol}", *FAST, f"methods.other={splats}", f"out={tmp_path / 'out'}"]) == 2
    assert "wanted run folders for protocol=" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("protocol", "lost", "why"),
    [
        (FaultProtocol(name="faults", metrics=("haze",)), "splat", "no finished splat step"),
        (FaultProtocol(name="faults", metrics=("haze",)), "lift", "no lift/cloud.safetensors in it"),
        (CompletedProtocol(name="completed", metrics=("hallucinations",)), "complete", "no completed views in it"),
    ],
)
def test_a_run_that_is_not_finished_is_told(runs, tmp_path, protocol, lost, why):
    run = tmp_path / "room"
    shutil.copytree(runs / "clean" / "room", run)
    for step in {lost, "complete"}:
        shutil.rmtree(run / step)
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["steps"][lost]
    (run / "manifest.json").write_text(json.dumps(manifest))
    collected = protocol.collect(protocol.examine("ours", run))
    assert collected.pictures == []
    assert why in collected.output.failed["room"]


def test_kinds_are_checked():
    with pytest.raises(
        UserError, match=r"metric.kind: dust, wanted one of floaters, haze, ghosts, hallucinations, uns"
    ):
        Fault("dust")
    nothing_known = torch.zeros(3, 8, 8)
    for kind in ("hallucinations", "unsupported", "contradicted"):
        assert Fault(kind)([nothing_known], [None]) == [0.0]
