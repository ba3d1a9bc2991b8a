"""Sweeps as Slurm jobs, with programs in Slurm's place that answer as it does."""

import os
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image

from worldgen import cli, slurm
from worldgen.errors import UserError

NO_CONTROLLER = "Batch job submission failed: Unable to contact slurm controller (connect failure)"
SWEEP = ["-m", "hydra/launcher=slurm", "image=photo.jpg", "until=fov"]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A working folder with a photo in it, and what answers to the names of Slurm's programs, as shell scripts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["worldgen"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    Image.new("RGB", (80, 80)).save(tmp_path / "photo.jpg")
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs), prepend=":")

    def answer(**scripts: str) -> None:
        for name, script in scripts.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)

    answer(srun="exit 0", sbatch="exit 0")
    return answer


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (f"echo 'sbatch: error: {NO_CONTROLLER}' >&2; exit 1", NO_CONTROLLER),
        (
            "echo 'sbatch: error: invalid partition specified: gpu\nsbatch: error: Invalid partition name' >&2; exit 1",
            "invalid partition specified: gpu; Invalid partition name",
        ),
        ("exit 3", "without a word"),
    ],
)
def test_what_sbatch_refuses_is_one_line_and_status_2(cluster, capsys, script, said):
    cluster(sbatch=script)
    assert cli.main(SWEEP) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: hydra/launcher=slurm: sbatch refuses ({said}), wanted a cluster")
    assert err.count("\n") == 1


def test_an_answer_without_a_job_is_one_line(cluster, capsys):
    cluster(sbatch="echo 'queued, perhaps'")
    assert cli.main(SWEEP) == 2
    err = capsys.readouterr().err
    assert "queued, perhaps" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("missing", ["srun", "sbatch"])
def test_without_slurm_what_is_missing_is_named(missing, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None if name == missing else f"/usr/bin/{name}")
    with (
        pytest.raises(UserError, match=rf"^hydra/launcher=slurm: no {missing} here, wanted a machine of the Slurm"),
        slurm.told(SWEEP),
    ):
        raise AssertionError("the sweep began")


def test_what_others_say_meanwhile_is_kept(cluster, capsys):
    with slurm.told(SWEEP):
        print("a warning", file=sys.stderr)
    assert capsys.readouterr().err == "a warning\n"
    with pytest.raises(RuntimeError, match="our own"), slurm.told(SWEEP):
        raise RuntimeError("our own")


def test_another_launcher_is_left_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    with slurm.told(["-m", "seed=1,2"]):
        print("at once", file=sys.stderr)
        assert capsys.readouterr().err == "at once\n"
    assert not list(Path(tmp_path).iterdir())


def test_a_job_that_is_warned_before_it_trains_is_queued_again(cluster, tmp_path, monkeypatch):
    asked = tmp_path / "asked"
    cluster(scontrol=f'echo "$@" > {asked}')
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    before = signal.getsignal(slurm.WARNING)
    try:
        slurm.heed_warning()
        with pytest.raises(SystemExit) as caught:
            os.kill(os.getpid(), slurm.WARNING)
    finally:
        signal.signal(slurm.WARNING, before)
    assert caught.value.code == 143
    assert asked.read_text() == "requeue 78\n"
