"""The command line: what it says, where it puts things, and how it ends."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import hydra
import pytest
from omegaconf import OmegaConf
from PIL import Image

from worldgen import cli, command, pipeline
from worldgen.command import run_suffix
from worldgen.config import CONF_DIR, compose
from worldgen.errors import UserError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder with a photo in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["worldgen"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    Image.new("RGB", (80, 80)).save(tmp_path / "photo.jpg")
    return tmp_path


@pytest.fixture
def runs(monkeypatch):
    """The configs that reach the pipeline, which is not run."""
    seen = []

    def run(config, reporter):
        seen.append(OmegaConf.to_container(config))
        root = Path(config.out)
        root.mkdir(parents=True)
        (root / "world.html").touch()
        return SimpleNamespace(root=root)

    monkeypatch.setattr(pipeline, "run", run)
    return seen


def failing_with(error: BaseException):
    def run(config, reporter):
        raise error

    return run


def test_a_run_says_where_the_world_is_and_leaves_nothing_else(here, runs, capsys):
    assert cli.main(["image=photo.jpg"]) == 0
    printed = capsys.readouterr().out
    assert "The world is in runs/photo" in printed
    assert "runs/photo/world.html" in printed
    assert "python -m worldgen.view runs/photo" in printed
    assert "video" not in printed  # it is not there
    assert sorted(path.name for path in here.iterdir()) == ["photo.jpg", "runs"]


def test_quiet_is_quiet(here, runs, capsys):
    assert cli.main(["image=photo.jpg", "quiet=true"]) == 0
    assert capsys.readouterr() == ("", "")


def test_the_command_line_and_python_compose_the_same_config(here, runs):
    cli.main(["image=photo.jpg", "panorama=sequential", "out=there", "seed=4"])
    assert runs == [OmegaConf.to_container(compose("photo.jpg", ["panorama=sequential", "seed=4"], out="there"))]


@pytest.mark.parametrize("name", ["a,b (1) = {c}.jpg", "it's $HOME [x].jpg", "7.jpg", "naïve ünïcode.jpg"])
def test_photos_may_have_any_name(here, runs, name):
    (here / "photo.jpg").rename(here / name)
    assert cli.main([f"image={name}"]) == 0
    assert runs[0]["image"] == name
    assert runs[0]["out"] == f"runs/{Path(name).stem}"


@pytest.mark.parametrize("value", ["naïve.jpg,photo.jpg", "it's, naïve.jpg"])
def test_photos_of_a_sweep_may_have_any_name(here, runs, value):
    names = [value] if " " in value else value.split(",")
    for name in names:
        Image.new("RGB", (80, 80)).save(here / name)
    assert cli.main(["-m", f"image={value}", "quiet=true"]) == 0
    assert [config["image"] for config in runs] == names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([f"image={'x' * 300}.jpg"], "x.jpg: File name too long"),
        (["image=missing.jpg"], "missing.jpg: no such file, wanted a photo"),
        (["image=a.jpg,b.jpg"], "-m takes a list"),
        (["panorama=adhoc"], "image: missing"),
        (["image=photo.jpg", "panorama=spiral"], "panorama=spiral: no such choice"),
        (["image=photo.jpg", "splat.stepz=3"], "did you mean splat.steps?"),
        (["image=photo.jpg", "fov_deg=200"], "fov_deg: 200"),
        (["image=photo.jpg", "panorama"], "panorama: cannot be read"),
        (["image=photo.jpg", "images=."], "images: ., wanted only with -m"),
        (["-m", "images=nowhere"], "nowhere: no such folder, wanted one with photos"),
        (["photo.jpg"], "photo.jpg: cannot be read, wanted key=value"),
        (["images=folder"], "images: folder, wanted only with -m"),
        (["-m", "image=photo.jpg", "panorama=adhoc,spiral"], "panorama=spiral: no such choice"),
        (["-m", "image=photo.jpg", "hydra/launcher=nowhere"], "hydra/launcher/nowhere"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(here, runs, capsys, arguments, message):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not runs
    assert [path.name for path in here.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("photo.jpg: is empty"), "error: photo.jpg: is empty"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/photo/x"), "error: runs/photo/x: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), "error: runs: Permission denied"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "error: disk: No usable"),
        (MemoryError(), "error: not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "error: not enough memory"),
    ],
)
def test_what_a_person_can_mend_ends_in_one_line(here, monkeypatch, capsys, error, message):
    monkeypatch.setattr(pipeline, "run", failing_with(error))
    assert cli.main(["image=photo.jpg", "quiet=true"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_our_own_mistakes_are_not_hidden(here, monkeypatch):
    monkeypatch.setattr(pipeline, "run", failing_with(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["image=photo.jpg"])


def test_an_interrupted_run_says_how_to_go_on(here, monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "run", failing_with(KeyboardInterrupt()))
    assert cli.main(["image=photo.jpg", "quiet=true"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_a_sweep_gives_each_run_a_folder_of_its_own(here, runs):
    arguments = ["-m", "image=photo.jpg", "panorama=adhoc,anchored", "seed=1,2", "quiet=true"]
    assert cli.main(arguments) == 0
    assert sorted(path.name for path in (here / "runs").iterdir() if not path.name.startswith(".")) == [
        "photo-panorama=adhoc-seed=1",
        "photo-panorama=adhoc-seed=2",
        "photo-panorama=anchored-seed=1",
        "photo-panorama=anchored-seed=2",
    ]
    assert {config["panorama"]["heuristic"] for config in runs} == {"adhoc", "anchored"}
    assert sorted(path.name for path in here.iterdir()) == ["photo.jpg", "runs"]


def test_out_holds_all_runs_of_a_sweep(here, runs):
    cli.main(["-m", "image=photo.jpg", "out=worlds", "seed=1,2", "quiet=true"])
    assert sorted(path.name for path in (here / "worlds").iterdir()) == ["photo-seed=1", "photo-seed=2"]


def test_one_failed_run_does_not_keep_the_others_of_a_sweep_from_running(here, runs, capsys):
    assert cli.main(["-m", "image=missing.jpg,photo.jpg", "quiet=true"]) == 2
    assert [config["out"] for config in runs] == ["runs/photo-default"]
    err = capsys.readouterr().err
    assert "error: missing.jpg: no such file" in err
    assert "not every run came out" in err


def test_a_sweep_takes_every_photo_of_a_folder(here, runs):
    (here / "photos").mkdir()
    for name in ("it's [1], 2.PNG", "b.jpg", "notes.txt", "._b.jpg", "Thumbs.db"):
        (here / "photos" / name).touch()
    assert cli.main(["-m", "images=photos", "quiet=true"]) == 0
    assert [config["image"] for config in runs] == ["photos/b.jpg", "photos/it's [1], 2.PNG"]


def test_the_panorama_ablation_runs_every_heuristic_up_to_the_panorama(here, runs):
    assert cli.main(["-m", "experiment=panorama_ablation", "image=photo.jpg", "seed=1,2", "quiet=true"]) == 0
    ran = [(config["panorama"]["heuristic"], config["seed"]) for config in runs]
    assert sorted(ran) == [(name, seed) for name in ("adhoc", "anchored", "sequential") for seed in (1, 2)]
    assert {(config["until"], config["panorama"]["prefill"]) for config in runs} == {("panorama", None)}
    assert len(list((here / "runs" / "panorama_ablation").iterdir())) == 6


def test_the_panorama_ablation_takes_the_network_that_knows_panoramas_along(here, runs):
    assert (
        cli.main(["-m", "experiment=panorama_ablation", "panorama=adhoc,native", "image=photo.jpg", "quiet=true"]) == 0
    )
    assert sorted(config["panorama"]["heuristic"] for config in runs) == ["adhoc", "native"]


def test_no_two_runs_of_a_sweep_share_a_folder_name():
    overrides = [["x=a/b"], ["x=a_b"], ["x=a b"], ["x=-1"], ["x=1"], [f"x={'y' * 200}1"], [f"x={'y' * 200}2"], []]
    suffixes = [run_suffix(["image=photo.jpg", "out=there", *telling], cli.NAMES_NO_RUN) for telling in overrides]
    assert len(set(suffixes)) == len(overrides)
    assert all(len(suffix) < 120 and "/" not in suffix and " " not in suffix for suffix in suffixes)


def test_without_slurm_its_launcher_is_refused(here, runs, monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert cli.main(["-m", "image=photo.jpg", "hydra/launcher=slurm"]) == 2
    assert (
        capsys.readouterr().err == "error: hydra/launcher=slurm: no srun here, wanted a machine of the Slurm cluster\n"
    )
    assert not runs


def test_the_slurm_launcher_submits_with_fixed_folders():
    with hydra.initialize_config_dir(str(CONF_DIR.resolve()), version_base="1.3"):
        config = hydra.compose("config", ["hydra/launcher=slurm"], return_hydra_config=True)
    launcher = config.hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert launcher.submitit_folder == "runs/.slurm/%A"
    assert launcher.partition is None


def run_module(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    command = [sys.executable, "-m", "worldgen", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_help_explains_itself(tmp_path):
    done = run_module("--help", cwd=tmp_path)
    assert done.returncode == 0
    for telling in (
        "image=photo.jpg",
        "fov_deg",
        "adhoc, anchored, auto*, given, native, sequential",
        "hydra/launcher=slurm",
    ):
        assert telling in done.stdout
    assert run_module(cwd=tmp_path).returncode == 2


def test_the_version_is_our_own(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("worldgen ")


def test_every_key_and_its_value_can_be_listed(tmp_path):
    done = run_module("--cfg", "job", cwd=tmp_path)
    assert done.returncode == 0
    assert "heuristic: auto" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_photo_ends_in_one_line_for_real(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"not a picture")
    done = run_module("image=photo.jpg", "quiet=true", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: photo.jpg: not a picture")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_ctrl_c_within_a_numba_kernel_is_ctrl_c_too(capsys):
    def action():
        raise SystemError("CPUDispatcher returned a result with an exception set") from KeyboardInterrupt()

    assert command.exit_status(action, "seed=0") == 130
    assert "stopped; the same command goes on from here" in capsys.readouterr().err

    def broken():
        raise SystemError("something else")

    with pytest.raises(SystemError, match="something else"):
        command.exit_status(broken, "seed=0")
