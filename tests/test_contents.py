"""Weights that a config names by a place on this machine count by what they hold: pytest tests/test_contents.py"""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from worldgen.errors import UserError
from worldgen.runs import contents
from worldgen.runs.contents import content_of, contents_of, with_contents
from worldgen.runs.folder import RunFolder
from worldgen.runs.record import load_record, unchanged
from worldgen.runs.steps_table import StepSpec

LORA = "style.safetensors"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WORLDGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def weights(tmp_path) -> Path:
    """A folder in the hub's layout, whose times are of last year; its file is large enough to be remembered."""
    folder = tmp_path / "network"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_text("{}")
    save_file({name: torch.zeros(200_000) for name in "abc"}, folder / "unet" / "model.safetensors")
    age(folder)
    return folder


def age(folder: Path, ns: int = 10**18) -> None:
    for path in folder.rglob("*"):
        os.utime(path, ns=(ns, ns))


def trained(folder: Path, ns: int = 2 * 10**18) -> None:
    """Changes one tensor in the middle, and no size."""
    file = folder / "unet" / "model.safetensors"
    size, state = file.stat().st_size, load_file(file)
    state["b"][7] = 1
    save_file({name: tensor.clone() for name, tensor in state.items()}, file)
    os.utime(file, ns=(ns, ns))
    assert file.stat().st_size == size


def status(root: Path, photo: Path, path: Path) -> str:
    """How a step of a network at `path` comes out; `unchanged` has to foretell it."""
    config = {"view_depth": {"_target_": "worldgen.Depth", "path": str(path)}}
    spec = StepSpec("depth", "", ("view_depth",))
    foretold = unchanged(root, [(spec, config)], photo) is not None
    with RunFolder.open(root, contents.sha256_of(photo)) as folder:
        found = folder.step("depth", config, [], lambda out: (out / "text.txt").write_text("x") and None).status
    assert foretold == (found == "kept")
    return found


@pytest.fixture
def run(tmp_path, weights):
    """A finished run; tells how its step comes out with the weights at a place."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"photo")
    assert status(tmp_path / "run", photo, weights) == "made"
    return lambda path: status(tmp_path / "run", photo, path)


def test_the_same_weights_are_kept_and_trained_ones_make_the_step_again(run, weights):
    assert run(weights) == "kept"
    trained(weights)
    assert run(weights) == "made"
    assert run(weights) == "kept"


def test_a_copy_is_as_good_as_the_first_until_it_is_trained(run, weights, tmp_path):
    copied = Path(shutil.copytree(weights, tmp_path / "elsewhere"))
    age(copied, 3 * 10**18)
    assert run(copied) == "kept"
    trained(copied)
    assert run(copied) == "made"


def test_weights_that_are_gone_have_not_changed(run, weights, tmp_path):
    weights.rename(tmp_path / "away")
    assert run(weights) == "kept"
    assert run(tmp_path / "nowhere") == "made"


def test_the_record_tells_what_they_were(run, weights, tmp_path):
    assert load_record(tmp_path / "run" / "depth").assets == {str(weights): content_of(weights)}


def test_a_file_that_is_as_it_was_is_read_once(weights, monkeypatch):
    read, sha256_of = [], contents.sha256_of
    monkeypatch.setattr(contents, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    first = content_of(weights)
    assert read == ["config.json", "model.safetensors"]
    assert content_of(weights) == first
    assert read[2:] == ["config.json"]  # so small that nobody remembers it
    trained(weights)
    assert content_of(weights) != first
    assert read[3:] == ["config.json", "model.safetensors"]


def test_a_file_that_is_just_being_written_is_not_remembered(weights, cache):
    (weights / "unet" / "model.safetensors").touch()
    assert content_of(weights)
    assert not cache.exists()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_a_broken_cache_is_none(weights, cache, content):
    expected = content_of(weights)
    (cache / "sha256.json").write_bytes(content)
    assert content_of(weights) == expected


def test_without_a_cache_they_count_all_the_same(weights, cache, monkeypatch):
    expected = content_of(weights)
    monkeypatch.setenv("WORLDGEN_CACHE", str(weights / "unet" / "config.json"))
    assert content_of(weights) == expected


def test_names_count_and_what_nobody_loads_does_not(weights):
    before = content_of(weights)
    (weights / "README.md").write_text("read me")
    assert content_of(weights) == before
    (weights / "unet").rename(weights / "vae")
    assert content_of(weights) != before


def test_a_file_counts_by_what_it_holds_whatever_its_name(tmp_path):
    for name in ("model.pt", "other"):
        (tmp_path / name).write_bytes(b"weights")
    assert content_of(tmp_path / "model.pt") == content_of(tmp_path / "other") is not None


def test_places_are_those_of_adapters_and_loras_on_this_machine(weights, tmp_path):
    (tmp_path / LORA).write_bytes(b"lora")
    loras = [{"model": str(tmp_path), "file": LORA}, {"model": "owner/name", "file": LORA}]
    config = {"inpainter": {"_target_": "a.B", "path": str(weights), "loras": loras}, "splat": {"path": str(weights)}}
    found = contents_of(config, {})
    assert found == {str(weights): content_of(weights), f"{tmp_path}: {LORA}": content_of(tmp_path / LORA)}
    changed = with_contents(config, found)
    assert changed["inpainter"]["path"] == content_of(weights)
    assert changed["inpainter"]["loras"] == [{"model": content_of(tmp_path / LORA), "file": LORA}, loras[1]]
    assert changed["splat"] == config["splat"]
    assert with_contents(config, {}) == config


def test_what_cannot_be_read_is_named(weights, monkeypatch):
    def refused(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(contents, "sha256_of", refused)
    with pytest.raises(UserError, match=r"config\.json: cannot be read: Permission denied$"):
        content_of(weights)
