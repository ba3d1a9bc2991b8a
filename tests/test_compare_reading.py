"""What is read of a run folder, whatever is in it: fits, ControlNets, other versions', and folders being written."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from eval.benchmarks.compare import make_sweep
from eval.compare.cli import main
from eval.compare.compared import folders_of_runs, from_folder
from eval.compare.kinds import better_of
from eval.compare.runs_table import directions, table
from tests.test_compare import compared, write_run
from worldgen.runs.layout import LAYOUT


def write(folder: Path, steps: dict[str, dict], name: str = "room", layout: int = LAYOUT, **more) -> Path:
    """A manifest of these steps, {name: config and facts}."""
    records = {step: {"seconds": 2.0, "peak_memory_mb": 50.0, **record} for step, record in steps.items()}
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"layout": layout, "photo": {"name": name, "sha256": "1" * 64}, "steps": records, **more}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def write_fit(folder: Path, correction: str, psnr_db: float) -> Path:
    facts = {"steps": 9, "gaussians": 70, "fitted_psnr_db": 30.5, "loss_first": 0.5, "loss_last": 0.25, "seconds": 1.5}
    facts |= {"held_out_views": 7, "psnr": psnr_db, "lpips": 0.125, "unavailable": {"ssim": "no"}}
    config = {"scene": {"name": "room"}, "splat": {"correction": {"name": correction}}, "seed": 0}
    return write(folder, {"splat": {"config": config, "facts": facts}, "export": {"config": {}, "facts": {}}})


def write_controlnet(folder: Path, warp: str, seed: int, psnr_db: float) -> Path:
    facts = {"loss_first": 0.5, "loss_last": 0.125, "psnr_all": psnr_db, "psnr_hole": 9.5, "waiting_share": 0.1}
    config = {"data": {"warp": warp}, "controlnet": {"steps": 9}, "seed": seed}
    folder = write(folder, {"controlnet": {"config": config, "facts": facts}}, name="data")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["photo"]["sha256"] = {"forward": "a", "both": "b"}[warp] * 64  # of the data's config
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_fits_are_compared_by_their_held_out_views(tmp_path, capsys):
    write_fit(tmp_path / "one", "none", 20.5)
    write_fit(tmp_path / "two", "distortion", 21.5)
    rows, last = compared(capsys, tmp_path)
    assert rows[1] == {
        "run": "two", "photo": "room", "state": "finished", "splat.correction.name": "distortion", "splat (s)": 2.0,
        "export (s)": 2.0, "all steps (s)": 4.0, "peak memory (MB)": 50.0, "Gaussians": 70, "PSNR (dB)": 30.5,
        "loss": 0.25, "held-out psnr": 21.5, "held-out lpips": 0.125,
    }  # fmt: skip
    assert last["differ"] == ["splat.correction.name"]
    ways = directions([from_folder(tmp_path / "one")])
    assert (ways["held-out psnr"], ways["held-out lpips"], ways["Gaussians"]) == ("higher", "lower", None)


def test_controlnets_are_compared_over_their_seeds(tmp_path, capsys):
    for warp, psnr_db in (("forward", 15.0), ("both", 16.0)):
        for seed in (0, 1, 2):
            write_controlnet(tmp_path / f"{warp}-{seed}", warp, seed, psnr_db + seed / 8)
    assert main([str(tmp_path), "by=data.warp", "baseline=forward"]) == 0
    text = capsys.readouterr().out
    assert "| both | 3 | **16.12 ± 0.31 (3)** | +1 ± 0 (3) |" in text
    assert "differences to forward are paired by seed (n pairs)" in text
    assert "photo" not in text.split("\n\n")[0]


@pytest.mark.parametrize(
    ("attempt", "state"),
    [("controlnet", "stopped in controlnet"), ("splat", "stopped in splat"), (None, "without fov")],
)
def test_what_is_still_made_is_known_by_what_it_began(tmp_path, attempt, state):
    folder = write(tmp_path / "run", {})
    if attempt:
        (folder / f".{attempt}.worldgen-new").mkdir()
    run = from_folder(folder)
    assert run.state.startswith(state)
    assert run.kind == {"controlnet": "controlnet", "splat": "fit", None: "world"}[attempt]


@pytest.mark.parametrize(
    ("pid", "host", "silent_s", "state"),
    [
        (os.getpid, socket.gethostname, 0, "at work in depth"),
        (lambda: 2**30, socket.gethostname, 0, "stopped in depth"),
        (lambda: 7, lambda: "node-17", 0, "at work in depth"),
        (lambda: 7, lambda: "node-17", 3600, "stopped in depth"),
    ],
    ids=["here", "gone", "elsewhere", "silent"],
)
def test_a_run_at_work_is_told_from_one_that_stopped(tmp_path, pid, host, silent_s, state):
    folder = write_run(tmp_path / "room", "refine", log="4/9 refine: begins\n  4/9 refine  kept\n5/9 depth: begins")
    lock = folder / ".lock"
    lock.write_text(f"{pid()} on {host()}")
    os.utime(lock, (time.time() - silent_s,) * 2)
    assert from_folder(folder).state == state


def test_a_run_that_failed_says_why(tmp_path):
    folder = write_run(tmp_path / "room", "refine", log="5/9 depth: begins")
    with (folder / "log.txt").open("a") as file:
        file.write("2026-11-24 10:00:01,123 ERROR worldgen: 5/9 depth: no memory left\n")
    assert from_folder(folder).state == "failed in depth: no memory left"


def test_other_versions_are_compared_and_said(tmp_path, capsys):
    steps = {"fov": {"config": {"fov": {"a": 1}}, "versions": {"torch": "2.12"}}}
    write(tmp_path / "a", steps, layout=1)
    write(tmp_path / "b", steps | {"prompts": {"config": {}, "versions": {"torch": "2.13"}}})
    assert main([str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "- made with different versions of torch: 2.12 (1), 2.13 (1)" in text
    assert "- made with different versions of folder layout: none told (1), 1 (1)" in text


def test_the_reports_signatures_are_figures(tmp_path):
    folder = write_run(tmp_path / "room")
    (folder / "signatures.json").write_text(json.dumps({"figures": {"haze": 11.5, "odd": None}, "not_measured": {}}))
    assert table([from_folder(folder)])[0]["haze (report)"] == 11.5
    assert better_of("haze (report)") == "lower"
    (folder / "signatures.json").write_text('{"figures": {"ha')
    assert "haze (report)" not in table([from_folder(folder)])[0]


@pytest.mark.parametrize("length", [0, 1, 40, 200])
def test_half_a_manifest_is_a_row_that_says_so(tmp_path, capsys, length):
    write_run(tmp_path / "whole")
    half = write_run(tmp_path / "half") / "manifest.json"
    half.write_bytes(half.read_bytes()[:length])
    rows, last = compared(capsys, tmp_path)
    assert {row["run"]: row["state"] for row in rows} == {"half": "manifest.json cannot be read", "whole": "finished"}
    assert last["finished"] == 1


def test_an_evaluation_is_no_run_and_a_folder_without_manifest_is_one_that_failed(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", 3, 64)
    begun = sweep / "photo09"
    begun.mkdir()
    (begun / "log.txt").touch()
    assert len(folders_of_runs([sweep])) == 4
    assert len(folders_of_runs(sorted(sweep.iterdir()))) == 4
    assert from_folder(begun).state == "no run (manifest.json is missing)"


def test_folders_that_come_and_go_meanwhile_are_no_crash(tmp_path, capsys):
    """Another thread makes and removes runs, and writes manifests in pieces, while they are compared."""
    sweep, done, turns = make_sweep(tmp_path / "sweep", 6, 64), threading.Event(), []
    whole = (sweep / "photo00-panorama=adhoc-seed=0" / "manifest.json").read_text()

    def disturb() -> None:
        while not done.is_set():
            for number in range(3):
                folder = sweep / f"fleeting{number}"
                folder.mkdir()
                (folder / "log.txt").touch()
                (folder / ".splat.worldgen-new").mkdir()
                (folder / "manifest.json").write_text(whole[: len(whole) // 2])
                (folder / "manifest.json").write_text(whole)
                shutil.rmtree(folder)
            turns.append(number)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(12):
            assert main([str(sweep), "by=panorama", "--format", "json"]) == 0
            last = json.loads(capsys.readouterr().out.rstrip().rpartition("\n")[2])
            assert last["finished"] >= 6
    finally:
        done.set()
        thread.join()
    assert turns


def test_what_only_compares_waits_for_no_network():
    """torch takes seconds to import, and is needed only where scores find their runs."""
    code = "import sys, eval.compare.cli; print(any(name in sys.modules for name in ('torch', 'plotly', 'wandb')))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
