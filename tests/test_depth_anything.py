"""Depth Anything V2 through transformers, on a tiny checkpoint: pytest tests/test_depth_anything.py"""

import json
import shutil

import pytest
import torch

from tests.tiny_checkpoints import refusal
from tests.tiny_depths import save_tiny_depth_anything
from worldgen.errors import UserError
from worldgen.models.conformance import check_depth_estimator, picture
from worldgen.models.depth_anything import DepthAnything
from worldgen.models.runtime import Runtime
from worldgen.types import Camera

CAMERA = Camera.from_fov(128, 96, 70)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_depth_anything(tmp_path_factory.mktemp("depth_anything"))


def loaded(folder, runtime=None, **settings):
    adapter = DepthAnything(path=str(folder), **settings)
    adapter.load(runtime or Runtime())
    return adapter


def test_it_keeps_its_contract(folder):
    check_depth_estimator(DepthAnything(path=str(folder)))


def test_it_answers_what_transformers_pipeline_does(folder):
    from PIL import Image
    from transformers import pipeline

    rgb = (picture() * 255).round() / 255
    photo = Image.fromarray((rgb * 255).byte().permute(1, 2, 0).numpy())
    theirs = pipeline("depth-estimation", model=str(folder), device="cpu")(photo)["predicted_depth"]
    ours = loaded(folder)(rgb, CAMERA).zdepth
    assert ours.std() > 0.01
    assert (ours / theirs).log().abs().quantile(0.95) < 0.02  # they enlarge by other splines


def test_what_is_too_far_is_not_valid(folder):
    whole = loaded(folder, farthest_m=None)(picture(), CAMERA)
    assert whole.valid.all()
    middle = float(whole.zdepth.median())
    cut = loaded(folder, farthest_m=middle)(picture(), CAMERA)
    assert torch.equal(cut.valid, whole.zdepth <= middle)


def test_16_bits_say_nearly_the_same(folder):
    halved = loaded(folder, Runtime(dtype="bfloat16"))(picture(), CAMERA).zdepth
    torch.testing.assert_close(halved, loaded(folder)(picture(), CAMERA).zdepth, rtol=0.1, atol=0)


def test_a_relative_checkpoint_is_refused(tmp_path):
    save_tiny_depth_anything(tmp_path, kind="relative", max_depth=1)
    assert "depth_estimation_type: relative, wanted metric" in refusal(DepthAnything(path=str(tmp_path)))


def test_another_networks_checkpoint_and_a_folder_cut_short_are_one_line(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "config.json").write_text(json.dumps({"model_type": "zoedepth"}))
    assert "a checkpoint of zoedepth, wanted one of depth_anything" in refusal(DepthAnything(path=str(other)))
    cut = shutil.copytree(folder, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes(b"nothing")
    assert "cannot be loaded" in refusal(DepthAnything(path=str(cut)))
    (cut / "model.safetensors").unlink()
    assert "view_depth.path:" in refusal(DepthAnything(path=str(cut)))
    assert "view_depth.download=true fetches it (0.1 GB)" in refusal(DepthAnything(model="nobody/nothing"))


def test_bad_settings_name_their_key():
    with pytest.raises(UserError, match=r"^depth\.shape\.farthest_m: 0"):
        DepthAnything(farthest_m=0, key="depth.shape")
