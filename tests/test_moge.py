"""MoGe's own code on tiny checkpoints of both versions: pytest tests/test_moge.py"""

import math
import sys
from pathlib import Path

import pytest
import torch

from tests.house import ROOT
from tests.tiny_checkpoints import loaded, refusal
from tests.tiny_moge import save_tiny_moge
from worldgen.errors import UserError
from worldgen.io.photo import Lens, Photo
from worldgen.models.conformance import check_depth_estimator, check_fov_estimator, picture
from worldgen.models.moge import INSTALL, MogeDepth, MogeFov
from worldgen.types import Camera

pytest.importorskip("moge")

SLOPE = 0.8
CAMERA = Camera.from_fov(64, 48, 2 * math.degrees(math.atan(SLOPE * 64 / math.hypot(64, 48))))  # what the tiny ones see


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moge")
    return {version: save_tiny_moge(folder / f"v{version}.pt", version, tan_per_unit=SLOPE) for version in (1, 2)}


@pytest.fixture(params=[1, 2])
def file(files, request):
    return str(files[request.param])


def test_depth_keeps_its_contract(file):
    check_depth_estimator(MogeDepth(path=file))


def test_fov_keeps_its_contract(file):
    check_fov_estimator(MogeFov(path=file))


@pytest.mark.parametrize(("width", "height"), [(96, 64), (64, 96)])
def test_fov_is_that_of_the_points(file, width, height):
    photo = Photo(torch.rand(3, height, width), Path("photo.jpg"), "0" * 64, Lens())
    fov = loaded(MogeFov(path=file))(photo)
    assert fov.deg == pytest.approx(2 * math.degrees(math.atan(SLOPE * width / math.hypot(width, height))), abs=1)
    assert "MoGe" in fov.source


def test_what_the_mask_leaves_out_is_not_valid_and_lies_above(file):
    depth = loaded(MogeDepth(path=file))(picture()[:, :48, :64], CAMERA)
    assert not depth.valid[:10].any()
    assert depth.valid[-20:].all()
    assert depth.zdepth[~depth.valid].isinf().all()


def test_moge_is_told_the_cameras_field_of_view(file):
    adapter = loaded(MogeDepth(path=file))
    rgb = picture()[:, :48, :64]
    own, narrow = adapter(rgb, CAMERA), adapter(rgb, Camera.from_fov(64, 48, 0.6 * CAMERA.fov_deg))
    both = own.valid & narrow.valid
    assert narrow.zdepth[both].median() > 1.3 * own.zdepth[both].median()  # the same width, farther off


def test_version_2_gives_metres_and_version_1_is_known_by_its_file(files, tmp_path):
    checkpoint = torch.load(files[2], weights_only=True)
    checkpoint["model"]["scale_head.2.bias"] += math.log(3)
    torch.save(checkpoint, tmp_path / "model.pt")
    rgb = picture()[:, :48, :64]
    one = loaded(MogeDepth(path=str(files[2])))(rgb, CAMERA)
    three = loaded(MogeDepth(path=str(tmp_path)))(rgb, CAMERA)
    torch.testing.assert_close(three.zdepth[one.valid], 3 * one.zdepth[one.valid])


def test_16_bits_on_a_processor_change_nothing(file):
    rgb = picture()[:, :48, :64]
    halved = loaded(MogeDepth(path=file), device="cpu", dtype="bfloat16")(rgb, CAMERA)
    assert torch.equal(halved.zdepth, loaded(MogeDepth(path=file), device="cpu")(rgb, CAMERA).zdepth)


def test_points_of_no_camera_are_told(files, tmp_path):
    checkpoint = torch.load(files[1], weights_only=True)
    checkpoint["model"]["head.output_block.0.2.weight"][:2] *= -1  # mirrored
    torch.save(checkpoint, tmp_path / "model.pt")
    photo = Photo(picture(), Path("photo.jpg"), "0" * 64, Lens())
    with pytest.raises(UserError, match=r"^fov: \d+ of \d+ points lie as a camera sees them, wanted more$"):
        loaded(MogeFov(path=str(tmp_path)))(photo)


def test_a_file_cut_short_or_of_something_else_is_one_line(files, tmp_path):
    cut = tmp_path / "cut.pt"
    cut.write_bytes(files[1].read_bytes()[:4000])
    assert f"view_depth: {cut}: cannot be read as weights" in refusal(MogeDepth(path=str(cut)))
    other = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(3)}, other)
    assert "weight, wanted model_config and model" in refusal(MogeDepth(path=str(other)))
    torch.save({"model_config": {"encoder": {"backbone": "dinov2_none"}}, "model": {}}, other)
    assert "is no MoGe's" in refusal(MogeFov(path=str(other)))


@pytest.mark.parametrize("version", [1, 2])
def test_missing_weights_are_named_where_moge_would_invent_them(files, tmp_path, version):
    checkpoint = torch.load(files[version], weights_only=True)
    gone = next(name for name in checkpoint["model"] if "head" in name)
    del checkpoint["model"][gone]
    torch.save(checkpoint, tmp_path / "model.pt")
    assert f"{gone} missing among the weights" in refusal(MogeDepth(path=str(tmp_path)))


def test_what_is_not_here_says_what_brings_it(monkeypatch, tmp_path):
    assert "view_depth.download=true fetches it (1.3 GB)" in refusal(MogeDepth(model="nobody/moge"))
    assert "depth.shape.download=true" in refusal(MogeDepth(model="nobody/moge", key="depth.shape"))
    assert "HF_HUB_OFFLINE is set" in refusal(MogeFov(model="nobody/moge", download=True))
    assert f"fov.path: {tmp_path}: no model.pt there" in refusal(MogeFov(path=str(tmp_path)))
    monkeypatch.setitem(sys.modules, "moge.model.v1", None)
    assert "moge is not installed; pip install --no-deps dlr-moge" in refusal(MogeDepth())


@pytest.mark.parametrize(("setting", "value"), [("detail", 10), ("detail", -1), ("tokens", 0), ("tokens", "many")])
def test_bad_settings_name_their_key(setting, value):
    with pytest.raises(UserError, match=rf"^fov\.{setting}: "):
        MogeFov(**{setting: value})


def test_make_setup_brings_what_the_error_names():
    asked = [word for word in INSTALL.split() if "==" in word]
    assert len(asked) == 3
    assert all(word in (ROOT / ".ci" / "install").read_text() for word in asked)
