"""DUSt3R's adapter on a stand-in for its package and its repository: pytest tests/test_dust3r.py"""

import importlib
import math
import sys
from pathlib import Path

import pytest
import torch

from tests.stand_ins import clone
from tests.tiny_checkpoints import loaded, refusal
from worldgen.errors import UserError
from worldgen.io.photo import Lens, Photo
from worldgen.models.conformance import check_fov_estimator
from worldgen.models.dust3r import Dust3rFov

FOCAL = 0.8  # of the longer side


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of weights; the package can be imported."""
    code = clone("mini_dust3r", tmp_path / "package")
    monkeypatch.syspath_prepend(code)
    kind = importlib.import_module("mini_dust3r.model").AsymmetricCroCo3DStereo
    kind(focal_per_longest=FOCAL).save_pretrained(tmp_path / "weights")
    yield str(tmp_path / "weights")
    for name in [name for name in sys.modules if name.startswith("mini_dust3r")]:
        del sys.modules[name]


def test_it_keeps_its_contract(weights):
    check_fov_estimator(Dust3rFov(path=weights))


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (500, 500), (333, 217)])
@pytest.mark.parametrize("package", [True, False])
def test_the_angle_is_that_of_the_whole_photo(weights, width, height, package, tmp_path):
    checkout = None if package else clone("dust3r", tmp_path / "checkout")
    photo = Photo(torch.rand(3, height, width), Path("photo.jpg"), "0" * 64, Lens())
    fov = loaded(Dust3rFov(path=weights, checkout=checkout))(photo)
    focal = FOCAL * max(width, height)  # the longer side is not cut
    assert fov.deg == pytest.approx(2 * math.degrees(math.atan(0.5 * width / focal)), abs=0.2)
    assert "DUSt3R" in fov.source


def test_what_is_not_here_says_what_brings_it(weights, tmp_path, monkeypatch):
    assert "wanted a folder with dust3r/model.py; git clone --recursive" in refusal(Dust3rFov(checkout=str(tmp_path)))
    assert "fov.download=true fetches it (2.3 GB)" in refusal(Dust3rFov(model="nobody/nothing"))
    (Path(weights) / "model.safetensors").write_bytes(b"nothing")
    assert "is no DUSt3R's" in refusal(Dust3rFov(path=weights))
    monkeypatch.setitem(sys.modules, "mini_dust3r.model", None)
    assert "mini_dust3r is not installed; pip install --no-deps mini-dust3r" in refusal(Dust3rFov(path=weights))


def test_bad_settings_name_their_key():
    with pytest.raises(UserError, match=r"^fov\.longest_px: 500, wanted a multiple of 16"):
        Dust3rFov(longest_px=500)
