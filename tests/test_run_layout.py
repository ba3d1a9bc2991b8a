"""Run folders of an earlier worldgen are told from ours: read where they can be, and never written to."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from eval.protocols.runs import read_run
from tests.small_world import write_run
from train.data.run_views import read_run as read_views
from worldgen import view
from worldgen.config import CONF_DIR
from worldgen.errors import UserError
from worldgen.models.assets import targets_of
from worldgen.present.report import write_report
from worldgen.runs.folder import RunFolder
from worldgen.runs.record import key_of
from worldgen.runs.steps_table import STEPS
from worldgen.world import World

PHOTO = "ba" * 32


def earlier_run(folder: Path) -> Path:
    """As worldgen wrote them before layouts were numbered: fov.json, records and a manifest without a layout, and
    modules where they were then."""
    write_run(folder)
    (folder / "fov" / "camera.json").unlink()
    (folder / "fov" / "fov.json").write_text('{"deg": 80.0, "source": "by hand"}')
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["layout"]
    for step, record in manifest["steps"].items():
        record |= {
            "key": "63a3" * 16,
            "photo_sha256": PHOTO,
            "config": {step: {"_target_": f"worldgen.models.{step}.Thing"}, "seed": 0},
            "inputs": {},
            "editable": True,
            "files": {},
        }
        (folder / step / ".step.json").write_text(json.dumps(record))
    manifest["photo"] = {"name": "room.jpg", "sha256": PHOTO}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def earlier(tmp_path) -> Path:
    return earlier_run(tmp_path / "runs" / "room")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("without", [None, "manifest.json", ".step.json"])
def test_a_rerun_into_an_earlier_run_is_refused_and_nothing_is_touched(earlier, without):
    for path in earlier.rglob(without) if without else []:
        path.unlink()
    before = contents(earlier)
    for refused in (lambda: RunFolder.expect_free(earlier), lambda: RunFolder.open(earlier, PHOTO, "room.jpg")):
        with pytest.raises(UserError, match=r"room: made by an earlier version of worldgen, wanted .* out=<folder>$"):
            refused()
    assert contents(earlier) == before


def test_a_run_of_a_later_version_is_refused_too(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"layout": 99, "photo": {}, "steps": {"fov": {}}}))
    with pytest.raises(UserError, match="made by a later version"):
        RunFolder.open(tmp_path, PHOTO)


def test_an_earlier_run_is_read_as_far_as_it_can_be(earlier):
    world = World.open(earlier)
    assert len(world.cloud)
    assert len(world.gaussians)
    assert bool((world.distance.distance > 0).all())
    with view.server(earlier):
        pass
    run = read_run(earlier)
    assert run.photo_name == "room.jpg"
    assert run.panorama is not None
    assert run.splats is not None
    assert run.photo() is None
    assert "Gaussian splats" in write_report(earlier).read_text(encoding="utf-8")


def test_what_an_earlier_run_does_not_tell_is_said_in_one_line(earlier):
    with pytest.raises(UserError, match=r"camera\.json: not found, made by an earlier version of worldgen") as error:
        read_views(earlier)
    assert "\n" not in str(error.value)


def test_a_key_does_not_depend_on_where_our_classes_live():
    def key(target: str) -> str:
        return key_of("depth", 1, {"depth": {"choices": [{"_target_": target}], "size": 2}}, PHOTO, {}, {})

    assert key("worldgen.models.fastdepth.FastDepth") == key("worldgen.embedded.fastdepth.FastDepth")
    assert key("worldgen.embedded.fastdepth.FastDepth") != key("worldgen.embedded.fastdepth.SlowDepth")
    assert key("mine.FastDepth") != key("theirs.FastDepth")


def test_no_two_of_our_classes_that_configs_name_have_one_name():
    yamls = [OmegaConf.to_container(OmegaConf.load(path), resolve=False) for path in CONF_DIR.rglob("*.yaml")]
    targets = {target for yaml in yamls for target in targets_of(yaml)}
    names = [target.rpartition(".")[2] for target in targets]
    assert len(names) == len(set(names))


def test_every_step_reads_steps_before_it():
    known: set[str] = set()
    for step in STEPS:
        assert set(step.inputs) <= known
        known.add(step.name)
