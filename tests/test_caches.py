"""Machines where nothing that is installed can be written, nor a home: kernels are compiled all the same."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import InstantiationException

from worldgen import caches
from worldgen.config import one_line_errors
from worldgen.errors import UserError

ROOT = Path(caches.__file__).parents[1]
COMPILE = "import worldgen.geometry.kernels.resample; from numba import config; print(config.CACHE_DIR)"


@pytest.fixture
def read_only(monkeypatch, tmp_path):
    """Temporary files alone can be written."""
    for name in (caches.KERNELS, "MPLCONFIGDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    really = caches._takes_files
    monkeypatch.setattr(caches, "_takes_files", lambda folder: tmp_path in folder.parents and really(folder))
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    return tmp_path


def test_kernels_go_among_temporary_files_and_it_is_said_once(read_only, caplog):
    caches.prepare()
    folder = Path(os.environ[caches.KERNELS])
    assert folder.parent == read_only
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "cannot be written" not in caplog.text
    assert "NUMBA_CACHE_DIR names another folder" in caplog.text
    assert Path(os.environ["MPLCONFIGDIR"]).parent == folder
    caches.prepare()
    assert len(caplog.records) == 1
    assert Path(os.environ[caches.KERNELS]) == folder


def test_the_next_process_finds_them_again(read_only, monkeypatch):
    caches.prepare()
    first = os.environ.pop(caches.KERNELS)
    caches.prepare()
    assert os.environ[caches.KERNELS] == first


@pytest.mark.parametrize("spoil", [lambda folder: folder.chmod(0o777), lambda folder: folder.rmdir() or folder.touch()])
def test_what_somebody_else_could_have_put_there_is_never_run(read_only, spoil):
    folder = caches._temporary()
    spoil(folder)
    other = caches._temporary()
    assert other != folder
    assert stat.S_IMODE(other.stat().st_mode) == 0o700


def test_a_folder_named_by_hand_that_cannot_be_written_is_told(read_only, monkeypatch, caplog):
    monkeypatch.setenv(caches.KERNELS, "/nowhere")
    caches.prepare()
    assert "/nowhere: cannot be written, so compiled kernels go to" in caplog.text
    assert Path(os.environ[caches.KERNELS]).parent == read_only


def test_nothing_is_said_where_numba_finds_a_place(caplog, monkeypatch):
    monkeypatch.delenv(caches.KERNELS, raising=False)
    caches.prepare()
    assert caches.KERNELS not in os.environ
    assert not caplog.records


def test_a_kernel_compiles_where_neither_package_nor_home_can_be_written(tmp_path):
    """The package's own folder is a file's neighbour here: no __pycache__ can be made in it."""
    blocked = tmp_path / "packages" / "worldgen"
    blocked.mkdir(parents=True)
    for entry in (ROOT / "worldgen").iterdir():
        if entry.name not in ("geometry", "__pycache__"):
            (blocked / entry.name).symlink_to(entry)
    for folder in ("geometry", "geometry/kernels"):
        (blocked / folder).mkdir()
        for entry in (ROOT / "worldgen" / folder).glob("*.py"):
            (blocked / folder / entry.name).symlink_to(entry)
        (blocked / folder / "__pycache__").touch()
    variables = {"PYTHONPATH": str(tmp_path / "packages"), "HOME": "/proc", "TMPDIR": str(tmp_path)}
    environment = {**os.environ, **variables, "XDG_CACHE_HOME": "/proc/none"}
    environment.pop(caches.KERNELS, None)
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / f"worldgen-{os.getuid()}")
    assert done.stderr.count("\n") == 1
    assert "NUMBA_CACHE_DIR" in done.stderr


def test_what_numba_cannot_do_is_told_with_what_to_do():
    with pytest.raises(UserError, match=r"^complete: .*cannot cache function 'f'.*NUMBA_CACHE_DIR names a folder"):
        _set_up_without_a_place()


def _set_up_without_a_place() -> None:
    cause = RuntimeError("cannot cache function 'f': no locator available for file 'x.py'")
    with one_line_errors():
        raise InstantiationException("Error loading 'worldgen.recipe.complete':\nfull_key: complete") from cause
