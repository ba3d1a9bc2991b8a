"""Metric3D's adapter on a stand-in for the authors' repository: pytest tests/test_metric3d.py"""

import sys

import pytest
import torch

from tests.stand_ins import clone
from worldgen.errors import UserError
from worldgen.models.conformance import check_depth_estimator, picture
from worldgen.models.metric3d import INPUT, Metric3D
from worldgen.models.runtime import Runtime
from worldgen.types import Camera

CANONICAL_M = 4.0


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "metric_depth_vit_small_800k.pth"
    torch.save({"model_state_dict": {"canonical_m": torch.tensor([CANONICAL_M])}}, file)
    return {"variant": "small", "checkout": clone("metric3d", tmp_path / "code"), "path": str(tmp_path)}


def loaded(settings):
    adapter = Metric3D(**settings)
    adapter.load(Runtime(device="cpu"))
    return adapter


def test_it_keeps_its_contract(settings):
    check_depth_estimator(Metric3D(**settings))


@pytest.mark.parametrize(("width", "height"), [(128, 96), (1064, 616), (96, 200), (2000, 400)])
@pytest.mark.parametrize("deg", [40.0, 90.0])
def test_the_canonical_depth_becomes_ours_by_the_focal_length_that_the_network_sees(settings, width, height, deg):
    camera = Camera.from_fov(width, height, deg)
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None] / 255
    found = loaded(settings)(mean.expand(3, height, width), camera)
    seen = camera.fx * min(INPUT[0] / height, INPUT[1] / width)
    torch.testing.assert_close(found.zdepth, torch.full((height, width), CANONICAL_M * seen / 1000))
    assert found.valid.all()


def test_the_picture_comes_back_where_it_was(settings):
    rgb = torch.full((3, 90, 120), 0.4)
    rgb[:, :20, 100:] = 0.9  # brighter is farther for the stand-in
    zdepth = loaded(settings)(rgb, Camera.from_fov(120, 90, 70)).zdepth
    assert zdepth[:17, 103:].min() > zdepth[25:].max()
    assert zdepth[:17, 103:].min() > zdepth[:, :95].max()


def test_what_is_too_far_is_not_valid(settings):
    found = loaded(settings | {"farthest_m": 0.1})(picture(), Camera.from_fov(128, 96, 70))
    assert not found.valid.any()


def test_the_authors_modules_are_forgotten(settings, tmp_path):
    (tmp_path / "code" / "mono.py").write_text("")
    hubconf = tmp_path / "code" / "hubconf.py"
    hubconf.write_text("import mono\n" + hubconf.read_text())
    path = list(sys.path)
    loaded(settings)
    assert "mono" not in sys.modules
    assert sys.path == path


def refusal(settings) -> str:
    with pytest.raises(UserError) as caught:
        loaded(settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_here_says_what_brings_it(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nowhere"))
    assert "depth.metric.checkout: null" in refusal(settings | {"checkout": None})
    assert "git clone https://github.com/YvanYin/Metric3D && pip install" in refusal(settings | {"checkout": None})
    assert "wanted a folder with hubconf.py" in refusal(settings | {"checkout": str(tmp_path)})
    (tmp_path / "code" / "hubconf.py").write_text("import mmengine_that_is_not_here")
    assert "lacks mmengine_that_is_not_here; pip install mmengine_that_is_not_here brings it" in refusal(settings)


def test_weights_that_are_missing_or_of_another_thing_are_one_line(settings, tmp_path):
    assert "no metric_depth_vit_small_800k.pth there" in refusal(settings | {"path": settings["checkout"]})
    file = tmp_path / "metric_depth_vit_small_800k.pth"
    torch.save({"model_state_dict": {"other": torch.zeros(1)}}, file)
    assert "canonical_m missing among the weights" in refusal(settings)
    torch.save({"model_state_dict": {"canonical_m": torch.zeros(2)}}, file)
    assert "canonical_m is (2,), wanted (1,)" in refusal(settings)
    torch.save({"state": {}}, file)
    assert "state, wanted model_state_dict" in refusal(settings)


def test_a_processor_is_refused_where_the_authors_code_wants_a_gpu(settings, tmp_path):
    code = tmp_path / "code" / "hubconf.py"
    code.write_text(
        code.read_text().replace("assert pixels.shape", "raise AssertionError('needs CUDA')\n        assert pixels")
    )
    adapter = loaded(settings)
    with pytest.raises(UserError, match=r"^runtime\.device: cpu, wanted cuda"):
        adapter(picture(), Camera.from_fov(128, 96, 70))


@pytest.mark.parametrize(("name", "value"), [("variant", "huge"), ("farthest_m", 0.0), ("farthest_m", 500.0)])
def test_bad_settings_name_their_key(name, value):
    with pytest.raises(UserError, match=rf"^depth\.metric\.{name}: "):
        Metric3D(**{name: value})
