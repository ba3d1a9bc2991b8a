"""How programs begin and end: nothing of the working folder is imported, every locale can print what they say."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

from worldgen import program

ROOT = Path(program.__file__).parents[1]


@pytest.fixture
def of_a_stranger(tmp_path):
    """A folder as every checkout of a trainer is, with modules that say so when they are imported."""
    for name in ("train.py", "eval.py", "rich.py"):
        (tmp_path / name).write_text("print('SOMEBODY ELSE RUNS'); raise SystemExit(9)\n")
    Image.new("RGB", (80, 80)).save(tmp_path / "photo.jpg")
    return tmp_path


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, check=False)


def test_a_run_imports_nothing_of_the_folder_that_it_is_started_in(of_a_stranger):
    done = run("-m", "worldgen", "image=photo.jpg", "splat.steps=-1", "quiet=true", cwd=of_a_stranger)
    assert done.stderr.startswith(b"error: splat.steps")
    assert b"SOMEBODY" not in done.stdout + done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("name", ["splat", "evaluate"])
def test_the_installed_commands_work_beside_others_files(name, of_a_stranger):
    entry = f"import sys; sys.argv[1:] = ['--help']; from worldgen.program import {name}; {name}()"
    done = run("-c", entry, cwd=of_a_stranger)
    assert done.returncode == 0
    assert b"groups and their choices" in done.stdout
    assert b"SOMEBODY" not in done.stdout + done.stderr


def test_processes_to_come_leave_the_folder_out_too(of_a_stranger):
    child = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'rich'])"
    done = run("-c", f"from worldgen.program import *; leave_working_folder(); {child}", cwd=of_a_stranger)
    assert b"SOMEBODY" not in done.stdout + done.stderr


def test_in_our_own_folder_all_stays_as_it_is(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [str(ROOT), "elsewhere"])
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    program.leave_working_folder()
    assert sys.path == [str(ROOT), "elsewhere"]
    assert "PYTHONSAFEPATH" not in os.environ


def test_a_library_user_is_told_what_is_in_the_way(of_a_stranger):
    (of_a_stranger / "rich.py").unlink()  # a script's own folder comes first, by Python's rules
    (of_a_stranger / "make.py").write_text("import worldgen\nworldgen.generate('photo.jpg', quiet=True)\n")
    done = run("make.py", cwd=of_a_stranger)
    assert b"train.py: in the place of worldgen's own package train, wanted another folder" in done.stderr
    assert b"SOMEBODY" not in done.stdout + done.stderr


def test_every_installed_command_is_there():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {"worldgen", "worldgen-splat", "worldgen-eval", "worldgen-doctor"} <= scripts.keys()
    for entry in scripts.values():
        module, name = entry.split(":")
        command = getattr(import_module(module), name)
        assert callable(import_module(*command.args).main)


@pytest.mark.parametrize("variables", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "latin-1:strict"}])
def test_names_that_a_terminal_lacks_letters_for_are_told(tmp_path, variables):
    name = os.fsencode("caf") + b"\xe9 \xe6\x97\xa5.jpg"
    (tmp_path / os.fsdecode(name)).write_bytes(b"no picture")
    done = run("-m", "worldgen", os.fsdecode(b"image=" + name), "quiet=true", cwd=tmp_path, **variables)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: caf")
    assert b"not a picture that can be read" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_goes_ends_a_program_quietly(tmp_path):
    command = f"{sys.executable} -m worldgen --help | head -1; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode in (0, 141)  # 0: all was in the pipe before the reader went
    assert done.stderr == b""


def test_a_working_folder_that_is_gone_is_one_line(tmp_path):
    (tmp_path / "gone").mkdir()
    command = f"rmdir ../gone; {sys.executable} -m worldgen image=/nowhere.jpg"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path / "gone", env=environment, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert done.stderr.count(b"\n") == 1
