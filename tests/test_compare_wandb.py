"""Fits and ControlNets at W&B are the rows that their folders are: logged offline, and read as the API has them."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb

from eval.compare.compared import from_wandb
from eval.compare.grouping import group_by
from eval.compare.wandb_api import WandbRun
from tests.controlnet_training import small
from tests.test_compare import compared
from tests.wandb_folders import begun, read_offline, stay_offline
from train.controlnet import cli as controlnet
from train.splat import cli as splat

FIT = [
    *("scene=room", "scene.size=32", "scene.samples=1", "scene.generated=2", "scene.held_out=2", "scene.cloud_rows=24"),
    *("splat.steps=4", "splat.max_gaussians=300", "splat.logger=wandb", "quiet=true"),
]
STEPS = {"fit": ("splat", "export"), "controlnet": ("controlnet",)}


@pytest.fixture
def answered(tmp_path, monkeypatch) -> Callable[[Path], None]:
    """Has wandb.Api answer with the runs that were logged below a folder."""
    stay_offline(tmp_path, monkeypatch)

    def answer(folder: Path) -> None:
        runs: dict[str, SimpleNamespace] = {}
        for told in map(read_offline, begun(folder)):
            run = runs.setdefault(told.id, SimpleNamespace(id=told.id, config={}, summary={}))
            vars(run).update(job_type=told.job_type, group=told.group, state=told.state)
            run.config |= told.config
            run.summary |= told.summary

        class Api:
            def __init__(self, timeout: int) -> None:
                pass

            def runs(self, path: str, filters: dict, per_page: int, lazy: bool = True) -> list:
                wanted = filters["jobType"]["$in"]
                return [run for run in runs.values() if run.job_type in wanted]

        monkeypatch.setattr(wandb, "Api", Api)

    return answer


def at_wandb(state: str = "finished", kind: str = "fit", **changes: object) -> WandbRun:
    about = {"run": "room", "photo": "room", "photo_sha256": "1" * 64}
    return WandbRun("x", "sweep", kind, state, {"about": about, "seed": 0}, {f"{kind}/loss": 0.5, **changes})


def test_fits_at_wandb_are_the_rows_that_their_folders_are(tmp_path, answered, capsys):
    sweep = tmp_path / "sweep"
    for correction in ("none", "distortion"):
        assert splat.main([*FIT, f"correction={correction}", f"out={sweep / correction}"]) == 0
    answered(sweep)
    capsys.readouterr()
    grouped = ("by=splat.correction.name", "baseline=none", "sort=held-out psnr")
    own, at_wandb = compared(capsys, sweep), compared(capsys, "wandb=me/worldgen")
    assert at_wandb == own
    assert own[0][0].keys() >= {"photo", "Gaussians", "PSNR (dB)", "loss", "held-out psnr", "splat (s)", "export (s)"}
    assert own[1]["finished"] == 2
    assert "splat.correction.name" in own[1]["differ"]
    assert compared(capsys, "wandb=me/worldgen", *grouped) == compared(capsys, sweep, *grouped)
    assert compared(capsys, "wandb=me/worldgen", "by=group")[1]["groups"] == ["sweep"]
    assert splat.main([*FIT, "correction=none", f"out={sweep / 'none'}"]) == 0
    assert len(begun(sweep)) == 2  # what W&B has is not logged again


def test_controlnets_at_wandb_are_the_rows_that_their_folders_are(checkpoints, tmp_path, answered, capsys):
    sweep = tmp_path / "sweep"
    for seed, workers in ((0, 0), (1, 1)):
        more = ("controlnet.logger=wandb", "controlnet.validation_samples=1", f"seed={seed}")
        assert controlnet.main([*small(checkpoints, sweep / str(seed), *more), f"controlnet.workers={workers}"]) == 0
    answered(sweep)
    told = [read_offline(path) for path in begun(sweep)]
    assert sorted(run.config["controlnet"]["workers"] for run in told) == [0, 1]
    assert all(list(run.config["about"]["weights"]) for run in told)
    capsys.readouterr()
    own, at_wandb = compared(capsys, sweep), compared(capsys, "wandb=me/worldgen")
    assert at_wandb == own
    assert own[1] == {"runs": 2, "finished": 2, "differ": ["seed"]}  # workers make no other weights
    assert own[0][0].keys() >= {"loss", "samples' PSNR, all (dB)", "controlnet (s)", "peak memory (MB)"}


def test_a_training_at_wandb_says_how_far_it_came():
    runs = [at_wandb("running"), at_wandb("failed", "controlnet"), at_wandb(kind="denoiser"), at_wandb(kind="eval")]
    whole = {f"{step}/{name}": 1.5 for step in STEPS["fit"] for name in ("seconds", "peak_memory_mb")}
    runs += [at_wandb(**whole, **{"splat/peak_gpu_memory_mb": 7.0, "splat/psnr": 20.5})]
    states = {(run.kind, run.state) for run in from_wandb(runs)}
    assert states == {
        ("fit", "without splat and later steps (running, says W&B)"),
        ("controlnet", "without controlnet (failed, says W&B)"),
        ("fit", "finished"),
    }
    (finished,) = (run for run in from_wandb(runs) if run.finished)
    assert finished.figures == {"held_out_psnr": 20.5}
    assert (finished.photo, finished.photo_sha256) == ("room", "1" * 64)
    assert [group.label for group in group_by(from_wandb(runs), ["group"])] == ["sweep"]


def test_a_training_that_wandb_cannot_be_had_for_is_logged_by_the_same_command(tmp_path, answered, monkeypatch, caplog):
    out = tmp_path / "sweep" / "room"
    with monkeypatch.context() as patched:
        patched.setattr(wandb, "init", lambda **settings: 1 / 0)
        assert splat.main([*FIT, f"out={out}"]) == 0
    assert caplog.text.count("W&B: ZeroDivisionError") == 1
    assert splat.main([*FIT, f"out={out}"]) == 0
    (told,) = map(read_offline, begun(out))
    facts = json.loads((out / "manifest.json").read_text())["steps"]["splat"]["facts"]
    assert told.summary["splat/loss_last"] == facts["loss_last"]
