"""Depth Pro through transformers, on a tiny checkpoint: pytest tests/test_depth_pro.py"""

from pathlib import Path

import pytest
import torch

from tests.tiny_checkpoints import loaded
from tests.tiny_depths import save_tiny_depth_pro
from worldgen.errors import UserError
from worldgen.io.photo import Lens, Photo
from worldgen.models.conformance import check_depth_estimator, check_fov_estimator, picture
from worldgen.models.depth_pro import DepthProDepth, DepthProFov
from worldgen.models.runtime import Runtime
from worldgen.types import Camera

CAMERA = Camera.from_fov(128, 96, 65)
PHOTO = Photo(picture(), Path("photo.jpg"), "0" * 64, Lens())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_tiny_depth_pro(tmp_path_factory.mktemp("depth_pro"), fov_deg=65.0))


def test_depth_keeps_its_contract(folder):
    check_depth_estimator(DepthProDepth(path=folder))


def test_fov_keeps_its_contract(folder):
    check_fov_estimator(DepthProFov(path=folder))


def test_both_answer_what_transformers_itself_makes_of_the_networks_answer(folder):
    fov, depth = loaded(DepthProFov(path=folder)), loaded(DepthProDepth(path=folder))
    found = fov(PHOTO)
    assert found.deg == pytest.approx(65, abs=5)
    processor, answer = fov._processor, fov.answer(PHOTO.rgb)
    theirs = processor.post_process_depth_estimation(answer, target_sizes=[(96, 128)])[0]
    assert found.deg == pytest.approx(float(theirs["field_of_view"]))
    ours = depth(PHOTO.rgb, Camera.from_fov(128, 96, found.deg)).zdepth
    torch.testing.assert_close(ours, theirs["predicted_depth"].float(), rtol=1e-3, atol=1e-4)


def test_a_longer_lens_sees_the_same_picture_farther_off(folder):
    depth = loaded(DepthProDepth(path=folder, farthest_m=None))
    wide, narrow = depth(PHOTO.rgb, CAMERA), depth(PHOTO.rgb, Camera.from_fov(128, 96, 30))
    torch.testing.assert_close(
        narrow.zdepth / wide.zdepth, torch.full((96, 128), Camera.from_fov(128, 96, 30).fx / CAMERA.fx)
    )


def test_an_answer_of_nothing_is_sky_and_not_valid(tmp_path):
    folder = save_tiny_depth_pro(tmp_path, fov_deg=None, inverse=-99.0)
    sky = loaded(DepthProDepth(path=str(folder)))(PHOTO.rgb, CAMERA)
    assert not sky.valid.any()
    assert loaded(DepthProDepth(path=str(folder), farthest_m=None))(PHOTO.rgb, CAMERA).zdepth.isfinite().all()
    with pytest.raises(UserError, match=r"^fov: .*use_fov_model: False, wanted true"):
        DepthProFov(path=str(folder)).load(Runtime())


def test_an_angle_of_no_camera_is_one_line(tmp_path):
    adapter = loaded(DepthProFov(path=str(save_tiny_depth_pro(tmp_path, fov_deg=200.0))))
    with pytest.raises(UserError, match=r"^fov: \d+.*, wanted more than 10 and less than 150 degrees$"):
        adapter(PHOTO)
